/*
 * Inside the disk unit: the disk, what its command files share, and every handler of the command
 * table (rows.c).
 *
 * Handlers run with the unit's order lock held, shared or alone as their row says. Data goes
 * between the initiator's pieces and the node as they are; the one buffer of the unit (scratch)
 * serves what must look at the medium's data, under its own lock.
 */
#pragma once

#include "base/log.h"
#include "block/block.h"
#include "scsi/disk.h"
#include "scsi/identity.h"
#include "scsi/reservations.h"
#include "scsi/table.h"
#include "scsi/sbc/cdb.h"

/* clang-format off */
enum {
	SBC_SCRATCH_LEN = 64 * 1024,
	SBC_TRANSFER_MAX_BYTES = 64 << 20,	/* of one READ or WRITE */
	SBC_UNMAP_DESCRIPTORS_MAX = 256,
	SBC_PHYSICAL_BLOCK = 4096,
	SBC_NO_BIT = 8,
};
/* clang-format on */
/* Of one UNMAP or WRITE SAME: a zeroed range costs little, but not nothing. */
#define SBC_SAME_MAX_BYTES (UINT64_C(4) << 30)

struct scsi_disk {
	struct scsi_lu lu; /* first */
	struct block_node *node;
	unsigned block_size;
	char vendor[IDENTITY_VENDOR_LEN + 1], product[IDENTITY_PRODUCT_LEN + 1];
	char revision[IDENTITY_REVISION_LEN + 1], serial[IDENTITY_SERIAL_MAX + 1];
	bool rotational;
	bool stopped; /* by START STOP UNIT */
	/* mode parameters: WCE of the caching page, SWP of the control page */
	bool write_cache, software_protect;
	struct reservations reservations;
	char *state_path;
	bool durable;
	struct co_drain background; /* the state file being written */
	struct co_mutex saving;
	uint8_t *scratch;
	struct co_mutex scratch_lock;
	struct log_limit limit;
};

static inline struct scsi_disk *lu_disk(struct scsi_lu *lu)
{
	return (struct scsi_disk *)lu;
}

static inline struct scsi_disk *cmd_disk(const struct scsi_cmd *c)
{
	return (struct scsi_disk *)c->lu;
}

static inline uint64_t disk_blocks(const struct scsi_disk *d)
{
	return block_length(d->node) / d->block_size;
}

/* ---- range and errors (range.c) ---- */

struct sbc_range {
	uint64_t lba, blocks;
};

enum sbc_cdb_form { SBC_6, SBC_10, SBC_12, SBC_16 };

/* The range that READ, WRITE, VERIFY, SYNCHRONIZE CACHE and WRITE SAME name. */
struct sbc_range sbc_cdb_range(const struct scsi_cmd *c, enum sbc_cdb_form form);
/* 5/21/00 with the first block that is not there. */
enum sense sbc_check_range(struct scsi_cmd *c, const struct sbc_range *r);
/* VALID and INFORMATION where the address fits. */
enum sense sbc_fail_lba(struct scsi_cmd *c, enum sense code, uint64_t lba);
/* An errno of the node as sense, logged; on a read error of the medium looks for the block. */
co_fn enum sense sbc_read_failed(struct scsi_cmd *c, int res, const struct sbc_range *r);
enum sense sbc_write_failed(struct scsi_cmd *c, int res, uint64_t lba);
/* RDPROTECT, WRPROTECT, VRPROTECT: there is no protection information. */
enum sense sbc_check_protect(struct scsi_cmd *c);

/* What writes must be with the cache as it is. */
static inline unsigned sbc_write_flags(const struct scsi_disk *d, bool fua)
{
	return fua || !d->write_cache ? BLOCK_FUA : 0;
}

/* ---- state that survives the process (state.c) ---- */

/* Of the file, if there is one: false with *error when it cannot be used. */
co_fn bool sbc_state_load(struct scsi_disk *d, GError **error);
/* False: it could not be written, which is logged. */
co_fn bool sbc_state_save(struct scsi_disk *d);
void sbc_state_save_later(struct scsi_disk *d);

