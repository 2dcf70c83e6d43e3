/*
 * client.c - logins to smart hosts: NTLM, and GSSAPI as Exchange or as RFC 4752
 * means it.
 *
 * A client helper is told its user on the command line and keeps the password
 * once it has it.  So each login has a process of its own that ends with it:
 * logins of different sites cannot meet, no password outlives its use, and the
 * 30 ms that a start takes are nothing beside a connection that is kept.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "identity.h"
#include "ntlm.h"
#include "windows.h"

enum { MORE_ARGS = 6 };

enum phase { PHASE_START, PHASE_PASSWORD, PHASE_FIRST, PHASE_SHAKING, PHASE_SATISFIED };

struct login {
	struct ph_sasl *x;
	struct ph_helpers *pool;
	struct ph_lease *lease;
	struct ph_ticket ticket;
	enum phase phase;
	bool ntlm;                      /* the mechanism, not what SPNEGO holds */
};

/* --- the helper's command line --- */

struct command {
	const char **v;
	size_t n;
	char *made[MORE_ARGS];
	size_t nmade;
	bool failed;
};

static void PH_PRINTF(2, 3)
add(struct command *c, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;
	int n = -1;

	va_start(ap, fmt);
	if (c->nmade < MORE_ARGS)
		n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0) {
		c->failed = true;
		return;
	}
	c->made[c->nmade++] = text;
	c->v[c->n++] = text;
}

static void
command_done(struct command *c)
{
	for (size_t i = 0; i < c->nmade; i++)
		free(c->made[i]);
	free(c->v);
}

/* "LAB\user", "user@realm" and "user", as ntlm_auth wants them: a name with a realm is sent
 * whole, with an empty domain. */
static void
add_user(struct command *c, const struct windows_cfg *cfg, const char *login)
{
	const char *back = strchr(login, '\\');

	if (back != NULL) {
		add(c, "--domain=%.*s", (int)(back - login), login);
		add(c, "--username=%s", back + 1);
	} else {
		const char *first = strchr(login, '@') == NULL && cfg->domains.n > 0 ? cfg->domains.v[0] : "";

		add(c, "--domain=%.*s", (int)strcspn(first, "="), first);
		add(c, "--username=%s", login);
	}
}

/* As Kerberos wants them: user@REALM; without a known realm krb5.conf has one. */
static void
add_principal(struct command *c, const struct windows_cfg *cfg, const char *login)
{
	const char *back = strchr(login, '\\'), *at = strrchr(login, '@');
	struct ph_str domain = { "", 0 }, user = { login, strlen(login) }, realm;

	if (back != NULL) {
		domain = (struct ph_str){ login, (size_t)(back - login) };
		user = (struct ph_str){ back + 1, strlen(back + 1) };
	} else if (at != NULL) {
		domain = (struct ph_str){ at + 1, strlen(at + 1) };
		user.n = (size_t)(at - login);
	}
	realm = identity_realm(&cfg->domains, domain);
	if (realm.p == NULL && back == NULL)
		realm = domain;
	if (realm.p != NULL && realm.n > 0)
		add(c, "--principal=%.*s@%.*s", (int)user.n, user.p, (int)realm.n, realm.p);
	else
		add(c, "--principal=%.*s", (int)user.n, user.p);
}

static bool
has_ticket(const struct windows_cfg *cfg)
{
	return cfg->client_keytab != NULL || cfg->client_cache != NULL;
}

