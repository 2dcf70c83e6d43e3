/*
 * addr.c - socket addresses, their text, and what errno means to us.  Knows
 * the system's structs and nothing of loops.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include "base/str.h"
#include "net/addr.h"
#include "net/resolve.h"

int
addr_errno(int err)
{
	switch (err) {
	case 0:
		return 0;
	case EAGAIN:
#if EWOULDBLOCK != EAGAIN
	case EWOULDBLOCK:
#endif
		return PH_EBUSY;
	case ECONNREFUSED:
		return PH_EREFUSED;
	case EHOSTUNREACH: case ENETUNREACH: case ENETDOWN: case EHOSTDOWN:
	case EADDRNOTAVAIL: case EAFNOSUPPORT:
		return PH_EUNREACH;
	case ETIMEDOUT:
		return PH_ETIMEOUT;
	case EMFILE: case ENFILE:
		return PH_ELIMIT;
	case ENOMEM: case ENOBUFS:
		return PH_ENOMEM;
	case EPERM: case EACCES:
		return PH_EPERM;
	case ENOENT:
		return PH_ENOENT;
	case EINVAL: case ENAMETOOLONG:
		return PH_EINVAL;
	default:
		return PH_EIO;
	}
}

void
addr_from_sockaddr(const struct sockaddr_storage *sa, struct ph_addr *out)
{
	*out = (struct ph_addr){ 0 };
	if (sa->ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)sa;
		out->family = 4;
		out->port = ntohs(in->sin_port);
		memcpy(out->ip, &in->sin_addr, 4);
	} else if (sa->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)sa;
		out->port = ntohs(in6->sin6_port);
		if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
			out->family = 4;
			memcpy(out->ip, (const char *)&in6->sin6_addr + 12, 4);
		} else {
			out->family = 6;
			memcpy(out->ip, &in6->sin6_addr, 16);
		}
	}
}

socklen_t
addr_to_sockaddr(const struct ph_addr *a, struct sockaddr_storage *out)
{
	memset(out, 0, sizeof *out);
	if (a->family == 6) {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(a->port);
		memcpy(&in6->sin6_addr, a->ip, 16);
		return sizeof *in6;
	}
	struct sockaddr_in *in = (struct sockaddr_in *)out;
	in->sin_family = AF_INET;
	in->sin_port = htons(a->port);
	memcpy(&in->sin_addr, a->ip, 4);
	return sizeof *in;
}

int
addr_parse(struct ph_str text, uint16_t port, struct ph_addr *out)
{
	char z[INET6_ADDRSTRLEN];
	if (text.n >= 2 && text.p[0] == '[' && text.p[text.n - 1] == ']')
		text = str_make(text.p + 1, text.n - 2);
	if (text.n == 0 || text.n >= sizeof z || memchr(text.p, '\0', text.n) != NULL)
		return PH_EINVAL;
	memcpy(z, text.p, text.n);
	z[text.n] = '\0';
	struct ph_addr a = { .port = port };
	if (inet_pton(AF_INET, z, a.ip) == 1) {
		a.family = 4;
	} else if (inet_pton(AF_INET6, z, a.ip) == 1) {
		static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
		a.family = 6;
		if (memcmp(a.ip, mapped, sizeof mapped) == 0) {
			a.family = 4;
			memmove(a.ip, a.ip + 12, 4);
			memset(a.ip + 4, 0, 12);
		}
	} else {
		return PH_EINVAL;
	}
	*out = a;
	return 0;
}
