/*
 * session.c - drives the engine of one inbound connection: feeds it input,
 * carries its questions to the plugins and its replies to the client, and
 * watches the clock.  It never looks at the protocol itself.
 */
#include "daemon/session.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/str.h"
#include "mail/content.h"
#include "mail/reply.h"

/* Unused input kept at most: a pipelined group of commands, or content that
 * waits for the store. */
enum { MAX_INPUT = 64 * 1024 };

static void session_ask(struct session *s, enum ph_hook hook);
static void session_verdict(struct session *s, const struct plug_outcome *o);

static void
session_free_run(struct ph_note *note)
{
	struct session *s = container_of(note, struct session, free_note);

	struct worker *w = s->w;

	smtp_server_done(&s->smtp);
	buf_free(&s->plug.added);
	buf_free(&s->part);
	arena_reset(&s->txn_arena);
	arena_reset(&s->arena);
	worker_gen_unref(&s->gen);
	mem_wipe(&s->facts, sizeof s->facts);
	free(s);
	worker_session_gone(w);
}

void
session_close(struct session *s, const char *why)
{
	struct worker *w = s->w;

	if (s->closing)
		return;
	s->closing = true;
	timer_stop(w->loop, &s->timer);
	if (s->sasl != NULL)
		sasl_end(&s->sasl);
	session_detach_message(s);
	plug_cancel(&s->plug);
	if (s->txn_open)
		session_end_transaction(s);
	if (plug_listens(&s->plug, PH_HOOK_CLOSED))
		plug_observe(&s->plug, PH_HOOK_CLOSED);
	plug_session_close(&s->plug);
	log_event(PH_INFO, &s->log, "smtp.closed", LOG_A("client", &s->facts.client),
	    LOG_C("why", why), LOG_I("messages", s->accepted),
	    LOG_I("errors", s->smtp.errors));
	conn_close(&s->conn, true);
	list_del(&s->link);
	worker_session_ended(w, &s->facts.client);
	s->free_note.run = session_free_run;
	loop_defer(w->loop, &s->free_note);
}

bool
session_idle(const struct session *s)
{
	return !s->txn_open && s->wait == FOR_NOTHING;
}

void
session_shutdown(struct session *s)
{
	struct ph_str none = { NULL, 0 };

	if (s->closing || s->wait != FOR_NOTHING)
		return;
	s->ending = "shutdown";
	smtp_server_end(&s->smtp, PH_R_SHUTTING_DOWN);
	session_run(s, &none);
}

/* --- time --- */

static void
session_timer(struct timer *t)
{
	struct session *s = container_of(t, struct session, timer);
	struct ph_str none = { NULL, 0 };
	int64_t left;

	if (s->wait == FOR_GREET) {
		s->wait = FOR_NOTHING;
		session_run(s, &none);
		if (!s->closing)
			conn_pause(s->conn, false);
		return;
	}
	if (s->wait == FOR_DELAY) {
		session_auth_due(s);
		return;
	}
	/* A hook has its own deadline and the store answers in any case: the
	 * client is not to blame for those waits. */
	if (s->wait == FOR_HOOK || s->wait == FOR_STORE) {
		timer_start(s->w->loop, t, smtp_server_timeout_ms(&s->smtp));
		return;
	}
	if (s->wait == FOR_TLS) {
		session_tls_failed(s, STR("the handshake took too long"));
		return;
	}
	left = s->deadline - loop_now(s->w->loop);
	if (left > 0) {         /* progress was made meanwhile */
		timer_start(s->w->loop, t, left);
		return;
	}
	if (s->smtp.state == SMTP_CLOSE) {      /* it does not even read our last reply */
		session_close(s, "timeout");
		return;
	}
	s->ending = "timeout";
	smtp_server_end(&s->smtp, PH_R_IDLE_TOO_LONG);
	s->wait = FOR_NOTHING;
	session_run(s, &none);
}

/* The deadline moves only with progress as the engine sees it, so a client
 * that drips bytes gains nothing. */
static void
session_watch_clock(struct session *s)
{
	struct worker *w = s->w;

	if (s->wait == FOR_DELAY || s->wait == FOR_TLS)
		return;                 /* the timer is theirs */
	if (s->smtp.progress == s->progress_seen && timer_active(&s->timer))
		return;
	s->progress_seen = s->smtp.progress;
	s->deadline = loop_now(w->loop) + smtp_server_timeout_ms(&s->smtp);
	if (!timer_active(&s->timer) ||
	    s->timer.node.key > s->deadline)
		timer_start(w->loop, &s->timer, smtp_server_timeout_ms(&s->smtp));
}

/* --- hooks --- */

