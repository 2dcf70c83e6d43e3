/*
 * test_deliver_secure.c - the way to a host's READY: transport security, the
 * login, and what becomes of mail when one of them fails.
 */
#include "deliver_world.h"

static bool
logged(const char *text)
{
	log_flush();
	return has(&W.logged, text);
}

/* --- TLS and login --- */

#define TLS_EHLO "250-mx\r\n250-STARTTLS\r\n250 PIPELINING\r\n"

static void
test_tls(void **state)
{
	static const struct {
		const char *name;
		enum ph_tls_policy policy;
		bool have;
		bool fails, unverified, offered;
		const char *want; unsigned secured, connections;
		bool leaves;
	} cases[] = {
		{ "off", PH_TLS_OFF, true, false, false, true, "D250", 0, 1 },
		{ "opportunistic", PH_TLS_OPPORTUNISTIC, true, false, true, true, "D250", 1, 1 },
		{ "opportunistic, not offered", PH_TLS_OPPORTUNISTIC, true, false, false, false,
		    "D250", 0, 1 },
		{ "opportunistic, no provider", PH_TLS_OPPORTUNISTIC, false, false, false, true,
		    "D250", 0, 1 },
		{ "opportunistic, handshake fails", PH_TLS_OPPORTUNISTIC, true, true, false, true,
		    "D250", 0, 2 },
		{ "opportunistic, left in the handshake", PH_TLS_OPPORTUNISTIC, true, false, false,
		    true, "D250", 0, 2, true },
		{ "required, left in the handshake", PH_TLS_REQUIRED, true, false, false, true,
		    "4.7.5 TLS handshake failed", 0, 1, true },
		{ "required", PH_TLS_REQUIRED, true, false, true, true, "D250", 1, 1 },
		{ "required, not offered", PH_TLS_REQUIRED, true, false, false, false, "4.7.4", 0,
		    1 },
		{ "required, no provider", PH_TLS_REQUIRED, false, false, false, true, "4.7.5", 0,
		    0 },
		{ "required, handshake fails", PH_TLS_REQUIRED, true, true, false, true,
		    "4.7.5 TLS handshake failed: bad certificate", 0, 1 },
		{ "verify", PH_TLS_VERIFY, true, false, false, true, "D250", 1, 1 },
		{ "verify, not verified", PH_TLS_VERIFY, true, false, true, true,
		    "4.7.5 certificate not verified", 1, 1 },
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		world_setup(NULL);
		W.hop.tls = cases[i].policy;
		W.have_secure = cases[i].have;
		W.verified = !cases[i].unverified;
		W.hosts[0].handshake_fails = cases[i].fails;
		W.hosts[0].leaves_in_handshake = cases[i].leaves;
		W.hosts[0].ehlo = cases[i].offered ? TLS_EHLO : GROUPING;
		struct job *j = post("a");
		settle();
		assert_int_equal(W.nback, 1);
		if (cases[i].want[0] == 'D')
			assert_string_equal(outcomes(j), cases[i].want);
		else {
			assert_int_equal(j->result, JOB_SITE_DOWN);
			if (memmem(j->why.p, j->why.n, cases[i].want, strlen(cases[i].want)) ==
			    NULL)
				fail_msg("%s: " STR_FMT, cases[i].name, STR_ARG(j->why));
			assert_int_equal(W.hosts[0].mails, 0);  /* nothing in the clear */
		}
		assert_int_equal(W.hosts[0].secured, cases[i].secured);
		assert_int_equal(W.hosts[0].connections, cases[i].connections);
		assert_true(cases[i].want[0] == 'D' || !cases[i].fails || logged("deliver.tls-failed"));
		assert_int_equal(logged("version=TLSv1.3"), cases[i].secured > 0 &&
		    cases[i].want[0] == 'D');
		world_teardown(NULL);
	}
	world_setup(NULL);
}

