/* Driver "nbd" where libnbd was not there when this was built: says so. */
#include <errno.h>

#include "base/err.h"
#include "block/drivers.h"

static co_fn bool absent_open(struct block_node *node, struct opts *options, GError **error)
{
	(void)node;
	(void)options;
	return err_set(error, ENOTSUP,
		       "this program was built without libnbd and cannot be an NBD client");
}

static co_fn int absent_preadv(struct block_node *node, uint64_t off, const struct iovs *iov)
{
	(void)node;
	(void)off;
	(void)iov;
	return -ENOTSUP;
}

const struct block_driver block_nbd = {
	.name = "nbd",
	.kind = BLOCK_PROTOCOL,
	.open = absent_open,
	.preadv = absent_preadv,
};
