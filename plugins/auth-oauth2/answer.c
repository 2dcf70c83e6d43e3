/*
 * answer.c - answers of token and device endpoints.
 *
 * A wrong answer is as likely to come from a proxy's error page as from the
 * endpoint: nothing is believed but a complete JSON object of the right shape.
 */
#include "answer.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { JSON_MOST = 64 * 1024, LIFE_MOST = 366 * 86400, LIFE_UNSAID = 3600 };

/* --- jansson's memory holds tokens --- */

union json_head { size_t n; max_align_t align; };

static void *
json_alloc(size_t n)
{
	union json_head *h = malloc(sizeof *h + n);

	if (h == NULL)
		return NULL;
	h->n = n;
	return h + 1;
}

static void
json_release(void *p)
{
	union json_head *h = p;

	if (h == NULL)
		return;
	h--;
	ph_wipe(p, h->n);
	free(h);
}

void
oauth_json_wipes(void)
{
	json_set_alloc_funcs(json_alloc, json_release);
}

/* --- what errors mean --- */

#define SIGN_IN "sign in again with \"posthouse oauth login\""
#define NEW_SECRET "make a new one at the provider, put it into client-secret-file and reload"

/* What the description begins with says more than the error: Microsoft's numbers first. */
static const struct { const char *error, *begins, *advice; } advices[] = {
	{ NULL, "AADSTS7000215", "the client secret is wrong (its value is wanted, not its ID): "
	    NEW_SECRET },
	{ NULL, "AADSTS7000222", "the client secret has expired: " NEW_SECRET },
	{ NULL, "AADSTS700016", "the application is not known in this tenant: look at client-id "
	    "and tenant" },
	{ NULL, "AADSTS700027", "the certificate is not registered with the application, or "
	    "another one is: upload client-certificate at the provider" },
	{ NULL, "AADSTS7000112", "the application is disabled: enable it at the provider" },
	{ NULL, "AADSTS90002", "the tenant is not known: look at tenant" },
	{ NULL, "AADSTS900023", "the tenant is not known: look at tenant" },
	{ NULL, "AADSTS65001", "nobody has consented: let an administrator grant the permission" },
	{ NULL, "AADSTS700082", "the sign-in has lapsed because it was not used: " SIGN_IN },
	{ NULL, "AADSTS50173", "the password was changed, which ended the sign-in: " SIGN_IN },
	{ NULL, "AADSTS50076", "the account needs a second factor: " SIGN_IN },
	{ NULL, "AADSTS50079", "the account needs a second factor: " SIGN_IN },
	{ NULL, "AADSTS50057", "the account is disabled" },
	{ "invalid_client", NULL, "the provider does not accept the client's secret or certificate "
	    "(wrong, or expired): renew it there, set it here and reload" },
	{ "invalid_grant", "Invalid JWT", "the provider does not accept the signed assertion: look "
	    "at the key and at this machine's clock" },
	{ "invalid_grant", NULL, "the sign-in has ended (revoked, lapsed, or the password was "
	    "changed): " SIGN_IN },
	{ "unauthorized_client", NULL, "the application may not do this: allow it at the provider, "
	    "and let an administrator consent" },
	{ "unsupported_grant_type", NULL, "the endpoint does not know this kind of grant: look at "
	    "grant and token-endpoint" },
	{ "invalid_scope", NULL, "the scope is not known or not allowed: look at scope" },
	{ "invalid_request", NULL, "the provider misses something in the request: look at scope and "
	    "extra-parameters" },
	{ "interaction_required", NULL, SIGN_IN },
	{ "consent_required", NULL, "let an administrator grant the permission" },
	{ "access_denied", NULL, "the sign-in was refused by the person, or by a rule of the provider" },
	{ "expired_token", NULL, "nobody entered the code in time: start again" },
};

static const char *
advice_for(const char *error, const char *description)
{
	for (size_t i = 0; i < sizeof advices / sizeof advices[0]; i++) {
		const char *begins = advices[i].begins;

		if (advices[i].error != NULL && strcmp(advices[i].error, error) != 0)
			continue;
		/* AADSTS90002 is not AADSTS900023 */
		if (begins == NULL || (strncmp(description, begins, strlen(begins)) == 0 &&
		    !(description[strlen(begins)] >= '0' && description[strlen(begins)] <= '9')))
			return advices[i].advice;
	}
	return "the provider's words are all that is known";
}

/* --- reading --- */

static const char *
text_of(const json_t *o, const char *name)
{
	const char *s = json_string_value(json_object_get(o, name));

	/* a NUL inside would hide the rest */
	return s != NULL && strlen(s) == json_string_length(json_object_get(o, name)) ? s : NULL;
}

/* A number, or digits in quotation marks, as some endpoints write it; else dflt. */
static int64_t
seconds_of(const json_t *o, const char *name, int64_t dflt)
{
	const json_t *v = json_object_get(o, name);
	const char *s = json_string_value(v);
	double d = json_number_value(v);
	int64_t n = 0;

	if (s == NULL) {
		if (!json_is_number(v) || !(d >= 0))
			return dflt;
		return d > LIFE_MOST ? LIFE_MOST : (int64_t)d;
	}
	if (*s == '\0')
		return dflt;
	for (; *s != '\0'; s++) {
		if (*s < '0' || *s > '9')
			return dflt;
		n = n > LIFE_MOST ? n : n * 10 + (*s - '0');
	}
	return n > LIFE_MOST ? LIFE_MOST : n;
}

