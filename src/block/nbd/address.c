/* Names and options of NBD exports; see address.h. */
#include "block/nbd/address.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"

enum { NAME_MAX_LEN = 4096 /* NBD's limit of an export's name */ };

static const char default_port[] = "10809";

static const struct scheme {
	const char *name;
	bool tls, local;
} schemes[] = {
	{"nbd", false, false},     {"nbd+tcp", false, false}, {"nbds", true, false},
	{"nbds+tcp", true, false}, {"nbd+unix", false, true}, {"nbds+unix", true, true},
};

static const struct scheme *find_scheme(const char *name)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(schemes); i++)
		if (!strcmp(schemes[i].name, name))
			return &schemes[i];
	return NULL;
}

bool nbd_is_protocol(const char *protocol)
{
	return find_scheme(protocol) != NULL;
}

static void put(struct opts *o, const char *prefix, const char *key, const char *value)
{
	g_autofree char *full = g_strconcat(prefix, key, NULL);

	opts_set(o, full, value);
}

/* The query part: "socket" for a unix socket, and what TLS needs. */
static bool put_query(const struct scheme *scheme, GHashTable *query, const char *prefix,
		      struct opts *o, GError **error)
{
	static const char *const tls_keys[] = {"tls-certificates", "tls-psk-file", "tls-username",
					       "tls-verify-peer", NULL};
	GHashTableIter i;
	void *key, *value;
	bool found = false;

	g_hash_table_iter_init(&i, query);
	while (g_hash_table_iter_next(&i, &key, &value)) {
		if (scheme->local && !strcmp(key, "socket")) {
			put(o, prefix, "server.path", value);
			found = true;
		} else if (scheme->tls && g_strv_contains(tls_keys, key)) {
			put(o, prefix, key, value);
		} else {
			return err_set(error, EINVAL, "\"%s\" means nothing in a %s address",
				       (const char *)key, scheme->name);
		}
	}
	if (scheme->local && !found)
		return err_set(error, EINVAL, "lacks ?socket=PATH");
	return true;
}

static bool put_server(const struct scheme *scheme, GUri *uri, const char *prefix, struct opts *o,
		       GError **error)
{
	const char *host = g_uri_get_host(uri), *user = g_uri_get_userinfo(uri);
	g_autofree char *port = g_uri_get_port(uri) > 0 ? g_strdup_printf("%d", g_uri_get_port(uri))
							: g_strdup(default_port);

	if (user && !scheme->tls)
		return err_set(error, EINVAL, "a user name is only for TLS (nbds)");
	if (user)
		put(o, prefix, "tls-username", user);
	put(o, prefix, "server.type", scheme->local ? "unix" : "inet");
	if (scheme->local) {
		return (!host || !*host) ||
		       err_set(error, EINVAL, "a unix socket has no host; write %s:///EXPORT",
			       scheme->name);
	}
	if (!host || !*host)
		return err_set(error, EINVAL, "names no host");
	put(o, prefix, "server.host", host);
	put(o, prefix, "server.port", port);
	return true;
}

static bool parse_uri(const char *name, const char *prefix, struct opts *o, GError **error)
{
	GUri *uri = g_uri_parse(name, G_URI_FLAGS_ENCODED_QUERY, NULL);
	const struct scheme *scheme = uri ? find_scheme(g_uri_get_scheme(uri)) : NULL;
	GHashTable *query = NULL;
	bool ok = false;

	if (uri && g_uri_get_query(uri))
		query = g_uri_parse_params(g_uri_get_query(uri), -1, "&", G_URI_PARAMS_NONE, NULL);
	else if (uri)
		query = g_hash_table_new(g_str_hash, g_str_equal);
	if (!scheme || !query || g_uri_get_fragment(uri)) {
		err_set(error, EINVAL, "is no address as in nbd://HOST:PORT/EXPORT");
	} else {
		const char *path = g_uri_get_path(uri);

		put(o, prefix, "driver", "nbd");
		put(o, prefix, "export", *path == '/' ? path + 1 : path);
		if (scheme->tls)
			put(o, prefix, "tls", "on");
		ok = put_server(scheme, uri, prefix, o, error) &&
		     put_query(scheme, query, prefix, o, error);
	}
	if (query)
		g_hash_table_unref(query);
	if (uri)
		g_uri_unref(uri);
	return ok;
}

/* nbd:HOST:PORT and nbd:unix:PATH; what follows ":exportname=" belongs to the name. */
static bool parse_older(const char *name, const char *prefix, struct opts *o, GError **error)
{
	static const char mark[] = ":exportname=";
	const char *at = strstr(name, mark), *port;
	g_autofree char *place = at ? g_strndup(name, (size_t)(at - name)) : g_strdup(name);

	put(o, prefix, "driver", "nbd");
	put(o, prefix, "export", at ? at + strlen(mark) : "");
	if (g_str_has_prefix(place, "unix:")) {
		put(o, prefix, "server.type", "unix");
		put(o, prefix, "server.path", place + strlen("unix:"));
		return true;
	}
	port = strrchr(place, ':');
	if (!port || port == place || !port[1])
		return err_set(error, EINVAL, "is neither nbd:HOST:PORT nor nbd:unix:PATH");
	put(o, prefix, "server.type", "inet");
	put(o, prefix, "server.port", port + 1);
	place[port - place] = '\0';
	put(o, prefix, "server.host", place);
	return true;
}

