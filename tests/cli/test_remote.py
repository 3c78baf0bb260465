"""Devices that are programs, behind the real daemon: both forms, and every way in which a program can go wrong."""

import os
import re
import shlex
import socket
import struct
import subprocess
import sys
import threading
import time

import pytest
from conftest import ROOT, outboard, outboard_json, refused
from test_device import connect, exchange, register, serve

COUNTER = ROOT / "examples/device-shell/device.sh"
ONES = 0xffffffff
# A device in lines of JSON that does as BAR 0's register 0x10 is told.
PROGRAM = """
import json, os, sys, time

def say(**message):
    print(json.dumps(message), flush=True)

for line in sys.stdin:
    m = json.loads(line)
    op = m["op"]
    if op == "hello":
        once = m["properties"].get("file")
        again = os.path.exists(once) if once else False
        mode = m["properties"].get("mode", "")
        if mode == "refuse":
            say(op="error", text="the moon is full")
        elif mode == "silent":
            time.sleep(60)
        elif mode == "other" and again:
            say(op="describe", protocol=1, vendor=1, device=3, bars=[{"index": 0, "size": 4096}],
                properties=["mode", "file"])
        else:
            say(op="describe", protocol=1, vendor=1, device=2, intx=0 if mode == "no-intx" else 1,
                bars=[{"index": 0, "size": 4096}], properties=["mode", "file"])
        if once:
            open(once, "a").close()
    elif op == "reset":
        say(op="done", id=m["id"])
    elif op == "read" and m["offset"] == 0x20:      # answered when the test says so
        while not os.path.exists(once + ".go"):
            time.sleep(0.01)
        say(op="done", id=m["id"], value=7)
    elif op == "read" and m["offset"] == 0x24:
        pass                                        # never
    elif op == "read" and m["offset"] == 0x28:
        sys.exit(0)
    elif op == "read":
        say(op="done", id=m["id"], value=m["offset"] + 0x1000)
    elif op == "write":
        say(op="log", level="info", text="told %d" % m["value"])
        what = m["value"]
        if what == 2: print("no JSON at all", flush=True)
        if what == 3: say(op="done", id=12345678, value=1)
        if what == 4: say(op="irq", level=1)
        if what == 5: say(op="dma_read", id=1, address=0, length=1 << 20)
        if what == 6: print("x" * 300000, flush=True)
        if what == 7: say(op="msi", vector=9)
        if what == 8: os._exit(9)
        if what == 10: say(op="frobnicate")
        if what == 11: say(op="dma_read", id=2, address=0x1000, length=64)
    elif op == "done":
        say(op="log", level="warn", text="done %s" % m.get("error", "well"))
"""


@pytest.fixture(name="program")
def fixture_program(tmp_path):
    path = tmp_path / "prog"
    path.write_text(f"#!{sys.executable}\n{PROGRAM}", encoding="ascii")
    path.chmod(0o755)
    return path


class Daemon:
    """outboard serve with one device, and a client on it."""

    def __init__(self, tmp_path, device):
        self.child, _ = serve(tmp_path, "--device", f"{device},id=toy",
                              "--attach", f"vfio-user,socket={tmp_path}/s,device=toy")
        self.sock = connect(tmp_path / "s")
        self.said = ""

    def write(self, value, offset=0x10):
        """Four bytes to BAR 0."""
        exchange(self.sock, 10, struct.pack("<QIII", offset, 0, 4, value))

    def read(self, offset=0):
        """Four bytes of BAR 0."""
        return register(self.sock, offset)

    def alive(self):
        """Wait until the device answers (again)."""
        end = time.monotonic() + 60
        while self.read(0) == ONES:
            assert time.monotonic() < end, "it does not come back"
            time.sleep(0.02)

    def end(self):
        """End the daemon in an orderly way; what it logged."""
        self.child.terminate()
        assert self.child.wait(20) == 0
        return self.child.stderr.read()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.sock.close()
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()
        for pipe in (self.child.stdout, self.child.stderr):
            pipe.close()


