/*
 * The core's side of what is done to an image as a whole (snapshots, another backing file) or
 * known of it (bitmaps): who may ask, and of what.
 */
#include "block/driver.h"

#include <errno.h>

#include "base/err.h"

co_fn bool block_snapshot(struct block_node *node, enum block_snapshot_op op, const char *name,
			  GError **error)
{
	bool ok;

	if (!node->driver->snapshot)
		return err_set(error, ENOTSUP, "%s: format \"%s\" has no internal snapshots",
			       node->name, node->driver->name);
	if (!*name)
		return err_set(error, EINVAL, "%s: a snapshot needs a name", node->name);
	if (op != BLOCK_SNAP_LOAD && !node->writable)
		return err_set(error, EROFS, "%s: is open read-only", node->name);
	if (op == BLOCK_SNAP_LOAD && node->writable)
		return err_set(error, EINVAL, "%s: a snapshot can only be read", node->name);
	co_drain_enter(&node->drain);
	ok = node->driver->snapshot(node, op, name, error);
	node->write_gen++;
	co_drain_leave(&node->drain);
	return ok || err_prefix(error, "%s", node->name);
}

co_fn bool block_set_backing(struct block_node *node, const char *name, const char *format,
			     GError **error)
{
	bool ok;

	if (!node->driver->set_backing)
		return err_set(error, ENOTSUP, "%s: format \"%s\" has no backing files", node->name,
			       node->driver->name);
	if (!node->writable)
		return err_set(error, EROFS, "%s: is open read-only", node->name);
	co_drain_enter(&node->drain);
	ok = node->driver->set_backing(node, name, format, error);
	node->write_gen++;
	co_drain_leave(&node->drain);
	if (!ok)
		return err_prefix(error, "%s", node->name);
	g_free(node->backing_name);
	g_free(node->backing_format);
	node->backing_name = g_strdup(name);
	node->backing_format = g_strdup(format);
	return true;
}

co_fn int block_make_empty(struct block_node *node)
{
	int res;

	if (!node->driver->make_empty)
		return -ENOTSUP;
	if (!node->writable)
		return -EROFS;
	co_drain_enter(&node->drain);
	res = node->driver->make_empty(node);
	node->write_gen++;
	co_drain_leave(&node->drain);
	return res;
}

bool block_get_bitmap(const struct block_node *node, unsigned i, struct block_bitmap *out)
{
	return node->driver->get_bitmap && node->driver->get_bitmap(node, i, out);
}

co_fn int block_find_dirty(struct block_node *node, unsigned i, uint64_t off, uint64_t len,
			   bool *dirty, uint64_t *run)
{
	struct block_bitmap b;
	int res;

	if (!block_get_bitmap(node, i, &b))
		return -ENOENT;
	if (b.in_use)
		return -EBUSY;
	if (len == 0 || off > node->length || len > node->length - off)
		return -EINVAL;
	co_drain_enter(&node->drain);
	res = node->driver->find_dirty(node, i, off, len, dirty, run);
	co_drain_leave(&node->drain);
	return res;
}
