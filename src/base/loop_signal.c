/* Signals as loop events: one signalfd a loop, a handler for each signal number. */
#include "base/loop_impl.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/err.h"

struct handler {
	void (*fn)(int signo, void *arg);
	void *arg;
};

struct loop_signals {
	sigset_t set;
	struct loop_watch watch;
	struct handler handlers[NSIG];
};

static void signals_ready(struct loop_watch *w, unsigned events)
{
	struct loop *l = w->loop;
	struct signalfd_siginfo info;

	(void)events;
	while (l->signals && read(l->signals->watch.fd, &info, sizeof(info)) == sizeof(info)) {
		struct handler *h = &l->signals->handlers[info.ssi_signo];

		h->fn((int)info.ssi_signo, h->arg);
	}
}

bool loop_on_signal(struct loop *l, int signo, void (*fn)(int signo, void *arg), void *arg,
		    GError **error)
{
	struct loop_signals *s = l->signals;
	sigset_t set;
	int fd;

	if (signo < 1 || signo >= NSIG)
		return err_set(error, EINVAL, "signal %d: must be 1 to %d", signo, NSIG - 1);
	if (s && s->handlers[signo].fn)
		return err_set(error, EBUSY, "signal %d has a handler already", signo);
	if (s)
		set = s->set;
	else
		sigemptyset(&set);
	sigaddset(&set, signo);
	fd = signalfd(s ? s->watch.fd : -1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (fd < 0)
		return err_set_errno(error, errno, "cannot make a signalfd");
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (!s) {
		s = g_new0(struct loop_signals, 1);
		s->watch = (struct loop_watch){.ready = signals_ready, .fd = fd, .events = POLLIN};
		l->signals = s;
		loop_watch_add(l, &s->watch);
	}
	s->set = set;
	s->handlers[signo] = (struct handler){fn, arg};
	return true;
}

void loop_signals_free(struct loop *l)
{
	struct loop_signals *s = l->signals;

	if (!s)
		return;
	loop_watch_remove(&s->watch);
	close(s->watch.fd);
	g_free(s);
	l->signals = NULL;
}
