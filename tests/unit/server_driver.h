/*
 * server_driver.h - drives the server engine by hand, for unit tests and fuzz
 * targets: an owner without loop, plugins or store.
 *
 * What happens is written down as one line of words: "220" for a reply (code
 * and enhanced code), BEGIN, END, STORE(from;to,to;content), TLS, CANCEL,
 * CLOSE ...  The owner's answers follow from names in the dialogue:
 *   sender   refuse@ 550, fail@ hook failure, nodata@ DATA refused, full@ no space,
 *            broken@ store failure, hangup@ 421
 *   rcpt     denied@ relaying denied, later@ greylisted
 *   hello    bad.host refused
 *   content  "Refuse-Header" and "Refuse-Message" in it
 *   AUTH     PLAIN with initial "good" succeeds, else is asked once; "policy" is refused by the hook
 */
#ifndef TESTS_SERVER_DRIVER_H
#define TESTS_SERVER_DRIVER_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/abort.h"
#include "base/str.h"
#include "mail/reply.h"
#include "smtp/server.h"

#define TLS_POINT '\x1a'        /* in a script: the handshake takes place here */

struct driver {
	struct smtp_server s;
	struct smtp_server_config cfg;
	struct facts facts;
	struct arena session_arena, arena;
	struct buf log, content, in;
	enum smtp_rq waiting;           /* a question not yet answered */
	enum ph_hook hook;
	bool later;                     /* answer only when asked by driver_answer */
	bool closed, in_tls_gap;
	unsigned asked[PH_HOOK_COUNT], stored, refusals_seen, refusals_told;
	struct ph_str auth;             /* of the latest AUTH */
	char auth_text[64];
};

static const struct smtp_server_config driver_defaults = {
	.hostname = { "relay.test", 10 }, .greeting = { "", 0 },
	.max_message_size = 1000, .max_line = 512, .max_recipients = 3, .max_transactions = 0,
	.max_errors = 20, .max_hops = 5, .timeout_command_ms = 300000, .timeout_data_ms = 180000,
	.offer_chunking = true, .offer_pipelining = true, .offer_smtputf8 = true, .offer_dsn = true,
	.mechanisms = { "PLAIN LOGIN", 11 },
};

static inline void
driver_init(struct driver *d, const struct smtp_server_config *cfg)
{
	memset(d, 0, sizeof *d);
	d->cfg = *cfg;
	arena_init(&d->session_arena, 512);
	arena_init(&d->arena, 1024);
	d->facts.client = (struct ph_addr){ 4, 1025, { 192, 0, 2, 7 } };
	d->facts.admitted = true;
	d->facts.login = STR("");
	smtp_server_init(&d->s, &d->cfg, &d->facts, &d->session_arena, &d->arena);
}

static inline void
driver_free(struct driver *d)
{
	smtp_server_done(&d->s);
	buf_free(&d->log);
	buf_free(&d->content);
	buf_free(&d->in);
	arena_reset(&d->session_arena);
	arena_reset(&d->arena);
}

static inline void
driver_word(struct driver *d, struct ph_str w)
{
	if (d->log.len != 0)
		buf_addc(&d->log, ' ');
	buf_addstr(&d->log, w);
}

/* Replies so far: each must be well formed; its code goes into the log. */
static inline void
driver_replies(struct driver *d)
{
	struct ph_str out = buf_view(&d->s.out);
	struct remote_reply r;
	struct arena a;

	arena_init(&a, 512);
	while (out.n != 0) {
		char text[32];

		for (size_t i = 0; i < out.n; i++)
			ph_assert((out.p[i] >= ' ' && out.p[i] < 0x7f) || out.p[i] == '\r' ||
			          out.p[i] == '\n');
		ph_assert(reply_parse(&out, &a, &r) == 1);
		(void)snprintf(text, sizeof text, "%d%s%s", r.code, r.enhanced[0] ? "/" : "", r.enhanced);
		driver_word(d, str_of(text));
		d->refusals_seen += r.code >= 400;
	}
	arena_reset(&a);
	buf_clear(&d->s.out);
}

/* Within the header section, of which alone it is certain how much has come. */
static inline bool
driver_has(struct driver *d, const char *what, bool header)
{
	struct ph_str in = buf_view(&d->content);

	if (header && d->s.scan.done)
		in = str_head(in, d->s.scan.header_end);
	return in.n != 0 && memmem(in.p, in.n, what, strlen(what)) != NULL;
}

