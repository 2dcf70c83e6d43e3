/*
 * test_oauth.c - messages of XOAUTH2 and OAUTHBEARER, answers of token
 * endpoints, signed tokens and keys: made, read, forged and cut.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../plugins/auth-oauth2/jwks.h"
#include "../../plugins/auth-oauth2/message.h"
#include "../../plugins/auth-oauth2/oauth.h"

static struct ph_str
S(const char *s)
{
	return (struct ph_str){ s, strlen(s) };
}

/* --- text --- */

static void
forms_are_escaped(void **state)
{
	struct oauth_text t = { 0 };

	(void)state;
	oauth_text_form(&t, "client_id", "relay-client", 12);
	oauth_text_form(&t, "client_secret", "s3cr3t/+=&%\303\251 ~", 15);
	assert_string_equal(t.p, "client_id=relay-client&client_secret=s3cr3t%2F%2B%3D%26%25%C3%A9%20~");
	oauth_text_done(&t);
	t.most = 10;
	oauth_text_adds(&t, "12345678901");
	assert_true(t.failed);
	oauth_text_done(&t);
}

static void
base64url_is_strict(void **state)
{
	static const struct { const char *text; int n; const char *bytes; } cases[] = {
		{ "", 0, "" }, { "Zg", 1, "f" }, { "Zm8", 2, "fo" }, { "Zm9v", 3, "foo" },
		{ "-_8", 2, "\373\377" }, { "Zg==", PH_EINVAL, NULL }, { "Z", PH_EINVAL, NULL },
		{ "Zh", PH_EINVAL, NULL }, { "Zm9", PH_EINVAL, NULL }, { "+/8", PH_EINVAL, NULL },
		{ "Zm 9v", PH_EINVAL, NULL },
	};
	struct oauth_text t = { 0 };
	uint8_t out[8];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int n = oauth_base64url_decode(S(cases[i].text), out, sizeof out);

		assert_int_equal(n, cases[i].n);
		if (n <= 0)
			continue;
		assert_memory_equal(out, cases[i].bytes, (size_t)n);
		oauth_text_base64url(&t, out, (size_t)n);
		assert_string_equal(t.p, cases[i].text);
		oauth_text_done(&t);
	}
	assert_int_equal(oauth_base64url_decode(S("Zm9vZm9vZm9v"), out, sizeof out), PH_ELIMIT);
}

/* --- messages --- */

static void
messages_are_built(void **state)
{
	struct oauth_text t = { 0 };

	(void)state;
	assert_int_equal(oauth_message_build(OAUTH_XOAUTH2, "alice@lab.test", S("h"), 25, S("T0k.en-_~+/="), &t), 0);
	assert_string_equal(t.p, "user=alice@lab.test\001auth=Bearer T0k.en-_~+/=\001\001");
	oauth_text_done(&t);
	assert_int_equal(oauth_message_build(OAUTH_BEARER, "a=b,c@lab.test", S("smtp.example"), 587, S("tok"), &t), 0);
	assert_string_equal(t.p, "n,a=a=3Db=2Cc@lab.test,\001host=smtp.example\001port=587\001auth=Bearer tok\001\001");
	oauth_text_done(&t);
	/* RFC 7628 4.1 */
	assert_int_equal(oauth_message_build(OAUTH_BEARER, "user@example.com", S("server.example.com"), 143,
	    S("vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="), &t), 0);
	assert_string_equal(t.p, "n,a=user@example.com,\001host=server.example.com\001port=143\001"
	    "auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\001\001");
	oauth_text_done(&t);
	assert_int_equal(oauth_message_build(OAUTH_XOAUTH2, "a\001auth=Bearer x", S(""), 0, S("tok"), &t), PH_EINVAL);
	assert_int_equal(oauth_message_build(OAUTH_XOAUTH2, "", S(""), 0, S("tok"), &t), PH_EINVAL);
	assert_int_equal(oauth_message_build(OAUTH_XOAUTH2, "a", S(""), 0, S("to\001k"), &t), PH_EINVAL);
	assert_int_equal(oauth_message_build(OAUTH_XOAUTH2, "a", S(""), 0, S(""), &t), PH_EINVAL);
	assert_int_equal(oauth_message_build(OAUTH_BEARER, "a", S("h\nx"), 0, S("tok"), &t), PH_EINVAL);
	assert_int_equal(t.n, 0);
	oauth_text_done(&t);
}

