/* A disk in memory for tests: see sbc_fixture.h. */
#include "sbc_fixture.h"

#include <glib/gstdio.h>
#include <stdio.h>

#include "block/mem.h"

void sx_fail(struct sx *s, int line, const char *format, ...)
{
	va_list args;

	s->failed = true;
	fprintf(stderr, "line %d: ", line);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

size_t sx_hex(const char *text, uint8_t *bytes, size_t max)
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

/* The pieces are of odd lengths, as a guest's may be. */
static struct iovs odd_pieces(struct iovec v[3], uint8_t *buf, size_t len)
{
	size_t first = len > 700 ? 700 : len, second = len - first > 77 ? 77 : len - first;

	v[0] = (struct iovec){buf, first};
	v[1] = (struct iovec){buf + first, second};
	v[2] = (struct iovec){buf + first + second, len - first - second};
	return (struct iovs){v, len ? 3 : 0, len};
}

co_fn enum sense sx_command(struct sx *s, const char *cdb, size_t out_len, size_t room)
{
	struct iovec in[3], out[3];
	struct scsi_cmd c = {
		.nexus = s->nexus,
		.replay = s->replay,
		.ordered = s->ordered,
		.in = odd_pieces(in, s->in, room),
		.out = odd_pieces(out, s->out, out_len),
	};

	sx_hex(cdb, c.cdb, sizeof(c.cdb));
	memset(s->in, 0x5a, sizeof(s->in));
	scsi_execute(&c);
	s->in_done = c.in_done;
	s->out_done = c.out_done;
	s->status = c.status;
	memcpy(s->sense_bytes, c.sense, sizeof(s->sense_bytes));
	s->sense = c.status == SCSI_GOOD ? SENSE_GOOD
		   : c.status == SCSI_RESERVATION_CONFLICT
			   ? SENSE_STATUS_CONFLICT
			   : (enum sense)SENSE(c.sense[2] & 15, c.sense[12], c.sense[13]);
	if (room < SX_ROOM && s->in[room] != 0x5a)
		sx_fail(s, 0, "%s: wrote behind the room of %zu bytes", cdb, room);
	if (iovs_sum(in, room ? 3 : 0) != room || iovs_sum(out, out_len ? 3 : 0) != out_len)
		sx_fail(s, 0, "%s: left the initiator's list changed", cdb);
	return s->sense;
}

static void check_sense(struct sx *s, int line, const char *cdb, enum sense sense)
{
	if (s->sense != sense)
		sx_fail(s, line, "%s: sense %06x, expected %06x", cdb, s->sense, sense);
}

co_fn void sx_expect_out(struct sx *s, int line, const char *cdb, size_t out_len, enum sense sense)
{
	sx_command(s, cdb, out_len, out_len ? 0 : SX_ROOM / 2);
	check_sense(s, line, cdb, sense);
}

co_fn void sx_expect(struct sx *s, int line, const char *cdb, const char *out, enum sense sense)
{
	sx_expect_out(s, line, cdb, out ? sx_hex(out, s->out, sizeof(s->out)) : 0, sense);
}

co_fn void sx_expect_bytes(struct sx *s, int line, const char *cdb, size_t off, const char *hex)
{
	uint8_t expected[512];
	size_t len = sx_hex(hex, expected, sizeof(expected));

	sx_expect(s, line, cdb, NULL, SENSE_GOOD);
	if (s->in_done < off + len) {
		sx_fail(s, line, "%s: only %zu bytes", cdb, s->in_done);
		return;
	}
	for (size_t i = 0; i < len; i++) {
		if (s->in[off + i] != expected[i])
			sx_fail(s, line, "%s: byte %zu is %02x, expected %02x", cdb, off + i,
				s->in[off + i], expected[i]);
	}
}

co_fn void sx_expect_length(struct sx *s, int line, const char *cdb, size_t len)
{
	sx_expect(s, line, cdb, NULL, SENSE_GOOD);
	if (s->in_done != len)
		sx_fail(s, line, "%s: %zu bytes, expected %zu", cdb, s->in_done, len);
}

co_fn void sx_fill(struct sx *s, uint64_t off, size_t len, uint8_t value)
{
	g_autofree uint8_t *buf = g_malloc(len);

	memset(buf, value, len);
	CHECK(s, block_pwrite(s->node, off, buf, len, 0) == 0);
}

co_fn void sx_expect_filled(struct sx *s, int line, uint64_t off, size_t len, uint8_t value)
{
	g_autofree uint8_t *buf = g_malloc(len);

	if (block_pread(s->node, off, buf, len) < 0) {
		sx_fail(s, line, "the node cannot be read");
		return;
	}
	for (size_t i = 0; i < len; i++) {
		if (buf[i] == value)
			continue;
		sx_fail(s, line, "byte %zu is %02x, expected %02x", (size_t)off + i, buf[i], value);
		return;
	}
}

co_fn void sx_take_attentions(struct sx *s)
{
	struct scsi_nexus *now = s->nexus;

	for (unsigned i = 0; i < 16; i++) {
		s->nexus = i % 2 ? s->a : s->b;
		sx_command(s, TUR, 0, 0);
	}
	s->nexus = now;
}

static void on_event(struct scsi_nexus *nexus, enum scsi_event event)
{
	struct sx *s = scsi_nexus_opaque(nexus);

	s->capacity_events += event == SCSI_EVENT_CAPACITY;
}

static const struct scsi_nexus_ops nexus_ops = {.event = on_event};

static co_fn bool start(struct sx *s, bool resumed)
{
	struct scsi_disk_options o = {
		.id = "test",
		.node = s->node,
		.block_size = s->block_size,
		.serial = "4711",
		.state_path = s->state_path,
		.durable = s->durable,
	};
	GError *error = NULL;

	s->disk = scsi_disk_new(s->loop, &o, &error);
	if (!s->disk) {
		sx_fail(s, 0, "%s", error->message);
		g_clear_error(&error);
		return false;
	}
	s->a = scsi_nexus_new(scsi_disk_lu(s->disk), "a", &nexus_ops, s, resumed);
	s->b = scsi_nexus_new(scsi_disk_lu(s->disk), "b", &nexus_ops, s, resumed);
	s->nexus = s->a;
	return true;
}

static co_fn void stop(struct sx *s)
{
	scsi_nexus_free(s->a);
	scsi_nexus_free(s->b);
	scsi_disk_free(s->disk);
}

co_fn void sx_restart(struct sx *s, bool resumed)
{
	stop(s);
	if (!start(s, resumed))
		abort();
}

static co_fn void run_body(void *arg)
{
	struct sx *s = arg;
	struct block_node *mem = block_mem_new(s->length, NULL, 0);

	s->node = fault_new(mem);
	if (start(s, false)) {
		sx_take_attentions(s);
		s->body(s);
		stop(s);
	}
	block_unref(s->node);
	loop_stop(s->loop);
}

bool sx_backend_is_missing(void)
{
	struct loop *loop = loop_new(LOOP_AUTO, NULL);

	loop_free(loop);
	return !loop;
}

void sx_run(uint64_t length, unsigned block_size, void (*body)(struct sx *s))
{
	struct sx *s = g_new0(struct sx, 1);
	g_autofree char *path = NULL;
	GError *error = NULL;
	bool failed;

	s->length = length;
	s->block_size = block_size;
	s->body = body;
	s->dir = g_dir_make_tmp("ob-sbc-XXXXXX", &error);
	path = g_build_filename(s->dir, "state", NULL);
	s->loop = loop_new(LOOP_AUTO, &error);
	assert_null(error);
	co_start(s->loop, run_body, s);
	loop_run(s->loop);
	loop_free(s->loop);
	g_unlink(path);
	g_rmdir(s->dir);
	failed = s->failed;
	g_free(s->state_path);
	g_free(s->dir);
	g_free(s);
	assert_false(failed);
}
