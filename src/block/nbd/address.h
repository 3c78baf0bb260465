/*
 * Where an NBD server and its export are, as users name them (transports.md 5, formats.md 1.1).
 * Pure: from text to options, from options to an address.
 */
#pragma once

#include "base/opts.h"

struct nbd_address {
	char *host, *port; /* TCP; or */
	char *path;        /* a unix socket */
	char *export_name; /* "" is the default export */
	bool tls;
	bool verify_peer;
	char *certificates; /* a folder with ca-cert.pem; or */
	char *psk_file, *username;
};

/* Whether a name of this protocol ("nbds+unix") is for nbd_parse_name(). */
bool nbd_is_protocol(const char *protocol);
/*
 * nbd://HOST[:PORT]/EXPORT, nbd+unix:///EXPORT?socket=PATH, both also with nbds, and the older
 * nbd:HOST:PORT[:exportname=E] and nbd:unix:PATH[:exportname=E]: adds to o what it stands for, each
 * key after prefix.
 */
bool nbd_parse_name(const char *name, const char *prefix, struct opts *o, GError **error);
/*
 * From "server.type", "server.host", "server.port", "server.path" (or "host", "port", "path"),
 * "export", "tls", "tls-certificates", "tls-psk-file", "tls-username", "tls-verify-peer". What it
 * holds after a failure is for nbd_address_fini(), too.
 */
bool nbd_address_init(struct nbd_address *a, struct opts *o, GError **error);
void nbd_address_fini(struct nbd_address *a);
/* As a URI, for messages. */
char *nbd_address_text(const struct nbd_address *a);
