/*
 * grant.c - asking the token endpoint: client credentials, refresh token,
 * service account, device code.  Blocks; runs in the pool or in a command.
 *
 * The application proves itself by a secret or by a signed assertion (RFC
 * 7523).  A refresh is done under a lock that other processes see, since two
 * of them with the same token would make the provider think it was stolen.
 */
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "oauth.h"

#define ASSERTION_TYPE "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
#define JWT_BEARER "urn:ietf:params:oauth:grant-type:jwt-bearer"
#define DEVICE_CODE "urn:ietf:params:oauth:grant-type:device_code"

/* Providers take an hour at most (Google), ten minutes are advised (Microsoft). */
enum { ASSERTION_LIFE_S = 600, CLOCK_SKEW_S = 60 };

static void
add(struct oauth_text *form, const char *key, const char *value)
{
	oauth_text_form(form, key, value, strlen(value));
}

static bool
unique_id(char out[40])
{
	uint8_t id[16];

	if (RAND_bytes(id, sizeof id) != 1)
		return false;
	for (size_t i = 0; i < sizeof id; i++)
		snprintf(out + 2 * i, 3, "%02x", id[i]);
	return true;
}

static int
sign_claims(const struct oauth_profile *p, json_t *claims, struct oauth_text *out)
{
	static const char *const names[] = { [OAUTH_RS256] = "RS256", [OAUTH_PS256] = "PS256",
	    [OAUTH_ES256] = "ES256" };
	json_t *header = json_pack("{s:s, s:s}", "typ", "JWT", "alg", names[p->alg]);
	int rc = PH_ENOMEM;

	if (p->x5t[0] != '\0' && header != NULL) {
		(void)json_object_set_new(header, "x5t", json_string(p->x5t));
		(void)json_object_set_new(header, "x5t#S256", json_string(p->x5t_s256));
	}
	if (p->kid[0] != '\0' && header != NULL)
		(void)json_object_set_new(header, "kid", json_string(p->kid));
	if (header != NULL && claims != NULL)
		rc = oauth_jwt_sign(p->alg, p->key, header, claims, out);
	json_decref(header);
	json_decref(claims);
	return rc;
}

/* RFC 7523 3: the application speaks about itself. */
static int
client_assertion(const struct oauth_profile *p, struct oauth_text *out)
{
	json_int_t now = (json_int_t)time(NULL);
	char jti[40];

	if (!unique_id(jti))
		return PH_EIO;
	return sign_claims(p, json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I}", "aud",
	    p->token_endpoint, "iss", p->client_id, "sub", p->client_id, "jti", jti, "nbf",
	    now - CLOCK_SKEW_S, "iat", now, "exp", now + ASSERTION_LIFE_S), out);
}

static int
service_assertion(const struct oauth_profile *p, struct oauth_text *out)
{
	json_int_t now = (json_int_t)time(NULL);

	return sign_claims(p, json_pack("{s:s, s:s*, s:s, s:s, s:I, s:I}", "iss", p->client_id,
	    "sub", p->cfg->subject, "scope", p->scope, "aud", p->token_endpoint, "iat", now,
	    "exp", now + ASSERTION_LIFE_S), out);
}

/* Who we are: secret, assertion, or the bare name of a public client. */
static int
add_client(const struct oauth_profile *p, struct oauth_text *form)
{
	const struct oauth_cfg *cfg = p->cfg;
	struct oauth_text jwt = { 0 };
	int rc = 0;

	if (cfg->client_secret.n > 0 && cfg->client_auth == OAUTH_BASIC)
		return 0;
	add(form, "client_id", p->client_id);
	if (cfg->client_secret.n > 0)
		oauth_text_form(form, "client_secret", cfg->client_secret.p, cfg->client_secret.n);
	else if (p->key != NULL) {
		rc = client_assertion(p, &jwt);
		add(form, "client_assertion_type", ASSERTION_TYPE);
		if (rc == 0)
			oauth_text_form(form, "client_assertion", jwt.p, jwt.n);
		oauth_text_done(&jwt);
	}
	return rc;
}

static void
add_extra(const struct oauth_profile *p, struct oauth_text *form)
{
	for (size_t i = 0; i < p->cfg->extra.n; i++) {
		const char *pair = p->cfg->extra.v[i], *eq = strchr(pair, '=');

		if (form->n > 0)
			oauth_text_adds(form, "&");
		oauth_text_escape(form, pair, (size_t)(eq - pair));
		oauth_text_adds(form, "=");
		oauth_text_escape(form, eq + 1, strlen(eq + 1));
	}
}

static int
post(const struct oauth_profile *p, const char *url, const struct oauth_text *form,
     struct oauth_reply *r)
{
	const struct oauth_cfg *cfg = p->cfg;
	struct oauth_http how = { cfg->ca_file, cfg->timeout.ms };
	bool basic = cfg->client_secret.n > 0 && cfg->client_auth == OAUTH_BASIC &&
	    p->grant != OAUTH_SERVICE_ACCOUNT;

	return oauth_http(&how, url, form, basic ? p->client_id : NULL, &cfg->client_secret, r);
}

static void
fail(struct oauth_answer *a, enum oauth_fault fault, const char *why)
{
	*a = (struct oauth_answer){ .fault = fault };
	snprintf(a->why, sizeof a->why, "%s", why);
}

