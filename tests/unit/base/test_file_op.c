/* File operations and jobs, also far more of them than the ring has room for. */
#include "loop_test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCK = 512, MANY = WITH_SANITIZER ? 2000 : 5000 };

static int temp_file(void)
{
	char *name = NULL;
	int fd = g_file_open_tmp("outboard-test-XXXXXX", &name, NULL);

	assert_true(fd >= 0);
	unlink(name);
	g_free(name);
	return fd;
}

static co_fn void write_and_read(void *arg)
{
	char a[] = "hello, ", b[] = "world", in[16] = "";
	struct iovec out[2] = {{a, 7}, {b, 5}};
	struct iovec one = {in, sizeof(in)};
	struct stat st;
	int fd = temp_file();

	(void)arg;
	assert_int_equal(co_pwritev(fd, out, 2, 4096, 0), 12);
	assert_int_equal(co_pwritev(fd, out, 1, 4096, RWF_DSYNC), 7);
	assert_int_equal(co_fsync(fd, true), 0);
	assert_int_equal(co_fsync(fd, false), 0);
	assert_int_equal(co_preadv(fd, &one, 1, 4096), 12); /* short: the file ends */
	assert_string_equal(in, "hello, world");
	assert_int_equal(co_preadv(fd, &one, 1, 1 << 20), 0);
	assert_int_equal(co_fallocate(fd, 0, 0, 1 << 16), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 1 << 16);
	close(fd);
}

static void test_write_and_read(void **state)
{
	(void)state;
	run_in_loop(write_and_read, NULL);
}

static co_fn void errors(void *arg)
{
	char c = 0;
	struct iovec v = {&c, 1};
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	(void)arg;
	assert_int_equal(co_preadv(-1, &v, 1, 0), -EBADF);
	assert_int_equal(co_pwritev(fd, &v, 1, 0, 0), -EBADF);
	assert_int_equal(co_fsync(-1, false), -EBADF);
	assert_int_equal(co_fallocate(fd, 0, 0, 1), -EBADF);
	v.iov_base = NULL;
	if (!runs_on_valgrind()) /* which complains about it, and rightly so */
		assert_int_equal(co_preadv(fd, &v, 1, 0), -EFAULT);
	close(fd);
}

static void test_errors(void **state)
{
	(void)state;
	run_in_loop(errors, NULL);
}

struct many {
	int fd;
	unsigned left;
	struct co *waiter;
};

struct read_op {
	struct loop_op op;
	struct iovec iov;
	uint32_t data[BLOCK / 4];
	unsigned number;
	struct many *many;
};

static void read_op_done(struct loop_op *op, int res)
{
	struct read_op *r = (struct read_op *)op;

	assert_int_equal(res, BLOCK);
	assert_int_equal(r->data[0], r->number);
	if (--r->many->left == 0)
		co_wake(r->many->waiter);
}

static co_fn void read_many(void *arg)
{
	struct many m = {temp_file(), MANY, co_self()};
	struct read_op *ops = g_new0(struct read_op, MANY);
	uint32_t block[BLOCK / 4] = {0};

	(void)arg;
	for (unsigned i = 0; i < MANY; i++) {
		block[0] = i;
		assert_int_equal(write(m.fd, block, BLOCK), BLOCK);
	}
	for (unsigned round = 0; round < 2; round++) {
		m.left = MANY;
		for (unsigned i = 0; i < MANY; i++) {
			struct read_op *r = &ops[i];

			r->op.done = read_op_done;
			r->iov = (struct iovec){r->data, BLOCK};
			r->number = i;
			r->many = &m;
			r->data[0] = ~0u;
			loop_preadv(co_loop(), &r->op, m.fd, &r->iov, 1, (uint64_t)i * BLOCK);
			assert_int_equal(m.left,
					 MANY); /* none completes inside a submitting call */
		}
		while (m.left)
			co_yield();
	}
	g_free(ops);
	close(m.fd);
}

