/* The NBD protocol: numbers and layouts. Everything on the wire is big-endian. */
#pragma once

#include <stdint.h>

#define NBD_MAGIC           0x4e42444d41474943ull /* "NBDMAGIC" */
#define NBD_OPTION_MAGIC    0x49484156454f5054ull /* "IHAVEOPT" */
#define NBD_REPLY_MAGIC     0x0003e889045565a9ull /* to an option */
#define NBD_REQUEST_MAGIC   0x25609513u
#define NBD_EXTENDED_MAGIC  0x21e41c71u
#define NBD_SIMPLE_MAGIC    0x67446698u
#define NBD_CHUNK_MAGIC     0x668e33efu
#define NBD_EXT_CHUNK_MAGIC 0x6e8a278cu

enum { /* greeting and the client's answer */
       NBD_FIXED_NEWSTYLE = 1,
       NBD_NO_ZEROES = 2,
};

enum nbd_option {
	NBD_OPT_EXPORT_NAME = 1,
	NBD_OPT_ABORT,
	NBD_OPT_LIST,
	NBD_OPT_PEEK_EXPORT,
	NBD_OPT_STARTTLS,
	NBD_OPT_INFO,
	NBD_OPT_GO,
	NBD_OPT_STRUCTURED_REPLY,
	NBD_OPT_LIST_META_CONTEXT,
	NBD_OPT_SET_META_CONTEXT,
	NBD_OPT_EXTENDED_HEADERS,
};

enum nbd_reply_type {
	NBD_REP_ACK = 1,
	NBD_REP_SERVER,
	NBD_REP_INFO,
	NBD_REP_META_CONTEXT,
};
#define NBD_REP_ERROR        (1u << 31)
#define NBD_REP_UNSUPPORTED  (NBD_REP_ERROR | 1)
#define NBD_REP_POLICY       (NBD_REP_ERROR | 2)
#define NBD_REP_INVALID      (NBD_REP_ERROR | 3)
#define NBD_REP_TLS_REQUIRED (NBD_REP_ERROR | 5)
#define NBD_REP_UNKNOWN      (NBD_REP_ERROR | 6)
#define NBD_REP_TOO_BIG      (NBD_REP_ERROR | 9)

enum nbd_info { NBD_INFO_EXPORT, NBD_INFO_NAME, NBD_INFO_DESCRIPTION, NBD_INFO_BLOCK_SIZE };

enum { /* option header and its reply header */
       NBD_OPTION_NUMBER = 8,
       NBD_OPTION_LENGTH = 12,
       NBD_OPTION_LEN = 16,
       NBD_OPTION_REPLY_LEN = 20,
};

enum { /* transmission flags of an export */
       NBD_HAS_FLAGS = 1 << 0,
       NBD_READ_ONLY = 1 << 1,
       NBD_SEND_FLUSH = 1 << 2,
       NBD_SEND_FUA = 1 << 3,
       NBD_ROTATIONAL = 1 << 4,
       NBD_SEND_TRIM = 1 << 5,
       NBD_SEND_WRITE_ZEROES = 1 << 6,
       NBD_SEND_DF = 1 << 7,
       NBD_CAN_MULTI_CONN = 1 << 8,
       NBD_SEND_CACHE = 1 << 10,
       NBD_SEND_FAST_ZERO = 1 << 11,
};

enum nbd_command {
	NBD_READ,
	NBD_WRITE,
	NBD_DISCONNECT,
	NBD_FLUSH,
	NBD_TRIM,
	NBD_CACHE,
	NBD_WRITE_ZEROES,
	NBD_BLOCK_STATUS,
	NBD_COMMANDS,
};

enum { /* of a request */
       NBD_FUA = 1 << 0,
       NBD_NO_HOLE = 1 << 1,
       NBD_DF = 1 << 2,
       NBD_REQ_ONE = 1 << 3,
       NBD_FAST_ZERO = 1 << 4,
       NBD_PAYLOAD_LEN = 1 << 5,
};

enum { /* request; the extended one has a length of eight bytes */
       NBD_REQUEST_FLAGS = 4,
       NBD_REQUEST_TYPE = 6,
       NBD_REQUEST_COOKIE = 8,
       NBD_REQUEST_OFFSET = 16,
       NBD_REQUEST_LENGTH = 24,
       NBD_REQUEST_LEN = 28,
       NBD_EXTENDED_REQUEST_LEN = 32,
};

enum { /* simple reply */
       NBD_SIMPLE_ERROR = 4,
       NBD_SIMPLE_COOKIE = 8,
       NBD_SIMPLE_LEN = 16,
};

enum { /* chunk of a structured reply, and of an extended one */
       NBD_CHUNK_FLAGS = 4,
       NBD_CHUNK_TYPE = 6,
       NBD_CHUNK_COOKIE = 8,
       NBD_CHUNK_LENGTH = 16,
       NBD_CHUNK_LEN = 20,
       NBD_EXT_CHUNK_OFFSET = 16,
       NBD_EXT_CHUNK_LENGTH = 24,
       NBD_EXT_CHUNK_LEN = 32,
};

enum { NBD_CHUNK_DONE = 1 };

enum nbd_chunk {
	NBD_CHUNK_NONE = 0,
	NBD_CHUNK_DATA = 1,
	NBD_CHUNK_HOLE = 2,
	NBD_CHUNK_STATUS = 5,
	NBD_CHUNK_EXT_STATUS = 6,
	NBD_CHUNK_ERROR = 1 << 15 | 1,
};

enum { /* of base:allocation */
       NBD_STATE_HOLE = 1,
       NBD_STATE_ZERO = 2,
};

enum nbd_error {
	NBD_EPERM = 1,
	NBD_EIO = 5,
	NBD_ENOMEM = 12,
	NBD_EINVAL = 22,
	NBD_ENOSPC = 28,
	NBD_EOVERFLOW = 75,
	NBD_ENOTSUP = 95,
	NBD_ESHUTDOWN = 108,
};
