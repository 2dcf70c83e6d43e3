/*
 * check_secure.c - TLS and login of `posthouse check --connect`: the same
 * providers and the same policy as a delivery, and words about what they found.
 */
#include "cmd/check_talk.h"

#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/str.h"
#include "deliver/deliver.h"

enum { SOON_DAYS = 14, DAY_S = 86400 };

static const char *const policies[] = { "off", "opportunistic", "required", "verify" };

static const struct ph_secure *
provider_of(const struct check_talk *t, struct ph_worker **out_w)
{
	return secure_find(t->c->wp, t->hop->tls_provider, out_w);
}

/* Whether the hop's login has a mechanism that needs no TLS, should the host offer it. */
static bool
login_in_clear(const struct check_talk *t)
{
	const struct provided_list *l = &t->c->gen->mechanisms;

	for (size_t i = 0; i < l->n; i++) {
		const struct ph_mechanism *m = l->v[i].ops;

		if (sasl_choose(t->c->wp, t->hop, str_of(m->name), false).p != NULL)
			return true;
	}
	return false;
}

/* What becomes of mail without TLS, where the policy is opportunistic. */
static const char *
clear_means(const struct check_talk *t)
{
	if (t->hop->auth == NULL)
		return "mail goes in the clear";
	return login_in_clear(t) ? "login and mail go in the clear"
	                         : "without it there is no login, and mail waits";
}

const char *
talk_clear_hint(struct check_talk *t)
{
	return arena_printf(&t->c->arena, "the policy is opportunistic: %s; required or verify would "
	    "keep the mail", clear_means(t));
}

void
talk_tls_absent(struct check_talk *t, unsigned extensions)
{
	struct ph_worker *w = NULL;
	bool offered = (extensions & SMTP_EXT_STARTTLS) != 0;

	if (t->secure || t->tls_told || t->clear)
		return;
	t->tls_told = true;
	if (t->hop->tls == PH_TLS_OFF)
		check_step(t->c, "tls", offered ? CHECK_NOTE : CHECK_OK, 0, -1, offered
		    ? "set tls: verify, or opportunistic" : NULL, offered
		    ? "off, as configured, though the host offers STARTTLS" : "off, as configured");
	else if (offered && provider_of(t, &w) == NULL)
		check_step(t->c, "tls", CHECK_NOTE, 0, -1, "add the plugin tls to plugins:",
		    "the host offers STARTTLS, but there is no plugin for it; %s", clear_means(t));
	else
		check_step(t->c, "tls", CHECK_NOTE, 0, -1, "the policy is opportunistic; required or "
		    "verify would keep the mail", "not offered; %s", clear_means(t));
}

/* --- TLS --- */

void
talk_tls_start(struct check_talk *t)
{
	struct ph_worker *w = NULL;
	int rc;

	(void)talk_took(t);
	if (provider_of(t, &w) == NULL) {
		check_step(t->c, "tls", CHECK_FAIL, EX_CONFIG, -1,
		    "add the plugin tls to plugins:; with several, name one",
		    "the policy is %s, but no plugin provides TLS", policies[t->hop->tls & 3]);
		talk_end(t, TALK_DONE);
		return;
	}
	t->shaking = true;
	talk_arm(t);
	rc = deliver_secure(t->conn, t->c->wp, t->hop, deliver_tls_name(t->hop, t->c->host));
	if (rc != 0)
		talk_tls_done(t, rc);
}

static bool
has(struct ph_str text, const char *word)
{
	for (size_t i = 0; i < text.n; i++)
		if (str_istarts(str_skip(text, i), word))
			return true;
	return false;
}

static const char *
tls_hint(struct check_talk *t, struct ph_str problem)
{
	if (t->hop->tls == PH_TLS_OPPORTUNISTIC)
		return talk_clear_hint(t);
	/* First, for names of others follow behind it. */
	if (str_istarts(problem, "unknown CA") || has(problem, "is self-signed"))
		return "set tls-ca-file to the certificate of the CA that signed it";
	if (has(problem, "expired") || has(problem, "not yet valid"))
		return "who runs the host must renew its certificate; see this machine's clock, too";
	if (str_istarts(problem, "the remote") && has(problem, "certificate"))
		return "it is about the certificate that this relay shows: see tls-certificate and tls-key";
	if (has(problem, "name") || has(problem, "match"))
		return "write a name that stands in the certificate in hosts, or set tls-name to one";
	if (has(problem, "version") || has(problem, "protocol") || has(problem, "cipher"))
		return "the host may speak only old versions: who runs it should enable TLS 1.2; "
		       "see tls-minimum";
	return "nothing will be sent in the clear; the host's log may say more";
}

