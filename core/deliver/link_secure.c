/*
 * link_secure.c - transport security and login of an outbound connection.
 *
 * Required and verified TLS never falls back to the clear; opportunistic TLS
 * takes what it gets, and that includes another connection without it after a
 * handshake that failed.  A refused login is told apart from a host that is
 * down: trying on would lock the account, and no message is to blame.
 *
 * Nothing that a mechanism said gets into a log.
 */
#include <stdio.h>

#include "deliver/deliver_private.h"

bool
link_secure_needed(const struct ph_next_hop *hop)
{
	return hop->tls >= PH_TLS_REQUIRED || hop->tls_implicit;
}

bool
link_secure_usable(const struct ph_next_hop *hop, struct worker_plugins *wp)
{
	struct ph_worker *w = NULL;

	return !link_secure_needed(hop) || secure_find(wp, hop->tls_provider, &w) != NULL;
}

const char *
deliver_tls_name(const struct ph_next_hop *hop, size_t host)
{
	if (hop->tls_name != NULL)
		return hop->tls_name;
	return host < hop->hosts.n ? hop->hosts.v[host].host : NULL;
}

unsigned
deliver_starttls(const struct ph_next_hop *hop, struct worker_plugins *wp, bool clear)
{
	struct ph_worker *w = NULL;

	if (hop->tls >= PH_TLS_REQUIRED)
		return SMTP_CLIENT_TLS_MUST;
	return hop->tls == PH_TLS_OPPORTUNISTIC && !clear &&
	       secure_find(wp, hop->tls_provider, &w) != NULL
	       ? SMTP_CLIENT_TLS_IF : SMTP_CLIENT_TLS_NO;
}

int
deliver_secure(struct conn *conn, struct worker_plugins *wp, const struct ph_next_hop *hop,
               const char *name)
{
	struct ph_worker *w = NULL;
	const struct ph_secure *provider = secure_find(wp, hop->tls_provider, &w);
	struct ph_secure_want want = {
		.size = sizeof want, .side = PH_CLIENT, .policy = hop->tls,
		.name = str_of(name), .hop = hop,
	};

	return provider != NULL ? conn_secure(conn, provider, w, &want) : PH_ENOTSUP;
}

void
link_secure(struct link *l)
{
	const char *name = deliver_tls_name(l->hop, l->host);
	int rc = deliver_secure(l->conn, l->wp, l->hop, name != NULL ? name : l->host_name);

	l->shaking = true;
	l->shaking_until = loop_now(l->d->loop) + HANDSHAKE_MS;
	link_touch(l);
	if (rc != 0)
		link_secured(l, rc);
}

static void
secured(struct link *l, const struct ph_secure_facts *facts)
{
	l->secure = true;
	log_event(PH_INFO, l->d->log, "deliver.tls", LOG_C("site", l->pool->info->name),
	    LOG_C("remote", l->remote), LOG_S("version", facts->version),
	    LOG_S("cipher", facts->cipher), LOG_S("peer", facts->peer_name),
	    LOG_C("verified", facts->verified ? "yes" : "no"),
	    LOG_C("resumed", facts->resumed ? "yes" : "no"));
	smtp_client_secured(l->client); /* does nothing where TLS came first */
	link_touch(l);
	link_dirty(l);
}

void
link_secured(struct link *l, int status)
{
	struct ph_secure_facts facts = { 0 };
	bool open = status == 0 && conn_facts(l->conn, &facts);
	bool clear = l->hop->tls == PH_TLS_OPPORTUNISTIC && !l->hop->tls_implicit;
	char text[400];

	l->shaking = false;
	if (open && (l->hop->tls != PH_TLS_VERIFY || facts.verified)) {
		secured(l, &facts);
		return;
	}
	if (status != 0)
		(void)conn_facts(l->conn, &facts);
	if (status == PH_ETIMEOUT)
		facts.problem = STR("it took too long");
	else if (facts.problem.n == 0)
		facts.problem = status == PH_ECLOSED ? STR("the remote hung up")
		                                     : str_of(ph_strerror(status));
	snprintf(text, sizeof text, "4.7.5 %s: " STR_FMT,
	    open ? "certificate not verified" : "TLS handshake failed",
	    STR_ARG(str_head(facts.problem, 300)));
	log_event(PH_WARN, l->d->log, "deliver.tls-failed", LOG_C("site", l->pool->info->name),
	    LOG_C("remote", l->remote), LOG_C("why", text),
	    LOG_C("then", clear ? "goes on in the clear" : "tries elsewhere or later"));
	l->redial_clear = clear;
	link_over(l, str_of(text), true, JOB_LOGIN_FINE);
}

