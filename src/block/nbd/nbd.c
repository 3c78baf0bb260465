/*
 * Driver "nbd": an export of an NBD server (transports.md 5), by libnbd.
 *
 * Options: where it is, by nbd_address_init(); "connections" (more than 1 only where the server
 * says that they see each other's writes); "reconnect-delay" (seconds); "open-timeout" (seconds to
 * try to open again); "timeout" (seconds a server may owe an answer).
 *
 * Each connection has a keeper, a coroutine that opens it again when it was lost, if
 * "reconnect-delay" is given. A request that a lost connection did not answer is sent again on
 * another one or on the next: reading, writing, zeroing and flushing twice is as once. It waits for
 * that until so much time has passed since the loss, and then fails with -EIO, as does everything
 * new until a connection is there. What the server had not made durable when it went away may be
 * lost without a word, as with any disk that has a cache; so the export must then still be the
 * same: one of another size or ability is not taken.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "block/drivers.h"
#include "block/nbd/client.h"

enum {
	MAX_CONNS = 16,
	WINDOW = 8,          /* commands of one request that are on their way at once */
	MAX_PIECE = 4 << 20, /* payload of a command */
	MAX_SECONDS = 86400,
	HANDSHAKE_S = 30,
};

static const uint64_t max_zero = 1 << 30; /* a command without payload; its length has 32 bits */
static const uint64_t second_ns = 1000000000;
static const uint64_t first_pause_ns = 100000000, longest_pause_ns = 5000000000;

struct slot {
	struct block_node *node;
	struct nbd_client *conn;
	struct co_queue kick; /* its keeper: lost, or closing */
	uint64_t opened_ns, pause_ns;
};

struct nbd {
	struct nbd_address address;
	struct nbd_facts facts;
	uint64_t reconnect_ns, timeout_ns, open_ns;
	struct slot slots[MAX_CONNS];
	unsigned n, keepers;
	bool closing;
	uint64_t lost_ns;        /* since when no connection is open; 0: one is */
	struct co_queue waiting; /* requests, for a connection */
	struct co_queue ended;   /* keepers */
	struct log_limit said;
};

/* The open connection with the least to do. */
static struct nbd_client *pick(const struct nbd *nbd)
{
	struct nbd_client *best = NULL;

	for (unsigned i = 0; i < nbd->n; i++) {
		struct nbd_client *c = nbd->slots[i].conn;

		if (nbd_client_is_open(c) && (!best || nbd_client_load(c) < nbd_client_load(best)))
			best = c;
	}
	return best;
}

static void lost(struct nbd_client *conn, const char *why, void *arg)
{
	struct slot *slot = arg;
	struct nbd *nbd = slot->node->state;

	(void)conn;
	if (!pick(nbd))
		nbd->lost_ns = loop_now_ns();
	if (nbd->reconnect_ns) {
		log_limited(&nbd->said, LOG_WARN, "block",
			    "%s: a connection is lost (%s), trying to connect again",
			    slot->node->name, why);
	} else {
		log_limited(&nbd->said, LOG_ERROR, "block",
			    "%s: a connection is lost (%s); without reconnect-delay= it stays so",
			    slot->node->name, why);
	}
	co_queue_wake_all(&nbd->waiting);
	co_queue_wake_all(&slot->kick);
}

/* NULL: there is none, and there will not be one in time. *deadline_ns: 0 at first. */
static co_fn struct nbd_client *await(struct nbd *nbd, uint64_t *deadline_ns)
{
	for (;;) {
		struct nbd_client *c = pick(nbd);
		uint64_t now = loop_now_ns();

		if (c && (!*deadline_ns || now < *deadline_ns))
			return c;
		if (!nbd->reconnect_ns)
			return NULL;
		if (!*deadline_ns)
			*deadline_ns = nbd->lost_ns + nbd->reconnect_ns;
		if (now >= *deadline_ns)
			return NULL;
		co_queue_wait_until(&nbd->waiting, *deadline_ns);
	}
}

struct piece {
	struct nbd_piece p;
	struct request *request;
	bool sent;
};

struct request {
	struct nbd *nbd;
	uint64_t deadline_ns; /* 0: no connection was lost under it so far */
	unsigned pending;
	struct co_queue answers;
};

static void answered(struct nbd_piece *p)
{
	struct request *r = ((struct piece *)p)->request;

	if (--r->pending == 0)
		co_queue_wake_all(&r->answers);
}

