/*
 * bench_session.c - connections of the load generator: connecting, reading,
 * writing, ends, turns under a rate, and waits that are too long.  What is
 * said stands in bench_dialogue.c.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/bench_secure.h"
#include "cmd/bench_session.h"
#include "net/layer.h"

enum {
	PAUSE_MS = 100,
	SWEEP_MS = 500,
	MAX_REPLY_LINE = 4096,
	CONNECTING_AT_ONCE = 64,
	MAX_BARREN = 10
};

static void session_ready(void *arg, unsigned ready);

static void
tell_main(const struct bench *b)
{
	(void)pthread_kill(
	    b->main_thread, SIGUSR1); /* it waits for it; once too often does no harm */
}

/* --- ends --- */

void
bench_session_close(struct bench_session *s)
{
	list_del(&s->link);
	timer_stop(s->w->loop, &s->pause);
	bench_secure_end(s);
	stream_close(&s->stream);
	buf_free(&s->in);
	s->nout = 0;
	s->wants_write = false;
	s->step = STEP_CLOSED;
}

void
bench_session_over(struct bench_session *s)
{
	struct bench *b = s->w->b;

	bench_session_close(s);
	s->within = false;
	if (!s->idle && s->counted) {
		s->counted = false;
		if (atomic_fetch_sub(&b->active, 1) == 1)
			tell_main(b);
	}
}

/* Idle connections are opened some at a time: listeners have a backlog. */
void
bench_open_next_idle(struct bench_worker *w)
{
	if (w->next_idle < w->nsessions)
		bench_session_connect(&w->sessions[w->next_idle++]);
}

void
bench_session_lost(struct bench_session *s, const char *why)
{
	struct bench_stats *st = &s->w->stats;
	bool give_up, held = s->step == STEP_HOLD;

	if (s->within) {
		st->lost++;
		bench_message_over(s);
	}
	if (held) {
		st->idle_lost++;
		atomic_fetch_sub(&s->w->b->idle_open, 1);
	}
	if (why != NULL)
		(void)snprintf(st->last_refusal, sizeof st->last_refusal, "%s", why);
	bench_session_close(s);
	give_up = ++s->barren >= MAX_BARREN && !s->w->b->o->tolerate;
	if (s->idle || give_up || atomic_load_explicit(&s->w->b->stopping, memory_order_relaxed)) {
		bench_session_over(s);
		if (s->idle && !held)
			bench_open_next_idle(s->w);
		return;
	}
	s->step = STEP_PAUSE;
	timer_start(s->w->loop, &s->pause, PAUSE_MS);
}

static void
session_resume(struct timer *t)
{
	struct bench_session *s = container_of(t, struct bench_session, pause);

	bench_session_connect(s);
}

static void
connect_failed(struct bench_session *s, int status)
{
	struct bench_worker *w = s->w;

	w->stats.connect_failures++;
	(void)snprintf(
	    w->stats.last_refusal, sizeof w->stats.last_refusal, "%s", ph_strerror(status));
	bench_session_close(s);
	w->which = (w->which + 1) % w->b->nto;
	if (++s->tried < w->b->nto) {
		bench_session_connect(s);
	} else if (w->b->o->tolerate && !s->idle && !atomic_load(&w->b->stopping)) {
		s->tried = 0;
		s->step = STEP_PAUSE;
		timer_start(w->loop, &s->pause, PAUSE_MS);
	} else {
		bench_session_over(s);
	}
}

/* --greet-only: a connection counts as a message from its first moment.  false: all are made. */
static bool
claim_greeting(struct bench_session *s)
{
	struct bench_worker *w = s->w;

	if (!w->b->o->greet_only || s->idle || s->within)
		return true;
	s->number = atomic_fetch_add_explicit(&w->b->next, 1, memory_order_relaxed);
	if (s->number >= w->b->limit)
		return false;
	s->within = true;
	s->began_us = clock_mono_us();
	if (w->stats.first_us == 0)
		w->stats.first_us = s->began_us;
	return true;
}

void
bench_session_connect(struct bench_session *s)
{
	struct bench_worker *w = s->w;

	if ((atomic_load(&w->b->stopping) && !s->idle) || !claim_greeting(s)) {
		bench_session_over(s);
		return;
	}
	s->stream = stream_connect(w->loop, &w->b->to[w->which], NULL);
	if (s->stream == NULL) {
		connect_failed(s, PH_EUNREACH);
		return;
	}
	s->step = STEP_CONNECT;
	s->here = 0;
	s->last = false;
	s->offers = 0;
	s->since_us = clock_mono_us();
	stream_watch(s->stream, STREAM_WRITE, session_ready, s);
}