static void
say_date(int64_t when, char *out, size_t n)
{
	time_t at = (time_t)when;
	struct tm tm;

	if (gmtime_r(&at, &tm) == NULL || strftime(out, n, "%Y-%m-%d", &tm) == 0)
		snprintf(out, n, "?");
}

/* The certificate's own step: whose it is, until when, and whether it was believed. */
static void
say_certificate(struct check_talk *t, const struct ph_secure_facts *f, bool refused)
{
	int64_t days = (f->expires - clock_wall_ms() / 1000) / DAY_S;
	bool expired = f->expires > 0 && f->expires * 1000 < clock_wall_ms();
	const char *name = deliver_tls_name(t->hop, t->c->host);
	enum check_verdict v = f->verified ? CHECK_OK : CHECK_NOTE;
	const char *hint = NULL;
	char until[32] = "";

	if (f->subject.n == 0 && f->names.n == 0)
		return;
	say_date(f->expires, until, sizeof until);
	if (refused) {                  /* the step tls has failed by it, and has the hint */
		v = CHECK_NOTE;
	} else if (f->expires > 0 && (expired || days < SOON_DAYS)) {
		v = CHECK_WARN;
		hint = "who runs the host should renew it";
	} else if (!f->verified)
		hint = "the policy takes any certificate; tls: verify would take only the right one";
	check_step(t->c, "certificate", v, EX_UNAVAILABLE, -1, hint,
	    STR_FMT ", for " STR_FMT ", issued by " STR_FMT ", %s %s (%lld days); %s%s%s" STR_FMT,
	    STR_ARG(f->subject), STR_ARG(f->names.n > 0 ? f->names : STR("no name")),
	    STR_ARG(f->issuer), expired ? "expired" : "valid until", until, (long long)days,
	    f->verified ? "verified" : "not verified",
	    f->verified ? " for " : f->problem.n > 0 ? ": " : "", f->verified ? name : "",
	    STR_ARG(f->verified ? STR("") : f->problem));
}

void
talk_tls_done(struct check_talk *t, int status)
{
	struct ph_secure_facts f = { 0 };
	bool known = t->conn != NULL && conn_facts(t->conn, &f), verify = t->hop->tls == PH_TLS_VERIFY;
	enum check_verdict v = t->hop->tls == PH_TLS_OPPORTUNISTIC ? CHECK_WARN : CHECK_FAIL;

	if (!t->shaking)
		return;
	t->shaking = false;
	t->tls_told = true;
	if (status == 0 && known && (!verify || f.verified)) {
		t->secure = true;
		check_step(t->c, "tls", CHECK_OK, 0, talk_took(t), NULL,
		    STR_FMT " " STR_FMT ", %d bits%s%s, policy %s", STR_ARG(f.version),
		    STR_ARG(f.cipher), f.bits, f.resumed ? ", resumed" : "",
		    t->hop->tls_implicit ? ", from the first byte" : "", policies[t->hop->tls & 3]);
		say_certificate(t, &f, false);
		smtp_client_secured(t->client);
		talk_kick(t);
		return;
	}
	if (status == PH_ETIMEOUT)
		f.problem = str_of(arena_printf(&t->arena, "not done within %g s",
		    (double)t->c->o->timeout.ms / 1000));
	else if (f.problem.n == 0)
		f.problem = status == PH_ECLOSED ? STR("the host closed the connection")
		            : str_of(ph_strerror(status));
	check_step(t->c, "tls", v, EX_UNAVAILABLE, talk_took(t), tls_hint(t, f.problem),
	    "%s, policy %s: " STR_FMT, status == 0 ? "certificate not verified"
	    : "handshake failed", policies[t->hop->tls & 3], STR_ARG(f.problem));
	say_certificate(t, &f, true);
	t->lost = true;
	talk_end(t, v == CHECK_WARN ? TALK_CLEAR : TALK_NEXT);
}

/* --- login --- */

static const char *
login_name(const struct check_talk *t)
{
	return t->hop->login != NULL && t->hop->login[0] != '\0' ? t->hop->login : "(no name)";
}

const char *
talk_login_missing_hint(const struct check_talk *t)
{
	if (!t->secure)
		return "most hosts offer logins only inside TLS: set tls: verify";
	return "is this the port for logins (587)? without one set auth: anonymous";
}

static void
said(void *arg)
{
	talk_kick(arg);
}

