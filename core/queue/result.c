/*
 * result.c - a lease is home: what its result means for its message.  The
 * usual ends - taken by the next hop, handed back untried, routed to one
 * site - are settled here at once; all else becomes a task (bounce.c).
 */
#include <stdlib.h>

#include "base/abort.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "queue/internal.h"

#define UNSETTLED_MS 60000      /* routed to and fro */
#define HANDED_BACK_MS 5000     /* came home untried again and again */

void
result_unreadable(struct queue *q, struct entry *e, int status, int64_t due)
{
	if (status == PH_ENOENT) {
		log_event(PH_WARN, NULL, "queue.forgotten", LOG_ID("mid", e->id),
		    LOG_C("why", "the store does not have it"));
		group_gone(q, e, false);
	} else if (status == PH_ECORRUPT) {
		log_event(PH_ERROR, NULL, "queue.damaged", LOG_ID("mid", e->id),
		    LOG_C("why", "its record is damaged and was put into quarantine"));
		group_gone(q, e, false);
	} else {
		log_event(PH_ERROR, NULL, "queue.unreadable", LOG_ID("mid", e->id),
		    LOG_C("why", ph_strerror(status)));
		group_collapse(q, e);
		schedule_place(q, e, due);
	}
}

/* --- bytes in memory --- */

static void
hot_give(struct queue *q, struct entry *e, char *meta, size_t len, struct ph_content *c)
{
	struct extra *x = entry_extra(q, e);

	ph_assert(x->meta == NULL);
	x->meta = meta;
	x->meta_len = (uint32_t)len;
	x->content = c;
}

/* The entry goes out again soon: what its job still has need not be read. */
static void
hot_take(struct queue *q, struct entry *e, struct job *job)
{
	struct lease *l = job->item;

	if (l->hot == 0 || job->meta == NULL || job->content == NULL || e->site->suspended)
		return;
	hot_give(q, e, job->meta, job->meta_len, job->content);
	job->meta = NULL;
	job->content = NULL;
	l->hot = 0;
}

void
result_hot_copy(struct queue *q, struct entry *e, const struct job *job)
{
	const struct lease *l = job->item;
	char *meta;

	if (l->hot == 0 || job->meta == NULL || job->content == NULL)
		return;
	meta = mem_alloc(job->meta_len > 0 ? job->meta_len : 1);
	memcpy(meta, job->meta, job->meta_len);
	hot_give(q, e, meta, job->meta_len, ph_content_ref(job->content));
	atomic_fetch_add_explicit(&q->hot, ph_content_size(job->content) + job->meta_len,
	    memory_order_relaxed);
}

/* --- leases --- */

static void
job_done(struct queue *q, struct job **job)
{
	struct lease *l = (*job)->item;

	atomic_fetch_sub_explicit(&q->hot, l->hot, memory_order_relaxed);
	list_del(&l->link);
	slab_put(&q->lease_slab, l);
	q->active--;
	job_free(job);
}

static void
not_stale(struct queue *q, struct entry *e)
{
	if (e->stale) {
		e->stale = 0;
		q->nstale--;
	}
}

/* Not tried.  It keeps its place and its count, unless it comes back like
 * this again and again. */
static void
take_back(struct queue *q, struct entry *e, struct job **job, bool front)
{
	bool too_often = (*job)->result != JOB_SITE_DOWN && ++e->moves >= MOVES_MAX;

	if (e->kill) {
		job_done(q, job);
		group_gone(q, e, true);
		return;
	}
	if (!too_often && !e->held)
		hot_take(q, e, *job);
	if (too_often && q->now >= q->handed_back_after) {      /* a whole queue may come home so */
		q->handed_back_after = q->now + UNSETTLED_MS;
		log_event(PH_WARN, NULL, "queue.unsettled", LOG_ID("mid", e->id),
		    LOG_S("why", (*job)->why.n > 0 ? (*job)->why : STR("handed back untried each time")));
	}
	job_done(q, job);
	group_collapse(q, e);
	if (e->held) {
		schedule_chore(q, e, TASK_FLAGS);    /* the flag is written first */
	} else if (too_often) {
		e->moves = 0;
		schedule_place(q, e, q->now + HANDED_BACK_MS);
	} else {
		schedule_ready(q, e, front);
	}
}

/* Recipients of this lease, when it can be said without looking further. */
static uint32_t
lease_size(const struct job *job)
{
	uint32_t n = 0;

	if (job->nonly > 0 || !job->have_env)
		return job->nonly;
	if (!job->have_progress)
		return job->env.nrcpts;
	for (uint32_t i = 0; i < job->progress.nrcpts; i++)
		n += job->progress.rcpts[i].state == RCPT_PENDING;
	return n;
}