static void
command_make(struct command *c, const struct login *lg)
{
	const struct windows_cfg *cfg = ph_sasl_config(lg->x);
	const struct ph_next_hop *hop = ph_sasl_hop(lg->x);
	const char *user = hop->login != NULL ? hop->login : "";
	bool own = !lg->ntlm && (cfg->flavour == FLAVOUR_RFC4752 || has_ticket(cfg));
	const struct ph_strings *base = lg->ntlm ? &cfg->ntlm_client_helper :
	    own ? &cfg->gssapi_helper : &cfg->spnego_client_helper;
	struct ph_str host = ph_sasl_remote_name(lg->x);

	if (cfg->client_host != NULL)
		host = (struct ph_str){ cfg->client_host, strlen(cfg->client_host) };
	*c = (struct command){ .v = calloc(base->n + MORE_ARGS + 1, sizeof *c->v) };
	if (c->v == NULL) {
		c->failed = true;
		return;
	}
	for (size_t i = 0; i < base->n; i++)
		c->v[c->n++] = base->v[i];
	if (!own) {
		add_user(c, cfg, user);
		if (!lg->ntlm) {
			add(c, "--target-service=%s", cfg->client_service);
			add(c, "--target-hostname=%.*s", (int)host.n, host.p);
		}
		return;
	}
	add(c, "--client");
	add(c, "--target=%s@%.*s", cfg->client_service, (int)host.n, host.p);
	if (cfg->flavour == FLAVOUR_EXCHANGE)
		add(c, "--spnego");
	if (user[0] != '\0')
		add_principal(c, cfg, user);
	if (cfg->client_keytab != NULL)
		add(c, "--keytab=%s", cfg->client_keytab);
	if (cfg->client_cache != NULL)
		add(c, "--ccache=%s", cfg->client_cache);
}

/* --- the dialogue with it --- */

static void
over(struct login *lg)
{
	ph_lease_end(&lg->lease, false);
	ph_helpers_close(&lg->pool);
}

static enum ph_sasl_result
fail(struct login *lg, const char *why)
{
	over(lg);
	ph_sasl_problem(lg->x, why);
	return PH_SASL_TRY_LATER;
}

static void
done(struct login *lg, enum ph_sasl_result result)
{
	(void)ph_sasl_done(lg->ticket, result); /* stale: nobody waits any more */
}

static void
failed(struct login *lg, const char *why)
{
	done(lg, fail(lg, why));
}

static void answered(void *arg, int status, struct ph_str line);

static void
ask_plain(struct login *lg, const char *line)
{
	int rc = ph_lease_ask(lg->lease, (struct ph_str){ line, strlen(line) }, answered, lg);

	if (rc < 0)
		failed(lg, line_trouble(rc));
}

/* A response for the host; the secret that NTLM gives away is a hash that can be guessed at. */
static void
respond(struct login *lg, struct ph_str base64, enum ph_sasl_result result)
{
	const struct windows_cfg *cfg = ph_sasl_config(lg->x);
	size_t n = 0;
	char *token = line_decode(base64, &n);
	struct ph_str t = { token, n };
	const char *why = NULL;

	if (token == NULL)
		why = "the client helper's token is not to be used";
	else if (!ph_sasl_is_secure(lg->x) && !cfg->allow_cleartext_ntlm && ntlm_inside(t).p != NULL)
		why = "the client helper wants NTLM outside TLS (allow-cleartext-ntlm is not set)";
	else if (ph_sasl_output(lg->x, t) < 0)
		why = "the client helper's token is too long";
	line_free(token, n);
	if (why != NULL) {
		failed(lg, why);
		return;
	}
	lg->phase = result == PH_SASL_DONE ? PHASE_SATISFIED : PHASE_SHAKING;
	/* Exchange may leave out its last token and say 235 at once: whether this was our last
	 * message only the host knows. */
	done(lg, !lg->ntlm && cfg->flavour == FLAVOUR_EXCHANGE ? PH_SASL_DONE : result);
}

/* "AF" with the token it was given means: satisfied, nothing to say. */
static bool
is_echo(const struct login *lg, struct ph_str base64)
{
	struct ph_str in = ph_sasl_input(lg->x);
	size_t n = 0;
	char *token = line_decode(base64, &n);
	bool same = token != NULL && n == in.n && memcmp(token, in.p, n) == 0;

	line_free(token, n);
	return same;
}

static void
client_refused(struct login *lg, const struct answer *a)
{
	char reason[160], text[300];

	answer_reason(a, reason, sizeof reason);
	snprintf(text, sizeof text, "the client helper says %s", reason[0] != '\0' ? reason : "no");
	failed(lg, text);
}

