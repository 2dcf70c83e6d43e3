/*
 * check_talk.c - the dialogue with one host.  The client engine leads it up to
 * READY (greeting, EHLO, STARTTLS, AUTH), as in a delivery; what it says and
 * hears is watched on its way.  Behind that come MAIL, RCPT, RSET and QUIT,
 * one after the other, and never DATA.
 */
#include "cmd/check_talk.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/str.h"
#include "deliver/deliver.h"
#include "mail/reply.h"

enum { MAX_INPUT = 64 * 1024 };

int64_t
talk_took(struct check_talk *t)
{
	int64_t now = clock_mono_us(), took = now - t->since_us;

	t->since_us = now;
	return took;
}

/* --- the end --- */

static void
end_run(struct ph_note *note)
{
	struct check_talk *t = container_of(note, struct check_talk, end);
	struct check *c = t->c;
	void (*done)(void *arg, enum check_talk_end end) = t->done;
	void *arg = t->arg;
	enum check_talk_end how = t->how;

	timer_stop(c->loop, &t->timer);
	login_free(&t->login);
	if (!t->raw && !t->lost)
		smtp_client_quit(t->client);
	if (t->conn != NULL)
		conn_close(&t->conn, !t->lost);
	smtp_client_free(&t->client);
	buf_free(&t->out);
	buf_free(&t->line);
	arena_reset(&t->arena);
	free(t);
	done(arg, how);
}

void
talk_end(struct check_talk *t, enum check_talk_end how)
{
	if (t->over)
		return;
	t->over = true;
	login_end(&t->login);
	t->how = how;
	t->end.run = end_run;
	loop_defer(t->c->loop, &t->end);
}

static const char *const stage_names[] = { "greeting", "ehlo", "ehlo", "tls", "login", "mail",
	"rcpt", "rset", "quit" };

/* The connection is of no more use. */
static void
talk_lost(struct check_talk *t, const char *why, const char *hint)
{
	if (t->over)
		return;
	t->lost = true;
	if (t->stage == TALK_QUIT)
		check_step(t->c, "quit", CHECK_NOTE, 0, talk_took(t), NULL, "%s", why);
	else
		check_step(t->c, stage_names[t->stage], CHECK_FAIL, EX_TEMPFAIL, talk_took(t), hint,
		    "%s", why);
	talk_end(t, t->raw ? TALK_DONE : TALK_NEXT);
}

static void
talk_timeout(struct timer *timer)
{
	struct check_talk *t = container_of(timer, struct check_talk, timer);

	if (t->shaking)
		talk_tls_done(t, PH_ETIMEOUT);
	else
		talk_lost(t, arena_printf(&t->arena, "no answer within %g s",
		    (double)t->c->o->timeout.ms / 1000), t->stage == TALK_GREETING
		    ? "a host that speaks TLS from the first byte (port 465) waits for it: set "
		      "tls-implicit; others may delay their greeting: --timeout"
		    : "it may be slow: --timeout");
}

void
talk_arm(struct check_talk *t)
{
	timer_start(t->c->loop, &t->timer, t->c->o->timeout.ms);
}

void
talk_kick(struct check_talk *t)
{
	if (t->over || t->conn == NULL)
		return;
	talk_arm(t);
	conn_kick(t->conn);
}

/* --- behind READY --- */

static void
say(struct check_talk *t, enum talk_stage stage)
{
	t->stage = stage;
	switch (stage) {
	case TALK_MAIL:
		buf_printf(&t->out, "MAIL FROM:<%s>\r\n", t->h->from);
		break;
	case TALK_RCPT:
		buf_printf(&t->out, "RCPT TO:<%s>\r\n", t->h->to);
		break;
	case TALK_RSET:
		buf_adds(&t->out, "RSET\r\n");
		break;
	default:
		buf_adds(&t->out, "QUIT\r\n");
		break;
	}
	(void)talk_took(t);
	talk_kick(t);
}