/* The mechanism gave up by itself: no password, no token, no ticket. */
static void
stopped(void *arg, enum ph_sasl_result result)
{
	struct check_talk *t = arg;
	bool later = result == PH_SASL_TRY_LATER;

	check_step(t->c, "login", CHECK_FAIL, later ? EX_TEMPFAIL : EX_UNAVAILABLE, talk_took(t),
	    later ? "what the login needs (token, ticket, helper) is not there for now: mail would "
	    "be kept" : "see the options of the plugin and its README", STR_FMT " as %s: " STR_FMT,
	    STR_ARG(t->login.mechanism), login_name(t), STR_ARG(t->login.why.len > 0
	    ? buf_view(&t->login.why) : STR("the mechanism gave up")));
	t->h->login_refused |= result == PH_SASL_DENIED;
	talk_end(t, TALK_DONE);
}

static const struct login_events login_events = { said, stopped };

static bool
provided(const struct check_talk *t)
{
	const struct provided_list *l = &t->c->gen->mechanisms;

	for (size_t i = 0; i < l->n; i++)
		if (((const struct ph_mechanism *)l->v[i].ops)->side == PH_CLIENT &&
		    strcmp(l->v[i].inst->name, t->hop->auth) == 0)
			return true;
	return false;
}

void
talk_login(struct check_talk *t, struct ph_str offered)
{
	(void)talk_took(t);
	if (t->h->login_refused) {
		check_step(t->c, "login", CHECK_WARN, 0, -1, NULL, "not tried: another host has "
		    "refused this login, and trying on could lock the account");
		talk_end(t, TALK_DONE);
		return;
	}
	if (offered.n == 0) {
		check_step(t->c, "login", CHECK_FAIL, EX_UNAVAILABLE, -1, talk_login_missing_hint(t),
		    "a login is configured, but AUTH is not offered");
		talk_end(t, TALK_NEXT);
		return;
	}
	t->login.wp = t->c->wp;
	t->login.client = t->client;
	t->login.conn = t->conn;
	t->login.secure = t->secure;
	t->login.name = str_of(t->name);
	t->login.port = t->port;
	t->login.on = &login_events;
	t->login.arg = t;
	talk_arm(t);
	if (!login_begin(&t->login, offered)) {
		bool there = provided(t);

		check_step(t->c, "login", CHECK_FAIL, there ? EX_UNAVAILABLE : EX_CONFIG, -1, there
		    ? t->secure ? "choose another auth:, or mechanisms: that the host offers"
		    : "passwords and tokens are not sent in the clear: set tls: verify"
		    : "name the plugin that logs in under auth:, and add it to plugins:",
		    "no usable mechanism of %s%s; the host offers " STR_FMT, t->hop->auth,
		    t->secure ? "" : " without TLS", STR_ARG(offered));
		talk_end(t, TALK_DONE);
		return;
	}
}

void
talk_login_ok(struct check_talk *t)
{
	if (!login_accepted(&t->login)) {
		check_step(t->c, "login", CHECK_FAIL, EX_UNAVAILABLE, talk_took(t),
		    "somebody may stand between: verify the host by tls: verify", STR_FMT
		    " as %s: " STR_FMT, STR_ARG(t->login.mechanism), login_name(t),
		    STR_ARG(login_unproven(&t->login)));
		t->h->login_refused = true;
		talk_end(t, TALK_DONE);
		return;
	}
	check_step(t->c, "login", CHECK_OK, 0, talk_took(t), NULL, STR_FMT " as %s: %s",
	    STR_ARG(t->login.mechanism), login_name(t), t->reply);
}

void
talk_login_failed(struct check_talk *t, int code, struct ph_str text)
{
	bool again = login_refused(&t->login, code);
	struct buf all = { 0 };
	struct ph_str words;

	login_refusal(&t->login, text, &all);
	login_hide(&t->login, all.data, all.len);
	words = str_head(buf_view(&all), 500);
	if (again) {                    /* a remembered token may have ended early: a fresh one */
		check_step(t->c, "login", CHECK_NOTE, 0, talk_took(t), NULL,
		    "refused, tried once more with a fresh token: " STR_FMT, STR_ARG(words));
		talk_login(t, t->login.mechanism);
	} else {
		check_step(t->c, "login", CHECK_FAIL, check_status_of(code, 0), talk_took(t),
		    code < 500 ? "refused for now: mail would be kept and tried again"
		    : "user name, password or token, or what the account may do: mail would be kept, "
		      "with an alarm in the log", STR_FMT " as %s: " STR_FMT,
		    STR_ARG(t->login.mechanism), login_name(t), STR_ARG(words));
		t->h->login_refused |= code >= 500;
		talk_end(t, TALK_DONE);
	}
	buf_free(&all);
}
