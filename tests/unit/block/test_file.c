/* Driver "file": reading, writing, holes, mapping, creating, what it refuses, and the locks between
 * programs. */
#include "block_test.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/log.h"

static char *folder;

static char *path_of(const char *name)
{
	return g_build_filename(folder, name, NULL);
}

static char *make_file(const char *name, const void *data, size_t len)
{
	char *path = path_of(name);

	assert_true(g_file_set_contents(path, data, (gssize)len, NULL));
	return path;
}

static struct block_node *open_path(const char *path, unsigned flags)
{
	GError *error = NULL;
	struct block_node *node = block_open_file(path, flags, &error);

	if (!node)
		fail_msg("%s", error->message);
	return node;
}

/* That path is refused; part must be in the message, and the path at its beginning. */
static void refuse_path(const char *path, unsigned flags, const char *part)
{
	GError *error = NULL;

	assert_null(block_open_file(path, flags, &error));
	assert_non_null(error);
	if (!strstr(error->message, part) || !g_str_has_prefix(error->message, path))
		fail_msg("\"%s\" does not say \"%s\"", error->message, part);
	g_error_free(error);
}

static void test_read_and_write(void)
{
	char *path = make_file("rw", "0123456789", 10);
	struct block_node *node = open_path(path, BLOCK_RDWR);
	uint8_t buf[10];

	assert_string_equal(block_name(node), path);
	assert_int_equal(block_length(node), 10);
	assert_int_equal(block_pwrite(node, 3, "abc", 3, 0), 0);
	assert_int_equal(block_pwrite(node, 8, "XY", 2, BLOCK_FUA), 0);
	assert_int_equal(block_pwrite(node, 8, "XYZ", 3, 0), -EINVAL);
	assert_int_equal(block_flush(node), 0);
	assert_int_equal(block_pread(node, 0, buf, 10), 0);
	assert_memory_equal(buf, "012abc67XY", 10);
	assert_int_equal(block_truncate(node, 4), 0);
	assert_int_equal(block_length(node), 4);
	block_unref(node);
	g_free(path);
}

static void test_more_pieces_than_one_call_takes(void)
{
	enum { PIECES = 3000, PIECE = 7 };
	uint8_t *out = g_malloc(PIECES * PIECE), *in = g_malloc0(PIECES * PIECE);
	struct iovec *v = g_new(struct iovec, PIECES);
	struct iovs iov = {v, PIECES, PIECES * PIECE};
	char *path = make_file("pieces", "", 0);
	struct block_node *node = open_path(path, BLOCK_RDWR);

	for (unsigned i = 0; i < PIECES * PIECE; i++)
		out[i] = (uint8_t)(i * 31 + i / 256);
	assert_int_equal(block_truncate(node, PIECES * PIECE), 0);
	for (unsigned i = 0; i < PIECES; i++)
		v[i] = (struct iovec){out + i * PIECE, PIECE};
	assert_int_equal(block_pwritev(node, 0, &iov, 0), 0);
	for (unsigned i = 0; i < PIECES; i++)
		v[i].iov_base = in + i * PIECE;
	assert_int_equal(block_preadv(node, 0, &iov), 0);
	assert_memory_equal(in, out, PIECES * PIECE);
	block_unref(node);
	g_free(path);
	g_free(v);
	g_free(in);
	g_free(out);
}

static void test_file_made_shorter_behind_our_back(void)
{
	char *path = make_file("shorter", "0123456789", 10);
	struct block_node *node = open_path(path, 0);
	uint8_t buf[10];

	assert_int_equal(truncate(path, 5), 0);
	assert_int_equal(block_pread(node, 0, buf, 5), 0);
	assert_int_equal(block_pread(node, 0, buf, 10), -EIO);
	assert_int_equal(block_pread(node, 7, buf, 1), -EIO);
	block_unref(node);
	g_free(path);
}

