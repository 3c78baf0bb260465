/*
 * A guest that does what it likes: whatever commands came in whatever order, the disc that they
 * left can be opened again, shows the same state, and what was recorded on write-once media reads
 * as it did.
 */
#include "mmc_fixture.h"

#include "disc/sector.h"

#include <stdio.h>

enum { ROUNDS = 400 };

static uint32_t seed;

static uint32_t dice(uint32_t n)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % n;
}

/* Whatever the answer, a drive has one. */
G_GNUC_PRINTF(2, 3)
static co_fn void command(struct fx *f, const char *format, ...)
{
	va_list args;
	char *cdb;

	va_start(args, format);
	cdb = g_strdup_vprintf(format, args);
	va_end(args);
	fx_command(f, cdb, 64 * 1024, 4096);
	g_free(cdb);
	if (f->sense == SENSE_INTERNAL_FAILURE || f->sense == SENSE_WRITE_ERROR)
		fx_fail(f, __LINE__, "seed %u: sense %06x", seed, f->sense);
}

/* At the next writable address of a track, mostly. */
static co_fn void write_somewhere(struct fx *f)
{
	uint8_t a[4];
	uint32_t n = 1 + dice(31);

	command(f, "52 01 00 00 00 %02x 00 00 30 00", dice(2) ? 0xff : 1 + dice(4));
	if (f->sense != SENSE_GOOD)
		return;
	memcpy(a, f->in + 12, sizeof(a));
	for (uint32_t i = 0; i < n * FX_BLOCK; i++)
		f->out[i] = (uint8_t)(dice(2) ? i : seed);
	command(f, "2a 00 %02x %02x %02x %02x 00 00 %02x 00", a[0], a[1], a[2],
		dice(20) ? a[3] : dice(256), n);
}

static co_fn void format_somehow(struct fx *f)
{
	static const uint8_t types[] = {0x00, 0x10, 0x13, 0x15, 0x32};
	uint32_t counts[] = {0, 0xffffffff, dice(70000), 16 * dice(100), get_be32(f->in + 12)};

	command(f, FORMATS);
	counts[4] = get_be32(f->in + 4 + 8 * dice(4));
	memset(f->out, 0, 12);
	f->out[1] = dice(2) ? 2 : 0;
	f->out[3] = 8;
	put_be32(f->out + 4, counts[dice(5)]);
	f->out[8] = (uint8_t)(types[dice(5)] << 2 | dice(2));
	command(f, "04 11 00 00 00 00");
}

static co_fn void page05(struct fx *f, unsigned type)
{
	memset(f->out, 0, 60);
	f->out[8] = 0x05;
	f->out[9] = 0x32;
	f->out[10] = (uint8_t)(0x40 | type | (dice(8) ? 0 : 0x10));
	f->out[11] = (uint8_t)((dice(2) ? 0xc0 : 0) | 4);
	f->out[12] = dice(6) ? 8 : 10;
	command(f, "55 10 00 00 00 00 00 00 3c 00");
}

static void cue_entry(uint8_t *e, unsigned track, unsigned index, int32_t lba)
{
	struct msf t = lba_to_msf(lba);
	const uint8_t bytes[8] = {0x41, (uint8_t)track, (uint8_t)index, 0x10, 0, t.m, t.s, t.f};

	memcpy(e, bytes, sizeof(bytes));
}

static co_fn void send_cue(struct fx *f)
{
	unsigned n = 0, tracks = 1 + dice(3), first;
	int32_t lba;

	page05(f, 2);
	command(f, "52 01 00 00 00 ff 00 00 30 00");
	first = f->in[2];
	lba = (int32_t)get_be32(f->in + 8) - (first > 1 || !dice(4) ? 150 : 0);
	cue_entry(f->out, 0, 0, -150);
	f->out[3] = 0x14;
	for (unsigned i = 0; i < tracks; i++) {
		cue_entry(f->out + 8 * ++n, first + i, 0, lba);
		lba += 150 + (int32_t)dice(2) * (int32_t)dice(200000);
		cue_entry(f->out + 8 * ++n, first + i, 1, lba);
		lba += 1 + (int32_t)dice(600);
	}
	cue_entry(f->out + 8 * ++n, 0xaa, 1, lba);
	command(f, "5d 00 00 00 00 00 00 00 %02x 00", 8 * (n + 1));
}

