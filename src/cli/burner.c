/* What a burning program does: see burner.h. */
#include "cli/burner.h"

#include <inttypes.h>
#include <string.h>

#include "base/err.h"
#include "base/loop.h"
#include "disc/sector.h"

enum {
	INVISIBLE = 0xff,
	FULL_FORMAT = 0x00,
	GROW_FORMAT = 0x13,
	GROW_PARAMETER = 16,
	ECC_DVD = 16,
	CD_BLOCKS_MIN = 300
};
static const uint64_t ns_per_s = 1000000000;

static const char *const mode_names[] = {"auto", "tao", "sao", "dao", "incremental"};

static bool is_overwrite(const struct burner *b)
{
	return b->medium->method == METHOD_RESTRICTED || b->medium->method == METHOD_RANDOM;
}

static bool has_write_page(const struct burner *b)
{
	return b->medium->family == DISC_CD ||
	       (b->medium->family == DISC_DVD_MINUS && !is_overwrite(b));
}

bool burner_can_resume(const struct burner *b)
{
	return !is_overwrite(b) && (b->mode == BURN_TAO || b->mode == BURN_INCREMENTAL);
}

/* The mode that was asked for, or the medium's usual one. */
static bool choose_mode(struct burner *b, GError **error)
{
	bool cd = b->medium->family == DISC_CD, dash = has_write_page(b) && !cd;
	const char *right = "incremental only";

	if (b->mode == BURN_AUTO)
		b->mode = cd ? BURN_TAO : BURN_INCREMENTAL;
	if (cd ? b->mode == BURN_TAO || b->mode == BURN_SAO
	       : b->mode == BURN_INCREMENTAL || (b->mode == BURN_DAO && dash))
		return true;
	if (cd)
		right = "tao or sao";
	else if (dash)
		right = "incremental or dao";
	return err_set(error, EINVAL, "--mode %s: a %s is written by %s", mode_names[b->mode],
		       b->medium->name, right);
}

static co_fn bool read_medium(struct burner *b, GError **error)
{
	uint16_t profile;

	if (!ini_wait_ready(b->drive, error) || !ini_profile(b->drive, &profile, error))
		return false;
	b->medium = disc_profile_find(profile);
	if (!b->medium)
		return err_set(error, EPROTO, "the drive names profile %04Xh, which nobody knows",
			       profile);
	if (b->medium->method == METHOD_ROM)
		return err_set(error, EROFS, "this is a %s and cannot be written", b->medium->name);
	return ini_read_disc(b->drive, &b->disc, error);
}

static bool set_write_page(struct burner *b, GError **error)
{
	static const enum ini_write_type types[] = {
		[BURN_TAO] = WRITE_TAO,
		[BURN_SAO] = WRITE_SAO,
		[BURN_DAO] = WRITE_SAO,
		[BURN_INCREMENTAL] = WRITE_INCREMENTAL,
	};

	return !has_write_page(b) || ini_set_write_mode(b->drive, types[b->mode], b->multi, error);
}

/*
 * Such a disc has no sessions to close; the one program that formats it so (growisofs) also goes on
 * with it.
 */
static co_fn bool check_pow(struct burner *b, GError **error)
{
	enum { FEATURE_POW = 0x38 };
	bool pow = false;

	if (b->medium->family == DISC_BD && !ini_feature(b->drive, FEATURE_POW, &pow, error))
		return false;
	if (!pow)
		return true;
	return err_set(error, ENOTSUP,
		       "this BD-R is formatted for pseudo-overwrite and has no "
		       "sessions; write it in a guest with growisofs");
}

/* The track that is written next: the invisible one on CD and DVD+R, elsewhere the last one. */
static co_fn bool read_next_track(struct burner *b, GError **error)
{
	unsigned number = b->disc.last_track;

	if (is_overwrite(b))
		number = 1;
	else if (b->medium->family == DISC_CD || b->medium->family == DISC_DVD_PLUS)
		number = INVISIBLE;
	return ini_read_track(b->drive, number, &b->track, error);
}

