/*
 * Host mappings of the files behind DMA windows: one for each file and protection, shared by all
 * windows on it and kept alive by references. Private to src/pci/dma*.c.
 */
#pragma once

#include "pci/dma.h"

#include <sys/stat.h>

struct dma_file;

struct dma_files { /* of one space; zero-initialised is empty */
	struct dma_file *head;
	unsigned n;
	uint64_t mapped_len;
};

/*
 * A reference to a mapping of fd that contains r, made if there is none. NULL: *error says why.
 * *host gets the address of r's first byte.
 */
struct dma_file *dma_file_get(struct dma_files *files, const struct dma_region *r, int fd,
			      uint8_t **host, GError **error);
void dma_file_ref(struct dma_file *f);
void dma_file_unref(struct dma_file *f); /* NULL is fine */
bool dma_files_are_torn(const struct dma_files *files);
/* The list ends; what is still referenced lives until it is let go. */
void dma_files_forget(struct dma_files *files);
bool dma_region_refuse(GError **error, int errnum, const struct dma_region *r, const char *why);
