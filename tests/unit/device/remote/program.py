#!/usr/bin/python3
"""A device for tests of the device protocol, in the plain standard library; it also misbehaves on demand.

usage: program.py                   the protocol over standard input and output
       program.py unix PATH         listens; one connection after the other
       program.py tcp               the same on a free port, which it prints

BAR 0: 0x00 identification, 0x04 and 0x08 (8 bytes) scratch, 0x10 read: answered at a write to 0x14, 0x18 read: dies,
0x20 write: an entry of DEEDS, 0x28 address, 0x30 length, 0x34 write: 1 dma_read, 2 dma_write, 0x38 transfers that ended,
0x3c error of the last, 0x40 resets, 0x44 state, 0x48 kind of the last reset, 0x4c process.
"""
import json
import os
import socket
import struct
import sys
import time

READ, WRITE, RESET, STATE, DONE, IRQ, MSI, DMA_READ, DMA_WRITE, LOG = range(1, 11)
KINDS = ["start", "bus", "function"]
ERRORS = {"EPERM": 1, "EIO": 5, "EACCES": 13, "EFAULT": 14, "ENOTCONN": 107, "ECANCELED": 125}
IDENTIFICATION = 0x0ddba115


class Stream:
    """Messages as dictionaries, in either form."""

    def __init__(self, source, sink):
        self.source, self.sink, self.binary = source, sink, False

    def put(self, data):
        """Bytes, at once."""
        self.sink.write(data)
        self.sink.flush()

    def line(self, message):
        """A line of JSON."""
        self.put(json.dumps(message).encode() + b"\n")

    def get(self):
        """The next message, or None at the end."""
        if not self.binary:
            line = self.source.readline()
            return json.loads(line) if line else None
        head = self.source.read(16)
        if len(head) < 16:
            return None
        length, kind, bar, width, _, number, argument = struct.unpack("<IBBBBII", head)
        body = self.source.read(length - 16)
        message = {"op": [None, "read", "write", "reset", "state", "done"][kind], "id": number, "bar": bar,
                   "width": width}
        if kind in (READ, WRITE):
            message["offset"], = struct.unpack_from("<Q", body)
        if kind == WRITE:
            message["value"], = struct.unpack_from("<Q", body, 8)
        if kind == RESET:
            message["kind"] = KINDS[argument]
        if kind == STATE:
            message.update(attached=bool(argument & 1), dma=bool(argument & 2),
                           msi="msix" if argument & 8 else "msi" if argument & 4 else "off")
        if kind == DONE:
            message["data"] = body.hex()
            if argument:
                message["error"] = {v: k for k, v in ERRORS.items()}[argument]
        return message

    def send(self, kind, number=0, argument=0, body=b"", **text):
        """A message: what binary needs, and the rest of the text form."""
        if self.binary:
            self.put(struct.pack("<IBBBBII", 16 + len(body), kind, 0, 0, 0, number, argument) + body)
            return
        message = {"op": ["", "", "", "", "", "done", "irq", "msi", "dma_read", "dma_write", "log"][kind], **text}
        if number:
            message["id"] = number
        self.line(message)

    def done(self, number, value=None):
        """An answer."""
        body = b"" if value is None else struct.pack("<Q", value)
        self.send(DONE, number, 0, body, **({} if value is None else {"value": value}))


def number_of(value):
    """A number in text form."""
    return int(value, 0) if isinstance(value, str) else value