static json_t *
object_of(struct ph_str body)
{
	json_t *o = body.n > 0 && body.n <= JSON_MOST
	    ? json_loadb(body.p, body.n, JSON_REJECT_DUPLICATES, NULL) : NULL;

	if (json_is_object(o))
		return o;
	json_decref(o);
	return NULL;
}

bool
oauth_token_valid(struct ph_str token)
{
	size_t i = 0;

	while (i < token.n && token.p[i] != '=' && token.p[i] > 0x20 && token.p[i] < 0x7F &&
	    strchr("\"\\,;:@()[]{}<>?!#$%&'*^`|", token.p[i]) == NULL)
		i++;
	if (i == 0)
		return false;
	while (i < token.n && token.p[i] == '=')
		i++;
	return i == token.n && token.n <= OAUTH_TOKEN_MOST;
}

static bool
take_token(const json_t *o, const char *name, char **out)
{
	const char *s = text_of(o, name);

	if (s == NULL || *s == '\0' || strlen(s) > OAUTH_TOKEN_MOST)
		return false;
	*out = oauth_copy(s, strlen(s));
	return *out != NULL;
}

static void
read_error(int status, const json_t *o, struct oauth_answer *a)
{
	const char *error = text_of(o, "error"), *words = text_of(o, "error_description");
	char said[200];

	oauth_plain(a->error, sizeof a->error, error != NULL ? error : "");
	oauth_plain(said, sizeof said, words != NULL ? words : "");
	if (strcmp(a->error, "authorization_pending") == 0)
		a->fault = OAUTH_PENDING;
	else if (strcmp(a->error, "slow_down") == 0)
		a->fault = OAUTH_SLOW_DOWN;
	else if (a->error[0] == '\0' || status == 429 || status >= 500 ||
	    strcmp(a->error, "temporarily_unavailable") == 0 ||
	    strcmp(a->error, "server_error") == 0)
		a->fault = OAUTH_DOWN;
	else
		a->fault = OAUTH_REFUSED;
	if (a->fault == OAUTH_REFUSED)
		snprintf(a->why, sizeof a->why, "%s; it says %d %s%s%s", advice_for(a->error, said),
		    status, a->error, said[0] != '\0' ? ": " : "", said);
	else
		snprintf(a->why, sizeof a->why, "it says %d%s%s%s%s", status,
		    a->error[0] != '\0' ? " " : "", a->error, said[0] != '\0' ? ": " : "", said);
}

void
oauth_answer_parse(int status, struct ph_str body, struct oauth_answer *a)
{
	json_t *o = object_of(body);
	const char *type = text_of(o, "token_type"), *token = text_of(o, "access_token");

	*a = (struct oauth_answer){ .fault = OAUTH_DOWN };
	if (status >= 300 && status < 400)
		snprintf(a->why, sizeof a->why, "it answers with a redirection (%d), which is not "
		    "followed: set token-endpoint to the address it means", status);
	else if (o == NULL)
		snprintf(a->why, sizeof a->why, status == 200 ? "it says %d, and what follows is not "
		    "an answer (no JSON object)" : "it says %d", status);
	else if (status != 200 || token == NULL)
		read_error(status, o, a);
	else if (type != NULL && strcasecmp(type, "Bearer") != 0)
		snprintf(a->why, sizeof a->why, "it gives a token that is no bearer token");
	else if (!oauth_token_valid((struct ph_str){ token, strlen(token) }))
		snprintf(a->why, sizeof a->why, "it gives a token that is too long or has characters "
		    "that no token has");
	else if (take_token(o, "access_token", &a->access_token)) {
		a->fault = OAUTH_FINE;
		(void)take_token(o, "refresh_token", &a->refresh_token);
		a->expires_s = seconds_of(o, "expires_in", LIFE_UNSAID);
	}
	json_decref(o);
}

void
oauth_answer_done(struct oauth_answer *a)
{
	oauth_forget(&a->access_token);
	oauth_forget(&a->refresh_token);
	*a = (struct oauth_answer){ .fault = OAUTH_DOWN };
}

int
oauth_device_parse(int status, struct ph_str body, struct oauth_device *d)
{
	json_t *o = object_of(body);
	const char *code = text_of(o, "user_code"), *uri = text_of(o, "verification_uri");
	const char *complete = text_of(o, "verification_uri_complete");
	struct oauth_answer a = { 0 };

	*d = (struct oauth_device){ 0 };
	if (uri == NULL)
		uri = text_of(o, "verification_url");   /* Google's spelling */
	if (status == 200 && code != NULL && uri != NULL && take_token(o, "device_code", &d->device_code)) {
		oauth_plain(d->user_code, sizeof d->user_code, code);
		oauth_plain(d->uri, sizeof d->uri, uri);
		oauth_plain(d->complete, sizeof d->complete, complete != NULL ? complete : "");
		d->expires_s = seconds_of(o, "expires_in", 900);
		d->interval_s = seconds_of(o, "interval", 5);   /* RFC 8628 3.2 */
		if (d->interval_s > 60)
			d->interval_s = 60;
		json_decref(o);
		return 0;
	}
	if (o != NULL && text_of(o, "error") != NULL) {
		read_error(status, o, &a);
		snprintf(d->why, sizeof d->why, "%s", a.why);
	} else
		snprintf(d->why, sizeof d->why, "it says %d, and what follows is not the answer of a "
		    "device endpoint", status);
	json_decref(o);
	return PH_EPROTO;
}

void
oauth_device_done(struct oauth_device *d)
{
	oauth_forget(&d->device_code);
}
