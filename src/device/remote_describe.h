/*
 * The start of a conversation: what the daemon says of itself (hello) and what a program says its
 * device is (describe). Pure.
 */
#pragma once

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>

#include "outboard.h"

enum { REMOTE_BARS = 6, REMOTE_PROPS_MAX = 64 };

struct remote_desc {
	json_t *json; /* as it came, without "format": what a later one has to be equal to */
	char *name, *help;
	struct ob_identity id;
	struct {
		unsigned flags; /* enum ob_bar_flags */
		uint64_t len;   /* 0: there is none */
	} bars[REMOTE_BARS];
	unsigned msi, msix;
	unsigned table_bar, pba_bar;
	uint64_t table_off, pba_off;
	bool pcie, pm, ack_writes, binary;
	struct ob_prop *props; /* the last one is "timeout", which is ours */
	unsigned n_props;
};

/* The line the daemon starts with, newline included, to be freed. properties: an object of texts,
 * borrowed. */
char *remote_hello(const char *id, json_t *properties, unsigned timeout_ms);

/* A line from the program without its newline. NULL: *error, also for a refusal by the program. */
struct remote_desc *remote_desc_parse(const char *line, size_t len, GError **error);
bool remote_desc_is_equal(const struct remote_desc *a, const struct remote_desc *b);
void remote_desc_free(struct remote_desc *d);

/* remote_props.c: the properties of a description, into *props. */
bool remote_props_parse(const json_t *list, struct remote_desc *d, GError **error);
void remote_props_free(struct remote_desc *d);
/* The property "timeout" of all such devices, in milliseconds. */
extern const struct ob_prop remote_timeout_prop;
