/*
 * Opening and closing a .disc file. Everything is read and judged before anything is written; then,
 * if it is for writing: what the last process left behind is made durable, pending punches are
 * done, and a checkpoint begins a new generation, so that nothing of the old life can be mistaken
 * for the new one's.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "disc/store_priv.h"

static void store_free(struct disc_store *s)
{
	rows_fini(&s->committed);
	rows_fini(&s->scratch);
	g_byte_array_unref(s->stream);
	g_byte_array_unref(s->blocks);
	g_array_unref(s->pending);
	g_free(s);
}

static struct disc_store *store_new(struct block_node *file, unsigned flags)
{
	struct disc_store *s = g_new0(struct disc_store, 1);

	s->node = file;
	s->writable = flags & STORE_RDWR;
	rows_init(&s->committed);
	rows_init(&s->scratch);
	s->stream = g_byte_array_new();
	s->blocks = g_byte_array_new();
	s->pending = g_array_new(FALSE, FALSE, sizeof(struct disc_punch));
	return s;
}

bool store_check_state(const struct disc_store *s, const struct disc_state *state, GError **error)
{
	if (state->max_blocks != s->super.max_blocks)
		return err_set(error, EINVAL, "the state says %u blocks, the superblock %u",
			       state->max_blocks, s->super.max_blocks);
	for (unsigned i = 0; i < state->punches->len; i++) {
		const struct disc_punch *p = &g_array_index(state->punches, struct disc_punch, i);

		if (p->off > s->super.meta_off || p->len > s->super.meta_off - p->off) {
			return err_set(error, EINVAL,
				       "pending punch %u (%" PRIu64 " bytes at 0x%" PRIx64
				       ") is not in a plane",
				       i, p->len, p->off);
		}
	}
	return rows_check_state(state, error);
}

static co_fn struct disc_state *load_state(struct disc_store *s, GError **error)
{
	struct disc_state *state;

	if (!slots_load(s, error))
		return NULL;
	state = rows_to_state(&s->committed, &s->epoch, error);
	if (state && (!store_check_state(s, state, error) || !progress_load(s, state, error))) {
		disc_state_free(state);
		return NULL;
	}
	return state;
}

/* On failure they stay pending: the owner of the state can try again. */
static co_fn void finish_punches(struct disc_store *s, struct disc_state *state)
{
	int res = 0;

	for (unsigned i = 0; i < state->punches->len && res == 0; i++) {
		const struct disc_punch *p = &g_array_index(state->punches, struct disc_punch, i);

		res = block_discard_zero(s->node, p->off, p->len);
	}
	if (res == 0)
		g_array_set_size(state->punches, 0);
	else
		log_line(LOG_WARN, "disc", "%s: clearing what was blanked: %s", block_name(s->node),
			 strerror(-res));
}

static co_fn bool begin_writing(struct disc_store *s, const struct super_found *found,
				struct disc_state *state, GError **error)
{
	struct disc_history recovered = {.event = EVENT_RECOVERED};
	int res;

	finish_punches(s, state);
	res = block_flush(s->node);
	if (res == 0)
		res = super_heal(s->node, found);
	if (res == 0) {
		rows_from_state(&s->scratch, state, s->epoch, &s->committed);
		res = slot_checkpoint(s, &s->scratch, true);
	}
	if (res < 0) {
		return err_set_errno(error, -res,
				     "it cannot be written (checkpoint at 0x%" PRIx64 ")",
				     s->super.slots[!s->slot.index].state_off);
	}
	rows_swap(&s->committed, &s->scratch);
	progress_map(s);
	progress_follow(s, state, true);
	if (s->recovered)
		disc_store_add_history(s, &recovered); /* only a note */
	return true;
}

static bool may_write(const struct disc_store *s, GError **error)
{
	if (!s->writable)
		return true;
	if (!block_is_writable(s->node))
		return err_set(error, EROFS, "the file is opened read-only");
	if (s->super.ro_compatible) {
		return err_set(error, ENOTSUP,
			       "made by a newer version (feature bits 0x%" PRIx64
			       "), this program can "
			       "only read it: open it read-only or use a newer outboard",
			       s->super.ro_compatible);
	}
	return true;
}

static co_fn struct disc_state *open_all(struct disc_store *s, GError **error)
{
	struct super_found *found = g_new0(struct super_found, 1);
	struct disc_state *state = NULL;

	if (super_find(s->node, found, error)) {
		s->super = found->super;
		if (may_write(s, error))
			state = load_state(s, error);
	}
	if (state && s->writable && !begin_writing(s, found, state, error)) {
		disc_state_free(state);
		state = NULL;
	}
	if (state && !s->writable)
		g_array_append_vals(s->pending, state->punches->data, state->punches->len);
	g_free(found);
	return state;
}

co_fn struct disc_store *disc_store_open_boot(struct block_node *file, unsigned flags,
					      const uint8_t boot_id[16], struct disc_state **state,
					      GError **error)
{
	struct disc_store *s = store_new(file, flags);
	struct disc_state *opened;

	memcpy(s->boot_id, boot_id, BOOT_ID_LEN);
	opened = open_all(s, error);
	if (!opened) {
		err_prefix(error, "%s", block_name(file));
		block_unref(file);
		store_free(s);
		return NULL;
	}
	*state = opened;
	return s;
}

co_fn struct disc_store *disc_store_open(struct block_node *file, unsigned flags,
					 struct disc_state **state, GError **error)
{
	uint8_t boot_id[BOOT_ID_LEN];

	progress_read_boot_id(boot_id);
	return disc_store_open_boot(file, flags, boot_id, state, error);
}

co_fn void disc_store_close(struct disc_store *s, bool abandon)
{
	int res = 0;

	if (!s)
		return;
	co_mutex_lock(&s->committing);
	progress_wait(s);
	if (s->writable && !abandon && (s->slot.journal_used > 0 || s->must_checkpoint))
		res = slot_checkpoint(s, &s->committed, false);
	if (res < 0) /* nothing is lost: the old slot and its journal say the same */
		log_line(LOG_WARN, "disc", "%s: last checkpoint: %s", block_name(s->node),
			 strerror(-res));
	co_mutex_unlock(&s->committing);
	block_unref(s->node);
	store_free(s);
}
