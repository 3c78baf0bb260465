/*
 * Driver "file": a regular file or a block device of the host, through the page cache.
 *
 * Options: "filename"; "create" (make it, it must not exist); "locking" (auto, on, off); "beneath"
 * (a folder that "filename", then a regular file, is looked up in and must not lead out of, neither
 * by ".." nor by symbolic links). Opening,
 * locking, truncating and looking for holes can wait for a disk or a server, so they run as jobs;
 * reads, writes, syncs and fallocate go through the loop. FUA is RWF_DSYNC, or a write and a sync
 * where that is refused.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/falloc.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/err.h"
#include "base/gmem_guard.h"
#include "base/log.h"
#include "block/drivers.h"
#include "block/file_inline.h"
#include "block/file_lock.h"

enum { MAX_PIECES = 64, MAX_MAPS = 4, PIECES_LIMIT = 1024 /* IOV_MAX of Linux */ };

enum { LOCK_TRIES = 100, LOCK_PAUSE_US = 10 * 1000 }; /* a second in all, in a worker thread */

enum locking { LOCKING_AUTO, LOCKING_ON, LOCKING_OFF };

struct file {
	int fd; /* + 1, so that zeroed state has none */
	bool device;
	bool no_punch, no_dsync, no_holes;
	struct file_inline at_once;
	struct {
		void *p;
		size_t len;
		struct gmem_guard *guard;
	} maps[MAX_MAPS];
};

static int file_fd(const struct block_node *node)
{
	const struct file *file = node->state;

	return file->fd - 1;
}

/* What the job that opens works on. */
struct open_job {
	const char *path, *beneath;
	bool write, auto_rdonly, create, unshare, lock;
	/* results */
	int fd;
	bool made, writable, device;
	uint64_t length, id[2];
	int lock_res;
	struct lock_holder holder;
	const char *step;
};

