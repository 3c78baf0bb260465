/*
 * Threads for what would block a loop: jobs, and the file operations of the epoll back end. A pool
 * belongs to one loop. Threads start when work finds none idle and end after some seconds without
 * any.
 */
#pragma once

struct loop;
struct loop_op;
struct workers;

struct workers *workers_new(void);
/* Nothing may be queued or running. NULL is fine. */
void workers_free(struct workers *w);
/* Performs op in a thread, then loop_op_finished(). */
void workers_push(struct workers *w, struct loop_op *op);
