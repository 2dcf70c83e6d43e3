/*
 * plugins/auth-basic: PLAIN's message, SCRAM-SHA-256's primitives and the server's side of the
 * exchange, by the examples of RFC 4616 and 7677, and by everything that is nearly right.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <posthouse/posthouse.h>
#include "../../plugins/auth-basic/credentials.h"
#include "../../plugins/auth-basic/scram_server.h"

#define S(text) ((struct ph_str){ (text), sizeof(text) - 1 })

/* RFC 7677 3 */
#define CLIENT_NONCE "rOprNGfwEbeRWgbNEkqO"
#define SERVER_NONCE "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
#define FIRST "n,,n=user,r=" CLIENT_NONCE
#define CHALLENGE "r=" CLIENT_NONCE SERVER_NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
#define FINAL "c=biws,r=" CLIENT_NONCE SERVER_NONCE ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
#define LAST "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="

static struct ph_str
text_of(const char *s)
{
	return (struct ph_str){ s, strlen(s) };
}

static void
assert_text(struct ph_str got, const char *want)
{
	if (got.n != strlen(want) || (got.n > 0 && memcmp(got.p, want, got.n) != 0))
		fail_msg("\"%.*s\" is not \"%s\"", (int)got.n, got.p, want);
}

static struct user_verifier
pencil(void)
{
	struct user_verifier v = { .iterations = 4096 };
	uint8_t salted[SCRAM_KEY];

	assert_int_equal(scram_octets(S("W22ZaJ0SNY7soEsUEjb6gQ=="), v.salt, sizeof v.salt, &v.salt_n), 0);
	assert_int_equal(scram_hi(S("pencil"), (struct ph_str){ (const char *)v.salt, v.salt_n }, 4096, salted), 0);
	assert_int_equal(scram_keys(salted, NULL, v.stored, v.server), 0);
	return v;
}

/* --- PLAIN --- */

static void
plain_messages(void **state)
{
	static const struct { struct ph_str in; const char *authzid, *authcid, *password; } right[] = {
		{ S("\0tim\0tanstaaftanstaaf"), "", "tim", "tanstaaftanstaaf" },
		{ S("Ursel\0Kurt\0xipj3plmq"), "Ursel", "Kurt", "xipj3plmq" },
		{ S("\0b\xC3\xBCrger@example.com\0p\xC3\xA4ss w\xC3\xB6rd "), "", "b\xC3\xBCrger@example.com",
		  "p\xC3\xA4ss w\xC3\xB6rd " },
		{ S("\0LAB\\alice\0x"), "", "LAB\\alice", "x" },
	};
	static const struct { const char *why; struct ph_str in; } wrong[] = {
		{ "nothing", S("") }, { "no NUL", S("tim") }, { "one NUL", S("\0tim") },
		{ "three NUL", S("\0tim\0pass\0word") }, { "no name", S("\0\0pass") },
		{ "no password", S("\0tim\0") }, { "only NULs", S("\0\0") },
		{ "a line break", S("\0tim\nx\0pass") }, { "a carriage return", S("\0tim\r\0pass") },
		{ "an escape", S("\0tim\x1B[2J\0pass") }, { "DEL", S("\0tim\x7F\0pass") },
		{ "Latin 1", S("\0b\xFCrger\0pass") }, { "an overlong NUL", S("\0tim\xC0\x80\0pass") },
		{ "a surrogate", S("\0tim\xED\xA0\x80\0pass") }, { "beyond Unicode", S("\0tim\xF4\x90\x80\x80\0pass") },
		{ "C1 control", S("\0tim\xC2\x9B\0pass") }, { "half a character", S("\0tim\xC3\0pass") },
		{ "a blank in front", S("\0 tim\0pass") }, { "a blank behind", S("\0tim \0pass") },
		{ "a control in the password", S("\0tim\0pa\x01ss") }, { "a bad authzid", S("\x02\0tim\0pass") },
	};
	char big[1024] = "";
	struct plain p;

	(void)state;
	for (size_t i = 0; i < sizeof right / sizeof right[0]; i++) {
		assert_int_equal(plain_parse(right[i].in, &p), 0);
		assert_text(p.authzid, right[i].authzid);
		assert_text(p.authcid, right[i].authcid);
		assert_text(p.password, right[i].password);
	}
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		if (plain_parse(wrong[i].in, &p) != PH_EINVAL)
			fail_msg("%s was taken", wrong[i].why);
	/* up to the limits, and not beyond */
	for (size_t name = 254; name <= 257; name++)
		for (size_t password = 510; password <= 513; password++) {
			memset(big, 'x', sizeof big);
			big[0] = big[1 + name] = '\0';
			assert_int_equal(plain_parse((struct ph_str){ big, 2 + name + password }, &p) == 0,
			    name <= NAME_LIMIT && password <= PASSWORD_LIMIT);
		}
}

