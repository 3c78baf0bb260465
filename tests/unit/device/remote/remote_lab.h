/* A device that is tests/unit/device/remote/program.py, on the fake host. */
#pragma once

#include "../fake_host.h"

#include "base/bytes.h"

enum {
	ID_VALUE = 0x0ddba115,
	REG_ID = 0x00,
	REG_SCRATCH = 0x04,
	REG_WIDE = 0x08,
	REG_LATE = 0x10,
	REG_RELEASE = 0x14,
	REG_DIE = 0x18,
	REG_DEED = 0x20,
	REG_ADDRESS = 0x28,
	REG_LENGTH = 0x30,
	REG_TRANSFER = 0x34,
	REG_ENDED = 0x38,
	REG_ERROR = 0x3c,
	REG_RESETS = 0x40,
	REG_STATE = 0x44,
	REG_KIND = 0x48,
	REG_PID = 0x4c,
};

enum deed { /* of program.py */
	    RAISE = 1,
	    LOWER,
	    SEND_MSI,
	    HANG,
	    NONSENSE,
	    WRONG_ID,
	    WRONG_MSI,
	    LONG_LINE,
	    NO_VALUE,
	    SPEAK,
	    LONG_DMA,
	    CLOSE_OUTPUT,
	    WRONG_LEVEL,
	    BYTES,
	    DEEP,
};

struct remote_lab {
	struct device *d;
	struct fake_host h;
};

struct access { /* that may take its time */
	struct pci_call call;
	struct fake_host *h;
	uint64_t off;
	uint8_t b[8];
	unsigned width;
	bool write, over;
	int res;
};

/* Of the command line: the script; which form tests use. */
extern const char *lab_program, *lab_format;

/* driver NULL: the program by exec. options (",a=b", or ""): what is added. */
co_fn void lab_open(struct remote_lab *x, const char *driver, const char *options);
co_fn void lab_close(struct remote_lab *x);
/* Options to make a device of the program. */
char *lab_options(const char *options);

co_fn void access_begin(struct access *a, struct remote_lab *x, bool write, uint64_t off,
			uint64_t value, unsigned width);
co_fn uint64_t lab_read(struct remote_lab *x, uint64_t off, unsigned width);
co_fn void lab_write(struct remote_lab *x, uint64_t off, uint64_t value, unsigned width);
/* Until a register reads value. */
co_fn void lab_await(struct remote_lab *x, uint64_t off, uint32_t value);

/* The log since lab_log_begin(), all lines of it. */
void lab_log_begin(void);
bool lab_logged(const char *text);
void lab_log_end(void);
