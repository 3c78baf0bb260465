/*
 * Requests: taking them out of the stream, checking them, doing them.
 *
 * The reader of a connection checks each request against its row and takes what data come along;
 * then a coroutine of its own does it, so that replies go out in whatever order they are ready. Two
 * limits keep a client from holding more memory than its share: the number of requests in flight,
 * and the bytes of their buffers. A client over them is not read from until replies went out.
 */
#include "attach/nbd/impl.h"

#include <errno.h>
#include <inttypes.h>

#include "base/bytes.h"

enum {
	DRAIN_MAX = 64 << 20,   /* data of a refused write up to this are thrown away */
	BUFFERS_MAX = 32 << 20, /* of a connection, unless it is only one */
	READ_PIECE = 1 << 20,   /* between them others get their turn */
	CACHE_PIECE = 1 << 20,
	LONG_PIECE = 128 << 20, /* of a trim or zeroing: between them the connection may end */
};

struct command {
	const char *name;
	/* 0 or -errno; the reply is made from that, unless it made one itself. */
	co_fn int (*run)(struct nbd_request *r);
	uint16_t flags; /* that it may have */
	bool writes;
	bool has_range; /* offset and length must lie in the export */
	bool has_data;  /* length bytes go one way or the other: in a buffer of ours */
};

static bool goes_on(const struct nbd_request *r)
{
	return !r->c->broken && !r->c->s->ending;
}

static struct block_node *node_of(const struct nbd_request *r)
{
	return r->c->export->node;
}

static co_fn int flush_if_fua(struct nbd_request *r, int res)
{
	return res == 0 && r->flags & NBD_FUA ? block_flush(node_of(r)) : res;
}

static co_fn int run_read(struct nbd_request *r)
{
	int res = 0;

	for (uint64_t done = 0, piece; done < r->len && res == 0; done += piece) {
		piece = MIN(r->len - done, (uint64_t)READ_PIECE);
		res = r->c->broken ? -ESHUTDOWN
				   : block_pread(node_of(r), r->off + done, (char *)r->buf + done,
						 piece);
	}
	if (res == 0 && r->len)
		nbd_reply_data(r);
	return res;
}

static co_fn int run_write(struct nbd_request *r)
{
	if (!r->len)
		return 0;
	return block_pwrite(node_of(r), r->off, r->buf, r->len, r->flags & NBD_FUA ? BLOCK_FUA : 0);
}

static co_fn int run_flush(struct nbd_request *r)
{
	return block_flush(node_of(r));
}

static co_fn int run_trim(struct nbd_request *r)
{
	int res = 0;

	for (uint64_t done = 0, piece; done < r->len && res == 0; done += piece) {
		piece = MIN(r->len - done, (uint64_t)LONG_PIECE);
		res = goes_on(r) ? block_discard(node_of(r), r->off + done, piece) : -ESHUTDOWN;
	}
	return flush_if_fua(r, res);
}

static co_fn int run_write_zeroes(struct nbd_request *r)
{
	unsigned flags = r->flags & NBD_NO_HOLE ? 0 : BLOCK_MAY_UNMAP;
	int res = 0;

	for (uint64_t done = 0, piece; done < r->len && res == 0; done += piece) {
		piece = MIN(r->len - done, (uint64_t)LONG_PIECE);
		res = goes_on(r) ? block_write_zeros(node_of(r), r->off + done, piece, flags)
				 : -ESHUTDOWN;
	}
	return flush_if_fua(r, res);
}

static co_fn int run_cache(struct nbd_request *r)
{
	struct nbd_pool *pool = &r->c->s->pool;
	void *buf = r->len ? nbd_pool_get(pool, CACHE_PIECE) : NULL;
	int res = r->len && !buf ? -ENOMEM : 0;

	for (uint64_t done = 0, piece; done < r->len && res == 0; done += piece) {
		piece = MIN(r->len - done, (uint64_t)CACHE_PIECE);
		res = goes_on(r) ? block_pread(node_of(r), r->off + done, buf, piece) : -ESHUTDOWN;
	}
	if (buf)
		nbd_pool_put(pool, buf, CACHE_PIECE);
	return res;
}

/* clang-format off */
static const struct command commands[NBD_COMMANDS] = {
	[NBD_READ]         = { "READ",         run_read,         NBD_FUA | NBD_DF,
			       .has_range = true, .has_data = true },
	[NBD_WRITE]        = { "WRITE",        run_write,        NBD_FUA,
			       .writes = true, .has_range = true, .has_data = true },
	[NBD_FLUSH]        = { "FLUSH",        run_flush,        NBD_FUA },
	[NBD_TRIM]         = { "TRIM",         run_trim,         NBD_FUA,
			       .writes = true, .has_range = true },
	[NBD_CACHE]        = { "CACHE",        run_cache,        NBD_FUA, .has_range = true },
	[NBD_WRITE_ZEROES] = { "WRITE ZEROES", run_write_zeroes, NBD_FUA | NBD_NO_HOLE,
			       .writes = true, .has_range = true },
	[NBD_BLOCK_STATUS] = { "BLOCK STATUS", nbd_block_status, NBD_FUA | NBD_REQ_ONE,
			       .has_range = true },
};
/* clang-format on */

static const struct command *command_of(const struct nbd_request *r)
{
	return r->type < NBD_COMMANDS && commands[r->type].run ? &commands[r->type] : NULL;
}