static void
names_get_their_domain(void **state)
{
	static const struct { const char *in, *domain, *out; } cases[] = {
		{ "bob", "example.com", "bob@example.com" }, { "bob", NULL, "bob" }, { "bob", "", "bob" },
		{ "bob@example.org", "example.com", "bob@example.org" }, { "LAB\\bob", "example.com", "LAB\\bob" },
		{ "", "example.com", NULL }, { "b\tob", "example.com", NULL }, { " bob", NULL, NULL },
	};
	char out[NAME_LIMIT + 1], long_name[NAME_LIMIT + 1];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int n = name_complete(text_of(cases[i].in), cases[i].domain, out);

		assert_int_equal(n, cases[i].out != NULL ? (int)strlen(cases[i].out) : PH_EINVAL);
		if (n > 0)
			assert_string_equal(out, cases[i].out);
	}
	memset(long_name, 'a', sizeof long_name);
	assert_int_equal(name_complete((struct ph_str){ long_name, NAME_LIMIT }, NULL, out), NAME_LIMIT);
	assert_int_equal(name_complete((struct ph_str){ long_name, NAME_LIMIT - 3 }, "b.c", out), PH_EINVAL);
	assert_int_equal(name_complete((struct ph_str){ long_name, NAME_LIMIT - 4 }, "b.c", out), NAME_LIMIT);
}

/* --- SCRAM --- */

static void
the_example_of_the_rfc(void **state)
{
	static struct scram_server s;
	struct user_verifier v = pencil();
	struct ph_str out;

	(void)state;
	assert_int_equal(scram_server_first(&s, S(FIRST)), 0);
	assert_int_equal(s.flag, SCRAM_NO_BINDING);
	assert_text((struct ph_str){ s.name, s.name_n }, "user");
	assert_int_equal(s.authzid_n, 0);
	assert_int_equal(scram_server_challenge(&s, &v, S(SERVER_NONCE), &out), 0);
	assert_text(out, CHALLENGE);
	assert_int_equal(scram_server_final(&s, S(FINAL), S(""), &out), 0);
	assert_text(out, LAST);
}

/* Every message cut off at every place, and changed in every place, is refused. */
static void
nearly_the_example(void **state)
{
	struct scram_server s;
	struct user_verifier v = pencil();
	struct ph_str out;
	char text[sizeof FINAL];

	(void)state;
	for (size_t n = 0; n < sizeof FIRST - 1; n++)
		if (scram_server_first(&s, (struct ph_str){ FIRST, n }) == 0)
			assert_true(n > strlen("n,,n=user,r="));        /* a shorter nonce */
	for (size_t n = 0; n < sizeof FINAL - 1; n++)
		for (int changed = 0; changed < 2; changed++) {
			memcpy(text, FINAL, sizeof FINAL);
			if (changed)
				text[n] ^= 1;
			assert_int_equal(scram_server_first(&s, S(FIRST)), 0);
			assert_int_equal(scram_server_challenge(&s, &v, S(SERVER_NONCE), &out), 0);
			assert_int_not_equal(scram_server_final(&s, (struct ph_str){ text,
			    changed ? sizeof FINAL - 1 : n }, S(""), &out), 0);
		}
	/* one that belongs to another exchange */
	assert_int_equal(scram_server_first(&s, S(FIRST)), 0);
	assert_int_equal(scram_server_challenge(&s, &v, S("othernonce"), &out), 0);
	assert_int_equal(scram_server_final(&s, S(FINAL), S(""), &out), PH_EPERM);
	/* another password */
	v.stored[0] ^= 1;
	assert_int_equal(scram_server_first(&s, S(FIRST)), 0);
	assert_int_equal(scram_server_challenge(&s, &v, S(SERVER_NONCE), &out), 0);
	assert_int_equal(scram_server_final(&s, S(FINAL), S(""), &out), PH_EPERM);
}

