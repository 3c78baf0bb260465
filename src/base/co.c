/*
 * Coroutines: stacks, their pool, and who runs when.
 *
 * struct co lies at the upper end of its own mapping, so that starting one allocates nothing when
 * the pool has a stack. Whoever resumes a coroutine (the loop, or another coroutine by co_start())
 * gets control back at its next yield. The pool keeps what the busiest moment of the last second
 * needed; a timer that only exists while there is something to trim gives the rest back.
 */
#include "base/co.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/co_switch.h"
#include "base/loop_impl.h"
#include "base/sanitizer.h"

enum {
	STACK_SIZE = WITH_SANITIZER ? 256 << 10 : 64 << 10,
	KEEP_IDLE = 16,
	MAX_IDLE = 4096,
	TRIM_AT_ONCE = 128, /* a few hundred microseconds */
};

#define TRIM_EVERY_NS 1000000000ull
#define TRIM_MORE_NS  5000000ull

enum co_state {
	CO_RUNNING, /* or waiting for one that it started itself */
	CO_YIELDED, /* in co_yield(): co_wake() makes it ready */
	CO_WAITING, /* in co_wait(): co_resume() makes it ready */
	CO_READY,   /* from CO_YIELDED; another co_wake() adds nothing */
	CO_RESUMED, /* from CO_WAITING; a co_wake() is remembered */
	CO_ENDED,
};

struct co {
	struct co_context context;
	struct loop *loop;
	struct co *resumer; /* NULL: the loop's own stack */
	struct co *next;
	void (*fn)(void *arg);
	void *arg;
	enum co_state state;
	bool remembered;
	void *map;
	size_t map_len;
	unsigned valgrind_id;
};

static void trim(struct loop_timer *t);

static void list_add(struct co_list *list, struct co *co)
{
	co->next = NULL;
	if (list->tail)
		list->tail->next = co;
	else
		list->head = co;
	list->tail = co;
}

static struct co *list_take(struct co_list *list)
{
	struct co *co = list->head;

	list->head = co->next;
	if (!list->head)
		list->tail = NULL;
	return co;
}

static void switch_to(struct co_context *from, struct co_context *to, bool ends)
{
	sanitizer_switch_begin(from, to, ends);
	co_switch_stack(&from->sp, to->sp);
	sanitizer_switch_end(from);
}

static struct co_context *context_of(struct loop *l, struct co *co)
{
	return co ? &co->context : &l->co.main;
}

/* Goes back to whoever resumed this coroutine. */
static void leave(struct co *co, enum co_state state)
{
	co->state = state;
	switch_to(&co->context, context_of(co->loop, co->resumer), state == CO_ENDED);
}

static void co_main(void)
{
	struct co *co = loop_current()->co.running;

	sanitizer_first_entry(context_of(co->loop, co->resumer));
	co->fn(co->arg);
	leave(co, CO_ENDED);
	abort(); /* nobody resumes what ended */
}

static struct co *co_map(struct loop *l)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t len = STACK_SIZE + page;
	char *map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK,
			 -1, 0);
	struct co *co;

	if (map == MAP_FAILED || mprotect(map, page, PROT_NONE) < 0)
		g_error("no memory for the stack of a coroutine (%u exist): %s", l->co.n_live,
			g_strerror(errno));
	co = (struct co *)((uintptr_t)(map + len - sizeof(*co)) & ~(uintptr_t)63);
	co->map = map;
	co->map_len = len;
	co->loop = l;
	co->context.stack = map + page;
	co->context.stack_len = (size_t)((char *)co - map) - page;
	co->valgrind_id = sanitizer_stack_new(&co->context);
	return co;
}

static void co_unmap(struct co *co)
{
	sanitizer_stack_free(&co->context, co->valgrind_id);
	munmap(co->map, co->map_len);
}

static struct co *pool_get(struct loop *l)
{
	struct co_sched *s = &l->co;
	struct co *co = s->idle;

	if (!co)
		return co_map(l);
	s->idle = co->next;
	if (--s->n_idle < s->n_idle_min)
		s->n_idle_min = s->n_idle;
	return co;
}

