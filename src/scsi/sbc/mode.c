/*
 * MODE SENSE and MODE SELECT, both lengths (SPC-4 6.9 ff., 7.5; SBC-3 6.5). Pages: error recovery,
 * caching, control. What may be changed is WCE (without it every write is durable when it ends) and
 * SWP; both stay as they are set until the machine is switched off.
 */
#include "scsi/sbc/sbc.h"

#include "base/bytes.h"

/* clang-format off */
enum {
	PC_CURRENT, PC_CHANGEABLE, PC_DEFAULT, PC_SAVED,
	PAGE_ALL = 0x3f, SUBPAGES_ALL = 0xff,
	PAGE_CODE = BITS(0, 5, 0), PAGE_SUBPAGE_FORMAT = BIT(0, 6), PAGE_HEAD = 2, PAGE_LEN = 12,

	/* the header before the pages, in its short and long form */
	HEAD6_LEN = 4, HEAD6_DATA_LEN = U8(0), HEAD6_BLOCK_LEN = U8(3), HEAD6_DEVICE = 2,
	HEAD10_LEN = 8, HEAD10_DATA_LEN = BE16(0), HEAD10_BLOCK_LEN = BE16(6), HEAD10_DEVICE = 3,
	HEAD10_LONGLBA = BIT(4, 0),
	DEVICE_WP = BIT(0, 7), DEVICE_DPOFUA = BIT(0, 4),

	SHORT_LEN = 8, SHORT_BLOCKS = BE32(0), SHORT_BLOCK_SIZE = BE24(5),
	LONG_LEN = 16, LONG_BLOCKS = BE64(0), LONG_BLOCK_SIZE = BE32(12),

	CACHING_WCE = BIT(2, 2), CONTROL_SWP = BIT(4, 3),
	LIST_MAX = 256,
};

static const struct page {
	uint8_t code;
	uint8_t defaults[PAGE_LEN - PAGE_HEAD], mask[PAGE_LEN - PAGE_HEAD];
} pages[] = {
	{ 0x01, { 0xc0 }, { 0 } },			/* read-write error recovery: AWRE ARRE */
	{ 0x08, { 0x04 }, { 0x04 } },			/* caching: WCE */
	{ 0x0a, { 0, 0x10 }, { 0, 0, 0x08 } },		/* control: any order; SWP */
};
/* clang-format on */

void sbc_mode_reset(struct scsi_disk *d)
{
	d->write_cache = true;
	d->software_protect = false;
}

static void fill_page(const struct scsi_disk *d, const struct page *page, unsigned pc, uint8_t *out)
{
	out[0] = page->code;
	out[1] = PAGE_LEN - PAGE_HEAD;
	memcpy(out + PAGE_HEAD, pc == PC_CHANGEABLE ? page->mask : page->defaults,
	       PAGE_LEN - PAGE_HEAD);
	if (pc != PC_CURRENT)
		return;
	if (page->code == 0x08)
		fld_put(out, CACHING_WCE, d->write_cache);
	else if (page->code == 0x0a)
		fld_put(out, CONTROL_SWP, d->software_protect);
}

/* ---- MODE SENSE ---- */

static unsigned fill_pages(const struct scsi_disk *d, unsigned code, unsigned pc, uint8_t *out)
{
	unsigned len = 0;

	for (unsigned i = 0; i < G_N_ELEMENTS(pages); i++) {
		if (code != PAGE_ALL && code != pages[i].code)
			continue;
		fill_page(d, &pages[i], pc, out + len);
		len += PAGE_LEN;
	}
	return len;
}

static unsigned fill_descriptor(const struct scsi_disk *d, bool is_long, uint8_t *out)
{
	uint64_t blocks = disk_blocks(d);

	if (is_long) {
		put_be64(out, blocks);
		fld_put(out, LONG_BLOCK_SIZE, d->block_size);
		return LONG_LEN;
	}
	fld_put(out, SHORT_BLOCKS, (uint32_t)MIN(blocks, (uint64_t)UINT32_MAX));
	fld_put(out, SHORT_BLOCK_SIZE, d->block_size);
	return SHORT_LEN;
}