/* ---- mode pages (mode.c) ---- */

void sbc_mode_reset(struct scsi_disk *d);

/* ---- reservations (persistent.c) ---- */

/* nexus->unit_data: the initiator's registration. */
struct sbc_nexus {
	int place;
};
void sbc_nexus_new(struct scsi_lu *lu, struct scsi_nexus *nexus, bool resumed);
void sbc_nexus_gone(struct scsi_lu *lu, struct scsi_nexus *nexus);
bool sbc_conflict(struct scsi_lu *lu, const struct scsi_cmd *c);
/* Whether a reservation keeps the initiator from what is no read. */
bool sbc_forbids_change(const struct scsi_cmd *c);

/* ---- the command table ---- */

extern const struct scsi_row sbc_rows[256];

enum sense sbc_test_unit_ready(struct scsi_cmd *c);
enum sense sbc_inquiry(struct scsi_cmd *c);
size_t sbc_put_limits(const struct scsi_disk *d, uint8_t *out);          /* VPD page B0h */
size_t sbc_put_characteristics(const struct scsi_disk *d, uint8_t *out); /* B1h */
size_t sbc_put_provisioning(const struct scsi_disk *d, uint8_t *out);    /* B2h */
uint64_t sbc_same_max(const struct scsi_disk *d);                        /* blocks */
uint32_t sbc_transfer_max(const struct scsi_disk *d);
uint32_t sbc_compare_max(const struct scsi_disk *d);
enum sense sbc_mode_sense6(struct scsi_cmd *c);
enum sense sbc_mode_sense10(struct scsi_cmd *c);
enum sense sbc_read_capacity10(struct scsi_cmd *c);
enum sense sbc_read_capacity16(struct scsi_cmd *c);

/* all of these may yield */
enum sense sbc_read6(struct scsi_cmd *c);
enum sense sbc_read10(struct scsi_cmd *c);
enum sense sbc_read12(struct scsi_cmd *c);
enum sense sbc_read16(struct scsi_cmd *c);
enum sense sbc_write6(struct scsi_cmd *c);
enum sense sbc_write10(struct scsi_cmd *c);
enum sense sbc_write12(struct scsi_cmd *c);
enum sense sbc_write16(struct scsi_cmd *c);
enum sense sbc_write_verify10(struct scsi_cmd *c);
enum sense sbc_write_verify12(struct scsi_cmd *c);
enum sense sbc_write_verify16(struct scsi_cmd *c);
enum sense sbc_verify10(struct scsi_cmd *c);
enum sense sbc_verify12(struct scsi_cmd *c);
enum sense sbc_verify16(struct scsi_cmd *c);
enum sense sbc_compare_and_write(struct scsi_cmd *c);
enum sense sbc_sync_cache10(struct scsi_cmd *c);
enum sense sbc_sync_cache16(struct scsi_cmd *c);
enum sense sbc_start_stop(struct scsi_cmd *c);
enum sense sbc_unmap(struct scsi_cmd *c);
enum sense sbc_write_same10(struct scsi_cmd *c);
enum sense sbc_write_same16(struct scsi_cmd *c);
enum sense sbc_get_lba_status(struct scsi_cmd *c);
enum sense sbc_mode_select6(struct scsi_cmd *c);
enum sense sbc_mode_select10(struct scsi_cmd *c);
enum sense sbc_reserve(struct scsi_cmd *c);
enum sense sbc_release(struct scsi_cmd *c);
enum sense sbc_persistent_out(struct scsi_cmd *c);
enum sense sbc_read_keys(struct scsi_cmd *c);
enum sense sbc_read_reservation(struct scsi_cmd *c);
enum sense sbc_report_capabilities(struct scsi_cmd *c);
enum sense sbc_read_full_status(struct scsi_cmd *c);

/* The range holds what the initiator sent (bytchk 1: all of it, 3: one block for all), or (0) can
 * be read. */
co_fn enum sense sbc_verify_range(struct scsi_cmd *c, const struct sbc_range *r, unsigned bytchk);
