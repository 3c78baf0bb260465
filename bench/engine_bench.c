/*
 * The SCSI engine without a VM against bare I/O on the same kind of file, interleaved in one run:
 * sequential WRITE(10) into a .disc against pwrite, READ(10) against pread, and creating and
 * opening a 100 GB disc. Medians of rounds.
 *
 * usage: engine_bench [--json] [FOLDER [MEGABYTES [ROUNDS]]]
 */
#include "base/bytes.h"
#include "base/err.h"
#include "base/log.h"
#include "disc/disc.h"
#include "scsi/drive.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	BLOCK = 2048,
	PER_COMMAND = 32,
	CHUNK = BLOCK * PER_COMMAND,
	SLICE = 64 * CHUNK,
	ROUNDS_MAX = 64
};

struct bench {
	struct loop_task begin;
	struct loop *loop;
	const char *folder;
	uint64_t bytes;
	unsigned rounds;
	bool json, failed;
	uint8_t *data;
	double engine_write[ROUNDS_MAX], plain_write[ROUNDS_MAX];
	double engine_read[ROUNDS_MAX], plain_read[ROUNDS_MAX];
	double create_ms[ROUNDS_MAX], open_ms[ROUNDS_MAX];
};

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

static bool fail(struct bench *b, const char *what, GError *error)
{
	fprintf(stderr, "engine_bench: %s: %s\n", what, error ? error->message : g_strerror(errno));
	g_clear_error(&error);
	b->failed = true;
	return false;
}

/* Both sides of a comparison, open at once so that they take turns slice by slice and see the same
 * moods of the machine. */
struct pair {
	struct bench *b;
	int fd;
	char *plain_path, *disc_path;
	struct drive *drive;
	struct scsi_nexus *nexus;
	uint64_t plain_ns, engine_ns;
};

static bool plain_slice(struct pair *p, bool write, uint64_t off)
{
	uint64_t start = loop_now_ns();
	bool ok = true;

	for (uint64_t end = off + SLICE; ok && off < end; off += CHUNK)
		ok = (write ? pwrite(p->fd, p->b->data, CHUNK, (off_t)off)
			    : pread(p->fd, p->b->data, CHUNK, (off_t)off)) == CHUNK;
	p->plain_ns += loop_now_ns() - start;
	return ok || fail(p->b, p->plain_path, NULL);
}

static co_fn bool transfer(struct pair *p, bool write, uint64_t off)
{
	struct iovec v = {p->b->data, CHUNK};
	struct scsi_cmd c = {.nexus = p->nexus};

	c.cdb[0] = write ? 0x2a : 0x28;
	put_be32(c.cdb + 2, (uint32_t)(off / BLOCK));
	put_be16(c.cdb + 7, PER_COMMAND);
	*(write ? &c.out : &c.in) = (struct iovs){&v, 1, CHUNK};
	scsi_execute(&c);
	if (c.status == SCSI_GOOD)
		return true;
	fprintf(stderr, "engine_bench: opcode %02x at %llu: sense %x/%02x/%02x\n", c.cdb[0],
		(unsigned long long)off, c.sense[2] & 15, c.sense[12], c.sense[13]);
	p->b->failed = true;
	return false;
}

static co_fn bool engine_slice(struct pair *p, bool write, uint64_t off)
{
	uint64_t start = loop_now_ns();
	bool ok = true;

	for (uint64_t end = off + SLICE; ok && off < end; off += CHUNK)
		ok = transfer(p, write, off);
	p->engine_ns += loop_now_ns() - start;
	return ok;
}

static co_fn bool compare(struct pair *p, bool write, double *engine, double *plain)
{
	bool ok = true;

	p->plain_ns = p->engine_ns = 0;
	for (uint64_t off = 0; ok && off < p->b->bytes; off += SLICE)
		ok = plain_slice(p, write, off) && engine_slice(p, write, off);
	*engine = (double)p->b->bytes * 1e3 / (double)p->engine_ns;
	*plain = (double)p->b->bytes * 1e3 / (double)p->plain_ns;
	return ok;
}

