"""From nothing to an interrupt seen in a guest: the commands of README.md, exactly as they stand there."""

import os
import re
import subprocess

import outboard
import pytest
from harness import ROOT

SECTION = "## A device of your own in five minutes"
TIMEOUT = 900       # for hangs, and for the first time ever, when packages are fetched


def section():
    """The walk's text."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return text.split(SECTION, 1)[1].split("\n## ", 1)[0]


def blocks():
    """The indented blocks of it: the walk, what is seen, the other languages' lines."""
    return [re.sub(r"(?m)^    ", "", block) for block in re.findall(r"(?:(?<=\n\n))(?:    .*\n)+", section())]


def commands(lang):
    """The walk for a language; for others than C with the one line replaced."""
    walk, _, python, program = blocks()
    c_line = next(line for line in walk.splitlines(True) if "--lang c" in line)
    return walk if lang == "c" else walk.replace(c_line, {"python": python, "exec": program}[lang])


def test_the_section_is_a_walk():
    """Four blocks, and lines that differ in the language alone."""
    walk, seen, python, program = blocks()
    assert walk.count("outboard device new") == 1 and walk.endswith("make test\n") and seen
    for line, lang in ((python, "python"), (program, "exec")):
        assert line == f"outboard device new adder --lang {lang}\n"


@pytest.mark.parametrize("lang", ["c", "python", "exec"])
def test_walk(tmp_path, lang):
    """In a folder where build/ is the build under test; what is made goes below it."""
    (tmp_path / "build").symlink_to(outboard.binary().resolve().parents[2])
    (tmp_path / "tmp").mkdir()
    env = {name: value for name, value in os.environ.items() if name != "OUTBOARD"}
    done = subprocess.run(["bash", "-euc", commands(lang)], cwd=tmp_path, timeout=TIMEOUT, text=True, check=False,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env=dict(env, TMPDIR=str(tmp_path / "tmp")))
    print(done.stdout)
    assert done.returncode == 0
    assert blocks()[1] in done.stdout
    project, = (tmp_path / "tmp").glob("*/adder")
    assert (project / "README.md").exists()
    assert "adder" in outboard.run("device", "info", {"c": f"{project}/adder.so", "python": f"{project}/adder.py",
                                                      "exec": f"exec:{project}/adder"}[lang]).stdout