static void
answered(void *arg, int status, struct ph_str line)
{
	struct login *lg = arg;
	struct answer a;

	if (status < 0) {
		failed(lg, line_trouble(status));
		return;
	}
	switch (answer_parse(DIALECT_CLIENT, line, &a)) {
	case ANSWER_OK:
		if (lg->phase != PHASE_PASSWORD)
			break;
		lg->phase = PHASE_FIRST;
		ask_plain(lg, "YR");
		return;
	case ANSWER_TOKEN:
		if (lg->phase < PHASE_FIRST)
			break;
		respond(lg, a.token, PH_SASL_MORE);
		return;
	case ANSWER_ACCEPTED:
		if (lg->phase < PHASE_FIRST)
			break;
		respond(lg, is_echo(lg, a.token) ? (struct ph_str){ "", 0 } : a.token, PH_SASL_DONE);
		return;
	case ANSWER_PASSWORD:
		failed(lg, "the client helper wants a password, and the smart host has no password-file");
		return;
	case ANSWER_REFUSED:
	case ANSWER_BROKEN:
		client_refused(lg, &a);
		return;
	case ANSWER_NONE:
		break;
	}
	failed(lg, "the client helper's answer is none of its protocol");
}

static void
helper_got(void *arg, int status)
{
	struct login *lg = arg;
	const struct ph_next_hop *hop = ph_sasl_hop(lg->x);
	int rc;

	if (status < 0) {
		failed(lg, line_trouble(status));
		return;
	}
	if (hop->password.n == 0) {
		lg->phase = PHASE_FIRST;
		ask_plain(lg, "YR");
		return;
	}
	lg->phase = PHASE_PASSWORD;
	rc = line_ask(lg->lease, "PW", (struct ph_str){ hop->password.p, hop->password.n }, answered, lg);
	if (rc < 0)
		failed(lg, line_trouble(rc));
}

static enum ph_sasl_result
begin(struct login *lg)
{
	const struct windows_cfg *cfg = ph_sasl_config(lg->x);
	struct ph_helper_spec spec = {
		.size = sizeof spec, .framing = PH_FRAME_LINE, .count = 1,
		.answer_limit = cfg->helper_timeout, .lease_wait = cfg->helper_timeout,
	};
	struct command c;

	command_make(&c, lg);
	if (!c.failed && c.n > 0) {
		spec.command = (struct ph_strings){ c.v, c.n };
		lg->pool = ph_helpers_open(ph_sasl_worker(lg->x), &spec);
	}
	command_done(&c);
	if (lg->pool == NULL)
		return fail(lg, "there is no client helper for this mechanism");
	lg->ticket = ph_sasl_ticket(lg->x);
	lg->lease = ph_lease_begin(lg->pool, helper_got, lg);
	return lg->lease != NULL ? PH_SASL_WAIT : fail(lg, "no memory for a helper");
}

static enum ph_sasl_result
client_step(struct ph_sasl *x, bool ntlm)
{
	struct login *lg = ph_sasl_data(x);
	int rc;

	lg->x = x;
	lg->ntlm = ntlm;
	switch (lg->phase) {
	case PHASE_START:
		return begin(lg);
	case PHASE_SHAKING:
		lg->ticket = ph_sasl_ticket(x);
		rc = line_ask(lg->lease, "TT", ph_sasl_input(x), answered, lg);
		return rc == 0 ? PH_SASL_WAIT : fail(lg, line_trouble(rc));
	case PHASE_PASSWORD:
	case PHASE_FIRST:
	case PHASE_SATISFIED:
		break;
	}
	return fail(lg, "the host goes on after the last message of the login");
}

static enum ph_sasl_result
ntlm_step(struct ph_sasl *x)
{
	return client_step(x, true);
}

static enum ph_sasl_result
gssapi_step(struct ph_sasl *x)
{
	return client_step(x, false);
}

static void
client_end(struct ph_sasl *x)
{
	over(ph_sasl_data(x));
}

void
client_mechanism(struct ph_mechanism *m, const char *name, const struct windows_cfg *cfg)
{
	bool ntlm = strcmp(name, "NTLM") == 0;

	*m = (struct ph_mechanism){
		.size = sizeof *m, .side = PH_CLIENT, .name = name, .client_first = true,
		.state_size = sizeof(struct login), .step = ntlm ? ntlm_step : gssapi_step,
		.end = client_end, .strength = ntlm ? 30 : 50,
		.needs_tls = ntlm && !cfg->allow_cleartext_ntlm,
		.limit = { 4 * cfg->helper_timeout.ms + 5000 },
	};
}
