/*
 * Fuzzes the opening of a .disc file. The input is not a whole file but a list of patches to a good
 * one, after which checksums and chains are made right again (if it says so), so that the fuzzer
 * reaches what lies behind them.
 *
 * Input: u8 flags; then patches: u8 area, u16 offset, u8 length, bytes. What can be opened for
 * writing must also take a commit and be found with it again.
 */
#include <assert.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "block/mem.h"
#include "disc/profile.h"
#include "disc/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

enum { WRITING = 1, FIX_SUMS = 2, SAME_BOOT = 4, CUT = 8 };

enum { /* docs/disc-format.md */
       BLOCK = 4096,
       META = 0x600000,
       PROGRESS = 0x10000,
       SLOT = 0x100000,
       JOURNAL = 0x200000,
       SLOT_STEP = 0x200000,
       FIXED_JOURNAL_BLOCKS = 8,
};

static const uint8_t boot_id[16] = {1}, other_boot_id[16] = {2};
static struct loop *loop;
static struct block_node *pristine;

struct input {
	const uint8_t *data;
	size_t size;
};

static void quiet(enum log_level level, const char *area, const char *text, void *arg)
{
	(void)level;
	(void)area;
	(void)text;
	(void)arg;
}

static co_fn void make_pristine(void *arg)
{
	struct disc_state *state = disc_state_new(), *opened = NULL;
	struct disc_track track = {.number = 1, .session = 1, .flags = TRACK_OPEN};
	struct disc_session session = {.number = 1, .first_track = 1, .last_track = 1};
	struct disc_store *s;
	bool ok;

	(void)arg;
	pristine = block_mem_new(0, NULL, 0);
	state->profile = state->born_profile = PROFILE_CD_R;
	state->max_blocks = 100;
	ok = disc_store_format(pristine, state, STORE_RDWR, NULL);
	assert(ok);
	block_ref(pristine);
	s = disc_store_open_boot(pristine, STORE_RDWR, boot_id, &opened, NULL);
	assert(s);
	g_array_append_val(opened->sessions, session);
	g_array_append_val(opened->tracks, track);
	state_put_blob(opened, 5, 1, "text", 4);
	for (unsigned i = 0; i < 3; i++) {
		opened->erase_count++;
		ok = disc_store_commit(s, opened, false) == 0;
		assert(ok);
	}
	((struct disc_track *)opened->tracks->data)->nwa = 20;
	disc_store_progress(s, opened);
	disc_store_close(s, true);
	disc_state_free(opened);
	disc_state_free(state);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	log_set_sink(quiet, NULL);
	loop = loop_new(LOOP_EPOLL, NULL);
	assert(loop);
	co_start(loop, make_pristine, NULL); /* nothing in memory ever yields */
	return 0;
}

static co_fn void patch(struct block_node *node, const struct input *in)
{
	uint64_t meta = block_length(node) - META;
	const uint64_t areas[] = {
		meta,
		block_length(node) - BLOCK,
		meta + SLOT,
		meta + SLOT + SLOT_STEP,
		meta + SLOT + BLOCK,
		meta + SLOT + SLOT_STEP + BLOCK,
		meta + JOURNAL,
		meta + JOURNAL + SLOT_STEP,
		meta + PROGRESS,
	};
	size_t pos = 1;

	while (in->size - pos >= 4) {
		const uint8_t *p = in->data + pos;
		size_t len = MIN((size_t)p[3], in->size - pos - 4);
		uint64_t off = areas[p[0] % G_N_ELEMENTS(areas)] + get_le16(p + 1);

		block_pwrite(node, off, p + 4, len, 0); /* out of range is fine, too */
		pos += 4 + len;
	}
}

static void fix_sum(uint8_t *block, unsigned at, size_t len)
{
	put_le32(block + at, 0);
	put_le32(block + at, crc32c(0, block, len));
}

