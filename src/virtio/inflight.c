/*
 * The in-flight buffer and its use by split rings: see inflight.h.
 *
 * A slice of a split ring is a header and one entry for each descriptor. An entry says that the
 * chain beginning there was fetched, and when (counter). The entries of the batch of used
 * descriptors being published are linked, so that after a crash between "used index written" and
 * "entries cleared" the difference of the two used indexes tells how many of the list to clear.
 */
#include "virtio/inflight.h"
#include "base/gmem_guard.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SLICE_ALIGN = 64, VERSION = 1, PACKED_HEAD = 32, PACKED_ENTRY = 32 };

struct inflight {
	unsigned queues, num;
	uint8_t *base;
	void *map;
	size_t map_len;
	struct gmem_guard *guard;
};

struct split_entry {
	uint8_t inflight;
	uint8_t pad[5];
	uint16_t next;
	uint64_t counter;
};

struct inflight_split {
	uint64_t features;
	uint16_t version;
	uint16_t desc_num;
	uint16_t last_batch_head;
	uint16_t used_idx;
	struct split_entry desc[];
};

/* Stores reach the memory in program order once the compiler keeps it: only our own death is to be
 * survived. */
static void order(void)
{
	atomic_signal_fence(memory_order_seq_cst);
}

static uint64_t slice_size(unsigned num)
{
	uint64_t len = PACKED_HEAD + (uint64_t)PACKED_ENTRY * num;

	return (len + SLICE_ALIGN - 1) / SLICE_ALIGN * SLICE_ALIGN;
}

uint64_t inflight_size(unsigned queues, unsigned num)
{
	return queues * slice_size(num);
}

static bool check_shape(unsigned queues, unsigned num, GError **error)
{
	if (!queues || queues > INFLIGHT_QUEUES_MAX || !num || num > INFLIGHT_NUM_MAX) {
		return err_set(error, EINVAL,
			       "in-flight buffer for %u queues of %u descriptors: must be 1 to %d"
			       " of 1 to %d",
			       queues, num, INFLIGHT_QUEUES_MAX, INFLIGHT_NUM_MAX);
	}
	return true;
}

static struct inflight *map_buffer(int fd, uint64_t off, uint64_t size, GError **error)
{
	uint64_t skip = off % (uint64_t)sysconf(_SC_PAGESIZE);
	struct inflight *f = g_new0(struct inflight, 1);
	int seals = fcntl(fd, F_GET_SEALS);

	f->map_len = (size_t)(size + skip);
	f->map =
		mmap(NULL, f->map_len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)(off - skip));
	if (f->map == MAP_FAILED) {
		err_set_errno(error, errno, "in-flight buffer: cannot map %zu bytes", f->map_len);
		g_free(f);
		return NULL;
	}
	f->base = (uint8_t *)f->map + skip;
	if (seals >= 0 && seals & F_SEAL_SHRINK)
		return f;
	f->guard = gmem_guard_new(f->map, f->map_len);
	if (!f->guard) {
		err_set(error, ENOSPC, "in-flight buffer: too many mappings");
		inflight_free(f);
		return NULL;
	}
	return f;
}

struct inflight *inflight_new(unsigned queues, unsigned num, int *fd, GError **error)
{
	uint64_t size = inflight_size(queues, num);
	struct inflight *f;
	int mem;

	if (!check_shape(queues, num, error))
		return NULL;
	mem = memfd_create("outboard-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (mem < 0 || ftruncate(mem, (off_t)size) < 0 ||
	    fcntl(mem, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
		err_set_errno(error, errno, "in-flight buffer of %" PRIu64 " bytes", size);
		if (mem >= 0)
			close(mem);
		return NULL;
	}
	f = map_buffer(mem, 0, size, error);
	if (!f) {
		close(mem);
		return NULL;
	}
	f->queues = queues;
	f->num = num;
	*fd = mem;
	return f;
}

struct inflight *inflight_open(int fd, uint64_t off, uint64_t size, unsigned queues, unsigned num,
			       GError **error)
{
	struct inflight *f;
	struct stat st;

	if (!check_shape(queues, num, error))
		return NULL;
	if (size < inflight_size(queues, num) || off % sizeof(uint64_t)) {
		err_set(error, EINVAL,
			"in-flight buffer of %" PRIu64 " bytes at offset %" PRIu64
			": %u queues of %u descriptors need %" PRIu64 ", at a multiple of 8",
			size, off, queues, num, inflight_size(queues, num));
		return NULL;
	}
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size < size ||
	    (uint64_t)st.st_size - size < off) {
		err_set(error, EINVAL,
			"in-flight buffer of %" PRIu64 " bytes at offset %" PRIu64
			" lies outside the file given",
			size, off);
		return NULL;
	}
	f = map_buffer(fd, off, inflight_size(queues, num), error);
	if (f) {
		f->queues = queues;
		f->num = num;
	}
	return f;
}

