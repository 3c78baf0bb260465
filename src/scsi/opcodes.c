/* REPORT SUPPORTED OPERATION CODES (SPC-4 6.35), made from the command table. */
#include "scsi/table.h"

#include "base/bytes.h"

/* clang-format off */
enum {
	OPTION_ALL, OPTION_OPCODE, OPTION_ACTION, OPTION_EITHER,
	LIST_HEAD_LEN = 4, LIST_ENTRY_LEN = 8,
	ENTRY_OPCODE = U8(0), ENTRY_ACTION = BE16(2), ENTRY_CTDP = BIT(5, 1),
	ENTRY_SERVACTV = BIT(5, 0), ENTRY_CDB_LEN = BE16(6),
	ONE_CTDP = BIT(1, 7), ONE_SUPPORT = BITS(1, 2, 0), ONE_CDB_LEN = BE16(2), ONE_HEAD_LEN = 4,
	NOT_SUPPORTED = 1, SUPPORTED = 3,
	TIMEOUTS_LEN = 12, TIMEOUTS_LEN_VALUE = TIMEOUTS_LEN - 2,	/* none are told: all zero */
	CDB_MAX = 16,
};
/* clang-format on */

enum sense scsi_bad_action(struct scsi_cmd *c)
{
	return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(SCSI_ACTION), 4);
}

static size_t put_timeouts(uint8_t *out)
{
	memset(out, 0, TIMEOUTS_LEN);
	put_be16(out, TIMEOUTS_LEN_VALUE);
	return TIMEOUTS_LEN;
}

/* One entry of the list of all; action NULL: the opcode has none. */
static size_t put_entry(uint8_t *out, unsigned opcode, const struct scsi_action *action,
			const struct scsi_row *row, bool timeouts)
{
	memset(out, 0, LIST_ENTRY_LEN);
	fld_put(out, ENTRY_OPCODE, opcode);
	fld_put(out, ENTRY_CTDP, timeouts);
	fld_put(out, ENTRY_SERVACTV, action != NULL);
	fld_put(out, ENTRY_ACTION, action ? action->action : 0);
	fld_put(out, ENTRY_CDB_LEN, row->cdb_len);
	return LIST_ENTRY_LEN + (timeouts ? put_timeouts(out + LIST_ENTRY_LEN) : 0);
}

static enum sense report_all(struct scsi_cmd *c, bool timeouts)
{
	uint8_t entry[LIST_ENTRY_LEN + TIMEOUTS_LEN];
	GByteArray *list = g_byte_array_new();
	const struct scsi_row *rows = c->lu->ops->rows;
	enum sense s;

	g_byte_array_set_size(list, LIST_HEAD_LEN);
	for (unsigned op = 0; op < 256; op++) {
		const struct scsi_action *a = rows[op].actions;

		if (!rows[op].handler)
			continue;
		if (!a)
			g_byte_array_append(list, entry,
					    (guint)put_entry(entry, op, NULL, &rows[op], timeouts));
		for (; a && a->row.name; a++)
			g_byte_array_append(list, entry,
					    (guint)put_entry(entry, op, a, &a->row, timeouts));
	}
	put_be32(list->data, list->len - LIST_HEAD_LEN);
	s = scsi_reply(c, list->data, list->len);
	g_byte_array_free(list, TRUE);
	return s;
}

static enum sense report_one(struct scsi_cmd *c, const struct scsi_row *row, bool timeouts)
{
	uint8_t buf[ONE_HEAD_LEN + CDB_MAX + TIMEOUTS_LEN] = {0};
	size_t len = ONE_HEAD_LEN;

	if (!row) {
		fld_put(buf, ONE_SUPPORT, NOT_SUPPORTED);
		return scsi_reply(c, buf, len);
	}
	fld_put(buf, ONE_SUPPORT, SUPPORTED);
	fld_put(buf, ONE_CTDP, timeouts);
	fld_put(buf, ONE_CDB_LEN, row->cdb_len);
	buf[len] = (uint8_t)fld_get(c->cdb, RSOC_OPCODE);
	for (unsigned byte = 1; byte < row->cdb_len; byte++)
		buf[len + byte] = scsi_row_bits(row, byte);
	if (c->lu->ops->rows[buf[len]].actions) { /* the usage data names the one, no mask */
		buf[len + fld_byte(SCSI_ACTION)] =
			(uint8_t)((buf[len + fld_byte(SCSI_ACTION)] & ~0x1fu) |
				  fld_get(c->cdb, RSOC_ACTION));
	}
	len += row->cdb_len;
	if (timeouts)
		len += put_timeouts(buf + len);
	return scsi_reply(c, buf, len);
}

static const struct scsi_row *find_action(const struct scsi_row *row, unsigned action)
{
	for (const struct scsi_action *a = row->actions; a && a->row.name; a++) {
		if (a->action == action)
			return &a->row;
	}
	return NULL;
}

enum sense scsi_report_opcodes(struct scsi_cmd *c)
{
	const struct scsi_row *row = &c->lu->ops->rows[fld_get(c->cdb, RSOC_OPCODE)];
	unsigned option = fld_get(c->cdb, RSOC_OPTIONS), action = fld_get(c->cdb, RSOC_ACTION);
	bool timeouts = fld_get(c->cdb, RSOC_RCTD);

	if (option == OPTION_ALL)
		return report_all(c, timeouts);
	if (option > OPTION_EITHER)
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(RSOC_OPTIONS), 2);
	if (!row->handler)
		return report_one(c, NULL, timeouts);
	/* it must be asked as it is: with a service action if it has such */
	if ((option == OPTION_OPCODE && row->actions) || (option == OPTION_ACTION && !row->actions))
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(RSOC_OPTIONS), 2);
	if (row->actions)
		row = find_action(row, action);
	else if (action)
		row = NULL;
	return report_one(c, row, timeouts);
}
