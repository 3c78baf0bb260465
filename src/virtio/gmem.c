/*
 * Guest memory maps: see gmem.h.
 *
 * A mapping (struct area) is counted by the maps that contain it; a map by its users. Regions are
 * kept sorted by guest address, with the one found last tried first: nearly all lookups of a guest
 * hit the same region.
 */
#include "virtio/gmem.h"
#include "base/gmem_guard.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

struct area {
	unsigned refs;
	struct gmem_region r;
	uint8_t *host; /* of r.gpa */
	void *map;     /* what mmap() returned; starts at a page before host */
	size_t map_len;
	struct gmem_guard *guard; /* NULL: the file cannot shrink */
};

struct gmem {
	unsigned refs;
	unsigned n;
	unsigned last; /* index of the area found last */
	struct area *areas[GMEM_REGIONS_MAX];
};

struct gmem *gmem_new(void)
{
	struct gmem *m = g_new0(struct gmem, 1);

	m->refs = 1;
	return m;
}

struct gmem *gmem_ref(struct gmem *m)
{
	m->refs++;
	return m;
}

static void area_unref(struct area *a)
{
	if (--a->refs)
		return;
	gmem_guard_free(a->guard);
	munmap(a->map, a->map_len);
	g_free(a);
}

void gmem_unref(struct gmem *m)
{
	if (!m || --m->refs)
		return;
	for (unsigned i = 0; i < m->n; i++)
		area_unref(m->areas[i]);
	g_free(m);
}

/* A copy of m with a hole at index at (skip 0, gap 1) or without its entry at (skip 1, gap 0). */
static struct gmem *copy_map(const struct gmem *m, unsigned at, unsigned skip, unsigned gap)
{
	struct gmem *out = gmem_new();

	for (unsigned i = 0; i < m->n; i++) {
		if (i >= at && i < at + skip)
			continue;
		out->areas[i < at ? i : i - skip + gap] = m->areas[i];
		m->areas[i]->refs++;
	}
	out->n = m->n - skip + gap;
	return out;
}

static bool overlaps(uint64_t a, uint64_t b, uint64_t a_len, uint64_t b_len)
{
	return a < b ? b - a < a_len : a - b < b_len;
}

/* The index at which r belongs, or -1: it cannot be added. */
static int check_region(const struct gmem *m, const struct gmem_region *r, GError **error)
{
	int at = 0;

	if (m->n >= GMEM_REGIONS_MAX) {
		err_set(error, ENOSPC, "more than %d memory regions", GMEM_REGIONS_MAX);
		return -1;
	}
	if (!r->len || r->gpa + (r->len - 1) < r->gpa || r->uaddr + (r->len - 1) < r->uaddr ||
	    r->file_off + r->len < r->file_off || r->len > INT64_MAX ||
	    r->file_off + r->len > INT64_MAX) {
		err_set(error, EINVAL,
			"memory region at %#" PRIx64 ": length %#" PRIx64
			" is 0 or runs over the end of the address space",
			r->gpa, r->len);
		return -1;
	}
	for (unsigned i = 0; i < m->n; i++) {
		const struct gmem_region *o = &m->areas[i]->r;

		if (overlaps(r->gpa, o->gpa, r->len, o->len) ||
		    overlaps(r->uaddr, o->uaddr, r->len, o->len)) {
			err_set(error, EEXIST,
				"memory region at %#" PRIx64 "+%#" PRIx64
				" overlaps the one at %#" PRIx64 "+%#" PRIx64,
				r->gpa, r->len, o->gpa, o->len);
			return -1;
		}
		if (o->gpa < r->gpa)
			at = (int)i + 1;
	}
	return at;
}

/* Huge page files want offsets and lengths in their own page size. */
static size_t file_page(int fd)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) == 0 && fs.f_type == HUGETLBFS_MAGIC && fs.f_bsize > 0)
		return (size_t)fs.f_bsize;
	return (size_t)sysconf(_SC_PAGESIZE);
}

static struct area *map_area(const struct gmem_region *r, int fd, GError **error)
{
	size_t page = file_page(fd);
	uint64_t skip = r->file_off % page;
	struct area *a;
	struct stat st;
	int seals;

