#!/bin/sh
# Runs in the guest as its driver: a sum of eight bytes, and the interrupt that tells its end.
. device.sh

ID=0x00 STATUS=0x04 LEN=0x08 ADDR=0x10 RESULT=0x18 START=0x20 COUNT=0x24
DONE=2

device 1234 0add
expect "the id" "$(get32 $((bar0 + ID)))" 0x0add0001

set32 $dma_memory 0x04030201
set32 $((dma_memory + 4)) 0x08070605
set32 $((bar0 + LEN)) 8
set32 $((bar0 + ADDR)) $dma_memory
set32 $((bar0 + ADDR + 4)) 0
set32 $((bar0 + RESULT)) $((dma_memory + 0x100))
set32 $((bar0 + RESULT + 4)) 0

irq_open
set32 $((bar0 + START)) 1
irq_wait 20 >/dev/null
expect "the status" "$(get32 $((bar0 + STATUS)))" $DONE
set32 $((bar0 + STATUS)) $DONE
irq_on
expect "the status when it is acknowledged" "$(get32 $((bar0 + STATUS)))" 0
expect "the sum in memory" "$(get32 $((dma_memory + 0x100)))" 36
expect "the count" "$(get32 $((bar0 + COUNT)))" 1

# Again: the line works more than once.
set32 $((bar0 + START)) 1
irq_wait 20 >/dev/null
set32 $((bar0 + STATUS)) $DONE
irq_on
expect "the count" "$(get32 $((bar0 + COUNT)))" 2
echo "the interrupt was seen, the sum is right"
