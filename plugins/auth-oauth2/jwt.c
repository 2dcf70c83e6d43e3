/*
 * jwt.c - signed JSON tokens, made and taken apart.
 *
 * The algorithm is the verifier's choice, not the token's: the name in the
 * header selects from a table without "none" and without shared secrets, and the
 * key must be of the kind that the name wants (RFC 8725 3.1).
 */
#include "jwt.h"

#include <openssl/bio.h>
#include <openssl/ecdsa.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_MOST = 4096, CLAIMS_MOST = 16384, RSA_LEAST_BITS = 2048 };

static const struct alg {
	const char *name;
	int kind;                       /* EVP_PKEY_RSA, EVP_PKEY_EC */
	bool pss;
	const char *digest, *curve;
	int part;                       /* EC: bytes of r and of s */
} algs[] = {
	[OAUTH_RS256] = { "RS256", EVP_PKEY_RSA, false, "SHA256", NULL, 0 },
	[OAUTH_RS384] = { "RS384", EVP_PKEY_RSA, false, "SHA384", NULL, 0 },
	[OAUTH_RS512] = { "RS512", EVP_PKEY_RSA, false, "SHA512", NULL, 0 },
	[OAUTH_PS256] = { "PS256", EVP_PKEY_RSA, true, "SHA256", NULL, 0 },
	[OAUTH_PS384] = { "PS384", EVP_PKEY_RSA, true, "SHA384", NULL, 0 },
	[OAUTH_PS512] = { "PS512", EVP_PKEY_RSA, true, "SHA512", NULL, 0 },
	[OAUTH_ES256] = { "ES256", EVP_PKEY_EC, false, "SHA256", "prime256v1", 32 },
	[OAUTH_ES384] = { "ES384", EVP_PKEY_EC, false, "SHA384", "secp384r1", 48 },
};

enum oauth_alg
oauth_alg_of(const char *name)
{
	for (size_t i = OAUTH_RS256; name != NULL && i < sizeof algs / sizeof algs[0]; i++)
		if (strcmp(algs[i].name, name) == 0)
			return (enum oauth_alg)i;
	return OAUTH_ALG_NONE;
}

bool
oauth_alg_fits(enum oauth_alg alg, EVP_PKEY *key)
{
	const struct alg *a = &algs[alg];
	char curve[64];
	size_t n;

	if (alg == OAUTH_ALG_NONE || EVP_PKEY_get_base_id(key) != a->kind)
		return false;
	if (a->kind == EVP_PKEY_RSA)
		return EVP_PKEY_get_bits(key) >= RSA_LEAST_BITS;
	return EVP_PKEY_get_group_name(key, curve, sizeof curve, &n) == 1 &&
	    strcmp(curve, a->curve) == 0;
}

/* --- keys --- */

/* Nobody is there to be asked for a pass phrase. */
static int
no_pass_phrase(char *buf, int size, int rwflag, void *arg)
{
	(void)buf, (void)size, (void)rwflag, (void)arg;
	return -1;
}

EVP_PKEY *
oauth_key_read(struct ph_str pem)
{
	BIO *bio = pem.n > 0 && pem.n < 65536 ? BIO_new_mem_buf(pem.p, (int)pem.n) : NULL;
	EVP_PKEY *key = NULL;

	if (bio != NULL)
		key = PEM_read_bio_PrivateKey(bio, NULL, no_pass_phrase, NULL);
	BIO_free(bio);
	return key;
}

static bool
thumb(const X509 *x, const EVP_MD *md, char *out, size_t room)
{
	struct oauth_text t = { 0 };
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	bool ok = X509_digest(x, md, digest, &n) == 1;

	oauth_text_base64url(&t, digest, n);
	ok = ok && !t.failed && t.n < room;
	if (ok)
		memcpy(out, t.p, t.n + 1);
	oauth_text_done(&t);
	return ok;
}

