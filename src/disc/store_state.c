/*
 * The state as rows and back; layouts as in docs/disc-format.md.
 *
 * Only the form is checked here: numbering, lengths, values that would not survive the way to the
 * file and back. Whether rows make sense together is the medium's business.
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "disc/store_rows.h"

enum { /* DISC row */
       DR_PROFILE = 0,
       DR_BORN = 2,
       DR_STATUS = 4,
       DR_FORMAT = 5,
       DR_PROTECTED = 6,
       DR_LAYERS = 7,
       DR_INTERMEDIATE = 8,
       DR_POW = 9,
       DR_FORMATTED = 10,
       DR_TYPE = 11,
       DR_MAX_BLOCKS = 12,
       DR_CAPACITY = 16,
       DR_SPARE = 20,
       DR_LAYER_BREAK = 24,
       DR_LEAD_IN = 28,
       DR_LAST_LEAD_OUT = 32,
       DR_ATIP = 36,
       DR_MEDIA_ID = 64,
       DR_GROW_LIMIT = 80,
       DR_POW_LEFT = 84,
       DR_POW_MAP = 88,
       DR_POW_UPDATES = 92,
       DR_ERASED = 96,
       DR_FORMATS = 100,
       DR_SERIAL = 104,
       DR_EPOCH = 120,
};

enum { /* SESSION row */
       SR_NUMBER = 0,
       SR_STATE = 2,
       SR_TOC_TYPE = 3,
       SR_FIRST = 4,
       SR_LAST = 6,
       SR_LEAD_IN = 8,
       SR_START = 12,
       SR_LEAD_OUT = 16,
       SR_NEXT = 20,
       SR_MCN = 24,
       SR_FLAGS = 37,
};

enum { /* TRACK row */
       TR_NUMBER = 0,
       TR_SESSION = 2,
       TR_CONTROL = 4,
       TR_MODE = 5,
       TR_FORM = 6,
       TR_FLAGS = 8,
       TR_START = 12,
       TR_SIZE = 16,
       TR_NWA = 20,
       TR_LAST = 24,
       TR_PACKET = 28,
       TR_PREGAP = 32,
       TR_RUN_OUT = 36,
       TR_ISRC = 40,
};

enum { MAX_BLOBS = 4096, MAX_PUNCHES = 1024 };

enum { PR_INDEX = 0, PR_PLANE = 4, PR_FLAGS = 8, PR_OFF = 16, PR_LEN = 24 }; /* PUNCH row */

static uint8_t *add_row(struct rows *r, uint32_t type, uint32_t key, uint32_t len)
{
	struct row row = {.type = type, .key = key, .len = len, .pos = r->bytes->len};

	g_array_append_val(r->list, row);
	g_byte_array_set_size(r->bytes, r->bytes->len + len);
	return memset(r->bytes->data + row.pos, 0, len);
}

static void put_disc(uint8_t *p, const struct disc_state *s, uint32_t epoch)
{
	put_le16(p + DR_PROFILE, s->profile);
	put_le16(p + DR_BORN, s->born_profile);
	p[DR_STATUS] = s->status;
	p[DR_FORMAT] = s->format_state;
	p[DR_PROTECTED] = s->write_protected;
	p[DR_LAYERS] = s->layers;
	p[DR_INTERMEDIATE] = s->intermediate;
	p[DR_POW] = s->pow;
	p[DR_FORMATTED] = s->formatted;
	p[DR_TYPE] = s->disc_type;
	put_le32(p + DR_MAX_BLOCKS, s->max_blocks);
	put_le32(p + DR_CAPACITY, s->capacity);
	put_le32(p + DR_SPARE, s->spare_clusters);
	put_le32(p + DR_LAYER_BREAK, s->layer_break);
	put_le32(p + DR_LEAD_IN, (uint32_t)s->lead_in_start);
	put_le32(p + DR_LAST_LEAD_OUT, (uint32_t)s->last_lead_out);
	memcpy(p + DR_ATIP, s->atip, sizeof(s->atip));
	memcpy(p + DR_MEDIA_ID, s->media_id, sizeof(s->media_id));
	put_le32(p + DR_GROW_LIMIT, s->grow_limit);
	put_le32(p + DR_POW_LEFT, s->pow_replacements);
	put_le32(p + DR_POW_MAP, s->pow_map_entries);
	put_le32(p + DR_POW_UPDATES, s->pow_updates);
	put_le32(p + DR_ERASED, s->erase_count);
	put_le32(p + DR_FORMATS, s->format_count);
	memcpy(p + DR_SERIAL, s->serial, sizeof(s->serial));
	put_le32(p + DR_EPOCH, epoch);
}

