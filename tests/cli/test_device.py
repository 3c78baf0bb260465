"""device list and info, and --device of serve and run: what they print, add, refuse and leave behind."""

import json
import os
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import time

import pytest
from conftest import BIN, ROOT, outboard, outboard_json, refused

PLUGIN = BIN.resolve().parents[2] / "tests/unit/device/edu-plugin.so"
EDU_BAR = 1 << 20


def test_list():
    names = [device["name"] for device in outboard_json("device", "list")["devices"]]
    assert "edu" in names
    assert [line.split()[0] for line in outboard("device", "list").stdout.splitlines()] == names


@pytest.mark.parametrize("spec", ["edu", str(PLUGIN)])
def test_info(spec):
    info = outboard_json("device", "info", spec)
    assert info["name"] == "edu"
    assert info["identity"]["id"] == "1234:11e8" and info["identity"]["class"] == "00ff00"
    assert [(bar["index"], bar["kind"], bar["length"]) for bar in info["bars"]] == [(0, "memory", EDU_BAR)]
    assert info["interrupts"] == {"intx": 1, "msi": 1, "msix": 0}
    mask, = [p for p in info["properties"] if p["name"] == "dma-mask"]
    assert mask["type"] == "uint" and mask["default"] == 0x0fffffff and not mask["required"]
    assert mask["min"] == 0 and mask["max"] == "0xffffffffffffffff"
    text = outboard("device", "info", spec).stdout
    assert "PCI 1234:11e8" in text and "BAR 0: memory" in text and "property dma-mask=: 0 to 0xffff" in text


@pytest.mark.parametrize("spec, says", [
    ("edu,dma-mask=many", "dma-mask=many: must be a number from 0 to 18446744073709551615"),
    ("edu,dma_mask=1", 'no option "dma_mask" here; known: driver, id, dma-mask'),
    ("eduu", "there is no device"),
    ("mydev.so", "with a slash in it"),
    ("./none.so", "./none.so"),
    ("/etc/hostname", "is no shared library"),
    ("exec:/none/prog", "cannot run /none/prog: No such file or directory"),
    ("exec:false", "program false ended with status 1 before it described a device"),
    ("exec:sh -c 'echo A=B; read x',id=y", "a line that is no JSON object"),
    (f"exec:{shlex.quote(str(ROOT / 'examples/device-shell/device.sh'))},start=x", "start=x: must be a number from 0 to 1000000"),
    (f"exec:{shlex.quote(str(ROOT / 'examples/device-shell/device.sh'))},stop=1", 'no option "stop" here; known: driver, id, timeout, start'),
    ("unix:/none/sock", "cannot connect to unix:/none/sock: No such file or directory"),
    ("tcp:here", "tcp:here: must be tcp:HOST:PORT"),
    ("/none/dev.py", "/none/dev.py"),
])
def test_refused(tmp_path, spec, says):
    refused("device", "info", spec, says=says)
    refused("serve", "--device", spec, "--attach", f"vfio-user,socket={tmp_path}/s", says=says)
    assert not os.listdir(tmp_path)


def receive(sock, n):
    """Exactly n bytes."""
    data = b""
    while len(data) < n:
        piece = sock.recv(n - len(data))
        assert piece, "the connection ended"
        data += piece
    return data


def exchange(sock, command, payload):
    """A vfio-user command; the payload of its answer."""
    sock.sendall(struct.pack("<HHIII", 1, command, 16 + len(payload), 0, 0) + payload)
    _, _, size, flags, error = struct.unpack("<HHIII", receive(sock, 16))
    body = receive(sock, size - 16)
    assert not flags & 0x20, f"error {error}"
    return body


