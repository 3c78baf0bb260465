/* outboard disc burn: an image onto a disc, through the same drive that guests see. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "cli/burner.h"
#include "cli/cli.h"

enum { STATUS_INTERRUPTED = 130, SPEED_MAX = 10000 };

struct burn {
	const struct args *args;
	const char *disc, *image;
	bool resume, close_only, interrupted;
	struct drive *drive;
	struct initiator initiator;
	struct burner burner;
	struct progress progress;
	bool announced;
};

static void on_signal(int signo, void *arg)
{
	struct burn *b = arg;

	(void)signo;
	b->interrupted = true;
}

/* The table of options has checked the name. */
static enum burn_mode mode_of(const char *text)
{
	static const struct {
		const char *name;
		enum burn_mode mode;
	} modes[] = {{"tao", BURN_TAO},
		     {"sao", BURN_SAO},
		     {"dao", BURN_DAO},
		     {"incremental", BURN_INCREMENTAL}};

	for (unsigned i = 0; text && i < G_N_ELEMENTS(modes); i++) {
		if (!strcmp(modes[i].name, text))
			return modes[i].mode;
	}
	return BURN_AUTO;
}

static bool parse_speed(const struct args *a, unsigned *speed, GError **error)
{
	const char *text = args_value(a, "speed");
	guint64 n;

	if (!text)
		return true;
	if (!g_ascii_string_to_unsigned(text, 10, 1, SPEED_MAX, &n, NULL))
		return err_set(error, EINVAL, "--speed %s: a whole number from 1 to %d is needed",
			       text, SPEED_MAX);
	*speed = (unsigned)n;
	return true;
}

/* The disc in a drive of our own, and an initiator on it. */
static co_fn bool open_drive(struct burn *b, GError **error)
{
	struct drive_options o = {.id = "burner", .trace = log_enabled(LOG_DEBUG)};
	struct disc *disc = disc_open(b->disc, DISC_OPEN_RDWR, PROFILE_NONE, error);

	if (!disc)
		return false;
	b->drive = drive_new(co_loop(), &o, error);
	if (!b->drive) {
		disc_close(disc, false);
		return false;
	}
	if (!drive_insert(b->drive, disc, true, error))
		return false;
	initiator_init(&b->initiator, b->drive, "burn");
	b->burner.drive = &b->initiator;
	b->burner.interrupted = &b->interrupted;
	return true;
}

static co_fn bool check_resume(struct burn *b, struct source *image, bool quiet, GError **error)
{
	struct progress progress;
	bool ok;

	source_start(image, 0);
	progress_init(&progress, "comparing", (uint64_t)b->burner.skip * SOURCE_BLOCK, quiet);
	ok = burner_check_resume(&b->burner, image, &progress, error);
	progress_done(&progress);
	return ok;
}

static co_fn bool burn_image(struct burn *b, bool quiet, GError **error)
{
	struct source *image = source_open(b->image, error);
	bool ok;

	if (!image)
		return false;
	ok = burner_plan(&b->burner, source_blocks(image), b->resume, error);
	if (ok && b->resume) {
		ok = check_resume(b, image, quiet, error);
		source_close(image);
		image = ok ? source_open(b->image, error) : NULL;
		ok = image;
	}
	if (ok) {
		source_start(image, b->burner.skip);
		progress_init(&b->progress, "burning",
			      (uint64_t)(b->burner.blocks - b->burner.skip) * SOURCE_BLOCK, quiet);
		b->announced = true;
		ok = burner_write(&b->burner, image, &b->progress, error);
		progress_done(&b->progress);
	}
	source_close(image);
	if (!ok)
		return err_prefix(error, "%s", b->disc);
	return burner_close(&b->burner, error) ||
	       err_prefix(error, "%s: all data are on it, closing failed", b->disc);
}

static co_fn bool close_disc(struct burn *b, GError **error)
{
	return (burner_plan_close(&b->burner, error) && burner_close(&b->burner, error)) ||
	       err_prefix(error, "%s", b->disc);
}

static const char *status_word(struct burn *b)
{
	static const char *const words[] = {"blank", "open for more", "complete", "writable"};
	struct disc *disc = drive_disc(b->drive);

	return disc ? words[disc_get_state(disc)->status & 3] : "gone";
}

