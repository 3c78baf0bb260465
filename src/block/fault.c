/*
 * Filter "fault"; see fault.h. As a driver it takes one rule by options: "op", "nth", "times",
 * "from", "to", "error" (eio, enospc, ...), "delay-ms", "shorten"; "file.*" is the child.
 */
#include "block/fault.h"

#include <errno.h>

#include "base/err.h"
#include "block/drivers.h"

struct counted_rule {
	struct fault_rule rule;
	uint64_t seen;
};

struct fault {
	GArray *rules; /* struct counted_rule */
};

static bool rule_fits(const struct fault_rule *rule, enum fault_op op, uint64_t off, uint64_t len)
{
	if (rule->op != FAULT_ANY && rule->op != op)
		return false;
	if (op == FAULT_FLUSH || op == FAULT_TRUNCATE)
		return true;
	return off + len > rule->from && (rule->to == 0 || off < rule->to);
}

static const struct fault_rule *rule_for(struct block_node *node, enum fault_op op, uint64_t off,
					 uint64_t len)
{
	struct fault *fault = node->state;
	const struct fault_rule *acts = NULL;

	for (unsigned i = 0; i < fault->rules->len; i++) {
		struct counted_rule *c = &g_array_index(fault->rules, struct counted_rule, i);
		uint64_t first = MAX(c->rule.nth, 1);

		if (!rule_fits(&c->rule, op, off, len))
			continue;
		c->seen++;
		if (!acts && c->seen >= first &&
		    (c->rule.times == 0 || c->seen < first + c->rule.times))
			acts = &c->rule;
	}
	return acts;
}

/* 0: go on; else what the operation ends with. *shorten: bytes to write all the same. */
static co_fn int act(struct block_node *node, enum fault_op op, uint64_t off, uint64_t len,
		     uint64_t *shorten)
{
	const struct fault_rule *rule = rule_for(node, op, off, len);
	struct fault_rule now;

	if (!rule)
		return 0;
	now = *rule; /* the list may change while it sleeps */
	if (now.delay_ns)
		co_sleep_ns(now.delay_ns);
	if (shorten)
		*shorten = now.shorten;
	return -now.errnum;
}

static bool parse_rule(struct block_node *node, struct opts *options, GError **error)
{
	static const char *const ops[] = {"read",     "write",    "flush", "zero",
					  "allocate", "truncate", "any",   NULL};
	static const char *const errors[] = {"none",  "eio",    "enospc", "erofs",
					     "efbig", "enomem", NULL};
	static const int errnums[] = {0, EIO, ENOSPC, EROFS, EFBIG, ENOMEM};
	int op = FAULT_ANY, err = 1;
	uint64_t nth = 1, times = 0, delay_ms = 0;
	struct fault_rule rule = {0};
	bool given = opts_get(options, "op") != NULL;

	if (!opts_get_enum(options, "op", ops, &op, error) ||
	    !opts_get_enum(options, "error", errors, &err, error) ||
	    !opts_get_u64(options, "nth", 1, UINT32_MAX, &nth, error) ||
	    !opts_get_u64(options, "times", 0, UINT32_MAX, &times, error) ||
	    !opts_get_u64(options, "delay-ms", 0, 3600000, &delay_ms, error) ||
	    !opts_get_size(options, "from", &rule.from, error) ||
	    !opts_get_size(options, "to", &rule.to, error) ||
	    !opts_get_size(options, "shorten", &rule.shorten, error))
		return false;
	rule.op = (enum fault_op)op;
	rule.errnum = errnums[err];
	rule.nth = (unsigned)nth;
	rule.times = (unsigned)times;
	rule.delay_ns = delay_ms * 1000000;
	if (given)
		fault_add(node, &rule);
	return true;
}

static void fault_init(struct block_node *node)
{
	struct fault *fault = node->state;

	fault->rules = g_array_new(FALSE, TRUE, sizeof(struct counted_rule));
}

static co_fn bool fault_open(struct block_node *node, struct opts *options, GError **error)
{
	fault_init(node);
	return parse_rule(node, options, error) && block_open_child(node, options, error);
}

static co_fn void fault_close(struct block_node *node)
{
	struct fault *fault = node->state;

	if (fault->rules)
		g_array_unref(fault->rules);
}

static co_fn int fault_preadv(struct block_node *node, uint64_t off, const struct iovs *iov)
{
	int res = act(node, FAULT_READ, off, iov->len, NULL);

	return res < 0 ? res : block_preadv(node->file, off, iov);
}

static co_fn int write_beginning(struct block_node *node, uint64_t off, const struct iovs *iov,
				 uint64_t len)
{
	void *part;
	int res;

	len = MIN(len, iov->len);
	part = g_malloc(len);
	iovs_get(iov, 0, part, len);
	res = block_pwrite(node->file, off, part, len, 0);
	g_free(part);
	return res;
}

static co_fn int fault_pwritev(struct block_node *node, uint64_t off, const struct iovs *iov,
			       unsigned flags)
{
	uint64_t shorten = 0;
	int res = act(node, FAULT_WRITE, off, iov->len, &shorten);

	if (res == 0)
		return block_pwritev(node->file, off, iov, flags);
	if (shorten > 0) {
		int part = write_beginning(node, off, iov, shorten);

		return part < 0 ? part : res;
	}
	return res;
}

static co_fn int fault_flush(struct block_node *node)
{
	int res = act(node, FAULT_FLUSH, 0, 0, NULL);

	return res < 0 ? res : block_flush(node->file);
}

static co_fn int fault_discard_zero(struct block_node *node, uint64_t off, uint64_t len)
{
	int res = act(node, FAULT_ZERO, off, len, NULL);

	return res < 0 ? res : block_discard_zero(node->file, off, len);
}

static co_fn int fault_allocate(struct block_node *node, uint64_t off, uint64_t len)
{
	int res = act(node, FAULT_ALLOCATE, off, len, NULL);

	return res < 0 ? res : block_allocate(node->file, off, len);
}

static co_fn int fault_truncate(struct block_node *node, uint64_t len)
{
	int res = act(node, FAULT_TRUNCATE, 0, 0, NULL);

	return res < 0 ? res : block_truncate(node->file, len);
}

static co_fn int fault_get_status(struct block_node *node, uint64_t off, uint64_t len,
				  unsigned *status, uint64_t *run)
{
	return block_get_status(node->file, off, len, status, run);
}

static void *fault_map_shared(struct block_node *node, uint64_t off, size_t len)
{
	return block_map_shared(node->file, off, len);
}

const struct block_driver block_fault = {
	.name = "fault",
	.kind = BLOCK_FILTER,
	.state_size = sizeof(struct fault),
	.open = fault_open,
	.close = fault_close,
	.preadv = fault_preadv,
	.pwritev = fault_pwritev,
	.flush = fault_flush,
	.discard_zero = fault_discard_zero,
	.allocate = fault_allocate,
	.truncate = fault_truncate,
	.get_status = fault_get_status,
	.map_shared = fault_map_shared,
};

struct block_node *fault_new(struct block_node *file)
{
	struct block_node *node = block_new_over(&block_fault, file);

	fault_init(node);
	return node;
}

void fault_add(struct block_node *node, const struct fault_rule *rule)
{
	struct fault *fault = node->state;
	struct counted_rule counted = {.rule = *rule};

	g_array_append_val(fault->rules, counted);
}

void fault_clear(struct block_node *node)
{
	struct fault *fault = node->state;

	g_array_set_size(fault->rules, 0);
}
