/* "Did you mean": the nearest of the known names to one that was mistyped. */
#pragma once

#include <glib.h>

/* Edits (insert, delete, replace, swap of neighbours) that turn a into b. */
unsigned suggest_distance(const char *a, const char *b);
/* The nearest of the n names if it is near enough to be what was meant, else NULL. */
const char *suggest_nearest(const char *typed, const char *const *names, unsigned n);