static void
messages_are_read(void **state)
{
	static const struct { enum oauth_mechanism m; const char *in, *user, *token; } cases[] = {
		{ OAUTH_XOAUTH2, "user=alice\001auth=Bearer tok\001\001", "alice", "tok" },
		{ OAUTH_XOAUTH2, "user=alice\001auth=bearer   tok\001\001", "alice", "tok" },
		{ OAUTH_XOAUTH2, "user=alice\001vendor=x\001auth=Bearer tok\001\001", "alice", "tok" },
		{ OAUTH_XOAUTH2, "auth=Bearer tok\001\001", NULL, NULL },
		{ OAUTH_XOAUTH2, "user=alice\001\001", NULL, NULL },
		{ OAUTH_XOAUTH2, "user=alice\001user=bob\001auth=Bearer tok\001\001", NULL, NULL },
		{ OAUTH_XOAUTH2, "user=alice\001auth=Bearer tok\001", NULL, NULL },
		{ OAUTH_XOAUTH2, "user=alice\001\001auth=Bearer tok\001\001", NULL, NULL },
		{ OAUTH_XOAUTH2, "user=al\nice\001auth=Bearer tok\001\001", NULL, NULL },
		{ OAUTH_BEARER, "n,a=alice@lab.test,\001host=h\001port=25\001auth=Bearer tok\001\001", "alice@lab.test", "tok" },
		{ OAUTH_BEARER, "y,,\001auth=Bearer tok\001\001", "", "tok" },
		{ OAUTH_BEARER, "n,a=a=3Db=2Cc,\001auth=Bearer tok==\001\001", "a=b,c", "tok==" },
		{ OAUTH_BEARER, "n,a=a=3db,\001auth=Bearer tok\001\001", NULL, NULL },
		{ OAUTH_BEARER, "p=tls-unique,,\001auth=Bearer tok\001\001", NULL, NULL },
		{ OAUTH_BEARER, "n,,\001\001", NULL, NULL },
		{ OAUTH_BEARER, "n\001auth=Bearer tok\001\001", NULL, NULL },
		{ OAUTH_BEARER, "n,a=x,y,\001auth=Bearer tok\001\001", NULL, NULL },
		{ OAUTH_BEARER, "n,a=,\001auth=Bearer tok\001\001", NULL, NULL },
		{ OAUTH_BEARER, "n,,\001auth=Basic tok\001\001", NULL, NULL },
		{ OAUTH_BEARER, "n,,\001auth=Bearer tok=x\001\001", NULL, NULL },
		{ OAUTH_BEARER, "n,,\001auth=Bearer tok\001=x\001\001", NULL, NULL },
		{ OAUTH_BEARER, "n,,\001auth=Bearer tok\001xx\001\001", NULL, NULL },
		{ OAUTH_BEARER, "", NULL, NULL }, { OAUTH_BEARER, "\001", NULL, NULL },
	};
	struct oauth_message m;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct ph_str in = S(cases[i].in);
		int rc = oauth_message_parse(cases[i].m, in, &m);

		if (rc != (cases[i].user != NULL ? 0 : PH_EINVAL))
			fail_msg("case %zu: %d", i, rc);
		if (rc == 0) {
			assert_string_equal(m.user, cases[i].user);
			assert_int_equal(m.token.n, strlen(cases[i].token));
			assert_memory_equal(m.token.p, cases[i].token, m.token.n);
		}
		/* no shorter one is whole */
		for (size_t n = 0; n < in.n; n++) {
			char *part = malloc(n + 1);

			memcpy(part, in.p, n);
			assert_int_equal(oauth_message_parse(cases[i].m, (struct ph_str){ part, n }, &m), PH_EINVAL);
			free(part);
		}
	}
}

static void
refusals_are_read(void **state)
{
	struct oauth_text t = { 0 };
	char out[300];

	(void)state;
	oauth_refusal_build("invalid_token", "mail", NULL, &t);
	oauth_refusal_read((struct ph_str){ t.p, t.n }, out, sizeof out);
	assert_string_equal(out, "status invalid_token, scope wanted mail");
	oauth_text_done(&t);
	oauth_refusal_read(S("{\"status\":\"4\\n00\"}"), out, sizeof out);
	assert_string_equal(out, "status 4");
	oauth_refusal_read(S("rubbish"), out, sizeof out);
	assert_string_equal(out, "status not said");
	oauth_refusal_read((struct ph_str){ NULL, 0 }, out, sizeof out);
	assert_string_equal(out, "status not said");
}

