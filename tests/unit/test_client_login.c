/*
 * test_client_login.c - the client side of auth-basic: SCRAM-SHA-256 against
 * RFC 7677's vector and against hosts that lie, the simple mechanisms through a
 * stand-in for the core's exchange.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/codec.h"
#include "base/mem.h"
#include "../../plugins/auth-basic/client.h"
#include "../../plugins/auth-basic/client_scram.h"

#define S(text) ((struct ph_str){ (text), sizeof(text) - 1 })

/* --- a stand-in for the exchange --- */

struct ph_sasl { int unused; };

static struct {
	struct ph_next_hop hop;
	const struct ph_mechanism *all[10]; size_t n;
	char state[16384] __attribute__((aligned(16)));
	char out[8192]; size_t out_n; bool has_output;
	char problem[300];
	struct ph_str input;
	bool secure, bound;
	void (*work)(void *), (*done)(void *); void *arg;
	enum ph_sasl_result result;
} X;
static struct ph_sasl exchange;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
int ph_provide_mechanism(struct ph_setup *s, const struct ph_mechanism *m)
{ (void)s; X.all[X.n++] = m; return 0; }
struct ph_str ph_sasl_input(const struct ph_sasl *x) { (void)x; return X.input; }
int
ph_sasl_output(struct ph_sasl *x, struct ph_str b)
{
	(void)x;
	assert_true(b.n < sizeof X.out);
	memcpy(X.out, b.p, b.n);
	X.out[b.n] = '\0';
	X.out_n = b.n;
	X.has_output = true;
	return 0;
}
void ph_sasl_problem(struct ph_sasl *x, const char *t)
{ (void)x; (void)snprintf(X.problem, sizeof X.problem, "%s", t); }
void *ph_sasl_data(struct ph_sasl *x) { (void)x; return X.state; }
struct ph_worker *ph_sasl_worker(const struct ph_sasl *x) { (void)x; return NULL; }
bool ph_sasl_is_secure(const struct ph_sasl *x) { (void)x; return X.secure; }
const struct ph_next_hop *ph_sasl_hop(const struct ph_sasl *x) { (void)x; return &X.hop; }
struct ph_ticket ph_sasl_ticket(struct ph_sasl *x) { (void)x; return (struct ph_ticket){ 0 }; }
int ph_sasl_done(struct ph_ticket t, enum ph_sasl_result r) { (void)t; X.result = r; return 0; }
int
ph_sasl_binding(struct ph_sasl *x, const char *type, uint8_t *out, size_t *len)
{
	(void)x;
	if (!X.bound || strcmp(type, "tls-exporter") != 0)
		return PH_ENOTSUP;
	memset(out, 'b', 32);
	*len = 32;
	return 0;
}
void ph_wipe(void *p, size_t n) { mem_wipe(p, n); }
int
ph_base64_encode(struct ph_str in, char *out, size_t room)
{
	struct buf b = { 0 };
	int n;

	codec_base64_encode(in, &b);
	n = (int)b.len;
	assert_true(b.len < room);
	memcpy(out, b.data + b.head, b.len);
	out[n] = '\0';
	buf_free(&b);
	return n;
}
int
ph_base64_decode(struct ph_str in, void *out, size_t room)
{
	struct buf b = { 0 };
	int n = codec_base64_decode(in, &b);

	if (n == 0 && b.len > room)
		n = PH_ELIMIT;
	if (n == 0 && b.len > 0)
		memcpy(out, b.data + b.head, b.len);
	n = n == 0 ? (int)b.len : n;
	buf_free(&b);
	return n;
}
int
ph_work(struct ph_worker *w, void (*work)(void *), void (*done)(void *), void *arg)
{
	(void)w;
	X.work = work;
	X.done = done;
	X.arg = arg;
	return 0;
}
#pragma GCC diagnostic pop

static const struct ph_mechanism *
mechanism(const char *name)
{
	for (size_t i = 0; i < X.n; i++)
		if (strcmp(X.all[i]->name, name) == 0)
			return X.all[i];
	fail_msg("no %s", name);
	return NULL;
}

static enum ph_sasl_result
step(const struct ph_mechanism *m, struct ph_str input)
{
	X.input = input;
	X.has_output = false;
	X.problem[0] = '\0';
	return m->step(&exchange);
}

static int
begin(void **state)
{
	(void)state;
	memset(&X, 0, sizeof X);
	X.hop.login = "tim";
	X.hop.password = (struct ph_secret){ "tanstaaftanstaaf", 16 };
	assert_int_equal(basic_client_setup(NULL), 0);
	assert_int_equal(X.n, 6);
	return 0;
}

/* --- simple ones --- */

