/*
 * sink_session.c - one connection of the sink: the server engine on a stream,
 * without plugins and without a store.  It answers each question by the options that tell it
 * to misbehave, and otherwise with yes.  With --delay replies leave late but
 * input is used at once, as over a long line.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/id.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/sink.h"
#include "cmd/sink_delay.h"

enum { ARENA_CHUNK = 2048 };

/* Owner: the worker's list. */
struct sink_session {
	struct list link;
	struct sink_worker *w;
	struct stream *stream;
	struct smtp_server smtp;
	struct facts facts;
	struct arena arena, txn_arena;
	struct buf in;                  /* input not used yet */
	struct sink_delay late;         /* --delay: replies on their way */
	struct timer timer;
	struct buf content;             /* gathered only to be kept */
	struct traffic_check check;
	unsigned watched;
	bool closing, hung_up;
};

static void session_ready(void *arg, unsigned ready);

/* --- ends and output --- */

static void
session_free(struct sink_session *s)
{
	list_del(&s->link);
	timer_stop(s->w->loop, &s->timer);
	stream_close(&s->stream);
	smtp_server_done(&s->smtp);
	arena_reset(&s->txn_arena);
	arena_reset(&s->arena);
	buf_free(&s->in);
	sink_delay_free(&s->late);
	buf_free(&s->content);
	traffic_check_done(&s->check);
	atomic_fetch_sub(&s->w->sink->sessions, 1);
	free(s);
}

static void
watch(struct sink_session *s, unsigned events)
{
	if (s->watched == events)
		return;
	s->watched = events;
	stream_watch(s->stream, events, session_ready, s);
}

/* Writes up to n octets of b; false: the connection is gone. */
static bool
write_some(struct sink_session *s, struct buf *b, size_t n)
{
	while (n > 0) {
		struct iovec iov = { b->data + b->head, n };
		ssize_t done = stream_write(s->stream, &iov, 1);

		if (done == PH_EBUSY) {
			/* the client does not read: neither do we */
			watch(s, STREAM_WRITE);
			return true;
		}
		if (done < 0)
			return false;
		buf_eat(b, (size_t)done);
		n -= (size_t)done;
	}
	return true;
}

static void
hold(struct sink_session *s, struct buf *out)
{
	int64_t delay = s->w->sink->o->delay.ms;

	sink_delay_put(&s->late, out, loop_now(s->w->loop) + delay);
	if (!timer_active(&s->timer))
		timer_start(s->w->loop, &s->timer, delay);
}

static bool
flush_held(struct sink_session *s)
{
	int64_t now = loop_now(s->w->loop);
	size_t before = s->late.held.len;
	bool alive = write_some(s, &s->late.held, sink_delay_due(&s->late, now));

	sink_delay_sent(&s->late, before - s->late.held.len);
	if (alive && sink_delay_next(&s->late) >= 0 && s->watched != STREAM_WRITE)
		timer_start(s->w->loop, &s->timer, sink_delay_next(&s->late) - now);
	return alive;
}

/* EHLO's reply without the line that offers 8BITMIME; the engine always offers it. */
static void
hide_8bitmime(struct buf *out)
{
	static const char line[] = "250-8BITMIME\r\n";
	char *p = memmem(out->data + out->head, out->len, line, sizeof line - 1);

	if (p != NULL) {
		size_t n = out->len - (size_t)(p - (out->data + out->head)) - (sizeof line - 1);

		memmove(p, p + sizeof line - 1, n);
		out->len -= sizeof line - 1;
	}
}

/* Sends what there is to send, and ends the session when it is to end. false: it is gone. */
static bool
flush(struct sink_session *s)
{
	struct buf *out = &s->smtp.out;
	bool alive = true;

	if (out->len > 0 && s->w->sink->o->no_8bitmime)
		hide_8bitmime(out);
	if (s->w->sink->o->delay.ms > 0) {
		if (out->len > 0)
			hold(s, out);
	} else if (out->len > 0) {
		alive = write_some(s, out, out->len);
	}
	if (!alive || ((s->hung_up || (s->closing && out->len == 0)) && s->late.held.len == 0)) {
		session_free(s);
		return false;
	}
	return true;
}

static void
session_timer(struct timer *t)
{
	struct sink_session *s = container_of(t, struct sink_session, timer);

	if (!flush_held(s))
		session_free(s);
	else
		(void)flush(s);
}

/* --- answers --- */

static bool
roll(struct sink_worker *w, double percent)
{
	if (percent <= 0)
		return false;
	w->dice ^= w->dice << 13;               /* xorshift64: a seed repeats a trial */
	w->dice ^= w->dice >> 7;
	w->dice ^= w->dice << 17;
	return (double)(w->dice >> 11) * 0x1p-53 * 100.0 < percent;
}

