/*
 * session_auth.c - AUTH of an inbound session, for whatever mechanisms there
 * are: the core knows none.  It decides what is offered, carries the exchange,
 * holds back replies from who guesses, and tells the log.
 */
#include "daemon/session.h"

#include <string.h>

#include "base/clock.h"
#include "base/codec.h"
#include "base/str.h"
#include "daemon/guessing.h"
#include "mail/reply.h"

enum { NAME_MOST = 255 };       /* of a login; providers give no longer one */

/* Some mechanisms are offered only inside TLS, or only to who showed a certificate. */
void
session_offer(struct session *s)
{
	enum sasl_over over = s->facts.tls_peer.n > 0 ? SASL_OVER_CERTIFICATE
	    : s->facts.tls ? SASL_OVER_TLS : SASL_OVER_CLEAR;

	if (!s->smtp.cfg->offer_auth)
		return;
	s->smtp.mechanisms = sasl_offered(s->gen->wp, over, &s->listen->mechanisms, &s->arena);
}

static int
session_binding(void *arg, const char *type, uint8_t *out, size_t *len)
{
	struct session *s = arg;

	return s->conn != NULL ? conn_binding(s->conn, type, out, len) : PH_ENOTSUP;
}

/* Kept in one place of the session's arena: a client may log in as often as it fails. */
static struct ph_str
session_keep_login(struct session *s, struct ph_str name)
{
	if (s->login_text == NULL)
		s->login_text = arena_alloc(&s->arena, NAME_MOST + 1);
	name = str_head(name, NAME_MOST);
	memcpy(s->login_text, name.p, name.n);
	s->login_text[name.n] = '\0';
	return str_make(s->login_text, name.n);
}

/* --- the end of an exchange --- */

/*
 * auth.failed means wrong credentials and nothing else, so that what watches
 * the log (fail2ban) may shut out its client.  Its form is documented in doc/logins.md.
 */
static void
session_auth_log(struct session *s, enum ph_reply reply, const struct sasl_out *o)
{
	const char *why = o->problem != NULL ? o->problem : ph_reply_text(reply);

	switch (reply) {
	case PH_R_AUTH_FAILED:
		log_event(PH_WARN, &s->log, "auth.failed", LOG_A("client", &s->facts.client),
		    LOG_S("user", o->user), LOG_S("mechanism", s->facts.mechanism),
		    LOG_C("why", why));
		break;
	case PH_R_AUTH_TRY_LATER:
		log_event(PH_WARN, &s->log, "auth.unavailable", LOG_A("client", &s->facts.client),
		    LOG_S("user", o->user), LOG_S("mechanism", s->facts.mechanism),
		    LOG_C("why", why));
		break;
	default:
		log_event(PH_INFO, &s->log, "auth.malformed", LOG_A("client", &s->facts.client),
		    LOG_S("user", o->user), LOG_S("mechanism", s->facts.mechanism),
		    LOG_C("why", why));
		break;
	}
}

/* Gives the reply that may have been held back. */
static void
session_auth_tell(struct session *s)
{
	enum ph_reply reply = s->auth_reply;

	if (reply != PH_R_AUTH_OK)
		s->facts.mechanism = STR("");
	smtp_server_auth_end(&s->smtp, reply, NULL);    /* PH_R_AUTH_OK asks the hook first */
	if (reply == PH_R_AUTH_FAILED && s->auth_failures >= s->listen->max_auth_failures &&
	    s->smtp.state != SMTP_CLOSE) {
		s->ending = "too many failed logins";
		smtp_server_end(&s->smtp, PH_R_TOO_MANY_LOGINS);
	}
}

void
session_auth_due(struct session *s)
{
	s->wait = FOR_NOTHING;
	session_auth_tell(s);
	session_resume(s);
}

static void
session_auth_over(struct session *s, const struct sasl_out *o)
{
	static const enum ph_reply replies[] = {
		[PH_SASL_DONE] = PH_R_AUTH_OK, [PH_SASL_DENIED] = PH_R_AUTH_FAILED,
		[PH_SASL_MALFORMED] = PH_R_AUTH_BAD_BASE64, [PH_SASL_TRY_LATER] = PH_R_AUTH_TRY_LATER,
	};
	struct guessing *guessing = s->w->shared->guessing;
	int64_t hold = 0, now = clock_mono_ms();

	s->auth_reply = replies[o->result];
	if (o->result == PH_SASL_DONE) {
		s->facts.login = session_keep_login(s, o->identity);
		hold = guessing_passed(guessing, &s->facts.client, now);
	} else {
		session_auth_log(s, s->auth_reply, o);
	}
	if (o->result == PH_SASL_DENIED) {
		s->auth_failures++;
		hold = guessing_failed(guessing, &s->facts.client, o->user, now);
	}
	sasl_end(&s->sasl);
	if (hold == 0) {
		session_auth_tell(s);
		return;
	}
	/* Nothing of the client's is read meanwhile, but that it leaves. */
	s->wait = FOR_DELAY;
	conn_pause(s->conn, true);
	timer_start(s->w->loop, &s->timer, hold);
}

