/*
 * resolve.h - names to addresses; the only user of libunbound.  Answers come
 * on the loop, also when known at once.  Bounded: at most 16 MX hosts and 32
 * addresses; CNAME chains are libunbound's, and bounded there.
 */
#ifndef NET_RESOLVE_H
#define NET_RESOLVE_H

#include "net/loop.h"

struct resolver;
/* Made without cost: libunbound is started by the first name that is not an address.
 * resolver_free cancels what is still asked. */
struct resolver_config {
	struct ph_strings servers;      /* "addr" or "addr@port"; empty: /etc/resolv.conf */
	ph_duration limit;              /* one question */
	bool use_hosts;                 /* read /etc/hosts */
};
struct resolver *resolver_new(struct loop *l, const struct resolver_config *cfg);
void resolver_free(struct resolver **r);

struct resolve_answer {
	int status;             /* 0; PH_ENOENT no such name; PH_EDNS failed, try later;
	                         * PH_ENOTSUP "MX ." (RFC 7505) */
	struct ph_addr *addrs; size_t n;        /* in order of preference, port set; lives for the callback */
	const char **names;     /* names[i]: the host addrs[i] belongs to */
	const char *why;        /* for people */
};
typedef void (*resolve_fn)(void *arg, const struct resolve_answer *a);
struct resolve;
/* mx: look up MX of name first, its absence means the name itself (RFC 5321 5.1). */
struct resolve *resolve_start(struct resolver *r, const char *name, uint16_t port, bool mx,
                              resolve_fn fn, void *arg);
void resolve_cancel(struct resolve **q);
/* "192.0.2.1", "::1": 0 or PH_EINVAL. No resolver needed. */
int  addr_parse(struct ph_str text, uint16_t port, struct ph_addr *out);

#endif
