"""What the attributes of a device's class can be: BARs, registers, properties."""

import re

ALL_ONES = (1 << 64) - 1
SIZES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def shown(value):
    """A number as the protocol has it: 0 to 2^64-1, the large ones as text. Others as they are."""
    if isinstance(value, bool) or not isinstance(value, int) or 0 <= value < 1 << 53:
        return value
    return hex(value & ALL_ONES)        # a negative one as the 64 bits that it is


class Bar:
    """A base address register: a window of `size` bytes, a power of two."""

    def __init__(self, index, size, io=False, wide=False, prefetch=False):
        self.index, self.size, self.io, self.wide, self.prefetch = index, size, io, wide, prefetch

    def describe(self):
        """As the protocol has it."""
        return {"index": self.index, "size": self.size, "type": "io" if self.io else "memory", "64bit": self.wide,
                "prefetch": self.prefetch}


class Register:
    """A register: an attribute of the device that the guest sees at an offset of a BAR.

    width     bytes of the guest's access (1, 2, 4, 8)
    widths    other accesses at that offset that are answered, with the same value; others are not
    reset     value at power-on
    writable  the bits that a write by the guest changes; a mask, True or False
    readable  False: reads as all ones

    In the device it is read and set like any attribute, which calls no handler; a value is cut to the width. Handlers
    are for what the guest does:

        @status.reader
        def status(self):             what a read gives
            return self.busy

        @status.writer
        def status(self, value):      what a write does, in place of storing the value
            ...
    """

    def __init__(self, offset, width=4, bar=0, reset=0, writable=True, readable=True, widths=None):
        self.offset, self.width, self.bar, self.reset, self.readable = offset, width, bar, reset, readable
        self.widths = tuple(widths or (width,))
        self.mask = (1 << 8 * width) - 1
        self.writable = self.mask if writable is True else int(writable) & self.mask
        self.read_handler = self.write_handler = None
        self.name = None
        for n in (width, *self.widths):
            if n not in (1, 2, 4, 8) or n > width or offset % n:
                raise ValueError(f"register at {offset:#x}: an access of {n} bytes is none")

    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, device, owner=None):
        return self if device is None else device._values[self]

    def __set__(self, device, value):
        device._values[self] = int(value) & self.mask

    def reader(self, handler):
        """Decorator: handler(self) gives what a read of the guest shall be."""
        self.read_handler = handler
        return self

    def writer(self, handler):
        """Decorator: handler(self, value) is called for a write of the guest."""
        self.write_handler = handler
        return self

    def guest_read(self, device):
        """The guest reads it."""
        if self.read_handler:
            return int(self.read_handler(device))
        return device._values[self] if self.readable else ALL_ONES

    def guest_write(self, device, value):
        """The guest writes it."""
        if self.write_handler:
            self.write_handler(device, value)
        else:
            old = device._values[self]
            device._values[self] = old & ~self.writable | value & self.writable


class Property:
    """What a user may set: `--device ./mydev.py,name=value`; in the device an attribute with the value.

    kind is "text", "bool", "uint", "int", "size" or "enum" (then `values` lists the texts). The name is that of the
    attribute with '-' for '_'.
    """

    def __init__(self, kind="text", default=None, help=None, min=None, max=None, values=None, required=False):
        # pylint: disable=redefined-builtin
        self.kind, self.default, self.help, self.required = kind, default, help, required
        self.min, self.max, self.values = min, max, values
        self.name = None
        if kind not in ("text", "bool", "uint", "int", "size", "enum"):
            raise ValueError(f"there is no kind of property {kind!r}")

    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, device, owner=None):
        return self if device is None else device._settings[self]

    def describe(self):
        """As the protocol has it."""
        default = shown(self.default) if self.kind != "int" or self.default is None else str(self.default)
        given = {"name": self.name.replace("_", "-"), "help": self.help, "type": self.kind, "min": shown(self.min),
                 "max": shown(self.max), "values": self.values,
                 "default": default}
        out = {key: value for key, value in given.items() if value is not None}
        return dict(out, required=True) if self.required else out

    def parse(self, text):
        """The value of what the user wrote; the default for what the daemon will refuse anyhow."""
        try:
            if self.kind == "bool":
                return {"on": True, "yes": True, "true": True, "off": False, "no": False, "false": False}[text]
            if self.kind in ("uint", "int", "size"):
                found = re.fullmatch(r"([+-]?)(?:0x([0-9a-f]+)|([0-9]+))([KMGT]?)", text, re.I)
                value = int(found[2], 16) if found[2] else int(found[3])
                return (-value if found[1] == "-" else value) * SIZES[found[4].upper()]
        except (KeyError, ValueError, TypeError):
            return self.default
        return text