static void
session_set_view(struct session *s, enum ph_hook hook)
{
	struct plug_session *ps = &s->plug;

	ps->rcpt = hook == PH_HOOK_RCPT ? s->smtp.asking : NULL;
	ps->asking_from = hook == PH_HOOK_MAIL ? &s->smtp.asking_from : NULL;
	ps->env = s->txn_open ? &s->smtp.env : NULL;
	ps->size = s->smtp.content_size;
	ps->content = s->content;
	ps->id = s->id;
	if ((hook == PH_HOOK_HEADER || hook == PH_HOOK_MESSAGE) &&
	    plug_listens(ps, hook) && ps->header.p == NULL && s->content != NULL) {
		/* In one piece for ph_header_get; bounded by what may stay in memory. */
		uint64_t n = s->smtp.scan.done ? s->smtp.scan.header_end : s->content->size;
		char *p = arena_alloc(&s->txn_arena, n + 1);
		ps->header = str_make(p, content_copy(s->content, 0, p, n));
	}
}

static void
session_answered(struct plug_session *ps, const struct plug_outcome *o)
{
	struct session *s = container_of(ps, struct session, plug);

	s->wait = FOR_NOTHING;
	session_verdict(s, o);
	session_resume(s);
}

static void
session_ask(struct session *s, enum ph_hook hook)
{
	struct plug_outcome o = { .verdict = PH_CONTINUE };

	if (hook == PH_HOOK_DATA && !session_need_id(s)) {
		o.verdict = PH_FAIL;
		session_verdict(s, &o);
		return;
	}
	s->plug.chain.hook = hook;
	if (hook == PH_HOOK_RCPT)
		s->plug.relay_permitted = false;
	if (plug_listens(&s->plug, hook)) {
		session_set_view(s, hook);
		if (!plug_ask(&s->plug, hook, &o)) {
			s->wait = FOR_HOOK;
			conn_pause(s->conn, true);
			return;
		}
	}
	session_verdict(s, &o);
}

/* What the core itself rules once the plugins had their say. */
static void
session_verdict(struct session *s, const struct plug_outcome *o)
{
	const struct generation *gen = s->gen->wp->gen;
	enum ph_hook hook = s->plug.chain.hook;
	struct plug_outcome own = *o;
	struct ph_str login;

	if (s->plug.admitted)
		s->facts.admitted = true;
	if (hook == PH_HOOK_RCPT && (o->verdict == PH_CONTINUE || o->verdict == PH_ACCEPT)) {
		/* No open relay by default: without a rule only loopback relays. */
		bool may = s->plug.relay_permitted ||
		    (!gen->relay_ruled && ph_addr_is_loopback(&s->facts.client));
		if (!may)
			own = (struct plug_outcome){ PH_REJECT, PH_R_RELAY_DENIED, { NULL, 0 } };
	}
	login = s->facts.login;
	smtp_server_verdict(&s->smtp, own.verdict, own.reply, own.text);
	if (hook == PH_HOOK_AUTH)
		session_auth_ruled(s, login, &own);
}

static void
session_rejected(struct session *s, const struct smtp_request *req)
{
	struct ph_str line = buf_view(&s->smtp.last_reply);

	atomic_fetch_add_explicit(&s->w->shared->rejected, 1, memory_order_relaxed);
	log_event(PH_INFO, &s->log, "smtp.rejected", LOG_A("client", &s->facts.client),
	    LOG_S("reply", line), LOG_C("state", smtp_state_name(s->smtp.state)),
	    LOG_S("from", s->txn_open ? s->smtp.env.from.full : s->smtp.asking_from.full),
	    LOG_S("to", s->smtp.asking != NULL ? s->smtp.asking->to.full : STR("")));
	if (plug_listens(&s->plug, PH_HOOK_REJECTED)) {
		s->plug.outcome_text = line;
		s->plug.outcome_code = ph_reply_code(req->reply);
		plug_observe(&s->plug, PH_HOOK_REJECTED);
	}
}

/* --- the pump --- */

static void
session_flushed(struct ph_note *note)
{
	struct session *s = container_of(note, struct session, flushed_note);

	if (s->closing || s->wait != FOR_FLUSH)
		return;
	s->wait = FOR_NOTHING;
	session_resume(s);
}

/* Many replies for one read of input: the client is to take them before more are made. */
static void
session_flush(struct session *s)
{
	conn_kick(s->conn);
	if (s->smtp.out.len == 0)
		return;
	s->wait = FOR_FLUSH;
	conn_pause(s->conn, true);
}