static int open_beneath(const struct open_job *job, int flags)
{
	struct open_how how = {.flags = (uint64_t)flags,
			       .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
	int dir = open(job->beneath, O_PATH | O_DIRECTORY | O_CLOEXEC), fd, saved;

	if (dir < 0)
		return -1;
	fd = (int)syscall(SYS_openat2, dir, job->path, &how, sizeof(how));
	saved = errno;
	close(dir);
	errno = saved;
	return fd;
}

static int open_fd(struct open_job *job)
{
	int flags = O_CLOEXEC | O_NONBLOCK |
		    (job->create ? O_CREAT | O_EXCL : 0); /* a FIFO must not hang us */

	job->step = job->create ? "cannot create it" : "cannot open it";
	job->writable = job->write;
	if (job->beneath) {
		job->step = "cannot be opened beneath the folder of the image that names it";
		job->fd = open_beneath(job, flags | (job->write ? O_RDWR : O_RDONLY));
		return job->fd < 0 ? -errno : 0;
	}
	job->fd = open(job->path, flags | (job->write ? O_RDWR : O_RDONLY), 0666);
	if (job->fd < 0 && job->write && job->auto_rdonly && !job->create &&
	    (errno == EACCES || errno == EROFS || errno == EPERM || errno == ETXTBSY)) {
		job->writable = false;
		job->fd = open(job->path, flags | O_RDONLY);
	}
	job->made = job->create && job->fd >= 0;
	return job->fd < 0 ? -errno : 0;
}

static int look_at(struct open_job *job)
{
	struct stat st;
	int read_only = 0;

	job->step = "cannot look at it";
	if (fstat(job->fd, &st) < 0)
		return -errno;
	job->device = S_ISBLK(st.st_mode) && !job->beneath;
	job->id[0] = st.st_dev;
	job->id[1] = st.st_ino;
	job->step = "is no regular file and no block device";
	if (!S_ISREG(st.st_mode) && !job->device)
		return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	job->length = (uint64_t)st.st_size;
	if (job->device) {
		job->step = "cannot tell the size of the device";
		if (ioctl(job->fd, BLKGETSIZE64, &job->length) < 0)
			return -errno;
		job->step = "is a read-only device; open it read-only";
		if (job->writable && ioctl(job->fd, BLKROGET, &read_only) == 0 && read_only) {
			if (!job->auto_rdonly)
				return -EROFS;
			job->writable = false;
		}
	}
	job->step = "cannot set its flags";
	return fcntl(job->fd, F_SETFL, 0) < 0 ? -errno : 0;
}

static int take_locks(struct open_job *job)
{
	unsigned used = PERM_READ, unshared = 0;

	if (!job->lock)
		return 0;
	if (job->writable)
		used |= PERM_WRITE | (job->unshare ? PERM_RESIZE : 0);
	if (job->unshare)
		unshared = PERM_WRITE | PERM_RESIZE;
	job->step = NULL;
	/*
	 * A killed process whose io_uring the kernel still takes down has no descriptors any more
	 * and yet its locks, for some milliseconds. So a holder that cannot be seen is given a
	 * moment; one that can is not.
	 */
	for (unsigned tries = 0; tries < LOCK_TRIES; tries++) {
		job->lock_res = file_lock(job->fd, used, unshared, &job->holder);
		if (job->lock_res != -EBUSY || job->holder.pid)
			break;
		usleep(LOCK_PAUSE_US);
	}
	return job->lock_res == -EBUSY ? -EBUSY : 0;
}

static int open_run(void *arg)
{
	struct open_job *job = arg;
	int res = open_fd(job);

	if (res == 0)
		res = look_at(job);
	if (res == 0)
		res = take_locks(job);
	if (res < 0) {
		if (job->made)
			unlink(job->path);
		if (job->fd >= 0)
			close(job->fd);
		job->fd = -1;
	}
	return res;
}

static bool open_failed(const struct open_job *job, int res, GError **error)
{
	const struct lock_holder *h = &job->holder;

	if (job->step && res == -EINVAL)
		return err_set(error, EINVAL, "%s", job->step);
	if (job->step)
		return err_set_errno(error, -res, "%s", job->step);
	if (h->itself)
		return err_set(error, EBUSY, "in use already by this process (pid %d)", h->pid);
	if (h->pid)
		return err_set(error, EBUSY, "in use by %s (pid %d)",
			       *h->comm ? h->comm : "a program", h->pid);
	return err_set(error, EBUSY, "in use by another program");
}

static bool locks_ok(struct block_node *node, const struct open_job *job, enum locking locking,
		     GError **error)
{
	if (job->lock_res == 0)
		return true;
	if (locking == LOCKING_ON)
		return err_set_errno(error, -job->lock_res,
				     "locking=on, but the file cannot be locked");
	log_line(LOG_WARN, "block",
		 "%s: cannot be locked (%s); nothing keeps other programs from writing to it",
		 node->name, strerror(-job->lock_res));
	return true;
}

static co_fn bool file_open(struct block_node *node, struct opts *options, GError **error)
{
	static const char *const names[] = {"auto", "on", "off", NULL};
	struct file *file = node->state;
	struct open_job job = {.fd = -1, .path = opts_get(options, "filename")};
	int locking = LOCKING_AUTO, res;

	if (!job.path)
		return err_set(error, EINVAL, "needs \"filename\"");
	if (!opts_get_bool(options, "create", &job.create, error) ||
	    !opts_get_enum(options, "locking", names, &locking, error))
		return false;
	job.beneath = opts_get(options, "beneath");
	if (job.beneath) {
		g_free(node->name);
		node->name = g_build_filename(job.beneath, job.path, NULL);
	}
	job.write = node->flags & BLOCK_RDWR;
	if (job.create && job.beneath)
		return err_set(error, EINVAL, "create=on and beneath exclude each other");
	if (job.create && !job.write)
		return err_set(error, EINVAL, "create=on needs write access");
	job.auto_rdonly = node->flags & BLOCK_AUTO_RDONLY;
	job.unshare = node->flags & BLOCK_UNSHARE_WRITE;
	job.lock = !(node->flags & BLOCK_NO_LOCK) && locking != LOCKING_OFF;
	res = job_run(open_run, &job);
	if (res < 0)
		return open_failed(&job, res, error);
	file->fd = job.fd + 1;
	file->device = job.device;
	if (!job.device)
		file_inline_init(&file->at_once, job.fd);
	node->length = job.length;
	memcpy(node->file_id, job.id, sizeof(job.id));
	node->writable = job.writable;
	return locks_ok(node, &job, (enum locking)locking, error);
}

static int close_run(void *arg)
{
	return close(*(int *)arg) < 0 ? -errno : 0;
}

static co_fn void file_close(struct block_node *node)
{
	struct file *file = node->state;
	int fd = file_fd(node), res;

	for (unsigned i = 0; i < MAX_MAPS; i++) {
		if (file->maps[i].p) {
			gmem_guard_free(file->maps[i].guard);
			munmap(file->maps[i].p, file->maps[i].len);
		}
	}
	if (fd < 0)
		return;
	res = job_run(close_run, &fd);
	if (res < 0 && node->writable)
		log_line(LOG_WARN, "block", "%s: closing: %s", node->name, strerror(-res));
}

/* The pieces of iov from byte done on, as many as fit; for what the kernel left over. */
static unsigned pieces_from(const struct iovs *iov, size_t done, struct iovec *out)
{
	unsigned n = 0;

	for (unsigned i = 0; i < iov->n && n < MAX_PIECES; i++) {
		if (done >= iov->v[i].iov_len) {
			done -= iov->v[i].iov_len;
			continue;
		}
		out[n].iov_base = (uint8_t *)iov->v[i].iov_base + done;
		out[n++].iov_len = iov->v[i].iov_len - done;
		done = 0;
	}
	return n;
}

/* The rest of a request that the kernel cut short, or that has more pieces than one call takes. */
static co_fn int transfer_rest(int fd, bool write, uint64_t off, const struct iovs *iov,
			       size_t done, int rw_flags)
{
	struct iovec v[MAX_PIECES];

	while (done < iov->len) {
		unsigned n = pieces_from(iov, done, v);
		int res = write ? co_pwritev(fd, v, n, off + done, rw_flags)
				: co_preadv(fd, v, n, off + done);

		if (res == -EINTR || res == -EAGAIN)
			continue;
		if (res < 0)
			return res;
		if (res == 0)
			return -EIO; /* somebody made the file shorter behind our back */
		done += (size_t)res;
	}
	return 0;
}

static co_fn int transfer(struct block_node *node, bool write, uint64_t off, const struct iovs *iov,
			  int rw_flags)
{
	unsigned n = MIN(iov->n, (unsigned)PIECES_LIMIT);
	struct file *file = node->state;
	int fd = file_fd(node), res = -EAGAIN;

	if (!rw_flags)
		res = write ? file_inline_pwritev(&file->at_once, fd, iov->v, n, iov->len, off)
			    : file_inline_preadv(&file->at_once, fd, iov->v, n, iov->len, off);
	if (res == -EAGAIN)
		res = write ? co_pwritev(fd, iov->v, n, off, rw_flags)
			    : co_preadv(fd, iov->v, n, off);
	if (res >= 0 && (size_t)res == iov->len)
		return 0;
	if (res < 0 && res != -EINTR && res != -EAGAIN)
		return res;
	if (res == 0)
		return -EIO;
	return transfer_rest(fd, write, off, iov, res > 0 ? (size_t)res : 0, rw_flags);
}

static co_fn int file_preadv(struct block_node *node, uint64_t off, const struct iovs *iov)
{
	return transfer(node, false, off, iov, 0);
}

static co_fn int file_pwritev(struct block_node *node, uint64_t off, const struct iovs *iov,
			      unsigned flags)
{
	struct file *file = node->state;
	int res;

	if (!(flags & BLOCK_FUA))
		return transfer(node, true, off, iov, 0);
	if (!file->no_dsync) {
		res = transfer(node, true, off, iov, RWF_DSYNC);
		if (res != -EOPNOTSUPP)
			return res;
		file->no_dsync = true;
	}
	res = transfer(node, true, off, iov, 0);
	return res < 0 ? res : co_fsync(file_fd(node), true);
}

static co_fn int file_flush(struct block_node *node)
{
	return co_fsync(file_fd(node), true);
}

static co_fn int file_discard_zero(struct block_node *node, uint64_t off, uint64_t len)
{
	struct file *file = node->state;
	int res;

	if (file->no_punch)
		return -ENOTSUP;
	res = co_fallocate(file_fd(node), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off, len);
	if (res == -EOPNOTSUPP || res == -ENOSYS)
		file->no_punch = true;
	if (file->no_punch || (file->device && res == -EINVAL)) /* not in whole sectors */
		return -ENOTSUP;
	return res;
}

struct seek_job {
	int fd;
	uint64_t off, len;
	bool data;
	uint64_t run;
};

static int seek_run(void *arg)
{
	struct seek_job *job = arg;
	off_t next = lseek(job->fd, (off_t)job->off, SEEK_DATA);

	if (next < 0 && errno != ENXIO)
		return -errno;
	job->data = next >= 0 && (uint64_t)next == job->off;
	if (job->data)
		next = lseek(job->fd, (off_t)job->off, SEEK_HOLE);
	job->run = next > (off_t)job->off ? (uint64_t)next - job->off
					  : job->len; /* ENXIO: a hole to the end */
	job->run = MIN(job->run, job->len);
	return 0;
}

static co_fn int file_get_status(struct block_node *node, uint64_t off, uint64_t len,
				 unsigned *status, uint64_t *run)
{
	struct seek_job job = {.fd = file_fd(node), .off = off, .len = len};
	struct file *file = node->state;

	*status = BLOCK_DATA;
	*run = len;
	if (file->device || file->no_holes)
		return 0;
	if (job_run(seek_run, &job) < 0) {
		file->no_holes = true;
		return 0;
	}
	*status = job.data ? BLOCK_DATA : BLOCK_ZERO;
	*run = job.run;
	return 0;
}

/* Where there is no fallocate: holes are filled by writing. */
static co_fn int fill_holes(struct block_node *node, uint64_t off, uint64_t len)
{
	static const uint8_t zeros[64 * 1024];
	unsigned status = 0;
	uint64_t run = 0;
	int res = 0;

	for (uint64_t end = off + len; off < end && res == 0; off += run) {
		res = file_get_status(node, off, end - off, &status, &run);
		if (res < 0 || status != BLOCK_ZERO)
			continue;
		run = MIN(run, sizeof(zeros));
		res = block_pwrite(node, off, zeros, run, 0);
	}
	return res;
}

static co_fn int file_allocate(struct block_node *node, uint64_t off, uint64_t len)
{
	struct file *file = node->state;
	int res;

	if (file->device)
		return 0;
	res = co_fallocate(file_fd(node), 0, off, len);
	return res == -EOPNOTSUPP || res == -ENOSYS ? fill_holes(node, off, len) : res;
}

struct truncate_job {
	int fd;
	uint64_t len;
};

static int truncate_run(void *arg)
{
	struct truncate_job *job = arg;
	struct rlimit limit;

	/* Beyond the limit the kernel would kill us with SIGXFSZ. */
	if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
	    job->len > limit.rlim_cur)
		return -EFBIG;
	return ftruncate(job->fd, (off_t)job->len) < 0 ? -errno : 0;
}

