/*
 * Replies: their headers, their order out of the connection, and what of read data is not sent.
 *
 * Finished requests queue up, in the order in which they finished, until the end of the turn; then
 * all that the socket takes goes there with one system call for many replies, straight from the
 * buffers that were read into. What it does not take waits for room without holding up anything
 * else, and counts as in flight until then.
 *
 * Under structured replies, zeros in read data travel as holes. It is the data themselves that are
 * looked at, not the image's map: that costs next to nothing where they are no zeros, and no race
 * with a write can make it wrong.
 */
#include "attach/nbd/impl.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/bytes.h"

enum {
	ZERO_BLOCK = 4096,
	HOLE_MIN = 32 << 10, /* a shorter run of zeros among data is sent as data */
	SEND_PIECES = 64,
};

static enum nbd_error to_nbd_error(int res)
{
	switch (-res) {
	case EPERM:
	case EACCES:
	case EROFS: return NBD_EPERM;
	case ENOMEM: return NBD_ENOMEM;
	case EINVAL: return NBD_EINVAL;
	case ENOSPC:
	case EDQUOT:
	case EFBIG: return NBD_ENOSPC;
	case EOVERFLOW: return NBD_EOVERFLOW;
	case ENOTSUP: return NBD_ENOTSUP;
	case ESHUTDOWN: return NBD_ESHUTDOWN;
	default: return NBD_EIO;
	}
}

static void add_piece(struct nbd_request *r, const void *data, size_t len)
{
	r->iov[r->n_iov++] = (struct iovec){(void *)data, len};
}

static void reply_simple(struct nbd_request *r, uint32_t error, const void *data, size_t len)
{
	uint8_t *head = r->heads[r->n_heads++];

	put_be32(head, NBD_SIMPLE_MAGIC);
	put_be32(head + NBD_SIMPLE_ERROR, error);
	put_be64(head + NBD_SIMPLE_COOKIE, r->cookie);
	add_piece(r, head, NBD_SIMPLE_LEN);
	if (len)
		add_piece(r, data, len);
}

void nbd_reply_chunk(struct nbd_request *r, enum nbd_chunk type, const void *fixed,
		     size_t fixed_len, const void *data, size_t len, bool last)
{
	bool extended = r->c->extended;
	size_t head_len = extended ? NBD_EXT_CHUNK_LEN : NBD_CHUNK_LEN;
	uint8_t *head = r->heads[r->n_heads++];

	put_be32(head, extended ? NBD_EXT_CHUNK_MAGIC : NBD_CHUNK_MAGIC);
	put_be16(head + NBD_CHUNK_FLAGS, last ? NBD_CHUNK_DONE : 0);
	put_be16(head + NBD_CHUNK_TYPE, (uint16_t)type);
	put_be64(head + NBD_CHUNK_COOKIE, r->cookie);
	if (extended) {
		put_be64(head + NBD_EXT_CHUNK_OFFSET, r->off);
		put_be64(head + NBD_EXT_CHUNK_LENGTH, fixed_len + len);
	} else {
		put_be32(head + NBD_CHUNK_LENGTH, (uint32_t)(fixed_len + len));
	}
	if (fixed_len)
		memcpy(head + head_len, fixed, fixed_len);
	add_piece(r, head, head_len + fixed_len);
	if (len)
		add_piece(r, data, len);
}

static bool must_be_structured(const struct nbd_request *r)
{
	return r->c->extended ||
	       (r->c->structured && (r->type == NBD_READ || r->type == NBD_BLOCK_STATUS));
}

void nbd_reply_result(struct nbd_request *r, int res)
{
	uint32_t error = res < 0 ? to_nbd_error(res) : 0;
	uint8_t fixed[6];
	size_t len;

	if (!must_be_structured(r)) {
		reply_simple(r, error, NULL, 0);
		return;
	}
	if (!error) {
		nbd_reply_chunk(r, NBD_CHUNK_NONE, NULL, 0, NULL, 0, true);
		return;
	}
	len = g_strlcpy(r->text, g_strerror(-res), sizeof(r->text));
	len = MIN(len, sizeof(r->text) - 1);
	put_be32(fixed, error);
	put_be16(fixed + 4, (uint16_t)len);
	nbd_reply_chunk(r, NBD_CHUNK_ERROR, fixed, sizeof(fixed), r->text, len, true);
}

static bool is_zero(const uint8_t *p, size_t len)
{
	if (len < 8)
		return len == 0 || (!*p && !memcmp(p, p + 1, len - 1));
	return !get_le64(p) && !memcmp(p, p + 8, len - 8);
}

/* How many blocks' worth of bytes from the start are zeros (or, zero false, begin with a block that
 * has something else). */