void
session_run(struct session *s, struct ph_str *in)
{
	struct smtp_request req;
	enum smtp_rq rq;

	if (s->closing || s->in_run)
		return;
	s->in_run = true;
	while (s->wait == FOR_NOTHING && !s->closing) {
		if (s->smtp.state == SMTP_READY)
			smtp_server_room(&s->smtp,
			    atomic_load_explicit(&s->w->shared->store_room, memory_order_relaxed) &&
			    atomic_load_explicit(&s->w->shared->queue_room, memory_order_relaxed));
		rq = log_on(PH_TRACE) ? session_step_traced(s, in, &req)
		    : smtp_server_step(&s->smtp, in, &req);
		if (rq == SMTP_RQ_NONE)
			break;
		switch (rq) {
		case SMTP_RQ_ASK:         session_ask(s, req.hook); break;
		case SMTP_RQ_STORE:       session_store(s); break;
		case SMTP_RQ_BEGIN:       session_begin(s); break;
		case SMTP_RQ_CONTENT:     session_content(s, req.bytes); break;
		case SMTP_RQ_END:         session_end_transaction(s); break;
		case SMTP_RQ_REJECTED:    session_rejected(s, &req); break;
		case SMTP_RQ_TLS:         session_tls(s); break;
		case SMTP_RQ_AUTH:        session_auth_begin(s, &req); break;
		case SMTP_RQ_AUTH_STEP:   session_auth_step(s, req.bytes); break;
		case SMTP_RQ_AUTH_CANCEL: session_auth_cancel(s); break;
		case SMTP_RQ_FLUSH:       session_flush(s); break;
		case SMTP_RQ_CLOSE:
			session_close(s, s->ending != NULL ? s->ending
			    : s->smtp.errors > 0 ? "ended" : "quit");
			break;
		case SMTP_RQ_NONE:
			break;
		}
	}
	s->in_run = false;
	if (s->closing)
		return;
	if (s->w->stopping && s->smtp.state != SMTP_CLOSE && session_idle(s)) {
		session_shutdown(s);
		return;
	}
	session_watch_clock(s);
	conn_kick(s->conn);
}

/* Runs behind the note by which the connection shows the input it kept: what
 * the client had said before it left has been looked at by now. */
static void
session_left(struct ph_note *note)
{
	struct session *s = container_of(note, struct session, left_note);

	s->left_noted = false;
	if (!s->closing && s->wait == FOR_NOTHING)
		session_close(s, "client left");
}

void
session_resume(struct session *s)
{
	struct ph_str none = { NULL, 0 };

	if (s->closing || s->in_run)
		return;
	session_run(s, &none);
	if (s->closing || s->wait != FOR_NOTHING)
		return;
	conn_pause(s->conn, false);
	if (s->left && !s->left_noted) {
		s->left_noted = true;
		s->left_note.run = session_left;
		loop_defer(s->w->loop, &s->left_note);
	}
}

/* --- connection events --- */

static size_t
session_input(struct conn *c, void *arg, struct ph_str data)
{
	struct session *s = arg;
	struct ph_str in = data;

	(void)c;
	if (s->wait == FOR_GREET) {    /* RFC 5321 3.1: the server speaks first */
		timer_stop(s->w->loop, &s->timer);
		s->wait = FOR_NOTHING;
		smtp_server_early_talk(&s->smtp);
	}
	session_run(s, &in);
	return data.n - in.n;
}

static int
session_output(struct conn *c, void *arg, struct iovec *iov, int max)
{
	struct session *s = arg;
	struct ph_str out = buf_view(&s->smtp.out);

	(void)c;
	if (out.n == 0 || max < 1)
		return 0;
	if (log_on(PH_TRACE))
		session_trace_out(s);
	iov[0].iov_base = (void *)(uintptr_t)out.p;
	iov[0].iov_len = out.n;
	return 1;
}

static void
session_sent(struct conn *c, void *arg, size_t n)
{
	struct session *s = arg;

	(void)c;
	s->traced -= n < s->traced ? n : s->traced;
	buf_eat(&s->smtp.out, n);
	if (s->smtp.out.len > 0)
		return;
	if (s->wipe_out)
		mem_wipe(s->smtp.out.data, s->smtp.out.cap);
	s->wipe_out = false;
	buf_free(&s->smtp.out);         /* idle sessions hold no buffers */
	if (s->wait == FOR_FLUSH) {
		s->flushed_note.run = session_flushed;
		loop_defer(s->w->loop, &s->flushed_note);
	}
}

