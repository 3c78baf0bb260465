/*
 * Register accesses of a device that is a program: this program itself, started as "exec:", in the
 * binary form. Reads one after the other, reads with several under way, and posted writes, against
 * a bare ping-pong of messages of the same sizes over two pipes in the same run. Figures are
 * medians of rounds in turns.
 *
 * usage: remote_bench [--json]
 */
#include "base/bytes.h"
#include "base/co.h"
#include "device/device.h"
#include "device/remote_codec.h"
#include "pci/function.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	ROUNDS = 7,
	ACCESSES = 40000,
	DEPTH = 16,
	BURST = 256, /* writes of a turn; a read then waits for them */
	READ_LEN = REMOTE_HEADER_LEN + 8,
};

/* ---- The program at the other end ---- */

static void write_all(int fd, const uint8_t *p, size_t len)
{
	while (len) {
		ssize_t n = write(fd, p, len);

		if (n <= 0)
			_exit(1);
		p += n;
		len -= (size_t)n;
	}
}

/* Answers of a buffer of whole messages; the bytes used. */
static size_t answer(const uint8_t *buf, size_t len, uint8_t *out, size_t *out_len)
{
	size_t at = 0;

	while (len - at >= REMOTE_HEADER_LEN && len - at >= get_le32(buf + at)) {
		const uint8_t *m = buf + at;
		unsigned type = m[4];
		uint8_t *r = out + *out_len;

		at += get_le32(m);
		if (type != REMOTE_READ && type != REMOTE_RESET)
			continue;
		memset(r, 0, READ_LEN);
		put_le32(r, type == REMOTE_READ ? READ_LEN : REMOTE_HEADER_LEN);
		r[4] = REMOTE_DONE;
		memcpy(r + 8, m + 8, 4);
		*out_len += get_le32(r);
	}
	return at;
}

static int be_program(void)
{
	static const char describe[] =
		"{\"op\":\"describe\",\"protocol\":1,\"vendor\":\"0x1af4\",\"device\":1,"
		"\"bars\":[{\"index\":0,\"size\":4096}],\"format\":\"binary\"}\n";
	static uint8_t in[65536], out[65536];
	size_t have = 0;
	char c = 0;

	while (c != '\n') {
		if (read(0, &c, 1) != 1)
			return 1;
	}
	write_all(1, (const uint8_t *)describe, sizeof(describe) - 1);
	for (;;) {
		ssize_t n = read(0, in + have, sizeof(in) - have);
		size_t used, out_len = 0;

		if (n <= 0)
			return 0;
		have += (size_t)n;
		used = answer(in, have, out, &out_len);
		memmove(in, in + used, have - used);
		have -= used;
		write_all(1, out, out_len);
	}
}

/* ---- The bare ping-pong ---- */

struct pair {
	int to, from;
	pid_t pid;
};

static bool start_pair(struct pair *p)
{
	int a[2], b[2];
	uint8_t m[READ_LEN];

	if (pipe(a) < 0 || pipe(b) < 0)
		return false;
	p->pid = fork();
	if (p->pid == 0) {
		close(a[1]);
		close(b[0]);
		while (read(a[0], m, sizeof(m)) == sizeof(m))
			write_all(b[1], m, sizeof(m));
		_exit(0);
	}
	close(a[0]);
	close(b[1]);
	p->to = a[1];
	p->from = b[0];
	return p->pid > 0;
}

static double ping_pong(const struct pair *p)
{
	uint64_t start = loop_now_ns();
	uint8_t m[READ_LEN] = {0};

	for (unsigned i = 0; i < ACCESSES; i++) {
		write_all(p->to, m, sizeof(m));
		if (read(p->from, m, sizeof(m)) != sizeof(m))
			return 0;
	}
	return ACCESSES * 1e9 / (double)(loop_now_ns() - start);
}

/* ---- The device ---- */

struct flight {
	struct pci_call call;
	struct run *run;
	uint32_t value;
};

struct run {
	struct pci_function *f;
	struct co *co;
	struct flight flights[DEPTH];
	struct loop_task more;
	unsigned depth, started, ended;
	bool write, failed, over;
};

static void step(struct flight *x)
{
	struct run *r = x->run;

	if (r->started == ACCESSES)
		return;
	r->started++;
	if (pci_function_read(r->f, 0, 0, &x->value, 4, &x->call) != PCI_PENDING)
		r->failed = true;
}

static void read_done(struct pci_call *call, int res)
{
	struct flight *x = (struct flight *)call;
	struct run *r = x->run;

	r->failed |= res != 0 || x->value != 0;
	r->over = ++r->ended == ACCESSES || r->failed;
	if (r->over)
		co_wake(r->co);
	else
		step(x);
}

