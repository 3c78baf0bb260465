/* Power cuts at every moment of a qcow2 image's life: see disk_crash.h. */
#include "tests/unit/base/loop_test.h"

#include "disk_crash.h"

static const char *const option_sets[] = {
	"cluster_size=4096",
	"cluster_size=512,refcount_bits=64",
	"cluster_size=65536",
	"cluster_size=512,refcount_bits=1",
	"cluster_size=1024,compat=0.10",
	"cluster_size=16384,extended_l2=on",
	"cluster_size=4096,lazy_refcounts=on",
	NULL,
};

static void test_all_lives(void **state)
{
	(void)state;
	disk_crash_test(&(struct disk_crash){
		.format = "qcow2",
		.options = option_sets,
		.lives = 2 * (G_N_ELEMENTS(option_sets) - 1),
		.snapshots = true,
	});
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_lives)};

	return RUN_LOOP_TESTS(tests);
}
