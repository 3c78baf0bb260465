/*
 * Requests of the "file" driver that need not wait for anything, done at once on the loop's thread.
 *
 * A read that the page cache can answer and a write that goes into it are copies of memory; giving
 * them to the kernel's workers costs two thread switches of some 35 us each, several times the copy
 * (ext4 and tmpfs have no other way for a write through io_uring). So they are made here, in a
 * coroutine, as plain system calls: a read says RWF_NOWAIT where the file system knows it; what may
 * wait is timed, and a file whose calls turn out slow (a throttled disk) loses the privilege for
 * many times as long as they took. Only file systems of this host's own memory and disks qualify.
 */
#pragma once

#include "base/co.h"

struct file_inline {
	bool local;     /* on a file system that qualifies */
	bool no_nowait; /* it does not know RWF_NOWAIT for reads */
	uint64_t closed_until_ns, average_ns;
	uint64_t turn; /* of the loop, in which in_turn counts */
	uint64_t bytes_in_turn;
};

void file_inline_init(struct file_inline *in, int fd);
/*
 * Bytes done, or -EAGAIN: do it the asynchronous way (nothing was done). Other errors are the
 * file's. May yield for fairness after having done much within one turn of the loop.
 */
co_fn int file_inline_preadv(struct file_inline *in, int fd, const struct iovec *v, unsigned n,
			     size_t len, uint64_t off);
co_fn int file_inline_pwritev(struct file_inline *in, int fd, const struct iovec *v, unsigned n,
			      size_t len, uint64_t off);
