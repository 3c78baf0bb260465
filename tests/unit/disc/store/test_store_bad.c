/*
 * Bad .disc files: truncated, foreign, newer, damaged in every byte. Each is refused with its
 * reason and not touched, or opened with a state that the disc was in.
 */
#include "store_fixture.h"

#include <errno.h>

#include "base/bytes.h"
#include "base/crc32c.h"

enum { /* docs/disc-format.md */
       BLOCK = 4096,
       META = 0x600000,
       SLOT_A = 0x100000,
       JOURNAL_A = 0x200000,
       SLOT_B = 0x300000,
       JOURNAL_B = 0x400000,
       SB_CRC = 8,
       SH_CRC = 8,
       SH_BODY_CRC = 12,
       SH_NONCE = 24,
       SH_BODY_LEN = 32,
};

/* A disc that lived: slot B in use (generation 2), three commits in its journal; erase_count counts
 * them. */
static co_fn struct block_node *lived_disc(void)
{
	struct block_node *node = new_disc(PROFILE_CD_RW, TEST_BLOCKS);
	struct disc_state *state;
	struct disc_store *s = must_open(node, STORE_RDWR, &state);

	for (unsigned i = 1; i <= 3; i++) {
		if (i == 2)
			add_session(state, 0);
		state->erase_count = i;
		assert_int_equal(disc_store_commit(s, state, false), 0);
	}
	disc_store_close(s, true);
	disc_state_free(state);
	return node;
}

static uint64_t meta_of(const struct block_node *node)
{
	return block_length(node) - META;
}

static co_fn void flip(struct block_node *node, uint64_t off, uint8_t with)
{
	uint8_t byte;

	assert_int_equal(block_pread(node, off, &byte, 1), 0);
	byte ^= with;
	assert_int_equal(block_pwrite(node, off, &byte, 1, 0), 0);
}

/* Opens it and returns erase_count, or -1 with the message in *why (g_free() it). A refused file is
 * not written to. */
static co_fn int try_open(struct block_node *node, unsigned flags, char **why)
{
	struct block_stats before, after;
	struct disc_state *state = NULL;
	GError *error = NULL;
	struct disc_store *s;
	int count = -1;

	block_get_stats(node, &before);
	block_ref(node);
	s = disc_store_open_boot(node, flags, other_boot, &state, &error);
	block_get_stats(node, &after);
	if (s) {
		count = (int)state->erase_count;
		disc_store_close(s, true);
		disc_state_free(state);
	} else {
		assert_null(state);
		assert_non_null(error);
	}
	if (!s || !(flags & STORE_RDWR))
		assert_int_equal(after.writes, before.writes);
	if (why)
		*why = s ? NULL : g_strdup(error->message);
	g_clear_error(&error);
	return count;
}

static co_fn void refuse(struct block_node *node, unsigned flags, const char *part)
{
	char *why = NULL;

	assert_int_equal(try_open(node, flags, &why), -1);
	if (!strstr(why, part))
		fail_msg("\"%s\" does not say \"%s\"", why, part);
	g_free(why);
}

/* Both ways, and the node is let go. */
static co_fn void refuse_fork(struct block_node *fork, const char *part)
{
	refuse(fork, 0, part);
	refuse(fork, STORE_RDWR, part);
	block_unref(fork);
}

