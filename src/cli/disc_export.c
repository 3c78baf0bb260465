/* outboard disc export: what is on a disc, as a plain image. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/err.h"
#include "cli/cli.h"
#include "cli/progress.h"
#include "disc/verify.h"

enum { BLOCK = 2048, NUMBER_MAX = 65535 };

struct export
{
	const char *path, *out;
	unsigned session; /* 0: all */
	int32_t lba;
	uint32_t blocks;
	struct progress progress;
};

static void on_progress(void *arg, uint64_t done, uint64_t total)
{
	struct progress *p = arg;

	p->total = total;
	progress_add(p, done > p->done ? done - p->done : 0);
}

/* Beside its place first, so that an old file is replaced as a whole or not at all. */
static co_fn bool export_over(struct export *e, struct disc *d, GError **error)
{
	g_autofree char *part = g_strconcat(e->out, ".part", NULL);

	if (!disc_export(d, e->session, part, on_progress, &e->progress, error))
		return false;
	if (!rename(part, e->out))
		return true;
	err_set_errno(error, errno, "%s", e->out);
	unlink(part);
	return false;
}

static co_fn bool export_disc(struct export *e, bool replace, GError **error)
{
	struct disc *d = disc_open(e->path, 0, PROFILE_NONE, error);
	bool ok = false;

	if (!d)
		return false;
	if (!disc_session_extent(d, e->session, &e->lba, &e->blocks)) {
		err_set(error, ENOENT,
			e->session ? "%s: there is no session %u with data"
				   : "%s: nothing is recorded",
			e->path, e->session);
	} else if (!replace && !access(e->out, F_OK)) {
		err_set(error, EEXIST, "%s exists; --force replaces it", e->out);
	} else if (replace) {
		ok = export_over(e, d, error);
	} else {
		ok = disc_export(d, e->session, e->out, on_progress, &e->progress, error);
	}
	disc_close(d, false);
	return ok;
}

static co_fn int export_on_loop(const struct args *a, void *arg)
{
	struct export *e = arg;
	GError *error = NULL;
	bool ok;

	progress_init(&e->progress, "exporting", 0, args_has(a, "json"));
	ok = export_disc(e, args_has(a, "force"), &error);
	progress_done(&e->progress);
	if (!ok)
		return cli_failed(a, error);
	if (args_has(a, "json")) {
		return cli_print_json(a, json_pack("{s:s, s:s, s:i, s:I, s:I}", "disc", e->path,
						   "out", e->out, "start", (int)e->lba, "blocks",
						   (json_int_t)e->blocks, "bytes",
						   (json_int_t)e->blocks * BLOCK));
	}
	printf("%s: %u blocks from block %d on (%.1f MB)\n", e->out, e->blocks, e->lba,
	       (double)e->blocks * BLOCK / 1e6);
	return cli_finish_output(a, STATUS_DONE);
}

static int run_export(const struct args *a)
{
	struct export e = {.path = args_operand(a, 0), .out = args_operand(a, 1)};
	const char *text = args_value(a, "session");
	guint64 n = 0;

	if (text && !g_ascii_string_to_unsigned(text, 10, 1, NUMBER_MAX, &n, NULL))
		return cli_misused_text(a, "--session %s: a number from 1 to %d is needed", text,
					NUMBER_MAX);
	e.session = (unsigned)n;
	return cli_on_loop(a, export_on_loop, &e);
}

static const struct cli_option export_options[] = {
	{"session", "N"},
	{"force"},
	{"json"},
	{NULL},
};

const struct cli_command command_disc_export = {
	.name = "disc export",
	.options = export_options,
	.operands = "FILE OUT",
	.min_operands = 2,
	.max_operands = 2,
	.run = run_export,
};