static co_fn void fix_slot(struct block_node *node, uint64_t slot, uint64_t journal)
{
	uint8_t header[BLOCK], block[BLOCK];
	uint8_t *body = g_malloc(SLOT);
	uint32_t len, prev;

	block_pread(node, slot, header, BLOCK);
	len = MIN(get_le32(header + 32), (uint32_t)(SLOT - BLOCK));
	block_pread(node, slot + BLOCK, body, len);
	put_le32(header + 12, crc32c(0, body, len));
	fix_sum(header, 8, BLOCK);
	block_pwrite(node, slot, header, BLOCK, 0);
	prev = get_le32(header + 8);
	for (unsigned i = 0; i < FIXED_JOURNAL_BLOCKS; i++) {
		block_pread(node, journal + i * BLOCK, block, BLOCK);
		if (memcmp(block, "OBJR", 4) != 0)
			break;
		memcpy(block + 8, header + 16, 16);
		put_le32(block + 28, prev);
		fix_sum(block, 4, BLOCK);
		block_pwrite(node, journal + i * BLOCK, block, BLOCK, 0);
		prev = get_le32(block + 4);
	}
	g_free(body);
}

static co_fn void fix_sums(struct block_node *node)
{
	uint64_t meta = block_length(node) - META;
	uint8_t block[BLOCK];

	for (unsigned i = 0; i < 2; i++) {
		uint64_t at = i ? block_length(node) - BLOCK : meta;

		block_pread(node, at, block, BLOCK);
		fix_sum(block, 8, BLOCK);
		block_pwrite(node, at, block, BLOCK, 0);
		fix_slot(node, meta + SLOT + i * SLOT_STEP, meta + JOURNAL + i * SLOT_STEP);
		block_pread(node, meta + PROGRESS + i * 2048, block, 2048);
		put_le32(block + 4, 0);
		put_le32(block + 4, crc32c(0, block, 56 + 8 * MIN(get_le32(block + 52), 249u)));
		block_pwrite(node, meta + PROGRESS + i * 2048, block, 2048, 0);
	}
}

static co_fn void use(struct disc_store *s)
{
	uint8_t sector[2352];
	struct iovec one;
	struct iovs iov = iovs_one(&one, sector, 2048);
	struct disc_history *list;
	struct disc_store_info info;
	unsigned n;

	for (int32_t lba = -2; lba < 102; lba += 13)
		disc_store_read(s, PLANE_USER, lba, 1, &iov);
	list = disc_store_read_history(s, &n);
	g_free(list);
	disc_store_get_info(s, &info);
}

/* Whether the commit is there after the process died. */
static co_fn void commit_and_look(struct block_node *node, struct disc_store *s,
				  struct disc_state *state)
{
	struct disc_state *again = NULL;
	struct disc_store *s2;
	int res;

	state->erase_count ^= 0x5555;
	res = disc_store_commit(s, state, true);
	disc_store_close(s, true);
	if (res < 0) /* a state that fills its slot to the brim */
		return;
	block_ref(node);
	s2 = disc_store_open_boot(node, 0, boot_id, &again, NULL);
	assert(s2);
	assert(again->erase_count == state->erase_count);
	disc_store_close(s2, true);
	disc_state_free(again);
}

static co_fn void one_input(void *arg)
{
	const struct input *in = arg;
	struct block_node *node = block_mem_fork(pristine);
	unsigned flags = in->data[0];
	struct disc_state *state = NULL;
	GError *error = NULL;
	struct disc_store *s;

	patch(node, in);
	if (flags & FIX_SUMS)
		fix_sums(node);
	if (flags & CUT)
		block_truncate(node, block_length(node) - in->size * 1000);
	disc_store_probe(node);
	block_ref(node);
	s = disc_store_open_boot(node, flags & WRITING ? STORE_RDWR : 0,
				 flags & SAME_BOOT ? boot_id : other_boot_id, &state, &error);
	assert((s != NULL) == (error == NULL) && (s != NULL) == (state != NULL));
	g_clear_error(&error);
	if (s)
		use(s);
	if (s && flags & WRITING)
		commit_and_look(node, s, state);
	else
		disc_store_close(s, true);
	disc_state_free(state);
	block_unref(node);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};

	if (size > 0)
		co_start(loop, one_input, &in);
	return 0;
}
