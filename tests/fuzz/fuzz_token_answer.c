/*
 * fuzz_token_answer.c - answers of token and device endpoints, signed tokens,
 * key sets, and the messages of both mechanisms: what is taken is well-formed,
 * and what is said about the rest is plain text.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/abort.h"
#include "../../plugins/auth-oauth2/answer.h"
#include "../../plugins/auth-oauth2/jwks.h"
#include "../../plugins/auth-oauth2/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
plain(const char *s)
{
	for (; *s != '\0'; s++)
		ph_assert((uint8_t)*s >= 0x20 && (uint8_t)*s < 0x7F);
}

static void
answer(int status, struct ph_str in)
{
	struct oauth_answer a;
	struct oauth_device d;

	oauth_answer_parse(status, in, &a);
	plain(a.why);
	plain(a.error);
	ph_assert((a.fault == OAUTH_FINE) == (a.access_token != NULL));
	if (a.access_token != NULL) {
		ph_assert(oauth_token_valid((struct ph_str){ a.access_token, strlen(a.access_token) }));
		ph_assert(a.expires_s >= 0 && a.expires_s <= 366 * 86400);
	}
	oauth_answer_done(&a);
	if (oauth_device_parse(status, in, &d) == 0) {
		plain(d.user_code);
		plain(d.uri);
		plain(d.complete);
		ph_assert(d.interval_s >= 0 && d.interval_s <= 60);
	}
	plain(d.why);
	oauth_device_done(&d);
}

static void
token(struct ph_str in)
{
	static const char *const user_claims[] = { "email", "sub" };
	struct oauth_expected e = { .user_claims = { user_claims, 2 }, .now_s = 1000 };
	struct oauth_jwks *keys = calloc(1, sizeof *keys);
	char user[256], why[200];
	struct oauth_jwt j;
	int64_t expires;
	const char *text;

	if (oauth_jwt_parse(in, &j, &text) == 0) {
		ph_assert(j.alg != OAUTH_ALG_NONE);
		if (oauth_claims_check(j.claims, &e, true, user, &expires, why) == 0)
			for (const char *s = user; *s != '\0'; s++)
				ph_assert((uint8_t)*s >= 0x20 && *s != 0x7F);
		oauth_jwt_done(&j);
	}
	if (keys != NULL && oauth_jwks_parse(in, keys) == 0)
		ph_assert(keys->n > 0 && keys->n <= OAUTH_KEYS_MOST);
	if (keys != NULL)
		oauth_jwks_done(keys);
	free(keys);
}

/* What was read can be said again, and then reads the same. */
static void
message(enum oauth_mechanism mech, struct ph_str in)
{
	struct oauth_message m, again;
	struct oauth_text t = { 0 };
	char words[300];

	oauth_refusal_read(in, words, sizeof words);
	plain(words);
	if (oauth_message_parse(mech, in, &m) != 0)
		return;
	ph_assert(oauth_token_valid(m.token));
	if (m.user[0] == '\0')
		return;
	ph_assert(oauth_message_build(mech, m.user, (struct ph_str){ NULL, 0 }, 0, m.token, &t) == 0);
	ph_assert(oauth_message_parse(mech, (struct ph_str){ t.p, t.n }, &again) == 0);
	ph_assert(strcmp(m.user, again.user) == 0 && m.token.n == again.token.n);
	ph_assert(memcmp(m.token.p, again.token.p, m.token.n) == 0);
	oauth_text_done(&t);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ph_str in = { (const char *)data, size };

	if (size == 0)
		return 0;
	in.p++;
	in.n--;
	switch (data[0] % 4) {
	case 0:
		answer(data[0] & 64 ? 400 : 200, in);
		break;
	case 1:
		token(in);
		break;
	default:
		message(data[0] % 4 == 2 ? OAUTH_XOAUTH2 : OAUTH_BEARER, in);
		break;
	}
	return 0;
}
