/*
 * The guest's first and only program: mounts what a Linux needs, loads the modules listed in
 * /modules, then runs commands for the host over the virtio-serial port named "agent".
 *
 * Both directions carry frames: a header of four 32-bit words (kind, id, length, argument; the
 * guest's byte order) and `length` bytes. The host chooses ids; several commands may run at once.
 * While a command does not take its input the port is not read, its output still is.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum kind {                 /* shared with harness.py */
	    FRAME_RUN = 1,  /* host: run the shell command in the payload */
	    FRAME_INPUT,    /* host: bytes for its standard input, none of them: end of file */
	    FRAME_SIGNAL,   /* host: send signal `arg` to its process group */
	    FRAME_POWEROFF, /* host */
	    FRAME_HELLO,    /* guest: ready */
	    FRAME_OUT,      /* guest: standard output */
	    FRAME_ERR,      /* guest: standard error */
	    FRAME_EXIT,     /* guest: ended, `arg` is the wait status */
};

enum {
	MAX_JOBS = 32,
	MAX_FRAME = 65536, /* the host sends none longer */
};

struct frame {
	uint32_t kind;
	uint32_t id;
	uint32_t len;
	uint32_t arg;
};

struct job {
	uint32_t id;
	pid_t pid;        /* 0: slot free */
	int in, out, err; /* our ends of its pipes, -1: closed */
	uint32_t queued;  /* bytes of input taken from the port and not yet written */
	uint32_t written;
	char input[MAX_FRAME];
};

struct agent {
	int port;
	struct job jobs[MAX_JOBS];
};

static __attribute__((noreturn, format(printf, 1, 2))) void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fprintf(stderr, "agent: ");
	vfprintf(stderr, format, args);
	fprintf(stderr, "\n");
	va_end(args);
	sync();
	reboot(RB_POWER_OFF);
	_exit(1);
}

static void read_all(int fd, void *buffer, size_t len)
{
	char *at = buffer;

	while (len > 0) {
		ssize_t got = read(fd, at, len);

		if (got > 0) {
			at += got;
			len -= got;
		} else if (got == 0) { /* the host's end is not open yet, or closed */
			usleep(10000);
		} else if (errno != EINTR && errno != EAGAIN) {
			die("reading the port: %s", strerror(errno));
		}
	}
}

static void write_all(int fd, const void *buffer, size_t len)
{
	const char *at = buffer;

	while (len > 0) {
		ssize_t put = write(fd, at, len);

		if (put > 0) {
			at += put;
			len -= put;
		} else if (put < 0 && errno != EINTR && errno != EAGAIN) {
			die("writing the port: %s", strerror(errno));
		}
	}
}

static void send_frame(struct agent *a, uint32_t kind, uint32_t id, const void *data, uint32_t len,
		       uint32_t arg)
{
	struct frame frame = {kind, id, len, arg};

	write_all(a->port, &frame, sizeof(frame));
	write_all(a->port, data, len);
}

static struct job *find_job(struct agent *a, uint32_t id)
{
	for (int i = 0; i < MAX_JOBS; i++)
		if (a->jobs[i].pid != 0 && a->jobs[i].id == id)
			return &a->jobs[i];
	return NULL;
}

static void close_end(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static __attribute__((noreturn)) void be_child(char *command, int in, int out, int err)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	setsid();
	dup2(in, 0);
	dup2(out, 1);
	dup2(err, 2);
	execl("/bin/sh", "sh", "-c", command, (char *)NULL);
	_exit(127);
}

static void start_job(struct agent *a, uint32_t id, char *command)
{
	int in[2], out[2], err[2];
	struct job *job = NULL;

	for (int i = 0; i < MAX_JOBS && !job; i++)
		if (a->jobs[i].pid == 0)
			job = &a->jobs[i];
	if (!job)
		die("more than %d commands at once", MAX_JOBS);
	if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0)
		die("pipe: %s", strerror(errno));
	*job = (struct job){.id = id, .in = in[1], .out = out[0], .err = err[0]};
	job->pid = fork();
	if (job->pid < 0)
		die("fork: %s", strerror(errno));
	if (job->pid == 0)
		be_child(command, in[0], out[1], err[1]);
	close(in[0]);
	close(out[1]);
	close(err[1]);
	fcntl(job->in, F_SETFL, O_NONBLOCK);
	fcntl(job->out, F_SETPIPE_SZ, 1 << 20);
}