static void test_truncated_and_appended(void)
{
	struct block_node *node = lived_disc(), *fork;
	uint64_t len = block_length(node);
	static const uint64_t cut[] = {1, 512, 4096, 5000, 1 << 20, META - BLOCK};

	for (unsigned i = 0; i < G_N_ELEMENTS(cut); i++) {
		fork = block_mem_fork(node);
		assert_int_equal(block_truncate(fork, len - cut[i]), 0);
		assert_int_equal(disc_store_probe(fork),
				 cut[i] == META - BLOCK); /* that ends with copy A */
		refuse_fork(fork, "truncated: its tail is missing");
	}
	fork = block_mem_fork(node);
	assert_int_equal(block_truncate(fork, len - META), 0); /* nothing is left to tell by */
	refuse_fork(fork, "not a .disc file");
	for (unsigned i = 0; i < G_N_ELEMENTS(cut); i++) {
		fork = block_mem_fork(node);
		assert_int_equal(block_truncate(fork, len + cut[i]), 0);
		refuse_fork(fork, "appended");
	}
	/* Its middle is missing: the tail is there, at the wrong place. */
	fork = block_mem_fork(node);
	assert_int_equal(block_truncate(fork, len + (1 << 20)), 0);
	{
		uint8_t *tail = g_malloc(BLOCK);

		assert_int_equal(block_pread(fork, len - BLOCK, tail, BLOCK), 0);
		assert_int_equal(block_pwrite(fork, len + (1 << 20) - BLOCK, tail, BLOCK, 0), 0);
		g_free(tail);
	}
	refuse_fork(fork, "its superblock says");
	block_unref(node);
}

static void test_foreign(void)
{
	static const uint64_t lens[] = {0, 1, 4095, 4096, 100000, META - 1, META, 20 << 20};
	uint8_t *junk = g_malloc(20 << 20);

	for (unsigned i = 0; i < 20 << 20; i++)
		junk[i] = (uint8_t)(i * 2654435761u >> 13);
	for (unsigned i = 0; i < G_N_ELEMENTS(lens); i++) {
		struct block_node *node = block_mem_new(lens[i], junk, lens[i]);

		assert_false(disc_store_probe(node));
		refuse_fork(node, "not a .disc file");
	}
	g_free(junk);
}

/* Puts len bytes into both superblocks at off, with a right checksum. */
static co_fn void patch_super(struct block_node *node, unsigned off, const void *data, unsigned len)
{
	uint64_t at[2] = {meta_of(node), block_length(node) - BLOCK};
	uint8_t *block = g_malloc(BLOCK);

	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(block_pread(node, at[i], block, BLOCK), 0);
		memcpy(block + off, data, len);
		put_le32(block + SB_CRC, 0);
		put_le32(block + SB_CRC, crc32c(0, block, BLOCK));
		assert_int_equal(block_pwrite(node, at[i], block, BLOCK, 0), 0);
	}
	g_free(block);
}

struct patch {
	unsigned off, len;
	uint64_t value;
	const char *says;
};

static void test_superblocks_that_are_impossible(void)
{
	static const struct patch rows[] = {
		{12, 2, 2, "newer version (format 2.0), this program reads 1"},
		{16, 8, 1, "newer version (feature bits 0x1"},
		{56, 8, 5, "file length"},
		{56, 8, UINT64_MAX, "file length"},
		{64, 8, 0, "overlap"},
		{64, 8, 12345, "does not fit"},
		{64, 8, UINT64_MAX - 65535, "does not fit"},
		{72, 4, 0, "blocks"},
		{72, 4, UINT32_MAX, "blocks"},
		{72, 4, TEST_BLOCKS + 1, "user plane"},
		{76, 4, INT32_MAX, "blocks"},
		{92, 4, 0, "0 planes"},
		{92, 4, 9, "9 planes"},
		{92, 4, 5, "two planes"},
		{96, 4, 7, "newer version"},
		{100, 4, 0, "sectors of 0"},
		{104, 8, 1 << 20, "user plane"},
		{112, 8, UINT64_MAX, "sectors"},
		{112, 8, 2048, "user plane"},
		{128 + 8, 8, 0, "overlap"},
		{128 + 16, 8, 2352ull << 40, "does not fit"},
		{128 + 24, 4, 1, "LBA 1"},
		{352, 8, 0, "overlap"},
		{360, 8, UINT64_MAX - 4095, "does not fit"},
		{368, 4, 0, "0 bytes of state"},
		{368, 4, 1u << 30, "bytes of state"},
		{372, 4, 0, "0 journal blocks"},
		{372, 4, UINT32_MAX, "journal blocks"},
		{416, 8, 4096, "progress"},
		{424, 8, UINT64_MAX, "history"},
		{432, 8, UINT64_MAX, "history"},
	};
	struct block_node *node = lived_disc();

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		struct block_node *fork = block_mem_fork(node);
		uint8_t value[8];

		put_le64(value, rows[i].value);
		patch_super(fork, rows[i].off, value, rows[i].len);
		assert_true(disc_store_probe(fork));
		refuse_fork(fork, rows[i].says);
	}
	block_unref(node);
}