int
oauth_certificate_read(struct ph_str pem, EVP_PKEY *key, char x5t[32], char x5t_s256[48])
{
	BIO *bio = pem.n > 0 && pem.n < 65536 ? BIO_new_mem_buf(pem.p, (int)pem.n) : NULL;
	X509 *x = bio != NULL ? PEM_read_bio_X509(bio, NULL, no_pass_phrase, NULL) : NULL;
	int rc = PH_EINVAL;

	if (x != NULL && thumb(x, EVP_sha1(), x5t, 32) && thumb(x, EVP_sha256(), x5t_s256, 48))
		rc = key == NULL || X509_check_private_key(x, key) == 1 ? 0 : PH_EPERM;
	X509_free(x);
	BIO_free(bio);
	return rc;
}

/* --- signing --- */

/* RFC 7518 3.4: r and s side by side, not DER */
static int
ec_to_jws(const struct alg *a, const uint8_t *der, size_t n, uint8_t *out)
{
	ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)n);
	const BIGNUM *r, *s;
	int rc = PH_EINVAL;

	if (sig == NULL)
		return PH_EINVAL;
	ECDSA_SIG_get0(sig, &r, &s);
	if (BN_bn2binpad(r, out, a->part) == a->part &&
	    BN_bn2binpad(s, out + a->part, a->part) == a->part)
		rc = 2 * a->part;
	ECDSA_SIG_free(sig);
	return rc;
}

static bool
digest_begin(EVP_MD_CTX *ctx, const struct alg *a, EVP_PKEY *key, bool sign)
{
	EVP_PKEY_CTX *kctx = NULL;
	const EVP_MD *md = EVP_get_digestbyname(a->digest);
	int ok = sign ? EVP_DigestSignInit(ctx, &kctx, md, NULL, key)
		      : EVP_DigestVerifyInit(ctx, &kctx, md, NULL, key);

	if (ok != 1 || !a->pss)
		return ok == 1;
	/* RFC 7518 3.5: the salt is as long as the digest */
	return EVP_PKEY_CTX_set_rsa_padding(kctx, RSA_PKCS1_PSS_PADDING) == 1 &&
	    EVP_PKEY_CTX_set_rsa_pss_saltlen(kctx, RSA_PSS_SALTLEN_DIGEST) == 1;
}

static void
add_json(struct oauth_text *out, const json_t *o)
{
	char *s = json_dumps(o, JSON_COMPACT);
	json_malloc_t alloc;
	json_free_t release;

	if (s == NULL) {
		out->failed = true;
		return;
	}
	oauth_text_base64url(out, s, strlen(s));
	json_get_alloc_funcs(&alloc, &release);
	release(s);
}

int
oauth_jwt_sign(enum oauth_alg alg, EVP_PKEY *key, const json_t *header, const json_t *claims,
               struct oauth_text *out)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t sig[1024], raw[128];
	size_t n = sizeof sig;
	int rc = PH_EINVAL;

	add_json(out, header);
	oauth_text_adds(out, ".");
	add_json(out, claims);
	if (ctx != NULL && !out->failed && oauth_alg_fits(alg, key) &&
	    (size_t)EVP_PKEY_get_size(key) <= sizeof sig &&
	    digest_begin(ctx, &algs[alg], key, true) &&
	    EVP_DigestSign(ctx, sig, &n, (const uint8_t *)out->p, out->n) == 1)
		rc = 0;
	EVP_MD_CTX_free(ctx);
	if (rc != 0)
		return rc;
	oauth_text_adds(out, ".");
	if (algs[alg].kind == EVP_PKEY_EC) {
		int m = ec_to_jws(&algs[alg], sig, n, raw);

		if (m < 0)
			return m;
		oauth_text_base64url(out, raw, (size_t)m);
	} else
		oauth_text_base64url(out, sig, n);
	return out->failed ? PH_ENOMEM : 0;
}

/* --- reading --- */

static json_t *
decode_part(struct ph_str part, size_t most)
{
	uint8_t *buf = malloc(most);
	json_t *o = NULL;
	int n;

	if (buf == NULL)
		return NULL;
	n = oauth_base64url_decode(part, buf, most);
	/* A claim said twice means one thing here and another there. */
	if (n > 0)
		o = json_loadb((const char *)buf, (size_t)n, JSON_REJECT_DUPLICATES, NULL);
	ph_wipe(buf, most);
	free(buf);
	if (json_is_object(o))
		return o;
	json_decref(o);
	return NULL;
}

