/* INQUIRY, REPORT LUNS, REPORT KEY, the identity a user gives, commands refused by design. */
#include "mmc_fixture.h"

#include "outboard-config.h"

static co_fn void standard_data(struct fx *f)
{
	GOOD(f, "12 00 00 00 ff 00");
	CHECK(f, f->in_done == 96);
	CHECK(f, memcmp(f->in,
			"\x05\x80\x05\x02\x5b\0\0\x02"
			"OUTBOARDDVD/BD RECORDER ",
			32) == 0);
	CHECK(f, strncmp((char *)f->in + 32, OUTBOARD_VERSION, 3) == 0);
	REPLY(f, "12 00 00 00 05 00", "05 80 05 02 5b");
	GOOD(f, "12 00 00 01 00 00"); /* 16-bit allocation length */
	CHECK(f, f->in_done == 96);
	FAILS(f, "12 00 80 00 ff 00", SENSE_BAD_CDB_FIELD);
	scsi_nexus_attention(f->nexus, SENSE_MEDIUM_CHANGED);
	GOOD(f, "12 00 00 00 24 00");
	FAILS(f, TUR, SENSE_MEDIUM_CHANGED);
}

static co_fn void vital_product_data(struct fx *f)
{
	unsigned off, n = 0;

	REPLY(f, "12 01 00 00 ff 00", "05 00 00 03 00 80 83");
	GOOD(f, "12 01 80 00 ff 00");
	CHECK(f, f->in[1] == 0x80 && f->in_done == 4u + f->in[3] && f->in[3] > 0);
	GOOD(f, "12 01 83 00 ff 00");
	CHECK(f, f->in[1] == 0x83 && get_be16(f->in + 2) == f->in_done - 4);
	for (off = 4; off + 4 <= f->in_done; off += 4 + f->in[off + 3])
		n++;
	CHECK(f, n == 2 && off == f->in_done);
	CHECK(f, f->in[4] == 2 && f->in[5] == 1 && memcmp(f->in + 8, "OUTBOARD", 8) == 0);
	off = 8u + f->in[7];
	CHECK(f, f->in[off] == 1 && f->in[off + 1] == 3 && f->in[off + 3] == 8 &&
			 f->in[off + 4] >> 4 == 3);
	FAILS(f, "12 01 b0 00 ff 00", SENSE_BAD_CDB_FIELD);
	FAILS(f, "12 01 81 00 ff 00", SENSE_BAD_CDB_FIELD);
}

static co_fn void small_commands(struct fx *f)
{
	REPLY(f, "a0 00 00 00 00 00 00 00 00 ff 00 00",
	      "00 00 00 08 00 00 00 00 00 00 00 00 00 00 00 00");
	REPLY(f, "a0 00 01 00 00 00 00 00 00 ff 00 00", "00 00 00 00 00 00 00 00");
	FAILS(f, "a0 00 03 00 00 00 00 00 00 ff 00 00", SENSE_BAD_CDB_FIELD);
	REPLY(f, "a4 00 00 00 00 00 00 00 00 ff 08 00", "00 06 00 00 25 ff 01 00");
	GOOD(f, "a4 00 00 00 00 00 00 00 00 00 3f 00");
	FAILS(f, "a4 00 00 00 00 00 00 00 00 ff 00 00", SENSE_BAD_CDB_FIELD);
	FAILS(f, "a4 00 00 00 00 00 00 21 00 ff 08 00", SENSE_BAD_CDB_FIELD);
	FAILS(f, "a3 00 00 00 00 00 00 00 00 0c 06 00", SENSE_BAD_CDB_FIELD);
}

static co_fn void refused_by_design(struct fx *f)
{
	static const uint8_t refused[] = {
		0x0a, 0x2c, 0x4c, 0x4d, 0x45, 0x47, 0x48, 0x4b, 0x4e, 0x5e, 0x85, 0xa2, 0xa5,
		0xa6, 0xba, 0xc0, 0xd4, 0xd5, 0xd8, 0xda, 0xe5, 0xe9, 0xf5, 0xfd, 0xff,
	};
	char cdb[64];

	for (unsigned i = 0; i < sizeof(refused); i++) {
		g_snprintf(cdb, sizeof(cdb), "%02x 00 00 00 00 00 00 00 00 00 00 00", refused[i]);
		FAILS(f, cdb, SENSE_BAD_OPCODE);
	}
}

static co_fn void given_identity(struct fx *f)
{
	struct drive_options o = {.id = "x",
				  .vendor = "ACME",
				  .product = "BURNER",
				  .revision = "7.1",
				  .serial = "S1"};
	GError *error = NULL;
	struct drive *d = drive_new(f->loop, &o, &error);
	struct scsi_nexus *mine = f->nexus;

	f->nexus = scsi_nexus_new(drive_lu(d), "x", NULL, NULL, true);
	GOOD(f, "12 00 00 00 24 00");
	CHECK(f, memcmp(f->in + 8, "ACME    BURNER          7.1 ", 28) == 0);
	REPLY(f, "12 01 80 00 ff 00", "05 80 00 02 53 31");
	CHECK(f, strcmp(drive_id(d), "x") == 0 && !drive_resumed(d));
	scsi_nexus_free(f->nexus);
	f->nexus = mine;
	drive_free(d);
	o.vendor = "MUCH TOO LONG";
	CHECK(f, !drive_new(f->loop, &o, &error) && strstr(error->message, "MUCH TOO LONG"));
	g_clear_error(&error);
	o.vendor = "TAB\t";
	CHECK(f, !drive_new(f->loop, &o, &error) && strstr(error->message, "vendor"));
	g_clear_error(&error);
}

#define ON(name)                              \
	static void test_##name(void **state) \
	{                                     \
		(void)state;                  \
		fx_run(NULL, 0, name);        \
	}

ON(standard_data)
ON(vital_product_data)
ON(small_commands)
ON(refused_by_design)
ON(given_identity)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_standard_data),  cmocka_unit_test(test_vital_product_data),
		cmocka_unit_test(test_small_commands), cmocka_unit_test(test_refused_by_design),
		cmocka_unit_test(test_given_identity),
	};

	return RUN_TESTS(tests);
}
