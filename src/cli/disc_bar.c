/* A disc's regions as a bar: see disc_bar.h. */
#include "cli/disc_bar.h"

#include <stdio.h>
#include <string.h>

char disc_bar_char(enum disc_region_kind kind)
{
	static const char chars[] = {
		[REGION_RECORDED] = '#', [REGION_PADDING] = '+', [REGION_RESERVED] = 'r',
		[REGION_GAP] = '-',      [REGION_FREE] = '.',    [REGION_UNUSED] = '_',
	};

	return (unsigned)kind < sizeof(chars) ? chars[kind] : '?';
}

static unsigned sum_of(const unsigned *cells, unsigned n)
{
	unsigned sum = 0;

	for (unsigned i = 0; i < n; i++)
		sum += cells[i];
	return sum;
}

static unsigned widest(const unsigned *cells, unsigned n)
{
	unsigned best = 0;

	for (unsigned i = 1; i < n; i++) {
		if (cells[i] > cells[best])
			best = i;
	}
	return best;
}

/*
 * Cells for each region: its share, at least one; the widest pays for the small ones. Needs n <=
 * width.
 */
static void share_cells(const struct disc_region *r, unsigned n, unsigned width, unsigned *cells)
{
	uint64_t total = 0;

	for (unsigned i = 0; i < n; i++)
		total += r[i].blocks;
	for (unsigned i = 0; i < n; i++)
		cells[i] = MAX((unsigned)((uint64_t)r[i].blocks * width / MAX(total, 1)), 1u);
	while (sum_of(cells, n) > width)
		cells[widest(cells, n)]--;
	cells[widest(cells, n)] += width - sum_of(cells, n);
}

/* More regions than cells: each cell shows what lies at its beginning. */
static void share_crowded(const struct disc_region *r, unsigned n, unsigned width, unsigned *cells)
{
	uint64_t total = 0, before = 0;

	for (unsigned i = 0; i < n; i++)
		total += r[i].blocks;
	for (unsigned i = 0; i < n; i++) {
		uint64_t first = (before * width + total - 1) / MAX(total, 1);

		before += r[i].blocks;
		cells[i] = (unsigned)((before * width + total - 1) / MAX(total, 1) - first);
	}
}

static void put_mark(char *marks, unsigned width, unsigned at, unsigned session)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", session);

	if (at + (unsigned)len <= width && marks[at] == ' ' && (!at || marks[at - 1] == ' '))
		memcpy(marks + at, text, (size_t)len);
}

void disc_bar_draw(const struct disc_region *r, unsigned n, unsigned width, char **marks,
		   char **bar)
{
	unsigned *cells, at = 0, session = 0;

	*marks = g_strnfill(width, ' ');
	*bar = g_strnfill(width, ' ');
	if (!n)
		return;
	cells = g_new0(unsigned, n);
	if (n <= width)
		share_cells(r, n, width, cells);
	else
		share_crowded(r, n, width, cells);
	for (unsigned i = 0; i < n; i++) {
		if (r[i].kind == REGION_RECORDED && r[i].session > session && at < width) {
			session = r[i].session;
			put_mark(*marks, width, at, session);
		}
		for (unsigned k = 0; k < cells[i] && at < width; k++)
			(*bar)[at++] = disc_bar_char(r[i].kind);
	}
	g_free(cells);
}
