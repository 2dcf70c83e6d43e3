/*
 * check_secure.c - TLS and login of `posthouse check --connect`: the same
 * providers and the same policy as a delivery, and words about what they found.
 */
#include "cmd/check_talk.h"

#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/codec.h"
#include "base/str.h"

enum { SOON_DAYS = 14, DAY_S = 86400 };

static const char *const policies[] = { "off", "opportunistic", "required", "verify" };

static const struct ph_secure *
provider_of(const struct check_talk *t, struct ph_worker **out_w)
{
	return secure_find(t->c->wp, t->hop->tls_provider, out_w);
}

unsigned
talk_tls_wish(struct check_talk *t)
{
	struct ph_worker *w = NULL;

	if (t->hop->tls_implicit)
		return SMTP_CLIENT_TLS_NO;
	if (t->hop->tls >= PH_TLS_REQUIRED)
		return SMTP_CLIENT_TLS_MUST;
	return t->hop->tls == PH_TLS_OPPORTUNISTIC && !t->clear && provider_of(t, &w) != NULL
	       ? SMTP_CLIENT_TLS_IF : SMTP_CLIENT_TLS_NO;
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
		    "the host offers STARTTLS, but there is no plugin for it; mail goes in the clear");
	else
		check_step(t->c, "tls", CHECK_NOTE, 0, -1, "the policy is opportunistic; required or "
		    "verify would keep the mail", "not offered; mail goes in the clear");
}

/* --- TLS --- */

/* As the operator wrote it: a name out of an MX record is whatever the answerer of the query
 * wants it to be. */
static const char *
expected_name(const struct check_talk *t)
{
	return t->hop->tls_name != NULL ? t->hop->tls_name : t->hop->hosts.v[t->c->host].host;
}

