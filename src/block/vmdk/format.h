/*
 * VMDK on disk: the header of a sparse extent, markers of streams, and the text descriptor
 * (formats.md 2.4). Pure code without I/O; numbers are little-endian, offsets in them sectors.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	VMDK_SECTOR = 512,
	VMDK_MAX_TABLE = 512,         /* entries of a grain table */
	VMDK_MIN_GRAIN = 8,           /* sectors */
	VMDK_MAX_GRAIN = 32768,       /* 16 MiB */
	VMDK_MAX_TEXT = 1 << 20,      /* bytes of a descriptor */
	VMDK_MAX_DIRECTORY = 4 << 20, /* entries, 16 MiB of them */
	VMDK_MAX_EXTENTS = 4096,
	VMDK_GRAIN = 128, /* what new images have */
	VMDK_TEXT_SECTOR = 1,
	VMDK_TEXT_SECTORS = 20,
};
#define VMDK_MAGIC      0x564d444bu /* "KDMV" */
#define VMDK_COWD_MAGIC 0x44574f43u /* "COWD" */
#define VMDK_AT_END     UINT64_MAX  /* the grain directory is where the footer says */
#define VMDK_NO_PARENT  UINT32_MAX
#define VMDK_MAX_BYTES  ((uint64_t)1 << 62)

/* Fields of the header. */
enum {
	VH_MAGIC = 0,
	VH_VERSION = 4,
	VH_FLAGS = 8,
	VH_CAPACITY = 12,
	VH_GRAIN = 20,
	VH_TEXT = 28,
	VH_TEXT_LEN = 36,
	VH_TABLE = 44,
	VH_SECOND = 48,
	VH_DIRECTORY = 56,
	VH_OVERHEAD = 64,
	VH_UNCLEAN = 72,
	VH_NEWLINES = 73,
	VH_COMPRESSION = 77,
};
enum vmdk_flags {
	VMDK_NEWLINES = 1,
	VMDK_HAS_SECOND = 2,
	VMDK_ZERO_GRAINS = 4,
	VMDK_COMPRESSED = 1 << 16,
	VMDK_MARKERS = 1 << 17,
};

/* Markers of a stream. A grain's has size > 0 and its data from VM_DATA on. */
enum { VM_VALUE = 0, VM_SIZE = 8, VM_TYPE = 12, VM_DATA = 12 };
enum vmdk_marker { VMDK_EOS, VMDK_TABLE, VMDK_DIRECTORY, VMDK_FOOTER };
/* How far before the end of the file a stream's last three sectors are. */
enum { VMDK_FOOTER_MARK = 1536, VMDK_FOOTER_AT = 1024, VMDK_EOS_AT = 512 };

/* Entries of a grain table. */
enum { VMDK_UNUSED = 0, VMDK_ZERO_GRAIN = 1 };

struct vmdk_header {
	uint32_t version, flags;
	uint64_t capacity, grain, overhead; /* sectors */
	uint64_t text, text_len;            /* of the descriptor; 0: none */
	uint32_t table;                     /* entries of a grain table */
	uint64_t directory, second;         /* sectors; second: of the copy, 0: none */
	uint32_t directory_len;             /* entries */
	bool compressed, at_end;            /* at_end: the directory is where a footer says */
};

/*
 * Checks every field of a header that stands at off (not 0: a footer) of a file of file_len bytes.
 * The message says which field and where. A directory at VMDK_AT_END is for the footer to tell.
 */
bool vmdk_parse_header(const uint8_t *p, uint64_t off, uint64_t file_len, struct vmdk_header *h,
		       GError **error);
void vmdk_put_header(uint8_t *p, const struct vmdk_header *h);

enum vmdk_kind { VMDK_FLAT, VMDK_VMFS, VMDK_SPARSE, VMDK_ZERO };
struct vmdk_line { /* of an extent */
	enum vmdk_kind kind;
	bool writable;
	uint64_t sectors, off;          /* off: where it begins in its file, in sectors */
	char *name;                     /* NULL: none */
	size_t sectors_at, sectors_len; /* where the number stands in the text */
};

struct vmdk_text {
	uint32_t cid, parent_cid;
	size_t cid_at, cid_len;             /* its digits in the text */
	size_t cylinders_at, cylinders_len; /* len 0: there are none */
	uint64_t heads, track;
	char *type, *parent; /* createType; parentFileNameHint, NULL: none */
	GArray *lines;       /* struct vmdk_line */
};

/*
 * A descriptor of len bytes, which end at the first NUL; at: where in the file they begin, for
 * messages. fini() the result in every case.
 */
bool vmdk_parse_text(const char *p, size_t len, uint64_t at, struct vmdk_text *t, GError **error);
void vmdk_text_fini(struct vmdk_text *t);
const char *vmdk_kind_name(enum vmdk_kind kind);