static void get_disc(const uint8_t *p, struct disc_state *s, uint32_t *epoch)
{
	s->profile = get_le16(p + DR_PROFILE);
	s->born_profile = get_le16(p + DR_BORN);
	s->status = p[DR_STATUS];
	s->format_state = p[DR_FORMAT];
	s->write_protected = p[DR_PROTECTED];
	s->layers = p[DR_LAYERS];
	s->intermediate = p[DR_INTERMEDIATE];
	s->pow = p[DR_POW];
	s->formatted = p[DR_FORMATTED];
	s->disc_type = p[DR_TYPE];
	s->max_blocks = get_le32(p + DR_MAX_BLOCKS);
	s->capacity = get_le32(p + DR_CAPACITY);
	s->spare_clusters = get_le32(p + DR_SPARE);
	s->layer_break = get_le32(p + DR_LAYER_BREAK);
	s->lead_in_start = (int32_t)get_le32(p + DR_LEAD_IN);
	s->last_lead_out = (int32_t)get_le32(p + DR_LAST_LEAD_OUT);
	memcpy(s->atip, p + DR_ATIP, sizeof(s->atip));
	memcpy(s->media_id, p + DR_MEDIA_ID, sizeof(s->media_id));
	s->grow_limit = get_le32(p + DR_GROW_LIMIT);
	s->pow_replacements = get_le32(p + DR_POW_LEFT);
	s->pow_map_entries = get_le32(p + DR_POW_MAP);
	s->pow_updates = get_le32(p + DR_POW_UPDATES);
	s->erase_count = get_le32(p + DR_ERASED);
	s->format_count = get_le32(p + DR_FORMATS);
	memcpy(s->serial, p + DR_SERIAL, sizeof(s->serial));
	*epoch = get_le32(p + DR_EPOCH);
}

static void put_session(uint8_t *p, const struct disc_session *s)
{
	put_le16(p + SR_NUMBER, s->number);
	p[SR_STATE] = s->state;
	p[SR_TOC_TYPE] = s->toc_type;
	put_le16(p + SR_FIRST, s->first_track);
	put_le16(p + SR_LAST, s->last_track);
	put_le32(p + SR_LEAD_IN, (uint32_t)s->lead_in);
	put_le32(p + SR_START, (uint32_t)s->start);
	put_le32(p + SR_LEAD_OUT, (uint32_t)s->lead_out);
	put_le32(p + SR_NEXT, (uint32_t)s->next_area);
	memcpy(p + SR_MCN, s->mcn, sizeof(s->mcn));
	p[SR_FLAGS] = s->flags;
}

static struct disc_session get_session(const uint8_t *p)
{
	struct disc_session s = {
		.number = get_le16(p + SR_NUMBER),
		.state = p[SR_STATE],
		.toc_type = p[SR_TOC_TYPE],
		.first_track = get_le16(p + SR_FIRST),
		.last_track = get_le16(p + SR_LAST),
		.lead_in = (int32_t)get_le32(p + SR_LEAD_IN),
		.start = (int32_t)get_le32(p + SR_START),
		.lead_out = (int32_t)get_le32(p + SR_LEAD_OUT),
		.next_area = (int32_t)get_le32(p + SR_NEXT),
		.flags = p[SR_FLAGS],
	};

	memcpy(s.mcn, p + SR_MCN, sizeof(s.mcn));
	return s;
}

