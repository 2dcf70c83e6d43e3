/*
 * listener.c - accepts connections.  Running out of descriptors must neither
 * spin nor leave clients hanging: one waiting client is turned away through
 * a spare descriptor, then accepting rests for a moment.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/addr.h"
#include "net/loop_private.h"

enum { ACCEPT_BATCH = 32, ACCEPT_REST_MS = 100 };

struct listener {
	struct loop *l;
	struct watch *w;
	void (*got)(void *arg, struct stream *s);
	void *arg;
	const char *full;
	struct timer rest;
	struct ph_note note;    /* frees it: it may be closed by its own got() */
	int fd, spare;
	bool paused, warned, closed;
};

static int
spare_open(void)
{
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* Turns one client away, so that it need not wait for our better days. */
static void
listener_turn_away(struct listener *ln)
{
	if (ln->spare < 0)
		return;
	close(ln->spare);
	int fd = accept4(ln->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd >= 0) {
		if (ln->full != NULL)   /* a small text into an empty socket buffer, or never mind */
			(void)send(fd, ln->full, strlen(ln->full), MSG_NOSIGNAL);
		close(fd);
	}
	ln->spare = spare_open();
}

static void listener_ready(void *arg, unsigned ready);

static void
listener_watch(struct listener *ln)
{
	bool on = !ln->paused && !timer_active(&ln->rest);
	watch_set(ln->w, on ? STREAM_READ : 0, listener_ready, ln);
}

static void
listener_rested(struct timer *t)
{
	struct listener *ln = container_of(t, struct listener, rest);
	if (ln->spare < 0)
		ln->spare = spare_open();
	listener_watch(ln);
}

static void
listener_exhausted(struct listener *ln, int err)
{
	if (err == EMFILE || err == ENFILE)
		listener_turn_away(ln);
	if (!ln->warned) {
		struct sockaddr_storage sa = { 0 };
		socklen_t len = sizeof sa;
		struct ph_addr at = { 0 };
		if (getsockname(ln->fd, (struct sockaddr *)&sa, &len) == 0)
			addr_from_sockaddr(&sa, &at);
		log_event(PH_WARN, NULL, "net.exhausted", LOG_A("listener", &at), LOG_I("port", at.port),
		          LOG_C("why", strerror(err)),
		          LOG_C("hint", "raise LimitNOFILE or lower the limits on connections"));
	}
	ln->warned = true;
	timer_start(ln->l, &ln->rest, ACCEPT_REST_MS);
	listener_watch(ln);
}

static void
listener_ready(void *arg, unsigned ready)
{
	struct listener *ln = arg;
	(void)ready;
	for (int i = 0; i < ACCEPT_BATCH && !ln->closed && !ln->paused; i++) {
		struct sockaddr_storage sa;
		socklen_t len = sizeof sa;
		int fd = accept4(ln->fd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0) {
			int err = errno;
			if (err == EMFILE || err == ENFILE || err == ENOBUFS || err == ENOMEM)
				listener_exhausted(ln, err);
			else if (err == EAGAIN)
				ln->warned = false;     /* all who waited are in: the burst is over */
			else            /* that client left again, or is not for us: next */
				continue;
			return;
		}
		struct ph_addr peer;
		addr_from_sockaddr(&sa, &peer);
		struct stream *s = stream_of_fd(ln->l, fd, &peer);
		if (s == NULL) {
			listener_exhausted(ln, ENOMEM);
			return;
		}
		ln->got(ln->arg, s);
	}
}

static void
listener_release(struct ph_note *note)
{
	free(container_of(note, struct listener, note));
}

struct listener *
listener_open(struct loop *l, int fd, void (*got)(void *arg, struct stream *s), void *arg)
{
	struct watch *w = watch_make(l, fd, 0, true);
	if (w == NULL)
		return NULL;
	struct listener *ln = mem_new(struct listener);
	*ln = (struct listener){ .l = l, .w = w, .got = got, .arg = arg, .fd = fd, .spare = spare_open() };
	ln->rest.fn = listener_rested;
	ln->note.run = listener_release;
	/* Accepted sockets inherit it, which saves a system call each. */
	int one = 1;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);       /* not on unix sockets */
	listener_watch(ln);
	return ln;
}

void
listener_full(struct listener *ln, const char *text)
{
	ln->full = text;
}

void
listener_pause(struct listener *ln, bool pause)
{
	ln->paused = pause;
	listener_watch(ln);
}

void
listener_close(struct listener **lp)
{
	struct listener *ln = *lp;
	if (ln == NULL)
		return;
	*lp = NULL;
	ln->closed = true;
	timer_stop(ln->l, &ln->rest);
	watch_close(&ln->w);
	if (ln->spare >= 0)
		close(ln->spare);
	loop_defer(ln->l, &ln->note);
}

static int
listen_bound(int fd, const struct sockaddr *sa, socklen_t len, int backlog)
{
	if (bind(fd, sa, len) == 0 && listen(fd, backlog) == 0)
		return fd;
	int err = errno;
	close(fd);
	return -err;
}

/* Both families by one socket; a kernel without IPv6 has only the one. */
static int
listen_any(uint16_t port, bool reuseport, int backlog)
{
	struct sockaddr_in6 sa = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	int one = 1, zero = 0;
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
	    (reuseport && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) != 0) ||
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero) != 0) {
		int err = errno;
		close(fd);
		return -err;
	}
	return listen_bound(fd, (struct sockaddr *)&sa, sizeof sa, backlog);
}

int
listen_tcp(const struct ph_addr *at, bool reuseport, int backlog)
{
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(at, &sa);
	int one = 1;
	if (at->family == 0) {
		int rc = listen_any(at->port, reuseport, backlog);
		if (rc != -EAFNOSUPPORT && rc != -EADDRNOTAVAIL)
			return rc;
	}
	int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
	    (reuseport && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) != 0) ||
	    /* [::] and 0.0.0.0 are listened to side by side, and logged as what they are */
	    (at->family == 6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one) != 0)) {
		int err = errno;
		close(fd);
		return -err;
	}
	return listen_bound(fd, (struct sockaddr *)&sa, len, backlog);
}

/* A socket file that nobody answers on is a leftover of a process that died. */
static void
remove_leftover(const struct sockaddr_un *un)
{
	struct stat st;
	if (lstat(un->sun_path, &st) != 0 || !S_ISSOCK(st.st_mode))
		return;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	if (connect(fd, (const struct sockaddr *)un, sizeof *un) != 0 && errno == ECONNREFUSED)
		(void)unlink(un->sun_path);     /* bind says what is wrong */
	close(fd);
}

int
listen_unix(const char *path, unsigned mode)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	size_t n = strlen(path);
	if (n == 0 || n >= sizeof un.sun_path)
		return -ENAMETOOLONG;
	memcpy(un.sun_path, path, n);
	remove_leftover(&un);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* The mode holds from the first moment on. */
	mode_t before = umask((mode_t)(0777 & ~mode));
	fd = listen_bound(fd, (struct sockaddr *)&un, sizeof un, 128);
	umask(before);
	return fd;
}
