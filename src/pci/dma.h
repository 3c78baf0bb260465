/*
 * Guest memory as a PCI function reaches it: windows of bus addresses, each with or without host
 * memory behind it.
 *
 * A space belongs to whoever attached a function (pci/function.h) and to one loop. Windows come and
 * go while transfers run, so a translation is good until the next return to the loop and no longer;
 * who needs memory for longer makes a mapping, which keeps the host memory alive (not the window:
 * when that is taken away the mapping is revoked). Descriptors of the same file share one host
 * mapping, so that thousands of page-sized windows (a guest with an IOMMU) cost little.
 *
 * A file that its owner can shorten raises SIGBUS under our accesses: base/gmem_guard.h puts zero
 * pages there and dma_space_is_torn() tells.
 */
#pragma once

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

enum {
	DMA_WINDOWS_MAX = 65535,
	DMA_FILES_MAX = 256, /* host mappings of one space */
	DMA_SG_MAX = 4096,   /* ranges of one mapping: it is made in one go of the loop */
};

enum dma_access {
	DMA_READ = 1, /* the device may read it */
	DMA_WRITE = 2,
};

struct dma_space;

struct dma_region {
	uint64_t addr; /* bus address */
	uint64_t len;  /* addr + len may be 2^64, not more */
	unsigned access;
	uint64_t file_off; /* of its first byte in the descriptor */
};

struct pci_sg { /* a range of bus addresses */
	uint64_t addr, len;
};

struct dma_span { /* the same with an inclusive end */
	uint64_t addr, last;
};

struct dma_space *dma_space_new(void);
/* Removes every window first. Mappings may outlive it. NULL is fine. */
void dma_space_free(struct dma_space *s);

/*
 * Adds a window. fd (-1: none, its owner moves the data by messages) stays the caller's and may be
 * closed. False: refused, *error says why: empty, wrapping, overlapping (EEXIST), file too short,
 * no file with memory, too many (ENOSPC).
 */
bool dma_space_add(struct dma_space *s, const struct dma_region *r, int fd, GError **error);
/*
 * Takes away all that lies in [addr, last] (inclusive, so that it may be everything): windows
 * inside vanish, those partly inside are cut. Transfers in flight there fail, mappings are revoked,
 * before it returns; users of revoked mappings may need longer: see dma_space_wait().
 */
void dma_space_remove(struct dma_space *s, uint64_t addr, uint64_t last);
unsigned dma_space_count(const struct dma_space *s); /* windows */
bool dma_space_is_torn(const struct dma_space *s);

/* Waits for revoked mappings to be released. Zero it before use. */
struct dma_wait {
	void (*done)(struct dma_wait *w);
	struct dma_wait *next;
	uint64_t addr, last;
	struct dma_space *space;
};
/*
 * False: no revoked mapping reaches into [addr, last], nothing to wait for. True: w->done() will be
 * called once that is so (never inside this call), unless dma_wait_cancel(). A device has no duty
 * to be quick: bound the wait.
 */
bool dma_space_wait(struct dma_space *s, uint64_t addr, uint64_t last, struct dma_wait *w);
void dma_wait_cancel(struct dma_wait *w); /* also one that does not wait */

/*
 * Host memory of [addr, addr + len) for access (enum dma_access, or both): pieces to out (room for
 * max), their number returned. -EFAULT: part of it is in no window; -EPERM: a window forbids it;
 * -EAGAIN: it is all there, but a part has no host memory; -E2BIG: more than max pieces. len 0 is 0
 * pieces.
 */
int dma_space_translate(struct dma_space *s, uint64_t addr, uint64_t len, unsigned access,
			struct iovec *out, unsigned max);

/*
 * A translation that lasts. Zero it before use; it belongs to the space from dma_space_map() or
 * dma_space_map_sg() to dma_mapping_release().
 */
struct dma_file;
struct dma_mapping {
	/* Optional: the window goes (now, inside dma_space_remove()); release soon, here if you
	 * like. */
	void (*revoke)(struct dma_mapping *m);
	/* the space's own */
	struct dma_space *space;
	struct dma_mapping *prev, *next;
	uint64_t addr, last;    /* all of it lies in here */
	struct dma_span *spans; /* of a list: what exactly; the caller's memory */
	unsigned n_spans;       /* 0 or 1: all from addr to last */
	int revoked;            /* atomic; 1: nobody sees any more what is written there */
	unsigned n_files;
	struct dma_file *files[8];
};
/* As dma_space_translate(); also -E2BIG: more than 8 files. len 0 is -EINVAL. */
int dma_space_map(struct dma_space *s, uint64_t addr, uint64_t len, unsigned access,
		  struct iovec *out, unsigned max, struct dma_mapping *m);
/*
 * The same for n_sg ranges one after the other, as one mapping: it is revoked when any byte of them
 * goes, and by nothing between them. spans has room for n_sg and is m's until it is released.
 * Neighbours in host memory become one piece, whatever range they are of. -EINVAL: no range, or an
 * empty one; -E2BIG: also more than DMA_SG_MAX ranges.
 */
int dma_space_map_sg(struct dma_space *s, const struct pci_sg *sg, unsigned n_sg, unsigned access,
		     struct iovec *out, unsigned max, struct dma_span *spans,
		     struct dma_mapping *m);
void dma_mapping_release(struct dma_mapping *m);
/* As if its window went (a reset). Once revoked, nothing more happens. */
void dma_mapping_revoke(struct dma_mapping *m);

/* Hears of each removal, before dma_space_remove() returns; after the windows went. */
struct dma_listener {
	void (*removed)(struct dma_listener *l, uint64_t addr, uint64_t last);
	struct dma_listener *next;
};
void dma_space_listen(struct dma_space *s, struct dma_listener *l);
void dma_space_unlisten(struct dma_space *s, struct dma_listener *l);
