/* Progress line: see progress.h. */
#include "cli/progress.h"

#include <glib.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/loop.h"

enum { NS_PER_S = 1000000000 };
static const uint64_t redraw_ns = NS_PER_S / 10, plain_ns = 2ull * NS_PER_S,
		      silence_ns = 10ull * NS_PER_S;

void progress_init(struct progress *p, const char *what, uint64_t total, bool quiet)
{
	*p = (struct progress){
		.what = what, .total = total, .quiet = quiet, .started_ns = loop_now_ns()};
	p->drawn_ns = p->started_ns;
	p->terminal = isatty(STDERR_FILENO);
}

static double seconds_between(uint64_t from_ns, uint64_t to_ns)
{
	return to_ns > from_ns ? (double)(to_ns - from_ns) / NS_PER_S : 0;
}

static void append_bar(GString *s, double part, unsigned width)
{
	unsigned full = (unsigned)(part * width);

	g_string_append_c(s, '[');
	for (unsigned i = 0; i < width; i++)
		g_string_append_c(s, i < full ? '#' : i == full ? '>' : '.');
	g_string_append(s, "] ");
}

char *progress_text(const struct progress *p, uint64_t now_ns, unsigned width)
{
	double s = seconds_between(p->started_ns, now_ns);
	double rate = s > 0 ? (double)p->done / s : 0;
	double part = p->total ? MIN((double)p->done / (double)p->total, 1.0) : 0;
	GString *text = g_string_new(NULL);

	if (p->total && width)
		append_bar(text, part, width);
	if (p->total) {
		g_string_append_printf(text, "%3.0f%%  %.1f of %.1f MB", part * 100,
				       (double)p->done / 1e6, (double)p->total / 1e6);
	} else {
		g_string_append_printf(text, "%.1f MB", (double)p->done / 1e6);
	}
	if (rate > 0)
		g_string_append_printf(text, "  %.1f MB/s", rate / 1e6);
	if (rate > 0 && p->total > p->done) {
		unsigned left = (unsigned)((double)(p->total - p->done) / rate + 0.5);

		if (left >= 60)
			g_string_append_printf(text, "  %u min %u s left", left / 60, left % 60);
		else
			g_string_append_printf(text, "  %u s left", left);
	}
	return g_string_free(text, FALSE);
}

static unsigned bar_width(void)
{
	struct winsize w = {.ws_col = 80};

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &w) || !w.ws_col)
		w.ws_col = 80;
	return w.ws_col > 110 ? 40 : w.ws_col > 80 ? 24 : w.ws_col > 64 ? 10 : 0;
}

static void draw(struct progress *p, uint64_t now)
{
	g_autofree char *text = progress_text(p, now, p->terminal ? bar_width() : 0);

	fprintf(stderr, p->terminal ? "\r\033[K%s %s" : "%s %s\n", p->what, text);
	fflush(stderr);
	p->drawn = true;
	p->drawn_ns = now;
	p->drawn_tenth = p->total ? (unsigned)(p->done * 10 / p->total) : 0;
}

void progress_add(struct progress *p, uint64_t bytes)
{
	uint64_t now, since;
	bool due;

	p->done += bytes;
	if (p->quiet)
		return;
	now = loop_now_ns();
	since = now - p->drawn_ns;
	if (p->terminal)
		due = since >= redraw_ns;
	else {
		due = since >= silence_ns ||
		      (since >= plain_ns &&
		       (!p->total || p->done * 10 / p->total > p->drawn_tenth));
	}
	if (due)
		draw(p, now);
}

void progress_clear(struct progress *p)
{
	if (p->terminal && p->drawn && !p->quiet) {
		fputs("\r\033[K", stderr);
		fflush(stderr);
	}
}

void progress_done(struct progress *p)
{
	if (p->terminal && !p->quiet && p->drawn) {
		draw(p, loop_now_ns());
		fputc('\n', stderr);
	}
	p->ended_ns = loop_now_ns();
	p->quiet = true;
}

double progress_seconds(const struct progress *p)
{
	return seconds_between(p->started_ns, p->ended_ns ? p->ended_ns : loop_now_ns());
}

double progress_mb_per_s(const struct progress *p)
{
	double s = progress_seconds(p);

	return s > 0 ? (double)p->done / s / 1e6 : 0;
}
