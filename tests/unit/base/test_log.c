/* The log: levels, what guests put in it, the limit on what they can cause. */
#include "unit_test.h"

#include "base/log.h"
#include "base/loop.h"

struct seen {
	unsigned lines;
	enum log_level level;
	char area[16], text[256];
};

static void keep(enum log_level level, const char *area, const char *text, void *arg)
{
	struct seen *s = arg;

	s->lines++;
	s->level = level;
	g_strlcpy(s->area, area, sizeof(s->area));
	g_strlcpy(s->text, text, sizeof(s->text));
}

static void test_lines_and_levels(void **state)
{
	struct seen s = {0};

	(void)state;
	log_set_sink(keep, &s);
	log_line(LOG_WARN, "disc", "track %d", 7);
	assert_int_equal(s.lines, 1);
	assert_int_equal(s.level, LOG_WARN);
	assert_string_equal(s.area, "disc");
	assert_string_equal(s.text, "track 7");
	assert_false(log_enabled(LOG_DEBUG));
	log_line(LOG_DEBUG, "disc", "not now");
	assert_int_equal(s.lines, 1);
	log_set_level(LOG_DEBUG);
	log_line(LOG_DEBUG, "disc", "now");
	assert_int_equal(s.lines, 2);
	log_set_level(LOG_ERROR);
	log_line(LOG_WARN, "disc", "no more");
	assert_int_equal(s.lines, 2);
	log_set_level(LOG_INFO);
	log_set_sink(NULL, NULL);
}

static void test_level_names(void **state)
{
	enum log_level level = LOG_INFO;

	(void)state;
	assert_true(log_level_from_name("error", &level));
	assert_int_equal(level, LOG_ERROR);
	assert_true(log_level_from_name("debug", &level));
	assert_int_equal(level, LOG_DEBUG);
	assert_false(log_level_from_name("loud", &level));
	assert_int_equal(level, LOG_DEBUG);
}

static void test_control_characters(void **state)
{
	struct seen s = {0};

	(void)state;
	log_set_sink(keep, &s);
	log_line(LOG_ERROR, "scsi", "label \"%s\"", "a\nb\x1b[2J\x7f");
	assert_string_equal(s.text, "label \"a\\x0ab\\x1b[2J\\x7f\"");
	log_set_sink(NULL, NULL);
}

static void test_limit(void **state)
{
	struct log_limit limit = {0};
	struct seen s = {0};

	(void)state;
	log_set_sink(keep, &s);
	for (unsigned i = 0; i < 35; i++)
		log_limited(&limit, LOG_WARN, "virtio", "bad descriptor %u", i);
	assert_int_equal(s.lines, 10);
	assert_string_equal(s.text, "bad descriptor 9");
	limit.window_start_ns = loop_now_ns() - 6000000000u; /* six seconds later */
	log_limited(&limit, LOG_WARN, "virtio", "bad again");
	assert_int_equal(s.lines, 12);
	assert_string_equal(s.text, "bad again");
	assert_int_equal(limit.left_out, 0);
	assert_int_equal(limit.count, 1);
	log_set_sink(NULL, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines_and_levels),
		cmocka_unit_test(test_level_names),
		cmocka_unit_test(test_control_characters),
		cmocka_unit_test(test_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
