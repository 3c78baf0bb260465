/* .disc files on a file system: creating them and what can be wrong there, locks, how much opening
 * reads. */
#include "store_fixture.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "block/fault.h"

enum { BD_TL_BLOCKS = 48878592 };

static char *folder, *path;

static co_fn void must_create(uint16_t profile, uint32_t blocks, unsigned flags)
{
	struct disc_state *state = blank_state(profile, blocks);
	GError *error = NULL;

	if (!disc_store_create(path, state, flags, &error))
		fail_msg("%s", error->message);
	disc_state_free(state);
}

/* Creating fails, says part, and leaves nothing behind unless it was there before. */
static co_fn void refuse_create(uint32_t blocks, const char *part, bool stays)
{
	struct disc_state *state = blank_state(PROFILE_BD_R_SRM, blocks);
	GError *error = NULL;

	assert_false(disc_store_create(path, state, STORE_RDWR, &error));
	if (!strstr(error->message, part) || !g_str_has_prefix(error->message, path))
		fail_msg("\"%s\" does not say \"%s\"", error->message, part);
	g_error_free(error);
	disc_state_free(state);
	assert_int_equal(g_file_test(path, G_FILE_TEST_EXISTS), stays);
}

static co_fn struct disc_store *open_file(unsigned block_flags, unsigned flags,
					  struct disc_state **state, GError **error)
{
	struct block_node *node = block_open_file(path, block_flags, error);

	return node ? disc_store_open(node, flags, state, error) : NULL;
}

static void test_large_disc_is_small_and_opens_without_a_scan(void)
{
	struct disc_state *state;
	struct block_stats stats;
	struct disc_store *s;
	struct stat st;

	must_create(PROFILE_BD_R_SRM, BD_TL_BLOCKS, STORE_RDWR);
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_size > (off_t)BD_TL_BLOCKS * 2048);
	assert_true(st.st_blocks * 512 < 8 << 20);
	s = open_file(BLOCK_RDWR | BLOCK_UNSHARE_WRITE, STORE_RDWR, &state, NULL);
	assert_non_null(s);
	block_get_stats(disc_store_node(s), &stats);
	assert_true(stats.reads < 20);
	assert_true(stats.read_bytes < 2 << 20);
	assert_true(stats.writes <= 2);
	disc_store_close(s, false);
	disc_state_free(state);
}

static void test_life_on_a_file(void)
{
	struct disc_state *state;
	struct disc_store *s;
	uint8_t buf[2048], back[2048];
	struct iovec one;
	struct iovs iov = iovs_one(&one, buf, sizeof(buf));

	must_create(PROFILE_DVD_PLUS_R, TEST_BLOCKS, STORE_RDWR | STORE_PREALLOCATE);
	s = open_file(BLOCK_RDWR | BLOCK_UNSHARE_WRITE, STORE_RDWR, &state, NULL);
	assert_non_null(s);
	add_session(state, 0);
	add_track(state, 0, TRACK_OPEN);
	assert_int_equal(disc_store_commit(s, state, false), 0);
	fill(buf, 0, 1);
	assert_int_equal(disc_store_write(s, PLANE_USER, 0, 1, &iov), 0);
	state_track(state, 1)->nwa = 1;
	disc_store_progress(s, state);
	disc_store_close(s, true); /* as if the process had died: through the shared mapping */
	disc_state_free(state);
	s = open_file(BLOCK_RDWR | BLOCK_UNSHARE_WRITE, STORE_RDWR, &state, NULL);
	assert_non_null(s);
	assert_int_equal(state_track(state, 1)->nwa, 1);
	one.iov_base = back;
	assert_int_equal(disc_store_read(s, PLANE_USER, 0, 1, &iov), 0);
	assert_memory_equal(buf, back, sizeof(buf));
	disc_store_close(s, false);
	disc_state_free(state);
}

static void test_preallocation(void)
{
	struct stat st;

	must_create(PROFILE_DVD_PLUS_R, 4096, STORE_RDWR | STORE_PREALLOCATE);
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_blocks * 512 >= 4096 * 2048);
}

static void test_second_writer_is_told_who_has_it(void)
{
	struct disc_state *state, *none = NULL;
	GError *error = NULL;
	struct disc_store *s;
	char *text;

	must_create(PROFILE_DVD_PLUS_R, TEST_BLOCKS, STORE_RDWR);
	s = open_file(BLOCK_RDWR | BLOCK_UNSHARE_WRITE, STORE_RDWR, &state, NULL);
	assert_non_null(s);
	assert_null(open_file(BLOCK_RDWR | BLOCK_UNSHARE_WRITE, STORE_RDWR, &none, &error));
	text = g_strdup_printf("%s: in use already by this process (pid %d)", path, getpid());
	assert_true(g_str_has_prefix(error->message, text));
	g_free(text);
	g_error_free(error);
	disc_store_close(s, false);
	disc_state_free(state);
}

