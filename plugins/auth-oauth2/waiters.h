/*
 * waiters.h - exchanges, on any worker, that wait for one thing which a pool
 * thread is getting for all of them.
 *
 * The list belongs to whoever holds the lock named at each function.  A waiter
 * is on the list, or posted to its worker, or gone; its exchange may end at any
 * time, on its own worker.
 */
#ifndef OAUTH_WAITERS_H
#define OAUTH_WAITERS_H

#include <posthouse/posthouse.h>

struct oauth_waiter;
struct oauth_waiters { struct oauth_waiter *first; size_t n; };

/* Lock held, on the exchange's worker.  ready(x, ticket) will run there, unless the exchange
 * leaves first; *slot (in the exchange's state) is NULL again then.  NULL: no memory. */
struct oauth_waiter *oauth_wait(struct oauth_waiters *list, struct ph_sasl *x,
                                void (*ready)(struct ph_sasl *x, struct ph_ticket ticket),
                                struct oauth_waiter **slot);
/* Lock held: the exchange ends. */
void oauth_wait_leave(struct oauth_waiters *list, struct oauth_waiter **slot);
/* Lock held, any thread: all are woken. */
void oauth_wake_all(struct oauth_waiters *list);
/* Lock held: the one that has waited longest. */
void oauth_wake_one(struct oauth_waiters *list);

#endif