static void take_frame(struct agent *a)
{
	static char payload[MAX_FRAME + 1];
	struct frame frame;
	struct job *job;

	read_all(a->port, &frame, sizeof(frame));
	if (frame.len > MAX_FRAME)
		die("a frame of %u bytes", frame.len);
	read_all(a->port, payload, frame.len);
	payload[frame.len] = '\0';
	job = find_job(a, frame.id);
	switch (frame.kind) {
	case FRAME_RUN: start_job(a, frame.id, payload); break;
	case FRAME_INPUT: /* for an ended command, or one that closed its input: dropped */
		if (job && frame.len == 0) {
			close_end(&job->in);
		} else if (job && job->in >= 0) {
			memcpy(job->input, payload, frame.len);
			job->queued = frame.len;
			job->written = 0;
		}
		break;
	case FRAME_SIGNAL:
		if (job)
			kill(-job->pid, (int)frame.arg);
		break;
	case FRAME_POWEROFF:
		sync();
		reboot(RB_POWER_OFF);
		break;
	default: die("a frame of kind %u", frame.kind);
	}
}

static void feed_job(struct job *job)
{
	ssize_t put = write(job->in, job->input + job->written, job->queued - job->written);

	if (put > 0)
		job->written += put;
	else if (put < 0 && errno != EAGAIN && errno != EINTR)
		close_end(&job->in);
	if (job->in < 0 || job->written == job->queued)
		job->queued = job->written = 0;
}

static void drain(struct agent *a, struct job *job, int *fd, uint32_t kind)
{
	static char buffer[MAX_FRAME];
	ssize_t got = read(*fd, buffer, sizeof(buffer));

	if (got > 0)
		send_frame(a, kind, job->id, buffer, got, 0);
	else if (got == 0 || errno != EINTR)
		close_end(fd);
}

/* A job is over when its process is and its output was read to the end of what it wrote. */
static void reap(struct agent *a)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (int i = 0; i < MAX_JOBS; i++) {
			struct job *job = &a->jobs[i];

			if (job->pid != pid)
				continue;
			/* a daemon it left behind may keep the pipes open: take what is there */
			if (job->out >= 0)
				fcntl(job->out, F_SETFL, O_NONBLOCK);
			if (job->err >= 0)
				fcntl(job->err, F_SETFL, O_NONBLOCK);
			while (job->out >= 0)
				drain(a, job, &job->out, FRAME_OUT);
			while (job->err >= 0)
				drain(a, job, &job->err, FRAME_ERR);
			close_end(&job->in);
			job->pid = 0;
			send_frame(a, FRAME_EXIT, job->id, NULL, 0, (uint32_t)status);
		}
	}
}

static int child_pipe[2]; /* SIGCHLD writes a byte, so that poll() wakes */

static void on_child(int signo)
{
	int saved = errno;

	(void)signo;
	if (write(child_pipe[1], "", 1) < 0)
		saved = errno; /* full: the loop is woken already */
	errno = saved;
}

