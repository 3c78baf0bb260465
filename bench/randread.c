/*
 * randread DEVICE BYTES SECONDS DEPTH: 4 KiB reads past the page cache at random places, DEPTH in
 * flight by the kernel's own asynchronous I/O. Prints how many a second. Runs in the guest of
 * guest_disk.py, so it is linked statically.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 4096, DEPTH_MAX = 64 };

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void fail(const char *what)
{
	fprintf(stderr, "randread: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void submit(aio_context_t context, struct iocb *cb, uint64_t blocks, uint64_t *state)
{
	cb->aio_offset = (int64_t)(next_random(state) % blocks * BLOCK);
	if (syscall(SYS_io_submit, context, 1, &cb) != 1)
		fail("io_submit");
}

int main(int argc, char **argv)
{
	struct iocb cbs[DEPTH_MAX] = {0};
	struct io_event events[DEPTH_MAX];
	aio_context_t context = 0;
	uint64_t blocks, state = 88172645463325252ULL, begin, end, done = 0;
	int fd, depth;
	void *memory;

	if (argc != 5)
		return 2;
	blocks = strtoull(argv[2], NULL, 0) / BLOCK;
	depth = atoi(argv[4]);
	fd = open(argv[1], O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (fd < 0)
		fail(argv[1]);
	if (depth < 1 || depth > DEPTH_MAX || blocks == 0 ||
	    posix_memalign(&memory, BLOCK, (size_t)depth * BLOCK))
		return 2;
	if (syscall(SYS_io_setup, depth, &context) != 0)
		fail("io_setup");
	begin = now_ns();
	end = begin + strtoull(argv[3], NULL, 0) * 1000000000;
	for (int i = 0; i < depth; i++) {
		cbs[i] = (struct iocb){.aio_data = (uint64_t)i,
				       .aio_lio_opcode = IOCB_CMD_PREAD,
				       .aio_fildes = (uint32_t)fd,
				       .aio_buf = (uint64_t)((char *)memory + (size_t)i * BLOCK),
				       .aio_nbytes = BLOCK};
		submit(context, &cbs[i], blocks, &state);
	}
	while (now_ns() < end) {
		long got = syscall(SYS_io_getevents, context, 1, depth, events, NULL);

		if (got < 0)
			fail("io_getevents");
		for (long i = 0; i < got; i++) {
			if (events[i].res != BLOCK) {
				errno = (int)-events[i].res;
				fail("read");
			}
			done++;
			submit(context, &cbs[events[i].data], blocks, &state);
		}
	}
	printf("%.1f\n", done / ((now_ns() - begin) / 1e9));
	return 0;
}