/* --- bytes --- */

/* Takes n bytes off what is to be sent. */
static void
advance(struct bench_session *s, size_t n)
{
	while (s->nout > 0 && n >= s->out[0].iov_len) {
		n -= s->out[0].iov_len;
		memmove(s->out, s->out + 1, (size_t)--s->nout * sizeof s->out[0]);
	}
	if (n > 0) {
		s->out[0].iov_base = (char *)s->out[0].iov_base + n;
		s->out[0].iov_len -= n;
	}
}

void
bench_session_flush(struct bench_session *s)
{
	bool wants;

	while (s->nout > 0 || s->layer != NULL) {
		ssize_t n = s->layer != NULL ? bench_secure_write(s)
		                             : stream_write(s->stream, s->out, s->nout);

		if (n == PH_EBUSY || (n == 0 && s->layer != NULL))
			break;
		if (n < 0) {
			bench_session_lost(s, ph_strerror((int)n));
			return;
		}
		advance(s, (size_t)n);
	}
	wants = s->layer != NULL ? s->layer->out.len > 0 : s->nout > 0;
	if (s->wants_write != wants) {
		s->wants_write = wants;
		stream_watch(s->stream, wants ? STREAM_READ | STREAM_WRITE : STREAM_READ,
		    session_ready, s);
	}
}

static int
code_of(struct ph_str line)
{
	int code = 0;

	if (line.n < 3)
		return 0;
	for (int i = 0; i < 3; i++) {
		if (line.p[i] < '0' || line.p[i] > '9')
			return 0;
		code = code * 10 + (line.p[i] - '0');
	}
	return code < 200 || code >= BENCH_CODES ? 0 : code;
}

/* Uses whole lines of in; false: the session is not to be touched any more. */
static bool
take_lines(struct bench_session *s, struct ph_str *in)
{
	const char *lf;

	while (in->n > 0 && (lf = memchr(in->p, '\n', in->n)) != NULL) {
		struct ph_str line = { in->p, (size_t)(lf - in->p) };
		int code;

		*in = str_skip(*in, line.n + 1);
		if (line.n > 0 && line.p[line.n - 1] == '\r')
			line.n--;
		code = code_of(line);
		if (code == 0) {
			bench_session_lost(s, "that is no SMTP reply");
			return false;
		}
		if (s->step == STEP_EHLO && line.n > 4)
			bench_take_offer(s, line);
		if ((line.n == 3 || line.p[3] != '-') && !bench_take_reply(s, code, line))
			return false;
	}
	return true;
}

/* false: the session is not to be touched any more. */
static bool
session_input(struct bench_session *s, char *buffer, size_t n)
{
	struct ph_str in = str_make(buffer, n);

	if (s->in.len > 0) {
		buf_add(&s->in, buffer, n);
		in = buf_view(&s->in);
	}
	if (!take_lines(s, &in))
		return false;
	if (in.n > MAX_REPLY_LINE) {
		bench_session_lost(s, "a reply line is too long");
		return false;
	}
	if (s->step == STEP_HANDSHAKE && in.n > 0) {    /* RFC 3207 4: TLS begins behind the 220 */
		bench_session_lost(s, "more than a reply to STARTTLS");
		return false;
	}
	if (s->in.len > 0)
		buf_eat(&s->in, s->in.len - in.n);
	else if (in.n > 0)
		buf_add(&s->in, in.p, in.n);
	if (s->step != STEP_CLOSED && (s->nout > 0 || s->layer != NULL))
		bench_session_flush(s);
	return s->stream != NULL;
}

static void
session_ended(struct bench_session *s, ssize_t n)
{
	char why[200];

	if (s->step == STEP_QUIT && s->last)
		bench_session_over(s);
	else if (n == PH_EPROTO && s->layer != NULL)
		bench_session_lost(s, bench_secure_problem(s, why, sizeof why));
	else
		bench_session_lost(
		    s, n == 0 ? "the server closed the connection" : ph_strerror((int)n));
}

static void
session_read(struct bench_session *s)
{
	char *buffer = s->w->in;
	ssize_t n;

	do {
		n = s->layer != NULL ? bench_secure_read(s, buffer, BENCH_READ)
		                     : stream_read(s->stream, buffer, BENCH_READ);
		if (n == PH_EBUSY) {
			if (s->layer != NULL)   /* a step of the handshake may be to send */
				bench_session_flush(s);
			return;
		}
		if (n <= 0) {
			session_ended(s, n);
			return;
		}
		/* TLS may hold more, of which the socket tells nothing. */
	} while (session_input(s, buffer, (size_t)n) && s->layer != NULL);
}

