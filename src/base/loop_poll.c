/*
 * Looking at memory instead of sleeping: see loop_poll() in loop.h.
 *
 * With something to look at the loop does not sleep: after each turn it looks round and round until
 * one of them has something, one's time is over, or there is other work. All that the round reads
 * is memory, among it the kernel's completion ring, so that a file operation under way ends the
 * round as well.
 */
#include "base/loop_impl.h"

enum { ROUNDS_A_CLOCK = 16 }; /* reading the clock costs more than a look */

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

void loop_poll(struct loop *l, struct loop_poller *p, uint64_t deadline_ns)
{
	assert(!p->loop);
	p->loop = l;
	p->deadline_ns = deadline_ns;
	p->next = NULL;
	*l->pollers_tail = p;
	l->pollers_tail = &p->next;
}

void loop_poll_cancel(struct loop_poller *p)
{
	struct loop *l = p->loop;
	struct loop_poller **at;

	if (!l)
		return;
	for (at = &l->pollers; *at != p; at = &(*at)->next)
		;
	*at = p->next;
	if (!p->next)
		l->pollers_tail = at;
	p->loop = NULL;
}

static bool has_other_work(const struct loop *l)
{
	return co_any_ready(l) || l->turn_end || __atomic_load_n(&l->posted, __ATOMIC_RELAXED) ||
	       __atomic_load_n(&l->finished, __ATOMIC_RELAXED) ||
	       __atomic_load_n(&l->stop, __ATOMIC_RELAXED) ||
	       (l->ops->has_events && l->ops->has_events(l));
}

/* One look at each; true: one of them is done. */
static bool look_round(struct loop *l, uint64_t now_ns)
{
	for (struct loop_poller *p = l->pollers; p; p = p->next) {
		bool come = p->look(p);

		if (!come && now_ns < p->deadline_ns)
			continue;
		loop_poll_cancel(p);
		p->done(p, come); /* may change the list */
		return true;
	}
	return false;
}

void loop_pollers_run(struct loop *l)
{
	uint64_t now = 0;

	for (unsigned i = 0;; i++) {
		if (i % ROUNDS_A_CLOCK == 0) {
			now = loop_now_ns();
			if (i && loop_timers_timeout(l) == 0)
				return;
		}
		if (look_round(l, now) || has_other_work(l))
			return;
		relax();
	}
}
