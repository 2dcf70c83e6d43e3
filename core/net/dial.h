/*
 * dial.h - connects to the first of a next hop's hosts that answers: resolves
 * each in order, tries each address within a limit, refuses addresses that
 * DNS must not lead to (loopback, unspecified, link-local) unless allowed.
 */
#ifndef NET_DIAL_H
#define NET_DIAL_H

#include "net/resolve.h"
#include <posthouse/provider.h>

struct dial;
struct dial_result {
	int status;             /* 0; PH_E* of the last try */
	struct stream *stream;  /* the callee's, when status is 0 */
	const char *host;       /* the host's name or address as configured or from MX */
	size_t host_index;      /* in hop->hosts: pass +1 as first to go on behind it */
	struct ph_addr addr;
	const char *why;        /* "relay.example.com[192.0.2.1]:25: connection refused" */
};
/* fn is called once, never from inside dial_start; res lives for the callback, and d is gone
 * after it.  No host left: PH_EUNREACH.  r may be NULL when all hosts are addresses.
 * A connection to an address of this machine counts as loopback. */
struct dial *dial_start(struct loop *l, struct resolver *r, const struct ph_next_hop *hop,
                        size_t first, ph_duration limit_per_address,
                        void (*fn)(void *arg, const struct dial_result *res), void *arg);
/* Not this address: the one of a connection that came about but greeted with 4xx. Say so
 * right after dial_start, with first as before; at most 32. */
void dial_skip(struct dial *d, const struct ph_addr *addr);
void dial_cancel(struct dial **d);

#endif
