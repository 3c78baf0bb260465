/* A disc's regions drawn as one bar of characters. Pure. */
#pragma once

#include "disc/map.h"

char disc_bar_char(enum disc_region_kind kind);
/*
 * Two lines of width characters: *marks has a session's number where it begins, *bar one character
 * for the kind. As long as there is room every region gets at least one. Both are the caller's to
 * g_free().
 */
void disc_bar_draw(const struct disc_region *regions, unsigned n, unsigned width, char **marks,
		   char **bar);
