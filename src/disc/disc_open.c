/*
 * Opening and closing: a .disc by its tail, anything else as the image of a ROM. The tail is looked
 * at first and without locks, since what the file is decides how it is opened.
 */
#include "disc/rules.h"

#include "base/err.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>

enum {
	CD_MAX_BLOCKS = 404849, /* lead-out before 90:00:00 */
	DVD_MAX_BLOCKS = 4173824,
	ROM_MAX_BLOCKS = 1 << 30,
};

/* What the file is: -1 it cannot be read (*error), 0 a plain image, 1 a .disc. */
static co_fn int probe(const char *path, GError **error)
{
	struct block_node *node = block_open_file(path, BLOCK_NO_LOCK, error);
	bool is_disc;

	if (!node)
		return -1;
	is_disc = disc_store_probe(node);
	block_unref(node);
	return is_disc;
}

static uint16_t rom_by_size(uint64_t blocks)
{
	if (blocks <= CD_MAX_BLOCKS)
		return PROFILE_CD_ROM;
	return blocks <= DVD_MAX_BLOCKS ? PROFILE_DVD_ROM : PROFILE_BD_ROM;
}

/* One complete session with one data track, as pressed. */
static struct disc_state *rom_state(uint16_t profile, uint32_t blocks)
{
	struct disc_state *s = disc_state_new();
	struct disc_session session = {
		.number = 1,
		.state = SESSION_COMPLETE,
		.first_track = 1,
		.last_track = 1,
		.lead_out = (int32_t)blocks,
	};
	struct disc_track track = {
		.number = 1,
		.session = 1,
		.control = 4,
		.data_mode = 1,
		.form = 8,
		.size = blocks,
		.last_recorded = (int32_t)blocks - 1,
	};

	s->profile = s->born_profile = profile;
	s->status = DISC_COMPLETE;
	s->layers = 1;
	s->max_blocks = s->capacity = blocks;
	if (profile == PROFILE_CD_ROM) {
		track.pregap = CD_LINK_GAP;
		s->last_lead_out = (int32_t)blocks;
	}
	g_array_append_val(s->sessions, session);
	g_array_append_val(s->tracks, track);
	return s;
}

static co_fn bool open_image(struct disc *d, const char *path, unsigned flags, uint16_t profile,
			     GError **error)
{
	uint64_t blocks;
	unsigned ecc;

	d->image = block_open_file(path, flags & DISC_OPEN_NO_LOCK ? BLOCK_NO_LOCK : 0, error);
	if (!d->image)
		return false;
	d->image_len = block_length(d->image);
	blocks = (d->image_len + BLOCK_LEN - 1) / BLOCK_LEN;
	if (blocks == 0) {
		return err_set(
			error, EINVAL,
			"%s: the file is empty, a disc image has at least one block of 2048 bytes",
			path);
	}
	if (!profile)
		profile = rom_by_size(blocks);
	if (!disc_profile_find(profile) || disc_profile_find(profile)->method != METHOD_ROM)
		return err_set(error, EINVAL,
			       "%s: an image can only be a CD-ROM, DVD-ROM or BD-ROM", path);
	ecc = disc_profile_find(profile)->ecc_blocks;
	blocks = (blocks + ecc - 1) / ecc * ecc;
	if (blocks > (profile == PROFILE_CD_ROM ? CD_MAX_BLOCKS : ROM_MAX_BLOCKS))
		return err_set(error, EFBIG, "%s: %" PRIu64 " blocks are too many for a %s", path,
			       blocks, disc_profile_find(profile)->name);
	d->state = rom_state(profile, (uint32_t)blocks);
	return true;
}

static co_fn bool open_store(struct disc *d, const char *path, unsigned flags, GError **error)
{
	bool rdwr = flags & DISC_OPEN_RDWR && !(flags & DISC_OPEN_NO_LOCK);
	unsigned block_flags = flags & DISC_OPEN_NO_LOCK ? BLOCK_NO_LOCK : 0;
	unsigned store_flags = flags & DISC_OPEN_NO_LOCK ? STORE_NO_LOCK : 0;
	struct block_node *node;

	if (rdwr)
		block_flags |= BLOCK_RDWR | BLOCK_AUTO_RDONLY | BLOCK_UNSHARE_WRITE;
	node = block_open_file(path, block_flags, error);
	if (!node)
		return false;
	if (rdwr && block_is_writable(node))
		store_flags |= STORE_RDWR;
	d->store = disc_store_open(node, store_flags, &d->state, error);
	return d->store != NULL;
}