/* All of them, those that got no answer again and again. The first error, or 0. */
static co_fn int send_all(struct request *r, struct piece *pieces, unsigned n)
{
	unsigned left = n;
	int res = 0;

	while (left > 0 && res == 0) {
		for (unsigned i = 0; i < n && res == 0; i++) {
			struct nbd_client *c =
				pieces[i].sent ? NULL : await(r->nbd, &r->deadline_ns);

			if (pieces[i].sent)
				continue;
			if (!c) {
				res = -EIO;
				break;
			}
			pieces[i].sent = true;
			r->pending++;
			nbd_client_submit(c, &pieces[i].p);
		}
		while (r->pending)
			co_queue_wait(&r->answers);
		left = 0;
		for (unsigned i = 0; i < n; i++) {
			if (!pieces[i].sent || pieces[i].p.res == -ENOTCONN) {
				pieces[i].sent = false;
				left++;
			} else if (res == 0) {
				res = pieces[i].p.res;
			}
		}
		/* From its first loss on the clock of this request runs. */
		if (left > 0 && !r->deadline_ns)
			r->deadline_ns = loop_now_ns() + MAX(r->nbd->reconnect_ns, 1);
	}
	return res;
}

static co_fn int run(struct nbd *nbd, enum nbd_op op, unsigned flags, void *buf, uint64_t off,
		     uint64_t len)
{
	struct request r = {.nbd = nbd};
	uint64_t most = op == NBD_READ || op == NBD_WRITE ? MIN(nbd->facts.max_payload, MAX_PIECE)
							  : max_zero;
	struct piece pieces[WINDOW];
	uint64_t done = 0;
	int res = 0;

	do {
		unsigned n = 0;

		do {
			uint64_t part = MIN(most, len - done);

			pieces[n++] = (struct piece){
				.request = &r,
				.p = {.done = answered,
				      .op = op,
				      .flags = flags,
				      .buf = buf ? (uint8_t *)buf + done : NULL,
				      .off = off + done,
				      .len = part},
			};
			done += part;
		} while (n < WINDOW && done < len);
		res = send_all(&r, pieces, n);
	} while (res == 0 && done < len);
	return res;
}

/*
 * The library takes a plain buffer only. Where the server demands large blocks, the last one may
 * reach over the end of the node: there zeros are read, and nothing is written.
 */
static co_fn int run_iov(struct block_node *node, enum nbd_op op, unsigned flags, uint64_t off,
			 const struct iovs *iov)
{
	uint64_t len = MIN(iov->len, node->length - off);
	void *bounce;
	int res;

	if (iov->n == 1 && len == iov->len)
		return run(node->state, op, flags, iov->v[0].iov_base, off, len);
	bounce = g_try_malloc(len);
	if (!bounce)
		return -ENOMEM;
	if (op == NBD_WRITE)
		iovs_get(iov, 0, bounce, len);
	res = run(node->state, op, flags, bounce, off, len);
	if (op == NBD_READ && res == 0) {
		iovs_put(iov, 0, bounce, len);
		iovs_zero(iov, len, iov->len - len);
	}
	g_free(bounce);
	return res;
}

static co_fn int nbd_preadv(struct block_node *node, uint64_t off, const struct iovs *iov)
{
	return run_iov(node, NBD_READ, 0, off, iov);
}

static co_fn int nbd_flush(struct block_node *node)
{
	struct nbd *nbd = node->state;

	return nbd->facts.can_flush ? run(nbd, NBD_FLUSH, 0, NULL, 0, 0) : 0;
}

static co_fn int nbd_pwritev(struct block_node *node, uint64_t off, const struct iovs *iov,
			     unsigned flags)
{
	struct nbd *nbd = node->state;
	bool fua = flags & BLOCK_FUA;
	int res = run_iov(node, NBD_WRITE, fua && nbd->facts.can_fua ? NBD_FUA : 0, off, iov);

	return res == 0 && fua && !nbd->facts.can_fua ? nbd_flush(node) : res;
}

static co_fn int nbd_discard_zero(struct block_node *node, uint64_t off, uint64_t len)
{
	struct nbd *nbd = node->state;

	return nbd->facts.can_zero ? run(nbd, NBD_ZERO, 0, NULL, off, len) : -ENOTSUP;
}

static co_fn int nbd_write_zeros(struct block_node *node, uint64_t off, uint64_t len)
{
	struct nbd *nbd = node->state;

	return nbd->facts.can_zero ? run(nbd, NBD_ZERO, NBD_NO_HOLE, NULL, off, len) : -ENOTSUP;
}

static co_fn int nbd_discard(struct block_node *node, uint64_t off, uint64_t len)
{
	struct nbd *nbd = node->state;

	return nbd->facts.can_trim ? run(nbd, NBD_TRIM, 0, NULL, off, len) : -ENOTSUP;
}

