/*
 * READ CAPACITY and READ FORMAT CAPACITIES (MMC-6 6.20, 6.23).
 */
#include "scsi/mmc/media.h"

enum { /* READ CAPACITY reply */
       CAP_LAST_LBA = BE32(0),
       CAP_BLOCK_LEN = BE32(4),
       CAP_LEN = 8,
};

enum { /* READ FORMAT CAPACITIES: header and descriptors */
       FCAP_LIST_LEN = U8(3),
       FCAP_HEADER = 4,
       FCAP_BLOCKS = BE32(0),
       FCAP_DESCRIPTOR_TYPE = BITS(4, 1, 0),
       FCAP_FORMAT_TYPE = BITS(4, 7, 2),
       FCAP_PARAMETER = BE24(5),
       FCAP_DESCRIPTOR = 8,
       FCAP_MAX = 31, /* what the one-byte list length can say */
       FCAP_NO_MEDIUM = 3,
       FCAP_LARGEST_BLOCKS = 0xba7400, /* BD single layer, unformatted */
};

enum sense mmc_read_capacity(struct scsi_cmd *c)
{
	uint8_t buf[CAP_LEN] = {0};

	fld_put(buf, CAP_LAST_LBA, disc_last_lba(cmd_disc(c)));
	fld_put(buf, CAP_BLOCK_LEN, BLOCK_BYTES);
	return scsi_reply(c, buf, sizeof(buf));
}

enum sense mmc_read_format_capacities(struct scsi_cmd *c)
{
	struct disc_capacity list[FCAP_MAX] = {
		{.blocks = FCAP_LARGEST_BLOCKS, .type = FCAP_NO_MEDIUM, .current = true},
	};
	uint8_t buf[FCAP_HEADER + FCAP_MAX * FCAP_DESCRIPTOR] = {0};
	struct disc *disc = cmd_disc(c);
	unsigned n = disc ? disc_list_capacities(disc, list, FCAP_MAX) : 1, i;

	for (i = 0; i < n; i++) {
		uint8_t *p = buf + FCAP_HEADER + i * FCAP_DESCRIPTOR;

		fld_put(p, FCAP_BLOCKS, list[i].blocks);
		fld_put(p, list[i].current ? FCAP_DESCRIPTOR_TYPE : FCAP_FORMAT_TYPE, list[i].type);
		fld_put(p, FCAP_PARAMETER, list[i].current ? BLOCK_BYTES : list[i].parameter);
	}
	fld_put(buf, FCAP_LIST_LEN, n * FCAP_DESCRIPTOR);
	return scsi_reply(c, buf, FCAP_HEADER + n * FCAP_DESCRIPTOR);
}