static size_t run_of(const uint8_t *p, size_t len, bool zero)
{
	size_t done = 0;

	while (done < len) {
		size_t block = MIN(len - done, (size_t)ZERO_BLOCK);

		if (is_zero(p + done, block) != zero)
			break;
		done += block;
	}
	return done;
}

/* Data up to the next hole that is worth it. */
static size_t data_run(const uint8_t *p, size_t len)
{
	size_t done = 0;

	while (done < len) {
		size_t zeros;

		done += run_of(p + done, len - done, false);
		zeros = run_of(p + done, len - done, true);
		if (zeros >= HOLE_MIN)
			break;
		done += zeros;
	}
	return done;
}

void nbd_reply_data(struct nbd_request *r)
{
	const uint8_t *p = r->buf;
	size_t len = r->len, at = 0;
	bool whole = false;

	if (!must_be_structured(r)) {
		reply_simple(r, 0, p, len);
		return;
	}
	if (r->flags & NBD_DF) /* one chunk, of either kind */
		whole = run_of(p, len, true) < len;
	while (at < len) {
		size_t zeros, run;
		uint8_t fixed[12];

		whole = whole || r->n_heads == NBD_CHUNKS_MAX - 1; /* the last there is room for */
		zeros = whole ? 0 : run_of(p + at, len - at, true);
		put_be64(fixed, r->off + at);
		if (zeros >= HOLE_MIN || (zeros && zeros == len)) {
			put_be32(fixed + 8, (uint32_t)zeros);
			nbd_reply_chunk(r, NBD_CHUNK_HOLE, fixed, 12, NULL, 0, at + zeros == len);
			at += zeros;
			continue;
		}
		run = whole ? len - at : data_run(p + at, len - at);
		nbd_reply_chunk(r, NBD_CHUNK_DATA, fixed, 8, p + at, run, at + run == len);
		at += run;
	}
}

static unsigned gather(const struct nbd_conn *c, struct iovec *v)
{
	unsigned n = 0;

	for (const struct nbd_request *r = c->out; r && n < SEND_PIECES; r = r->next) {
		for (unsigned i = r->iov_at; i < r->n_iov && n < SEND_PIECES; i++)
			v[n++] = r->iov[i];
	}
	return n;
}

/* The first reply is through. */
static void out_done(struct nbd_conn *c)
{
	struct nbd_request *r = c->out;

	c->out = r->next;
	if (!c->out)
		c->out_tail = NULL;
	nbd_request_end(r);
}

static void sent(struct nbd_conn *c, size_t len)
{
	while (c->out) {
		struct nbd_request *r = c->out;

		for (; r->iov_at < r->n_iov; r->iov_at++) {
			struct iovec *v = &r->iov[r->iov_at];

			if (len < v->iov_len) {
				v->iov_base = (char *)v->iov_base + len;
				v->iov_len -= len;
				return;
			}
			len -= v->iov_len;
		}
		out_done(c);
	}
}

static void on_writable(struct loop_watch *w, unsigned events)
{
	struct nbd_conn *c = (struct nbd_conn *)((char *)w - offsetof(struct nbd_conn, writable));

	(void)events; /* an error shows when it is tried */
	loop_watch_remove(w);
	c->awaits_room = false;
	nbd_flush(c);
}

static void await_room(struct nbd_conn *c)
{
	c->writable = (struct loop_watch){.ready = on_writable, .fd = c->io.fd, .events = POLLOUT};
	c->awaits_room = true;
	loop_watch_add(c->s->loop, &c->writable);
}

void nbd_drop_replies(struct nbd_conn *c)
{
	if (c->awaits_room)
		loop_watch_remove(&c->writable);
	c->awaits_room = false;
	while (c->out)
		out_done(c);
}

void nbd_flush(struct nbd_conn *c)
{
	struct iovec v[SEND_PIECES];

	while (c->out && !c->awaits_room) {
		ssize_t n = c->broken ? -EPIPE : nbd_stream_sendv(&c->io, v, gather(c, v));

		if (n == -EAGAIN) {
			await_room(c);
		} else if (n < 0) {
			nbd_conn_fail(c, n == -EPROTO ? "TLS failed" : NULL);
			nbd_drop_replies(c);
		} else {
			sent(c, (size_t)n);
		}
	}
}

void nbd_reply_send(struct nbd_request *r)
{
	struct nbd_conn *c = r->c;

	r->next = NULL;
	if (c->broken) {
		nbd_request_end(r);
		return;
	}
	if (c->out_tail)
		c->out_tail->next = r;
	else
		c->out = r;
	c->out_tail = r;
	loop_at_turn_end(c->s->loop, &c->flush);
}
