/*
 * The mode pages that have values (mmc.md 2.4): one row each, with defaults and what may be
 * changed. Page 05h's rules are in write_page.c, page 2Ah is computed (capabilities.c). Current
 * values live in the drive's state.
 */
#include "scsi/mmc/mmc.h"

#include <assert.h>

enum { PAGE_HEAD = 2 };

static const uint8_t recovery_defaults[10] = {0xc0, 0x20, 0,   0,
					      0,    0,    0x01}; /* AWRE ARRE, retries */
static const uint8_t recovery_mask[10] = {0xf7, 0xff, 0, 0, 0, 0x03, 0xff};

static const uint8_t caching_defaults[10] = {0x04}; /* WCE */
static const uint8_t caching_mask[10] = {0x05};

static const uint8_t audio_defaults[14] = {0x04, 0, 0, 0, 0, 0x4b, 0x01, 0xff, 0x02, 0xff};
static const uint8_t audio_mask[14] = {0x02, 0,    0,    0,    0,    0,    0x0f,
				       0xff, 0x0f, 0xff, 0x0f, 0xff, 0x0f, 0xff};

static const uint8_t power_defaults[10] = {0};
static const uint8_t power_mask[10] = {0, 0x03, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

static const uint8_t timeout_defaults[8] = {0, 0, 0, 0, 0, 0x1e, 0, 0x1e};
static const uint8_t timeout_mask[8] = {0, 0, 0x07, 0, 0xff, 0xff, 0xff, 0xff}; /* TMOE DISP SWPP */

/* clang-format off */
enum {	/* places in the table and in drive_state.pages */
	PAGE_RECOVERY, PAGE_WRITE, PAGE_CACHING, PAGE_AUDIO, PAGE_POWER, PAGE_TIMEOUT,
	TIMEOUT_SWPP = BIT(4, 0),
};

const struct mode_row mode_rows[STATE_PAGES] = {
	[PAGE_RECOVERY]	= { 0x01, 0x0a, 0,    recovery_defaults,  recovery_mask },
	[PAGE_WRITE]	= { 0x05, 0x32, 0x36, write_page_of_cd, write_page_mask, write_page_check,
			    mode_apply_write_page },
	[PAGE_CACHING]	= { 0x08, 0x0a, 0x12, caching_defaults,   caching_mask },
	[PAGE_AUDIO]	= { 0x0e, 0x0e, 0,    audio_defaults,     audio_mask },
	[PAGE_POWER]	= { 0x1a, 0x0a, 0,    power_defaults,     power_mask },
	[PAGE_TIMEOUT]	= { 0x1d, 0x08, 0x0a, timeout_defaults,   timeout_mask },
};
/* clang-format on */

void mode_default_page(const struct drive *d, unsigned index, uint8_t *out)
{
	const struct mode_row *row = &mode_rows[index];
	const uint8_t *defaults = index == PAGE_WRITE ? write_page_defaults(d) : row->defaults;

	out[0] = row->code;
	out[1] = row->len;
	memcpy(out + PAGE_HEAD, defaults, row->len);
}

void mode_reset_pages(struct drive *d)
{
	for (unsigned i = 0; i < STATE_PAGES; i++)
		mode_default_page(d, i, d->state->pages[i]);
	mode_apply_write_page(d);
}

void mode_reset_write_page(struct drive *d)
{
	mode_default_page(d, PAGE_WRITE, d->state->pages[PAGE_WRITE]);
	mode_apply_write_page(d);
}

void mode_apply_write_page(struct drive *d)
{
	write_page_decode(d->state->pages[PAGE_WRITE], &d->wp);
	if (loaded_disc(d))
		disc_set_write_params(d->disc, &d->wp);
}

bool mode_write_protected(const struct drive *d)
{
	return fld_get(d->state->pages[PAGE_TIMEOUT], TIMEOUT_SWPP);
}

void mode_clear_write_protect(struct drive *d)
{
	fld_put(d->state->pages[PAGE_TIMEOUT], TIMEOUT_SWPP, 0);
}