static co_fn void act(struct fx *f)
{
	switch (dice(16)) {
	case 0: command(f, "35 %02x 00 00 00 00 00 00 00 00", dice(2) * 2); break;
	case 1: command(f, "5b 00 01 00 00 %02x 00 00 00 00", dice(2) ? 0xff : dice(6)); break;
	case 2: command(f, "5b %02x 02 00 00 00 00 00 00 00", dice(2)); break;
	case 3:
		if (!dice(6))
			command(f, "5b 00 0%u 00 00 00 00 00 00 00", 3 + dice(5));
		break;
	case 4: command(f, "53 00 00 00 00 00 00 0%u %02x 00", dice(4), dice(256)); break;
	case 5: command(f, "53 01 00 00 0%u %02x 00 00 00 00", dice(8), dice(256)); break;
	case 6:
		if (!dice(4))
			format_somehow(f);
		break;
	case 7:
		if (!dice(4))
			command(f, "a1 0%u 00 00 00 00 00 00 00 00 00 00", dice(2));
		break;
	case 8: send_cue(f); break;
	case 9:
	case 10: page05(f, dice(3)); break;
	default: write_somewhere(f);
	}
	while (fx_command(f, TUR, 0, 0) == SENSE_OPERATION_IN_PROGRESS ||
	       f->sense == SENSE_FORMAT_IN_PROGRESS)
		co_sleep_ns(100000);
}

struct look {
	uint8_t info[34], tracks[8][48], capacity[8];
};

static co_fn void look(struct fx *f, struct look *l)
{
	char cdb[64];

	memset(l, 0, sizeof(*l));
	fx_command(f, DISC_INFO, 0, 256);
	memcpy(l->info, f->in, sizeof(l->info));
	for (unsigned i = 0; i < 8; i++) {
		g_snprintf(cdb, sizeof(cdb), "52 01 00 00 00 %02x 00 00 30 00", i + 1);
		if (fx_command(f, cdb, 0, 256) == SENSE_GOOD)
			memcpy(l->tracks[i], f->in, sizeof(l->tracks[i]));
	}
	fx_command(f, CAPACITY, 0, 256);
	memcpy(l->capacity, f->in, sizeof(l->capacity));
}

static co_fn void reopen(struct fx *f)
{
	struct look before, after;

	fx_reload(f, __LINE__, false);
	look(f, &before);
	fx_reload(f, __LINE__, true);
	look(f, &after);
	if (memcmp(&before, &after, sizeof(before)) != 0)
		fx_fail(f, __LINE__, "seed %u: another state after opening", seed);
}

static co_fn void anything_goes(struct fx *f)
{
	for (unsigned i = 0; i < ROUNDS && !f->failed; i++) {
		act(f);
		if (i % 8 == 7)
			reopen(f);
		if (f->failed)
			fprintf(stderr, "%s, round %u\n", f->type, i);
	}
}

static void test_anything_goes(void **state)
{
	static const char *const types[] = {"cd-r", "dvd-r", "dvd-rw", "dvd+r", "bd-r"};

	(void)state;
	for (unsigned i = 0; i < G_N_ELEMENTS(types); i++) {
		for (seed = 1; seed <= 2; seed++) {
			uint32_t first = seed;

			fx_run(types[i], i % 2 || i == 0 ? 0 : 65536, anything_goes);
			seed = first;
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_anything_goes)};

	return RUN_TESTS(tests);
}