static void test_holes(void)
{
	enum { MB = 1 << 20 };
	char *path = make_file("holes", "", 0);
	struct block_node *node = open_path(path, BLOCK_RDWR);
	uint8_t *buf = g_malloc(MB);
	struct stat before, after;
	unsigned status = 0;
	uint64_t run = 0;

	memset(buf, 1, MB);
	assert_int_equal(block_truncate(node, 8 * MB), 0);
	assert_int_equal(block_pwrite(node, 2 * MB, buf, MB, 0), 0);
	assert_int_equal(block_flush(node), 0);
	assert_int_equal(block_get_status(node, 0, 8 * MB, &status, &run), 0);
	if (status == BLOCK_DATA) {
		print_message("this file system has no holes\n");
		block_unref(node);
		g_free(path);
		g_free(buf);
		return;
	}
	assert_int_equal(run, 2 * MB);
	assert_int_equal(block_get_status(node, 2 * MB + 5, 8 * MB - 2 * MB - 5, &status, &run), 0);
	assert_int_equal(status, BLOCK_DATA);
	assert_int_equal(run, MB - 5);
	assert_int_equal(block_get_status(node, 3 * MB, 5 * MB, &status, &run), 0);
	assert_int_equal(status, BLOCK_ZERO);
	assert_int_equal(run, 5 * MB);
	assert_int_equal(stat(path, &before), 0);
	assert_int_equal(block_discard_zero(node, 2 * MB + 1, MB - 2), 0);
	assert_int_equal(stat(path, &after), 0);
	assert_true(after.st_blocks < before.st_blocks);
	assert_int_equal(after.st_size, 8 * MB);
	assert_int_equal(block_pread(node, 2 * MB, buf, MB), 0);
	assert_int_equal(buf[0], 1);
	assert_int_equal(buf[1], 0);
	assert_int_equal(buf[MB - 2], 0);
	assert_int_equal(buf[MB - 1], 1);
	assert_int_equal(block_allocate(node, 4 * MB, 4 * MB), 0);
	assert_int_equal(stat(path, &before), 0);
	assert_true(before.st_blocks >= after.st_blocks + 4 * MB / 512);
	assert_int_equal(before.st_size, 8 * MB);
	block_unref(node);
	g_free(path);
	g_free(buf);
}

static void test_shared_mapping(void)
{
	char *path = make_file("map", "", 0);
	struct block_node *node = open_path(path, BLOCK_RDWR);
	uint8_t *map, buf[4];

	assert_int_equal(block_truncate(node, 8192), 0);
	map = block_map_shared(node, 4096, 4096);
	assert_non_null(map);
	memcpy(map + 10, "here", 4);
	assert_int_equal(block_pread(node, 4106, buf, 4), 0);
	assert_memory_equal(buf, "here", 4);
	assert_int_equal(block_pwrite(node, 4106, "then", 4, 0), 0);
	assert_memory_equal(map + 10, "then", 4);
	assert_null(block_map_shared(node, 8192, 4096));
	block_unref(node);
	g_free(path);
}

/* Another program shortens the file: the mapping stays harmless, reads say what happened. */
static void test_shortened_under_a_mapping(void)
{
	char *path = make_file("torn", "", 0);
	struct block_node *node = open_path(path, BLOCK_RDWR);
	uint8_t *map, buf[4];

	assert_int_equal(block_truncate(node, 8192), 0);
	map = block_map_shared(node, 4096, 4096);
	assert_non_null(map);
	assert_int_equal(truncate(path, 0), 0);
	memcpy(map, "gone", 4);
	assert_int_equal(block_pread(node, 4096, buf, 4), -EIO);
	block_unref(node);
	g_free(path);
}

static void test_create(void)
{
	char *path = path_of("new"), *text = g_strdup_printf("filename=%s,create=on", path);
	struct block_node *node = must_open(text, BLOCK_RDWR);

	assert_int_equal(block_length(node), 0);
	block_unref(node);
	must_refuse(text, BLOCK_RDWR, "exists");
	g_unlink(path);
	must_refuse(text, 0, "write access");
	assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
	g_free(text);
	g_free(path);
}

static void test_what_it_refuses(void)
{
	char *path = path_of("missing"), *fifo = path_of("fifo");

	refuse_path(path, 0, "No such file");
	refuse_path(folder, 0, "directory");
	assert_int_equal(mkfifo(fifo, 0600), 0);
	refuse_path(fifo, 0, "no regular file");
	refuse_path("/dev/null", 0, "no regular file");
	g_free(path);
	g_free(fifo);
}

static void test_auto_read_only(void)
{
	char *path = make_file("ro", "data", 4);
	struct block_node *node;

	if (geteuid() == 0) { /* root may write everything; a running program not */
		g_unlink(path);
		g_free(path);
		path = g_file_read_link("/proc/self/exe", NULL);
	} else {
		assert_int_equal(chmod(path, 0400), 0);
	}
	refuse_path(path, BLOCK_RDWR, geteuid() == 0 ? "busy" : "denied");
	node = open_path(path, BLOCK_RDWR | BLOCK_AUTO_RDONLY);
	assert_false(block_is_writable(node));
	assert_int_equal(block_pwrite(node, 0, "x", 1, 0), -EROFS);
	block_unref(node);
	g_free(path);
}

