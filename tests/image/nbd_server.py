"""A small NBD server for tests, whose every step a test can spoil; and how real ones are started."""

import os
import signal
import socket
import struct
import subprocess
import threading
import time
from contextlib import contextmanager
from pathlib import Path

READ, WRITE, DISC, FLUSH, TRIM, ZERO, STATUS = 0, 1, 2, 3, 4, 6, 7
HAS_FLAGS, READ_ONLY, CAN_FLUSH, CAN_FUA, CAN_ZERO, CAN_MULTI = 1, 2, 4, 8, 0x40, 0x100
OPT_REPLY, SIMPLE, CHUNK = 0x3e889045565a9, 0x67446698, 0x668e33ef
ACK, INFO, META, UNSUPPORTED = 1, 3, 4, 1 << 31 | 1


class Gone(Exception):
    """The client hung up, or a test made the server do so."""


class Request:
    """A request as it came."""

    def __init__(self, raw):
        _magic, self.flags, self.kind, self.cookie, self.off, self.len = struct.unpack(">IHHQQI", raw)


class Server:
    """Serves bytes on a unix socket, each connection by a thread; a subclass lies where it likes to."""

    flags = HAS_FLAGS | CAN_FLUSH | CAN_FUA | CAN_ZERO
    structured = True
    blocks = None       # (minimum, preferred, maximum)

    def __init__(self, path, data):
        self.path, self.data = path, bytearray(data)
        self.connections, self.requests = 0, []
        self.socks, self.threads = [], []
        self.lock = threading.Lock()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(16)
        self.acceptor = threading.Thread(target=self.accept)
        self.acceptor.start()

    def accept(self):
        """Until the listener is shut down."""
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            with self.lock:
                self.connections += 1
                self.socks.append(sock)
                self.threads.append(threading.Thread(target=self.serve, args=(sock,)))
                self.threads[-1].start()

    def hang_up(self):
        """As if the server had been killed."""
        if self.listener.fileno() >= 0:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
            os.unlink(self.path)
        with self.lock:
            for sock in self.socks:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.hang_up()
        self.acceptor.join()
        for thread in self.threads:
            thread.join()

    def serve(self, sock):
        """One connection, to its end."""
        with sock:
            try:
                self.greet(sock)
                while self.option(sock):
                    pass
                while self.request(sock):
                    pass
            except (Gone, OSError):
                pass

    @staticmethod
    def recv(sock, n):
        """Exactly n bytes."""
        data = b""
        while len(data) < n:
            more = sock.recv(n - len(data))
            if not more:
                raise Gone
            data += more
        return data

    def greet(self, sock):
        """The first words of both."""
        sock.sendall(b"NBDMAGICIHAVEOPT" + struct.pack(">H", 3))
        self.recv(sock, 4)

    def option(self, sock):
        """Answers an option; False: it was the last."""
        _magic, option, length = struct.unpack(">QII", self.recv(sock, 16))
        data = self.recv(sock, length)
        if option == 8 and self.structured:
            self.answer_option(sock, option, ACK)
        elif option == 10 and self.structured:
            self.answer_option(sock, option, META, struct.pack(">I", 1) + b"base:allocation")
            self.answer_option(sock, option, ACK)
        elif option == 7:
            self.go(sock, option, data)
            return False
        else:
            self.answer_option(sock, option, UNSUPPORTED)
        return True

    def answer_option(self, sock, option, kind, data=b""):
        """One reply to an option."""
        sock.sendall(struct.pack(">QIII", OPT_REPLY, option, kind, len(data)) + data)

    def go(self, sock, option, _data):
        """The export's size and flags."""
        self.answer_option(sock, option, INFO, struct.pack(">HQH", 0, self.size(), self.flags))
        if self.blocks:
            self.answer_option(sock, option, INFO, struct.pack(">HIII", 3, *self.blocks))
        self.answer_option(sock, option, ACK)

    def size(self):
        """Of the export."""
        return len(self.data)

    def request(self, sock):
        """Takes and answers a request; False: it was the last."""
        r = Request(self.recv(sock, 28))
        payload = self.recv(sock, r.len) if r.kind == WRITE else b""
        with self.lock:
            self.requests.append(r)
        if r.kind == DISC:
            return False
        self.answer(sock, r, payload)
        return True

    def answer(self, sock, r, payload):
        """Does what was asked and says so."""
        if r.kind == READ:
            self.answer_read(sock, r)
        elif r.kind == STATUS:
            self.answer_status(sock, r)
        else:
            if r.kind == WRITE:
                self.data[r.off:r.off + r.len] = payload
            elif r.kind == ZERO:
                self.data[r.off:r.off + r.len] = bytes(r.len)
            self.simple(sock, r)

    def answer_read(self, sock, r):
        """The data, in the way that was agreed on."""
        data = self.data[r.off:r.off + r.len]
        if self.structured:
            self.chunk(sock, r, 1, struct.pack(">Q", r.off) + data)
        else:
            self.simple(sock, r, data=data)

    def answer_status(self, sock, r):
        """All of it is data."""
        self.chunk(sock, r, 5, struct.pack(">III", 1, r.len, 0))

    @staticmethod
    def simple(sock, r, error=0, data=b""):
        """A simple reply."""
        sock.sendall(struct.pack(">IIQ", SIMPLE, error, r.cookie) + data)

    @staticmethod
    def chunk(sock, r, kind, data=b"", done=True, length=None):
        """A chunk of a structured reply; its length may be a lie."""
        sock.sendall(struct.pack(">IHHQI", CHUNK, done, kind, r.cookie, len(data) if length is None else length) + data)


def uri(path, export=""):
    """Of an export on a unix socket."""
    return f"nbd+unix:///{export}?socket={path}"


def stop(pid, how=signal.SIGTERM):
    """Ends a server that is no child of ours, and waits until it is gone."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(fd, how)
        poll_for(lambda: is_ended(pid))
    except ProcessLookupError:
        pass
    finally:
        os.close(fd)


def is_ended(pid):
    """Dead, though nobody may have waited for it yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def poll_for(condition, seconds=60):
    """Waits until it is true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def start(command, folder):
    """Starts a server that goes into the background once it listens; returns its process number."""
    pidfile = folder / "server.pid"
    pidfile.unlink(missing_ok=True)
    flag = {"nbdkit": "-P", "nbd-server": "-p"}.get(command[0], "--pid-file")
    extra = ["--fork"] if command[0] == "qemu-nbd" else []
    done = subprocess.run([*map(str, command[:1]), *extra, flag, str(pidfile), *map(str, command[1:])], check=False,
                          stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                          timeout=60)
    assert done.returncode == 0, done.stderr
    poll_for(lambda: pidfile.exists() and pidfile.read_text(encoding="utf-8").endswith("\n"))
    return int(pidfile.read_text(encoding="utf-8"))


@contextmanager
def running(command, folder):
    """The same for a while."""
    pid = start(command, folder)
    try:
        yield pid
    finally:
        stop(pid)
        for name in folder.glob("*.sock"):
            name.unlink()
