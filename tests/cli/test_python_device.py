"""A device in Python behind the real daemon: what it raises is logged and reads as all ones, and everything goes on."""

import json
import os
import re
import signal
import struct
import subprocess
import time

import pytest
from conftest import ROOT, outboard, outboard_json, refused
from test_device import connect, exchange, register, serve

EDU = ROOT / "examples/device-python/edu.py"
BROKEN = """
import outboard

class Broken(outboard.Device):
    vendor, device = 0x1234, 0x0bad
    good = outboard.Register(0x00, reset=0x600d)
    bad = outboard.Register(0x04)
    end = outboard.Register(0x08)
    size = outboard.Property("size", default=64, max=1 << 20)

    def open(self):
        if self.size == 13:
            raise outboard.Refused("size=13 brings bad luck")

    @bad.reader
    def bad(self):
        raise RuntimeError("this is the reason")

    @bad.writer
    def bad(self, value):
        self.nothing.is_there = value

    @end.reader
    def end(self):
        raise SystemExit(3)

outboard.run(Broken)
"""


@pytest.fixture(name="broken")
def fixture_broken(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text(BROKEN, encoding="ascii")
    return path


def write(sock, offset, value):
    """Four bytes to BAR 0."""
    exchange(sock, 10, struct.pack("<QIII", offset, 0, 4, value))


def test_info(broken):
    shown = outboard_json("device", "info", EDU)
    assert shown["name"] == "edu" and shown["identity"]["id"] == "1234:11e8"
    assert shown["interrupts"] == {"intx": 1, "msi": 1, "msix": 0}
    assert [p["name"] for p in shown["properties"]][:1] == ["dma-mask"]
    builtin = outboard_json("device", "info", "edu")
    assert shown["identity"] == builtin["identity"] and shown["bars"] == builtin["bars"]
    refused("device", "info", f"{broken},size=13", says="size=13 brings bad luck")
    refused("device", "info", f"{broken},size=2M", says="size=2M")
    refused("device", "info", f"{broken},colour=red", says="colour")
    outboard("device", "info", f"{broken},size=1M")


def test_exceptions(tmp_path, broken):
    """Also of the program's end: it is started again."""
    child, _ = serve(tmp_path, "--device", f"{broken},id=b", "--device", f"{EDU},id=e",
                     "--attach", f"vfio-user,socket={tmp_path}/b,device=b",
                     "--attach", f"vfio-user,socket={tmp_path}/e,device=e")
    with child:
        try:
            with connect(tmp_path / "b") as sock, connect(tmp_path / "e") as other:
                assert register(sock, 0) == 0x600d
                assert register(sock, 4) == 0xffffffff
                write(sock, 4, 1)
                write(sock, 0, 0x1234)
                assert register(sock, 0) == 0x1234 and register(other, 0) == 0x010000ed
                assert register(sock, 8) == 0xffffffff
                while register(sock, 0) != 0x600d:      # dead, then new
                    assert register(other, 0) == 0x010000ed
                assert register(sock, 4) == 0xffffffff
                child.send_signal(signal.SIGTERM)
                assert sock.recv(1) == b"" and other.recv(1) == b""
            assert child.wait(20) == 0
            said = child.stderr.read()
            assert "RuntimeError: this is the reason" in said and re.search(r"line \d+, in bad", said)
            assert "AttributeError" in said and "reading bad failed:" in said and "writing bad failed:" in said
        finally:
            if child.poll() is None:
                child.kill()


def test_status_names_it(tmp_path):
    child, ready = serve(tmp_path, "--device", EDU, "--attach", f"vfio-user,socket={tmp_path}/e")
    with child:
        try:
            assert ready[0]["device"] == "dev0"
            shown, = json.loads(outboard("ctl", "-s", tmp_path / "ctl", "status", "--json").stdout)["devices"]
            assert (shown["driver"], shown["class"], shown["vendor"]) == (str(EDU), "edu", "0x1234")
            child.terminate()
            assert child.wait(20) == 0 and child.stderr.read() == ""
        finally:
            if child.poll() is None:
                child.kill()


def test_on_a_socket(tmp_path):
    """The same program where somebody else started it."""
    path = tmp_path / "edu.sock"
    env = dict(os.environ, PYTHONPATH=str(ROOT / "python"), PYTHONDONTWRITEBYTECODE="1")
    with subprocess.Popen([EDU, "--unix", path], env=env) as program:
        try:
            while not path.exists():
                assert program.poll() is None
                time.sleep(0.01)
            assert outboard_json("device", "info", f"unix:{path}")["name"] == "edu"
            child, _ = serve(tmp_path, "--device", f"unix:{path},id=a", "--device", f"unix:{path},id=b",
                             "--attach", f"vfio-user,socket={tmp_path}/a,device=a",
                             "--attach", f"vfio-user,socket={tmp_path}/b,device=b")
            with child:
                try:
                    with connect(tmp_path / "a") as a, connect(tmp_path / "b") as b:
                        write(a, 4, 1)
                        assert register(a, 4) == 0xfffffffe and register(b, 4) == 0
                    child.terminate()
                    assert child.wait(20) == 0 and child.stderr.read() == ""
                finally:
                    if child.poll() is None:
                        child.kill()
            assert program.poll() is None       # it serves whoever comes next
            assert outboard_json("device", "info", f"unix:{path}")["name"] == "edu"
        finally:
            program.kill()
