/*
 * Inside a remote device. Files: remote.c (life: start, return, end), remote_link.c (bytes in and
 * out), remote_talk.c (messages), remote_dma.c, remote_device.c (the SDK's class).
 *
 * What touches the device (the SDK's functions, which call the host back) runs on the loop's own
 * stack: watches, timers, tasks, callbacks. The coroutine in remote.c only opens and closes.
 */
#pragma once

#include "base/log.h"
#include "device/remote.h"
#include "device/remote_codec.h"
#include "device/remote_describe.h"
#include "outboard.h"

enum {
	REMOTE_WAITS = 256,            /* requests of ours without an answer */
	REMOTE_DMAS = 64,              /* of the program's */
	REMOTE_UNREAD_MAX = 8 << 20,   /* bytes it does not take */
	REMOTE_UNREAD_PAUSE = 1 << 20, /* from here on its own messages wait as well */
};

enum remote_link {
	REMOTE_DOWN,
	REMOTE_HELLO, /* its description is awaited */
	REMOTE_UP,
};

struct remote_wait { /* for an answer of the program */
	uint32_t id; /* 0: free */
	uint8_t type, bar, width;
	uint64_t off, since_ns;
	struct ob_call *call;            /* NULL: nobody waits */
	struct remote_wait *prev, *next; /* oldest first */
};

struct remote_dma;

struct remote {
	struct loop *loop;
	char *name; /* for messages */
	struct remote_target *target;
	json_t *properties;
	uint64_t timeout_ns;
	struct remote_desc *desc; /* the first one */
	struct ob_class cls;
	struct ob_dev *dev; /* from open() to close() */
	enum remote_link link;
	unsigned generation; /* counts links */
	uint64_t up_since_ns;
	struct remote_peer peer;
	struct loop_watch in_watch, out_watch, err_watch;
	struct remote_decoder decoder;
	GByteArray *in, *out;
	size_t in_at, out_at;
	uint64_t out_since_ns; /* when it last took something of out; 0: out is empty */
	struct loop_task flush;
	struct loop_timer limit;
	GString *err_line;
	char *err_last;
	char *why; /* the link broke */

	struct remote_wait waits[REMOTE_WAITS];
	struct remote_wait *oldest, *newest;
	uint32_t last_id;
	unsigned state_told;
	struct remote_dma *dmas;
	unsigned n_dmas;
	uint8_t *dma_room;

	struct {
		uint64_t since_ns;
		unsigned lines, left_out;
	} said;

	struct co_queue changed; /* link, closing */
	struct co_queue gone;    /* the keeper ended */
	bool keeping, closing;
	bool stopped;   /* the machine is */
	bool has_ended; /* the link, by end of file */
	bool has_told;  /* state_told */
	bool is_other;  /* it described itself otherwise: never again */
};

/* remote_link.c */
/* The peer is open: watches it, says hello. */
void remote_link_up(struct remote *r);
/* Bytes in out are to go. */
void remote_link_kick(struct remote *r);
/* Takes messages that are there, and watches for more. */
void remote_link_resume(struct remote *r);
/* A wait was added: looks after its limit. */
void remote_link_limit(struct remote *r);
/* Looks no more at the peer. On the loop's stack if there is a device; tells nobody. */
void remote_link_down(struct remote *r);
/* The program did something wrong (a phrase that follows its name): the link is down, all waits are
 * answered. On the loop's stack. */
void remote_broke(struct remote *r, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
/* The rest of its standard error, to the log. */
void remote_link_read_errors(struct remote *r);
/* A line of the program's, at most a hundred each 5 seconds. */
void remote_say(struct remote *r, enum log_level level, const char *text, size_t len);

/* remote_talk.c */
/* Takes a line in REMOTE_HELLO. */
void remote_take_description(struct remote *r, const char *line, size_t len);
void remote_take_message(struct remote *r, const struct remote_msg *m);
/* Sends m with an id of its own and remembers call; false: too many wait, the link breaks. */
bool remote_ask(struct remote *r, struct remote_msg *m, struct ob_call *call);
void remote_send(struct remote *r, const struct remote_msg *m);
/* reset and state: what a program gets first. */
void remote_greet(struct remote *r);
void remote_tell_state(struct remote *r);
/* Answers every wait with all ones. */
void remote_answer_all(struct remote *r);

/* remote_dma.c */
void remote_take_dma(struct remote *r, const struct remote_msg *m);

/* remote_device.c: fills r->cls from r->desc. */
void remote_fill_class(struct remote *r);