	if (fstat(fd, &st) < 0) {
		err_set_errno(error, errno, "memory region at %#" PRIx64, r->gpa);
		return NULL;
	}
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size < r->file_off + r->len) {
		err_set(error, EINVAL,
			"memory region at %#" PRIx64
			": its file must be memory of at least %#" PRIx64
			" bytes, it has %#" PRIx64,
			r->gpa, r->file_off + r->len,
			S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0);
		return NULL;
	}
	a = g_new0(struct area, 1);
	a->refs = 1;
	a->r = *r;
	a->map_len = (size_t)((r->len + skip + page - 1) / page * page);
	a->map = mmap(NULL, a->map_len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd,
		      (off_t)(r->file_off - skip));
	if (a->map == MAP_FAILED) {
		err_set_errno(error, errno, "memory region at %#" PRIx64 ": cannot map %zu bytes",
			      r->gpa, a->map_len);
		g_free(a);
		return NULL;
	}
	madvise(a->map, a->map_len, MADV_DONTDUMP); /* a guest's memory has no place in our core */
	a->host = (uint8_t *)a->map + skip;
	seals = fcntl(fd, F_GET_SEALS);
	if (seals >= 0 && seals & F_SEAL_SHRINK)
		return a;
	a->guard = gmem_guard_new(a->map, a->map_len);
	if (!a->guard) {
		err_set(error, ENOSPC, "memory region at %#" PRIx64 ": too many mappings", r->gpa);
		area_unref(a);
		return NULL;
	}
	return a;
}

struct gmem *gmem_add(const struct gmem *m, const struct gmem_region *r, int fd, GError **error)
{
	int at = check_region(m, r, error);
	struct gmem *out;
	struct area *a;

	if (at < 0)
		return NULL;
	a = map_area(r, fd, error);
	if (!a)
		return NULL;
	out = copy_map(m, (unsigned)at, 0, 1);
	out->areas[at] = a;
	return out;
}

struct gmem *gmem_remove(const struct gmem *m, const struct gmem_region *r, GError **error)
{
	for (unsigned i = 0; i < m->n; i++) {
		const struct gmem_region *o = &m->areas[i]->r;

		if (o->gpa == r->gpa && o->len == r->len && o->uaddr == r->uaddr)
			return copy_map(m, i, 1, 0);
	}
	err_set(error, ENOENT,
		"memory region at %#" PRIx64 "+%#" PRIx64 " (user address %#" PRIx64
		") to be removed is not there",
		r->gpa, r->len, r->uaddr);
	return NULL;
}

unsigned gmem_count(const struct gmem *m)
{
	return m->n;
}

bool gmem_is_torn(const struct gmem *m)
{
	for (unsigned i = 0; i < m->n; i++) {
		if (gmem_guard_is_torn(m->areas[i]->guard))
			return true;
	}
	return false;
}

static struct area *find_area(struct gmem *m, uint64_t gpa)
{
	unsigned low = 0, high = m->n;

	if (m->last < m->n && gpa - m->areas[m->last]->r.gpa < m->areas[m->last]->r.len)
		return m->areas[m->last];
	while (low < high) {
		unsigned mid = (low + high) / 2;
		struct area *a = m->areas[mid];

		if (gpa < a->r.gpa) {
			high = mid;
		} else if (gpa - a->r.gpa >= a->r.len) {
			low = mid + 1;
		} else {
			m->last = mid;
			return a;
		}
	}
	return NULL;
}

int gmem_translate(struct gmem *m, uint64_t gpa, uint64_t len, struct iovec *out, unsigned max)
{
	unsigned n = 0;

	while (len) {
		struct area *a = find_area(m, gpa);
		uint64_t off, part;

		if (!a)
			return -EFAULT;
		if (n == max)
			return -E2BIG;
		off = gpa - a->r.gpa;
		part = a->r.len - off < len ? a->r.len - off : len;
		out[n].iov_base = a->host + off;
		out[n].iov_len = (size_t)part;
		n++;
		len -= part;
		gpa += part;
		if (len && !gpa) /* past the last address there is */
			return -EFAULT;
	}
	return (int)n;
}

void *gmem_user(const struct gmem *m, uint64_t uaddr, uint64_t len)
{
	for (unsigned i = 0; i < m->n; i++) {
		const struct gmem_region *r = &m->areas[i]->r;

		if (uaddr >= r->uaddr && uaddr - r->uaddr < r->len) {
			return len <= r->len - (uaddr - r->uaddr)
				       ? m->areas[i]->host + (uaddr - r->uaddr)
				       : NULL;
		}
	}
	return NULL;
}
