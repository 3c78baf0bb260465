/* What a row says about its CDB: reserved bits for strict mode, and the check of the table. */
#include "scsi/table.h"

/* clang-format off */
enum {
	CDB_BYTES_MAX = 16,
	OLD_LUN_BYTE = 1, OLD_LUN_BITS = 0xe0,	/* SCSI-2 initiators may fill them (mmc.md 1.1) */
	CONTROL_VENDOR_BITS = 0xc0,
};
/* clang-format on */

/* The bits of one field within one byte. */
static uint8_t field_bits(int field, unsigned byte)
{
	unsigned first = fld_byte(field);

	if (byte < first || byte >= first + fld_bytes(field))
		return 0;
	if (fld_bytes(field) > 1)
		return 0xff;
	return (uint8_t)(((1u << fld_bits(field)) - 1) << fld_low(field));
}

uint8_t scsi_row_bits(const struct scsi_row *row, unsigned byte)
{
	uint8_t mask = row->alloc ? field_bits(row->alloc, byte) : 0;

	for (unsigned i = 0; i < ROW_FIELDS_MAX && row->fields[i]; i++)
		mask |= field_bits(row->fields[i], byte);
	return mask;
}

static uint8_t defined_bits(const struct scsi_row *row, unsigned byte)
{
	uint8_t mask = scsi_row_bits(row, byte);

	if (byte == OLD_LUN_BYTE)
		mask |= OLD_LUN_BITS;
	if (byte == row->cdb_len - 1u)
		mask |= CONTROL_VENDOR_BITS;
	return mask;
}

enum sense scsi_check_reserved(struct scsi_cmd *c)
{
	for (unsigned byte = 1; byte < c->row->cdb_len; byte++) {
		uint8_t extra = c->cdb[byte] & (uint8_t)~defined_bits(c->row, byte);
		unsigned bit = 7;

		if (!extra)
			continue;
		while (!(extra >> bit & 1))
			bit--;
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, byte, bit);
	}
	return SENSE_GOOD;
}

static const char *check_fields(const struct scsi_row *row)
{
	uint8_t seen[CDB_BYTES_MAX] = {0};
	bool alloc_listed = row->alloc == 0;

	for (unsigned i = 0; i < ROW_FIELDS_MAX && row->fields[i]; i++) {
		int f = row->fields[i];

		if (fld_byte(f) < 1 || fld_byte(f) + fld_bytes(f) > row->cdb_len)
			return "a field lies outside the CDB";
		if (fld_bytes(f) == 1 && (fld_bits(f) < 1 || fld_low(f) + fld_bits(f) > 8))
			return "a field has more bits than its byte";
		for (unsigned byte = fld_byte(f); byte < fld_byte(f) + fld_bytes(f); byte++) {
			if (seen[byte] & field_bits(f, byte))
				return "two fields overlap";
			seen[byte] |= field_bits(f, byte);
		}
		alloc_listed = alloc_listed || f == row->alloc;
	}
	return alloc_listed ? NULL : "the length field is not among the fields";
}

static const char *check_row(const struct scsi_row *row, unsigned opcode)
{
	static const uint8_t lengths[8] = {6, 10, 10, 0, 16, 12, 0, 0}; /* by command group */

	if (row->cdb_len != lengths[opcode >> 5])
		return "the CDB length does not fit the opcode's group";
	if (row->flags & ROW_LATER && row->handler)
		return "a handler though the work comes later";
	if ((row->flags & ROW_DATA_IN) && (row->flags & ROW_DATA_OUT))
		return "data both ways";
	if ((row->flags & ROW_BUSY_OK) && (row->flags & (ROW_SHARED | ROW_WRITE)))
		return "a command that waits for nobody cannot be ordered";
	if (row->alloc && !(row->flags & (ROW_DATA_IN | ROW_DATA_OUT)))
		return "a length without data";
	return check_fields(row);
}

static const char *check_actions(const struct scsi_action *a, unsigned opcode)
{
	enum { ACTION_BITS = 0x1f };
	unsigned seen = 0;

	for (; a->row.name; a++) {
		const char *fault = check_row(&a->row, opcode);

		if (fault)
			return fault;
		if (a->action > ACTION_BITS || seen >> a->action & 1)
			return "a service action is out of range or there twice";
		if ((scsi_row_bits(&a->row, fld_byte(SCSI_ACTION)) & ACTION_BITS) != ACTION_BITS)
			return "the service action is not among the fields";
		seen |= 1u << a->action;
	}
	return NULL;
}

const char *scsi_check_rows(const struct scsi_row *rows, unsigned *opcode)
{
	for (unsigned op = 0; op < 256; op++) {
		const char *fault;

		*opcode = op;
		if (!rows[op].name) {
			if (rows[op].handler)
				return "no name";
			continue;
		}
		fault = check_row(&rows[op], op);
		if (!fault && rows[op].actions)
			fault = check_actions(rows[op].actions, op);
		if (fault)
			return fault;
		for (unsigned other = 0; other < op; other++) {
			if (rows[other].name && strcmp(rows[other].name, rows[op].name) == 0)
				return "the name is used twice";
		}
	}
	return NULL;
}
