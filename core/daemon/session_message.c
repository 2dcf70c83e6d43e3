/*
 * session_message.c - a message while it arrives, and making it durable.
 *
 * Small content gathers in memory.  Once it grows beyond the store's spill
 * size it goes on in parts, each handed to the store as it fills, so that a
 * session's memory is bounded whatever the message size.
 */
#include "daemon/session.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/str.h"
#include "mail/content.h"
#include "mail/trace.h"

enum { PART_SIZE = 256 * 1024, PARTS_OUT = 4 };

/* Outlives its session: a client may leave while its message is being stored. */
struct pending_message {
	struct ph_store_request req;
	struct session *s;              /* NULL once it has left */
	struct ph_content *content;
	struct buf meta, head;
	struct site_info *site;
	bool direct;                    /* our own worker tries it as soon as it is stored */
	struct worker *w;
	int64_t started;
};
struct part {
	struct ph_store_request req;
	struct session *s;              /* NULL once it has left */
	struct list link;               /* of parts out, to be told */
	char bytes[];
};

bool
session_need_id(struct session *s)
{
	if (id_zero(s->id))
		s->id = id_new();
	return s->part_status == 0;
}

void
session_begin(struct session *s)
{
	s->txn_open = true;
	s->plug.txn_arena = &s->txn_arena;
	s->plug.env = &s->smtp.env;
	if (plug_txn_open(&s->plug) != 0)
		smtp_server_end(&s->smtp, PH_R_SHUTTING_DOWN);
}

/* Forgets the message; the envelope's memory goes with it. */
static void
session_reset_transaction(struct session *s)
{
	if (!s->txn_open)
		return;
	plug_txn_close(&s->plug);
	s->txn_open = false;
	s->plug.txn_arena = NULL;
	s->plug.env = NULL;
	s->plug.content = NULL;
	s->plug.header = (struct ph_str){ NULL, 0 };
	buf_free(&s->plug.added);
	buf_free(&s->part);
	ph_content_unref(&s->content);
	s->id = (struct ph_msgid){ 0, 0 };
	s->plug.id = s->id;
	s->spilled = 0;
	s->spilling = false;
	s->part_status = 0;
	arena_reset(&s->txn_arena);
}

static void
abandon_done(struct ph_store_request *req)
{
	free(req);
}

void
session_end_transaction(struct session *s)
{
	if (s->txn_open && s->spilled > 0) {
		struct ph_store_request *req = mem_new(struct ph_store_request);
		req->op = PH_STORE_ABANDON;
		req->id = s->id;
		req->drop = abandon_done;
		worker_store(s->w, req);
	}
	session_reset_transaction(s);
}

/* --- parts of a large message --- */

static void
part_done(struct ph_store_request *req)
{
	struct part *p = container_of(req, struct part, req);
	struct session *s = p->s;
	int status = req->status;

	if (s != NULL)
		list_del(&p->link);
	free(p);
	if (s == NULL)
		return;
	s->parts_out--;
	if (status != 0 && s->part_status == 0)
		s->part_status = status;        /* told at the end of data: 452 or 451 */
	if (s->wait == FOR_PARTS && s->parts_out < PARTS_OUT / 2) {
		s->wait = FOR_NOTHING;
		session_resume(s);
	}
}

static void
session_submit_part(struct session *s)
{
	struct part *p = mem_alloc(sizeof *p + s->part.len);

	memset(p, 0, sizeof *p);
	memcpy(p->bytes, s->part.data + s->part.head, s->part.len);
	p->s = s;
	p->req.op = PH_STORE_PART;
	p->req.id = s->id;
	p->req.offset = s->spilled;
	p->req.bytes = str_make(p->bytes, s->part.len);
	p->req.home = loop_mailbox(s->w->loop);
	p->req.done = part_done;
	list_push_back(&s->parts, &p->link);
	s->spilled += s->part.len;
	s->parts_out++;
	buf_clear(&s->part);
	worker_store(s->w, &p->req);
	if (s->parts_out >= PARTS_OUT && s->wait == FOR_NOTHING) {
		s->wait = FOR_PARTS;
		conn_pause(s->conn, true);
	}
}

/* From now on in parts: what was gathered so far becomes the first. */
static void
session_spill(struct session *s)
{
	for (struct content_block *b = s->content->first; b != NULL; b = b->next)
		buf_add(&s->part, b->data, b->len);
	s->plug.content = NULL;
	ph_content_unref(&s->content);
	s->spilling = true;
}

void
session_content(struct session *s, struct ph_str bytes)
{
	(void)session_need_id(s);
	if (!s->spilling) {
		if (s->content == NULL)
			s->content = content_new();
		content_append(s->content, bytes.p, bytes.n, s->smtp.env.declared_size);
		if (ph_content_size(s->content) <= s->w->shared->spill_above)
			return;
		session_spill(s);
	} else {
		buf_addstr(&s->part, bytes);
	}
	if (s->part.len >= PART_SIZE)
		session_submit_part(s);
}

/* --- end of data --- */

static void
pending_free(struct pending_message *pm)
{
	ph_content_unref(&pm->content);
	site_info_unref(&pm->site);
	buf_free(&pm->meta);
	buf_free(&pm->head);
	free(pm);
}

