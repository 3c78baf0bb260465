"""NBD servers that lie: nothing they say may crash our client, keep it for ever or show memory of ours."""

import struct
import subprocess

import pytest
from conftest import BIN, MIB, content, image
from nbd_server import ACK, CHUNK, INFO, META, OPT_REPLY, SIMPLE, Gone, Server, uri
from test_hostile import limits
from test_nbd_client import json_name, pytestmark as needs_client

pytestmark = needs_client

DATA = content(MIB, 3)


class Replies:
    """Lies in answers to a read of a client that has agreed on structured replies."""

    @staticmethod
    def ends_in_the_header(s, sock, r):
        sock.sendall(struct.pack(">IHH", CHUNK, 1, 1))
        raise Gone

    @staticmethod
    def ends_in_the_data(s, sock, r):
        s.chunk(sock, r, 1, struct.pack(">Q", r.off) + bytes(10), length=8 + r.len)
        raise Gone

    @staticmethod
    def wrong_cookie(s, sock, r):
        r.cookie ^= 0xff
        s.answer_right(sock, r)

    @staticmethod
    def wrong_magic(s, sock, r):
        sock.sendall(struct.pack(">IHHQI", 0x12345678, 1, 1, r.cookie, 8 + r.len))

    @staticmethod
    def giant_length(s, sock, r):
        s.chunk(sock, r, 1, struct.pack(">Q", r.off) + bytes(100), length=0xffffffff)

    @staticmethod
    def more_than_asked(s, sock, r):
        s.chunk(sock, r, 1, struct.pack(">Q", r.off) + bytes(r.len + 4096))

    @staticmethod
    def before_the_buffer(s, sock, r):
        s.chunk(sock, r, 1, struct.pack(">Q", (r.off - 4096) % (1 << 64)) + bytes(4096))

    @staticmethod
    def behind_the_buffer(s, sock, r):
        s.chunk(sock, r, 1, struct.pack(">Q", r.off + r.len) + bytes(4096))

    @staticmethod
    def wraps_around(s, sock, r):
        s.chunk(sock, r, 1, struct.pack(">Q", (1 << 64) - 1) + bytes(4096))

    @staticmethod
    def chunk_without_an_offset(s, sock, r):
        s.chunk(sock, r, 1, b"abc")

    @staticmethod
    def hole_behind_the_buffer(s, sock, r):
        s.chunk(sock, r, 2, struct.pack(">QI", r.off, 0xffffffff))

    @staticmethod
    def unknown_chunk(s, sock, r):
        s.chunk(sock, r, 0x7777, bytes(100))

    @staticmethod
    def status_instead(s, sock, r):
        s.chunk(sock, r, 5, struct.pack(">III", 1, r.len, 0))

    @staticmethod
    def none_with_a_payload(s, sock, r):
        s.chunk(sock, r, 0, bytes(50))

    @staticmethod
    def simple_with_an_unknown_error(s, sock, r):
        s.simple(sock, r, error=0x7fffffff)

    @staticmethod
    def error_longer_than_its_chunk(s, sock, r):
        s.chunk(sock, r, 0x8001, struct.pack(">IH", 5, 0xffff) + b"short")

    @staticmethod
    def error_of_unknown_kind(s, sock, r):
        s.chunk(sock, r, 0xffff, struct.pack(">IH", 0xdeadbeef, 3) + b"\xff\x00\x01")

    @staticmethod
    def error_at_a_wild_offset(s, sock, r):
        s.chunk(sock, r, 0x8002, struct.pack(">IHQ", 5, 0, 1 << 63))

    @staticmethod
    def error_of_many_words(s, sock, r):
        s.chunk(sock, r, 0x8001, struct.pack(">IH", 5, 4096) + b"%s%n" * 1024)

    @staticmethod
    def shutting_down(s, sock, r):
        s.chunk(sock, r, 0x8001, struct.pack(">IH", 108, 0))


class Liar(Server):
    """Answers reads with one of the lies."""

    def __init__(self, path, lie):
        super().__init__(path, DATA)
        self.lie = lie

    def answer_right(self, sock, r):
        """What would have been right."""
        super().answer_read(sock, r)

    def answer_read(self, sock, r):
        self.lie(self, sock, r)