static void put_track(uint8_t *p, const struct disc_track *t)
{
	put_le16(p + TR_NUMBER, t->number);
	put_le16(p + TR_SESSION, t->session);
	p[TR_CONTROL] = t->control;
	p[TR_MODE] = t->data_mode;
	p[TR_FORM] = t->form;
	put_le32(p + TR_FLAGS, t->flags);
	put_le32(p + TR_START, (uint32_t)t->start);
	put_le32(p + TR_SIZE, t->size);
	put_le32(p + TR_NWA, (uint32_t)t->nwa);
	put_le32(p + TR_LAST, (uint32_t)t->last_recorded);
	put_le32(p + TR_PACKET, t->packet_size);
	put_le32(p + TR_PREGAP, t->pregap);
	put_le32(p + TR_RUN_OUT, t->run_out);
	memcpy(p + TR_ISRC, t->isrc, sizeof(t->isrc));
}

static struct disc_track get_track(const uint8_t *p)
{
	struct disc_track t = {
		.number = get_le16(p + TR_NUMBER),
		.session = get_le16(p + TR_SESSION),
		.control = p[TR_CONTROL],
		.data_mode = p[TR_MODE],
		.form = p[TR_FORM],
		.flags = get_le32(p + TR_FLAGS),
		.start = (int32_t)get_le32(p + TR_START),
		.size = get_le32(p + TR_SIZE),
		.nwa = (int32_t)get_le32(p + TR_NWA),
		.last_recorded = (int32_t)get_le32(p + TR_LAST),
		.packet_size = get_le32(p + TR_PACKET),
		.pregap = get_le32(p + TR_PREGAP),
		.run_out = get_le32(p + TR_RUN_OUT),
	};

	memcpy(t.isrc, p + TR_ISRC, sizeof(t.isrc));
	return t;
}

static void put_punch(uint8_t *p, uint32_t index, const struct disc_punch *punch)
{
	put_le32(p + PR_INDEX, index);
	put_le32(p + PR_PLANE, punch->plane);
	put_le32(p + PR_FLAGS, punch->flags);
	put_le64(p + PR_OFF, punch->off);
	put_le64(p + PR_LEN, punch->len);
}

static int compare_rows(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	if (x->type != y->type)
		return x->type < y->type ? -1 : 1;
	return x->key < y->key ? -1 : x->key > y->key;
}

void rows_from_state(struct rows *r, const struct disc_state *s, uint32_t epoch,
		     const struct rows *kept)
{
	g_array_set_size(r->list, 0);
	g_byte_array_set_size(r->bytes, 0);
	put_disc(add_row(r, ROW_DISC, 0, ROW_DISC_LEN), s, epoch);
	for (unsigned i = 0; i < s->sessions->len; i++)
		put_session(add_row(r, ROW_SESSION, i + 1, ROW_SESSION_LEN),
			    &g_array_index(s->sessions, struct disc_session, i));
	for (unsigned i = 0; i < s->tracks->len; i++)
		put_track(add_row(r, ROW_TRACK, i + 1, ROW_TRACK_LEN),
			  &g_array_index(s->tracks, struct disc_track, i));
	for (unsigned i = 0; i < s->blobs->len; i++) {
		const struct disc_blob *blob = &g_array_index(s->blobs, struct disc_blob, i);
		uint8_t *p = add_row(r, blob->type, blob->key, ROW_KEY_LEN + blob->len);

		put_le32(p, blob->key);
		memcpy(p + ROW_KEY_LEN, blob->data, blob->len);
	}
	for (unsigned i = 0; i < s->punches->len; i++)
		put_punch(add_row(r, ROW_PUNCH, i, ROW_PUNCH_LEN), i,
			  &g_array_index(s->punches, struct disc_punch, i));
	for (unsigned i = 0; kept && i < kept->list->len; i++) {
		const struct row *row = &g_array_index(kept->list, struct row, i);

		if (row->type & ROW_IGNORABLE)
			memcpy(add_row(r, row->type, row->key, row->len),
			       kept->bytes->data + row->pos, row->len);
	}
	g_array_sort(r->list, compare_rows); /* blobs come in any order */
}