/* --- answers --- */

static void
answers_are_read(void **state)
{
	static const struct { int status; const char *body; enum oauth_fault fault; int64_t life; const char *why; } cases[] = {
		{ 200, "{\"token_type\":\"Bearer\",\"expires_in\":3599,\"access_token\":\"tok\"}", OAUTH_FINE, 3599, "" },
		{ 200, "{\"token_type\":\"bearer\",\"expires_in\":\"60\",\"access_token\":\"tok\",\"x\":1}", OAUTH_FINE, 60, "" },
		{ 200, "{\"access_token\":\"tok\"}", OAUTH_FINE, 3600, "" },
		{ 200, "{\"access_token\":\"tok\",\"expires_in\":-5}", OAUTH_FINE, 3600, "" },
		{ 200, "{\"access_token\":\"tok\",\"expires_in\":1e300}", OAUTH_FINE, 366 * 86400, "" },
		{ 200, "{\"access_token\":\"tok\",\"expires_in\":\"99999999999999999999\"}", OAUTH_FINE, 366 * 86400, "" },
		{ 200, "{\"access_token\":\"tok\",\"token_type\":\"mac\"}", OAUTH_DOWN, 0, "no bearer" },
		{ 200, "{\"access_token\":\"t\\u0001k\"}", OAUTH_DOWN, 0, "characters" },
		{ 200, "{\"access_token\":\"t k\"}", OAUTH_DOWN, 0, "characters" },
		{ 200, "{\"access_token\":5}", OAUTH_DOWN, 0, "it says 200" },
		{ 200, "{\"access_token\":\"a\",\"access_token\":\"b\"}", OAUTH_DOWN, 0, "not an answer" },
		{ 200, "[]", OAUTH_DOWN, 0, "not an answer" }, { 200, "", OAUTH_DOWN, 0, "not an answer" },
		{ 200, "<html>", OAUTH_DOWN, 0, "not an answer" }, { 503, "<html>", OAUTH_DOWN, 0, "it says 503" },
		{ 302, "", OAUTH_DOWN, 0, "redirection" },
		{ 401, "{\"error\":\"invalid_client\"}", OAUTH_REFUSED, 0, "renew" },
		{ 401, "{\"error\":\"invalid_client\",\"error_description\":\"AADSTS7000222: expired.\\r\\nTrace ID: x\"}",
		    OAUTH_REFUSED, 0, "has expired" },
		{ 400, "{\"error\":\"invalid_request\",\"error_description\":\"AADSTS900023: x\"}", OAUTH_REFUSED, 0, "look at tenant" },
		{ 400, "{\"error\":\"invalid_grant\"}", OAUTH_REFUSED, 0, "posthouse oauth login" },
		{ 400, "{\"error\":\"authorization_pending\"}", OAUTH_PENDING, 0, "" },
		{ 400, "{\"error\":\"slow_down\"}", OAUTH_SLOW_DOWN, 0, "" },
		{ 429, "{\"error\":\"temporarily_unavailable\"}", OAUTH_DOWN, 0, "429" },
		{ 503, "{\"error\":\"invalid_client\"}", OAUTH_DOWN, 0, "503" },
		{ 400, "{\"error\":\"what\\u0007ever\"}", OAUTH_REFUSED, 0, "what?ever" },
	};
	struct oauth_answer a;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct ph_str in = S(cases[i].body);

		oauth_answer_parse(cases[i].status, in, &a);
		if (a.fault != cases[i].fault || strstr(a.why, cases[i].why) == NULL)
			fail_msg("case %zu: %d %s", i, a.fault, a.why);
		assert_int_equal(a.expires_s, cases[i].life);
		assert_true((a.access_token != NULL) == (a.fault == OAUTH_FINE));
		assert_null(strchr(a.why, '\n'));
		oauth_answer_done(&a);
		for (size_t n = 0; n < in.n; n++) {
			char *part = malloc(n + 1);

			memcpy(part, in.p, n);
			oauth_answer_parse(cases[i].status, (struct ph_str){ part, n }, &a);
			assert_int_not_equal(a.fault, OAUTH_FINE);
			oauth_answer_done(&a);
			free(part);
		}
	}
}

