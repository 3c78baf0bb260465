/*
 * key=value,key=value as QEMU users know it: ",," is a comma inside a value, a bare key is key=on
 * (or the value of the first key where the caller names an implied one). Every set-up function
 * takes its options from one of these; what nobody asked for is refused by opts_check_used() with
 * the known names.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct opts;

/* implied: key of a first item without '=' (NULL: none). Repeated keys are an error. */
struct opts *opts_parse(const char *text, const char *implied, GError **error);
struct opts *opts_new(void);
void opts_free(struct opts *o);
void opts_set(struct opts *o, const char *key, const char *value);
/*
 * A copy with only the keys that begin with prefix, which is taken off ("file." turns "file.driver"
 * into "driver").
 */
struct opts *opts_sub(struct opts *o, const char *prefix);
bool opts_is_empty(const struct opts *o);

/* Each marks the key as used; the value of an absent key is the default. */
const char *opts_get(struct opts *o, const char *key); /* NULL: absent; owned by o */
bool opts_get_bool(struct opts *o, const char *key, bool *value,
		   GError **error); /* on|off|yes|no|true|false */
bool opts_get_u64(struct opts *o, const char *key, uint64_t min, uint64_t max, uint64_t *value,
		  GError **error);
bool opts_get_size(struct opts *o, const char *key, uint64_t *value,
		   GError **error); /* K M G T P, powers of 1024 */
bool opts_get_enum(struct opts *o, const char *key, const char *const *names, int *value,
		   GError **error);
bool opts_check_used(struct opts *o, const char *what, GError **error);
/* Each pair in its order; marks nothing as used. */
void opts_foreach(const struct opts *o, void (*fn)(const char *key, const char *value, void *arg),
		  void *arg);

/* "100M", "4.5G", "512" to bytes; the whole text must be used. */
bool size_parse(const char *text, uint64_t *bytes, GError **error);
/* "4.7 GB"-like text for people, in a new string. */
char *size_text(uint64_t bytes);
