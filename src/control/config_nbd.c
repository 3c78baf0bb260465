/* Option texts of NBD attachments: see config.h. */
#include "control/config_impl.h"

#include <string.h>

#include "base/err.h"

static const char default_host[] = "localhost";

void config_nbd_free(struct nbd_config *n)
{
	if (!n)
		return;
	g_free(n->host);
	g_strfreev(n->disks);
	g_free(n->export);
	g_free(n->description);
	g_free(n->tls_creds);
	g_free(n->tls_psk);
	g_free(n);
}

static bool get_tls(struct nbd_config *n, struct opts *o, GError **error)
{
	static const char *const names[] = {"off", "allow", "require", NULL};
	int mode;

	n->tls_creds = g_strdup(opts_get(o, "tls-creds"));
	n->tls_psk = g_strdup(opts_get(o, "tls-psk"));
	n->tls_verify_peer = true;
	mode = n->tls_creds || n->tls_psk ? NBD_TLS_REQUIRE : NBD_TLS_OFF;
	if (!opts_get_enum(o, "tls", names, &mode, error) ||
	    !opts_get_bool(o, "tls-verify-peer", &n->tls_verify_peer, error))
		return false;
	n->tls = (enum nbd_tls_mode)mode;
	if (mode != NBD_TLS_OFF && !n->tls_creds && !n->tls_psk) {
		return err_set(
			error, EINVAL,
			"tls=%s needs tls-creds=FOLDER (certificates) or tls-psk=FILE (keys)",
			names[mode]);
	}
	return true;
}

static bool get_text(struct opts *o, const char *key, char **out, GError **error)
{
	const char *text = opts_get(o, key);

	if (text && strlen(text) > NBD_STRING_MAX)
		return err_set(error, EINVAL, "%s=: at most %d bytes", key, NBD_STRING_MAX);
	if (text && !g_utf8_validate(text, -1, NULL))
		return err_set(error, EILSEQ, "%s=: it must be UTF-8", key);
	*out = g_strdup(text);
	return true;
}

static bool get_place(struct attach_config *a, struct opts *o, GError **error)
{
	struct nbd_config *n = a->nbd;
	const char *host = opts_get(o, "host"), *path = opts_get(o, "socket");
	uint64_t port = G_MAXUINT64;

	if (!opts_get_u64(o, "port", 0, G_MAXUINT16, &port, error))
		return false;
	if (path && (host || port != G_MAXUINT64)) {
		return err_set(error, EINVAL,
			       "socket= is for a unix socket, host= and port= are "
			       "for TCP: give one or the other");
	}
	if (path)
		return config_get_socket(a, o, error);
	if (!host && port == G_MAXUINT64)
		return err_set(error, EINVAL, "say where: socket=PATH, or host=NAME,port=N");
	n->host = g_strdup(host && *host ? host : default_host);
	n->port = port == G_MAXUINT64 ? NBD_DEFAULT_PORT : (unsigned)port;
	a->socket = g_strdup_printf("%s:%u", n->host, n->port);
	return true;
}

bool config_parse_nbd(struct attach_config *a, struct opts *o, GError **error)
{
	struct nbd_config *n = a->nbd = g_new0(struct nbd_config, 1);
	const char *disks = opts_get(o, "disks");
	uint64_t clients = NBD_DEFAULT_CLIENTS;

	n->disks = disks ? g_strsplit(disks, ":", -1) : NULL;
	if (!get_place(a, o, error) || !get_text(o, "export", &n->export, error) ||
	    !get_text(o, "description", &n->description, error) ||
	    !opts_get_bool(o, "readonly", &n->readonly, error) ||
	    !opts_get_u64(o, "clients", 1, NBD_CLIENTS_MAX, &clients, error))
		return false;
	a->clients = (unsigned)clients;
	return get_tls(n, o, error);
}

static bool has_disk(const struct daemon_config *c, const struct attach_config *a, const char *id)
{
	return a->nbd && (a->nbd->disks ? g_strv_contains((const char *const *)a->nbd->disks, id)
					: config_find_disk(c, id) != NULL);
}

const struct attach_config *config_nbd_of_disk(const struct daemon_config *c, const char *disk)
{
	for (unsigned i = 0; i < c->attachments->len; i++) {
		if (has_disk(c, c->attachments->pdata[i], disk))
			return c->attachments->pdata[i];
	}
	return NULL;
}

static char **all_disks(const struct daemon_config *c)
{
	char **ids = g_new0(char *, c->disks->len + 1);

	for (unsigned i = 0; i < c->disks->len; i++)
		ids[i] = g_strdup(((const struct disk_config *)c->disks->pdata[i])->id);
	return ids;
}

/* Two writers that do not know of each other would destroy the disk. */
static bool check_writers(const struct daemon_config *c, unsigned at, const char *id,
			  GError **error)
{
	for (unsigned i = 0; i < at; i++) {
		const struct attach_config *b = c->attachments->pdata[i];

		if (has_disk(c, b, id) && !b->nbd->readonly) {
			return err_set(error, EEXIST,
				       "--attach disks=: '%s' is attached at %s already; one of "
				       "the two must be readonly=on",
				       id, b->socket);
		}
	}
	return true;
}

bool config_check_nbd(const struct daemon_config *c, unsigned at, GError **error)
{
	struct attach_config *a = c->attachments->pdata[at];
	struct nbd_config *n = a->nbd;

	if (!n->disks)
		n->disks = all_disks(c);
	if (!n->disks[0]) {
		return err_set(error, EINVAL,
			       "--attach nbd,%s: there is no disk; give --disk file=FILE",
			       a->socket);
	}
	if (n->export && n->disks[1]) {
		return err_set(error, EINVAL,
			       "--attach nbd,export=%s: several disks are exported by their ids; "
			       "say which one with disks=ID",
			       n->export);
	}
	for (unsigned i = 0; n->disks[i]; i++) {
		const char *id = n->disks[i];

		if (!config_find_disk(c, id)) {
			return err_set(error, ENOENT,
				       "--attach disks=: there is no disk '%s'; give --disk "
				       "file=FILE,id=%s",
				       id, id);
		}
		for (unsigned k = 0; k < i; k++) {
			if (!strcmp(id, n->disks[k])) {
				return err_set(error, EEXIST,
					       "--attach disks=: '%s' stands there twice", id);
			}
		}
		if (!n->readonly && !check_writers(c, at, id, error))
			return false;
	}
	return true;
}