static void
first_messages(void **state)
{
	static const struct {
		const char *in;
		int rc;
		enum scram_flag flag;
		const char *type, *authzid, *name;
	} cases[] = {
		{ "n,,n=user,r=abc", 0, SCRAM_NO_BINDING, "", "", "user" },
		{ "y,,n=user,r=abc", 0, SCRAM_THINKS_NOT, "", "", "user" },
		{ "p=tls-exporter,,n=user,r=abc", 0, SCRAM_BINDING, "tls-exporter", "", "user" },
		{ "n,a=other,n=user,r=abc", 0, SCRAM_NO_BINDING, "", "other", "user" },
		{ "n,a=a=2Cb=3Dc,n=u=3D=2Cr,r=abc", 0, SCRAM_NO_BINDING, "", "a,b=c", "u=,r" },
		{ "n,,n=user,r=abc,x=1,y=2", 0, SCRAM_NO_BINDING, "", "", "user" },
		{ "n,,m=ext,n=user,r=abc", PH_ENOTSUP, 0, NULL, NULL, NULL },
		{ "n,,n=user,r=abc,m=1", PH_ENOTSUP, 0, NULL, NULL, NULL },
		{ "", PH_EINVAL, 0, NULL, NULL, NULL }, { "n", PH_EINVAL, 0, NULL, NULL, NULL },
		{ "n,", PH_EINVAL, 0, NULL, NULL, NULL }, { "n,,", PH_EINVAL, 0, NULL, NULL, NULL },
		{ "x,,n=user,r=abc", PH_EINVAL, 0, NULL, NULL, NULL },
		{ "p,,n=user,r=abc", PH_EINVAL, 0, NULL, NULL, NULL },
		{ "p=,,n=user,r=abc", PH_EINVAL, 0, NULL, NULL, NULL },
		{ "p=tls_x,,n=user,r=abc", PH_EINVAL, 0, NULL, NULL, NULL },
		{ "n=1,,n=user,r=abc", PH_EINVAL, 0, NULL, NULL, NULL },
		{ "n,user,n=user,r=abc", PH_EINVAL, 0, NULL, NULL, NULL },
		{ "n,a=,n=user,r=abc", PH_EINVAL, 0, NULL, NULL, NULL },
		{ "n,,n=,r=abc", PH_EINVAL, 0, NULL, NULL, NULL },
		{ "n,,n=user,r=", PH_EINVAL, 0, NULL, NULL, NULL },
		{ "n,,n=user", PH_EINVAL, 0, NULL, NULL, NULL },
		{ "n,,r=abc,n=user", PH_EINVAL, 0, NULL, NULL, NULL },
		{ "n,,n=us=er,r=abc", PH_EINVAL, 0, NULL, NULL, NULL },
		{ "n,,n=user=2,r=abc", PH_EINVAL, 0, NULL, NULL, NULL },
		{ "n,,n=user=2c,r=abc", PH_EINVAL, 0, NULL, NULL, NULL },
		{ "n,,n=user,r=a c", PH_EINVAL, 0, NULL, NULL, NULL },
		{ "n,,n=user,r=abc,", PH_EINVAL, 0, NULL, NULL, NULL },
		{ "n,,n=user,r=abc,x", PH_EINVAL, 0, NULL, NULL, NULL },
		{ "n,,n=user,r=abc,x=", PH_EINVAL, 0, NULL, NULL, NULL },
		{ "n,,n=user,r=abc,1=2", PH_EINVAL, 0, NULL, NULL, NULL },
	};
	char big[4000];
	struct scram_server s;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int rc = scram_server_first(&s, text_of(cases[i].in));

		if (rc != cases[i].rc)
			fail_msg("\"%s\": %d", cases[i].in, rc);
		if (rc != 0)
			continue;
		assert_int_equal(s.flag, cases[i].flag);
		if (s.flag == SCRAM_BINDING)
			assert_string_equal(s.type, cases[i].type);
		assert_text((struct ph_str){ s.authzid, s.authzid_n }, cases[i].authzid);
		assert_text((struct ph_str){ s.name, s.name_n }, cases[i].name);
	}
	assert_int_equal(scram_server_first(&s, S("n,,n=us\0er,r=abc")), PH_EINVAL);
	/* names and nonces of any length: taken or refused, never written behind their place */
	for (size_t n = 200; n < 3000; n += 7) {
		int len = snprintf(big, sizeof big, "n,,n=%0*d,r=abc", (int)n, 7);

		assert_int_equal(scram_server_first(&s, (struct ph_str){ big, (size_t)len }) == 0, n <= SCRAM_NAME_MAX);
		len = snprintf(big, sizeof big, "n,,n=user,r=%0*d", (int)n, 7);
		assert_int_equal(scram_server_first(&s, (struct ph_str){ big, (size_t)len }) == 0,
		    n <= SCRAM_NONCE_MAX - SCRAM_NONCE_TEXT);
	}
}

