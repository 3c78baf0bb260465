/* outboard disc verify: a disc against the image it was burned from. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "cli/cli.h"
#include "cli/progress.h"
#include "disc/verify.h"

enum { BLOCK = 2048, NUMBER_MAX = 65535 };

struct verify {
	unsigned session, track; /* 0: not asked for */
	struct disc *disc;
	struct block_node *image;
	int32_t lba;
	uint32_t blocks; /* of the image */
	struct disc_compare result;
	char disc_hash[DISC_HASH_LEN], image_hash[DISC_HASH_LEN];
};

/* One of the works that share a progress line. */
struct part {
	struct progress *progress;
	uint64_t done;
};

static void on_progress(void *arg, uint64_t done, uint64_t total)
{
	struct part *part = arg;

	(void)total;
	progress_add(part->progress, done > part->done ? done - part->done : 0);
	part->done = done;
}

static bool find_start(struct verify *v, GError **error)
{
	const struct disc_state *s = disc_get_state(v->disc);
	const struct disc_track *t = v->track ? state_track(s, v->track) : NULL;
	uint32_t blocks;

	v->lba = 0;
	if (v->track && !t)
		return err_set(error, ENOENT, "%s: there is no track %u, only %u",
			       disc_name(v->disc), v->track, s->tracks->len);
	if (t)
		v->lba = t->start;
	if (v->session && !disc_session_extent(v->disc, v->session, &v->lba, &blocks))
		return err_set(error, ENOENT, "%s: there is no session %u with data",
			       disc_name(v->disc), v->session);
	return true;
}

/* Hashing takes a processor; the image is hashed beside the disc. */
struct image_hash {
	struct verify *verify;
	struct part part;
	bool ok, ended;
	GError *error;
	struct co_queue waiting;
};

static void hash_image_run(void *arg)
{
	struct image_hash *h = arg;

	h->ok = disc_hash_image(h->verify->image, on_progress, &h->part, h->verify->image_hash,
				&h->error);
	h->ended = true;
	co_queue_wake_all(&h->waiting);
}

static co_fn bool hash_both(struct verify *v, bool quiet, GError **error)
{
	struct progress p;
	struct image_hash image = {.verify = v, .part.progress = &p};
	struct part disc = {.progress = &p};
	bool ok;

	progress_init(&p, "hashing both", 2 * (uint64_t)v->blocks * BLOCK, quiet);
	co_start(co_loop(), hash_image_run, &image);
	ok = disc_hash(v->disc, v->lba, v->blocks, on_progress, &disc, v->disc_hash, error);
	while (!image.ended)
		co_queue_wait(&image.waiting);
	progress_done(&p);
	if (ok && !image.ok)
		g_propagate_error(error, g_steal_pointer(&image.error));
	g_clear_error(&image.error);
	return ok && image.ok;
}

static co_fn bool compare(struct verify *v, bool quiet, GError **error)
{
	struct progress p;
	struct part part = {.progress = &p};
	bool ok;

	if (block_length(v->image) > (uint64_t)INT32_MAX * BLOCK || !block_length(v->image))
		return err_set(error, EINVAL, "%s: its %" PRIu64 " bytes are on no disc",
			       block_name(v->image), block_length(v->image));
	v->blocks = (uint32_t)((block_length(v->image) + BLOCK - 1) / BLOCK);
	if (!find_start(v, error))
		return false;
	progress_init(&p, "comparing", (uint64_t)v->blocks * BLOCK, quiet);
	ok = disc_compare_image(v->disc, v->lba, v->image, on_progress, &part, &v->result, error);
	progress_done(&p);
	return ok && hash_both(v, quiet, error);
}

static const char *const result_names[] = {
	[COMPARE_EQUAL] = "identical",
	[COMPARE_DIFFERS] = "different",
	[COMPARE_UNRECORDED] = "not recorded",
};

static int report(const struct args *a, const struct verify *v)
{
	bool same = v->result.result == COMPARE_EQUAL;
	int status = same ? STATUS_DONE : STATUS_FAILED;

	if (args_has(a, "json")) {
		json_t *j = json_pack("{s:s, s:s, s:s, s:i, s:I}", "result",
				      result_names[v->result.result], "disc_sha256", v->disc_hash,
				      "image_sha256", v->image_hash, "start", (int)v->lba, "blocks",
				      (json_int_t)v->blocks);

		if (!same) {
			json_object_update_new(j, json_pack("{s:i, s:i}", "first_difference",
							    (int)v->result.lba, "byte",
							    (int)v->result.byte));
		}
		return cli_print_json(a, j) == STATUS_DONE ? status : STATUS_FAILED;
	}
	printf("%s  %s, blocks %d to %lld\n%s  %s\n", v->disc_hash, args_operand(a, 0), v->lba,
	       (long long)v->lba + v->blocks - 1, v->image_hash, args_operand(a, 1));
	if (same)
		printf("identical: %u blocks\n", v->blocks);
	else if (v->result.result == COMPARE_UNRECORDED) {
		printf("different: block %d of the disc was never written (%u before it are the "
		       "same)\n",
		       v->result.lba, v->result.blocks);
	} else {
		printf("different: first at block %d of the disc, byte %u of it (byte %" PRIu64
		       " of the image)\n",
		       v->result.lba, v->result.byte,
		       (uint64_t)(v->result.lba - v->lba) * BLOCK + v->result.byte);
	}
	return cli_finish_output(a, status);
}

static co_fn int verify_on_loop(const struct args *a, void *arg)
{
	struct verify *v = arg;
	bool quiet = args_has(a, "json");
	GError *error = NULL;
	int status;

	v->disc = disc_open(args_operand(a, 0), 0, PROFILE_NONE, &error);
	v->image = v->disc ? block_open_file(args_operand(a, 1), 0, &error) : NULL;
	if (v->image && compare(v, quiet, &error))
		status = report(a, v);
	else
		status = cli_failed(a, error);
	block_unref(v->image);
	if (v->disc)
		disc_close(v->disc, false);
	return status;
}

static bool parse_number(const struct args *a, const char *name, unsigned *out, GError **error)
{
	const char *text = args_value(a, name);
	guint64 n = 0;

	if (text && !g_ascii_string_to_unsigned(text, 10, 1, NUMBER_MAX, &n, NULL))
		return err_set(error, EINVAL, "--%s %s: a number from 1 to %d is needed", name,
			       text, NUMBER_MAX);
	*out = (unsigned)n;
	return true;
}

static int run_verify(const struct args *a)
{
	struct verify v = {.session = 0};
	GError *error = NULL;

	if (!parse_number(a, "session", &v.session, &error) ||
	    !parse_number(a, "track", &v.track, &error))
		return cli_misused(a, error);
	if (v.session && v.track)
		return cli_misused_text(a, "--session and --track exclude each other");
	return cli_on_loop(a, verify_on_loop, &v);
}

static const struct cli_option verify_options[] = {
	{"session", "N"},
	{"track", "N"},
	{"json"},
	{NULL},
};

const struct cli_command command_disc_verify = {
	.name = "disc verify",
	.options = verify_options,
	.operands = "FILE IMAGE",
	.min_operands = 2,
	.max_operands = 2,
	.run = run_verify,
};
