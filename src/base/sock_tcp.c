/* Listening on TCP: see sock_tcp.h. */
#include "base/sock_tcp.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"

enum { BACKLOG = 64 };

static void set_port(struct sockaddr *sa, unsigned port)
{
	if (sa->sa_family == AF_INET6)
		((struct sockaddr_in6 *)sa)->sin6_port = htons((uint16_t)port);
	else
		((struct sockaddr_in *)sa)->sin_port = htons((uint16_t)port);
}

static unsigned get_port(int fd)
{
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} sa = {.in6 = {0}};
	socklen_t len = sizeof(sa);

	if (getsockname(fd, &sa.any, &len) < 0)
		return 0;
	return ntohs(sa.any.sa_family == AF_INET6 ? sa.in6.sin6_port : sa.in.sin_port);
}

static int listen_on(const struct addrinfo *a)
{
	static const int one = 1;
	int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), err;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (a->ai_family == AF_INET6) /* IPv4 has an address, and so a socket, of its own */
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	err = errno;
	close(fd);
	return -err;
}

/* Whether there just is no such address here, as with IPv6 switched off. */
static bool is_absent(int err)
{
	return err == EAFNOSUPPORT || err == EADDRNOTAVAIL || err == EPROTONOSUPPORT;
}

static unsigned listen_on_all(const struct addrinfo *list, unsigned port, int *fds, unsigned max,
			      unsigned *bound, int *err)
{
	unsigned n = 0;

	for (const struct addrinfo *a = list; a && n < max; a = a->ai_next) {
		int fd;

		if (a->ai_family != AF_INET && a->ai_family != AF_INET6)
			continue;
		set_port(a->ai_addr, port);
		fd = listen_on(a);
		if (fd < 0 && (!*err || !is_absent(-fd)))
			*err = -fd;
		if (fd < 0 && is_absent(-fd))
			continue;
		if (fd < 0) {
			while (n)
				close(fds[--n]);
			return 0;
		}
		fds[n++] = fd;
		*bound = port = get_port(fd);
	}
	return n;
}

unsigned sock_listen_tcp(const char *host, unsigned port, int *fds, unsigned max, unsigned *bound,
			 GError **error)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
	struct addrinfo *list = NULL;
	int res = getaddrinfo(host, NULL, &hints, &list), err = 0;
	unsigned n;

	if (res) {
		err_set(error, EINVAL, "host=%s: %s", host, gai_strerror(res));
		return 0;
	}
	n = listen_on_all(list, port, fds, max, bound, &err);
	freeaddrinfo(list);
	if (!n)
		err_set_errno(error, err ? err : EADDRNOTAVAIL, "cannot listen on %s port %u", host,
			      port);
	return n;
}