static co_fn int nbd_get_status(struct block_node *node, uint64_t off, uint64_t len,
				unsigned *status, uint64_t *run)
{
	struct nbd *nbd = node->state;
	uint64_t before = off % nbd->facts.min_block; /* it is asked of whole blocks */
	uint64_t after =
		(nbd->facts.min_block - (off + len) % nbd->facts.min_block) % nbd->facts.min_block;
	struct request r = {.nbd = nbd};
	struct piece piece = {
		.request = &r,
		.p = {.done = answered,
		      .op = NBD_STATUS,
		      .off = off - before,
		      .len = MIN(MIN(len + before + after, node->length - off + before),
				 max_zero)}};
	int res;

	*status = BLOCK_DATA;
	*run = len;
	if (!nbd->facts.can_status)
		return 0;
	res = send_all(&r, &piece, 1);
	if (res < 0)
		return res;
	if (piece.p.run <= before) {
		log_limited(&nbd->said, LOG_WARN, "block",
			    "%s: the server says nothing of the blocks at offset %" PRIu64,
			    node->name, off);
		return -EPROTO;
	}
	/* A hole without zeros may hold anything: that is data. */
	*status = piece.p.is_zero ? BLOCK_ZERO : BLOCK_DATA;
	*run = MIN(piece.p.run - before, len);
	return 0;
}

/* Whether what the connection found may stand for what was opened. */
static bool is_same(const struct nbd *nbd, const struct nbd_facts *now, bool writable,
		    GError **error)
{
	const struct nbd_facts *then = &nbd->facts;

	if (now->length != then->length) {
		return err_set(error, EINVAL,
			       "the export has %" PRIu64 " bytes now, it had %" PRIu64, now->length,
			       then->length);
	}
	if (writable && now->readonly)
		return err_set(error, EROFS, "the export is read-only now");
	if (now->min_block > then->min_block || now->max_payload < then->max_payload ||
	    now->can_flush < then->can_flush || now->can_fua < then->can_fua ||
	    now->can_zero < then->can_zero || now->can_trim < then->can_trim ||
	    now->can_status < then->can_status)
		return err_set(error, EINVAL, "the server can do less than before");
	return true;
}

static co_fn bool open_again(struct slot *slot, GError **error)
{
	struct nbd *nbd = slot->node->state;
	uint64_t deadline = loop_now_ns() + HANDSHAKE_S * second_ns;

	if (!nbd_client_open(slot->conn, deadline, error))
		return false;
	if (is_same(nbd, nbd_client_facts(slot->conn), slot->node->writable, error))
		return true;
	nbd_client_close(slot->conn);
	return false;
}

/*
 * Until it is open or the node is being closed. The pauses between the trials also grow over
 * connections that do not last.
 */
static co_fn void reopen(struct slot *slot)
{
	struct nbd *nbd = slot->node->state;

	nbd_client_close(slot->conn);
	if (loop_now_ns() - slot->opened_ns > longest_pause_ns)
		slot->pause_ns = 0;
	while (!nbd->closing) {
		GError *error = NULL;

		if (slot->pause_ns)
			co_queue_wait_until(&slot->kick, loop_now_ns() + slot->pause_ns);
		slot->pause_ns = CLAMP(2 * slot->pause_ns, first_pause_ns, longest_pause_ns);
		if (nbd->closing)
			return;
		if (open_again(slot, &error)) {
			log_limited(&nbd->said, LOG_INFO, "block", "%s: connected again",
				    slot->node->name);
			slot->opened_ns = loop_now_ns();
			nbd->lost_ns = 0;
			co_queue_wake_all(&nbd->waiting);
			return;
		}
		if (!nbd->closing)
			log_limited(&nbd->said, LOG_WARN, "block", "%s: cannot connect again: %s",
				    slot->node->name, error->message);
		g_error_free(error);
	}
}

static co_fn void keep(void *arg)
{
	struct slot *slot = arg;
	struct nbd *nbd = slot->node->state;

	while (!nbd->closing) {
		if (nbd_client_is_open(slot->conn) || !nbd->reconnect_ns)
			co_queue_wait(&slot->kick);
		else
			reopen(slot);
	}
	nbd_client_close(slot->conn);
	if (--nbd->keepers == 0)
		co_queue_wake_all(&nbd->ended);
}

static bool get_seconds(struct opts *o, const char *key, uint64_t *ns, GError **error)
{
	uint64_t seconds = 0;

	if (!opts_get_u64(o, key, 0, MAX_SECONDS, &seconds, error))
		return false;
	*ns = seconds * second_ns;
	return true;
}

static void add_conn(struct block_node *node)
{
	struct nbd *nbd = node->state;
	struct slot *slot = &nbd->slots[nbd->n++];

	slot->node = node;
	slot->conn = nbd_client_new(&nbd->address, nbd->timeout_ns, lost, slot);
}

