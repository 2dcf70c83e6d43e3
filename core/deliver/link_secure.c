/*
 * link_secure.c - transport security and login of an outbound connection.
 *
 * Required and verified TLS never falls back to the clear; opportunistic TLS
 * takes what it gets, and that includes another connection without it after a
 * handshake that failed.  A refused login is told apart from a host that is
 * down: trying on would lock the account, and no message is to blame.
 *
 * Nothing that a mechanism said stays in memory longer than it takes to be
 * handed on, and nothing of it gets into a log.
 */
#include <stdio.h>

#include "deliver/deliver_private.h"
#include "base/codec.h"

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

/* What the certificate must be for: as the operator wrote it.  A name out of an MX record is
 * whatever the answerer of the query wants it to be. */
static const char *
expected_name(const struct link *l)
{
	if (l->hop->tls_name != NULL)
		return l->hop->tls_name;
	return l->host < l->hop->hosts.n ? l->hop->hosts.v[l->host].host : l->host_name;
}

void
link_secure(struct link *l)
{
	struct ph_worker *w = NULL;
	const struct ph_secure *provider = secure_find(l->wp, l->hop->tls_provider, &w);
	struct ph_secure_want want = {
		.size = sizeof want, .side = PH_CLIENT, .policy = l->hop->tls,
		.name = str_of(expected_name(l)), .hop = l->hop,
	};
	int rc = provider != NULL ? conn_secure(l->conn, provider, w, &want) : PH_ENOTSUP;

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

static int
link_binding(void *arg, const char *type, uint8_t *out, size_t *len)
{
	struct link *l = arg;

	return l->conn != NULL ? conn_binding(l->conn, type, out, len) : PH_ENOTSUP;
}

/* Some hosts quote what was wrong; the password is not for the log. */
void
link_hide_password(const struct link *l, char *text)
{
	const struct ph_secret *pw = &l->hop->password;
	size_t n = strlen(text);

	if (pw->n == 0)
		return;
	for (char *p = text; (p = memmem(p, n - (size_t)(p - text), pw->p, pw->n)) != NULL;
	     p += pw->n)
		memset(p, '*', pw->n);
}

/* This login has come to its end without success. */
static void
give_up(struct link *l, const char *what, struct ph_str why, bool try_next, enum job_login login)
{
	struct buf text = { 0 };

	sasl_end(&l->sasl);
	buf_printf(&text, "%s" STR_FMT, what, STR_ARG(str_head(why, 500)));
	buf_addc(&text, '\0');
	link_hide_password(l, text.data);
	log_event(PH_DEBUG, l->d->log, "deliver.login-failed", LOG_C("site", l->pool->info->name),
	    LOG_C("remote", l->remote), LOG_C("login", l->hop->login != NULL ? l->hop->login : ""),
	    LOG_S("mechanism", l->mechanism), LOG_C("why", text.data));
	link_over(l, str_of(text.data), try_next, login);
	buf_free(&text);
}

/* The mechanism will not go on. */
static void
stopped(struct link *l, const struct sasl_out *o)
{
	/* Of the link's, for what o shows ends with the exchange. */
	struct ph_str why = l->auth_why.len > 0 ? buf_view(&l->auth_why)
	                                        : STR("the login mechanism failed");

	if (l->auth_said)
		smtp_client_auth_step(l->client, (struct ph_str){ NULL, 0 });   /* "*" */
	switch (o->result) {
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
}

static void
say(struct link *l, const struct sasl_out *o)
{
	struct buf b64 = { 0 };

	codec_base64_encode(o->output, &b64);
	if (!l->auth_said)
		smtp_client_auth(l->client, l->mechanism, o->has_output, buf_view(&b64));
	else    /* an empty response is an empty line, not a cancel */
		smtp_client_auth_step(l->client, b64.len > 0 ? buf_view(&b64) : STR(""));
	l->auth_said = true;
	mem_wipe(b64.data, b64.cap);
	buf_free(&b64);
}

static void
stepped(void *arg, const struct sasl_out *o)
{
	struct link *l = arg;
	bool goes_on = o->result == PH_SASL_MORE || o->result == PH_SASL_DONE ||
	               (o->result == PH_SASL_DENIED && o->has_output && l->auth_said);

	l->auth_at = o->result;
	buf_clear(&l->auth_why);
	if (o->problem != NULL)
		buf_adds(&l->auth_why, o->problem);
	if (goes_on)
		say(l, o);
	else
		stopped(l, o);
	link_touch(l);
	link_dirty(l);
}

void
link_auth(struct link *l, struct ph_str offered)
{
	struct ph_str mechanism = sasl_choose(l->wp, l->hop, offered, l->secure);
	struct sasl_out o;
	char text[400];

	l->mechanism = mechanism.p != NULL ? mechanism : STR("");
	l->auth_said = false;
	if (mechanism.p != NULL)        /* its text is the mechanism's own: lives with wp */
		l->sasl = sasl_begin(
		    l->wp, PH_CLIENT, mechanism, NULL, l->hop, l->secure, stepped, l);
	if (l->sasl == NULL) {
		int n = (int)(offered.n < 200 ? offered.n : 200);

		if (offered.n == 0)
			snprintf(text, sizeof text, "a login is configured and the remote offers "
			    "none%s", l->secure ? "" : " without TLS");
		else
			snprintf(text, sizeof text, "no usable login mechanism%s, the remote offers "
			    "%.*s", l->secure ? "" : " without TLS", n, offered.p);
		give_up(l, "4.7.0 ", str_of(text), true, JOB_LOGIN_UNREADY);
		return;
	}
	if (l->secure)
		sasl_set_binding(l->sasl, link_binding, l);
	sasl_set_remote(l->sasl, str_of(l->host_name), l->addr.port);
	if (sasl_step(l->sasl, STR(""), false, &o))
		stepped(l, &o);
}

void
link_auth_step(struct link *l, struct ph_str challenge)
{
	struct sasl_out o = { .result = PH_SASL_MALFORMED, .problem = "the challenge is not base64" };
	struct buf plain = { 0 };

	if (l->sasl == NULL)
		return;
	if (codec_base64_decode(challenge, &plain) != 0)
		stepped(l, &o);
	else if (sasl_step(l->sasl, plain.len > 0 ? buf_view(&plain) : STR(""), true, &o))
		stepped(l, &o);
	if (plain.data != NULL)
		mem_wipe(plain.data, plain.cap);
	buf_free(&plain);
}

void
link_auth_ok(struct link *l)
{
	bool satisfied = l->auth_at == PH_SASL_DONE;

	if (!satisfied) {
		/* RFC 5802 3: without the signature it may be anybody who says 235. */
		give_up(l, "login refused: ", l->auth_at == PH_SASL_DENIED && l->auth_why.len > 0
		    ? buf_view(&l->auth_why)
		    : STR("the remote says yes without having proved who it is"), false,
		    JOB_LOGIN_REFUSED);
		return;
	}
	log_event(PH_DEBUG, l->d->log, "deliver.login", LOG_C("site", l->pool->info->name),
	    LOG_C("remote", l->remote), LOG_C("login", l->hop->login != NULL ? l->hop->login : ""),
	    LOG_S("mechanism", l->mechanism));
	sasl_end(&l->sasl);
}

void
link_auth_failed(struct link *l, int code, struct ph_str text)
{
	bool anew = sasl_refused(l->sasl, code) && !l->auth_again;
	struct buf why = { 0 };

	if (anew) {
		struct ph_str mechanism = l->mechanism;

		sasl_end(&l->sasl);
		l->auth_again = true;
		link_auth(l, mechanism);
		return;
	}
	buf_addstr(&why, text);
	if (l->auth_why.len > 0) {
		buf_adds(&why, " (");
		buf_addstr(&why, buf_view(&l->auth_why));
		buf_addc(&why, ')');
	}
	/* 535 and 534 are about the credentials (RFC 4954 6); the other hosts
	 * would be asked with the same ones. */
	give_up(l, code >= 500 ? "login refused: " : "4.7.0 login put off: ", buf_view(&why),
	    code < 500, code >= 500 ? JOB_LOGIN_REFUSED : JOB_LOGIN_FINE);
	buf_free(&why);
}
