"""NBD clients that break the protocol, lie, stall or flood: each is dealt with, and nobody else notices."""

import random
import struct
import threading

import pytest
from nbd_raw import (ABORT, ACK, CACHE, EINVAL, ENOSPC, EPERM, ERROR, EXPORT_NAME, EXTENDED, FLUSH, GO, INFO, INFO_OPT,
                     INVALID, LIST, LIST_META, META, PEEK, POLICY, READ, SERVER, SET_META, STARTTLS, STATUS, STRUCTURED,
                     TOO_BIG, TRIM, UNKNOWN, UNSUPPORTED, WRITE, ZEROES, Raw, export_data, meta_data, serving)

MIB = 1 << 20
SIZE = 80 * MIB
HUGE = 0xffffffff


@pytest.fixture(name="server", scope="module")
def fixture_server(tmp_path_factory):
    """A server with a witness: a good client that was there before, and is served to the end."""
    folder = tmp_path_factory.mktemp("hostile")
    start = random.Random(3).randbytes(MIB)
    (folder / "a.raw").write_bytes(start)
    with open(folder / "a.raw", "r+b") as out:
        out.truncate(SIZE)
    (folder / "b.raw").write_bytes(bytes(MIB))
    with serving(folder, "--disk", f"{folder}/a.raw,format=raw",
                 "--disk", f"{folder}/b.raw,format=raw,readonly=on") as daemon:
        daemon.path, daemon.start = folder / "nbd.sock", start
        with Raw(daemon.path, "hd0") as daemon.witness:
            yield daemon


@pytest.fixture(autouse=True)
def fixture_still_serves(server):
    """After every test the witness is served, a new client is as well, and the daemon lives."""
    yield
    off = random.randrange(MIB - 4096)
    assert server.witness.read(off, 4096) == server.start[off:off + 4096]
    with Raw(server.path, "hd0") as good:
        assert good.read(off, 512) == server.start[off:off + 512]
    assert server.poll() is None


BAD_OPTIONS = {
    "list with data": (LIST, b"x", INVALID),
    "peek": (PEEK, b"hd0", UNSUPPORTED),
    "unknown": (77, b"abc", UNSUPPORTED),
    "highest": (HUGE, b"", UNSUPPORTED),
    "number 0": (0, b"", UNSUPPORTED),
    "starttls without tls": (STARTTLS, b"", POLICY),
    "structured with data": (STRUCTURED, b"x", INVALID),
    "extended with data": (EXTENDED, b"x", INVALID),
    "too big": (INFO_OPT, bytes(200_000), TOO_BIG),
    "go empty": (GO, b"", INVALID),
    "go short": (GO, b"\0\0\0", INVALID),
    "go no export": (GO, export_data("nobody"), UNKNOWN),
    "go default of two": (GO, export_data(""), UNKNOWN),
    "go name wraps": (GO, struct.pack(">I", HUGE) + b"hd0\0\0", INVALID),
    "go name too long for data": (GO, struct.pack(">I", 4) + b"hd0\0\0", INVALID),
    "go name over the limit": (GO, export_data("x" * 4097), INVALID),
    "go name at the limit": (GO, export_data("x" * 4096), UNKNOWN),
    "go name with a nul": (GO, export_data(b"hd0\0"), UNKNOWN),
    "go more infos than there are": (GO, struct.pack(">I3sHH", 3, b"hd0", 9, 3), INVALID),
    "go data behind": (GO, export_data("hd0", [3]) + b"!", INVALID),
    "meta before structured": (SET_META, meta_data("hd0", "base:allocation"), INVALID),
}
BAD_META = {
    "empty": (b"", INVALID),
    "name wraps": (struct.pack(">II", HUGE, 0), INVALID),
    "count wraps": (struct.pack(">I3sI", 3, b"hd0", HUGE), INVALID),
    "query wraps": (struct.pack(">I3sII", 3, b"hd0", 1, HUGE), INVALID),
    "query beyond": (struct.pack(">I3sII", 3, b"hd0", 1, 5) + b"base", INVALID),
    "data behind": (meta_data("hd0", "base:allocation") + b"?", INVALID),
    "no export": (meta_data("nobody", "base:allocation"), UNKNOWN),
}


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_bad_option(server, case):
    number, data, kind = BAD_OPTIONS[case]
    with Raw(server.path) as bad:
        assert [reply[0] for reply in bad.ask(number, data)] == [kind]
        assert bad.ask(ABORT) == [(ACK, b"")] and bad.ended()