static bool
mentions(struct ph_str text, const char *word)
{
	for (size_t i = 0; i < text.n; i++)
		if (str_istarts(str_skip(text, i), word))
			return true;
	return false;
}

static const char *
mail_hint(const struct check_talk *t, const struct remote_reply *r)
{
	if (r->code == 530)
		return t->secure ? "the host wants a login: set auth, username and a password or "
		                   "token"
		                 : "the host wants TLS or a login first: set tls: verify, and auth";
	if (r->code / 100 == 4)
		return "refused for now: mail would be kept and tried again";
	if (t->hop->auth != NULL)
		return "the account may not send as this address: give another with --from, or let "
		       "the host's administrator allow it";
	return "the host does not take this sender: give another with --from, or let its "
	       "administrator allow this relay's address";
}

static const char *
rcpt_hint(const struct check_talk *t, const struct remote_reply *r, bool relaying)
{
	if (relaying)
		return t->hop->auth != NULL ? "the host does not relay for this login"
		    : "the host does not relay for this machine: it wants a login (auth), a client "
		      "certificate, or this machine's address on its list";
	if (t->h->made_up)
		return "the address was made up: give one that exists with --to";
	return r->code / 100 == 4 ? "refused for now (greylisting?): mail would be kept and tried again"
	                          : "the host refuses this recipient: see its words";
}

/* Relaying denied, said with or without an enhanced code. */
static bool
about_relaying(const struct remote_reply *r)
{
	const char *e = r->enhanced;

	return (e[0] != '\0' && strncmp(e + 1, ".7.", 3) == 0) || r->code == 530 ||
	       mentions(r->text, "relay");
}

static void
step_reply(struct check_talk *t, enum check_verdict v, const char *hint,
           const struct remote_reply *r)
{
	check_step(t->c, stage_names[t->stage], v, check_status_of(r->code, 0), talk_took(t), hint,
	    "%d %s%s" STR_FMT, r->code, r->enhanced, r->enhanced[0] != '\0' ? " " : "",
	    STR_ARG(r->text));
}

static void
raw_reply(struct check_talk *t, const struct remote_reply *r)
{
	bool ok = r->code / 100 == 2;

	switch (t->stage) {
	case TALK_MAIL:
		step_reply(t, ok ? CHECK_OK : CHECK_FAIL, ok ? NULL : mail_hint(t, r), r);
		say(t, ok ? TALK_RCPT : TALK_RSET);
		break;
	case TALK_RCPT: {
		bool relaying = !ok && about_relaying(r), harmless = t->h->made_up && !relaying;

		step_reply(t, ok ? CHECK_OK : harmless ? CHECK_WARN : CHECK_FAIL,
		    ok ? NULL : rcpt_hint(t, r, relaying), r);
		say(t, TALK_RSET);
		break;
	}
	case TALK_RSET:
		step_reply(t, ok ? CHECK_OK : CHECK_WARN, NULL, r);
		say(t, TALK_QUIT);
		break;
	default:
		step_reply(t, ok ? CHECK_OK : CHECK_NOTE, NULL, r);
		t->lost = true;         /* all is said */
		talk_end(t, TALK_DONE);
		break;
	}
}

/* --- what the engine hears, on its way --- */

static void
say_extensions(struct check_talk *t, const struct remote_reply *r)
{
	struct ph_str rest = r->text, name = str_cut(rest, '\n', &rest), line;
	struct buf text = { 0 };

	buf_addstr(&text, name);
	buf_adds(&text, rest.n > 0 ? ": " : ": no extensions");
	for (bool first = true; rest.n > 0; first = false) {
		line = str_cut(rest, '\n', &rest);
		if (!first)
			buf_adds(&text, ", ");
		buf_addstr(&text, line);
	}
	check_step(t->c, "ehlo", CHECK_OK, 0, talk_took(t), NULL, STR_FMT,
	    STR_ARG(buf_view(&text)));
	buf_free(&text);
}

