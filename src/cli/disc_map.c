/* outboard disc map: a picture of a disc, and the table behind it. */
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/err.h"
#include "base/opts.h"
#include "cli/cli.h"
#include "cli/disc_bar.h"
#include "cli/disc_words.h"

enum { BLOCK = 2048, BAR_MIN = 20, BAR_MAX = 150, BAR_PLAIN = 76 };

static unsigned bar_width(void)
{
	struct winsize w;

	if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) || !w.ws_col)
		return BAR_PLAIN;
	return CLAMP(w.ws_col - 4, BAR_MIN, BAR_MAX);
}

static json_t *map_json(struct disc *d, const char *path, const struct disc_region *r, unsigned n)
{
	g_autofree char *shown = g_filename_display_name(path);
	json_t *list = json_array();

	for (unsigned i = 0; i < n; i++) {
		json_t *j = json_pack("{s:s, s:i, s:I}", "kind", disc_region_name(r[i].kind),
				      "start", (int)r[i].lba, "blocks", (json_int_t)r[i].blocks);

		if (r[i].session)
			json_object_set_new(j, "session", json_integer(r[i].session));
		if (r[i].track)
			json_object_set_new(j, "track", json_integer(r[i].track));
		json_array_append_new(list, j);
	}
	return json_pack("{s:s, s:s, s:s, s:o}", "disc", shown, "type", disc_get_profile(d)->name,
			 "status", disc_status_word(d), "regions", list);
}

static void print_number(unsigned n)
{
	if (n)
		printf(" %7u", n);
	else
		printf(" %7s", "-");
}

static void print_legend(const struct disc_region *r, unsigned n)
{
	unsigned seen = 0;

	printf(" ");
	for (unsigned i = 0; i < n; i++) {
		if (!(seen >> r[i].kind & 1))
			printf("  %c %s", disc_bar_char(r[i].kind), disc_region_name(r[i].kind));
		seen |= 1u << r[i].kind;
	}
	printf("\n\n");
}

static void print_map(struct disc *d, const char *path, const struct disc_region *r, unsigned n)
{
	g_autofree char *size = size_text((uint64_t)disc_get_state(d)->capacity * BLOCK);
	g_autofree char *marks = NULL, *bar = NULL;

	printf("%s: %s, %s, %s\n", path, disc_get_profile(d)->name, disc_status_word(d), size);
	disc_bar_draw(r, n, bar_width(), &marks, &bar);
	printf("  %s\n [%s]\n", g_strchomp(marks), bar);
	print_legend(r, n);
	printf("%10s %10s %10s %10s  %-9s %7s %7s\n", "FIRST", "LAST", "BLOCKS", "SIZE", "WHAT",
	       "SESSION", "TRACK");
	for (unsigned i = 0; i < n; i++) {
		g_autofree char *part = size_text((uint64_t)r[i].blocks * BLOCK);

		printf("%10d %10lld %10u %10s  %-9s", r[i].lba,
		       (long long)r[i].lba + r[i].blocks - 1, r[i].blocks, part,
		       disc_region_name(r[i].kind));
		print_number(r[i].session);
		print_number(r[i].track);
		putchar('\n');
	}
}

static co_fn int map_on_loop(const struct args *a, void *arg)
{
	const char *path = args_operand(a, 0);
	GError *error = NULL;
	struct disc *d = disc_open(path, DISC_OPEN_NO_LOCK, PROFILE_NONE, &error);
	struct disc_region *regions;
	unsigned n;
	int status;

	(void)arg;
	if (!d)
		return cli_failed(a, error);
	n = disc_regions(d, &regions);
	if (args_has(a, "json")) {
		status = cli_print_json(a, map_json(d, path, regions, n));
	} else {
		print_map(d, path, regions, n);
		status = cli_finish_output(a, STATUS_DONE);
	}
	g_free(regions);
	disc_close(d, false);
	return status;
}

static int run_map(const struct args *a)
{
	return cli_on_loop(a, map_on_loop, NULL);
}

static const struct cli_option map_options[] = {
	{"json"},
	{NULL},
};

const struct cli_command command_disc_map = {
	.name = "disc map",
	.options = map_options,
	.operands = "FILE",
	.min_operands = 1,
	.max_operands = 1,
	.run = run_map,
};
