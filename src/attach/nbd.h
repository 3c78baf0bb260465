/*
 * NBD server: disks as exports, for clients on a unix socket or on TCP (fixed newstyle, structured
 * replies and extended headers, block status, TLS).
 *
 * All connections of an export share its node, so that a flush on one of them covers what has
 * completed on any other: clients may spread their requests over several (multi-conn).
 */
#pragma once

#include <jansson.h>

#include "block/block.h"

struct nbd_server;

enum {
	NBD_DEFAULT_PORT = 10809,
	NBD_DEFAULT_CLIENTS = 16,
	NBD_CLIENTS_MAX = 1024,
	NBD_STRING_MAX = 4096, /* export names, descriptions: the protocol's limit */
};

struct nbd_export_options {
	const char *name;        /* clients ask for it; "" is the default export */
	const char *description; /* NULL: none */
	struct block_node *node; /* borrowed; outlives the server and lives on its loop */
	bool readonly;           /* also where the node is writable */
	bool rotational;
};

enum nbd_tls_mode {
	NBD_TLS_OFF,
	NBD_TLS_ALLOW,   /* for those who ask for it */
	NBD_TLS_REQUIRE, /* nothing is said of exports without */
};

struct nbd_tls_options {
	enum nbd_tls_mode mode;
	const char *creds; /* folder with ca-cert.pem, server-cert.pem, server-key.pem; or NULL */
	const char *psk;   /* file of USER:HEXKEY lines; or NULL */
	bool verify_peer;  /* clients must have a certificate of that authority */
};

struct nbd_options {
	const char *path; /* of a unix socket; NULL: TCP */
	const char *host; /* where to listen: a name or address; every address it has */
	unsigned port;    /* 0: the kernel chooses one */
	const struct nbd_export_options *exports;
	unsigned n_exports;
	unsigned max_clients; /* 0: NBD_DEFAULT_CLIENTS; more are told so and refused */
	struct nbd_tls_options tls;
};

/* Copies what the options point to, except the nodes. */
co_fn struct nbd_server *nbd_server_new(struct loop *loop, const struct nbd_options *o,
					GError **error);
/* Finishes and answers the requests in flight (for five seconds at most to a client that does not
 * listen), then closes. NULL is fine. */
co_fn void nbd_server_free(struct nbd_server *s);
/* Of TCP: where it listens. */
unsigned nbd_server_port(const struct nbd_server *s);

struct nbd_stats {
	unsigned clients; /* that have chosen an export */
	uint64_t requests, errors, protocol_errors;
};
void nbd_server_get_stats(const struct nbd_server *s, struct nbd_stats *out);
/* An object for each connection: peer, export, tls, requests, in_flight. A new reference. */
json_t *nbd_server_connections(const struct nbd_server *s);
