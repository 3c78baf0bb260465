/*
 * In-flight tracking: after an end at any moment every request is either returned or carried out
 * again, once.
 *
 * "Any moment" is taken literally: a child process works on the ring and is single-stepped; each
 * state of the shared memory that it leaves behind is recovered from.
 */
#include "ring_fixture.h"

#include "base/bytes.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

enum { CHAINS = 5, STATE_LEN = 1024, SLICE_LEN = 32 + 32 * NUM };

static const uint64_t rings[] = {
	0,
	VIRTIO_F_EVENT_IDX,
	VIRTIO_F_RING_PACKED,
	VIRTIO_F_RING_PACKED | VIRTIO_F_EVENT_IDX,
};

static uint8_t *slice(const struct fixture *f)
{
	return inflight_slice(f->inflight, 0);
}

static uint32_t base_after_loss(const struct fixture *f) /* what QEMU gives: the used index */
{
	return f->packed ? fresh_base(f) : get_le16(f->ring.used + 2);
}

/* A second guest with the memory of the first at some moment. */
struct recovery {
	struct fixture *of; /* the first: the driver's state before the child began */
	struct fixture f;
	uint8_t tag_of_id[NUM];
	unsigned states;
};

static void recover(struct recovery *r)
{
	struct fixture *f = &r->f;
	struct ring driver = r->of->ring;
	uint16_t chain_len[NUM];
	uint8_t seen[256] = {0}, last = 0;
	struct virtq_elem *out[NUM], *e;
	unsigned n = 0;
	uint32_t written;
	int id;

	memcpy(chain_len, driver.chain_len, sizeof(chain_len));
	driver.chain_len = chain_len;
	driver.desc = f->mem + driver.desc_off;
	driver.avail = f->mem + driver.avail_off;
	driver.used = f->mem + driver.used_off;
	start_queue(f, base_after_loss(f), true);
	while ((id = ring_take(&driver, &written)) >= 0)
		seen[r->tag_of_id[id]]++;
	assert_int_equal(id, -1);
	while (virtq_pop(&f->q, &e) > 0) {
		out[n++] = e;
		seen[tag_of(e)]++;
		assert_true(tag_of(e) >
			    last); /* replays in the order of fetching, then what is new */
		last = tag_of(e);
	}
	assert_false(f->q.broken);
	for (unsigned tag = 1; tag <= CHAINS; tag++) {
		if (seen[tag] != 1)
			fail_msg("features %#llx, state %u: request %u was seen %u times",
				 (unsigned long long)f->features, r->states, tag, seen[tag]);
	}
	/* the recovered queue works: what it returns arrives */
	while (n)
		virtq_push(out[--n], 0);
	virtq_flush(&f->q);
	while ((id = ring_take(&driver, &written)) >= 0)
		;
	assert_int_equal(id, -1);
	assert_int_equal(driver.n_free, NUM);
	stop_queue(f);
	r->states++;
}

/* What the child does. All of it happens between two of the parent's single steps. */
static void work(struct fixture *f)
{
	struct virtq_elem *a = pop(f), *b = pop(f), *c = pop(f), *d;

	virtq_push(b, 0);
	virtq_push(a, 0);
	virtq_flush(&f->q);
	d = pop(f);
	virtq_push(d, 0);
	virtq_flush(&f->q);
	virtq_push(c, 0);
	virtq_flush(&f->q);
	pop(f);
}

static bool step_through(struct recovery *r)
{
	struct fixture *f = r->of;
	uint8_t mem[STATE_LEN], track[SLICE_LEN];
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
			_exit(1);
		raise(SIGSTOP);
		work(f);
		_exit(0);
	}
	memcpy(mem, f->mem, sizeof(mem));
	memcpy(track, slice(f), sizeof(track));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status))
		return false; /* this host allows no tracing */
	do {
		bool first = r->states == 0;

		if (first || memcmp(mem, f->mem, sizeof(mem)) != 0 ||
		    memcmp(track, slice(f), sizeof(track)) != 0) {
			memcpy(mem, f->mem, sizeof(mem));
			memcpy(track, slice(f), sizeof(track));
			memcpy(r->f.mem, mem, sizeof(mem));
			memcpy(slice(&r->f), track, sizeof(track));
			recover(r);
		}
		assert_int_equal(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
	} while (WIFSTOPPED(status));
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	return true;
}