LIES = [name for name in vars(Replies) if not name.startswith("_")]


@pytest.mark.parametrize("lie", LIES)
def test_reads(tmp_path, lie):
    """Each read is an error, with or without trying again."""
    with Liar(tmp_path / "s.sock", getattr(Replies, lie)) as server:
        text = image("convert", "-f", "raw", uri(server.path), tmp_path / "out", status=1, preexec_fn=limits)
        assert "reading" in text or "is lost" in text
        text = image("convert", json_name(server.path, **{"reconnect-delay": 1, "timeout": 1}), tmp_path / "out",
                     status=1, preexec_fn=limits)
        assert "reading" in text
        assert server.connections < 20
    assert not (tmp_path / "out").exists()


class Partial(Server):
    """Leaves out a part of what was asked, and says that it is done."""

    def answer_read(self, sock, r):
        half = r.len // 2
        self.chunk(sock, r, 1, struct.pack(">Q", r.off) + b"x" * half)


def test_what_was_left_out_is_an_error(tmp_path):
    """And not what lies in memory."""
    with Partial(tmp_path / "s.sock", DATA) as server:
        assert "Protocol error" in image("convert", "-f", "raw", uri(server.path), tmp_path / "out", status=1)


class Twice(Server):
    """Answers each read twice."""

    def answer_read(self, sock, r):
        super().answer_read(sock, r)
        super().answer_read(sock, r)


def test_answered_twice(tmp_path):
    with Twice(tmp_path / "s.sock", DATA * 8) as server:
        assert "is lost" in image("convert", "-m", "1", "-f", "raw", uri(server.path), tmp_path / "out", status=1)


STATUS = {
    "of no length": lambda r: struct.pack(">III", 1, 0, 0),
    "of another context": lambda r: struct.pack(">III", 99, r.len, 0),
    "cut off": lambda r: struct.pack(">IIH", 1, r.len, 0),
    "empty": lambda r: struct.pack(">I", 1),
    "nothing at all": lambda r: b"",
}
FAR = {
    "longer than asked": lambda r: struct.pack(">III", 1, 0xffffffff, 0),
    "more extents than one": lambda r: struct.pack(">I", 1) + struct.pack(">II", 4096, 0) * 100,
    "unknown flags": lambda r: struct.pack(">III", 1, r.len, 0xfffffffc),
}


class StatusLiar(Server):
    """Lies about what is where."""

    def __init__(self, path, lie):
        super().__init__(path, DATA)
        self.lie = lie

    def answer_status(self, sock, r):
        self.chunk(sock, r, 5, self.lie(r))


@pytest.mark.parametrize("lie", STATUS, ids=lambda n: n.replace(" ", "-"))
def test_status_that_cannot_be(tmp_path, lie):
    with StatusLiar(tmp_path / "s.sock", STATUS[lie]) as server:
        assert "map" in image("map", "-f", "raw", uri(server.path), status=1, preexec_fn=limits)


@pytest.mark.parametrize("lie", FAR, ids=lambda n: n.replace(" ", "-"))
def test_status_that_is_odd(tmp_path, lie):
    """No reason to fail: data is copied."""
    with StatusLiar(tmp_path / "s.sock", FAR[lie]) as server:
        image("map", "-f", "raw", uri(server.path), preexec_fn=limits)
        image("convert", "-f", "raw", uri(server.path), tmp_path / "out", preexec_fn=limits)
        assert (tmp_path / "out").read_bytes() == DATA


