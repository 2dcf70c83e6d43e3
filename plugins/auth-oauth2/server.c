/*
 * server.c - OAUTHBEARER (RFC 7628) and XOAUTH2 of clients that bring a token.
 *
 * A bearer token is a secret: the mechanisms are offered inside TLS only.  The
 * identity is what the token says, never what the client claims; a claim that
 * differs is refused.  A refusal is a challenge with the reason in JSON first,
 * which the client has to answer.
 */
#include "server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "message.h"

struct login {
	enum oauth_mechanism mechanism;
	bool asked, refused;
	char *message;                  /* kept while the token is checked; wiped */
	size_t message_n;
	struct oauth_asking asking;
	char why[380];                  /* of the refusal, for the log at its end */
};

static const struct oauth_cfg *
cfg_of(const struct ph_sasl *x)
{
	return ph_sasl_config(x);
}

static void
forget_message(struct login *l)
{
	if (l->message != NULL)
		ph_wipe(l->message, l->message_n);
	free(l->message);
	l->message = NULL;
	l->message_n = 0;
}

/* RFC 7628 3.2.2: the reason as a challenge; 535 follows the client's answer to it. */
static enum ph_sasl_result
refuse(struct ph_sasl *x, struct login *l, const char *status)
{
	const struct oauth_server_cfg *s = &cfg_of(x)->server;
	struct oauth_text out = { 0 };
	int rc;

	oauth_refusal_build(status, s->scopes.n > 0 ? s->scopes.v[0] : NULL, s->openid_configuration,
	    &out);
	rc = out.failed ? PH_ENOMEM : ph_sasl_output(x, (struct ph_str){ out.p, out.n });
	oauth_text_done(&out);
	if (rc != 0) {
		ph_sasl_problem(x, l->why);
		return PH_SASL_DENIED;
	}
	l->refused = true;
	return PH_SASL_MORE;
}

static enum ph_sasl_result
accept(struct ph_sasl *x, struct login *l, const struct oauth_message *m,
       const struct oauth_verdict *v)
{
	if (m->user[0] != '\0' && strcasecmp(m->user, v->user) != 0) {
		snprintf(l->why, sizeof l->why, "the token belongs to %.255s, not to the name that "
		    "was given", v->user);
		return refuse(x, l, "invalid_token");
	}
	if (ph_sasl_identity(x, (struct ph_str){ v->user, strlen(v->user) }) != 0) {
		snprintf(l->why, sizeof l->why, "the token's name cannot be a login");
		return refuse(x, l, "invalid_token");
	}
	return PH_SASL_DONE;
}

static void login_ready(struct ph_sasl *x, struct ph_ticket ticket);

static enum ph_sasl_result
look_at(struct ph_sasl *x, struct login *l)
{
	struct oauth_message m;
	struct oauth_verdict v;

	if (oauth_message_parse(l->mechanism, (struct ph_str){ l->message, l->message_n }, &m) != 0) {
		ph_sasl_problem(x, "the client's message is not of the form that the mechanism has");
		return PH_SASL_MALFORMED;
	}
	ph_sasl_user(x, (struct ph_str){ m.user, strlen(m.user) });
	if (!oauth_verify(cfg_of(x)->verifier, x, &l->asking, m.token, login_ready, &v))
		return PH_SASL_WAIT;
	forget_message(l);
	switch (v.is) {
	case OAUTH_GOOD:
		return accept(x, l, &m, &v);
	case OAUTH_LATER:
		ph_sasl_problem(x, v.why);
		return PH_SASL_TRY_LATER;
	default:
		snprintf(l->why, sizeof l->why, "%s", v.why);
		return refuse(x, l, v.lacks_scope ? "insufficient_scope" : "invalid_token");
	}
}

static void
login_ready(struct ph_sasl *x, struct ph_ticket ticket)
{
	enum ph_sasl_result result = look_at(x, ph_sasl_data(x));

	if (result != PH_SASL_WAIT)
		(void)ph_sasl_done(ticket, result);
}

