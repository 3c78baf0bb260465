/*
 * Filter "fault"; see fault.h. As a driver it takes rules by options (docs/block-drivers.md): "op",
 * "nth", "times" or "once", "probability" (in percent, from a generator that "seed" starts),
 * "from", "to", "error" (eio, enospc, ...), "delay-ms", "shorten"; more than one as
 * "rules.0.op", ...; "file.*" is the child.
 */
#include "block/fault.h"

#include <errno.h>
#include <inttypes.h>

#include "base/err.h"
#include "block/drivers.h"

enum { MAX_RULES = 64 };

struct counted_rule {
	struct fault_rule rule;
	uint64_t seen, acted;
};

struct fault {
	GArray *rules; /* struct counted_rule */
	GRand *rand;   /* its own, so that a seed makes a run repeatable */
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
		if (c->seen < first || (c->rule.times && c->acted >= c->rule.times) || acts)
			continue;
		if (c->rule.percent && g_rand_int_range(fault->rand, 0, 100) >= c->rule.percent)
			continue;
		c->acted++;
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

static const struct {
	const char *name;
	int number;
} errors[] = {
	{"none", 0},        {"eio", EIO},         {"enospc", ENOSPC},
	{"erofs", EROFS},   {"efbig", EFBIG},     {"enomem", ENOMEM},
	{"eperm", EPERM},   {"eacces", EACCES},   {"einval", EINVAL},
	{"ebusy", EBUSY},   {"enodev", ENODEV},   {"enomedium", ENOMEDIUM},
	{"edquot", EDQUOT}, {"enotsup", ENOTSUP}, {"etimedout", ETIMEDOUT},
};

static bool get_error(struct opts *options, int *number, GError **error)
{
	const char *names[G_N_ELEMENTS(errors) + 1] = {NULL};
	int i = 1;

	for (unsigned n = 0; n < G_N_ELEMENTS(errors); n++)
		names[n] = errors[n].name;
	if (!opts_get_enum(options, "error", names, &i, error))
		return false;
	*number = errors[i].number;
	return true;
}

static bool parse_rule(struct block_node *node, struct opts *options, GError **error)
{
	static const char *const ops[] = {"read",     "write",    "flush", "zero",
					  "allocate", "truncate", "any",   NULL};
	int op = FAULT_ANY;
	uint64_t nth = 1, times = 0, delay_ms = 0, percent = 100;
	struct fault_rule rule = {0};
	bool once = false;

	if (!opts_get_enum(options, "op", ops, &op, error) ||
	    !get_error(options, &rule.errnum, error) ||
	    !opts_get_u64(options, "nth", 1, UINT32_MAX, &nth, error) ||
	    !opts_get_u64(options, "times", 0, UINT32_MAX, &times, error) ||
	    !opts_get_bool(options, "once", &once, error) ||
	    !opts_get_u64(options, "probability", 1, 100, &percent, error) ||
	    !opts_get_u64(options, "delay-ms", 0, 3600000, &delay_ms, error) ||
	    !opts_get_size(options, "from", &rule.from, error) ||
	    !opts_get_size(options, "to", &rule.to, error) ||
	    !opts_get_size(options, "shorten", &rule.shorten, error))
		return false;
	if (once && times > 1)
		return err_set(error, EINVAL, "once=on and times=%" PRIu64 " exclude each other",
			       times);
	if (rule.to && rule.to <= rule.from)
		return err_set(error, EINVAL, "to= must be behind from=");
	if (rule.shorten && !rule.errnum)
		return err_set(error, EINVAL, "shorten= is for writes that fail");
	rule.op = (enum fault_op)op;
	rule.nth = (unsigned)nth;
	rule.times = once ? 1 : (unsigned)times;
	rule.percent = (unsigned)percent;
	rule.delay_ns = delay_ms * 1000000;
	fault_add(node, &rule);
	return true;
}

/* The rule "op", "nth", ..., and those of a list: "rules.0.op", ... */
static bool parse_rules(struct block_node *node, struct opts *options, GError **error)
{
	static const char *const keys[] = {"op",   "error", "nth",      "times",   "once",
					   "from", "to",    "delay-ms", "shorten", "probability"};
	struct fault *fault = node->state;
	uint64_t seed = 0;
	bool single = false, ok = true;

	if (!opts_get_u64(options, "seed", 0, UINT32_MAX, &seed, error))
		return false;
	g_rand_set_seed(fault->rand, (guint32)seed);
	for (unsigned i = 0; i < G_N_ELEMENTS(keys); i++)
		single = opts_get(options, keys[i]) || single;
	if (single && !parse_rule(node, options, error))
		return false;
	for (unsigned i = 0; i < MAX_RULES && ok; i++) {
		g_autofree char *prefix = g_strdup_printf("rules.%u.", i);
		struct opts *rule = opts_sub(options, prefix);
		bool last = opts_is_empty(rule);

		ok = last || (parse_rule(node, rule, error) &&
			      opts_check_used(rule, "a rule of block driver \"fault\"", error));
		opts_free(rule);
		if (last)
			break;
	}
	return ok;
}

static void fault_init(struct block_node *node)
{
	struct fault *fault = node->state;

	fault->rules = g_array_new(FALSE, TRUE, sizeof(struct counted_rule));
	fault->rand = g_rand_new_with_seed(0);
}

static co_fn bool fault_open(struct block_node *node, struct opts *options, GError **error)
{
	fault_init(node);
	return parse_rules(node, options, error) && block_open_child(node, options, error);
}

static co_fn void fault_close(struct block_node *node)
{
	struct fault *fault = node->state;

	if (!fault->rules)
		return;
	g_array_unref(fault->rules);
	g_rand_free(fault->rand);
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

static co_fn int fault_write_zeros(struct block_node *node, uint64_t off, uint64_t len)
{
	int res = act(node, FAULT_ZERO, off, len, NULL);

	return res < 0 ? res : block_write_zeros(node->file, off, len, 0);
}

static co_fn int fault_discard(struct block_node *node, uint64_t off, uint64_t len)
{
	int res = act(node, FAULT_ZERO, off, len, NULL);

	return res < 0 ? res : block_discard(node->file, off, len);
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
	.write_zeros = fault_write_zeros,
	.discard = fault_discard,
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