/* The usual end: all of them taken, nobody to tell. */
static bool
all_delivered(const struct entry *e, const struct job *job)
{
	if (entry_split(e) != NULL || job->nonly > 0 || !job->have_env ||
	    job->nrcpts == 0 || job->nrcpts != lease_size(job))
		return false;
	for (uint32_t i = 0; i < job->nrcpts; i++) {
		const struct job_rcpt *r = &job->rcpts[i];

		if (r->outcome != JR_DELIVERED || r->index >= job->env.nrcpts ||
		    (i > 0 && r->index <= job->rcpts[i - 1].index))
			return false;
		if (job->have_progress && job->progress.rcpts[r->index].state != RCPT_PENDING)
			return false;
		if ((job->env.rcpts[r->index].notify & NOTIFY_SUCCESS) && !r->dsn_passed)
			return false;
	}
	return true;
}

bool
result_any_tried(const struct job *job)
{
	for (uint32_t i = 0; i < job->nrcpts; i++)
		if (job->rcpts[i].outcome != JR_NONE)
			return true;
	return false;
}

/* True when it has been sent to and fro too often to go on at once. */
bool
result_moved_too_often(struct entry *e, const struct job *job)
{
	if (job->kind == JOB_ROUTE || ++e->moves < MOVES_MAX)
		return false;
	e->moves = 0;
	log_event(PH_WARN, NULL, "queue.unsettled", LOG_ID("mid", e->id),
	    LOG_C("why", "routed to another site each time it is tried"));
	return true;
}

/* All to one site, the usual case: nothing to write, nothing to split. */
static bool
routed_whole(struct queue *q, struct entry *e, struct job **job)
{
	struct job *j = *job;
	bool wait;

	if (j->ngroups != 1 || result_any_tried(j) || !j->have_env || j->groups[0].n != lease_size(j))
		return false;
	entry_move(q, e, site_meet(q, j->groups[0].site));
	if (e->recipients == 0)
		e->recipients = j->groups[0].n & 0xfffff;
	wait = result_moved_too_often(e, j);
	if (!wait && !e->held)
		hot_take(q, e, j);
	job_done(q, job);
	group_collapse(q, e);
	if (e->kill)
		group_gone(q, e, true);
	else if (e->held)
		schedule_chore(q, e, TASK_FLAGS);
	else
		schedule_place(q, e, wait ? q->now + UNSETTLED_MS : DUE_READY);
	return true;
}

static void
lease_home(struct ph_note *note)
{
	struct job *job = container_of(note, struct job, note);
	struct lease *l = job->item;
	struct queue *q = l->q;
	struct entry *e = l->e;
	struct site *s = l->site;

	s->leases--;
	s->w[job->worker].leases--;
	q->worker_leases[job->worker]--;
	if (l->route)
		q->routing--;
	if (l->probe)
		s->probing = false;
	site_verdict(q, l, job);
	switch (job->result) {
	case JOB_TRIED:
		if (!job->have_env || !result_any_tried(job)) {
			take_back(q, e, &job, false);
			return;
		}
		not_stale(q, e);
		e->moves = 0;
		if (all_delivered(e, job)) {
			q->delivered += job->nrcpts;
			job_done(q, &job);
			group_gone(q, e, true);
			return;
		}
		task_step(task_new(q, e, TASK_RESULT, job));
		return;
	case JOB_ROUTED:
		not_stale(q, e);
		for (uint32_t i = 0; i < job->ngroups; i++)
			(void)site_meet(q, job->groups[i].site);
		if (!job->have_env || job->ngroups + job->nrcpts == 0)
			take_back(q, e, &job, false);
		else if (!routed_whole(q, e, &job))
			task_step(task_new(q, e, TASK_RESULT, job));
		return;
	case JOB_SITE_DOWN:
		/* a probe goes to the end: it may be the message that is at fault */
		take_back(q, e, &job, !l->probe);
		return;
	case JOB_RETURNED:
		take_back(q, e, &job, true);
		return;
	case JOB_UNREADABLE: {
		int status = job->status;

		job_done(q, &job);
		if (e->kill) {
			group_gone(q, e, true);
			return;
		}
		if (e->attempts < ATTEMPTS_MAX)
			e->attempts++;
		result_unreadable(q, e, status, retry_due(q, e));
		return;
	}
	}
	ph_abort("result %d of a job", (int)job->result);
}

static void
direct_home(struct ph_note *note)
{
	struct job *job = container_of(note, struct job, note);
	struct queue *q = job->item;
	struct lease *l = idmap_del(&q->direct, job->id);

	if (l == NULL)
		ph_abort("a worker took a message that the queue does not have");
	job->item = l;
	lease_home(note);
}

void
result_direct_run(struct ph_note *note)
{
	struct queue *q = container_of(note, struct job, note)->item;

	queue_later(q, note, direct_home);
}

void
result_run(struct ph_note *note)
{
	struct lease *l = container_of(note, struct job, note)->item;

	queue_later(l->q, note, lease_home);
}

void
result_job_done(struct queue *q, struct job **job)
{
	job_done(q, job);
}