static co_fn bool open_first(struct nbd *nbd, GError **error)
{
	uint64_t begin = loop_now_ns(), pause = first_pause_ns;

	for (;;) {
		GError *why = NULL;
		uint64_t now = loop_now_ns();

		if (nbd_client_open(nbd->slots[0].conn, now + HANDSHAKE_S * second_ns, &why))
			return true;
		now = loop_now_ns();
		if (now + pause >= begin + nbd->open_ns) {
			g_propagate_error(error, why);
			return false;
		}
		g_error_free(why);
		co_sleep_ns(pause);
		pause = MIN(2 * pause, longest_pause_ns);
	}
}

/* Those beyond the first; one that cannot be had is missed by nobody. */
static co_fn void open_more(struct block_node *node, unsigned wanted)
{
	struct nbd *nbd = node->state;

	while (nbd->n < wanted) {
		GError *error = NULL;

		add_conn(node);
		if (open_again(&nbd->slots[nbd->n - 1], &error))
			continue;
		log_limited(&nbd->said, LOG_WARN, "block", "%s: only %u of %u connections: %s",
			    node->name, nbd->n - 1, wanted, error->message);
		g_error_free(error);
		nbd_client_free(nbd->slots[--nbd->n].conn);
		return;
	}
}

static co_fn bool nbd_open(struct block_node *node, struct opts *options, GError **error)
{
	struct nbd *nbd = node->state;
	uint64_t connections = 1;

	if (!nbd_address_init(&nbd->address, options, error) ||
	    !opts_get_u64(options, "connections", 1, MAX_CONNS, &connections, error) ||
	    !get_seconds(options, "reconnect-delay", &nbd->reconnect_ns, error) ||
	    !get_seconds(options, "open-timeout", &nbd->open_ns, error) ||
	    !get_seconds(options, "timeout", &nbd->timeout_ns, error))
		return false;
	g_free(node->name);
	node->name = nbd_address_text(&nbd->address);
	add_conn(node);
	if (!open_first(nbd, error))
		return false;
	nbd->facts = *nbd_client_facts(nbd->slots[0].conn);
	node->length = nbd->facts.length;
	node->request_align = node->discard_align = nbd->facts.min_block;
	if (node->writable && nbd->facts.readonly) {
		if (!(node->flags & BLOCK_AUTO_RDONLY))
			return err_set(error, EROFS, "the export is read-only");
		node->writable = false;
	}
	if (nbd->facts.can_multi_conn)
		open_more(node, (unsigned)connections);
	for (unsigned i = 0; i < nbd->n; i++) {
		nbd->keepers++;
		co_start(co_loop(), keep, &nbd->slots[i]);
	}
	return true;
}

static co_fn void nbd_close_node(struct block_node *node)
{
	struct nbd *nbd = node->state;

	nbd->closing = true;
	for (unsigned i = 0; i < nbd->n; i++) {
		if (nbd->keepers && !nbd_client_is_open(nbd->slots[i].conn))
			nbd_client_stop(nbd->slots[i].conn);
		co_queue_wake_all(&nbd->slots[i].kick);
	}
	while (nbd->keepers)
		co_queue_wait(&nbd->ended);
	for (unsigned i = 0; i < nbd->n; i++) {
		nbd_client_close(nbd->slots[i].conn);
		nbd_client_free(nbd->slots[i].conn);
	}
	nbd_address_fini(&nbd->address);
}

static json_t *nbd_info(const struct block_node *node)
{
	const struct nbd *nbd = node->state;
	const struct nbd_facts *f = &nbd->facts;
	json_t *data = json_pack("{s:b, s:b, s:b, s:b, s:b, s:I, s:i}", "tls", nbd->address.tls,
				 "structured-replies", f->structured, "block-status", f->can_status,
				 "read-only", f->readonly, "multi-conn", f->can_multi_conn,
				 "minimum-block-size", (json_int_t)f->min_block, "connections",
				 (int)nbd->n);

	return json_pack("{s:s, s:o}", "type", "nbd", "data", data);
}

const struct block_driver block_nbd = {
	.name = "nbd",
	.kind = BLOCK_PROTOCOL,
	.state_size = sizeof(struct nbd),
	.open = nbd_open,
	.close = nbd_close_node,
	.preadv = nbd_preadv,
	.pwritev = nbd_pwritev,
	.flush = nbd_flush,
	.discard_zero = nbd_discard_zero,
	.write_zeros = nbd_write_zeros,
	.discard = nbd_discard,
	.get_status = nbd_get_status,
	.info = nbd_info,
};
