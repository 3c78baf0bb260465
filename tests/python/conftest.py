"""The daemon's end of the device protocol, for devices that are tests' own classes or whole programs."""

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "python"
HEAD = struct.Struct("<IBBBBII")
NAMES = {5: "done", 6: "irq", 7: "msi", 8: "dma_read", 9: "dma_write", 10: "log"}


class Daemon:
    """Speaks to a device's program over pipes, in the form that it asks for."""

    def __init__(self, argv, properties=None, text=False, hello=None):
        env = dict(os.environ, PYTHONPATH=str(PACKAGE), PYTHONDONTWRITEBYTECODE="1")
        env.pop("OUTBOARD_TEXT", None)
        if text:
            env["OUTBOARD_TEXT"] = "1"
        self.child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                      env=env)
        self.send_line(hello or {"op": "hello", "protocol": 1, "id": "dev0", "properties": properties or {},
                                 "max_dma": 65536, "timeout_ms": 2000})
        self.binary, self.ids, self.log = False, 0, []
        self.described = self.receive()
        self.binary = bool(self.described) and self.described.get("format") == "binary"

    def send_line(self, message):
        """A message in the text form."""
        self.send_bytes(json.dumps(message, separators=(",", ":")).encode() + b"\n")

    def send_bytes(self, data):
        """Bytes as they are."""
        try:
            self.child.stdin.write(data)
            self.child.stdin.flush()
        except BrokenPipeError:     # what the program says about its end is for the test to look at
            pass

    def send(self, op, number=0, bar=0, width=0, argument=0, body=b"", **keys):
        """A message in the form agreed on; `keys` are those of the text form."""
        if self.binary:
            kind = ("", "read", "write", "reset", "state", "done").index(op)
            self.send_bytes(HEAD.pack(16 + len(body), kind, bar, width, 0, number, argument) + body)
        else:
            self.send_line(dict({"op": op}, **({"id": number} if number else {}), **keys))

    def receive(self):
        """The next message; None when the program has ended."""
        if not self.binary:
            line = self.child.stdout.readline()
            return json.loads(line) if line else None
        head = self.child.stdout.read(HEAD.size)
        if not head:
            return None
        length, kind, _, _, _, number, argument = HEAD.unpack(head)
        body = self.child.stdout.read(length - HEAD.size)
        message = {"op": NAMES[kind], "id": number}
        if kind == 5 and body:
            message["value"], = struct.unpack("<Q", body)
        elif kind == 6:
            message["level"] = argument
        elif kind == 7:
            message["vector"] = argument
        elif kind == 8:
            message.update(address=struct.unpack("<Q", body)[0], length=argument)
        elif kind == 9:
            message.update(address=struct.unpack("<Q", body[:8])[0], data=body[8:].hex())
        elif kind == 10:
            message.update(level=("error", "warn", "info", "debug")[argument], text=body.decode())
        return message

    def expect(self, op):
        """The next message that is no log must be an `op`."""
        while (message := self.receive()) and message["op"] == "log" and op != "log":
            self.log.append(message["text"])
        assert message and message["op"] == op, message or self.child.stderr.read().decode()
        return message

    def ask(self, op, number=0, width=4, offset=0, value=None, bar=0):
        """read or write in either form."""
        if self.binary:
            body = struct.pack("<Q", offset) + (b"" if value is None else struct.pack("<Q", value))
            self.send(op, number, bar, width, body=body)
        else:
            shown = {} if value is None else {"value": value if value < 1 << 53 else hex(value)}
            self.send_line(dict({"op": op}, **({"id": number} if number else {}), bar=bar, offset=offset, width=width,
                                **shown))

    def next_id(self):
        """A new id of ours."""
        self.ids += 1
        return self.ids

    def read(self, offset, width=4, bar=0):
        """A register's value."""
        number = self.next_id()
        self.ask("read", number, width, offset, bar=bar)
        message = self.expect("done")
        assert message["id"] == number
        value = message["value"]
        return (int(value, 16) if isinstance(value, str) else value) & (1 << 8 * width) - 1

    def write(self, offset, value, width=4, bar=0):
        """Write a register."""
        self.ask("write", 0, width, offset, value, bar)

    def reset(self, kind="function"):
        """Reset; waits until it is done."""
        number = self.next_id()
        self.send("reset", number, argument=("start", "bus", "function").index(kind), **self.text_only(kind=kind))
        assert self.expect("done")["id"] == number

    def state(self, attached=True, dma=True, msi="off"):
        """How things stand."""
        argument = attached + 2 * dma + {"off": 0, "msi": 4, "msix": 8}[msi]
        self.send("state", argument=argument, **self.text_only(attached=attached, dma=dma, msi=msi))

    def text_only(self, **keys):
        """Keys that the binary form has elsewhere."""
        return {} if self.binary else keys

    def answer(self, request, data=b"", error=None):
        """The end of a transfer that the device asked for."""
        codes = {"EFAULT": 14, "ECANCELED": 125, "EPERM": 1}
        keys = {"error": error} if error else {"data": data.hex()} if request["op"] == "dma_read" else {}
        self.send("done", request["id"], argument=codes.get(error, 0), body=data, **self.text_only(**keys))

    def end(self):
        """Close its input; its exit status, and what it wrote to standard error."""
        try:
            self.child.stdin.close()
        except BrokenPipeError:
            pass
        try:
            status = self.child.wait(10)
        finally:
            self.child.kill()
        with self.child.stdout, self.child.stderr:
            self.rest = self.child.stdout.read()
            return status, self.child.stderr.read().decode()


@pytest.fixture(name="daemon")
def fixture_daemon(tmp_path):
    """Starts a device from its source, the body of a class D, or from a path; ends it when the test has not."""
    started = []

    def start(source, **more):
        path = source
        if not isinstance(source, Path):
            path = tmp_path / "device.py"
            lines = "\n".join("    " + line for line in source.strip("\n").splitlines())
            path.write_text(f"import os, sys, threading, outboard\nfrom outboard import *\nclass D(Device):\n"
                            f"    vendor, device = 0x1234, 1\n{lines}\noutboard.run(D)\n", encoding="utf-8")
        started.append(Daemon([sys.executable, path], **more))
        return started[-1]
    yield start
    for daemon in started:
        if daemon.child.poll() is None:
            daemon.child.kill()
        daemon.child.wait()
        for file in (daemon.child.stdin, daemon.child.stdout, daemon.child.stderr):
            try:
                file.close()
            except BrokenPipeError:
                pass