static void test_more_reads_than_the_ring_holds(void **state)
{
	(void)state;
	run_in_loop(read_many, NULL);
}

struct reader {
	int fd;
	unsigned *left;
	struct co *waiter;
};

static co_fn void reader_co(void *arg)
{
	struct reader *r = arg;
	uint32_t data[BLOCK / 4];
	struct iovec v = {data, BLOCK};

	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(co_preadv(r->fd, &v, 1, i * BLOCK), BLOCK);
	if (--*r->left == 0)
		co_wake(r->waiter);
}

static co_fn void readers(void *arg)
{
	unsigned left = 1000;
	struct reader r = {temp_file(), &left, co_self()};

	(void)arg;
	assert_int_equal(ftruncate(r.fd, 16 * BLOCK), 0);
	for (unsigned i = left; i > 0; i--)
		co_start(co_loop(), reader_co, &r);
	while (left)
		co_yield();
	close(r.fd);
}

static void test_coroutines_that_read(void **state)
{
	(void)state;
	run_in_loop(readers, NULL);
}

struct resubmitted {
	struct loop_op op;
	struct iovec iov;
	char c;
	int fd;
	unsigned left;
	struct co *waiter;
};

static void resubmit_done(struct loop_op *op, int res)
{
	struct resubmitted *r = (struct resubmitted *)op;

	assert_int_equal(res, 1);
	if (r->left-- == 0)
		co_wake(r->waiter);
	else
		loop_preadv(op->loop, op, r->fd, &r->iov, 1, 0);
}

static co_fn void resubmit(void *arg)
{
	struct resubmitted r = {.op.done = resubmit_done, .left = 100, .waiter = co_self()};

	(void)arg;
	r.iov = (struct iovec){&r.c, 1};
	r.fd = temp_file();
	assert_int_equal(write(r.fd, "x", 1), 1);
	loop_preadv(co_loop(), &r.op, r.fd, &r.iov, 1, 0);
	co_yield();
	close(r.fd);
}

static void test_operation_submitted_again_from_done(void **state)
{
	(void)state;
	run_in_loop(resubmit, NULL);
}

struct worker_seen {
	pthread_t thread;
	struct loop *loop;
};

static int job_fn(void *arg)
{
	struct worker_seen *s = arg;

	s->thread = pthread_self();
	s->loop = loop_current();
	usleep(100);
	return -ENOTTY;
}

static co_fn void one_job(void *arg)
{
	struct worker_seen *s = arg;

	assert_int_equal(job_run(job_fn, s), -ENOTTY);
}

struct jobs {
	unsigned left;
	struct co *waiter;
};

static co_fn void jobs_co(void *arg)
{
	struct jobs *j = arg;
	struct worker_seen s;

	one_job(&s);
	assert_false(pthread_equal(s.thread, pthread_self()));
	assert_null(s.loop);
	if (--j->left == 0)
		co_wake(j->waiter);
}

static co_fn void jobs(void *arg)
{
	struct jobs j = {500, co_self()};

	(void)arg;
	for (unsigned i = j.left; i > 0; i--)
		co_start(co_loop(), jobs_co, &j);
	while (j.left)
		co_yield();
}

static void test_jobs_run_in_other_threads(void **state)
{
	(void)state;
	run_in_loop(jobs, NULL);
}

static void test_loops_with_workers_come_and_go(void **state)
{
	struct worker_seen s;

	(void)state;
	for (unsigned i = 0; i < 50; i++)
		run_in_loop(one_job, &s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_write_and_read),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_more_reads_than_the_ring_holds),
		cmocka_unit_test(test_coroutines_that_read),
		cmocka_unit_test(test_operation_submitted_again_from_done),
		cmocka_unit_test(test_jobs_run_in_other_threads),
		cmocka_unit_test(test_loops_with_workers_come_and_go),
	};

	return RUN_LOOP_TESTS(tests);
}
