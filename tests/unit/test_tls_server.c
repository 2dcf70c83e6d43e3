/*
 * plugins/tls towards clients: the certificate by the name asked for, clients with certificates,
 * sessions taken up again, and old versions behind their fence.
 */
#include "tls_stage.h"

static void
the_name_asked_for_chooses_the_certificate(void **state)
{
	static const struct { const char *asked, *subject; } cases[] = {
		{ "mx.example", "CN=mx" }, { "second.example", "CN=second" },
		{ "SECOND.example.", "CN=second" }, { "x.wild.example", "CN=mx" },
		{ "exact.wild.example", "CN=second" }, { "unknown.example", "CN=mx" },
		{ "192.0.2.1", "CN=mx" }, { "a.second.example", "CN=mx" },
	};
	struct tls_pair more[] = { { NULL, NULL } };

	(void)state;
	more[0] = (struct tls_pair){ path("second.pem"), path("second.key") };
	server.cfg.certificates = (struct ph_sections){ more, 1 };
	both_up(path("mx.pem"), path("mx.key"));
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		connect_as(PH_TLS_REQUIRED, cases[i].asked);
		assert_true(is_open());
		is(facts(&a).subject, cases[i].subject);
	}
	hang_up();
}

static void
client_certificates_are_an_identity(void **state)
{
	static const struct {
		int wanted, from;
		const char *file, *identity, *problem;
		bool open;
	} cases[] = {
		{ TLS_CERT_OFF, TLS_ID_AUTO, "alice", "", NULL, true },
		{ TLS_CERT_REQUEST, TLS_ID_AUTO, NULL, "", NULL, true },
		{ TLS_CERT_REQUEST, TLS_ID_AUTO, "alice", "alice@example.org", NULL, true },
		{ TLS_CERT_REQUEST, TLS_ID_DNS, "alice", "pc.example.org", NULL, true },
		{ TLS_CERT_REQUEST, TLS_ID_CN, "alice", "", NULL, true },        /* a blank in it */
		{ TLS_CERT_REQUEST, TLS_ID_AUTO, "cnonly", "printer7", NULL, true },
		{ TLS_CERT_REQUEST, TLS_ID_EMAIL, "cnonly", "", NULL, true },
		{ TLS_CERT_REQUEST, TLS_ID_AUTO, "mallory", "", "unknown CA: CN=alice was issued by CN=Other CA", true },
		{ TLS_CERT_REQUEST, TLS_ID_AUTO, "old-alice", "", "expired on", true },
		{ TLS_CERT_REQUIRE, TLS_ID_AUTO, "alice", "alice@example.org", NULL, true },
		{ TLS_CERT_REQUIRE, TLS_ID_AUTO, NULL, "", "showed no certificate", false },
		{ TLS_CERT_REQUIRE, TLS_ID_AUTO, "mallory", "", "unknown CA", false },
		{ TLS_CERT_REQUIRE, TLS_ID_AUTO, "old-alice", "", "expired on", false },
	};
	char certificate[64], key[64];

	(void)state;
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
			server.cfg.client_certificates = cases[i].wanted;
			server.cfg.client_identity = cases[i].from;
			server.cfg.client_ca_file = path("ca.pem");
			client.cfg.ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256";
			both_up(path("mx.pem"), path("mx.key"));
			if (cases[i].file != NULL) {
				snprintf(certificate, sizeof certificate, "%s.pem", cases[i].file);
				snprintf(key, sizeof key, "%s.key", cases[i].file);
				hop = (struct ph_next_hop){ .size = sizeof hop,
					.tls_certificate = path(certificate), .tls_key = path(key) };
			}
			begin(PH_TLS_VERIFY, "mx.example", "0.0.0.0:25");
			SSL_set_max_proto_version(a.y.ssl, version);
			run();
			assert_int_equal(is_open(), cases[i].open);
			is(facts(&b).peer_name, cases[i].identity);
			assert_int_equal(facts(&b).verified, cases[i].identity[0] != '\0');
			problem_has(&b, cases[i].problem);
			hop = (struct ph_next_hop){ 0 };
			hang_up();
			down(NULL);
		}
	}
}