static void
test_plain(void **state)
{
	const struct ph_mechanism *m = mechanism("PLAIN");
	(void)state;

	assert_true(m->cleartext);
	assert_int_equal(step(m, S("")), PH_SASL_DONE);
	assert_int_equal(X.out_n, 21);
	assert_memory_equal(X.out, "\0tim\0tanstaaftanstaaf", 21);
	assert_int_equal(step(m, S("what?")), PH_SASL_MALFORMED);
	begin(NULL);
	X.hop.password = (struct ph_secret){ "a\0b", 3 };
	assert_int_equal(step(m, S("")), PH_SASL_DENIED);
	X.hop.password = (struct ph_secret){ NULL, 0 };
	begin(NULL);
	X.hop.password.n = 0;
	assert_int_equal(step(m, S("")), PH_SASL_DENIED);
	assert_string_equal(X.problem, "there is no password to log in with");
}

static void
test_login(void **state)
{
	const struct ph_mechanism *m = mechanism("LOGIN");
	(void)state;

	assert_int_equal(step(m, S("")), PH_SASL_MORE);
	assert_false(X.has_output);
	assert_int_equal(step(m, S("Username:")), PH_SASL_MORE);
	assert_string_equal(X.out, "tim");
	assert_int_equal(step(m, S("Password:")), PH_SASL_DONE);
	assert_string_equal(X.out, "tanstaaftanstaaf");
	assert_int_equal(step(m, S("More:")), PH_SASL_MALFORMED);
}

/* RFC 2195 2 */
static void
test_cram(void **state)
{
	const struct ph_mechanism *m = mechanism("CRAM-MD5");
	(void)state;

	assert_int_equal(step(m, S("")), PH_SASL_MORE);
	assert_false(X.has_output);
	assert_int_equal(step(m, S("<1896.697170952@postoffice.reston.mci.net>")), PH_SASL_DONE);
	assert_string_equal(X.out, "tim b913a602c7eda7a495b4e6e7334d3890");
	begin(NULL);
	assert_int_equal(step(m, S("")), PH_SASL_MORE);
	assert_int_equal(step(m, S("")), PH_SASL_MALFORMED);
}

static void
test_external(void **state)
{
	const struct ph_mechanism *m = mechanism("EXTERNAL");
	(void)state;

	assert_true(m->needs_tls);
	assert_true(m->strength < 0);           /* not by itself */
	assert_int_equal(step(m, S("")), PH_SASL_DENIED);
	begin(NULL);
	X.hop.tls_certificate = "/x.pem";
	assert_int_equal(step(m, S("")), PH_SASL_DONE);
	assert_string_equal(X.out, "tim");
}

static void
test_order(void **state)
{
	static const char *const names[] = { "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "CRAM-MD5",
		"PLAIN", "LOGIN", "EXTERNAL" };
	(void)state;

	for (size_t i = 1; i < 6; i++)
		assert_true(mechanism(names[i])->strength < mechanism(names[i - 1])->strength);
}

/* --- SCRAM --- */

#define NONCE  "rOprNGfwEbeRWgbNEkqO"
#define SERVER "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
#define FINAL  "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0," \
	       "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
#define PROVED "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="

