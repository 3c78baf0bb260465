/* Listening on TCP. */
#pragma once

#include <glib.h>
#include <stdbool.h>

/*
 * Listens on every address that host (a name or an address) has, at most max of them; port 0 lets
 * the kernel choose one, the same for all. How many descriptors there are in fds (non-blocking,
 * close-on-exec, the caller's to close), 0 on error; *bound: the port. May ask a name server, so it
 * is for set-up.
 */
unsigned sock_listen_tcp(const char *host, unsigned port, int *fds, unsigned max, unsigned *bound,
			 GError **error);