/* The client's side, as far as these tests need it. */
static struct ph_str
final_of(const char *first_bare, const char *challenge, const char *c, const char *nonce, char *out, size_t room)
{
	struct user_verifier v = pencil();
	uint8_t salted[SCRAM_KEY], key[SCRAM_KEY], proof[SCRAM_KEY];
	char auth[2048], b64[64];
	int n;

	assert_int_equal(scram_hi(S("pencil"), (struct ph_str){ (const char *)v.salt, v.salt_n }, 4096, salted), 0);
	assert_int_equal(scram_keys(salted, key, NULL, NULL), 0);
	n = snprintf(auth, sizeof auth, "%s,%s,c=%s,r=%s", first_bare, challenge, c, nonce);
	assert_int_equal(scram_proof(key, v.stored, (struct ph_str){ auth, (size_t)n }, proof), 0);
	assert_true(ph_base64_encode((struct ph_str){ (const char *)proof, SCRAM_KEY }, b64, sizeof b64) > 0);
	n = snprintf(out, room, "c=%s,r=%s,p=%s", c, nonce, b64);
	return (struct ph_str){ out, (size_t)n };
}

static void
channels_are_bound(void **state)
{
	static const char first[] = "p=tls-exporter,,n=user,r=abc";
	/* base64 of the header and "channel", of "other" in its place, and of the header alone */
	static const struct { const char *raw; int rc; } cases[] = {
		{ "p=tls-exporter,,channel", 0 }, { "p=tls-exporter,,other", PH_ESTALE },
		{ "p=tls-exporter,,", PH_ESTALE }, { "p=tls-unique,,channel", PH_ESTALE },
		{ "n,,", PH_ESTALE }, { "y,,", PH_ESTALE },
	};
	struct user_verifier v = pencil();
	char c[128], text[512], challenge[512];
	struct scram_server s;
	struct ph_str out;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_int_equal(scram_server_first(&s, S(first)), 0);
		assert_int_equal(scram_server_challenge(&s, &v, S("xyz"), &out), 0);
		(void)snprintf(challenge, sizeof challenge, "%.*s", (int)out.n, out.p);
		assert_true(ph_base64_encode(text_of(cases[i].raw), c, sizeof c) > 0);
		assert_int_equal(scram_server_final(&s, final_of("n=user,r=abc", challenge, c, "abcxyz", text,
		    sizeof text), S("channel"), &out), cases[i].rc);
	}
	/* the flag of the header cannot be changed on the way: y first, n in the end */
	assert_int_equal(scram_server_first(&s, S("y,,n=user,r=abc")), 0);
	assert_int_equal(scram_server_challenge(&s, &v, S("xyz"), &out), 0);
	(void)snprintf(challenge, sizeof challenge, "%.*s", (int)out.n, out.p);
	assert_int_equal(scram_server_final(&s, final_of("n=user,r=abc", challenge, "biws", "abcxyz", text, sizeof text),
	    S(""), &out), PH_ESTALE);
	assert_int_equal(scram_server_final(&s, final_of("n=user,r=abc", challenge, "eSws", "abcxyz", text, sizeof text),
	    S(""), &out), 0);
}