/* To AUTH, for who says what became of the login. */
static void
keep_reply(struct check_talk *t, const struct remote_reply *r)
{
	struct buf text = { 0 };

	buf_printf(&text, "%d %s%s" STR_FMT, r->code, r->enhanced,
	    r->enhanced[0] != '\0' ? " " : "", STR_ARG(r->text));
	login_hide(&t->login, text.data, text.len);
	snprintf(t->reply, sizeof t->reply, STR_FMT, STR_ARG(str_head(buf_view(&text), 320)));
	buf_free(&text);
}

static void
heard(struct check_talk *t, const struct remote_reply *r)
{
	bool ok = r->code / 100 == 2;

	switch (t->stage) {
	case TALK_GREETING:
		t->told = !ok;
		step_reply(t, ok ? CHECK_OK : CHECK_FAIL, ok ? NULL : r->code / 100 == 4
		    ? "the host is busy or has limits for this machine; a delivery goes on to the "
		      "next address"
		    : "the host does not want this machine: see its words", r);
		break;
	case TALK_EHLO:
		if (ok)
			say_extensions(t, r);
		else if (r->code / 100 == 5)
			step_reply(t, CHECK_NOTE, "an old server: HELO is tried", r);
		else {
			t->told = true;
			step_reply(t, CHECK_FAIL, NULL, r);
		}
		break;
	case TALK_HELO:
		t->told = !ok;
		step_reply(t, ok ? CHECK_OK : CHECK_FAIL, ok ? NULL :
		    "the host does not take this relay's hostname:; see hostname", r);
		break;
	case TALK_STARTTLS:
		if (ok)
			break;
		t->tls_told = true;
		t->told = t->hop->tls >= PH_TLS_REQUIRED;
		step_reply(t, t->told ? CHECK_FAIL : CHECK_WARN, t->told
		    ? "the host offers STARTTLS and refuses it: who runs it must see its log" :
		    talk_clear_hint(t), r);
		break;
	case TALK_AUTH:
		keep_reply(t, r);
		break;
	default:
		break;
	}
}

static void
show_input(struct check_talk *t, struct ph_str in)
{
	while (in.n > 0) {
		struct ph_str line = str_cut(in, '\n', &in);
		struct buf text = { 0 };

		/* A challenge is half of a secret's proof. */
		if (t->stage == TALK_AUTH && str_starts(line, "334"))
			line = str_skip(line, 4 < line.n ? 4 : line.n).n > 1 ? STR("334 ****")
			                                                      : STR("334");
		buf_addstr(&text, line);
		login_hide(&t->login, text.data, text.len);
		check_line(t->c, '<', str_head(buf_view(&text), 511));
		buf_free(&text);
	}
}

static void
heard_all(struct check_talk *t, struct ph_str in)
{
	show_input(t, in);
	while (in.n > 0 && !str_starts(in, "334")) {
		struct remote_reply r;

		if (reply_parse(&in, &t->arena, &r) != 1)
			break;
		heard(t, &r);
		arena_reset(&t->arena);
	}
}

/* --- what is said, on its way --- */

static void
said(struct check_talk *t, struct ph_str line)
{
	static const struct { const char *verb; enum talk_stage stage; } verbs[] = {
		{ "EHLO ", TALK_EHLO }, { "HELO ", TALK_HELO }, { "STARTTLS", TALK_STARTTLS },
		{ "AUTH ", TALK_AUTH }, { "QUIT", TALK_QUIT },
	};
	struct ph_str rest, verb;

	if (!t->raw && t->stage == TALK_AUTH && !str_starts(line, "AUTH ") &&
	    !str_is(line, "QUIT\r\n")) {
		check_line(t->c, '>', str_is(line, "\r\n") || str_is(line, "*\r\n") ? line
		    : STR("****"));
		return;
	}
	for (size_t i = 0; !t->raw && i < sizeof verbs / sizeof verbs[0]; i++)
		if (str_starts(line, verbs[i].verb))
			t->stage = verbs[i].stage;
	if (str_starts(line, "AUTH ")) {
		char text[64];

		verb = str_cut(str_skip(line, 5), ' ', &rest);
		snprintf(text, sizeof text, "AUTH %.*s%s", (int)(verb.n < 40 ? verb.n : 40), verb.p,
		    rest.p != NULL ? " ****" : "");
		check_line(t->c, '>', str_of(text));
		return;
	}
	check_line(t->c, '>', line);
	(void)talk_took(t);
}

