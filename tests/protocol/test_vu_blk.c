/* Requests of a virtio disk behind vhost-user: good ones, odd ones and bad ones, on every ring. */
#include "vu_disk.h"
#include "vu_test.h"

#include "block/blklog.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

enum { SECTOR = 512, SECTORS = SERVER_DISK_LEN / SECTOR };

struct pair {
	struct vu_server s;
	struct vu_front f;
};

static void begin(struct pair *p, unsigned kind)
{
	p->s.is_disk = p->s.packed = true;
	p->s.max_queues = 2;
	front_of_kind(&p->f, kind);
	p->f.want = p->s.readonly ? VIRTIO_BLK_F_RO | VIRTIO_BLK_F_FLUSH : VU_BLK_WANT;
	p->f.n_queues = 2;
	server_init(&p->s);
	server_start(&p->s);
	vu_init(&p->f);
	vu_start(&p->f, p->s.path);
}

static void end(struct pair *p)
{
	vu_fini(&p->f);
	server_stop(&p->s);
	server_fini(&p->s);
}

static void fill(uint8_t *data, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		data[i] = (uint8_t)(seed + i * 7 + i / SECTOR);
}

static void expect_file(const struct vu_server *s, uint64_t off, const uint8_t *data, size_t len)
{
	g_autofree uint8_t *there = g_malloc(len);
	int fd = open(s->file, O_RDONLY | O_CLOEXEC);

	assert_int_equal(pread(fd, there, len, (off_t)off), (ssize_t)len);
	close(fd);
	assert_memory_equal(there, data, len);
}

static void every_ring_reads_and_writes(void **state)
{
	uint8_t data[8 * SECTOR], back[8 * SECTOR];

	(void)state;
	for (unsigned k = 0; k < RING_KINDS; k++) {
		struct pair p = {.s.is_disk = true};
		struct vu_slot *s;

		begin(&p, k);
		for (unsigned i = 0; i < 40; i++) {
			uint64_t sector = i * 37;

			fill(data, sizeof(data), i);
			assert_int_equal(vu_disk_write(&p.f, sector, data, sizeof(data)), 0);
			expect_file(&p.s, sector * SECTOR, data, sizeof(data));
			assert_int_equal(vu_disk_read(&p.f, sector, back, sizeof(back)), 0);
			assert_memory_equal(back, data, sizeof(data));
		}
		assert_int_equal(vu_disk_simple(&p.f, VU_BLK_FLUSH, NULL, 0), 0);
		s = vu_slot(&p.f, 1); /* the other queue */
		vu_disk_post(&p.f, s, VU_BLK_ID, 0, 20);
		vu_wait(&p.f, s);
		assert_int_equal(vu_disk_status(s), 0);
		assert_int_equal(s->written, 21);
		assert_memory_equal(s->data, "a serial of 20 chars", 20);
		end(&p);
	}
}

/* What is said of the bytes written: data and status of a read, the status of a write. */
static void used_lengths(void **state)
{
	struct pair p = {.s.is_disk = true};
	struct vu_slot *s;

	(void)state;
	begin(&p, 3);
	s = vu_slot(&p.f, 0);
	vu_disk_post(&p.f, s, VU_BLK_IN, 0, 4096);
	vu_wait(&p.f, s);
	assert_int_equal(s->written, 4097);
	vu_free(s);
	s = vu_slot(&p.f, 0);
	vu_disk_post(&p.f, s, VU_BLK_OUT, 0, 4096);
	vu_wait(&p.f, s);
	assert_int_equal(s->written, 1);
	vu_free(s);
	end(&p);
}

/* Cuts out[] and in[] lengths out of a slot: header, then data; data, then the status byte. */
static unsigned laid_out(struct pair *p, bool write, const unsigned *out, const unsigned *in)
{
	struct vu_slot *s = vu_slot(&p->f, 0);
	struct ring_buf b[16];
	unsigned n = 0, at = 0, status_at = 0;
	uint8_t *base = s->data;

	vu_disk_head(s, write ? VU_BLK_OUT : VU_BLK_IN, 5);
	memcpy(base, s->req, 16);
	fill(base + 16, 2 * SECTOR, 3);
	for (unsigned i = 0; out[i]; i++) { /* 1000: a descriptor of no bytes */
		unsigned len = out[i] == 1000 ? 0 : out[i];

		b[n++] = (struct ring_buf){vu_disk_gpa(&p->f, base + at), len, false};
		at += len;
	}
	at = 4096;
	for (unsigned i = 0; in[i]; i++) {
		unsigned len = in[i] == 1000 ? 0 : in[i];

		b[n++] = (struct ring_buf){vu_disk_gpa(&p->f, base + at), len, true};
		at += len;
		if (len)
			status_at = at - 1;
	}
	base[status_at] = VU_BLK_UNSET;
	vu_post(&p->f, s, b, n);
	vu_kick(&p->f, 0);
	vu_wait(&p->f, s);
	if (!write && base[status_at] == VU_BLK_OK)
		assert_memory_equal(base + 4096, base + 16, 2 * SECTOR);
	vu_free(s);
	return base[status_at];
}