static co_fn int file_truncate(struct block_node *node, uint64_t len)
{
	struct truncate_job job = {.fd = file_fd(node), .len = len};
	struct file *file = node->state;

	return file->device ? -ENOTSUP : job_run(truncate_run, &job);
}

/* Guarded: another program can shorten the file, or its disk be full when a page needs room. */
static void *file_map_shared(struct block_node *node, uint64_t off, size_t len)
{
	struct gmem_guard *guard;
	struct file *file = node->state;
	unsigned i = 0;
	void *p;

	while (i < MAX_MAPS && file->maps[i].p)
		i++;
	if (i == MAX_MAPS)
		return NULL;
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, file_fd(node), (off_t)off);
	if (p == MAP_FAILED)
		return NULL;
	guard = gmem_guard_new(p, len);
	if (!guard) {
		munmap(p, len);
		return NULL;
	}
	file->maps[i].p = p;
	file->maps[i].len = len;
	file->maps[i].guard = guard;
	return p;
}

const struct block_driver block_file = {
	.name = "file",
	.kind = BLOCK_PROTOCOL,
	.state_size = sizeof(struct file),
	.open = file_open,
	.close = file_close,
	.preadv = file_preadv,
	.pwritev = file_pwritev,
	.flush = file_flush,
	.discard_zero = file_discard_zero,
	.allocate = file_allocate,
	.truncate = file_truncate,
	.get_status = file_get_status,
	.map_shared = file_map_shared,
};
