/*
 * client.c - XOAUTH2 and OAUTHBEARER towards a smart host.
 *
 * One message with the token.  A host that does not take it says so with 535, or
 * first says why in a challenge that has to be answered before it does (RFC
 * 7628 3.2.3).  Whether a token is still good only the host knows: a refused one
 * is dropped and replaced once, before the login counts as refused.
 */
#include "client.h"

#include <stdio.h>
#include <string.h>

#include "message.h"
#include "source.h"

struct exchange {
	enum oauth_mechanism mechanism;
	bool said;                      /* the message has left */
	bool told;                      /* the host has said why not */
	uint64_t serial;                /* of the token in it */
	struct oauth_waiter *waiter;
};

static struct oauth_source *
source_of(const struct ph_sasl *x)
{
	return ((const struct oauth_cfg *)ph_sasl_config(x))->source;
}

static void exchange_ready(struct ph_sasl *x, struct ph_ticket ticket);

static enum ph_sasl_result
say_token(struct ph_sasl *x, struct exchange *e, const struct oauth_text *token)
{
	const struct ph_next_hop *hop = ph_sasl_hop(x);
	struct oauth_text out = { 0 };
	int rc = PH_EINVAL;

	if (hop->login == NULL || hop->login[0] == '\0') {
		ph_sasl_problem(x, "no user name to log in with; set username at the smart host");
		return PH_SASL_TRY_LATER;
	}
	if (!token->failed)
		rc = oauth_message_build(e->mechanism, hop->login, ph_sasl_remote_name(x),
		    ph_sasl_remote_port(x), (struct ph_str){ token->p, token->n }, &out);
	if (rc == 0)
		rc = ph_sasl_output(x, (struct ph_str){ out.p, out.n });
	oauth_text_done(&out);
	if (rc != 0) {
		ph_sasl_problem(x, "the login message cannot be made of this user name and token");
		return PH_SASL_TRY_LATER;
	}
	e->said = true;
	return PH_SASL_DONE;            /* nothing more has to be proved: 235 will do */
}

/* Says the token, or waits for it, or gives up for now. */
static enum ph_sasl_result
get_and_say(struct ph_sasl *x, struct exchange *e)
{
	struct oauth_text token = { 0 };
	enum ph_sasl_result result = PH_SASL_WAIT;
	char why[300];

	switch (oauth_source_token(source_of(x), x, exchange_ready, &e->waiter, &token, &e->serial,
	    why)) {
	case OAUTH_HAVE:
		result = say_token(x, e, &token);
		break;
	case OAUTH_WAIT:
		break;
	default:
		ph_sasl_problem(x, why);
		result = PH_SASL_TRY_LATER;
		break;
	}
	oauth_text_done(&token);
	return result;
}

static void
exchange_ready(struct ph_sasl *x, struct ph_ticket ticket)
{
	enum ph_sasl_result result = get_and_say(x, ph_sasl_data(x));

	if (result != PH_SASL_WAIT)
		(void)ph_sasl_done(ticket, result);
}

static enum ph_sasl_result
step(struct ph_sasl *x, enum oauth_mechanism m)
{
	struct exchange *e = ph_sasl_data(x);
	char words[300], problem[380];

	e->mechanism = m;
	if (!e->said)
		return get_and_say(x, e);
	if (e->told) {
		ph_sasl_problem(x, "the host goes on asking after it has refused");
		return PH_SASL_DENIED;
	}
	/* The refusal in words; the reply that settles it comes when we have answered:
	 * with an empty line (XOAUTH2), with ^A (RFC 7628 3.2.3). */
	oauth_refusal_read(ph_sasl_input(x), words, sizeof words);
	snprintf(problem, sizeof problem, "the host does not accept the access token: %s", words);
	ph_sasl_problem(x, problem);
	e->told = true;
	if (ph_sasl_output(x, m == OAUTH_BEARER ? (struct ph_str){ "\001", 1 }
	    : (struct ph_str){ "", 0 }) != 0)
		ph_sasl_problem(x, "the refusal cannot be answered");
	return PH_SASL_DENIED;
}

static enum ph_sasl_result
xoauth2_step(struct ph_sasl *x)
{
	return step(x, OAUTH_XOAUTH2);
}

static enum ph_sasl_result
bearer_step(struct ph_sasl *x)
{
	return step(x, OAUTH_BEARER);
}

static bool
exchange_refused(struct ph_sasl *x, int code)
{
	struct exchange *e = ph_sasl_data(x);

	/* 454 and other 4xx say nothing about the token (RFC 4954 6). */
	return e->said && code >= 500 && oauth_source_refused(source_of(x), e->serial);
}

static void
exchange_end(struct ph_sasl *x)
{
	struct exchange *e = ph_sasl_data(x);

	oauth_source_forgo(source_of(x), &e->waiter);
}

static const struct ph_mechanism xoauth2 = {
	.size = sizeof xoauth2, .side = PH_CLIENT, .name = "XOAUTH2", .cleartext = true,
	.client_first = true, .state_size = sizeof(struct exchange), .strength = 40,
	.step = xoauth2_step, .end = exchange_end, .refused = exchange_refused,
	.limit = { 120 * 1000 },
};
static const struct ph_mechanism bearer = {
	.size = sizeof bearer, .side = PH_CLIENT, .name = "OAUTHBEARER", .cleartext = true,
	.client_first = true, .state_size = sizeof(struct exchange), .strength = 41,
	.step = bearer_step, .end = exchange_end, .refused = exchange_refused,
	.limit = { 120 * 1000 },
};

int
oauth_client_provide(struct ph_setup *setup)
{
	int rc = ph_provide_mechanism(setup, &bearer);

	return rc == 0 ? ph_provide_mechanism(setup, &xoauth2) : rc;
}
