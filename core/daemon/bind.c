/*
 * bind.c - listening sockets.  Every worker has its own by SO_REUSEPORT, so that the
 * kernel spreads connections and no lock is shared; a socket passed by the
 * service manager is shared by all workers instead.
 */
#include "daemon/bind.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"

enum { BACKLOG = 1024, FIRST_PASSED = 3 };

static bool
socket_addr(int fd, struct ph_addr *out)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof ss;

	*out = (struct ph_addr){ 0 };
	if (getsockname(fd, (struct sockaddr *)&ss, &len) != 0)
		return false;
	if (ss.ss_family == AF_INET) {
		const struct sockaddr_in *in = (const void *)&ss;
		out->family = 4;
		out->port = ntohs(in->sin_port);
		memcpy(out->ip, &in->sin_addr, 4);
	} else if (ss.ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const void *)&ss;
		out->family = 6;
		out->port = ntohs(in6->sin6_port);
		memcpy(out->ip, &in6->sin6_addr, 16);
	}
	return out->family != 0;
}

static bool
bind_same(int fd, const struct ph_addr *want)
{
	static const uint8_t any[16];
	struct ph_addr have;

	if (!socket_addr(fd, &have) || have.port != want->port)
		return false;
	if (want->family == 0)          /* "*": the manager decides of which families */
		return memcmp(have.ip, any, sizeof any) == 0;
	return have.family == want->family && memcmp(have.ip, want->ip, have.family == 4 ? 4 : 16) == 0;
}

bool
bound_addr(const struct bound *bo, struct ph_addr *out)
{
	return bo->nfds > 0 && socket_addr(bo->fds[0], out);
}

void
binds_take_passed(struct binds *b)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
	uint64_t p = 0, n = 0;

	if (pid == NULL || fds == NULL || str_u64(str_of(pid), &p) != 0 ||
	    str_u64(str_of(fds), &n) != 0 || (pid_t)p != getpid() || n > 64)
		return;
	b->passed = mem_calloc(n ? n : 1, sizeof *b->passed);
	for (unsigned i = 0; i < n; i++) {
		b->passed[i] = FIRST_PASSED + (int)i;
		(void)fcntl(b->passed[i], F_SETFD, FD_CLOEXEC);
		(void)fcntl(b->passed[i], F_SETFL, O_NONBLOCK);
	}
	b->npassed = (unsigned)n;
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
}

static struct bound *
bind_find(const struct binds *b, const char *address)
{
	for (size_t i = 0; i < b->n; i++)
		if (strcmp(b->v[i].address, address) == 0)
			return &b->v[i];
	return NULL;
}

static int
bind_one(struct binds *b, const char *address)
{
	struct bound nb = { .wanted = true };
	struct ph_addr at;
	const char *why;
	int rc = 0;

	if (value_listen(str_of(address), &at, &why) != 0)
		return -EINVAL;
	nb.fds = mem_calloc(b->workers, sizeof *nb.fds);
	for (unsigned i = 0; i < b->npassed && !nb.passed; i++)
		if (b->passed[i] >= 0 && bind_same(b->passed[i], &at)) {
			nb.passed = true;
			nb.fds[nb.nfds++] = b->passed[i];
			b->passed[i] = -1;
		}
	while (!nb.passed && nb.nfds < b->workers) {
		rc = listen_tcp(&at, true, BACKLOG);
		if (rc < 0)
			break;
		nb.fds[nb.nfds++] = rc;
		if (at.port == 0 && nb.nfds == 1) {     /* "any free port": all workers have the same */
			struct ph_addr first;
			if (bound_addr(&nb, &first))
				at.port = first.port;
		}
	}
	if (rc < 0) {
		while (nb.nfds > 0)
			close(nb.fds[--nb.nfds]);
		free(nb.fds);
		return rc;
	}
	nb.address = mem_strdup(address);
	b->v = mem_realloc(b->v, (b->n + 1) * sizeof *b->v);
	b->v[b->n++] = nb;
	return 0;
}

unsigned
binds_open(struct binds *b, const struct config_file *cfg, struct diags *d)
{
	const struct listen_settings *ls = cfg->settings.listen.v;
	const struct node *node = node_get(cfg->root, "listen");
	const struct node *item = node != NULL ? node->first : NULL;
	unsigned failed = 0;

	for (size_t i = 0; i < b->n; i++)
		b->v[i].wanted = false;
	for (size_t i = 0; i < cfg->settings.listen.n; i++) {
		struct bound *have = bind_find(b, ls[i].address);
		int rc;
		if (have != NULL) {
			have->wanted = true;
		} else if ((rc = bind_one(b, ls[i].address)) < 0) {
			struct diag_place at = item != NULL ? option_place(item, "address")
			    : (struct diag_place){ 0 };
			struct diag *g = diag_add(d, DIAG_ERROR, at, "listen.address",
			    "cannot listen on \"%s\": %s", ls[i].address, strerror(-rc));
			if (rc == -EADDRINUSE)
				diag_hint(d, g, "another program has the port; `ss -ltnp` tells which");
			else if (rc == -EACCES)
				diag_hint(d, g, "ports below 1024 need root or CAP_NET_BIND_SERVICE");
			failed++;
		}
		if (item != NULL)
			item = item->next;
	}
	return failed;
}

static void
bound_close(struct bound *bo)
{
	for (unsigned i = 0; i < bo->nfds; i++)
		close(bo->fds[i]);
	free(bo->fds);
	free(bo->address);
}

void
binds_drop(struct binds *b)
{
	size_t kept = 0;

	for (size_t i = 0; i < b->n; i++) {
		if (b->v[i].wanted)
			b->v[kept++] = b->v[i];
		else
			bound_close(&b->v[i]);
	}
	b->n = kept;
}

void
binds_close(struct binds *b)
{
	for (size_t i = 0; i < b->n; i++)
		bound_close(&b->v[i]);
	free(b->v);
	free(b->passed);
	*b = (struct binds){ 0 };
}

size_t
binds_for(const struct binds *b, const struct config_file *cfg, unsigned worker,
          struct worker_listen *v)
{
	const struct listen_settings *ls = cfg->settings.listen.v;

	for (size_t i = 0; i < cfg->settings.listen.n; i++) {
		const struct bound *bo = bind_find(b, ls[i].address);
		v[i].settings = ls[i];
		v[i].fd = bo->fds[bo->passed ? 0 : worker];
	}
	return cfg->settings.listen.n;
}
