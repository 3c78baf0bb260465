/*
 * Queued commands (ata.md 4.7): READ and WRITE FPDMA QUEUED run beside each other. An error of one
 * ends all: the others are cancelled, log 10h keeps what failed, and until it was read the unit
 * refuses everything else.
 */
#include "ata/unit_impl.h"

#include <string.h>

#include "base/bytes.h"

enum { /* log 10h */
       FAIL_TAG = 0,
       NOT_QUEUED = 0x80,
       FAIL_STATUS = 2,
       FAIL_ERROR = 3,
       FAIL_LBA = 4,
       FAIL_DEVICE = 7,
       FAIL_LBA_HIGH = 8,
       FAIL_COUNT = 12,
};

static unsigned tag_of(const struct ata_cmd *c)
{
	return c->tf.count >> 3 & (ATA_TAGS - 1);
}

void ata_log_failure(struct ata_unit *u, const struct ata_cmd *c, unsigned error)
{
	uint8_t *log = u->failure;

	memset(log, 0, ATA_SECTOR);
	log[FAIL_TAG] = (uint8_t)(c ? tag_of(c) : NOT_QUEUED);
	log[FAIL_STATUS] = ATA_DRDY | ATA_DSC | ATA_ERR;
	log[FAIL_ERROR] = (uint8_t)error;
	if (c) {
		put_le16(log + FAIL_LBA, (uint16_t)c->regs.lba);
		log[FAIL_LBA + 2] = (uint8_t)(c->regs.lba >> 16);
		log[FAIL_DEVICE] = c->tf.device;
		put_le16(log + FAIL_LBA_HIGH, (uint16_t)(c->regs.lba >> 24));
		log[FAIL_LBA_HIGH + 2] = (uint8_t)(c->regs.lba >> 40);
		put_le16(log + FAIL_COUNT, c->tf.count);
	}
	ata_put_checksum(log);
}

co_fn void ata_fail_queue(struct ata_unit *u, struct ata_cmd *c, unsigned error)
{
	if (!u->queue_failed) /* the first failure is what the host will ask for */
		ata_log_failure(u, c, error);
	u->queue_failed = true;
	for (struct ata_cmd *other = u->queued; other; other = other->next) {
		if (other != c)
			ata_cancel(other);
	}
	u->queue_failing++;
	while (u->queued && (u->queued != c || u->queued->next))
		co_queue_wait(&u->idle);
	u->queue_failing--;
}

static void enter(struct ata_unit *u, struct ata_cmd *c)
{
	u->tags |= UINT32_C(1) << tag_of(c);
	c->prev = NULL;
	c->next = u->queued;
	if (c->next)
		c->next->prev = c;
	u->queued = c;
}

static void leave(struct ata_unit *u, struct ata_cmd *c)
{
	u->tags &= ~(UINT32_C(1) << tag_of(c));
	if (c->next)
		c->next->prev = c->prev;
	if (c->prev)
		c->prev->next = c->next;
	else
		u->queued = c->next;
	co_queue_wake_all(&u->idle);
}

co_fn unsigned ata_run_queued(struct ata_unit *u, struct ata_cmd *c, ata_run_fn run)
{
	unsigned error;

	if (u->queue_failing) { /* the host does not know of the failure yet: it is one of the
				   others */
		c->cancelled = true;
		return ATA_ABRT;
	}
	if (u->tags >> tag_of(c) & 1) { /* its entry is that of the command that has the tag */
		ata_fail_queue(u, NULL, ATA_ABRT);
		return ATA_ABRT;
	}
	enter(u, c);
	error = run(u, c);
	if (error && !c->cancelled && !u->queue_failed)
		ata_fail_queue(u, c, error);
	leave(u, c);
	return error;
}
