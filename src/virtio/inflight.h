/*
 * In-flight tracking: which requests were fetched from a ring and not yet returned, kept in memory
 * that the front end holds over a restart of this process (VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD;
 * layouts of the vhost-user specification, "Inflight I/O tracking").
 *
 * The buffer is one slice for each queue; all slices have the size that the larger of the two
 * layouts needs, since a front end may ask for the buffer before features say which kind of ring it
 * will use. Everything in it may have been changed by the peer: it is read once, at the start of a
 * ring, into private memory and checked; afterwards it is only written.
 *
 * Order is what makes it work: a process can end between any two stores. Each function below names
 * the stores that must come before and after it.
 */
#pragma once

#include "base/err.h"

#include <stdint.h>

struct inflight;

enum { INFLIGHT_QUEUES_MAX = 256, INFLIGHT_NUM_MAX = 32768 };

/* The bytes such a buffer takes. */
uint64_t inflight_size(unsigned queues, unsigned num);
/* A new buffer in a memfd of its own: *fd is the caller's, to send away and close. */
struct inflight *inflight_new(unsigned queues, unsigned num, int *fd, GError **error);
/* A buffer that the front end hands (back): fd stays the caller's. */
struct inflight *inflight_open(int fd, uint64_t off, uint64_t size, unsigned queues, unsigned num,
			       GError **error);
void inflight_free(struct inflight *f);

unsigned inflight_queues(const struct inflight *f);
unsigned inflight_num(const struct inflight *f); /* descriptors each slice has room for */
/* The slice of a queue. */
void *inflight_slice(const struct inflight *f, unsigned queue);
/* Some ring used it before: what is in it comes from an earlier life of the back end. */
bool inflight_has_history(const struct inflight *f);
/* Makes a slice as good as new. */
void inflight_forget(void *slice);
bool inflight_is_torn(const struct inflight *f);

/* What a ring finds at its start: the requests to carry out again, oldest first. */
struct inflight_found {
	unsigned n;
	uint16_t *first;  /* split: head descriptors; packed: first entries. g_free() it */
	uint64_t counter; /* for the next request fetched */
};

/* --- split rings --- */
struct inflight_split;

/*
 * Takes up (or initialises) a slice for a ring of num descriptors whose used index is used_idx;
 * avail_idx bounds what can be in flight. false: its contents are impossible; it was cleared and
 * nothing is resubmitted.
 */
bool inflight_split_start(struct inflight_split *s, unsigned num, uint16_t used_idx,
			  uint16_t avail_idx, struct inflight_found *found);
/* Before the request takes effect. */
void inflight_split_fetch(struct inflight_split *s, uint16_t head, uint64_t counter);
/* Before the used index that covers head is published. */
void inflight_split_batch(struct inflight_split *s, uint16_t head);
/* After it was: the n heads of this batch. */
void inflight_split_done(struct inflight_split *s, const uint16_t *heads, unsigned n,
			 uint16_t used_idx);

/* --- packed rings --- */
struct inflight_packed; /* private view of one slice */

struct inflight_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t id, flags;
};

/*
 * As inflight_split_start(). ring_flags gives the flags word of a ring slot as it is now. *used_idx
 * and *used_wrap: in, where a fresh slice begins; out, where the device goes on.
 */
struct inflight_packed *inflight_packed_new(void *slice, unsigned num, uint16_t *used_idx,
					    bool *used_wrap,
					    uint16_t (*ring_flags)(void *arg, uint16_t slot),
					    void *arg, struct inflight_found *found, bool *intact);
void inflight_packed_free(struct inflight_packed *p);
/* Descriptors of the request that begins at entry first (of inflight_found), at most max; their
 * number. */
unsigned inflight_packed_read(const struct inflight_packed *p, uint16_t first,
			      struct inflight_desc *out, unsigned max);
/* Before the request takes effect; the entry it got, or -1: none left (more in flight than the ring
 * can hold). */
int inflight_packed_fetch(struct inflight_packed *p, const struct inflight_desc *d, unsigned n,
			  uint64_t counter);
/* Before the flags of the batch's first used descriptor are written: each request, then where the
 * device stands. */
void inflight_packed_batch(struct inflight_packed *p, uint16_t first);
void inflight_packed_moved(struct inflight_packed *p, uint16_t used_idx, bool used_wrap);
/* After them. */
void inflight_packed_done(struct inflight_packed *p, const uint16_t *firsts, unsigned n);
