/* What may be opened and created, and images as read-only discs (reference/formats.md 3.1,
 * mmc.md 5.4). */
#include "disc_fixture.h"

#include "base/bytes.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *write_image(const char *name, size_t len)
{
	char *path = fixture_path(name);
	uint8_t *data = g_malloc0(len + BLOCK);

	fill(data, (uint32_t)((len + BLOCK - 1) / BLOCK), 1);
	assert_true(g_file_set_contents(path, (char *)data, (gssize)len, NULL));
	g_free(data);
	return path;
}

static char *sparse_image(const char *name, uint64_t len)
{
	char *path = fixture_path(name);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)len), 0);
	close(fd);
	return path;
}

static void remove_image(char *path)
{
	assert_int_equal(g_unlink(path), 0);
	g_free(path);
}

static co_fn void iso_as_rom(void *arg)
{
	char *path = write_image("a.iso", 20 * BLOCK + 100);
	struct disc *d = disc_open(path, DISC_OPEN_RDWR, 0, NULL);
	struct disc_capacity list[4];
	struct stat st;

	(void)arg;
	assert_non_null(d);
	assert_disc(d, "08 complete complete, sessions 1, tracks 1-1, end 20\n"
		       "session 1 complete start 0 out 21 next 0\n"
		       "track 1/1 mode 41 ---- start 0 free 0 size 21\n");
	assert_false(disc_is_writable(d));
	assert_null(disc_get_store(d));
	assert_pattern(d, 0, 20, 1);
	assert_int_equal(try_read(d, 20, 1), DISC_OK);
	assert_int_equal(try_read(d, 20, 2), DISC_RANGE);
	assert_int_equal(put(d, 21, 1, 1), DISC_ROM);
	assert_int_equal(disc_reserve_track(d, 16), DISC_ROM);
	assert_int_equal(disc_close_session(d), DISC_ROM);
	assert_int_equal(disc_close_track(d, 1), DISC_ROM);
	assert_int_equal(disc_finalise(d), DISC_ROM);
	assert_int_equal(disc_blank(d, 0), DISC_INCOMPATIBLE);
	assert_int_equal(disc_format(d, &(struct disc_format){0}), DISC_INCOMPATIBLE);
	assert_int_equal(disc_send_cue_sheet(d, (const uint8_t *)"", 0), DISC_ROM);
	assert_int_equal(disc_sync(d), DISC_OK);
	assert_int_equal(disc_flush(d), DISC_OK);
	assert_int_equal(disc_list_capacities(d, list, 4), 1);
	assert_int_equal(list[0].type, 2);
	assert_int_equal(list[0].blocks, 21);
	disc_close(d, false);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 20 * BLOCK + 100); /* never padded itself */
	remove_image(path);
}

/* The pad behind the end, and a whole ECC block of it. */
static co_fn void rom_padding(void *arg)
{
	char *path = write_image("a.iso", 20 * BLOCK + 100);
	struct disc *d = disc_open(path, 0, PROFILE_DVD_ROM, NULL);
	uint8_t block[BLOCK], want[BLOCK] = {0};
	uint8_t *pattern = g_malloc(21 * BLOCK);
	struct iovec v;
	struct iovs iov = iovs_one(&v, block, BLOCK);

	(void)arg;
	assert_non_null(d);
	assert_int_equal(disc_last_lba(d), 31);
	assert_int_equal(disc_read(d, 20, 1, &iov), DISC_OK);
	fill(pattern, 21, 1);
	memcpy(want, pattern + 20 * BLOCK, 100);
	assert_memory_equal(block, want, BLOCK);
	assert_zeros(d, 21, 11);
	assert_int_equal(try_read(d, 18, 14), DISC_OK);
	disc_close(d, false);
	d = disc_open(path, 0, PROFILE_BD_ROM, NULL);
	assert_int_equal(disc_last_lba(d), 31);
	assert_int_equal(disc_get_profile(d)->number, PROFILE_BD_ROM);
	disc_close(d, false);
	g_free(pattern);
	remove_image(path);
}

static co_fn void rom_by_size(void *arg)
{
	/* clang-format off */
	static const struct { uint64_t blocks; uint16_t profile; } sizes[] = {
		{ 1, PROFILE_CD_ROM },        { 404849, PROFILE_CD_ROM },   { 404850, PROFILE_DVD_ROM },
		{ 4173824, PROFILE_DVD_ROM }, { 4173825, PROFILE_BD_ROM },  { 62500864, PROFILE_BD_ROM },
	};
	/* clang-format on */

	(void)arg;
	for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
		char *path = sparse_image("big.img", sizes[i].blocks * BLOCK);
		struct disc *d = disc_open(path, 0, 0, NULL);

		assert_non_null(d);
		assert_int_equal(disc_get_profile(d)->number, sizes[i].profile);
		assert_zeros(d, (int32_t)(sizes[i].blocks - 1), 1);
		disc_close(d, false);
		remove_image(path);
	}
}

static co_fn void refuse(const char *path, unsigned flags, uint16_t rom_profile, const char *why)
{
	GError *error = NULL;

	assert_null(disc_open(path, flags, rom_profile, &error));
	assert_non_null(error);
	if (!strstr(error->message, why) || !strstr(error->message, path))
		fail_msg("\"%s\" does not say \"%s\" of %s", error->message, why, path);
	g_error_free(error);
}