static bool too_large(const struct burner *b, uint64_t free_blocks, GError **error)
{
	g_autofree char *image = size_text((uint64_t)b->blocks * SOURCE_BLOCK);
	g_autofree char *room = size_text(free_blocks * SOURCE_BLOCK);

	return err_set(error, ENOSPC,
		       "the image has %s (%u blocks) and does not fit: %s (%" PRIu64
		       " blocks) are free on "
		       "the %s; nothing was written",
		       image, b->blocks, room, free_blocks, b->medium->name);
}

/* Restricted overwrite grows to what a full format would give; others have their formatted size. */
static co_fn bool plan_overwrite(struct burner *b, GError **error)
{
	uint32_t room, full = 0;

	if (!ini_read_capacity(b->drive, &room, error))
		return false;
	if (b->medium->method == METHOD_RESTRICTED &&
	    !ini_format_capacity(b->drive, FULL_FORMAT, &full, error))
		return false;
	room = MAX(room, full);
	b->first_lba = 0;
	return b->blocks <= room || too_large(b, room, error);
}

static bool plan_sequential(struct burner *b, bool resume, GError **error)
{
	bool begun = !b->track.blank && b->track.nwa_valid && b->track.nwa > b->track.start;

	if (b->track.reserved)
		return err_set(error, EBUSY, "track %u is reserved and not full; --close ends it",
			       b->track.number);
	if (!b->track.nwa_valid) {
		return err_set(error, EBUSY,
			       "track %u cannot be written; --close ends what is open",
			       b->track.number);
	}
	if (begun && !resume) {
		return err_set(
			error, EBUSY,
			"track %u was begun and is not closed (%d blocks are written): go on with "
			"--resume, or end it with --close",
			b->track.number, b->track.nwa - b->track.start);
	}
	if (resume && !begun) {
		return err_set(
			error, ENOENT,
			"there is nothing to go on with: no track is begun; burn without --resume");
	}
	b->first_lba = b->track.start;
	b->skip = resume ? (uint32_t)(b->track.nwa - b->track.start) : 0;
	if (b->skip > b->blocks) {
		return err_set(
			error, EINVAL,
			"the open track holds %u blocks, more than the image (%u): that is another "
			"image; --close ends the track",
			b->skip, b->blocks);
	}
	return b->blocks - b->skip <= b->track.free_blocks ||
	       too_large(b, b->track.free_blocks, error);
}

co_fn bool burner_plan(struct burner *b, uint32_t blocks, bool resume, GError **error)
{
	b->blocks = blocks;
	if (!read_medium(b, error) || !choose_mode(b, error))
		return false;
	if (!is_overwrite(b) && b->disc.status == DISC_COMPLETE)
		return err_set(error, EROFS, "the %s is complete: nothing can be added",
			       b->medium->name);
	if (b->mode == BURN_DAO && b->disc.status != DISC_BLANK)
		return err_set(error, EINVAL,
			       "--mode dao needs a blank disc; this one has been written");
	if (!check_pow(b, error))
		return false;
	if (resume && !burner_can_resume(b))
		return err_set(error, EINVAL,
			       "--resume is for tracks written by tao or incremental");
	/*
	 * Free space is asked in the mode that counts user data only: under SAO the pregap is in
	 * it.
	 */
	if (b->medium->family == DISC_CD &&
	    !ini_set_write_mode(b->drive, WRITE_TAO, b->multi, error))
		return false;
	if (b->medium->family != DISC_CD && !set_write_page(b, error))
		return false;
	if (!read_next_track(b, error))
		return false;
	return is_overwrite(b) ? plan_overwrite(b, error) : plan_sequential(b, resume, error);
}

/* there: room for one piece. */
static co_fn bool compare_pieces(struct burner *b, struct source *image, uint8_t *there,
				 struct progress *progress, GError **error)
{
	const uint8_t *data;
	uint32_t blocks, done = 0;