static void
a_long_token_is_no_token(void **state)
{
	char body[9000] = "{\"access_token\":\"";
	struct oauth_answer a;
	size_t n = strlen(body);

	(void)state;
	memset(body + n, 'x', OAUTH_TOKEN_MOST);
	memcpy(body + n + OAUTH_TOKEN_MOST, "\"}", 3);
	oauth_answer_parse(200, S(body), &a);
	assert_int_equal(a.fault, OAUTH_FINE);
	oauth_answer_done(&a);
	memcpy(body + n + OAUTH_TOKEN_MOST, "x\"}", 4);
	oauth_answer_parse(200, S(body), &a);
	assert_int_equal(a.fault, OAUTH_DOWN);
	oauth_answer_done(&a);
}

static void
device_answers_are_read(void **state)
{
	struct oauth_device d;

	(void)state;
	assert_int_equal(oauth_device_parse(200, S("{\"device_code\":\"dc\",\"user_code\":\"AB\\nCD\",\"verification_url\":\"https://x/\","
	    "\"interval\":1000,\"expires_in\":600}"), &d), 0);
	assert_string_equal(d.device_code, "dc");
	assert_string_equal(d.user_code, "AB");
	assert_string_equal(d.uri, "https://x/");
	assert_int_equal(d.interval_s, 60);
	oauth_device_done(&d);
	assert_int_equal(oauth_device_parse(400, S("{\"error\":\"invalid_scope\"}"), &d), PH_EPROTO);
	assert_non_null(strstr(d.why, "scope"));
	assert_int_equal(oauth_device_parse(200, S("{}"), &d), PH_EPROTO);
}

