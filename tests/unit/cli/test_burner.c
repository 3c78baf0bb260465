/*
 * The burner on media that the command line alone cannot make: a DVD-RW that was formatted to
 * restricted overwrite, written, written over, and grown.
 */
#include "cli_test.h"

#include <unistd.h>

#include "base/err.h"
#include "cli/burner.h"

enum { SMALL_BLOCKS = 1000, LARGE_BLOCKS = 3000, QUICK_FORMAT = 0x15 };

static struct fixture {
	struct loop *loop;
	struct loop_task task;
	char *dir, *disc, *small, *large;
} fixture;

/* A failed assertion must not jump out of a coroutine. */
static const char *failed_at;
static char *failed_why;

#define check(condition, error)                                                 \
	do {                                                                    \
		if (!(condition) && !failed_at) {                               \
			failed_at = G_STRINGIFY(__LINE__) ": " #condition;      \
			failed_why = g_strdup((error) ? (error)->message : ""); \
		}                                                               \
	} while (0)

static co_fn void burn(struct initiator *i, const char *path)
{
	static const bool never;
	struct burner b = {.drive = i, .interrupted = &never};
	GError *error = NULL;
	struct source *image = source_open(path, &error);
	struct progress progress;

	check(image, error);
	check(burner_plan(&b, source_blocks(image), false, &error), error);
	source_start(image, 0);
	progress_init(&progress, "burning", source_bytes(image), true);
	check(burner_write(&b, image, &progress, &error), error);
	check(burner_close(&b, &error), error);
	source_close(image);
	g_clear_error(&error);
}

/* The disc from its beginning is the file. */
static co_fn void compare(struct initiator *i, const char *path)
{
	GError *error = NULL;
	char *want = NULL;
	uint8_t *block = g_malloc(SOURCE_BLOCK);
	size_t len = 0;
	uint32_t capacity = 0;

	check(g_file_get_contents(path, &want, &len, NULL), error);
	check(ini_read_capacity(i, &capacity, &error), error);
	check(capacity >= len / SOURCE_BLOCK, error);
	for (size_t at = 0; at < len && !failed_at; at += SOURCE_BLOCK) {
		check(ini_read(i, (int32_t)(at / SOURCE_BLOCK), 1, block, &error), error);
		check(memcmp(block, want + at, SOURCE_BLOCK) == 0, error);
	}
	g_free(block);
	g_free(want);
	g_clear_error(&error);
}

static void body(void *arg)
{
	struct fixture *f = arg;
	struct drive_options o = {.id = "test"};
	struct initiator i;
	GError *error = NULL;
	struct drive *drive;
	uint16_t profile = 0;

	check(disc_create(f->disc, disc_type_find("dvd-rw"), 0, false, &error), error);
	drive = drive_new(f->loop, &o, &error);
	check(drive_insert(drive, disc_open(f->disc, DISC_OPEN_RDWR, PROFILE_NONE, &error), true,
			   &error),
	      error);
	initiator_init(&i, drive, "test");
	check(ini_wait_ready(&i, &error), error);
	check(ini_format(&i, QUICK_FORMAT, 0, 16, &error), error);
	check(ini_profile(&i, &profile, &error) && profile == PROFILE_DVD_RW_RO, error);
	burn(&i, f->small);
	compare(&i, f->small);
	burn(&i, f->large); /* does not fit into what is there: it grows */
	compare(&i, f->large);
	burn(&i, f->small); /* over what is there */
	compare(&i, f->small);
	initiator_fini(&i);
	drive_free(drive);
	g_clear_error(&error);
	loop_stop(f->loop);
}

static void begin(struct loop_task *task)
{
	(void)task;
	co_start(fixture.loop, body, &fixture);
}

static char *make_image(const char *name, unsigned blocks, guint32 seed)
{
	char *path = g_build_filename(fixture.dir, name, NULL);
	g_autoptr(GRand) random = g_rand_new_with_seed(seed);
	size_t len = (size_t)blocks * SOURCE_BLOCK;
	char *data = g_malloc(len);

	for (size_t i = 0; i < len; i++)
		data[i] = (char)g_rand_int(random);
	assert_true(g_file_set_contents(path, data, (gssize)len, NULL));
	g_free(data);
	return path;
}

static void test_restricted_overwrite(void **state)
{
	(void)state;
	fixture.loop = loop_new(LOOP_AUTO, NULL);
	assert_non_null(fixture.loop);
	fixture.dir = g_dir_make_tmp("burner-XXXXXX", NULL);
	fixture.disc = g_build_filename(fixture.dir, "a.disc", NULL);
	fixture.small = make_image("small", SMALL_BLOCKS, 1);
	fixture.large = make_image("large", LARGE_BLOCKS, 2);
	fixture.task.run = begin;
	loop_post(fixture.loop, &fixture.task);
	loop_run(fixture.loop);
	loop_free(fixture.loop);
	unlink(fixture.disc);
	unlink(fixture.small);
	unlink(fixture.large);
	rmdir(fixture.dir);
	g_free(fixture.disc);
	g_free(fixture.small);
	g_free(fixture.large);
	g_free(fixture.dir);
	if (failed_at)
		fail_msg("line %s: %s", failed_at, failed_why);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_restricted_overwrite),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
