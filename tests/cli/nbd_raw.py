"""An NBD client that says whatever a test wants, over a unix socket."""

import contextlib
import json
import socket
import struct
import subprocess

from conftest import BIN

OPTION_REPLY = 0x3e889045565a9
ERROR = 1 << 31
(ACK, SERVER, INFO, META) = range(1, 5)
(UNSUPPORTED, POLICY, INVALID) = (ERROR | n for n in (1, 2, 3))
(TLS_REQUIRED, UNKNOWN, TOO_BIG) = (ERROR | n for n in (5, 6, 9))
(EXPORT_NAME, ABORT, LIST, PEEK, STARTTLS, INFO_OPT, GO, STRUCTURED, LIST_META, SET_META, EXTENDED) = range(1, 12)
(READ, WRITE, DISC, FLUSH, TRIM, CACHE, ZEROES, STATUS) = range(8)
(EPERM, EINVAL, ENOSPC) = (1, 22, 28)


@contextlib.contextmanager
def serving(folder, *args, attach="", name="nbd.sock", where=None):
    """A daemon with an NBD attachment and a control socket beside it; ended by SIGTERM, in an orderly way."""
    argv = [BIN, "serve", *map(str, args), "--attach", f"nbd,{where or f'socket={folder}/{name}'}{attach}",
            "--control", f"{folder}/{name}.ctl", "--json"]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True) as daemon:
        try:
            line = daemon.stdout.readline()
            assert line, daemon.stderr.read()
            daemon.ready = json.loads(line)
            yield daemon
            if daemon.poll() is None:
                daemon.terminate()
                assert daemon.wait(30) == 0, daemon.stderr.read()
        finally:
            if daemon.poll() is None:
                daemon.kill()
            daemon.errors = daemon.stderr.read()


class Raw:
    """A connection; with an export it goes through the handshake, otherwise it stops after the greeting."""

    def __init__(self, path, export=None, structured=False, extended=False, flags=3):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(str(path))
        self.extended, self.structured = extended, structured or extended
        assert self.recv(16) == b"NBDMAGICIHAVEOPT" and self.recv(2) == b"\0\3"
        self.send(struct.pack(">I", flags))
        if export is None:
            return
        if structured:
            assert self.ask(STRUCTURED) == [(ACK, b"")]
        if extended:
            assert self.ask(EXTENDED) == [(ACK, b"")]
        self.go(export)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, data):
        """All of it."""
        self.sock.sendall(data)

    def recv(self, length):
        """Exactly so much."""
        data = bytearray()
        while len(data) < length:
            piece = self.sock.recv(length - len(data))
            if not piece:
                raise EOFError(f"{len(data)} of {length} bytes")
            data += piece
        return bytes(data)

    def ended(self):
        """Whether the server ends the connection, without saying more."""
        try:
            return self.sock.recv(1) == b""
        except ConnectionResetError:
            return True

    def option(self, number, data=b"", length=None):
        """Send an option, perhaps with a length that lies."""
        self.send(struct.pack(">8sII", b"IHAVEOPT", number, len(data) if length is None else length) + data)

    def reply(self):
        """One reply to an option: option, type, data."""
        magic, option, kind, length = struct.unpack(">QIII", self.recv(20))
        assert magic == OPTION_REPLY
        return option, kind, self.recv(length)

    def ask(self, number, data=b""):
        """An option and its replies up to ACK or an error: type and data of each."""
        self.option(number, data)
        replies = []
        while not replies or not (replies[-1][0] == ACK or replies[-1][0] & ERROR):
            option, kind, text = self.reply()
            assert option == number
            replies.append((kind, text))
        return replies

    def go(self, export):
        """Choose it; its size."""
        replies = self.ask(GO, export_data(export))
        assert replies[-1] == (ACK, b""), replies
        self.size, self.flags = struct.unpack(">QH", replies[0][1][2:])

    def request(self, kind, off=0, length=0, flags=0, cookie=0x1122334455667788, data=b""):
        """Send a request."""
        magic = 0x21e41c71 if self.extended else 0x25609513
        head = struct.pack(">IHHQQ" + ("Q" if self.extended else "I"), magic, flags, kind, cookie, off, length)
        self.send(head + data)

    def simple(self):
        """A simple reply: error and cookie."""
        magic, error, cookie = struct.unpack(">IIQ", self.recv(16))
        assert magic == 0x67446698
        return error, cookie

    def chunk(self):
        """A chunk: flags, type, cookie, payload."""
        if self.extended:
            magic, flags, kind, cookie, _, length = struct.unpack(">IHHQQQ", self.recv(32))
            assert magic == 0x6e8a278c
        else:
            magic, flags, kind, cookie, length = struct.unpack(">IHHQI", self.recv(20))
            assert magic == 0x668e33ef
        return flags, kind, cookie, self.recv(length)

    def chunks(self):
        """All chunks of a reply: type and payload."""
        found, flags = [], 0
        while not flags & 1:
            flags, kind, _, payload = self.chunk()
            found.append((kind, payload))
        return found

    def error(self, *args, **more):
        """A request; the error of its reply, 0 for none."""
        self.request(*args, **more)
        if self.extended or (self.structured and args[0] in (READ, STATUS)):
            kind, payload = self.chunks()[-1]
            return struct.unpack(">I", payload[:4])[0] if kind & 1 << 15 else 0
        return self.simple()[0]

    def read(self, off, length):
        """Without structured replies."""
        self.request(READ, off, length)
        assert self.simple()[0] == 0
        return self.recv(length)


def export_data(name, infos=()):
    """For INFO and GO."""
    name = name.encode() if isinstance(name, str) else name
    return struct.pack(">I", len(name)) + name + struct.pack(f">H{len(infos)}H", len(infos), *infos)


def meta_data(name, *queries):
    """For LIST_META and SET_META."""
    text = struct.pack(">I", len(name)) + name.encode() + struct.pack(">I", len(queries))
    return text + b"".join(struct.pack(">I", len(q)) + q.encode() for q in queries)