static bool check_blobs(const struct disc_state *s, GError **error)
{
	if (s->blobs->len > MAX_BLOBS)
		return err_set(error, EINVAL, "%u blobs, at most %u are possible", s->blobs->len,
			       MAX_BLOBS);
	for (unsigned i = 0; i < s->blobs->len; i++) {
		const struct disc_blob *blob = &g_array_index(s->blobs, struct disc_blob, i);

		if (!row_is_blob(blob->type) || blob->len == 0)
			return err_set(error, EINVAL, "blob %u: type %u, %u bytes", i, blob->type,
				       blob->len);
		for (unsigned k = 0; k < i; k++) {
			const struct disc_blob *other =
				&g_array_index(s->blobs, struct disc_blob, k);

			if (other->type == blob->type && other->key == blob->key) {
				return err_set(error, EINVAL,
					       "blobs %u and %u: both of type %u, key %u", k, i,
					       blob->type, blob->key);
			}
		}
	}
	return true;
}

bool rows_check_state(const struct disc_state *s, GError **error)
{
	if (s->status > DISC_OTHER || s->format_state > FORMAT_COMPLETE)
		return err_set(error, EINVAL, "status %u, format state %u", s->status,
			       s->format_state);
	for (unsigned i = 0; i < s->sessions->len; i++) {
		const struct disc_session *session =
			&g_array_index(s->sessions, struct disc_session, i);

		if (session->number != i + 1)
			return err_set(error, EINVAL, "session %u is numbered %u", i + 1,
				       session->number);
	}
	for (unsigned i = 0; i < s->tracks->len; i++) {
		const struct disc_track *track = &g_array_index(s->tracks, struct disc_track, i);

		if (track->number != i + 1)
			return err_set(error, EINVAL, "track %u is numbered %u", i + 1,
				       track->number);
	}
	if (s->punches->len > MAX_PUNCHES)
		return err_set(error, EINVAL, "%u pending punches, at most %u are possible",
			       s->punches->len, MAX_PUNCHES);
	return check_blobs(s, error);
}

bool rows_get_track(const struct rows *r, unsigned number, struct disc_track *out)
{
	const uint8_t *p = rows_find(r, ROW_TRACK, number);

	if (p)
		*out = get_track(p);
	return p;
}

static void add_blob(struct disc_state *s, const struct row *row, const uint8_t *p)
{
	struct disc_blob blob = {.type = row->type, .key = row->key, .len = row->len - ROW_KEY_LEN};

	blob.data = g_malloc(blob.len);
	memcpy(blob.data, p + ROW_KEY_LEN, blob.len);
	g_array_append_val(s->blobs, blob);
}

static void get_row(struct disc_state *s, const struct row *row, const uint8_t *p, uint32_t *epoch)
{
	struct disc_session session;
	struct disc_track track;
	struct disc_punch punch;

	switch (row->type) {
	case ROW_DISC: get_disc(p, s, epoch); break;
	case ROW_SESSION:
		session = get_session(p);
		g_array_append_val(s->sessions, session);
		break;
	case ROW_TRACK:
		track = get_track(p);
		g_array_append_val(s->tracks, track);
		break;
	case ROW_PUNCH:
		punch = (struct disc_punch){
			.plane = get_le32(p + PR_PLANE),
			.flags = get_le32(p + PR_FLAGS),
			.off = get_le64(p + PR_OFF),
			.len = get_le64(p + PR_LEN),
		};
		g_array_append_val(s->punches, punch);
		break;
	default: /* the bytes of a newer program stay in the rows */
		if (!(row->type & ROW_IGNORABLE))
			add_blob(s, row, p);
	}
}

struct disc_state *rows_to_state(const struct rows *r, uint32_t *epoch, GError **error)
{
	struct disc_state *s = disc_state_new();
	bool ok;

	for (unsigned i = 0; i < r->list->len; i++) {
		const struct row *row = &g_array_index(r->list, struct row, i);

		get_row(s, row, r->bytes->data + row->pos, epoch);
	}
	if (r->list->len == 0 || g_array_index(r->list, struct row, 0).type != ROW_DISC)
		ok = err_set(error, EINVAL, "the row of the disc itself is missing");
	else
		ok = rows_check_state(s, error);
	if (!ok) {
		disc_state_free(s);
		return NULL;
	}
	return s;
}
