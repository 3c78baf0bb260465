/* outboard image snapshot: the internal snapshots of an image. */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "base/err.h"
#include "base/opts.h"
#include "cli/image.h"

static int64_t number(const json_t *j, const char *key)
{
	return json_integer_value(json_object_get(j, key));
}

static void print_snapshot(const json_t *s)
{
	g_autofree char *size = size_text((uint64_t)number(s, "vm-state-size"));
	time_t when = (time_t)number(s, "date-sec");
	int64_t clock = number(s, "vm-clock-sec");
	char date[32] = "", run[32];
	struct tm tm;

	if (localtime_r(&when, &tm))
		strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &tm);
	snprintf(run, sizeof(run), "%02" PRId64 ":%02d:%02d.%03d", clock / 3600,
		 (int)(clock / 60 % 60), (int)(clock % 60),
		 (int)(number(s, "vm-clock-nsec") / 1000000));
	printf("%-9s %-16s %8s%20s%13s\n", json_string_value(json_object_get(s, "id")),
	       json_string_value(json_object_get(s, "name")), size, date, run);
}

void image_print_snapshots(const json_t *list)
{
	const json_t *s;
	size_t i;

	printf("Snapshot list:\n%-10s%-17s%8s%20s%13s\n", "ID", "TAG", "VM SIZE", "DATE",
	       "VM CLOCK");
	json_array_foreach(list, i, s) print_snapshot(s);
}

static co_fn int list(const struct args *a)
{
	GError *error = NULL;
	struct block_node *node =
		image_open(a, args_operand(a, 0), NULL, BLOCK_HEADER_ONLY, &error);
	json_t *info, *snapshots;

	if (!node)
		return cli_failed(a, error);
	info = block_info(node);
	snapshots = json_incref(json_object_get(info, "snapshots"));
	json_decref(info);
	block_unref(node);
	if (image_wants_json(a))
		return cli_print_json(a, snapshots ? snapshots : json_array());
	if (json_array_size(snapshots))
		image_print_snapshots(snapshots);
	json_decref(snapshots);
	return cli_finish_output(a, STATUS_DONE);
}

static co_fn int snapshot_on_loop(const struct args *a, void *arg)
{
	static const char *const names[] = {"create", "apply", "delete"};
	enum block_snapshot_op op = BLOCK_SNAP_CREATE;
	struct block_node *node;
	GError *error = NULL;
	bool ok = false;

	(void)arg;
	while (op < BLOCK_SNAP_LOAD && !args_has(a, names[op]))
		op++;
	if (op == BLOCK_SNAP_LOAD)
		return list(a);
	node = image_open(a, args_operand(a, 0), NULL, BLOCK_RDWR | BLOCK_NO_BACKING, &error);
	if (node)
		ok = block_snapshot(node, op, args_value(a, names[op]), &error);
	block_unref(node);
	return ok ? cli_finish_output(a, STATUS_DONE) : cli_failed(a, error);
}

static int run_snapshot(const struct args *a)
{
	unsigned n = args_has(a, "list") + args_count(a, "create") + args_count(a, "apply") +
		     args_count(a, "delete");

	if (n > 1)
		return cli_misused_text(a,
					"one of --list, --create, --apply and --delete at a time");
	return cli_on_loop(a, snapshot_on_loop, NULL);
}

static const struct cli_option snapshot_options[] = {
	IMAGE_OPTIONS,           {"list", NULL, 'l'},
	{"create", "NAME", 'c'}, {"apply", "NAME", 'a'},
	{"delete", "NAME", 'd'}, {"output", "FORM", 0, 0, "human|json"},
	{"quiet", NULL, 'q'},    {NULL},
};

const struct cli_command command_image_snapshot = {
	.name = "image snapshot",
	.options = snapshot_options,
	.operands = "FILE",
	.min_operands = 1,
	.max_operands = 1,
	.run = run_snapshot,
};
