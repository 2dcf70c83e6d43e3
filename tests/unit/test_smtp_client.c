/*
 * test_smtp_client.c - dialogues of the client engine.
 *
 * A script is lines: what the server says, what the client must have sent,
 * what the owner does and which events it must see.  Each runs with replies fed
 * line by line and byte by byte, and with output taken whole and in crumbs.
 *
 *   < line      the server says it            > line   the client sent exactly this next
 *   -           the client has nothing more   + n      submit message n
 *   ! event     this event comes next         ? n      slots that are free
 *   A mech ib   answer AUTH ("-" no initial)  S text   answer the challenge ("*" cancels)
 *   T           the layer is on               Q        quit
 *   E n sent    end gives back message n      W ms what   time-out and what for
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "smtp/client.h"
#include "base/mem.h"
#include "base/str.h"
#include "client_dialogues.h"

/* --- running one --- */

struct run {
	const struct dialogue *d;
	struct smtp_client *c;
	struct smtp_client_txn txns[4];
	struct envelope env[4];
	struct arena arena;
	struct ph_content *content[4];
	const char *pos[4];
	struct smtp_client_event queue[16]; int head, n;
	struct buf in, out;
	bool bytewise, crumbs;
	int line;
};

#define FAIL(r, ...)                                                                               \
	do {                                                                                       \
		print_error("%s (%s, %s) step %d: ", (r)->d->name,                                 \
		    (r)->bytewise ? "bytes" : "lines", (r)->crumbs ? "crumbs" : "whole",           \
		    (r)->line);                                                                    \
		print_error(__VA_ARGS__);                                                          \
		print_error("\n");                                                                 \
		fail();                                                                            \
	} while (0)

static void
drain(struct run *r)
{
	struct smtp_client_event ev;

	while (smtp_client_event(r->c, &ev)) {
		if (ev.kind == SMTP_EV_WANT) {
			/* two bytes at a time */
			const struct msg *m = &r->d->msgs[ev.txn - r->txns];
			size_t n = strlen(m->content + ev.txn->offset);
			smtp_client_content(
			    r->c, ev.txn, str_make(m->content + ev.txn->offset, n < 2 ? n : 2));
			continue;
		}
		ev.text = arena_str(&r->arena, ev.text);
		assert_true(r->n < 16);
		r->queue[r->n++] = ev;
	}
}

static void
pull(struct run *r)
{
	for (;;) {
		struct iovec v[7];
		int n = smtp_client_output(r->c, v, r->crumbs ? 1 : 7);
		size_t all = 0;

		drain(r);
		if (n == 0) {
			n = smtp_client_output(r->c, v, 7);
			if (n == 0)
				return;
		}
		for (int i = 0; i < n; i++) {
			size_t k = r->crumbs && v[i].iov_len > 3 ? 3 : v[i].iov_len;
			buf_add(&r->out, v[i].iov_base, k);
			all += k;
			if (r->crumbs)
				break;
		}
		smtp_client_sent(r->c, all);
		drain(r);
	}
}

static void
say(struct run *r, const char *text, size_t n)
{
	size_t step = r->bytewise ? 1 : n + 2;
	char line[600];

	assert_true(n + 2 < sizeof line);
	memcpy(line, text, n);
	memcpy(line + n, "\r\n", 2);
	for (size_t at = 0; at < n + 2; at += step) {
		struct ph_str view;
		buf_add(&r->in, line + at, step < n + 2 - at ? step : n + 2 - at);
		view = buf_view(&r->in);
		(void)smtp_client_feed(r->c, &view);
		buf_eat(&r->in, r->in.len - view.n);
		drain(r);
		pull(r);
	}
}