static inline void
driver_verdict(struct driver *d, enum ph_hook hook)
{
	struct smtp_server *s = &d->s;
	struct ph_str from = s->env.from.local;
	enum ph_reply r = PH_R_NONE;
	bool fail = false;

	switch (hook) {
	case PH_HOOK_HELLO:
		r = str_is(d->facts.hello, "bad.host") ? PH_R_POLICY : PH_R_NONE;
		break;
	case PH_HOOK_AUTH:
		r = str_is(d->facts.login, "policy") ? PH_R_POLICY : PH_R_NONE;
		break;
	case PH_HOOK_MAIL:
		from = s->asking_from.local;
		r = str_is(from, "refuse") ? PH_R_POLICY : str_is(from, "hangup") ? PH_R_SHUTTING_DOWN
		                                                                : PH_R_NONE;
		fail = str_is(from, "fail");
		break;
	case PH_HOOK_RCPT:
		ph_assert(s->asking != NULL);
		r = str_is(s->asking->to.local, "denied") ? PH_R_RELAY_DENIED :
		    str_is(s->asking->to.local, "later") ? PH_R_GREYLISTED : PH_R_NONE;
		break;
	case PH_HOOK_DATA:
		r = str_is(from, "nodata") ? PH_R_REFUSED : PH_R_NONE;
		break;
	case PH_HOOK_HEADER:
		r = driver_has(d, "Refuse-Header", true) ? PH_R_REFUSED : PH_R_NONE;
		break;
	case PH_HOOK_MESSAGE:
		r = driver_has(d, "Refuse-Message", false) ? PH_R_POLICY : PH_R_NONE;
		break;
	default:
		break;
	}
	if (fail)
		smtp_server_verdict(s, PH_FAIL, PH_R_NONE, STR(""));
	else if (r != PH_R_NONE)
		smtp_server_verdict(s, PH_REJECT, r, STR("no\r\n250 injected\x01"));
	else
		smtp_server_verdict(s, PH_CONTINUE, PH_R_NONE, STR(""));
}

static inline void
driver_stored(struct driver *d)
{
	struct ph_str from = d->s.env.from.local;
	int status = str_is(from, "full") ? PH_ENOSPC : str_is(from, "broken") ? PH_EIO : 0;
	struct buf w = { 0 };

	buf_adds(&w, "STORE(");
	buf_addstr(&w, d->s.env.from.full);
	for (uint32_t i = 0; i < d->s.env.nrcpts; i++) {
		buf_addc(&w, i == 0 ? ';' : ',');
		buf_addstr(&w, d->s.env.rcpts[i].to.full);
	}
	buf_addc(&w, ';');
	buf_addstr(&w, buf_view(&d->content));
	for (size_t i = 0; i < w.len; i++)
		if (w.data[w.head + i] == '\0')
			w.data[w.head + i] = '~';
	buf_addc(&w, ')');
	driver_word(d, buf_view(&w));
	buf_free(&w);
	ph_assert(d->content.len == d->s.content_size);
	buf_clear(&d->content);
	d->stored += status == 0;
	smtp_server_stored(&d->s, status, (struct ph_msgid){ 1ull << 60, 0 });
	arena_reset(&d->arena);
}

static inline void
driver_auth(struct driver *d, struct ph_str response)
{
	if (str_is(response, "good") || str_is(response, "policy")) {
		d->facts.login = str_is(response, "good") ? STR("good") : STR("policy");
		smtp_server_auth_end(&d->s, PH_R_AUTH_OK, NULL);
	} else {
		smtp_server_auth_end(&d->s, PH_R_AUTH_FAILED, NULL);
	}
}

/* Answers the open question. */
static inline void
driver_answer(struct driver *d)
{
	enum smtp_rq rq = d->waiting;

	d->waiting = SMTP_RQ_NONE;
	switch (rq) {
	case SMTP_RQ_ASK:
		driver_verdict(d, d->hook);
		break;
	case SMTP_RQ_STORE:
		driver_stored(d);
		break;
	case SMTP_RQ_TLS:
		d->facts.tls = true;
		d->s.mechanisms = STR("PLAIN LOGIN");
		smtp_server_secured(&d->s, true);
		break;
	case SMTP_RQ_AUTH:
		if (d->auth.n == 0)
			smtp_server_auth_challenge(&d->s, STR("Z28gb24="));
		else
			driver_auth(d, d->auth);
		break;
	case SMTP_RQ_AUTH_STEP:
		driver_auth(d, d->auth);
		break;
	default:
		break;
	}
}