static void descriptors_may_lie_anyhow(void **state)
{
	static const unsigned writes[][10] = {
		{16, 1024, 0},
		{1040, 0},
		{1, 2, 3, 10, 1024, 0},
		{8, 8 + 100, 924, 0},
		{1000, 16, 1000, 1024, 0},
		{16, 511, 1, 1, 511, 0},
	};
	static const unsigned reads[][10] = {
		{1024, 1, 0},    {1025, 0},     {1000, 512, 512, 1, 1000, 0},
		{1, 1023, 1, 0}, {500, 525, 0}, {1024, 1000, 1, 0},
	};
	static const unsigned head[] = {16, 0}, odd_head[] = {3, 1000, 13, 0}, status[] = {1, 0};

	(void)state;
	for (unsigned k = 0; k < RING_KINDS; k++) {
		struct pair p = {.s.is_disk = true};

		begin(&p, k);
		for (unsigned i = 0; i < G_N_ELEMENTS(writes); i++)
			assert_int_equal(laid_out(&p, true, writes[i], status), VU_BLK_OK);
		for (unsigned i = 0; i < G_N_ELEMENTS(reads); i++) {
			assert_int_equal(laid_out(&p, false, head, reads[i]), VU_BLK_OK);
			assert_int_equal(laid_out(&p, false, odd_head, reads[i]), VU_BLK_OK);
		}
		end(&p);
	}
}

static const struct bad {
	const char *what;
	uint32_t type;
	uint64_t sector;
	uint32_t len;
	unsigned status;
	uint32_t range[8]; /* sector, 0, count, flags */
} bads[] = {
	{"half a sector", VU_BLK_IN, 0, 256, VU_BLK_IOERR, {0}},
	{"write of a sector and a byte", VU_BLK_OUT, 0, 513, VU_BLK_IOERR, {0}},
	{"at the end", VU_BLK_IN, SECTORS, 512, VU_BLK_IOERR, {0}},
	{"over the end", VU_BLK_OUT, SECTORS - 1, 1024, VU_BLK_IOERR, {0}},
	{"far away", VU_BLK_IN, 1ull << 40, 512, VU_BLK_IOERR, {0}},
	{"wraps as bytes", VU_BLK_OUT, 1ull << 55, 512, VU_BLK_IOERR, {0}},
	{"last of all", VU_BLK_IN, UINT64_MAX, 512, VU_BLK_IOERR, {0}},
	{"unknown type", 3, 0, 512, VU_BLK_UNSUPP, {0}},
	{"with a barrier", 0x80000000u, 0, 512, VU_BLK_UNSUPP, {0}},
	{"get lifetime", 10, 0, 40, VU_BLK_UNSUPP, {0}},
	{"secure erase", 14, 0, 16, VU_BLK_UNSUPP, {0, 0, 8, 0}},
	{"no range", VU_BLK_DISCARD, 0, 0, VU_BLK_IOERR, {0}},
	{"part of a range", VU_BLK_DISCARD, 0, 15, VU_BLK_IOERR, {0}},
	{"a range and some", VU_BLK_ZEROES, 0, 17, VU_BLK_IOERR, {0}},
	{"too many ranges", VU_BLK_DISCARD, 0, 33 * 16, VU_BLK_IOERR, {0}},
	{"too many zeroes", VU_BLK_ZEROES, 0, 9 * 16, VU_BLK_IOERR, {0}},
	{"discard that unmaps", VU_BLK_DISCARD, 0, 16, VU_BLK_UNSUPP, {0, 0, 8, 1}},
	{"a flag of zeroes", VU_BLK_ZEROES, 0, 16, VU_BLK_UNSUPP, {0, 0, 8, 2}},
	{"discard over the end", VU_BLK_DISCARD, 0, 16, VU_BLK_IOERR, {SECTORS - 1, 0, 2, 0}},
	{"zeroes over the end", VU_BLK_ZEROES, 0, 16, VU_BLK_IOERR, {SECTORS, 0, 1, 0}},
	{"discard far away", VU_BLK_DISCARD, 0, 16, VU_BLK_IOERR, {0, 1u << 31, 1, 0}},
	{"too much at once", VU_BLK_ZEROES, 0, 16, VU_BLK_IOERR, {0, 0, (1 << 16) + 1, 0}},
	{"the second is bad",
	 VU_BLK_DISCARD,
	 0,
	 32,
	 VU_BLK_IOERR,
	 {0, 0, 8, 0, UINT32_MAX, 0, 1, 0}},
};

