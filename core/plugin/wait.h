/*
 * wait.h - who waits under which ticket.  One table per thread: a wake on the
 * wrong thread finds nothing and is as harmless as a stale one.  The waiting
 * objects embed their node, so that a wait costs no allocation.
 */
#ifndef PLUGIN_WAIT_H
#define PLUGIN_WAIT_H

#include <posthouse/hook.h>

enum wait_kind { WAIT_HOOK = 1, WAIT_ROUTE, WAIT_SASL };

/* Embedded, zeroed.  session: the waiter, never used again by another; serial: which
 * of its waits. */
struct wait_node {
	struct wait_node *next;
	uint64_t session, serial;
	uint8_t kind;
	bool listed;
};

void wait_add(struct wait_node *n, enum wait_kind kind);        /* harmless when listed */
void wait_del(struct wait_node *n);                             /* harmless when not */
/* Who waits under that ticket, as that kind; NULL: nobody any more. */
struct wait_node *wait_find(struct ph_ticket t, enum wait_kind kind);
size_t wait_count(void);                /* of this thread; for tests */

/* chain.c: the wait of a hook is over; PH_ESTALE when it was over already. */
int chain_wake(struct wait_node *n, void *answer);

#endif
