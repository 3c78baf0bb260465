"""What the tests of disk images share: our program, QEMU's tools, content worth storing."""

import json
import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("OUTBOARD_BIN") or ROOT / "build/src/cli/outboard")
OUR_IO = Path(os.environ.get("OUR_IO") or ROOT / "build/tests/image/our_io")
MIB = 1 << 20


def run(*args, status=0, **more):
    """Run a program; the exit status must be the one given. Returns what it printed."""
    done = subprocess.run([str(a) for a in args], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=120, check=False, **more)
    assert done.returncode == status, f"{args}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def image(*args, status=0, **more):
    """Run outboard image."""
    return run(BIN, "image", *args, status=status, **more)


def info(*args):
    """What outboard image info says, as a dictionary."""
    done = subprocess.run([BIN, "image", "info", "--output=json", *map(str, args)], capture_output=True, text=True,
                          check=True)
    return json.loads(done.stdout)


def peer(*args, status=0):
    """Run qemu-img."""
    return run("qemu-img", *args, status=status)


def peer_io(path, *commands, fmt="qcow2"):
    """Run qemu-io commands on an image."""
    return run("qemu-io", "-f", fmt, *[w for c in commands for w in ("-c", c)], path)


def good(path):
    """No errors and no leaks for QEMU and for us."""
    peer("check", "-f", "qcow2", path)
    image("check", "-f", "qcow2", path)


def same(path, raw, fmt="qcow2", allow=False):
    """QEMU and we read in path what is in raw."""
    peer("compare", "-f", fmt, "-F", "raw", path, raw)
    image("compare", *(["--allow-references"] if allow else []), "-f", fmt, "-F", "raw", path, raw)


def our_io(path, *commands, status=0):
    """Run requests of our own on an image: see our_io.c."""
    return run(OUR_IO, path, *commands, status=status)


def pytest_addoption(parser):
    """--full: more of everything."""
    parser.addoption("--full", action="store_true", help="more seeds and options")


def pytest_collection_modifyitems(items):
    """Without QEMU's tools there is nothing to compare with."""
    if shutil.which("qemu-img") and shutil.which("qemu-io"):
        return
    for item in items:
        item.add_marker(pytest.mark.skip(reason="no qemu-img here (Debian: qemu-utils)"))


def content(length, seed):
    """Random pieces, text that compresses, and holes."""
    rand, data, at = random.Random(seed), bytearray(length), 0
    while at < length:
        n = min(rand.choice((512, 3000, 65536, 200000)), length - at)
        kind = rand.randrange(3)
        if kind == 0:
            data[at:at + n] = rand.randbytes(n)
        elif kind == 1:
            data[at:at + n] = (b"%08d is a number " % at * (n // 20 + 1))[:n]
        at += n
    return bytes(data)


@pytest.fixture(name="raw", scope="session")
def fixture_raw(tmp_path_factory):
    """A raw image of 5 MiB and a half sector's worth less."""
    path = tmp_path_factory.mktemp("raw") / "source.raw"
    path.write_bytes(content(5 * MIB - 512, 1))
    return path