class Device:
    """The registers."""

    def __init__(self, stream, properties):
        self.stream, self.properties = stream, properties
        self.scratch, self.wide, self.late = 0, 0, None
        self.address, self.length, self.ended, self.error = 0, 0, 0, 0
        self.resets, self.kind, self.state, self.data, self.reading = 0, 0, 0, b"", False
        self.mute = False

    def read(self, number, offset):
        """A register, or nothing yet."""
        if offset == 0x10:
            self.late = number
            return
        if offset == 0x18:
            print("dying as asked", file=sys.stderr)
            sys.stderr.flush()
            os._exit(3)
        if self.mute:
            self.stream.done(number)
            return
        values = {0x00: IDENTIFICATION, 0x04: self.scratch, 0x08: self.wide, 0x38: self.ended, 0x3c: self.error,
                  0x40: self.resets, 0x44: self.state, 0x48: self.kind, 0x4c: os.getpid()}
        self.stream.done(number, values.get(offset, 0))

    def write(self, offset, value):
        """A register."""
        if offset == 0x04:
            self.scratch = value
        elif offset == 0x08:
            self.wide = value
        elif offset == 0x14:
            self.stream.done(self.late, value)
        elif offset == 0x20:
            self.misbehave(value)
        elif offset == 0x28:
            self.address = value
        elif offset == 0x30:
            self.length = value
        elif offset == 0x34:
            self.transfer(value == 1)

    def transfer(self, reading):
        """DMA; what was read is what is written."""
        self.reading = reading
        where = struct.pack("<Q", self.address)
        if reading:
            self.stream.send(DMA_READ, 77, self.length, where, address=hex(self.address), length=self.length)
        else:
            data = self.data[:self.length]
            self.stream.send(DMA_WRITE, 77, 0, where + data, address=self.address, data=data.hex())

    def misbehave(self, what):
        """Interrupts, and what is not allowed."""
        stream = self.stream
        deeds = {
            1: lambda: stream.send(IRQ, 0, 1, level=1),
            2: lambda: stream.send(IRQ, 0, 0, level=0),
            3: lambda: stream.send(MSI, 0, 1, vector=1),
            4: lambda: time.sleep(3600),
            5: lambda: stream.put(b"this is no message of the protocol\n"),
            6: lambda: stream.done(0xfffffff0, 1),
            7: lambda: stream.send(MSI, 0, 99, vector=99),
            8: lambda: stream.put(b"[" * 300000),
            9: lambda: setattr(self, "mute", True),
            10: lambda: stream.send(LOG, 0, 1, b"watch out", level="warn", text="watch out"),
            11: lambda: stream.send(DMA_READ, 1, 65537, bytes(8), address=0, length=65537),
            12: lambda: os.close(1),
            13: lambda: stream.send(IRQ, 0, 7, level=7),
            14: lambda: stream.put(b"\xff" * 64),
            15: lambda: stream.put(b"[" * 100 + b"\n"),
        }
        deeds[what]()

    def take(self, message):
        """One message."""
        number = message.get("id", 0)
        if message["op"] == "read":
            self.read(number, message["offset"])
        elif message["op"] == "write":
            self.write(message["offset"], number_of(message["value"]))
            if number:
                self.stream.done(number)
        elif message["op"] == "reset":
            self.resets, self.kind, self.scratch = self.resets + 1, KINDS.index(message["kind"]), 0
            self.stream.done(number)
        elif message["op"] == "state":
            self.state = (message["attached"] | message["dma"] << 1
                          | {"off": 0, "msi": 4, "msix": 8}[message["msi"]])
        elif message["op"] == "done":
            self.error = ERRORS.get(message.get("error"), 0)
            if self.reading and not self.error:
                self.data = bytes.fromhex(message["data"])
            self.ended += 1


def describe(properties):
    """What it says it is; the property "be" makes it something else."""
    be = properties.get("be", "good")
    what = {"op": "describe", "protocol": 1, "name": "tester", "vendor": "0x1af4", "device": 0x1111, "class": "0xff0000",
            "intx": 1, "msi": 2, "bars": [{"index": 0, "size": 4096}],
            "properties": ["format", "be", "marker", {"name": "level", "type": "uint", "max": 9, "default": 3}],
            "format": properties.get("format", "text")}
    if be == "acked":
        what["ack_writes"] = True
    elif be == "odd":
        what["bars"][0]["size"] = 100
    elif be == "double":
        what["bars"].append({"index": 0, "size": 16})
    elif be == "new":
        what["protocol"] = 2
    elif be == "refusing":
        what = {"op": "error", "text": "be=refusing: I would rather not"}
    elif be == "silent":
        print("a reason on standard error", file=sys.stderr)
        sys.exit(5)
    elif be == "other" and os.path.exists(properties["marker"]):
        what["device"] = 0x2222
    if be == "other":
        with open(properties["marker"], "w", encoding="ascii"):
            pass
    return what


def talk(source, sink):
    """One conversation."""
    stream = Stream(source, sink)
    hello = stream.get()
    if not hello:
        return
    assert hello["op"] == "hello" and hello["protocol"] == 1 and hello["max_dma"] == 65536
    what = describe(hello["properties"])
    stream.line(what)
    stream.binary = what.get("format") == "binary"
    device = Device(stream, hello["properties"])
    while message := stream.get():
        device.take(message)


def main():
    """As the arguments say."""
    if len(sys.argv) < 2:
        talk(sys.stdin.buffer, sys.stdout.buffer)
        return
    if sys.argv[1] == "unix":
        server = socket.socket(socket.AF_UNIX)
        server.bind(sys.argv[2])
    else:
        server = socket.create_server(("127.0.0.1", 0))
    server.listen()
    print(server.getsockname()[1] if sys.argv[1] == "tcp" else "listening", flush=True)
    while True:
        connection, _ = server.accept()
        with connection, connection.makefile("rwb") as stream:
            try:
                talk(stream, stream)
            except (ConnectionError, ValueError):
                pass


main()
