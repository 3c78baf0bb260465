/*
 * The loop on io_uring. Operations become queue entries at once, the kernel sees them in the one
 * enter of the turn. Nothing is lost when the ring is full: what does not fit, or would make more
 * completions than the completion ring holds, waits in the backlog.
 *
 * A watch is a one-shot poll that is armed again after ready() returned: so the kernel looks at the
 * level each time. The poll belongs to a record of its own (struct ur_watch) that outlives the
 * watch until its last completion came; arming and cancelling are collected and done at the turn's
 * end, so that a watch added and removed within a turn costs nothing. The eventfd has a multi-shot
 * poll and is never read.
 *
 * user_data is a pointer with the kind of its target in the lowest bits.
 */
#include "base/loop_impl.h"

#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"

enum {
	SQ_ENTRIES = 128,
	CQ_ENTRIES = 1024,
	MAX_IN_FLIGHT = CQ_ENTRIES - 2 * SQ_ENTRIES, /* the rest is for polls */
	BATCH = 64,
};

enum tag { TAG_OP, TAG_WATCH, TAG_EVENT_FD, TAG_NONE, TAG_MASK = 3 };

enum watch_want { WANT_NOTHING, WANT_ARM, WANT_CANCEL };

struct ur_watch {
	struct loop_watch *w;  /* NULL: removed, waits for its last completion */
	struct ur_watch *next; /* on the wanting or the spare list */
	struct ur_watch *all_next;
	enum watch_want want;
	bool armed, listed;
};

struct ur {
	struct io_uring ring;
	bool is_open, is_enabled, has_ring_fd;
	bool event_fd_armed;
	unsigned in_kernel; /* operations that were given to the ring */
	struct loop_op *backlog, **backlog_tail;
	struct ur_watch *wanting, *spare, *all;
};

static bool ring_init(struct ur *ur, GError **error)
{
	/* From the newest kernels to the oldest: each line asks for less. */
	static const unsigned wishes[] = {
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
		IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
		0,
	};
	int ret = -EINVAL;

	for (unsigned i = 0; i < G_N_ELEMENTS(wishes) && ret == -EINVAL; i++) {
		struct io_uring_params params = {.cq_entries = CQ_ENTRIES};

		/* The thread that runs the loop enables it: only that one may submit then. */
		params.flags = wishes[i] | IORING_SETUP_CQSIZE | IORING_SETUP_R_DISABLED;
		ret = io_uring_queue_init_params(SQ_ENTRIES, &ur->ring, &params);
	}
	if (ret < 0) {
		return err_set_errno(error, -ret,
				     "cannot make an io_uring (OUTBOARD_LOOP=epoll "
				     "does without)");
	}
	ur->is_open = true;
	return true;
}

static bool ring_check(struct ur *ur, GError **error)
{
	static const int needed[] = {
		IORING_OP_READV, IORING_OP_WRITEV,    IORING_OP_READ,     IORING_OP_WRITE,
		IORING_OP_FSYNC, IORING_OP_FALLOCATE, IORING_OP_POLL_ADD, IORING_OP_POLL_REMOVE,
	};
	const unsigned features = IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG;
	struct io_uring_probe *probe;
	bool ok;

	if ((ur->ring.features & features) != features)
		return err_set(error, ENOSYS,
			       "the io_uring of this kernel is too old (needs 5.13)");
	probe = io_uring_get_probe_ring(&ur->ring);
	ok = probe != NULL;
	for (unsigned i = 0; ok && i < G_N_ELEMENTS(needed); i++)
		ok = io_uring_opcode_supported(probe, needed[i]);
	io_uring_free_probe(probe);
	if (!ok)
		return err_set(error, ENOSYS, "the io_uring of this host lacks operations we need");
	return true;
}

static bool ur_open(struct loop *l, GError **error)
{
	struct ur *ur = g_new0(struct ur, 1);

	l->be = ur;
	ur->backlog_tail = &ur->backlog;
	return ring_init(ur, error) && ring_check(ur, error);
}

static void ur_close(struct loop *l)
{
	struct ur *ur = l->be;

	if (!ur)
		return;
	if (ur->is_open)
		io_uring_queue_exit(&ur->ring);
	while (ur->all) {
		struct ur_watch *u = ur->all;

		ur->all = u->all_next;
		g_free(u);
	}
	g_free(ur);
	l->be = NULL;
}

/* The registration of the ring's descriptor is the thread's, so it ends with the run. */
static void ur_enter(struct loop *l)
{
	struct ur *ur = l->be;

	if (!ur->is_enabled) {
		/* Not io_uring_enable_rings(): the shared liburing 2.3 does not export it. */
		if (syscall(SYS_io_uring_register, ur->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS,
			    NULL, 0) < 0)
			g_error("cannot enable an io_uring: %s", g_strerror(errno));
		ur->is_enabled = true;
	}
	ur->has_ring_fd = io_uring_register_ring_fd(&ur->ring) == 1;
}

static void ur_leave(struct loop *l)
{
	struct ur *ur = l->be;

	if (ur->has_ring_fd)
		io_uring_unregister_ring_fd(&ur->ring);
	ur->has_ring_fd = false;
}

