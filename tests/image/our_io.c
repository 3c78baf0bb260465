/*
 * What qemu-io is for QEMU: single requests to an image, through our drivers, for the tests.
 *
 *   our_io [-r] IMAGE COMMAND...    where COMMAND is one of
 *       "write PATTERN OFF LEN", "zero OFF LEN", "read PATTERN OFF LEN", "flush", "die",
 *       "dirty": prints what each bitmap calls dirty, "NAME OFF LEN" a line,
 *       "together N": the next N commands are sent at once
 *
 * IMAGE is as block_open_image() takes it. -r: opened read-only.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/co.h"
#include "block/block.h"

struct run {
	char **argv;
	struct loop *loop;
	struct loop_task task;
	struct block_node *node;
	unsigned in_flight;
	struct co_queue done;
	int status;
};

struct command {
	struct run *run;
	char kind[16];
	unsigned long long pattern, off, len;
};

static bool parse(const char *text, struct command *c)
{
	if (sscanf(text, "write %llu %llu %llu", &c->pattern, &c->off, &c->len) == 3 ||
	    sscanf(text, "read %llu %llu %llu", &c->pattern, &c->off, &c->len) == 3 ||
	    sscanf(text, "zero %llu %llu", &c->off, &c->len) == 2 || !strcmp(text, "flush") ||
	    !strcmp(text, "dirty") || !strcmp(text, "die"))
		return sscanf(text, "%15s", c->kind) == 1;
	return false;
}

static co_fn int do_data(const struct command *c)
{
	uint8_t *buf = g_malloc(c->len);
	int res;

	memset(buf, (int)c->pattern, c->len);
	if (*c->kind == 'w') {
		res = block_pwrite(c->run->node, c->off, buf, c->len, 0);
	} else {
		uint8_t *wanted = g_memdup2(buf, c->len);

		res = block_pread(c->run->node, c->off, buf, c->len);
		if (res == 0 && memcmp(buf, wanted, c->len) != 0) {
			fprintf(stderr, "pattern %llu is not at %llu\n", c->pattern, c->off);
			res = -EIO;
		}
		g_free(wanted);
	}
	g_free(buf);
	return res;
}

static co_fn int print_dirty(struct block_node *node)
{
	struct block_bitmap b;
	int res = 0;

	for (unsigned i = 0; res == 0 && block_get_bitmap(node, i, &b); i++) {
		uint64_t length = block_length(node), run = 0;
		bool dirty;

		for (uint64_t off = 0; off < length && res == 0; off += run) {
			res = block_find_dirty(node, i, off, length - off, &dirty, &run);
			if (res == 0 && dirty)
				printf("%s %llu %llu\n", b.name, (unsigned long long)off,
				       (unsigned long long)run);
		}
	}
	return res;
}

static co_fn void do_command(void *arg)
{
	struct command *c = arg;
	struct run *r = c->run;
	int res;

	switch (*c->kind) {
	case 'z': res = block_discard_zero(r->node, c->off, c->len); break;
	case 'f': res = block_flush(r->node); break;
	case 'd':
		if (!strcmp(c->kind, "die"))
			_exit(9);
		res = print_dirty(r->node);
		break;
	default: res = do_data(c); break;
	}
	if (res < 0) {
		fprintf(stderr, "%s %llu %llu: %s\n", c->kind, c->off, c->len, strerror(-res));
		r->status = 1;
	}
	g_free(c);
	r->in_flight--;
	co_queue_wake_all(&r->done);
}

static co_fn void do_all(struct run *r)
{
	unsigned long together = 1;

	for (char **at = r->argv; *at && !r->status; at++) {
		struct command *c;

		if (sscanf(*at, "together %lu", &together) == 1)
			continue;
		c = g_new0(struct command, 1);
		c->run = r;
		if (!parse(*at, c)) {
			fprintf(stderr, "what is \"%s\"?\n", *at);
			r->status = 2;
			g_free(c);
			break;
		}
		r->in_flight++;
		co_start(r->loop, do_command, c);
		while (r->in_flight >= together)
			co_queue_wait(&r->done);
	}
	while (r->in_flight)
		co_queue_wait(&r->done);
}

static co_fn void body(void *arg)
{
	struct run *r = arg;
	unsigned flags = BLOCK_RDWR;
	GError *error = NULL;

	if (!strcmp(*r->argv, "-r")) {
		flags = 0;
		r->argv++;
	}
	r->node = block_open_image(*r->argv, NULL, flags, &error);
	if (r->node) {
		r->argv++;
		do_all(r);
	} else {
		fprintf(stderr, "%s\n", error->message);
		g_error_free(error);
		r->status = 1;
	}
	block_unref(r->node);
	loop_stop(r->loop);
}

static void begin(struct loop_task *task)
{
	struct run *r = (struct run *)((char *)task - offsetof(struct run, task));

	co_start(r->loop, body, r);
}

int main(int argc, char **argv)
{
	struct run r = {.argv = argv + 1, .task.run = begin};

	if (argc < 2)
		return 2;
	r.loop = loop_new(LOOP_AUTO, NULL);
	if (!r.loop)
		return 1;
	loop_post(r.loop, &r.task);
	loop_run(r.loop);
	loop_free(r.loop);
	return r.status;
}
