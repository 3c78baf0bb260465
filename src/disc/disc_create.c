/*
 * A new blank disc: what is printed into a medium when it is made (ATIP of a CD, media ids,
 * capacity) and the empty first session.
 */
#include "disc/rules.h"

#include "base/bytes.h"
#include "base/err.h"
#include "disc/sector.h"

#include <inttypes.h>
#include <string.h>

enum { CD_LEAD_IN = -11634 }; /* 97:26:66: leaves room for CD-TEXT */

struct maker {
	enum disc_family family;
	const char *manufacturer; /* at media_id 0: 8 characters, 6 on BD */
	const char *media_type;   /* at media_id 8 */
};

/* clang-format off */
static const struct maker makers[] = {
	{ DISC_CD, "", "" },
	{ DISC_DVD_MINUS, "OUTBOARD", "D01" },
	{ DISC_DVD_PLUS, "OUTBOARD", "R01" },
	{ DISC_BD, "OUTBRD", "B01" },
};
/* clang-format on */

/* Names of the types that can be recorded on, for a message. */
static char *known_types(void)
{
	GString *names = g_string_new(NULL);

	for (const struct disc_type *t = disc_types(); t->name; t++)
		if (t->implemented)
			g_string_append_printf(names, "%s%s", names->len ? ", " : "", t->name);
	return g_string_free(names, FALSE);
}

static bool check_type(const struct disc_type *type, uint32_t *blocks, GError **error)
{
	const struct disc_profile *p = disc_profile_find(type->profile);
	char *names;

	if (p->method == METHOD_ROM) {
		return err_set(error, EINVAL,
			       "a %s cannot be created blank: give the image itself to the drive",
			       type->name);
	}
	if (!type->implemented) {
		names = known_types();
		err_set(error, ENOTSUP, "%s discs cannot be made yet; these can: %s", type->name,
			names);
		g_free(names);
		return false;
	}
	if (*blocks == 0)
		*blocks = type->blocks;
	if (*blocks < type->min_blocks || *blocks > type->max_blocks) {
		return err_set(error, EINVAL,
			       "a capacity of %" PRIu32 " blocks of 2048 bytes: a %s has %" PRIu32
			       " to %" PRIu32,
			       *blocks, type->name, type->min_blocks, type->max_blocks);
	}
	if (*blocks % p->ecc_blocks) {
		return err_set(error, EINVAL,
			       "a capacity of %" PRIu32
			       " blocks: a %s has a multiple of %u, for example %" PRIu32,
			       *blocks, type->name, p->ecc_blocks,
			       *blocks / p->ecc_blocks * p->ecc_blocks);
	}
	return true;
}

/* READ TOC/PMA/ATIP format 4, as it is returned. */
static void make_atip(struct disc_state *s)
{
	struct msf in = lba_to_msf(s->lead_in_start), out = lba_to_msf(s->last_lead_out);
	/* clang-format off */
	const uint8_t atip[28] = {
		0x00, 0x1a, 0, 0, 0xd0, 0x40, 0xa0, 0, in.m, in.s, in.f, 0, out.m, out.s, out.f,
	};
	/* clang-format on */

	memcpy(s->atip, atip, sizeof(atip));
}

static void put_text(char *to, size_t room, const char *text)
{
	for (size_t i = 0; i < room && text[i]; i++)
		to[i] = text[i];
}

struct disc_state *disc_blank_state(const struct disc_type *type, uint32_t blocks)
{
	struct disc_state *s = disc_state_new();
	struct disc_session first = {.number = 1, .state = SESSION_EMPTY};

	s->profile = s->born_profile = type->profile;
	s->status = DISC_BLANK;
	s->layers = type->layers;
	s->max_blocks = s->capacity = blocks;
	s->layer_break = type->layer0_blocks && blocks != type->blocks ? blocks / type->layers
								       : type->layer0_blocks;
	if (disc_profile_find(type->profile)->family == DISC_CD) {
		s->lead_in_start = first.lead_in = CD_LEAD_IN;
		s->last_lead_out = (int32_t)blocks;
		s->disc_type = 0xff;
		make_atip(s);
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(makers); i++) {
		if (makers[i].family != disc_profile_find(type->profile)->family)
			continue;
		put_text(s->media_id, 8, makers[i].manufacturer);
		put_text(s->media_id + 8, 8, makers[i].media_type);
	}
	for (unsigned i = 0; i < sizeof(s->serial); i += 4)
		put_be32(s->serial + i, g_random_int());
	g_array_append_val(s->sessions, first);
	return s;
}

co_fn bool disc_create(const char *path, const struct disc_type *type, uint32_t blocks,
		       bool preallocate, GError **error)
{
	struct disc_state *state;
	bool ok;

	if (!check_type(type, &blocks, error))
		return err_prefix(error, "%s", path);
	state = disc_blank_state(type, blocks);
	ok = disc_store_create(path, state, STORE_RDWR | (preallocate ? STORE_PREALLOCATE : 0u),
			       error);
	disc_state_free(state);
	return ok;
}
