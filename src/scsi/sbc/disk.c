/* The disk unit: life, and what the engine asks. */
#include "scsi/sbc/sbc.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "outboard-config.h"

static enum sense disk_ready(struct scsi_lu *lu, struct scsi_cmd *c)
{
	return lu_disk(lu)->stopped && c->row->flags & ROW_MEDIUM ? SENSE_INIT_REQUIRED
								  : SENSE_GOOD;
}

static bool disk_write_protected(struct scsi_lu *lu)
{
	return lu_disk(lu)->software_protect;
}

/* Mode parameters stay: the cache that a guest switched off must not come back behind its back. */
static co_fn void disk_reset(struct scsi_lu *lu)
{
	struct scsi_disk *d = lu_disk(lu);

	d->stopped = false;
	if (!d->reservations.simple[0])
		return;
	d->reservations.simple[0] = '\0';
	sbc_state_save(d);
}

/* How many blocks VERIFY sends. */
static uint64_t verify_blocks(const uint8_t *cdb, uint64_t blocks)
{
	enum { BYTCHK_NONE = 0, BYTCHK_ONE = 3 };
	unsigned bytchk = fld_get(cdb, RW_BYTCHK);

	if (bytchk == BYTCHK_NONE)
		return 0;
	return bytchk == BYTCHK_ONE ? MIN(blocks, 1) : blocks;
}

static size_t disk_out_length(struct scsi_lu *lu, const uint8_t *cdb)
{
	enum { WRITE_SAME10 = 0x41, COMPARE_AND_WRITE = 0x89, WRITE_SAME16 = 0x93 };
	static const enum sbc_cdb_form forms[8] = {SBC_6, SBC_10, SBC_10, SBC_10, SBC_16, SBC_12};
	const struct scsi_row *row = scsi_find_row(sbc_rows, cdb);
	struct scsi_cmd c = {.lu = lu};
	uint64_t blocks;

	memcpy(c.cdb, cdb, row->cdb_len);
	blocks = sbc_cdb_range(&c, forms[cdb[0] >> 5]).blocks;
	if (cdb[0] == WRITE_SAME10 || cdb[0] == WRITE_SAME16)
		blocks = cdb[0] == WRITE_SAME16 && fld_get(cdb, WS_NDOB) ? 0 : 1;
	else if (cdb[0] == COMPARE_AND_WRITE)
		blocks = 2 * fld_get(cdb, CAW_BLOCKS);
	else if (row->flags & ROW_RESERVED_READ) /* VERIFY */
		blocks = verify_blocks(cdb, blocks);
	return (size_t)blocks * lu_disk(lu)->block_size;
}

static size_t disk_in_length(struct scsi_lu *lu, const uint8_t *cdb)
{
	enum { READ_CAPACITY = 0x25, CAPACITY_LEN = 8 };
	static const enum sbc_cdb_form forms[8] = {SBC_6, SBC_10, SBC_10, SBC_10, SBC_16, SBC_12};
	struct scsi_cmd c = {.lu = lu};

	if (cdb[0] == READ_CAPACITY)
		return CAPACITY_LEN;
	memcpy(c.cdb, cdb, scsi_find_row(sbc_rows, cdb)->cdb_len);
	return (size_t)sbc_cdb_range(&c, forms[cdb[0] >> 5]).blocks * lu_disk(lu)->block_size;
}

static co_fn void disk_destroy(struct scsi_lu *lu)
{
	struct scsi_disk *d = lu_disk(lu);

	co_drain_wait(&d->background);
	scsi_lu_fini(lu);
	g_free(d->state_path);
	g_free(d->scratch);
	g_free(d);
}

static const struct scsi_lu_ops disk_ops = {
	.rows = sbc_rows,
	.ready = disk_ready,
	.write_protected = disk_write_protected,
	.conflict = sbc_conflict,
	.reset = disk_reset,
	.nexus_gone = sbc_nexus_gone,
	.free = disk_destroy,
	.out_length = disk_out_length,
	.in_length = disk_in_length,
	.nexus_new = sbc_nexus_new,
};

