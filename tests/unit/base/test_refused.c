/*
 * A host that forbids io_uring (a seccomp filter, as containers have it): LOOP_AUTO does without.
 */
#include "loop_test.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void refuse_io_uring(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {G_N_ELEMENTS(code), code};

	assert_int_equal(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	assert_int_equal(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

static co_fn void reads_a_file(void *arg)
{
	char c = 0;
	struct iovec v = {&c, 1};

	assert_int_equal(co_preadv(*(int *)arg, &v, 1, 0), 1);
	assert_int_equal(c, 'x');
}

/* In a child, since the filter is for ever. */
static void child(void)
{
	GError *error = NULL;
	FILE *f = tmpfile();
	int fd = fileno(f);

	assert_int_equal(write(fd, "x", 1), 1);
	refuse_io_uring();
	assert_null(loop_new(LOOP_URING, &error));
	assert_non_null(strstr(error->message, "OUTBOARD_LOOP=epoll"));
	g_clear_error(&error);
	setenv("OUTBOARD_LOOP", "uring", 1); /* a wish is not quietly replaced */
	assert_null(loop_new(LOOP_AUTO, NULL));
	unsetenv("OUTBOARD_LOOP");
	run_in_loop(reads_a_file, &fd);
	fclose(f);
	exit(0);
}

static void test_refused_io_uring(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0)
		child();
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_refused_io_uring)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