static void
final_messages(void **state)
{
	static const struct { const char *in; int rc; } cases[] = {
		{ "c=biws", PH_EINVAL }, { "c=biws,r=abcxyz", PH_EINVAL }, { "r=abcxyz,c=biws,p=AAAA", PH_EINVAL },
		{ "c=biws,r=abcxyz,p=", PH_EINVAL }, { "c=biws,r=abcxyz,p=AAAA", PH_EINVAL },
		{ "c=biws,r=abcxyz,p=!!!!", PH_EINVAL }, { "c=biws,r=abcxyz,m=1,p=AAAA", PH_ENOTSUP },
		{ "c=biws,r=abcxyz,1=1,p=AAAA", PH_EINVAL }, { "c=biws,r=abcxyz,x=,p=AAAA", PH_EINVAL },
		{ "c=biws,r=abcxyz,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=,x=1", PH_EINVAL },
		{ "c=biws,r=abcxyz,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", PH_EPERM },
		{ "c=biws,r=abcxyz,x=1,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", PH_EPERM },
		{ "c=biws,r=abcxyZ,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", PH_EPERM },
		{ "c=biws,r=abc,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", PH_EPERM },
		{ "c=biwt,r=abcxyz,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", PH_ESTALE },
	};
	struct user_verifier v = pencil();
	struct scram_server s;
	struct ph_str out;
	char big[3000];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int rc;

		assert_int_equal(scram_server_first(&s, S("n,,n=user,r=abc")), 0);
		assert_int_equal(scram_server_challenge(&s, &v, S("xyz"), &out), 0);
		rc = scram_server_final(&s, text_of(cases[i].in), S(""), &out);
		if (rc != cases[i].rc)
			fail_msg("\"%s\": %d", cases[i].in, rc);
	}
	for (size_t n = 1; n < 2500; n += 11) {
		int len = snprintf(big, sizeof big, "c=biws,r=abcxyz,x=%0*d,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
		    (int)n, 7);

		assert_int_equal(scram_server_first(&s, S("n,,n=user,r=abc")), 0);
		assert_int_equal(scram_server_challenge(&s, &v, S("xyz"), &out), 0);
		assert_int_equal(scram_server_final(&s, (struct ph_str){ big, (size_t)len }, S(""), &out),
		    len <= SCRAM_MESSAGE_MAX ? PH_EPERM : PH_EINVAL);
	}
}

static void
numbers_and_names(void **state)
{
	static const struct { const char *in; int64_t v; } numbers[] = {
		{ "1", 1 }, { "4096", 4096 }, { "10000000", 10000000 }, { "10000001", -1 }, { "99999999", -1 },
		{ "0", -1 }, { "", -1 }, { "04096", -1 }, { "+1", -1 }, { "-1", -1 }, { "1 ", -1 }, { "4e3", -1 },
		{ "18446744073709551617", -1 },
	};
	char out[16], text[SCRAM_NONCE_TEXT];
	int64_t v;

	(void)state;
	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
		v = -1;
		assert_int_equal(scram_number(text_of(numbers[i].in), &v), numbers[i].v < 0 ? PH_EINVAL : 0);
		assert_int_equal(v, numbers[i].v);
	}
	assert_int_equal(scram_name_encode(S("a,b=c"), out, sizeof out), 9);
	assert_memory_equal(out, "a=2Cb=3Dc", 9);
	assert_int_equal(scram_name_encode(S(",,,,,,"), out, sizeof out), PH_ELIMIT);
	assert_int_equal(scram_name_decode(S("=2C=3D"), out, 1), PH_ELIMIT);
	assert_int_equal(scram_name_decode(S("=2C=3D"), out, 2), 2);
	assert_memory_equal(out, ",=", 2);
	assert_int_equal(scram_nonce(text), 0);
	assert_int_equal(strlen(text), SCRAM_NONCE_TEXT - 1);
	assert_true(scram_nonce_ok(text_of(text)));
	assert_int_equal(scram_hi(S("x"), S(""), 4096, (uint8_t[SCRAM_KEY]){ 0 }), PH_EINVAL);
	assert_int_equal(scram_hi(S("x"), S("salt"), 0, (uint8_t[SCRAM_KEY]){ 0 }), PH_EINVAL);
	assert_int_equal(scram_hi(S("x"), S("salt"), SCRAM_ITERATIONS_MAX + 1, (uint8_t[SCRAM_KEY]){ 0 }), PH_EINVAL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_messages),
		cmocka_unit_test(names_get_their_domain),
		cmocka_unit_test(the_example_of_the_rfc),
		cmocka_unit_test(nearly_the_example),
		cmocka_unit_test(first_messages),
		cmocka_unit_test(channels_are_bound),
		cmocka_unit_test(final_messages),
		cmocka_unit_test(numbers_and_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
