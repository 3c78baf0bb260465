/*
 * The byte stream of one vfio-user connection: messages with their descriptors in, messages out.
 *
 * Neither direction ever blocks. What the socket does not take waits in a queue of bounded size;
 * while that is full nothing more is read, so a client that does not listen is not listened to.
 */
#pragma once

#include "attach/vfio_user/proto.h"

#include <glib.h>
#include <stdbool.h>
#include <sys/uio.h>

enum {
	WIRE_BUF_LEN = 64 << 10,  /* what one read takes; longer messages get a longer buffer */
	WIRE_FDS_MAX = 64,        /* descriptors that wait for their message */
	WIRE_QUEUE_MAX = 4 << 20, /* bytes that wait to be sent before reading stops */
	WIRE_SEND_FDS = 16,       /* most in one message to send */
	WIRE_HEADER_IOVS = 4,
};

struct vfu_msg { /* received; payload and descriptors are the wire's until the next call */
	uint16_t id, command;
	uint32_t flags, error;
	uint8_t *payload;
	size_t len; /* of the payload */
	int *fds;   /* whoever keeps one puts -1 in its place */
	unsigned n_fds;
};

struct wire_out;
struct wire_fd {
	int fd;
	uint64_t at; /* position in the stream of the message it belongs to */
};

struct wire {
	int fd;
	uint8_t *in;
	size_t room, start, end; /* of in; the bytes [start, end) are unread */
	uint64_t at;             /* position of in[start] in the stream */
	size_t max_size;         /* of a message, header included */
	struct wire_fd fds[WIRE_FDS_MAX];
	unsigned n_fds;
	int taken[WIRE_FDS_MAX]; /* of the message handed out last */
	unsigned n_taken;
	struct wire_out *out, **out_tail;
	size_t out_len;
};

void wire_init(struct wire *w, int fd, size_t max_size);
void wire_fini(struct wire *w); /* closes everything, fd too */

/* One read. Bytes; 0: the stream has ended; -EAGAIN: none there; other -errno: it is broken. */
int wire_fill(struct wire *w);
/*
 * The next message that is complete: 1, or 0: there is none yet; -errno with *why: its header
 * cannot be followed. Descriptors left from the message before are closed.
 */
int wire_next(struct wire *w, struct vfu_msg *out, const char **why);
static inline bool wire_is_mid_message(const struct wire *w)
{
	return w->end > w->start;
}

/*
 * Sends a message of a header and up to WIRE_HEADER_IOVS - 1 further pieces (copied as far as they
 * must wait) with descriptors, which stay the caller's. 0 or -errno: broken.
 */
int wire_send(struct wire *w, const uint8_t *header, const struct iovec *more, unsigned n,
	      const int *fds, unsigned n_fds);
/* The socket takes something again. 0, or -errno. */
int wire_flush(struct wire *w);
static inline bool wire_is_sending(const struct wire *w)
{
	return w->out != NULL;
}
static inline bool wire_is_full(const struct wire *w)
{
	return w->out_len >= WIRE_QUEUE_MAX;
}
/* Reads and throws away; as wire_fill(). */
int wire_discard(struct wire *w);
