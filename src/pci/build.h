/*
 * The device's side of a PCI function: making one, and what it may do. function.h is the host's
 * side. Everything runs on the function's loop and, for ops, on its own stack.
 */
#pragma once

#include "pci/config.h"
#include "pci/function.h"

/* What the device implements. Optional ones may be NULL. */
struct pci_function_ops {
	/*
	 * One aligned access of width 1, 2, 4 or 8 inside the BAR and outside its areas. May use
	 * pci_function_defer().
	 */
	uint64_t (*read)(struct pci_function *f, unsigned bar, uint64_t off, unsigned width);
	void (*write)(struct pci_function *f, unsigned bar, uint64_t off, uint64_t value,
		      unsigned width);
	void (*doorbell)(struct pci_function *f, unsigned index);
	/* A guest wrote to the body of a vendor capability (number cap). */
	void (*vendor_written)(struct pci_function *f, unsigned cap, unsigned off, unsigned len);
	/* The core's part is done. Optional; may use pci_function_defer(). */
	void (*reset)(struct pci_function *f, enum pci_reset kind);
	void (*stop)(struct pci_function *f);
	void (*start)(struct pci_function *f);
	/* Bus mastering, interrupt modes or the host changed. */
	void (*changed)(struct pci_function *f);
	/* The device's own part of the state; restore: false and *error, nothing may be kept. */
	bool (*save)(struct pci_function *f, GByteArray *out, GError **error);
	bool (*restore)(struct pci_function *f, const void *data, size_t len, GError **error);
};

struct pci_function *pci_function_new(struct loop *loop, const char *name,
				      const struct pci_function_ops *ops, void *priv);
/* Detached before. NULL is fine. */
void pci_function_free(struct pci_function *f);
void *pci_function_priv(const struct pci_function *f);
struct loop *pci_function_loop(const struct pci_function *f);

/* Declarations, until pci_function_seal(); each is checked, false with *error. */
bool pci_function_set_identity(struct pci_function *f, const struct pci_identity *id,
			       GError **error);
bool pci_function_add_bar(struct pci_function *f, unsigned index, unsigned flags, uint64_t len,
			  const struct pci_area *areas, unsigned n_areas, GError **error);
bool pci_function_add_msi(struct pci_function *f, unsigned vectors, bool maskable, GError **error);
bool pci_function_add_msix(struct pci_function *f, unsigned vectors, unsigned table_bar,
			   uint64_t table_off, unsigned pba_bar, uint64_t pba_off, GError **error);
bool pci_function_add_express(struct pci_function *f, GError **error);
bool pci_function_add_pm(struct pci_function *f, GError **error);
/* Its number to *cap. writable may be NULL. */
bool pci_function_add_vendor(struct pci_function *f, const void *body, const void *writable,
			     size_t len, unsigned *cap, GError **error);
/* Registers that the function keeps and nobody looks at; len bytes at off, 0x40 to 0xff. */
bool pci_function_add_registers(struct pci_function *f, unsigned off, const void *initial,
				const void *writable, size_t len, GError **error);
/* Its index to *index. */
bool pci_function_add_doorbell(struct pci_function *f, const struct pci_doorbell_info *d,
			       unsigned *index, GError **error);
/* The end of the declarations: what contradicts itself is refused, missing MSI-X BARs are made. */
bool pci_function_seal(struct pci_function *f, GError **error);
bool pci_function_is_sealed(const struct pci_function *f);

/* All areas of a BAR at their offsets, or NULL. */
void *pci_function_memory(const struct pci_function *f, unsigned bar);
int pci_function_vendor_read(struct pci_function *f, unsigned cap, size_t off, void *buf,
			     size_t len);
int pci_function_vendor_write(struct pci_function *f, unsigned cap, size_t off, const void *buf,
			      size_t len);

bool pci_function_is_attached(const struct pci_function *f);
bool pci_function_can_dma(const struct pci_function *f);
void pci_function_set_intx(struct pci_function *f, bool level);
/* 0; -EINVAL no such vector; -ENOTCONN not enabled or no host; -EACCES no bus mastering or D3. */
int pci_function_send_msi(struct pci_function *f, unsigned vector);

/* In read, write, reset and stop: the answer comes later. NULL: elsewhere, or for the second time.
 */
struct pci_op;
struct pci_op *pci_function_defer(struct pci_function *f);
/* value counts for read. Takes op. */
void pci_op_done(struct pci_op *op, uint64_t value);

enum {
	PCI_SYNC_MAX = 1 << 20, /* bytes of one synchronous transfer */
	PCI_SG_MAX = 1024,      /* ranges of one synchronous transfer */
};

/* At once: 0; -EACCES, -ENOTCONN, -EFAULT, -EPERM, -EAGAIN, -E2BIG, -EINVAL: nothing was moved. */
int pci_function_dma_sync(struct pci_function *f, unsigned access, const struct pci_sg *sg,
			  unsigned n_sg, void *buf);
/* A mapping that ends with its windows, a reset or the host: m->map.revoke() is called then. */
struct pci_mapping {
	struct dma_mapping map;
	struct pci_function *f;
	struct pci_mapping *prev, *next;
};
/* As dma_space_map(), with -EACCES and -ENOTCONN. */
int pci_function_dma_map(struct pci_function *f, unsigned access, uint64_t addr, uint64_t len,
			 struct iovec *out, unsigned max, struct pci_mapping *m);
/* As dma_space_map_sg(), with the same two. */
int pci_function_dma_map_sg(struct pci_function *f, unsigned access, const struct pci_sg *sg,
			    unsigned n_sg, struct iovec *out, unsigned max, struct dma_span *spans,
			    struct pci_mapping *m);
void pci_mapping_release(struct pci_mapping *m);

/* An asynchronous transfer; zero it. sg and buf are borrowed until done(). */
struct pci_transfer {
	unsigned access;
	const struct pci_sg *sg;
	unsigned n_sg;
	uint8_t *buf;
	/* Once, never inside pci_function_dma_start(); res as in the SDK. */
	void (*done)(struct pci_transfer *t, int res);
	/* the function's own */
	struct pci_function *f;
	struct pci_transfer *prev, *next;
	unsigned at_sg;
	uint64_t at_off;
	bool by_host, over;
	int res;
	struct pci_dma dma;
};
void pci_function_dma_start(struct pci_function *f, struct pci_transfer *t);
/* Before pci_function_free(): transfers end with -ECANCELED, mappings are revoked. */
void pci_function_dma_end(struct pci_function *f);