/* What the file brought must make sense before anything goes by it. */
static co_fn bool accept_state(struct disc *d, GError **error)
{
	if (!disc_check_state(d->state, error))
		return err_prefix(error, "%s", d->name);
	d->profile = disc_profile_find(d->state->profile);
	d->rules = disc_rules_find(d->state->profile);
	if (!d->rules)
		return err_set(error, ENOTSUP, "%s: %s discs cannot be used yet", d->name,
			       d->profile->name);
	if (d->state->profile == PROFILE_DVD_RW_RO && d->state->tracks->len != 1) {
		return err_set(error, EINVAL,
			       "%s: a formatted DVD-RW has one track, this one has %u", d->name,
			       d->state->tracks->len);
	}
	for (unsigned i = 1; i <= d->state->tracks->len; i++)
		disc_settle_track(state_track(d->state, i));
	if (d->profile->family == DISC_CD && !cd_restore_cue(d, error))
		return err_prefix(error, "%s", d->name);
	return true;
}

/* The last steps of opening; d is gone when they fail. */
static co_fn struct disc *finish_open(struct disc *d, GError **error)
{
	if (!accept_state(d, error)) {
		disc_close(d, true);
		return NULL;
	}
	d->writable = d->store && disc_store_is_writable(d->store);
	/* Writing goes by what programs expect of a drive until mode page 05h says otherwise. */
	d->params = (struct disc_write_params){
		.write_type = WRITE_INCREMENTAL, .track_mode = 4, .block_type = 8};
	if (d->writable && disc_finish_punches(d) != DISC_OK) {
		log_line(LOG_WARN, "disc",
			 "%s: data of before the last blanking could not be removed, it reads as "
			 "zeros: %s",
			 d->name, g_strerror(d->error.errnum));
	}
	return d;
}

co_fn struct disc *disc_open(const char *path, unsigned flags, uint16_t rom_profile, GError **error)
{
	struct disc *d;
	int kind = probe(path, error);

	if (kind < 0)
		return NULL;
	if (kind == 0 && g_str_has_suffix(path, ".disc")) {
		err_set(error, EINVAL,
			"%s: not a disc file, or truncated: it has no valid superblock in its last "
			"4096 bytes",
			path);
		return NULL;
	}
	d = g_new0(struct disc, 1);
	d->name = g_strdup(path);
	if (kind ? open_store(d, path, flags, error)
		 : open_image(d, path, flags, rom_profile, error))
		return finish_open(d, error);
	disc_close(d, true);
	return NULL;
}

co_fn struct disc *disc_open_with_store(struct disc_store *store, struct disc_state *state,
					GError **error)
{
	struct disc *d = g_new0(struct disc, 1);

	d->name = g_strdup(block_name(disc_store_node(store)));
	d->store = store;
	d->state = state;
	return finish_open(d, error);
}

/* A finished write-once disc is protected against other programs too, as far as permissions go. */
static void protect_file(const struct disc *d)
{
	struct stat st;

	if (d->profile->erasable || d->profile->method == METHOD_ROM ||
	    d->state->status != DISC_COMPLETE)
		return;
	if (stat(d->name, &st) == 0 && st.st_mode & 0222 && chmod(d->name, st.st_mode & 07555) < 0)
		log_line(LOG_WARN, "disc", "%s: the file of a finalised disc stays writable: %s",
			 d->name, g_strerror(errno));
}

co_fn void disc_close(struct disc *d, bool abandon)
{
	if (!d)
		return;
	if (!abandon) {
		disc_end_test(d);
		if (disc_flush(d) != DISC_OK) {
			log_line(LOG_ERROR, "disc",
				 "%s: what was written last could not be made durable: %s", d->name,
				 g_strerror(d->error.errnum));
		}
		if (d->writable)
			protect_file(d);
	}
	disc_await_commit(d);
	disc_store_close(d->store, abandon);
	block_unref(d->image);
	disc_state_free(d->state);
	disc_state_free(d->real);
	g_free(d->cue);
	g_free(d->bounce);
	g_free(d->name);
	g_free(d);
}