static void bad_requests_are_answered(void **state)
{
	uint8_t data[SECTOR];
	struct pair p = {.s.is_disk = true};

	(void)state;
	begin(&p, 3);
	fill(data, sizeof(data), 1);
	assert_int_equal(vu_disk_write(&p.f, 0, data, sizeof(data)), 0);
	for (unsigned i = 0; i < G_N_ELEMENTS(bads); i++) {
		struct vu_slot *s = vu_slot(&p.f, 0);

		for (unsigned k = 0; k < G_N_ELEMENTS(bads[i].range); k++)
			put_le32(s->data + 4 * k, bads[i].range[k]);
		vu_disk_post(&p.f, s, bads[i].type, bads[i].sector, bads[i].len);
		vu_wait(&p.f, s);
		if (vu_disk_status(s) != bads[i].status)
			fail_msg("%s: status %u, must be %u", bads[i].what, vu_disk_status(s),
				 bads[i].status);
		vu_free(s);
	}
	expect_file(&p.s, 0, data, sizeof(data)); /* nothing was done in part */
	end(&p);
}

static void a_header_that_is_cut_short_fails(void **state)
{
	struct pair p = {.s.is_disk = true};
	struct vu_slot *s;
	struct ring_buf b[2];

	(void)state;
	begin(&p, 0);
	s = vu_slot(&p.f, 0);
	b[0] = (struct ring_buf){vu_disk_gpa(&p.f, s->req), 15, false};
	b[1] = (struct ring_buf){vu_disk_gpa(&p.f, s->resp), 1, true};
	vu_post(&p.f, s, b, 2);
	vu_kick(&p.f, 0);
	vu_wait(&p.f, s);
	assert_int_equal(vu_disk_status(s), VU_BLK_IOERR);
	vu_free(s);
	end(&p);
}

/* A request with no room for its status stops its queue; the other one goes on. */
static void no_status_byte_stops_the_queue(void **state)
{
	struct pair p = {.s.is_disk = true};
	int err = eventfd(0, EFD_CLOEXEC);
	struct vu_slot *s, *other;
	struct ring_buf b;
	uint64_t count;

	(void)state;
	begin(&p, 3);
	assert_int_equal(vu_tell_u64(&p.f, VU_SET_VRING_ERR, 0, err), 0);
	s = vu_slot(&p.f, 0);
	vu_disk_head(s, VU_BLK_FLUSH, 0);
	b = (struct ring_buf){vu_disk_gpa(&p.f, s->req), 16, false};
	vu_post(&p.f, s, &b, 1);
	vu_kick(&p.f, 0);
	assert_int_equal(poll(&(struct pollfd){.fd = err, .events = POLLIN}, 1, 20000), 1);
	assert_int_equal(read(err, &count, 8), 8);
	other = vu_slot(&p.f, 1);
	vu_disk_post(&p.f, other, VU_BLK_IN, 0, 512);
	vu_wait(&p.f, other);
	assert_int_equal(vu_disk_status(other), 0);
	close(err);
	end(&p);
}

static uint64_t blocks_of(const struct vu_server *s)
{
	struct stat st;

	assert_int_equal(stat(s->file, &st), 0);
	return (uint64_t)st.st_blocks;
}

static void discard_gives_space_back_and_zeroes_may(void **state)
{
	g_autofree uint8_t *data = g_malloc(60 * 1024), *zero = g_malloc0(60 * 1024);
	struct pair p = {.s.is_disk = true};
	uint64_t full;

	(void)state;
	begin(&p, 3);
	memset(data, 7, 60 * 1024);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(vu_disk_write(&p.f, 128 * i, data, 60 * 1024), 0);
	full = blocks_of(&p.s);
	assert_int_equal(vu_disk_range(&p.f, VU_BLK_ZEROES, 0, 120, 0), VU_BLK_OK);
	expect_file(&p.s, 0, zero, 60 * 1024);
	assert_int_equal(blocks_of(&p.s), full);
	assert_int_equal(vu_disk_range(&p.f, VU_BLK_ZEROES, 128, 120, 1), VU_BLK_OK);
	expect_file(&p.s, 128 * SECTOR, zero, 60 * 1024);
	assert_true(blocks_of(&p.s) < full);
	full = blocks_of(&p.s);
	assert_int_equal(vu_disk_range(&p.f, VU_BLK_DISCARD, 256, 120, 0), VU_BLK_OK);
	assert_true(blocks_of(&p.s) < full);
	end(&p);
}

