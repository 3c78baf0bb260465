/* Prints the command tables as Markdown for docs/ata-commands.md; the documentation's build runs
 * it.
 */
#include "ata/unit_impl.h"

#include <stdio.h>

static const char *address_of(const struct ata_row *row)
{
	if (!(row->flags & ATA_ROW_RANGE))
		return "–";
	return row->flags & (ATA_ROW_48 | ATA_ROW_QUEUED) ? "48 bits" : "28 bits or CHS";
}

static const char *state_of(const struct ata_row *row)
{
	if (row->run)
		return "works";
	return row->flags & ATA_ROW_SIGNATURE ? "ABRT, and the signature" : "ABRT";
}

static void print_disk_rows(void)
{
	printf("## Disks\n\n"
	       "An address outside the disk ends with IDNF and the first sector that is not there; "
	       "a "
	       "command\n"
	       "that writes ends with ABRT on a read-only disk. Queued commands exist on AHCI "
	       "only.\n\n"
	       "| opcode | command | address | writes | queued | state |\n"
	       "|---|---|---|---|---|---|\n");
	for (unsigned op = 0; op < 256; op++) {
		const struct ata_row *row = &ata_disk_rows[op];

		if (row->name) {
			printf("| %02Xh | %s | %s | %s | %s | %s |\n", op, row->name,
			       address_of(row), row->flags & ATA_ROW_WRITE ? "yes" : "no",
			       row->flags & ATA_ROW_QUEUED ? "yes" : "no", state_of(row));
		}
	}
}

static void print_packet_rows(void)
{
	printf("\n## Optical drives\n\n"
	       "PACKET carries the commands of mmc-commands.md, but for the 6-byte MODE SENSE and "
	       "MODE SELECT.\n\n"
	       "| opcode | command | state |\n"
	       "|---|---|---|\n");
	for (unsigned op = 0; op < 256; op++) {
		const struct ata_row *row = &ata_packet_rows[op];

		if (row->name)
			printf("| %02Xh | %s | %s |\n", op, row->name, state_of(row));
	}
}

int main(void)
{
	printf("# ATA commands of disks and drives\n\n"
	       "Made from the command tables of the units that the IDE and AHCI controllers have. "
	       "Any "
	       "other\n"
	       "operation code ends with ABRT (status 51h, error 04h). DEVICE RESET (08h, optical "
	       "drives) and\n"
	       "EXECUTE DEVICE DIAGNOSTIC (90h) are the controllers'.\n\n");
	print_disk_rows();
	print_packet_rows();
	return ferror(stdout) ? 1 : 0;
}