static void
leaving(struct check_talk *t, const void *p, size_t n)
{
	buf_add(&t->line, p, n);
	while (t->line.len > 0) {
		struct ph_str all = buf_view(&t->line);
		const char *lf = memchr(all.p, '\n', all.n);

		if (lf == NULL)
			return;
		said(t, str_head(all, (size_t)(lf - all.p) + 1));
		mem_wipe(t->line.data + t->line.head, (size_t)(lf - all.p) + 1);
		buf_eat(&t->line, (size_t)(lf - all.p) + 1);
	}
}

/* --- events of the engine --- */

static void
engine_failed(struct check_talk *t, const struct smtp_client_event *ev)
{
	unsigned ext = smtp_client_extensions(t->client);
	bool no_tls = ev->code == 0 && ev->status == PH_ENOTSUP && !t->secure &&
	              t->hop->tls >= PH_TLS_REQUIRED && (ext & SMTP_EXT_STARTTLS) == 0;
	bool no_auth = ev->code == 0 && ev->status == PH_ENOTSUP && !no_tls;

	if (no_tls)
		check_step(t->c, "tls", CHECK_FAIL, EX_UNAVAILABLE, -1,
		    "the host, or something between (a firewall that inspects SMTP), hides STARTTLS; "
		    "nothing will be sent in the clear", STR_FMT, STR_ARG(ev->text));
	else if (no_auth) {
		talk_tls_absent(t, ext);
		check_step(t->c, "login", CHECK_FAIL, EX_UNAVAILABLE, -1, talk_login_missing_hint(t),
		    STR_FMT, STR_ARG(ev->text));
	} else if (!t->told)
		check_step(t->c, stage_names[t->stage], CHECK_FAIL,
		    check_status_of(ev->code, ev->status), talk_took(t), NULL, STR_FMT,
		    STR_ARG(ev->text));
	talk_end(t, TALK_NEXT);
}

static void
engine_ready(struct check_talk *t)
{
	talk_tls_absent(t, smtp_client_extensions(t->client));
	if (t->hop->auth == NULL)
		check_step(t->c, "login", CHECK_OK, 0, -1, NULL, "none, as configured");
	t->raw = true;
	say(t, TALK_MAIL);
}

static void
talk_events(struct check_talk *t)
{
	struct smtp_client_event ev;

	while (!t->over && !t->raw && smtp_client_event(t->client, &ev)) {
		switch (ev.kind) {
		case SMTP_EV_READY:
			engine_ready(t);
			break;
		case SMTP_EV_STARTTLS:
			talk_tls_start(t);
			break;
		case SMTP_EV_AUTH:
			talk_tls_absent(t, smtp_client_extensions(t->client));
			talk_login(t, ev.text);
			break;
		case SMTP_EV_AUTH_STEP:
			login_step(&t->login, ev.text);
			break;
		case SMTP_EV_AUTH_OK:
			talk_login_ok(t);
			break;
		case SMTP_EV_AUTH_FAILED:
			talk_login_failed(t, ev.code, ev.text);
			break;
		default:
			engine_failed(t, &ev);
			break;
		}
	}
}

/* --- events of the connection --- */

