/*
 * jwks.c - a set of public keys.
 */
#include "jwks.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/param_build.h>
#include <stdlib.h>
#include <string.h>

enum { JWKS_MOST = 256 * 1024, NUMBER_MOST = 1024, KID_MOST = 256 };

static int
number_of(const json_t *jwk, const char *name, uint8_t out[NUMBER_MOST])
{
	const json_t *v = json_object_get(jwk, name);
	struct ph_str s = { json_string_value(v), json_string_length(v) };

	return s.p != NULL && s.n > 0 ? oauth_base64url_decode(s, out, NUMBER_MOST) : PH_EINVAL;
}

static EVP_PKEY *
key_from(const char *type, OSSL_PARAM_BLD *bld)
{
	OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(bld);
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	EVP_PKEY *key = NULL;

	if (params == NULL || ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
	    EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1) {
		EVP_PKEY_free(key);
		key = NULL;
	}
	EVP_PKEY_CTX_free(ctx);
	OSSL_PARAM_free(params);
	return key;
}

static EVP_PKEY *
rsa_key(const json_t *jwk)
{
	uint8_t nb[NUMBER_MOST], eb[NUMBER_MOST];
	int nn = number_of(jwk, "n", nb), en = number_of(jwk, "e", eb);
	OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
	BIGNUM *n = nn > 0 ? BN_bin2bn(nb, nn, NULL) : NULL;
	/* A huge exponent makes each check cost what a signature costs. */
	BIGNUM *e = en > 0 && en <= 8 ? BN_bin2bn(eb, en, NULL) : NULL;
	EVP_PKEY *key = NULL;

	if (bld != NULL && n != NULL && e != NULL && BN_num_bits(n) <= 8192 &&
	    OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
	    OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, e) == 1)
		key = key_from("RSA", bld);
	OSSL_PARAM_BLD_free(bld);
	BN_free(n);
	BN_free(e);
	return key;
}

static EVP_PKEY *
ec_key(const json_t *jwk)
{
	const char *crv = json_string_value(json_object_get(jwk, "crv")), *group = NULL;
	uint8_t xb[NUMBER_MOST], yb[NUMBER_MOST], point[2 * NUMBER_MOST + 1];
	int xn = number_of(jwk, "x", xb), yn = number_of(jwk, "y", yb), part = 0;
	OSSL_PARAM_BLD *bld;
	EVP_PKEY *key = NULL;

	if (crv != NULL && strcmp(crv, "P-256") == 0) {
		group = "prime256v1";
		part = 32;
	} else if (crv != NULL && strcmp(crv, "P-384") == 0) {
		group = "secp384r1";
		part = 48;
	}
	if (group == NULL || xn != part || yn != part)
		return NULL;
	point[0] = 4;                   /* uncompressed */
	memcpy(point + 1, xb, (size_t)part);
	memcpy(point + 1 + part, yb, (size_t)part);
	bld = OSSL_PARAM_BLD_new();
	if (bld != NULL &&
	    OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, group, 0) == 1 &&
	    OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, point,
	        (size_t)part * 2 + 1) == 1)
		key = key_from("EC", bld);
	OSSL_PARAM_BLD_free(bld);
	return key;
}

static void
take_key(struct oauth_jwks *out, const json_t *jwk)
{
	const char *kty = json_string_value(json_object_get(jwk, "kty"));
	const char *use = json_string_value(json_object_get(jwk, "use"));
	const char *alg = json_string_value(json_object_get(jwk, "alg"));
	const char *kid = json_string_value(json_object_get(jwk, "kid"));
	struct oauth_jwk k = { .alg = oauth_alg_of(alg) };

	if (kty == NULL || (use != NULL && strcmp(use, "sig") != 0) ||
	    (alg != NULL && k.alg == OAUTH_ALG_NONE) || (kid != NULL && strlen(kid) > KID_MOST) ||
	    out->n == OAUTH_KEYS_MOST)
		return;
	if (strcmp(kty, "RSA") == 0)
		k.key = rsa_key(jwk);
	else if (strcmp(kty, "EC") == 0)
		k.key = ec_key(jwk);
	if (k.key == NULL)
		return;
	if (kid != NULL) {
		k.kid = oauth_copy(kid, strlen(kid));
		if (k.kid == NULL) {
			EVP_PKEY_free(k.key);
			return;
		}
	}
	out->v[out->n++] = k;
}

int
oauth_jwks_parse(struct ph_str json, struct oauth_jwks *out)
{
	json_t *o = json.n > 0 && json.n <= JWKS_MOST ? json_loadb(json.p, json.n, 0, NULL) : NULL;
	const json_t *keys = json_object_get(o, "keys");

	out->n = 0;
	for (size_t i = 0; i < json_array_size(keys); i++)
		take_key(out, json_array_get(keys, i));
	json_decref(o);
	return out->n > 0 ? 0 : PH_EINVAL;
}

void
oauth_jwks_done(struct oauth_jwks *k)
{
	for (size_t i = 0; i < k->n; i++) {
		free(k->v[i].kid);
		EVP_PKEY_free(k->v[i].key);
	}
	k->n = 0;
}

static bool
may_be(const struct oauth_jwk *k, const struct oauth_jwt *j)
{
	return (j->kid == NULL || (k->kid != NULL && strcmp(j->kid, k->kid) == 0)) &&
	    (k->alg == OAUTH_ALG_NONE || k->alg == j->alg) && oauth_alg_fits(j->alg, k->key);
}

bool
oauth_jwks_knows(const struct oauth_jwks *k, const struct oauth_jwt *j)
{
	for (size_t i = 0; i < k->n; i++)
		if (may_be(&k->v[i], j))
			return true;
	return false;
}

/* A token that names no key may be tried with few: a set of a hundred would be work for who
 * has sent nothing but noise. */
bool
oauth_jwks_signed(const struct oauth_jwks *k, const struct oauth_jwt *j)
{
	int tries = 4;

	for (size_t i = 0; i < k->n && tries > 0; i++) {
		if (!may_be(&k->v[i], j))
			continue;
		tries--;
		if (oauth_jwt_signed_by(j, k->v[i].key))
			return true;
	}
	return false;
}
