/* outboard image map: where the bytes of an image are, through its chain of backing files. */
#include <inttypes.h>
#include <stdio.h>

#include "base/err.h"
#include "cli/image.h"

struct piece {
	uint64_t off;
	struct block_where w;
};

static bool joins(const struct piece *a, const struct piece *b)
{
	return a->w.status == b->w.status && a->w.depth == b->w.depth &&
	       a->w.present == b->w.present && a->w.compressed == b->w.compressed &&
	       a->w.file == b->w.file && (!a->w.file || a->w.off + a->w.run == b->w.off);
}

static json_t *piece_json(const struct piece *p)
{
	json_t *j = json_pack("{s:I, s:I, s:i, s:b, s:b, s:b, s:b}", "start", (json_int_t)p->off,
			      "length", (json_int_t)p->w.run, "depth", (int)p->w.depth, "present",
			      p->w.present, "zero", !!(p->w.status & BLOCK_ZERO), "data",
			      !!(p->w.status & BLOCK_DATA), "compressed", p->w.compressed);

	if (p->w.file)
		json_object_set_new(j, "offset", json_integer((json_int_t)p->w.off));
	return j;
}

static void put_piece(const struct piece *p, json_t *list)
{
	g_autofree char *name = NULL;

	if (list) {
		json_array_append_new(list, piece_json(p));
	} else if (p->w.status & BLOCK_DATA && p->w.file) {
		name = g_filename_display_name(block_name(p->w.file));
		printf("%#-18" PRIx64 "%#-18" PRIx64 "%#-18" PRIx64 "%s\n", p->off, p->w.run,
		       p->w.off, name);
	} else if (p->w.status & BLOCK_DATA) {
		printf("%#-18" PRIx64 "%#-18" PRIx64 "%-18s\n", p->off, p->w.run, "compressed");
	}
}

static co_fn int walk(struct block_node *node, json_t *list)
{
	uint64_t len = block_length(node), off = 0;
	struct piece last = {0}, next = {0};
	int res = 0;

	while (off < len) {
		next.off = off;
		res = block_find(node, off, len - off, &next.w);
		if (res < 0)
			return res;
		off += next.w.run;
		if (last.w.run && joins(&last, &next)) {
			last.w.run += next.w.run;
			continue;
		}
		if (last.w.run)
			put_piece(&last, list);
		last = next;
	}
	if (last.w.run)
		put_piece(&last, list);
	return 0;
}

static co_fn int map_on_loop(const struct args *a, void *arg)
{
	GError *error = NULL;
	struct block_node *node =
		image_open(a, args_operand(a, 0), NULL, BLOCK_UNSHARE_WRITE, &error);
	json_t *list = image_wants_json(a) ? json_array() : NULL;
	int res;

	(void)arg;
	if (!node)
		return cli_failed(a, error);
	if (!list)
		printf("%-18s%-18s%-18s%s\n", "Offset", "Length", "Mapped to", "File");
	res = walk(node, list);
	if (res < 0)
		err_set_errno(&error, -res, "%s: its map cannot be read", block_name(node));
	block_unref(node);
	if (res < 0) {
		json_decref(list);
		return cli_failed(a, error);
	}
	return list ? cli_print_json(a, list) : cli_finish_output(a, STATUS_DONE);
}

static int run_map(const struct args *a)
{
	return cli_on_loop(a, map_on_loop, NULL);
}

static const struct cli_option map_options[] = {
	IMAGE_OPTIONS,
	{"output", "FORM", 0, 0, "human|json"},
	{NULL},
};

const struct cli_command command_image_map = {
	.name = "image map",
	.options = map_options,
	.operands = "FILE",
	.min_operands = 1,
	.max_operands = 1,
	.run = run_map,
};
