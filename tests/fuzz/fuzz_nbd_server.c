/*
 * Fuzzer: a client sends what it likes into an NBD server that runs on the same loop, over a disk
 * in memory.
 *
 * Input: one byte of choices, then the client's bytes. With choice 1 a good handshake comes first,
 * up to an export; with 2 it asks for structured replies, with 4 for extended headers and with 8
 * for metadata contexts. Behind each magic number of a request or option that the input has (one
 * byte, 0xf0 to 0xf2, stands for it) the rest is as it is.
 */
#include "attach/nbd/impl.h"
#include "base/bytes.h"
#include "base/sock.h"
#include "block/mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { DISK_LEN = 1 << 20, TURNS = 8, GOOD = 1, STRUCTURED = 2, EXTENDED = 4, CONTEXTS = 8 };

static struct {
	struct loop *loop;
	struct nbd_server *s;
	struct block_node *disk;
	int client;
	char path[64];
	const uint8_t *data;
	size_t size;
} w;

static void start_server(void *arg)
{
	struct nbd_export_options exports[2] = {{.name = "a", .description = "disk"},
						{.name = "b", .readonly = true}};
	struct nbd_options o = {.path = w.path, .exports = exports, .n_exports = 2};

	(void)arg;
	w.disk = block_mem_new(DISK_LEN, NULL, 0);
	exports[0].node = exports[1].node = w.disk;
	w.s = nbd_server_new(w.loop, &o, NULL);
	if (!w.s)
		abort();
	loop_stop(w.loop);
}

static void quiet(enum log_level level, const char *area, const char *text, void *arg)
{
	(void)level;
	(void)area;
	(void)text;
	(void)arg;
}

static void remove_socket(void)
{
	unlink(w.path);
}

static void set_up(void)
{
	log_set_sink(quiet, NULL);
	snprintf(w.path, sizeof(w.path), "/tmp/outboard-fuzz-nbd-%d.sock", (int)getpid());
	atexit(remove_socket);
	w.loop = loop_new(LOOP_EPOLL, NULL);
	if (!w.loop)
		abort();
	co_start(w.loop, start_server, NULL);
	loop_run(w.loop);
}

static co_fn void let_server_work(void)
{
	static uint8_t buf[1 << 16];

	for (unsigned i = 0; i < TURNS; i++) {
		co_reschedule();
		while (recv(w.client, buf, sizeof(buf), MSG_DONTWAIT) > 0)
			;
	}
}

static co_fn void say(const void *data, size_t len)
{
	while (len) {
		ssize_t n = send(w.client, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n > 0) {
			data = (const uint8_t *)data + n;
			len -= (size_t)n;
		} else if (errno != EAGAIN) {
			return;
		}
		let_server_work();
	}
}

static co_fn void say_option(uint32_t number, const void *data, uint32_t len)
{
	uint8_t head[NBD_OPTION_LEN];

	put_be64(head, NBD_OPTION_MAGIC);
	put_be32(head + NBD_OPTION_NUMBER, number);
	put_be32(head + NBD_OPTION_LENGTH, len);
	say(head, sizeof(head));
	say(data, len);
}

static co_fn void good_start(unsigned choices)
{
	static const uint8_t contexts[] = "\0\0\0\1a\0\0\0\2\0\0\0\17base:allocation"
					  "\0\0\0\25qemu:allocation-depth";
	static const uint8_t go[] = "\0\0\0\1a\0\0";

	say("\0\0\0\3", 4);
	if (choices & STRUCTURED)
		say_option(NBD_OPT_STRUCTURED_REPLY, NULL, 0);
	if (choices & EXTENDED)
		say_option(NBD_OPT_EXTENDED_HEADERS, NULL, 0);
	if (choices & CONTEXTS)
		say_option(NBD_OPT_SET_META_CONTEXT, contexts, sizeof(contexts) - 1);
	if (choices & GOOD)
		say_option(NBD_OPT_GO, go, sizeof(go) - 1);
}

/* The input with its magic numbers. */
static co_fn void speak(void)
{
	uint8_t magic[8];

	while (w.size) {
		unsigned c = *w.data;

		if (c == 0xf0) {
			put_be32(magic, NBD_REQUEST_MAGIC);
			say(magic, 4);
		} else if (c == 0xf1) {
			put_be32(magic, NBD_EXTENDED_MAGIC);
			say(magic, 4);
		} else if (c == 0xf2) {
			put_be64(magic, NBD_OPTION_MAGIC);
			say(magic, 8);
		} else {
			const uint8_t *at = w.data;
			size_t n = 1;

			while (n < w.size && (at[n] < 0xf0 || at[n] > 0xf2))
				n++;
			say(at, n);
			w.data += n;
			w.size -= n;
			continue;
		}
		w.data++;
		w.size--;
	}
}

static void run(void *arg)
{
	unsigned choices = w.size ? *w.data : 0;

	(void)arg;
	if (w.size) {
		w.data++;
		w.size--;
	}
	w.client = sock_connect_unix(w.path, NULL);
	if (w.client < 0)
		abort();
	let_server_work();
	if (choices)
		good_start(choices);
	speak();
	let_server_work();
	close(w.client);
	for (unsigned i = 0; w.s->conns && i < 100000; i++)
		co_reschedule();
	if (w.s->conns)
		abort(); /* the connection did not end */
	loop_stop(w.loop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!w.loop)
		set_up();
	w.data = data;
	w.size = size;
	co_start(w.loop, run, NULL);
	loop_run(w.loop);
	return 0;
}
