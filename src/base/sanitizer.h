/*
 * What AddressSanitizer, ThreadSanitizer and valgrind must know of stacks that are not the thread's
 * own. Without them every function here is empty.
 */
#pragma once

#include <stdbool.h>

#include "base/loop_impl.h"

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define WITH_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WITH_TSAN 1
#endif
#endif

#ifdef WITH_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef WITH_TSAN
#include <sanitizer/tsan_interface.h>
#endif
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#define WITH_VALGRIND 1
#endif

#if defined(WITH_ASAN) || defined(WITH_TSAN)
#define WITH_SANITIZER 1
#else
#define WITH_SANITIZER 0
#endif

static inline bool runs_on_valgrind(void)
{
#ifdef WITH_VALGRIND
	return RUNNING_ON_VALGRIND;
#else
	return false;
#endif
}

/* Before leaving from for to; ends: from is never resumed. */
static inline void sanitizer_switch_begin(struct co_context *from, struct co_context *to, bool ends)
{
#ifdef WITH_ASAN
	__sanitizer_start_switch_fiber(ends ? NULL : &from->fake_stack, to->stack, to->stack_len);
#endif
#ifdef WITH_TSAN
	__tsan_switch_to_fiber(to->fiber, 0);
#endif
	(void)from;
	(void)to;
	(void)ends;
}

/* After coming back to self. */
static inline void sanitizer_switch_end(struct co_context *self)
{
#ifdef WITH_ASAN
	__sanitizer_finish_switch_fiber(self->fake_stack, NULL, NULL);
#endif
	(void)self;
}

/* The first thing on a new stack; from is where it was started: only now are its bounds known. */
static inline void sanitizer_first_entry(struct co_context *from)
{
#ifdef WITH_ASAN
	__sanitizer_finish_switch_fiber(NULL, &from->stack, &from->stack_len);
#endif
	(void)from;
}

/* On a thread's own stack, before it resumes a coroutine. */
static inline void sanitizer_note_thread(struct co_context *main)
{
#ifdef WITH_TSAN
	main->fiber = __tsan_get_current_fiber();
#endif
	(void)main;
}

static inline unsigned sanitizer_stack_new(struct co_context *c)
{
#ifdef WITH_TSAN
	c->fiber = __tsan_create_fiber(0);
#endif
#ifdef WITH_VALGRIND
	return VALGRIND_STACK_REGISTER(c->stack, (const char *)c->stack + c->stack_len);
#else
	(void)c;
	return 0;
#endif
}

/* The frames of a coroutine that ended stay behind poisoned. */
static inline void sanitizer_stack_clean(struct co_context *c)
{
#ifdef WITH_ASAN
	__asan_unpoison_memory_region((const volatile void *)c->stack, c->stack_len);
#endif
	(void)c;
}

static inline void sanitizer_stack_free(struct co_context *c, unsigned valgrind_id)
{
	sanitizer_stack_clean(c);
#ifdef WITH_TSAN
	__tsan_destroy_fiber(c->fiber);
#endif
#ifdef WITH_VALGRIND
	VALGRIND_STACK_DEREGISTER(valgrind_id);
#endif
	(void)valgrind_id;
}