static void test_newer_that_may_be_read(void)
{
	struct block_node *node = lived_disc();
	uint8_t minor[2] = {7}, bits[8] = {4};

	patch_super(node, 14, minor, 2);  /* a later minor version */
	patch_super(node, 32, bits, 8);   /* compatible features */
	patch_super(node, 1000, bits, 8); /* a field that we do not know */
	assert_int_equal(try_open(node, STORE_RDWR, NULL), 3);
	patch_super(node, 24, bits, 8); /* read-only-compatible */
	assert_int_equal(try_open(node, 0, NULL), 3);
	refuse(node, STORE_RDWR, "can only read it");
	block_unref(node);
}

static void test_flips_in_one_superblock_are_healed(void)
{
	struct block_node *node = lived_disc();
	uint64_t at[2] = {meta_of(node), block_length(node) - BLOCK};

	for (unsigned copy = 0; copy < 2; copy++) {
		for (unsigned i = 0; i < BLOCK; i += i < 512 ? 1 : 97) {
			struct block_node *fork = block_mem_fork(node);

			flip(fork, at[copy] + i, 0x10);
			assert_true(disc_store_probe(fork));
			assert_int_equal(try_open(fork, 0, NULL), 3);
			assert_int_equal(try_open(fork, STORE_RDWR, NULL), 3);
			flip(fork, at[!copy] + i,
			     0x10); /* the first was healed, so this one may go */
			assert_int_equal(try_open(fork, 0, NULL), 3);
			block_unref(fork);
		}
	}
	block_unref(node);
}

static void test_flips_in_both_superblocks(void)
{
	struct block_node *node = lived_disc();

	for (unsigned i = 0; i < BLOCK; i += i < 512 ? 1 : 97) {
		struct block_node *fork = block_mem_fork(node);

		flip(fork, meta_of(node) + i, 1);
		flip(fork, block_length(node) - BLOCK + i, 1);
		refuse_fork(fork, i < 8 ? "not a .disc file" : "damaged");
	}
	block_unref(node);
}

static void test_flips_in_the_slot_in_use(void)
{
	struct block_node *node = lived_disc();

	for (unsigned i = 0; i < BLOCK + 64 + 256; i += i < 64 || i >= BLOCK ? 1 : 113) {
		struct block_node *fork = block_mem_fork(node);

		flip(fork, meta_of(node) + SLOT_B + i, 0x80);
		/* Behind the used part of the body nothing matters. */
		if (i >= BLOCK + 8 + 256) {
			assert_int_equal(try_open(fork, 0, NULL), 3);
		} else {
			refuse(fork, STORE_RDWR, "damaged");
			assert_int_equal(try_open(fork, 0, NULL),
					 0); /* what the older slot knows */
		}
		block_unref(fork);
	}
	block_unref(node);
}

static void test_flips_in_the_other_slot_do_not_matter(void)
{
	struct block_node *node = lived_disc();

	for (unsigned i = 0; i < BLOCK + 256; i += i < 64 || i >= BLOCK ? 1 : 113) {
		struct block_node *fork = block_mem_fork(node);

		flip(fork, meta_of(node) + SLOT_A + i, 0x04);
		assert_int_equal(try_open(fork, 0, NULL), 3);
		assert_int_equal(try_open(fork, STORE_RDWR, NULL), 3);
		assert_int_equal(try_open(fork, 0, NULL), 3);
		block_unref(fork);
	}
	block_unref(node);
}