static void
submit(struct run *r, int i)
{
	const struct msg *m = &r->d->msgs[i];
	struct smtp_client_txn *t = &r->txns[i];
	struct envelope *e = &r->env[i];
	const char *p = m->rcpts;
	uint64_t size = strlen(m->content);

	envelope_init(e, &r->arena);
	e->from.full = arena_str(&r->arena, str_of(m->from));
	e->from.utf8 = !str_ascii(e->from.full);
	e->body = m->body;
	e->smtputf8 = m->smtputf8;
	e->ret = m->ret;
	e->envid = str_of(m->envid);
	while (*p != '\0') {
		size_t n = strcspn(p, " ");
		struct recipient *rcpt = envelope_add(e);
		rcpt->to.full = arena_str(&r->arena, str_make(p, n));
		rcpt->to.utf8 = !str_ascii(rcpt->to.full);
		rcpt->notify = m->notify;
		rcpt->orcpt = str_of(m->orcpt);
		p += n + (p[n] == ' ');
	}
	r->content[i] = m->stored ? content_stored(size) : content_new();
	if (!m->stored) {       /* in two blocks */
		content_append(r->content[i], m->content + size / 2, size - size / 2, 0);
		content_prepend(r->content[i], m->content, size / 2);
	}
	*t = (struct smtp_client_txn){ .env = e, .content = r->content[i], .size = size,
		.eight_bit = m->eight_bit, .arena = &r->arena, .nrcpts = e->nrcpts };
	t->rcpts = arena_alloc(&r->arena, e->nrcpts * sizeof *t->rcpts);
	for (uint32_t k = 0; k < e->nrcpts; k++)
		t->rcpts[k].rcpt = &e->rcpts[k];
	smtp_client_submit(r->c, t);
	drain(r);
	pull(r);
}

static const char *
status_name(int status)
{
	return status == PH_EPROTO     ? "EPROTO"
	       : status == PH_EBUSY    ? "EBUSY"
	       : status == PH_EREFUSED ? "EREFUSED"
	       : status == PH_ENOTSUP  ? "ENOTSUP"
	       : status == PH_EINVAL   ? "EINVAL"
				       : "?";
}

/* The event as the script writes it; LF shown as '|'. */
static void
describe(struct run *r, const struct smtp_client_event *ev, struct buf *out)
{
	static const char *const names[] = { "NONE", "READY", "STARTTLS", "AUTH", "AUTH_STEP",
		"AUTH_OK", "AUTH_FAILED", "WANT", "TXN", "FAILED", "QUIT" };
	buf_adds(out, names[ev->kind]);
	if (ev->kind == SMTP_EV_TXN) {
		buf_printf(out, " %d", (int)(ev->txn - r->txns));
		for (uint32_t i = 0; i < ev->txn->nrcpts; i++)
			buf_printf(out, " %d%s", ev->txn->rcpts[i].code,
			    ev->txn->rcpts[i].ours ? "o" : "");
	} else if (ev->kind == SMTP_EV_FAILED)
		buf_printf(
		    out, " %s %d " STR_FMT, status_name(ev->status), ev->code, STR_ARG(ev->text));
	else if (ev->kind == SMTP_EV_AUTH_FAILED)
		buf_printf(out, " %d " STR_FMT, ev->code, STR_ARG(ev->text));
	else if (ev->text.n > 0)
		buf_printf(out, " " STR_FMT, STR_ARG(ev->text));
	for (size_t i = 0; i < out->len; i++)
		if (out->data[out->head + i] == '\n')
			out->data[out->head + i] = '|';
}

static void
expect_event(struct run *r, struct ph_str want)
{
	struct buf got = { 0 };

	if (str_starts(want, "TEXT ")) {
		struct ph_str reply = r->txns[want.p[5] - '0'].rcpts[want.p[7] - '0'].reply;
		buf_addstr(&got, reply);
		for (size_t i = 0; i < got.len; i++)
			if (got.data[got.head + i] == '\n')
				got.data[got.head + i] = '|';
		want = str_skip(want, 9);
	} else {
		if (r->head == r->n)
			FAIL(r, "no event, expected \"" STR_FMT "\"", STR_ARG(want));
		describe(r, &r->queue[r->head++], &got);
		if (r->head == r->n)
			r->head = r->n = 0;
	}
	if (!str_eq(buf_view(&got), want))
		FAIL(r, "event \"" STR_FMT "\", expected \"" STR_FMT "\"", STR_ARG(buf_view(&got)),
		    STR_ARG(want));
	buf_free(&got);
}

