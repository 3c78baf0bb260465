/* The state file: see drive_state.h. Set-up only; later everybody just stores into it. */
#include "scsi/mmc/drive_state.h"

#include "base/err.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LAYOUT = 1, BOOT_ID_LEN = 36 };

static const char magic[8] = "OBDRIVE";

static bool read_boot_id(char id[40], GError **error)
{
	static const char path[] = "/proc/sys/kernel/random/boot_id";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, id, BOOT_ID_LEN);
	int errnum = errno;

	if (fd >= 0)
		close(fd);
	if (n != BOOT_ID_LEN)
		return err_set_errno(error, n < 0 ? errnum : EIO, "%s", path);
	memset(id + BOOT_ID_LEN, 0, 40 - BOOT_ID_LEN);
	return true;
}

static void start_fresh(struct drive_state *s, const char *boot_id)
{
	memset(s, 0, sizeof(*s));
	memcpy(s->magic, magic, sizeof(s->magic));
	s->layout = LAYOUT;
	s->size = sizeof(*s);
	memcpy(s->boot_id, boot_id, sizeof(s->boot_id));
	s->power = 1;
}

/* Anybody may have written the file: indices, counts and strings are made safe here. */
static void sanitise(struct drive_state *s)
{
	s->disc[STATE_DISC_LEN - 1] = '\0';
	for (unsigned i = 0; i < STATE_NEXUSES; i++) {
		struct nexus_state *n = &s->nexus[i];

		n->name[STATE_NAME_LEN - 1] = '\0';
		n->live = 0;
		n->n_ua = MIN(n->n_ua, NEXUS_UA_MAX);
	}
	if (s->op_nexus > STATE_NEXUSES)
		s->op_nexus = 0;
}

static bool is_ours(const struct drive_state *s, const char *boot_id)
{
	return s->layout == LAYOUT && s->size == sizeof(*s) &&
	       memcmp(s->boot_id, boot_id, sizeof(s->boot_id)) == 0;
}

static int open_state_file(const char *path, off_t *len, GError **error)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct stat st;

	if (fd < 0) {
		err_set_errno(error, errno, "drive state %s", path);
		return -1;
	}
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		err_set(error, EBUSY, "drive state %s: another process uses it", path);
	else if (fstat(fd, &st) < 0)
		err_set_errno(error, errno, "drive state %s", path);
	else if (!S_ISREG(st.st_mode))
		err_set(error, EINVAL, "drive state %s: not a regular file", path);
	else {
		*len = st.st_size;
		return fd;
	}
	close(fd);
	return -1;
}

static struct drive_state *map_file(const char *path, int fd, off_t len, bool *had_magic,
				    GError **error)
{
	char head[sizeof(magic)] = {0};
	void *p;
	int res;

	*had_magic = pread(fd, head, sizeof(head), 0) == sizeof(head) &&
		     memcmp(head, magic, sizeof(magic)) == 0;
	if (len > 0 && !*had_magic) {
		err_set(error, EINVAL, "drive state %s: the file is something else", path);
		return NULL;
	}
	if (len > (off_t)sizeof(struct drive_state) &&
	    ftruncate(fd, sizeof(struct drive_state)) < 0)
		res = errno;
	else /* a store into a hole would end the process when the disk is full */
		res = posix_fallocate(fd, 0, sizeof(struct drive_state));
	if (res != 0) {
		err_set_errno(error, res, "drive state %s", path);
		return NULL;
	}
	p = mmap(NULL, sizeof(struct drive_state), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED) {
		err_set_errno(error, errno, "drive state %s", path);
		return NULL;
	}
	return p;
}

struct drive_state *drive_state_map(const char *path, int *fd, bool *resumed, GError **error)
{
	struct drive_state *s;
	char boot_id[40] = "";
	bool had_magic;
	off_t len;

	*fd = -1;
	*resumed = false;
	if (!path) {
		s = g_new(struct drive_state, 1);
		start_fresh(s, boot_id);
		return s;
	}
	if (!read_boot_id(boot_id, error))
		return NULL;
	*fd = open_state_file(path, &len, error);
	if (*fd < 0)
		return NULL;
	s = map_file(path, *fd, len, &had_magic, error);
	if (!s) {
		close(*fd);
		*fd = -1;
		return NULL;
	}
	*resumed = had_magic && len == sizeof(*s) && is_ours(s, boot_id);
	if (had_magic && !*resumed)
		log_line(LOG_INFO, "drive", "%s is of another boot or version: starting afresh",
			 path);
	if (*resumed)
		sanitise(s);
	else
		start_fresh(s, boot_id);
	return s;
}

void drive_state_unmap(struct drive_state *s, int fd)
{
	if (!s)
		return;
	if (fd < 0) {
		g_free(s);
		return;
	}
	munmap(s, sizeof(*s));
	close(fd);
}
