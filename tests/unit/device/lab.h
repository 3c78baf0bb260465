/* A device class for tests: what it declares and does is set by each test. */
#pragma once

#include "fake_host.h"

struct lab {
	int (*open)(struct ob_dev *dev); /* the test's declarations; NULL: one BAR */
	struct ob_dev *dev;
	struct device *d;
	struct fake_host h;
	bool bare; /* lab_begin() makes no host */
	unsigned closes, resets, stops, starts, changes, revokes;
	unsigned log_n;
	struct {
		char what; /* r, w */
		unsigned bar, width;
		uint64_t off, value;
	} log[64];
	uint64_t answer;
	bool defers; /* read, write, reset and stop */
	struct ob_call *call;
	bool unmaps; /* in revoked() */
};

/* The present test's; tests are one at a time. */
extern struct lab lab;
extern const struct ob_class lab_class;

/* Empties lab, makes the device and attaches the fake host with bus mastering on. */
co_fn void lab_begin(int (*open)(struct ob_dev *dev));
co_fn void lab_end(void);
/* A BAR that logs into lab. */
int lab_bar(struct ob_dev *dev, unsigned index, unsigned flags, uint64_t len);

#define LAB_TEST(name)                        \
	static void name(void **state)        \
	{                                     \
		(void)state;                  \
		run_in_loop(name##_co, NULL); \
	}