/* What the plugins on the auth hook said of a login that succeeded. */
void
session_auth_ruled(struct session *s, struct ph_str login, const struct plug_outcome *o)
{
	if (s->facts.login.n > 0) {
		log_event(PH_INFO, &s->log, "auth.ok", LOG_A("client", &s->facts.client),
		    LOG_S("user", login), LOG_S("mechanism", s->facts.mechanism));
		return;
	}
	log_event(PH_WARN, &s->log, "auth.refused", LOG_A("client", &s->facts.client),
	    LOG_S("user", login), LOG_S("mechanism", s->facts.mechanism),
	    LOG_S("why", o->text.n > 0 ? o->text : buf_view(&s->smtp.last_reply)));
	s->facts.mechanism = STR("");
}

/* --- the exchange --- */

static void
session_sasl_outcome(struct session *s, const struct sasl_out *o)
{
	struct buf b64 = { 0 };

	if (o->result != PH_SASL_MORE) {
		session_auth_over(s, o);
		return;
	}
	if (o->prompts)
		buf_addstr(&b64, o->output);
	else
		codec_base64_encode(o->output, &b64);
	smtp_server_auth_challenge(&s->smtp, buf_view(&b64));
	mem_wipe(b64.data, b64.cap);
	buf_free(&b64);
	s->wipe_out = true;
}

static void
session_sasl_answered(void *arg, const struct sasl_out *o)
{
	struct session *s = arg;

	s->wait = FOR_NOTHING;
	session_sasl_outcome(s, o);
	if (s->wait == FOR_NOTHING)
		session_resume(s);
}

/* The line itself is wiped as soon as it was decoded: it has been used, and nobody looks at
 * it again.  It lies in the loop's scratch. */
static void
session_sasl_feed(struct session *s, struct ph_str line, bool has_input, bool initial)
{
	struct sasl_out o = { .result = PH_SASL_MALFORMED, .user = STR("") };
	struct buf in = { 0 };
	bool now = true, fine = true;

	/* RFC 4954 4: "=" is an initial response of no octets, and only there */
	if (has_input && !(initial && str_is(line, "=")))
		fine = codec_base64_decode(line, &in) == 0;
	mem_wipe((void *)(uintptr_t)line.p, line.n);
	if (fine)
		now = sasl_step(s->sasl, buf_view(&in), has_input, &o);
	if (in.data != NULL)
		mem_wipe(in.data, in.cap);
	buf_free(&in);
	if (now) {
		session_sasl_outcome(s, &o);
		return;
	}
	s->wait = FOR_SASL;
	conn_pause(s->conn, true);
}

void
session_auth_begin(struct session *s, const struct smtp_request *req)
{
	struct sasl_out none = { .result = PH_SASL_TRY_LATER, .user = STR(""),
	    .problem = "the plugin for it is gone" };
	struct ph_str name = str_head(req->text, sizeof s->mechanism_text);

	for (size_t i = 0; i < name.n; i++)
		s->mechanism_text[i] = (char)(name.p[i] >= 'a' && name.p[i] <= 'z' ? name.p[i] - 32
		    : name.p[i]);
	s->facts.mechanism = str_make(s->mechanism_text, name.n);
	s->sasl = sasl_begin(s->gen->wp, PH_SERVER, name, &s->facts, NULL, s->facts.tls,
	    session_sasl_answered, s);
	if (s->sasl == NULL) {          /* offered, so it must be there */
		session_auth_over(s, &none);
		return;
	}
	sasl_set_binding(s->sasl, session_binding, s);
	sasl_set_offered(s->sasl, s->smtp.mechanisms);
	session_sasl_feed(s, req->bytes, req->has_bytes, true);
}

void
session_auth_step(struct session *s, struct ph_str base64)
{
	session_sasl_feed(s, base64, true, false);
}

void
session_auth_cancel(struct session *s)
{
	sasl_end(&s->sasl);
	log_event(PH_INFO, &s->log, "auth.canceled", LOG_A("client", &s->facts.client),
	    LOG_S("mechanism", s->facts.mechanism));
	s->facts.mechanism = STR("");
}
