/*
 * The descriptor: lines of key=value, and of extents, which begin with a word for the access.
 * Comments and the order of lines mean nothing. Pure, see format.h.
 */
#include "block/vmdk/format.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/err.h"

enum { HEX = 16, DECIMAL = 10, CID_DIGITS = 8, MAX_NAME = 4095, SHOWN = 60 };

struct reader {
	const char *text, *p, *end; /* what is left of the line */
	uint64_t at;                /* offset of the text in its file */
	const char *line;
	GError **error;
	bool has_version, has_cid, has_parent_cid;
};

static bool bad(const struct reader *r, const char *what)
{
	size_t n = MIN((size_t)(r->end - r->line), (size_t)SHOWN);
	g_autofree char *part = g_strndup(r->line, n);
	g_autofree char *shown = g_strescape(part, NULL);

	return err_set(r->error, EINVAL,
		       "vmdk: the descriptor's line at offset %" PRIu64 ", \"%s\": %s",
		       r->at + (uint64_t)(r->line - r->text), shown, what);
}

static void skip_blanks(struct reader *r)
{
	while (r->p < r->end && (*r->p == ' ' || *r->p == '\t'))
		r->p++;
}

/* Up to the next blank. */
static size_t word_len(const struct reader *r)
{
	size_t n = 0;

	while (r->p + n < r->end && r->p[n] != ' ' && r->p[n] != '\t')
		n++;
	return n;
}

static bool is_word(const struct reader *r, size_t n, const char *word)
{
	return n == strlen(word) && !g_ascii_strncasecmp(r->p, word, n);
}

/* n digits and nothing else. */
static bool number(const char *p, size_t n, unsigned base, uint64_t max, uint64_t *value)
{
	g_autofree char *digits = g_strndup(p, n);

	return g_ascii_string_to_unsigned(digits, base, 0, max, value, NULL);
}

/* A number of sectors. */
static bool read_sectors(struct reader *r, uint64_t *value)
{
	size_t n = word_len(r);

	if (!number(r->p, n, DECIMAL, VMDK_MAX_BYTES / VMDK_SECTOR, value))
		return false;
	r->p += n;
	skip_blanks(r);
	return true;
}

static bool read_name(struct reader *r, char **name)
{
	const char *quote;

	if (r->p == r->end || *r->p != '"')
		return false;
	quote = memchr(r->p + 1, '"', (size_t)(r->end - r->p - 1));
	if (!quote || quote == r->p + 1 || quote - r->p > MAX_NAME)
		return false;
	*name = g_strndup(r->p + 1, (size_t)(quote - r->p - 1));
	r->p = quote + 1;
	skip_blanks(r);
	return true;
}

static bool read_kind(struct reader *r, struct vmdk_line *l)
{
	static const char *const refused[] = {"VMFSSPARSE", "SESPARSE",   "VMFSRDM",
					      "VMFSRAW",    "VMFSTHIN2D", NULL};
	size_t n = word_len(r);

	for (int k = VMDK_FLAT; k <= VMDK_ZERO; k++) {
		if (is_word(r, n, vmdk_kind_name(k))) {
			l->kind = k;
			r->p += n;
			skip_blanks(r);
			return true;
		}
	}
	for (unsigned i = 0; refused[i]; i++) {
		if (is_word(r, n, refused[i]))
			return bad(r, "extents of this type are not supported");
	}
	return bad(r, "the type of the extent must be FLAT, VMFS, SPARSE or ZERO");
}

/* Behind the word for the access. */
static bool read_extent(struct reader *r, struct vmdk_text *t, bool writable)
{
	struct vmdk_line l = {.writable = writable};

	if (t->lines->len >= VMDK_MAX_EXTENTS)
		return bad(r, "there are more than 4096 extents");
	l.sectors_at = (size_t)(r->p - r->text);
	l.sectors_len = word_len(r);
	if (!read_sectors(r, &l.sectors) || l.sectors == 0)
		return bad(r, "the number of sectors must be 1 to 2^53");
	if (!read_kind(r, &l))
		return false;
	if (l.kind != VMDK_ZERO && !read_name(r, &l.name))
		return bad(r, "the name of the file must stand in quotes, at most 4094 bytes");
	if (r->p < r->end && l.kind != VMDK_ZERO && !read_sectors(r, &l.off)) {
		g_free(l.name);
		return bad(r, "the offset must be a number of sectors, up to 2^53");
	}
	if (l.kind == VMDK_SPARSE && l.off) {
		g_free(l.name);
		return bad(r, "a sparse extent begins at offset 0 of its file");
	}
	g_array_append_val(t->lines, l);
	return true;
}

static bool set_once(const struct reader *r, char **to, const char *value, size_t n)
{
	if (*to)
		return bad(r, "stands there twice");
	*to = g_strndup(value, n);
	return true;
}

static bool read_cid(const struct reader *r, bool *had, const char *v, size_t n, uint32_t *cid)
{
	uint64_t value;

	if (*had)
		return bad(r, "stands there twice");
	if (n < 1 || n > CID_DIGITS || !number(v, n, HEX, UINT32_MAX, &value))
		return bad(r, "must be 1 to 8 hexadecimal digits");
	*cid = (uint32_t)value;
	*had = true;
	return true;
}

