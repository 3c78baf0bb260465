/* Fuzzes VDI; see disk_fuzz.h. */
#include "disk_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static const uint64_t areas[] = {0, 0x140, 0x170, 512, 4096}; /* header and map */

static const struct disk_fuzz vdi = {
	.format = "vdi",
	.options = "cluster_size=4k",
	.length = 256 << 10,
	.areas = areas,
	.n_areas = sizeof(areas) / sizeof(*areas),
};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	disk_fuzz_init(&vdi);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return disk_fuzz_one(data, size);
}