struct plan {
	uint64_t features;
	unsigned before; /* requests done before, so that indexes wrap at different places */
	bool possible;
};

static void every_state_co(void *arg)
{
	struct plan *p = arg;
	struct fixture f;
	struct recovery r = {.of = &f};
	uint32_t written;

	fixture_init(&f, p->features, true);
	fixture_init(&r.f, p->features, true);
	stop_queue(&r.f);
	for (unsigned i = 0; i < p->before; i++) {
		add_tagged(&f, 100);
		virtq_push(pop(&f), 0);
		virtq_flush(&f.q);
		assert_true(ring_take(&f.ring, &written) >= 0);
	}
	for (unsigned tag = 1; tag <= CHAINS; tag++)
		r.tag_of_id[add_tagged(&f, (uint8_t)tag)] = (uint8_t)tag;
	memcpy(r.f.mem, f.mem, MEM_LEN);
	p->possible = step_through(&r);
	assert_true(!p->possible || r.states > 20);
	start_queue(&r.f, fresh_base(&r.f), false);
	fixture_fini(&r.f);
	fixture_fini(&f);
}

static void an_end_at_any_moment_loses_nothing(void **state)
{
	static const unsigned before[] = {0, 5, 7};

	(void)state;
	for (unsigned i = 0; i < sizeof(rings) / sizeof(rings[0]); i++) {
		for (unsigned k = 0; k < sizeof(before) / sizeof(before[0]); k++) {
			struct plan p = {rings[i], before[k], false};

			run_in_loop(every_state_co, &p);
			if (!p.possible)
				skip();
		}
	}
}

/* What a peer may have made of the slice. */
struct spoilt {
	const char *what;
	uint64_t value;
	unsigned off, len;
	unsigned replays; /* of three that were in flight */
	bool packed;
};

enum { SPLIT_HEAD = 16, SPLIT_ENTRY = 16, PACKED_HEAD = 32, PACKED_ENTRY = 32 };

/* clang-format off */
static struct spoilt spoilts[] = {
	{ "intact", 0, 0, 0, 3, false },
	{ "version", 2, 8, 2, 0, false },
	{ "size", 0xffff, 10, 2, 0, false },
	{ "batch head", 0xffff, 12, 2, 3, false },
	/* a batch seems unfinished: what the list names is cleared */
	{ "used index", 0x8000, 14, 2, 2, false },
	{ "one more in flight", 1, SPLIT_HEAD + 10 * SPLIT_ENTRY, 1, 0, false },
	{ "counters", UINT64_MAX, SPLIT_HEAD + 8, 8, 3, false },
	{ "intact", 0, 0, 0, 3, true },
	{ "version", 7, 8, 2, 0, true },
	{ "size", 3, 10, 2, 0, true },
	{ "old free head", 0xffff, 14, 2, 0, true },
	{ "free head", 0xffff, 12, 2, 0, true },
	{ "old used index", NUM, 18, 2, 0, true },
	{ "used index", 0xffff, 16, 2, 0, true },
	{ "next out of range", 0xfff0, PACKED_HEAD + 2, 2, 0, true },
	{ "next to itself", 0, PACKED_HEAD + 2, 2, 0, true },
	{ "last", 9, PACKED_HEAD + 4, 2, 0, true },
	{ "number", 0xffff, PACKED_HEAD + 6, 2, 0, true },
	{ "no number", 0, PACKED_HEAD + 6, 2, 0, true },
	{ "lost entry", 0, PACKED_HEAD, 1, 0, true },
	{ "free entry in flight", 1, PACKED_HEAD + 12 * PACKED_ENTRY, 1, 3, true },
	{ "loop in the free list", 12, PACKED_HEAD + 12 * PACKED_ENTRY + 2, 2, 0, true },
};
/* clang-format on */

static void spoilt_co(void *arg)
{
	const struct spoilt *s = arg;
	struct virtq_elem *e, *out[4];
	unsigned replays = 0, n = 0;
	struct fixture f;

	fixture_init(&f, s->packed ? VIRTIO_F_RING_PACKED : 0, true);
	for (uint8_t tag = 1; tag <= 3; tag++) {
		add_tagged(&f, tag);
		out[n++] = pop(&f);
	}
	f.q.discard = true;
	while (n)
		virtq_push(out[--n], 0);
	stop_queue(&f);
	memcpy(slice(&f) + s->off, &s->value, s->len);
	start_queue(&f, base_after_loss(&f), true);
	while (virtq_pop(&f.q, &e) > 0) {
		assert_true(n < 4);
		out[n++] = e;
		replays += e->replay;
	}
	if (replays != s->replays)
		fail_msg("%s%s: %u carried out again", s->what, s->packed ? " (packed)" : "",
			 replays);
	while (n)
		virtq_push(out[--n], 0);
	fixture_fini(&f);
}