@pytest.mark.parametrize("option", [LIST_META, SET_META])
@pytest.mark.parametrize("case", BAD_META)
def test_bad_meta_context(server, option, case):
    data, kind = BAD_META[case]
    with Raw(server.path) as bad:
        bad.ask(STRUCTURED)
        assert [reply[0] for reply in bad.ask(option, data)] == [kind]
        bad.structured = True
        bad.go("hd0")
        assert bad.error(READ, 0, 512) == 0 and bad.error(STATUS, 0, 512) == EINVAL


@pytest.mark.parametrize("data", [
    b"IHAVEOPS" + bytes(8), struct.pack(">8sII", b"IHAVEOPT", LIST, HUGE),
    struct.pack(">8sII", b"IHAVEOPT", 99, 2 * MIB),
    struct.pack(">8sII", b"IHAVEOPT", EXPORT_NAME, 6) + b"nobody",
    struct.pack(">8sII", b"IHAVEOPT", EXPORT_NAME, 4097) + b"x" * 4097,
    bytes(100), random.Random(1).randbytes(5000)], ids=range(7))
def test_end_of_handshake(server, data):
    with Raw(server.path) as bad:
        bad.send(data)
        assert bad.ended()


def test_flags_that_mean_nothing(server):
    with Raw(server.path, flags=0x80000003) as bad:
        assert bad.ended()


def test_old_client(server):
    with Raw(server.path, flags=0) as old:
        old.option(EXPORT_NAME, b"hd0")
        size, _flags, zeroes = struct.unpack(">QH124s", old.recv(134))
        assert size == SIZE and zeroes == bytes(124)
        assert old.read(5, 100) == server.start[5:105]


def test_option_flood(server):
    with Raw(server.path) as bad:
        with pytest.raises((OSError, EOFError)):
            for _ in range(100_000):
                bad.option(77)
                bad.reply()


def test_list_flood_that_nobody_reads(server):
    """Replies pile up to the socket's size, not in the server."""
    with Raw(server.path) as bad:
        bad.sock.settimeout(0.3)
        with pytest.raises(OSError):
            while True:
                bad.option(LIST)


def test_half_open_connections_keep_nobody_out(server):
    """More of them than the server keeps, and than there are places for clients."""
    idle = [Raw(server.path) for _ in range(100)]
    with Raw(server.path, "hd0") as good:
        assert good.read(0, 512) == server.start[:512]
    for bad in idle:
        bad.sock.close()