/* --- login --- */

/* This login has come to its end without success. */
static void
give_up(struct link *l, const char *what, struct ph_str why, bool try_next, enum job_login login)
{
	struct buf text = { 0 };
	struct ph_str said;

	buf_adds(&text, what);
	buf_addstr(&text, why);
	login_end(&l->login);
	login_hide(&l->login, text.data, text.len);
	said = str_head(buf_view(&text), 530);
	log_event(PH_DEBUG, l->d->log, "deliver.login-failed", LOG_C("site", l->pool->info->name),
	    LOG_C("remote", l->remote), LOG_C("login", l->hop->login != NULL ? l->hop->login : ""),
	    LOG_S("mechanism", l->login.mechanism), LOG_S("why", said));
	link_over(l, said, try_next, login);
	buf_free(&text);
}

static void
said(void *arg)
{
	link_touch(arg);
	link_dirty(arg);
}

static void
stopped(void *arg, enum ph_sasl_result result)
{
	struct link *l = arg;
	struct ph_str why = l->login.why.len > 0 ? buf_view(&l->login.why)
	                                         : STR("the login mechanism failed");

	switch (result) {
	case PH_SASL_DENIED:
		give_up(l, "login refused: ", why, false, JOB_LOGIN_REFUSED);
		break;
	case PH_SASL_TRY_LATER:
		/* The next host would be asked with the same empty hands. */
		give_up(l, "4.7.0 login not possible now: ", why, false, JOB_LOGIN_UNREADY);
		break;
	default:
		give_up(l, "4.7.0 login failed: ", why, true, JOB_LOGIN_FINE);
		break;
	}
	said(l);
}

static const struct login_events login_events = { said, stopped };

void
link_auth(struct link *l, struct ph_str offered)
{
	char text[400];
	int n = (int)(offered.n < 200 ? offered.n : 200);

	l->login.wp = l->wp;
	l->login.hop = l->hop;
	l->login.client = l->client;
	l->login.conn = l->conn;
	l->login.secure = l->secure;
	l->login.name = str_of(l->host_name);
	l->login.port = l->addr.port;
	l->login.on = &login_events;
	l->login.arg = l;
	if (login_begin(&l->login, offered))
		return;
	if (offered.n == 0)
		snprintf(text, sizeof text, "a login is configured and the remote offers none%s",
		    l->secure ? "" : " without TLS");
	else
		snprintf(text, sizeof text, "no usable login mechanism%s, the remote offers %.*s",
		    l->secure ? "" : " without TLS", n, offered.p);
	give_up(l, "4.7.0 ", str_of(text), true, JOB_LOGIN_UNREADY);
}

void
link_auth_ok(struct link *l)
{
	if (!login_accepted(&l->login)) {
		give_up(l, "login refused: ", login_unproven(&l->login), false, JOB_LOGIN_REFUSED);
		return;
	}
	log_event(PH_DEBUG, l->d->log, "deliver.login", LOG_C("site", l->pool->info->name),
	    LOG_C("remote", l->remote), LOG_C("login", l->hop->login != NULL ? l->hop->login : ""),
	    LOG_S("mechanism", l->login.mechanism));
}

void
link_auth_failed(struct link *l, int code, struct ph_str text)
{
	struct buf why = { 0 };

	if (login_refused(&l->login, code)) {
		link_auth(l, l->login.mechanism);
		return;
	}
	login_refusal(&l->login, text, &why);
	/* 535 and 534 are about the credentials (RFC 4954 6); the other hosts
	 * would be asked with the same ones. */
	give_up(l, code >= 500 ? "login refused: " : "4.7.0 login put off: ", buf_view(&why),
	    code < 500, code >= 500 ? JOB_LOGIN_REFUSED : JOB_LOGIN_FINE);
	buf_free(&why);
}
