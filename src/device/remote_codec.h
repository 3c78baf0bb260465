/*
 * Messages of the device protocol (docs/device-protocol.md) and their two forms: lines of JSON and
 * binary. Pure: buffers in, messages out. What comes from a program is hostile and checked here
 * as far as one message tells; the conversation is checked in remote_talk.c.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum {
	REMOTE_PROTOCOL = 1,
	REMOTE_DMA_MAX = 65536, /* bytes of one transfer */
	REMOTE_TEXT_MAX = 4096, /* of a log message */
	REMOTE_LINE_MAX = 262144,
	REMOTE_DEPTH_MAX = 8, /* of nesting in a line */
	REMOTE_HEADER_LEN = 16,
	REMOTE_MESSAGE_MAX = REMOTE_HEADER_LEN + 8 + REMOTE_DMA_MAX,
};

enum remote_type { /* as in the binary form */
		   REMOTE_READ = 1,
		   REMOTE_WRITE,
		   REMOTE_RESET,
		   REMOTE_STATE,
		   REMOTE_DONE,
		   REMOTE_IRQ,
		   REMOTE_MSI,
		   REMOTE_DMA_READ,
		   REMOTE_DMA_WRITE,
		   REMOTE_LOG,
};

enum remote_reset { REMOTE_RESET_START, REMOTE_RESET_BUS, REMOTE_RESET_FUNCTION };

enum remote_state { /* bits */
		    REMOTE_ATTACHED = 1,
		    REMOTE_CAN_DMA = 2,
		    REMOTE_MSI_ON = 4,
		    REMOTE_MSIX_ON = 8,
};

struct remote_msg {
	uint8_t type, bar, width;
	bool has_value; /* DONE */
	uint32_t id;    /* 0: none */
	uint32_t arg;   /* errno, kind of reset, bits of state, level, vector, length */
	uint64_t off;   /* offset or address */
	uint64_t value;
	const uint8_t *data; /* of DMA, or text (no NUL behind it) */
	size_t len;
};

/* Appends a message to the program to out. */
void remote_encode(GByteArray *out, const struct remote_msg *m, bool binary);
void remote_encode_binary(GByteArray *out, const struct remote_msg *m);
void remote_encode_text(GByteArray *out, const struct remote_msg *m);

struct remote_decoder {
	bool binary;
	size_t scanned;   /* bytes of the unfinished line that hold no newline */
	GByteArray *room; /* what a message of text decodes to */
};

/*
 * The first message from the program at buf: the bytes it took, with *m, whose data lies in buf or
 * in d->room until the next call; 0: it is not all here yet; -1: *error. A message of a type this
 * side does not take is an error too.
 */
ssize_t remote_decode(struct remote_decoder *d, const uint8_t *buf, size_t len,
		      struct remote_msg *m, GError **error);
void remote_decoder_init(struct remote_decoder *d);
void remote_decoder_fini(struct remote_decoder *d);

/* Parts of remote_decode(), by form. The line is without its newline. */
ssize_t remote_decode_binary(const uint8_t *buf, size_t len, struct remote_msg *m, GError **error);
bool remote_decode_line(const char *line, size_t len, GByteArray *room, struct remote_msg *m,
			GError **error);

/* Length of the line at buf without its newline; -1: not all here; -2: too long, *error. */
ssize_t remote_find_line(struct remote_decoder *d, const uint8_t *buf, size_t len, GError **error);

/* Errors of transfers: errno to the protocol's number (one of a few) and its name. */
uint32_t remote_error_number(int res);
const char *remote_error_name(uint32_t number);
