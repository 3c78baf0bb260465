/*
 * Asynchronous operations: the submitting calls, their one completion, and how a thread performs
 * one.
 */
#include "base/loop_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/workers.h"

void loop_op_complete(struct loop_op *op, int res)
{
	struct loop *l = op->loop;

	assert(op->state == OP_BUSY && "an operation completes once");
	assert(loop_current() == l && "an operation completes on its loop");
	assert(!l->submitting && "an operation completes after the submitting call returned");
	op->state = OP_IDLE;
	op->res = res;
	l->in_flight--;
	op->done(op, res);
}

static void op_init(struct loop *l, struct loop_op *op, enum loop_op_kind kind, int fd)
{
	assert(op->state == OP_IDLE && op->done);
	assert(!loop_current() || loop_current() == l);
	op->loop = l;
	op->kind = (uint8_t)kind;
	op->state = OP_BUSY;
	op->fd = fd;
	l->in_flight++;
	l->stats.ops++;
}

static void op_submit(struct loop_op *op)
{
	struct loop *l = op->loop;

	l->submitting = true;
	l->ops->submit(l, op);
	l->submitting = false;
}

void loop_preadv(struct loop *l, struct loop_op *op, int fd, const struct iovec *iov, unsigned n,
		 uint64_t off)
{
	op_init(l, op, OP_READV, fd);
	op->ptr = iov;
	op->len = n;
	op->off = off;
	op->arg = 0;
	op_submit(op);
}

void loop_pwritev(struct loop *l, struct loop_op *op, int fd, const struct iovec *iov, unsigned n,
		  uint64_t off, int rw_flags)
{
	op_init(l, op, OP_WRITEV, fd);
	op->ptr = iov;
	op->len = n;
	op->off = off;
	op->arg = rw_flags;
	op_submit(op);
}

void loop_fsync(struct loop *l, struct loop_op *op, int fd, bool data_only)
{
	op_init(l, op, OP_FSYNC, fd);
	op->arg = data_only;
	op_submit(op);
}

void loop_fallocate(struct loop *l, struct loop_op *op, int fd, int mode, uint64_t off,
		    uint64_t len)
{
	op_init(l, op, OP_FALLOCATE, fd);
	op->arg = mode;
	op->off = off;
	op->len = len;
	op_submit(op);
}

void loop_job(struct loop *l, struct loop_op *op, int (*fn)(void *arg), void *arg)
{
	op_init(l, op, OP_JOB, -1);
	op->job = fn;
	op->ptr = arg;
	loop_op_to_worker(op);
}

void loop_op_to_worker(struct loop_op *op)
{
	struct loop *l = op->loop;

	if (!l->workers)
		l->workers = workers_new();
	workers_push(l->workers, op);
}

static ssize_t perform_once(const struct loop_op *op)
{
	switch ((enum loop_op_kind)op->kind) {
	case OP_READV: return preadv(op->fd, op->ptr, (int)op->len, (off_t)op->off);
	case OP_WRITEV:
		if (op->arg)
			return pwritev2(op->fd, op->ptr, (int)op->len, (off_t)op->off, op->arg);
		return pwritev(op->fd, op->ptr, (int)op->len, (off_t)op->off);
	case OP_FSYNC: return op->arg ? fdatasync(op->fd) : fsync(op->fd);
	case OP_FALLOCATE: return fallocate(op->fd, op->arg, (off_t)op->off, (off_t)op->len);
	case OP_JOB: break;
	}
	errno = EINVAL;
	return -1;
}

int loop_op_perform(const struct loop_op *op)
{
	ssize_t n;

	if (op->kind == OP_JOB)
		return op->job((void *)op->ptr);
	do
		n = perform_once(op);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : (int)n;
}
