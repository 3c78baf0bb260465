/* Fuzzes VHD; see disk_fuzz.h. The footer at the end is that of the copy at offset 0. */
#include "block/vhd.h"
#include "disk_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* footer, header, locators, table, where a locator may point */
static const uint64_t areas[] = {0, 512, 512 + VD_LOCATORS, 1536, 4096};

static co_fn void seal(struct block_node *file)
{
	uint8_t footer[VF_LEN], header[VD_LEN];

	block_pread(file, 0, footer, sizeof(footer));
	vhd_put_checksum(footer, sizeof(footer), VF_CHECKSUM);
	block_pwrite(file, 0, footer, sizeof(footer), 0);
	block_pwrite(file, block_length(file) - VF_LEN, footer, sizeof(footer), 0);
	block_pread(file, VF_LEN, header, sizeof(header));
	vhd_put_checksum(header, sizeof(header), VD_CHECKSUM);
	block_pwrite(file, VF_LEN, header, sizeof(header), 0);
}

static const struct disk_fuzz vpc = {
	.format = "vpc",
	.options = "force_size=on,block_size=8k",
	.length = 256 << 10,
	.areas = areas,
	.n_areas = sizeof(areas) / sizeof(*areas),
	.seal = seal,
};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	disk_fuzz_init(&vpc);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return disk_fuzz_one(data, size);
}