static inline void
driver_request(struct driver *d, enum smtp_rq rq, const struct smtp_request *req)
{
	static const char *const names[] = {
		[SMTP_RQ_BEGIN] = "BEGIN", [SMTP_RQ_END] = "END", [SMTP_RQ_CLOSE] = "CLOSE",
		[SMTP_RQ_TLS] = "TLS", [SMTP_RQ_AUTH_CANCEL] = "CANCEL", [SMTP_RQ_AUTH] = "AUTH",
		[SMTP_RQ_AUTH_STEP] = "STEP",
	};

	ph_assert(!d->closed || rq == SMTP_RQ_NONE);
	if ((unsigned)rq < sizeof names / sizeof names[0] && names[rq] != NULL)
		driver_word(d, str_of(names[rq]));
	switch (rq) {
	case SMTP_RQ_CONTENT:
		ph_assert(req->bytes.n != 0);
		buf_addstr(&d->content, req->bytes);
		break;
	case SMTP_RQ_END:
		buf_clear(&d->content);
		arena_reset(&d->arena);
		break;
	case SMTP_RQ_REJECTED:
		ph_assert(ph_reply_code(req->reply) >= 400 && req->text.n > 4);
		d->refusals_told++;
		break;
	case SMTP_RQ_CLOSE:
		d->closed = true;
		break;
	case SMTP_RQ_AUTH:
	case SMTP_RQ_AUTH_STEP:
		d->auth = str_head(req->has_bytes ? req->bytes : STR(""), sizeof d->auth_text);
		memcpy(d->auth_text, d->auth.p, d->auth.n);
		d->auth.p = d->auth_text;
		d->waiting = rq;
		break;
	case SMTP_RQ_ASK:
		d->asked[req->hook]++;
		d->hook = req->hook;
		d->waiting = rq;
		break;
	case SMTP_RQ_STORE:
	case SMTP_RQ_TLS:
		d->in_tls_gap = rq == SMTP_RQ_TLS;
		d->waiting = rq;
		break;
	default:
		break;
	}
}

/* Steps until more input is wanted (or an answer, when answers come later). */
static inline void
driver_run(struct driver *d)
{
	for (;;) {
		struct smtp_request req = { 0 };
		/* a copy of exact size: a sanitizer sees every step beyond it */
		size_t n = d->in.len;
		char *copy = malloc(n + 1);
		struct ph_str in = str_make(copy, n);
		enum smtp_rq rq;

		if (n != 0)
			memcpy(copy, d->in.data + d->in.head, n);
		copy = realloc(copy, n != 0 ? n : 1);
		in.p = copy;
		rq = smtp_server_step(&d->s, &in, &req);
		driver_replies(d);
		driver_request(d, rq, &req);
		ph_assert(in.n <= n);
		buf_eat(&d->in, n - in.n);
		free(copy);
		if (rq == SMTP_RQ_NONE)
			break;
		if (d->waiting != SMTP_RQ_NONE) {
			if (d->later) {
				/* nothing moves while the question is open */
				struct ph_str more = buf_view(&d->in), was = more;

				ph_assert(smtp_server_step(&d->s, &more, &req) == SMTP_RQ_NONE);
				ph_assert(more.n == was.n && d->s.out.len == 0);
			}
			driver_answer(d);
			driver_replies(d);
		}
	}
	ph_assert(d->closed || d->in.len < smtp_server_line_max(&d->cfg));
}

/* Feeds a script in pieces of the given size (0: whole); TLS_POINT ends a piece. */
static inline void
driver_feed(struct driver *d, struct ph_str script, size_t piece)
{
	while (script.n != 0) {
		size_t n = piece != 0 && piece < script.n ? piece : script.n;
		const char *gap = memchr(script.p, TLS_POINT, script.n);

		if (gap == script.p) {
			d->in_tls_gap = false;
			script = str_skip(script, 1);
			continue;
		}
		if (gap != NULL && (size_t)(gap - script.p) < n)
			n = (size_t)(gap - script.p);
		if (!d->in_tls_gap)
			buf_add(&d->in, script.p, n);
		script = str_skip(script, n);
		driver_run(d);
	}
}

#endif