static void test_flips_in_both_slots(void)
{
	struct block_node *node = lived_disc();

	flip(node, meta_of(node) + SLOT_A + 100, 1);
	flip(node, meta_of(node) + SLOT_B + 100, 1);
	refuse(node, 0, "both state slots");
	refuse(node, STORE_RDWR, "both state slots");
	block_unref(node);
}

static void test_flips_in_the_journal(void)
{
	struct block_node *node = lived_disc();
	uint64_t journal = meta_of(node) + JOURNAL_B;

	for (unsigned i = 0; i < 3 * BLOCK; i += i % BLOCK < 64 ? 1 : 61) {
		struct block_node *fork = block_mem_fork(node);
		int whole = (int)(i / BLOCK);

		flip(fork, journal + i, 0x20);
		assert_int_equal(try_open(fork, 0, NULL), whole);
		if (whole < 2) /* a later block is intact: no torn write explains that */
			refuse(fork, STORE_RDWR, "journal block");
		else
			assert_int_equal(try_open(fork, STORE_RDWR, NULL), whole);
		block_unref(fork);
	}
	block_unref(node);
}

static void test_flips_in_progress_and_history(void)
{
	struct block_node *node = lived_disc();

	for (unsigned i = 0; i < 0x20000; i += 1021)
		flip(node, meta_of(node) + 0x10000 + i, 0xff);
	assert_int_equal(try_open(node, STORE_RDWR, NULL), 3);
	block_unref(node);
}

/* Gives the slot in use another body, with right checksums, and a nonce that leaves it without a
 * journal. */
static co_fn void set_body(struct block_node *node, const uint8_t *body, uint32_t len)
{
	uint64_t slot = meta_of(node) + SLOT_B;
	uint8_t *header = g_malloc(BLOCK);

	assert_int_equal(block_pread(node, slot, header, BLOCK), 0);
	put_le64(header + SH_NONCE, 4711);
	put_le32(header + SH_BODY_LEN, len);
	put_le32(header + SH_BODY_CRC, crc32c(0, body, len));
	put_le32(header + SH_CRC, 0);
	put_le32(header + SH_CRC, crc32c(0, header, BLOCK));
	assert_int_equal(block_pwrite(node, slot, header, BLOCK, 0), 0);
	assert_int_equal(block_pwrite(node, slot + BLOCK, body, len, 0), 0);
	g_free(header);
}

/* The DISC row as it is, and behind it one row of type with len bytes that begin with key; claimed:
 * its length field. */
static co_fn void set_extra_row(struct block_node *node, uint32_t type, uint32_t key, uint32_t len,
				uint32_t claimed)
{
	uint32_t total = 264 + 8 + ((len + 7) & ~7u);
	uint8_t *body = g_malloc0(total + 8);

	assert_int_equal(block_pread(node, meta_of(node) + SLOT_B + BLOCK, body, 264), 0);
	put_le32(body + 264, type);
	put_le32(body + 268, claimed);
	put_le32(body + 272, key);
	set_body(node, body, total);
	g_free(body);
}

static void test_bodies_that_are_impossible(void)
{
	static const struct {
		uint32_t type, key, len, claimed;
		const char *says;
	} rows[] = {
		{99, 0, 16, 16, "newer version"},
		{0, 0, 16, 16, "newer version"},
		{2, 1, 64, 63, "must be 64"},
		{2, 2, 64, 64, "session 1 is numbered 2"},
		{3, 7, 64, 64, "track 1 is numbered 7"},
		{3, 1, 72, 72, "must be 64"},
		{3, 1, 64, UINT32_MAX, "are left"},
		{5, 1, 16, 4, "must be 5"},
		{3, 1, 64, 65, "are left"},
		{12, 0, 32, 31, "must be 32"},
		{15, 1, 16, 16, "removes"},
		{0x80000001, 1, 16, 3, "must be 4"},
	};
	struct block_node *node = lived_disc();
	uint8_t nothing[8] = {0};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		struct block_node *fork = block_mem_fork(node);

		set_extra_row(fork, rows[i].type, rows[i].key, rows[i].len, rows[i].claimed);
		refuse_fork(fork, rows[i].says);
	}
	set_body(node, nothing, 0);
	refuse(node, STORE_RDWR, "disc itself is missing");
	set_body(node, nothing, 4);
	refuse(node, STORE_RDWR, "cut off");
	block_unref(node);
}

