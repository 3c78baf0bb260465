/*
 * The switch between stacks, in assembly: the registers that a function must preserve by the System
 * V (x86-64) and AAPCS64 (arm64) conventions. Floating-point control words are left alone: all
 * coroutines of a thread share them.
 */
#include "base/co_switch.h"

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
__asm__(".text\n"
	".p2align 4\n"
	".hidden co_switch_stack\n"
	".globl co_switch_stack\n"
	".type co_switch_stack, @function\n"
	"co_switch_stack:\n"
	"	pushq %rbp\n"
	"	pushq %rbx\n"
	"	pushq %r12\n"
	"	pushq %r13\n"
	"	pushq %r14\n"
	"	pushq %r15\n"
	"	movq %rsp, (%rdi)\n"
	"	movq %rsi, %rsp\n"
	"	popq %r15\n"
	"	popq %r14\n"
	"	popq %r13\n"
	"	popq %r12\n"
	"	popq %rbx\n"
	"	popq %rbp\n"
	"	ret\n"
	".size co_switch_stack, . - co_switch_stack\n");

enum { FRAME_WORDS = 8, ENTRY_WORD = 6 }; /* six registers, entry, its (null) return address */

#elif defined(__aarch64__)
__asm__(".text\n"
	".p2align 4\n"
	".hidden co_switch_stack\n"
	".globl co_switch_stack\n"
	".type co_switch_stack, %function\n"
	"co_switch_stack:\n"
	"	sub sp, sp, #160\n"
	"	stp x19, x20, [sp, #0]\n"
	"	stp x21, x22, [sp, #16]\n"
	"	stp x23, x24, [sp, #32]\n"
	"	stp x25, x26, [sp, #48]\n"
	"	stp x27, x28, [sp, #64]\n"
	"	stp x29, x30, [sp, #80]\n"
	"	stp d8, d9, [sp, #96]\n"
	"	stp d10, d11, [sp, #112]\n"
	"	stp d12, d13, [sp, #128]\n"
	"	stp d14, d15, [sp, #144]\n"
	"	mov x2, sp\n"
	"	str x2, [x0]\n"
	"	mov sp, x1\n"
	"	ldp x19, x20, [sp, #0]\n"
	"	ldp x21, x22, [sp, #16]\n"
	"	ldp x23, x24, [sp, #32]\n"
	"	ldp x25, x26, [sp, #48]\n"
	"	ldp x27, x28, [sp, #64]\n"
	"	ldp x29, x30, [sp, #80]\n"
	"	ldp d8, d9, [sp, #96]\n"
	"	ldp d10, d11, [sp, #112]\n"
	"	ldp d12, d13, [sp, #128]\n"
	"	ldp d14, d15, [sp, #144]\n"
	"	add sp, sp, #160\n"
	"	ret\n"
	".size co_switch_stack, . - co_switch_stack\n");

enum { FRAME_WORDS = 20, ENTRY_WORD = 11 }; /* x30 */

#else
#error "co_switch.c: write the stack switch for this architecture"
#endif

void *co_switch_prepare(void *top, void (*entry)(void))
{
	uintptr_t end = (uintptr_t)top & ~(uintptr_t)15;
	uint64_t *frame = (uint64_t *)end - FRAME_WORDS;

	memset(frame, 0, FRAME_WORDS * sizeof(*frame));
	frame[ENTRY_WORD] = (uint64_t)(uintptr_t)entry;
	return frame;
}
