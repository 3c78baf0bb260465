/* Read-ahead of an image: see source.h. A ring of buffers between one filler and one consumer. */
#include "cli/source.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"

enum { PIECES = 4, ALIGN = 4096 };

struct source {
	int fd;
	uint64_t bytes;
	uint64_t off; /* next to read */
	uint8_t *buf[PIECES];
	size_t len[PIECES];
	unsigned filled, taken; /* pieces so far; at most PIECES apart */
	bool held;              /* the consumer still looks at piece "taken" */
	bool running, stop;
	int failed; /* -errno of the filler */
	struct co_queue space, data;
};

static bool find_size(struct source *s, const char *path, GError **error)
{
	struct stat st;

	if (fstat(s->fd, &st))
		return err_set_errno(error, errno, "%s", path);
	if (S_ISBLK(st.st_mode)) {
		if (ioctl(s->fd, BLKGETSIZE64, &s->bytes))
			return err_set_errno(error, errno, "%s: cannot get its size", path);
	} else if (S_ISREG(st.st_mode)) {
		s->bytes = (uint64_t)st.st_size;
	} else {
		return err_set(error, EINVAL, "%s: an image must be a file or a block device",
			       path);
	}
	if (!s->bytes)
		return err_set(error, EINVAL, "%s: is empty, there is nothing to burn", path);
	if (s->bytes > (uint64_t)INT32_MAX * SOURCE_BLOCK)
		return err_set(error, EFBIG, "%s: %" PRIu64 " bytes, no disc is that large", path,
			       s->bytes);
	return true;
}

struct source *source_open(const char *path, GError **error)
{
	struct source *s = g_new0(struct source, 1);

	s->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (s->fd < 0)
		err_set_errno(error, errno, "%s", path);
	else if (find_size(s, path, error))
		return s;
	if (s->fd >= 0)
		close(s->fd);
	g_free(s);
	return NULL;
}

uint64_t source_bytes(const struct source *s)
{
	return s->bytes;
}

uint32_t source_blocks(const struct source *s)
{
	return (uint32_t)((s->bytes + SOURCE_BLOCK - 1) / SOURCE_BLOCK);
}

/* Reads len bytes at s->off fully into buf. */
static co_fn int read_piece(struct source *s, uint8_t *buf, size_t len)
{
	size_t got = 0;

	while (got < len) {
		struct iovec v = {buf + got, len - got};
		int n = co_preadv(s->fd, &v, 1, s->off + got);

		if (n < 0)
			return n;
		if (n == 0)
			return -EIO;
		got += (size_t)n;
	}
	return 0;
}

static void fill_run(void *arg)
{
	struct source *s = arg;

	while (!s->stop && !s->failed && s->off < s->bytes) {
		unsigned i = s->filled % PIECES;
		size_t len = MIN(s->bytes - s->off, (uint64_t)SOURCE_PIECE);
		size_t whole = (len + SOURCE_BLOCK - 1) / SOURCE_BLOCK * SOURCE_BLOCK;

		if (s->filled - s->taken == PIECES) {
			co_queue_wait(&s->space);
			continue;
		}
		s->failed = read_piece(s, s->buf[i], len);
		memset(s->buf[i] + len, 0, whole - len);
		s->len[i] = whole;
		s->off += len;
		s->filled += !s->failed;
		co_queue_wake_all(&s->data);
	}
	s->running = false;
	co_queue_wake_all(&s->data);
}

void source_start(struct source *s, uint32_t first_block)
{
	s->off = (uint64_t)first_block * SOURCE_BLOCK;
	for (unsigned i = 0; i < PIECES; i++)
		s->buf[i] = g_aligned_alloc(1, SOURCE_PIECE, ALIGN);
	s->running = true;
	co_start(co_loop(), fill_run, s);
}

co_fn int source_next(struct source *s, const uint8_t **data, uint32_t *blocks)
{
	if (s->held) {
		s->held = false;
		s->taken++;
		co_queue_wake_all(&s->space);
	}
	while (s->filled == s->taken && s->running)
		co_queue_wait(&s->data);
	*blocks = 0;
	if (s->filled == s->taken)
		return s->failed;
	*data = s->buf[s->taken % PIECES];
	*blocks = (uint32_t)(s->len[s->taken % PIECES] / SOURCE_BLOCK);
	s->held = true;
	return 0;
}

co_fn void source_close(struct source *s)
{
	if (!s)
		return;
	s->stop = true;
	co_queue_wake_all(&s->space);
	while (s->running)
		co_queue_wait(&s->data);
	for (unsigned i = 0; i < PIECES; i++)
		g_aligned_free(s->buf[i]);
	close(s->fd);
	g_free(s);
}