static bool is_extended_write(const struct nbd_request *r)
{
	return r->c->extended && r->type == NBD_WRITE;
}

static int check(const struct nbd_request *r)
{
	const struct command *cmd = command_of(r);
	const struct nbd_conn *c = r->c;
	uint64_t size = block_length(c->export->node);

	if (!cmd || r->flags & ~(cmd->flags | (is_extended_write(r) ? NBD_PAYLOAD_LEN : 0)))
		return -EINVAL;
	if (r->flags & NBD_DF && !c->structured)
		return -EINVAL;
	if (cmd->writes && !c->export->writable)
		return -EPERM;
	if (cmd->has_data && r->len > NBD_PAYLOAD_MAX)
		return -EINVAL;
	if (cmd->has_range && (r->off > size || r->len > size - r->off))
		return r->type == NBD_WRITE || r->type == NBD_WRITE_ZEROES ? -ENOSPC : -EINVAL;
	if (r->type == NBD_BLOCK_STATUS && (!c->n_contexts || !r->len))
		return -EINVAL;
	return 0;
}

static struct nbd_request *request_new(struct nbd_conn *c)
{
	struct nbd_request *r = c->spare;

	c->in_flight++;
	c->requests++;
	if (r)
		c->spare = r->next;
	else
		r = g_new(struct nbd_request, 1);
	r->c = c;
	r->buf = r->table = NULL;
	r->n_iov = r->iov_at = r->n_heads = 0;
	return r;
}

void nbd_request_end(struct nbd_request *r)
{
	struct nbd_conn *c = r->c;

	if (r->buf) {
		nbd_pool_put(&c->s->pool, r->buf, r->len);
		c->bytes_in_flight -= r->len;
	}
	g_free(r->table);
	r->next = c->spare;
	c->spare = r;
	c->in_flight--;
	co_queue_wake_all(&c->room);
}

void nbd_free_spare(struct nbd_conn *c)
{
	while (c->spare) {
		struct nbd_request *r = c->spare;

		c->spare = r->next;
		g_free(r);
	}
}

static co_fn int get_buffer(struct nbd_request *r)
{
	struct nbd_conn *c = r->c;

	while (c->bytes_in_flight && c->bytes_in_flight + r->len > BUFFERS_MAX)
		co_queue_wait(&c->room);
	r->buf = nbd_pool_get(&c->s->pool, r->len);
	if (!r->buf)
		return -ENOMEM;
	c->bytes_in_flight += r->len;
	return 0;
}

static co_fn void finish(struct nbd_request *r, int res)
{
	if (res < 0)
		r->c->s->stats.errors++;
	if (!r->n_iov)
		nbd_reply_result(r, res);
	nbd_reply_send(r);
}

static co_fn void run_request(void *arg)
{
	struct nbd_request *r = arg;

	finish(r, command_of(r)->run(r));
}

/* The next request's fields; NULL: the connection ends. */
static co_fn struct nbd_request *receive(struct nbd_conn *c)
{
	size_t head_len = c->extended ? NBD_EXTENDED_REQUEST_LEN : NBD_REQUEST_LEN;
	struct nbd_request *r;
	const uint8_t *head;

	while (c->in_flight >= NBD_IN_FLIGHT_MAX)
		co_queue_wait(&c->room);
	if (!nbd_need(c, head_len))
		return NULL;
	head = c->in + c->in_at;
	if (get_be32(head) != (c->extended ? NBD_EXTENDED_MAGIC : NBD_REQUEST_MAGIC)) {
		nbd_conn_fail(c, "a request without the magic number");
		return NULL;
	}
	r = request_new(c);
	r->flags = get_be16(head + NBD_REQUEST_FLAGS);
	r->type = get_be16(head + NBD_REQUEST_TYPE);
	r->cookie = get_be64(head + NBD_REQUEST_COOKIE);
	r->off = get_be64(head + NBD_REQUEST_OFFSET);
	r->len = c->extended ? get_be64(head + NBD_REQUEST_LENGTH)
			     : get_be32(head + NBD_REQUEST_LENGTH);
	c->in_at += head_len;
	return r;
}

/* Whether data follow the request. An extended client says so, except that a write without the
 * flag is taken for one with it. */
static bool has_payload(const struct nbd_request *r)
{
	return r->type == NBD_WRITE || (r->c->extended && r->flags & NBD_PAYLOAD_LEN);
}

/* Checks it, and takes in what data come along; 0 or -errno for the reply. Sets *good to false when
 * the connection ends instead. */
static co_fn int prepare(struct nbd_request *r, bool *good)
{
	int res = check(r);

	if (res == 0 && command_of(r)->has_data && r->len)
		res = get_buffer(r);
	if (!has_payload(r))
		return res;
	if (r->len > DRAIN_MAX)
		nbd_conn_fail(r->c, "more data with a request than any may have");
	*good = nbd_take(r->c, res == 0 ? r->buf : NULL, r->len);
	return res;
}

co_fn bool nbd_next_request(struct nbd_conn *c)
{
	struct nbd_request *r = receive(c);
	bool good = r && r->type != NBD_DISCONNECT;
	int res;

	if (good) {
		res = prepare(r, &good);
		if (good && res == 0) {
			co_start(c->s->loop, run_request, r);
			return true;
		}
		if (good) {
			finish(r, res);
			return true;
		}
	}
	if (r)
		nbd_request_end(r);
	return false;
}
