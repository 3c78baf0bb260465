/*
 * The handshake (fixed newstyle): options until an export was chosen.
 *
 * An option's data are taken whole before anybody looks at them, up to a limit; its replies are
 * collected and sent together. Time and number of options are limited: who has not chosen an export
 * by then is sent away. After STARTTLS everything agreed on before is forgotten, and bytes that
 * came in the clear behind it are a reason to end the connection, not to be believed.
 */
#include "attach/nbd/impl.h"

#include <string.h>

#include "base/bytes.h"
#include "base/err.h"

enum {
	OPTIONS_MAX = 1024,
	OPTION_DATA_MAX = NBD_IN_LEN - NBD_OPTION_LEN,
	OPTION_DRAIN_MAX = 1 << 20, /* more than that is not even thrown away */
	GREETING_LEN = 18,
	ZEROES_LEN = 124, /* behind the answer to EXPORT_NAME, from an older protocol */
	PREFERRED_MIN = 4096,
	PREFERRED_MAX = 1 << 20,
};

enum outcome { NEXT, CHOSEN, END };

struct option {
	uint32_t number;
	const uint8_t *data;
	size_t len;
};

void nbd_add_reply(struct nbd_conn *c, uint32_t option, uint32_t type, const void *data, size_t len)
{
	uint8_t head[NBD_OPTION_REPLY_LEN];

	put_be64(head, NBD_REPLY_MAGIC);
	put_be32(head + 8, option);
	put_be32(head + 12, type);
	put_be32(head + 16, (uint32_t)len);
	g_byte_array_append(c->reply, head, sizeof(head));
	if (len)
		g_byte_array_append(c->reply, data, (guint)len);
}

void nbd_refuse(struct nbd_conn *c, uint32_t option, uint32_t type, const char *why)
{
	nbd_add_reply(c, option, type, why, strlen(why));
}

static uint16_t transmission_flags(const struct nbd_conn *c, const struct nbd_export *e)
{
	unsigned flags =
		NBD_HAS_FLAGS | NBD_SEND_FLUSH | NBD_SEND_FUA | NBD_SEND_CACHE | NBD_CAN_MULTI_CONN;

	flags |= e->writable ? NBD_SEND_TRIM | NBD_SEND_WRITE_ZEROES : NBD_READ_ONLY;
	flags |= e->rotational ? NBD_ROTATIONAL : 0;
	flags |= c->structured ? NBD_SEND_DF : 0;
	return (uint16_t)flags;
}

static enum outcome choose(struct nbd_conn *c, const struct nbd_export *e)
{
	c->export = e;
	if (c->contexts_of != e) /* they were chosen for another one */
		c->n_contexts = 0;
	return CHOSEN;
}

static co_fn enum outcome opt_export_name(struct nbd_conn *c, const struct option *o)
{
	static const uint8_t zeroes[ZEROES_LEN];
	const struct nbd_export *e = nbd_find_export(c->s, o->data, o->len);
	uint8_t head[10];

	if (!e || !nbd_has_place(c->s)) { /* there is no other way to say so */
		nbd_conn_fail(c, e ? "too many clients" : "no such export");
		return END;
	}
	put_be64(head, block_length(e->node));
	put_be16(head + 8, transmission_flags(c, e));
	g_byte_array_append(c->reply, head, sizeof(head));
	if (!c->no_zeroes)
		g_byte_array_append(c->reply, zeroes, sizeof(zeroes));
	return choose(c, e);
}

static co_fn enum outcome opt_abort(struct nbd_conn *c, const struct option *o)
{
	nbd_add_reply(c, o->number, NBD_REP_ACK, NULL, 0);
	return END;
}

static co_fn enum outcome opt_list(struct nbd_conn *c, const struct option *o)
{
	if (o->len) {
		nbd_refuse(c, o->number, NBD_REP_INVALID, "LIST has no data");
		return NEXT;
	}
	for (unsigned i = 0; i < c->s->n_exports; i++) {
		const struct nbd_export *e = &c->s->exports[i];
		size_t len = strlen(e->name);
		g_autoptr(GByteArray) text = g_byte_array_new();
		uint8_t head[4];

		put_be32(head, (uint32_t)len);
		g_byte_array_append(text, head, sizeof(head));
		g_byte_array_append(text, (const uint8_t *)e->name, (guint)len);
		if (e->description)
			g_byte_array_append(text, (const uint8_t *)e->description,
					    (guint)strlen(e->description));
		nbd_add_reply(c, o->number, NBD_REP_SERVER, text->data, text->len);
	}
	nbd_add_reply(c, o->number, NBD_REP_ACK, NULL, 0);
	return NEXT;
}

