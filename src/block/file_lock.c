/*
 * Locks of the "file" driver; see file_lock.h.
 *
 * Byte 100 + i says "I use permission i", byte 200 + i "nobody else may". Both sides lock first and
 * test second, so of two that race at least one sees the other. Open-file-description locks carry
 * no process id: the holder's name, for the message, is looked up among the descriptors of the
 * processes that we may look into (/proc/PID/fdinfo lists locks).
 */
#include "block/file_lock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BYTE_USED = 100, BYTE_UNSHARED = 200, N_PERMISSIONS = 4 };

static int set_lock(int fd, int byte, short type)
{
	struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

	return fcntl(fd, F_OFD_SETLK, &l) < 0 ? -errno : 0;
}

static void unlock_all(int fd)
{
	for (int i = 0; i < N_PERMISSIONS; i++) {
		set_lock(fd, BYTE_USED + i, F_UNLCK);
		set_lock(fd, BYTE_UNSHARED + i, F_UNLCK);
	}
}

/* Whether "lock:" lines of a descriptor's fdinfo cover byte. */
static bool fdinfo_has_lock(const char *pid, const char *fd, int byte)
{
	char path[600], line[256];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%s/fdinfo/%s", pid, fd);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f)) {
		char *last, *first;

		if (strncmp(line, "lock:", 5) != 0)
			continue;
		line[strcspn(line, "\n")] = '\0';
		last = strrchr(line, ' ');
		if (!last)
			continue;
		*last++ = '\0';
		first = strrchr(line, ' ');
		if (first)
			found = atoll(first + 1) <= byte &&
				(strcmp(last, "EOF") == 0 || atoll(last) >= byte);
	}
	fclose(f);
	return found;
}

/* Whether process pid has the file open (not as own_fd of ours) with a lock on byte. */
static bool process_has_lock(const char *pid, const struct stat *file, int byte, int own_fd)
{
	bool self = atoi(pid) == getpid(), found = false;
	char path[300];
	struct dirent *e;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	dir = opendir(path);
	if (!dir)
		return false;
	while (!found && (e = readdir(dir))) {
		struct stat st;

		if (e->d_name[0] == '.' || (self && atoi(e->d_name) == own_fd))
			continue;
		if (fstatat(dirfd(dir), e->d_name, &st, 0) == 0 && st.st_dev == file->st_dev &&
		    st.st_ino == file->st_ino)
			found = fdinfo_has_lock(pid, e->d_name, byte);
	}
	closedir(dir);
	return found;
}

static void read_comm(struct lock_holder *holder)
{
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/comm", holder->pid);
	f = fopen(path, "re");
	if (!f)
		return;
	if (fgets(holder->comm, sizeof(holder->comm), f))
		holder->comm[strcspn(holder->comm, "\n")] = '\0';
	fclose(f);
}

static void find_holder(int fd, int byte, struct lock_holder *holder)
{
	struct dirent *e;
	struct stat st;
	DIR *proc;

	if (holder->pid == 0 && fstat(fd, &st) == 0 && (proc = opendir("/proc"))) {
		while (holder->pid == 0 && (e = readdir(proc))) {
			if (e->d_name[0] >= '1' && e->d_name[0] <= '9' &&
			    process_has_lock(e->d_name, &st, byte, fd))
				holder->pid = atoi(e->d_name);
		}
		closedir(proc);
	}
	if (holder->pid == 0)
		return;
	holder->itself = holder->pid == getpid();
	read_comm(holder);
}

/* Whether somebody else has a lock on the byte of permission i. */
static int test_byte(int fd, int base, int i, struct lock_holder *holder)
{
	int byte = base + i;
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

	if (fcntl(fd, F_OFD_GETLK, &l) < 0)
		return -errno;
	if (l.l_type == F_UNLCK)
		return 0;
	holder->pid = l.l_pid > 0 ? l.l_pid : 0; /* known for the older kind of locks only */
	holder->permission = 1u << i;
	holder->unshared = base == BYTE_UNSHARED;
	find_holder(fd, byte, holder);
	return -EBUSY;
}

int file_lock(int fd, unsigned used, unsigned unshared, struct lock_holder *holder)
{
	int res = 0;

	*holder = (struct lock_holder){0};
	for (int i = 0; i < N_PERMISSIONS && res == 0; i++) {
		if (used >> i & 1)
			res = set_lock(fd, BYTE_USED + i, F_RDLCK);
		if (res == 0 && unshared >> i & 1)
			res = set_lock(fd, BYTE_UNSHARED + i, F_RDLCK);
	}
	for (int i = 0; i < N_PERMISSIONS && res == 0; i++) {
		if (used >> i & 1)
			res = test_byte(fd, BYTE_UNSHARED, i, holder);
		if (res == 0 && unshared >> i & 1)
			res = test_byte(fd, BYTE_USED, i, holder);
	}
	if (res == -EAGAIN ||
	    res == -EACCES) /* an exclusive lock of somebody who does not play by these rules */
		res = -EBUSY;
	if (res < 0)
		unlock_all(fd);
	return res;
}