static bool read_version(struct reader *r, const char *v, size_t n)
{
	if (r->has_version)
		return bad(r, "stands there twice");
	r->has_version = true;
	return (n == 1 && *v >= '1' && *v <= '3') || bad(r, "the version must be 1, 2 or 3");
}

static bool set_value(struct reader *r, struct vmdk_text *t, size_t key, const char *v, size_t n)
{
	if (is_word(r, key, "version"))
		return read_version(r, v, n);
	if (is_word(r, key, "CID")) {
		t->cid_at = (size_t)(v - r->text);
		t->cid_len = n;
		return read_cid(r, &r->has_cid, v, n, &t->cid);
	}
	if (is_word(r, key, "parentCID"))
		return read_cid(r, &r->has_parent_cid, v, n, &t->parent_cid);
	if (is_word(r, key, "createType"))
		return set_once(r, &t->type, v, n);
	if (is_word(r, key, "parentFileNameHint")) {
		if (n == 0 || n > MAX_NAME)
			return bad(r, "the name must have 1 to 4095 bytes");
		return set_once(r, &t->parent, v, n);
	}
	if (is_word(r, key, "ddb.geometry.cylinders")) {
		t->cylinders_at = (size_t)(v - r->text);
		t->cylinders_len = n;
	} else if (is_word(r, key, "ddb.geometry.heads")) {
		number(v, n, DECIMAL, UINT8_MAX, &t->heads);
	} else if (is_word(r, key, "ddb.geometry.sectors")) {
		number(v, n, DECIMAL, UINT8_MAX, &t->track);
	}
	return true;
}

/* What is not in quotes ends with its last character that is no blank. */
static bool read_pair(struct reader *r, struct vmdk_text *t, const char *equals)
{
	const char *v = equals + 1, *end = r->end;
	size_t key = (size_t)(equals - r->p);

	while (key > 0 && (r->p[key - 1] == ' ' || r->p[key - 1] == '\t'))
		key--;
	while (v < end && (*v == ' ' || *v == '\t'))
		v++;
	while (end > v && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	if (v < end && *v == '"') {
		if (end - v < 2 || end[-1] != '"')
			return bad(r, "the quote does not end");
		v++;
		end--;
	}
	return set_value(r, t, key, v, (size_t)(end - v));
}

static bool read_line(struct reader *r, struct vmdk_text *t)
{
	static const char *const access[] = {"RW", "RDONLY", "NOACCESS", NULL};
	const char *equals;
	size_t n;

	skip_blanks(r);
	if (r->p == r->end || *r->p == '#')
		return true;
	n = word_len(r);
	for (unsigned i = 0; access[i]; i++) {
		if (!is_word(r, n, access[i]))
			continue;
		if (i == 2)
			return bad(r, "an extent without access cannot be read");
		r->p += n;
		skip_blanks(r);
		return read_extent(r, t, i == 0);
	}
	equals = memchr(r->p, '=', (size_t)(r->end - r->p));
	/* What others put there besides is theirs. */
	return !equals || read_pair(r, t, equals);
}

static bool complete(const struct reader *r, const struct vmdk_text *t)
{
	const char *lacks = !r->has_version                                 ? "version"
			    : !r->has_cid                                   ? "CID"
			    : !t->type                                      ? "createType"
			    : !t->lines->len                                ? "extents"
			    : t->parent && !r->has_parent_cid               ? "parentCID"
			    : !t->parent && t->parent_cid != VMDK_NO_PARENT ? "parentFileNameHint"
									    : NULL;

	if (!lacks)
		return true;
	return err_set(r->error, EINVAL, "vmdk: the descriptor at offset %" PRIu64 " has no %s",
		       r->at, lacks);
}

static void clear_line(void *arg)
{
	struct vmdk_line *l = arg;

	g_free(l->name);
}

bool vmdk_parse_text(const char *p, size_t len, uint64_t at, struct vmdk_text *t, GError **error)
{
	GError *why = NULL;
	struct reader r = {.text = p, .p = p, .at = at, .error = &why};
	const char *end = len ? p + strnlen(p, len) : p;
	bool ok = true;

	*t = (struct vmdk_text){.parent_cid = VMDK_NO_PARENT};
	t->lines = g_array_new(FALSE, TRUE, sizeof(struct vmdk_line));
	g_array_set_clear_func(t->lines, clear_line);
	while (ok && r.p < end) {
		const char *newline = memchr(r.p, '\n', (size_t)(end - r.p));
		const char *next = newline ? newline + 1 : end;

		r.line = r.p;
		r.end = newline ? newline : end;
		if (r.end > r.line && r.end[-1] == '\r')
			r.end--;
		ok = read_line(&r, t);
		r.p = next;
	}
	ok = ok && complete(&r, t);
	if (!ok)
		g_propagate_error(error, why);
	return ok;
}

void vmdk_text_fini(struct vmdk_text *t)
{
	g_free(t->type);
	g_free(t->parent);
	if (t->lines)
		g_array_unref(t->lines);
	*t = (struct vmdk_text){0};
}

const char *vmdk_kind_name(enum vmdk_kind kind)
{
	static const char *const names[] = {"FLAT", "VMFS", "SPARSE", "ZERO"};

	return names[kind];
}