static unsigned fill_head(const struct scsi_disk *d, unsigned head, bool descriptor, bool is_long,
			  uint8_t *out)
{
	uint8_t *device = out + (head == HEAD6_LEN ? HEAD6_DEVICE : HEAD10_DEVICE);
	unsigned len = descriptor ? fill_descriptor(d, is_long, out + head) : 0;

	fld_put(device, DEVICE_WP, !block_is_writable(d->node) || d->software_protect);
	fld_put(device, DEVICE_DPOFUA, 1);
	fld_put(out, head == HEAD6_LEN ? HEAD6_BLOCK_LEN : HEAD10_BLOCK_LEN, len);
	if (is_long && descriptor)
		fld_put(out, HEAD10_LONGLBA, 1);
	return head + len;
}

static enum sense mode_sense(struct scsi_cmd *c, unsigned head)
{
	unsigned pc = fld_get(c->cdb, MSENSE_PC), code = fld_get(c->cdb, MSENSE_PAGE);
	unsigned subpage = fld_get(c->cdb, MSENSE_SUBPAGE), len, n;
	bool is_long = head == HEAD10_LEN && fld_get(c->cdb, MSENSE_LLBAA);
	uint8_t buf[LIST_MAX] = {0};

	if (pc == PC_SAVED)
		return SENSE_SAVING_UNSUPPORTED;
	if (subpage != 0 && (code != PAGE_ALL || subpage != SUBPAGES_ALL))
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(MSENSE_SUBPAGE), SBC_NO_BIT);
	len = fill_head(cmd_disk(c), head, !fld_get(c->cdb, MSENSE_DBD), is_long, buf);
	n = fill_pages(cmd_disk(c), code, pc, buf + len);
	if (!n)
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(MSENSE_PAGE), 5);
	len += n;
	if (head == HEAD6_LEN)
		fld_put(buf, HEAD6_DATA_LEN, len - 1);
	else
		fld_put(buf, HEAD10_DATA_LEN, len - 2);
	return scsi_reply(c, buf, len);
}

enum sense sbc_mode_sense6(struct scsi_cmd *c)
{
	return mode_sense(c, HEAD6_LEN);
}

enum sense sbc_mode_sense10(struct scsi_cmd *c)
{
	return mode_sense(c, HEAD10_LEN);
}

/* ---- MODE SELECT ---- */

struct list {
	uint8_t bytes[LIST_MAX];
	unsigned len;
};

struct wanted {
	bool write_cache, software_protect;
};

/* The descriptor may say what is so already, or nothing. */
static bool descriptor_ok(const struct scsi_disk *d, const uint8_t *p, bool is_long)
{
	uint64_t blocks = disk_blocks(d);
	uint64_t n = is_long ? get_be64(p) : fld_get(p, SHORT_BLOCKS);
	unsigned size = fld_get(p, is_long ? LONG_BLOCK_SIZE : SHORT_BLOCK_SIZE);
	uint64_t all = is_long ? UINT64_MAX : UINT32_MAX;

	return (n == 0 || n == blocks || n == all) && (size == 0 || size == d->block_size);
}

/* Header and block descriptor; where the pages begin goes to *off. */
static enum sense check_head(struct scsi_cmd *c, const struct list *list, unsigned head,
			     unsigned *off)
{
	int field = head == HEAD6_LEN ? HEAD6_BLOCK_LEN : HEAD10_BLOCK_LEN;
	bool is_long = head == HEAD10_LEN;
	unsigned len;

	if (list->len < head)
		return SENSE_PARAMETER_LENGTH;
	is_long = is_long && fld_get(list->bytes, HEAD10_LONGLBA);
	len = fld_get(list->bytes, field);
	*off = head + len;
	if (!len)
		return SENSE_GOOD;
	if (len != (is_long ? LONG_LEN : SHORT_LEN))
		return scsi_bad_field(c, SENSE_BAD_PARAMETER, fld_byte(field), SBC_NO_BIT);
	if (list->len < *off)
		return SENSE_PARAMETER_LENGTH;
	if (!descriptor_ok(cmd_disk(c), list->bytes + head, is_long))
		return scsi_bad_field(c, SENSE_BAD_PARAMETER, head, SBC_NO_BIT);
	return SENSE_GOOD;
}

