"""The device protocol's messages, in both of their forms (docs/device-protocol.md).

A message is a dict with the keys of the text form: numbers are ints, data is bytes. Link moves them over a pair of
file descriptors; what they mean is none of its business.
"""

import json
import os
import select
import struct
import time

PROTOCOL = 1
TEXT, BINARY = "text", "binary"
MAX_LINE = 262144
MAX_BINARY = 65560
HEAD = struct.Struct("<IBBBBII")        # length, type, bar, width, 0, id, argument
U64 = struct.Struct("<Q")
READ, WRITE, RESET, STATE, DONE, IRQ, MSI, DMA_READ, DMA_WRITE, LOG = range(1, 11)
KINDS = ("start", "bus", "function")
MSI_MODES = ("off", "msi", "msix")
LEVELS = ("error", "warn", "info", "debug")
ERRORS = {"EPERM": 1, "EIO": 5, "EACCES": 13, "EFAULT": 14, "ENOTCONN": 107, "ECANCELED": 125}
ERROR_NAMES = {number: name for name, number in ERRORS.items()}
MAX_LOG = 4096


class End(BaseException):
    """The conversation is over. No Exception: what a device catches must not hold it up."""


class ProtocolError(End):
    """The other side sent what the protocol does not allow."""


class Gone(End):
    """The other side has closed the connection."""


def number(value):
    """A number of the text form: an integer, or text with a decimal or hexadecimal one."""
    if isinstance(value, str):
        try:
            value = int(value, 16 if value[:2].lower() == "0x" else 10)
        except ValueError:
            raise ProtocolError(f"{value!r} is no number") from None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 64:
        raise ProtocolError(f"{value!r} is no number")
    return value


class Text:
    """A line of JSON each."""

    def encode(self, message):
        """The bytes of a message."""
        shown = {key: value.hex() if isinstance(value, (bytes, bytearray, memoryview)) else
                 hex(value) if key == "value" and value >= 1 << 53 else value for key, value in message.items()}
        return json.dumps(shown, separators=(",", ":")).encode() + b"\n"

    def take(self, data):
        """A message from the front of the bytearray, which loses it; None when it is not all there."""
        end = data.find(b"\n")
        if end < 0:
            if len(data) > MAX_LINE:
                raise ProtocolError("a line does not end")
            return None
        line = bytes(data[:end])
        del data[:end + 1]
        try:
            message = json.loads(line)
        except (ValueError, RecursionError) as err:
            raise ProtocolError(f"no JSON: {err}") from None
        if not isinstance(message, dict):
            raise ProtocolError("a line is no object")
        for key in ("id", "bar", "offset", "width", "value"):
            if key in message and message.get("op") != "hello":
                message[key] = number(message[key])
        if message.get("op") == "done" and "data" in message:
            try:
                message["data"] = bytes.fromhex(message["data"])
            except (TypeError, ValueError):
                raise ProtocolError("data is not hexadecimal") from None
        return message


class Binary:
    """A header of 16 bytes each, and a body."""

    def encode(self, message):
        """The bytes of a message."""
        op, number_ = message["op"], message.get("id", 0)
        if op == "done":
            if "value" in message:
                return HEAD.pack(24, DONE, 0, 0, 0, number_, 0) + U64.pack(message["value"])
            return HEAD.pack(16, DONE, 0, 0, 0, number_, 0)
        if op == "irq":
            return HEAD.pack(16, IRQ, 0, 0, 0, 0, message["level"])
        if op == "msi":
            return HEAD.pack(16, MSI, 0, 0, 0, 0, message["vector"])
        if op == "dma_read":
            return HEAD.pack(24, DMA_READ, 0, 0, 0, number_, message["length"]) + U64.pack(message["address"])
        if op == "dma_write":
            data = message["data"]
            return (HEAD.pack(24 + len(data), DMA_WRITE, 0, 0, 0, number_, 0) + U64.pack(message["address"]) +
                    bytes(data))
        if op == "log":
            text = message["text"].encode(errors="replace")[:MAX_LOG]
            while True:     # a character is not cut in two
                try:
                    text.decode()
                    break
                except UnicodeDecodeError:
                    text = text[:-1]
            return HEAD.pack(16 + len(text), LOG, 0, 0, 0, 0, LEVELS.index(message["level"])) + text
        raise ValueError(op)

    def take(self, data):
        """As Text.take()."""
        if len(data) < HEAD.size:
            return None
        length, kind, bar, width, _, number_, argument = HEAD.unpack_from(data)
        if not HEAD.size <= length <= MAX_BINARY:
            raise ProtocolError(f"a message of {length} bytes")
        if len(data) < length:
            return None
        body = bytes(data[HEAD.size:length])
        del data[:length]
        try:
            return self._message(kind, bar, width, number_, argument, body)
        except (struct.error, IndexError):
            raise ProtocolError(f"a message of type {kind} with {length} bytes and argument {argument}") from None

    @staticmethod
    def _message(kind, bar, width, number_, argument, body):
        if kind == READ:
            offset, = U64.unpack(body)
            return {"op": "read", "id": number_, "bar": bar, "offset": offset, "width": width}
        if kind == WRITE:
            offset, value = struct.unpack("<QQ", body)
            message = {"op": "write", "bar": bar, "offset": offset, "width": width, "value": value}
            return dict(message, id=number_) if number_ else message
        if kind == RESET:
            return {"op": "reset", "id": number_, "kind": KINDS[argument]}
        if kind == STATE:
            return {"op": "state", "attached": bool(argument & 1), "dma": bool(argument & 2),
                    "msi": MSI_MODES[2 if argument & 8 else argument >> 2 & 1]}
        if kind == DONE:
            if argument:
                return {"op": "done", "id": number_, "error": ERROR_NAMES.get(argument, "EIO")}
            return {"op": "done", "id": number_, "data": body}
        return {"op": f"type {kind}"}       # unknown ones are ignored


FORMS = {TEXT: Text, BINARY: Binary}


class Link:
    """Messages over two file descriptors, which stay the caller's."""

    def __init__(self, reading, writing):
        self.reading, self.writing = reading, writing
        self.form = Text()
        self.data = bytearray()
        self.room = memoryview(bytearray(1 << 16))      # os.read() would make as much anew each time
        self.poll = select.poll()
        self.poll.register(reading, select.POLLIN)

    def watch(self, descriptor):
        """receive() also ends when this one can be read."""
        self.poll.register(descriptor, select.POLLIN)

    def use(self, form):
        """TEXT or BINARY, from here on in both directions."""
        self.form = FORMS[form]()

    def send(self, message):
        """Send a message; Gone when nobody reads any more."""
        data = self.form.encode(message)
        try:
            while data:
                data = data[os.write(self.writing, data):]
        except (BrokenPipeError, ConnectionResetError):
            raise Gone from None

    def receive(self, timeout=None):
        """The next message. None: none came within `timeout` seconds, or a watched descriptor can be read.

        Gone at the end.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            message = self.form.take(self.data)
            if message is not None:
                return message
            left = None if end is None else max(0, end - time.monotonic())
            ready = [descriptor for descriptor, _ in self.poll.poll(None if left is None else left * 1000)]
            if self.reading not in ready:
                return None
            try:
                got = os.readv(self.reading, [self.room])
            except ConnectionResetError:
                got = 0
            if not got:
                raise Gone
            self.data += self.room[:got]
