/*
 * Burns (or reads) through somebody's iSCSI target with WRITE(10)s of one size and a queue depth,
 * to measure a peer: tgt's DVD+R is what bench/peers compares our own engine with.
 *
 * usage: iscsi_burn PORTAL TARGET LUN read|write BYTES BLOCKS_PER_COMMAND DEPTH; prints MB/s.
 */
#include <errno.h>
#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BLOCK = 2048, MAX_DEPTH = 64, MAX_BLOCKS = 1024 };

/* What is written; what is read goes to libiscsi's own buffers. */
static unsigned char data[MAX_BLOCKS * BLOCK];

struct burn {
	struct iscsi_context *iscsi;
	int lun;
	bool write;
	uint32_t per_command, next_lba, end_lba;
	unsigned in_flight;
	bool failed;
};

static void start_command(struct burn *b);

static void command_done(struct iscsi_context *iscsi, int status, void *command_data, void *arg)
{
	struct burn *b = arg;
	struct scsi_task *task = command_data;

	b->in_flight--;
	if (status != SCSI_STATUS_GOOD) {
		if (!b->failed)
			fprintf(stderr, "command failed at block %u: status %d: %s\n", b->next_lba,
				status, iscsi_get_error(iscsi));
		b->failed = true;
	}
	scsi_free_scsi_task(task);
	if (!b->failed && b->next_lba < b->end_lba)
		start_command(b);
}

static void start_command(struct burn *b)
{
	struct scsi_task *task;
	uint32_t bytes = b->per_command * BLOCK;

	if (b->write) {
		task = iscsi_write10_task(b->iscsi, b->lun, b->next_lba, data, bytes, BLOCK, 0, 0,
					  0, 0, 0, command_done, b);
	} else {
		task = iscsi_read10_task(b->iscsi, b->lun, b->next_lba, bytes, BLOCK, 0, 0, 0, 0, 0,
					 command_done, b);
	}
	if (!task) {
		fprintf(stderr, "cannot queue a command: %s\n", iscsi_get_error(b->iscsi));
		b->failed = true;
		return;
	}
	b->next_lba += b->per_command;
	b->in_flight++;
}

static bool pump(struct burn *b, unsigned depth)
{
	while (b->in_flight < depth && b->next_lba < b->end_lba && !b->failed)
		start_command(b);
	while (b->in_flight) {
		struct pollfd p = {.fd = iscsi_get_fd(b->iscsi),
				   .events = (short)iscsi_which_events(b->iscsi)};

		if (poll(&p, 1, 10000) <= 0 || iscsi_service(b->iscsi, p.revents) < 0) {
			fprintf(stderr, "connection lost: %s\n", iscsi_get_error(b->iscsi));
			return false;
		}
	}
	return !b->failed;
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* A power-on or medium-change attention is expected on a new nexus: take it before the clock
 * starts. */
static bool settle(struct burn *b)
{
	for (int i = 0; i < 8; i++) {
		struct scsi_task *task = iscsi_testunitready_sync(b->iscsi, b->lun);
		bool good = task && task->status == SCSI_STATUS_GOOD;

		if (task)
			scsi_free_scsi_task(task);
		if (good)
			return true;
	}
	fprintf(stderr, "unit does not become ready: %s\n", iscsi_get_error(b->iscsi));
	return false;
}

int main(int argc, char **argv)
{
	struct burn b = {0};
	unsigned depth;
	double start;

	if (argc != 8) {
		fprintf(stderr, "usage: iscsi_burn PORTAL TARGET LUN read|write BYTES "
				"BLOCKS_PER_COMMAND DEPTH\n");
		return 2;
	}
	b.lun = atoi(argv[3]);
	b.write = !strcmp(argv[4], "write");
	b.per_command = (uint32_t)strtoul(argv[6], NULL, 10);
	depth = (unsigned)strtoul(argv[7], NULL, 10);
	if (!b.per_command || b.per_command > MAX_BLOCKS || !depth || depth > MAX_DEPTH) {
		fprintf(stderr, "blocks per command must be 1 to 1024, depth 1 to %d\n", MAX_DEPTH);
		return 2;
	}
	b.end_lba = (uint32_t)(strtoull(argv[5], NULL, 10) / BLOCK / b.per_command * b.per_command);
	b.iscsi = iscsi_create_context("iqn.2026-11.outboard:bench");
	if (!b.iscsi)
		return 1;
	memset(data, 0xa5, sizeof(data));
	iscsi_set_targetname(b.iscsi, argv[2]);
	iscsi_set_session_type(b.iscsi, ISCSI_SESSION_NORMAL);
	iscsi_set_header_digest(b.iscsi, ISCSI_HEADER_DIGEST_NONE);
	if (iscsi_full_connect_sync(b.iscsi, argv[1], b.lun)) {
		fprintf(stderr, "cannot connect to %s: %s\n", argv[1], iscsi_get_error(b.iscsi));
		return 1;
	}
	if (!settle(&b))
		return 1;
	start = seconds();
	if (!pump(&b, depth))
		return 1;
	printf("%.1f\n", (double)b.end_lba * BLOCK / 1e6 / (seconds() - start));
	iscsi_logout_sync(b.iscsi);
	iscsi_destroy_context(b.iscsi);
	return 0;
}