static size_t
talk_input(struct conn *conn, void *arg, struct ph_str data)
{
	struct check_talk *t = arg;
	struct ph_str left = data;

	(void)conn;
	if (t->over)
		return data.n;
	if (!t->raw) {
		(void)smtp_client_feed(t->client, &left);       /* trouble comes as an event */
		heard_all(t, str_head(data, data.n - left.n));
		talk_events(t);
		if (left.n < data.n && !t->shaking)     /* half a reply does not count */
			talk_kick(t);
		return data.n - left.n;
	}
	while (!t->over && left.n > 0) {
		struct ph_str all = left;
		struct remote_reply r;
		int rc = reply_parse(&left, &t->arena, &r);

		if (rc == 0)
			break;
		if (rc < 0) {
			talk_lost(t, "what came is no SMTP reply", NULL);
			return data.n;
		}
		show_input(t, str_head(all, all.n - left.n));
		raw_reply(t, &r);
		arena_reset(&t->arena);
	}
	return data.n - left.n;
}

static int
talk_output(struct conn *conn, void *arg, struct iovec *iov, int max)
{
	struct check_talk *t = arg;

	(void)conn;
	if (!t->raw)
		return smtp_client_output(t->client, iov, max);
	if (t->out.len == 0 || max < 1)
		return 0;
	iov[0] = (struct iovec){ t->out.data + t->out.head, t->out.len };
	return 1;
}

static void
talk_sent(struct conn *conn, void *arg, size_t n)
{
	struct check_talk *t = arg;
	struct iovec iov[16];

	(void)conn;
	if (t->raw) {
		leaving(t, t->out.data + t->out.head, n);
		buf_eat(&t->out, n);
		return;
	}
	while (n > 0) {                 /* the pieces are still those that were written from */
		int pieces = smtp_client_output(t->client, iov, 16);
		size_t shown = 0;

		for (int i = 0; i < pieces && shown < n; i++) {
			size_t part = iov[i].iov_len < n - shown ? iov[i].iov_len : n - shown;

			leaving(t, iov[i].iov_base, part);
			shown += part;
		}
		if (shown == 0)
			break;
		smtp_client_sent(t->client, shown);
		n -= shown;
	}
	if (n > 0)
		smtp_client_sent(t->client, n);
}

static void
talk_closed(struct conn *conn, void *arg, int status)
{
	struct check_talk *t = arg;

	(void)conn;
	if (t->shaking)
		talk_tls_done(t, status);
	else
		talk_lost(t, status == PH_ECLOSED ? "the host closed the connection"
		    : ph_strerror(status), t->stage == TALK_GREETING
		    ? "it may expect TLS from the first byte (tls-implicit), or refuse this machine"
		    : NULL);
}

static void
talk_secured(struct conn *conn, void *arg, int status)
{
	(void)conn;
	talk_tls_done(arg, status);
}

static const struct conn_events talk_conn_events = {
	.input = talk_input, .output = talk_output, .sent = talk_sent, .closed = talk_closed,
	.secured = talk_secured,
};

void
check_talk_start(struct check *c, struct check_hop *h, struct stream *s, const char *name,
                 uint16_t port, bool clear, void (*done)(void *arg, enum check_talk_end end),
                 void *arg)
{
	struct check_talk *t = mem_new(struct check_talk);
	struct smtp_client_config cfg = {
		.hostname = str_of(c->set->hostname), .auth = h->hop->auth != NULL,
		.use_chunking = c->set->outbound.chunking,
		.use_pipelining = c->set->outbound.pipelining, .tls_begun = h->hop->tls_implicit,
		.starttls = deliver_starttls(h->hop, c->wp, clear),
	};

	t->c = c;
	t->h = h;
	t->hop = h->hop;
	t->name = name;
	t->port = port;
	t->clear = clear;
	t->done = done;
	t->arg = arg;
	t->timer.fn = talk_timeout;
	t->since_us = clock_mono_us();
	arena_init(&t->arena, 4096);
	t->login.hop = t->hop;
	t->client = smtp_client_new(&cfg);
	t->conn = conn_new(c->loop, s, MAX_INPUT, &talk_conn_events, t);
	talk_arm(t);
	if (t->hop->tls_implicit)
		talk_tls_start(t);
}
