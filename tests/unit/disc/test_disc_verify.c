/* Maps, comparisons, hashes and exports of a disc. */
#include "disc_fixture.h"

#include "disc/map.h"
#include "disc/verify.h"

#include <glib/gstdio.h>
#include <string.h>

static char *map_text(const struct disc *d)
{
	GString *s = g_string_new(NULL);
	struct disc_region *r;
	unsigned n = disc_regions(d, &r);

	for (unsigned i = 0; i < n; i++)
		g_string_append_printf(s, "%s %u/%u %d+%u\n", disc_region_name(r[i].kind),
				       r[i].session, r[i].track, r[i].lba, r[i].blocks);
	g_free(r);
	return g_string_free(s, FALSE);
}

static void assert_map(const struct disc *d, const char *want)
{
	char *text = map_text(d);

	assert_string_equal(text, want);
	g_free(text);
}

static co_fn void maps(void *arg)
{
	struct disc *d = new_disc("dvd+r", 65536);

	(void)arg;
	assert_map(d, "free 1/0 0+65536\n");
	assert_int_equal(put(d, 0, 20, 1), DISC_OK);
	assert_map(d, "recorded 1/1 0+20\nfree 1/1 20+65516\n");
	assert_int_equal(disc_close_session(d), DISC_OK);
	assert_map(d,
		   "recorded 1/1 0+20\npadding 1/1 20+12\ngap 2/0 32+1024\nfree 2/0 1056+64480\n");
	assert_int_equal(disc_reserve_track(d, 64), DISC_OK);
	assert_int_equal(put(d, 1056, 16, 2), DISC_OK);
	assert_map(d,
		   "recorded 1/1 0+20\npadding 1/1 20+12\ngap 2/0 32+1024\nrecorded 2/2 1056+16\n"
		   "reserved 2/2 1072+48\nfree 2/0 1120+64416\n");
	assert_int_equal(put(d, 1072, 48, 2), DISC_OK);
	assert_int_equal(disc_finalise(d), DISC_OK);
	assert_map(d,
		   "recorded 1/1 0+20\npadding 1/1 20+12\ngap 2/0 32+1024\nrecorded 2/2 1056+64\n"
		   "unused 0/0 1120+64416\n");
	end_disc(d);
	d = new_disc("cd-r", 60000);
	set_mode(d, 1, 3);
	assert_int_equal(put(d, 0, 300, 1), DISC_OK);
	assert_int_equal(disc_sync(d), DISC_OK);
	assert_map(d,
		   "recorded 1/1 0+300\npadding 1/1 300+2\ngap 1/0 302+150\nfree 1/0 452+59548\n");
	end_disc(d);
}

static char *make_image(uint32_t blocks, uint32_t seed, size_t extra)
{
	char *path = fixture_path("image.iso");
	uint8_t *data = g_malloc((size_t)(blocks + 1) * BLOCK);

	fill(data, blocks + 1, seed);
	assert_true(g_file_set_contents(path, (char *)data,
					(gssize)((size_t)blocks * BLOCK + extra), NULL));
	g_free(data);
	return path;
}

static void count(void *arg, uint64_t done, uint64_t total)
{
	uint64_t *last = arg;

	assert_true(done > *last && done <= total);
	*last = done;
}

static co_fn struct disc_compare compare_with(struct disc *d, int32_t lba, const char *path)
{
	struct block_node *image = block_open_file(path, 0, NULL);
	struct disc_compare result;
	uint64_t done = 0;

	assert_non_null(image);
	assert_true(disc_compare_image(d, lba, image, count, &done, &result, NULL));
	if (result.result == COMPARE_EQUAL)
		assert_int_equal(done, (block_length(image) + BLOCK - 1) / BLOCK * BLOCK);
	block_unref(image);
	return result;
}

static co_fn void comparisons(void *arg)
{
	struct disc *d = new_disc("dvd+r", 65536);
	char *path = make_image(1500, 7, 0);
	struct disc_compare result;

	(void)arg;
	assert_int_equal(put(d, 0, 1500, 7), DISC_OK);
	assert_int_equal(compare_with(d, 0, path).result, COMPARE_EQUAL);
	result = compare_with(d, 16, path);
	assert_int_equal(result.result, COMPARE_DIFFERS);
	assert_int_equal(result.lba, 16);
	g_free(path);
	path = make_image(1501, 7, 0);
	result = compare_with(d, 0, path);
	assert_int_equal(result.result, COMPARE_UNRECORDED);
	assert_int_equal(result.lba, 1500);
	assert_int_equal(result.blocks, 1500);
	assert_int_equal(disc_close_track(d, 1), DISC_OK);
	result = compare_with(d, 0, path); /* the last block is padding now: zeros */
	assert_int_equal(result.result, COMPARE_DIFFERS);
	assert_int_equal(result.lba, 1500);
	assert_int_equal(result.byte, 3); /* the seed's lowest byte */
	g_free(path);
	path = make_image(1499, 7, 3); /* an odd end: zeros up to the block, unlike the pattern */
	result = compare_with(d, 0, path);
	assert_int_equal(result.lba, 1499);
	assert_int_equal(result.byte, 3);
	g_unlink(path);
	g_free(path);
	end_disc(d);
}

