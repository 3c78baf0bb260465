/* CRC-32C (Castagnoli; reflected polynomial 82F63B78h), as used by the .disc file and VHDX. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* crc: 0 to begin, or the value so far to go on. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);
/* The same without the processor's help, whatever it has: for tests. */
uint32_t crc32c_by_table(uint32_t crc, const void *data, size_t len);