static void pool_put(struct loop *l, struct co *co)
{
	struct co_sched *s = &l->co;

	if (s->n_idle >= MAX_IDLE) {
		co_unmap(co);
		return;
	}
	sanitizer_stack_clean(&co->context);
	co->next = s->idle;
	s->idle = co;
	s->n_idle++;
	if (s->n_idle > KEEP_IDLE && !s->trim.heap_index) {
		s->n_idle_min = s->n_idle;
		s->trim.fire = trim;
		loop_timer_set(l, &s->trim, loop_now_ns() + TRIM_EVERY_NS);
	}
}

static void pool_drop(struct co_sched *s, unsigned n)
{
	while (n--) {
		struct co *co = s->idle;

		s->idle = co->next;
		s->n_idle--;
		co_unmap(co);
	}
}

/* Frees what nobody needed since the last time, except KEEP_IDLE; much of it in several goes. */
static void trim(struct loop_timer *t)
{
	struct loop *l = t->loop;
	struct co_sched *s = &l->co;
	unsigned spare = s->n_idle_min > KEEP_IDLE ? s->n_idle_min - KEEP_IDLE : 0;

	if (spare > TRIM_AT_ONCE) {
		pool_drop(s, TRIM_AT_ONCE);
		s->n_idle_min -= TRIM_AT_ONCE;
		loop_timer_set(l, t, loop_now_ns() + TRIM_MORE_NS);
		return;
	}
	pool_drop(s, spare);
	s->n_idle_min = s->n_idle;
	if (s->n_idle > KEEP_IDLE)
		loop_timer_set(l, t, loop_now_ns() + TRIM_EVERY_NS);
}

void co_sched_fini(struct loop *l)
{
	assert(l->co.n_live == 0 && "coroutines left on a loop that is freed");
	loop_timer_cancel(&l->co.trim);
	pool_drop(&l->co, l->co.n_idle);
}

/* Runs co until it yields or ends. */
static void resume(struct loop *l, struct co *co)
{
	struct co *self = l->co.running;

	co->resumer = self;
	co->state = CO_RUNNING;
	l->co.running = co;
	if (!self)
		sanitizer_note_thread(&l->co.main);
	switch_to(context_of(l, self), &co->context, false);
	l->co.running = self;
	if (co->state == CO_ENDED) {
		l->co.n_live--;
		pool_put(l, co);
	}
}

void co_start(struct loop *l, void (*fn)(void *arg), void *arg)
{
	struct loop *old = loop_swap_current(l);
	struct co *co = pool_get(l);

	assert(!old || old == l);
	co->fn = fn;
	co->arg = arg;
	co->remembered = false;
	co->context.sp = co_switch_prepare(co, co_main);
	l->co.n_live++;
	resume(l, co);
	loop_swap_current(old);
}

void co_run_ready(struct loop *l)
{
	struct co_sched *s = &l->co;

	while (s->ready.head)
		resume(l, list_take(&s->ready));
}

void co_begin_turn(struct loop *l)
{
	struct co_sched *s = &l->co;

	while (s->later.head)
		list_add(&s->ready, list_take(&s->later));
}

struct co *co_self(void)
{
	struct loop *l = loop_current();

	return l ? l->co.running : NULL;
}

struct loop *co_loop(void)
{
	return loop_current();
}

co_fn void co_yield(void)
{
	struct co *co = co_self();

	assert(co);
	if (co->remembered) {
		co->remembered = false;
		return;
	}
	leave(co, CO_YIELDED);
}

void co_wake(struct co *co)
{
	assert(loop_current() == co->loop);
	if (co->state == CO_YIELDED) {
		co->state = CO_READY;
		list_add(&co->loop->co.ready, co);
	} else if (co->state != CO_READY) {
		co->remembered = true;
	}
}

co_fn void co_wait(void)
{
	struct co *co = co_self();

	assert(co);
	leave(co, CO_WAITING);
}

void co_resume(struct co *co)
{
	assert(co->state == CO_WAITING);
	co->state = CO_RESUMED;
	list_add(&co->loop->co.ready, co);
}

co_fn void co_reschedule(void)
{
	struct co *co = co_self();

	assert(co);
	list_add(&co->loop->co.later, co);
	leave(co, CO_RESUMED);
}
