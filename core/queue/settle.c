/*
 * settle.c - the outcomes of a message are applied to its progress, after
 * reports about them are durable, and the message goes on: to its end, to
 * another attempt, or split into groups.
 *
 * The order is the promise.  A failed recipient is recorded as failed only
 * after the report of it is on stable storage (bounce.c), and a message is
 * removed only when no recipient is pending in any of its groups.  A crash in
 * between repeats an attempt or a report and never loses one.
 */
#include "base/abort.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "queue/internal.h"

#define REPLY_MAX 1000

/* --- after reports are durable --- */

static void
apply(struct queue *q, struct task *t, struct progress *p)
{
	for (uint32_t i = 0; i < p->nrcpts; i++) {
		const struct fate *f = &t->fate[i];
		struct rcpt_progress *r = &p->rcpts[i];

		if (f->what == F_NONE || r->state != RCPT_PENDING)
			continue;
		if (f->said != NULL) {
			r->code = f->said->code;
			r->reply = str_head(f->said->reply, REPLY_MAX);
			r->remote = f->said->remote;
		}
		if (f->what == F_DELIVERED) {
			r->state = RCPT_DELIVERED;
			q->delivered++;
		} else if (f->what == F_FAILED && !t->refused) {
			r->state = RCPT_FAILED;
			q->bounced++;
		} else if (f->what == F_EXPIRED && !t->refused) {
			r->state = RCPT_EXPIRED;
			q->expired++;
		}
	}
	if (t->kind == TASK_RESULT)
		p->last_attempt = q->wall;
}

/* Pending recipients of the entry, which keeps only these. */
static uint32_t
count_left(struct entry *e, const struct progress *p)
{
	uint32_t left = 0;

	if (e->x != NULL && e->x->only != NULL) {
		for (uint32_t i = 0; i < e->x->nonly; i++)
			if (p->rcpts[e->x->only[i]].state == RCPT_PENDING)
				e->x->only[left++] = e->x->only[i];
		e->x->nonly = left;
	} else {
		for (uint32_t i = 0; i < p->nrcpts; i++)
			left += p->rcpts[i].state == RCPT_PENDING;
	}
	e->recipients = left < 0xfffff ? left : 0xfffff;
	return left;
}

struct part { struct site *site; uint32_t *v, n; };

/* Sorts the pending recipients of the entry by what routing said; what it
 * said nothing of is the last part, without a site. Returns the parts. */
static uint32_t
sort_out(struct queue *q, struct task *t, const struct progress *p, struct part *parts)
{
	const struct job *job = t->job;
	bool *taken = arena_alloc(&t->arena, p->nrcpts * sizeof *taken);
	struct part rest = { NULL, arena_alloc(&t->arena, p->nrcpts * sizeof(uint32_t)), 0 };
	uint32_t n = 0;

	for (uint32_t g = 0; g < job->ngroups; g++) {
		const struct job_group *from = &job->groups[g];
		struct part part = { NULL, from->rcpts, 0 };

		for (uint32_t i = 0; i < from->n; i++) {
			uint32_t r = from->rcpts[i];

			if (r >= p->nrcpts || taken[r] || p->rcpts[r].state != RCPT_PENDING ||
			    !fate_in_entry(t->e, r) || t->fate[r].what != F_NONE)
				continue;
			taken[r] = true;
			part.v[part.n++] = r;
		}
		if (part.n == 0)
			continue;
		part.site = site_meet(q, from->site);
		parts[n++] = part;
	}
	for (uint32_t r = 0; r < p->nrcpts; r++)
		if (p->rcpts[r].state == RCPT_PENDING && !taken[r] && fate_in_entry(t->e, r))
			rest.v[rest.n++] = r;
	if (rest.n > 0)
		parts[n++] = rest;
	return n;
}

/* Routing said where its recipients go: one entry for each site. */
static void
regroup(struct queue *q, struct task *t, struct progress *p)
{
	struct entry *e = t->e;
	struct part *parts = arena_alloc(&t->arena, (t->job->ngroups + 1) * sizeof *parts);
	uint32_t n = sort_out(q, t, p, parts);
	int64_t later = retry_due(q, e);
	bool wait = result_moved_too_often(e, t->job);
	bool tried = result_any_tried(t->job);  /* some got an outcome while being routed */
	struct split *sp = NULL;

	ph_assert(n > 0);
	if (n > 1) {
		sp = group_split(q, e, p->nrcpts);
		buf_clear(&sp->progress);
		progress_encode(p, &sp->progress);
	}
	for (uint32_t i = n; i-- > 0;) {
		struct site *s = parts[i].site != NULL ? parts[i].site : q->unrouted;
		struct entry *to = i == 0 ? e : group_add(q, sp, e, s);
		bool late = wait || parts[i].site == NULL;

		if (to == e)
			entry_move(q, e, s);
		if (entry_split(to) != NULL)
			group_only(q, to, parts[i].v, parts[i].n);
		if (!late && !to->held && !tried && !t->job->have_progress)
			result_hot_copy(q, to, t->job);
		schedule_place(q, to, late ? later : DUE_READY);
	}
	if (tried || e->held)
		group_write(q, e, p);
}

static bool
any_deferred(const struct task *t, const struct progress *p)
{
	for (uint32_t i = 0; i < p->nrcpts; i++)
		if (p->rcpts[i].state == RCPT_PENDING && t->fate[i].what == F_DEFERRED)
			return true;
	return false;
}

static int64_t
next_due(const struct queue *q, const struct task *t, const struct progress *p, int64_t was)
{
	if (t->kind != TASK_RESULT)
		return was;
	if (t->refused)
		return q->now + REPORT_PAUSE_MS;
	/* some are left because the lease ended before their turn */
	return any_deferred(t, p) ? retry_due(q, t->e) : DUE_READY;
}

static void
settle(struct queue *q, struct task *t, struct progress *p, int64_t was)
{
	struct entry *e = t->e;
	struct split *sp = entry_split(e);
	uint32_t left;

	if (t->fate != NULL)
		apply(q, t, p);
	left = count_left(e, p);
	if (sp != NULL) {
		buf_clear(&sp->progress);
		progress_encode(p, &sp->progress);
	}
	if (left == 0 || e->kill) {
		e->recipients = 0;
		if (sp != NULL && sp->n > 1)
			group_write(q, e, p);
		group_gone(q, e, true);
		return;
	}
	if (t->kind == TASK_RESULT && t->job->result == JOB_ROUTED && !t->refused) {
		regroup(q, t, p);
		return;
	}
	group_collapse(q, e);
	schedule_place(q, e, next_due(q, t, p, was));
	group_write(q, e, p);
}

void
settle_task(struct queue *q, struct task *t)
{
	struct entry *e = t->e;
	struct split *sp = entry_split(e);
	int64_t was = schedule_due(q, e);       /* of a chore: what it had before */
	struct progress p;

	schedule_detach(q, e, E_ACTIVE);
	if (t->kind != TASK_RESULT && t->status != 0) {
		if (e->kill)
			group_gone(q, e, true);
		else
			result_unreadable(q, e, t->status, was);
		return;
	}
	if (sp != NULL) {       /* other groups may have come home meanwhile */
		if (progress_decode(buf_view(&sp->progress), sp->nrcpts, &t->arena, &p) != 0)
			ph_abort("progress of %u recipients", sp->nrcpts);
	} else {
		p = *t->progress;
	}
	settle(q, t, &p, was);
}
