/*
 * jwt.h - signed JSON tokens (RFC 7515, 7519): made for assertions, checked
 * when clients show them.
 */
#ifndef OAUTH_JWT_H
#define OAUTH_JWT_H

#include <jansson.h>
#include <openssl/evp.h>

#include "text.h"

enum oauth_alg { OAUTH_ALG_NONE, OAUTH_RS256, OAUTH_RS384, OAUTH_RS512, OAUTH_PS256, OAUTH_PS384,
	OAUTH_PS512, OAUTH_ES256, OAUTH_ES384 };

/* OAUTH_ALG_NONE for all that is not above, which "none" and the HS family are not: a public
 * key must never serve as a shared secret. */
enum oauth_alg oauth_alg_of(const char *name);
/* The key's kind (and curve) is the one that the algorithm needs. */
bool oauth_alg_fits(enum oauth_alg alg, EVP_PKEY *key);

/* A private key in PEM, not protected by a pass phrase; NULL: not one. */
EVP_PKEY *oauth_key_read(struct ph_str pem);
/* x5t and x5t#S256 of the first certificate in a PEM, base64url.  PH_EINVAL: there is none;
 * PH_EPERM: it belongs to another key. */
int oauth_certificate_read(struct ph_str pem, EVP_PKEY *key, char x5t[32], char x5t_s256[48]);

/* header.claims.signature; both objects are borrowed.  0, PH_EINVAL, PH_ENOMEM. */
int oauth_jwt_sign(enum oauth_alg alg, EVP_PKEY *key, const json_t *header, const json_t *claims,
                   struct oauth_text *out);

struct oauth_jwt {
	json_t *header, *claims;
	enum oauth_alg alg;
	const char *kid;                /* in the header; NULL when not said */
	struct ph_str signed_part;      /* in the token */
	uint8_t signature[1024];
	size_t signature_n;
};
/* Takes it apart; nothing in it is proved by that.  0 or PH_EINVAL with why (a literal). */
int  oauth_jwt_parse(struct ph_str token, struct oauth_jwt *out, const char **why);
void oauth_jwt_done(struct oauth_jwt *j);
bool oauth_jwt_signed_by(const struct oauth_jwt *j, EVP_PKEY *key);

struct oauth_expected {
	struct ph_strings issuers, audiences, scopes, user_claims;
	int64_t now_s, leeway_s;
};
/* Issuer, audience, times, scopes, and the user's name; the signature is another matter.
 * claims may also be an introspection's answer, which need not say when it expires: lenient.
 * 0, or PH_EPERM (PH_EREFUSED: a scope is missing)
 * with why; *expires is their exp, 0 when not said. */
int  oauth_claims_check(const json_t *claims, const struct oauth_expected *e, bool lenient,
                        char user[256], int64_t *expires, char why[200]);

#endif
