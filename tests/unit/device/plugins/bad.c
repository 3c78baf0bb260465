/* Libraries that are no good, one for each KIND. */
#include "outboard.h"

static int bad_open(struct ob_dev *dev)
{
	(void)dev;
	return 0;
}

static const struct ob_class one = {.size = sizeof(one), .name = "one", .open = bad_open};
static const struct ob_class two = {.size = sizeof(two), .name = "two", .open = bad_open};
static const struct ob_class no_open = {.size = sizeof(no_open), .name = "lacking"};
static const struct ob_class *const all[] = {&one, &two, &no_open, NULL};

OB_EXPORT extern const struct ob_plugin ob_plugin;

#ifdef NO_SYMBOL
OB_EXPORT extern const struct ob_class *const *const something_else;
const struct ob_class *const *const something_else = all;
#elif defined(WRONG_ABI)
const struct ob_plugin ob_plugin = {OB_MAGIC, sizeof(ob_plugin), OB_ABI + 1, all};
#elif defined(WRONG_MAGIC)
const struct ob_plugin ob_plugin = {42, sizeof(ob_plugin), OB_ABI, all};
#elif defined(NO_CLASS)
const struct ob_plugin ob_plugin = {OB_MAGIC, sizeof(ob_plugin), OB_ABI, all + 3};
#elif defined(UNRESOLVED)
extern int nobody_has_this(void);
OB_EXPORT int use(void);
int use(void)
{
	return nobody_has_this();
}
const struct ob_plugin ob_plugin = {OB_MAGIC, sizeof(ob_plugin), OB_ABI, all};
#else
const struct ob_plugin ob_plugin = {OB_MAGIC, sizeof(ob_plugin), OB_ABI, all};
#endif
