#!/usr/bin/python3
"""outboard image convert against qemu-img of both versions: interleaved rounds, medians, CPU time of both.

usage: bench/convert.py [BUILD_DIR] [--json]
"""
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "guest"))
import debs  # noqa: E402
import trixie  # noqa: E402

MEGABYTES = 512
ROUNDS = 7
CASES = (("raw", "raw"), ("raw", "qcow2"), ("qcow2", "raw"))


def programs(build):
    """Name: (argv, environment) of every program that converts."""
    found = {"outboard": ([build / "src/cli/outboard", "image"], {}), "qemu-img 7.2": (["qemu-img"], {})}
    try:
        found["qemu-img 11.1"] = trixie.qemu("qemu-img")
    except (debs.DebError, OSError) as err:
        print(f"bench: without qemu-img 11.1: {err}", file=sys.stderr)
    return found


def make_sources(folder):
    """A quarter of holes, a quarter of zeros, the rest random; as raw and as qcow2."""
    rand = random.Random(5)
    with open(folder / "source.raw", "wb") as file:
        for n in range(MEGABYTES):
            if n % 4 == 0:
                file.seek(1 << 20, os.SEEK_CUR)
            else:
                file.write(bytes(1 << 20) if n % 4 == 1 else rand.randbytes(1 << 20))
        file.truncate(MEGABYTES << 20)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", folder / "source.raw", folder / "source.qcow2"],
                   check=True)


def convert(program, case, folder):
    """(seconds, CPU seconds) of one conversion into a new file."""
    argv, env = program
    out = folder / "out"
    out.unlink(missing_ok=True)
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run([*argv, "convert", "-f", case[0], "-O", case[1], folder / f"source.{case[0]}", out],
                   env=dict(os.environ, **env), check=True, stdout=subprocess.DEVNULL)
    seconds, after = time.monotonic() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def run(build, place):
    """Medians of every case on a file system, and the ratios of each peer's to ours."""
    found, result = programs(build), {}
    with tempfile.TemporaryDirectory(dir=place) as work:
        folder = Path(work)
        make_sources(folder)
        for case in CASES:
            times = {name: [] for name in found}
            for _ in range(ROUNDS):
                for name, program in found.items():
                    times[name].append(convert(program, case, folder))
            row = {name: {"s": statistics.median(t[0] for t in all_of), "cpu_s": statistics.median(t[1] for t in all_of)}
                   for name, all_of in times.items()}
            for name, all_of in times.items():
                row[name]["ratio"] = statistics.median(t[0] / o[0] for t, o in zip(all_of, times["outboard"]))
            result[f"{case[0]} to {case[1]}"] = row
    return result


def report(results):
    """Lines for people."""
    for place, cases in results.items():
        for case, row in cases.items():
            peers = "; ".join(f"{name} takes {r['ratio']:.2f} times as long ({r['s']:.2f} s, CPU {r['cpu_s']:.2f} s)"
                              for name, r in row.items() if name != "outboard")
            ours = row["outboard"]
            yield f"{place}: convert {case} {ours['s']:.2f} s, CPU {ours['cpu_s']:.2f} s; {peers} (goal 1)"


def places():
    """Where it is measured."""
    found = {"disk": tempfile.gettempdir()}
    if os.access("/dev/shm", os.W_OK):
        found["tmpfs"] = "/dev/shm"
    return found


def main():
    """As a program of its own."""
    args = [a for a in sys.argv[1:] if not a.startswith("--")]
    build = Path(args[0] if args else ROOT / "build").resolve()
    results = {name: run(build, place) for name, place in places().items()}
    print(json.dumps(results, indent=1) if "--json" in sys.argv else "\n".join(report(results)))


if __name__ == "__main__":
    main()
