#!/usr/bin/python3
"""Our controllers against QEMU's own in one guest: all are there at once, and are read in turns.

usage: bench/guest_disk.py [BUILD_DIR] [--json]

A CD image of 256 MB is read through AHCI and through IDE with DMA by `dd bs=1M iflag=direct`, and a
disk by 4 KiB random reads, 32 at a time (NCQ). Beside the speed it counts the CPU seconds that QEMU
and outboard took for it. Figures are medians of interleaved rounds, ratios medians of the rounds' ratios.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/guest"))
sys.dont_write_bytecode = True

import harness  # noqa: E402
import outboard  # noqa: E402

MEGABYTES, ROUNDS, RANDOM_S, DEPTH = 256, 5, 4, 32
TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(*pids):
    """User and system time of processes so far."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICK


class Daemon(outboard.Outboard):
    """The CD on both controllers (two drives, one image), the disk on AHCI."""

    def __init__(self, work, image, disk):
        super().__init__(work, [], bus="ahci")
        self.image, self.disk = image, disk

    def arguments(self):
        yield "serve"
        for n in range(2):
            yield from ("--optical", f"id=d{n},disc={self.image},readonly=on,product=d{n}")
        yield from ("--disk", f"file={self.disk},id=h0,serial=h0,readonly=on")
        yield from ("--device", "ahci,id=c0,ports=2,port0=d0,port1=h0",
                    "--device", "ide,id=c1,primary-master=d1")
        for n, path in enumerate(self.sockets()):
            yield from ("--attach", f"vfio-user,socket={path},device=c{n}")
        yield from ("--control", self.control)

    def sockets(self):
        return [self.work / f"c{n}.sock" for n in range(2)]


def qemu_devices(image, disk):
    """QEMU's own: a CD on AHCI, a disk on AHCI, a CD on the PC's IDE."""
    yield from ("-device", "ich9-ahci,id=peer")
    for name, file, device, readonly in (("qcd", image, "ide-cd,bus=peer.0", "on"),
                                         ("qhd", disk, "ide-hd,bus=peer.1,serial=qhd", "off"),
                                         ("qide", image, "ide-cd,bus=ide.0", "on")):
        yield from ("-drive", f"file={file},if=none,id={name},format=raw,readonly={readonly},"
                    "file.locking=off")
        yield from ("-device", f"{device},drive={name}")


def find(guest):
    """Block devices by what they are."""
    lines = guest.text("cd /sys/class/block; for d in sr? sd?; do echo $d "
                       "$(basename $(readlink -f $d/device/../../../../driver)) $(cat $d/device/model) "
                       "$(tr -cd '[:alnum:]' < $d/device/vpd_pg80); done")
    wanted = {"ahci_cd": "ahci d0", "ide_cd": "ata_piix d1", "qemu_ahci_cd": "ahci QEMU DVD-ROM",
              "qemu_ide_cd": "ata_piix QEMU DVD-ROM", "disk": "h0", "qemu_disk": "qhd"}
    found = {}
    for name, sign in wanted.items():
        rows = [line.split()[0] for line in lines.splitlines() if sign in line]
        if len(rows) != 1:
            sys.exit(f"bench: no {name} ({sign}) in the guest:\n{lines}")
        found[name] = f"/dev/{rows[0]}"
    return found


