/* Inside a function: what the files of src/pci share. Nothing outside includes this. */
#pragma once

#include "pci/build.h"

enum { PCI_VENDORS_MAX = 16, PCI_MSI_MAX = 32, PCI_MSIX_MAX = 2048 };

/* A callback of the device that may be answered later. */
struct pci_frame {
	struct pci_frame *outer;
	struct pci_op *op; /* made by pci_function_defer() */
	bool may_defer;
};

struct pci_op {
	struct pci_function *f;
	struct pci_op *prev, *next;
	struct pci_frame *frame; /* the callback has not returned yet */
	struct pci_call *call;   /* who waits; NULL: nobody any more */
	bool finished;
	uint64_t value;
};

enum pci_call_kind { CALL_READ = 1, CALL_WRITE, CALL_RESET };

struct pci_region {
	struct pci_bar bar;
	uint8_t *memory; /* of its areas */
	bool special;    /* has areas, doorbells or MSI-X inside */
};

struct pci_doorbell {
	struct pci_function *f;
	struct pci_doorbell_info info;
	struct loop_watch watch;
	unsigned index;
	bool rang; /* while stopped */
};

struct pci_vendor {
	unsigned at, len; /* of the body */
};

struct pci_msix {
	unsigned n; /* 0: none */
	unsigned table_bar, pba_bar;
	uint64_t table_off, pba_off;
	uint8_t *table;
	uint8_t *pba;
};

struct pci_function {
	struct loop *loop;
	char *name;
	const struct pci_function_ops *ops;
	void *priv;
	struct pci_host *host; /* NULL: none */

	struct pci_config config;
	struct pci_identity id;
	unsigned pm_at, msi_at, msix_at, express_at; /* 0: no such capability */
	struct pci_vendor vendors[PCI_VENDORS_MAX];
	unsigned n_vendors;
	struct pci_region regions[PCI_REGIONS];

	unsigned msi_vectors;
	uint32_t msi_pending;
	struct pci_msix msix;

	struct pci_frame *frame;
	struct pci_op *ops_busy; /* all deferred answers */
	struct pci_op *ops_free;

	struct pci_op *stop_op;     /* the device is not ready yet */
	struct pci_call *stop_call; /* who waits for the stop */

	struct dma_listener listener;
	struct pci_transfer *transfers, *transfers_tail;
	struct loop_task transfer_task;
	struct pci_mapping *mappings;

	struct pci_doorbell **doorbells;
	unsigned n_doorbells;

	bool intx_level; /* what the device wants */
	bool intx_out;   /* what the host was told */
	bool sealed;
	bool stopped, stopping;
	bool freeing; /* when the loop ran transfer_task */
};

/* config_access.c */
void pci_registers_reset(struct pci_function *f);
void pci_tell_changed(struct pci_function *f);

/* function.c: a stop is complete when the device is ready and no transfer is left. */
void pci_stop_check(struct pci_function *f);

/* declare.c */
void pci_region_fini(struct pci_region *r);

/* access.c */
void pci_frame_enter(struct pci_function *f, struct pci_frame *fr, bool may_defer);
/* True: the answer comes later, and call (may be NULL) will get it. */
bool pci_frame_leave(struct pci_function *f, struct pci_frame *fr, struct pci_call *call,
		     uint64_t *value);
void pci_forget_calls(struct pci_function *f);

/* irq.c */
void pci_intx_update(struct pci_function *f);
void pci_msi_flush(struct pci_function *f);
void pci_msi_forget(struct pci_function *f);
/* Those inside the table or the pending bits. False: it is not there. */
bool pci_msix_read(const struct pci_function *f, unsigned bar, uint64_t off, unsigned width,
		   uint64_t *value);
bool pci_msix_write(struct pci_function *f, unsigned bar, uint64_t off, uint64_t value,
		    unsigned width);
bool pci_is_awake(const struct pci_function *f); /* D0 */
bool pci_is_master(const struct pci_function *f);

/* transfer.c */
void pci_transfers_init(struct pci_function *f);
void pci_transfers_attach(struct pci_function *f);
void pci_transfers_detach(struct pci_function *f);
void pci_transfers_cancel(struct pci_function *f, int res);
/* Frees f, now or when the loop ran the task. */
void pci_transfers_fini(struct pci_function *f);
void pci_transfers_kick(struct pci_function *f);
void pci_mappings_revoke(struct pci_function *f);

/* doorbell.c */
bool pci_doorbell_write(struct pci_function *f, unsigned bar, uint64_t off, uint64_t value,
			unsigned width);
void pci_doorbells_close(struct pci_function *f); /* descriptors; made anew when asked for */
void pci_doorbells_start(struct pci_function *f);
void pci_doorbells_free(struct pci_function *f);