void inflight_free(struct inflight *f)
{
	if (!f)
		return;
	gmem_guard_free(f->guard);
	munmap(f->map, f->map_len);
	g_free(f);
}

unsigned inflight_queues(const struct inflight *f)
{
	return f->queues;
}

unsigned inflight_num(const struct inflight *f)
{
	return f->num;
}

void *inflight_slice(const struct inflight *f, unsigned queue)
{
	return f->base + queue * slice_size(f->num);
}

bool inflight_has_history(const struct inflight *f)
{
	for (unsigned i = 0; i < f->queues; i++) {
		/* both layouts have the version at the same place */
		const struct inflight_split *s = inflight_slice(f, i);

		if (s->version)
			return true;
	}
	return false;
}

void inflight_forget(void *slice)
{
	struct inflight_split *s = slice; /* both layouts have the version at the same place */

	s->version = 0;
	order();
}

bool inflight_is_torn(const struct inflight *f)
{
	return gmem_guard_is_torn(f->guard);
}

static void split_init(struct inflight_split *s, unsigned num, uint16_t used_idx)
{
	memset(s, 0, sizeof(*s) + num * sizeof(s->desc[0]));
	s->desc_num = (uint16_t)num;
	s->used_idx = used_idx;
	order();
	s->version = VERSION;
}

struct found_entry {
	uint64_t counter;
	uint16_t first;
};

static int by_counter(const void *a, const void *b)
{
	const struct found_entry *x = a, *y = b;

	if (x->counter != y->counter)
		return x->counter < y->counter ? -1 : 1;
	return (int)x->first - (int)y->first;
}

/* Finishes a batch that was published but not cleared. The links come from outside: followed num
 * times at most. */
static void split_finish_batch(struct inflight_split *s, unsigned num, uint16_t used_idx)
{
	uint16_t left = (uint16_t)(used_idx - s->used_idx);
	uint16_t i = s->last_batch_head;

	if (left > num)
		left = (uint16_t)num;
	while (left-- && i < num) {
		s->desc[i].inflight = 0;
		i = s->desc[i].next;
	}
	order();
	s->used_idx = used_idx;
}

bool inflight_split_start(struct inflight_split *s, unsigned num, uint16_t used_idx,
			  uint16_t avail_idx, struct inflight_found *found)
{
	struct found_entry *list;
	unsigned n = 0;

	*found = (struct inflight_found){.counter = 1};
	if (!s->version) {
		split_init(s, num, used_idx);
		return true;
	}
	if (s->version != VERSION || s->desc_num != (uint16_t)num) {
		split_init(s, num, used_idx);
		return false;
	}
	if (s->used_idx != used_idx)
		split_finish_batch(s, num, used_idx);
	list = g_new(struct found_entry, num);
	for (unsigned i = 0; i < num; i++) {
		struct split_entry e = s->desc[i];

		if (!e.inflight)
			continue;
		list[n++] = (struct found_entry){e.counter, (uint16_t)i};
		if (e.counter >= found->counter)
			found->counter = e.counter + 1;
	}
	if (n > (uint16_t)(avail_idx - used_idx)) { /* the driver never made that many available */
		g_free(list);
		found->counter = 1;
		split_init(s, num, used_idx);
		return false;
	}
	qsort(list, n, sizeof(list[0]), by_counter);
	found->first = g_new(uint16_t, n);
	for (unsigned i = 0; i < n; i++)
		found->first[i] = list[i].first;
	found->n = n;
	g_free(list);
	return true;
}

void inflight_split_fetch(struct inflight_split *s, uint16_t head, uint64_t counter)
{
	s->desc[head].counter = counter;
	order();
	s->desc[head].inflight = 1;
	order();
}

void inflight_split_batch(struct inflight_split *s, uint16_t head)
{
	s->desc[head].next = s->last_batch_head;
	order();
	s->last_batch_head = head;
	order();
}

void inflight_split_done(struct inflight_split *s, const uint16_t *heads, unsigned n,
			 uint16_t used_idx)
{
	order();
	for (unsigned i = 0; i < n; i++)
		s->desc[heads[i]].inflight = 0;
	order();
	s->used_idx = used_idx;
	order();
}
