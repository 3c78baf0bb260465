/* Unix sockets: listening, leftovers, whole messages, descriptors along with them. */
#include "loop_test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sock.h"

static unsigned open_descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

struct place {
	char *dir, *path;
};

static struct place place_new(void)
{
	struct place p;

	p.dir = g_dir_make_tmp("outboard-test-XXXXXX", NULL);
	assert_non_null(p.dir);
	p.path = g_build_filename(p.dir, "sock", NULL);
	return p;
}

static void place_free(struct place *p)
{
	unlink(p->path);
	rmdir(p->dir);
	g_free(p->path);
	g_free(p->dir);
}

static void test_listen(void **state)
{
	struct place p = place_new();
	GError *error = NULL;
	struct stat st;
	int fd, second;

	(void)state;
	fd = sock_listen_unix(p.path, &error);
	assert_true(fd >= 0);
	assert_int_equal(stat(p.path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(sock_listen_unix(p.path, &error), -1);
	assert_int_equal(error->code, EADDRINUSE);
	assert_non_null(strstr(error->message, p.path));
	g_clear_error(&error);
	close(fd); /* the file stays, nobody answers */
	second = sock_listen_unix(p.path, &error);
	assert_null(error);
	assert_true(second >= 0);
	close(second);
	place_free(&p);
}

static void test_listen_refuses_other_files(void **state)
{
	struct place p = place_new();
	GError *error = NULL;
	char *name;

	(void)state;
	assert_true(g_file_set_contents(p.path, "precious", -1, NULL));
	assert_int_equal(sock_listen_unix(p.path, &error), -1);
	assert_int_equal(error->code, EEXIST);
	g_clear_error(&error);
	assert_int_equal(access(p.path, F_OK), 0);
	name = g_strnfill(200, 'x');
	assert_int_equal(sock_listen_unix(name, &error), -1);
	assert_int_equal(error->code, ENAMETOOLONG);
	g_clear_error(&error);
	assert_int_equal(sock_connect_unix("/nonexistent/sock", &error), -1);
	assert_int_equal(error->code, ENOENT);
	assert_non_null(strstr(error->message, "/nonexistent/sock"));
	g_clear_error(&error);
	g_free(name);
	place_free(&p);
}

enum { BIG = 3 << 20 }; /* more than a socket buffers */

static co_fn void echo_server(void *arg)
{
	int *listener = arg;
	int fd = sock_accept(*listener);
	char *data = g_malloc(BIG);

	assert_true(fd >= 0);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_int_equal(sock_recv_all(fd, data, BIG, NULL, 0, NULL), BIG);
	assert_int_equal(sock_send_all(fd, data, BIG, NULL, 0), 0);
	g_free(data);
	close(fd);
}

static co_fn void echo_play(void *arg)
{
	struct place p = place_new();
	int listener = sock_listen_unix(p.path, NULL), fd;
	uint32_t *data = g_malloc(BIG), *back = g_malloc0(BIG);

	(void)arg;
	co_start(co_loop(), echo_server, &listener); /* sleeps in accept */
	fd = sock_connect_unix(p.path, NULL);
	assert_true(fd >= 0);
	for (unsigned i = 0; i < BIG / 4; i++)
		data[i] = i * 2654435761u;
	assert_int_equal(sock_send_all(fd, data, BIG, NULL, 0), 0);
	assert_int_equal(sock_recv_all(fd, back, BIG, NULL, 0, NULL), BIG);
	assert_memory_equal(data, back, BIG);
	assert_int_equal(sock_recv_all(fd, back, 1, NULL, 0, NULL), 0);
	close(fd);
	close(listener);
	g_free(data);
	g_free(back);
	place_free(&p);
}

static void test_large_message_both_ways(void **state)
{
	(void)state;
	run_in_loop(echo_play, NULL);
}

static void make_pair(int fds[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
			 0);
}

static co_fn void ends_play(void *arg)
{
	char buf[8];
	int s[2];

	(void)arg;
	make_pair(s);
	assert_int_equal(sock_send_all(s[0], "abc", 3, NULL, 0), 0);
	close(s[0]);
	assert_int_equal(sock_recv_all(s[1], buf, 8, NULL, 0, NULL), -EPIPE);
	assert_int_equal(sock_recv_all(s[1], buf, 8, NULL, 0, NULL), 0);
	assert_int_equal(sock_send_all(s[1], "abc", 3, NULL, 0), -EPIPE); /* and no SIGPIPE */
	close(s[1]);
	assert_int_equal(sock_recv_all(s[1], buf, 8, NULL, 0, NULL), -EBADF);
}

static void test_ends_of_the_stream(void **state)
{
	(void)state;
	run_in_loop(ends_play, NULL);
}

static co_fn void fds_play(void *arg)
{
	int s[2], pipe_fds[2], got[3] = {-1, -1, -1};
	unsigned n = 99;
	char buf[4], c;

	(void)arg;
	make_pair(s);
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	assert_int_equal(sock_send_all(s[0], "abcd", 4, pipe_fds, 2), 0);
	assert_int_equal(sock_send_all(s[0], "efgh", 4, NULL, 0), 0);
	assert_int_equal(sock_recv_all(s[1], buf, 4, got, 3, &n), 4);
	assert_memory_equal(buf, "abcd", 4);
	assert_int_equal(n, 2);
	assert_true(fcntl(got[0], F_GETFD) & FD_CLOEXEC);
	assert_int_equal(write(got[1], "x", 1), 1);
	assert_int_equal(read(pipe_fds[0], &c, 1), 1);
	assert_int_equal(sock_recv_all(s[1], buf, 4, got, 3, &n), 4);
	assert_int_equal(n, 0);
	assert_int_equal(sock_send_all(s[0], "", 0, pipe_fds, 1), -EINVAL);
	close(got[0]);
	close(got[1]);
	for (unsigned i = 0; i < 2; i++) {
		close(pipe_fds[i]);
		close(s[i]);
	}
}

/* None that came with a refused message may stay open. */
static co_fn void too_many_play(void *arg)
{
	int s[2], send_fds[253], got[2];
	unsigned before, n = 99;
	char buf[4];

	(void)arg;
	make_pair(s);
	for (unsigned i = 0; i < 253; i++)
		send_fds[i] = s[0];
	before = open_descriptors();
	assert_int_equal(sock_send_all(s[0], "abcd", 4, send_fds, 3), 0);
	assert_int_equal(sock_recv_all(s[1], buf, 4, got, 2, &n), -EPROTO);
	assert_int_equal(n, 99);
	make_pair(got); /* the stream is lost after that: begin another */
	close(s[0]);
	close(s[1]);
	memcpy(s, got, sizeof(s));
	assert_int_equal(open_descriptors(), before);
	for (unsigned i = 0; i < 253; i++)
		send_fds[i] = s[0];
	assert_int_equal(sock_send_all(s[0], "abcd", 4, send_fds, 253), 0);
	assert_int_equal(sock_recv_all(s[1], buf, 4, NULL, 0, NULL), -EPROTO);
	assert_int_equal(sock_send_all(s[0], "abcd", 4, send_fds, 254), -EINVAL);
	assert_int_equal(open_descriptors(), before);
	close(s[0]);
	close(s[1]);
}

/* One message in two pieces, each with a descriptor; then one that ends after the first. */
static co_fn void pieces_play(void *arg)
{
	int s[2], got[2];
	unsigned before, n;
	char buf[4];

	(void)arg;
	make_pair(s);
	before = open_descriptors();
	assert_int_equal(sock_send_all(s[0], "ab", 2, s + 1, 1), 0);
	assert_int_equal(sock_send_all(s[0], "cd", 2, s + 1, 1), 0);
	assert_int_equal(sock_recv_all(s[1], buf, 4, got, 2, &n), 4);
	assert_int_equal(n, 2);
	close(got[0]);
	close(got[1]);
	assert_int_equal(sock_send_all(s[0], "ab", 2, s + 1, 1), 0);
	close(s[0]);
	assert_int_equal(sock_recv_all(s[1], buf, 4, got, 2, &n), -EPIPE);
	assert_int_equal(open_descriptors(), before - 1);
	close(s[1]);
}

static void test_descriptors(void **state)
{
	(void)state;
	run_in_loop(fds_play, NULL);
}

static void test_too_many_descriptors(void **state)
{
	(void)state;
	run_in_loop(too_many_play, NULL);
}

static void test_descriptors_in_pieces(void **state)
{
	(void)state;
	run_in_loop(pieces_play, NULL);
}

static co_fn void slow_sender(void *arg)
{
	int *s = arg;

	for (const char *p = "slow"; *p; p++) {
		co_sleep_ns(100000);
		assert_int_equal(sock_send_all(*s, p, 1, NULL, 0), 0);
	}
}

static co_fn void slow_play(void *arg)
{
	char buf[4];
	int s[2];

	(void)arg;
	make_pair(s);
	co_start(co_loop(), slow_sender, &s[0]);
	assert_int_equal(sock_recv_all(s[1], buf, 4, NULL, 0, NULL), 4);
	assert_memory_equal(buf, "slow", 4);
	close(s[0]);
	close(s[1]);
}

static void test_message_byte_by_byte(void **state)
{
	(void)state;
	run_in_loop(slow_play, NULL);
}

static co_fn void accepting(void *arg)
{
	int *fd = arg;

	*fd = sock_accept(*fd);
}

static co_fn void shutdown_play(void *arg)
{
	struct place p = place_new();
	int listener = sock_listen_unix(p.path, NULL), result = listener;

	(void)arg;
	co_start(co_loop(), accepting, &result);
	assert_int_equal(result, listener); /* it sleeps */
	shutdown(listener, SHUT_RDWR);
	while (result == listener)
		co_reschedule();
	assert_int_equal(result, -ESHUTDOWN);
	close(listener);
	place_free(&p);
}

static void test_shutdown_ends_accepting(void **state)
{
	(void)state;
	run_in_loop(shutdown_play, NULL);
}

/* A process that was killed with its socket open, and whose parent has not yet waited for it. */
static void test_listener_of_a_dead_process(void **state)
{
	struct place p = place_new();
	GError *error = NULL;
	siginfo_t info;
	int fd;
	pid_t pid;

	(void)state;
	fd = sock_listen_unix(p.path, NULL);
	pid = fork();
	if (pid == 0) {
		close(fd);
		unlink(p.path);
		fd = sock_listen_unix(p.path, NULL);
		_exit(fd < 0);
	}
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	close(fd);
	fd = sock_listen_unix(p.path, &error);
	assert_null(error);
	close(fd);
	waitpid(pid, NULL, 0);
	place_free(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_listen),
		cmocka_unit_test(test_listen_refuses_other_files),
		cmocka_unit_test(test_large_message_both_ways),
		cmocka_unit_test(test_ends_of_the_stream),
		cmocka_unit_test(test_descriptors),
		cmocka_unit_test(test_too_many_descriptors),
		cmocka_unit_test(test_descriptors_in_pieces),
		cmocka_unit_test(test_message_byte_by_byte),
		cmocka_unit_test(test_shutdown_ends_accepting),
		cmocka_unit_test(test_listener_of_a_dead_process),
	};

	return RUN_LOOP_TESTS(tests);
}
