/* A drive with a disc on a real file for tests: see mmc_fixture.h. */
#include "mmc_fixture.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <stdio.h>

enum { WAIT_TRIES = 5000, WAIT_NS = 1000000, PAGE5_LEN = 60 };

void fx_fail(struct fx *f, int line, const char *format, ...)
{
	va_list args;

	f->failed = true;
	fprintf(stderr, "line %d: ", line);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

size_t fx_hex(const char *text, uint8_t *bytes, size_t max)
{
	size_t n = 0;

	for (; *text; text++) {
		if (g_ascii_isspace(*text))
			continue;
		if (n == max || !g_ascii_isxdigit(text[0]) || !g_ascii_isxdigit(text[1]))
			abort(); /* a mistake in the test */
		bytes[n++] = (uint8_t)(g_ascii_xdigit_value(text[0]) << 4 |
				       g_ascii_xdigit_value(text[1]));
		text++;
	}
	return n;
}

co_fn enum sense fx_command(struct fx *f, const char *cdb, size_t out_len, size_t room)
{
	struct iovec in = {f->in, room}, out = {f->out, out_len};
	struct scsi_cmd c = {
		.nexus = f->nexus,
		.replay = f->replay,
		.in = {&in, room ? 1 : 0, room},
		.out = {&out, out_len ? 1 : 0, out_len},
	};

	fx_hex(cdb, c.cdb, sizeof(c.cdb));
	memset(f->in, 0x5a, sizeof(f->in));
	scsi_execute(&c);
	f->in_done = c.in_done;
	f->out_done = c.out_done;
	memcpy(f->sense_bytes, c.sense, sizeof(f->sense_bytes));
	f->sense = c.status == SCSI_GOOD
			   ? SENSE_GOOD
			   : (enum sense)SENSE(c.sense[2] & 15, c.sense[12], c.sense[13]);
	if (c.status != SCSI_GOOD && c.status != SCSI_CHECK)
		fx_fail(f, 0, "%s: status %02x", cdb, c.status);
	if (room < FX_ROOM && f->in[room] != 0x5a)
		fx_fail(f, 0, "%s: wrote behind the room of %zu bytes", cdb, room);
	return f->sense;
}

static void expect_sense(struct fx *f, int line, const char *cdb, enum sense sense)
{
	if (f->sense != sense)
		fx_fail(f, line, "%s: sense %06x, expected %06x", cdb, f->sense, sense);
}

co_fn void fx_expect(struct fx *f, int line, const char *cdb, const char *out, enum sense sense)
{
	size_t len = out ? fx_hex(out, f->out, sizeof(f->out)) : 0;

	fx_command(f, cdb, len, FX_ROOM / 2);
	expect_sense(f, line, cdb, sense);
}

co_fn void fx_expect_reply(struct fx *f, int line, const char *cdb, const char *reply)
{
	uint8_t expected[512];
	size_t len = fx_hex(reply, expected, sizeof(expected));

	fx_command(f, cdb, 0, FX_ROOM / 2);
	expect_sense(f, line, cdb, SENSE_GOOD);
	if (f->in_done != len)
		fx_fail(f, line, "%s: %zu bytes, expected %zu", cdb, f->in_done, len);
	for (size_t i = 0; i < MIN(len, f->in_done); i++) {
		if (f->in[i] != expected[i])
			fx_fail(f, line, "%s: byte %zu is %02x, expected %02x", cdb, i, f->in[i],
				expected[i]);
	}
}

co_fn void fx_expect_value(struct fx *f, int line, const char *cdb, unsigned off, unsigned bytes,
			   uint32_t value)
{
	uint32_t got;

	fx_command(f, cdb, 0, FX_ROOM / 2);
	expect_sense(f, line, cdb, SENSE_GOOD);
	if (f->in_done < off + bytes) {
		fx_fail(f, line, "%s: only %zu bytes", cdb, f->in_done);
		return;
	}
	got = bytes == 1 ? f->in[off] : get_be32(f->in + off);
	if (got != value)
		fx_fail(f, line, "%s: %08x at byte %u, expected %08x", cdb, got, off, value);
}

/* Blocks tell their address and the seed. */
static void make_pattern(struct fx *f, uint8_t *p, int32_t lba, uint32_t blocks)
{
	for (uint32_t i = 0; i < blocks; i++, p += FX_BLOCK) {
		memset(p, (int)(f->seed + (uint32_t)lba + i), FX_BLOCK);
		put_be32(p, (uint32_t)lba + i);
		put_be32(p + FX_BLOCK - 4, f->seed);
	}
}

static void rw_cdb(char *text, size_t len, unsigned op, int32_t lba, uint32_t n)
{
	uint8_t a[4];

	put_be32(a, (uint32_t)lba);
	g_snprintf(text, len, "%02x 00 %02x %02x %02x %02x 00 %02x %02x 00", op, a[0], a[1], a[2],
		   a[3], n >> 8, n & 255);
}

co_fn void fx_write(struct fx *f, int line, int32_t lba, uint32_t blocks, enum sense sense)
{
	char cdb[64];

	while (blocks > 0 && !f->failed) {
		uint32_t n = MIN(blocks, 32);

		make_pattern(f, f->out, lba, n);
		rw_cdb(cdb, sizeof(cdb), 0x2a, lba, n);
		fx_command(f, cdb, (size_t)n * FX_BLOCK, 0);
		expect_sense(f, line, cdb, sense);
		if (f->out_done != (sense == SENSE_GOOD ? (size_t)n * FX_BLOCK : 0))
			fx_fail(f, line, "%s: %zu bytes taken", cdb, f->out_done);
		lba += (int32_t)n;
		blocks -= n;
	}
}

co_fn void fx_read(struct fx *f, int line, int32_t lba, uint32_t blocks)
{
	char cdb[64];

	while (blocks > 0 && !f->failed) {
		uint32_t n = MIN(blocks, 32);
		size_t len = (size_t)n * FX_BLOCK;

		rw_cdb(cdb, sizeof(cdb), 0x28, lba, n);
		fx_command(f, cdb, 0, len);
		expect_sense(f, line, cdb, SENSE_GOOD);
		make_pattern(f, f->out, lba, n);
		if (f->in_done != len || memcmp(f->in, f->out, len))
			fx_fail(f, line, "%s: other data than written", cdb);
		lba += (int32_t)n;
		blocks -= n;
	}
}

co_fn void fx_wait(struct fx *f, int line)
{
	unsigned tries = 0;

	while (fx_command(f, TUR, 0, 0) != SENSE_GOOD && sense_key(f->sense) == 2 &&
	       sense_asc(f->sense) == 4) {
		if (++tries > WAIT_TRIES) {
			fx_fail(f, line, "still busy: %06x", f->sense);
			return;
		}
		co_sleep_ns(WAIT_NS);
	}
	expect_sense(f, line, TUR, SENSE_GOOD);
}

co_fn void fx_page5(struct fx *f, int line, unsigned byte2, unsigned byte3, unsigned block_type)
{
	uint8_t *page = f->out + 8;

	memset(f->out, 0, PAGE5_LEN);
	page[0] = 0x05;
	page[1] = 0x32;
	page[2] = (uint8_t)byte2;
	page[3] = (uint8_t)byte3;
	page[4] = (uint8_t)block_type;
	page[5] = byte3 & 0x20 ? 16 : 0;
	page[13] = byte3 & 0x20 ? 16 : 0;
	page[15] = 150;
	fx_command(f, "55 10 00 00 00 00 00 00 3c 00", PAGE5_LEN, 0);
	expect_sense(f, line, "MODE SELECT page 05", SENSE_GOOD);
}

static co_fn void take_attentions(struct fx *f)
{
	for (unsigned i = 0; i < 4 && fx_command(f, TUR, 0, 0) != SENSE_GOOD; i++) {
		if (sense_key(f->sense) != 6 && f->sense != SENSE_NO_MEDIUM)
			break;
	}
}

static co_fn struct disc *open_disc(struct fx *f)
{
	GError *error = NULL;
	struct disc *disc = disc_open(f->path, f->open_flags, f->rom, &error);

	if (!disc)
		fx_fail(f, 0, "%s", error->message);
	g_clear_error(&error);
	return disc;
}

static co_fn void insert(struct fx *f)
{
	struct disc *disc = open_disc(f);
	GError *error = NULL;

	if (disc && !drive_insert(f->drive, disc, false, &error))
		fx_fail(f, 0, "%s", error->message);
	g_clear_error(&error);
	take_attentions(f);
}

co_fn void fx_reload(struct fx *f, int line, bool reopen)
{
	GError *error = NULL;

	if (reopen) {
		if (!drive_eject(f->drive, true, &error))
			fx_fail(f, line, "%s", error->message);
		g_clear_error(&error);
		insert(f);
	} else {
		fx_expect(f, line, "1b 00 00 00 02 00", NULL, SENSE_GOOD);
		fx_expect(f, line, TUR, NULL, SENSE_NO_MEDIUM_OPEN);
		fx_expect(f, line, "1b 00 00 00 03 00", NULL, SENSE_GOOD);
		fx_expect(f, line, TUR, NULL, SENSE_MEDIUM_CHANGED);
	}
	fx_expect(f, line, TUR, NULL, SENSE_GOOD);
}

static co_fn void make_disc(struct fx *f)
{
	const struct disc_type *type;
	GError *error = NULL;

	if (f->rom) {
		uint8_t *image = g_malloc((size_t)f->blocks * FX_BLOCK);

		make_pattern(f, image, 0, f->blocks);
		g_file_set_contents(f->path, (char *)image, (gssize)f->blocks * FX_BLOCK, NULL);
		g_free(image);
		return;
	}
	type = disc_type_find(f->type);
	if (!type || !disc_create(f->path, type, f->blocks, false, &error))
		fx_fail(f, 0, "%s: %s", f->type, error ? error->message : "no such type");
	g_clear_error(&error);
}

static co_fn void run_body(void *arg)
{
	struct drive_options options = {.id = "test"};
	GError *error = NULL;
	struct fx *f = arg;

	f->drive = drive_new(f->loop, &options, &error);
	if (!f->drive) {
		fx_fail(f, 0, "%s", error->message);
		g_clear_error(&error);
		loop_stop(f->loop);
		return;
	}
	f->nexus = scsi_nexus_new(drive_lu(f->drive), "test", NULL, NULL, false);
	if (f->type || f->rom)
		make_disc(f);
	if ((f->type || f->rom) && !f->failed)
		insert(f);
	take_attentions(f);
	if (!f->failed)
		f->body(f);
	scsi_nexus_free(f->nexus);
	drive_free(f->drive);
	loop_stop(f->loop);
}

bool fx_backend_is_missing(void)
{
	struct loop *loop = loop_new(LOOP_AUTO, NULL);

	loop_free(loop);
	return !loop;
}

static void run_fixture(struct fx *f)
{
	GError *error = NULL;
	bool failed;

	f->seed = 0x1234;
	f->open_flags = DISC_OPEN_RDWR;
	f->dir = g_dir_make_tmp("ob-mmc-XXXXXX", &error);
	f->path = g_build_filename(f->dir, f->rom ? "test.iso" : "test.disc", NULL);
	f->loop = loop_new(LOOP_AUTO, &error);
	assert_null(error);
	co_start(f->loop, run_body, f);
	loop_run(f->loop);
	loop_free(f->loop);
	g_unlink(f->path);
	g_rmdir(f->dir);
	failed = f->failed;
	g_free(f->path);
	g_free(f->dir);
	g_free(f);
	assert_false(failed);
}

void fx_run(const char *type, uint32_t blocks, void (*body)(struct fx *f))
{
	struct fx *f = g_new0(struct fx, 1);

	f->type = type;
	f->blocks = blocks;
	f->body = body;
	run_fixture(f);
}

void fx_run_rom(uint16_t profile, uint32_t blocks, void (*body)(struct fx *f))
{
	struct fx *f = g_new0(struct fx, 1);

	f->rom = profile;
	f->blocks = blocks;
	f->body = body;
	run_fixture(f);
}
