"""PCI devices outside the VMM, in Python.

A device is a class; its registers, BARs and properties are attributes:

    import outboard

    class Counter(outboard.Device):
        vendor, device = 0x1234, 0x0001
        intx_pin = 1
        count = outboard.Register(0x00)

        @count.writer
        def count(self, value):
            self.count = value + 1
            self.irq(True)

    if __name__ == "__main__":
        outboard.run(Counter)

`outboard run --device ./counter.py -- qemu-system-x86_64 ...` gives it to a guest. See docs/python.md.
"""

from .attributes import Bar, Property, Register
from .device import DEBUG, ERROR, INFO, WARN, Cancelled, Device, DmaError, Refused
from .serve import run

__all__ = ["DEBUG", "ERROR", "INFO", "WARN", "Bar", "Cancelled", "Device", "DmaError", "Property", "Refused", "Register",
           "run"]
