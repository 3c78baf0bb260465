#!/usr/bin/python3
"""@NAME@: a PCI device that adds up bytes of the guest's memory.

  0x00  ID       read: 0x0add0001
  0x04  STATUS   read: 1 busy, 2 done, 4 failed; written ones clear 2 and 4 and lower the interrupt
  0x08  LEN      bytes to add up, at most 65536
  0x10  ADDR     where they are (low half; 0x14: high half)
  0x18  RESULT   where the sum goes, 4 bytes (low half; 0x1c: high half)
  0x20  START    any write starts
  0x24  COUNT    read: how many sums were made since reset

The end is told by an interrupt: MSI when the driver has enabled it, else INTx. Registers are 32 bits wide; other
accesses read all ones and write nothing.
"""

import outboard

BUSY, DONE, FAILED = 1, 2, 4
LEN_MAX = 65536


class Adder(outboard.Device):
    """Adds up bytes of the guest's memory."""

    name = "@NAME@"
    help = "adds up bytes of the guest's memory"
    vendor, device = 0x1234, 0x0add     # yours, once you have one
    class_code, revision = 0xff0000, 1
    intx_pin, msi_vectors = 1, 1

    ident = outboard.Register(0x00, reset=0x0add0001, writable=False)
    status = outboard.Register(0x04)
    length = outboard.Register(0x08)
    addr_low = outboard.Register(0x10)
    addr_high = outboard.Register(0x14)
    result_low = outboard.Register(0x18)
    result_high = outboard.Register(0x1c)
    start = outboard.Register(0x20, readable=False)
    count = outboard.Register(0x24, writable=False)

    @status.writer
    def status(self, value):
        self.status &= ~(value & (DONE | FAILED))
        if not self.status & (DONE | FAILED):
            self.irq(False)

    @start.writer
    def start(self, value):
        if self.status & BUSY:
            return
        # Other registers may be read and written while dma_read() waits: say so before, and take what is needed.
        self.status = BUSY
        addr = self.addr_high << 32 | self.addr_low
        result = self.result_high << 32 | self.result_low
        length = self.length
        try:
            if not 1 <= length <= LEN_MAX:      # what the guest says is checked here, once
                raise ValueError(f"LEN is {length}, must be 1 to {LEN_MAX}")
            total = sum(self.dma_read(addr, length))
            self.dma_write(result, total.to_bytes(4, "little"))
        except (ValueError, outboard.DmaError) as err:
            self.log(err, outboard.WARN)
            self.status = FAILED
        else:
            self.status = DONE
            self.count += 1
        self.interrupt()


if __name__ == "__main__":
    outboard.run(Adder)