static bool
hangs_up(struct sink_session *s, enum sink_stage stage)
{
	const struct sink_opts *o = s->w->sink->o;

	if (o->hangup_at != (int)stage || !roll(s->w, o->hangup))
		return false;
	s->w->stats.hangups++;
	s->hung_up = true;
	return true;
}

/* "a@b.c", or "@b.c" for all of a domain. */
static bool
listed(const struct opt_list *list, const struct address *to)
{
	for (size_t i = 0; i < list->n; i++) {
		struct ph_str want = str_of(list->v[i]);

		if (want.n > 0 && want.p[0] == '@' ? str_ieq(str_skip(want, 1), to->domain)
						   : str_ieq(want, to->full))
			return true;
	}
	return false;
}

static enum ph_reply
answer_rcpt(const struct sink_session *s)
{
	const struct sink_opts *o = s->w->sink->o;
	const struct address *to = &s->smtp.asking->to;

	if (listed(&o->permfail_rcpt, to))
		return PH_R_NO_SUCH_MAILBOX;
	return listed(&o->tempfail_rcpt, to) ? PH_R_TRY_LATER : PH_R_NONE;
}

static enum ph_reply
answer_message(const struct sink_session *s)
{
	const struct sink_opts *o = s->w->sink->o;

	if (roll(s->w, o->permfail))
		return PH_R_REFUSED;
	return roll(s->w, o->tempfail) ? PH_R_TRY_LATER : PH_R_NONE;
}

static enum ph_reply
answer_connect(struct sink_session *s)
{
	static const enum ph_reply greetings[] = { PH_R_NONE, PH_R_TOO_MANY_CONNS,
		PH_R_NO_SERVICE };

	s->facts.admitted = true;
	return greetings[s->w->sink->o->greeting];
}

/* false: hung up instead. */
static bool
answer(struct sink_session *s, enum ph_hook hook)
{
	enum ph_reply reply = PH_R_NONE;
	enum sink_stage stage = SINK_AT_NEVER;

	switch (hook) {
	case PH_HOOK_CONNECT: stage = SINK_AT_CONNECT; reply = answer_connect(s); break;
	case PH_HOOK_MAIL:    stage = SINK_AT_MAIL; break;
	case PH_HOOK_RCPT:    stage = SINK_AT_RCPT; reply = answer_rcpt(s); break;
	case PH_HOOK_DATA:    stage = SINK_AT_DATA; break;
	case PH_HOOK_MESSAGE: stage = SINK_AT_DOT; reply = answer_message(s); break;
	default: break;
	}
	if (stage != SINK_AT_NEVER && hangs_up(s, stage))
		return false;
	smtp_server_verdict(&s->smtp, reply == PH_R_NONE ? PH_CONTINUE : PH_REJECT, reply, STR(""));
	return true;
}

/* --- messages --- */

static void
count_message(struct sink_session *s)
{
	struct sink_worker *w = s->w;
	struct sink_stats *st = &w->stats;

	st->last_ms = clock_wall_ms();
	if (st->first_ms == 0)
		st->first_ms = st->last_ms;
	st->bytes += s->smtp.content_size;
	st->recipients += s->smtp.env.nrcpts;
	atomic_store_explicit(&st->messages,
	    atomic_load_explicit(&st->messages, memory_order_relaxed) + 1, memory_order_relaxed);
}

static void
verify(struct sink_session *s)
{
	struct sink_stats *st = &s->w->stats;
	struct traffic_check *c = &s->check;

	switch (traffic_check_end(c)) {
	case TRAFFIC_FOREIGN:
		st->foreign++;
		return;
	case TRAFFIC_CHANGED:
		st->changed++;
		break;
	case TRAFFIC_GOOD:
		break;
	}
	(void)traffic_seen_add(&st->seen, c->run, c->number);
	if (s->w->sink->ids != NULL)
		(void)fprintf(s->w->sink->ids, "%016llx-%010llu\n", (unsigned long long)c->run,
		    (unsigned long long)c->number);
}

/* false: hung up before the reply. */
static bool
take_message(struct sink_session *s)
{
	struct sink *sink = s->w->sink;
	int rc = 0;

	if (sink->o->print || sink->o->store != NULL)
		rc = sink_keep(sink, &s->smtp.env, &s->facts.client, buf_view(&s->content));
	if (rc == 0) {
		count_message(s);
		if (sink->o->verify)
			verify(s);
		if (sink->o->once > 0 &&
		    atomic_fetch_add(&sink->taken, 1) + 1 == (uint64_t)sink->o->once)
			(void)pthread_kill(sink->main_thread, SIGUSR2);
		if (hangs_up(s, SINK_AT_REPLY))
			return false;
	}
	smtp_server_stored(&s->smtp, rc, id_new());
	buf_clear(&s->content);
	arena_reset(&s->txn_arena);
	return true;
}