static void
urls_are_looked_at(void **state)
{
	static const struct { const char *url; bool good; } cases[] = {
		{ "https://login.microsoftonline.com/x/token", true }, { "http://127.0.0.1:4080/token", true },
		{ "http://localhost/token", true }, { "http://[::1]:1/t", true },
		{ "http://example.com/token", false }, { "http://127.0.0.1.example.com/", false },
		{ "http://127.0.0.1:x@example.com/", false }, { "http://localhostile/", false },
		{ "ftp://127.0.0.1/", false }, { "file:///etc/passwd", false }, { "https://", false },
		{ "https:///x", false }, { "https://a b/", false }, { "", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		if (oauth_url_good(cases[i].url) != cases[i].good)
			fail_msg("%s", cases[i].url);
}

/* --- signed tokens --- */

static EVP_PKEY *rsa, *rsa2, *ec;

static int
make_keys(void **state)
{
	(void)state;
	oauth_json_wipes();
	rsa = EVP_RSA_gen(2048);
	rsa2 = EVP_RSA_gen(2048);
	ec = EVP_EC_gen("P-256");
	return rsa != NULL && rsa2 != NULL && ec != NULL ? 0 : -1;
}

static int
drop_keys(void **state)
{
	(void)state;
	EVP_PKEY_free(rsa);
	EVP_PKEY_free(rsa2);
	EVP_PKEY_free(ec);
	return 0;
}

static void
sign(enum oauth_alg alg, const char *name, EVP_PKEY *key, const char *claims, struct oauth_text *out)
{
	json_t *h = json_pack("{s:s, s:s}", "alg", name, "kid", "k1"), *c = json_loads(claims, 0, NULL);

	assert_int_equal(oauth_jwt_sign(alg, key, h, c, out), 0);
	json_decref(h);
	json_decref(c);
}

static void
signatures_are_checked(void **state)
{
	struct { enum oauth_alg alg; const char *name; EVP_PKEY *key, *other; } cases[] = {
		{ OAUTH_RS256, "RS256", rsa, rsa2 }, { OAUTH_PS256, "PS256", rsa, rsa2 },
		{ OAUTH_RS384, "RS384", rsa, ec }, { OAUTH_PS512, "PS512", rsa, rsa2 },
		{ OAUTH_ES256, "ES256", ec, rsa },
	};
	const char *why;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct oauth_text t = { 0 };
		struct oauth_jwt j;

		sign(cases[i].alg, cases[i].name, cases[i].key, "{\"sub\":\"alice\"}", &t);
		assert_int_equal(oauth_jwt_parse((struct ph_str){ t.p, t.n }, &j, &why), 0);
		assert_string_equal(j.kid, "k1");
		assert_true(oauth_jwt_signed_by(&j, cases[i].key));
		assert_false(oauth_jwt_signed_by(&j, cases[i].other));
		j.signature[j.signature_n / 2] ^= 1;
		assert_false(oauth_jwt_signed_by(&j, cases[i].key));
		j.signature[j.signature_n / 2] ^= 1;
		j.signature_n--;
		assert_false(oauth_jwt_signed_by(&j, cases[i].key));
		oauth_jwt_done(&j);
		/* a bit of what is signed */
		t.p[t.n / 3] = t.p[t.n / 3] == 'A' ? 'B' : 'A';
		if (oauth_jwt_parse((struct ph_str){ t.p, t.n }, &j, &why) == 0)
			assert_false(oauth_jwt_signed_by(&j, cases[i].key));
		oauth_jwt_done(&j);
		oauth_text_done(&t);
	}
}

static void
weak_algorithms_are_none(void **state)
{
	static const char *const names[] = { "none", "None", "NONE", "", "HS256", "HS384", "HS512", "RS1", "rs256", "ES256K", "EdDSA" };

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		assert_int_equal(oauth_alg_of(names[i]), OAUTH_ALG_NONE);
	assert_int_equal(oauth_alg_of(NULL), OAUTH_ALG_NONE);
	assert_false(oauth_alg_fits(OAUTH_ALG_NONE, rsa));
	assert_false(oauth_alg_fits(OAUTH_RS256, ec));
	assert_false(oauth_alg_fits(OAUTH_ES256, rsa));
	assert_false(oauth_alg_fits(OAUTH_ES384, ec));
}

static void
rubbish_is_no_token(void **state)
{
	static const char *const cases[] = { "", ".", "..", "a.b", "a.b.c", "e30.e30.", "e30.e30.AA", "e30.e30.AA.AA", "W10.e30.AA",
		"eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOjV9.e30.AA", "eyJhbGciOiJSUzI1NiIsImNyaXQiOltdfQ.e30.AA" };
	struct oauth_jwt j;
	const char *why;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		if (oauth_jwt_parse(S(cases[i]), &j, &why) != PH_EINVAL)
			fail_msg("%s", cases[i]);
}

static const char *const an_issuer[] = { "https://i.example" }, *const an_audience[] = { "relay" };
static const char *const a_scope[] = { "mail" }, *const a_claim[] = { "email", "sub" };

#define CLAIMS "{\"iss\":\"https://i.example\",\"aud\":\"relay\",\"exp\":1100,\"scope\":\"mail\","
static void
claims_are_checked(void **state)
{
	static const struct { const char *claims; int rc; const char *words; } cases[] = {
		{ "{\"iss\":\"https://i.example\",\"aud\":\"relay\",\"exp\":1100,\"scope\":\"x mail\",\"sub\":\"a\"}", 0, "a" },
		{ "{\"iss\":\"https://i.example\",\"aud\":[\"o\",\"relay\"],\"exp\":1100,\"scp\":[\"mail\"],\"sub\":\"a\",\"email\":\"b@c\"}", 0, "b@c" },
		{ "{\"iss\":\"https://i.example\",\"aud\":\"relay\",\"exp\":1100.5,\"roles\":[\"mail\"],\"sub\":\"a\",\"nbf\":1030}", 0, "a" },
		{ "{\"iss\":\"https://i.example/\",\"aud\":\"relay\",\"exp\":1100,\"scope\":\"mail\",\"sub\":\"a\"}", PH_EPERM, "issuer" },
		{ "{\"aud\":\"relay\",\"exp\":1100,\"scope\":\"mail\",\"sub\":\"a\"}", PH_EPERM, "issuer" },
		{ "{\"iss\":\"https://i.example\",\"aud\":\"relays\",\"exp\":1100,\"scope\":\"mail\",\"sub\":\"a\"}", PH_EPERM, "audience" },
		{ "{\"iss\":\"https://i.example\",\"exp\":1100,\"scope\":\"mail\",\"sub\":\"a\"}", PH_EPERM, "audience" },
		{ "{\"iss\":\"https://i.example\",\"aud\":\"relay\",\"scope\":\"mail\",\"sub\":\"a\"}", PH_EPERM, "expires" },
		{ "{\"iss\":\"https://i.example\",\"aud\":\"relay\",\"exp\":\"1100\",\"scope\":\"mail\",\"sub\":\"a\"}", PH_EPERM, "expires" },
		{ "{\"iss\":\"https://i.example\",\"aud\":\"relay\",\"exp\":0,\"scope\":\"mail\",\"sub\":\"a\"}", PH_EPERM, "expired" },
		{ "{\"iss\":\"https://i.example\",\"aud\":\"relay\",\"exp\":940,\"scope\":\"mail\",\"sub\":\"a\"}", PH_EPERM, "expired" },
		{ "{\"iss\":\"https://i.example\",\"aud\":\"relay\",\"exp\":1100,\"nbf\":1070,\"scope\":\"mail\",\"sub\":\"a\"}", PH_EPERM, "yet" },
		{ "{\"iss\":\"https://i.example\",\"aud\":\"relay\",\"exp\":1100,\"nbf\":\"x\",\"scope\":\"mail\",\"sub\":\"a\"}", PH_EPERM, "yet" },
		{ "{\"iss\":\"https://i.example\",\"aud\":\"relay\",\"exp\":1100,\"scope\":\"mailx\",\"sub\":\"a\"}", PH_EREFUSED, "scope" },
		{ "{\"iss\":\"https://i.example\",\"aud\":\"relay\",\"exp\":1100,\"sub\":\"a\"}", PH_EREFUSED, "scope" },
		{ "{\"iss\":\"https://i.example\",\"aud\":\"relay\",\"exp\":1100,\"scope\":\"mail\"}", PH_EPERM, "nobody" },
		{ "{\"iss\":\"https://i.example\",\"aud\":\"relay\",\"exp\":1100,\"scope\":\"mail\",\"sub\":\"a\\nb\"}", PH_EPERM, "control" },
		{ "{\"iss\":\"https://i.example\",\"aud\":\"relay\",\"exp\":1100,\"scope\":\"mail\",\"email\":\"b@c\",\"email_verified\":false}", PH_EPERM, "verified" },
		{ CLAIMS "\"email\":\"b@c\",\"email_verified\":\"false\"}", PH_EPERM, "verified" },
		{ CLAIMS "\"email\":\"b@c\",\"email_verified\":null}", PH_EPERM, "verified" },
		{ CLAIMS "\"email\":\"b@c\",\"email_verified\":0}", PH_EPERM, "verified" },
		{ CLAIMS "\"email\":\"b@c\",\"email_verified\":\"\"}", PH_EPERM, "verified" },
		{ CLAIMS "\"email\":\"b@c\",\"email_verified\":true}", 0, "b@c" },
		{ CLAIMS "\"email\":\"b@c\",\"email_verified\":\"true\"}", 0, "b@c" },
		/* of an address that is not the login, it says nothing */
		{ CLAIMS "\"sub\":\"a\",\"email\":\"\",\"email_verified\":false}", 0, "a" },
	};
	struct oauth_expected e = { { an_issuer, 1 }, { an_audience, 1 }, { a_scope, 1 }, { a_claim, 2 }, 1000, 60 };
	char user[256], why[200];
	int64_t expires;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		json_t *o = json_loads(cases[i].claims, 0, NULL);
		int rc;

		assert_non_null(o);
		rc = oauth_claims_check(o, &e, false, user, &expires, why);
		if (rc != cases[i].rc || strstr(rc == 0 ? user : why, cases[i].words) == NULL)
			fail_msg("case %zu: %d %s", i, rc, rc == 0 ? user : why);
		json_decref(o);
	}
}

