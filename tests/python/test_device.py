"""Devices in Python: registers, interrupts, transfers, errors, in both forms of the protocol."""

import socket
import subprocess
import sys
import threading

import pytest
from conftest import PACKAGE, ROOT

ONES = 0xffffffff

SIMPLE = """
ident = Register(0x00, reset=0x1d, writable=False)
plain = Register(0x04, reset=7)
masked = Register(0x08, reset=0xf0f0, writable=0x0ff0)
secret = Register(0x0c, readable=False)
wide = Register(0x10, width=8, widths=(4, 8))
computed = Register(0x18)
high = Register(0x3ffc)

@computed.reader
def computed(self):
    return -self.plain

@computed.writer
def computed(self, value):
    self.plain = value * 2
"""


@pytest.fixture(name="text", params=[False, True], ids=["binary", "text"])
def fixture_text(request):
    return request.param


def test_registers(daemon, text):
    d = daemon(SIMPLE, text=text)
    assert d.described["format"] == ("text" if text else "binary")
    assert d.described["bars"] == [{"index": 0, "size": 0x4000, "type": "memory", "64bit": False, "prefetch": False}]
    assert (d.described["name"], d.described["vendor"], d.described["protocol"]) == ("d", 0x1234, 1)
    d.reset("start")
    assert d.read(0) == 0x1d
    d.write(0, 5)
    assert d.read(0) == 0x1d and d.read(4) == 7
    d.write(8, 0xffffffff)
    assert d.read(8) == 0xfff0
    d.write(8, 0)
    assert d.read(8) == 0xf000
    d.write(0xc, 1)
    assert d.read(0xc) == ONES
    d.write(0x10, 0xfedcba9876543210, 8)
    assert d.read(0x10, 8) == 0xfedcba9876543210 and d.read(0x10) == 0x76543210
    d.write(0x10, 1)
    assert d.read(0x10, 8) == 1
    d.write(0x18, 0xffffffff)
    assert d.read(4) == 0xfffffffe and d.read(0x18) == 2
    d.reset()
    assert [d.read(at) for at in (4, 8, 0x10)] == [7, 0xf0f0, 0]
    assert d.end() == (0, "")


@pytest.mark.parametrize("offset, width, bar", [(0, 1, 0), (0, 2, 0), (0, 8, 0), (2, 2, 0), (0x14, 4, 0), (0x100, 4, 0),
                                                (0, 4, 1), (0x3ff8, 8, 0)])
def test_accesses_that_no_register_answers(daemon, offset, width, bar):
    d = daemon(SIMPLE)
    d.write(offset, 0, width, bar)
    assert d.read(offset, width, bar) == (1 << 8 * width) - 1
    assert d.read(4) == 7


def test_own_decoder(daemon, text):
    d = daemon("""
bars = [Bar(2, 256, io=True), Bar(4, 1 << 16, wide=True, prefetch=True)]
def open(self):
    self.memory = bytearray(1 << 16)
def read(self, bar, offset, width):
    if bar == 4:
        return int.from_bytes(self.memory[offset:offset + width], "little")
def write(self, bar, offset, width, value):
    if bar == 4:
        self.memory[offset:offset + width] = value.to_bytes(width, "little")
""", text=text)
    assert [(b["index"], b["type"], b["64bit"]) for b in d.described["bars"]] == [(2, "io", False), (4, "memory", True)]
    d.write(0xfff8, 0x8877665544332211, 8, 4)
    assert d.read(0xfffa, 2, 4) == 0x4433 and d.read(0xffff, 1, 4) == 0x88 and d.read(0, 4, 2) == ONES


def test_interrupts(daemon, text):
    d = daemon("""
intx_pin, msi_vectors, msix_vectors = 1, 4, 8
go = Register(0)
@go.writer
def go(self, value):
    [lambda: self.irq(True), lambda: self.irq(False), lambda: self.msi(3), self.interrupt][value]()
""", text=text)
    assert (d.described["intx"], d.described["msi"], d.described["msix"]) == (1, 4, 8)
    d.state()
    for value, seen in ((0, ("irq", 1)), (1, ("irq", 0)), (2, ("msi", 3)), (3, ("irq", 1))):
        d.write(0, value)
        message = d.expect(seen[0])
        assert message.get("level", message.get("vector")) == seen[1]
    for mode in ("msi", "msix"):
        d.state(msi=mode)
        d.write(0, 3)
        assert d.expect("msi")["vector"] == 0