/* NULL: the ring is full, and the kernel takes nothing at the moment. */
static struct io_uring_sqe *get_sqe(struct loop *l)
{
	struct ur *ur = l->be;
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ur->ring);

	if (sqe || !ur->is_enabled)
		return sqe;
	l->stats.submits++;
	io_uring_submit(&ur->ring);
	return io_uring_get_sqe(&ur->ring);
}

static void set_target(struct io_uring_sqe *sqe, const void *target, enum tag tag)
{
	io_uring_sqe_set_data64(sqe, (uintptr_t)target | tag);
}

static void prep_rw(struct io_uring_sqe *sqe, const struct loop_op *op)
{
	const struct iovec *iov = op->ptr;

	if (op->len == 1 && iov->iov_len <= INT_MAX) { /* saves the kernel fetching the iovec */
		if (op->kind == OP_READV) {
			io_uring_prep_read(sqe, op->fd, iov->iov_base, (unsigned)iov->iov_len,
					   op->off);
		} else {
			io_uring_prep_write(sqe, op->fd, iov->iov_base, (unsigned)iov->iov_len,
					    op->off);
		}
	} else if (op->kind == OP_READV) {
		io_uring_prep_readv(sqe, op->fd, iov, (unsigned)op->len, op->off);
	} else {
		io_uring_prep_writev(sqe, op->fd, iov, (unsigned)op->len, op->off);
	}
	sqe->rw_flags = op->arg;
}

static void prep_op(struct io_uring_sqe *sqe, struct loop_op *op)
{
	switch ((enum loop_op_kind)op->kind) {
	case OP_READV:
	case OP_WRITEV: prep_rw(sqe, op); break;
	case OP_FSYNC: io_uring_prep_fsync(sqe, op->fd, op->arg ? IORING_FSYNC_DATASYNC : 0); break;
	case OP_FALLOCATE:
		io_uring_prep_fallocate(sqe, op->fd, op->arg, (off_t)op->off, (off_t)op->len);
		break;
	case OP_JOB: assert(!"jobs go to workers");
	}
	set_target(sqe, op, TAG_OP);
}

static bool give_to_ring(struct loop *l, struct loop_op *op)
{
	struct ur *ur = l->be;
	struct io_uring_sqe *sqe;

	if (ur->in_kernel >= MAX_IN_FLIGHT)
		return false;
	sqe = get_sqe(l);
	if (!sqe)
		return false;
	prep_op(sqe, op);
	ur->in_kernel++;
	return true;
}

static void ur_submit(struct loop *l, struct loop_op *op)
{
	struct ur *ur = l->be;

	if (!ur->backlog && give_to_ring(l, op))
		return;
	op->next = NULL;
	*ur->backlog_tail = op;
	ur->backlog_tail = &op->next;
}

static void flush_backlog(struct loop *l)
{
	struct ur *ur = l->be;

	while (ur->backlog) {
		struct loop_op *op = ur->backlog;
		struct loop_op *next = op->next;

		if (!give_to_ring(l, op))
			return;
		ur->backlog = next;
		if (!next)
			ur->backlog_tail = &ur->backlog;
	}
}

static bool may_block(const struct loop_op *op)
{
	return op->kind == OP_READV || (op->kind == OP_WRITEV && !(op->arg & RWF_NOWAIT));
}

static void op_done(struct loop *l, struct loop_op *op, int res)
{
	struct ur *ur = l->be;

	ur->in_kernel--;
	if (res == -EINTR)
		ur_submit(l, op);
	else if (res == -EAGAIN && may_block(op))
		loop_op_to_worker(op); /* the ring will not wait for this file, a thread does */
	else
		loop_op_complete(op, res);
}

static void want(struct ur *ur, struct ur_watch *u, enum watch_want want)
{
	u->want = want;
	if (u->listed)
		return;
	u->listed = true;
	u->next = ur->wanting;
	ur->wanting = u;
}

static void ur_watch_add(struct loop *l, struct loop_watch *w)
{
	struct ur *ur = l->be;
	struct ur_watch *u = ur->spare;

	if (u) {
		ur->spare = u->next;
	} else {
		u = g_new0(struct ur_watch, 1);
		u->all_next = ur->all;
		ur->all = u;
	}
	u->w = w;
	u->armed = u->listed = false;
	w->priv = u;
	want(ur, u, WANT_ARM);
}

static void put_spare(struct ur *ur, struct ur_watch *u)
{
	u->next = ur->spare;
	ur->spare = u;
}

static void ur_watch_remove(struct loop *l, struct loop_watch *w)
{
	struct ur *ur = l->be;
	struct ur_watch *u = w->priv;

	w->priv = NULL;
	u->w = NULL;
	if (u->armed)
		want(ur, u, WANT_CANCEL);
	else if (u->listed)
		u->want = WANT_NOTHING; /* do_wanted() takes it */
	else
		put_spare(ur, u);
}

static void ur_watch_modify(struct loop *l, struct loop_watch *w)
{
	struct ur_watch *u = w->priv;

	if (!u->armed)
		return; /* takes the new events when it is armed */
	ur_watch_remove(l, w);
	ur_watch_add(l, w);
}

