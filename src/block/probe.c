/*
 * Which format a file looks like (formats.md 1.2). Besides the drivers' own probes there are the
 * signatures of formats that other programs would see in such a file: a disk that is raw because
 * nothing was recognised must not become one of those by what a guest writes into it, and a file
 * that is one must not be taken for raw.
 */
#include <string.h>

#include "base/bytes.h"
#include "block/driver.h"

static const struct {
	const char *format;
	unsigned off, len;
	const char *magic;
} signatures[] = {
	/* clang-format off */
	{"qcow",      0,    8, "QFI\xfb\0\0\0\1"},
	{"qed",       0,    4, "QED\0"},
	{"vdi",       0x40, 4, "\x7f\x10\xda\xbe"},
	{"vhdx",      0,    8, "vhdxfile"},
	{"vmdk",      0,    4, "KDMV"},
	{"vmdk",      0,    4, "COWD"},
	{"vpc",       0,    8, "conectix"},
	{"parallels", 0,   16, "WithoutFreeSpace"},
	{"parallels", 0,   16, "WithouFreSpacExt"},
	{"bochs",     0,   22, "Bochs Virtual HD Image"},
	{"luks",      0,    6, "LUKS\xba\xbe"},
	{"cloop",     0,   22, "#!/bin/sh\n#V2.0 Format"},
	/* clang-format on */
};

/* A VMDK descriptor: comments and blank lines, then version=1, 2 or 3. */
static bool is_vmdk_text(const uint8_t *head, size_t len)
{
	size_t i = 0;

	while (i < len &&
	       (head[i] == '#' || head[i] == ' ' || head[i] == '\n' || head[i] == '\r')) {
		while (i < len && head[i] != '\n')
			i++;
		i++;
	}
	return i + 9 <= len && !memcmp(head + i, "version=", 8) && head[i + 8] >= '1' &&
	       head[i + 8] <= '3';
}

const char *block_probe(const uint8_t *head, size_t len, const char *name)
{
	const struct block_driver *const *all = block_drivers();
	const char *best = "raw";
	int best_score = 1;

	for (unsigned i = 0; all[i]; i++) {
		int score = all[i]->probe ? all[i]->probe(head, len, name) : 0;

		if (score > best_score) {
			best = all[i]->name;
			best_score = score;
		}
	}
	if (best_score > 1)
		return best;
	for (unsigned i = 0; i < G_N_ELEMENTS(signatures); i++) {
		if (len >= signatures[i].off + signatures[i].len &&
		    !memcmp(head + signatures[i].off, signatures[i].magic, signatures[i].len))
			return signatures[i].format;
	}
	return is_vmdk_text(head, len) ? "vmdk" : "raw";
}
