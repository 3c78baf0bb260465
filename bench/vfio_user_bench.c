/*
 * A register read through vfio-user against a bare ping-pong of messages of the same sizes over a
 * unix socket, each with its server in a process of its own, in turns in one run; and the memory of
 * a process with a hundred idle edu devices behind sockets. Figures are medians of rounds.
 *
 * usage: vfio_user_bench [--json] [ROUNDS [READS]]
 */
#include "attach/vfio_user.h"
#include "attach/vfio_user/proto.h"
#include "base/log.h"
#include "device/device.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	ROUNDS_MAX = 256,
	DEVICES_MAX = 100,
	REQUEST_LEN = VFU_HEADER_LEN + ACCESS_LEN,
	REPLY_LEN = REQUEST_LEN + 4,
	VERSION_LEN = VFU_HEADER_LEN + VER_LEN,
};

static char dir[] = "/tmp/outboard-bench-XXXXXX";

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static struct sockaddr_un address(unsigned i)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/%u", dir, i);
	return sa;
}

struct server {
	struct loop *loop;
	unsigned n;
	int ready;
};

static void set_up(void *arg)
{
	struct server *s = arg;
	GError *error = NULL;

	for (unsigned i = 0; i < s->n; i++) {
		struct opts *opts = opts_parse("edu", "driver", &error);
		struct device *d = device_new(s->loop, opts, NULL, &error);
		struct sockaddr_un sa = address(i);
		struct vfio_user_options o = {.path = sa.sun_path};

		opts_free(opts);
		if (d)
			o.function = device_function(d);
		if (!d || !vfio_user_new(s->loop, &o, &error)) {
			fprintf(stderr, "vfio_user_bench: %s\n", error->message);
			_exit(1);
		}
	}
	if (write(s->ready, "", 1) != 1)
		_exit(1);
}

/* A process with n devices; it is killed in the end. */
static pid_t start_server(unsigned n)
{
	struct server s = {.n = n};
	int ready[2];
	pid_t pid;
	char c;

	if (pipe(ready) < 0)
		die("pipe");
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		log_set_level(LOG_ERROR);
		s.loop = loop_new(LOOP_AUTO, NULL);
		s.ready = ready[1];
		co_start(s.loop, set_up, &s);
		loop_run(s.loop);
		_exit(1);
	}
	close(ready[1]);
	if (read(ready[0], &c, 1) != 1)
		exit(1);
	close(ready[0]);
	return pid;
}

static void receive(int fd, void *buf, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = recv(fd, (char *)buf + done, len - done, 0);

		if (n <= 0)
			die("recv");
		done += (size_t)n;
	}
}

static void transmit(int fd, const void *buf, size_t len)
{
	if (send(fd, buf, len, MSG_NOSIGNAL) != (ssize_t)len)
		die("send");
}

static pid_t start_echo(int *fd)
{
	uint8_t buf[REPLY_LEN] = {0};
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		die("socketpair");
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;) {
			receive(pair[1], buf, REQUEST_LEN);
			transmit(pair[1], buf, REPLY_LEN);
		}
	}
	close(pair[1]);
	*fd = pair[0];
	return pid;
}

static void put_header(uint8_t *m, unsigned command, size_t len)
{
	memset(m, 0, len);
	vfu_put(m, HDR_COMMAND, command);
	vfu_put(m, HDR_SIZE, len);
}

static int connect_client(void)
{
	struct sockaddr_un sa = address(0);
	uint8_t m[4096];
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		die(sa.sun_path);
	put_header(m, VFU_VERSION, VERSION_LEN);
	transmit(fd, m, VERSION_LEN);
	receive(fd, m, VFU_HEADER_LEN);
	receive(fd, m, vfu_get32(m, HDR_SIZE) - VFU_HEADER_LEN);
	return fd;
}

/* Microseconds of one request and its answer. */
static double round_trip(int fd, unsigned reads)
{
	uint8_t request[REQUEST_LEN], reply[REPLY_LEN];
	uint64_t begin;

	put_header(request, VFU_REGION_READ, sizeof(request));
	vfu_put(request + VFU_HEADER_LEN, ACCESS_COUNT, 4);
	begin = loop_now_ns();
	for (unsigned i = 0; i < reads; i++) {
		transmit(fd, request, sizeof(request));
		receive(fd, reply, sizeof(reply));
	}
	return (double)(loop_now_ns() - begin) / 1000 / reads;
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *v, unsigned n)
{
	qsort(v, n, sizeof(*v), compare_doubles);
	return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static void stop(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* Private and shared memory of a process in MiB, from its smaps. */
static double memory_of(pid_t pid)
{
	char path[64], line[256];
	unsigned long kb, sum = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
	f = fopen(path, "r");
	if (!f)
		die(path);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "Rss: %lu", &kb) == 1)
			sum += kb;
	}
	fclose(f);
	return (double)sum / 1024;
}

static void remove_sockets(void)
{
	for (unsigned i = 0; i < DEVICES_MAX; i++) {
		struct sockaddr_un sa = address(i);

		unlink(sa.sun_path);
	}
}

int main(int argc, char **argv)
{
	bool json = argc > 1 && strcmp(argv[1], "--json") == 0;
	unsigned rounds = argc > 1 + json ? (unsigned)strtoul(argv[1 + json], NULL, 0) : 21;
	unsigned reads = argc > 2 + json ? (unsigned)strtoul(argv[2 + json], NULL, 0) : 20000;
	double ours[ROUNDS_MAX], bare[ROUNDS_MAX], ratios[ROUNDS_MAX], idle;
	int client, echo;
	pid_t server, echo_pid;

	if (!rounds || rounds > ROUNDS_MAX || !reads || !mkdtemp(dir)) {
		fprintf(stderr, "usage: vfio_user_bench [--json] [ROUNDS [READS]]\n");
		return 2;
	}
	server = start_server(DEVICES_MAX);
	idle = memory_of(server);
	stop(server);
	remove_sockets();
	server = start_server(1);
	echo_pid = start_echo(&echo);
	client = connect_client();
	for (unsigned i = 0; i < rounds; i++) {
		bare[i] = round_trip(echo, reads);
		ours[i] = round_trip(client, reads);
		ratios[i] = ours[i] / bare[i];
	}
	stop(server);
	stop(echo_pid);
	remove_sockets();
	rmdir(dir);
	printf(json ? "{\"read_us\": %.3f, \"bare_us\": %.3f, \"ratio\": %.3f, \"idle100_mb\": "
		      "%.1f}\n"
		    : "register read %.3f us, bare ping-pong %.3f us, ratio %.3f (at most 1.15)\n"
		      "100 idle edu devices: %.1f MB (at most 20)\n",
	       median(ours, rounds), median(bare, rounds), median(ratios, rounds), idle);
	return 0;
}
