/*
 * session_tls.c - the transport security of an inbound session, by STARTTLS or
 * from the first octet, for whatever provider there is.  The core knows no TLS.
 */
#include "daemon/session.h"

#include "base/str.h"

enum { HANDSHAKE_MS = 60 * 1000 };       /* at most; timeout-command where that is less */

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
	if (tf.problem.n > 0)           /* it goes on as nobody */
		log_event(PH_INFO, &s->log, "tls.unbelieved", LOG_A("client", &s->facts.client),
		    LOG_C("listener", s->listen->address), LOG_S("why", tf.problem));
	if (tf.legacy)
		log_event(PH_WARN, &s->log, "tls.legacy", LOG_A("client", &s->facts.client),
		    LOG_C("listener", s->listen->address), LOG_S("version", tf.version),
		    LOG_S("cipher", tf.cipher));
	session_offer(s);
	smtp_server_secured(&s->smtp, true);
	s->wait = FOR_NOTHING;
	if (starts)
		session_greet(s);
	else
		session_resume(s);
}