def test_storm(server):
    def storm():
        for i in range(100):
            with Raw(server.path, "hd0" if i % 3 == 0 else None) as bad:
                if i % 2:
                    bad.send(b"x" * i)
    threads = [threading.Thread(target=storm) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("structured, extended", [(False, False), (True, False), (False, True)],
                         ids=["simple", "structured", "extended"])
def test_bad_requests(server, structured, extended):
    beyond = SIZE - 100
    with Raw(server.path, "hd0", structured, extended) as bad:
        assert bad.error(99) == EINVAL
        assert bad.error(8, 0, 512) == EINVAL
        assert bad.error(READ, 0, 512, flags=1 << 9) == EINVAL
        assert bad.error(WRITE, 0, 512, flags=2, data=bytes(512)) == EINVAL
        assert bad.error(READ, 0, HUGE) == EINVAL
        assert bad.error(READ, 0, 32 * MIB + 1) == EINVAL
        assert bad.error(READ, beyond, 200) == EINVAL
        assert bad.error(READ, (1 << 64) - 1, 1) == EINVAL
        assert bad.error(READ, (1 << 64) - 512, 1024) == EINVAL
        assert bad.error(WRITE, beyond, 200, data=bytes(200)) == ENOSPC
        assert bad.error(WRITE, (1 << 64) - 100, 200, data=bytes(200)) == ENOSPC
        assert bad.error(WRITE, 0, 33 * MIB, data=bytes(33 * MIB)) == EINVAL
        assert bad.error(ZEROES, beyond, 200) == ENOSPC
        assert bad.error(TRIM, beyond, HUGE) == EINVAL
        assert bad.error(CACHE, 1 << 63, 1) == EINVAL
        assert bad.error(STATUS, 0, 512) == EINVAL  # no context was chosen
        assert bad.error(FLUSH) == 0
        if not bad.structured:
            assert bad.error(READ, 0, 512, flags=4) == EINVAL
        if extended:
            assert bad.error(ZEROES, 0, (1 << 64) - 1) == ENOSPC
            assert bad.error(TRIM, 0, 100, flags=0x20, data=bytes(100)) == EINVAL  # data with what has none
        assert bad.error(READ, 0, 0) == 0 and bad.error(WRITE, SIZE, 0) == 0
        bad.request(READ, 0, 512)
        if bad.structured:
            assert bad.chunks() == [(1, bytes(8) + server.start[:512])]
        else:
            assert bad.simple()[0] == 0 and bad.recv(512) == server.start[:512]


def test_readonly(server):
    with Raw(server.path, "hd1") as bad:
        assert bad.flags & 2
        assert bad.error(WRITE, 0, 512, data=bytes(512)) == EPERM
        assert bad.error(ZEROES, 0, 512) == EPERM and bad.error(TRIM, 0, 512) == EPERM
        assert bad.read(0, 512) == bytes(512)


@pytest.mark.parametrize("data", [bytes(28), struct.pack(">IHHQQI", 0x25609513, 0, WRITE, 0, 0, HUGE),
                                  struct.pack(">IHHQQI", 0x21e41c71, 0, READ, 0, 0, 0)],
                         ids=["magic", "length", "extended"])
def test_end_of_transmission(server, data):
    with Raw(server.path, "hd0") as bad:
        bad.send(data)
        assert bad.ended()


def test_gone_in_the_middle(server):
    """Of a header, of data, of replies, of many requests."""
    for cut in (1, 10, 27, 28, 500, 100_000):
        with Raw(server.path, "hd0") as bad:
            bad.send((struct.pack(">IHHQQI", 0x25609513, 0, WRITE, 0, 40 * MIB, MIB) + bytes(MIB))[:cut])
    for _ in range(20):
        with Raw(server.path, "hd0") as bad:
            for _ in range(50):
                bad.request(READ, 0, MIB)


def test_deaf_clients(server):
    """They ask and do not listen: others are served meanwhile, and memory does not grow beyond their shares."""
    def resident():
        with open(f"/proc/{server.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) >> 10

    before = resident()
    deaf = [Raw(server.path, "hd0", structured=True) for _ in range(4)]
    for bad in deaf:
        bad.sock.settimeout(0.2)
        with pytest.raises(OSError):
            while True:
                bad.request(READ, 0, 32 * MIB)
    for _ in range(20):
        assert server.witness.read(0, 4096) == server.start[:4096]
    assert resident() - before < 4 * 64 + 64
    for bad in deaf:
        bad.sock.close()


def test_info(server):
    with Raw(server.path) as good:
        replies = good.ask(INFO_OPT, export_data("hd0", [1, 2, 3, 3, 3, 9000]))
        assert [kind for kind, _ in replies] == [INFO, INFO, INFO, ACK]
        assert [struct.unpack(">H", text[:2])[0] for _, text in replies[:-1]] == [0, 1, 3]
        assert struct.unpack(">III", replies[2][1][2:])[::2] == (1, 32 * MIB)
        replies = good.ask(LIST)
        assert [text[4:] for kind, text in replies if kind == SERVER] == [b"hd0", b"hd1"]
        assert not any(kind & ERROR for kind, _ in replies)


def test_meta_contexts(server):
    both = ["base:allocation", "qemu:allocation-depth"]
    with Raw(server.path) as good:
        good.ask(STRUCTURED)

        def names(option, *queries):
            replies = good.ask(option, meta_data("hd0", *queries))
            assert replies[-1][0] == ACK
            return [text[4:].decode() for kind, text in replies if kind == META]
        assert names(LIST_META) == both and names(SET_META) == []
        assert names(LIST_META, "base:") == both[:1] and names(SET_META, "base:") == []
        assert names(SET_META, "qemu:allocation-depth", "x-other:thing", "", "base") == both[1:]
        good.ask(SET_META, b"broken")  # and so nothing is chosen
        good.structured = True
        good.go("hd0")
        assert good.error(STATUS, 0, 512) == EINVAL


def test_contexts_of_another_export(server):
    with Raw(server.path) as good:
        good.ask(STRUCTURED)
        good.ask(SET_META, meta_data("hd1", "base:allocation"))
        good.structured = True
        good.go("hd0")
        assert good.error(STATUS, 0, 512) == EINVAL


def test_extended_headers(server):
    with Raw(server.path) as good:
        assert good.ask(EXTENDED) == [(ACK, b"")]
        assert good.ask(SET_META, meta_data("hd0", "base:allocation"))[-1][0] == ACK
        good.extended = good.structured = True
        good.go("hd0")
        good.request(STATUS, 0, SIZE)
        [(kind, payload)] = good.chunks()
        assert kind == 6 and struct.unpack(">II", payload[:8]) == (1, 2)
        assert struct.unpack(">4Q", payload[8:]) == (MIB, 0, SIZE - MIB, 3)
        good.request(STATUS, MIB - 512, 1024, flags=8)
        assert good.chunks() == [(6, struct.pack(">IIQQ", 1, 1, 512, 0))]
        good.request(READ, MIB - 4096, 4096 + 64 * 1024)
        (data, hole) = good.chunks()
        assert data == (1, struct.pack(">Q", MIB - 4096) + server.start[-4096:])
        assert hole == (2, struct.pack(">QI", MIB, 64 * 1024))
        assert good.error(WRITE, 60 * MIB, 512, flags=0x21, data=b"w" * 512) == 0
        assert good.error(WRITE, 60 * MIB + 512, 512, data=b"v" * 512) == 0  # tolerated without its flag
        good.request(READ, 60 * MIB, 1024)
        assert good.chunks() == [(1, struct.pack(">Q", 60 * MIB) + b"w" * 512 + b"v" * 512)]
        assert good.error(ZEROES, MIB, SIZE - MIB) == 0
        good.request(READ, 60 * MIB, 1024)
        assert good.chunks() == [(2, struct.pack(">QI", 60 * MIB, 1024))]


def test_sparse_reads(server):
    """Whatever the pattern of zeros: chunks are in order, whole, few, and with DF there is one."""
    rand = random.Random(5)
    with Raw(server.path, "hd0", structured=True) as good:
        for _ in range(20):
            data = bytearray()
            while len(data) < 2 * MIB:
                data += rand.choice((bytes, rand.randbytes))(rand.choice((1, 4096, 5000, 33_000, 70_000, 300_000)))
            off = 10 * MIB + rand.randrange(5000)
            assert good.error(WRITE, off, len(data), data=data) == 0
            for flags in (0, 4):
                good.request(READ, off, len(data), flags=flags)
                seen, chunks = bytearray(), good.chunks()
                for kind, payload in chunks:
                    assert struct.unpack(">Q", payload[:8])[0] == off + len(seen)
                    seen += payload[8:] if kind == 1 else bytes(struct.unpack(">I", payload[8:])[0])
                assert seen == data and len(chunks) <= (1 if flags else 16)
