/*
 * bench_dialogue.c - what the load generator says: a small SMTP client of its
 * own, so that the relay's engine is not measured by itself.  One message at
 * a time: the next begins when the reply to the last has come.  Commands and
 * content are rendered before the run and sent from there.
 */
#include <string.h>
#include "base/clock.h"
#include "base/str.h"
#include "cmd/bench_secure.h"
#include "cmd/bench_session.h"

static void
queue_out(struct bench_session *s, const char *p, size_t n)
{
	s->out[s->nout++] = (struct iovec){ .iov_base = (char *)(uintptr_t)p, .iov_len = n };
}

static void
queue_buf(struct bench_session *s, const struct buf *b)
{
	queue_out(s, b->data + b->head, b->len);
}

void
bench_message_over(struct bench_session *s)
{
	if (s->within) {
		s->within = false;
		s->w->stats.last_us = clock_mono_us();
	}
}

static void
say(struct bench_session *s, enum bench_step step, const char *literal)
{
	s->step = step;
	queue_out(s, literal, strlen(literal));
}

void
bench_say_quit(struct bench_session *s)
{
	say(s, STEP_QUIT, "QUIT\r\n");
}

static bool
pipelines(const struct bench_session *s)
{
	return (s->offers & BENCH_OFFERS_PIPELINING) != 0 && !s->w->b->o->no_pipelining;
}

static bool
chunks(const struct bench_session *s)
{
	return (s->offers & BENCH_OFFERS_CHUNKING) != 0 && s->w->b->o->chunking;
}

static void
queue_content(struct bench_session *s, bool dots)
{
	const struct traffic *t = &s->w->b->traffic;

	queue_out(s, s->head, t->head_size);
	queue_buf(s, dots ? &t->stuffed : &t->rest);
	if (dots)
		queue_out(s, ".\r\n", 3);
}

static void
queue_bdat(struct bench_session *s)
{
	int n = snprintf(s->bdat, sizeof s->bdat, "BDAT %zu LAST\r\n", s->w->b->traffic.size);

	queue_out(s, s->bdat, (size_t)n);
	queue_content(s, false);
}

void
bench_begin_message(struct bench_session *s, int64_t began_us)
{
	struct bench_worker *w = s->w;
	struct bench *b = w->b;

	if (w->stats.first_us == 0)
		w->stats.first_us = clock_mono_us();
	traffic_head(&b->traffic, w->sum, s->number, s->head);
	s->began_us = began_us;
	s->since_us = clock_mono_us();
	s->step = STEP_ENVELOPE;
	s->within = true;
	s->refusal = 0;
	s->at = s->taken_rcpts = 0;
	if (!pipelines(s))
		queue_buf(s, &b->mail);
	else
		queue_buf(s, &b->group);        /* without DATA when chunking was asked for */
	if (pipelines(s) && b->o->chunking) {
		if (chunks(s))
			queue_bdat(s);
		else
			queue_out(s, "DATA\r\n", 6);
	}
}

static void
next_message(struct bench_session *s)
{
	struct bench_worker *w = s->w;
	struct bench *b = w->b;

	if (b->o->per_session > 0 && s->here >= b->o->per_session) {
		bench_say_quit(s);
		return;
	}
	if (atomic_load_explicit(&b->stopping, memory_order_relaxed) ||
	    (s->number = atomic_fetch_add_explicit(&b->next, 1, memory_order_relaxed)) >=
		b->limit) {
		s->last = true;            /* quit for good */
		bench_say_quit(s);
		return;
	}
	s->here++;
	if (w->interval_us > 0) {
		s->step = STEP_WAIT;
		list_push_back(&w->waiting, &s->link);
		if (!timer_active(&w->pace)) /* on a clean stack: it may end this session */
			timer_start(w->loop, &w->pace, 0);
		return;
	}
	bench_begin_message(s, clock_mono_us());
}

static void
message_taken(struct bench_session *s)
{
	struct bench_stats *st = &s->w->stats;

	bench_message_over(s);
	s->barren = 0;
	atomic_fetch_add_explicit(&st->taken, 1, memory_order_relaxed);
	histogram_add(&st->latency, (uint64_t)(st->last_us - s->began_us));
	if (s->w->b->ids != NULL)
		(void)fprintf(s->w->b->ids, "%016llx-%010llu\n",
		    (unsigned long long)s->w->b->traffic.run, (unsigned long long)s->number);
}

static void
note_refusal(struct bench_session *s, int code, struct ph_str line)
{
	struct bench_stats *st = &s->w->stats;

	st->codes[code]++;
	if (s->refusal == 0)
		s->refusal = code;
	(void)snprintf(
	    st->last_refusal, sizeof st->last_refusal, STR_FMT, STR_ARG(str_head(line, 190)));
}

/* The envelope is over without a way to send the content. */
static void
give_up(struct bench_session *s)
{
	s->w->stats.refused++;
	bench_message_over(s);
	say(s, STEP_RESET, "RSET\r\n");
}

/* All of MAIL RCPT... DATA is answered. */
static void
envelope_over(struct bench_session *s, int code)
{
	if (code == 354) {
		s->step = STEP_CONTENT;
		if (s->taken_rcpts > 0)
			queue_content(s, true);
		else
			queue_out(s, ".\r\n", 3); /* RFC 2920 3.1: not a message, only its end */
		return;
	}
	give_up(s);
}

