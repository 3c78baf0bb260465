/*
 * Log: one process, one log; so level and sink are the only file-level variables here. Text can
 * hold what a guest sent: control characters are written as \xNN, so that it can neither add lines
 * nor drive a terminal.
 */
#include "base/log.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/loop.h"

static const char *const level_names[] = {"error", "warn", "info", "debug", NULL};

static int max_level = LOG_INFO; /* atomic */
static pthread_mutex_t sink_lock = PTHREAD_MUTEX_INITIALIZER;
static void (*sink_fn)(enum log_level level, const char *area, const char *text, void *arg);
static void *sink_arg;

void log_set_level(enum log_level level)
{
	__atomic_store_n(&max_level, (int)level, __ATOMIC_RELAXED);
}

bool log_enabled(enum log_level level)
{
	return (int)level <= __atomic_load_n(&max_level, __ATOMIC_RELAXED);
}

bool log_level_from_name(const char *name, enum log_level *out)
{
	for (unsigned i = 0; level_names[i]; i++) {
		if (strcmp(level_names[i], name) == 0) {
			*out = (enum log_level)i;
			return true;
		}
	}
	return false;
}

void log_set_sink(void (*sink)(enum log_level level, const char *area, const char *text, void *arg),
		  void *arg)
{
	pthread_mutex_lock(&sink_lock);
	sink_fn = sink;
	sink_arg = arg;
	pthread_mutex_unlock(&sink_lock);
}

static char *printable(const char *text)
{
	GString *out = g_string_new(NULL);

	for (; *text; text++) {
		if (g_ascii_iscntrl(*text))
			g_string_append_printf(out, "\\x%02x", (unsigned char)*text);
		else
			g_string_append_c(out, *text);
	}
	return g_string_free(out, FALSE);
}

static void emit(enum log_level level, const char *area, const char *text)
{
	char *clean = printable(text);

	pthread_mutex_lock(&sink_lock);
	if (sink_fn)
		sink_fn(level, area, clean, sink_arg);
	else
		fprintf(stderr, "outboard: %s: %s: %s\n", level_names[level], area, clean);
	pthread_mutex_unlock(&sink_lock);
	g_free(clean);
}

static G_GNUC_PRINTF(3, 0) void emit_va(enum log_level level, const char *area, const char *fmt,
					va_list ap)
{
	char *text = g_strdup_vprintf(fmt, ap);

	emit(level, area, text);
	g_free(text);
}

void log_line(enum log_level level, const char *area, const char *fmt, ...)
{
	va_list ap;

	if (!log_enabled(level))
		return;
	va_start(ap, fmt);
	emit_va(level, area, fmt, ap);
	va_end(ap);
}

void log_limited(struct log_limit *limit, enum log_level level, const char *area, const char *fmt,
		 ...)
{
	enum { WINDOW_S = 5, LINES = 10 };
	uint64_t now;
	va_list ap;

	if (!log_enabled(level))
		return;
	now = loop_now_ns();
	if (!limit->window_start_ns || now - limit->window_start_ns >= WINDOW_S * 1000000000ull) {
		if (limit->left_out)
			log_line(level, area, "%u more lines like the last were left out",
				 limit->left_out);
		*limit = (struct log_limit){.window_start_ns = now};
	}
	if (limit->count >= LINES) {
		limit->left_out++;
		return;
	}
	limit->count++;
	va_start(ap, fmt);
	emit_va(level, area, fmt, ap);
	va_end(ap);
}