static void
expect_sent(struct run *r, struct ph_str line, bool raw)
{
	struct buf want = { 0 };

	for (size_t i = 0; i < line.n; i++)
		if (raw && line.p[i] == '\\')
			buf_addc(&want, line.p[++i] == 'n' ? '\n' : '\r');
		else
			buf_addc(&want, line.p[i]);
	if (!raw)
		buf_adds(&want, "\r\n");
	if (r->out.len < want.len ||
	    memcmp(r->out.data + r->out.head, want.data + want.head, want.len) != 0)
		FAIL(r, "sent \"" STR_FMT "\", expected \"" STR_FMT "\"",
		    STR_ARG(buf_view(&r->out)), STR_ARG(buf_view(&want)));
	buf_eat(&r->out, want.len);
	buf_free(&want);
}

static void
expect_end(struct run *r, struct ph_str want)
{
	struct smtp_client_txn *t = smtp_client_end(r->c);
	char got[16] = "-";

	if (t != NULL)
		snprintf(got, sizeof got, "%d %d", (int)(t - r->txns), t->sent);
	if (!str_is(want, got))
		FAIL(r, "end gives \"%s\", expected \"" STR_FMT "\"", got, STR_ARG(want));
}

static void
step(struct run *r, char what, struct ph_str rest)
{
	struct ph_str a, b;
	char got[80];

	switch (what) {
	case '<': say(r, rest.p, rest.n); break;
	case '>': expect_sent(r, rest, false); break;
	case '=': expect_sent(r, rest, true); break;
	case '+': submit(r, rest.p[0] - '0'); break;
	case '!': expect_event(r, rest); break;
	case 'E': expect_end(r, rest); break;
	case 'T': buf_clear(&r->in); smtp_client_secured(r->c); pull(r); break;
	case 'Q': smtp_client_quit(r->c); pull(r); break;
	case 'S':
		smtp_client_auth_step(r->c, str_is(rest, "*") ? (struct ph_str){ NULL, 0 } : rest);
		pull(r);
		break;
	case 'A':
		a = str_cut(rest, ' ', &b);
		smtp_client_auth(r->c, a, !str_is(b, "-"), str_is(b, "-") ? STR("") : b);
		drain(r);
		pull(r);
		break;
	case '-':
		if (r->out.len > 0)
			FAIL(r, "sent \"" STR_FMT "\", expected nothing",
			    STR_ARG(buf_view(&r->out)));
		break;
	case '?':
		snprintf(got, sizeof got, "%u", smtp_client_free_slots(r->c));
		if (!str_is(rest, got))
			FAIL(r, "%s slots, expected " STR_FMT, got, STR_ARG(rest));
		break;
	case 'W':
		snprintf(got, sizeof got, "%lld %s", (long long)smtp_client_timeout_ms(r->c),
		    smtp_client_waiting_for(r->c));
		if (!str_is(rest, got))
			FAIL(r, "waits \"%s\", expected \"" STR_FMT "\"", got, STR_ARG(rest));
		break;
	default: FAIL(r, "bad step %c", what);
	}
}

static void
run_dialogue(const struct dialogue *d, bool bytewise, bool crumbs)
{
	struct smtp_client_config cfg = {
		.hostname = STR("me.example"),
		.window_messages = d->window,
		.window_bytes = d->window_bytes,
		.use_chunking = !d->no_chunking,
		.use_pipelining = !d->no_pipelining,
		.auth = d->auth,
	};
	struct run r = { .d = d, .bytewise = bytewise, .crumbs = crumbs };
	struct ph_str script = str_of(d->script);

	cfg.starttls = d->starttls;
	arena_init(&r.arena, 4096);
	r.c = smtp_client_new(&cfg);
	while (script.n > 0) {
		struct ph_str line = str_cut(script, '\n', &script);
		r.line++;
		step(&r, line.p[0], line.n > 2 ? str_skip(line, 2) : STR(""));
	}
	if (r.head != r.n)
		FAIL(&r, "an event is left over");
	while (smtp_client_end(r.c) != NULL)
		;
	smtp_client_free(&r.c);
	for (int i = 0; i < 4; i++)
		ph_content_unref(&r.content[i]);
	buf_free(&r.in);
	buf_free(&r.out);
	arena_reset(&r.arena);
}

static void
test_dialogues(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof dialogues / sizeof dialogues[0]; i++)
		for (int how = 0; how < 4; how++)
			run_dialogue(&dialogues[i], how & 1, how & 2);
}