static enum ph_sasl_result
step(struct ph_sasl *x, enum oauth_mechanism mechanism)
{
	struct login *l = ph_sasl_data(x);
	struct ph_str in = ph_sasl_input(x);

	l->mechanism = mechanism;
	if (l->refused) {
		/* RFC 7628 3.2.3 wants ^A; what it is changes nothing. */
		ph_sasl_problem(x, l->why);
		return PH_SASL_DENIED;
	}
	if (!ph_sasl_has_initial(x) && !l->asked) {
		l->asked = true;
		return ph_sasl_output(x, (struct ph_str){ "", 0 }) == 0 ? PH_SASL_MORE
								       : PH_SASL_TRY_LATER;
	}
	l->message = oauth_copy(in.p, in.n);
	l->message_n = in.n;
	if (l->message == NULL)
		return PH_SASL_TRY_LATER;
	return look_at(x, l);
}

static enum ph_sasl_result
bearer_step(struct ph_sasl *x)
{
	return step(x, OAUTH_BEARER);
}

static enum ph_sasl_result
xoauth2_step(struct ph_sasl *x)
{
	return step(x, OAUTH_XOAUTH2);
}

static void
login_end(struct ph_sasl *x)
{
	struct login *l = ph_sasl_data(x);

	oauth_verify_leave(cfg_of(x)->verifier, &l->asking);
	forget_message(l);
}

static const struct ph_mechanism bearer = {
	.size = sizeof bearer, .side = PH_SERVER, .name = "OAUTHBEARER", .cleartext = true,
	.client_first = true, .state_size = sizeof(struct login), .step = bearer_step,
	.end = login_end, .limit = { 60 * 1000 }, .needs_tls = true,
};
static const struct ph_mechanism xoauth2 = {
	.size = sizeof xoauth2, .side = PH_SERVER, .name = "XOAUTH2", .cleartext = true,
	.client_first = true, .state_size = sizeof(struct login), .step = xoauth2_step,
	.end = login_end, .limit = { 60 * 1000 }, .needs_tls = true,
};

int
oauth_server_setup(struct ph_setup *setup, struct oauth_cfg *cfg)
{
	int rc;

	cfg->verifier = oauth_verifier_new(cfg);
	if (cfg->verifier == NULL)
		return PH_ENOMEM;
	ph_rules_admission(setup);
	rc = ph_provide_mechanism(setup, &bearer);
	return rc == 0 ? ph_provide_mechanism(setup, &xoauth2) : rc;
}

static void
check_url(struct ph_setup *setup, const char *option, const char *url)
{
	if (url != NULL && !oauth_url_good(url))
		ph_complain(setup, option, "is \"%.200s\"; write https://HOST/PATH (http:// only for "
		    "this machine)", url);
}

void
oauth_server_check(struct ph_setup *setup, const struct oauth_cfg *cfg)
{
	const struct oauth_server_cfg *s = &cfg->server;
	bool keys = s->jwks_uri != NULL || s->jwks_file != NULL;

	check_url(setup, "server.introspection-endpoint", s->introspection_endpoint);
	check_url(setup, "server.jwks-uri", s->jwks_uri);
	if (s->introspection_endpoint != NULL && keys)
		ph_complain(setup, "server.introspection-endpoint", "and keys (jwks-uri, jwks-file) "
		    "exclude each other");
	if (s->jwks_uri != NULL && s->jwks_file != NULL)
		ph_complain(setup, "server.jwks-file", "and jwks-uri exclude each other");
	if (keys && s->issuers.n == 0)
		ph_complain(setup, "server", "needs issuer: whose tokens are good, as their iss claim "
		    "writes it");
	if (keys && s->audiences.n == 0)
		ph_complain(setup, "server", "needs audience: what tokens for this relay say in their "
		    "aud claim");
	if (s->user_claims.n == 0)
		ph_complain(setup, "server.user-claim", "is empty; write the claim that names the user");
	if (s->client_secret.n > 0 && s->client_id == NULL)
		ph_complain(setup, "server.client-secret-file", "needs client-id");
}
