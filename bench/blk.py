#!/usr/bin/python3
"""Disks by vhost-user-blk against qemu-storage-daemon's, and fio's io_uring on the same file.

usage: bench/blk.py [BUILD_DIR] [--json]

One client (blk_bench.c) makes random 4 KiB requests on one queue of each server in turns, at several
depths, on a raw image and an allocated qcow2 one. Beside the rate stands the CPU time that the
server took for a request. Figures are medians of interleaved rounds, ratios medians of the rounds'
ratios. Further: memory and CPU time of a daemon with 100 exports that nobody uses.
"""

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests/guest"), str(ROOT / "guest")]
sys.dont_write_bytecode = True

import cache  # noqa: E402
import trixie  # noqa: E402

MEGABYTES, SECONDS, ROUNDS = 256, 1, 5
DEPTHS = (1, 32, 128)
EXPORTS = 100
TICK = os.sysconf("SC_CLK_TCK")


def trixie_is_there():
    """The tree is big: it is not fetched for a benchmark."""
    return any(path.is_dir() for path in cache.directory().glob("trixie-*"))


def daemons():
    """Name of each qemu-storage-daemon: how it is run, with which environment."""
    found = {}
    if shutil.which("qemu-storage-daemon"):
        found["7.2"] = (["qemu-storage-daemon"], {})
    if trixie_is_there():
        found["11.1"] = trixie.qemu("qemu-storage-daemon")
    return found


def wait_for_socket(path, process):
    """Until somebody listens there."""
    while not path.exists():
        if process.poll() is not None:
            sys.exit(f"bench: {process.args[0]} ended with {process.returncode}")
        time.sleep(0.02)


class Server:
    """A process with one export; ours when peer is None."""

    def __init__(self, build, work, name, image, form, peer):
        self.socket = work / f"{name}-{form}.sock"
        if peer is None:
            argv, env = [build / "src/cli/outboard", "serve", "--disk", f"file={image},format={form},id=d",
                         "--attach", f"vhost-user-blk,socket={self.socket},disk=d,queues=1"], {}
        else:
            argv, env = peer
            argv = [*argv, "--object", "iothread,id=t",
                    "--blockdev", f"driver=file,node-name=f,filename={image},aio=io_uring",
                    "--blockdev", f"driver={form},node-name=d,file=f",
                    "--export", "type=vhost-user-blk,id=e,node-name=d,writable=on,iothread=t,"
                    f"addr.type=unix,addr.path={self.socket}"]
        self.process = subprocess.Popen(argv, env=dict(os.environ, **env), stdout=subprocess.DEVNULL)
        wait_for_socket(self.socket, self.process)

    def measure(self, client, way, depth):
        """Requests a second and CPU microseconds for one."""
        done = subprocess.run([client, self.socket, way, str(depth), str(SECONDS), str(self.process.pid)],
                              capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"bench: {self.socket.name}, {way} at depth {depth}: {done.stderr}")
        return json.loads(done.stdout)

    def close(self):
        """End it."""
        self.process.kill()
        self.process.wait()


def fio(image, way, depth):
    """Requests a second of fio on the file itself."""
    done = subprocess.run(
        ["fio", "--name=x", f"--filename={image}", f"--rw=rand{way}", "--bs=4k", "--ioengine=io_uring",
         f"--iodepth={depth}", f"--runtime={SECONDS}", "--time_based", "--output-format=json"],
        capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["jobs"][0][way]["iops"]


def make_images(work, names):
    """An image of each form for each server, full of random bytes."""
    first = work / "first.raw"
    with open(first, "wb") as out:
        for _ in range(MEGABYTES):
            out.write(os.urandom(1 << 20))
    images = {}
    for form in ("raw", "qcow2"):
        for name in names:
            images[form, name] = work / f"{name}.{form}"
            subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", form, "-S", "0", first, images[form, name]],
                           check=True)
    first.unlink()
    return images


