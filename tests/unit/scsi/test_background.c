/* What runs behind commands: the timed flush, and operations that others come in between of. */
#include "mmc_fixture.h"

#include "block/fault.h"
#include "block/mem.h"
#include "disc/rules.h"

/* ---- the timed flush ---- */

static co_fn struct disc *slow_disc(struct block_node **node)
{
	struct disc_state *state = disc_blank_state(disc_type_find("dvd+r"), 4096);
	struct disc_store *store;
	GError *error = NULL;
	bool ok;

	*node = fault_new(block_mem_new(0, NULL, 0));
	ok = disc_store_format(*node, state, STORE_RDWR, &error);
	disc_state_free(state);
	block_ref(*node);
	store = ok ? disc_store_open(*node, STORE_RDWR, &state, &error) : NULL;
	return store ? disc_open_with_store(store, state, &error) : NULL;
}

static co_fn void put_in(struct fx *f, struct disc *disc)
{
	GError *error = NULL;

	CHECK(f, drive_insert(f->drive, disc, false, &error));
	FAILS(f, TUR, SENSE_MEDIUM_CHANGED);
}

static void fire_timer(struct fx *f)
{
	struct drive *d = f->drive;

	loop_timer_cancel(&d->flush_timer);
	d->flush_timer.fire(&d->flush_timer);
}

static co_fn void writes_do_not_wait_for_it(struct fx *f)
{
	const struct fault_rule slow = {.op = FAULT_FLUSH, .delay_ns = 20000000};
	struct block_node *node;
	struct disc *disc = slow_disc(&node);

	if (!disc) {
		fx_fail(f, __LINE__, "no disc");
		return;
	}
	put_in(f, disc);
	WRITES(f, 0, 32);
	WRITES(f, 32, 32);
	fault_add(node, &slow);
	fire_timer(f);
	CHECK(f, disc->committing);
	WRITES(f, 64, 32);
	CHECK(f, disc->committing);
	fire_timer(f); /* too early: it comes back to what was written meanwhile */
	CHECK(f, f->drive->dirty && f->drive->flush_timer.heap_index != 0);
	GOOD(f, SYNC);
	CHECK(f, !disc->committing);
	READS(f, 0, 96);
	CHECK(f, drive_eject(f->drive, true, NULL));
	block_unref(node);
}

/* Its failure is the next WRITE's. */
static co_fn void its_failure_is_told(struct fx *f)
{
	const struct fault_rule broken = {.op = FAULT_FLUSH, .errnum = EIO};
	struct block_node *node;
	struct disc *disc = slow_disc(&node);

	if (!disc) {
		fx_fail(f, __LINE__, "no disc");
		return;
	}
	put_in(f, disc);
	WRITES(f, 0, 32);
	WRITES(f, 32, 32);
	fault_add(node, &broken);
	fire_timer(f);
	while (disc->committing)
		co_sleep_ns(1000000);
	WRITE_FAILS(f, 64, 32, SENSE_WRITE_ERROR);
	CHECK(f, drive_eject(f->drive, true, NULL));
	block_unref(node);
}

/* ---- who comes between a command and its operation ---- */

static co_fn void close_immed(void *arg)
{
	struct fx *f = arg;

	GOOD(f, CLOSE_IMMED_("02", "00"));
}

struct ejection {
	struct fx *f;
	bool done; /* and the disc's file is closed */
};

static co_fn void eject_by_host(void *arg)
{
	struct ejection *e = arg;

	CHECK(e->f, drive_eject(e->f->drive, false, NULL));
	e->done = true;
}

/* Both wait in line: the command, then the host. */
static co_fn void line_up(struct fx *f)
{
	struct ejection e = {.f = f};

	co_rwlock_wrlock(&f->drive->lu.order);
	co_start(f->loop, close_immed, f);
	co_start(f->loop, eject_by_host, &e);
	co_rwlock_unlock(&f->drive->lu.order);
	while (!e.done)
		co_sleep_ns(1000000);
}

static co_fn void eject_finds_the_session_closed(struct fx *f)
{
	WRITES(f, 0, 32);
	line_up(f);
	FAILS(f, TUR, SENSE_NO_MEDIUM_OPEN);
	put_in(f, disc_open(f->path, DISC_OPEN_RDWR, 0, NULL));
	BYTE(f, DISC_INFO, 4, 2);
}

#define TEST(name, type, blocks)              \
	static void test_##name(void **state) \
	{                                     \
		(void)state;                  \
		fx_run(type, blocks, name);   \
	}

TEST(writes_do_not_wait_for_it, NULL, 0)
TEST(its_failure_is_told, NULL, 0)
TEST(eject_finds_the_session_closed, "dvd+r", 4096)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_writes_do_not_wait_for_it),
		cmocka_unit_test(test_its_failure_is_told),
		cmocka_unit_test(test_eject_finds_the_session_closed),
	};

	return RUN_TESTS(tests);
}
