/*
 * mailbox.c - notes from many threads to one.
 *
 * Producers push onto a stack with one compare-and-swap; the consumer takes
 * the whole stack at once and turns it around.  Whether the consumer must be
 * woken is for wake to know: it has the consumer's word of being asleep.
 */
#include "base/mailbox.h"

void
mailbox_init(struct ph_mailbox *m, void (*wake)(struct ph_mailbox *))
{
	atomic_init(&m->top, NULL);
	m->wake = wake;
}

/* newest stands on top, each note's next is an older one, oldest is the last. */
static void
push(struct ph_mailbox *to, struct ph_note *newest, struct ph_note *oldest, bool quiet)
{
	struct ph_note *top = atomic_load_explicit(&to->top, memory_order_relaxed);

	do {
		oldest->next = top;
	} while (!atomic_compare_exchange_weak(&to->top, &top, newest));
	/* the notes may be gone from here on */
	if (!quiet && to->wake != NULL)
		to->wake(to);
}

void
ph_post(struct ph_mailbox *to, struct ph_note *note)
{
	push(to, note, note, false);
}

void
mailbox_post_quiet(struct ph_mailbox *to, struct ph_note *note)
{
	push(to, note, note, true);
}

void
outbox_post(struct outbox *o, struct ph_mailbox *to)
{
	struct ph_note *newest = o->newest, *oldest = o->oldest;

	if (newest == NULL)
		return;
	*o = (struct outbox){ NULL, NULL };
	push(to, newest, oldest, false);
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