static void
session_accepted(struct session *s, const struct pending_message *pm)
{
	const struct envelope *env = &s->smtp.env;

	s->accepted++;
	atomic_fetch_add_explicit(&s->w->shared->accepted, 1, memory_order_relaxed);
	log_event(PH_INFO, &s->log, "smtp.accepted", LOG_ID("mid", pm->req.id),
	    LOG_A("client", &s->facts.client), LOG_S("from", env->from.full),
	    LOG_S("to", env->nrcpts > 0 ? env->rcpts[0].to.full : STR("")),
	    LOG_I("rcpts", env->nrcpts), LOG_I("size", pm->req.summary.size),
	    LOG_I("ms", (clock_mono_us() - pm->started) / 1000));
	if (plug_listens(&s->plug, PH_HOOK_ACCEPTED)) {
		s->plug.outcome_text = STR("250 2.0.0 Queued");
		s->plug.outcome_code = 250;
		plug_observe(&s->plug, PH_HOOK_ACCEPTED);
	}
}

/* The bytes are here and a connection is warm: it goes on its way without being handed out. */
static void
message_direct(struct pending_message *pm)
{
	struct worker *w = pm->w;
	struct job *job;

	if (pm->req.status != 0) {
		deliver_unreserve(w->deliver);
		return;
	}
	job = job_new();
	queue_direct(w->shared->queue, job);
	job->kind = JOB_DELIVER;
	job->id = pm->req.id;
	job->summary = pm->req.summary;
	job->site = site_info_ref(pm->site);
	job->worker = w->index;
	job->meta = mem_strndup(pm->meta.data + pm->meta.head, pm->meta.len);
	job->meta_len = pm->meta.len;
	job->content = ph_content_ref(pm->content);
	deliver_job(w->deliver, job);
}

static void
message_stored(struct ph_store_request *req)
{
	struct pending_message *pm = container_of(req, struct pending_message, req);
	struct session *s = pm->s;

	if (pm->direct)
		message_direct(pm);
	if (s == NULL) {                /* durable, but nobody waits for the 250 */
		pending_free(pm);
		return;
	}
	s->storing = NULL;
	if (req->status == 0)
		session_accepted(s, pm);
	else
		log_event(PH_ERROR, &s->log, "smtp.store-failed", LOG_ID("mid", req->id),
		    LOG_C("why", ph_strerror(req->status)));
	smtp_server_stored(&s->smtp, req->status, req->id);
	session_reset_transaction(s);
	pending_free(pm);
	s->wait = FOR_NOTHING;
	session_resume(s);
}

void
session_store(struct session *s)
{
	struct envelope *env = &s->smtp.env;
	struct pending_message *pm;
	struct ph_store_request *req;
	int64_t now = clock_wall_ms();

	(void)session_need_id(s);
	if (s->part_status != 0) {
		log_event(PH_ERROR, &s->log, "smtp.store-failed", LOG_ID("mid", s->id),
		    LOG_C("why", ph_strerror(s->part_status)));
		smtp_server_stored(&s->smtp, s->part_status, s->id);
		session_end_transaction(s);
		return;
	}
	pm = mem_new(struct pending_message);
	pm->s = s;
	pm->w = s->w;
	pm->started = clock_mono_us();
	env->arrived = now;
	trace_received(&pm->head, &s->facts, env, s->id, s->smtp.cfg->hostname, now);
	buf_addstr(&pm->head, buf_view(&s->plug.added));
	envelope_encode(env, &pm->meta);
	if (s->spilling) {
		if (s->part.len > 0)
			session_submit_part(s);
	} else {
		if (s->content == NULL)
			s->content = content_new();
		content_prepend(s->content, pm->head.data + pm->head.head, pm->head.len);
	}
	pm->content = s->content;
	s->content = NULL;
	s->plug.content = NULL;

	req = &pm->req;
	req->op = PH_STORE_APPEND;
	req->id = s->id;
	req->home = loop_mailbox(s->w->loop);
	req->done = message_stored;
	req->meta = buf_view(&pm->meta);
	if (s->spilling)
		req->head = buf_view(&pm->head);
	req->content = pm->content;
	req->summary.created = req->summary.due = now;
	req->summary.size = pm->content != NULL ? ph_content_size(pm->content)
	    : s->spilled + pm->head.len;
	req->summary.recipients = env->nrcpts;
	/* The queue then schedules it at once, without asking the routers first. */
	pm->site = deliver_site_of(s->w->deliver, env);
	if (pm->site != NULL)
		req->summary.site = pm->site->hash;
	pm->direct = pm->site != NULL && pm->content != NULL &&
	    deliver_reserve(s->w->deliver, pm->site);
	if (pm->direct)
		req->summary.leased = s->w->index + 1;
	s->storing = pm;
	s->wait = FOR_STORE;
	conn_pause(s->conn, true);
	worker_store(s->w, req);
}

void
session_detach_message(struct session *s)
{
	list_each_safe(it, &s->parts) {
		struct part *p = container_of(it, struct part, link);
		list_del(it);
		p->s = NULL;
	}
	s->parts_out = 0;
	if (s->storing != NULL) {
		s->storing->s = NULL;
		s->storing = NULL;
		s->spilled = 0;         /* the parts belong to the message being stored */
	}
}
