/* MODE SENSE and MODE SELECT, both lengths (SPC-4 6.8 to 6.11; mmc.md 2.4, 2.5). Block descriptors
 * are not returned. */
#include "scsi/mmc/mmc.h"

#include "base/bytes.h"

/* clang-format off */
enum {
	PC_CURRENT, PC_CHANGEABLE, PC_DEFAULT, PC_SAVED,
	PAGE_CAPABILITIES = 0x2a, PAGE_ALL = 0x3f, SUBPAGES_ALL = 0xff,
	PAGE_CODE = BITS(0, 5, 0), PAGE_SUBPAGE_FORMAT = BIT(0, 6), PAGE_LENGTH = U8(1),
	PAGE_HEAD = 2,

	/* the header before the pages, in its short and long form */
	HEAD6_LEN = 4, HEAD6_DATA_LEN = U8(0), HEAD6_BLOCK_LEN = U8(3),
	HEAD10_LEN = 8, HEAD10_DATA_LEN = BE16(0), HEAD10_BLOCK_LEN = BE16(6),
	BLOCK_DESCRIPTOR_LEN = 8, BLOCK_LENGTH = BE24(5), BLOCK_BYTES = 2048,

	LIST_MAX = 512,		/* all our pages together are below 256 */
	NO_BIT = 8,
};
/* clang-format on */

/* ---- MODE SENSE ---- */

static unsigned fill_page(const struct drive *d, unsigned index, unsigned pc, uint8_t *out)
{
	const struct mode_row *row = &mode_rows[index];

	switch (pc) {
	case PC_CURRENT: memcpy(out, d->state->pages[index], PAGE_HEAD + row->len); break;
	case PC_CHANGEABLE: memcpy(out + PAGE_HEAD, row->mask, row->len); break;
	default: mode_default_page(d, index, out); break;
	}
	out[0] = row->code;
	out[1] = row->len;
	return PAGE_HEAD + row->len;
}

static unsigned fill_capabilities(const struct drive *d, unsigned pc, uint8_t *out)
{
	unsigned len = mode_fill_capabilities(d, out);

	if (pc == PC_CHANGEABLE)
		memset(out + PAGE_HEAD, 0, len - PAGE_HEAD);
	return len;
}

/* All pages that code names, ascending; returns their length, 0 when there is none. */
static unsigned fill_pages(const struct drive *d, unsigned code, unsigned pc, uint8_t *out)
{
	unsigned len = 0;

	for (unsigned i = 0; i < STATE_PAGES; i++) {
		if (code == PAGE_ALL || code == mode_rows[i].code)
			len += fill_page(d, i, pc, out + len);
	}
	if (code == PAGE_ALL || code == PAGE_CAPABILITIES)
		len += fill_capabilities(d, pc, out + len);
	return len;
}

static enum sense mode_sense(struct scsi_cmd *c, unsigned head)
{
	unsigned pc = fld_get(c->cdb, MSENSE_PC), code = fld_get(c->cdb, MSENSE_PAGE);
	unsigned subpage = fld_get(c->cdb, MSENSE_SUBPAGE);
	uint8_t buf[LIST_MAX] = {0};
	unsigned len;

	if (pc == PC_SAVED)
		return SENSE_SAVING_UNSUPPORTED;
	if (subpage != 0 && (code != PAGE_ALL || subpage != SUBPAGES_ALL))
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(MSENSE_SUBPAGE), NO_BIT);
	len = fill_pages(cmd_drive(c), code, pc, buf + head);
	if (!len)
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(MSENSE_PAGE), 5);
	len += head;
	if (head == HEAD6_LEN)
		fld_put(buf, HEAD6_DATA_LEN, len - 1);
	else
		fld_put(buf, HEAD10_DATA_LEN, len - 2);
	return scsi_reply(c, buf, len);
}

enum sense mmc_mode_sense6(struct scsi_cmd *c)
{
	return mode_sense(c, HEAD6_LEN);
}

enum sense mmc_mode_sense10(struct scsi_cmd *c)
{
	return mode_sense(c, HEAD10_LEN);
}

/* ---- MODE SELECT ---- */

struct list {
	uint8_t bytes[LIST_MAX];
	unsigned len;
};

static int find_page(unsigned code)
{
	for (int i = 0; i < STATE_PAGES; i++) {
		if (mode_rows[i].code == code)
			return i;
	}
	return -1;
}

/* The page as it would be: what may not be changed stays. */
static void merge_page(const struct drive *d, unsigned index, const uint8_t *sent, uint8_t *merged)
{
	const struct mode_row *row = &mode_rows[index];
	const uint8_t *now = d->state->pages[index];
	unsigned len = MIN(row->len, sent[1]);

	memcpy(merged, now, PAGE_HEAD + row->len);
	for (unsigned i = 0; i < len; i++)
		merged[PAGE_HEAD + i] = (uint8_t)((now[PAGE_HEAD + i] & ~row->mask[i]) |
						  (sent[PAGE_HEAD + i] & row->mask[i]));
}

