/* Requests that are made at once: see file_inline.h. */
#include "block/file_inline.h"

#include <errno.h>
#include <linux/magic.h>
#include <sys/uio.h>
#include <sys/vfs.h>

enum {
	MAX_INLINE = 256 << 10,      /* longer ones take their time in any case */
	MAX_BYTES_IN_TURN = 4 << 20, /* then others get their turn */
	SLOW_NS = 25000000, /* one call; less may be another process that had the processor */
	SLOW_AVERAGE_NS = 4000000,
	CLOSED_FACTOR = 40,
	XFS_MAGIC = 0x58465342,
};

static bool is_local(long type)
{
	switch (type) {
	case EXT4_SUPER_MAGIC:
	case TMPFS_MAGIC:
	case RAMFS_MAGIC:
	case XFS_MAGIC:
	case F2FS_SUPER_MAGIC:
	case (long)BTRFS_SUPER_MAGIC: return true;
	default: return false;
	}
}

void file_inline_init(struct file_inline *in, int fd)
{
	struct statfs st;

	in->local = fstatfs(fd, &st) == 0 && is_local((long)st.f_type);
}

/* Lets other coroutines run when this turn has gone on for long; a burner without it would keep the
 * loop to itself. */
static co_fn void be_fair(struct file_inline *in, size_t len)
{
	struct loop_stats stats;

	loop_get_stats(co_loop(), &stats);
	if (stats.turns != in->turn) {
		in->turn = stats.turns;
		in->bytes_in_turn = 0;
	}
	in->bytes_in_turn += len;
	if (in->bytes_in_turn > MAX_BYTES_IN_TURN) {
		in->bytes_in_turn = 0;
		co_reschedule();
	}
}

static bool may_wait(const struct file_inline *in, size_t len)
{
	return in->local && len <= MAX_INLINE &&
	       (!in->closed_until_ns || loop_now_ns() >= in->closed_until_ns);
}

static void judge(struct file_inline *in, uint64_t start_ns)
{
	uint64_t now = loop_now_ns(), took = now - start_ns;

	in->average_ns = (in->average_ns * 7 + took) / 8;
	in->closed_until_ns = 0;
	if (took > SLOW_NS || in->average_ns > SLOW_AVERAGE_NS) {
		in->closed_until_ns = now + in->average_ns * CLOSED_FACTOR;
		in->average_ns = 0;
	}
}

co_fn int file_inline_preadv(struct file_inline *in, int fd, const struct iovec *v, unsigned n,
			     size_t len, uint64_t off)
{
	uint64_t start;
	ssize_t res;

	if (len > MAX_INLINE)
		return -EAGAIN;
	if (!in->no_nowait) {
		res = preadv2(fd, v, (int)n, (off_t)off, RWF_NOWAIT);
		if (res < 0 && errno == EOPNOTSUPP)
			in->no_nowait = true;
		else if (res <= 0)
			return res == 0 || errno == EINTR ? -EAGAIN : -errno;
		else {
			be_fair(in, len);
			return (int)res;
		}
	}
	if (!may_wait(in, len))
		return -EAGAIN;
	start = loop_now_ns();
	res = preadv(fd, v, (int)n, (off_t)off);
	if (res < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	judge(in, start);
	be_fair(in, len);
	return (int)res;
}

co_fn int file_inline_pwritev(struct file_inline *in, int fd, const struct iovec *v, unsigned n,
			      size_t len, uint64_t off)
{
	uint64_t start;
	ssize_t res;

	if (!may_wait(in, len))
		return -EAGAIN;
	start = loop_now_ns();
	res = pwritev(fd, v, (int)n, (off_t)off);
	if (res < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	judge(in, start);
	be_fair(in, len);
	return (int)res;
}
