/* outboard image info: what an image says of itself. Nothing that it names is opened. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/opts.h"
#include "cli/image.h"

enum { STAT_BLOCK = 512 };

static json_t *info_json(const struct block_node *node)
{
	g_autofree char *shown = g_filename_display_name(block_name(node));
	json_t *j =
		json_pack("{s:s, s:s, s:I}", "filename", shown, "format", block_driver_name(node),
			  "virtual-size", (json_int_t)block_length(node));
	json_t *specific = block_info(node);
	struct stat st;

	if (!stat(block_name(node), &st))
		json_object_set_new(j, "actual-size",
				    json_integer((json_int_t)st.st_blocks * STAT_BLOCK));
	if (block_cluster_size(node))
		json_object_set_new(j, "cluster-size",
				    json_integer((json_int_t)block_cluster_size(node)));
	if (block_backing_name(node)) {
		g_autofree char *name = g_utf8_make_valid(block_backing_name(node), -1);

		json_object_set_new(j, "backing-filename", json_string(name));
	}
	if (block_backing_format(node)) {
		g_autofree char *name = g_utf8_make_valid(block_backing_format(node), -1);

		json_object_set_new(j, "backing-filename-format", json_string(name));
	}
	if (specific) {
		json_object_set(j, "dirty-flag", json_object_get(specific, "dirty"));
		json_object_del(specific, "dirty");
		if (json_array_size(json_object_get(specific, "snapshots")))
			json_object_set(j, "snapshots", json_object_get(specific, "snapshots"));
		json_object_del(specific, "snapshots");
		json_object_set_new(j, "format-specific", specific);
	}
	return j;
}

static void print_size(const char *what, const json_t *j, const char *key)
{
	json_int_t bytes = json_integer_value(json_object_get(j, key));
	g_autofree char *size = size_text((uint64_t)bytes);

	if (json_object_get(j, key))
		printf("%s: %s (%" JSON_INTEGER_FORMAT " bytes)\n", what, size, bytes);
}

static void print_text(const char *what, const json_t *j, const char *key)
{
	if (json_object_get(j, key))
		printf("%s: %s\n", what, json_string_value(json_object_get(j, key)));
}

static void print_bitmaps(const json_t *list)
{
	const json_t *b, *flag;
	size_t i, k;

	json_array_foreach(list, i, b)
	{
		printf("    bitmap: %s, granularity %" JSON_INTEGER_FORMAT,
		       json_string_value(json_object_get(b, "name")),
		       json_integer_value(json_object_get(b, "granularity")));
		json_array_foreach(json_object_get(b, "flags"), k, flag)
			printf(", %s", json_string_value(flag));
		printf("\n");
	}
}

static void print_specific(const json_t *j)
{
	const json_t *value;
	const char *key;

	printf("format specific information:\n");
	json_object_foreach(json_object_get((json_t *)j, "data"), key, value)
	{
		if (json_is_object(value))
			printf("    %s: %s\n", key,
			       json_string_value(json_object_get(value, "format")));
		else if (json_is_array(value))
			print_bitmaps(value);
		else if (json_is_string(value))
			printf("    %s: %s\n", key, json_string_value(value));
		else if (json_is_integer(value)) {
			printf("    %s: %" JSON_INTEGER_FORMAT "\n", key,
			       json_integer_value(value));
		} else {
			printf("    %s: %s\n", key, json_is_true(value) ? "true" : "false");
		}
	}
}

static void print_info(const json_t *j)
{
	const json_t *snapshots = json_object_get(j, "snapshots");

	print_text("image", j, "filename");
	print_text("file format", j, "format");
	print_size("virtual size", j, "virtual-size");
	print_size("disk size", j, "actual-size");
	if (json_object_get(j, "cluster-size"))
		printf("cluster_size: %" JSON_INTEGER_FORMAT "\n",
		       json_integer_value(json_object_get(j, "cluster-size")));
	print_text("backing file", j, "backing-filename");
	print_text("backing file format", j, "backing-filename-format");
	if (snapshots)
		image_print_snapshots(snapshots);
	if (json_object_get(j, "format-specific"))
		print_specific(json_object_get(j, "format-specific"));
}

static co_fn int info_on_loop(const struct args *a, void *arg)
{
	GError *error = NULL;
	struct block_node *node =
		image_open(a, args_operand(a, 0), NULL, BLOCK_HEADER_ONLY | BLOCK_NO_LOCK, &error);
	json_t *j;

	(void)arg;
	if (!node)
		return cli_failed(a, error);
	j = info_json(node);
	block_unref(node);
	if (image_wants_json(a))
		return cli_print_json(a, j);
	print_info(j);
	json_decref(j);
	return cli_finish_output(a, STATUS_DONE);
}

static int run_info(const struct args *a)
{
	return cli_on_loop(a, info_on_loop, NULL);
}

static const struct cli_option info_options[] = {
	IMAGE_OPTIONS,
	{"output", "FORM", 0, 0, "human|json"},
	{NULL},
};

const struct cli_command command_image_info = {
	.name = "image info",
	.options = info_options,
	.operands = "FILE",
	.min_operands = 1,
	.max_operands = 1,
	.run = run_info,
};
