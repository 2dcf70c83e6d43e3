/*
 * wait.c - the table of waiting questions of this thread, and waking them.
 *
 * A ticket is a value {waiter, serial}; it wakes only while that waiter is in
 * the table under that serial.  Everything else is PH_ESTALE and changes nothing.
 */
#include <stdatomic.h>
#include <stdlib.h>

#include "base/mem.h"
#include "plugin/wait.h"

enum { FIRST_SIZE = 64 };

/* Thread-local because a ticket names a mailbox, from which no table can be
 * reached; buckets beyond the first 64 are freed when nobody waits. */
static _Thread_local struct wait_table {
	struct wait_node *first[FIRST_SIZE];
	struct wait_node **big;         /* NULL: first is in use */
	size_t size, n;
} table;
static _Atomic uint64_t next_session = 1;

static struct wait_node **
bucket_of(uint64_t session)
{
	struct wait_node **v = table.big != NULL ? table.big : table.first;
	size_t size = table.big != NULL ? table.size : FIRST_SIZE;

	return &v[(session * 0x9E3779B97F4A7C15u >> 32) & (size - 1)];
}

static void
table_grow(void)
{
	size_t was = table.big != NULL ? table.size : FIRST_SIZE;
	struct wait_node **old = table.big != NULL ? table.big : table.first;

	table.big = mem_calloc(was * 2, sizeof *table.big);
	table.size = was * 2;
	for (size_t i = 0; i < was; i++) {
		for (struct wait_node *n = old[i], *next; n != NULL; n = next) {
			struct wait_node **b = bucket_of(n->session);

			next = n->next;
			n->next = *b;
			*b = n;
		}
		old[i] = NULL;
	}
	if (old != table.first)
		free(old);
}

void
wait_add(struct wait_node *n, enum wait_kind kind)
{
	struct wait_node **b;

	if (n->listed)
		return;
	if (n->session == 0)
		n->session = atomic_fetch_add_explicit(&next_session, 1, memory_order_relaxed);
	n->kind = (uint8_t)kind;
	if (table.n >= (table.big != NULL ? table.size : FIRST_SIZE) * 2)
		table_grow();
	b = bucket_of(n->session);
	n->next = *b;
	*b = n;
	n->listed = true;
	table.n++;
}

void
wait_del(struct wait_node *n)
{
	struct wait_node **b;

	if (!n->listed)
		return;
	for (b = bucket_of(n->session); *b != NULL && *b != n; b = &(*b)->next)
		;
	if (*b == n)
		*b = n->next;
	n->next = NULL;
	n->listed = false;
	if (--table.n == 0 && table.big != NULL) {
		free(table.big);
		table.big = NULL;
	}
}

struct wait_node *
wait_find(struct ph_ticket t, enum wait_kind kind)
{
	if (t.session == 0 || table.n == 0)
		return NULL;
	for (struct wait_node *n = *bucket_of(t.session); n != NULL; n = n->next)
		if (n->session == t.session)
			return n->serial == t.serial && n->kind == kind ? n : NULL;
	return NULL;
}

size_t
wait_count(void)
{
	return table.n;
}

int
ph_wake(struct ph_ticket ticket, void *answer)
{
	struct wait_node *n = wait_find(ticket, WAIT_HOOK);

	return n != NULL ? chain_wake(n, answer) : PH_ESTALE;
}

struct remote_wake {
	struct ph_note note;
	struct ph_ticket ticket;
	void *answer;
	void (*drop)(void *);
};

static void
remote_wake_run(struct ph_note *note)
{
	struct remote_wake *r = (struct remote_wake *)note;

	if (ph_wake(r->ticket, r->answer) != 0 && r->drop != NULL)
		r->drop(r->answer);
	free(r);
}

void
ph_wake_remote(struct ph_ticket ticket, void *answer, void (*drop)(void *))
{
	struct remote_wake *r;

	if (ticket.home == NULL) {      /* of an observer: nobody can wait under it */
		if (drop != NULL)
			drop(answer);
		return;
	}
	r = mem_new(struct remote_wake);
	*r = (struct remote_wake){ { NULL, remote_wake_run }, ticket, answer, drop };
	ph_post(ticket.home, &r->note);
}
