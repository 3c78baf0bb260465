/*
 * DMA windows and mappings: see dma.h.
 *
 * Windows are an array sorted by address, with the one found last and its successor tried first:
 * nearly all lookups of a guest hit the same window, and what runs over its end hits the next.
 * Mappings are a list; there are few. One of a scatter list keeps the guest's ranges (neighbours
 * joined), because a guest with an IOMMU takes away single pages between those in use, and a
 * mapping revoked for a neighbour's sake is a transfer that fails. Ends are inclusive everywhere,
 * since a window may end at 2^64.
 */
#include "pci/dma.h"
#include "pci/dma_file.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

struct window {
	uint64_t addr, last;
	uint8_t *host; /* of addr; NULL: by messages only */
	struct dma_file *file;
	unsigned access;
};

struct dma_space {
	struct window *windows;
	unsigned n, room;
	unsigned last_found;
	struct dma_files files;
	struct dma_mapping *mappings;
	struct dma_listener *listeners;
	struct dma_wait *waits;
};

struct dma_space *dma_space_new(void)
{
	return g_new0(struct dma_space, 1);
}

void dma_space_free(struct dma_space *s)
{
	if (!s)
		return;
	dma_space_remove(s, 0, UINT64_MAX);
	while (s->mappings) {
		struct dma_mapping *m = s->mappings;

		s->mappings = m->next;
		m->space = NULL;
		m->prev = m->next = NULL;
	}
	while (s->waits)
		dma_wait_cancel(s->waits);
	dma_files_forget(&s->files);
	g_free(s->windows);
	g_free(s);
}

