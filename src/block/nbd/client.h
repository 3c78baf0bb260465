/*
 * One connection to an NBD server: libnbd's handle with its descriptor watched by our loop.
 *
 * The library's state machine runs on the loop's own stack (TLS wants more of it than a coroutine
 * has) or, where it looks up names and connects, in a worker. A connection that was lost can be
 * opened again; what was in flight ends with -ENOTCONN and is its owner's to send again.
 */
#pragma once

#include "base/co.h"
#include "block/nbd/address.h"

struct nbd_client;

enum nbd_op { NBD_READ, NBD_WRITE, NBD_ZERO, NBD_TRIM, NBD_FLUSH, NBD_STATUS };
enum nbd_flags { NBD_FUA = 1, NBD_NO_HOLE = 2 };

/* A command on the wire. All of it belongs to the connection until done(), which runs once, on the
 * loop's stack. */
struct nbd_piece {
	void (*done)(struct nbd_piece *piece);
	enum nbd_op op;
	unsigned flags; /* enum nbd_flags */
	void *buf;
	uint64_t off, len;
	/* results */
	int res;      /* 0 or -errno; -ENOTCONN: the connection was lost before an answer */
	uint64_t run; /* NBD_STATUS: how far it holds; 0: nothing was said; may exceed len */
	bool is_zero, is_hole;
	/* the connection's own */
	struct nbd_client *conn;
	struct nbd_piece *next;
};

/* What the server said of the export. */
struct nbd_facts {
	uint64_t length;
	uint32_t min_block, max_payload;
	bool readonly, structured;
	bool can_flush, can_fua, can_zero, can_trim, can_multi_conn, can_status;
};

/*
 * address is borrowed. A server that owes an answer and is silent for timeout_ns (0: for ever)
 * counts as lost. lost() tells, on the loop's stack, that an open connection is not any more; it
 * must not close it there.
 */
struct nbd_client *nbd_client_new(const struct nbd_address *address, uint64_t timeout_ns,
				  void (*lost)(struct nbd_client *conn, const char *why, void *arg),
				  void *arg);
/* Connects and negotiates, until deadline_ns at the latest; the connection is not open. */
co_fn bool nbd_client_open(struct nbd_client *c, uint64_t deadline_ns, GError **error);
/* Makes an nbd_client_open() that runs in another coroutine fail soon, and all later ones. */
void nbd_client_stop(struct nbd_client *c);
/* Takes leave if it is open; nothing may be in flight. nbd_client_open() works again after it. */
co_fn void nbd_client_close(struct nbd_client *c);
void nbd_client_free(struct nbd_client *c); /* it is closed; NULL is fine */

bool nbd_client_is_open(const struct nbd_client *c);
unsigned nbd_client_load(const struct nbd_client *c); /* commands not answered yet */
const struct nbd_facts *nbd_client_facts(
	const struct nbd_client *c); /* of the last time it was open */
/* It need not be open. Goes out at the end of this turn of the loop. */
void nbd_client_submit(struct nbd_client *c, struct nbd_piece *piece);