int
oauth_jwt_parse(struct ph_str token, struct oauth_jwt *out, const char **why)
{
	const char *dot1 = token.n > 0 ? memchr(token.p, '.', token.n) : NULL, *dot2 = NULL, *end;
	struct ph_str head, body, sig;
	int n;

	*out = (struct oauth_jwt){ 0 };
	*why = "it is no signed JSON token";
	if (dot1 == NULL)
		return PH_EINVAL;
	end = token.p + token.n;
	dot2 = memchr(dot1 + 1, '.', (size_t)(end - dot1 - 1));
	if (dot2 == NULL)
		return PH_EINVAL;
	head = (struct ph_str){ token.p, (size_t)(dot1 - token.p) };
	body = (struct ph_str){ dot1 + 1, (size_t)(dot2 - dot1 - 1) };
	sig = (struct ph_str){ dot2 + 1, (size_t)(end - dot2 - 1) };
	n = oauth_base64url_decode(sig, out->signature, sizeof out->signature);
	if (n < 0)
		return PH_EINVAL;
	out->signature_n = (size_t)n;
	out->signed_part = (struct ph_str){ token.p, (size_t)(dot2 - token.p) };
	out->header = decode_part(head, HEADER_MOST);
	out->claims = decode_part(body, CLAIMS_MOST);
	if (out->header == NULL || out->claims == NULL)
		goto fail;
	out->alg = oauth_alg_of(json_string_value(json_object_get(out->header, "alg")));
	out->kid = json_string_value(json_object_get(out->header, "kid"));
	*why = "its algorithm is not accepted (none, shared secrets and unknown ones are not)";
	if (out->alg == OAUTH_ALG_NONE)
		goto fail;
	/* RFC 7515 4.1.11: what must be understood and is not */
	*why = "it wants an extension to be understood (crit)";
	if (json_object_get(out->header, "crit") != NULL)
		goto fail;
	return 0;
fail:
	oauth_jwt_done(out);
	return PH_EINVAL;
}

void
oauth_jwt_done(struct oauth_jwt *j)
{
	json_decref(j->header);
	json_decref(j->claims);
	*j = (struct oauth_jwt){ 0 };
}

static int
jws_to_ec(const struct alg *a, const uint8_t *raw, uint8_t *der, size_t room)
{
	ECDSA_SIG *sig = ECDSA_SIG_new();
	BIGNUM *r = BN_bin2bn(raw, a->part, NULL), *s = BN_bin2bn(raw + a->part, a->part, NULL);
	uint8_t *p = der;
	int n = PH_EINVAL;

	if (sig != NULL && r != NULL && s != NULL && ECDSA_SIG_set0(sig, r, s) == 1) {
		r = s = NULL;           /* they are sig's now */
		if (i2d_ECDSA_SIG(sig, NULL) > 0 && (size_t)i2d_ECDSA_SIG(sig, NULL) <= room)
			n = i2d_ECDSA_SIG(sig, &p);
	}
	BN_free(r);
	BN_free(s);
	ECDSA_SIG_free(sig);
	return n;
}

bool
oauth_jwt_signed_by(const struct oauth_jwt *j, EVP_PKEY *key)
{
	const struct alg *a = &algs[j->alg];
	const uint8_t *sig = j->signature;
	size_t n = j->signature_n;
	uint8_t der[160];
	EVP_MD_CTX *ctx;
	bool ok;

	if (!oauth_alg_fits(j->alg, key))
		return false;
	if (a->kind == EVP_PKEY_EC) {
		int m = n == (size_t)a->part * 2 ? jws_to_ec(a, sig, der, sizeof der) : PH_EINVAL;

		if (m < 0)
			return false;
		sig = der;
		n = (size_t)m;
	}
	ctx = EVP_MD_CTX_new();
	ok = ctx != NULL && digest_begin(ctx, a, key, false) &&
	    EVP_DigestVerify(ctx, sig, n, (const uint8_t *)j->signed_part.p, j->signed_part.n) == 1;
	EVP_MD_CTX_free(ctx);
	return ok;
}
