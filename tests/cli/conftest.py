"""What the tests of the command line share: the program, small images, discs."""

import json
import os
import random
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("OUTBOARD_BIN") or ROOT / "build/src/cli/outboard")
TYPES = ("cd-r", "dvd-r", "dvd-rw", "dvd+r", "bd-r")
BLOCK = 2048


def outboard(*args, status=0, **more):
    """Run it; the exit status must be the one given. Returns the finished process."""
    done = subprocess.run([BIN, *map(str, args)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=120, check=False, **more)
    assert done.returncode == status, f"{args}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done


def outboard_json(*args, status=0, **more):
    """Run it with --json and return what it printed."""
    at = args.index("--") if "--" in args else len(args)
    return json.loads(outboard(*args[:at], "--json", *args[at:], status=status, **more).stdout)


def refused(*args, status=1, says="", **more):
    """It must fail and say why in one line on stderr, and print nothing else."""
    done = outboard(*args, status=status, **more)
    assert done.stdout == ""
    assert says in done.stderr, done.stderr
    return done.stderr


@pytest.fixture(name="image", scope="session")
def fixture_image(tmp_path_factory):
    """A file of random bytes that does not end with a block."""
    path = tmp_path_factory.mktemp("image") / "image.iso"
    path.write_bytes(random.Random(4711).randbytes(3_000_000))
    return path


@pytest.fixture(name="other", scope="session")
def fixture_other(tmp_path_factory):
    """Another one, of whole blocks."""
    path = tmp_path_factory.mktemp("image") / "other.iso"
    path.write_bytes(random.Random(815).randbytes(1000 * BLOCK))
    return path


@pytest.fixture(name="new_disc")
def fixture_new_disc(tmp_path):
    """Makes blank discs: new_disc("dvd+r", more options)."""
    def make(kind="dvd+r", *more, name="a.disc"):
        path = tmp_path / name
        outboard("disc", "create", path, "--type", kind, *more)
        return path
    return make
