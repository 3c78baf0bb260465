/* Prints the disk's command table as Markdown for docs/sbc-commands.md; the documentation's build
 * runs it. */
#include "scsi/sbc/sbc.h"

#include <stdio.h>

static const char *data_of(const struct scsi_row *row)
{
	return row->flags & ROW_DATA_IN ? "in" : row->flags & ROW_DATA_OUT ? "out" : "–";
}

/* Of initiators that a reservation is not for. */
static const char *reserved_of(const struct scsi_row *row)
{
	return row->flags & ROW_RESERVED_ANY    ? "yes"
	       : row->flags & ROW_RESERVED_READ ? "write exclusive"
						: "no";
}

static const char *order_of(const struct scsi_row *row)
{
	return row->flags & ROW_BUSY_OK  ? "at once"
	       : row->flags & ROW_SHARED ? "beside others"
					 : "alone";
}

static void print_row(const char *opcode, const struct scsi_row *row)
{
	printf("| %s | %s | %u | %s | %s | %s | %s |\n", opcode, row->name, row->cdb_len,
	       data_of(row), order_of(row), row->flags & ROW_WRITE ? "yes" : "no",
	       reserved_of(row));
}

int main(void)
{
	char opcode[16];

	printf("# Commands of the disk\n\n"
	       "Made from the disk's own command table. Any other operation code is refused with "
	       "sense 5/20/00\n"
	       "(INVALID COMMAND OPERATION CODE), any other service action with 5/24/00.\n\n"
	       "| opcode | command | CDB | data | runs | changes the medium | while another holds "
	       "a "
	       "reservation |\n"
	       "|---|---|---|---|---|---|---|\n");
	for (unsigned op = 0; op < 256; op++) {
		const struct scsi_row *row = &sbc_rows[op];
		const struct scsi_action *a = row->actions;

		snprintf(opcode, sizeof(opcode), "%02Xh", op);
		if (row->name && !a)
			print_row(opcode, row);
		for (; a && a->row.name; a++) {
			snprintf(opcode, sizeof(opcode), "%02Xh/%02Xh", op, a->action);
			print_row(opcode, &a->row);
		}
	}
	return ferror(stdout) ? 1 : 0;
}
