/*
 * schedule.c - entries and what happens to them when: states, the heap of
 * next events, the bytes kept in memory.
 *
 * Every change of state goes through schedule_detach and one of
 * schedule_ready, schedule_place, schedule_chore, so that the counters of
 * sites and states cannot drift.  A message that is delivered at once passes
 * through a list and never through the heap.
 */
#include <stdlib.h>

#include "base/abort.h"
#include "base/mem.h"
#include "base/str.h"
#include "queue/internal.h"

#define EVENTS_PER_RUN 20000

/* --- entries --- */

struct entry *
entry_new(struct queue *q, struct ph_msgid id, struct site *s)
{
	struct entry *e = slab_get(&q->entry_slab);

	e->id = id;
	e->site = s;
	e->state = E_ACTIVE;
	s->entries++;
	q->entries++;
	q->nstate[E_ACTIVE]++;
	return e;
}

struct extra *
entry_extra(struct queue *q, struct entry *e)
{
	if (e->x == NULL)
		e->x = slab_get(&q->extra_slab);
	return e->x;
}

struct split *
entry_split(const struct entry *e)
{
	return e->x != NULL ? e->x->split : NULL;
}

void
entry_trim(struct queue *q, struct entry *e)
{
	struct extra *x = e->x;

	if (x != NULL && x->meta == NULL && x->split == NULL && x->only == NULL) {
		slab_put(&q->extra_slab, x);
		e->x = NULL;
	}
}

static bool
is_hot(const struct entry *e)
{
	return e->x != NULL && e->x->meta != NULL;
}

void
entry_cool(struct queue *q, struct entry *e)
{
	struct extra *x = e->x;

	if (!is_hot(e))
		return;
	atomic_fetch_sub_explicit(&q->hot, ph_content_size(x->content) + x->meta_len,
	    memory_order_relaxed);
	free(x->meta);
	x->meta = NULL;
	ph_content_unref(&x->content);
	if (e->state == E_READY)
		e->site->nhot--;
	entry_trim(q, e);
}

void
entry_drop(struct queue *q, struct entry *e)
{
	schedule_detach(q, e, E_ACTIVE);
	entry_cool(q, e);
	if (e->x != NULL) {
		ph_assert(e->x->split == NULL);
		free(e->x->only);
		slab_put(&q->extra_slab, e->x);
	}
	if (e->stale)
		q->nstale--;
	e->site->entries--;
	q->entries--;
	q->nstate[E_ACTIVE]--;
	slab_put(&q->entry_slab, e);
}

void
entry_move(struct queue *q, struct entry *e, struct site *s)
{
	ph_assert(e->state != E_READY);
	(void)q;
	e->site->entries--;
	e->site = s;
	s->entries++;
}

struct entry *
message_entry(const struct entry *first, uint32_t i)
{
	const struct split *sp = entry_split(first);

	if (sp == NULL)
		return i == 0 ? (struct entry *)(uintptr_t)first : NULL;
	return i < sp->n ? sp->v[i] : NULL;
}

/* --- states --- */

int64_t
schedule_due(const struct queue *q, const struct entry *e)
{
	(void)q;
	switch (e->state) {
	case E_DEFERRED:
	case E_HELD:
		return e->due;
	case E_CHORE:
		return e->node.key;
	default:
		return DUE_READY;
	}
}

/* Leaves its state; `to` is ACTIVE (links free) or CHORE (its due is kept). */
void
schedule_detach(struct queue *q, struct entry *e, enum entry_state to)
{
	int64_t due = schedule_due(q, e);

	heap_del(&q->heap, &e->node);
	switch (e->state) {
	case E_READY:
		list_del(&e->link);
		e->site->nready--;
		site_gate(e->site);
		if (is_hot(e))
			e->site->nhot--;
		/* the counter is of entries that were never keyed; a key of
		 * the heap stays behind in node.key, a fresh one has 0 there */
		if (e->node.key == 0)
			e->site->nunkeyed--;
		break;
	case E_CHORE:
		if (list_linked(&e->link))
			list_del(&e->link);
		break;
	default:
		break;
	}
	q->nstate[e->state]--;
	e->state = to;
	q->nstate[to]++;
	e->link = (struct list){ NULL, NULL };
	e->node.key = to == E_CHORE ? due : 0;
}