static void
envelope_stepwise(struct bench_session *s)
{
	const struct bench *b = s->w->b;

	if (s->at == 1 && s->refusal != 0)
		give_up(s);
	else if (s->at <= b->o->rcpts)
		queue_buf(s, &b->rcpt_lines[s->at - 1]);
	else if (s->at == b->o->rcpts + 1 && s->taken_rcpts == 0)
		give_up(s);
	else if (chunks(s)) {
		s->step = STEP_CONTENT;
		queue_bdat(s);
	} else
		queue_out(s, "DATA\r\n", 6);
}

static void
content_over(struct bench_session *s, int code)
{
	struct bench_stats *st = &s->w->stats;

	if (code / 100 == 2 && s->taken_rcpts > 0) {
		st->rcpts_refused += s->w->b->o->rcpts - s->taken_rcpts;
		message_taken(s);
		next_message(s);
		return;
	}
	if (chunks(s)) {
		give_up(s);
		return;
	}
	st->refused++;
	bench_message_over(s);
	next_message(s);
}

static void
envelope_reply(struct bench_session *s, int code, struct ph_str line)
{
	unsigned rcpts = (unsigned)s->w->b->o->rcpts;
	bool good = code / 100 == 2 || (s->at > rcpts && code == 354);

	if (!good)
		note_refusal(s, code, line);
	else if (s->at >= 1 && s->at <= rcpts)
		s->taken_rcpts++;
	if (s->at++ > rcpts) {
		envelope_over(s, code);
	} else if (!pipelines(s)) {
		envelope_stepwise(s);
	} else if (s->at > rcpts && chunks(s)) {
		s->step = STEP_CONTENT;                 /* BDAT is on its way already */
	}
}

/* false: the session is not to be touched any more. */
static bool
hello_over(struct bench_session *s)
{
	struct bench_worker *w = s->w;

	if (w->b->o->tls && s->layer == NULL) {
		if ((s->offers & BENCH_OFFERS_STARTTLS) == 0) {
			bench_session_lost(s, "STARTTLS is not offered");
			return false;
		}
		say(s, STEP_STARTTLS, "STARTTLS\r\n");
		return true;
	}
	if (!s->idle) {
		if (w->b->o->greet_only)
			bench_say_quit(s);
		else
			next_message(s);
		return true;
	}
	s->step = STEP_HOLD;
	atomic_fetch_add(&w->b->idle_open, 1);
	bench_open_next_idle(w);
	return true;
}

static void
say_hello(struct bench_session *s)
{
	s->step = STEP_EHLO;
	s->offers = 0;
	queue_buf(s, &s->w->b->hello);
}

void
bench_session_secured(struct bench_session *s)
{
	s->since_us = clock_mono_us();
	if (s->w->b->o->tls)
		say_hello(s);           /* RFC 3207 4.2: what was learnt before does not count */
	else
		s->step = STEP_GREETING;
}

void
bench_take_offer(struct bench_session *s, struct ph_str line)
{
	struct ph_str word = str_trim(str_skip(line, 4));

	if (str_iis(word, "PIPELINING"))
		s->offers |= BENCH_OFFERS_PIPELINING;
	else if (str_iis(word, "CHUNKING"))
		s->offers |= BENCH_OFFERS_CHUNKING;
	else if (str_iis(word, "STARTTLS"))
		s->offers |= BENCH_OFFERS_STARTTLS;
}

bool
bench_take_reply(struct bench_session *s, int code, struct ph_str line)
{
	s->since_us = clock_mono_us();
	if (code == 421 && s->step != STEP_QUIT) {              /* RFC 5321 3.8 */
		note_refusal(s, code, line);
		bench_session_lost(s, NULL);
		return false;
	}
	if (s->nout > 0 && !(s->step == STEP_ENVELOPE && chunks(s))) {
		bench_session_lost(s, "the server replied before it was asked");
		return false;
	}
	switch (s->step) {
	case STEP_GREETING:
		if (code != 220) {
			note_refusal(s, code, line);
			bench_session_lost(s, NULL);
			return false;
		}
		s->w->stats.connects++;
		say_hello(s);
		return true;
	case STEP_EHLO:
		if (code / 100 == 2)
			return hello_over(s);
		say(s, STEP_HELO, "HELO posthouse.invalid\r\n");
		return true;
	case STEP_HELO:
		if (code / 100 == 2)
			return hello_over(s);
		note_refusal(s, code, line);
		bench_session_lost(s, NULL);
		return false;
	case STEP_STARTTLS:
		if (code == 220) {
			s->step = STEP_HANDSHAKE;
			return bench_secure_start(s);
		}
		note_refusal(s, code, line);
		bench_session_lost(s, NULL);
		return false;
	case STEP_ENVELOPE:
		envelope_reply(s, code, line);
		return true;
	case STEP_CONTENT:
		if (code / 100 != 2)
			note_refusal(s, code, line);
		content_over(s, code);
		return true;
	case STEP_RESET:
		next_message(s);
		return true;
	case STEP_QUIT:
		if (s->within)
			message_taken(s);               /* --greet-only: that was all */
		if (!s->last) {
			bench_session_close(s);
			bench_session_connect(s);
		} else {
			bench_session_over(s);
		}
		return false;
	default:
		bench_session_lost(s, "the server spoke unasked");
		return false;
	}
}
