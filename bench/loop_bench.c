/*
 * What the event loop costs: posts from another thread, coroutines, and random 4 KiB reads at queue
 * depth 32 through coroutines, against a bare liburing loop of the same depth and with the same
 * ring flags.
 *
 * Both sides of the comparison run in turns within the same run, so that a machine that gets slower
 * or faster meanwhile does so for both; the medians of the rounds are compared.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/co.h"
#include "outboard-config.h"
#ifdef HAVE_URING
#include <liburing.h>
#endif

enum {
	DEPTH = 32,
	BLOCK = 4096,
	FILE_BLOCKS = 65536, /* 256 MiB */
	POSTS = 1000000,
	STARTS = 1000000,
	SWITCHES = 1000000,
	MAX_ROUNDS = 99,
};

struct file {
	int fd;
	uint64_t blocks;
	char *buffers;  /* DEPTH blocks, aligned */
	uint64_t reads; /* for each round */
};

static void die(const char *what, int err)
{
	fprintf(stderr, "loop_bench: %s: %s\n", what, strerror(err));
	exit(1);
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static uint64_t random_offset(uint64_t *state, const struct file *f)
{
	return next_random(state) % f->blocks * BLOCK;
}

/* Runs fn(arg) as a coroutine on a loop of its own. */
struct run {
	struct loop *loop;
	void (*fn)(void *arg);
	void *arg;
};

static co_fn void run_co(void *arg)
{
	struct run *r = arg;

	r->fn(r->arg);
	loop_stop(r->loop);
}

static struct loop *new_loop(enum loop_backend backend)
{
	GError *error = NULL;
	struct loop *l = loop_new(backend, &error);

	if (!l) {
		fprintf(stderr, "loop_bench: %s\n", error->message);
		exit(1);
	}
	return l;
}

static void run_on(enum loop_backend backend, void (*fn)(void *arg), void *arg)
{
	struct run r = {new_loop(backend), fn, arg};

	co_start(r.loop, run_co, &r);
	loop_run(r.loop);
	loop_free(r.loop);
}

/* Posts. */

struct posts {
	struct loop *loop;
	struct loop_task *tasks;
	unsigned n;
};

static void count_post(struct loop_task *t)
{
	(void)t;
}

static void last_post(struct loop_task *t)
{
	(void)t;
	loop_stop(loop_current());
}

static void *post_all(void *arg)
{
	struct posts *p = arg;

	for (unsigned i = 0; i < p->n; i++)
		loop_post(p->loop, &p->tasks[i]);
	return NULL;
}

static double posts_per_s(void)
{
	struct posts p = {new_loop(LOOP_AUTO), g_new0(struct loop_task, POSTS), POSTS};
	uint64_t start;
	pthread_t thread;
	double s;

	for (unsigned i = 0; i < POSTS; i++)
		p.tasks[i].run = i + 1 < POSTS ? count_post : last_post;
	start = loop_now_ns();
	pthread_create(&thread, NULL, post_all, &p);
	loop_run(p.loop);
	s = (double)(loop_now_ns() - start) / 1e9;
	pthread_join(thread, NULL);
	loop_free(p.loop);
	g_free(p.tasks);
	return POSTS / s;
}

/* Coroutines. Processor time, since others may use the machine as well. */

static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static co_fn void nothing(void *arg)
{
	++*(unsigned *)arg;
}

static co_fn void start_many(void *arg)
{
	double *ns = arg;
	unsigned n = 0;
	uint64_t start = cpu_ns();

	for (unsigned i = 0; i < STARTS; i++)
		co_start(co_loop(), nothing, &n);
	*ns = (double)(cpu_ns() - start) / STARTS;
}

struct pong {
	struct co *self, *other;
	bool done;
};

static co_fn void pong(void *arg)
{
	struct pong *p = arg;

	p->self = co_self();
	while (!p->done) {
		co_yield();
		co_wake(p->other);
	}
}

/* A wake-up and a yield each way; four switches of stacks. */
static co_fn void ping(void *arg)
{
	struct pong p = {.other = co_self()};
	double *ns = arg;
	uint64_t start;

	co_start(co_loop(), pong, &p);
	start = cpu_ns();
	for (unsigned i = 0; i < SWITCHES; i++) {
		co_wake(p.self);
		co_yield();
	}
	*ns = (double)(cpu_ns() - start) / SWITCHES / 4;
	p.done = true;
	co_wake(p.self);
	co_yield();
}

/* Reads through coroutines. */

struct reader {
	const struct file *file;
	struct readers *all;
	char *buffer;
};

struct readers {
	struct reader r[DEPTH];
	const struct file *file;
	uint64_t left, random, ns;
	unsigned running;
	struct co *waiter;
};

static co_fn void reader(void *arg)
{
	struct reader *r = arg;
	struct readers *all = r->all;
	struct iovec iov = {r->buffer, BLOCK};

	while (all->left) {
		int n;

		all->left--;
		n = co_preadv(r->file->fd, &iov, 1, random_offset(&all->random, r->file));
		if (n != BLOCK)
			die("read", n < 0 ? -n : EIO);
	}
	if (--all->running == 0)
		co_wake(all->waiter);
}

static co_fn void readers(void *arg)
{
	struct readers *all = arg;
	uint64_t start = loop_now_ns();

	all->waiter = co_self();
	all->running = DEPTH;
	for (unsigned i = 0; i < DEPTH; i++) {
		all->r[i] = (struct reader){all->file, all, all->file->buffers + i * BLOCK};
		co_start(co_loop(), reader, &all->r[i]);
	}
	while (all->running)
		co_yield();
	all->ns = loop_now_ns() - start;
}

static double coroutine_reads(enum loop_backend backend, const struct file *f, uint64_t reads,
			      uint64_t seed)
{
	struct readers all = {.file = f, .left = reads, .random = seed};

	run_on(backend, readers, &all);
	return (double)reads * 1e9 / (double)all.ns;
}

/* The same with nothing but liburing. */

#ifdef HAVE_URING
static void bare_init(struct io_uring *ring)
{
	static const unsigned wishes[] = {
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
		IORING_SETUP_COOP_TASKRUN,
		0,
	};
	int ret = -EINVAL;

	for (unsigned i = 0; i < G_N_ELEMENTS(wishes) && ret == -EINVAL; i++)
		ret = io_uring_queue_init(DEPTH, ring, wishes[i]);
	if (ret < 0)
		die("io_uring", -ret);
}

static void bare_submit(struct io_uring *ring, const struct file *f, uint64_t *random,
			uintptr_t slot)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

	io_uring_prep_read(sqe, f->fd, f->buffers + slot * BLOCK, BLOCK, random_offset(random, f));
	io_uring_sqe_set_data64(sqe, slot);
}

