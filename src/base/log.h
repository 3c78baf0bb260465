/*
 * Log and trace. Lower floors log what an operator wants to know later (a guest's protocol error, a
 * medium error); errors of set-up are returned, never logged. One line a call, no newline. Output
 * goes to stderr unless a sink is set.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

void log_line(enum log_level level, const char *area, const char *fmt, ...) G_GNUC_PRINTF(3, 4);
void log_set_level(enum log_level level);
bool log_level_from_name(const char *name, enum log_level *out);
bool log_enabled(enum log_level level);
/* Any thread; NULL restores stderr. */
void log_set_sink(void (*sink)(enum log_level level, const char *area, const char *text, void *arg),
		  void *arg);

/*
 * For what a guest can cause at will: lets 10 lines through each 5 seconds, then says how many it
 * left out.
 */
struct log_limit {
	uint64_t window_start_ns;
	unsigned count, left_out;
};
void log_limited(struct log_limit *limit, enum log_level level, const char *area, const char *fmt,
		 ...) G_GNUC_PRINTF(4, 5);