static void a_spoilt_slice_does_no_harm(void **state)
{
	(void)state;
	for (unsigned i = 0; i < sizeof(spoilts) / sizeof(spoilts[0]); i++)
		run_in_loop(spoilt_co, &spoilts[i]);
}

static void random_slices_co(void *arg)
{
	unsigned seed = *(unsigned *)arg;
	struct virtq_elem *e, *out[NUM + 1];
	struct fixture f;
	unsigned n = 0;

	fixture_init(&f, seed & 1 ? VIRTIO_F_RING_PACKED : 0, true);
	stop_queue(&f);
	srand(seed);
	for (unsigned i = 0; i < SLICE_LEN; i++) /* mostly small numbers: they get further */
		slice(&f)[i] = rand() % 3 ? (uint8_t)(rand() % (NUM + 2)) : 0;
	put_le16(slice(&f) + 8, 1);
	put_le16(slice(&f) + 10, NUM);
	for (unsigned i = 0; i < RING_BYTES; i++)
		f.mem[i] = rand() % 3 ? 0 : (uint8_t)rand();
	start_queue(&f, f.packed ? fresh_base(&f) : (uint32_t)rand() & 0xffff, true);
	while (n <= NUM && virtq_pop(&f.q, &e) > 0)
		out[n++] = e;
	assert_true(n <= NUM);
	while (n)
		virtq_push(out[--n], 0);
	fixture_fini(&f);
}

static void random_slices_do_no_harm(void **state)
{
	(void)state;
	for (unsigned seed = 0; seed < 2000; seed++)
		run_in_loop(random_slices_co, &seed);
}

static void buffers_are_checked(void **state)
{
	int fd = -1, small = memfd_create("small", MFD_CLOEXEC), pipe_fds[2];
	uint64_t size = inflight_size(4, 128);
	struct inflight *f;

	(void)state;
	assert_null(inflight_new(0, 128, &fd, NULL));
	assert_null(inflight_new(4, 0, &fd, NULL));
	assert_null(inflight_new(INFLIGHT_QUEUES_MAX + 1, 128, &fd, NULL));
	assert_null(inflight_new(4, INFLIGHT_NUM_MAX + 1, &fd, NULL));
	f = inflight_new(4, 128, &fd, NULL);
	assert_non_null(f);
	assert_false(inflight_has_history(f));
	((uint8_t *)inflight_slice(f, 3))[8] = 1;
	assert_true(inflight_has_history(f));
	inflight_free(f);
	f = inflight_open(fd, 0, size, 4, 128, NULL);
	assert_non_null(f);
	assert_true(inflight_has_history(f)); /* the same memory */
	inflight_free(f);
	assert_null(inflight_open(fd, 0, size - 1, 4, 128, NULL));
	assert_null(inflight_open(fd, 8, size, 4, 128, NULL)); /* runs over the end of the file */
	assert_null(inflight_open(fd, 4, size, 1, 1, NULL));
	assert_null(inflight_open(fd, UINT64_MAX - 7, size, 4, 128, NULL));
	assert_null(inflight_open(fd, 0, UINT64_MAX, 5, 128, NULL));
	assert_null(inflight_open(fd, 0, size, 0xffff, 128, NULL));
	assert_null(inflight_open(fd, 0, size, 4, 0xffff, NULL));
	assert_null(inflight_open(small, 0, size, 4, 128, NULL));
	assert_null(inflight_open(-1, 0, size, 4, 128, NULL));
	assert_int_equal(pipe(pipe_fds), 0);
	assert_null(inflight_open(pipe_fds[0], 0, size, 4, 128, NULL));
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	close(small);
	close(fd);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_end_at_any_moment_loses_nothing),
		cmocka_unit_test(a_spoilt_slice_does_no_harm),
		cmocka_unit_test(random_slices_do_no_harm),
		cmocka_unit_test(buffers_are_checked),
	};

	return RUN_LOOP_TESTS(tests);
}