static void
take_content(struct sink_session *s, struct ph_str bytes)
{
	const struct sink_opts *o = s->w->sink->o;

	if (o->verify)
		traffic_check_feed(&s->check, bytes);
	if (o->print || o->store != NULL)
		buf_addstr(&s->content, bytes);         /* at most --max-size: the engine counts */
}

/* false: the rest of the input waits until the replies are out (or the client is gone). */
static bool
flush_now(struct sink_session *s)
{
	struct buf *out = &s->smtp.out;

	if (s->w->sink->o->delay.ms > 0) {
		hold(s, out);
		return true;
	}
	if (!write_some(s, out, out->len))
		s->hung_up = true;
	return out->len == 0;
}

/* Runs the engine on input until it wants more or the session is to end. */
static void
drive(struct sink_session *s, struct ph_str *in)
{
	struct smtp_request req;
	enum smtp_rq rq;

	while ((rq = smtp_server_step(&s->smtp, in, &req)) != SMTP_RQ_NONE) {
		switch (rq) {
		case SMTP_RQ_ASK:
			if (!answer(s, req.hook))
				return;
			break;
		case SMTP_RQ_STORE:
			if (!take_message(s))
				return;
			break;
		case SMTP_RQ_BEGIN:
			traffic_check_start(&s->check);
			break;
		case SMTP_RQ_CONTENT:
			take_content(s, req.bytes);
			break;
		case SMTP_RQ_END:
			buf_clear(&s->content);
			arena_reset(&s->txn_arena);
			break;
		case SMTP_RQ_REJECTED:
			s->w->stats.refused++;
			break;
		case SMTP_RQ_FLUSH: /* the client had better read its replies first */
			if (!flush_now(s))
				return;
			break;
		case SMTP_RQ_CLOSE:
			s->closing = true;
			return;
		default:                                /* TLS and AUTH are not offered */
			s->hung_up = true;
			return;
		}
	}
}

/* --- input --- */

static void
session_read(struct sink_session *s)
{
	char *buffer = s->w->in;
	ssize_t n = stream_read(s->stream, buffer, SINK_READ);
	struct ph_str in;

	if (n == PH_EBUSY)
		return;
	if (n <= 0) {
		session_free(s);
		return;
	}
	if (s->closing || s->hung_up)                   /* only late replies are waited for */
		return;
	in = str_make(buffer, (size_t)n);
	if (s->in.len > 0) {
		buf_add(&s->in, buffer, (size_t)n);
		in = buf_view(&s->in);
	}
	drive(s, &in);
	if (s->in.len > 0)
		buf_eat(&s->in, s->in.len - in.n);
	else if (in.n > 0)
		buf_add(&s->in, in.p, in.n);
	(void)flush(s);
}

/* Input that waited for replies to leave. false: the session is gone. */
static bool
session_go_on(struct sink_session *s)
{
	struct ph_str in = buf_view(&s->in);

	if (in.n == 0 || s->smtp.out.len > 0 || s->closing || s->hung_up)
		return true;
	drive(s, &in);
	buf_eat(&s->in, s->in.len - in.n);
	return flush(s);
}

static void
session_ready(void *arg, unsigned ready)
{
	struct sink_session *s = arg;

	if ((ready & STREAM_WRITE) != 0) {
		watch(s, STREAM_READ);
		if (s->w->sink->o->delay.ms > 0 && !flush_held(s)) {
			session_free(s);
			return;
		}
		if (!flush(s) || !session_go_on(s))
			return;
	}
	if ((ready & STREAM_READ) != 0)
		session_read(s);
}

void
sink_session_open(void *arg, struct stream *stream)
{
	struct sink_worker *w = arg;
	struct sink_session *s = mem_new(struct sink_session);
	struct ph_str nothing = { NULL, 0 };

	s->w = w;
	s->stream = stream;
	s->timer.fn = session_timer;
	list_push_back(&w->sessions, &s->link);
	atomic_fetch_add(&w->sink->sessions, 1);
	w->stats.connections++;
	arena_init(&s->arena, ARENA_CHUNK);
	arena_init(&s->txn_arena, ARENA_CHUNK);
	stream_peer(stream, &s->facts.client);
	stream_local(stream, &s->facts.local);
	smtp_server_init(&s->smtp, &w->sink->server, &s->facts, &s->arena, &s->txn_arena);
	watch(s, STREAM_READ);
	drive(s, &nothing);
	(void)flush(s);
}

void
sink_sessions_close(struct sink_worker *w)
{
	list_each_safe(it, &w->sessions)
		session_free(container_of(it, struct sink_session, link));
}
