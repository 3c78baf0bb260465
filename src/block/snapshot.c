/* The core's side of internal snapshots: who may ask, and of what. */
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