static co_fn enum outcome start_tls(struct nbd_conn *c)
{
	g_autofree char *why = NULL;
	GError *error = NULL;

	if (c->in_at != c->in_end) {
		nbd_conn_fail(c, "data in the clear behind STARTTLS");
		return END;
	}
	if (nbd_stream_send_all(&c->io, c->reply->data, c->reply->len, c->deadline_ns) < 0)
		return END;
	g_byte_array_set_size(c->reply, 0);
	c->structured = c->extended = false;
	c->contexts_of = NULL;
	c->n_contexts = 0;
	c->io.tls = nbd_tls_handshake(c->s->tls, c->io.fd, c->deadline_ns, &error);
	if (c->io.tls)
		return NEXT;
	why = g_strdup(error->message);
	g_error_free(error);
	nbd_conn_fail(c, why);
	return END;
}

static co_fn enum outcome opt_starttls(struct nbd_conn *c, const struct option *o)
{
	if (!c->s->tls) {
		nbd_refuse(c, o->number, NBD_REP_POLICY, "this server has no TLS");
	} else if (o->len || c->io.tls) {
		nbd_refuse(c, o->number, NBD_REP_INVALID,
			   o->len ? "STARTTLS has no data" : "TLS is on already");
	} else {
		nbd_add_reply(c, o->number, NBD_REP_ACK, NULL, 0);
		return start_tls(c);
	}
	return NEXT;
}

static void add_info(struct nbd_conn *c, uint32_t option, enum nbd_info type, const void *data,
		     size_t len)
{
	g_autoptr(GByteArray) text = g_byte_array_new();
	uint8_t head[2];

	put_be16(head, (uint16_t)type);
	g_byte_array_append(text, head, sizeof(head));
	g_byte_array_append(text, data, (guint)len);
	nbd_add_reply(c, option, NBD_REP_INFO, text->data, text->len);
}

static void add_export_info(struct nbd_conn *c, uint32_t option, const struct nbd_export *e)
{
	uint8_t data[10];

	put_be64(data, block_length(e->node));
	put_be16(data + 8, transmission_flags(c, e));
	add_info(c, option, NBD_INFO_EXPORT, data, sizeof(data));
}

static void add_block_size(struct nbd_conn *c, uint32_t option, const struct nbd_export *e)
{
	uint64_t cluster = block_cluster_size(e->node);
	uint8_t data[12];

	put_be32(data, 1);
	put_be32(data + 4, (uint32_t)CLAMP(cluster, PREFERRED_MIN, PREFERRED_MAX));
	put_be32(data + 8, NBD_PAYLOAD_MAX);
	add_info(c, option, NBD_INFO_BLOCK_SIZE, data, sizeof(data));
}

static void add_asked_info(struct nbd_conn *c, const struct option *o, const struct nbd_export *e,
			   unsigned type)
{
	switch (type) {
	case NBD_INFO_NAME: add_info(c, o->number, NBD_INFO_NAME, e->name, strlen(e->name)); break;
	case NBD_INFO_DESCRIPTION:
		if (e->description)
			add_info(c, o->number, NBD_INFO_DESCRIPTION, e->description,
				 strlen(e->description));
		break;
	case NBD_INFO_BLOCK_SIZE: add_block_size(c, o->number, e); break;
	default: break; /* EXPORT is told in any case; others we have nothing to say about */
	}
}

/* Data: name length, name, number of kinds of information, the kinds. */
static bool check_info(const struct option *o, uint32_t *name_len, unsigned *n)
{
	if (o->len < 6)
		return false;
	*name_len = get_be32(o->data);
	if (*name_len > NBD_STRING_MAX || *name_len > o->len - 6)
		return false;
	*n = get_be16(o->data + 4 + *name_len);
	return o->len == 6 + *name_len + 2 * (size_t)*n;
}

static co_fn enum outcome opt_info_or_go(struct nbd_conn *c, const struct option *o)
{
	const struct nbd_export *e;
	uint32_t name_len, seen = 0;
	unsigned n;

	if (!check_info(o, &name_len, &n)) {
		nbd_refuse(c, o->number, NBD_REP_INVALID, "lengths that do not fit together");
		return NEXT;
	}
	e = nbd_find_export(c->s, o->data + 4, name_len);
	if (!e) {
		nbd_refuse(c, o->number, NBD_REP_UNKNOWN, "there is no such export");
		return NEXT;
	}
	if (o->number == NBD_OPT_GO && !nbd_has_place(c->s)) {
		nbd_refuse(c, o->number, NBD_REP_POLICY,
			   "as many clients as may are connected already");
		return NEXT;
	}
	add_export_info(c, o->number, e);
	for (unsigned i = 0; i < n; i++) {
		unsigned type = get_be16(o->data + 6 + name_len + 2 * i);

		if (type < 32 && !(seen & 1u << type)) {
			seen |= 1u << type;
			add_asked_info(c, o, e, type);
		}
	}
	nbd_add_reply(c, o->number, NBD_REP_ACK, NULL, 0);
	return o->number == NBD_OPT_GO ? choose(c, e) : NEXT;
}

