/* Inside of the vfio-user server: what its files share. */
#pragma once

#include "attach/vfio_user.h"
#include "attach/vfio_user/proto.h"
#include "attach/vfio_user/version.h"
#include "attach/vfio_user/wire.h"
#include "base/log.h"

enum {
	VFU_CONNS_MAX = 16,        /* of a socket, those that are ending included */
	VFU_DMA_FLIGHT = 8,        /* messages of ours without an answer */
	VFU_WAITING_MAX = 4 << 20, /* bytes of accesses that wait for the one before */
	VFU_UNMAPS_MAX = 4096,     /* unmaps that wait for the device */
	VFU_ERRNO_MAX = 4095,
};

#define VFU_HANDSHAKE_NS (5 * 1000000000ull) /* to the end of VERSION */
#define VFU_ACCESS_NS    (4 * 1000000000ull) /* QEMU gives up after 5 s, for good */
#define VFU_UNMAP_NS     (3 * 1000000000ull)
#define VFU_DMA_NS       (30 * 1000000000ull)
#define VFU_DMA_RETRY_NS 1000000000ull
#define VFU_DRAIN_NS     500000000ull /* what arrives until then is read and forgotten */
#define VFU_DRAIN_MAX_NS (2 * 1000000000ull)

struct vfu_conn;

/* ---- Interrupts (irq.c) ---- */
struct vfu_irqs {
	int *fds[VFU_IRQS]; /* of each vector, -1: none */
	unsigned n[VFU_IRQS];
	bool masked; /* INTx: signalled, and not unmasked since */
	bool told;   /* its level has not dropped since the signal */
	struct loop_timer again;
	int resample; /* readable on the guest's EOI, or -1 */
	struct loop_watch resample_watch;
};

/* ---- DMA by messages (dma_msg.c) ---- */
enum vfu_layout { VFU_LAYOUT_UNKNOWN, VFU_LAYOUT_PROBING, VFU_LAYOUT_SPEC, VFU_LAYOUT_OLD };

struct vfu_transfer;
struct vfu_dma_flight {
	bool used;
	uint16_t id;
	bool write, probe;
	struct vfu_transfer *transfer; /* NULL: nobody waits for it any more */
	size_t off, len;
	uint64_t sent_ns;
};

struct vfu_dma {
	enum vfu_layout layout;
	uint16_t next_id;
	struct vfu_transfer *first, *last; /* those with something left to send, in order */
	struct vfu_dma_flight flights[VFU_DMA_FLIGHT];
	struct loop_timer timer;
};

/* ---- Commands that are carried out one after the other (ordered.c) ---- */
struct vfu_waiting;
struct vfu_ordered {
	bool busy; /* the call below is in flight */
	struct pci_call call;
	struct loop_timer limit;
	uint16_t id, command;
	uint32_t flags;
	void (*done)(struct vfu_conn *c, int res); /* of the step in flight */
	uint8_t *data; /* of the access: read to it, or written from it */
	size_t room;
	uint64_t off;
	uint32_t region, count;
	/* of WRITE_MULTI */
	uint8_t *entries;
	unsigned n_entries, next_entry;
	struct vfu_waiting *first, **last; /* commands behind it */
	size_t waiting_len;
};

/* ---- Migration (migration.c) ---- */
struct vfu_migration {
	enum vfu_mig_state state, want;
	GByteArray *data; /* saved, or coming in */
	size_t read_off;
};

enum vfu_conn_state {
	VFU_FRESH,    /* before VERSION */
	VFU_ATTACHED, /* it has the function */
	VFU_DRAINING, /* our side is shut down */
	VFU_DEAD,     /* waits to be freed */
};

struct vfu_conn { /* one client */
	struct pci_host host;
	struct vfio_user *v;
	struct vfu_conn *next;
	unsigned number; /* for messages */
	enum vfu_conn_state state;
	bool failed; /* by us: to be ended as soon as the stack allows */
	bool stopped_function;
	struct wire wire;
	struct loop_watch watch;
	struct loop_timer timer; /* handshake, draining */
	uint64_t drain_end_ns;
	struct loop_task end;  /* frees it */
	struct loop_task more; /* messages may wait in the buffer */
	struct vfu_caps caps;
	struct vfu_irqs irqs;
	struct vfu_dma dma;
	struct vfu_ordered ordered;
	struct vfu_migration mig;
	struct vfu_pending_unmap *unmaps;
	unsigned n_unmaps;
};

struct vfio_user {
	struct loop *loop;
	struct pci_function *function;
	char *path;
	int fd;
	struct loop_watch listen;
	struct loop_timer retry; /* of accepting, when the process has no descriptor left */
	bool listening, ending;
	struct vfu_conn *conns;
	unsigned n_conns, next_number;
	struct co_queue gone;
	struct vfio_user_stats stats;
	struct log_limit limit;
};