static void
session_conn_closed(struct conn *c, void *arg, int status)
{
	struct session *s = arg;

	(void)c;
	if (status == PH_ECLOSED &&
	    (s->wait == FOR_STORE || s->wait == FOR_PARTS || s->wait == FOR_FLUSH)) {
		s->left = true;         /* half-closed, perhaps: it may still read our reply */
		return;
	}
	if (s->wait == FOR_TLS) {
		session_tls_failed(s, STR("the client left in the middle of the handshake"));
		return;
	}
	session_close(s, status == PH_ECLOSED ? "client left" : ph_strerror(status));
}

static void
session_conn_secured(struct conn *c, void *arg, int status)
{
	(void)c;
	session_secured(arg, status);
}

static const struct conn_events session_events = {
	.input = session_input, .output = session_output, .sent = session_sent,
	.closed = session_conn_closed, .secured = session_conn_secured,
};

/* Refused before there is a session: one line, then gone. */
static void
session_turn_away(struct worker *w, const struct listen_settings *ls, struct stream *stream,
                  enum ph_reply reply, const struct ph_addr *client)
{
	struct buf out = { 0 };
	struct iovec iov;

	if (ls->tls != LISTEN_TLS_IMPLICIT) {   /* who waits for a handshake would not understand */
		reply_write(&out, reply, NULL);
		iov.iov_base = out.data + out.head;
		iov.iov_len = out.len;
		(void)stream_write(stream, &iov, 1);    /* best effort: it is closed either way */
		buf_free(&out);
	}
	stream_close(&stream);
	log_event(PH_WARN, &w->log, "smtp.refused", LOG_A("client", client),
	    LOG_C("reply", ph_reply_text(reply)), LOG_C("option",
	    reply == PH_R_TOO_MANY_CONNS ? "max-connections" : "listen.max-connections-per-address"));
}

void
session_greet(struct session *s)
{
	struct ph_str none = { NULL, 0 };

	if (s->listen->greet_delay.ms > 0) {
		s->wait = FOR_GREET;
		timer_start(s->w->loop, &s->timer, s->listen->greet_delay.ms);
		return;
	}
	session_run(s, &none);
	if (!s->closing && s->wait == FOR_NOTHING)
		conn_pause(s->conn, false);
}

void
session_new(struct worker *w, size_t door, struct stream *stream)
{
	struct worker_gen *gen = w->gen;
	const struct listen_settings *ls = &gen->listen[door];
	struct ph_str none = { NULL, 0 };
	struct ph_addr client;
	struct session *s;
	unsigned mine;

	stream_peer(stream, &client);
	mine = worker_count_addr(w, &client);
	if (atomic_fetch_add(&w->shared->connections, 1) >= gen->max_connections ||
	    (ls->max_connections_per_address > 0 && mine > ls->max_connections_per_address)) {
		bool all = ls->max_connections_per_address == 0 ||
		    mine <= ls->max_connections_per_address;
		worker_session_ended(w, &client);
		session_turn_away(w, ls, stream, all ? PH_R_TOO_MANY_CONNS : PH_R_TOO_MANY_FROM_YOU,
		    &client);
		return;
	}
	s = mem_new(struct session);
	s->w = w;
	s->gen = gen;
	worker_gen_ref(gen);
	s->listen = ls;
	s->facts.client = client;
	stream_local(stream, &s->facts.local);
	id_text(id_new(), s->id_text);
	s->facts.id = str_of(s->id_text);
	arena_init(&s->arena, 512);
	arena_init(&s->txn_arena, 2048);
	s->log.up = &w->log;
	s->log.text = s->log_text;
	snprintf(s->log_text, sizeof s->log_text, "sid=%s", s->id_text);
	list_init(&s->parts);
	s->timer.fn = session_timer;
	s->plug.wp = gen->wp;
	s->plug.log = &s->log;
	s->plug.facts = &s->facts;
	s->plug.session_arena = &s->arena;
	s->plug.answered = session_answered;
	smtp_server_init(&s->smtp, &gen->smtp[door], &s->facts, &s->arena, &s->txn_arena);
	list_push_back(&w->sessions, &s->link);
	w->nsessions++;
	atomic_fetch_add_explicit(&w->shared->sessions, 1, memory_order_relaxed);
	log_event(PH_INFO, &s->log, "smtp.connected", LOG_A("client", &client));
	s->conn = conn_new(w->loop, stream, MAX_INPUT, &session_events, s);
	if (plug_session_open(&s->plug) != 0) {
		if (ls->tls == LISTEN_TLS_IMPLICIT) {
			session_close(s, "a plugin failed");
			return;
		}
		smtp_server_end(&s->smtp, PH_R_SHUTTING_DOWN);
		session_run(s, &none);
		return;
	}
	session_offer(s);
	if (ls->tls == LISTEN_TLS_IMPLICIT)
		session_tls(s);
	else
		session_greet(s);
}