def summary(rows):
    """Medians of one server's rounds, and of the ratios to it of ours."""
    result = {}
    for name in rows[0]:
        if name == "fio":
            result["fio"] = {"iops": statistics.median(r["fio"] for r in rows)}
            result["fio"]["ratio"] = statistics.median(r["ours"]["iops"] / r["fio"] for r in rows)
            continue
        result[name] = {key: statistics.median(r[name][key] for r in rows) for key in ("iops", "cpu_us")}
        if name != "ours":
            result[name]["ratio"] = statistics.median(r["ours"]["iops"] / r[name]["iops"] for r in rows)
    return result


def compare(build, folder, rounds):
    """"form way depth": name: figures, for all that there is."""
    client, peers = build / "bench/blk_bench", daemons()
    names = ["ours", *peers]
    results = {}
    with tempfile.TemporaryDirectory(dir=folder) as work, contextlib.ExitStack() as stack:
        work = Path(work)
        images = make_images(work, names)
        for form in ("raw", "qcow2"):
            servers = {name: Server(build, work, name, images[form, name], form, peers.get(name)) for name in names}
            for server in servers.values():
                stack.callback(server.close)
            for way in ("read", "write"):
                for depth in DEPTHS:
                    rows = []
                    for n in range(rounds):
                        order = names[n % len(names):] + names[:n % len(names)]
                        row = {name: servers[name].measure(client, way, depth) for name in order}
                        if form == "raw" and shutil.which("fio"):
                            row["fio"] = fio(images[form, "ours"], way, depth)
                        rows.append(row)
                    results[f"{form} {way} {depth}"] = summary(rows)
    return results


def idle(build):
    """A daemon with many exports that nobody uses: memory in MB, CPU ticks in five seconds."""
    with tempfile.TemporaryDirectory() as work:
        work, words = Path(work), []
        for n in range(EXPORTS):
            (work / f"{n}.raw").touch()
            os.truncate(work / f"{n}.raw", 1 << 30)
            words += ["--disk", f"file={work}/{n}.raw,format=raw,id=d{n}",
                      "--attach", f"vhost-user-blk,socket={work}/{n}.sock,disk=d{n}"]
        process = subprocess.Popen([build / "src/cli/outboard", "serve", *words], stdout=subprocess.DEVNULL)
        wait_for_socket(work / f"{EXPORTS - 1}.sock", process)
        time.sleep(1)

        def ticks():
            fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
            return int(fields[11]) + int(fields[12])

        before = ticks()
        time.sleep(5)
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
        memory = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        result = {"rss_mb": int(memory.split()[1]) / 1024, "cpu_ticks_in_5s": ticks() - before}
        process.kill()
        process.wait()
        return result


def run(build, folder, rounds=ROUNDS):
    """All of it, with the images in a folder."""
    return {"idle": idle(build), "figures": compare(build, folder, rounds)}


def report(results, place):
    """Lines for people."""
    for key, row in results["figures"].items():
        form, way, depth = key.split()
        goal = 2.5 if depth == "1" else 1.5
        words = [f"{row['ours']['iops'] / 1000:.1f} k/s at {row['ours']['cpu_us']:.1f} us of CPU"]
        for name, peer in row.items():
            if name == "fio":
                words.append(f"fio {peer['iops'] / 1000:.1f} k/s: {peer['ratio']:.2f} of it (goal 0.9, or the former)")
            elif name != "ours":
                words.append(f"qemu-storage-daemon {name} {peer['iops'] / 1000:.1f} k/s at {peer['cpu_us']:.1f} us: "
                             f"{peer['ratio']:.1f} times that (goal {goal})")
        yield f"{place}: vhost-user-blk, {form}, {way} of 4 KiB at depth {depth}: " + "; ".join(words)
    i = results["idle"]
    yield (f"{EXPORTS} idle exports: {i['rss_mb']:.1f} MB resident (goal 60), {i['cpu_ticks_in_5s']} CPU ticks in 5 s "
           "(goal 0)")


def main():
    """Run and print."""
    args = [a for a in sys.argv[1:] if not a.startswith("--")]
    folder = "/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir()
    results = run(Path(args[0] if args else ROOT / "build").resolve(), folder)
    print(json.dumps(results, indent=1) if "--json" in sys.argv else "\n".join(report(results, folder)))


if __name__ == "__main__":
    main()
