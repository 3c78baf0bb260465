/*
 * qcow2 on disk: header, extensions, table entries (formats.md 2.2). Pure code without I/O; all
 * numbers are big-endian.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	QCOW2_HEAD_MAX = 4096, /* what open() reads first; all is in there as a rule */
	QCOW2_V2_LEN = 72,
	QCOW2_V3_LEN = 104,
	QCOW2_MIN_BITS = 9,
	QCOW2_MAX_BITS = 21,
	QCOW2_MAX_NAME = 1023,
	QCOW2_MAX_SNAPSHOTS = 65536,
	QCOW2_SUBCLUSTERS = 32, /* of a cluster, with extended L2 */
	QCOW2_SECTOR = 512,
};
#define QCOW2_MAGIC          0x514649fbu
#define QCOW2_MAX_L1         ((uint64_t)32 << 20) /* bytes */
#define QCOW2_MAX_REFTABLE   ((uint64_t)8 << 20)
#define QCOW2_MAX_SNAP_TABLE ((uint64_t)64 << 20)
#define QCOW2_OFFSET         0x00fffffffffffe00ull /* of a table entry */
#define QCOW2_COPIED         ((uint64_t)1 << 63)
#define QCOW2_COMPRESSED     ((uint64_t)1 << 62)
#define QCOW2_ZERO           ((uint64_t)1)

enum qcow2_incompatible {
	QCOW2_DIRTY = 1,
	QCOW2_CORRUPT = 2,
	QCOW2_DATA_FILE = 4,
	QCOW2_COMPRESSION = 8,
	QCOW2_EXTENDED_L2 = 16,
	QCOW2_KNOWN_INCOMPATIBLE = 31,
};
enum qcow2_compatible { QCOW2_LAZY_REFCOUNTS = 1 };
enum qcow2_autoclear { QCOW2_BITMAPS = 1, QCOW2_RAW_DATA = 2 };
enum qcow2_crypt { QCOW2_CRYPT_NONE = 0, QCOW2_CRYPT_AES = 1, QCOW2_CRYPT_LUKS = 2 };
enum qcow2_codec { QCOW2_DEFLATE = 0, QCOW2_ZSTD = 1 };

/* Where fields lie in the header. */
enum {
	QH_MAGIC = 0,
	QH_VERSION = 4,
	QH_BACKING_OFF = 8,
	QH_BACKING_LEN = 16,
	QH_CLUSTER_BITS = 20,
	QH_SIZE = 24,
	QH_CRYPT = 32,
	QH_L1_ENTRIES = 36,
	QH_L1_OFF = 40,
	QH_REFTABLE_OFF = 48,
	QH_REFTABLE_CLUSTERS = 56,
	QH_SNAPSHOTS = 60,
	QH_SNAP_OFF = 64,
	QH_INCOMPATIBLE = 72,
	QH_COMPATIBLE = 80,
	QH_AUTOCLEAR = 88,
	QH_REFCOUNT_ORDER = 96,
	QH_HEADER_LEN = 100,
	QH_CODEC = 104,
};

enum qcow2_extension {
	QCOW2_EXT_END = 0,
	QCOW2_EXT_BACKING_FORMAT = 0xe2792aca,
	QCOW2_EXT_FEATURES = 0x6803f857,
	QCOW2_EXT_BITMAPS = 0x23852875,
	QCOW2_EXT_CRYPTO = 0x0537be77,
	QCOW2_EXT_DATA_FILE = 0x44415441,
};

struct qcow2_header {
	unsigned version, cluster_bits, refcount_order, header_len, codec;
	uint64_t size;
	uint32_t crypt;
	uint32_t l1_entries;
	uint64_t l1_off;
	uint64_t reftable_off;
	uint32_t reftable_clusters;
	uint32_t snapshots;
	uint64_t snap_off;
	uint64_t incompatible, compatible, autoclear;
	bool open_ended; /* the extensions ended with the bytes, or at the backing file's name */
	/* From the extensions; NULL: none. */
	char *backing_name, *backing_format, *data_file;
	uint32_t bitmaps; /* how many the extension says there are, and where */
	uint64_t bitmaps_len, bitmaps_off;
	uint64_t crypto_off, crypto_len; /* of the encryption header */
};

/*
 * Checks every field of the first len bytes of a file of file_len bytes. The message says which
 * field and where. fini() the result in every case.
 */
bool qcow2_parse_header(const uint8_t *p, size_t len, uint64_t file_len, struct qcow2_header *h,
			GError **error);
void qcow2_header_fini(struct qcow2_header *h);
int qcow2_probe(const uint8_t *head, size_t len, const char *name);

/* One cluster of the disk as its L2 entry has it. A cluster without subclusters has one (bit 0). */
struct qcow2_entry {
	bool compressed, copied, has_host;
	uint64_t host;       /* of the cluster; compressed: of the first byte */
	uint32_t bytes;      /* compressed: at most so many, to the end of the last sector */
	uint32_t data, zero; /* subclusters that are in the host cluster; that read as zeros */
};
/* 0, or -EIO: no valid entry. raw[1] is the bitmap, with extended L2. */
int qcow2_decode(const struct qcow2_header *h, const uint64_t *raw, struct qcow2_entry *e);
