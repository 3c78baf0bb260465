"""Commands and files to and from a guest: the host's end of the agent's frames (see agent.c)."""

import itertools
import os
import socket
import struct
import threading
import time
from pathlib import Path

RUN, INPUT, SIGNAL, POWEROFF, HELLO, OUT, ERR, EXIT = range(1, 9)
HEAD = struct.Struct("<4I")
MAX_FRAME = 65536
TIMEOUT = 90    # of a command, for hangs only: each ends in seconds


class GuestError(Exception):
    """A guest did not start, ended, or did not do what was asked."""


class CommandFailed(GuestError):
    """A command ended with another status than 0."""


class Job:
    """A command that runs in the guest.  out and err grow while it does."""

    def __init__(self, channel, number, command):
        self.channel, self.number, self.command = channel, number, command
        self.out, self.err = bytearray(), bytearray()
        self.status = None
        self.changed = threading.Condition()

    def running(self):
        """True until the command ended."""
        return self.status is None

    def signal(self, signo):
        """Send a signal to the command and its children."""
        self.channel.send(SIGNAL, self.number, arg=signo)

    def feed(self, data):
        """Give bytes to its standard input."""
        view = memoryview(data)
        for at in range(0, len(view), MAX_FRAME):
            self.channel.send(INPUT, self.number, view[at:at + MAX_FRAME])

    def end_input(self):
        """Close its standard input."""
        self.channel.send(INPUT, self.number)

    def wait_output(self, text, timeout=120):
        """Wait until `text` appears on either output; an end before that is an error."""
        text = text.encode() if isinstance(text, str) else text
        end = time.monotonic() + timeout
        with self.changed:
            while text not in self.out and text not in self.err:
                if self.status is not None or not self._sleep(end):
                    raise GuestError(f"{self.command!r}: no {text!r} in its output\n{self.report()}")

    def _sleep(self, end):
        """Wait for a change, a second at most; False when it is too late."""
        left = end - time.monotonic()
        if not self.changed.wait(max(0, min(left, 1))) and (trouble := self.channel.trouble()):
            raise GuestError(f"{self.command!r}: {trouble}\n{self.report()}")
        return left > 0

    def wait(self, timeout=TIMEOUT, check=True):
        """Wait for its end; return (exit status, output, errors), a signal counts as 128 + number."""
        end = time.monotonic() + timeout
        with self.changed:
            while self.status is None:
                if not self._sleep(end) and self.status is None:
                    raise GuestError(f"{self.command!r}: still runs after {timeout} s\n{self.report()}")
        if self.status < 0:
            raise GuestError(f"{self.command!r}: the guest went away\n{self.report()}")
        code = self.status >> 8 if self.status & 0x7f == 0 else 128 + (self.status & 0x7f)
        if check and code != 0:
            raise CommandFailed(f"{self.command!r}: exit status {code}\n{self.report()}")
        return code, bytes(self.out), bytes(self.err)

    def report(self, limit=4000):
        """The tails of both outputs, for a message."""
        return "".join(f"--- {name}\n{bytes(data[-limit:]).decode(errors='replace')}\n"
                       for name, data in (("stdout", self.out), ("stderr", self.err)) if data)


class Channel:
    """The socket to a guest's agent; a thread of its own takes what comes.

    trouble  tells why commands cannot end any more, None while they can; to be replaced
    """

    def __init__(self, sock):
        self.sock = sock
        self.trouble = lambda: None
        self.jobs = {}
        self.numbers = itertools.count(1)
        self.sending = threading.Lock()
        self.ready = threading.Event()      # the agent said hello, or the channel is closed
        self.alive = True
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def send(self, kind, number, data=b"", arg=0):
        """Send one frame."""
        with self.sending:
            try:
                self.sock.sendall(HEAD.pack(kind, number, len(data), arg))
                self.sock.sendall(data)
            except OSError as err:
                raise GuestError(f"the guest's channel is closed: {err}") from err

    def _take(self, size):
        data = bytearray(size)
        view = memoryview(data)
        while view:
            got = self.sock.recv_into(view)
            if got == 0:
                raise EOFError
            view = view[got:]
        return data

    def _read(self):
        try:
            while True:
                kind, number, size, arg = HEAD.unpack(self._take(HEAD.size))
                self._dispatch(kind, number, self._take(size), arg)
        except (EOFError, OSError):
            pass
        self.alive = False
        self.ready.set()
        for job in list(self.jobs.values()):
            with job.changed:
                job.status = -1
                job.changed.notify_all()

    def _dispatch(self, kind, number, data, arg):
        if kind == HELLO:
            self.ready.set()
            return
        job = self.jobs.get(number)
        if job is None:
            return
        with job.changed:
            if kind == OUT:
                job.out += data
            elif kind == ERR:
                job.err += data
            elif kind == EXIT:
                job.status = arg
                del self.jobs[number]
            job.changed.notify_all()

    def start(self, command):
        """Start a shell command; return its Job."""
        job = Job(self, next(self.numbers), command)
        self.jobs[job.number] = job
        if not self.alive:
            raise GuestError(f"{command!r}: the guest is gone")
        self.send(RUN, job.number, command.encode())
        return job

    def run(self, command, check=True, timeout=TIMEOUT, stdin=b""):
        """Run a shell command to its end; return (exit status, output, errors)."""
        job = self.start(command)
        if stdin:
            job.feed(stdin)
        job.end_input()
        return job.wait(timeout, check)

    def put(self, source, dest, mode=0o644, timeout=600):
        """Write bytes, or the content of a host's file (a Path), to a file of the guest."""
        job = self.start(f"cat > '{dest}' && chmod {mode:o} '{dest}'")
        if isinstance(source, Path):
            with open(source, "rb") as file:
                while data := file.read(1 << 20):
                    job.feed(data)
        else:
            job.feed(source.encode() if isinstance(source, str) else source)
        job.end_input()
        job.wait(timeout)

    def get(self, source, timeout=600):
        """The content of a file of the guest."""
        return self.run(f"cat '{source}'", timeout=timeout)[1]

    def close(self):
        """Close the socket; running jobs end as lost."""
        self.sock.close()
        self.reader.join(10)


def pair():
    """Two connected sockets for a character device of QEMU: (ours, its)."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    os.set_inheritable(its.fileno(), True)
    return ours, its
