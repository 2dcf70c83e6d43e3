/*
 * claims.c - whether what a token says is meant for this relay, now, and for
 * whom it speaks.
 */
#include <stdio.h>
#include <string.h>

#include "jwt.h"

static bool
listed(const struct ph_strings *l, const char *s)
{
	for (size_t i = 0; s != NULL && i < l->n; i++)
		if (strcmp(l->v[i], s) == 0)
			return true;
	return false;
}

/* RFC 7519 4.1.3: a text or a list of them */
static bool
audience_good(const json_t *aud, const struct ph_strings *wanted)
{
	if (json_is_string(aud))
		return listed(wanted, json_string_value(aud));
	for (size_t i = 0; i < json_array_size(aud); i++)
		if (listed(wanted, json_string_value(json_array_get(aud, i))))
			return true;
	return false;
}

static bool
words_have(const char *words, const char *word)
{
	size_t n = strlen(word);

	while (words != NULL && *words != '\0') {
		size_t len = strcspn(words, " ");

		if (len == n && memcmp(words, word, n) == 0)
			return true;
		words += len + (words[len] == ' ');
	}
	return false;
}

/* "scope" as words (RFC 8693 4.2), "scp" as words or a list (Microsoft, Okta), "roles". */
static bool
scope_there(const json_t *claims, const char *scope)
{
	static const char *const names[] = { "scope", "scp", "roles" };

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		const json_t *v = json_object_get(claims, names[i]);

		if (words_have(json_string_value(v), scope))
			return true;
		for (size_t k = 0; k < json_array_size(v); k++) {
			const char *s = json_string_value(json_array_get(v, k));

			if (s != NULL && strcmp(s, scope) == 0)
				return true;
		}
	}
	return false;
}

static bool
time_of(const json_t *claims, const char *name, int64_t *out)
{
	const json_t *v = json_object_get(claims, name);
	double d = json_number_value(v);

	if (!json_is_number(v) || !(d > -1e15 && d < 1e15))
		return false;
	*out = (int64_t)d;
	return true;
}

static int
take_user(const json_t *claims, const struct ph_strings *names, char user[256])
{
	for (size_t i = 0; i < names->n; i++) {
		const json_t *v = json_object_get(claims, names->v[i]);
		const char *s = json_string_value(v);
		size_t n = json_string_length(v);

		if (s == NULL || n == 0)
			continue;
		if (n > 255 || strlen(s) != n)
			return PH_EINVAL;
		for (size_t k = 0; k < n; k++)
			if ((unsigned char)s[k] < 0x20 || s[k] == 0x7F)
				return PH_EINVAL;
		memcpy(user, s, n + 1);
		return 0;
	}
	return PH_ENOENT;
}

/* An address that the provider has not verified is what anybody typed in. */
static bool
email_unverified(const json_t *claims, const struct ph_strings *names)
{
	for (size_t i = 0; i < names->n; i++) {
		if (json_string_length(json_object_get(claims, names->v[i])) == 0)
			continue;
		const json_t *verified = json_object_get(claims, "email_verified");
		const char *text = json_string_value(verified);

		return strcmp(names->v[i], "email") == 0 && verified != NULL &&
		    !json_is_true(verified) && (text == NULL || strcmp(text, "true") != 0);
	}
	return false;
}

int
oauth_claims_check(const json_t *claims, const struct oauth_expected *e, bool lenient,
                   char user[256], int64_t *expires, char why[200])
{
	const json_t *iss = json_object_get(claims, "iss"), *aud = json_object_get(claims, "aud");
	int64_t exp = 0, nbf;
	bool dated = time_of(claims, "exp", &exp);
	char said[96];
	int rc;

	oauth_plain(said, sizeof said, json_string_value(iss) ? json_string_value(iss) : "nobody");
	if (e->issuers.n > 0 && !listed(&e->issuers, json_string_value(iss))) {
		snprintf(why, 200, "the token is of another issuer (%s)", said);
		return PH_EPERM;
	}
	oauth_plain(said, sizeof said, json_is_string(aud) ? json_string_value(aud) : "others");
	if (e->audiences.n > 0 && !audience_good(aud, &e->audiences)) {
		snprintf(why, 200, "the token is meant for another audience (%s)", said);
		return PH_EPERM;
	}
	if (!dated && (!lenient || json_object_get(claims, "exp") != NULL)) {
		snprintf(why, 200, "the token does not say when it expires");
		return PH_EPERM;
	}
	if (dated && exp + e->leeway_s <= e->now_s) {
		snprintf(why, 200, "the token has expired %lld s ago", (long long)(e->now_s - exp));
		return PH_EPERM;
	}
	if (json_object_get(claims, "nbf") != NULL &&
	    (!time_of(claims, "nbf", &nbf) || nbf > e->now_s + e->leeway_s)) {
		snprintf(why, 200, "the token is not valid yet; look at the clocks");
		return PH_EPERM;
	}
	for (size_t i = 0; i < e->scopes.n; i++) {
		if (!scope_there(claims, e->scopes.v[i])) {
			snprintf(why, 200, "the token has not the scope %.100s", e->scopes.v[i]);
			return PH_EREFUSED;
		}
	}
	rc = take_user(claims, &e->user_claims, user);
	if (rc == 0 && email_unverified(claims, &e->user_claims))
		rc = PH_EPERM;
	if (rc != 0) {
		snprintf(why, 200, rc == PH_ENOENT ? "the token names nobody in the claims of "
		    "user-claim" : "the token's name is not verified, too long, or has control "
		    "characters");
		return PH_EPERM;
	}
	*expires = exp;
	return 0;
}