bool nbd_parse_name(const char *name, const char *prefix, struct opts *o, GError **error)
{
	bool older = g_str_has_prefix(name, "nbd:") && !g_str_has_prefix(name, "nbd://");

	return (older ? parse_older(name + strlen("nbd:"), prefix, o, error)
		      : parse_uri(name, prefix, o, error)) ||
	       err_prefix(error, "%s", name);
}

/* "server.KEY", or KEY alone; a copy, or NULL. */
static bool take(struct opts *o, const char *key, char **out, GError **error)
{
	g_autofree char *full = g_strconcat("server.", key, NULL);
	const char *value = opts_get(o, full), *bare = opts_get(o, key);

	if (value && bare)
		return err_set(error, EINVAL, "%s= and %s= are the same thing", full, key);
	*out = g_strdup(value ? value : bare);
	return true;
}

static bool take_server(struct nbd_address *a, struct opts *o, GError **error)
{
	static const char *const types[] = {"inet", "unix", NULL};
	int type = -1;

	if (!opts_get_enum(o, "server.type", types, &type, error) ||
	    !take(o, "host", &a->host, error) || !take(o, "port", &a->port, error) ||
	    !take(o, "path", &a->path, error))
		return false;
	if (!a->host == !a->path || (type == 0 && a->path) || (type == 1 && a->host)) {
		return err_set(error, EINVAL,
			       "say where the server is: either server.host= and server.port=, or "
			       "server.path= of a unix socket");
	}
	if (a->path && a->port)
		return err_set(error, EINVAL, "a unix socket has no port");
	if (!*(a->path ? a->path : a->host))
		return err_set(error, EINVAL, "the name of the %s is empty",
			       a->path ? "socket" : "host");
	if (a->host && !a->port)
		a->port = g_strdup(default_port);
	return true;
}

/* Without either of them the library would take any certificate of any authority. */
static bool take_tls(struct nbd_address *a, struct opts *o, GError **error)
{
	a->certificates = g_strdup(opts_get(o, "tls-certificates"));
	a->psk_file = g_strdup(opts_get(o, "tls-psk-file"));
	a->username = g_strdup(opts_get(o, "tls-username"));
	a->verify_peer = true;
	a->tls = a->certificates || a->psk_file;
	if (!opts_get_bool(o, "tls", &a->tls, error) ||
	    !opts_get_bool(o, "tls-verify-peer", &a->verify_peer, error))
		return false;
	if (!a->tls) {
		return !(a->certificates || a->psk_file || a->username) ||
		       err_set(error, EINVAL,
			       "tls-certificates=, tls-psk-file= and tls-username= "
			       "do not go with tls=off");
	}
	if (!a->certificates == !a->psk_file) {
		return err_set(error, EINVAL,
			       "TLS needs either tls-certificates=FOLDER (with ca-cert.pem) or "
			       "tls-psk-file=FILE");
	}
	if (a->psk_file && !a->username)
		return err_set(error, EINVAL,
			       "tls-psk-file= needs tls-username=, whose key to use");
	return true;
}

bool nbd_address_init(struct nbd_address *a, struct opts *o, GError **error)
{
	const char *name = opts_get(o, "export");

	a->export_name = g_strdup(name ? name : "");
	if (strlen(a->export_name) > NAME_MAX_LEN)
		return err_set(error, ENAMETOOLONG, "export= has more than %d bytes", NAME_MAX_LEN);
	return take_server(a, o, error) && take_tls(a, o, error);
}

void nbd_address_fini(struct nbd_address *a)
{
	g_free(a->host);
	g_free(a->port);
	g_free(a->path);
	g_free(a->export_name);
	g_free(a->certificates);
	g_free(a->psk_file);
	g_free(a->username);
	*a = (struct nbd_address){0};
}

char *nbd_address_text(const struct nbd_address *a)
{
	static const char path_chars[] = G_URI_RESERVED_CHARS_ALLOWED_IN_PATH;
	g_autofree char *name = g_uri_escape_string(a->export_name, path_chars, TRUE);
	const char *s = a->tls ? "s" : "";

	if (a->path) {
		g_autofree char *path = g_uri_escape_string(a->path, "/", TRUE);

		return g_strdup_printf("nbd%s+unix:///%s?socket=%s", s, name, path);
	}
	return strchr(a->host, ':')
		       ? g_strdup_printf("nbd%s://[%s]:%s/%s", s, a->host, a->port, name)
		       : g_strdup_printf("nbd%s://%s:%s/%s", s, a->host, a->port, name);
}