/* --- keys --- */

/* RFC 7515 A.2 and A.3: keys, header and signatures of the standard */
static const char rfc7515_keys[] = "{\"keys\":["
    "{\"kty\":\"RSA\",\"n\":\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-"
    "yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdV"
    "MTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ\",\"e\":\"AQAB\"},"
    "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\",\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}";
static const char rfc7515_es256[] = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
static const char rfc7515_rs256[] = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";

static void
vectors_of_rfc_7515(void **state)
{
	static const char *const tokens[] = { rfc7515_es256, rfc7515_rs256 };
	struct oauth_jwks *keys = calloc(1, sizeof *keys);
	struct oauth_jwt j;
	const char *why;

	(void)state;
	assert_int_equal(oauth_jwks_parse(S(rfc7515_keys), keys), 0);
	assert_int_equal(keys->n, 2);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(oauth_jwt_parse(S(tokens[i]), &j, &why), 0);
		assert_true(oauth_jwks_knows(keys, &j));
		assert_true(oauth_jwks_signed(keys, &j));
		oauth_jwt_done(&j);
	}
	oauth_jwks_done(keys);
	free(keys);
}

static void
key_sets_are_read(void **state)
{
	static const struct { const char *json; size_t n; } cases[] = {
		{ "", 0 }, { "{}", 0 }, { "{\"keys\":[]}", 0 }, { "{\"keys\":[1,{},{\"kty\":\"oct\",\"k\":\"AAAA\"}]}", 0 },
		{ "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\",\"y\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\"}]}", 0 },
		{ "{\"keys\":[{\"kty\":\"EC\",\"use\":\"enc\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\",\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}", 0 },
		{ "{\"keys\":[{\"kty\":\"EC\",\"alg\":\"HS256\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\",\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}", 0 },
		{ rfc7515_keys, 2 },
	};
	struct oauth_jwks *keys = calloc(1, sizeof *keys);

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int rc = oauth_jwks_parse(S(cases[i].json), keys);

		if (rc != (cases[i].n > 0 ? 0 : PH_EINVAL) || keys->n != cases[i].n)
			fail_msg("case %zu: %d %zu", i, rc, keys->n);
		oauth_jwks_done(keys);
	}
	free(keys);
}

