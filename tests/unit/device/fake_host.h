/*
 * A host in this process for tests of functions and devices: some guest memory, a record of the
 * interrupts, DMA by messages where asked for; and a few device classes built by tests.
 */
#pragma once

#include "../base/loop_test.h"
#include "base/log.h"
#include "device/device.h"
#include "outboard.h"
#include "pci/build.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

enum {
	GUEST_AT = 0x100000, /* memory shared by a descriptor */
	GUEST_LEN = 0x40000,
	ROM_AT = 0x200000, /* the same, read only */
	ROM_LEN = 0x1000,
	FAR_AT = 0x400000, /* memory only the host reaches */
	FAR_LEN = 0x10000,
};

struct fake_host {
	struct pci_host host;
	struct pci_function *f;
	int fd; /* of GUEST_AT */
	uint8_t *guest;
	uint8_t *far; /* FAR_LEN bytes */
	bool level;
	unsigned raised, lowered;
	bool refuses; /* msi() says false */
	unsigned messages, last_vector, last_kind;
	unsigned decodes;
	struct pci_dma *held; /* the last message, while holds is set */
	bool holds;
	unsigned far_moves;
	struct loop_task answer;
	struct pci_dma *answering[64]; /* first come, first served */
	unsigned n_answering;
};

/* Attached, with the memory above; the driver's bus mastering is on if master. */
void fake_host_init(struct fake_host *h, struct pci_function *f, bool master);
void fake_host_fini(struct fake_host *h);
/* Answers the message that is held. */
void fake_host_release(struct fake_host *h, int res);

/* Accesses that are answered at once. */
uint64_t bar_read(struct fake_host *h, unsigned bar, uint64_t off, unsigned width);
void bar_write(struct fake_host *h, unsigned bar, uint64_t off, uint64_t value, unsigned width);
uint32_t cfg_read(struct fake_host *h, unsigned off, unsigned width);
void cfg_write(struct fake_host *h, unsigned off, uint32_t value, unsigned width);
/* Offset of a capability, or 0. */
unsigned cfg_find(struct fake_host *h, uint8_t id);

/* A device of cls with options like "a=1,b=2" (NULL: none); it must come to be. */
co_fn struct device *make_device(const struct ob_class *cls, const char *options);
/* It must not; the message, to be freed. */
co_fn char *refuse_device(const struct ob_class *cls, const char *options);

/* Runs callbacks of the host part on the loop's own stack, as hosts do. */
#define ON_LOOP(fn, arg) pci_on_loop_stack(fn, arg)
/* Lets the loop turn until cond holds, at most some seconds. */
#define WAIT_UNTIL(cond)                                                      \
	do {                                                                  \
		for (unsigned wait_i = 0; !(cond) && wait_i < 5000; wait_i++) \
			co_sleep_ns(1000000);                                 \
		assert_true(cond);                                            \
	} while (0)
