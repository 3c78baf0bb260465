/* Buffers of requests: see pool.h. */
#include "attach/nbd/pool.h"

#include <glib.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { PAGE = 4096, HUGE_PAGE = 2 << 20, KEEP = 8 << 20 };

/* NBD_POOL_CLASSES: too large to be kept. */
static unsigned class_of(size_t len)
{
	unsigned i = 0;

	while (i < NBD_POOL_CLASSES && (size_t)PAGE << i < len)
		i++;
	return i;
}

void *nbd_pool_get(struct nbd_pool *p, size_t len)
{
	unsigned i = class_of(len);
	void *buf = i < NBD_POOL_CLASSES ? p->free[i] : NULL;

	if (buf) {
		p->free[i] = p->free[i]->next;
		p->kept -= (size_t)PAGE << i;
		return buf;
	}
	if (i < NBD_POOL_CLASSES)
		return posix_memalign(&buf, PAGE, (size_t)PAGE << i) ? NULL : buf;
	/* Its pages are made anew each time, which takes as long as filling them: let them be few.
	 */
	if (posix_memalign(&buf, HUGE_PAGE, len))
		return NULL;
	madvise(buf, len & ~(size_t)(HUGE_PAGE - 1), MADV_HUGEPAGE);
	return buf;
}

void nbd_pool_put(struct nbd_pool *p, void *buf, size_t len)
{
	unsigned i = class_of(len);
	struct nbd_free_buf *f = buf;

	if (i == NBD_POOL_CLASSES || p->kept + ((size_t)PAGE << i) > KEEP) {
		free(buf);
		return;
	}
	f->next = p->free[i];
	p->free[i] = f;
	p->kept += (size_t)PAGE << i;
}

void nbd_pool_trim(struct nbd_pool *p)
{
	for (unsigned i = 0; i < NBD_POOL_CLASSES; i++) {
		while (p->free[i]) {
			struct nbd_free_buf *f = p->free[i];

			p->free[i] = f->next;
			free(f);
		}
	}
	p->kept = 0;
}