/* Index of the first window that ends at or behind addr. */
static unsigned first_from(const struct dma_space *s, uint64_t addr)
{
	unsigned low = 0, high = s->n;

	while (low < high) {
		unsigned mid = (low + high) / 2;

		if (s->windows[mid].last < addr)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static void insert(struct dma_space *s, unsigned at, const struct window *w)
{
	if (s->n == s->room) {
		s->room = s->room ? s->room * 2 : 8;
		s->windows = g_renew(struct window, s->windows, s->room);
	}
	memmove(s->windows + at + 1, s->windows + at, (s->n - at) * sizeof(*w));
	s->windows[at] = *w;
	s->n++;
}

bool dma_space_add(struct dma_space *s, const struct dma_region *r, int fd, GError **error)
{
	struct window w = {.addr = r->addr, .last = r->addr + r->len - 1};
	unsigned at;

	if (!r->len || w.last < w.addr) {
		return dma_region_refuse(
			error, EINVAL, r,
			"its length is 0 or it runs over the end of the addresses");
	}
	w.access = r->access & (DMA_READ | DMA_WRITE);
	if (!w.access)
		return dma_region_refuse(error, EINVAL, r, "neither readable nor writable");
	at = first_from(s, r->addr);
	if (at < s->n && s->windows[at].addr <= w.last)
		return dma_region_refuse(error, EEXIST, r, "overlaps another window");
	if (s->n >= DMA_WINDOWS_MAX)
		return dma_region_refuse(error, ENOSPC, r, "too many windows");
	if (fd >= 0) {
		w.file = dma_file_get(&s->files, r, fd, &w.host, error);
		if (!w.file)
			return false;
	}
	insert(s, at, &w);
	return true;
}

unsigned dma_space_count(const struct dma_space *s)
{
	return s->n;
}

bool dma_space_is_torn(const struct dma_space *s)
{
	return dma_files_are_torn(&s->files);
}

/* The part [addr, last] of w, with a reference of its own. */
static struct window part_of(const struct window *w, uint64_t addr, uint64_t last)
{
	struct window part = *w;

	part.host = w->host ? w->host + (addr - w->addr) : NULL;
	part.addr = addr;
	part.last = last;
	if (part.file)
		dma_file_ref(part.file);
	return part;
}

static void remove_windows(struct dma_space *s, uint64_t addr, uint64_t last)
{
	unsigned at = first_from(s, addr), end = at, n_parts = 0;
	struct window parts[2];

	while (end < s->n && s->windows[end].addr <= last)
		end++;
	if (at == end)
		return;
	if (s->windows[at].addr < addr)
		parts[n_parts++] = part_of(&s->windows[at], s->windows[at].addr, addr - 1);
	/* A peer that cuts windows in two for ever only loses the second half from some point on.
	 */
	if (s->windows[end - 1].last > last && (n_parts < end - at || s->n < DMA_WINDOWS_MAX))
		parts[n_parts++] =
			part_of(&s->windows[end - 1], last + 1, s->windows[end - 1].last);
	for (unsigned i = at; i < end; i++)
		dma_file_unref(s->windows[i].file);
	memmove(s->windows + at, s->windows + end, (s->n - end) * sizeof(*s->windows));
	s->n -= end - at;
	for (unsigned i = 0; i < n_parts; i++)
		insert(s, at + i, &parts[i]);
	s->last_found = 0;
}

void dma_mapping_revoke(struct dma_mapping *m)
{
	if (__atomic_load_n(&m->revoked, __ATOMIC_RELAXED))
		return;
	__atomic_store_n(&m->revoked, 1, __ATOMIC_RELEASE);
	if (m->revoke)
		m->revoke(m);
}

static bool reaches(const struct dma_mapping *m, uint64_t addr, uint64_t last)
{
	if (m->addr > last || addr > m->last)
		return false;
	for (unsigned i = 0; i < m->n_spans; i++) {
		if (m->spans[i].addr <= last && addr <= m->spans[i].last)
			return true;
	}
	return !m->n_spans;
}

void dma_space_remove(struct dma_space *s, uint64_t addr, uint64_t last)
{
	struct dma_mapping *m;

	if (addr > last)
		return;
	remove_windows(s, addr, last);
	do { /* from the start again: the callback may release any of them */
		for (m = s->mappings; m; m = m->next) {
			if (!m->revoked && reaches(m, addr, last))
				break;
		}
		if (m)
			dma_mapping_revoke(m);
	} while (m);
	for (struct dma_listener *l = s->listeners, *next; l; l = next) {
		next = l->next;
		l->removed(l, addr, last);
	}
}

static bool is_busy(const struct dma_space *s, uint64_t addr, uint64_t last)
{
	for (const struct dma_mapping *m = s->mappings; m; m = m->next) {
		if (m->revoked && reaches(m, addr, last))
			return true;
	}
	return false;
}

bool dma_space_wait(struct dma_space *s, uint64_t addr, uint64_t last, struct dma_wait *w)
{
	if (!is_busy(s, addr, last))
		return false;
	w->addr = addr;
	w->last = last;
	w->space = s;
	w->next = s->waits;
	s->waits = w;
	return true;
}

void dma_wait_cancel(struct dma_wait *w)
{
	struct dma_wait **p;

	if (!w->space)
		return;
	for (p = &w->space->waits; *p != w; p = &(*p)->next)
		;
	*p = w->next;
	w->space = NULL;
}

static void end_waits(struct dma_space *s)
{
	struct dma_wait *w;

	do {
		for (w = s->waits; w; w = w->next) {
			if (!is_busy(s, w->addr, w->last))
				break;
		}
		if (w) {
			dma_wait_cancel(w);
			w->done(w);
		}
	} while (w);
}

static bool has(const struct dma_space *s, unsigned at, uint64_t addr)
{
	return at < s->n && s->windows[at].addr <= addr && addr <= s->windows[at].last;
}

static const struct window *find_window(struct dma_space *s, uint64_t addr)
{
	unsigned at = s->last_found;

	if (has(s, at, addr))
		return &s->windows[at];
	if (!has(s, ++at, addr)) {
		at = first_from(s, addr);
		if (!has(s, at, addr))
			return NULL;
	}
	s->last_found = at;
	return &s->windows[at];
}

/* A translation under way: the pieces so far, and whose windows they are of. */
struct walk {
	struct dma_space *s;
	unsigned access;
	struct iovec *out;
	unsigned n, max;
	bool by_messages, too_many;
	struct dma_mapping *m; /* gets the files (without references yet); NULL: nobody does */
};

static void note_file(struct walk *k, struct dma_file *f)
{
	struct dma_mapping *m = k->m;
	unsigned i = m->n_files;

	while (i && m->files[i - 1] != f)
		i--;
	if (i)
		return;
	if (m->n_files == G_N_ELEMENTS(m->files))
		k->too_many = true;
	else
		m->files[m->n_files++] = f;
}

static void walk_piece(struct walk *k, const struct window *w, uint64_t addr, size_t len)
{
	uint8_t *host = w->host + (addr - w->addr);
	struct iovec *before = k->n ? &k->out[k->n - 1] : NULL;

	if (k->m)
		note_file(k, w->file);
	if (before && (uint8_t *)before->iov_base + before->iov_len == host)
		before->iov_len += len;
	else if (k->n == k->max)
		k->too_many = true;
	else
		k->out[k->n++] = (struct iovec){host, len};
}

/* One range more; 0 or -errno. */
static int walk_range(struct walk *k, uint64_t addr, uint64_t len)
{
	while (len) {
		const struct window *w = find_window(k->s, addr);
		uint64_t part;

		if (!w)
			return -EFAULT;
		if (k->access & ~w->access)
			return -EPERM;
		part = w->last - addr < len - 1 ? w->last - addr + 1 : len;
		if (w->host)
			walk_piece(k, w, addr, (size_t)part);
		else
			k->by_messages = true;
		len -= part;
		addr += part;
		if (len && !addr) /* past the last address there is */
			return -EFAULT;
	}
	return 0;
}

static int walk_result(const struct walk *k)
{
	if (k->by_messages)
		return -EAGAIN;
	return k->too_many ? -E2BIG : (int)k->n;
}

int dma_space_translate(struct dma_space *s, uint64_t addr, uint64_t len, unsigned access,
			struct iovec *out, unsigned max)
{
	struct walk k = {.s = s, .access = access, .out = out, .max = max};
	int res = walk_range(&k, addr, len);

	return res < 0 ? res : walk_result(&k);
}

/* A mapping that was translated begins to live. */
static void link_mapping(struct dma_space *s, struct dma_mapping *m)
{
	for (unsigned i = 0; i < m->n_files; i++)
		dma_file_ref(m->files[i]);
	m->space = s;
	m->revoked = 0;
	m->prev = NULL;
	m->next = s->mappings;
	if (m->next)
		m->next->prev = m;
	s->mappings = m;
}

/* Adds a range that was translated to what m consists of. */
static void add_span(struct dma_mapping *m, uint64_t addr, uint64_t last)
{
	struct dma_span *before = m->n_spans ? &m->spans[m->n_spans - 1] : NULL;

	m->addr = MIN(m->addr, addr);
	m->last = MAX(m->last, last);
	if (before && addr && before->last == addr - 1)
		before->last = last;
	else
		m->spans[m->n_spans++] = (struct dma_span){addr, last};
}

int dma_space_map_sg(struct dma_space *s, const struct pci_sg *sg, unsigned n_sg, unsigned access,
		     struct iovec *out, unsigned max, struct dma_span *spans, struct dma_mapping *m)
{
	struct walk k = {.s = s, .access = access, .out = out, .max = max, .m = m};
	int res = n_sg ? 0 : -EINVAL;

	if (n_sg > DMA_SG_MAX)
		return -E2BIG;
	m->n_files = m->n_spans = 0;
	m->spans = spans;
	m->addr = UINT64_MAX;
	m->last = 0;
	for (unsigned i = 0; i < n_sg && res == 0; i++) {
		const struct pci_sg range = sg[i];

		res = range.len ? walk_range(&k, range.addr, range.len) : -EINVAL;
		if (res == 0)
			add_span(m, range.addr, range.addr + (range.len - 1));
	}
	if (res == 0)
		res = walk_result(&k);
	if (res >= 0)
		link_mapping(s, m);
	else
		m->n_files = 0;
	return res;
}

int dma_space_map(struct dma_space *s, uint64_t addr, uint64_t len, unsigned access,
		  struct iovec *out, unsigned max, struct dma_mapping *m)
{
	const struct pci_sg range = {addr, len};
	struct dma_span span;
	int res = dma_space_map_sg(s, &range, 1, access, out, max, &span, m);

	m->n_spans = 0; /* addr and last say it all */
	m->spans = NULL;
	return res;
}

void dma_mapping_release(struct dma_mapping *m)
{
	struct dma_space *s = m->space;

	if (s) {
		if (m->prev)
			m->prev->next = m->next;
		else
			s->mappings = m->next;
		if (m->next)
			m->next->prev = m->prev;
	}
	for (unsigned i = 0; i < m->n_files; i++)
		dma_file_unref(m->files[i]);
	m->n_files = 0;
	m->space = NULL;
	m->prev = m->next = NULL;
	if (s && m->revoked)
		end_waits(s);
}

void dma_space_listen(struct dma_space *s, struct dma_listener *l)
{
	l->next = s->listeners;
	s->listeners = l;
}

void dma_space_unlisten(struct dma_space *s, struct dma_listener *l)
{
	struct dma_listener **p = &s->listeners;

	while (*p && *p != l)
		p = &(*p)->next;
	if (*p)
		*p = l->next;
}