class Measure:
    """One guest with everything in it."""

    def __init__(self, work):
        self.image, self.disk = work / "cd.iso", work / "disk.img"
        for path in (self.image, self.disk):
            with open(path, "wb") as out:
                for _ in range(MEGABYTES):
                    out.write(os.urandom(1 << 20))
        subprocess.run(["cc", "-D_GNU_SOURCE", "-O2", "-static", "-o", work / "randread", ROOT / "bench/randread.c"],
                       check=True)
        self.daemon = Daemon(work, self.image, self.disk)
        args = [*self.daemon.guest_options()["args"], *qemu_devices(self.image, self.disk)]
        self.guest = harness.Guest(work, qemu="11.1", memory=512, args=args)
        self.program = work / "randread"

    def start(self):
        """Both up, and what is where."""
        self.daemon.start()
        self.guest.start()
        self.guest.load("ahci")
        self.guest.load("ata_piix")
        self.guest.wait_for("test $(ls -d /sys/class/block/s[dr]? | wc -l) = 6", 60)
        self.guest.put(self.program, "/tmp/randread", 0o755)
        return find(self.guest)

    def timed(self, command):
        """(seconds, CPU seconds, output) of a command in the guest."""
        pids = (self.guest.process.pid, self.daemon.process.pid)
        cpu, begin = cpu_seconds(*pids), time.monotonic()
        out = self.guest.text(command, timeout=600)
        return time.monotonic() - begin, cpu_seconds(*pids) - cpu, out

    def read(self, dev):
        """The whole image once: MB/s, CPU seconds."""
        took, cpu, _ = self.timed(f"dd if={dev} of=/dev/null bs=1M count={MEGABYTES} iflag=direct")
        return {"mb_s": MEGABYTES * 1.048576 / took, "cpu_s": cpu}

    def random(self, dev):
        """Random reads: their number a second, CPU seconds for 10000 of them."""
        _, cpu, out = self.timed(f"/tmp/randread {dev} {MEGABYTES << 20} {RANDOM_S} {DEPTH}")
        rate = float(out)
        return {"iops": rate, "cpu_s": cpu / (rate * RANDOM_S) * 10000}

    def close(self):
        """End both."""
        self.guest.close()
        self.daemon.close()


def compare(measure, ours, theirs, figure, rounds):
    """Medians of both, and of the ratios; which of the two begins changes every round."""
    rows = []
    for n in range(rounds):
        pair = [(0, ours), (1, theirs)]
        results = dict((which, measure(dev)) for which, dev in (pair if n % 2 else reversed(pair)))
        rows.append((results[0], results[1]))
    median = statistics.median
    return {figure: median(a[figure] for a, _ in rows), f"qemu_{figure}": median(b[figure] for _, b in rows),
            "ratio": median(a[figure] / b[figure] for a, b in rows),
            "cpu_s": median(a["cpu_s"] for a, _ in rows),
            "qemu_cpu_s": median(b["cpu_s"] for _, b in rows)}


def run(build, rounds=ROUNDS):
    """All of it."""
    os.environ["OUTBOARD_BIN"] = str(build / "src/cli/outboard")
    with tempfile.TemporaryDirectory() as work:
        measure = Measure(Path(work))
        try:
            dev = measure.start()
            for name in dev.values():       # into the host's page cache, and the drives spun up
                measure.guest.run(f"dd if={name} of=/dev/null bs=1M count=16 iflag=direct")
            return {
                "ahci_cd": compare(measure.read, dev["ahci_cd"], dev["qemu_ahci_cd"], "mb_s", rounds),
                "ide_cd": compare(measure.read, dev["ide_cd"], dev["qemu_ide_cd"], "mb_s", rounds),
                "ncq": compare(measure.random, dev["disk"], dev["qemu_disk"], "iops", rounds)}
        finally:
            measure.close()


def report(results):
    """Lines for people."""
    for key, name in (("ahci_cd", "AHCI CD"), ("ide_cd", "IDE CD by DMA")):
        r = results[key]
        yield (f"{name}, {MEGABYTES} MB by dd bs=1M: {r['mb_s']:.0f} MB/s, QEMU's own {r['qemu_mb_s']:.0f}; "
               f"{r['ratio']:.2f} of it (goal 1); CPU {r['cpu_s']:.2f} s, QEMU's {r['qemu_cpu_s']:.2f} s")
    r = results["ncq"]
    yield (f"AHCI disk, random 4 KiB at depth {DEPTH}: {r['iops']:.0f}/s, QEMU's own {r['qemu_iops']:.0f}; "
           f"{r['ratio']:.2f} of it (goal 1); CPU for 10000 {r['cpu_s']:.2f} s, QEMU's "
           f"{r['qemu_cpu_s']:.2f} s")


def main():
    """Run and print."""
    args = [a for a in sys.argv[1:] if not a.startswith("--")]
    results = run(Path(args[0] if args else ROOT / "build").resolve())
    print(json.dumps(results, indent=1) if "--json" in sys.argv else "\n".join(report(results)))


if __name__ == "__main__":
    main()
