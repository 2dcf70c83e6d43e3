/*
 * link_secure.c - STARTTLS and login of an outbound connection.
 *
 * Required and verified TLS never falls back to the clear; opportunistic TLS
 * takes what it gets, and that includes another connection without it after a
 * handshake that failed.  A refused login is told apart from a host that is
 * down: trying on would lock the account.
 */
#include <stdio.h>

#include "deliver/deliver_private.h"
#include "base/codec.h"

bool
link_secure_usable(const struct ph_next_hop *hop, struct worker_plugins *wp)
{
	struct ph_worker *w = NULL;

	return hop->tls < PH_TLS_REQUIRED || secure_find(wp, hop->tls_provider, &w) != NULL;
}

void
link_starttls(struct link *l)
{
	struct ph_worker *w = NULL;
	const struct ph_secure *provider = secure_find(l->wp, l->hop->tls_provider, &w);
	struct ph_secure_want want = {
		.size = sizeof want, .side = PH_CLIENT, .policy = l->hop->tls,
		.name = str_of(l->host_name), .hop = l->hop,
	};
	int rc = provider != NULL ? conn_secure(l->conn, provider, w, &want) : PH_ENOTSUP;

	l->shaking = true;
	if (rc != 0)
		link_secured(l, rc);
}

void
link_secured(struct link *l, int status)
{
	struct ph_secure_facts facts = { 0 };
	bool open = status == 0 && conn_facts(l->conn, &facts);
	char text[400];

	l->shaking = false;
	if (open && (l->hop->tls != PH_TLS_VERIFY || facts.verified)) {
		l->secure = true;
		log_event(PH_DEBUG, l->d->log, "deliver.tls", LOG_C("remote", l->remote),
		    LOG_S("version", facts.version), LOG_S("cipher", facts.cipher),
		    LOG_S("peer", facts.peer_name), LOG_I("verified", facts.verified));
		smtp_client_secured(l->client);
		link_touch(l);
		link_dirty(l);
		return;
	}
	if (status != 0)
		(void)conn_facts(l->conn, &facts);
	snprintf(text, sizeof text, "4.7.5 %s: %.*s",
	    open ? "certificate not verified" : "TLS handshake failed",
	    (int)(facts.problem.n < 300 ? facts.problem.n : 300),
	    facts.problem.n > 0 ? facts.problem.p : ph_strerror(status));
	l->redial_clear = l->hop->tls == PH_TLS_OPPORTUNISTIC;
	link_over(l, str_of(text), true, false);
}

/* --- login --- */

static int
link_binding(void *arg, const char *type, uint8_t *out, size_t *len)
{
	struct link *l = arg;

	return l->conn != NULL ? conn_binding(l->conn, type, out, len) : PH_ENOTSUP;
}

static void
say(struct link *l, const struct sasl_out *o, bool first, struct ph_str mechanism)
{
	struct buf b64 = { 0 };

	if (o->result == PH_SASL_MORE || o->result == PH_SASL_DONE) {
		codec_base64_encode(o->output, &b64);
		if (first)
			smtp_client_auth(l->client, mechanism, o->has_output, buf_view(&b64));
		else    /* an empty response is an empty line, not a cancel */
			smtp_client_auth_step(l->client, b64.len > 0 ? buf_view(&b64) : STR(""));
		mem_wipe(b64.data, b64.cap);
		buf_free(&b64);
	} else if (first) {
		link_over(l,
		    str_of(o->problem != NULL ? o->problem : "4.7.0 the login mechanism failed"),
		    true, false);
	} else {
		smtp_client_auth_step(l->client, (struct ph_str){ NULL, 0 });
	}
	if (o->problem != NULL)
		log_event(PH_WARN, l->d->log, "deliver.login-problem", LOG_C("remote", l->remote),
		    LOG_C("why", o->problem));
	link_touch(l);
	link_dirty(l);
}

static void
first_answered(void *arg, const struct sasl_out *o)
{
	struct link *l = arg;

	say(l, o, !l->auth_said, l->mechanism);
	l->auth_said = true;
}

void
link_auth(struct link *l, struct ph_str offered)
{
	struct ph_str mechanism = sasl_choose(l->wp, l->hop, offered, l->secure);
	struct sasl_out o;
	char text[400];

	if (mechanism.p != NULL)
		l->sasl = sasl_begin(
		    l->wp, PH_CLIENT, mechanism, NULL, l->hop, l->secure, first_answered, l);
	if (l->sasl == NULL) {
		snprintf(text, sizeof text,
		    "4.7.0 no usable login mechanism%s, the remote offers %.*s",
		    l->secure ? "" : " without TLS", (int)(offered.n < 200 ? offered.n : 200),
		    offered.p);
		link_over(l, str_of(text), true, false);
		return;
	}
	l->mechanism = mechanism;       /* the mechanism's own text: lives with wp */
	l->auth_said = false;
	if (l->secure)
		sasl_set_binding(l->sasl, link_binding, l);
	if (sasl_step(l->sasl, STR(""), false, &o))
		first_answered(l, &o);
}

void
link_auth_step(struct link *l, struct ph_str challenge)
{
	struct buf plain = { 0 };
	struct sasl_out o;

	if (l->sasl == NULL || codec_base64_decode(challenge, &plain) != 0)
		smtp_client_auth_step(l->client, (struct ph_str){ NULL, 0 });
	else if (sasl_step(l->sasl, plain.len > 0 ? buf_view(&plain) : STR(""), true, &o))
		first_answered(l, &o);
	if (plain.data != NULL)
		mem_wipe(plain.data, plain.cap);
	buf_free(&plain);
}

void
link_auth_failed(struct link *l, int code, struct ph_str text)
{
	struct buf why = { 0 };
	bool anew = sasl_refused(l->sasl, code) && !l->auth_again;

	sasl_end(&l->sasl);
	if (anew) {
		l->auth_again = true;
		link_auth(l, l->mechanism);
		return;
	}
	/* 535 and 534 are about the credentials (RFC 4954 6); the other hosts
	 * would be asked with the same ones. */
	buf_adds(&why, "login refused: ");
	buf_addstr(&why, text);
	if (code >= 500)
		log_event(PH_ERROR, l->d->log, "deliver.login-refused",
		    LOG_C("site", l->pool->info->name),
		    LOG_C("login", l->hop->login != NULL ? l->hop->login : ""),
		    LOG_S("reply", text));
	link_over(l, buf_view(&why), code < 500, code >= 500);
	buf_free(&why);
}