	while (done < b->skip) {
		int res = source_next(image, &data, &blocks);

		if (res < 0)
			return err_set_errno(error, -res, "cannot read the image");
		if (!blocks)
			return err_set(error, EIO, "the image became shorter meanwhile");
		blocks = MIN(blocks, b->skip - done);
		if (!ini_read(b->drive, b->first_lba + (int32_t)done, blocks, there, error))
			return false;
		if (memcmp(there, data, (size_t)blocks * SOURCE_BLOCK) != 0) {
			return err_set(error, EINVAL,
				       "the open track holds something else than "
				       "this image; --close ends it");
		}
		done += blocks;
		progress_add(progress, (uint64_t)blocks * SOURCE_BLOCK);
	}
	return true;
}

co_fn bool burner_check_resume(struct burner *b, struct source *image, struct progress *progress,
			       GError **error)
{
	uint8_t *there = g_malloc(SOURCE_PIECE);
	bool same = compare_pieces(b, image, there, progress, error);

	g_free(there);
	return same;
}

/* Zeros, as many blocks as a pregap or a very short track can need. */
static co_fn bool write_zeros(struct burner *b, int32_t lba, uint32_t blocks, GError **error)
{
	static const uint8_t zeros[CD_BLOCKS_MIN * SOURCE_BLOCK];

	return ini_write(b->drive, lba, blocks, zeros, error);
}

/* One entry of a cue sheet: CONTROL/ADR, TNO, INDEX, DATA FORM, SCMS, MSF. */
static void put_cue(uint8_t *cue, uint8_t track, uint8_t index, uint8_t form, int32_t lba)
{
	struct msf t = lba_to_msf(lba);
	const uint8_t entry[8] = {0x41, track, index, form, 0, t.m, t.s, t.f};

	memcpy(cue, entry, sizeof(entry));
}

/*
 * A session of one mode 1 track: lead-in, pregap, track, lead-out; then its pregap, which is sent
 * too.
 */
static co_fn bool begin_sao(struct burner *b, GError **error)
{
	enum { MODE1 = 0x10, MODE1_ZEROS = 0x14, LEAD_OUT = 0xaa, ENTRIES = 4 };
	uint32_t blocks = MAX(b->blocks, (uint32_t)CD_BLOCKS_MIN);
	uint8_t cue[ENTRIES * 8], track = (uint8_t)b->track.number;

	put_cue(cue, 0, 0, MODE1_ZEROS, -CD_PREGAP);
	put_cue(cue + 8, track, 0, MODE1, b->first_lba - CD_PREGAP);
	put_cue(cue + 16, track, 1, MODE1, b->first_lba);
	put_cue(cue + 24, LEAD_OUT, 1, MODE1_ZEROS, b->first_lba + (int32_t)blocks);
	return ini_send_cue_sheet(b->drive, cue, sizeof(cue), error) &&
	       write_zeros(b, b->first_lba - CD_PREGAP, CD_PREGAP, error);
}

/*
 * Blocks that the medium still lacks are added, as many as whole ECC blocks make. A freshly
 * formatted disc takes all there is; how far one grows that was written and not closed nobody can
 * ask, so it is closed first.
 */
static co_fn bool grow(struct burner *b, GError **error)
{
	uint32_t now, wanted;

	if (b->medium->method != METHOD_RESTRICTED)
		return true;
	if (!ini_read_capacity(b->drive, &now, error))
		return false;
	if (b->disc.session_state == SESSION_INCOMPLETE && now == 0)
		return true;
	if (b->disc.session_state == SESSION_INCOMPLETE &&
	    !ini_close(b->drive, CLOSE_SESSION, 0, error))
		return false;
	if (b->blocks <= now)
		return true;
	wanted = (b->blocks - now + ECC_DVD - 1) / ECC_DVD * ECC_DVD;
	return ini_format(b->drive, GROW_FORMAT, wanted, GROW_PARAMETER, error);
}

