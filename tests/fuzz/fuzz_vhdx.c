/* Fuzzes VHDX; see disk_fuzz.h. What is put into the log gets the header's GUID and checksums. */
#include <string.h>

#include "base/bytes.h"
#include "block/vhdx.h"
#include "disk_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

enum { LOG = 1 << 20, METADATA = 2 << 20, BAT = 3 << 20, ENTRY_MAX = 64 << 10 };

/* header, its fields, region table, log and a second entry, metadata table, items, BAT */
static const uint64_t areas[] = {
	VHDX_HEADERS, VHDX_HEADERS + XH_LOG_GUID, VHDX_REGIONS, LOG, LOG + 8192,
	METADATA,     METADATA + VHDX_KIB64,      BAT,
};

static co_fn void seal_at(struct block_node *file, uint64_t off, size_t len)
{
	uint8_t *p = g_malloc(len);

	block_pread(file, off, p, len);
	vhdx_put_crc(p, len);
	block_pwrite(file, off, p, len, 0);
	g_free(p);
}

static co_fn void seal(struct block_node *file)
{
	static const uint64_t entries[] = {LOG, LOG + 8192};
	uint8_t guid[VHDX_GUID], len[4] = {0};

	/* The second header is the newer one of a new image; the first gets to be that. */
	block_pwrite(file, VHDX_HEADERS + VHDX_KIB64, "\0", 1, 0);
	block_pread(file, VHDX_HEADERS + XH_LOG_GUID, guid, sizeof(guid));
	for (unsigned i = 0; i < G_N_ELEMENTS(entries); i++) {
		uint32_t n;

		block_pread(file, entries[i] + XL_LEN, len, sizeof(len));
		n = get_le32(len);
		if (n < VHDX_SECTOR || n > ENTRY_MAX)
			continue;
		block_pwrite(file, entries[i] + XL_GUID, guid, sizeof(guid), 0);
		seal_at(file, entries[i], n);
	}
	seal_at(file, VHDX_HEADERS, VHDX_SECTOR);
	seal_at(file, VHDX_REGIONS, VHDX_KIB64);
}

static const struct disk_fuzz vhdx = {
	.format = "vhdx",
	.options = "block_size=1M",
	.length = 4 << 20,
	.areas = areas,
	.n_areas = sizeof(areas) / sizeof(*areas),
	.seal = seal,
};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	disk_fuzz_init(&vhdx);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return disk_fuzz_one(data, size);
}
