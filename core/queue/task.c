/*
 * task.c - tasks: what has to be read, told or written before the outcomes of
 * a message can be settled.
 *
 * A task goes through its steps one by one and is carried on by the store's
 * answers: read the message (when its lease did not bring it), append the
 * report of failures, of relayed recipients, the delay notice, write badmail,
 * then settle.
 */
#include <stdlib.h>

#include "base/id.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "queue/internal.h"

enum { S_READ, S_HEADERS, S_FAILED, S_RELAYED, S_DELAYED, S_BADMAIL, S_END };

bool
fate_in_entry(const struct entry *e, uint32_t rcpt)
{
	if (e->x == NULL || e->x->only == NULL)
		return true;
	for (uint32_t i = 0; i < e->x->nonly; i++)
		if (e->x->only[i] == rcpt)
			return true;
	return false;
}

/* --- fates --- */

static bool
pending_here(const struct task *t, uint32_t i)
{
	return i < t->progress->nrcpts && t->progress->rcpts[i].state == RCPT_PENDING &&
	    fate_in_entry(t->e, i);
}

static void
fates_of_result(struct task *t)
{
	const struct job *job = t->job;
	bool tried = false, expired, notice;

	for (uint32_t k = 0; k < job->nrcpts; k++) {
		const struct job_rcpt *r = &job->rcpts[k];
		struct fate *f;

		if (r->outcome == JR_NONE || !pending_here(t, r->index) ||
		    t->fate[r->index].what != F_NONE)
			continue;
		tried = true;
		f = &t->fate[r->index];
		f->said = r;
		f->what = r->outcome == JR_DELIVERED ? F_DELIVERED :
		    r->outcome == JR_FAILED ? F_FAILED : F_DEFERRED;
		f->relayed = f->what == F_DELIVERED && !r->dsn_passed &&
		    (t->env->rcpts[r->index].notify & NOTIFY_SUCCESS) != 0;
	}
	if (tried && t->e->attempts < ATTEMPTS_MAX)
		t->e->attempts++;
	expired = retry_expired(t->q, t->e);
	notice = retry_notice(t->q, t->e);
	for (uint32_t i = 0; i < t->env->nrcpts; i++) {
		struct fate *f = &t->fate[i];

		if (f->what != F_DEFERRED)
			continue;
		if (expired)
			f->what = F_EXPIRED;
		else
			f->delayed = notice;
	}
}

static void
fates_of_time(struct task *t)
{
	for (uint32_t i = 0; i < t->env->nrcpts; i++) {
		if (!pending_here(t, i))
			continue;
		if (t->kind == TASK_EXPIRE)
			t->fate[i].what = F_EXPIRED;
		else
			t->fate[i].delayed = true;
	}
}

static void
fates(struct task *t)
{
	if (t->kind == TASK_FLAGS)
		return;
	t->fate = arena_alloc(&t->arena, (t->env->nrcpts + 1) * sizeof *t->fate);
	if (t->kind == TASK_RESULT)
		fates_of_result(t);
	else
		fates_of_time(t);
}

/* --- reading --- */

static void
read_envelope(struct task *t, struct ph_str meta, struct ph_str progress)
{
	const struct split *sp = entry_split(t->e);
	int rc;

	t->env = arena_new(&t->arena, struct envelope);
	t->progress = arena_new(&t->arena, struct progress);
	envelope_init(t->env, &t->arena);
	rc = envelope_decode(meta, &t->arena, t->env);
	if (rc == 0)
		rc = progress_decode(sp != NULL ? buf_view(&sp->progress) : progress,
		    t->env->nrcpts, &t->arena, t->progress);
	t->status = rc;
	if (rc == 0)
		fates(t);
}

void
task_pause_reports(struct queue *q)
{
	q->reports_after = q->now + REPORT_PAUSE_MS;
}

static void
read_done_now(struct ph_note *note)
{
	struct ph_store_request *r = container_of(note, struct ph_store_request, note);
	struct task *t = r->arg;

	if (r->status == 0) {
		t->content = r->content;
		r->content = NULL;
		if (t->env == NULL)
			read_envelope(t, r->meta, r->progress);
	} else if (t->kind != TASK_RESULT) {
		t->status = r->status;
		if (r->status != PH_ENOENT && r->status != PH_ECORRUPT)
			task_pause_reports(t->q);
	}
	/* a result whose message cannot be read is reported without its headers */
	ph_store_release(r);
	if (t->status != 0)
		t->step = S_END;
	task_step(t);
}

static void
part_done_now(struct ph_note *note)
{
	struct ph_store_request *r = container_of(note, struct ph_store_request, note);
	struct task *t = r->arg;

	if (r->status == 0)
		buf_addstr(&t->headers, r->bytes);
	t->have_headers = true;
	ph_store_release(r);
	task_step(t);
}

static void
read_done(struct ph_store_request *r)
{
	queue_later(((struct task *)r->arg)->q, &r->note, read_done_now);
}

static void
part_done(struct ph_store_request *r)
{
	queue_later(((struct task *)r->arg)->q, &r->note, part_done_now);
}

void
task_submit(struct task *t, enum ph_store_op op, void (*done)(struct ph_store_request *))
{
	t->req.op = op;
	t->req.status = 0;
	t->req.home = t->q->mailbox;
	t->req.done = done;
	t->req.drop = NULL;
	t->req.arg = t;
	t->q->ops->submit(t->q->arg, &t->req);
}

