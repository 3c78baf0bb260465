/* Nearest names, by the optimal string alignment distance. */
#include "cli/suggest.h"

#include <string.h>

enum { WORD_MAX = 64 }; /* longer ones are no typing mistakes */

unsigned suggest_distance(const char *a, const char *b)
{
	unsigned rows[3][WORD_MAX + 1];
	size_t la = strlen(a), lb = strlen(b);

	if (la > WORD_MAX || lb > WORD_MAX)
		return WORD_MAX;
	for (size_t j = 0; j <= lb; j++)
		rows[0][j] = (unsigned)j;
	for (size_t i = 1; i <= la; i++) {
		unsigned *row = rows[i % 3], *above = rows[(i + 2) % 3],
			 *above2 = rows[(i + 1) % 3];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= lb; j++) {
			unsigned best = above[j - 1] + (a[i - 1] != b[j - 1]);

			best = MIN(best, MIN(above[j], row[j - 1]) + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				best = MIN(best, above2[j - 2] + 1);
			row[j] = best;
		}
	}
	return rows[la % 3][lb];
}

const char *suggest_nearest(const char *typed, const char *const *names, unsigned n)
{
	const char *nearest = NULL;
	unsigned best = (unsigned)strlen(typed) / 3 + 1; /* about one slip in three letters */

	for (unsigned i = 0; i < n; i++) {
		unsigned d = suggest_distance(typed, names[i]);

		if (g_str_has_prefix(names[i], typed) && strlen(typed) > 1)
			d = 1;
		if (d > best || (d == best && nearest))
			continue;
		nearest = names[i];
		best = d;
	}
	return nearest;
}
