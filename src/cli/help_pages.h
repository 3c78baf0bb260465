/* Made by tools/md2man from docs/man at build time: the manual pages as plain text. */
#pragma once

struct help_page {
	const char *command; /* "disc burn"; "" for outboard itself */
	const char *text;
};

extern const struct help_page help_pages[]; /* ends with command NULL */