static double bare_reads(const struct file *f, uint64_t reads, uint64_t seed)
{
	struct io_uring ring;
	uint64_t left = reads, start, ns, random = seed;
	unsigned running = DEPTH;

	bare_init(&ring);
	start = loop_now_ns();
	for (unsigned i = 0; i < DEPTH; i++, left--)
		bare_submit(&ring, f, &random, i);
	while (running) {
		struct io_uring_cqe *cqe;
		unsigned head, n = 0;
		int ret = io_uring_submit_and_wait(&ring, 1);

		if (ret < 0)
			die("io_uring_enter", -ret);
		io_uring_for_each_cqe(&ring, head, cqe)
		{
			if (cqe->res != BLOCK)
				die("read", cqe->res < 0 ? -cqe->res : EIO);
			n++;
			if (left) {
				left--;
				bare_submit(&ring, f, &random, (uintptr_t)cqe->user_data);
			} else {
				running--;
			}
		}
		io_uring_cq_advance(&ring, n);
	}
	ns = loop_now_ns() - start;
	io_uring_queue_exit(&ring);
	return (double)reads * 1e9 / (double)ns;
}
#endif

/* The file. */

static int make_file(void)
{
	char *name = NULL, *block = g_malloc(1 << 20);
	GError *error = NULL;
	int fd = g_file_open_tmp("loop-bench-XXXXXX", &name, &error);

	if (fd < 0) {
		fprintf(stderr, "loop_bench: %s\n", error->message);
		exit(1);
	}
	unlink(name);
	memset(block, 0x5a, 1 << 20);
	for (unsigned i = 0; i < FILE_BLOCKS * (uint64_t)BLOCK >> 20; i++)
		if (write(fd, block, 1 << 20) != 1 << 20)
			die("cannot write the test file", errno);
	fsync(fd);
	g_free(block);
	g_free(name);
	return fd;
}

static void warm(const struct file *f)
{
	for (uint64_t i = 0; i < f->blocks; i++)
		if (pread(f->fd, f->buffers, BLOCK, (off_t)(i * BLOCK)) != BLOCK)
			die("cannot read the test file", errno);
}

/*
 * A second description of the same file, so that O_DIRECT is not seen by the first; -1 if refused.
 */