static co_fn void hashes(void *arg)
{
	struct disc *d = new_disc("bd-r", 65536);
	char *path = make_image(1500, 7, 0);
	struct block_node *image = block_open_file(path, 0, NULL);
	char disc[DISC_HASH_LEN], file[DISC_HASH_LEN];
	uint8_t *data = g_malloc(1504 * BLOCK);
	uint64_t done = 0;
	char *want;

	(void)arg;
	assert_int_equal(put(d, 0, 1500, 7), DISC_OK);
	fill(data, 1500, 7);
	want = g_compute_checksum_for_data(G_CHECKSUM_SHA256, data, 1500 * BLOCK);
	assert_true(disc_hash(d, 0, 1500, count, &done, disc, NULL));
	assert_int_equal(done, 1500 * BLOCK);
	assert_string_equal(disc, want);
	assert_true(disc_hash_image(image, NULL, NULL, file, NULL));
	assert_string_equal(file, want);
	g_free(want);
	memset(data + 1500 * BLOCK, 0, 4 * BLOCK);
	want = g_compute_checksum_for_data(G_CHECKSUM_SHA256, data, 1504 * BLOCK);
	assert_true(disc_hash(d, 0, 1504, NULL, NULL, disc, NULL)); /* unrecorded: zeros */
	assert_string_equal(disc, want);
	g_free(want);
	g_free(data);
	block_unref(image);
	g_unlink(path);
	g_free(path);
	end_disc(d);
}

static co_fn void exports(void *arg)
{
	struct disc *d = new_disc("dvd+r", 65536);
	char *path = fixture_path("out.iso"), *data;
	uint8_t *want = g_malloc(100 * BLOCK);
	GError *error = NULL;
	size_t len;

	(void)arg;
	assert_false(disc_export(d, 0, path, NULL, NULL, &error));
	assert_non_null(strstr(error->message, "nothing is recorded"));
	g_clear_error(&error);
	assert_int_equal(put(d, 0, 20, 1), DISC_OK);
	assert_int_equal(disc_close_session(d), DISC_OK);
	assert_int_equal(put(d, 1056, 100, 2), DISC_OK);
	assert_int_equal(disc_close_session(d), DISC_OK);
	assert_true(disc_export(d, 2, path, NULL, NULL, &error));
	assert_true(g_file_get_contents(path, &data, &len, NULL));
	assert_int_equal(len, 100 * BLOCK);
	fill(want, 100, 2);
	assert_memory_equal(data, want, len);
	g_free(data);
	assert_false(disc_export(d, 1, path, NULL, NULL, &error)); /* never over a file */
	g_clear_error(&error);
	g_unlink(path);
	assert_true(disc_export(d, 0, path, NULL, NULL, &error));
	assert_true(g_file_get_contents(path, &data, &len, NULL));
	assert_int_equal(len, 1156 * BLOCK);
	assert_memory_equal(data + 1056 * BLOCK, want, 100 * BLOCK);
	fill(want, 20, 1);
	assert_memory_equal(data, want, 20 * BLOCK);
	for (size_t i = 20 * BLOCK; i < 1056 * BLOCK; i++)
		assert_int_equal(data[i], 0);
	g_free(data);
	g_unlink(path);
	assert_false(disc_export(d, 3, path, NULL, NULL, &error));
	assert_non_null(strstr(error->message, "session 3"));
	g_clear_error(&error);
	assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
	g_free(want);
	g_free(path);
	end_disc(d);
}

IN_LOOP(maps)
IN_LOOP(comparisons)
IN_LOOP(hashes)
IN_LOOP(exports)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_maps),
		cmocka_unit_test(test_comparisons),
		cmocka_unit_test(test_hashes),
		cmocka_unit_test(test_exports),
	};

	return cmocka_run_group_tests(tests, NULL, fixture_end);
}
