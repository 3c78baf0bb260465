/* Power cuts at every moment of a vmdk image's life: see disk_crash.h. */
#include "tests/unit/base/loop_test.h"

#include "disk_crash.h"

static const char *const option_sets[] = {
	"",
	"zeroed_grain=on",
	NULL,
};

static void test_all_lives(void **state)
{
	(void)state;
	disk_crash_test(&(struct disk_crash){.format = "vmdk", .options = option_sets});
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_lives)};

	return RUN_LOOP_TESTS(tests);
}