static void
submit_read(struct task *t)
{
	t->req = (struct ph_store_request){ .id = t->e->id };
	task_submit(t, PH_STORE_READ, read_done);
}

/* True: an answer will carry on. */
static bool
step_read(struct task *t)
{
	switch (t->kind) {
	case TASK_RESULT:
		if (!bounce_wanted(t, DSN_FAILED) && !bounce_wanted(t, DSN_RELAYED) &&
		    !bounce_wanted(t, DSN_DELAYED) && !bounce_badmail(t)) {
			t->step = S_END;
			return false;
		}
		if (t->job->content != NULL) {
			t->content = ph_content_ref(t->job->content);
			return false;
		}
		break;
	case TASK_FLAGS:
		/* A PROGRESS replaces what stands there, so that must be known;
		 * also of an entry that was never tried, for another group of
		 * its message may have been. */
		t->step = S_END;
		if (entry_split(t->e) != NULL)
			return false;
		break;
	default:
		break;
	}
	submit_read(t);
	return true;
}

static bool
step_headers(struct task *t)
{
	if (t->content == NULL || ph_content_in_memory(t->content) || t->have_headers)
		return false;
	t->req = (struct ph_store_request){ .id = t->e->id, .want = HEADERS_MAX };
	task_submit(t, PH_STORE_READ_PART, part_done);
	return true;
}

/* --- tasks --- */

struct task *
task_new(struct queue *q, struct entry *e, enum task_kind kind, struct job *job)
{
	struct task *t = mem_new(struct task);
	const struct split *sp = entry_split(e);

	t->q = q;
	t->e = e;
	t->kind = kind;
	t->job = job;
	arena_init(&t->arena, 2048);
	list_push_back(&q->tasks, &t->link);
	if (kind != TASK_RESULT)
		q->ntasks++;
	if (job == NULL)
		return t;
	t->env = &job->env;
	if (sp == NULL && job->have_progress) {
		t->progress = &job->progress;
	} else {
		t->progress = arena_new(&t->arena, struct progress);
		(void)progress_decode(sp != NULL ? buf_view(&sp->progress) : (struct ph_str){ NULL, 0 },
		    job->env.nrcpts, &t->arena, t->progress);
	}
	fates(t);
	return t;
}

void
task_free(struct task *t)
{
	list_del(&t->link);
	if (t->kind != TASK_RESULT)
		t->q->ntasks--;
	if (t->job != NULL)
		result_job_done(t->q, &t->job);
	if (t->content != NULL)
		ph_content_unref(&t->content);
	badmail_free(&t->badmail);
	buf_free(&t->headers);
	buf_free(&t->meta);
	arena_reset(&t->arena);
	free(t);
}

static bool
step_badmail(struct task *t)
{
	int rc;

	if (!bounce_badmail(t))
		return false;
	/* it syncs files on this thread, so only a few in one turn of the loop */
	if (t->badmail == NULL && t->q->badmail_turn >= BADMAIL_PER_TURN) {
		list_del(&t->link);
		list_push_back(&t->q->badmail_wait, &t->link);
		return true;
	}
	t->q->badmail_turn++;
	rc = badmail_write(t);
	if (rc == 0)
		return true;
	if (rc < 0) {
		t->refused = true;
		task_pause_reports(t->q);
	}
	return false;
}

void
task_step(struct task *t)
{
	for (;;) {
		bool waits = false;

		switch (t->step++) {
		case S_READ:
			waits = step_read(t);
			break;
		case S_HEADERS:
			waits = step_headers(t);
			break;
		case S_FAILED:
			waits = bounce_append(t, DSN_FAILED);
			break;
		case S_RELAYED:
			waits = bounce_append(t, DSN_RELAYED);
			break;
		case S_DELAYED:
			if (t->fate != NULL)
				for (uint32_t i = 0; i < t->env->nrcpts; i++)
					if (t->fate[i].delayed)
						t->e->notified = 1;
			waits = bounce_append(t, DSN_DELAYED);
			break;
		case S_BADMAIL:
			waits = step_badmail(t);
			if (waits)
				t->step--;
			break;
		default:
			/* failures that nobody asked to hear of are said in the log */
			if (t->fate != NULL && t->status == 0 && !t->refused && !t->e->kill &&
			    !bounce_wanted(t, DSN_FAILED) && !bounce_badmail(t))
				bounce_log(t, DSN_FAILED, false);
			settle_task(t->q, t);
			task_free(t);
			return;
		}
		if (waits)
			return;
	}
}

/* Goes on with those that waited for their turn to write files. */
void
task_waiting(struct queue *q)
{
	struct list wait;

	list_init(&wait);
	list_splice_back(&wait, &q->badmail_wait);
	q->badmail_turn = 0;
	while (!list_empty(&wait)) {
		struct task *t = container_of(list_pop(&wait), struct task, link);

		list_push_back(&q->tasks, &t->link);
		task_step(t);
	}
	q->more = q->more || !list_empty(&q->badmail_wait);
}

void
task_chores(struct queue *q)
{
	while (q->ntasks < TASKS_OUT && !list_empty(&q->chores)) {
		struct entry *e = container_of(list_pop(&q->chores), struct entry, link);

		task_step(task_new(q, e, (enum task_kind)e->chore, NULL));
	}
}
