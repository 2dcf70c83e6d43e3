/*
 * group.c - a message as one entry or as several, and what the store is told
 * of it.
 *
 * Routing may send the recipients of a message to several sites.  Then each
 * group is an entry of its own, and struct split holds what they share: the
 * progress of all recipients.  When one group is left it is an ordinary entry
 * again.
 */
#include <stdlib.h>

#include "base/abort.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "queue/internal.h"

/* --- to the store --- */

struct write {
	struct ph_store_request r;
	struct buf progress;
};

static void
write_drop(struct ph_store_request *r)
{
	struct write *w = container_of(r, struct write, r);

	buf_free(&w->progress);
	free(w);
}

static uint32_t
capped_sum(uint64_t n)
{
	return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

struct ph_store_summary
group_summary(const struct queue *q, const struct entry *e)
{
	struct ph_store_summary out = {
		.created = retry_wall(q, e->born),
		.size = e->size,
		.site = e->site->hash,
	};
	int64_t due = INT64_MAX;
	uint64_t rcpts = 0;
	const struct entry *g;

	for (uint32_t i = 0; (g = message_entry(e, i)) != NULL; i++) {
		int64_t at = schedule_due(q, g);

		if (at < due)
			due = at;
		rcpts += g->recipients;
		if (g->attempts > out.attempts)
			out.attempts = g->attempts;
		if (g->held)
			out.flags |= PH_STORE_HELD;
		if (g->notified)
			out.flags |= PH_STORE_NOTIFIED;
		if (g->bounce)
			out.flags |= PH_STORE_BOUNCE;
	}
	out.due = due <= q->now ? q->wall : retry_wall(q, due);
	out.recipients = capped_sum(rcpts);
	return out;
}

void
group_write(struct queue *q, const struct entry *e, const struct progress *p)
{
	struct write *w = mem_new(struct write);

	progress_encode(p, &w->progress);
	w->r.op = PH_STORE_PROGRESS;
	w->r.drop = write_drop;
	w->r.id = e->id;
	w->r.summary = group_summary(q, e);
	w->r.progress = buf_view(&w->progress);
	q->ops->submit(q->arg, &w->r);
}

static void
submit_remove(struct queue *q, struct ph_msgid id)
{
	struct write *w = mem_new(struct write);

	w->r.op = PH_STORE_REMOVE;
	w->r.drop = write_drop;
	w->r.id = id;
	q->ops->submit(q->arg, &w->r);
	log_event(PH_DEBUG, NULL, "queue.removed", LOG_ID("mid", id));
}

/* --- groups --- */

/* One group left: it is an ordinary entry again, "all that are pending". */
void
group_collapse(struct queue *q, struct entry *e)
{
	struct split *sp = entry_split(e);

	if (sp == NULL || sp->n != 1)
		return;
	e->x->split = NULL;
	free(e->x->only);
	e->x->only = NULL;
	e->x->nonly = 0;
	entry_cool(q, e);       /* bytes without the progress beside them are no use */
	if (e->x != NULL)
		entry_trim(q, e);
	buf_free(&sp->progress);
	free(sp->v);
	free(sp);
}

bool
group_is_out(const struct entry *e)
{
	return e->state == E_ACTIVE || (e->state == E_CHORE && !list_linked(&e->link));
}

/* This group is finished.  With the last one goes the message. */
void
group_gone(struct queue *q, struct entry *e, bool remove)
{
	struct split *sp = entry_split(e);
	struct ph_msgid id = e->id;
	uint32_t at = 0;

	if (sp == NULL || sp->n == 1) {
		group_collapse(q, e);
		(void)idmap_del(&q->ids, id);
		q->messages--;
		q->bytes -= e->size;
		entry_drop(q, e);
		if (remove)
			submit_remove(q, id);
		return;
	}
	while (sp->v[at] != e)
		at++;
	sp->v[at] = sp->v[--sp->n];
	if (idmap_get(&q->ids, id) == e) {
		(void)idmap_del(&q->ids, id);
		idmap_put(&q->ids, sp->v[0]);
	}
	e->x->split = NULL;
	entry_drop(q, e);
	if (sp->n == 1 && !group_is_out(sp->v[0]))
		group_collapse(q, sp->v[0]);
}

/* An operator removes it, or the store does not have it. */
void
group_message_gone(struct queue *q, struct entry *first, bool remove)
{
	struct entry *e;
	bool more = true;

	for (uint32_t i = 0; (e = message_entry(first, i)) != NULL; i++)
		e->kill = 1;
	/* those at rest go now, those that are out when they are back */
	while (more) {
		more = false;
		for (uint32_t i = 0; (e = message_entry(first, i)) != NULL; i++) {
			const struct split *sp = entry_split(e);

			if (group_is_out(e))
				continue;
			if (sp == NULL || sp->n == 1) {
				group_gone(q, e, remove);
				return;
			}
			if (e == first)
				first = sp->v[i == 0 ? 1 : 0];
			group_gone(q, e, remove);
			more = true;
			break;
		}
	}
}

struct split *
group_split(struct queue *q, struct entry *e, uint32_t nrcpts)
{
	struct split *sp = entry_split(e);

	if (sp != NULL)
		return sp;
	sp = mem_new(struct split);
	sp->cap = 4;
	sp->v = mem_alloc(sp->cap * sizeof *sp->v);
	sp->v[0] = e;
	sp->n = 1;
	sp->nrcpts = nrcpts;
	entry_extra(q, e)->split = sp;
	return sp;
}

struct entry *
group_add(struct queue *q, struct split *sp, const struct entry *like, struct site *s)
{
	struct entry *e = entry_new(q, like->id, s);

	e->born = like->born;
	e->size = like->size;
	e->attempts = like->attempts;
	e->held = like->held;
	e->notified = like->notified;
	e->bounce = like->bounce;
	if (sp->n == sp->cap) {
		sp->cap *= 2;
		sp->v = mem_realloc(sp->v, sp->cap * sizeof *sp->v);
	}
	sp->v[sp->n++] = e;
	entry_extra(q, e)->split = sp;
	return e;
}

void
group_only(struct queue *q, struct entry *e, const uint32_t *v, uint32_t n)
{
	struct extra *x = entry_extra(q, e);

	free(x->only);
	x->only = mem_alloc(n * sizeof *v);
	memcpy(x->only, v, n * sizeof *v);
	x->nonly = n;
	e->recipients = n < 0xfffff ? n : 0xfffff;
}
