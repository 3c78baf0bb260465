/*
 * Opening a host file: see file_open.h.
 *
 * With O_DIRECT the last part of a file whose length is no multiple of the alignment cannot be
 * written, so there is a second descriptor that goes through the page cache; the kernel keeps both
 * ways coherent. The alignment is what statx() says (Linux 6.1), else what BLKSSZGET says, else
 * what reading with ever larger sizes finds out (formats.md 1.7).
 */
#include "block/file_open.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"

enum { LOCK_TRIES = 100, LOCK_PAUSE_US = 10 * 1000 }; /* a second in all, in a worker thread */
enum { MIN_ALIGN = 512, SAFE_ALIGN = 4096, MAX_ALIGN = 65536 };

static int open_beneath(const struct file_open *job, int flags)
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

static int open_as(const struct file_open *job, int flags)
{
	flags |= O_CLOEXEC | O_NONBLOCK; /* a FIFO must not hang us */
	return job->beneath ? open_beneath(job, flags) : open(job->path, flags, 0666);
}

static bool is_refusal(int e)
{
	return e == EACCES || e == EROFS || e == EPERM || e == ETXTBSY;
}

static int open_fd(struct file_open *job)
{
	int more = (job->create ? O_CREAT | O_EXCL : 0) | (job->direct ? O_DIRECT : 0);

	job->step = job->create ? "cannot create it"
		    : job->beneath
			    ? "cannot be opened beneath the folder of the image that names it"
			    : "cannot open it";
	job->writable = job->write;
	job->fd = open_as(job, more | (job->write ? O_RDWR : O_RDONLY));
	if (job->fd < 0 && job->write && job->auto_rdonly && !job->create && is_refusal(errno)) {
		job->writable = false;
		job->fd = open_as(job, more | O_RDONLY);
	}
	if (job->fd >= 0) {
		job->made = job->create;
		return 0;
	}
	if (errno == EINVAL && job->direct)
		job->step = "its file system does not do cache.direct=on; use cache=writeback";
	return -errno;
}

static int look_at(struct file_open *job)
{
	struct stat st;
	int read_only = 0, sector = 0;

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
		if (ioctl(job->fd, BLKGETSIZE64, &job->length) < 0 ||
		    ioctl(job->fd, BLKSSZGET, &sector) < 0)
			return -errno;
		job->sector = (unsigned)sector;
		job->step = "is a read-only device; open it read-only";
		if (job->writable && ioctl(job->fd, BLKROGET, &read_only) == 0 && read_only) {
			if (!job->auto_rdonly)
				return -EROFS;
			job->writable = false;
		}
	}
	job->step = "cannot set its flags";
	return fcntl(job->fd, F_SETFL, job->direct ? O_DIRECT : 0) < 0 ? -errno : 0;
}

static bool is_alignment(uint64_t n)
{
	return n > 0 && n <= MAX_ALIGN && (n & (n - 1)) == 0;
}

/* The first length that the file lets us read; where even one byte goes, it does not tell. */
static unsigned try_align(int fd)
{
	void *buf = NULL;
	unsigned found = 0;

	if (posix_memalign(&buf, MAX_ALIGN, SAFE_ALIGN) != 0)
		return 0;
	if (pread(fd, buf, 1, 0) >= 0 || errno != EINVAL)
		found = SAFE_ALIGN;
	for (unsigned n = MIN_ALIGN; !found && n <= SAFE_ALIGN; n *= 2) {
		if (pread(fd, buf, n, 0) >= 0 || errno != EINVAL)
			found = n;
	}
	free(buf);
	return found;
}

static int find_align(struct file_open *job)
{
	struct statx st = {0};

	job->request_align = job->memory_align = 1;
	if (!job->direct)
		return 0;
#ifdef STATX_DIOALIGN
	if (statx(job->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &st) == 0 &&
	    (st.stx_mask & STATX_DIOALIGN) && is_alignment(st.stx_dio_offset_align) &&
	    is_alignment(st.stx_dio_mem_align)) {
		job->request_align = st.stx_dio_offset_align;
		job->memory_align = MAX(st.stx_dio_mem_align, (unsigned)sizeof(void *));
		return 0;
	}
#endif
	job->step = "no alignment works for cache.direct=on; use cache=writeback";
	job->request_align = is_alignment(job->sector) ? job->sector : try_align(job->fd);
	job->memory_align = MAX(job->request_align, (unsigned)SAFE_ALIGN);
	return job->request_align ? 0 : -EINVAL;
}

static int open_tail(struct file_open *job)
{
	struct stat st;

	if (!job->direct || !job->writable || job->device)
		return 0;
	job->step = "cannot be opened a second time, through the page cache";
	job->tail_fd = open_as(job, O_RDWR);
	if (job->tail_fd < 0 || fstat(job->tail_fd, &st) < 0)
		return -errno;
	return st.st_dev == job->id[0] && st.st_ino == job->id[1] ? 0 : -ESTALE;
}

static int take_locks(struct file_open *job)
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

int file_open_run(void *arg)
{
	struct file_open *job = arg;
	int res = open_fd(job);

	if (res == 0)
		res = look_at(job);
	if (res == 0)
		res = find_align(job);
	if (res == 0)
		res = open_tail(job);
	if (res == 0)
		res = take_locks(job);
	if (res < 0) {
		if (job->made)
			unlink(job->path);
		if (job->tail_fd >= 0)
			close(job->tail_fd);
		if (job->fd >= 0)
			close(job->fd);
		job->fd = job->tail_fd = -1;
	}
	return res;
}

/* What the other one does, seen from what we wanted. */
static const char *what_holder_does(const struct file_open *job)
{
	switch (job->holder.permission) {
	case PERM_WRITE:
		return job->holder.unshared ? "which lets nobody else write to it"
					    : "which writes to it";
	case PERM_RESIZE:
		return job->holder.unshared ? "which lets nobody else change its size"
					    : "which may change its size";
	case PERM_READ: return "which lets nobody else read it";
	default: return "which has locked it";
	}
}

bool file_open_failed(const struct file_open *job, int res, GError **error)
{
	const struct lock_holder *h = &job->holder;
	g_autofree char *who = NULL;

	if (job->step && res == -EINVAL)
		return err_set(error, EINVAL, "%s", job->step);
	if (job->step)
		return err_set_errno(error, -res, "%s", job->step);
	if (h->itself)
		who = g_strdup_printf("already by this process (pid %d)", h->pid);
	else if (h->pid)
		who = g_strdup_printf("by %s (pid %d)", *h->comm ? h->comm : "a program", h->pid);
	else
		who = g_strdup("by another program");
	return err_set(error, EBUSY, "in use %s, %s; %s", who, what_holder_does(job),
		       job->write ? "end that use first, or open it read-only"
				  : "end that use first, or look at it with force-share=on (-U)");
}
