/*
 * waiters.c - exchanges that wait for one thing.
 *
 * Posting happens under the lock, so that an exchange which leaves under it
 * either takes its waiter back or knows that its mailbox has it: nothing is
 * ever posted to a worker whose exchange has ended.
 */
#include "waiters.h"

#include <stdlib.h>

struct oauth_waiter {
	struct ph_note note;            /* first: the mailbox gives it back */
	struct oauth_waiter *next;
	struct ph_sasl *x;              /* the worker's; NULL: has left */
	struct ph_ticket ticket;
	struct oauth_waiter **slot;
	void (*ready)(struct ph_sasl *x, struct ph_ticket ticket);
	bool listed;
};

static void
waiter_run(struct ph_note *note)
{
	struct oauth_waiter *w = (struct oauth_waiter *)note;
	struct ph_sasl *x = w->x;
	struct ph_ticket ticket = w->ticket;
	void (*ready)(struct ph_sasl *, struct ph_ticket) = w->ready;

	if (x != NULL)
		*w->slot = NULL;
	free(w);
	if (x != NULL)
		ready(x, ticket);
}

struct oauth_waiter *
oauth_wait(struct oauth_waiters *list, struct ph_sasl *x,
           void (*ready)(struct ph_sasl *x, struct ph_ticket ticket), struct oauth_waiter **slot)
{
	struct oauth_waiter *w = calloc(1, sizeof *w), **end = &list->first;

	if (w == NULL)
		return NULL;
	*w = (struct oauth_waiter){ { NULL, waiter_run }, NULL, x, ph_sasl_ticket(x), slot, ready,
	    true };
	while (*end != NULL)
		end = &(*end)->next;
	*end = w;
	list->n++;
	*slot = w;
	return w;
}

void
oauth_wait_leave(struct oauth_waiters *list, struct oauth_waiter **slot)
{
	struct oauth_waiter *w = *slot, **at = &list->first;

	*slot = NULL;
	if (w == NULL)
		return;
	w->x = NULL;
	if (!w->listed)
		return;                 /* waiter_run frees it */
	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	list->n--;
	free(w);
}

void
oauth_wake_one(struct oauth_waiters *list)
{
	struct oauth_waiter *w = list->first;

	if (w == NULL)
		return;
	list->first = w->next;
	list->n--;
	w->listed = false;
	ph_post(w->ticket.home, &w->note);
}

void
oauth_wake_all(struct oauth_waiters *list)
{
	while (list->first != NULL)
		oauth_wake_one(list);
}
