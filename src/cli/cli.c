/* Shared by the subcommands: see cli.h. */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/loop.h"

static void print_message(const struct args *a, const char *text)
{
	fflush(stdout);
	fprintf(stderr, "outboard %s: %s\n", args_command(a)->name, text);
}

int cli_failed(const struct args *a, GError *error)
{
	print_message(a, error ? error->message : "failed without saying why");
	g_clear_error(&error);
	return STATUS_FAILED;
}

int cli_misused(const struct args *a, GError *error)
{
	cli_failed(a, error);
	fprintf(stderr, "Try 'outboard %s --help'.\n", args_command(a)->name);
	return STATUS_USAGE;
}

int cli_misused_text(const struct args *a, const char *fmt, ...)
{
	g_autofree char *text = NULL;
	GError *error = NULL;
	va_list ap;

	va_start(ap, fmt);
	text = g_strdup_vprintf(fmt, ap);
	va_end(ap);
	err_set(&error, EINVAL, "%s", text);
	return cli_misused(a, error);
}

void cli_note(const struct args *a, const char *fmt, ...)
{
	g_autofree char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	text = g_strdup_vprintf(fmt, ap);
	va_end(ap);
	print_message(a, text);
}

int cli_finish_output(const struct args *a, int status)
{
	if (!fflush(stdout) && !ferror(stdout))
		return status;
	cli_note(a, "cannot write the output: %s", g_strerror(errno));
	return STATUS_FAILED;
}

int cli_print_json(const struct args *a, json_t *value)
{
	if (json_dumpf(value, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6)) == 0)
		putchar('\n');
	json_decref(value);
	return cli_finish_output(a, STATUS_DONE);
}

struct on_loop {
	struct loop_task task;
	struct loop *loop;
	const struct args *args;
	co_fn int (*fn)(const struct args *a, void *arg);
	void *arg;
	int status;
};

static void on_loop_body(void *arg)
{
	struct on_loop *o = arg;

	o->status = o->fn(o->args, o->arg);
	loop_stop(o->loop);
}

static void on_loop_begin(struct loop_task *task)
{
	struct on_loop *o = (struct on_loop *)task;

	co_start(o->loop, on_loop_body, o);
}

static enum loop_backend wanted_backend(const struct args *a)
{
	const char *name = args_value(a, "loop");

	if (!name || !strcmp(name, "auto"))
		return LOOP_AUTO;
	return !strcmp(name, "uring") ? LOOP_URING : LOOP_EPOLL;
}

int cli_on_loop(const struct args *a, co_fn int (*fn)(const struct args *a, void *arg), void *arg)
{
	struct on_loop o = {.task.run = on_loop_begin,
			    .args = a,
			    .fn = fn,
			    .arg = arg,
			    .status = STATUS_FAILED};
	GError *error = NULL;

	o.loop = loop_new(wanted_backend(a), &error);
	if (!o.loop)
		return cli_failed(a, error);
	loop_post(o.loop, &o.task);
	loop_run(o.loop);
	loop_free(o.loop);
	return o.status;
}