/* A 250 for a message of which not all has left cannot be true. */
static void
test_reply_before_content_left(void **state)
{
	static const char ehlo[] = "220 x\r\n250-x\r\n250-PIPELINING\r\n250 CHUNKING\r\n";
	static const struct { const char *replies; size_t sent; bool alive; int code;
	} cases[] = {
		{ "250 ok\r\n250 ok\r\n250 ok\r\n", 60, false, 0 },
		{ "250 ok\r\n250 ok\r\n552 5.3.4 too big\r\n", 1000, true,
		    552 },                     /* early refusal */
		{ "250 ok\r\n", 5, false, 0 }, /* before MAIL has left */
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct smtp_client_config cfg = {
			.hostname = STR("me"), .use_chunking = true, .use_pipelining = true
		};
		struct dialogue d = { "early reply", { M1 }, "", .auth = false };
		struct run r = { .d = &d };
		struct iovec v[8];
		struct ph_str in = str_of(ehlo);
		char big[3000];

		memset(big, 'x', sizeof big - 1);
		big[sizeof big - 1] = '\0';
		d.msgs[0].content = big;
		arena_init(&r.arena, 4096);
		r.c = smtp_client_new(&cfg);
		(void)smtp_client_feed(r.c, &in); /* the greeting alone: the EHLO has not left */
		drain(&r);
		assert_int_equal(r.queue[0].kind, SMTP_EV_FAILED);
		smtp_client_free(&r.c);

		r.n = 0;
		r.c = smtp_client_new(&cfg);
		in = str_head(str_of(ehlo), 7);
		assert_int_equal(smtp_client_feed(r.c, &in), 0);
		pull(&r);
		in = str_skip(str_of(ehlo), 7);
		assert_int_equal(smtp_client_feed(r.c, &in), 0);
		drain(&r);
		assert_int_equal(r.queue[0].kind, SMTP_EV_READY);
		r.n = 0;
		/* submit() pulls everything; here it must stay in the engine */
		struct recipient rc = { .to = { .full = STR("b@y") } };
		struct envelope env = { .from = { .full = STR("a@x") } };
		struct smtp_client_rcpt rcpt = { .rcpt = &rc };
		struct ph_content *content = content_new();
		content_append(content, big, sizeof big - 1, 0);
		struct smtp_client_txn t = { .env = &env,
			.rcpts = &rcpt,
			.nrcpts = 1,
			.content = content,
			.size = sizeof big - 1,
			.arena = &r.arena };
		smtp_client_submit(r.c, &t);
		assert_true(smtp_client_output(r.c, v, 8) > 0);
		smtp_client_sent(r.c, cases[i].sent);
		in = str_of(cases[i].replies);
		assert_int_equal(smtp_client_feed(r.c, &in), cases[i].alive ? 0 : PH_EPROTO);
		drain(&r);
		if (!cases[i].alive) {
			assert_int_equal(r.n, 1);
			assert_int_equal(r.queue[0].kind, SMTP_EV_FAILED);
			assert_ptr_equal(smtp_client_end(r.c), &t);
			assert_false(t.sent);
			assert_int_equal(rcpt.code, 0);
		} else {
			assert_int_equal(r.n, 0);       /* the octets that were announced follow */
			pull(&r);
			assert_int_equal(r.n, 1);
			assert_int_equal(r.queue[0].kind, SMTP_EV_TXN);
			assert_int_equal(rcpt.code, cases[i].code);
		}
		assert_null(smtp_client_end(r.c));
		smtp_client_free(&r.c);
		ph_content_unref(&content);
		buf_free(&r.in);
		buf_free(&r.out);
		arena_reset(&r.arena);
	}
}

/* A challenge may be far longer than a reply line (RFC 4954 4); a long initial
 * response waits for the first 334. */
