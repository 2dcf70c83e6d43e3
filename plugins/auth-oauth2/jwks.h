/*
 * jwks.h - a set of public keys (RFC 7517).
 */
#ifndef OAUTH_JWKS_H
#define OAUTH_JWKS_H

#include "jwt.h"

enum { OAUTH_KEYS_MOST = 100 };

struct oauth_jwk { char *kid; enum oauth_alg alg; EVP_PKEY *key; };     /* alg NONE: any that fits */
struct oauth_jwks { struct oauth_jwk v[OAUTH_KEYS_MOST]; size_t n; };

/* Keys that are not for signatures or of an unknown kind are passed over.  PH_EINVAL: no key
 * set, or no usable key in it; then *out is empty. */
int  oauth_jwks_parse(struct ph_str json, struct oauth_jwks *out);
void oauth_jwks_done(struct oauth_jwks *k);
/* Is there a key of that name that can be the token's?  kid NULL: any that fits. */
bool oauth_jwks_knows(const struct oauth_jwks *k, const struct oauth_jwt *j);
bool oauth_jwks_signed(const struct oauth_jwks *k, const struct oauth_jwt *j);

#endif