static void
ask(const struct oauth_profile *p, const struct oauth_text *form, struct oauth_answer *a)
{
	struct oauth_reply r;

	if (form->failed)
		fail(a, OAUTH_DOWN, "out of memory");
	else if (post(p, p->token_endpoint, form, &r) != 0) {
		fail(a, OAUTH_DOWN, r.problem);
		oauth_reply_done(&r);
	} else {
		oauth_answer_parse(r.status, (struct ph_str){ r.body.p, r.body.n }, a);
		a->retry_after_s = r.retry_after_s;
		oauth_reply_done(&r);
	}
}

static void
ask_for_app(const struct oauth_profile *p, struct oauth_answer *a)
{
	struct oauth_text form = { 0 }, jwt = { 0 };
	int rc;

	if (p->grant == OAUTH_SERVICE_ACCOUNT) {
		add(&form, "grant_type", JWT_BEARER);
		rc = service_assertion(p, &jwt);
		if (rc == 0)
			oauth_text_form(&form, "assertion", jwt.p, jwt.n);
	} else {
		add(&form, "grant_type", "client_credentials");
		rc = add_client(p, &form);
		if (p->scope[0] != '\0')
			add(&form, "scope", p->scope);
	}
	add_extra(p, &form);
	if (rc != 0)
		fail(a, OAUTH_REFUSED, "the assertion cannot be signed; look at the key");
	else
		ask(p, &form, a);
	oauth_text_done(&jwt);
	oauth_text_done(&form);
}

static void
ask_by_refresh(const struct oauth_profile *p, const char *dir, const char *token, bool is_held,
               struct oauth_answer *a)
{
	struct oauth_text form = { 0 };
	int rc;

	add(&form, "grant_type", "refresh_token");
	add(&form, "refresh_token", token);
	rc = add_client(p, &form);
	/* Google's needs none; Microsoft's without one gives what was given at first. */
	if (p->cfg->scope != NULL || p->cfg->provider == OAUTH_MICROSOFT)
		add(&form, "scope", p->scope);
	add_extra(p, &form);
	if (rc != 0)
		fail(a, OAUTH_REFUSED, "the assertion cannot be signed; look at the key");
	else
		ask(p, &form, a);
	oauth_text_done(&form);
	if (a->fault != OAUTH_FINE)
		return;
	if (a->refresh_token == NULL && dir == NULL)
		return;
	/* What could not be written the last time is tried again with the one in use. */
	if (a->refresh_token == NULL)
		a->refresh_token = oauth_copy(token, strlen(token));
	if (a->refresh_token == NULL || (strcmp(a->refresh_token, token) == 0 && !is_held))
		return;
	if (dir == NULL || oauth_state_keep(dir, &p->cfg->refresh_token, a->refresh_token) != 0)
		/* The access token is good, and must be used: the old refresh token is dead. */
		snprintf(a->why, sizeof a->why, "the new refresh token could not be written into "
		    "%.300s; after a restart somebody must sign in again", dir != NULL ? dir : "(nothing)");
}

static void
refresh(const struct oauth_profile *p, const char *dir, const char *held, struct oauth_answer *a)
{
	const char *why = NULL;
	char *token;
	int lock = -1;

	if (dir != NULL)
		lock = oauth_state_lock(dir, p->cfg->timeout.ms);
	if (lock == PH_EBUSY) {
		fail(a, OAUTH_DOWN, "another process is refreshing the same token");
		return;
	}
	token = held != NULL ? oauth_copy(held, strlen(held))
			     : oauth_state_refresh_token(dir, &p->cfg->refresh_token, &why);
	if (token == NULL) {
		fail(a, OAUTH_REFUSED, why != NULL ? why : "nobody has signed in yet: run \"posthouse "
		    "oauth login\", or give refresh-token-file");
		snprintf(a->error, sizeof a->error, "no_refresh_token");
	} else
		ask_by_refresh(p, dir, token, held != NULL, a);
	oauth_forget(&token);
	oauth_state_unlock(lock);
}

void
oauth_grant(const struct oauth_profile *p, const char *dir, const char *held,
            struct oauth_answer *a)
{
	if (p->grant == OAUTH_REFRESH_TOKEN)
		refresh(p, dir, held, a);
	else
		ask_for_app(p, a);
}

/* --- device code --- */

int
oauth_device_begin(const struct oauth_profile *p, struct oauth_device *d)
{
	struct oauth_text form = { 0 };
	struct oauth_reply r = { 0 };
	int rc;

	*d = (struct oauth_device){ 0 };
	add(&form, "client_id", p->client_id);
	if (p->scope[0] != '\0')
		add(&form, "scope", p->scope);
	add_extra(p, &form);
	if (form.failed)
		rc = PH_ENOMEM;
	else
		rc = post(p, p->device_endpoint, &form, &r);
	if (rc != 0)
		snprintf(d->why, sizeof d->why, "%s", r.problem);
	else
		rc = oauth_device_parse(r.status, (struct ph_str){ r.body.p, r.body.n }, d);
	oauth_reply_done(&r);
	oauth_text_done(&form);
	return rc;
}

void
oauth_device_ask(const struct oauth_profile *p, const struct oauth_device *d,
                 struct oauth_answer *a)
{
	struct oauth_text form = { 0 };
	int rc;

	add(&form, "grant_type", DEVICE_CODE);
	add(&form, "device_code", d->device_code);
	rc = add_client(p, &form);
	if (rc != 0)
		fail(a, OAUTH_REFUSED, "the assertion cannot be signed; look at the key");
	else
		ask(p, &form, a);
	oauth_text_done(&form);
}