static int open_direct(int fd)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, unsigned n)
{
	qsort(v, n, sizeof(*v), by_value);
	return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

struct compared {
	double bare, uring, epoll, ratio; /* reads a second; uring of bare */
};

static struct compared compare(const struct file *f, unsigned rounds)
{
	double bare[MAX_ROUNDS], uring[MAX_ROUNDS], epoll[MAX_ROUNDS], ratio[MAX_ROUNDS];
	struct compared c = {0};

	for (unsigned i = 0; i < rounds; i++) {
		uint64_t seed = 88172645463325252u + i;

		epoll[i] = coroutine_reads(LOOP_EPOLL, f, f->reads / 8, seed);
#ifdef HAVE_URING
		if (i % 2)
			bare[i] = bare_reads(f, f->reads, seed);
		uring[i] = coroutine_reads(LOOP_URING, f, f->reads, seed);
		if (i % 2 == 0)
			bare[i] = bare_reads(f, f->reads, seed);
		ratio[i] = uring[i] / bare[i];
#endif
	}
	c.epoll = median(epoll, rounds);
#ifdef HAVE_URING
	c.bare = median(bare, rounds);
	c.uring = median(uring, rounds);
	c.ratio = median(ratio, rounds);
#else
	(void)bare;
	(void)uring;
	(void)ratio;
#endif
	return c;
}

static void print_compared(bool json, const char *name, const struct compared *c)
{
	if (!c->bare) { /* built without io_uring */
		printf(json ? ",\n  \"%s\": { \"coroutines_epoll_per_s\": %.0f }"
			    : "%-16s coroutines on epoll %8.0f/s\n",
		       name, c->epoll);
	} else if (json) {
		printf(",\n  \"%s\": { \"bare_uring_per_s\": %.0f, \"coroutines_uring_per_s\": "
		       "%.0f, "
		       "\"coroutines_epoll_per_s\": %.0f, \"ratio\": %.3f }",
		       name, c->bare, c->uring, c->epoll, c->ratio);
	} else {
		printf("%-16s bare liburing %9.0f/s   coroutines %9.0f/s (%.1f %%)   on epoll "
		       "%8.0f/s\n",
		       name, c->bare, c->uring, c->ratio * 100, c->epoll);
	}
}

static void usage(FILE *to)
{
	fprintf(to, "usage: loop_bench [--json] [--rounds N] [--reads N] [FILE]\n"
		    "FILE is only read; without one, 256 MiB are made in $TMPDIR\n");
}

static void run_all(struct file *f, bool json, unsigned rounds)
{
	double posts[5], start_ns[5], switch_ns[5], p, s, w;
	struct file direct = *f;
	struct compared c;

	for (unsigned i = 0; i < 5; i++) {
		posts[i] = posts_per_s();
		run_on(LOOP_AUTO, start_many, &start_ns[i]);
		run_on(LOOP_AUTO, ping, &switch_ns[i]);
	}
	p = median(posts, 5);
	s = median(start_ns, 5);
	w = median(switch_ns, 5);
	if (json) {
		printf("{\n  \"posts_per_s\": %.0f,\n  \"co_start_ns\": %.1f,\n  \"co_switch_ns\": "
		       "%.1f",
		       p, s, w);
	} else {
		printf("posts            %.0f/s\ncoroutine        %.1f ns to start, run and end\n"
		       "switch           %.1f ns\n",
		       p, s, w);
	}
	warm(f);
	c = compare(f, rounds);
	print_compared(json, "read_cached", &c);
	direct.fd = open_direct(f->fd);
	if (direct.fd >= 0) {
		direct.reads = f->reads / 8;
		c = compare(&direct, rounds);
		print_compared(json, "read_direct", &c);
		close(direct.fd);
	}
	printf("%s", json ? "\n}\n" : "");
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"json", no_argument, NULL, 'j'},
		{"rounds", required_argument, NULL, 'r'},
		{"reads", required_argument, NULL, 'n'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	struct file f = {.reads = 100000};
	unsigned rounds = 21;
	bool json = false;
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (c) {
		case 'j': json = true; break;
		case 'r': rounds = (unsigned)atoi(optarg); break;
		case 'n': f.reads = (uint64_t)atoll(optarg); break;
		case 'h': usage(stdout); return 0;
		default: usage(stderr); return 2;
		}
	}
	if (rounds < 1 || rounds > MAX_ROUNDS || f.reads < 8 * DEPTH || argc > optind + 1) {
		usage(stderr);
		return 2;
	}
	f.fd = optind < argc ? open(argv[optind], O_RDONLY | O_CLOEXEC) : make_file();
	if (f.fd < 0)
		die(argv[optind], errno);
	f.blocks = (uint64_t)lseek(f.fd, 0, SEEK_END) / BLOCK;
	if (!f.blocks) {
		fprintf(stderr, "loop_bench: %s: must hold at least 4 KiB\n", argv[optind]);
		return 1;
	}
	f.buffers = aligned_alloc(BLOCK, DEPTH * BLOCK);
	if (!f.buffers)
		die("buffers", ENOMEM);
	run_all(&f, json, rounds);
	free(f.buffers);
	close(f.fd);
	return 0;
}
