/*
 * Host mappings of files: see dma_file.h.
 *
 * A client sends a duplicate of the same descriptor with each window, dozens of them for one guest
 * and with a vIOMMU one for each page. So a file is recognised by device and inode and mapped once,
 * whole, for each protection (a window that must not be written gets a mapping that cannot be);
 * descriptors are not kept. A file that grew gets a new mapping, the old one stays for its windows.
 */
#include "pci/dma_file.h"
#include "base/gmem_guard.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#define FILES_LEN_MAX (1ull << 44) /* of one file, and of all files of a space together */

struct dma_file {
	struct dma_file *next;
	struct dma_files *files; /* NULL: forgotten */
	unsigned refs;
	dev_t dev;
	ino_t ino;
	bool writable;
	uint8_t *base;
	size_t len;
	struct gmem_guard *guard; /* NULL: the file cannot shrink */
};

bool dma_region_refuse(GError **error, int errnum, const struct dma_region *r, const char *why)
{
	return err_set(error, errnum,
		       "DMA window %#" PRIx64 "+%#" PRIx64 " at file offset %#" PRIx64 ": %s",
		       r->addr, r->len, r->file_off, why);
}

void dma_file_ref(struct dma_file *f)
{
	f->refs++;
}

void dma_file_unref(struct dma_file *f)
{
	if (!f || --f->refs)
		return;
	if (f->files) {
		struct dma_file **p = &f->files->head;

		while (*p != f)
			p = &(*p)->next;
		*p = f->next;
		f->files->n--;
		f->files->mapped_len -= f->len;
	}
	gmem_guard_free(f->guard);
	if (f->base != MAP_FAILED)
		munmap(f->base, f->len);
	g_free(f);
}

/* Huge page files want lengths in their own page size. */
static size_t page_of(int fd)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) == 0 && fs.f_type == HUGETLBFS_MAGIC && fs.f_bsize > 0)
		return (size_t)fs.f_bsize;
	return (size_t)sysconf(_SC_PAGESIZE);
}

static struct dma_file *map_file(struct dma_files *files, const struct dma_region *r, int fd,
				 const struct stat *st, GError **error)
{
	size_t page = page_of(fd);
	struct dma_file *f;
	uint64_t len;
	int seals;

	if ((uint64_t)st->st_size > FILES_LEN_MAX) {
		dma_region_refuse(error, EFBIG, r, "its file is larger than any guest");
		return NULL;
	}
	len = ((uint64_t)st->st_size + page - 1) / page * page;
	if (files->n >= DMA_FILES_MAX || len > FILES_LEN_MAX - files->mapped_len) {
		dma_region_refuse(error, ENOSPC, r, "too many or too large files in one machine");
		return NULL;
	}
	f = g_new0(struct dma_file, 1);
	f->refs = 1;
	f->dev = st->st_dev;
	f->ino = st->st_ino;
	f->writable = r->access & DMA_WRITE;
	f->len = (size_t)len;
	f->base = mmap(NULL, f->len, f->writable ? PROT_READ | PROT_WRITE : PROT_READ,
		       MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (f->base == MAP_FAILED) {
		int errnum = errno;

		dma_file_unref(f);
		dma_region_refuse(error, errnum, r, "cannot map its file");
		return NULL;
	}
	madvise(f->base, f->len, MADV_DONTDUMP); /* a guest's memory has no place in our core */
	seals = fcntl(fd, F_GET_SEALS);
	if (seals < 0 || !(seals & F_SEAL_SHRINK)) {
		f->guard = gmem_guard_new(f->base, f->len);
		if (!f->guard) {
			dma_file_unref(f);
			dma_region_refuse(error, ENOSPC, r, "too many files without seals");
			return NULL;
		}
	}
	f->files = files;
	f->next = files->head;
	files->head = f;
	files->n++;
	files->mapped_len += len;
	return f;
}

struct dma_file *dma_file_get(struct dma_files *files, const struct dma_region *r, int fd,
			      uint8_t **host, GError **error)
{
	struct dma_file *f;
	struct stat st;
	uint64_t end;

	if (fstat(fd, &st) < 0) {
		dma_region_refuse(error, errno, r, "cannot look at its file");
		return NULL;
	}
	if (!S_ISREG(st.st_mode) || __builtin_add_overflow(r->file_off, r->len, &end) ||
	    end > (uint64_t)st.st_size) {
		dma_region_refuse(error, EINVAL, r,
				  "its descriptor must be memory that contains all of it");
		return NULL;
	}
	for (f = files->head; f; f = f->next) {
		if (f->dev == st.st_dev && f->ino == st.st_ino &&
		    f->writable == !!(r->access & DMA_WRITE) && end <= f->len &&
		    !gmem_guard_is_torn(f->guard))
			break;
	}
	if (f)
		f->refs++;
	else
		f = map_file(files, r, fd, &st, error);
	if (f)
		*host = f->base + r->file_off;
	return f;
}

bool dma_files_are_torn(const struct dma_files *files)
{
	for (const struct dma_file *f = files->head; f; f = f->next) {
		if (gmem_guard_is_torn(f->guard))
			return true;
	}
	return false;
}

void dma_files_forget(struct dma_files *files)
{
	for (struct dma_file *f = files->head; f; f = f->next)
		f->files = NULL;
	*files = (struct dma_files){0};
}