static void
sessions_are_taken_up_again(void **state)
{
	static const struct ph_addr nobody;
	const char *listeners[] = { "asks" };

	(void)state;
	(void)nobody;
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		server.cfg.client_certificates = TLS_CERT_REQUEST;
		server.cfg.client_ca_file = path("ca.pem");
		server.cfg.client_listeners = (struct ph_strings){ listeners, 1 };
		both_up(path("mx.pem"), path("mx.key"));
		hop = (struct ph_next_hop){ .size = sizeof hop,
			.tls_certificate = path("alice.pem"), .tls_key = path("alice.key") };
		assert_false(resumes(PH_TLS_VERIFY, "mx.example", "asks", version));
		for (int i = 0; i < 3; i++) {
			assert_true(resumes(PH_TLS_VERIFY, "mx.example", "asks", version));
			is(facts(&a).peer_name, "mx.example");
			is(facts(&b).peer_name, "alice@example.org");
			assert_true(facts(&a).verified && facts(&b).verified);
		}
		/* Another name, another policy, another way to treat clients. */
		assert_false(resumes(PH_TLS_VERIFY, "a.wild.example", "asks", version));
		assert_false(resumes(PH_TLS_REQUIRED, "mx.example", "asks", version));
		assert_false(resumes(PH_TLS_VERIFY, "mx.example", "does not ask", version));
		is(facts(&b).peer_name, "");
		assert_false(resumes(PH_TLS_VERIFY, "mx.example", "asks", version));
		is(facts(&b).peer_name, "alice@example.org");
		/* The keys are gone, or have aged: one life old still opens, and is exchanged. */
		assert_true(resumes(PH_TLS_VERIFY, "mx.example", "asks", version));
		struct tls_ticket_key *k = server.cfg.shared->tickets.keys;
		k[0].born -= TLS_TICKET_LIFE;
		assert_true(resumes(PH_TLS_VERIFY, "mx.example", "asks", version));
		if (k[1].born == 0)     /* 1.2 keeps the ticket that it has */
			assert_true(resumes(PH_TLS_VERIFY, "mx.example", "asks", version));
		k[0].born -= 2 * TLS_TICKET_LIFE;
		k[1].born -= 2 * TLS_TICKET_LIFE;
		assert_false(resumes(PH_TLS_VERIFY, "mx.example", "asks", version));
		assert_true(resumes(PH_TLS_VERIFY, "mx.example", "asks", version));
		tls_tickets_forget(&server.cfg.shared->tickets);
		assert_false(resumes(PH_TLS_VERIFY, "mx.example", "asks", version));
		hop = (struct ph_next_hop){ 0 };
		hang_up();
		down(NULL);
	}
}

static void
without_tickets_every_handshake_is_a_full_one(void **state)
{
	(void)state;
	both_up(path("mx.pem"), path("mx.key"));
	stage_down(&server);
	server.cfg.certificate = path("mx.pem");
	server.cfg.key = path("mx.key");
	stage_up(&server);
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++)
		for (int i = 0; i < 2; i++)
			assert_false(resumes(PH_TLS_VERIFY, "mx.example", "x", version));
	hang_up();
}

static void
old_versions_only_behind_the_fence(void **state)
{
	static const struct ph_network near[] = { { 4, 8, { 10 } } }, far[] = { { 4, 24, { 192, 0, 2 } } };
	static const struct { const char *listener; const struct ph_network *net; bool open; } cases[] = {
		{ "old:25", near, true }, { "old:25", far, false }, { "new:25", near, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct tls_legacy legacy[] = { { cases[i].listener, { cases[i].net, 1 }, TLS1_VERSION } };

		server.cfg.legacy = (struct ph_sections){ legacy, 1 };
		both_up(path("rsa.pem"), path("rsa.key"));
		for (int version = TLS1_VERSION; version <= TLS1_3_VERSION; version++) {
			begin(PH_TLS_REQUIRED, "mx.example", "old:25");
			SSL_set_security_level(a.y.ssl, 0);
			SSL_set_cipher_list(a.y.ssl, "ALL:@SECLEVEL=0");
			SSL_set_min_proto_version(a.y.ssl, TLS1_VERSION);
			SSL_set_max_proto_version(a.y.ssl, version);
			run();
			assert_int_equal(is_open(), cases[i].open || version >= TLS1_2_VERSION);
			if (is_open()) {
				say(&a, &b, "EHLO scanner\r\n");
				continue;
			}
			problem_has(&a, "does not speak any version that we allow");
			problem_has(&b, version == TLS1_VERSION
			    ? "speaks at most TLSv1.0, the minimum at old:25 is TLSv1.2"
			    : "speaks at most TLSv1.1, the minimum at old:25 is TLSv1.2");
		}
		hang_up();
		down(NULL);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_name_asked_for_chooses_the_certificate),
		T(client_certificates_are_an_identity), T(sessions_are_taken_up_again),
		T(without_tickets_every_handshake_is_a_full_one),
		T(old_versions_only_behind_the_fence),
	};
	return cmocka_run_group_tests(tests, make_all, remove_all);
}
