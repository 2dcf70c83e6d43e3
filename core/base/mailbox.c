/*
 * mailbox.c - notes from many threads to one.
 *
 * Producers push onto a stack with one compare-and-swap; the consumer takes
 * the whole stack at once and turns it around.  Only the producer that found the
 * mailbox empty wakes the consumer.
 */
#include "base/mailbox.h"

void
mailbox_init(struct ph_mailbox *m, void (*wake)(struct ph_mailbox *))
{
	atomic_init(&m->top, NULL);
	m->wake = wake;
}

void
ph_post(struct ph_mailbox *to, struct ph_note *note)
{
	struct ph_note *top = atomic_load_explicit(&to->top, memory_order_relaxed);

	do {
		note->next = top;
	} while (!atomic_compare_exchange_weak_explicit(&to->top, &top, note,
	    memory_order_release, memory_order_relaxed));
	/* note may be gone from here on */
	if (top == NULL && to->wake != NULL)
		to->wake(to);
}

struct ph_note *
mailbox_take(struct ph_mailbox *m)
{
	struct ph_note *top, *oldest = NULL;

	if (atomic_load_explicit(&m->top, memory_order_relaxed) == NULL)
		return NULL;
	top = atomic_exchange_explicit(&m->top, NULL, memory_order_acquire);
	while (top != NULL) {
		struct ph_note *next = top->next;

		top->next = oldest;
		oldest = top;
		top = next;
	}
	return oldest;
}

size_t
mailbox_run(struct ph_mailbox *m)
{
	struct ph_note *note = mailbox_take(m), *next;
	size_t n = 0;

	for (; note != NULL; note = next, n++) {
		next = note->next;      /* run may free the note */
		note->run(note);
	}
	return n;
}
