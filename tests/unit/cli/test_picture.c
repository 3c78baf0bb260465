/* The bar of a disc, and the words of a progress line. */
#include "cli_test.h"

#include "cli/disc_bar.h"
#include "cli/progress.h"

static void draw(const struct disc_region *r, unsigned n, unsigned width, const char *marks,
		 const char *bar)
{
	g_autofree char *m = NULL, *b = NULL;

	disc_bar_draw(r, n, width, &m, &b);
	assert_string_equal(m, marks);
	assert_string_equal(b, bar);
}

static void test_bar(void **state)
{
	static const struct disc_region halves[] = {
		{REGION_RECORDED, 1, 1, 0, 500},
		{REGION_FREE, 2, 0, 500, 500},
	};
	static const struct disc_region sessions[] = {
		{REGION_RECORDED, 1, 1, 0, 400},   {REGION_GAP, 2, 0, 400, 1},
		{REGION_RECORDED, 2, 2, 401, 399}, {REGION_PADDING, 2, 2, 800, 2},
		{REGION_UNUSED, 0, 0, 802, 198},
	};

	(void)state;
	draw(NULL, 0, 4, "    ", "    ");
	draw(halves, 2, 10, "1         ", "#####.....");
	draw(halves, 1, 3, "1  ", "###");
	draw(sessions, 5, 20, "1        2          ", "########-#######+___");
}

/* What is tiny is seen as long as there is room for all of them. */
static void test_bar_small_pieces(void **state)
{
	static const struct disc_region r[] = {
		{REGION_RECORDED, 1, 1, 0, 1},
		{REGION_GAP, 1, 0, 1, 1},
		{REGION_FREE, 1, 0, 2, 1000000},
	};

	(void)state;
	draw(r, 3, 5, "1    ", "#-...");
	draw(r, 3, 3, "1  ", "#-.");
	draw(r, 3, 2, "1 ", "#."); /* crowded: what lies at each cell's beginning */
}

static void test_bar_never_longer(void **state)
{
	struct disc_region r[200];

	(void)state;
	for (unsigned i = 0; i < 200; i++)
		r[i] = (struct disc_region){REGION_RECORDED, i + 1, i + 1, (int32_t)i * 10, 10};
	for (unsigned n = 1; n <= 200; n++) {
		g_autofree char *marks = NULL, *bar = NULL;

		disc_bar_draw(r, n, 60, &marks, &bar);
		assert_int_equal(strlen(marks), 60);
		assert_int_equal(strspn(bar, "#"), 60);
	}
}

static void test_progress(void **state)
{
	struct progress p = {
		.what = "burning", .total = 200000000, .done = 50000000, .started_ns = 1000000000};
	g_autofree char *a = progress_text(&p, 2000000000, 8), *b = NULL, *c = NULL, *d = NULL;

	(void)state;
	assert_string_equal(a, "[##>.....]  25%  50.0 of 200.0 MB  50.0 MB/s  3 s left");
	p.total = 0;
	b = progress_text(&p, 2000000000, 8);
	assert_string_equal(b, "50.0 MB  50.0 MB/s");
	p.total = p.done;
	c = progress_text(&p, 1000000000, 0); /* no time has passed */
	assert_string_equal(c, "100%  50.0 of 50.0 MB");
	p.total = p.done * 200;
	d = progress_text(&p, 2000000000, 0);
	assert_string_equal(d, "  0%  50.0 of 10000.0 MB  50.0 MB/s  3 min 19 s left");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bar),
		cmocka_unit_test(test_bar_small_pieces),
		cmocka_unit_test(test_bar_never_longer),
		cmocka_unit_test(test_progress),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
