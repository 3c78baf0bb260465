/* Inside of the NBD server: what its files share. */
#pragma once

#include "attach/nbd.h"
#include "attach/nbd/pool.h"
#include "attach/nbd/proto.h"
#include "attach/nbd/stream.h"
#include "base/log.h"

enum {
	NBD_PAYLOAD_MAX = 32 << 20, /* of one request, as advertised */
	NBD_IN_FLIGHT_MAX = 256,    /* requests of a connection; the next waits in the socket */
	NBD_IN_LEN = 64 << 10,      /* a connection's receive buffer */
	NBD_CONTEXTS_MAX = 15,
	NBD_CHUNKS_MAX = NBD_CONTEXTS_MAX + 1,
	NBD_HEAD_MAX = NBD_EXT_CHUNK_LEN + 12, /* with the fixed part of a chunk's payload */
	NBD_TEXT_MAX = 80,                     /* what an error chunk says */
	NBD_LISTEN_MAX = 8,
};

struct nbd_export {
	char *name, *description;
	struct block_node *node;
	bool writable, rotational;
};

enum nbd_context_kind { NBD_CONTEXT_ALLOCATION, NBD_CONTEXT_DEPTH };
struct nbd_context {
	enum nbd_context_kind kind;
	uint32_t id;
};

struct nbd_conn;

struct nbd_request {
	struct nbd_conn *c;
	struct nbd_request *next; /* among the replies to be sent, or the spare ones */
	uint16_t flags, type;
	uint64_t cookie, off, len;
	void *buf;   /* len bytes, read or to be written, from the pool; NULL: none */
	void *table; /* of a block status; freed once it was sent */
	/* The reply: pieces iov_at to n_iov are still to be sent. */
	unsigned n_iov, iov_at, n_heads;
	struct iovec iov[2 * NBD_CHUNKS_MAX];
	uint8_t heads[NBD_CHUNKS_MAX][NBD_HEAD_MAX];
	char text[NBD_TEXT_MAX];
};

struct nbd_conn {
	struct nbd_server *s;
	struct nbd_conn *next;
	char *peer;
	struct nbd_stream io;
	uint64_t since_ns;
	uint64_t deadline_ns; /* of the handshake; 0: it is over */
	bool broken;          /* nothing is sent or received any more */

	/* As negotiated. */
	bool no_zeroes, structured, extended;
	const struct nbd_export *export; /* NULL: none chosen yet */
	const struct nbd_export *contexts_of;
	unsigned n_contexts;
	struct nbd_context contexts[NBD_CONTEXTS_MAX];

	uint8_t *in; /* NBD_IN_LEN; received and not yet used: in_at to in_end */
	size_t in_at, in_end;

	struct nbd_request *spare;
	unsigned in_flight; /* until the reply was sent */
	size_t bytes_in_flight;
	struct co_queue room; /* woken when one of them ended */
	uint64_t requests;

	struct nbd_request *out, *out_tail;
	struct loop_task flush; /* at the end of the turn */
	struct loop_watch writable;
	bool awaits_room;  /* in the socket, by the watch */
	GByteArray *reply; /* to an option */
};

struct nbd_server {
	struct loop *loop;
	char *path, *where; /* where: for messages */
	unsigned port;
	unsigned n_listen;
	struct nbd_listener {
		struct nbd_server *s;
		int fd;
		struct loop_watch watch;
	} listen[NBD_LISTEN_MAX];
	struct loop_timer retry; /* of accepting, when the process has no descriptor left */
	bool listening, ending;
	struct nbd_export *exports;
	unsigned n_exports;
	unsigned max_clients;
	enum nbd_tls_mode tls_mode;
	struct nbd_tls *tls;
	struct nbd_conn *conns; /* oldest first */
	unsigned n_conns;
	struct co_queue gone; /* a connection ended */
	struct nbd_pool pool;
	struct nbd_stats stats; /* of connections that ended, and counters */
	struct log_limit limit;
};

/* server.c */
const struct nbd_export *nbd_find_export(const struct nbd_server *s, const void *name, size_t len);
/* Whether one more may choose an export. */
bool nbd_has_place(const struct nbd_server *s);
void nbd_conn_gone(struct nbd_conn *c);

/* conn.c: co_start() runs it; it ends with the connection, which it frees. */
struct nbd_conn *nbd_conn_new(struct nbd_server *s, int fd);
void nbd_conn_run(void *conn);
/* Makes it end soon; why NULL: the other side has gone. */
void nbd_conn_fail(struct nbd_conn *c, const char *why);
/* Until len bytes (at most NBD_IN_LEN) lie in the buffer; false: the connection ends. */
co_fn bool nbd_need(struct nbd_conn *c, size_t len);
/* Takes len bytes out of the stream to buf, or (NULL) to nowhere. */
co_fn bool nbd_take(struct nbd_conn *c, void *buf, size_t len);

/* handshake.c: true when an export was chosen and transmission begins. */
co_fn bool nbd_handshake(struct nbd_conn *c);
void nbd_add_reply(struct nbd_conn *c, uint32_t option, uint32_t type, const void *data,
		   size_t len);
/* An error reply with words. */
void nbd_refuse(struct nbd_conn *c, uint32_t option, uint32_t type, const char *why);

/* meta.c: LIST_META_CONTEXT and SET_META_CONTEXT. */
void nbd_meta_context(struct nbd_conn *c, uint32_t option, const uint8_t *data, size_t len);

/* request.c */
co_fn bool nbd_next_request(struct nbd_conn *c);
void nbd_request_end(struct nbd_request *r);
void nbd_free_spare(struct nbd_conn *c);

/* status.c: fills the reply of a BLOCK_STATUS; 0 or -errno. */
co_fn int nbd_block_status(struct nbd_request *r);

/* reply.c: each makes a whole reply, but for the first. */
void nbd_reply_chunk(struct nbd_request *r, enum nbd_chunk type, const void *fixed,
		     size_t fixed_len, const void *data, size_t len, bool last);
void nbd_reply_result(struct nbd_request *r, int res); /* 0 or -errno, without data */
void nbd_reply_data(struct nbd_request *r);            /* what is in buf */
void nbd_reply_send(struct nbd_request *r);
void nbd_flush(struct nbd_conn *c);
/* The replies that wait are for nobody any more. */
void nbd_drop_replies(struct nbd_conn *c);
