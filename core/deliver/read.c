/*
 * read.c - messages from the store: envelope and progress before an attempt,
 * parts of a stored content while it is sent.
 *
 * While one part is on the wire the next one is read, so that a large message
 * needs two parts of memory and does not wait for each read.
 */
#include <stdlib.h>

#include "deliver/deliver_private.h"

struct message_read {
	struct ph_store_request r;
	struct attempt *a;
};

struct part_read {
	struct ph_store_request r;
	struct deliver *d;
	struct attempt *a;              /* NULL: nobody wants it any more */
	bool done;
};

/* --- the message --- */

static void
unreadable(struct attempt *a, int status)
{
	a->job->status = status;
	deliver_finish(a, JOB_UNREADABLE);
}

static int
decode(struct attempt *a, struct ph_str meta, const struct ph_str *progress)
{
	struct job *job = a->job;

	if (!job->have_env && envelope_decode(meta, &job->arena, &job->env) != 0)
		return PH_ECORRUPT;
	job->have_env = true;
	if (progress == NULL || job->have_progress)
		return 0;
	if (progress_decode(*progress, job->env.nrcpts, &job->arena, &job->progress) != 0)
		return PH_ECORRUPT;
	job->have_progress = true;
	return 0;
}

static void
message_done(struct ph_store_request *r)
{
	struct message_read *m = container_of(r, struct message_read, r);
	struct attempt *a = m->a;
	struct deliver *d = a->d;
	int status = r->status;

	d->nreads--;
	if (status == 0) {
		status = decode(a, r->meta, &r->progress);
		if (status == 0 && a->job->content == NULL) {
			a->job->content = r->content;
			r->content = NULL;
			if (a->job->content == NULL)
				status = PH_ECORRUPT;
		}
		ph_content_unref(&r->content);
		ph_store_release(r);
	}
	free(m);
	if (status != 0)
		unreadable(a, status);
	else if (d->stopping)
		deliver_finish(a, JOB_RETURNED);
	else
		route_job(a);
}

void
read_message(struct attempt *a)
{
	struct job *job = a->job;
	struct message_read *m;

	a->phase = ATTEMPT_READING;
	/* Bytes in memory say nothing of recipients that are done; a first
	 * attempt, or one told which are its own, needs no more. */
	if (job->content != NULL && (job->have_env || job->meta != NULL) &&
	    (job->have_progress || job->only != NULL || job->summary.attempts == 0)) {
		int rc = decode(a, str_make(job->meta, job->meta_len), NULL);
		if (rc != 0)
			unreadable(a, rc);
		else
			route_job(a);
		return;
	}
	m = mem_new(struct message_read);
	m->a = a;
	m->r.op = PH_STORE_READ;
	m->r.id = job->id;
	m->r.home = loop_mailbox(a->d->loop);
	m->r.done = message_done;
	a->d->nreads++;
	a->d->ops->submit(a->d->arg, &m->r);
}

/* --- parts --- */

static void
part_free(struct part_read *p)
{
	if (p->r.status == 0)
		ph_store_release(&p->r);
	free(p);
}

static void part_done(struct ph_store_request *r);

static struct part_read *
part_start(struct attempt *a, uint64_t offset)
{
	struct part_read *p = mem_new(struct part_read);
	uint64_t left = ph_content_size(a->job->content) - offset;

	p->d = a->d;
	p->a = a;
	p->r.op = PH_STORE_READ_PART;
	p->r.id = a->job->id;
	p->r.offset = offset;
	p->r.want = left < PART_BYTES ? left : PART_BYTES;
	p->r.home = loop_mailbox(a->d->loop);
	p->r.done = part_done;
	a->d->nreads++;
	a->d->ops->submit(a->d->arg, &p->r);
	return p;
}

/* The part that was read ahead is the one that is wanted. */
static void
part_give(struct attempt *a)
{
	struct part_read *p = a->ahead;
	uint64_t next = p->r.offset + p->r.bytes.n;

	if (a->given != NULL)
		part_free(a->given);
	a->given = p;
	a->ahead = NULL;
	a->hungry = false;
	smtp_client_content(a->on->client, &a->txn, p->r.bytes);
	if (next < ph_content_size(a->job->content))
		a->ahead = part_start(a, next);
	link_dirty(a->on);
}

static void
part_done(struct ph_store_request *r)
{
	struct part_read *p = container_of(r, struct part_read, r);
	struct attempt *a = p->a;
	struct deliver *d = p->d;

	d->nreads--;
	p->done = true;
	if (a == NULL) {
		part_free(p);
		deliver_check_stopped(d);
		return;
	}
	if (r->status != 0 || r->bytes.n == 0) {
		/* The remote was told how much would come: only the end of the
		 * connection keeps it from taking half a message. */
		a->unreadable = r->status != 0 ? r->status : PH_ECORRUPT;
		link_lost(a->on, STR("the message could not be read from the store"));
		return;
	}
	if (a->hungry)
		part_give(a);
}

void
read_want(struct attempt *a)
{
	uint64_t offset = a->txn.offset - a->txn.head.n;

	if (a->ahead != NULL && a->ahead->r.offset != offset) {
		struct part_read *p = a->ahead;
		a->ahead = NULL;
		p->a = NULL;
		if (p->done)
			part_free(p);
	}
	if (a->ahead == NULL)
		a->ahead = part_start(a, offset);
	a->hungry = true;
	if (a->ahead->done)
		part_give(a);
}

void
read_stop(struct attempt *a)
{
	if (a->given != NULL)
		part_free(a->given);
	if (a->ahead != NULL) {
		a->ahead->a = NULL;
		if (a->ahead->done)
			part_free(a->ahead);
	}
	a->given = a->ahead = NULL;
	a->hungry = false;
}
