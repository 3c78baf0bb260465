#!/usr/bin/python3
"""Kills `outboard disc burn` at random moments: the disc opens, holds what the drive said is written, and goes on.

    kill_burn.py OUTBOARD [KILLS [SEED]]

After each kill the next writable address must be at least what the last WRITE that ended well reached (the
program's own trace says so), and everything before it must be the image. Then the burn is resumed, and killed
again, until it is through or is closed as it is; the finished disc must be what it should be.
"""

import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BLOCK = 2048
IMAGE_BYTES = 16 << 20
KINDS = ("cd-r", "dvd-r", "dvd-rw", "dvd+r", "bd-r")
WRITE = re.compile(r"WRITE\(10\): 2a 00 (\w\w) (\w\w) (\w\w) (\w\w) 00 (\w\w) (\w\w) 00 -> 00 ")


class Failure(Exception):
    """The disc is not as it must be."""


class Disc:
    """One disc and what must be true of it."""

    def __init__(self, outboard, work, image, kind):
        self.outboard, self.image, self.kind = outboard, image, kind
        self.path = work / f"{kind}.disc"
        self.path.unlink(missing_ok=True)
        self.run("create", self.path, "--type", kind)
        self.acknowledged = 0       # blocks that some burn said are written
        self.kills = 0

    def run(self, *args):
        """A subcommand of disc that must succeed; its output."""
        done = subprocess.run([self.outboard, "disc", *map(str, args)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failure(f"{self.kind}: disc {args[0]}: {done.returncode}\n{done.stderr}")
        return done.stdout

    def info(self):
        """disc info."""
        return json.loads(self.run("info", self.path, "--json"))

    def burn_and_kill(self, args, after_s):
        """A burn that gets SIGKILL after a while; False when it was through before."""
        with tempfile.TemporaryFile() as trace:
            with subprocess.Popen([self.outboard, "disc", "burn", "-vv", "-q", self.path, self.image, *args],
                                  stdout=subprocess.DEVNULL, stderr=trace) as burn:
                time.sleep(after_s)
                burn.send_signal(signal.SIGKILL)
                status = burn.wait()
            trace.seek(0)
            text = trace.read().decode()
        for match in WRITE.finditer(text):
            number = bytes.fromhex("".join(match.groups()))
            self.acknowledged = max(self.acknowledged,
                                    int.from_bytes(number[:4], "big") + int.from_bytes(number[4:], "big"))
        if status not in (0, -signal.SIGKILL):
            raise Failure(f"{self.kind}: burn {args}: {status}\n{text[-2000:]}")
        self.kills += status != 0
        return status != 0

    def check(self):
        """What is recorded is the image, and no less than was acknowledged."""
        info = self.info()
        if not info["tracks"]:
            if self.acknowledged:
                raise Failure(f"{self.kind}: blank, but {self.acknowledged} blocks were written")
            return info
        regions = json.loads(self.run("map", self.path, "--json"))["regions"]
        end = sum(r["blocks"] for r in regions if r["kind"] == "recorded" and r.get("track") == 1)
        if end < self.acknowledged:
            raise Failure(f"{self.kind}: written up to {end}, but {self.acknowledged} blocks were acknowledged")
        size = min(end * BLOCK, IMAGE_BYTES)
        with open(self.path, "rb") as disc, open(self.image, "rb") as image:
            for at in range(0, size, 1 << 20):
                want = min(1 << 20, size - at)
                if disc.read(want) != image.read(want):
                    raise Failure(f"{self.kind}: block {at // BLOCK} and on are not the image (written up to {end})")
        return info

    def next_step(self, info):
        """How a burn goes on from here: its arguments, "close", or None when the disc is finished."""
        if info["status"] == "complete":
            return None
        tracks = info["tracks"]
        if not tracks:
            return []
        return ["--resume"] if "next_writable" in tracks[0] else "close"

    def finish(self, close):
        """To the end without a kill: resumed, or closed as it is."""
        step = self.next_step(self.check())
        if step is not None and step != "close" and not (close and step):
            self.run("burn", "-q", self.path, self.image, *step)
        elif step is not None:
            self.run("burn", self.path, "--close")
        info = self.check()
        if info["status"] != "complete" and not (self.kind == "cd-r" and info["tracks"]):
            raise Failure(f"{self.kind}: finished, yet it is {info['status']}")
        if not close or step is None or step == "close":
            self.run("verify", self.path, self.image)


def duration(outboard, work, image):
    """How long an undisturbed burn takes."""
    disc = Disc(outboard, work, image, "dvd+r")
    begin = time.monotonic()
    disc.run("burn", "-vv", "-q", disc.path, image)
    return time.monotonic() - begin


def main():
    """Kill until there were enough."""
    outboard = Path(sys.argv[1]).resolve()
    wanted = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else random.randrange(1 << 30)
    chance = random.Random(seed)
    print(f"seed {seed}", flush=True)
    # It is the process that dies, not the machine: memory serves as well as a disk, and flushing costs nothing there.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="kill-burn-", dir=memory) as name:
        work = Path(name)
        image = work / "image.iso"
        image.write_bytes(chance.randbytes(IMAGE_BYTES))
        longest = duration(outboard, work, image) * 0.9
        kills = discs = 0
        while kills < wanted:
            disc = Disc(outboard, work, image, KINDS[discs % len(KINDS)])
            discs += 1
            for _ in range(chance.randrange(1, 6)):
                step = disc.next_step(disc.check())
                if step is None or step == "close":
                    break
                disc.burn_and_kill(step, chance.uniform(0, longest))
            disc.finish(chance.random() < 0.3)
            kills += disc.kills
    print(f"{kills} kills in burns of {discs} discs, all of them opened and were finished")


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"kill_burn: {failure}")