static int report(struct burn *b)
{
	const struct burner *k = &b->burner;

	if (args_has(b->args, "json") && b->close_only)
		return cli_print_json(b->args, json_pack("{s:s, s:s}", "disc", b->disc, "status",
							 status_word(b)));
	if (args_has(b->args, "json")) {
		return cli_print_json(
			b->args,
			json_pack("{s:s, s:s, s:s, s:i, s:i, s:I, s:I, s:f, s:f}", "disc", b->disc,
				  "image", b->image, "status", status_word(b), "track",
				  (int)k->track.number, "start", (int)k->first_lba, "blocks",
				  (json_int_t)k->blocks, "bytes", (json_int_t)b->progress.done,
				  "seconds", progress_seconds(&b->progress), "mb_per_s",
				  progress_mb_per_s(&b->progress)));
	}
	if (b->close_only) {
		printf("%s: %s\n", b->disc, status_word(b));
		return cli_finish_output(b->args, STATUS_DONE);
	}
	printf("burned %.1f MB in %.2f s (%.1f MB/s, %.0fx %s), from block %d on; the disc is %s\n",
	       (double)b->progress.done / 1e6, progress_seconds(&b->progress),
	       progress_mb_per_s(&b->progress),
	       progress_mb_per_s(&b->progress) * 1000 / k->medium->speed_1x_kb, k->medium->name,
	       k->first_lba, status_word(b));
	return cli_finish_output(b->args, STATUS_DONE);
}

static int fail(struct burn *b, GError *error)
{
	bool stopped = g_error_matches(error, OB_ERROR, ECANCELED);
	int status = cli_failed(b->args, error);

	if (!b->announced)
		return status;
	fputs("The disc is consistent. ", stderr);
	if (!burner_can_resume(&b->burner)) {
		fprintf(stderr, "Close it as it is with 'outboard disc burn --close %s'.\n",
			b->disc);
	} else {
		fprintf(stderr,
			"Go on with 'outboard disc burn --resume %s %s',\n"
			"or close it as it is with 'outboard disc burn --close %s'.\n",
			b->disc, b->image, b->disc);
	}
	return stopped ? STATUS_INTERRUPTED : status;
}

static co_fn int burn_on_loop(const struct args *a, void *arg)
{
	struct burn *b = arg;
	bool quiet = args_has(a, "quiet") || args_has(a, "json");
	GError *error = NULL;
	int status;
	bool ok;

	ok = loop_on_signal(co_loop(), SIGINT, on_signal, b, &error) &&
	     loop_on_signal(co_loop(), SIGTERM, on_signal, b, &error) && open_drive(b, &error);
	if (ok)
		ok = b->close_only ? close_disc(b, &error) : burn_image(b, quiet, &error);
	status = ok ? report(b) : fail(b, error);
	initiator_fini(&b->initiator);
	if (b->drive)
		drive_free(b->drive);
	return status;
}

static int run_burn(const struct args *a)
{
	struct burn b = {
		.args = a,
		.disc = args_operand(a, 0),
		.image = args_operand(a, 1),
		.resume = args_has(a, "resume"),
		.close_only = args_has(a, "close"),
		.burner.multi = args_has(a, "multi"),
	};
	GError *error = NULL;

	b.burner.mode = mode_of(args_value(a, "mode"));
	if (!parse_speed(a, &b.burner.speed, &error))
		return cli_misused(a, error);
	if (b.close_only ? b.image != NULL : b.image == NULL)
		return cli_misused_text(a, b.close_only ? "--close burns nothing: leave IMAGE out"
							: "which IMAGE is to be burned?");
	if (b.close_only && b.resume)
		return cli_misused_text(a, "--close and --resume exclude each other");
	return cli_on_loop(a, burn_on_loop, &b);
}

static const struct cli_option burn_options[] = {
	{"mode", "MODE", 0, 0, "tao|sao|dao|incremental"},
	{"multi"},
	{"resume"},
	{"close"},
	{"speed", "N"},
	{"json"},
	{"quiet", NULL, 'q'},
	{NULL},
};

const struct cli_command command_disc_burn = {
	.name = "disc burn",
	.options = burn_options,
	.operands = "FILE IMAGE",
	.min_operands = 1,
	.max_operands = 2,
	.run = run_burn,
};
