/* The tables of media: every row sensible, every name of DESIGN.md section 7 there. */
#include "disc/profile.h"
#include "disc/rules.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_types(void **state)
{
	(void)state;
	for (const struct disc_type *t = disc_types(); t->name; t++) {
		const struct disc_profile *p = disc_profile_find(t->profile);

		assert_non_null(p);
		assert_ptr_equal(disc_type_find(t->name), t);
		assert_true(t->min_blocks <= t->blocks && t->blocks <= t->max_blocks);
		assert_true(t->layers >= 1 && t->layers <= p->max_layers);
		if (p->method == METHOD_ROM) {
			assert_false(t->implemented);
			continue;
		}
		assert_int_equal(t->blocks % p->ecc_blocks, 0);
		assert_int_equal(t->layer0_blocks % p->ecc_blocks, 0);
		assert_int_equal(t->layers > 1, t->layer0_blocks > 0);
		if (t->implemented)
			assert_non_null(disc_rules_find(t->profile));
		if (t->alias)
			assert_ptr_equal(disc_type_find(t->alias), t);
	}
	assert_null(disc_type_find("md"));
}

static void test_names(void **state)
{
	/* clang-format off */
	static const char *const names[] = {
		"cd-r",   "cd-rw",     "dvd-r", "dvd-r-dl", "dvd-rw",  "dvd-ram", "dvd+r", "dvd+r-dl", "dvd+rw",
		"dvd+rw-dl", "bd-r",   "bd-r-dl", "bd-r-tl", "bd-r-ql", "bd-re",   "bd-re-dl", "bd-re-tl",
	};
	/* clang-format on */
	static const char *const working[] = {"cd-r", "dvd-r",   "dvd-rw",  "dvd+r",
					      "bd-r", "bd-r-dl", "bd-r-tl", "bd-r-ql"};

	(void)state;
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_non_null(disc_type_find(names[i]));
	for (unsigned i = 0; i < sizeof(working) / sizeof(working[0]); i++)
		assert_true(disc_type_find(working[i])->implemented);
}

static void test_profiles(void **state)
{
	unsigned n = 0;

	(void)state;
	for (const struct disc_profile *p = disc_profiles(); p->number; p++, n++) {
		assert_ptr_equal(disc_profile_find(p->number), p);
		assert_true(p->ecc_blocks == 1 || p->ecc_blocks == 16 || p->ecc_blocks == 32);
		assert_non_null(p->name);
	}
	assert_true(n >= 16);
	assert_int_equal(disc_profiles()->number, PROFILE_BD_RE);
	assert_null(disc_profile_find(PROFILE_NONE));
	assert_null(disc_profile_find(0x50));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_types),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_profiles),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
