/*
 * Fuzzes uimage: the input is an image, whose checksums are made right first if its first byte says
 * so, as no mutation would guess them. It is opened and read through.
 */
#include <assert.h>
#include <string.h>
#include <zlib.h>

#include "base/bytes.h"
#include "block/driver.h"
#include "block/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

enum { HEAD_LEN = 64, HEAD_CRC = 4, SIZE = 12, DATA_CRC = 24, SEAL = 1 };

static struct loop *loop;

struct input {
	uint8_t *data;
	size_t size;
	bool seal;
};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	loop = loop_new(LOOP_EPOLL, NULL);
	assert(loop);
	return 0;
}

static void seal(struct input *in)
{
	if (in->size < HEAD_LEN)
		return;
	put_be32(in->data, 0x27051956);
	put_be32(in->data + SIZE, (uint32_t)(in->size - HEAD_LEN));
	put_be32(in->data + DATA_CRC,
		 (uint32_t)crc32(0, in->data + HEAD_LEN, (unsigned)(in->size - HEAD_LEN)));
	put_be32(in->data + HEAD_CRC, 0);
	put_be32(in->data + HEAD_CRC, (uint32_t)crc32(0, in->data, HEAD_LEN));
}

static co_fn void one_input(void *arg)
{
	const struct input *in = arg;
	struct block_node *file = block_mem_new(in->size, NULL, 0), *node;
	uint8_t buf[100];
	GError *error = NULL;

	block_pwrite(file, 0, in->data, in->size, 0);
	node = block_open_over("uimage", file, &error);
	assert((node != NULL) == (error == NULL));
	g_clear_error(&error);
	for (uint64_t off = 0; node && off < MIN(block_length(node), (uint64_t)1 << 20);
	     off += sizeof(buf)) {
		int res = block_pread(node, off, buf, MIN(sizeof(buf), block_length(node) - off));

		assert(res == 0);
	}
	if (node)
		json_decref(block_info(node));
	block_unref(node);
	loop_stop(loop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {.size = size - 1};

	if (size < 2)
		return 0;
	in.data = g_memdup2(data + 1, size - 1);
	if (data[0] & SEAL)
		seal(&in);
	co_start(loop, one_input, &in);
	loop_run(loop);
	g_free(in.data);
	return 0;
}
