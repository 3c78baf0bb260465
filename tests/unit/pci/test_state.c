/* Named fields in a row of bytes: what was put is found, what makes no sense is refused. */
#include "../base/unit_test.h"

#include "pci/state.h"

static void fields_come_back(void **state)
{
	GByteArray *out = g_byte_array_new();
	struct state_reader r;
	size_t len = 99;

	(void)state;
	state_put(out, "a", "12", 2);
	state_put(out, "empty", NULL, 0);
	state_put(out, "ab", "345", 3);
	assert_true(state_has(out, "ab"));
	assert_false(state_has(out, "b"));
	assert_true(state_open(&r, out->data, out->len, NULL));
	assert_memory_equal(state_find(&r, "ab", &len), "345", 3);
	assert_int_equal(len, 3);
	assert_memory_equal(state_find(&r, "a", &len), "12", 2);
	assert_int_equal(len, 2);
	assert_non_null(state_find(&r, "empty", &len));
	assert_int_equal(len, 0);
	assert_null(state_find(&r, "", &len));
	g_byte_array_unref(out);
}

static void every_shorter_state_is_refused(void **state)
{
	GByteArray *out = g_byte_array_new();
	struct state_reader r;
	size_t first;

	(void)state;
	state_put(out, "name", "data", 4);
	first = out->len;
	state_put(out, "more", "data", 4);
	for (size_t n = 0; n <= out->len; n++) {
		uint8_t *copy = g_memdup2(out->data, n); /* exact, so that sanitizers see */

		assert_int_equal(state_open(&r, copy, n, NULL),
				 n == 0 || n == first || n == out->len);
		g_free(copy);
	}
	g_byte_array_unref(out);
}

static void nonsense_is_refused(void **state)
{
	static const uint8_t no_name[] = {0, 1, 0, 0, 0, 'x'};
	static const uint8_t long_name[70] = {64};
	static const uint8_t huge[] = {1, 0xff, 0xff, 0xff, 0xff, 'a', 'b'};
	static const uint8_t nul[] = {2, 0, 0, 0, 0, 'a', 0};
	struct state_reader r;

	(void)state;
	assert_false(state_open(&r, no_name, sizeof(no_name), NULL));
	assert_false(state_open(&r, long_name, sizeof(long_name), NULL));
	assert_false(state_open(&r, huge, sizeof(huge), NULL));
	assert_false(state_open(&r, nul, sizeof(nul), NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields_come_back),
		cmocka_unit_test(every_shorter_state_is_refused),
		cmocka_unit_test(nonsense_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
