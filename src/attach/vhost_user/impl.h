/* Inside of the vhost-user back end: what its files share. */
#pragma once

#include "attach/vhost_user.h"
#include "attach/vhost_user/proto.h"
#include "base/log.h"
#include "virtio/virtio_device.h"

struct vu_conn;

/* What hangs behind the protocol: kinds.c has one for each. */
struct vu_kind {
	const char *name;
	const struct virtio_device_ops *ops;
	unsigned other_queues;                            /* before the request queues */
	unsigned default_queues, max_queues;              /* of requests */
	uint64_t (*features)(const struct vhost_user *v); /* of the device alone */
	struct virtio_device *(*make)(const struct vhost_user *v,
				      const struct virtio_device_options *o);
};
extern const struct vu_kind vu_kind_scsi, vu_kind_blk;

struct vu_msg {
	uint32_t request, flags, size;
	bool reply;   /* the handler made one: payload, size, reply_fd */
	int reply_fd; /* goes along and is closed afterwards, or -1 */
	unsigned n_fds;
	int fds[VU_FDS_MAX]; /* a handler that keeps one puts -1 in its place */
	uint8_t payload[VU_PAYLOAD_MAX] __attribute__((aligned(8)));
};

struct vu_vring {
	struct vu_conn *c;
	unsigned index;
	struct virtq q;
	bool has_addr, enabled;
	bool started; /* between the start and GET_VRING_BASE */
	bool watching;
	bool used_before; /* on this connection */
	unsigned num;
	uint64_t desc, used, avail;
	uint32_t base;
	int kick_fd, call_fd, err_fd; /* -1: none */
	struct loop_watch kick;
};

struct vu_conn { /* one front end */
	struct vhost_user *v;
	unsigned slot;
	char *name;
	int fd;
	int backend_fd; /* for requests of ours, kept for the front end's sake */
	bool closing;   /* the socket is gone or given up; commands may still run */
	bool failed;    /* by us: the rings must not be touched any more */
	bool sending;
	unsigned busy; /* others use it across a yield */
	uint64_t features, protocol;
	struct gmem *mem;
	struct inflight *inflight;
	bool history; /* the in-flight buffer given comes from an earlier life of the back end */
	bool was_reset;
	bool begun;   /* a ring has started since the connection or a reset */
	bool resumed; /* the driver was in the middle of its work when it connected */
	struct virtio_device *device;
	struct vu_msg msg;
	unsigned n_rings;
	struct vu_vring rings[];
};

struct vhost_user {
	struct loop *loop;
	char *path;
	int fd;
	struct loop_watch listen;
	struct loop_timer retry; /* of accepting, when the process has no descriptor left */
	bool listening;
	bool ending;
	bool packed, config;
	const struct vu_kind *kind;
	unsigned n_rings; /* all of them */
	unsigned max_clients;
	struct scsi_lu *targets[VHOST_USER_TARGETS_MAX];
	unsigned n_targets;
	struct vhost_user_disk disk;
	struct vu_conn **conns;        /* max_clients of them, NULL: free */
	struct co_queue gone;          /* waits for a connection to end */
	struct vhost_user_stats stats; /* of connections that ended, and counters */
	struct log_limit limit;
};

/* server.c */
void vu_listen(struct vhost_user *v, bool on);

/* conn.c: co_start() runs it; it ends with the connection */
struct vu_conn *vu_conn_new(struct vhost_user *v, unsigned slot, int fd);
void vu_conn_run(void *conn);
/* Tells the front end that the configuration space has changed, if it wants to know. */
void vu_config_changed(struct vu_conn *c);
/* Makes the connection end soon: socket closed, what is in flight neither waited for nor published.
 */
void vu_conn_fail(struct vu_conn *c, const char *why);
void vu_close(int *fd);

/* handlers.c, memory.c, vring_msgs.c. 0; -EPROTO: the front end broke the protocol; else refused.
 * *error says why. */
typedef int vu_handler(struct vu_conn *c, struct vu_msg *m, GError **error);
int vu_refuse(GError **error, int errnum, const char *fmt, ...)
	G_GNUC_PRINTF(3, 4); /* returns -errnum */
void vu_reply_u64(struct vu_msg *m, uint64_t value);
vu_handler vu_set_mem_table, vu_add_mem_reg, vu_rem_mem_reg, vu_get_inflight_fd, vu_set_inflight_fd;
vu_handler vu_set_vring_num, vu_set_vring_addr, vu_set_vring_base, vu_get_vring_base,
	vu_set_vring_kick;
vu_handler vu_set_vring_call, vu_set_vring_err, vu_set_vring_enable;

struct vu_row {
	const char *name;
	vu_handler *handle;          /* co_fn; NULL: not supported */
	unsigned size_min, size_max; /* of the payload */
	unsigned fds_min, fds_max;
	int feature;    /* protocol feature that must have been negotiated, + 1; 0: none */
	bool has_reply; /* of its own */
};
extern const struct vu_row vu_rows[VU_REQUESTS];

/* vring.c */
void vu_vring_init(struct vu_conn *c, unsigned index);
/* Starts, pauses or continues the ring as its parts and features say. */
int vu_vring_update(struct vu_vring *r, GError **error);
co_fn void vu_vring_stop(struct vu_vring *r, uint64_t deadline_ns);
void vu_vring_pause(struct vu_vring *r);
/* Buffers came, with or without a kick. */
void vu_vring_serve(struct vu_vring *r);
void vu_vring_signal(int fd);
bool vu_vring_set_fd(int *to, int fd);
void vu_vring_fini(struct vu_vring *r);
