/*
 * mailbox.h - many producers, one consumer; drained in batches, one wake-up
 * per batch.  Order of each producer is kept.
 */
#ifndef BASE_MAILBOX_H
#define BASE_MAILBOX_H

#include <stdatomic.h>
#include <posthouse/types.h>

struct ph_mailbox {
	_Atomic(struct ph_note *) top;
	void (*wake)(struct ph_mailbox *);      /* called by the producer that found it empty */
};
void mailbox_init(struct ph_mailbox *m, void (*wake)(struct ph_mailbox *));
/* All notes so far, oldest first, NULL when none. Consumer only. */
struct ph_note *mailbox_take(struct ph_mailbox *m);
/* Takes and runs all; returns how many ran. Consumer only. */
size_t mailbox_run(struct ph_mailbox *m);

#endif
