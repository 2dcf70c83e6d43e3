/*
 * session_auth.c - STARTTLS and AUTH of an inbound session, for whatever
 * transport-security and SASL providers there are.  The core knows neither
 * TLS nor any mechanism.
 */
#include "daemon/session.h"

#include "base/codec.h"
#include "base/str.h"

enum { HANDSHAKE_MS = 60 * 1000 };

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

static int64_t
session_handshake_ms(const struct session *s)
{
	int64_t ms = smtp_server_timeout_ms(&s->smtp);

	return ms < HANDSHAKE_MS ? ms : HANDSHAKE_MS;
}

/* Behind the 220 of STARTTLS, or first of all on a listener with implicit TLS. */
void
session_tls(struct session *s)
{
	struct ph_secure_want want = { .size = sizeof want, .side = PH_SERVER };
	struct ph_worker *pw = NULL;
	const struct ph_secure *provider = secure_server(s->gen->wp, &pw);
	int64_t limit = session_handshake_ms(s);

	want.listener = s->listen->address;
	want.client = &s->facts.client;
	conn_kick(s->conn);             /* the 220 goes out in the clear */
	s->wait = FOR_TLS;
	if (provider == NULL || conn_secure(s->conn, provider, pw, &want) != 0) {
		session_tls_failed(s, STR("the plugin for it refused"));
		return;
	}
	s->deadline = loop_now(s->w->loop) + limit;
	timer_start(s->w->loop, &s->timer, limit);
}

/* The handshake came to nothing: there is nobody to give a reply to. */
void
session_tls_failed(struct session *s, struct ph_str fallback)
{
	struct ph_secure_facts tf = { 0 };

	(void)conn_facts(s->conn, &tf);
	log_event(PH_WARN, &s->log, "tls.failed", LOG_A("client", &s->facts.client),
	    LOG_C("listener", s->listen->address),
	    LOG_S("why", tf.problem.n > 0 ? tf.problem : fallback));
	s->wait = FOR_NOTHING;
	smtp_server_secured(&s->smtp, false);
	session_close(s, "handshake failed");
}

void
session_secured(struct session *s, int status)
{
	struct ph_secure_facts tf = { 0 };
	bool starts = s->smtp.state == SMTP_GREET;

	if (s->closing)
		return;
	if (status != 0) {
		session_tls_failed(s, STR("the handshake failed"));
		return;
	}
	(void)conn_facts(s->conn, &tf);
	timer_stop(s->w->loop, &s->timer);
	s->facts.tls = true;
	s->facts.tls_version = arena_str(&s->arena, tf.version);
	s->facts.tls_cipher = arena_str(&s->arena, tf.cipher);
	s->facts.tls_peer = arena_str(&s->arena, tf.peer_name);
	/* RFC 3207 4.2: nothing learnt in the clear is believed any longer. */
	s->facts.login = s->facts.mechanism = (struct ph_str){ NULL, 0 };
	s->facts.admitted = s->plug.admitted = false;
	log_event(PH_INFO, &s->log, "tls.opened", LOG_A("client", &s->facts.client),
	    LOG_S("version", tf.version), LOG_S("cipher", tf.cipher),
	    LOG_I("resumed", tf.resumed), LOG_S("certificate", tf.peer_name));
	session_offer(s);
	smtp_server_secured(&s->smtp, true);
	s->wait = FOR_NOTHING;
	if (starts)
		session_greet(s);
	else
		session_resume(s);
}

static int
session_binding(void *arg, const char *type, uint8_t *out, size_t *len)
{
	struct session *s = arg;

	return s->conn != NULL ? conn_binding(s->conn, type, out, len) : PH_ENOTSUP;
}

static void
session_auth_failed(struct session *s, enum ph_reply reply, const char *problem)
{
	log_event(PH_WARN, &s->log, "auth.failed", LOG_A("client", &s->facts.client),
	    LOG_S("mechanism", s->facts.mechanism), LOG_C("why", problem ? problem :
	    ph_reply_text(reply)));
	s->facts.mechanism = (struct ph_str){ NULL, 0 };
	smtp_server_auth_end(&s->smtp, reply, NULL);
}

static void
session_sasl_outcome(struct session *s, const struct sasl_out *o)
{
	static const enum ph_reply refusals[] = {
		[PH_SASL_DENIED] = PH_R_AUTH_FAILED, [PH_SASL_MALFORMED] = PH_R_AUTH_BAD_BASE64,
		[PH_SASL_TRY_LATER] = PH_R_AUTH_TRY_LATER,
	};
	struct buf b64 = { 0 };

	switch (o->result) {
	case PH_SASL_MORE:
		if (o->prompts)
			buf_addstr(&b64, o->output);
		else
			codec_base64_encode(o->output, &b64);
		smtp_server_auth_challenge(&s->smtp, buf_view(&b64));
		mem_wipe(b64.data, b64.cap);
		buf_free(&b64);
		return;
	case PH_SASL_DONE:
		s->facts.login = arena_str(&s->arena, o->identity);
		log_event(PH_INFO, &s->log, "auth.ok", LOG_A("client", &s->facts.client),
		    LOG_S("mechanism", s->facts.mechanism), LOG_S("login", s->facts.login));
		smtp_server_auth_end(&s->smtp, PH_R_AUTH_OK, NULL);
		break;
	default:
		session_auth_failed(s, refusals[o->result], o->problem);
		break;
	}
	sasl_end(&s->sasl);
}

static void
session_sasl_answered(void *arg, const struct sasl_out *o)
{
	struct session *s = arg;

	s->wait = FOR_NOTHING;
	session_sasl_outcome(s, o);
	session_resume(s);
}

static void
session_sasl_feed(struct session *s, struct ph_str base64, bool has_input)
{
	struct sasl_out o = { .result = PH_SASL_MALFORMED };
	struct buf in = { 0 };
	bool now = true;

	if (!has_input || str_is(base64, "=") || codec_base64_decode(base64, &in) == 0)
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
	s->facts.mechanism = arena_str(&s->arena, req->text);
	s->sasl = sasl_begin(s->gen->wp, PH_SERVER, req->text, &s->facts, NULL, s->facts.tls,
	    session_sasl_answered, s);
	if (s->sasl == NULL) {
		session_auth_failed(s, PH_R_AUTH_BAD_MECHANISM, NULL);
		return;
	}
	sasl_set_binding(s->sasl, session_binding, s);
	session_sasl_feed(s, req->bytes, req->has_bytes);
}

void
session_auth_step(struct session *s, struct ph_str base64)
{
	session_sasl_feed(s, base64, true);
}

void
session_auth_cancel(struct session *s)
{
	sasl_end(&s->sasl);
	s->facts.mechanism = (struct ph_str){ NULL, 0 };
}
