/* outboard disc create: a blank disc, and the list of what can be bought. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/opts.h"
#include "cli/cli.h"
#include "cli/disc_type.h"
#include "cli/suggest.h"
#include "disc/disc.h"

enum { BLOCK = 2048 };

/* What is sold blank. */
static bool is_blank(const struct disc_type *t)
{
	return disc_profile_find(t->profile)->method != METHOD_ROM;
}

const struct disc_type *cli_find_type(const char *name, GError **error)
{
	const struct disc_type *type = disc_type_find(name);
	g_autoptr(GPtrArray) names = g_ptr_array_new();
	const char *near;

	if (type && type->implemented && is_blank(type))
		return type;
	if (type && is_blank(type)) {
		err_set(error, ENOTSUP,
			"--type %s: such discs cannot be recorded in this version; '--type help' "
			"lists "
			"those that can",
			name);
		return NULL;
	}
	for (type = disc_types(); type->name; type++) {
		if (is_blank(type))
			g_ptr_array_add(names, (char *)type->name);
	}
	near = suggest_nearest(name, (const char *const *)names->pdata, names->len);
	err_set(error, EINVAL, "--type %s: there is no such disc%s%s%s; '--type help' lists them",
		name, near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
	return NULL;
}

bool cli_parse_capacity(const struct disc_type *type, const char *text, uint32_t *blocks,
			GError **error)
{
	g_autofree char *least = size_text((uint64_t)type->min_blocks * BLOCK);
	g_autofree char *most = size_text((uint64_t)type->max_blocks * BLOCK);
	uint64_t bytes;

	*blocks = 0;
	if (!text)
		return true;
	if (!size_parse(text, &bytes, error))
		return err_prefix(error, "--capacity");
	if (bytes / BLOCK < type->min_blocks || bytes / BLOCK > type->max_blocks) {
		return err_set(
			error, EINVAL,
			"--capacity %s: a %s has from %u to %u blocks of 2048 bytes (%s to %s)",
			text, type->name, type->min_blocks, type->max_blocks, least, most);
	}
	*blocks = (uint32_t)(bytes / BLOCK);
	return true;
}

static json_t *types_json(void)
{
	json_t *list = json_array();

	for (const struct disc_type *t = disc_types(); t->name; t++) {
		if (!is_blank(t))
			continue;
		json_array_append_new(list,
				      json_pack("{s:s, s:s, s:I, s:I, s:i, s:b}", "name", t->name,
						"profile", disc_profile_find(t->profile)->name,
						"blocks", (json_int_t)t->blocks, "bytes",
						(json_int_t)t->blocks * BLOCK, "layers",
						(int)t->layers, "recordable", t->implemented));
	}
	return json_pack("{s:o}", "types", list);
}

static int list_types(const struct args *a)
{
	if (args_has(a, "json"))
		return cli_print_json(a, types_json());
	printf("%-12s %-28s %10s %10s\n", "TYPE", "MEDIUM", "BLOCKS", "SIZE");
	for (const struct disc_type *t = disc_types(); t->name; t++) {
		g_autofree char *size = size_text((uint64_t)t->blocks * BLOCK);

		if (!is_blank(t))
			continue;
		printf("%-12s %-28s %10u %10s%s\n", t->name, disc_profile_find(t->profile)->name,
		       t->blocks, size, t->implemented ? "" : "  (not recordable in this version)");
	}
	return cli_finish_output(a, STATUS_DONE);
}

struct create {
	const char *path;
	const struct disc_type *type;
	uint32_t blocks;
};

static co_fn int create_on_loop(const struct args *a, void *arg)
{
	const struct create *c = arg;
	uint32_t blocks = c->blocks ? c->blocks : c->type->blocks;
	GError *error = NULL;
	g_autofree char *size = NULL;

	if (!disc_create(c->path, c->type, c->blocks, args_has(a, "preallocate"), &error))
		return cli_failed(a, error);
	if (args_has(a, "json")) {
		return cli_print_json(a, json_pack("{s:s, s:s, s:I, s:I}", "disc", c->path, "type",
						   c->type->name, "blocks", (json_int_t)blocks,
						   "bytes", (json_int_t)blocks * BLOCK));
	}
	size = size_text((uint64_t)blocks * BLOCK);
	printf("%s: a blank %s of %s (%u blocks)\n", c->path,
	       disc_profile_find(c->type->profile)->name, size, blocks);
	return cli_finish_output(a, STATUS_DONE);
}

static int run_create(const struct args *a)
{
	const char *type = args_value(a, "type");
	struct create c = {.path = args_operand(a, 0)};
	GError *error = NULL;

	if (type && !strcmp(type, "help"))
		return list_types(a);
	if (!c.path)
		return cli_misused_text(a, "which FILE is to be made?");
	if (!type)
		return cli_misused_text(a, "--type is missing; '--type help' lists what there is");
	c.type = cli_find_type(type, &error);
	if (!c.type || !cli_parse_capacity(c.type, args_value(a, "capacity"), &c.blocks, &error))
		return cli_misused(a, error);
	return cli_on_loop(a, create_on_loop, &c);
}

static const struct cli_option create_options[] = {
	{"type", "TYPE", 't'}, {"capacity", "SIZE", 'c'}, {"preallocate"}, {"json"}, {NULL},
};

const struct cli_command command_disc_create = {
	.name = "disc create",
	.options = create_options,
	.operands = "FILE",
	.max_operands = 1,
	.run = run_create,
};
