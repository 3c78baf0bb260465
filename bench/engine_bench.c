/*
 * The SCSI engine without a VM against bare I/O on the same kind of file, interleaved in one run: sequential WRITE(10)
 * into a .disc against pwrite, READ(10) against pread, and creating and opening a 100 GB disc. Medians of rounds.
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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = 2048, PER_COMMAND = 32, CHUNK = BLOCK * PER_COMMAND, ROUNDS_MAX = 64 };

struct bench {
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

static double rate(const struct bench *b, uint64_t start_ns)
{
	return (double)b->bytes / 1e6 / ((double)(loop_now_ns() - start_ns) / 1e9);
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

static bool fail(struct bench *b, const char *what, GError *error)
{
	fprintf(stderr, "engine_bench: %s: %s\n", what, error ? error->message : g_strerror(errno));
	g_clear_error(&error);
	b->failed = true;
	return false;
}

/* The same bytes by plain system calls, one chunk a call, into a sparse file as long as the disc's. */
static bool plain(struct bench *b, unsigned round)
{
	g_autofree char *path = g_strdup_printf("%s/plain.%d", b->folder, getpid());
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	uint64_t start;
	bool ok;

	if (fd < 0)
		return fail(b, path, NULL);
	ok = ftruncate(fd, (off_t)4700372992) == 0;
	start = loop_now_ns();
	for (uint64_t off = 0; ok && off < b->bytes; off += CHUNK)
		ok = pwrite(fd, b->data, CHUNK, (off_t)off) == CHUNK;
	b->plain_write[round] = rate(b, start);
	start = loop_now_ns();
	for (uint64_t off = 0; ok && off < b->bytes; off += CHUNK)
		ok = pread(fd, b->data, CHUNK, (off_t)off) == CHUNK;
	b->plain_read[round] = rate(b, start);
	close(fd);
	unlink(path);
	return ok || fail(b, path, NULL);
}

static co_fn bool transfer(struct bench *b, struct scsi_nexus *nexus, uint8_t opcode, uint64_t off)
{
	struct iovec v = {b->data, CHUNK};
	struct scsi_cmd c = {.nexus = nexus};

	c.cdb[0] = opcode;
	put_be32(c.cdb + 2, (uint32_t)(off / BLOCK));
	put_be16(c.cdb + 7, PER_COMMAND);
	*(opcode == 0x2a ? &c.out : &c.in) = (struct iovs){&v, 1, CHUNK};
	scsi_execute(&c);
	if (c.status == SCSI_GOOD)
		return true;
	fprintf(stderr, "engine_bench: opcode %02x at %llu: sense %x/%02x/%02x\n", opcode, (unsigned long long)off,
		c.sense[2] & 15, c.sense[12], c.sense[13]);
	b->failed = true;
	return false;
}

static co_fn void settle(struct scsi_nexus *nexus)
{
	for (int i = 0; i < 4; i++) {
		struct scsi_cmd c = {.nexus = nexus};

		scsi_execute(&c);	/* TEST UNIT READY takes the pending unit attentions */
	}
}

static co_fn bool engine(struct bench *b, unsigned round)
{
	g_autofree char *path = g_strdup_printf("%s/bench.%d.disc", b->folder, getpid());
	GError *error = NULL;
	struct drive_options o = {.id = "bench"};
	struct drive *drive;
	struct disc *disc;
	struct scsi_nexus *nexus;
	uint64_t start;
	bool ok = true;

	if (!disc_create(path, disc_type_find("dvd+r"), 0, false, &error))
		return fail(b, path, error);
	disc = disc_open(path, DISC_OPEN_RDWR, 0, &error);
	drive = disc ? drive_new(b->loop, &o, &error) : NULL;
	if (!drive || !drive_insert(drive, disc, false, &error))
		return fail(b, path, error);
	nexus = scsi_nexus_new(drive_lu(drive), "bench", NULL, NULL, false);
	settle(nexus);
	start = loop_now_ns();
	for (uint64_t off = 0; ok && off < b->bytes; off += CHUNK)
		ok = transfer(b, nexus, 0x2a, off);
	b->engine_write[round] = rate(b, start);
	start = loop_now_ns();
	for (uint64_t off = 0; ok && off < b->bytes; off += CHUNK)
		ok = transfer(b, nexus, 0x28, off);
	b->engine_read[round] = rate(b, start);
	scsi_nexus_free(nexus);
	drive_free(drive);
	unlink(path);
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
		if (!plain(b, i) || !engine(b, i) || !large(b, i))
			break;
	loop_stop(b->loop);
}

static void start_rounds(struct loop_task *task)
{
	extern struct bench *the_bench;

	(void)task;
	co_start(the_bench->loop, rounds, the_bench);
}

struct bench *the_bench;

static void report(struct bench *b)
{
	double ew = median(b->engine_write, b->rounds), pw = median(b->plain_write, b->rounds);
	double er = median(b->engine_read, b->rounds), pr = median(b->plain_read, b->rounds);
	double create = median(b->create_ms, b->rounds), open_ms = median(b->open_ms, b->rounds);

	if (b->json) {
		printf("{\"loop\": \"%s\", \"write_mb_s\": %.1f, \"pwrite_mb_s\": %.1f, \"write_ratio\": %.3f, "
		       "\"read_mb_s\": %.1f, \"pread_mb_s\": %.1f, \"read_ratio\": %.3f, "
		       "\"create_100gb_ms\": %.2f, \"open_100gb_ms\": %.2f}\n",
		       loop_backend_name(b->loop), ew, pw, ew / pw, er, pr, er / pr, create, open_ms);
		return;
	}
	printf("engine on %s, %u KiB a command, medians of %u rounds of %llu MB\n", loop_backend_name(b->loop),
	       CHUNK / 1024, b->rounds, (unsigned long long)(b->bytes / 1000000));
	printf("  WRITE(10) %8.1f MB/s   pwrite %8.1f MB/s   ratio %.2f (at least 0.80)\n", ew, pw, ew / pw);
	printf("  READ(10)  %8.1f MB/s   pread  %8.1f MB/s   ratio %.2f (at least 0.90)\n", er, pr, er / pr);
	printf("  100 GB disc: create %.2f ms, open %.2f ms (at most 10 each)\n", create, open_ms);
}

int main(int argc, char **argv)
{
	struct loop_task begin = {.run = start_rounds};
	struct bench b = {.rounds = 7};
	GError *error = NULL;

	if (argc > 1 && !strcmp(argv[1], "--json")) {
		b.json = true;
		argv++;
		argc--;
	}
	b.folder = argc > 1 ? argv[1] : g_get_tmp_dir();
	b.bytes = (argc > 2 ? strtoull(argv[2], NULL, 10) : 256) * 1000000 / CHUNK * CHUNK;
	if (argc > 3)
		b.rounds = (unsigned)CLAMP(atoi(argv[3]), 1, ROUNDS_MAX);
	b.data = g_malloc(CHUNK);
	memset(b.data, 0xa5, CHUNK);
	b.loop = loop_new(LOOP_AUTO, &error);
	if (!b.loop) {
		fail(&b, "loop", error);
		return 1;
	}
	the_bench = &b;
	loop_post(b.loop, &begin);
	loop_run(b.loop);
	if (!b.failed)
		report(&b);
	loop_free(b.loop);
	g_free(b.data);
	return b.failed;
}
