/* See fake_unit.h. */
#include "fake_unit.h"
#include "base/bytes.h"

#include <string.h>
#include <sys/mman.h>

struct fake_unit {
	struct scsi_lu lu;
	struct fake_store *store;
};

enum {
	CDB_LBA = BE32(2),
	CDB_BLOCKS = BE16(7),
	CDB_NUMBER = BE32(2),
	CDB_EVENT = U8(1),
	INQ_ALLOC = BE16(3),
	RS_ALLOC = U8(4),
	RL_ALLOC = BE32(6)
};

void fake_sync(void)
{
	static unsigned turn;

	__atomic_fetch_add(&turn, 1, __ATOMIC_ACQ_REL);
}

struct fake_store *fake_store_new(void)
{
	void *p = mmap(NULL, sizeof(struct fake_store), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

void fake_store_free(struct fake_store *s)
{
	munmap(s, sizeof(*s));
}

static struct fake_store *store_of(struct scsi_cmd *c)
{
	return ((struct fake_unit *)c->lu)->store;
}

static enum sense test_unit_ready(struct scsi_cmd *c)
{
	(void)c;
	return SENSE_GOOD;
}

static enum sense inquiry(struct scsi_cmd *c)
{
	static const char vendor[8] = {'O', 'U', 'T', 'B', 'O', 'A', 'R', 'D'};
	uint8_t b[36] = {5, 0x80, 5, 2, 31};

	memset(b + 8, ' ', 28);
	memcpy(b + 8, vendor, sizeof(vendor));
	memcpy(b + 16, c->lu->name, MIN(strlen(c->lu->name), 16));
	return scsi_reply(c, b, sizeof(b));
}

static enum sense medium_range(struct scsi_cmd *c, uint8_t **p, size_t *len)
{
	uint32_t lba = fld_get(c->cdb, CDB_LBA), n = fld_get(c->cdb, CDB_BLOCKS);

	if (c->replay)
		__atomic_fetch_add(&store_of(c)->replays, 1, __ATOMIC_RELAXED);
	if (lba > FAKE_BLOCKS || n > FAKE_BLOCKS - lba)
		return scsi_fail_lba(c, SENSE_LBA_RANGE, lba);
	*p = store_of(c)->data + (size_t)lba * FAKE_BLOCK;
	*len = (size_t)n * FAKE_BLOCK;
	return SENSE_GOOD;
}

static co_fn enum sense read_10(struct scsi_cmd *c)
{
	size_t len = 0;
	uint8_t *p = NULL;
	enum sense s = medium_range(c, &p, &len);

	co_reschedule();
	if (s == SENSE_GOOD)
		c->in_done = iovs_put(&c->in, 0, p, len);
	fake_sync();
	return s;
}

static co_fn enum sense write_10(struct scsi_cmd *c)
{
	size_t len = 0;
	uint8_t *p = NULL;
	enum sense s = medium_range(c, &p, &len);

	co_reschedule();
	if (s == SENSE_GOOD)
		c->out_done = iovs_get(&c->out, 0, p, len);
	fake_sync();
	return s;
}

static co_fn enum sense hold(struct scsi_cmd *c)
{
	struct fake_store *s = store_of(c);

	__atomic_fetch_add(&s->holding, 1, __ATOMIC_SEQ_CST);
	while (!c->aborted && !__atomic_load_n(&s->release, __ATOMIC_SEQ_CST))
		co_sleep_ns(1000000);
	__atomic_fetch_sub(&s->holding, 1, __ATOMIC_SEQ_CST);
	if (c->in.len)
		scsi_reply(c, "held", 4);
	return SENSE_GOOD;
}

static co_fn enum sense append(struct scsi_cmd *c)
{
	struct fake_store *s = store_of(c);
	uint32_t n = fld_get(c->cdb, CDB_NUMBER) % FAKE_APPENDS_MAX;

	if (n % 3) /* out of order */
		co_sleep_ns((n * 7919 % 5) * 100000);
	if (c->replay)
		s->replays++;
	if (s->executed[n] && !c->replay)
		s->strays++;
	s->executed[n]++;
	c->out_done = c->out.len;
	fake_sync();
	return SENSE_GOOD;
}

static enum sense raise_event(struct scsi_cmd *c)
{
	scsi_lu_event(c->lu, (enum scsi_event)fld_get(c->cdb, CDB_EVENT));
	return SENSE_GOOD;
}

static const struct scsi_row rows[256] = {
	[0x00] = {"TEST UNIT READY", test_unit_ready, 6, ROW_SHARED, {0}, 0},
	[0x03] = {"REQUEST SENSE",
		  scsi_request_sense,
		  6,
		  ROW_DATA_IN | ROW_UA_EXEMPT | ROW_KEEP_SENSE | ROW_BUSY_OK,
		  {RS_ALLOC},
		  RS_ALLOC},
	[0x12] = {"INQUIRY",
		  inquiry,
		  6,
		  ROW_DATA_IN | ROW_UA_EXEMPT | ROW_BUSY_OK,
		  {INQ_ALLOC},
		  INQ_ALLOC},
	[0x28] = {"READ(10)", read_10, 10, ROW_DATA_IN | ROW_SHARED, {CDB_LBA, CDB_BLOCKS}, 0},
	[0x2a] = {"WRITE(10)", write_10, 10, ROW_DATA_OUT | ROW_SHARED, {CDB_LBA, CDB_BLOCKS}, 0},
	[0xa0] = {"REPORT LUNS",
		  scsi_report_luns,
		  12,
		  ROW_DATA_IN | ROW_UA_EXEMPT | ROW_BUSY_OK,
		  {RL_ALLOC},
		  RL_ALLOC},
	[FAKE_HOLD] = {"HOLD", hold, 6, ROW_SHARED | ROW_VENDOR, {0}, 0},
	[FAKE_APPEND] = {"APPEND", append, 6, ROW_SHARED | ROW_VENDOR, {CDB_NUMBER}, 0},
	[FAKE_EVENT] = {"EVENT", raise_event, 6, ROW_SHARED | ROW_VENDOR, {CDB_EVENT}, 0},
};

static enum sense ready(struct scsi_lu *lu, struct scsi_cmd *c)
{
	(void)lu;
	(void)c;
	fake_sync();
	return SENSE_GOOD;
}

static void nexus_new(struct scsi_lu *lu, struct scsi_nexus *nexus, bool resumed)
{
	struct fake_store *s = ((struct fake_unit *)lu)->store;

	(void)nexus;
	__atomic_fetch_add(resumed ? &s->resumed : &s->power_on, 1, __ATOMIC_SEQ_CST);
	fake_sync();
}

static co_fn void reset(struct scsi_lu *lu)
{
	__atomic_fetch_add(&((struct fake_unit *)lu)->store->resets, 1, __ATOMIC_SEQ_CST);
	fake_sync();
}

static co_fn void free_unit(struct scsi_lu *lu)
{
	scsi_lu_fini(lu);
	g_free(lu);
}

static const struct scsi_lu_ops ops = {
	.rows = rows,
	.ready = ready,
	.state_sense = ready,
	.reset = reset,
	.free = free_unit,
	.nexus_new = nexus_new,
};

struct scsi_lu *fake_unit_new(struct loop *loop, const char *name, struct fake_store *store)
{
	struct fake_unit *u = g_new0(struct fake_unit, 1);

	scsi_lu_init(&u->lu, &ops, loop, name);
	u->store = store;
	return &u->lu;
}
