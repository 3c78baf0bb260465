/* Prints the command table as Markdown for docs/mmc-commands.md; the documentation's build runs it.
 */
#include "scsi/mmc/mmc.h"

#include <stdio.h>

static const char *data_of(const struct scsi_row *row)
{
	return row->flags & ROW_DATA_IN ? "in" : row->flags & ROW_DATA_OUT ? "out" : "–";
}

static const char *attention_of(const struct scsi_row *row)
{
	if (row->flags & ROW_KEEP_SENSE)
		return "returns it as data";
	return row->flags & ROW_UA_EXEMPT ? "never" : "reported first";
}

static const char *state_of(const struct scsi_row *row)
{
	if (row->handler)
		return "works";
	return row->flags & ROW_LATER ? "later: 5/20/00" : "not in such a drive: 5/20/00";
}

int main(void)
{
	printf("# Commands of the optical drive\n\n"
	       "Made from the drive's own command table. Any other operation code is refused with "
	       "sense 5/20/00\n"
	       "(INVALID COMMAND OPERATION CODE).\n\n"
	       "| opcode | command | CDB | data | needs a medium | unit attention | state |\n"
	       "|---|---|---|---|---|---|---|\n");
	for (unsigned op = 0; op < 256; op++) {
		const struct scsi_row *row = &mmc_rows[op];

		if (row->name) {
			printf("| %02Xh | %s | %u | %s | %s | %s | %s |\n", op, row->name,
			       row->cdb_len, data_of(row), row->flags & ROW_MEDIUM ? "yes" : "no",
			       attention_of(row), state_of(row));
		}
	}
	return ferror(stdout) ? 1 : 0;
}