/* --- the kept token --- */

static void
tokens_are_kept(void **state)
{
	char dir[] = "/tmp/oauth-unit-XXXXXX", path[64];
	struct ph_secret none = { NULL, 0 }, given = { "given", 5 }, later = { "later", 5 };
	struct oauth_stamp before;
	const char *why;
	struct stat st;
	char *token;
	FILE *f;

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_null(oauth_state_refresh_token(dir, &none, &why));
	assert_null(why);
	token = oauth_state_refresh_token(dir, &given, &why);
	assert_string_equal(token, "given");
	oauth_forget(&token);
	before = oauth_state_stamp(dir);
	assert_int_equal(oauth_state_keep(dir, &given, "rotated"), 0);
	assert_int_not_equal(before.inode, oauth_state_stamp(dir).inode);
	token = oauth_state_refresh_token(dir, &given, &why);
	assert_string_equal(token, "rotated");
	oauth_forget(&token);
	token = oauth_state_refresh_token(dir, &none, &why);
	assert_string_equal(token, "rotated");
	oauth_forget(&token);
	token = oauth_state_refresh_token(dir, &later, &why);
	assert_string_equal(token, "later");
	oauth_forget(&token);
	snprintf(path, sizeof path, "%s/refresh-token", dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs("{\"refresh_tok", f);
	fclose(f);
	assert_null(oauth_state_refresh_token(dir, &none, &why));
	assert_non_null(strstr(why, "damaged"));
	assert_int_equal(unlink(path), 0);
	/* one at a time */
	{
		int fd = oauth_state_lock(dir, 0);

		assert_true(fd >= 0);
		assert_int_equal(oauth_state_lock(dir, 60), PH_EBUSY);
		oauth_state_unlock(fd);
		fd = oauth_state_lock(dir, 0);
		assert_true(fd >= 0);
		oauth_state_unlock(fd);
	}
	snprintf(path, sizeof path, "%s/lock", dir);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(dir), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(forms_are_escaped), cmocka_unit_test(base64url_is_strict),
		cmocka_unit_test(messages_are_built), cmocka_unit_test(messages_are_read),
		cmocka_unit_test(refusals_are_read), cmocka_unit_test(answers_are_read),
		cmocka_unit_test(a_long_token_is_no_token), cmocka_unit_test(device_answers_are_read),
		cmocka_unit_test(urls_are_looked_at), cmocka_unit_test(signatures_are_checked),
		cmocka_unit_test(weak_algorithms_are_none), cmocka_unit_test(rubbish_is_no_token),
		cmocka_unit_test(claims_are_checked), cmocka_unit_test(vectors_of_rfc_7515),
		cmocka_unit_test(key_sets_are_read), cmocka_unit_test(tokens_are_kept),
	};

	return cmocka_run_group_tests(tests, make_keys, drop_keys);
}