/* Bits that cannot be changed must be as they are (SPC-4 6.9: else 5/26/00). */
static enum sense take_page(struct scsi_cmd *c, const struct list *list, unsigned off,
			    struct wanted *w)
{
	const uint8_t *sent = list->bytes + off;
	const struct page *page = NULL;
	uint8_t now[PAGE_LEN];

	if (list->len - off < PAGE_HEAD)
		return SENSE_PARAMETER_LENGTH;
	for (unsigned i = 0; i < G_N_ELEMENTS(pages); i++) {
		if (!fld_get(sent, PAGE_SUBPAGE_FORMAT) &&
		    fld_get(sent, PAGE_CODE) == pages[i].code)
			page = &pages[i];
	}
	if (!page)
		return scsi_bad_field(c, SENSE_BAD_PARAMETER, off, 5);
	if (sent[1] != PAGE_LEN - PAGE_HEAD)
		return scsi_bad_field(c, SENSE_BAD_PARAMETER, off + 1, SBC_NO_BIT);
	if (list->len - off < PAGE_LEN)
		return SENSE_PARAMETER_LENGTH;
	fill_page(cmd_disk(c), page, PC_CURRENT, now);
	for (unsigned i = 0; i < PAGE_LEN - PAGE_HEAD; i++) {
		if ((sent[PAGE_HEAD + i] ^ now[PAGE_HEAD + i]) & ~page->mask[i])
			return scsi_bad_field(c, SENSE_BAD_PARAMETER, off + PAGE_HEAD + i,
					      SBC_NO_BIT);
	}
	if (page->code == 0x08)
		w->write_cache = fld_get(sent, CACHING_WCE);
	else if (page->code == 0x0a)
		w->software_protect = fld_get(sent, CONTROL_SWP);
	return SENSE_GOOD;
}

/* What lies in a cache that is switched off must be on the medium first. */
static co_fn enum sense apply(struct scsi_cmd *c, const struct wanted *w)
{
	struct scsi_disk *d = cmd_disk(c);
	struct wanted before = {d->write_cache, d->software_protect};
	int res = 0;

	if (w->write_cache == before.write_cache && w->software_protect == before.software_protect)
		return SENSE_GOOD;
	if (!w->write_cache && before.write_cache)
		res = block_flush(d->node);
	if (res < 0)
		return sbc_write_failed(c, res, 0);
	d->write_cache = w->write_cache;
	d->software_protect = w->software_protect;
	if (!sbc_state_save(d)) {
		d->write_cache = before.write_cache;
		d->software_protect = before.software_protect;
		return SENSE_INTERNAL_FAILURE;
	}
	scsi_lu_attention(c->lu, c->nexus, SENSE_MODE_CHANGED);
	return SENSE_GOOD;
}

/* All pages are checked before anything changes. */
static co_fn enum sense mode_select(struct scsi_cmd *c, unsigned head)
{
	struct scsi_disk *d = cmd_disk(c);
	struct wanted w = {d->write_cache, d->software_protect};
	struct list list;
	unsigned off;
	enum sense s;

	if (fld_get(c->cdb, MSEL_SP))
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(MSEL_SP), fld_low(MSEL_SP));
	if (!c->alloc_len)
		return SENSE_GOOD;
	if (c->alloc_len > LIST_MAX)
		return SENSE_PARAMETER_LENGTH;
	list.len = (unsigned)scsi_parameters(c, list.bytes, LIST_MAX);
	s = check_head(c, &list, head, &off);
	for (; s == SENSE_GOOD && off < list.len; off += PAGE_LEN)
		s = take_page(c, &list, off, &w);
	return s == SENSE_GOOD ? apply(c, &w) : s;
}

co_fn enum sense sbc_mode_select6(struct scsi_cmd *c)
{
	return mode_select(c, HEAD6_LEN);
}

co_fn enum sense sbc_mode_select10(struct scsi_cmd *c)
{
	return mode_select(c, HEAD10_LEN);
}