class Handshake:
    """Lies before the export is open; each gets the server, the socket, the option, and says whether more may come."""

    @staticmethod
    def hangs_up(s, sock, option, data):
        raise Gone

    @staticmethod
    def giant_reply(s, sock, option, data):
        sock.sendall(struct.pack(">QIII", OPT_REPLY, option, INFO, 0xffffffff) + bytes(100000))

    @staticmethod
    def wrong_magic(s, sock, option, data):
        sock.sendall(struct.pack(">QIII", 1, option, ACK, 0))

    @staticmethod
    def answers_another_option(s, sock, option, data):
        sock.sendall(struct.pack(">QIII", OPT_REPLY, option + 1, ACK, 0))

    @staticmethod
    def ack_with_a_payload(s, sock, option, data):
        s.answer_option(sock, option, ACK, bytes(64))

    @staticmethod
    def empty_info(s, sock, option, data):
        s.answer_option(sock, option, INFO)
        s.answer_option(sock, option, ACK)

    @staticmethod
    def go_without_a_size(s, sock, option, data):
        s.answer_option(sock, option, ACK)

    @staticmethod
    def negative_size(s, sock, option, data):
        s.answer_option(sock, option, INFO, struct.pack(">HQH", 0, (1 << 64) - 512, s.flags))
        s.answer_option(sock, option, ACK)

    @staticmethod
    def no_flags(s, sock, option, data):
        s.answer_option(sock, option, INFO, struct.pack(">HQH", 0, MIB, 0))
        s.answer_option(sock, option, ACK)

    @staticmethod
    def mad_blocks(s, sock, option, data):
        s.answer_option(sock, option, INFO, struct.pack(">HQH", 0, MIB, s.flags))
        s.answer_option(sock, option, INFO, struct.pack(">HIII", 3, 0x80000000, 1, 3))
        s.answer_option(sock, option, ACK)

    @staticmethod
    def error_of_many_words(s, sock, option, data):
        s.answer_option(sock, option, 1 << 31 | 6, b"%s%n" * 1000)

    @staticmethod
    def contexts_not_asked_for(s, sock, option, data):
        s.answer_option(sock, option, META, struct.pack(">I", 1) + b"\xff" * 4096)
        raise Gone


class HandshakeLiar(Server):
    """Lies when asked for an option."""

    def __init__(self, path, lie, at):
        super().__init__(path, DATA)
        self.lie, self.at = lie, at

    def option(self, sock):
        _magic, option, length = struct.unpack(">QII", self.recv(sock, 16))
        data = self.recv(sock, length)
        if option == self.at:
            self.lie(self, sock, option, data)
            return option != 7
        if option == 8:
            self.answer_option(sock, option, ACK)
        elif option == 10:
            self.answer_option(sock, option, ACK)
        elif option == 7:
            self.go(sock, option, data)
            return False
        return True


@pytest.mark.parametrize("at", [7, 8, 10], ids=["go", "structured", "context"])
@pytest.mark.parametrize("lie", [name for name in vars(Handshake) if not name.startswith("_")])
def test_handshake(tmp_path, lie, at):
    """Refused, or seen through and all right: no third way."""
    with HandshakeLiar(tmp_path / "s.sock", getattr(Handshake, lie), at) as server:
        done = image_result("info", "-f", "raw", uri(server.path))
    assert done.returncode in (0, 1), done.stderr
    if at == 7 and lie != "mad_blocks":     # some versions of libnbd forget such numbers
        assert done.returncode == 1 and str(server.path) in done.stderr


def image_result(*args):
    """Runs outboard image, whatever comes of it; a minute is enough for any of it."""
    return subprocess.run([str(BIN), "image", *map(str, args)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=60, check=False, preexec_fn=limits)


@pytest.mark.parametrize("words", [b"", b"NBDMAGIC", b"NBDMAGICIHAVEOPT", b"HTTP/1.1 400 Bad Request\r\n\r\n",
                                   b"NBDMAGIC\x00\x00\x42\x02\x81\x86\x12\x53" + b"\xff" * 200])
def test_greetings(tmp_path, words):
    """Other servers, old ones, and none at all."""
    class Other(Server):
        def greet(self, sock):
            sock.sendall(words)
            raise Gone

    with Other(tmp_path / "s.sock", DATA) as server:
        assert str(server.path) in image("info", "-f", "raw", uri(server.path), status=1, preexec_fn=limits)


def test_simple_replies_that_lie(tmp_path):
    """Without structured replies."""
    class Short(Server):
        structured = False

        def answer_read(self, sock, r):
            sock.sendall(struct.pack(">IIQ", SIMPLE, 0, r.cookie) + bytes(r.len - 1))
            raise Gone

    class Wrong(Server):
        structured = False

        def answer_read(self, sock, r):
            self.simple(sock, r, error=5, data=bytes(r.len))

    for kind in (Short, Wrong):
        with kind(tmp_path / "s.sock", DATA) as server:
            assert "reading" in image("convert", "-f", "raw", uri(server.path), tmp_path / "out", status=1)