static void
test_login(void **state)
{
	static const struct {
		const char *name, *ehlo, *auth;
		enum ph_sasl_result sasl;
		const char *want;
		enum job_login login;
		bool next;                      /* the other host is tried, too */
	} cases[] = {
		{ "accepted", "250-mx\r\n250 AUTH PLAIN\r\n", "235 2.7.0 ok", PH_SASL_DONE, NULL,
		    JOB_LOGIN_FINE, false },
		{ "refused", "250-mx\r\n250 AUTH PLAIN\r\n", "535 5.7.8 bad", PH_SASL_DONE,
		    "login refused: 535 5.7.8 bad", JOB_LOGIN_REFUSED, false },
		{ "not now", "250-mx\r\n250 AUTH PLAIN\r\n", "454 4.7.0 later", PH_SASL_DONE,
		    "4.7.0 login put off: 454 4.7.0 later", JOB_LOGIN_FINE, true },
		{ "no mechanism", "250-mx\r\n250 AUTH GSSAPI\r\n", "", PH_SASL_DONE,
		    "4.7.0 no usable login mechanism without TLS, the remote offers GSSAPI",
		    JOB_LOGIN_UNREADY, true },
		{ "not offered", BARELY, "", PH_SASL_DONE,
		    "4.7.0 a login is configured and the remote offers none without TLS",
		    JOB_LOGIN_UNREADY, true },
		{ "no token", "250-mx\r\n250 AUTH PLAIN\r\n", "", PH_SASL_TRY_LATER,
		    "4.7.0 login not possible now: the login mechanism failed", JOB_LOGIN_UNREADY,
		    false },
		{ "no password", "250-mx\r\n250 AUTH PLAIN\r\n", "", PH_SASL_DENIED,
		    "login refused: the login mechanism failed", JOB_LOGIN_REFUSED, false },
		{ "too old", "250-mx\r\n250 AUTH PLAIN\r\n", "534 5.7.9 too weak", PH_SASL_DONE,
		    "login refused: 534 5.7.9 too weak", JOB_LOGIN_REFUSED, false },
		{ "yes from one who did not prove himself", "250-mx\r\n250 AUTH PLAIN\r\n",
		    "235 2.7.0 ok", PH_SASL_MORE, "login refused: the remote says yes without",
		    JOB_LOGIN_REFUSED, false },
		{ "leaves", "250-mx\r\n250 AUTH PLAIN\r\n", "421 4.3.2 busy", PH_SASL_DONE,
		    "4.7.0 login put off: 421 4.3.2 busy", JOB_LOGIN_FINE, true },
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		world_setup(NULL);
		W.hop.auth = "password";
		W.hop.login = "u";
		W.sasl_result = cases[i].sasl;
		W.hop.hosts.n = 2;
		for (int h = 0; h < 2; h++) {
			W.hosts[h].ehlo = cases[i].ehlo;
			W.hosts[h].auth = cases[i].auth;
		}
		struct job *j = post("a"), *k = post("b");
		settle();
		assert_int_equal(W.nback, 2);
		if (cases[i].want == NULL) {
			assert_string_equal(outcomes(j), "D250");
			assert_true(has(&W.hosts[0].commands, "AUTH PLAIN AHUAcA=="));
			assert_int_equal(W.sasl_port, 25);
		} else {
			assert_int_equal(j->result, JOB_SITE_DOWN);
			assert_int_equal(k->result, JOB_SITE_DOWN);
			if (memmem(j->why.p, j->why.n, cases[i].want, strlen(cases[i].want)) ==
			    NULL)
				fail_msg("%s: " STR_FMT, cases[i].name, STR_ARG(j->why));
			assert_int_equal(j->site_login, cases[i].login);
			assert_int_equal(W.hosts[1].connections, cases[i].next);
			assert_int_equal(W.hosts[0].mails, 0);
		}
		world_teardown(NULL);
	}
	world_setup(NULL);
}

/* --- TLS, further --- */

static void
test_implicit(void **state)
{
	static const enum ph_tls_policy policies[] = { PH_TLS_OFF, PH_TLS_OPPORTUNISTIC,
		PH_TLS_REQUIRED, PH_TLS_VERIFY };
	(void)state;

	for (size_t i = 0; i < sizeof policies / sizeof policies[0]; i++) {
		for (int fails = 0; fails < 2; fails++) {
			world_setup(NULL);
			W.have_secure = W.verified = true;
			W.hop.tls = policies[i];
			W.hop.tls_implicit = true;
			W.hosts[0].implicit = true;
			W.hosts[0].handshake_fails = fails;
			W.hosts[0].ehlo = TLS_EHLO;     /* offered again: not taken */
			struct job *j = post("a");
			settle();
			if (fails) {
				assert_int_equal(j->result, JOB_SITE_DOWN);
				assert_int_equal(W.hosts[0].commands.len, 0);
				assert_int_equal(W.hosts[0].connections, 1);
			} else {
				assert_string_equal(outcomes(j), "D250");
				assert_int_equal(W.hosts[0].secured, 1);
				assert_false(has(&W.hosts[0].commands, "STARTTLS"));
			}
			world_teardown(NULL);
		}
	}
	world_setup(NULL);
	W.hop.tls_implicit = true;      /* no plugin supplies TLS */
	struct job *j = post("a");
	settle();
	assert_int_equal(j->result, JOB_SITE_DOWN);
	assert_int_equal(W.hosts[0].connections, 0);
}

/* The name to be verified is the one that was configured. */
static void
test_tls_name(void **state)
{
	(void)state;
	W.have_secure = W.verified = true;
	W.hop.tls = PH_TLS_VERIFY;
	W.hop.tls_name = W.secure_name = "other.example";
	W.hosts[0].ehlo = TLS_EHLO;
	struct job *j = post("a");
	settle();
	assert_string_equal(outcomes(j), "D250");
}