static co_fn void refused_files(void *arg)
{
	char *path = fixture_path("missing.iso");

	(void)arg;
	refuse(path, DISC_OPEN_RDWR, 0, "No such file");
	g_free(path);
	path = sparse_image("empty.iso", 0);
	refuse(path, 0, 0, "empty");
	remove_image(path);
	path = write_image("not.disc", 100000);
	refuse(path, DISC_OPEN_RDWR, 0, "superblock");
	remove_image(path);
	path = write_image("a.iso", 100000);
	refuse(path, 0, PROFILE_DVD_R, "can only be");
	remove_image(path);
	path = sparse_image("huge.iso", 404850ull * BLOCK);
	refuse(path, 0, PROFILE_CD_ROM, "too many");
	remove_image(path);
}

static co_fn void truncated_disc(void *arg)
{
	struct disc *d = new_disc("dvd+r", 65536);
	char *path = g_strdup(disc_name(d));
	struct stat st;

	(void)arg;
	disc_close(d, false);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(truncate(path, st.st_size - 4096), 0);
	refuse(path, DISC_OPEN_RDWR, 0, "superblock");
	remove_image(path);
}

static co_fn void refuse_create(const char *type, uint32_t blocks, const char *why)
{
	char *path = fixture_path("new.disc");
	GError *error = NULL;

	assert_false(disc_create(path, disc_type_find(type), blocks, false, &error));
	if (!strstr(error->message, why))
		fail_msg("\"%s\" does not say \"%s\"", error->message, why);
	assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
	g_error_free(error);
	g_free(path);
}

static co_fn void refused_creation(void *arg)
{
	(void)arg;
	refuse_create("dvd-ram", 0, "yet; these can: cd-r, dvd-r, dvd-rw");
	refuse_create("cd-rom", 0, "image");
	refuse_create("dvd+r", 100, "2048 to 2295104");
	refuse_create("dvd+r", 2295105, "2048 to 2295104");
	refuse_create("dvd+r", 4097, "for example 4096");
	refuse_create("bd-r", 4112, "for example 4096");
}

static co_fn void existing_file(void *arg)
{
	char *path = write_image("new.disc", 100);
	GError *error = NULL;
	struct stat st;

	(void)arg;
	assert_false(disc_create(path, disc_type_find("dvd+r"), 4096, false, &error));
	assert_non_null(error);
	g_error_free(error);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 100);
	remove_image(path);
}

/* Somebody looks while the disc is in use; a second writer is kept out. */
static co_fn void sharing(void *arg)
{
	struct disc *d = new_disc("dvd+r", 4096), *look;
	GError *error = NULL;

	(void)arg;
	assert_int_equal(put(d, 0, 16, 1), DISC_OK);
	look = disc_open(disc_name(d), DISC_OPEN_NO_LOCK, 0, &error);
	assert_non_null(look);
	assert_pattern(look, 0, 16, 1);
	assert_int_equal(put(look, 16, 16, 1), DISC_PROTECTED);
	assert_int_equal(disc_sync(look), DISC_OK);
	assert_false(disc_is_writable(look));
	disc_close(look, false);
	assert_null(disc_open(disc_name(d), DISC_OPEN_RDWR, 0, &error));
	assert_non_null(error);
	g_error_free(error);
	assert_int_equal(put(d, 16, 16, 2), DISC_OK);
	end_disc(d);
}

/* After finalising, other programs may not write either, as far as permissions go. */
static co_fn void finalised_file(void *arg)
{
	struct disc *d = new_disc("dvd+r", 4096);
	struct stat st;

	(void)arg;
	assert_int_equal(put(d, 0, 16, 1), DISC_OK);
	assert_int_equal(disc_finalise(d), DISC_OK);
	d = reopen(d, false);
	assert_int_equal(stat(disc_name(d), &st), 0);
	assert_int_equal(st.st_mode & 0222, 0);
	assert_int_equal(put(d, 16, 16, 1), DISC_FINALISED);
	assert_pattern(d, 0, 16, 1);
	end_disc(d);
}

/* The file of a DVD or BD is an ISO to other programs: block n at byte 2048 n. */
static co_fn void file_is_an_image(void *arg)
{
	struct disc *d = new_disc("bd-r", 65536);
	uint8_t *want = g_malloc(40 * BLOCK), *got = g_malloc(40 * BLOCK);
	int fd;

	(void)arg;
	assert_int_equal(put(d, 0, 40, 5), DISC_OK);
	assert_int_equal(disc_sync(d), DISC_OK);
	fill(want, 40, 5);
	fd = open(disc_name(d), O_RDONLY | O_CLOEXEC);
	assert_int_equal(pread(fd, got, 40 * BLOCK, 0), 40 * BLOCK);
	close(fd);
	assert_memory_equal(want, got, 40 * BLOCK);
	g_free(want);
	g_free(got);
	end_disc(d);
}

IN_LOOP(iso_as_rom)
IN_LOOP(rom_padding)
IN_LOOP(rom_by_size)
IN_LOOP(refused_files)
IN_LOOP(truncated_disc)
IN_LOOP(refused_creation)
IN_LOOP(existing_file)
IN_LOOP(sharing)
IN_LOOP(finalised_file)
IN_LOOP(file_is_an_image)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_iso_as_rom),     cmocka_unit_test(test_rom_padding),
		cmocka_unit_test(test_rom_by_size),    cmocka_unit_test(test_refused_files),
		cmocka_unit_test(test_truncated_disc), cmocka_unit_test(test_refused_creation),
		cmocka_unit_test(test_existing_file),  cmocka_unit_test(test_sharing),
		cmocka_unit_test(test_finalised_file), cmocka_unit_test(test_file_is_an_image),
	};

	return cmocka_run_group_tests(tests, NULL, fixture_end);
}