static void test_state_of_another_size(void)
{
	struct block_node *node = lived_disc();
	uint8_t *body = g_malloc0(264);

	assert_int_equal(block_pread(node, meta_of(node) + SLOT_B + BLOCK, body, 264), 0);
	put_le32(body + 8 + 12, TEST_BLOCKS - 1);
	set_body(node, body, 264);
	refuse_fork(node, "the superblock 600");
	g_free(body);
}

/* Rows that only a newer program knows and that may be ignored stay, through journal and slot. */
static void test_ignorable_rows_are_kept(void)
{
	struct block_node *node = lived_disc();
	uint8_t before[24], after[24];
	struct disc_state *state;
	struct disc_store *s;

	set_extra_row(node, 0x80000042, 5, 16, 16);
	assert_int_equal(block_pread(node, meta_of(node) + SLOT_B + BLOCK + 264, before, 24), 0);
	s = must_open(node, STORE_RDWR, &state); /* generation 3, slot A */
	state->erase_count = 50;
	assert_int_equal(disc_store_commit(s, state, false), 0);
	disc_store_close(s, false); /* generation 4, slot B */
	disc_state_free(state);
	assert_int_equal(try_open(node, STORE_RDWR, NULL), 50); /* generation 5, slot A */
	assert_int_equal(block_pread(node, meta_of(node) + SLOT_A + BLOCK + 264, after, 24), 0);
	assert_memory_equal(before, after, 24);
	block_unref(node);
}

#define IN_LOOP(name)                          \
	static co_fn void name##_co(void *arg) \
	{                                      \
		(void)arg;                     \
		name();                        \
	}                                      \
	static void run_##name(void **state)   \
	{                                      \
		(void)state;                   \
		run_in_loop(name##_co, NULL);  \
	}

IN_LOOP(test_truncated_and_appended)
IN_LOOP(test_foreign)
IN_LOOP(test_superblocks_that_are_impossible)
IN_LOOP(test_newer_that_may_be_read)
IN_LOOP(test_flips_in_one_superblock_are_healed)
IN_LOOP(test_flips_in_both_superblocks)
IN_LOOP(test_flips_in_the_slot_in_use)
IN_LOOP(test_flips_in_the_other_slot_do_not_matter)
IN_LOOP(test_flips_in_both_slots)
IN_LOOP(test_flips_in_the_journal)
IN_LOOP(test_flips_in_progress_and_history)
IN_LOOP(test_bodies_that_are_impossible)
IN_LOOP(test_state_of_another_size)
IN_LOOP(test_ignorable_rows_are_kept)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(run_test_truncated_and_appended),
		cmocka_unit_test(run_test_foreign),
		cmocka_unit_test(run_test_superblocks_that_are_impossible),
		cmocka_unit_test(run_test_newer_that_may_be_read),
		cmocka_unit_test(run_test_flips_in_one_superblock_are_healed),
		cmocka_unit_test(run_test_flips_in_both_superblocks),
		cmocka_unit_test(run_test_flips_in_the_slot_in_use),
		cmocka_unit_test(run_test_flips_in_the_other_slot_do_not_matter),
		cmocka_unit_test(run_test_flips_in_both_slots),
		cmocka_unit_test(run_test_flips_in_the_journal),
		cmocka_unit_test(run_test_flips_in_progress_and_history),
		cmocka_unit_test(run_test_bodies_that_are_impossible),
		cmocka_unit_test(run_test_state_of_another_size),
		cmocka_unit_test(run_test_ignorable_rows_are_kept),
	};

	return RUN_LOOP_TESTS(tests);
}
