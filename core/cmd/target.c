/*
 * target.c - where a command connects or listens.  Commands run for a person
 * on this machine, so names are those of the system (getaddrinfo), unlike in
 * the daemon, which asks DNS itself.
 */
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include "base/mem.h"
#include "base/str.h"
#include "cmd/target.h"

/* Splits host and port; port stays when none is written. */
static int
split(struct ph_str s, struct ph_str *host, uint16_t *port)
{
	struct ph_str rest = { NULL, 0 }, head;
	uint64_t value;

	if (s.n > 0 && s.p[0] == '[') {
		head = str_cut(str_skip(s, 1), ']', &rest);
		if (rest.p == NULL)
			return PH_EINVAL;
		*host = head;
		if (rest.n == 0)
			return 0;
		if (rest.p[0] != ':')
			return PH_EINVAL;
		rest = str_skip(rest, 1);
	} else {
		*host = str_cut(s, ':', &rest);
		if (rest.p == NULL)
			return 0;
		if (memchr(rest.p, ':', rest.n) != NULL) {      /* a bare IPv6 address */
			*host = s;
			return 0;
		}
	}
	if (str_u64(rest, &value) != 0 || value > 65535)
		return PH_EINVAL;
	*port = (uint16_t)value;
	return 0;
}

static bool
convert(const struct sockaddr *sa, uint16_t port, struct ph_addr *out)
{
	*out = (struct ph_addr){ .port = port };
	if (sa->sa_family == AF_INET) {
		out->family = 4;
		memcpy(out->ip, &((const struct sockaddr_in *)(const void *)sa)->sin_addr, 4);
	} else if (sa->sa_family == AF_INET6) {
		out->family = 6;
		memcpy(out->ip, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr, 16);
	}
	return out->family != 0;
}

int
target_resolve(const char *text, uint16_t dflt_port, bool passive, struct ph_addr *out, int max,
               struct buf *why)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
		.ai_flags = passive ? AI_PASSIVE : 0 };
	struct addrinfo *list = NULL;
	uint16_t port = dflt_port;
	struct ph_str host;
	char *name;
	int n = 0, rc;

	if (split(str_of(text), &host, &port) != 0 || (host.n == 0 && !passive)) {
		buf_printf(why, "\"%s\" is not HOST:PORT", text);
		return PH_EINVAL;
	}
	name = mem_strndup(host.p, host.n);
	rc = getaddrinfo(host.n == 0 || str_is(host, "*") ? NULL : name, "0", &hints, &list);
	if (rc != 0)
		buf_printf(why, "%s: %s", name, gai_strerror(rc));
	free(name);
	if (rc != 0)
		return PH_EDNS;
	for (struct addrinfo *ai = list; ai != NULL && n < max; ai = ai->ai_next)
		if (convert(ai->ai_addr, port, &out[n]))
			n++;
	freeaddrinfo(list);
	if (n == 0) {
		buf_printf(why, "%s: no address", text);
		return PH_EDNS;
	}
	return n;
}

void
target_text(const struct ph_addr *a, struct buf *out)
{
	char text[PH_ADDR_TEXT];

	ph_addr_text(a, text);
	buf_printf(
	    out, a->family == 6 && strchr(text, ':') != NULL ? "[%s]:%u" : "%s:%u", text, a->port);
}

void
target_raise_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);         /* what is missing shows later */
	}
}