static void test_what_is_in_the_way(void)
{
	assert_true(g_file_set_contents(path, "mine", 4, NULL));
	refuse_create(1000, "exists", true);
	g_unlink(path);
	refuse_create(0, "0 blocks", false);
	refuse_create(UINT32_MAX, "blocks", false);
	g_free(path);
	path = g_build_filename(folder, "missing", "d.disc", NULL);
	refuse_create(1000, "No such file", false);
}

static void test_file_system_with_a_limit(void)
{
	struct rlimit was, small;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
	small = was;
	small.rlim_cur = (rlim_t)4 << 30;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	refuse_create(BD_TL_BLOCKS, "FAT ends at 4 GiB", false);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
}

static void test_no_room_at_creation(void)
{
	static const struct fault_rule rules[] = {
		{.op = FAULT_ALLOCATE, .errnum = ENOSPC},
		{.op = FAULT_TRUNCATE, .errnum = EFBIG},
		{.op = FAULT_WRITE, .errnum = ENOSPC},
		{.op = FAULT_FLUSH, .errnum = EIO},
		{.op = FAULT_WRITE, .nth = 4, .errnum = EIO},
	};
	static const char *const says[] = {"has no room for", "FAT ends", "No space",
					   "Input/output", "Input/output"};

	for (unsigned i = 0; i < G_N_ELEMENTS(rules); i++) {
		struct block_node *node = fault_new(block_mem_new(0, NULL, 0));
		struct disc_state *state = blank_state(PROFILE_DVD_R, TEST_BLOCKS);
		GError *error = NULL;

		fault_add(node, &rules[i]);
		assert_false(disc_store_format(node, state, STORE_RDWR, &error));
		if (!strstr(error->message, says[i]))
			fail_msg("\"%s\" does not say \"%s\"", error->message, says[i]);
		g_error_free(error);
		disc_state_free(state);
		block_unref(node);
	}
}

/* A disc whose file cannot be written any more: opening says so; what was committed is still read.
 */
static void test_io_errors_while_opening(void)
{
	struct block_node *mem = new_disc(PROFILE_DVD_R, TEST_BLOCKS), *node = fault_new(mem);
	struct disc_state *state = NULL;
	unsigned failures = 0;

	for (unsigned nth = 1; nth < 40; nth++) {
		struct fault_rule rule = {.op = FAULT_ANY, .nth = nth, .times = 1, .errnum = EIO};
		GError *error = NULL;
		struct disc_store *s;

		fault_add(node, &rule);
		block_ref(node);
		s = disc_store_open_boot(node, STORE_RDWR, this_boot, &state, &error);
		fault_clear(node);
		if (s) {
			disc_store_close(s, true);
			disc_state_free(state);
			state = NULL;
		} else {
			assert_non_null(strstr(error->message, "Input/output"));
			g_error_free(error);
			failures++;
		}
		disc_store_close(must_open(mem, STORE_RDWR, &state), true);
		disc_state_free(state);
		state = NULL;
	}
	assert_true(failures >= 5);
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

IN_LOOP(test_large_disc_is_small_and_opens_without_a_scan)
IN_LOOP(test_life_on_a_file)
IN_LOOP(test_preallocation)
IN_LOOP(test_second_writer_is_told_who_has_it)
IN_LOOP(test_what_is_in_the_way)
IN_LOOP(test_file_system_with_a_limit)
IN_LOOP(test_no_room_at_creation)
IN_LOOP(test_io_errors_while_opening)

static int make_folder(void **state)
{
	(void)state;
	folder = g_dir_make_tmp("outboard-test-XXXXXX", NULL);
	path = folder ? g_build_filename(folder, "d.disc", NULL) : NULL;
	return folder ? 0 : -1;
}

static int remove_folder(void **state)
{
	(void)state;
	g_unlink(path);
	g_rmdir(folder);
	g_free(path);
	g_free(folder);
	return 0;
}

#define ON_A_FILE(name) cmocka_unit_test_setup_teardown(run_##name, make_folder, remove_folder)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_A_FILE(test_large_disc_is_small_and_opens_without_a_scan),
		ON_A_FILE(test_life_on_a_file),
		ON_A_FILE(test_preallocation),
		ON_A_FILE(test_second_writer_is_told_who_has_it),
		ON_A_FILE(test_what_is_in_the_way),
		ON_A_FILE(test_file_system_with_a_limit),
		cmocka_unit_test(run_test_no_room_at_creation),
		cmocka_unit_test(run_test_io_errors_while_opening),
	};

	return RUN_LOOP_TESTS(tests);
}