def connect(path):
    """A client after the version command."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(20)
    sock.connect(str(path))
    exchange(sock, 1, struct.pack("<HH", 0, 1) + b'{"capabilities":{}}\0')
    return sock


def register(sock, offset):
    """Four bytes of BAR 0."""
    return struct.unpack("<I", exchange(sock, 9, struct.pack("<QII", offset, 0, 4))[16:])[0]


def serve(tmp_path, *args):
    """A daemon; its ready objects come with it."""
    child = subprocess.Popen([BIN, "serve", *map(str, args), "--control", f"{tmp_path}/ctl", "--json"],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines = [child.stdout.readline() for _ in range(args.count("--attach"))]
    assert all(lines), child.stderr.read()
    return child, [json.loads(line) for line in lines]


def test_serve(tmp_path):
    """Two devices beside a drive; SIGTERM under connected clients ends it in order."""
    child, ready = serve(tmp_path, "--optical", "id=cd0", "--device", "edu,id=one", "--device", f"{PLUGIN},id=two",
                         "--attach", f"vfio-user,socket={tmp_path}/two,device=two",
                         "--attach", f"vhost-user,socket={tmp_path}/drives",
                         "--attach", f"vfio-user,socket={tmp_path}/one,device=one")
    with child:
        try:
            assert [(r["ready"], r.get("device")) for r in ready] == [
                ("vfio-user", "two"), ("vhost-user", None), ("vfio-user", "one")]
            value = json.dumps({"driver": "vfio-user-pci", "socket": {"type": "unix", "path": f"{tmp_path}/two"}},
                               separators=(",", ":"))
            assert ready[0]["qemu"].endswith(f" -device '{value}'") and "share=on" in ready[0]["qemu"]
            with connect(tmp_path / "one") as one, connect(tmp_path / "two") as two:
                assert register(one, 0) == 0x010000ed and register(two, 0) == 0x010000ed
                status = outboard_json("ctl", "-s", tmp_path / "ctl", "status")
                assert [(d["id"], d["driver"], d["class"], d["vendor"]) for d in status["devices"]] == [
                    ("one", "edu", "edu", "0x1234"), ("two", str(PLUGIN), "edu", "0x1234")]
                shown = {a["socket"]: a for a in status["attachments"]}[f"{tmp_path}/one"]
                assert shown["clients"] == 1 and shown["accesses"] == 1 and shown["protocol_errors"] == 0
                text = outboard("ctl", "-s", tmp_path / "ctl", "status").stdout
                assert "device one" in text and "device two, 1 accesses" in text and "drive cd0" in text
                begin = time.monotonic()
                child.send_signal(signal.SIGTERM)
                assert one.recv(1) == b"" and two.recv(1) == b""    # shut down, and what we send is still taken
                one.sendall(struct.pack("<HHIII", 2, 13, 16, 0, 0))
                two.sendall(struct.pack("<HHIII", 2, 13, 16, 0, 0))
                assert child.wait(20) == 0
                assert time.monotonic() - begin < 10
            assert child.stderr.read() == ""
            assert not os.listdir(tmp_path)
        finally:
            if child.poll() is None:
                child.kill()


def test_add_and_remove(tmp_path):
    child, _ = serve(tmp_path, "--optical", "id=cd0", "--attach", f"vhost-user,socket={tmp_path}/drives")
    with child:
        try:
            control = ("ctl", "-s", tmp_path / "ctl")
            assert outboard(*control, "add-device", "edu", tmp_path / "one").stdout == "dev0\n"
            (tmp_path / "here").mkdir()
            (tmp_path / "here/my.so").symlink_to(PLUGIN)
            done = outboard(*control, "add-device", "./my.so,id=two", "two", cwd=tmp_path / "here")    # our folder
            assert done.stdout == "two\n"
            refused(*control, "add-device", "edu,dma-mask=x", tmp_path / "three", says="dma-mask=x")
            with connect(tmp_path / "one") as one, connect(tmp_path / "here/two") as two:
                assert register(one, 0) == register(two, 0) == 0x010000ed
                outboard(*control, "remove-device", "two")
                assert two.recv(1) == b""
                assert register(one, 0) == 0x010000ed
            assert [d["id"] for d in outboard_json(*control, "status")["devices"]] == ["dev0"]
            assert not (tmp_path / "here/two").exists() and not (tmp_path / "three").exists()
            refused(*control, "remove-device", "two", says="there is no device 'two'")
            child.terminate()
            assert child.wait(20) == 0 and child.stderr.read() == ""
        finally:
            if child.poll() is None:
                child.kill()


def test_shell_program(tmp_path):
    """The example in shell behind a socket; its daemon takes it along when it is killed."""
    example = ROOT / "examples/device-shell/device.sh"
    child, _ = serve(tmp_path, "--device", f"exec:{shlex.quote(str(example))},start=41",
                     "--attach", f"vfio-user,socket={tmp_path}/s")
    with child:
        try:
            with connect(tmp_path / "s") as sock:
                assert [register(sock, 0), register(sock, 0), register(sock, 4)] == [41, 42, 0]
                exchange(sock, 10, struct.pack("<QIII", 4, 0, 4, 7))
                assert register(sock, 4) == 7
            control = ("ctl", "-s", tmp_path / "ctl")
            (tmp_path / "prog").symlink_to(example)
            outboard(*control, "add-device", "exec:./prog,id=two", "two", cwd=tmp_path)    # our folder
            with connect(tmp_path / "two") as sock:
                assert register(sock, 0) == 0
            child.terminate()
            assert child.wait(20) == 0
            assert "the LEDs show 7" in child.stderr.read()
        finally:
            if child.poll() is None:
                child.kill()


@pytest.mark.skipif(not shutil.which("g++"), reason="no g++")
def test_cpp_program(tmp_path):
    """The example in C++: nothing but a compiler is needed, and it is an edu."""
    program = tmp_path / "edu"
    subprocess.run(["g++", "-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-o", program,
                    ROOT / "examples/device-cpp/edu.cc"], check=True)
    info, edu = outboard_json("device", "info", f"exec:{shlex.quote(str(program))}"), outboard_json("device", "info", "edu")
    assert [info[key] for key in ("identity", "bars", "interrupts")] == [
        edu[key] for key in ("identity", "bars", "interrupts")]
    child, _ = serve(tmp_path, "--device", f"exec:{shlex.quote(str(program))}", "--attach", f"vfio-user,socket={tmp_path}/s")
    with child:
        try:
            with connect(tmp_path / "s") as sock:
                assert register(sock, 0) == 0x010000ed
                for offset, value, where, expected in ((4, 0x12345678, 4, 0xedcba987), (8, 5, 8, 120),
                                                       (0x60, 3, 0x24, 3), (0x64, 3, 0x24, 0)):
                    exchange(sock, 10, struct.pack("<QIII", offset, 0, 4, value))
                    assert register(sock, where) == expected
            child.terminate()
            assert child.wait(20) == 0 and child.stderr.read() == ""
        finally:
            if child.poll() is None:
                child.kill()


def test_plain_ready_line(tmp_path):
    with subprocess.Popen([BIN, "serve", "--device", "edu", "--attach", f"vfio-user,socket={tmp_path}/s"],
                          stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == f"ready: {tmp_path}/s (dev0)\n"
        assert f'"path":"{tmp_path}/s"' in child.stdout.readline()
        child.terminate()
        assert child.wait(20) == 0


@pytest.fixture(name="vmm")
def fixture_vmm(tmp_path):
    """Makes a VMM of a version: it does what its first argument says."""
    def make(version):
        path = tmp_path / "qemu-system-test"
        path.write_text(f"#!/bin/sh\n[ \"$1\" = -version ] && {{ echo QEMU emulator version {version}; exit; }}\n"
                        "shift\neval \"$1\"\n", encoding="ascii")
        path.chmod(0o755)
        return path
    return make


def test_run(tmp_path, vmm, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    program = vmm("10.1.0")
    line = outboard_json("run", "--print", "--device", "edu", "--", program)
    device, = [json.loads(a["value"]) for a in line["added"] if a["option"] == "-device"]    # no drive beside it
    assert device["driver"] == "vfio-user-pci" and device["socket"]["path"].endswith("/device-dev0.sock")
    line = outboard_json("run", "--print", "--optical", "id=x", "--device", "edu", "--device", "edu", "--", program)
    assert [a["option"] for a in line["added"]] == ["-object", "-machine", "-chardev", "-device", "-device", "-device"]
    outboard("run", "--device", "edu,id=a", "--", program, "-x",
             "test -S outboard-*/device-a.sock && ! test -e outboard-*/drives.sock && exit 7", cwd=tmp_path, status=7)
    refused("run", "--device", "edu,dma-mask=x", "--", program, "-x", "true", says="dma-mask=x")
    assert os.listdir(tmp_path) == [program.name]


def test_run_with_an_old_qemu(vmm):
    refused("run", "--device", "edu", "--", vmm("10.0.2"), "-x", "true", status=2,
            says="needs QEMU 10.1 or newer")
