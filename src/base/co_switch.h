/* The bare switch between two stacks; co.c tells the sanitizers about it. */
#pragma once

#include <stddef.h>

/*
 * Keeps the callee-saved registers on this stack, stores its pointer to *save, goes on at that of
 * load.
 */
void co_switch_stack(void **save, void *load);

/*
 * A stack pointer that makes the first switch call entry() on an empty stack; top is its upper end.
 */
void *co_switch_prepare(void *top, void (*entry)(void));
