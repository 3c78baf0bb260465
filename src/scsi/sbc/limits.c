/* The disk's limits and kind: VPD pages B0h, B1h, B2h (SBC-3 6.6.3 ff.), offsets behind their head.
 */
#include "scsi/sbc/sbc.h"

#include "base/bytes.h"

/* clang-format off */
enum {
	LIMITS_LEN = 60, LIMITS_COMPARE = U8(1), LIMITS_GRANULARITY = BE16(2),
	LIMITS_TRANSFER = BE32(4), LIMITS_UNMAP_BLOCKS = BE32(16),
	LIMITS_UNMAP_DESCRIPTORS = BE32(20), LIMITS_UNMAP_GRANULARITY = BE32(24),
	LIMITS_UGAVALID = BIT(28, 7), LIMITS_SAME = 32,

	KIND_LEN = 60, KIND_RATE = BE16(0), RATE_NONE = 1, RATE_HARD_DISK = 7200,

	PROVISION_LEN = 4, PROVISION_LBPU = BIT(1, 7), PROVISION_LBPWS = BIT(1, 6),
	PROVISION_LBPWS10 = BIT(1, 5), PROVISION_LBPRZ = BITS(1, 4, 2), PROVISION_TYPE = BITS(2, 2, 0),
	LBPRZ_ZEROS = 1, TYPE_FULL = 0, TYPE_THIN = 2,
};
/* clang-format on */

uint32_t sbc_transfer_max(const struct scsi_disk *d)
{
	return SBC_TRANSFER_MAX_BYTES / d->block_size;
}

size_t sbc_put_limits(const struct scsi_disk *d, uint8_t *out)
{
	uint64_t cluster = block_cluster_size(d->node);
	unsigned physical = SBC_PHYSICAL_BLOCK / d->block_size;
	uint64_t granularity = cluster > SBC_PHYSICAL_BLOCK && cluster % d->block_size == 0 &&
					       cluster <= SBC_SAME_MAX_BYTES
				       ? cluster / d->block_size
				       : physical;

	memset(out, 0, LIMITS_LEN);
	fld_put(out, LIMITS_COMPARE, sbc_compare_max(d));
	fld_put(out, LIMITS_GRANULARITY, physical);
	fld_put(out, LIMITS_TRANSFER, sbc_transfer_max(d));
	if (block_is_writable(d->node)) {
		fld_put(out, LIMITS_UNMAP_BLOCKS, (uint32_t)sbc_same_max(d));
		fld_put(out, LIMITS_UNMAP_DESCRIPTORS, SBC_UNMAP_DESCRIPTORS_MAX);
		fld_put(out, LIMITS_UNMAP_GRANULARITY, (uint32_t)granularity);
		fld_put(out, LIMITS_UGAVALID, 1); /* from block 0 on */
	}
	put_be64(out + LIMITS_SAME, sbc_same_max(d));
	return LIMITS_LEN;
}

size_t sbc_put_characteristics(const struct scsi_disk *d, uint8_t *out)
{
	memset(out, 0, KIND_LEN);
	fld_put(out, KIND_RATE, d->rotational ? RATE_HARD_DISK : RATE_NONE);
	return KIND_LEN;
}

size_t sbc_put_provisioning(const struct scsi_disk *d, uint8_t *out)
{
	bool thin = block_is_writable(d->node);

	memset(out, 0, PROVISION_LEN);
	fld_put(out, PROVISION_LBPU, thin);
	fld_put(out, PROVISION_LBPWS, thin);
	fld_put(out, PROVISION_LBPWS10, thin);
	fld_put(out, PROVISION_LBPRZ, thin ? LBPRZ_ZEROS : 0);
	fld_put(out, PROVISION_TYPE, thin ? TYPE_THIN : TYPE_FULL);
	return PROVISION_LEN;
}
