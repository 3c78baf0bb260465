/* The drivers of this folder, for registry.c. */
#pragma once

#include "block/driver.h"

extern const struct block_driver block_file;
extern const struct block_driver block_raw;
extern const struct block_driver block_mem;
extern const struct block_driver block_null;
extern const struct block_driver block_log;
extern const struct block_driver block_fault;
extern const struct block_driver block_qcow2;
extern const struct block_driver block_vmdk;
extern const struct block_driver block_uimage;
extern const struct block_driver block_vdi;
extern const struct block_driver block_vpc;
extern const struct block_driver block_vhdx;
extern const struct block_driver block_nbd;
extern const struct block_driver block_throttle;
extern const struct block_driver block_copy_on_read;