TRANSFER = """
status, length, go, back = Register(0), Register(4), Register(8), Register(0xc)
def open(self):
    self.data = b""
@go.writer
def go(self, value):
    self.status = 1
    try:
        self.data = self.dma_read(0x123456789000 + value, self.length)
        self.status = 2
    except DmaError as err:
        self.status = 0x100 + err.errno
@back.writer
def back(self, value):
    self.dma_write(value, self.data[::-1])
    self.irq(True)
@status.reader
def status(self):
    return self.status
"""


def test_transfers(daemon, text):
    d = daemon(TRANSFER, text=text)
    d.write(4, 5)
    d.write(8, 0)
    request = d.expect("dma_read")
    assert (request["address"], request["length"]) == (0x123456789000, 5)
    assert d.read(0) == 1           # a processor that polls is answered while the transfer is under way
    d.answer(request, b"12345")
    assert d.read(0) == 2
    d.write(0xc, 0x2000)
    request = d.expect("dma_write")
    assert (request["address"], bytes.fromhex(request["data"])) == (0x2000, b"54321")
    assert d.read(0) == 2
    d.answer(request)
    assert d.expect("irq")["level"] == 1    # only when the data is there


def test_long_transfer_comes_in_pieces(daemon):
    d = daemon(TRANSFER)
    d.write(4, 150000)
    d.write(8, 0)
    data = bytes(n * 7 & 255 for n in range(150000))
    for at in range(0, 150000, 65536):
        request = d.expect("dma_read")
        assert (request["address"], request["length"]) == (0x123456789000 + at, min(65536, 150000 - at))
        d.answer(request, data[at:at + 65536])
    d.write(0xc, 0)
    out = b""
    while len(out) < len(data):
        request = d.expect("dma_write")
        out += bytes.fromhex(request["data"])
        d.answer(request)
    assert out == data[::-1]
    assert d.expect("irq")


def test_failed_and_cancelled_transfers(daemon, text):
    d = daemon(TRANSFER, text=text)
    d.write(4, 1)
    d.write(8, 0)
    d.answer(d.expect("dma_read"), error="EFAULT")
    assert d.read(0) == 0x100 + 14
    d.write(0xc, 0)                     # no data: no transfer
    assert d.expect("irq")
    d.write(8, 0)
    request = d.expect("dma_read")
    d.answer(request, error="ECANCELED")
    d.reset("bus")
    assert d.read(0) == 0 and d.log == []
    assert d.end() == (0, "")


def test_handlers_in_each_other_keep_their_order(daemon):
    """Transfers are started while others wait, more deeply than handlers may be in each other."""
    d = daemon("""
go, order = Register(0), Register(4)
def open(self):
    self.seen = []
@go.writer
def go(self, value):
    self.seen.append(value)
    self.dma_read(value, 1)
@order.reader
def order(self):
    return self.seen == sorted(self.seen) and len(self.seen)
""")
    for n in range(1, 41):
        d.write(0, n)
    number = d.next_id()
    d.ask("read", number, 4, 4)
    for n in range(1, 41):
        while (request := d.receive())["op"] == "done":
            assert request["value"] == 40 and n > 33
        assert request["address"] == n
        if n >= 8:                      # those that may be under way at once
            for address in ([*range(1, 9)] if n == 8 else [n]):
                d.answer({"op": "dma_read", "id": address}, b"x")
    while d.ids and (message := d.receive())["op"] != "done":
        pass
    assert message["value"] == 40


def test_errors_are_logged_and_the_device_goes_on(daemon, text):
    d = daemon("""
good, bad, worse = Register(0, reset=5), Register(4), Register(8)
@bad.reader
def bad(self):
    return {}["no such key"]
@bad.writer
def bad(self, value):
    raise RuntimeError("cannot write\\nthis")
@worse.reader
def worse(self):
    return None
@worse.writer
def worse(self, value):
    def deep(n): return deep(n + 1)
    deep(0)
def read(self, bar, offset, width):
    return "text"
def reset(self, kind):
    raise ValueError(kind)
def changed(self):
    raise ValueError("changed")
""", text=text)
    d.reset("start")
    assert d.read(4) == ONES
    assert any("KeyError: 'no such key'" in line for line in d.log) and "reset failed:" in d.log
    assert any("return {}[" in line for line in d.log)      # a traceback
    d.write(4, 1)
    d.write(8, 1)
    d.state()
    assert d.read(8) == ONES and d.read(0x20) == ONES and d.read(0) == 5
    seen = "\n".join(d.log)
    assert "cannot write" in seen and "RecursionError" in seen and "changed failed:" in seen and "'text'" in seen
    assert "\n\n" not in seen
    assert d.end() == (0, "")


def test_a_guest_cannot_fill_the_log(daemon):
    d = daemon("def read(self, bar, offset, width): raise ValueError\nbars = [Bar(0, 4096)]\n")
    for _ in range(500):
        assert d.read(0) == ONES
    assert sum("failed:" in line for line in d.log) <= 30


