"""tools/demo, what `make demo` runs after the build: its own checks pass, and it shows what it does."""

import os
import re
import subprocess

import outboard
from harness import ROOT

TIMEOUT = 400   # for hangs only: it takes about a minute


def test_demo(tmp_path):
    """Both discs are burned, read in the guest, verified and drawn; progress shows in plain lines."""
    log = tmp_path / "demo.log"
    with open(log, "wb") as out:
        status = subprocess.run([ROOT / "tools/demo"], stdin=subprocess.DEVNULL, stdout=out,
                                stderr=subprocess.STDOUT, timeout=TIMEOUT, check=False,
                                env=dict(os.environ, OUTBOARD_BIN=str(outboard.binary()))).returncode
    text = log.read_text(encoding="utf-8", errors="replace")
    assert status == 0, text
    for words in ("every file is as in the image", "files good", "$ outboard disc verify",
                  "$ outboard disc map", "the guest has powered off"):
        assert words in text, text
    assert re.search(r"growisofs burns files.iso \[[#.]+\] +\d+%", text), text
    assert "\033" not in text and "\r" not in text
    assert text.rstrip().splitlines()[-1].endswith("build/demo"), text
