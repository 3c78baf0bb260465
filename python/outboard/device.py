"""What a device is: the class that devices are made from, with registers and properties as attributes.

Everything here runs in one thread, one handler at a time. While a handler waits in dma_read() or dma_write(), other
requests of the guest are served: a processor that polls a register meanwhile would otherwise stop the machine, and the
transfer with it. So a handler that moves memory first sets what other registers are to show (a busy bit).
"""

import errno
import heapq
import itertools
import os
import threading
import time
import traceback

from . import link as wire
from .attributes import ALL_ONES, Bar, Property, Register

ERROR, WARN, INFO, DEBUG = wire.LEVELS
MAX_NESTED = 8          # handlers in each other, by transfers
TRACES, TRACES_S = 10, 5.0


class Refused(Exception):
    """Raised in open(): there shall be no device, and the user is told why."""


class DmaError(OSError):
    """A transfer failed: errno is EFAULT (no guest memory there), EPERM, EACCES, ENOTCONN or EIO."""


class Cancelled(BaseException):
    """A transfer has ended with a reset, or because the VMM went: the handler ends here, nobody waits for its work.

    It is no Exception, so that a handler that deals with errors does not deal with this one. `finally` is run.
    """


class _Requests:
    """What is under way between the device and its daemon."""

    def __init__(self, link, max_dma):
        self.link, self.max_dma = link, max_dma
        self.ids = itertools.count(1)
        self.done = {}          # id: the answer, or None until it came
        self.later = []         # messages that came when enough handlers were in each other
        self.nested = 0

    def start(self, message):
        """Send a request; its id."""
        number = next(self.ids) & 0xffffffff or next(self.ids) & 0xffffffff
        self.done[number] = None
        self.link.send(dict(message, id=number))
        return number


