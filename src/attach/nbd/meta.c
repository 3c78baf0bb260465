/*
 * Metadata contexts: what block status can tell of an export, by name.
 *
 * A name is "namespace:leaf". LIST takes also a namespace with its colon alone, for all that is in
 * it, and no query at all for everything; SET takes whole names, and passes over those it does not
 * know. Their ids are their places in the list, from 1 on.
 */
#include "attach/nbd/impl.h"

#include <string.h>

#include "base/bytes.h"

enum { CONTEXT_NAME_MAX = 64 };

static const char names[][CONTEXT_NAME_MAX] = {
	[NBD_CONTEXT_ALLOCATION] = "base:allocation",
	[NBD_CONTEXT_DEPTH] = "qemu:allocation-depth",
};

struct request {
	const uint8_t *name;
	uint32_t name_len, n_queries;
	const uint8_t *queries;
	size_t queries_len;
};

/* The next query, or false when it does not lie in the data. */
static bool next_query(const uint8_t **at, size_t *left, const uint8_t **text, uint32_t *len)
{
	if (*left < 4)
		return false;
	*len = get_be32(*at);
	if (*len > NBD_STRING_MAX || *len > *left - 4)
		return false;
	*text = *at + 4;
	*at += 4 + *len;
	*left -= 4 + *len;
	return true;
}

static bool parse(struct request *r, const uint8_t *data, size_t len)
{
	const uint8_t *at, *text;
	uint32_t text_len;
	size_t left;

	if (len < 8)
		return false;
	r->name_len = get_be32(data);
	if (r->name_len > NBD_STRING_MAX || r->name_len > len - 8)
		return false;
	r->name = data + 4;
	r->n_queries = get_be32(data + 4 + r->name_len);
	r->queries = at = data + 8 + r->name_len;
	r->queries_len = left = len - 8 - r->name_len;
	for (uint32_t i = 0; i < r->n_queries; i++) {
		if (!next_query(&at, &left, &text, &text_len))
			return false;
	}
	return left == 0;
}

static bool matches(const char *name, const uint8_t *query, size_t len, bool list)
{
	size_t prefix = (size_t)(strchr(name, ':') - name) + 1;

	return (len == strlen(name) || (list && len == prefix)) && !memcmp(name, query, len);
}

static bool is_asked_for(const struct request *r, const char *name, bool list)
{
	const uint8_t *at = r->queries, *text;
	size_t left = r->queries_len;
	uint32_t len;

	if (list && !r->n_queries)
		return true;
	while (next_query(&at, &left, &text, &len)) {
		if (matches(name, text, len, list))
			return true;
	}
	return false;
}

void nbd_meta_context(struct nbd_conn *c, uint32_t option, const uint8_t *data, size_t len)
{
	bool list = option == NBD_OPT_LIST_META_CONTEXT;
	const struct nbd_export *e;
	struct request r;

	if (!list) /* also one that fails ends what was chosen before */
		c->n_contexts = 0;
	if (!c->structured) {
		nbd_refuse(c, option, NBD_REP_INVALID, "only with structured replies");
		return;
	}
	if (!parse(&r, data, len)) {
		nbd_refuse(c, option, NBD_REP_INVALID, "lengths that do not fit together");
		return;
	}
	e = nbd_find_export(c->s, r.name, r.name_len);
	if (!e) {
		nbd_refuse(c, option, NBD_REP_UNKNOWN, "there is no such export");
		return;
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
		size_t name_len = strlen(names[i]);
		uint8_t reply[4 + CONTEXT_NAME_MAX];

		if (!is_asked_for(&r, names[i], list))
			continue;
		put_be32(reply, list ? 0 : i + 1);
		memcpy(reply + 4, names[i], name_len);
		nbd_add_reply(c, option, NBD_REP_META_CONTEXT, reply, 4 + name_len);
		if (!list)
			c->contexts[c->n_contexts++] =
				(struct nbd_context){(enum nbd_context_kind)i, i + 1};
	}
	if (!list)
		c->contexts_of = e;
	nbd_add_reply(c, option, NBD_REP_ACK, NULL, 0);
}
