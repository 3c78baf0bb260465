/*
 * What happens when a peer shortens a file that we have mapped: the fault is caught, zero pages
 * take the place of the whole mapping, and it is marked as torn. Without this one guest's VMM could
 * end the process of all of them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct gmem_guard;

/* Watches [base, base + len), any thread; NULL: no room left (the mapping is then refused). */
struct gmem_guard *gmem_guard_new(void *base, size_t len);
void gmem_guard_free(struct gmem_guard *g); /* before munmap(); NULL is fine */
bool gmem_guard_is_torn(const struct gmem_guard *g);
