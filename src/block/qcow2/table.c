/* Tables in memory (L1, refcount table): see qcow2.h. */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "block/qcow2/qcow2.h"

enum { ENTRY = 8, PER_SECTOR = QCOW2_SECTOR / ENTRY };

bool qcow2_table_init(struct qcow2_table *t, uint32_t n, uint64_t off)
{
	t->n = n;
	t->off = off;
	t->v = g_try_new0(uint64_t, (size_t)n + 1);
	t->dirty = g_try_malloc0(n / PER_SECTOR + 1);
	return t->v && t->dirty;
}

void qcow2_table_fini(struct qcow2_table *t)
{
	g_free(t->v);
	g_free(t->dirty);
	*t = (struct qcow2_table){0};
}

void qcow2_table_set(struct qcow2_table *t, uint32_t i, uint64_t value)
{
	t->v[i] = value;
	t->dirty[i / PER_SECTOR] = 1;
	t->any_dirty = true;
}

co_fn int qcow2_table_read(struct qcow2_table *t, struct block_node *file)
{
	int res = t->n ? block_pread(file, t->off, t->v, (size_t)t->n * ENTRY) : 0;

	for (uint32_t i = 0; i < t->n && res == 0; i++)
		t->v[i] = get_be64(&t->v[i]);
	return res;
}

co_fn int qcow2_table_write(struct qcow2_table *t, struct block_node *file, bool all)
{
	uint8_t sector[QCOW2_SECTOR];
	int res = 0;

	for (uint32_t s = 0; s * PER_SECTOR < t->n && res == 0; s++) {
		uint32_t n = MIN((uint32_t)PER_SECTOR, t->n - s * PER_SECTOR);

		if (!all && !t->dirty[s])
			continue;
		for (uint32_t i = 0; i < n; i++)
			put_be64(sector + (size_t)i * ENTRY, t->v[s * PER_SECTOR + i]);
		res = block_pwrite(file, t->off + (uint64_t)s * QCOW2_SECTOR, sector,
				   (size_t)n * ENTRY, 0);
	}
	if (res == 0) {
		memset(t->dirty, 0, t->n / PER_SECTOR + 1);
		t->any_dirty = false;
	}
	return res;
}