class Device:
    """A PCI device; see the module's and the package's text. Subclasses set these:"""

    name = None                 # a-z, 0-9 and '-'; None: the class's name in lower case
    help = None                 # one line
    vendor = device = None
    subsystem_vendor = subsystem = None
    class_code, revision = 0xff0000, 0
    intx_pin = 0                # 1 to 4: INTA# to INTD#
    msi_vectors = msix_vectors = 0
    pcie = pm = False
    bars = None                 # list of Bar; None: memory BARs that hold the registers, of at least 4096 bytes
    ack_writes = False          # True: the guest's processor waits until a write was handled

    # To be read:
    instance = "device"         # the id that the user gave
    attached = False            # a VMM is there
    dma_allowed = False         # and its driver allows DMA
    msi_mode = "off"            # "off", "msi" or "msix": what the driver enabled

    def __init_subclass__(cls, **more):
        super().__init_subclass__(**more)
        for name, value in vars(cls).items():
            if isinstance(value, (Property, Register)) and hasattr(Device, name):
                raise TypeError(f"{cls.__name__}.{name}: every device has something of that name; take another")

    def __init__(self, link, hello):
        self._link = link
        self.instance = hello.get("id", self.instance)
        self._values, self._settings, self._registers = {}, {}, {}
        self._requests = _Requests(link, int(hello.get("max_dma", 65536)))
        self._timers, self._order = [], itertools.count()
        self._posts, self._traces = [], []
        self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        link.watch(self._wake[0])
        self._thread = threading.get_ident()
        given = hello.get("properties") or {}
        for attribute in self._attributes(Property):
            text = given.get(attribute.name.replace("_", "-"))
            self._settings[attribute] = attribute.default if text is None else attribute.parse(text)
        for register in self._attributes(Register):
            self._add(register)

    # ---- for subclasses to replace ----

    def open(self):
        """Called once, with the properties set, before the device is described. Refused: there is none."""

    def reset(self, kind):
        """Called after registers were set to their reset values, INTx lowered and timers cancelled.

        kind: "start", "bus" (the machine) or "function" (its driver).
        """

    def read(self, bar, offset, width):
        """An access that no register answers; None reads as all ones."""

    def write(self, bar, offset, width, value):
        """An access that no register answers."""

    def changed(self):
        """attached, dma_allowed or msi_mode changed."""

    def close(self):
        """The end."""

    # ---- for subclasses to call: in handlers, which all run in one thread ----

    def irq(self, level):
        """Raise (True) or lower (False) the INTx line; as often as one likes."""
        self._own_thread()
        self._link.send({"op": "irq", "level": int(bool(level))})

    def msi(self, vector=0):
        """Send a message by MSI-X or MSI, whichever the driver enabled; with neither it is dropped."""
        self._own_thread()
        self._link.send({"op": "msi", "vector": vector})

    def interrupt(self, level=True, vector=0):
        """As hardware with both does: a message where the driver enabled those, else the line."""
        if self.msi_mode == "off":
            self.irq(level)
        elif level:
            self.msi(vector)

    def dma_read(self, address, length):
        """Bytes of guest memory. DmaError when that fails. Other handlers may run meanwhile."""
        self._own_thread()
        out, most = bytearray(), self._requests.max_dma
        for at in range(0, length, most):
            part = min(most, length - at)
            number = self._requests.start({"op": "dma_read", "address": address + at, "length": part})
            data = self._wait(number, address + at, part).get("data", b"")
            if len(data) != part:
                raise wire.ProtocolError(f"{len(data)} bytes came of the {part} asked for")
            out += data
        return bytes(out)

    def dma_write(self, address, data):
        """Write bytes to guest memory; they are there when this returns. Otherwise as dma_read()."""
        self._own_thread()
        view, most = memoryview(data).cast("B"), self._requests.max_dma
        for at in range(0, len(view), most):
            part = bytes(view[at:at + most])
            number = self._requests.start({"op": "dma_write", "address": address + at, "data": part})
            self._wait(number, address + at, len(part))

    def after(self, seconds, handler):
        """Call handler() later; returns what cancel() takes. A reset cancels it."""
        self._own_thread()
        timer = [time.monotonic() + seconds, next(self._order), handler]
        heapq.heappush(self._timers, timer)
        return timer

    def cancel(self, timer):
        """A timer of after() does not fire any more; None and one that fired are fine."""
        if timer:
            timer[2] = None

    def post(self, handler):
        """Any thread: handler() is called soon, in the device's own thread."""
        self._posts.append(handler)
        try:
            os.write(self._wake[1], b"\0")
        except BlockingIOError:     # it is awake as it is
            pass

    def log(self, text, level=INFO):
        """Lines in the daemon's log."""
        self._own_thread()
        for line in str(text).splitlines() or [""]:
            self._link.send({"op": "log", "level": level, "text": line[:wire.MAX_LOG]})

    # ---- the machinery ----

    @classmethod
    def _attributes(cls, kind):
        seen = {}
        for base in reversed(cls.__mro__):
            seen.update({name: value for name, value in vars(base).items() if isinstance(value, kind)})
        return [value for name, value in seen.items() if getattr(cls, name) is value]

    def _add(self, register):
        self._values[register] = register.reset & register.mask
        for width in register.widths:
            key = (register.bar, register.offset, width)
            if key in self._registers:
                raise ValueError(f"{self._registers[key].name} and {register.name} are both at {register.offset:#x}")
            self._registers[key] = register

    def _own_thread(self):
        if threading.get_ident() != self._thread:
            raise RuntimeError("a device is used in its own thread only; see post()")

    def _bars(self):
        if self.bars is not None:
            return self.bars
        ends = {}
        for register in self._values:
            ends[register.bar] = max(ends.get(register.bar, 4096), register.offset + register.width)
        return [Bar(index, 1 << (end - 1).bit_length()) for index, end in sorted(ends.items())]

    def describe(self, form):
        """The first message of the protocol."""
        out = {"op": "describe", "protocol": wire.PROTOCOL,
               "name": self.name or type(self).__name__.lower().replace("_", "-"), "help": self.help,
               "vendor": self.vendor, "device": self.device, "subsystem_vendor": self.subsystem_vendor,
               "subsystem": self.subsystem, "class": self.class_code, "revision": self.revision,
               "intx": self.intx_pin, "bars": [bar.describe() for bar in self._bars()], "msi": self.msi_vectors,
               "msix": self.msix_vectors, "pcie": self.pcie, "pm": self.pm,
               "properties": [attribute.describe() for attribute in self._settings],
               "ack_writes": self.ack_writes, "format": form}
        return {key: value for key, value in out.items() if value is not None}

    def serve(self):
        """Answer until the connection ends."""
        try:
            while True:
                self._run_due()
                if self._requests.later:
                    self._dispatch(self._requests.later.pop(0))
                    continue
                message = self._link.receive(self._next_due())
                if message:
                    self._dispatch(message)
        except wire.Gone:
            pass
        finally:
            self._guard("close", self.close)
            for descriptor in self._wake:
                os.close(descriptor)

    def _wait(self, number, address, length):
        """The answer to a request of ours; requests of the guest are served meanwhile."""
        requests = self._requests
        requests.nested += 1
        try:
            while requests.done[number] is None:
                if requests.later and requests.nested <= MAX_NESTED:
                    self._dispatch(requests.later.pop(0))
                    continue
                message = self._link.receive()
                if message is None:
                    self._drain()
                elif message.get("op") == "done" or requests.nested <= MAX_NESTED:
                    self._dispatch(message)
                else:
                    requests.later.append(message)
        finally:
            requests.nested -= 1
            answer = requests.done.pop(number)
        if answer.get("error") == "ECANCELED":
            raise Cancelled
        if "error" in answer:
            code = wire.ERRORS.get(answer["error"], errno.EIO)
            raise DmaError(code, f"{length} bytes at {address:#x}: {os.strerror(code)}")
        return answer

    def _dispatch(self, message):
        op = message.get("op")
        handler = {"read": self._read, "write": self._write, "reset": self._reset, "state": self._state,
                   "done": self._done}.get(op)
        if handler:
            try:
                handler(message)
            except KeyError as err:
                raise wire.ProtocolError(f"{op} without {err}") from None

    def _read(self, message):
        bar, offset, width = message["bar"], message["offset"], message["width"]
        register = self._registers.get((bar, offset, width))
        if register:
            value = self._guard(f"reading {register.name}", register.guest_read, self)
        else:
            value = self._guard(f"reading {bar}:{offset:#x}", self.read, bar, offset, width)
        if value is not None and not isinstance(value, int):
            self._trace(f"reading {bar}:{offset:#x}", [f"{value!r} is no number"])
            value = None
        self._link.send({"op": "done", "id": message["id"],
                        "value": (ALL_ONES if value is None else value) & (1 << 8 * width) - 1})

    def _write(self, message):
        bar, offset, width, value = message["bar"], message["offset"], message["width"], message["value"]
        register = self._registers.get((bar, offset, width))
        if register:
            self._guard(f"writing {register.name}", register.guest_write, self, value)
        else:
            self._guard(f"writing {bar}:{offset:#x}", self.write, bar, offset, width, value)
        if "id" in message:
            self._link.send({"op": "done", "id": message["id"]})

    def _reset(self, message):
        self._timers.clear()
        for register in self._values:
            self._values[register] = register.reset & register.mask
        self._guard("reset", self.reset, message.get("kind", "start"))
        self._link.send({"op": "done", "id": message["id"]})

    def _state(self, message):
        self.attached, self.dma_allowed = bool(message["attached"]), bool(message["dma"])
        self.msi_mode = message["msi"]
        self._guard("changed", self.changed)

    def _done(self, message):
        if message["id"] not in self._requests.done:
            raise wire.ProtocolError(f"an answer to {message['id']}, which was not asked")
        self._requests.done[message["id"]] = message

    def _next_due(self):
        while self._timers and self._timers[0][2] is None:
            heapq.heappop(self._timers)
        if self._posts:
            return 0
        return max(0, self._timers[0][0] - time.monotonic()) if self._timers else None

    def _drain(self):
        try:
            while os.read(self._wake[0], 4096):
                pass
        except BlockingIOError:
            pass

    def _run_due(self):
        self._drain()
        for handler in [self._posts.pop(0) for _ in range(len(self._posts))]:
            self._guard("a post", handler)
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            handler = heapq.heappop(self._timers)[2]
            if handler:
                self._guard("a timer", handler)

    def _guard(self, what, function, *args):
        """Call a handler. What it raises is logged and gives None: the device goes on."""
        try:
            return function(*args)
        except Cancelled:
            pass
        except Exception:       # pylint: disable=broad-except
            self._trace(what, traceback.format_exc().splitlines())
        return None

    def _trace(self, what, lines):
        """A device error; a guest that repeats it must not fill the log."""
        now = time.monotonic()
        self._traces = [at for at in self._traces if now - at < TRACES_S]
        if len(self._traces) < TRACES:
            self._traces.append(now)
            for line in [f"{what} failed:", *lines]:
                self.log(line, ERROR)
