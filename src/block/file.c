/*
 * Driver "file": a regular file or a block device of the host, through the page cache or past it.
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
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/err.h"
#include "base/gmem_guard.h"
#include "base/log.h"
#include "block/drivers.h"
#include "block/file_inline.h"
#include "block/file_open.h"

enum { MAX_PIECES = 64, MAX_MAPS = 4, PIECES_LIMIT = 1024 /* IOV_MAX of Linux */ };

enum locking { LOCKING_AUTO, LOCKING_ON, LOCKING_OFF };

struct file {
	int fd, tail_fd;               /* + 1, so that zeroed state has none */
	uint64_t data_start, data_end; /* no hole here, when it was last looked for one */
	bool device;
	bool no_punch, no_zero_range, no_dsync, no_holes;
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

static bool locks_ok(struct block_node *node, const struct file_open *job, enum locking locking,
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

static bool take_options(struct block_node *node, struct opts *options, struct file_open *job,
			 enum locking *locking, GError **error)
{
	static const char *const names[] = {"auto", "on", "off", NULL};
	int mode = LOCKING_AUTO;

	job->path = opts_get(options, "filename");
	if (!job->path)
		return err_set(error, EINVAL, "needs \"filename\"");
	if (!opts_get_bool(options, "create", &job->create, error) ||
	    !opts_get_enum(options, "locking", names, &mode, error))
		return false;
	*locking = (enum locking)mode;
	job->beneath = opts_get(options, "beneath");
	if (job->beneath) {
		g_free(node->name);
		node->name = g_build_filename(job->beneath, job->path, NULL);
	}
	job->write = node->flags & BLOCK_RDWR;
	if (job->create && job->beneath)
		return err_set(error, EINVAL, "create=on and beneath exclude each other");
	if (job->create && !job->write)
		return err_set(error, EINVAL, "create=on needs write access");
	job->auto_rdonly = node->flags & BLOCK_AUTO_RDONLY;
	job->unshare = node->flags & BLOCK_UNSHARE_WRITE;
	job->lock = !(node->flags & BLOCK_NO_LOCK) && *locking != LOCKING_OFF;
	job->direct = node->flags & BLOCK_DIRECT;
	return true;
}

static co_fn bool file_open(struct block_node *node, struct opts *options, GError **error)
{
	struct file_open job = {.fd = -1, .tail_fd = -1};
	struct file *file = node->state;
	enum locking locking = LOCKING_AUTO;
	int res;

	if (!take_options(node, options, &job, &locking, error))
		return false;
	res = job_run(file_open_run, &job);
	if (res < 0)
		return file_open_failed(&job, res, error);
	file->fd = job.fd + 1;
	file->tail_fd = job.tail_fd + 1;
	file->device = job.device;
	if (!job.device && !job.direct)
		file_inline_init(&file->at_once, job.fd);
	node->length = job.length;
	node->request_align = job.request_align;
	node->memory_align = job.memory_align;
	node->discard_align = job.device ? job.sector : 1;
	memcpy(node->file_id, job.id, sizeof(job.id));
	node->writable = job.writable;
	return locks_ok(node, &job, locking, error);
}

struct close_job {
	int fd, tail_fd;
};

static int close_run(void *arg)
{
	const struct close_job *job = arg;
	int res = close(job->fd) < 0 ? -errno : 0;

	return job->tail_fd >= 0 && close(job->tail_fd) < 0 ? -errno : res;
}

static co_fn void file_close(struct block_node *node)
{
	struct file *file = node->state;
	struct close_job job = {.fd = file_fd(node), .tail_fd = file->tail_fd - 1};
	int res;

	for (unsigned i = 0; i < MAX_MAPS; i++) {
		if (file->maps[i].p) {
			gmem_guard_free(file->maps[i].guard);
			munmap(file->maps[i].p, file->maps[i].len);
		}
	}
	if (job.fd < 0 || node->is_clone)
		return;
	res = job_run(close_run, &job);
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
static co_fn int transfer_rest(struct block_node *node, bool write, uint64_t off,
			       const struct iovs *iov, size_t done, int rw_flags)
{
	struct iovec v[MAX_PIECES];
	int fd = file_fd(node);

	while (done < iov->len) {
		unsigned n = pieces_from(iov, done, v);
		int res;

		if (!write && off + done >= node->length) { /* the last block of a direct file */
			iovs_zero(iov, done, iov->len - done);
			return 0;
		}
		if (done % node->request_align)
			return -EIO;
		res = write ? co_pwritev(fd, v, n, off + done, rw_flags)
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
	return transfer_rest(node, write, off, iov, res > 0 ? (size_t)res : 0, rw_flags);
}

static co_fn int file_preadv(struct block_node *node, uint64_t off, const struct iovs *iov)
{
	return transfer(node, false, off, iov, 0);
}

/*
 * The last block of a direct file whose length ends inside of it (one piece, align.c made it): only
 * what belongs to the file, through the page cache.
 */
static co_fn int write_tail(struct block_node *node, uint64_t off, const struct iovs *iov,
			    unsigned flags)
{
	struct file *file = node->state;
	uint8_t *p = iov->v[0].iov_base;
	size_t len = node->length - off, done = 0;
	int fd = file->tail_fd - 1;

	while (done < len) {
		struct iovec v = {p + done, len - done};
		int res = co_pwritev(fd, &v, 1, off + done, 0);

		if (res < 0 && res != -EINTR && res != -EAGAIN)
			return res;
		done += res > 0 ? (size_t)res : 0;
	}
	return flags & BLOCK_FUA ? co_fsync(fd, true) : 0;
}

static co_fn int file_pwritev(struct block_node *node, uint64_t off, const struct iovs *iov,
			      unsigned flags)
{
	struct file *file = node->state;
	int res;

	if (off + iov->len > node->length && file->tail_fd)
		return write_tail(node, off, iov, flags);
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

/*
 * Data that was found once is taken for data until zeros are put there: at worst zeros of another
 * program are read. So a file without holes is asked once, not for each piece of it.
 */
static void forget_data(struct file *file, uint64_t off, uint64_t len)
{
	if (off < file->data_end && file->data_start < off + len)
		file->data_start = file->data_end = 0;
}

static bool is_unsupported(int res)
{
	return res == -EOPNOTSUPP || res == -ENOSYS;
}

static co_fn int file_write_zeros(struct block_node *node, uint64_t off, uint64_t len)
{
	struct file *file = node->state;
	int res;

	if (file->no_zero_range)
		return -ENOTSUP;
	forget_data(file, off, len);
	res = co_fallocate(file_fd(node), FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, off, len);
	file->no_zero_range = is_unsupported(res);
	return file->no_zero_range ? -ENOTSUP : res;
}

/* On a device the kernel zeroes a hole by what the device has for it, keeping it mapped or not. */
static co_fn int file_discard_zero(struct block_node *node, uint64_t off, uint64_t len)
{
	struct file *file = node->state;
	int res = -EOPNOTSUPP;

	forget_data(file, off, len);
	if (!file->no_punch) {
		res = co_fallocate(file_fd(node), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off,
				   len);
		file->no_punch = is_unsupported(res);
	}
	if (file->no_punch)
		return file->device ? file_write_zeros(node, off, len) : -ENOTSUP;
	return res;
}

struct discard_job {
	int fd;
	uint64_t range[2];
};

static int discard_run(void *arg)
{
	struct discard_job *job = arg;

	return ioctl(job->fd, BLKDISCARD, job->range) < 0 ? -errno : 0;
}

static co_fn int file_discard(struct block_node *node, uint64_t off, uint64_t len)
{
	struct discard_job job = {.fd = file_fd(node), .range = {off, len}};
	struct file *file = node->state;

	if (!file->device)
		return file->no_punch ? -ENOTSUP : file_discard_zero(node, off, len);
	return job_run(discard_run, &job);
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
	struct seek_job job = {.fd = file_fd(node), .off = off, .len = node->length - off};
	struct file *file = node->state;

	*status = BLOCK_DATA;
	*run = len;
	if (file->device || file->no_holes)
		return 0;
	if (off >= file->data_start && off < file->data_end) {
		*run = MIN(len, file->data_end - off);
		return 0;
	}
	/* Where calls are made at once anyway, this one is too: it looks at memory. */
	if ((file->at_once.local ? seek_run(&job) : job_run(seek_run, &job)) < 0) {
		file->no_holes = true;
		return 0;
	}
	if (job.data) {
		file->data_start = off;
		file->data_end = off + job.run;
	}
	*status = job.data ? BLOCK_DATA : BLOCK_ZERO;
	*run = MIN(job.run, len);
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

	if (file->device)
		return -ENOTSUP;
	file->data_start = file->data_end = 0;
	return job_run(truncate_run, &job);
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

static void file_clone(struct block_node *clone)
{
	struct file *file = clone->state;
	bool local = file->at_once.local;

	file->at_once = (struct file_inline){.local = local};
	file->data_start = file->data_end = 0;
	memset(file->maps, 0, sizeof(file->maps));
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
	.write_zeros = file_write_zeros,
	.discard = file_discard,
	.allocate = file_allocate,
	.truncate = file_truncate,
	.get_status = file_get_status,
	.clone = file_clone,
	.map_shared = file_map_shared,
};