/* Checks the page at off. */
static enum sense check_page(struct scsi_cmd *c, const struct list *list, unsigned off)
{
	const uint8_t *page = list->bytes + off;
	struct drive *d = cmd_drive(c);
	uint8_t merged[STATE_PAGE_LEN];
	unsigned bad = 0;
	int index;

	if (list->len - off < PAGE_HEAD || list->len - off - PAGE_HEAD < page[1])
		return SENSE_PARAMETER_LENGTH;
	index = fld_get(page, PAGE_SUBPAGE_FORMAT) ? -1 : find_page(fld_get(page, PAGE_CODE));
	if (index < 0)
		return scsi_bad_field(c, SENSE_BAD_PARAMETER, off, 5);
	if (page[1] != mode_rows[index].len &&
	    (!mode_rows[index].also_len || page[1] != mode_rows[index].also_len))
		return scsi_bad_field(c, SENSE_BAD_PARAMETER, off + fld_byte(PAGE_LENGTH), NO_BIT);
	if (!mode_rows[index].check)
		return SENSE_GOOD;
	merge_page(d, (unsigned)index, page, merged);
	if (!mode_rows[index].check(d, merged, &bad))
		return scsi_bad_field(c, SENSE_BAD_PARAMETER, off + bad, NO_BIT);
	return SENSE_GOOD;
}

/* Takes the page at off, which was checked; says whether anything is new. */
static bool apply_page(struct drive *d, const uint8_t *page)
{
	unsigned index = (unsigned)find_page(fld_get(page, PAGE_CODE));
	uint8_t merged[STATE_PAGE_LEN];
	uint8_t *now = d->state->pages[index];
	bool changed;

	merge_page(d, index, page, merged);
	changed = memcmp(now, merged, PAGE_HEAD + mode_rows[index].len) != 0;
	memcpy(now, merged, PAGE_HEAD + mode_rows[index].len);
	if (mode_rows[index].applied)
		mode_rows[index].applied(d);
	return changed;
}

/* Header and block descriptor; where the pages begin goes to *off. */
static enum sense check_head(struct scsi_cmd *c, const struct list *list, unsigned head,
			     unsigned *off)
{
	int field = head == HEAD6_LEN ? HEAD6_BLOCK_LEN : HEAD10_BLOCK_LEN;
	unsigned block_len, bytes;

	if (list->len < head)
		return SENSE_PARAMETER_LENGTH;
	block_len = fld_get(list->bytes, field);
	*off = head + block_len;
	if (block_len == 0)
		return SENSE_GOOD;
	if (block_len != BLOCK_DESCRIPTOR_LEN)
		return scsi_bad_field(c, SENSE_BAD_PARAMETER, fld_byte(field), NO_BIT);
	if (list->len < *off)
		return SENSE_PARAMETER_LENGTH;
	bytes = fld_get(list->bytes + head, BLOCK_LENGTH);
	if (bytes != 0 && bytes != BLOCK_BYTES)
		return scsi_bad_field(c, SENSE_BAD_PARAMETER, head + fld_byte(BLOCK_LENGTH),
				      NO_BIT);
	return SENSE_GOOD;
}

/* All pages are checked before the first one is taken. */
static enum sense mode_select(struct scsi_cmd *c, unsigned head)
{
	struct list list;
	unsigned off, first;
	bool changed = false;
	enum sense s;

	if (fld_get(c->cdb, MSEL_SP))
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(MSEL_SP), fld_low(MSEL_SP));
	if (!c->alloc_len)
		return SENSE_GOOD;
	if (c->alloc_len > LIST_MAX)
		return SENSE_PARAMETER_LENGTH;
	list.len = (unsigned)scsi_parameters(c, list.bytes, LIST_MAX);
	s = check_head(c, &list, head, &first);
	if (s != SENSE_GOOD)
		return s;
	for (off = first; off < list.len; off += PAGE_HEAD + list.bytes[off + 1]) {
		s = check_page(c, &list, off);
		if (s != SENSE_GOOD)
			return s;
	}
	for (off = first; off < list.len; off += PAGE_HEAD + list.bytes[off + 1])
		changed |= apply_page(cmd_drive(c), list.bytes + off);
	if (changed)
		scsi_lu_attention(c->lu, c->nexus, SENSE_MODE_CHANGED);
	return SENSE_GOOD;
}

enum sense mmc_mode_select6(struct scsi_cmd *c)
{
	return mode_select(c, HEAD6_LEN);
}

enum sense mmc_mode_select10(struct scsi_cmd *c)
{
	return mode_select(c, HEAD10_LEN);
}