static void
test_refused_starttls(void **state)
{
	(void)state;

	W.have_secure = W.verified = true;
	W.hop.tls = PH_TLS_REQUIRED;
	W.hosts[0].ehlo = TLS_EHLO;
	W.hosts[0].starttls = "454 4.7.0 no entropy";
	struct job *j = post("a");
	settle();
	assert_int_equal(j->result, JOB_SITE_DOWN);
	assert_true(memmem(j->why.p, j->why.n, "4.7.4 STARTTLS is required but refused: 454", 43) !=
	            NULL);
	assert_int_equal(W.hosts[0].mails, 0);
}

/* What stands behind the 220 in the clear is not believed. */
static void
test_injection(void **state)
{
	(void)state;

	W.have_secure = W.verified = true;
	W.hop.tls = PH_TLS_VERIFY;
	W.hosts[0].ehlo = TLS_EHLO;
	W.hosts[0].starttls = "220 go\r\n250-evil\r\n250 CHUNKING\r\n250 ok\r\n";
	W.hosts[0].ehlo_tls = GROUPING;
	struct job *j = post("a");
	settle();
	assert_string_equal(outcomes(j), "D250");
	assert_false(has(&W.hosts[0].commands, "BDAT"));
	assert_true(logged("deliver.tls-injection"));
}

/* A host that does not get on with the handshake is not waited for long. */
static void
test_handshake_hangs(void **state)
{
	(void)state;

	W.have_secure = true;
	W.hop.tls = PH_TLS_REQUIRED;
	W.hosts[0].ehlo = TLS_EHLO;
	W.hosts[0].handshake_hangs = true;
	struct job *j = post("a");
	settle();
	assert_int_equal(W.nback, 0);
	advance(50000);
	assert_int_equal(W.nback, 0);
	advance(11000);
	assert_int_equal(W.nback, 1);
	assert_int_equal(j->result, JOB_SITE_DOWN);
	assert_true(memmem(j->why.p, j->why.n, "it took too long", 16) != NULL);
}

/* After one failed handshake the clear is taken at once, for a while. */
static void
test_fallback_is_remembered(void **state)
{
	(void)state;

	W.have_secure = true;
	W.hop.tls = PH_TLS_OPPORTUNISTIC;
	W.hop.messages_per_connection = 1;
	W.hosts[0].ehlo = TLS_EHLO;
	W.hosts[0].handshake_fails = true;
	post("a");
	settle();
	assert_int_equal(W.hosts[0].connections, 2);
	post("b");
	settle();
	assert_int_equal(W.hosts[0].connections, 3);
	W.hosts[0].handshake_fails = false;
	advance(11 * 60 * 1000);
	post("c");
	settle();
	assert_int_equal(W.hosts[0].connections, 4);
	assert_int_equal(W.hosts[0].secured, 1);
	for (unsigned i = 0; i < 3; i++)
		assert_string_equal(outcomes(W.back[i]), "D250");
}

/* --- login, further --- */

#define AUTH_EHLO "250-mx\r\n250-PIPELINING\r\n250 AUTH PLAIN\r\n"

static void
login_world(const char *reply)
{
	W.hop.auth = "password";
	W.hop.login = "u";
	W.hosts[0].ehlo = AUTH_EHLO;
	W.hosts[0].auth = reply;
}

/* Words of the last 334 reach the mechanism, which may have nothing to say to them. */
static void
test_last_words(void **state)
{
	static const struct {
		enum ph_sasl_result first, then;
		const char *reply, *want;
		enum job_login login;
	} cases[] = {
		{ PH_SASL_MORE, PH_SASL_DONE, "235 2.7.0 ok", NULL, JOB_LOGIN_FINE },
		{ PH_SASL_DONE, PH_SASL_DONE, "235 2.7.0 ok", NULL, JOB_LOGIN_FINE },
		{ PH_SASL_DONE, PH_SASL_DENIED, "535 5.7.8 no", "535 5.7.8 no (sorry)",
		    JOB_LOGIN_REFUSED },
		{ PH_SASL_DONE, PH_SASL_DENIED, "235 2.7.0 ok", "login refused: sorry",
		    JOB_LOGIN_REFUSED },
		{ PH_SASL_MORE, PH_SASL_MALFORMED, "501 5.7.0 cancelled", "login failed: sorry",
		    JOB_LOGIN_FINE },
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		world_setup(NULL);
		login_world("334 djE=");
		W.hosts[0].auth_then[0] = cases[i].reply;
		W.sasl_result = cases[i].first;
		W.sasl_then = cases[i].then;
		W.sasl_problem = "sorry";
		struct job *j = post("a");
		settle();
		assert_true(str_is(buf_view(&W.sasl_input), "v1"));
		if (cases[i].want == NULL) {
			assert_string_equal(outcomes(j), "D250");
		} else {
			assert_int_equal(j->result, JOB_SITE_DOWN);
			assert_int_equal(j->site_login, cases[i].login);
			if (memmem(j->why.p, j->why.n, cases[i].want, strlen(cases[i].want)) ==
			    NULL)
				fail_msg("%zu: " STR_FMT, i, STR_ARG(j->why));
		}
		assert_int_equal(W.sasl_ends, 1);
		world_teardown(NULL);
	}
	world_setup(NULL);
}

