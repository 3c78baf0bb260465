/* outboard image check: whether the metadata of an image are consistent, and repairing them. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "cli/image.h"

static void print_finding(const char *text, void *arg)
{
	(void)arg;
	printf("%s\n", text);
}

static void print_result(const struct block_check *r)
{
	if (r->corruptions_fixed || r->leaks_fixed)
		printf("%" PRIu64 " errors and %" PRIu64 " leaked clusters were repaired.\n",
		       r->corruptions_fixed, r->leaks_fixed);
	if (r->corruptions)
		printf("%" PRIu64 " errors were found on the image.\n", r->corruptions);
	if (r->leaks) {
		printf("%" PRIu64 " leaked clusters were found on the image: space is lost, no "
		       "data.\n",
		       r->leaks);
	}
	if (!r->corruptions && !r->leaks)
		printf("No errors were found on the image.\n");
	if (r->total_clusters) {
		printf("%" PRIu64 "/%" PRIu64 " = %.2f%% allocated, %.2f%% fragmented, %.2f%% "
		       "compressed clusters\n",
		       r->allocated_clusters, r->total_clusters,
		       100.0 * (double)r->allocated_clusters / (double)r->total_clusters,
		       r->allocated_clusters ? 100.0 * (double)r->fragmented_clusters /
						       (double)r->allocated_clusters
					     : 0.0,
		       r->allocated_clusters ? 100.0 * (double)r->compressed_clusters /
						       (double)r->allocated_clusters
					     : 0.0);
	}
	printf("Image end offset: %" PRIu64 "\n", r->end_offset);
}

static json_t *result_json(const char *name, const char *format, const struct block_check *r)
{
	g_autofree char *shown = g_filename_display_name(name);

	return json_pack(
		"{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "filename", shown,
		"format", format, "check-errors", (json_int_t)0, "corruptions",
		(json_int_t)r->corruptions, "leaks", (json_int_t)r->leaks, "corruptions-fixed",
		(json_int_t)r->corruptions_fixed, "leaks-fixed", (json_int_t)r->leaks_fixed,
		"total-clusters", (json_int_t)r->total_clusters, "allocated-clusters",
		(json_int_t)r->allocated_clusters, "fragmented-clusters",
		(json_int_t)r->fragmented_clusters, "compressed-clusters",
		(json_int_t)r->compressed_clusters, "image-end-offset", (json_int_t)r->end_offset);
}

static co_fn int check_on_loop(const struct args *a, void *arg)
{
	const char *repair = args_value(a, "repair");
	unsigned fix = !repair                  ? 0
		       : !strcmp(repair, "all") ? BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS
						: BLOCK_FIX_LEAKS;
	unsigned flags = BLOCK_HEADER_ONLY | BLOCK_UNSHARE_WRITE |
			 (fix ? BLOCK_RDWR | BLOCK_DAMAGED_TOO : 0);
	struct block_check r = {.tell = image_wants_json(a) ? NULL : print_finding};
	GError *error = NULL;
	struct block_node *node = image_open(a, args_operand(a, 0), NULL, flags, &error);
	int status;

	(void)arg;
	if (!node)
		return cli_failed(a, error);
	if (!block_check(node, fix, &r, &error)) {
		block_unref(node);
		return cli_failed(a, error);
	}
	status = r.corruptions || r.leaks ? STATUS_FAILED : STATUS_DONE;
	if (!image_wants_json(a)) {
		print_result(&r);
		status = cli_finish_output(a, status);
	} else if (cli_print_json(a, result_json(block_name(node), block_driver_name(node), &r)) !=
		   STATUS_DONE) {
		status = STATUS_FAILED;
	}
	block_unref(node);
	return status;
}

static int run_check(const struct args *a)
{
	return cli_on_loop(a, check_on_loop, NULL);
}

static const struct cli_option check_options[] = {
	IMAGE_OPTIONS,
	{"repair", "WHAT", 'r', 0, "leaks|all"},
	{"output", "FORM", 0, 0, "human|json"},
	{NULL},
};

const struct cli_command command_image_check = {
	.name = "image check",
	.options = check_options,
	.operands = "FILE",
	.min_operands = 1,
	.max_operands = 1,
	.run = run_check,
};