static void serve(struct agent *a)
{
	struct pollfd fds[2 + 3 * MAX_JOBS];
	char junk[64];

	for (;;) {
		bool blocked = false;
		int n = 2;

		fds[1] = (struct pollfd){child_pipe[0], POLLIN, 0};
		for (int i = 0; i < MAX_JOBS; i++) {
			struct job *job = &a->jobs[i];
			bool on = job->pid != 0;

			blocked |= on && job->queued > 0;
			fds[n++] =
				(struct pollfd){on && job->queued > 0 ? job->in : -1, POLLOUT, 0};
			fds[n++] = (struct pollfd){on ? job->out : -1, POLLIN, 0};
			fds[n++] = (struct pollfd){on ? job->err : -1, POLLIN, 0};
		}
		fds[0] = (struct pollfd){blocked ? -1 : a->port, POLLIN, 0};
		if (poll(fds, n, -1) < 0 && errno != EINTR)
			die("poll: %s", strerror(errno));
		for (int i = 0; i < MAX_JOBS; i++) {
			struct pollfd *fd = &fds[2 + 3 * i];

			if (fd[0].fd >= 0 && fd[0].revents)
				feed_job(&a->jobs[i]);
			if (fd[1].fd >= 0 && fd[1].revents)
				drain(a, &a->jobs[i], &a->jobs[i].out, FRAME_OUT);
			if (fd[2].fd >= 0 && fd[2].revents)
				drain(a, &a->jobs[i], &a->jobs[i].err, FRAME_ERR);
		}
		while (read(child_pipe[0], junk, sizeof(junk)) > 0)
			;
		reap(a);
		if (fds[0].revents & POLLIN)
			take_frame(a);
		else if (fds[0].revents & POLLHUP)
			usleep(10000);
	}
}

static void load_modules(void)
{
	char line[256];
	FILE *list = fopen("/modules", "re");

	if (!list)
		die("/modules: %s", strerror(errno));
	while (fgets(line, sizeof(line), list)) {
		int fd;

		line[strcspn(line, "\n")] = '\0';
		fd = open(line, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			die("%s: %s", line, strerror(errno));
		if (syscall(SYS_finit_module, fd, "", 0) != 0 && errno != EEXIST && errno != ENODEV)
			fprintf(stderr, "agent: %s: %s\n", line, strerror(errno));
		close(fd);
	}
	fclose(list);
}

static void make_system(void)
{
	static const struct {
		const char *kind, *at;
	} mounts[] = {
		{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"},
		{"tmpfs", "/tmp"}, {"tmpfs", "/run"},
	};

	for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		mkdir(mounts[i].at, 0755);
		if (mount(mounts[i].kind, mounts[i].at, mounts[i].kind, 0, NULL) != 0 &&
		    errno != EBUSY)
			die("mounting %s: %s", mounts[i].at, strerror(errno));
	}
	if (symlink("/proc/self/fd", "/dev/fd") != 0 && errno != EEXIST)
		die("/dev/fd: %s", strerror(errno));
	setenv("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", 1);
	setenv("HOME", "/root", 1);
	setenv("LC_ALL", "C", 1);
	sethostname("guest", 5);
}

/* Find the character device of the virtio-serial port that the host named "agent". */
static int open_port(void)
{
	for (int tries = 0; tries < 3000; tries++) {
		DIR *dir = opendir("/sys/class/virtio-ports");
		struct dirent *e;

		while (dir && (e = readdir(dir))) {
			char path[300], name[16] = "";
			FILE *f;

			snprintf(path, sizeof(path), "/sys/class/virtio-ports/%s/name", e->d_name);
			f = fopen(path, "re");
			if (!f)
				continue;
			if (!fgets(name, sizeof(name), f))
				name[0] = '\0';
			fclose(f);
			snprintf(path, sizeof(path), "/dev/%s", e->d_name);
			if (strcmp(name, "agent\n") == 0) {
				closedir(dir);
				return open(path, O_RDWR | O_CLOEXEC);
			}
		}
		if (dir)
			closedir(dir);
		usleep(10000);
	}
	die("no virtio-serial port named agent");
}

int main(void)
{
	static struct agent agent;

	make_system();
	load_modules();
	signal(SIGPIPE, SIG_IGN);
	if (pipe2(child_pipe, O_CLOEXEC | O_NONBLOCK) != 0)
		die("pipe: %s", strerror(errno));
	signal(SIGCHLD, on_child);
	agent.port = open_port();
	if (agent.port < 0)
		die("opening the port: %s", strerror(errno));
	send_frame(&agent, FRAME_HELLO, 0, NULL, 0, 0);
	serve(&agent);
}