def test_answered_writes(daemon, text):
    d = daemon("a = Register(0)\nack_writes = True\n@a.writer\ndef a(self, value):\n    raise ValueError\n", text=text)
    assert d.described["ack_writes"]
    d.ask("write", 77, 4, 0, 1)
    assert d.expect("done")["id"] == 77


def test_timers_and_posts(daemon):
    d = daemon("""
a, b = Register(0), Register(4)
@a.writer
def a(self, value):
    dead = self.after(0, lambda: self.irq(False))
    self.after(0.02, lambda: self.msi(2))
    self.after(0.01, lambda: self.msi(1))
    self.cancel(dead)
    self.cancel(None)
@b.writer
def b(self, value):
    def work():
        try:
            self.irq(True)
        except RuntimeError as err:
            self.post(lambda text=str(err): self.log(text))
        self.post(lambda: self.msi(7))
    threading.Thread(target=work).start()
""")
    d.write(0, 1)
    assert [d.expect("msi")["vector"] for _ in range(2)] == [1, 2]
    d.write(4, 1)
    assert "own thread only" in d.expect("log")["text"] and d.expect("msi")["vector"] == 7
    d.write(0, 1)
    d.reset()                           # timers do not outlive it
    assert d.end()[0] == 0
    assert d.rest.count(b"\x07") == 0 or len(d.rest) <= 48


PROPERTIES = """
speed = Property("uint", default=3, min=1, max=9, help="how fast")
dma_mask = Property("uint", max=(1 << 64) - 1)
offset = Property("int", default=-1, min=-16, max=16)
room = Property("size", default=4096)
on = Property("bool", default=True)
mode = Property("enum", values=["slow", "fast"], default="slow")
label = Property(required=True)
out = Register(0)
@out.reader
def out(self):
    self.log(repr((self.speed, self.dma_mask, self.offset, self.room, self.on, self.mode, self.label)))
    return 0
"""


@pytest.mark.parametrize("given, seen", [
    ({}, (3, None, -1, 4096, True, "slow", None)),
    ({"speed": "0x9", "dma-mask": "010", "offset": "-0x10", "room": "2M", "on": "off", "mode": "fast", "label": ""},
     (9, 10, -16, 2 << 20, False, "fast", "")),
    ({"speed": "x", "room": "4Q", "on": "perhaps", "offset": "", "label": "ä,="}, (3, None, -1, 4096, True, "slow", "ä,=")),
])
def test_properties(daemon, given, seen):
    """Wrong values are the daemon's to refuse, by the description: it must come all the same."""
    d = daemon(PROPERTIES, properties=given)
    described = {p["name"]: p for p in d.described["properties"]}
    assert described["speed"] == {"name": "speed", "help": "how fast", "type": "uint", "min": 1, "max": 9, "default": 3}
    assert described["offset"]["min"] == "0xfffffffffffffff0" and described["offset"]["max"] == 16
    assert described["dma-mask"]["max"] == "0xffffffffffffffff" and described["offset"]["default"] == "-1"
    assert described["label"]["required"] and described["on"]["default"] is True
    assert described["mode"]["values"] == ["slow", "fast"]
    d.read(0)
    assert d.log == [repr(seen)]


def test_refused(daemon):
    d = daemon("a = Property()\ndef open(self):\n    if self.a: raise Refused(f'a={self.a}: not today')\n",
               properties={"a": "x"})
    assert d.described == {"op": "error", "text": "a=x: not today"}
    assert d.end() == (0, "")
    d = daemon("def open(self): None.nothing\n")
    assert d.described["op"] == "error" and "AttributeError" in d.described["text"]
    assert "Traceback" in d.end()[1]


def test_what_a_device_prints_is_no_message(daemon):
    d = daemon("""
a = Register(0)
@a.reader
def a(self):
    print("a line", flush=True)
    os.write(1, b"another\\n")
    os.system("echo of a child")
    return len(sys.stdin.read())
""")
    assert d.read(0) == 0
    assert d.end() == (0, "a line\nanother\nof a child\n")


def test_long_and_odd_log_lines(daemon, text):
    d = daemon("a = Register(0)\n@a.writer\ndef a(self, value):\n    self.log('ä' * 5000 + '\\nb\\udcff', WARN)\n"
               "    self.log('')\n", text=text)
    d.write(0, 0)
    first, second, third = (d.expect("log") for _ in range(3))
    assert set(first["text"]) == {"ä"} and first["level"] == "warn"
    assert second["text"][0] == "b" and third["text"] == "" and d.read(0) == 0