static void
test_long_auth(void **state)
{
	struct smtp_client_config cfg = { .hostname = STR("me"), .auth = true };
	struct dialogue d = { "long auth", { M1 }, "", .auth = true };
	struct run r = { .d = &d };
	char *line = mem_alloc(12304), *initial = mem_alloc(700);
	struct ph_str in;
	(void)state;

	arena_init(&r.arena, 4096);
	r.c = smtp_client_new(&cfg);
	pull(&r);
	say(&r, "220 x", 5);
	say(&r, "250-x", 5);
	say(&r, "250 AUTH NTLM", 13);
	buf_clear(&r.out);
	memset(initial, 'A', 700);
	smtp_client_auth(r.c, STR("NTLM"), true, str_make(initial, 700));
	pull(&r);
	expect_sent(&r, STR("AUTH NTLM"), false);
	assert_int_equal(r.out.len, 0);
	say(&r, "334 ", 4);
	expect_sent(&r, str_make(initial, 700), false);
	assert_int_equal(r.out.len, 0);

	r.n = 0;
	memcpy(line, "334 ", 4);
	memset(line + 4, 'B', 12286);
	memcpy(line + 12290, "\r\n", 2);
	for (size_t n = 1; n <= 12292; n += 173) {
		in = str_make(line, n);
		assert_int_equal(smtp_client_feed(r.c, &in), 0);
		assert_int_equal(in.n, n);
	}
	in = str_make(line, 12292);
	assert_int_equal(smtp_client_feed(r.c, &in), 0);
	drain(&r);
	assert_int_equal(r.n, 1);
	assert_int_equal(r.queue[0].kind, SMTP_EV_AUTH_STEP);
	assert_int_equal(r.queue[0].text.n, 12286);
	smtp_client_free(&r.c);
	free(line);
	free(initial);
	buf_free(&r.in);
	buf_free(&r.out);
	arena_reset(&r.arena);
}

/* What a login says is gone from memory once it has left, in whatever pieces; a trace shows stars. */
static struct buf traced;

static void
trace_line(void *arg, struct ph_str line)
{
	(void)arg;
	buf_addstr(&traced, line);
	buf_addc(&traced, '\n');
}

static void
test_wipes(void **state)
{
	struct smtp_client_config cfg = { .hostname = STR("me"), .auth = true, .tls_begun = true,
		.starttls = SMTP_CLIENT_TLS_MUST, .said = trace_line, .heard = trace_line };
	static const char hello[] = "220 x\r\n", offers[] = "250-x\r\n250 AUTH LOGIN\r\n",
	                  more[] = "334 dXNlcg==\r\n", ok[] = "235 ok\r\n";
	struct smtp_client_event ev;
	struct smtp_client *c;
	struct iovec v[4];
	struct ph_str in = STR(hello);
	char copy[64];
	(void)state;

	c = smtp_client_new(&cfg);
	assert_int_equal(smtp_client_feed(c, &in), 0);
	assert_int_equal(smtp_client_output(c, v, 4), 1);
	smtp_client_sent(c, v[0].iov_len);
	in = STR(offers);
	assert_int_equal(smtp_client_feed(c, &in), 0);
	assert_true(smtp_client_event(c, &ev));
	assert_int_equal(ev.kind, SMTP_EV_AUTH);        /* no STARTTLS inside TLS */
	smtp_client_auth(c, STR("LOGIN"), true, STR("c2VjcmV0"));
	for (int round = 0; round < 2; round++) {
		int n = smtp_client_output(c, v, 4);
		char *at = v[0].iov_base;
		size_t all = v[0].iov_len;

		assert_int_equal(n, 1);
		assert_true(all < sizeof copy);
		memcpy(copy, at, all);
		assert_non_null(memmem(copy, all, "c2VjcmV0", 8));
		smtp_client_sent(c, 13);                /* in the midst of it */
		smtp_client_sent(c, all - 13);
		for (size_t i = 0; i < all; i++)
			assert_int_equal(at[i], 0);
		if (round > 0)
			break;
		in = STR(more);
		assert_int_equal(smtp_client_feed(c, &in), 0);
		assert_true(smtp_client_event(c, &ev));
		smtp_client_auth_step(c, STR("c2VjcmV0c2VjcmV0c2VjcmV0"));
	}
	in = STR(ok);
	assert_int_equal(smtp_client_feed(c, &in), 0);
	assert_true(smtp_client_event(c, &ev));
	assert_int_equal(ev.kind, SMTP_EV_AUTH_OK);
	smtp_client_free(&c);
	assert_null(memmem(traced.data + traced.head, traced.len, "c2Vj", 4));
	assert_non_null(memmem(traced.data + traced.head, traced.len, "AUTH LOGIN ***\n334 ***\n***\n", 27));
	buf_free(&traced);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dialogues),
		cmocka_unit_test(test_reply_before_content_left),
		cmocka_unit_test(test_long_auth), cmocka_unit_test(test_wipes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
