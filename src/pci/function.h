/*
 * The seam between a PCI function and whoever shows it to a machine ("host": vfio-user, the proxy
 * protocol, KVM).
 *
 * The function side (src/device/) implements struct pci_function_ops and owns the function; the
 * host side (src/attach/) embeds struct pci_host, attaches, and forwards what the machine does. A
 * function without a host is legal and keeps its state; one host at a time.
 *
 * Threads: one loop owns a function, its host and everything here. Stacks: all calls of the host
 * part are made on the loop's own stack (watch, timer, task callbacks), never in a coroutine: they
 * run plug-ins, which expect a real stack (style.md 5.6); pci_on_loop_stack() is the way out of a
 * coroutine. Callbacks may re-enter: a device that is being read may raise an interrupt, start DMA.
 *
 * Bytes in buffers are as the bus has them (little endian). Nothing here asserts on what a guest or
 * a peer chose: index, offset and length are checked, -EINVAL.
 */
#pragma once

#include "base/co.h"
#include "pci/dma.h"

enum {
	PCI_BARS = 6,
	PCI_ROM = 6, /* index of the expansion ROM among the regions */
	PCI_REGIONS = 7,
	PCI_AREAS_MAX = 16,
	PCI_CONFIG_LEN = 256,
	PCI_CONFIG_EXPRESS_LEN = 4096,
	PCI_DOORBELLS_MAX = 256,
	PCI_STATE_MAX = 256 << 20, /* bytes of a saved state that are looked at */
};

enum { PCI_PENDING = 1 }; /* result: the answer comes by the call's done() */

enum pci_bar_flags {
	PCI_BAR_IO = 1,
	PCI_BAR_64 = 2, /* takes the next index too, which has length 0 */
	PCI_BAR_PREFETCH = 4,
};

enum pci_irq { PCI_INTX, PCI_MSI, PCI_MSIX };

enum pci_reset {
	PCI_RESET_BUS = 1,
	PCI_RESET_FUNCTION,
};

struct pci_function;

/* ==== For the host ============================================================================ */

/* One access, reset or stop. Zero it before first use; the function's until done() or the result.
 */
struct pci_call {
	/* res: 0 or -errno. Never inside the call that returned PCI_PENDING. */
	void (*done)(struct pci_call *call, int res);
	/* the function's own */
	struct pci_function *f;
	struct pci_op *op;
	uint8_t *buf; /* what is left of a read or write that goes on */
	uint64_t off;
	size_t len;
	uint8_t kind, bar, width;
};

/* A transfer the host performs by messages: one range. The host's from dma() to pci_dma_done(). */
struct pci_dma {
	uint64_t addr;
	void *buf;
	size_t len;
	bool write;                               /* to guest memory */
	void *host_priv;                          /* the host's own */
	void (*done)(struct pci_dma *d, int res); /* the function's own: use pci_dma_done() */
};

struct pci_host;

struct pci_host_ops {
	/*
	 * The level of the function's INTx output changed (the driver's disable bit is already
	 * taken into account). Called on changes only, and with the present level when one attaches
	 * high.
	 */
	void (*intx)(struct pci_host *h, bool level);
	/*
	 * Sends a vector of MSI or MSI-X. False: cannot now (no eventfd): it becomes pending, and
	 * is sent again on pci_function_msi_ready(). The driver enabled that kind; masks see flags
	 * below.
	 */
	bool (*msi)(struct pci_host *h, enum pci_irq kind, unsigned vector);
	/*
	 * Optional: moves data of windows without host memory (dma_space_add() with fd -1). Any
	 * len; splitting it is the host's. Completes by pci_dma_done(), never inside this call.
	 * Without it such windows are out of reach (-EFAULT).
	 */
	void (*dma)(struct pci_host *h, struct pci_dma *d);
	/* With dma: when it returns neither d nor its buffer is touched any more; no
	 * pci_dma_done(). */
	void (*dma_cancel)(struct pci_host *h, struct pci_dma *d);
	/*
	 * Optional: the guest's config write changed where BARs are or whether they decode (command
	 * bits 0 and 1). For hosts that decode addresses themselves.
	 */
	void (*decode_changed)(struct pci_host *h);
};

enum pci_host_flags {
	/*
	 * MSI-X table and MSI mask bits are kept by the VMM and its view counts (vfio-user):
	 * vectors go to msi() whatever our own mask bits say.
	 */
	PCI_HOST_OWNS_VECTORS = 1,
};

struct pci_host {
	const struct pci_host_ops *ops;
	unsigned flags;
	struct dma_space *dma; /* the host's; set before attaching, freed after detaching */
	struct loop *loop;
};

/* False: another host is there (EBUSY). The device learns of it before this returns. */
bool pci_function_attach(struct pci_function *f, struct pci_host *h, GError **error);
/*
 * Calls in flight are forgotten (no done() any more), transfers end with -ECANCELED (by
 * dma_cancel() where the host has them), mappings are revoked. After this the function knows
 * nothing of h; its state stays as it is. Fine if h is not attached.
 */