static void test_limit_on_file_size(void)
{
	char *path = make_file("limit", "", 0);
	struct block_node *node = open_path(path, BLOCK_RDWR);
	struct rlimit was, small;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
	small = was;
	small.rlim_cur = 1 << 20;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	assert_int_equal(block_truncate(node, 2 << 20), -EFBIG);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
	assert_int_equal(block_length(node), 0);
	block_unref(node);
	g_free(path);
}

/* Whether somebody has a lock on this byte of path, seen from a descriptor of its own. */
static bool byte_is_locked(const char *path, int byte)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
	int fd = open(path, O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_OFD_GETLK, &l), 0);
	close(fd);
	return l.l_type != F_UNLCK;
}

static void check_bytes(const char *path, const char *wanted)
{
	GString *held = g_string_new("");

	for (int base = 100; base <= 200; base += 100) {
		for (int i = 0; i < 5; i++)
			if (byte_is_locked(path, base + i))
				g_string_append_printf(held, " %d", base + i);
	}
	assert_string_equal(held->str, wanted);
	g_string_free(held, TRUE);
}

static void test_lock_bytes_are_those_of_qemu(void)
{
	static const struct {
		unsigned flags;
		const char *bytes;
	} rows[] = {
		{0, " 100"},
		{BLOCK_RDWR, " 100 101"},
		{BLOCK_RDWR | BLOCK_UNSHARE_WRITE, " 100 101 103 201 203"},
		{BLOCK_UNSHARE_WRITE, " 100 201 203"},
		{BLOCK_NO_LOCK, ""},
	};
	char *path = make_file("bytes", "data", 4);

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		struct block_node *node = open_path(path, rows[i].flags);

		check_bytes(path, rows[i].bytes);
		block_unref(node);
		check_bytes(path, "");
	}
	g_free(path);
}

static void test_who_excludes_whom(void)
{
	enum {
		WRITER = BLOCK_RDWR | BLOCK_UNSHARE_WRITE,
		RAW = BLOCK_RDWR,
		READER = 0,
		PICKY = BLOCK_UNSHARE_WRITE
	};
	static const struct {
		unsigned first, second;
		bool both;
	} rows[] = {
		{WRITER, WRITER, false},       {WRITER, RAW, false},
		{RAW, WRITER, false},          {WRITER, READER, true},
		{READER, WRITER, true},        {PICKY, WRITER, false},
		{WRITER, PICKY, false},        {RAW, RAW, true},
		{PICKY, PICKY, true},          {READER, READER, true},
		{WRITER, BLOCK_NO_LOCK, true},
	};
	char *path = make_file("exclude", "data", 4);

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		struct block_node *first = open_path(path, rows[i].first);

		if (rows[i].both)
			block_unref(open_path(path, rows[i].second));
		else
			refuse_path(path, rows[i].second, "in use already by this process");
		block_unref(first);
		block_unref(open_path(path, rows[i].second));
	}
	g_free(path);
}

