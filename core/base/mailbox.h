/*
 * mailbox.h - many producers, one consumer; drained in batches, one wake-up per
 * sleep of the consumer.  Order of each producer is kept.
 */
#ifndef BASE_MAILBOX_H
#define BASE_MAILBOX_H

#include <stdatomic.h>
#include <posthouse/types.h>

struct ph_mailbox {
	_Atomic(struct ph_note *) top;
	void (*wake)(struct ph_mailbox *);      /* after each post; cheap when the consumer is at work */
};
void mailbox_init(struct ph_mailbox *m, void (*wake)(struct ph_mailbox *));
/* All notes so far, oldest first, NULL when none. Consumer only. */
struct ph_note *mailbox_take(struct ph_mailbox *m);
/* Takes and runs all; returns how many ran. Consumer only. */
size_t mailbox_run(struct ph_mailbox *m);
static inline bool mailbox_empty(const struct ph_mailbox *m)
{ return atomic_load(&m->top) == NULL; }

/* Without a wake-up: for what may wait until the consumer is awake anyway. */
void mailbox_post_quiet(struct ph_mailbox *to, struct ph_note *note);

/* Notes gathered over a turn for one mailbox, then posted at once: one
 * compare-and-swap and at most one wake-up for all of them, in their order. */
struct outbox { struct ph_note *newest, *oldest; };
static inline void outbox_add(struct outbox *o, struct ph_note *n)
{ n->next = o->newest; if (o->newest == NULL) o->oldest = n; o->newest = n; }
void outbox_post(struct outbox *o, struct ph_mailbox *to);      /* harmless when empty */

#endif