static inline struct vfu_conn *conn_of_host(struct pci_host *h)
{
	return (struct vfu_conn *)((char *)h - offsetof(struct vfu_conn, host));
}

/* server.c */
void vfu_listen(struct vfio_user *v, bool on);

/* conn.c */
void vfu_conn_new(struct vfio_user *v, int fd); /* takes fd */
/* Ends it in the orderly way: nothing of it touches the function any more when this returns. */
void vfu_conn_end(struct vfu_conn *c);
/* As that, as soon as the message at hand is done with, and says why. */
void vfu_conn_fail(struct vfu_conn *c, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
/*
 * Somebody shortened a file behind a window, so that data of transfers may be lost: ends the
 * connection. Looked at before the guest can learn of anything: at messages and interrupts.
 */
bool vfu_is_torn(struct vfu_conn *c);
/* Answers. Nothing is sent when the client wants no reply or is gone; errnum is positive. */
void vfu_reply(struct vfu_conn *c, uint16_t id, uint16_t command, uint32_t flags,
	       const struct iovec *parts, unsigned n_parts, const int *fds, unsigned n_fds);
void vfu_reply_bytes(struct vfu_conn *c, const struct vfu_msg *m, const void *payload, size_t len);
void vfu_reply_error(struct vfu_conn *c, uint16_t id, uint16_t command, uint32_t flags, int errnum,
		     const char *fmt, ...) G_GNUC_PRINTF(6, 7);
/* Sends a command of ours. */
void vfu_send_command(struct vfu_conn *c, uint16_t id, uint16_t command, const struct iovec *parts,
		      unsigned n_parts);
/* Looks for messages that are in the buffer already, soon. */
void vfu_conn_more(struct vfu_conn *c);

/*
 * A handler answers (now or later), by itself or with a positive errno and *error that its caller
 * sends. Sizes were checked against the row.
 */
typedef int vfu_handler(struct vfu_conn *c, struct vfu_msg *m, GError **error);
int vfu_refuse(GError **error, int errnum, const char *fmt, ...) G_GNUC_PRINTF(3, 4); /* errnum */

struct vfu_row {
	const char *name;
	vfu_handler *handle;
	size_t len_min, len_max; /* of the payload */
	unsigned fds_max;
	bool ordered; /* waits for the ordered command before it */
};
extern const struct vfu_row vfu_rows[VFU_COMMANDS]; /* conn_rows.c */

/* info.c */
vfu_handler vfu_get_info, vfu_get_region_info, vfu_get_region_io_fds, vfu_get_irq_info;

/* irq.c */
vfu_handler vfu_set_irqs;
void vfu_irqs_init(struct vfu_conn *c);
void vfu_irqs_fini(struct vfu_conn *c);
unsigned vfu_irq_count(const struct vfu_conn *c, unsigned index);
void vfu_host_intx(struct pci_host *h, bool level);
bool vfu_host_msi(struct pci_host *h, enum pci_irq kind, unsigned vector);

/* dma.c */
vfu_handler vfu_dma_map, vfu_dma_unmap;
void vfu_dma_forget_unmaps(struct vfu_conn *c);

/* dma_msg.c */
void vfu_dma_init(struct vfu_conn *c);
void vfu_dma_fini(struct vfu_conn *c); /* the function was detached: no transfer is left */
void vfu_host_dma(struct pci_host *h, struct pci_dma *d);
void vfu_host_dma_cancel(struct pci_host *h, struct pci_dma *d);
void vfu_dma_answer(struct vfu_conn *c, const struct vfu_msg *m);

/* ordered.c */
vfu_handler vfu_region_read, vfu_region_write, vfu_region_write_multi, vfu_reset;
void vfu_ordered_init(struct vfu_conn *c);
void vfu_ordered_fini(struct vfu_conn *c);
/* Keeps a copy of m for when the command in flight is done; false: too many wait. */
bool vfu_ordered_wait(struct vfu_conn *c, const struct vfu_msg *m);
/* Begins an ordered command, and says what is to come after a step that is pending. */
void vfu_ordered_begin(struct vfu_conn *c, const struct vfu_msg *m);
void vfu_ordered_step(struct vfu_conn *c, int res, void (*done)(struct vfu_conn *c, int res));
/* Carries a message out (conn.c), ordered or not. */
void vfu_dispatch(struct vfu_conn *c, struct vfu_msg *m);

/* migration.c */
vfu_handler vfu_feature, vfu_mig_data_read, vfu_mig_data_write;
void vfu_migration_reset(struct vfu_conn *c); /* back to running */
