/*
 * stream.c - streams: one non-blocking socket each, read and written with our
 * own system calls, watched by the loop.  A stream is one small allocation,
 * so that an idle connection costs little.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/mem.h"
#include "net/addr.h"
#include "net/loop_private.h"

struct stream {
	struct ph_addr peer;
	int failed;             /* PH_E* known before there was anything to wait for */
};

static int
stream_fd(const struct stream *s)
{
	return watch_fd(watch_of((void *)(uintptr_t)s));
}

static struct stream *
stream_make(struct loop *l, int fd, const struct ph_addr *peer)
{
	struct watch *w = watch_make(l, fd, sizeof(struct stream), true);
	if (w == NULL)
		return NULL;
	struct stream *s = watch_extra(w);
	s->peer = *peer;
	return s;
}

struct stream *
stream_of_fd(struct loop *l, int fd, const struct ph_addr *peer)
{
	struct stream *s = stream_make(l, fd, peer);
	if (s == NULL)
		close(fd);
	return s;
}

/* A stream that only tells its failure. */
static struct stream *
stream_failed(struct loop *l, int fd, int err, const struct ph_addr *peer)
{
	if (fd >= 0)
		close(fd);
	struct stream *s = stream_make(l, -1, peer);
	s->failed = err;
	return s;
}

ssize_t
stream_read(struct stream *s, void *p, size_t n)
{
	if (s->failed != 0)
		return s->failed;
	for (;;) {
		ssize_t got = recv(stream_fd(s), p, n, 0);
		if (got >= 0)
			return got;
		if (errno != EINTR)
			return addr_errno(errno);
	}
}

ssize_t
stream_write(struct stream *s, const struct iovec *iov, int n)
{
	if (s->failed != 0)
		return s->failed;
	const struct msghdr m = { .msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)n };
	for (;;) {
		ssize_t put = sendmsg(stream_fd(s), &m, MSG_NOSIGNAL);
		if (put >= 0)
			return put;
		if (errno != EINTR)
			return addr_errno(errno);
	}
}

void
stream_watch(struct stream *s, unsigned events, stream_fn fn, void *arg)
{
	watch_set(watch_of(s), events, fn, arg);
}

void
stream_shutdown(struct stream *s)
{
	if (s->failed == 0)
		(void)shutdown(stream_fd(s), SHUT_WR);  /* a peer that left shows when reading */
}

void
stream_close(struct stream **sp)
{
	struct stream *s = *sp;
	if (s == NULL)
		return;
	*sp = NULL;
	struct watch *w = watch_of(s);
	int fd = watch_fd(w);
	watch_close(&w);
	if (fd >= 0)
		close(fd);
}

void
stream_peer(const struct stream *s, struct ph_addr *out)
{
	*out = s->peer;
}

void
stream_local(const struct stream *s, struct ph_addr *out)
{
	struct sockaddr_storage sa = { 0 };
	socklen_t len = sizeof sa;
	*out = (struct ph_addr){ 0 };
	if (s->failed == 0 && getsockname(stream_fd(s), (struct sockaddr *)&sa, &len) == 0)
		addr_from_sockaddr(&sa, out);
}

static struct stream *
stream_start(struct loop *l, int fd, const struct sockaddr *sa, socklen_t len, const struct ph_addr *peer)
{
	if (connect(fd, sa, len) != 0 && errno != EINPROGRESS && errno != EINTR) {
		/* A full backlog of a local socket looks like "later" but nothing would wake us. */
		int err = errno == EAGAIN ? PH_EREFUSED : addr_errno(errno);
		return stream_failed(l, fd, err, peer);
	}
	struct stream *s = stream_make(l, fd, peer);
	return s != NULL ? s : stream_failed(l, fd, PH_ENOMEM, peer);
}

struct stream *
stream_connect(struct loop *l, const struct ph_addr *to, const struct ph_addr *from)
{
	struct sockaddr_storage sa;
	if (to->family != 4 && to->family != 6)
		return stream_failed(l, -1, PH_EINVAL, to);
	int fd = socket(to->family == 6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return stream_failed(l, -1, addr_errno(errno), to);
	int one = 1;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);       /* slower without, not wrong */
	if (from != NULL && from->family != 0) {
		socklen_t len = addr_to_sockaddr(from, &sa);
		if (from->family != to->family || bind(fd, (struct sockaddr *)&sa, len) != 0)
			return stream_failed(l, fd, PH_EUNREACH, to);
	}
	socklen_t len = addr_to_sockaddr(to, &sa);
	return stream_start(l, fd, (struct sockaddr *)&sa, len, to);
}

int
stream_connected(struct stream *s)
{
	int err = 0;
	socklen_t len = sizeof err;
	if (s->failed != 0)
		return s->failed;
	if (getsockopt(stream_fd(s), SOL_SOCKET, SO_ERROR, &err, &len) != 0)
		return addr_errno(errno);
	return addr_errno(err);
}

struct stream *
stream_connect_unix(struct loop *l, const char *path)
{
	static const struct ph_addr nobody = { 0 };
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	size_t n = strlen(path);
	if (n == 0 || n >= sizeof un.sun_path)
		return stream_failed(l, -1, PH_EINVAL, &nobody);
	memcpy(un.sun_path, path, n);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return stream_failed(l, -1, addr_errno(errno), &nobody);
	return stream_start(l, fd, (struct sockaddr *)&un, sizeof un, &nobody);
}