void pci_function_detach(struct pci_function *f, struct pci_host *h);
const char *pci_function_name(const struct pci_function *f);

/* 256 or 4096. */
unsigned pci_function_config_len(const struct pci_function *f);
/* Any off and len inside configuration space; 0 or -EINVAL. Always answered at once. */
int pci_function_config_read(struct pci_function *f, unsigned off, void *buf, size_t len);
int pci_function_config_write(struct pci_function *f, unsigned off, const void *buf, size_t len);

struct pci_area {
	uint64_t off, len;
};

struct pci_bar {
	uint64_t len; /* 0: there is none */
	unsigned flags;
	/* Memory shared with the guest. fd is sealed against shrinking and growing; offsets in it
	 * are those in the BAR. It is the function's: dup to keep it. */
	int fd; /* -1: no areas */
	unsigned n_areas;
	struct pci_area areas[PCI_AREAS_MAX]; /* whole pages, in order, apart */
};
/* index 0 to 5, PCI_ROM. Any other: NULL. */
const struct pci_bar *pci_function_bar(const struct pci_function *f, unsigned index);
/* Where the guest put it; false: it does not decode now (command register, ROM enable bit). */
bool pci_function_bar_addr(const struct pci_function *f, unsigned index, uint64_t *addr);

/*
 * Reads or writes registers; areas too. 0: done; -EINVAL: no such BAR, or outside it; PCI_PENDING:
 * call->done() follows, buf stays the function's until then. Any len; accesses no bus makes are
 * split into naturally aligned ones of 1, 2, 4 or 8 bytes. The order of calls is kept only
 * by making the next after the answer: a later one may overtake a pending one.
 */
int pci_function_read(struct pci_function *f, unsigned bar, uint64_t off, void *buf, size_t len,
		      struct pci_call *call);
int pci_function_write(struct pci_function *f, unsigned bar, uint64_t off, const void *buf,
		       size_t len, struct pci_call *call);
/* Nobody waits for the answer any more: done() will not be called. Fine if it is not in flight. */
void pci_call_cancel(struct pci_call *call);

/*
 * 0 or PCI_PENDING. The core part (config space, INTx low, pending vectors, transfers -ECANCELED)
 * is done when it returns; pending is only the device's own part.
 */
int pci_function_reset(struct pci_function *f, enum pci_reset kind, struct pci_call *call);
/*
 * The machine stops: no DMA and no interrupt after the answer. Transfers in flight are finished
 * first. Accesses stay legal. 0 or PCI_PENDING; a stopped function stays stopped. -EBUSY: another
 * call waits for the same.
 */
int pci_function_stop(struct pci_function *f, struct pci_call *call);
void pci_function_start(struct pci_function *f);
bool pci_function_is_stopped(const struct pci_function *f);

/* Vectors the device has: INTx 0 or 1, MSI to 32, MSI-X to 2048. */
unsigned pci_function_vectors(const struct pci_function *f, enum pci_irq kind);
/* Whether its driver enabled it (INTx: has not disabled it). */
bool pci_function_irq_enabled(const struct pci_function *f, enum pci_irq kind);
/* The INTx output, disable bit included. */
bool pci_function_intx_level(const struct pci_function *f);
/* msi() may work now where it said false: pending ones of [first, first + count) are sent. */
void pci_function_msi_ready(struct pci_function *f, enum pci_irq kind, unsigned first,
			    unsigned count);
/* Address and data of a vector, for hosts that send messages themselves; false: no such vector. */
bool pci_function_msi_message(const struct pci_function *f, enum pci_irq kind, unsigned vector,
			      uint64_t *addr, uint32_t *data);

struct pci_doorbell_info {
	unsigned bar;
	uint64_t off;
	unsigned width; /* 0: any */
	bool has_match;
	uint64_t match;
	int fd; /* eventfd, made when first asked for; the function's: dup to keep it. -1: none left
		 */
};
unsigned pci_function_doorbells(const struct pci_function *f);
bool pci_function_doorbell(struct pci_function *f, unsigned i, struct pci_doorbell_info *out);

/* Completes a transfer of pci_host_ops.dma: 0 or -errno. */
void pci_dma_done(struct pci_dma *d, int res);

/* Complete state as bytes (to be freed); the function must be stopped. NULL: *error. */
GByteArray *pci_function_save(struct pci_function *f, GError **error);
/*
 * Into a stopped function of the same kind. False: *error, and the function was reset (it is still
 * stopped). data comes from outside and is checked.
 */
bool pci_function_restore(struct pci_function *f, const void *data, size_t len, GError **error);

/* From a coroutine: runs fn(arg) on the loop's own stack, returns when it did. */
co_fn void pci_on_loop_stack(void (*fn)(void *arg), void *arg);