/* "NTLM supported" is no challenge, but only when nothing was said before it. */
static void
test_prompt(void **state)
{
	(void)state;

	for (int silent = 0; silent < 2; silent++) {
		world_setup(NULL);
		login_world("334 NTLM supported");
		W.hosts[0].auth_then[0] = silent ? "235 2.7.0 ok" : "501 5.7.0 cancelled";
		W.sasl_silent = silent;
		W.sasl_result = PH_SASL_MORE;
		W.sasl_then = PH_SASL_DONE;
		buf_adds(&W.sasl_input, "junk");
		struct job *j = post("a");
		settle();
		assert_int_equal(j->result, silent ? JOB_TRIED : JOB_SITE_DOWN);
		assert_int_equal(W.sasl_steps, silent ? 2 : 1);
		assert_int_equal(W.sasl_input.len, 0);
		world_teardown(NULL);
	}
	world_setup(NULL);
}

/* A wrong password is tried once, however much mail waits, and nothing of it is logged. */
static void
test_one_login_first(void **state)
{
	(void)state;

	login_world("535 5.7.8 \"AHUAcA==\" is wrong, p4ss is not it");
	W.hop.password = (struct ph_secret){ "p4ss", 4 };
	grant(20);
	for (int i = 0; i < 20; i++)
		post("a");
	settle();
	assert_int_equal(W.hosts[0].connections, 1);
	assert_int_equal(W.nback, 20);
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(W.back[i]->result, JOB_SITE_DOWN);
		assert_int_equal(W.back[i]->site_login, JOB_LOGIN_REFUSED);
	}
	assert_false(logged("AHUA"));
	assert_false(logged("p4ss"));
	assert_true(logged("AUTH PLAIN ***"));
	assert_true(memmem(W.back[0]->why.p, W.back[0]->why.n, "\"********\"", 10) != NULL);
	assert_null(memmem(W.back[0]->why.p, W.back[0]->why.n, "p4ss", 4));
}

/* The mechanism has something better to show: once more, not twice. */
static void
test_again(void **state)
{
	(void)state;

	login_world("535 5.7.8 stale");
	W.again = 5;
	struct job *j = post("a");
	settle();
	assert_int_equal(W.hosts[0].connections, 1);
	assert_int_equal(j->site_login, JOB_LOGIN_REFUSED);
	assert_int_equal(W.sasl_ends, 2);
}

/* "Authentication required" is no reason to bounce. */
static void
test_login_wanted(void **state)
{
	static const char *const replies[] = { "530 5.7.0 Authentication required",
		"535 5.7.3 nobody", "538 5.7.11 TLS first", "530 5.7.0 Must issue STARTTLS first" };
	(void)state;

	for (size_t i = 0; i < sizeof replies / sizeof replies[0]; i++) {
		world_setup(NULL);
		W.hosts[0].on_mail = replies[i];
		post("a b");
		post("c");
		settle();
		assert_int_equal(W.nback, 2);
		for (unsigned k = 0; k < 2; k++) {
			assert_int_equal(W.back[k]->result, JOB_SITE_DOWN);
			assert_int_equal(W.back[k]->site_login, JOB_LOGIN_REFUSED);
		}
		assert_true(str_starts(W.back[0]->why, "a login is wanted: 53"));
		world_teardown(NULL);
	}
	/* to one message only: that one waits */
	world_setup(NULL);
	W.hosts[0].on_final = "530 5.7.57 Client not authenticated to send mail";
	struct job *j = post("a");
	settle();
	assert_int_equal(j->result, JOB_TRIED);
	assert_string_equal(outcomes(j), "X530");
}

#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
/* Makes worlds of its own and leaves the last to the teardown. */
#define LAST(f) cmocka_unit_test_teardown(f, world_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		LAST(test_tls), LAST(test_implicit), T(test_tls_name), T(test_refused_starttls),
		T(test_injection), T(test_handshake_hangs), T(test_fallback_is_remembered),
		LAST(test_login), LAST(test_last_words), LAST(test_prompt),
		T(test_one_login_first), T(test_again), LAST(test_login_wanted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