static void
test_rfc7677(void **state)
{
	struct client_scram s = { 0 };
	uint8_t salted[SCRAM_KEY];
	char out[SCRAM_MESSAGE_MAX];
	const char *why = "";
	(void)state;

	assert_true(client_scram_begin(&s, S("user"), NONCE, BINDING_NONE, NULL, out, sizeof out,
	    &why) > 0);
	assert_string_equal(out, "n,,n=user,r=" NONCE);
	assert_int_equal(client_scram_challenge(&s, S(SERVER), &why), 0);
	assert_int_equal(scram_hi(S("pencil"), (struct ph_str){ (char *)s.salt, s.salt_n },
	    s.iterations, salted), 0);
	assert_true(client_scram_final(&s, salted, out, sizeof out, &why) > 0);
	assert_string_equal(out, FINAL);
	assert_int_equal(client_scram_verify(&s, S(PROVED), &why), 0);
	assert_int_equal(client_scram_verify(&s,
	    S("v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), &why), PH_EPROTO);
	assert_int_equal(client_scram_verify(&s, S("e=invalid-proof"), &why), PH_EPERM);
	assert_string_equal(why, "the host says that the password is wrong");
	assert_int_equal(client_scram_verify(&s, S("e=odd"), &why), PH_EPERM);
	static const char *const bad[] = { "", "v=", "v", "x=1", "v=AAAA", "v=!", "e", "v=6rri" };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_true(client_scram_verify(&s, (struct ph_str){ bad[i], strlen(bad[i]) },
		    &why) < 0);
}

static void
test_challenges(void **state)
{
	static const struct { const char *text; int want; } cases[] = {
		{ SERVER, 0 },
		{ SERVER ",x=later", 0 },
		{ "m=new," SERVER, PH_ENOTSUP },
		{ "r=" NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", PH_EPROTO },     /* nothing added */
		{ "r=sOprNGfwEbeRWgbNEkqOxx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", PH_EPROTO },
		{ "r=" NONCE "x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4095", PH_EPROTO },
		{ "r=" NONCE "x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=1000001", PH_EINVAL },
		{ "r=" NONCE "x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=-4096", PH_EINVAL },
		{ "r=" NONCE "x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=", PH_EINVAL },
		{ "r=" NONCE "x,s=,i=4096", PH_EINVAL },
		{ "r=" NONCE "x,s=W22,i=4096", PH_EINVAL },
		{ "r=" NONCE "x,i=4096", PH_EINVAL },
		{ "s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", PH_EINVAL },
		{ "", PH_EINVAL },
		{ "r=" NONCE "x", PH_EINVAL },
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct client_scram s = { 0 };
		char out[SCRAM_MESSAGE_MAX];
		const char *why = NULL;
		int rc;

		assert_true(client_scram_begin(&s, S("user"), NONCE, BINDING_NONE, NULL, out,
		    sizeof out, &why) > 0);
		rc = client_scram_challenge(&s,
		    (struct ph_str){ cases[i].text, strlen(cases[i].text) }, &why);
		if (rc != cases[i].want)
			fail_msg("%s: %d", cases[i].text, rc);
		assert_true(rc == 0 || why != NULL);
	}
}

static void
test_names_and_bindings(void **state)
{
	struct client_scram s = { 0 };
	char out[SCRAM_MESSAGE_MAX], name[300];
	const char *why = "";
	(void)state;

	assert_true(client_scram_begin(&s, S("a=b,c"), "n", BINDING_NOT_OFFERED, NULL, out,
	    sizeof out, &why) > 0);
	assert_string_equal(out, "y,,n=a=3Db=2Cc,r=n");
	assert_true(client_scram_begin(&s, S("u"), "n", BINDING_USED, "tls-exporter", out, sizeof out,
	    &why) > 0);
	assert_string_equal(out, "p=tls-exporter,,n=u,r=n");
	memset(name, ',', sizeof name);
	assert_true(client_scram_begin(&s, (struct ph_str){ name, SCRAM_NAME_MAX }, NONCE,
	    BINDING_NONE, NULL, out, sizeof out, &why) > 0);
	assert_true(client_scram_begin(&s, (struct ph_str){ name, SCRAM_NAME_MAX + 1 }, NONCE,
	    BINDING_NONE, NULL, out, sizeof out, &why) < 0);
}

/* Which flag the exchange sets; what becomes of work that comes home late. */
static void
test_exchange(void **state)
{
	static const char *const only[] = { "SCRAM-SHA-256" };
	const struct ph_mechanism *m = mechanism("SCRAM-SHA-256"), *plus;
	char challenge[200];
	(void)state;

	assert_int_equal(step(m, S("")), PH_SASL_MORE);
	assert_memory_equal(X.out, "n,,n=tim,r=", 11);
	begin(NULL);
	X.secure = true;
	assert_int_equal(step(m, S("")), PH_SASL_MORE);
	assert_memory_equal(X.out, "y,,", 3);
	begin(NULL);
	X.secure = true;
	X.hop.mechanisms = (struct ph_strings){ only, 1 };
	assert_int_equal(step(m, S("")), PH_SASL_MORE);
	assert_memory_equal(X.out, "n,,", 3);
	snprintf(challenge, sizeof challenge, "r=%.100sX,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", X.out + 11);
	assert_int_equal(step(m, (struct ph_str){ challenge, strlen(challenge) }), PH_SASL_WAIT);
	X.work(X.arg);
	X.done(X.arg);
	assert_int_equal(X.result, PH_SASL_MORE);
	assert_memory_equal(X.out, "c=biws,r=", 9);
	assert_int_equal(step(m, S("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")),
	    PH_SASL_DENIED);
	/* hung up while the iterations are counted */
	begin(NULL);
	assert_int_equal(step(m, S("")), PH_SASL_MORE);
	snprintf(challenge, sizeof challenge, "r=%.100sX,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", X.out + 11);
	assert_int_equal(step(m, (struct ph_str){ challenge, strlen(challenge) }), PH_SASL_WAIT);
	X.result = PH_SASL_TRY_LATER;
	m->end(&exchange);
	X.work(X.arg);
	X.done(X.arg);
	assert_int_equal(X.result, PH_SASL_TRY_LATER);
	/* bound */
	plus = mechanism("SCRAM-SHA-256-PLUS");
	assert_true(plus->needs_tls);
	begin(NULL);
	X.secure = true;
	assert_int_equal(step(plus, S("")), PH_SASL_DENIED);
	begin(NULL);
	X.secure = X.bound = true;
	assert_int_equal(step(plus, S("")), PH_SASL_MORE);
	assert_memory_equal(X.out, "p=tls-exporter,,n=tim,r=", 24);
}

#define T(f) cmocka_unit_test_setup(f, begin)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_plain), T(test_login), T(test_cram), T(test_external), T(test_order),
		T(test_rfc7677), T(test_challenges), T(test_names_and_bindings), T(test_exchange),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
