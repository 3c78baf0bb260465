"""What the tests of disk images share: our program, QEMU's tools, content worth storing."""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("OUTBOARD_BIN") or ROOT / "build/src/cli/outboard")
OUR_IO = Path(os.environ.get("OUR_IO") or ROOT / "build/tests/image/our_io")
MIB = 1 << 20
VERSIONS = ("7.2", "11.1")      # of QEMU: the host's own, and that of the trixie tree (guest/trixie.py)

sys.path.append(str(ROOT / "guest"))
import debs  # noqa: E402  pylint: disable=wrong-import-position
import trixie  # noqa: E402  pylint: disable=wrong-import-position


class Peers:
    """Which QEMU the tools are of; fixture "qemu" switches."""

    def __init__(self):
        self.version = VERSIONS[0]

    def command(self, program):
        """(argv, environment) that start one of QEMU's programs."""
        if self.version == VERSIONS[0]:
            return [program], {}
        return trixie.qemu(program)


PEERS = Peers()


def argv_of(*args):
    """(argv, environment) of a command line that may begin with one of QEMU's programs."""
    words = [str(a) for a in args]
    if not words[0].startswith("qemu-"):
        return words, dict(os.environ)
    argv, env = PEERS.command(words[0])
    return [*argv, *words[1:]], dict(os.environ, **env)


def pytest_generate_tests(metafunc):
    """Tests that use "qemu" run with both versions: those of BOTH always, the others with --full."""
    if "qemu" in metafunc.fixturenames:
        both = metafunc.config.getoption("--full") or getattr(metafunc.module, "BOTH", False)
        metafunc.parametrize("qemu", VERSIONS if both else VERSIONS[:1], indirect=True)


@pytest.fixture(name="qemu")
def fixture_qemu(request):
    """The test runs with the tools of a version."""
    PEERS.version = request.param
    if request.param != VERSIONS[0]:
        try:
            trixie.tree()
        except (debs.DebError, OSError) as err:
            PEERS.version = VERSIONS[0]
            pytest.skip(f"no QEMU {request.param}: {err}")
    yield request.param
    PEERS.version = VERSIONS[0]


def run(*args, status=0, **more):
    """Run a program; the exit status must be the one given. Returns what it printed."""
    argv, env = argv_of(*args)
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=120, check=False, env=env, **more)
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
    parser.addoption("--full", action="store_true", default="OUTBOARD_FULL" in os.environ,
                     help="more seeds, options and versions (or OUTBOARD_FULL in the environment)")


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
