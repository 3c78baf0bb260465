#!/usr/bin/python3
"""edu: the teaching device of every driver tutorial, as src/device/edu.c has it in C.

Identification, liveness (reads back the inverse), factorial with an interrupt, DMA both ways between guest memory and a
buffer of 4096 bytes, INTx and one MSI. Registers below 0x80 are 32 bits wide, the others 32 or 64.
"""

import outboard

COMPUTING, STATUS_IRQ = 0x01, 0x80
IRQ_FACTORIAL, IRQ_DMA = 0x001, 0x100
DMA_RUN, DMA_TO_RAM, DMA_IRQ = 1, 2, 4
DMA_DELAY_S = 0.1
BUFFER_AT, BUFFER_LEN = 0x40000, 4096


def factorial(n):
    """n! mod 2^32; from 34 on there are 32 factors of two in it."""
    product = 1
    while n > 1 and product:
        product = product * n & 0xffffffff
        n -= 1
    return product


class Edu(outboard.Device):
    """The teaching device."""

    help = "teaching device: registers, factorial, DMA, INTx and MSI"
    vendor, device = 0x1234, 0x11e8
    subsystem_vendor, subsystem = 0x1af4, 0x1100
    class_code, revision = 0x00ff00, 0x10
    intx_pin, msi_vectors = 1, 1
    bars = [outboard.Bar(0, 1 << 20)]

    dma_mask = outboard.Property("uint", default=0x0fffffff, help="bits of guest addresses that DMA can reach")

    ident = outboard.Register(0x00, reset=0x010000ed, writable=False)
    live = outboard.Register(0x04)
    result = outboard.Register(0x08)
    status = outboard.Register(0x20, writable=STATUS_IRQ)
    irq_status = outboard.Register(0x24, writable=False)
    irq_raise = outboard.Register(0x60, readable=False)
    irq_ack = outboard.Register(0x64, readable=False)
    dma_src = outboard.Register(0x80, width=8, widths=(4, 8))
    dma_dst = outboard.Register(0x88, width=8, widths=(4, 8))
    dma_count = outboard.Register(0x90, width=8, widths=(4, 8))
    dma_cmd = outboard.Register(0x98, width=8, widths=(4, 8))

    def open(self):
        self.buffer = bytearray(BUFFER_LEN)

    def reset(self, kind):
        self.buffer[:] = bytes(BUFFER_LEN)

    @live.writer
    def live(self, value):
        self.live = ~value

    @result.writer
    def result(self, value):
        if not self.status & COMPUTING:
            self.status |= COMPUTING
            self.after(0, lambda: self.computed(value))

    def computed(self, n):
        """The factorial is there."""
        self.result = factorial(n)
        self.status &= ~COMPUTING
        if self.status & STATUS_IRQ:
            self.raise_bits(IRQ_FACTORIAL)

    def raise_bits(self, bits):
        """The bits become pending, and the driver is told."""
        self.irq_status |= bits
        if self.irq_status:
            self.interrupt()

    @irq_raise.writer
    def irq_raise(self, value):
        self.raise_bits(value)

    @irq_ack.writer
    def irq_ack(self, value):
        self.irq_status &= ~value
        if not self.irq_status:
            self.irq(False)

    # While a transfer runs its registers keep still.

    @dma_src.writer
    def dma_src(self, value):
        if not self.dma_cmd & DMA_RUN:
            self.dma_src = value

    @dma_dst.writer
    def dma_dst(self, value):
        if not self.dma_cmd & DMA_RUN:
            self.dma_dst = value

    @dma_count.writer
    def dma_count(self, value):
        if not self.dma_cmd & DMA_RUN:
            self.dma_count = value

    @dma_cmd.writer
    def dma_cmd(self, value):
        if value & DMA_RUN and not self.dma_cmd & DMA_RUN:
            self.dma_cmd = value
            self.after(DMA_DELAY_S, self.transfer)

    def transfer(self):
        """Copy; a transfer that leaves the buffer moves nothing and ends like the others."""
        to_ram = self.dma_cmd & DMA_TO_RAM
        inside, outside = (self.dma_src, self.dma_dst) if to_ram else (self.dma_dst, self.dma_src)
        at, count, address = inside - BUFFER_AT, self.dma_count, outside & self.dma_mask
        try:
            if not 0 <= at <= BUFFER_LEN or count > BUFFER_LEN - at:
                self.log(f"DMA of {count:#x} bytes at {inside:#x} leaves the buffer", outboard.WARN)
            elif to_ram:
                self.dma_write(address, self.buffer[at:at + count])
            else:
                self.buffer[at:at + count] = self.dma_read(address, count)
        except outboard.DmaError as err:
            self.log(f"DMA failed: {err}", outboard.WARN)
        self.dma_cmd &= ~DMA_RUN
        if self.dma_cmd & DMA_IRQ:
            self.raise_bits(IRQ_DMA)


if __name__ == "__main__":
    outboard.run(Edu)