static void a_read_only_disk_is_not_written(void **state)
{
	struct pair p = {.s.readonly = true};
	uint8_t data[SECTOR] = {1};

	(void)state;
	begin(&p, 3);
	assert_true(vu_ask(&p.f, VU_GET_FEATURES) & VIRTIO_BLK_F_RO);
	assert_int_equal(vu_disk_write(&p.f, 0, data, sizeof(data)), VU_BLK_IOERR);
	assert_int_equal(vu_disk_range(&p.f, VU_BLK_DISCARD, 0, 8, 0), VU_BLK_IOERR);
	assert_int_equal(vu_disk_range(&p.f, VU_BLK_ZEROES, 0, 8, 0), VU_BLK_IOERR);
	assert_int_equal(vu_disk_simple(&p.f, VU_BLK_FLUSH, NULL, 0), VU_BLK_OK);
	assert_int_equal(vu_disk_read(&p.f, 0, data, sizeof(data)), VU_BLK_OK);
	assert_int_equal(data[0], 0);
	end(&p);
}

struct seen {
	struct block_node *node;
	unsigned writes, durable, flushes;
};

static void count_entries(void *arg)
{
	struct seen *seen = arg;
	unsigned n;
	const struct blklog_entry *e = blklog_entries(seen->node, &n);

	seen->writes = seen->durable = seen->flushes = 0;
	for (unsigned i = 0; i < n; i++) {
		seen->writes += e[i].kind == BLKLOG_WRITE;
		seen->durable += e[i].kind == BLKLOG_WRITE && e[i].fua;
		seen->flushes += e[i].kind == BLKLOG_FLUSH;
	}
}

static struct seen look(struct vu_server *s)
{
	struct seen seen = {.node = s->node};

	server_call(s, count_entries, &seen);
	return seen;
}

/* A driver that cannot flush, or switched the cache off, finds its writes durable. */
static void the_cache_is_as_the_driver_has_it(void **state)
{
	uint8_t data[SECTOR] = {1}, on = 1, off = 0, config[VIRTIO_BLK_CONFIG_LEN];
	struct pair p = {.s.is_disk = true};

	(void)state;
	begin(&p, 3);
	vu_disk_config(&p.f, config, sizeof(config));
	assert_int_equal(config[VIRTIO_BLK_C_WRITEBACK], 1);
	vu_disk_write(&p.f, 0, data, sizeof(data));
	assert_int_equal(look(&p.s).durable, 0);
	assert_int_equal(vu_disk_set_config(&p.f, VIRTIO_BLK_C_WRITEBACK, &off, 1), 0);
	assert_int_equal(look(&p.s).flushes, 1); /* what was written before */
	vu_disk_config(&p.f, config, sizeof(config));
	assert_int_equal(config[VIRTIO_BLK_C_WRITEBACK], 0);
	vu_disk_write(&p.f, 8, data, sizeof(data));
	assert_int_equal(look(&p.s).durable, 1);
	assert_int_equal(vu_disk_range(&p.f, VU_BLK_ZEROES, 0, 8, 0), VU_BLK_OK);
	assert_int_equal(look(&p.s).flushes, 2);
	assert_int_equal(vu_disk_range(&p.f, VU_BLK_ZEROES, 0, 8, 1), VU_BLK_OK);
	assert_int_equal(look(&p.s).flushes, 3);
	assert_int_equal(vu_disk_set_config(&p.f, VIRTIO_BLK_C_WRITEBACK, &on, 1), 0);
	vu_disk_write(&p.f, 16, data, sizeof(data));
	assert_int_equal(look(&p.s).durable, 1);
	vu_disconnect(&p.f);

	p.f.want = VIRTIO_BLK_F_SEG_MAX; /* neither FLUSH nor CONFIG_WCE */
	vu_start(&p.f, p.s.path);
	vu_disk_write(&p.f, 0, data, sizeof(data));
	assert_int_equal(look(&p.s).durable, 2);
	end(&p);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_ring_reads_and_writes),
		cmocka_unit_test(used_lengths),
		cmocka_unit_test(descriptors_may_lie_anyhow),
		cmocka_unit_test(bad_requests_are_answered),
		cmocka_unit_test(a_header_that_is_cut_short_fails),
		cmocka_unit_test(no_status_byte_stops_the_queue),
		cmocka_unit_test(discard_gives_space_back_and_zeroes_may),
		cmocka_unit_test(a_read_only_disk_is_not_written),
		cmocka_unit_test(the_cache_is_as_the_driver_has_it),
	};

	return RUN_SERVER_TESTS(tests);
}