void
talk_tls_start(struct check_talk *t)
{
	struct ph_worker *w = NULL;
	const struct ph_secure *provider = provider_of(t, &w);
	struct ph_secure_want want = {
		.size = sizeof want, .side = PH_CLIENT, .policy = t->hop->tls,
		.name = str_of(expected_name(t)), .hop = t->hop,
	};
	int rc;

	(void)talk_took(t);
	if (provider == NULL) {
		check_step(t->c, "tls", CHECK_FAIL, EX_CONFIG, -1,
		    "add the plugin tls to plugins:; with several, name one",
		    "the policy is %s, but no plugin provides TLS", policies[t->hop->tls & 3]);
		talk_end(t, TALK_DONE);
		return;
	}
	t->shaking = true;
	rc = conn_secure(t->conn, provider, w, &want);
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
tls_hint(const struct check_talk *t, struct ph_str problem)
{
	if (t->hop->tls == PH_TLS_OPPORTUNISTIC)
		return "the policy is opportunistic: a delivery comes again in the clear";
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
	const char *name = expected_name(t);
	enum check_verdict v = f->verified ? CHECK_OK : CHECK_NOTE;
	const char *hint = NULL;
	char until[32] = "";

	if (f->subject.n == 0 && f->names.n == 0)
		return;
	say_date(f->expires, until, sizeof until);
	if (refused) {
		hint = tls_hint(t, f->problem);
		v = t->hop->tls == PH_TLS_OPPORTUNISTIC ? CHECK_WARN : CHECK_FAIL;
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
	if (f.problem.n == 0)
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

static int
talk_binding(void *arg, const char *type, uint8_t *out, size_t *len)
{
	struct check_talk *t = arg;

	return t->conn != NULL ? conn_binding(t->conn, type, out, len) : PH_ENOTSUP;
}

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

/* The mechanism gave up by itself: no password, no token, no ticket. */
static void
gave_up(struct check_talk *t, const struct sasl_out *o)
{
	bool later = o->result == PH_SASL_TRY_LATER;

	check_step(t->c, "login", CHECK_FAIL, later ? EX_TEMPFAIL : EX_UNAVAILABLE, talk_took(t),
	    later ? "what the login needs (token, ticket, helper) is not there for now: mail would "
	    "be kept" : "see the options of the plugin and its README", STR_FMT " as %s: %s",
	    STR_ARG(t->mechanism), login_name(t), o->problem != NULL ? o->problem
	    : "the mechanism gave up");
}

/* Some hosts quote what was wrong; the password is not for the eye. */
void
talk_hide_password(const struct check_talk *t, char *text, size_t n)
{
	const struct ph_secret *pw = &t->hop->password;

	if (pw->n == 0)
		return;
	for (char *p = text; (p = memmem(p, n - (size_t)(p - text), pw->p, pw->n)) != NULL;
	     p += pw->n)
		memset(p, '*', pw->n);
}

static void
answered(void *arg, const struct sasl_out *o)
{
	struct check_talk *t = arg;
	struct buf b64 = { 0 };
	/* Denied, with something to say: the last word that the protocol wants of us. */
	bool goes_on = o->result == PH_SASL_MORE || o->result == PH_SASL_DONE ||
	               (o->result == PH_SASL_DENIED && o->has_output && t->auth_said);

	if (t->over)
		return;
	t->auth_at = o->result;
	snprintf(t->auth_why, sizeof t->auth_why, "%s", o->problem != NULL ? o->problem : "");
	if (!goes_on) {
		gave_up(t, o);
		t->h->login_refused |= o->result == PH_SASL_DENIED;
		if (t->auth_said)
			smtp_client_auth_step(t->client, (struct ph_str){ NULL, 0 });
		talk_end(t, TALK_DONE);
		return;
	}
	codec_base64_encode(o->output, &b64);
	if (!t->auth_said)
		smtp_client_auth(t->client, t->mechanism, o->has_output, buf_view(&b64));
	else    /* an empty response is an empty line, not a cancel */
		smtp_client_auth_step(t->client, b64.len > 0 ? buf_view(&b64) : STR(""));
	if (b64.data != NULL)
		mem_wipe(b64.data, b64.cap);
	buf_free(&b64);
	t->auth_said = true;
	talk_kick(t);
}

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
	struct sasl_out o;

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
	t->mechanism = sasl_choose(t->c->wp, t->hop, offered, t->secure);
	if (t->mechanism.p != NULL)
		t->sasl = sasl_begin(t->c->wp, PH_CLIENT, t->mechanism, NULL, t->hop, t->secure,
		    answered, t);
	if (t->sasl == NULL) {
		bool there = provided(t);

		check_step(t->c, "login", CHECK_FAIL, there ? EX_UNAVAILABLE : EX_CONFIG, -1, there
		    ? t->secure ? "choose another auth:, or mechanisms: that the host offers"
		    : "passwords are not sent in the clear: set tls: verify"
		    : "name the plugin that logs in under auth:, and add it to plugins:",
		    "no usable mechanism of %s%s; the host offers " STR_FMT, t->hop->auth,
		    t->secure ? "" : " without TLS", STR_ARG(offered));
		talk_end(t, TALK_DONE);
		return;
	}
	t->auth_said = false;
	t->auth_at = PH_SASL_MORE;
	t->auth_why[0] = '\0';
	sasl_set_remote(t->sasl, str_of(t->name), t->port);
	if (t->secure)
		sasl_set_binding(t->sasl, talk_binding, t);
	talk_arm(t);
	if (sasl_step(t->sasl, STR(""), false, &o))
		answered(t, &o);
}

void
talk_login_step(struct check_talk *t, struct ph_str challenge)
{
	struct buf plain = { 0 };
	struct sasl_out o;

	if (t->sasl == NULL)
		return;
	if (codec_base64_decode(challenge, &plain) != 0)
		answered(t, &(struct sasl_out){ .result = PH_SASL_MALFORMED,
		    .problem = "the host's challenge is not base64" });
	else if (sasl_step(t->sasl, plain.len > 0 ? buf_view(&plain) : STR(""), true, &o))
		answered(t, &o);
	if (plain.data != NULL)
		mem_wipe(plain.data, plain.cap);
	buf_free(&plain);
}

void
talk_login_ok(struct check_talk *t)
{
	sasl_end(&t->sasl);
	if (t->auth_at != PH_SASL_DONE) {       /* RFC 5802 3: anybody can say 235 */
		check_step(t->c, "login", CHECK_FAIL, EX_UNAVAILABLE, talk_took(t),
		    "somebody may stand between: verify the host by tls: verify", STR_FMT
		    " as %s: %s", STR_ARG(t->mechanism), login_name(t), t->auth_why[0] != '\0'
		    ? t->auth_why : "the host says yes without having proved who it is");
		t->h->login_refused = true;
		talk_end(t, TALK_DONE);
		return;
	}
	check_step(t->c, "login", CHECK_OK, 0, talk_took(t), NULL, STR_FMT " as %s: %s",
	    STR_ARG(t->mechanism), login_name(t), t->reply);
}

void
talk_login_failed(struct check_talk *t, int code, struct ph_str text)
{
	bool again = t->sasl != NULL && sasl_refused(t->sasl, code) && !t->auth_again;
	char said[400];

	sasl_end(&t->sasl);
	snprintf(said, sizeof said, STR_FMT "%s%s%s", STR_ARG(str_head(text, 250)),
	    t->auth_why[0] != '\0' ? " (" : "", t->auth_why, t->auth_why[0] != '\0' ? ")" : "");
	talk_hide_password(t, said, strlen(said));
	if (again) {                    /* a remembered token may have ended early: a fresh one */
		t->auth_again = true;
		t->auth_said = false;
		check_step(t->c, "login", CHECK_NOTE, 0, talk_took(t), NULL,
		    "refused, tried once more with a fresh token: %s", said);
		talk_login(t, t->mechanism);
		return;
	}
	check_step(t->c, "login", CHECK_FAIL, check_status_of(code, 0), talk_took(t), code < 500
	        ? "refused for now: mail would be kept and tried again"
	        : "user name, password or token, or what the account may do: mail would be kept, "
	          "with an alarm in the log", STR_FMT " as %s: %s", STR_ARG(t->mechanism),
		    login_name(t), said);
	t->h->login_refused |= code >= 500;
	talk_end(t, TALK_DONE);
}
