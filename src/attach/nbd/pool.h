/* Buffers for data of requests: page-aligned, in sizes of powers of two, the small ones kept. */
#pragma once

#include <stddef.h>

enum { NBD_POOL_CLASSES = 9 }; /* 4 KiB to 1 MiB; larger ones are not kept */

struct nbd_pool {
	struct nbd_free_buf {
		struct nbd_free_buf *next;
	} * free[NBD_POOL_CLASSES];
	size_t kept;
};

/* NULL: no memory. len is not 0. */
void *nbd_pool_get(struct nbd_pool *p, size_t len);
/* len as it was got with. */
void nbd_pool_put(struct nbd_pool *p, void *buf, size_t len);
void nbd_pool_trim(struct nbd_pool *p); /* keeps nothing */
