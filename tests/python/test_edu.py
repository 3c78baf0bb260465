"""The example: the teaching device in Python answers as the one in C does; and the templates' devices."""

import re
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT, Daemon

EDU = ROOT / "examples/device-python/edu.py"


@pytest.fixture(name="edu", params=["python", "c++"])
def fixture_edu(request, tmp_path):
    """The example in one of its languages, with a mask for its addresses."""
    argv = [sys.executable, EDU]
    if request.param == "c++":
        argv = [tmp_path / "edu"]
        subprocess.run(["c++", "-std=c++17", "-Wall", "-Wextra", "-Wshadow", "-Werror", "-fsanitize=address,undefined",
                        "-fno-sanitize-recover", "-o", argv[0], ROOT / "examples/device-cpp/edu.cc"], check=True)
    started = Daemon(argv, properties={"dma-mask": "0xffff"})
    yield started
    started.child.kill()
    started.child.wait()


def test_edu(edu):
    d = edu
    d.reset("start")
    assert d.described["bars"][0]["size"] == 1 << 20 and int(str(d.described["class"]), 0) == 0x00ff00
    assert d.read(0) == 0x010000ed and d.read(0, 8) == (1 << 64) - 1
    d.write(4, 0x12345678)
    assert d.read(4) == 0xedcba987
    d.write(0x20, 0x80)
    d.write(8, 12)
    assert d.expect("irq")["level"] == 1
    assert d.read(8) == 479001600 and d.read(0x24) == 1 and d.read(0x20) == 0x80
    d.write(0x64, 1)
    assert d.expect("irq")["level"] == 0
    d.state(msi="msi")
    d.write(0x60, 2)
    assert d.expect("msi")["vector"] == 0
    d.write(0x80, 0x12345678, 8)
    d.write(0x88, 0x40ff0, 8)
    d.write(0x90, 16)
    d.write(0x98, 5)
    d.write(0x90, 1)                    # not while it runs
    request = d.expect("dma_read")
    assert (request["address"], request["length"]) == (0x5678, 16)
    assert d.read(0x98) == 5
    d.answer(request, b"0123456789abcdef")
    assert d.expect("msi")
    assert d.read(0x98) == 4 and d.read(0x24) == 0x102
    d.write(0x80, 0x40ff0, 8)
    d.write(0x88, 0x9000)
    d.write(0x98, 3)
    request = d.expect("dma_write")
    assert (request["address"], bytes.fromhex(request["data"])) == (0x9000, b"0123456789abcdef")
    d.answer(request, error="EFAULT")
    while d.read(0x98) & 1:
        pass
    assert any("DMA failed" in line for line in d.log)
    d.write(0x90, 17)
    d.write(0x98, 1)
    while d.read(0x98) & 1:
        pass
    assert any("leaves the buffer" in line for line in d.log)
    assert d.end() == (0, "")


@pytest.mark.parametrize("lang", ["python", "exec"])
def test_template(tmp_path, lang):
    """A sum, an error, a reset in between, with the device that `outboard device new` writes."""
    path = tmp_path / "adder"
    source, = (ROOT / "templates" / lang).glob("NAME*[!d]" if lang == "python" else "NAME")
    path.write_text(source.read_text(encoding="utf-8").replace("@NAME@", "adder"), encoding="utf-8")
    argv = [sys.executable, path] if lang == "python" else [shutil.which("dash") or "sh", path]
    d = Daemon(argv)
    try:
        assert (d.described["name"], d.described["intx"], d.described["msi"]) == ("adder", 1, 1)
        d.reset("start")
        d.state()
        assert d.read(0) == 0x0add0001 and d.read(0x40) == 0xffffffff
        d.write(8, 300)
        d.write(0x10, 0x89abcdef)
        d.write(0x14, 0x01234567)
        d.write(0x18, 0x1000)
        assert d.read(0x10) == 0x89abcdef and d.read(0x18) == 0x1000

        def begin():
            d.write(0x20, 1)
            request = d.expect("dma_read")
            assert (int(str(request["address"]), 0), request["length"]) == (0x0123456789abcdef, 300)
            assert d.read(4) == 1
            return request
        d.answer(begin(), b"\xff" * 300)
        request = d.expect("dma_write")
        assert int(str(request["address"]), 0) == 0x1000
        assert int.from_bytes(bytes.fromhex(request["data"]), "little") == 300 * 255
        d.answer(request)
        assert d.expect("irq")["level"] == 1
        assert d.read(4) == 2 and d.read(0x24) == 1
        d.write(4, 2)
        assert d.expect("irq")["level"] == 0
        d.answer(begin(), error="EFAULT")
        assert d.expect("irq")["level"] == 1
        assert d.read(4) == 4 and d.read(0x24) == 1
        d.answer(begin(), error="ECANCELED")
        d.reset()
        assert d.read(4) == 0 and d.read(8) == 0
        d.write(0x20, 1)                # LEN is 0
        assert d.expect("irq")["level"] == 1
        assert d.read(4) == 4
        assert d.end() == (0, "")
    finally:
        d.child.kill()


def test_example_runs_by_itself():
    """Its help tells how it is used."""
    done = subprocess.run([sys.executable, EDU, "--help"], capture_output=True, text=True, check=True,
                          env={"PYTHONPATH": str(ROOT / "python"), "PYTHONDONTWRITEBYTECODE": "1"})
    assert "--unix PATH" in done.stdout and "--tcp HOST:PORT" in done.stdout


def test_example_of_the_page(tmp_path):
    """What docs/python.md shows works."""
    page = (ROOT / "docs/python.md").read_text(encoding="utf-8")
    path = tmp_path / "dice.py"
    path.write_text(re.search(r"```python\n(.*?)```", page, re.S)[1], encoding="utf-8")
    d = Daemon([sys.executable, path], properties={"sides": "2"})
    assert d.described["properties"][0]["max"] == 256
    d.write(8, 0x123456789abc, 8)
    d.write(0x10, 9)
    request = d.expect("dma_write")
    assert request["address"] == 0x123456789abc and len(request["data"]) == 18
    assert set(bytes.fromhex(request["data"])) <= {1, 2}
    d.answer(request)
    assert d.expect("irq")["level"] == 1
    d.write(4, 0)
    assert d.expect("irq")["level"] == 0 and d.read(4) == 0
    assert d.end() == (0, "")
