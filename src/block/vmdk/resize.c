/*
 * Another size: a disk of one flat extent can grow. The file first; then the descriptor says so, in
 * one write of its text.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "block/vmdk/vmdk.h"

/* A piece of the text replaced by a number. */
static void replace(GString *text, size_t at, size_t len, uint64_t value)
{
	g_autofree char *digits = g_strdup_printf("%" PRIu64, value);

	g_string_erase(text, (gssize)at, (gssize)len);
	g_string_insert(text, (gssize)at, digits);
}

static GString *new_text(const struct vmdk *v, uint64_t sectors)
{
	const struct vmdk_text *t = &v->text;
	const struct vmdk_line *l = &g_array_index(t->lines, struct vmdk_line, 0);
	GString *text = g_string_new_len(v->raw, (gssize)strnlen(v->raw, v->raw_len));
	uint64_t cylinder = t->heads * t->track;

	/* From behind, so that what comes before stays in its place. */
	if (cylinder && t->cylinders_len && t->cylinders_at > l->sectors_at)
		replace(text, t->cylinders_at, t->cylinders_len, sectors / cylinder);
	replace(text, l->sectors_at, l->sectors_len, sectors);
	if (cylinder && t->cylinders_len && t->cylinders_at < l->sectors_at)
		replace(text, t->cylinders_at, t->cylinders_len, sectors / cylinder);
	while (text->len < strnlen(v->raw, v->raw_len))
		g_string_append_c(text, '\n');
	return text;
}

/* The text and what is known of it; with what was read it must stay readable. */
static co_fn int set_text(struct block_node *node, const GString *new)
{
	struct vmdk *v = node->state;
	struct vmdk_text parsed;
	char *copy;
	int res = 0;

	if (!vmdk_parse_text(new->str, new->len, v->text_at, &parsed, NULL)) {
		vmdk_text_fini(&parsed);
		return -EINVAL;
	}
	if (new->len > node->file->length)
		res = block_truncate(node->file, new->len);
	if (res == 0)
		res = block_pwrite(node->file, v->text_at, new->str, new->len, 0);
	if (res == 0)
		res = block_flush(node->file);
	if (res < 0) {
		vmdk_text_fini(&parsed);
		return res;
	}
	copy = g_memdup2(new->str, new->len);
	g_free(v->raw);
	v->raw = copy;
	v->raw_len = new->len;
	vmdk_text_fini(&v->text);
	v->text = parsed;
	return 0;
}

static co_fn int grow(struct block_node *node, uint64_t len)
{
	struct vmdk *v = node->state;
	struct vmdk_extent *e = &v->extents[0];
	uint64_t end = e->off + e->len, there = e->file->length;
	GString *text;
	int res = 0;

	if (there > end) /* what was behind the disk is no part of it */
		res = block_discard_zero(e->file, end, MIN(there, e->off + len) - end);
	if (res == 0 && e->off + len > there)
		res = block_truncate(e->file, e->off + len);
	if (res == 0)
		res = block_flush(e->file);
	if (res < 0)
		return res;
	text = new_text(v, len / VMDK_SECTOR);
	res = set_text(node, text);
	g_string_free(text, TRUE);
	if (res == 0)
		e->len = len;
	return res;
}

co_fn int vmdk_truncate(struct block_node *node, uint64_t len)
{
	struct vmdk *v = node->state;
	int res;

	if (len % VMDK_SECTOR || len > VMDK_MAX_BYTES)
		return -EINVAL;
	if (v->n != 1 || vmdk_is_sparse(&v->extents[0]) || len < node->length)
		return -ENOTSUP;
	res = vmdk_touch(node);
	if (res < 0)
		return res;
	co_mutex_lock(&v->lock);
	res = len > node->length ? grow(node, len) : 0;
	co_mutex_unlock(&v->lock);
	return res;
}
