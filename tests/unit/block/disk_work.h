/* Images of a format in memory, and random requests to them beside a plain copy. */
#pragma once

#include "base/log.h"
#include "block_test.h"

enum { WORK_LEN = 3 << 20 }; /* of disks for disk_work() and disk_compare() */

/* A sink for log_set_sink(). */
void log_nothing(enum log_level level, const char *area, const char *text, void *arg);

/* A new image of len bytes, as the file that it is in. */
co_fn struct block_node *disk_new(const char *format, const char *options, uint64_t len);
/* A reference to the file is taken. */
co_fn struct block_node *disk_open(const char *format, struct block_node *file);
/* The format's check finds nothing wrong, and at most so many leaks. */
co_fn void disk_check(const char *format, struct block_node *file, uint64_t leaks);

/* Several coroutines read, write, zero and flush at random; model is changed as the disk is. */
co_fn void disk_work(struct block_node *disk, uint8_t *model, unsigned seed);
co_fn void disk_compare(struct block_node *disk, const uint8_t *model);