static void
session_ready(void *arg, unsigned ready)
{
	struct bench_session *s = arg;

	if (s->step == STEP_CONNECT) {
		int rc = stream_connected(s->stream);

		if (rc != 0) {
			connect_failed(s, rc);
			if (s->idle && s->step == STEP_CLOSED)
				bench_open_next_idle(s->w);
			return;
		}
		s->tried = 0;
		s->step = STEP_GREETING;
		stream_watch(s->stream, STREAM_READ, session_ready, s);
		if (s->w->b->o->tls_implicit) {
			s->step = STEP_HANDSHAKE;
			if (bench_secure_start(s))
				bench_session_flush(s);
		}
		return;
	}
	if ((ready & STREAM_WRITE) != 0)
		bench_session_flush(s);
	if ((ready & STREAM_READ) != 0 && s->stream != NULL)
		session_read(s);
}

/* --- the worker --- */

/* Under a rate: starts those whose turn has come, sets the clock for the next. */
static void
pace(struct bench_worker *w)
{
	int64_t now = clock_mono_us();

	while (!list_empty(&w->waiting)) {
		struct bench_session *s;

		if (w->due_us == 0)
			w->due_us = (double)now;
		if (w->due_us > (double)now) {
			timer_start(
			    w->loop, &w->pace, (int64_t)((w->due_us - (double)now) / 1000.0) + 1);
			return;
		}
		s = container_of(list_pop(&w->waiting), struct bench_session, link);
		bench_begin_message(s, (int64_t)w->due_us);
		w->due_us += w->interval_us;
		bench_session_flush(s);
	}
}

static void
bench_pace(struct timer *t)
{
	pace(container_of(t, struct bench_worker, pace));
}

/* Waits without end are cut here, once in a while, instead of by a timer each. */
static void
bench_sweep(struct timer *t)
{
	struct bench_worker *w = container_of(t, struct bench_worker, sweep);
	int64_t limit = clock_mono_us() - w->b->o->timeout.ms * 1000;

	for (unsigned i = 0; i < w->nsessions; i++) {
		struct bench_session *s = &w->sessions[i];

		if (s->step == STEP_CLOSED || s->step == STEP_PAUSE || s->step == STEP_HOLD ||
		    s->step == STEP_WAIT || s->since_us >= limit)
			continue;
		if (s->step == STEP_CONNECT)
			connect_failed(s, PH_ETIMEOUT);
		else
			bench_session_lost(s, "no reply in time");
	}
	timer_start(w->loop, &w->sweep, SWEEP_MS);
}

void
bench_worker_start(struct bench_worker *w, unsigned active, unsigned idle)
{
	unsigned first_idle = idle < CONNECTING_AT_ONCE ? idle : CONNECTING_AT_ONCE;

	w->nactive = active;
	w->nsessions = active + idle;
	w->sessions = mem_calloc(w->nsessions == 0 ? 1 : w->nsessions, sizeof *w->sessions);
	w->sum = codec_sum_new();
	list_init(&w->waiting);
	w->pace.fn = bench_pace;
	w->sweep.fn = bench_sweep;
	for (unsigned i = 0; i < w->nsessions; i++) {
		struct bench_session *s = &w->sessions[i];

		s->w = w;
		s->idle = i >= active;
		s->counted = !s->idle;
		s->pause.fn = session_resume;
	}
	w->next_idle = active + first_idle;
	for (unsigned i = 0; i < w->next_idle; i++)
		bench_session_connect(&w->sessions[i]);
	timer_start(w->loop, &w->sweep, SWEEP_MS);
}

void
bench_worker_wind_down(struct bench_worker *w)
{
	for (unsigned i = 0; i < w->nactive; i++) {
		struct bench_session *s = &w->sessions[i];

		if (s->step == STEP_WAIT) {
			list_del(&s->link);
			s->last = true;
			bench_say_quit(s);
			bench_session_flush(s);
		} else if (s->step == STEP_PAUSE) {
			bench_session_over(s);
		}
	}
}

void
bench_worker_tear_down(struct bench_worker *w)
{
	if (w->torn_down)
		return;
	w->torn_down = true;
	for (unsigned i = 0; i < w->nsessions; i++) {
		if (w->sessions[i].within)
			w->stats.lost++;
		bench_session_close(&w->sessions[i]);
	}
	timer_stop(w->loop, &w->pace);
	timer_stop(w->loop, &w->sweep);
	codec_sum_free(&w->sum);
	free(w->sessions);
	w->sessions = NULL;
	w->nsessions = w->nactive = 0;
}