static co_fn bool begin(struct burner *b, GError **error)
{
	if (!is_overwrite(b) && !set_write_page(b, error))
		return false;
	switch (b->mode) {
	case BURN_SAO: return begin_sao(b, error);
	case BURN_DAO: return ini_reserve(b->drive, b->blocks, error);
	default: return !is_overwrite(b) || grow(b, error);
	}
}

/* Sleeps as long as a medium of that speed would have needed for what is written. */
static co_fn void pace(const struct burner *b, uint64_t started_ns, uint64_t bytes)
{
	uint64_t due;

	if (!b->speed)
		return;
	due = started_ns + bytes * ns_per_s / ((uint64_t)b->medium->speed_1x_kb * 1000 * b->speed);
	if (due > loop_now_ns())
		co_sleep_ns(due - loop_now_ns());
}

/* What a session of a CD needs beyond a very short image. */
static co_fn bool pad_sao(struct burner *b, GError **error)
{
	if (b->mode != BURN_SAO || b->blocks >= CD_BLOCKS_MIN)
		return true;
	return write_zeros(b, b->first_lba + (int32_t)b->blocks, CD_BLOCKS_MIN - b->blocks, error);
}

co_fn bool burner_write(struct burner *b, struct source *image, struct progress *progress,
			GError **error)
{
	uint32_t done = b->skip, blocks;
	uint64_t started = loop_now_ns();
	const uint8_t *data;

	if (!begin(b, error))
		return false;
	for (;;) {
		int res = source_next(image, &data, &blocks);

		if (res < 0)
			return err_set_errno(error, -res, "cannot read the image behind block %u",
					     done);
		if (!blocks)
			return pad_sao(b, error) && ini_sync(b->drive, error);
		if (*b->interrupted)
			return err_set(error, ECANCELED, "interrupted after %u of %u blocks", done,
				       b->blocks);
		if (!ini_write(b->drive, b->first_lba + (int32_t)done, blocks, data, error))
			return false;
		done += blocks;
		progress_add(progress, (uint64_t)blocks * SOURCE_BLOCK);
		pace(b, started, (uint64_t)(done - b->skip) * SOURCE_BLOCK);
	}
}

co_fn bool burner_close(struct burner *b, GError **error)
{
	bool whole_disc = b->medium->family == DISC_DVD_PLUS || b->medium->family == DISC_BD;

	if (b->medium->method == METHOD_RESTRICTED)
		return ini_close(b->drive, CLOSE_SESSION, 0, error);
	/* Nothing to close; after SAO and DAO the flush has done it. */
	if (is_overwrite(b) || b->mode == BURN_SAO || b->mode == BURN_DAO)
		return true;
	if (b->medium->family != DISC_CD &&
	    !ini_close(b->drive, CLOSE_TRACK, b->track.number, error))
		return false;
	if (!ini_close(b->drive, CLOSE_SESSION, 0, error))
		return false;
	return b->multi || !whole_disc || ini_close(b->drive, CLOSE_FINALISE, 0, error);
}

co_fn bool burner_plan_close(struct burner *b, GError **error)
{
	if (!read_medium(b, error))
		return false;
	if (b->disc.status == DISC_BLANK)
		return err_set(error, ENOENT, "the %s is blank: there is nothing to close",
			       b->medium->name);
	if (b->disc.status == DISC_COMPLETE && b->disc.session_state == SESSION_COMPLETE)
		return err_set(error, EALREADY, "the %s is complete already", b->medium->name);
	b->mode = b->medium->family == DISC_CD ? BURN_TAO : BURN_INCREMENTAL;
	b->track.number = b->disc.last_track;
	if (!is_overwrite(b) && !set_write_page(b, error))
		return false;
	return is_overwrite(b) || ini_sync(b->drive, error);
}
