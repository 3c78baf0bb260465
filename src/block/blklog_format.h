/*
 * The file that filter "log" keeps, as docs/block-drivers.md tells it: a header, then records, each
 * with its data behind it. Pure: numbers to bytes and back.
 */
#pragma once

#include <stdbool.h>

#include "block/blklog.h"

enum { BLKLOG_HEAD_LEN = 64, BLKLOG_RECORD_LEN = 40 };

void blklog_put_head(uint8_t *out, uint64_t disk_length);
bool blklog_get_head(const uint8_t *in, uint64_t *disk_length, GError **error);

/* number: how many came before it. */
void blklog_put_record(uint8_t *out, const struct blklog_entry *entry, uint64_t number);
/*
 * The next record, in what there is of the file behind the last one; entry->data stays NULL. False:
 * it is none, or its data is not all there; so the log ends before it.
 */
bool blklog_get_record(const uint8_t *in, uint64_t there, uint64_t number,
		       struct blklog_entry *entry, uint32_t *data_crc);
/* How much data follows. */
static inline uint64_t blklog_data_len(const struct blklog_entry *entry)
{
	return entry->kind == BLKLOG_WRITE ? entry->len : 0;
}
