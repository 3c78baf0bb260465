/* Inside a unit: what the files of src/ata share about it. Nothing outside includes this. */
#pragma once

#include "ata/ata.h"
#include "base/log.h"

struct scsi_nexus;

/* clang-format off */
enum ata_row_flags {
	ATA_ROW_48	= 1 << 0,	/* takes both halves of the 2-deep registers */
	ATA_ROW_RANGE	= 1 << 1,	/* addresses sectors: lba and count are checked before the handler */
	ATA_ROW_WRITE	= 1 << 2,	/* changes the medium */
	ATA_ROW_QUEUED	= 1 << 3,
	ATA_ROW_SIGNATURE = 1 << 4,	/* refused, and loads the signature (packet devices, 2.6) */
	ATA_ROW_LOG	= 1 << 5,	/* runs after an error of a queued command */
	ATA_ROW_POINT	= 1 << 6,	/* with RANGE: one sector, COUNT means nothing */
};
/* clang-format on */

/*
 * A command. The handler returns what ERROR is to be: 0 is success. c->regs holds the registers as
 * loaded (COUNT 0 for an addressed command); it changes in them what the command returns there.
 */
struct ata_row {
	const char *name;
	co_fn unsigned (*run)(struct ata_unit *u, struct ata_cmd *c); /* NULL: refused */
	unsigned flags;
};

extern const struct ata_row ata_disk_rows[256];
extern const struct ata_row ata_packet_rows[256];

enum { ATA_NO_MODE = 0xff, ATA_MULTIPLE_MAX = 16, ATA_SELF_TESTS = 21, ATA_DSM_BLOCKS = 8 };

struct ata_self_test {
	uint8_t kind, status;
	uint16_t hours;
};

struct ata_unit {
	const struct ata_row *rows;
	struct loop *loop;
	char *name;
	struct block_node *disk; /* a disk, or */
	struct scsi_nexus *nexus;
	bool sata, second, rotational;
	char model[41], serial[21], firmware[9];
	uint64_t wwn;
	struct log_limit limit;

	/* settings */
	bool write_cache, look_ahead, smart, notify, keep_settings, auto_activate;
	uint8_t multiple;    /* sectors a DRQ block; 0: off */
	uint8_t mwdma, udma; /* selected mode or ATA_NO_MODE */
	uint8_t heads, spt;  /* of CHS addresses */

	uint64_t born_ns;
	struct ata_self_test tests[ATA_SELF_TESTS];
	unsigned n_tests; /* ever run */

	/* queued commands */
	struct ata_cmd *queued;
	uint32_t tags;
	bool queue_failed;           /* until its log was read */
	unsigned queue_failing;      /* commands that wait for the end of the others */
	uint8_t failure[ATA_SECTOR]; /* log 10h */
	struct co_queue idle;

	bool notified; /* nobody asked since */
	void (*on_notify)(struct ata_unit *u, void *arg);
	void *notify_arg;

	uint8_t *buf; /* for PIO, ATA_BUF_LEN; one command at a time uses it */
};

enum { ATA_BUF_LEN = 64 << 10, ATA_HEADS = 16, ATA_SPT = 63 };

/* unit.c */
uint64_t ata_sectors(const struct ata_unit *u);
/* Puts an address into the registers in the form that the command has. */
void ata_put_lba(const struct ata_unit *u, struct ata_cmd *c, uint64_t lba);
/* The one table: what an errno of the disk is in ERROR. */
unsigned ata_error_of(int res, bool write);
/* Sends whole sectors as PIO, one a DRQ block; the last block's beginning is the last interrupt. */
co_fn unsigned ata_send_sectors(struct ata_cmd *c, void *buf, unsigned sectors);
/* The same by DMA. */
co_fn unsigned ata_send_dma(struct ata_cmd *c, const void *buf, size_t len);
void ata_put_checksum(uint8_t sector[ATA_SECTOR]);

/* identify.c */
void ata_put_identify(const struct ata_unit *u, uint8_t out[ATA_SECTOR]);
co_fn unsigned ata_identify(struct ata_unit *u, struct ata_cmd *c);

/* disk.c */
co_fn unsigned ata_read_pio(struct ata_unit *u, struct ata_cmd *c);
co_fn unsigned ata_read_multiple(struct ata_unit *u, struct ata_cmd *c);
co_fn unsigned ata_write_pio(struct ata_unit *u, struct ata_cmd *c);
co_fn unsigned ata_write_multiple(struct ata_unit *u, struct ata_cmd *c);
co_fn unsigned ata_write_multiple_fua(struct ata_unit *u, struct ata_cmd *c);
co_fn unsigned ata_read_dma(struct ata_unit *u, struct ata_cmd *c);
co_fn unsigned ata_write_dma(struct ata_unit *u, struct ata_cmd *c);
co_fn unsigned ata_write_dma_fua(struct ata_unit *u, struct ata_cmd *c);
co_fn unsigned ata_read_queued(struct ata_unit *u, struct ata_cmd *c);
co_fn unsigned ata_write_queued(struct ata_unit *u, struct ata_cmd *c);
co_fn unsigned ata_flush(struct ata_unit *u, struct ata_cmd *c);
co_fn unsigned ata_data_set_management(struct ata_unit *u, struct ata_cmd *c);

/* queue.c */
typedef unsigned (*ata_run_fn)(struct ata_unit *u, struct ata_cmd *c);
co_fn unsigned ata_run_queued(struct ata_unit *u, struct ata_cmd *c, ata_run_fn run);
/* c failed (NULL: a command that is not queued): the others are cancelled; returns when they ended.
 */
co_fn void ata_fail_queue(struct ata_unit *u, struct ata_cmd *c, unsigned error);
/* Log 10h: what failed last (NULL: a command that is not queued). */
void ata_log_failure(struct ata_unit *u, const struct ata_cmd *c, unsigned error);

/* features.c: what moves no data */
co_fn unsigned ata_set_features(struct ata_unit *u, struct ata_cmd *c);
co_fn unsigned ata_set_multiple(struct ata_unit *u, struct ata_cmd *c);
co_fn unsigned ata_init_parameters(struct ata_unit *u, struct ata_cmd *c);
co_fn unsigned ata_native_max(struct ata_unit *u, struct ata_cmd *c);
co_fn unsigned ata_power_mode(struct ata_unit *u, struct ata_cmd *c);
co_fn unsigned ata_succeed(struct ata_unit *u, struct ata_cmd *c);
void ata_reset_settings(struct ata_unit *u, enum ata_reset_kind kind);

/* smart.c, log.c */
co_fn unsigned ata_smart(struct ata_unit *u, struct ata_cmd *c);
co_fn unsigned ata_read_log(struct ata_unit *u, struct ata_cmd *c);
co_fn unsigned ata_read_log_dma(struct ata_unit *u, struct ata_cmd *c);

/* packet.c */
bool ata_packet_init(struct ata_unit *u, struct scsi_lu *lu, GError **error);
void ata_packet_fini(struct ata_unit *u);
void ata_packet_reset(struct ata_unit *u);
co_fn unsigned ata_packet(struct ata_unit *u, struct ata_cmd *c);
