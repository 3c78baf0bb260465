/*
 * What a command takes: its options and operands as a table, and what was given as a list. The
 * prose of the options is in docs/man; tests hold table, pages and completion together.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

enum { /* exit status of every command */
       STATUS_DONE = 0,
       STATUS_FAILED = 1,
       STATUS_USAGE = 2,
};

enum option_flags {
	OPTION_MANY = 1,  /* may be given more than once */
	OPTION_FILE = 2,  /* its value is a file name (completion) */
	OPTION_EMPTY = 4, /* its value may be empty */
};

struct cli_option {
	const char *name;    /* without dashes */
	const char *value;   /* what its value is called; NULL: a switch */
	char letter;         /* 0: no short form */
	unsigned flags;      /* enum option_flags */
	const char *choices; /* "a|b|c" when only these are right (completion), or NULL */
};

struct args;

struct cli_command {
	const char *name; /* "disc create" */
	const struct cli_option
		*options;     /* ends with name NULL; the common ones come in addition */
	const char *operands; /* as in the usage: "FILE IMAGE", "" for none */
	unsigned min_operands, max_operands;
	bool takes_rest;                     /* what follows "--" is somebody else's command line */
	int (*run)(const struct args *args); /* an exit status */
};

/* Options that every command has: --help, --verbose, --loop. */
extern const struct cli_option cli_common_options[];

/*
 * NULL with a message for the user (status STATUS_USAGE) on error. argv borrows: it must outlive
 * the result.
 */
struct args *args_parse(const struct cli_command *command, char **argv, GError **error);
void args_free(struct args *args);

const struct cli_command *args_command(const struct args *args);
unsigned args_operands(const struct args *args);
const char *args_operand(const struct args *args, unsigned i); /* NULL: not given */
char **args_rest(const struct args *args); /* behind "--", NULL-terminated; never NULL */
bool args_rest_given(const struct args *args);
/* name must be in the command's table. */
bool args_has(const struct args *args, const char *name);
unsigned args_count(const struct args *args, const char *name);
const char *args_value(const struct args *args, const char *name); /* the last one given, or NULL */
const char *args_value_n(const struct args *args, const char *name,
			 unsigned n); /* n-th of a repeated one, or NULL */