void
schedule_key(struct queue *q, struct entry *e)
{
	int64_t at = retry_event(q, e);

	if (at == INT64_MAX) {
		heap_del(&q->heap, &e->node);
		if (e->node.key == 0)
			e->site->nunkeyed--;
		e->node.key = INT64_MAX;        /* nothing to wait for, and that is known */
		return;
	}
	/* Where the site can be reached an attempt is near: it comes first, a
	 * notice or the end of its time only when it does not come. */
	if (!e->site->suspended && at < q->now + ATTEMPT_NEAR_MS)
		at = q->now + ATTEMPT_NEAR_MS;
	if (at == 0)
		at = 1;                         /* 0 means never keyed */
	if (e->node.key == 0)
		e->site->nunkeyed--;
	heap_put(&q->heap, &e->node, at);
}

void
schedule_ready(struct queue *q, struct entry *e, bool front)
{
	struct site *s = e->site;

	schedule_detach(q, e, E_ACTIVE);
	if (e->stale && s->suspended) {
		entry_move(q, e, q->unrouted);
		s = q->unrouted;
	}
	q->nstate[E_ACTIVE]--;
	e->state = E_READY;
	q->nstate[E_READY]++;
	if (front)
		list_push_front(&s->ready, &e->link);
	else
		list_push_back(&s->ready, &e->link);
	s->nready++;
	site_gate(s);
	s->nunkeyed++;
	if (is_hot(e)) {
		s->nhot++;
		if (s->suspended)
			entry_cool(q, e);
	}
	if (e->attempts > 0 || s->suspended)
		schedule_key(q, e);
	site_wake(s);
}

void
schedule_place(struct queue *q, struct entry *e, int64_t due)
{
	if (!e->held && due <= q->now) {
		schedule_ready(q, e, false);
		return;
	}
	schedule_detach(q, e, E_ACTIVE);
	entry_cool(q, e);
	q->nstate[E_ACTIVE]--;
	e->due = due;
	if (e->held) {          /* its time stands still: no expiry, no notice */
		e->state = E_HELD;
	} else {
		int64_t event = retry_event(q, e);

		e->state = E_DEFERRED;
		heap_put(&q->heap, &e->node, event < due ? event : due);
	}
	q->nstate[e->state]++;
}

void
schedule_chore(struct queue *q, struct entry *e, enum task_kind kind)
{
	schedule_detach(q, e, E_CHORE);
	e->chore = (unsigned)kind & 3;
	list_push_back(&q->chores, &e->link);
}

/* The heap's first is due. */
static void
event(struct queue *q, struct entry *e)
{
	bool reports = q->now >= q->reports_after;

	if (e->state == E_DEFERRED) {
		if (e->due <= q->now)
			schedule_ready(q, e, false);
		else if (reports && retry_expired(q, e))
			schedule_chore(q, e, TASK_EXPIRE);
		else if (reports && retry_notice(q, e))
			schedule_chore(q, e, TASK_NOTICE);
		else
			schedule_place(q, e, e->due);
		return;
	}
	ph_assert(e->state == E_READY);
	/* not given up without an attempt: after a night out of service all would expire */
	if (reports && retry_expired(q, e) && e->site->suspended) {
		schedule_chore(q, e, TASK_EXPIRE);
	} else if (reports && retry_notice(q, e)) {
		schedule_chore(q, e, TASK_NOTICE);
	} else {
		int64_t at = retry_event(q, e);

		heap_put(&q->heap, &e->node, at > q->now ? at : q->now + ATTEMPT_NEAR_MS);
	}
}

void
schedule_run(struct queue *q)
{
	struct heap_node *n;
	unsigned done = 0;

	while ((n = heap_min(&q->heap)) != NULL && n->key <= q->now) {
		if (++done > EVENTS_PER_RUN) {
			q->more = true;
			break;
		}
		event(q, container_of(n, struct entry, node));
	}
}

/* Gives those a key that have waited since before the last sweep or so. */
void
schedule_sweep(struct queue *q)
{
	list_each(l, &q->all_sites) {
		struct site *s = container_of(l, struct site, all);

		if (s->nunkeyed == 0)
			continue;
		list_each(r, &s->ready) {
			struct entry *e = container_of(r, struct entry, link);

			if (e->node.key == 0)
				schedule_key(q, e);
			if (s->nunkeyed == 0)
				break;
		}
	}
}

static void
rekey(struct queue *q, struct entry *e)
{
	if (e->state == E_READY && e->node.key != 0)
		schedule_key(q, e);
	else if (e->state == E_DEFERRED)
		schedule_place(q, e, e->due);
}

/* The configured times have changed. */
void
schedule_rekey(struct queue *q)
{
	size_t it = 0;
	void *v;

	while (idmap_next(&q->ids, &it, &v)) {
		struct entry *e;

		for (uint32_t i = 0; (e = message_entry(v, i)) != NULL; i++)
			rekey(q, e);
	}
}