static co_fn bool pair_open(struct pair *p)
{
	struct drive_options o = {.id = "bench"};
	GError *error = NULL;
	struct disc *disc;

	p->fd = open(p->plain_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	/* a sparse file as long as the disc's */
	if (p->fd < 0 || ftruncate(p->fd, (off_t)4700372992) < 0)
		return fail(p->b, p->plain_path, NULL);
	if (!disc_create(p->disc_path, disc_type_find("dvd+r"), 0, false, &error))
		return fail(p->b, p->disc_path, error);
	disc = disc_open(p->disc_path, DISC_OPEN_RDWR, 0, &error);
	p->drive = disc ? drive_new(p->b->loop, &o, &error) : NULL;
	if (!p->drive || !drive_insert(p->drive, disc, false, &error))
		return fail(p->b, p->disc_path, error);
	p->nexus = scsi_nexus_new(drive_lu(p->drive), "bench", NULL, NULL, false);
	for (int i = 0; i < 4; i++) {
		struct scsi_cmd c = {.nexus = p->nexus};

		scsi_execute(&c); /* TEST UNIT READY takes the pending unit attentions */
	}
	return true;
}

static co_fn bool measure(struct bench *b, unsigned round)
{
	struct pair p = {.b = b, .fd = -1};
	bool ok;

	p.plain_path = g_strdup_printf("%s/plain.%d", b->folder, getpid());
	p.disc_path = g_strdup_printf("%s/bench.%d.disc", b->folder, getpid());
	ok = pair_open(&p) && compare(&p, true, &b->engine_write[round], &b->plain_write[round]) &&
	     compare(&p, false, &b->engine_read[round], &b->plain_read[round]);
	if (p.nexus)
		scsi_nexus_free(p.nexus);
	drive_free(p.drive);
	if (p.fd >= 0)
		close(p.fd);
	unlink(p.plain_path);
	unlink(p.disc_path);
	g_free(p.plain_path);
	g_free(p.disc_path);
	return ok;
}

static co_fn bool large(struct bench *b, unsigned round)
{
	g_autofree char *path = g_strdup_printf("%s/large.%d.disc", b->folder, getpid());
	GError *error = NULL;
	uint64_t start = loop_now_ns();
	struct disc *d;

	if (!disc_create(path, disc_type_find("bd-r-tl"), 0, false, &error))
		return fail(b, path, error);
	b->create_ms[round] = (double)(loop_now_ns() - start) / 1e6;
	start = loop_now_ns();
	d = disc_open(path, DISC_OPEN_RDWR, 0, &error);
	b->open_ms[round] = (double)(loop_now_ns() - start) / 1e6;
	if (!d)
		return fail(b, path, error);
	disc_close(d, false);
	unlink(path);
	return true;
}

static co_fn void rounds(void *arg)
{
	struct bench *b = arg;

	for (unsigned i = 0; i < b->rounds && !b->failed; i++)
		if (!measure(b, i) || !large(b, i))
			break;
	loop_stop(b->loop);
}

static void start_rounds(struct loop_task *task)
{
	struct bench *b = (struct bench *)((char *)task - offsetof(struct bench, begin));

	co_start(b->loop, rounds, b);
}

static void report(struct bench *b)
{
	double ew = median(b->engine_write, b->rounds), pw = median(b->plain_write, b->rounds);
	double er = median(b->engine_read, b->rounds), pr = median(b->plain_read, b->rounds);
	double create = median(b->create_ms, b->rounds), open_ms = median(b->open_ms, b->rounds);

	if (b->json) {
		printf("{\"loop\": \"%s\", \"write_mb_s\": %.1f, \"pwrite_mb_s\": %.1f, "
		       "\"write_ratio\": %.3f, "
		       "\"read_mb_s\": %.1f, \"pread_mb_s\": %.1f, \"read_ratio\": %.3f, "
		       "\"create_100gb_ms\": %.2f, \"open_100gb_ms\": %.2f}\n",
		       loop_backend_name(b->loop), ew, pw, ew / pw, er, pr, er / pr, create,
		       open_ms);
		return;
	}
	printf("engine on %s, %u KiB a command, medians of %u rounds of %llu MB\n",
	       loop_backend_name(b->loop), CHUNK / 1024, b->rounds,
	       (unsigned long long)(b->bytes / 1000000));
	printf("  WRITE(10) %8.1f MB/s   pwrite %8.1f MB/s   ratio %.2f (at least 0.80)\n", ew, pw,
	       ew / pw);
	printf("  READ(10)  %8.1f MB/s   pread  %8.1f MB/s   ratio %.2f (at least 0.90)\n", er, pr,
	       er / pr);
	printf("  100 GB disc: create %.2f ms, open %.2f ms (at most 10 each)\n", create, open_ms);
}

int main(int argc, char **argv)
{
	struct bench b = {.begin.run = start_rounds, .rounds = 7};
	GError *error = NULL;

	if (argc > 1 && !strcmp(argv[1], "--json")) {
		b.json = true;
		argv++;
		argc--;
	}
	b.folder = argc > 1 ? argv[1] : g_get_tmp_dir();
	b.bytes = (argc > 2 ? strtoull(argv[2], NULL, 10) : 256) * 1000000 / SLICE * SLICE;
	if (argc > 3)
		b.rounds = (unsigned)CLAMP(atoi(argv[3]), 1, ROUNDS_MAX);
	b.data = g_malloc(CHUNK);
	memset(b.data, 0xa5, CHUNK);
	b.loop = loop_new(LOOP_AUTO, &error);
	if (!b.loop) {
		fail(&b, "loop", error);
		g_free(b.data);
		return 1;
	}
	loop_post(b.loop, &b.begin);
	loop_run(b.loop);
	if (!b.failed)
		report(&b);
	loop_free(b.loop);
	g_free(b.data);
	return b.failed;
}