def test_refusals(program, tmp_path):
    """Before there is a device: the message names the program and the reason."""
    refused("device", "info", f"exec:{tmp_path}/none", says=f"cannot run {tmp_path}/none: No such file")
    refused("device", "info", f"exec:{program},mode=refuse", says="the moon is full")
    refused("device", "info", f"exec:{program},colour=red", says='no option "colour"')
    refused("device", "info", f"exec:{program},timeout=1", says="timeout=1")
    refused("device", "info", "exec:", says="exec:")
    refused("device", "info", "exec:'unbalanced", says="unbalanced")
    refused("device", "info", f"unix:{tmp_path}/nobody", says="nobody")
    refused("device", "info", "tcp:127.0.0.1:1", says="127.0.0.1:1")
    refused("device", "info", "tcp:127.0.0.1", says="tcp:127.0.0.1")
    refused("device", "info", "exec:cat", says='"hello"')
    refused("device", "info", "exec:true", says="true")


@pytest.mark.parametrize("description, says", [
    ('"vendor":1', "device"),
    ('"vendor":65536,"device":1', "vendor"),
    ('"vendor":1,"device":1,"bars":[{"index":0,"size":4095}]', "4095"),
    ('"vendor":1,"device":1,"bars":[{"index":6,"size":4096}]', "index"),
    ('"vendor":1,"device":1,"bars":[{"index":0,"size":16},{"index":0,"size":16}]', "0"),
    ('"vendor":1,"device":1,"msi":3', "3"),
    ('"vendor":1,"device":1,"intx":5', "intx"),
    ('"vendor":1,"device":1,"format":"morse"', "format"),
    ('"vendor":1,"device":1,"properties":[{"name":"x","type":"colour"}]', "type"),
    ('"vendor":1,"device":1,"protocol":2', "protocol"),
])
def test_wrong_descriptions(tmp_path, description, says):
    line = '{"op":"describe",%s%s}' % ("" if "protocol" in description else '"protocol":1,', description)
    path = tmp_path / "prog"
    path.write_text(f"#!/bin/sh\nread -r hello\necho '{line}'\nread -r more\n", encoding="ascii")
    path.chmod(0o755)
    refused("device", "info", f"exec:{path}", says=says)


def test_a_slow_answer_holds_nobody_up(program, tmp_path):
    """Another client of the same daemon reads while one read waits."""
    mark = tmp_path / "mark"
    child, _ = serve(tmp_path, "--device", f"exec:{program},id=a,timeout=20000,file={mark}", "--device", f"exec:{shlex.quote(str(COUNTER))},id=b",
                     "--attach", f"vfio-user,socket={tmp_path}/a,device=a",
                     "--attach", f"vfio-user,socket={tmp_path}/b,device=b")
    with child, connect(tmp_path / "a") as slow, connect(tmp_path / "b") as other:
        try:
            slow.sendall(struct.pack("<HHIIIQII", 7, 9, 32, 0, 0, 0x20, 0, 4))
            assert [register(other, 0) for _ in range(20)] == list(range(20))
            (tmp_path / "mark.go").touch()
            head = slow.recv(16, socket.MSG_WAITALL)
            body = slow.recv(struct.unpack("<I", head[4:8])[0] - 16, socket.MSG_WAITALL)
            assert struct.unpack("<I", body[16:])[0] == 7
        finally:
            child.kill()


@pytest.mark.parametrize("what, says", [
    (2, "JSON"), (3, "12345678"), (5, "1048576"), (6, "262144"), (7, "msi|MSI"), (8, "ended|exit|died|closed"),
    (10, "frobnicate"),
])
def test_trouble(program, tmp_path, what, says):
    """All ones, a line that names the device and the reason, and then it is there again."""
    with Daemon(tmp_path, f"exec:{program}") as toy:
        assert toy.read(8) == 0x1008
        toy.write(what)
        end = time.monotonic() + 30
        while toy.read(8) != ONES and time.monotonic() < end:
            pass                # until the program's word came
        toy.alive()
        assert toy.read(8) == 0x1008
        said = toy.end()
        assert re.search(rf"toy.*({says})", said), said


