/*
 * The SIGBUS handler for guest memory: see gmem_guard.h.
 *
 * A signal handler can reach file-level data only, hence the table here: a fixed array of slots
 * whose fields are atomic. A slot is claimed and emptied by the threads that map memory; the
 * handler only reads it and sets torn. A fault that is in none of them goes to the handler that was
 * there before us (or kills, which is what it deserves).
 */
#include "base/gmem_guard.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

enum { GUARDS_MAX = 4096 };

struct gmem_guard {
	uint8_t *_Atomic base; /* NULL: slot is free; &filling: about to be taken */
	_Atomic size_t len;
	atomic_bool torn;
};

static struct gmem_guard guards[GUARDS_MAX];
static uint8_t filling;
static atomic_uint n_guards; /* slots ever used: the handler looks no further */
static struct sigaction before;
static atomic_int installed; /* 0 no, 1 being done, 2 yes */

static struct gmem_guard *find_guard(const uint8_t *addr)
{
	unsigned n = atomic_load(&n_guards);

	for (unsigned i = 0; i < n; i++) {
		const uint8_t *base = atomic_load(&guards[i].base);

		if (base && base != &filling && addr >= base &&
		    (size_t)(addr - base) < atomic_load(&guards[i].len))
			return &guards[i];
	}
	return NULL;
}

static void on_sigbus(int signo, siginfo_t *info, void *context)
{
	struct gmem_guard *g = find_guard(info->si_addr);
	void *base;

	if (g) {
		base = atomic_load(&g->base);
		if (mmap(base, atomic_load(&g->len), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) == base) {
			atomic_store(&g->torn, true);
			return;
		}
	}
	if (before.sa_flags & SA_SIGINFO && before.sa_sigaction) {
		before.sa_sigaction(signo, info, context);
		return;
	}
	signal(signo, SIG_DFL); /* the instruction runs again and ends the process */
}

static void install(void)
{
	struct sigaction sa = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_ONSTACK};
	int none = 0;

	if (!atomic_compare_exchange_strong(&installed, &none, 1))
		return;
	sigemptyset(&sa.sa_mask);
	sigaction(SIGBUS, &sa, &before);
	atomic_store(&installed, 2);
}

struct gmem_guard *gmem_guard_new(void *base, size_t len)
{
	install();
	for (unsigned i = 0; i < GUARDS_MAX; i++) {
		uint8_t *none = NULL;
		unsigned n;

		if (!atomic_compare_exchange_strong(&guards[i].base, &none, &filling))
			continue;
		atomic_store(&guards[i].torn, false);
		atomic_store(&guards[i].len, len);
		atomic_store(&guards[i].base, base);
		n = atomic_load(&n_guards);
		while (n < i + 1 && !atomic_compare_exchange_weak(&n_guards, &n, i + 1))
			;
		return &guards[i];
	}
	return NULL;
}

void gmem_guard_free(struct gmem_guard *g)
{
	if (g)
		atomic_store(&g->base, NULL);
}

bool gmem_guard_is_torn(const struct gmem_guard *g)
{
	return g && atomic_load(&g->torn);
}