/* Writes in bursts; a read behind each burst waits for them, as a driver does. */
static void burst_done(struct pci_call *call, int res)
{
	struct flight *x = (struct flight *)call;
	struct run *r = x->run;
	struct pci_call posted = {0};

	r->failed |= res != 0;
	r->over = r->ended >= ACCESSES || r->failed;
	if (r->over) {
		co_wake(r->co);
		return;
	}
	for (unsigned i = 0; i < BURST - 1; i++)
		r->failed |= pci_function_write(r->f, 0, 4, &x->value, 4, &posted) != 0;
	r->ended += BURST;
	if (pci_function_read(r->f, 0, 0, &x->value, 4, &x->call) != PCI_PENDING)
		r->failed = true;
}

static void begin(void *arg)
{
	struct run *r = arg;

	for (unsigned i = 0; i < r->depth; i++) {
		r->flights[i].run = r;
		r->flights[i].call.done = r->write ? burst_done : read_done;
		if (r->write)
			burst_done(&r->flights[i].call, 0);
		else
			step(&r->flights[i]);
	}
}

static co_fn double accesses(struct pci_function *f, unsigned depth, bool write)
{
	struct run r = {.f = f, .co = co_self(), .depth = depth, .write = write};
	uint64_t start = loop_now_ns();

	pci_on_loop_stack(begin, &r);
	while (!r.over)
		co_yield();
	return r.failed ? 0 : r.ended * 1e9 / (double)(loop_now_ns() - start);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v)
{
	qsort(v, ROUNDS, sizeof(*v), compare);
	return v[ROUNDS / 2];
}

struct bench {
	struct loop *loop;
	const char *self;
	double ping, reads, deep, writes, ratio;
	bool failed;
};

static co_fn void measure(struct bench *b, struct pci_function *f, const struct pair *p)
{
	double ping[ROUNDS], reads[ROUNDS], deep[ROUNDS], writes[ROUNDS], ratio[ROUNDS];

	for (unsigned i = 0; i < ROUNDS; i++) {
		ping[i] = ping_pong(p);
		reads[i] = accesses(f, 1, false);
		deep[i] = accesses(f, DEPTH, false);
		writes[i] = accesses(f, 1, true);
		ratio[i] = ping[i] ? reads[i] / ping[i] : 0;
	}
	b->ping = median(ping);
	b->reads = median(reads);
	b->deep = median(deep);
	b->writes = median(writes);
	b->ratio = median(ratio);
	b->failed = !ping[0] || !reads[0] || !deep[0] || !writes[0];
}

static co_fn void run(void *arg)
{
	struct bench *b = arg;
	g_autofree char *driver = g_strdup_printf("exec:'%s' program", b->self);
	struct opts *opts = opts_new();
	GError *error = NULL;
	struct device *d;
	struct pair p;

	b->failed = !start_pair(&p);
	opts_set(opts, "driver", driver);
	d = b->failed ? NULL : device_new(b->loop, opts, NULL, &error);
	opts_free(opts);
	if (d) {
		measure(b, device_function(d), &p);
		close(p.to);
		waitpid(p.pid, NULL, 0);
		device_free(d);
	} else {
		fprintf(stderr, "remote_bench: %s\n", error ? error->message : "no pipe");
		g_clear_error(&error);
		b->failed = true;
	}
	loop_stop(b->loop);
}

int main(int argc, char **argv)
{
	g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
	struct bench b = {.self = self};

	if (argc > 1 && strcmp(argv[1], "program") == 0)
		return be_program();
	signal(SIGPIPE, SIG_IGN);
	b.loop = loop_new(LOOP_AUTO, NULL);
	if (!b.loop || !self)
		return 1;
	co_start(b.loop, run, &b);
	loop_run(b.loop);
	loop_free(b.loop);
	if (b.failed)
		return 1;
	if (argc > 1 && strcmp(argv[1], "--json") == 0) {
		printf("{\"ping_per_s\": %.0f, \"reads_per_s\": %.0f, \"deep_reads_per_s\": %.0f, "
		       "\"accesses_per_s\": %.0f, \"ratio\": %.3f}\n",
		       b.ping, b.reads, b.deep, b.writes, b.ratio);
	} else {
		printf("exec program, binary form: reads %.0f/s one by one (%.2f of a bare "
		       "ping-pong's %.0f/s), %.0f/s with %d under way, posted writes with a read "
		       "behind each %d: %.0f accesses/s (goal 100000)\n",
		       b.reads, b.ratio, b.ping, b.deep, DEPTH, BURST - 1, b.writes);
	}
	return 0;
}