/* A child with QEMU's locks of a writer on path; it waits to be killed. */
static pid_t start_holder(const char *path)
{
	int pipe_fds[2];
	char ready;
	pid_t pid;

	assert_int_equal(pipe(pipe_fds), 0);
	pid = fork();
	if (pid == 0) {
		static const int bytes[] = {100, 101, 103, 201, 203};
		int fd = open(path, O_RDWR);

		for (unsigned i = 0; i < G_N_ELEMENTS(bytes); i++) {
			struct flock l = {.l_type = F_RDLCK,
					  .l_whence = SEEK_SET,
					  .l_start = bytes[i],
					  .l_len = 1};

			if (fcntl(fd, F_OFD_SETLK, &l) < 0)
				_exit(1);
		}
		if (write(pipe_fds[1], "r", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	assert_true(pid > 0);
	close(pipe_fds[1]);
	assert_int_equal(read(pipe_fds[0], &ready, 1), 1);
	close(pipe_fds[0]);
	return pid;
}

static void test_message_names_the_holder(void)
{
	char *path = make_file("holder", "data", 4), *text;
	pid_t pid = start_holder(path);

	text = g_strdup_printf("in use by test_file (pid %d)", pid);
	refuse_path(path, BLOCK_RDWR | BLOCK_UNSHARE_WRITE, text);
	refuse_path(path, BLOCK_RDWR | BLOCK_AUTO_RDONLY | BLOCK_UNSHARE_WRITE, text);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	block_unref(open_path(path, BLOCK_RDWR | BLOCK_UNSHARE_WRITE));
	g_free(text);
	g_free(path);
}

static char *program; /* qemu-io */

static void test_qemu_keeps_out(void)
{
	char *path = make_file("qemu1", "", 0), *err = NULL;
	char *argv[] = {program, "-f", "raw", "-c", "quit", path, NULL};
	struct block_node *node = open_path(path, BLOCK_RDWR | BLOCK_UNSHARE_WRITE);
	int status = 0;

	assert_true(g_spawn_sync(NULL, argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, NULL, &err, &status,
				 NULL));
	assert_int_not_equal(status, 0);
	assert_non_null(strstr(err, "lock"));
	block_unref(node);
	assert_true(g_spawn_sync(NULL, argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, NULL, NULL, &status,
				 NULL));
	assert_int_equal(status, 0);
	g_free(err);
	g_free(path);
}

static void test_we_keep_out_of_qemu(void)
{
	char *path = make_file("qemu2", "", 0), *text;
	char *argv[] = {program, "-f", "raw", "-c", "sleep 60000", path, NULL};
	GPid pid = 0;

	assert_true(
		g_spawn_async(NULL, argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL, &pid, NULL));
	for (unsigned i = 0; i < 10000 && !byte_is_locked(path, 101); i++)
		co_sleep_ns(1000000);
	text = g_strdup_printf("in use by qemu-io (pid %d)", pid);
	refuse_path(path, BLOCK_RDWR | BLOCK_UNSHARE_WRITE, text);
	block_unref(open_path(path, BLOCK_NO_LOCK));
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	block_unref(open_path(path, BLOCK_RDWR | BLOCK_UNSHARE_WRITE));
	g_free(text);
	g_free(path);
}

IN_LOOP(test_read_and_write)
IN_LOOP(test_more_pieces_than_one_call_takes)
IN_LOOP(test_file_made_shorter_behind_our_back)
IN_LOOP(test_holes)
IN_LOOP(test_shared_mapping)
IN_LOOP(test_shortened_under_a_mapping)
IN_LOOP(test_create)
IN_LOOP(test_what_it_refuses)
IN_LOOP(test_auto_read_only)
IN_LOOP(test_limit_on_file_size)
IN_LOOP(test_lock_bytes_are_those_of_qemu)
IN_LOOP(test_who_excludes_whom)
IN_LOOP(test_message_names_the_holder)
IN_LOOP(test_qemu_keeps_out)
IN_LOOP(test_we_keep_out_of_qemu)

static int need_qemu_io(void **state)
{
	(void)state;
	program = g_find_program_in_path("qemu-io");
	return 0;
}

static int drop_qemu_io(void **state)
{
	(void)state;
	g_free(program);
	return 0;
}

/* Not inside a coroutine: cmocka leaves a skipped test by longjmp(). */
static void run_with_qemu(void **state, void (*run)(void **state))
{
	if (!program)
		skip();
	run(state);
}

static void qemu_keeps_out(void **state)
{
	run_with_qemu(state, run_test_qemu_keeps_out);
}

static void we_keep_out_of_qemu(void **state)
{
	run_with_qemu(state, run_test_we_keep_out_of_qemu);
}

static int make_folder(void **state)
{
	(void)state;
	folder = g_dir_make_tmp("outboard-test-XXXXXX", NULL);
	return folder ? 0 : -1;
}

static int remove_folder(void **state)
{
	const char *name;
	GDir *dir = g_dir_open(folder, 0, NULL);

	(void)state;
	while ((name = g_dir_read_name(dir))) {
		char *path = path_of(name);

		g_unlink(path);
		g_free(path);
	}
	g_dir_close(dir);
	g_rmdir(folder);
	g_free(folder);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(run_test_read_and_write),
		cmocka_unit_test(run_test_more_pieces_than_one_call_takes),
		cmocka_unit_test(run_test_file_made_shorter_behind_our_back),
		cmocka_unit_test(run_test_holes),
		/* before others that map: cmocka takes our SIGBUS handler away after each test */
		cmocka_unit_test(run_test_shortened_under_a_mapping),
		cmocka_unit_test(run_test_shared_mapping),
		cmocka_unit_test(run_test_create),
		cmocka_unit_test(run_test_what_it_refuses),
		cmocka_unit_test(run_test_auto_read_only),
		cmocka_unit_test(run_test_limit_on_file_size),
		cmocka_unit_test(run_test_lock_bytes_are_those_of_qemu),
		cmocka_unit_test(run_test_who_excludes_whom),
		cmocka_unit_test(run_test_message_names_the_holder),
		cmocka_unit_test_setup_teardown(qemu_keeps_out, need_qemu_io, drop_qemu_io),
		cmocka_unit_test_setup_teardown(we_keep_out_of_qemu, need_qemu_io, drop_qemu_io),
	};

	return backend_is_missing() ? EXIT_SKIPPED
				    : cmocka_run_group_tests(tests, make_folder, remove_folder);
}