@pytest.mark.parametrize("data", [
    b"\x05\0\0\0" + bytes(20), b"\xff\xff\xff\xff" + bytes(20),     # lengths that are none
    b"\x10\0\0\0\x01" + bytes(11),                                  # a read without an offset
    b"\x10\0\0\0\x03" + bytes(7) + b"\x09\0\0\0",                   # a kind of reset that is none
    b"\x10\0\0\0\x05\0\0\0\x09\0\0\0\0\0\0\0",                      # an answer that nobody asked for
])
def test_nonsense_ends_the_program_with_a_reason(daemon, data):
    d = daemon(SIMPLE)
    d.send_bytes(data)
    assert d.child.wait(10) == 1
    status, text = d.end()
    assert status == 1 and text.startswith(str(d.child.args[1])) and text.count("\n") == 1


@pytest.mark.parametrize("line", [b"no json\n", b"[1]\n", b"[" * 100000 + b"\n", b'{"op":"read","id":-1}\n',
                                  b'{"op":"read","id":1}\n', b'{"op":"done","id":9}\n', b"x" * 300000,
                                  b'{"op":"write","bar":0,"offset":0,"width":4,"value":"1x"}\n'],
                         ids=range(8))
def test_nonsense_in_text(daemon, line):
    d = daemon(SIMPLE, text=True)
    d.send_bytes(line)
    assert d.child.wait(10) == 1
    assert d.end()[1].count("\n") == 1


def test_unknown_messages_are_ignored(daemon, text):
    d = daemon(SIMPLE, text=text)
    d.send_bytes(b'{"op":"tomorrow","x":[1]}\n{"x":1}\n' if text else b"\x18\0\0\0\x63" + bytes(19))
    assert d.read(0) == 0x1d


def test_wrong_hello(daemon):
    d = daemon(SIMPLE, hello={"op": "hello", "protocol": 2})
    assert d.described is None
    assert "protocol 1" in d.end()[1]


def test_end_during_a_transfer(daemon):
    d = daemon(TRANSFER + "def close(self):\n    print('closed')\n")
    d.write(4, 1)
    d.write(8, 0)
    d.expect("dma_read")
    assert d.end() == (0, "closed\n")


@pytest.mark.parametrize("body, says", [
    ("read = Register(0)", "something of that name"), ("attached = Property()", "something of that name"),
    ("a, b = Register(0), Register(0)", "a and b are both at 0x0"), ("a = Register(2)", "an access of 4 bytes"),
    ("a = Register(0, width=3)", "an access of 3 bytes"), ("a = Register(0, widths=(8,))", "an access of 8 bytes"),
    ("a = Property('float')", "'float'"),
])
def test_classes_that_make_no_sense(daemon, body, says):
    d = daemon(body)
    assert says in (d.described or {}).get("text", "") + d.end()[1]


def test_inherited_and_replaced_registers(daemon, tmp_path):
    path = tmp_path / "derived.py"
    path.write_text("""
import outboard
class Base(outboard.Device):
    vendor, device = 1, 2
    a, b, c = outboard.Register(0, reset=1), outboard.Register(4, reset=2), outboard.Register(8)
class D(Base):
    a = outboard.Register(0, reset=9)
    c = None
outboard.run(D)
""", encoding="utf-8")
    d = daemon(path)
    assert [d.read(at) for at in (0, 4, 8)] == [9, 2, ONES]


def test_sockets(tmp_path):
    """On a unix socket each connection is a device of its own, at the same time."""
    path = tmp_path / "s"
    with subprocess.Popen([sys.executable, ROOT / "examples/device-python/edu.py", "--unix", path, "--text"],
                          env={"PYTHONPATH": str(PACKAGE), "PYTHONDONTWRITEBYTECODE": "1"}) as child:
        try:
            done = threading.Event()
            while not path.exists():
                assert child.poll() is None and not done.wait(0.01)
            assert path.stat().st_mode & 0o777 == 0o600
            files = []
            for n in range(2):
                sock = socket.socket(socket.AF_UNIX)
                while sock.connect_ex(str(path)):
                    assert not done.wait(0.01)
                files.append(sock.makefile("rw", encoding="ascii"))
                sock.close()
                files[n].write('{"op":"hello","protocol":1,"id":"x","properties":{}}\n')
                files[n].flush()
            for n, file in enumerate(files):
                assert '"name":"edu"' in file.readline()
                file.write(f'{{"op":"write","bar":0,"offset":4,"width":4,"value":{n}}}\n'
                           '{"op":"read","id":3,"bar":0,"offset":4,"width":4}\n')
                file.flush()
            for n, file in enumerate(files):
                assert file.readline() == f'{{"op":"done","id":3,"value":{0xffffffff - n}}}\n'
                file.close()
        finally:
            child.kill()