@pytest.mark.parametrize("offset", [0x24, 0x28])
def test_hang_and_death_in_a_read(program, tmp_path, offset):
    """The read that waits gives all ones in time; the next program answers again."""
    with Daemon(tmp_path, f"exec:{program},timeout=300") as toy:
        begin = time.monotonic()
        assert toy.read(offset) == ONES
        assert time.monotonic() - begin < 4, "longer than a VMM waits"
        toy.alive()
        assert toy.read(4) == 0x1004
        assert "toy" in toy.end()


def test_an_interrupt_that_was_not_described(program, tmp_path):
    with Daemon(tmp_path, f"exec:{program},mode=no-intx") as toy:
        toy.write(4)
        end = time.monotonic() + 30
        while toy.read(8) != ONES and time.monotonic() < end:
            pass
        toy.alive()
        assert re.search("toy.*(INTx|irq)", toy.end())


def test_it_returns_as_another(program, tmp_path):
    """A program that describes itself otherwise stays away, and the log says so once."""
    with Daemon(tmp_path, f"exec:{program},mode=other,file={tmp_path}/mark") as toy:
        assert toy.read(8) == 0x1008
        toy.write(8)
        time.sleep(2)           # the second one has come and gone by then, or the test is weaker
        assert [toy.read(8) for _ in range(3)] == [ONES] * 3
        said = toy.end()
        assert re.search("toy.*(describe|another|other)", said), said


def test_dma_without_a_machine_is_an_error_of_its_own(program, tmp_path):
    """The client gave no memory and no bus mastering: the program is told, the device lives."""
    with Daemon(tmp_path, f"exec:{program}") as toy:
        toy.write(11)
        assert toy.read(8) == 0x1008
        assert "done EACCES" in toy.end()


def test_sockets(program, tmp_path):
    """The same over unix and TCP: somebody else starts the program; it may come back."""
    def listen(family, address):
        server = socket.socket(family)
        server.bind(address)
        server.listen(4)
        def run():
            while True:
                try:
                    sock, _ = server.accept()
                except OSError:
                    return
                with sock:
                    subprocess.run([program], stdin=sock, stdout=sock, stderr=subprocess.DEVNULL, check=False)
        threading.Thread(target=run, daemon=True).start()
        return server

    with listen(socket.AF_UNIX, f"{tmp_path}/u") as unix, listen(socket.AF_INET, ("127.0.0.1", 0)) as tcp:
        port = tcp.getsockname()[1]
        for name in (f"unix:{tmp_path}/u", f"tcp:127.0.0.1:{port}"):
            work = tmp_path / name[:3]
            work.mkdir()
            with Daemon(work, name) as toy:
                assert toy.read(8) == 0x1008
                toy.write(8)
                toy.alive()
                assert toy.read(12) == 0x100c
        unix.shutdown(socket.SHUT_RDWR)
        tcp.shutdown(socket.SHUT_RDWR)


def test_no_program_outlives_its_daemon(program, tmp_path):
    """Also when that is killed."""
    with Daemon(tmp_path, f"exec:{program}") as toy:
        toy.read(0)
        children = subprocess.run(["pgrep", "-P", str(toy.child.pid)], stdout=subprocess.PIPE, text=True,
                                  check=True).stdout.split()
        assert children
        toy.child.kill()
        end = time.monotonic() + 20
        while any(os.path.exists(f"/proc/{pid}") for pid in children):
            assert time.monotonic() < end
            time.sleep(0.05)


def test_control(program, tmp_path):
    """ctl adds one by a path relative to where it is called."""
    child, _ = serve(tmp_path, "--optical", "id=cd0", "--attach", f"vhost-user,socket={tmp_path}/d")
    with child:
        try:
            done = outboard("ctl", "-s", tmp_path / "ctl", "add-device", f"exec:./{program.name} -x,id=new",
                            tmp_path / "n", cwd=tmp_path)
            assert done.stdout.strip() == "new"
            with connect(tmp_path / "n") as sock:
                assert register(sock, 8) == 0x1008
            outboard("ctl", "-s", tmp_path / "ctl", "remove-device", "new")
        finally:
            child.kill()