/* Puts the polls and cancellations of this turn into the ring, as far as there is room. */
static void do_wanted(struct loop *l)
{
	struct ur *ur = l->be;

	while (ur->wanting) {
		struct ur_watch *u = ur->wanting;
		struct io_uring_sqe *sqe = NULL;

		if (u->want != WANT_NOTHING) {
			sqe = get_sqe(l);
			if (!sqe)
				return;
		}
		ur->wanting = u->next;
		u->listed = false;
		switch (u->want) {
		case WANT_NOTHING:
			if (!u->armed)
				put_spare(ur, u);
			break;
		case WANT_ARM:
			io_uring_prep_poll_add(sqe, u->w->fd, u->w->events);
			set_target(sqe, u, TAG_WATCH);
			u->armed = true;
			break;
		case WANT_CANCEL:
			io_uring_prep_poll_remove(sqe, (uintptr_t)u | TAG_WATCH);
			set_target(sqe, NULL, TAG_NONE);
			break;
		}
		u->want = WANT_NOTHING;
	}
}

static void watch_done(struct ur *ur, struct ur_watch *u, int res)
{
	struct loop_watch *w = u->w;

	u->armed = false;
	if (w) {
		want(ur, u, WANT_ARM); /* first, because ready() may free the watch */
		w->ready(w, res >= 0 ? (unsigned)res : POLLNVAL);
	} else if (u->listed) {
		u->want = WANT_NOTHING; /* the cancellation came too late */
	} else {
		put_spare(ur, u);
	}
}

static void arm_event_fd(struct loop *l)
{
	struct ur *ur = l->be;
	struct io_uring_sqe *sqe;

	if (ur->event_fd_armed)
		return;
	sqe = get_sqe(l);
	if (!sqe)
		return;
	io_uring_prep_poll_multishot(sqe, l->event_fd, POLLIN);
	set_target(sqe, NULL, TAG_EVENT_FD);
	ur->event_fd_armed = true;
}

/* Only what is there now, in copies, so that the ring is free again before callbacks run. */
static void reap(struct loop *l)
{
	struct ur *ur = l->be;
	unsigned left = io_uring_cq_ready(&ur->ring);

	while (left) {
		struct io_uring_cqe *cqes[BATCH], copies[BATCH];
		unsigned n = io_uring_peek_batch_cqe(&ur->ring, cqes, left < BATCH ? left : BATCH);

		for (unsigned i = 0; i < n; i++)
			copies[i] = *cqes[i];
		io_uring_cq_advance(&ur->ring, n);
		left -= n;
		for (unsigned i = 0; i < n; i++) {
			uint64_t data = copies[i].user_data;
			void *target = (void *)(uintptr_t)(data & ~(uint64_t)TAG_MASK);

			switch ((enum tag)(data & TAG_MASK)) {
			case TAG_OP: op_done(l, target, copies[i].res); break;
			case TAG_WATCH: watch_done(ur, target, copies[i].res); break;
			case TAG_EVENT_FD:
				ur->event_fd_armed = copies[i].flags & IORING_CQE_F_MORE;
				break;
			default: break;
			}
		}
	}
}

static void ur_turn(struct loop *l, int64_t timeout_ns)
{
	struct ur *ur = l->be;
	struct __kernel_timespec ts = {timeout_ns / 1000000000, timeout_ns % 1000000000};
	struct io_uring_cqe *cqe;
	unsigned queued;
	int ret = 0;

	arm_event_fd(l);
	do_wanted(l);
	flush_backlog(l);
	queued = io_uring_sq_ready(&ur->ring);
	l->stats.submits += queued != 0;
	if (timeout_ns != 0) {
		ret = io_uring_submit_and_wait_timeout(&ur->ring, &cqe, 1,
						       timeout_ns > 0 ? &ts : NULL, NULL);
	} else if (queued || IO_URING_READ_ONCE(*ur->ring.sq.kflags) &
				     (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) {
		ret = io_uring_submit_and_get_events(&ur->ring);
	}
	/* Busy: completions must be reaped first, which happens now. */
	if (ret < 0 && ret != -ETIME && ret != -EINTR && ret != -EAGAIN && ret != -EBUSY)
		g_error("io_uring_enter: %s", g_strerror(-ret));
	__atomic_store_n(&l->sleeping, 0, __ATOMIC_RELAXED);
	reap(l);
}

static bool ur_has_events(const struct loop *l)
{
	const struct ur *ur = l->be;

	return io_uring_cq_ready(&ur->ring) || IO_URING_READ_ONCE(*ur->ring.sq.kflags) &
						       (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW);
}

const struct loop_backend_ops loop_uring_ops = {
	.id = LOOP_URING,
	.name = "uring",
	.open = ur_open,
	.close = ur_close,
	.enter = ur_enter,
	.leave = ur_leave,
	.submit = ur_submit,
	.turn = ur_turn,
	.watch_add = ur_watch_add,
	.watch_modify = ur_watch_modify,
	.watch_remove = ur_watch_remove,
	.has_events = ur_has_events,
};