/* A disk that has no serial number is known by what it is and where it lies. */
static void set_identities(struct scsi_disk *d, const struct scsi_disk_options *o)
{
	enum { SERIAL_LEN = 16 };
	g_autofree char *what = g_strdup_printf("%s %s", o->id, block_name(o->node));
	g_autofree char *hash = g_compute_checksum_for_string(G_CHECKSUM_SHA256, what, -1);
	const char *version = o->revision ? o->revision : OUTBOARD_VERSION;

	hash[SERIAL_LEN] = '\0';
	g_strlcpy(d->vendor, o->vendor ? o->vendor : "OUTBOARD", sizeof(d->vendor));
	g_strlcpy(d->product, o->product ? o->product : "DISK", sizeof(d->product));
	g_strlcpy(d->revision, version, sizeof(d->revision));
	g_strlcpy(d->serial, o->serial ? o->serial : hash, sizeof(d->serial));
}

static bool check_blocks(struct scsi_disk *d, GError **error)
{
	uint64_t len = block_length(d->node);

	if (d->block_size != 512 && d->block_size != 4096)
		return err_set(error, EINVAL, "blocks of %u bytes: must be 512 or 4096",
			       d->block_size);
	if (len && len % d->block_size == 0)
		return true;
	return err_set(error, EINVAL,
		       "%s: %" G_GUINT64_FORMAT " bytes are no whole number of blocks of %u bytes",
		       block_name(d->node), len, d->block_size);
}

co_fn struct scsi_disk *scsi_disk_new(struct loop *loop, const struct scsi_disk_options *o,
				      GError **error)
{
	struct scsi_disk *d = g_new0(struct scsi_disk, 1);

	scsi_lu_init(&d->lu, &disk_ops, loop, o->id);
	d->lu.strict = o->strict;
	d->lu.trace = o->trace;
	d->node = o->node;
	d->block_size = o->block_size ? o->block_size : 512;
	d->rotational = o->rotational;
	d->state_path = g_strdup(o->state_path);
	d->durable = o->state_path && o->durable;
	d->reservations.holder = REGISTRATION_NONE;
	d->scratch = g_try_malloc(SBC_SCRATCH_LEN);
	set_identities(d, o);
	sbc_mode_reset(d);
	if (!d->scratch)
		err_set(error, ENOMEM, "no memory for a buffer");
	else if (check_blocks(d, error) && sbc_state_load(d, error))
		return d;
	disk_destroy(&d->lu);
	return NULL;
}

co_fn void scsi_disk_free(struct scsi_disk *d)
{
	if (d)
		scsi_lu_free(&d->lu);
}

struct scsi_lu *scsi_disk_lu(struct scsi_disk *d)
{
	return &d->lu;
}

void scsi_disk_resized(struct scsi_disk *d)
{
	scsi_lu_attention(&d->lu, NULL, SENSE_CAPACITY_CHANGED);
	scsi_lu_event(&d->lu, SCSI_EVENT_CAPACITY);
}

char *scsi_disk_describe(const struct scsi_disk *d)
{
	static const char *const types[] = {
		[RESERVE_WRITE_EXCLUSIVE] = "write exclusive",
		[RESERVE_EXCLUSIVE_ACCESS] = "exclusive access",
		[RESERVE_WRITE_REGISTRANTS] = "write exclusive, registrants only",
		[RESERVE_ACCESS_REGISTRANTS] = "exclusive access, registrants only",
		[RESERVE_WRITE_ALL] = "write exclusive, all registrants",
		[RESERVE_ACCESS_ALL] = "exclusive access, all registrants",
	};
	const struct reservations *r = &d->reservations;

	if (r->simple[0])
		return g_strdup_printf("reserved by %s", r->simple);
	if (!r->n)
		return NULL;
	return g_strdup_printf("%u registered%s%s", r->n, r->type ? ", reserved: " : "",
			       r->type ? types[r->type] : "");
}