static co_fn enum outcome opt_structured(struct nbd_conn *c, const struct option *o)
{
	if (o->len) {
		nbd_refuse(c, o->number, NBD_REP_INVALID, "it has no data");
		return NEXT;
	}
	c->structured = true;
	c->extended = c->extended || o->number == NBD_OPT_EXTENDED_HEADERS;
	nbd_add_reply(c, o->number, NBD_REP_ACK, NULL, 0);
	return NEXT;
}

static co_fn enum outcome opt_meta(struct nbd_conn *c, const struct option *o)
{
	nbd_meta_context(c, o->number, o->data, o->len);
	return NEXT;
}

static const struct {
	co_fn enum outcome (*run)(struct nbd_conn *c, const struct option *o);
	bool in_clear; /* also where TLS is required */
} options[] = {
	[NBD_OPT_EXPORT_NAME] = {opt_export_name},
	[NBD_OPT_ABORT] = {opt_abort, true},
	[NBD_OPT_LIST] = {opt_list},
	[NBD_OPT_STARTTLS] = {opt_starttls, true},
	[NBD_OPT_INFO] = {opt_info_or_go},
	[NBD_OPT_GO] = {opt_info_or_go},
	[NBD_OPT_STRUCTURED_REPLY] = {opt_structured},
	[NBD_OPT_LIST_META_CONTEXT] = {opt_meta},
	[NBD_OPT_SET_META_CONTEXT] = {opt_meta},
	[NBD_OPT_EXTENDED_HEADERS] = {opt_structured},
};

static co_fn enum outcome run_option(struct nbd_conn *c, const struct option *o)
{
	bool known = o->number < G_N_ELEMENTS(options) && options[o->number].run;

	if (c->s->tls_mode == NBD_TLS_REQUIRE && !c->io.tls &&
	    !(known && options[o->number].in_clear)) {
		if (o->number == NBD_OPT_EXPORT_NAME) {
			nbd_conn_fail(c, "it asked for an export without TLS");
			return END;
		}
		nbd_refuse(c, o->number, NBD_REP_TLS_REQUIRED, "only with TLS");
		return NEXT;
	}
	if (!known) {
		nbd_refuse(c, o->number, NBD_REP_UNSUPPORTED, "unknown option");
		return NEXT;
	}
	return options[o->number].run(c, o);
}

/* Takes one option in and answers it. */
static co_fn enum outcome next_option(struct nbd_conn *c)
{
	enum outcome outcome = NEXT;
	struct option o;
	uint32_t len;

	if (!nbd_need(c, NBD_OPTION_LEN))
		return END;
	if (get_be64(c->in + c->in_at) != NBD_OPTION_MAGIC) {
		nbd_conn_fail(c, "an option without the magic number");
		return END;
	}
	o.number = get_be32(c->in + c->in_at + NBD_OPTION_NUMBER);
	len = get_be32(c->in + c->in_at + NBD_OPTION_LENGTH);
	if (len > OPTION_DRAIN_MAX) {
		nbd_conn_fail(c, "an option with more data than any has");
		return END;
	}
	if (len > OPTION_DATA_MAX) {
		if (!nbd_take(c, NULL, NBD_OPTION_LEN + (size_t)len))
			return END;
		nbd_refuse(c, o.number, NBD_REP_TOO_BIG, "more data than this option has");
	} else {
		if (!nbd_need(c, NBD_OPTION_LEN + len))
			return END;
		o.data = c->in + c->in_at + NBD_OPTION_LEN;
		o.len = len;
		c->in_at += NBD_OPTION_LEN + len;
		outcome = run_option(c, &o);
	}
	if (nbd_stream_send_all(&c->io, c->reply->data, c->reply->len, c->deadline_ns) < 0)
		outcome = END;
	g_byte_array_set_size(c->reply, 0);
	return outcome;
}

static co_fn bool greet(struct nbd_conn *c)
{
	uint8_t greeting[GREETING_LEN];
	uint32_t flags;

	put_be64(greeting, NBD_MAGIC);
	put_be64(greeting + 8, NBD_OPTION_MAGIC);
	put_be16(greeting + 16, NBD_FIXED_NEWSTYLE | NBD_NO_ZEROES);
	if (nbd_stream_send_all(&c->io, greeting, sizeof(greeting), c->deadline_ns) < 0 ||
	    !nbd_need(c, sizeof(flags)))
		return false;
	flags = get_be32(c->in + c->in_at);
	c->in_at += sizeof(flags);
	if (flags & ~(uint32_t)(NBD_FIXED_NEWSTYLE | NBD_NO_ZEROES)) {
		nbd_conn_fail(c, "flags in answer to the greeting that mean nothing");
		return false;
	}
	c->no_zeroes = flags & NBD_NO_ZEROES;
	return true;
}

co_fn bool nbd_handshake(struct nbd_conn *c)
{
	if (!greet(c))
		return false;
	for (unsigned i = 0; i < OPTIONS_MAX; i++) {
		enum outcome outcome = next_option(c);

		if (outcome == CHOSEN)
			return true;
		if (outcome == END) {
			c->export = NULL;
			return false;
		}
	}
	nbd_conn_fail(c, "too many options");
	return false;
}
