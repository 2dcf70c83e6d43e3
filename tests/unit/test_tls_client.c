/*
 * plugins/tls towards next hops: which certificates are believed under which policy, what a next hop
 * brings itself, and files that are wrong or change.
 */
#include "tls_stage.h"

static void
every_kind_of_wrong_certificate_under_every_policy(void **state)
{
	static const struct { const char *file, *name, *problem; bool good; } cases[] = {
		{ "mx", "mx.example", NULL, true },
		{ "mx", "MX.Example.", NULL, true },
		{ "mx", "a.wild.example", NULL, true },
		{ "mx", "192.0.2.1", NULL, true },
		{ "mx", "a.b.wild.example", "for mx.example, *.wild.example, 192.0.2.1, not for a.b.wild.example", false },
		{ "mx", "192.0.2.2", "not for 192.0.2.2", false },
		{ "mx", "other.example", "not for other.example", false },
		{ "expired", "mx.example", "the certificate CN=expired expired on 20", false },
		{ "future", "mx.example", "not valid before 20", false },
		{ "selfsigned", "mx.example", "CN=selfsigned is self-signed", false },
		{ "foreign", "mx.example", "unknown CA: CN=foreign was issued by CN=Other CA", false },
	};
	char certificate[64], key[64];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		snprintf(certificate, sizeof certificate, "%s.pem", cases[i].file);
		snprintf(key, sizeof key, "%s.key", cases[i].file);
		both_up(path(certificate), path(key));
		for (int p = PH_TLS_OPPORTUNISTIC; p <= PH_TLS_VERIFY; p++) {
			connect_as((enum ph_tls_policy)p, cases[i].name);
			assert_int_equal(is_open(), cases[i].good || p != PH_TLS_VERIFY);
			assert_int_equal(facts(&a).verified, cases[i].good);
			assert_int_equal(facts(&a).peer_name.n > 0, cases[i].good);
			problem_has(&a, cases[i].problem);
			if (p == PH_TLS_VERIFY && !cases[i].good)
				problem_has(&b, "our certificate");
		}
		hang_up();
		down(NULL);
	}
}

static void
a_next_hop_brings_its_own_trust_name_and_certificate(void **state)
{
	(void)state;
	server.cfg.client_certificates = TLS_CERT_REQUIRE;
	server.cfg.client_ca_file = path("ca.pem");
	both_up(path("foreign.pem"), path("foreign.key"));
	hop = (struct ph_next_hop){ .size = sizeof hop, .tls_ca_file = path("other-ca.pem"), .tls_name = "mx.example",
		.tls_certificate = path("alice.pem"), .tls_key = path("alice.key"), .tls_minimum = "1.3" };
	connect_as(PH_TLS_VERIFY, "elsewhere.example");
	assert_true(is_open());
	is(facts(&b).peer_name, "alice@example.org");
	assert_true(facts(&b).verified);

	hop.tls_key = path("mx.key");
	connect_as(PH_TLS_VERIFY, "elsewhere.example");
	assert_true(a.failed);
	problem_has(&a, "does not belong to the certificate");
	hop.tls_key = path("missing.key");
	connect_as(PH_TLS_VERIFY, "elsewhere.example");
	problem_has(&a, "missing.key: No such file");
	hop = (struct ph_next_hop){ .size = sizeof hop, .tls_ca_file = path("selfsigned.pem") };
	stage_down(&server);
	server.cfg.certificate = path("selfsigned.pem");
	server.cfg.key = path("selfsigned.key");
	stage_up(&server);
	connect_as(PH_TLS_VERIFY, "mx.example");        /* pinned */
	assert_true(is_open());
	hop = (struct ph_next_hop){ 0 };
	hang_up();
}

static void
files_of_a_next_hop_are_taken_up_when_they_change(void **state)
{
	(void)state;
	both_up(path("mx.pem"), path("mx.key"));
	struct made other = make("Yet another CA", NULL, NULL, -DAY, DAY);
	save(&other, "changing");
	gone(&other);
	hop = (struct ph_next_hop){ .size = sizeof hop, .tls_ca_file = path("changing.pem") };
	connect_as(PH_TLS_VERIFY, "mx.example");
	problem_has(&a, "unknown CA");
	save(&ca, "changing");
	connect_as(PH_TLS_VERIFY, "mx.example");
	assert_true(is_open());
	write_file("changing.pem", "rubbish", 0600);    /* the former stays */
	connect_as(PH_TLS_VERIFY, "mx.example");
	assert_true(is_open());
	hop = (struct ph_next_hop){ 0 };
	hang_up();
}

static void
mistakes_in_files_are_told_apart(void **state)
{
	static const struct { const char *certificate, *key, *ca, *what; } cases[] = {
		{ "missing.pem", "mx.key", NULL, "missing.pem: No such file or directory" },
		{ "mx.pem", "missing.key", NULL, "missing.key: No such file or directory" },
		{ "empty.pem", "mx.key", NULL, "empty.pem is empty" },
		{ "text.pem", "mx.key", NULL, "text.pem holds no certificate in PEM" },
		{ "damaged.pem", "mx.key", NULL, "damaged.pem: the certificate is damaged" },
		{ "mx.pem", "text.pem", NULL, "text.pem holds no private key in PEM" },
		{ "mx.pem", NULL, NULL, "mx.pem holds no private key; set key:" },
		{ "mx.pem", "second.key", NULL, "second.key does not belong to the certificate" },
		{ "weak.pem", "weak.key", NULL, "OpenSSL refuses the certificate: ee key too small" },
		{ ".", "mx.key", NULL, "is not a file" },
		{ "mx.pem", "mx.key", "text.pem", "text.pem holds no certificate in PEM" },
		{ "mx.pem", "mx.key", "damaged.pem", "damaged.pem: a certificate is damaged" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct tls_report r = { .setup = NULL };
		struct tls_cfg cfg = { .minimum = TLS1_2_VERSION, .certificate = path(cases[i].certificate),
			.key = cases[i].key != NULL ? path(cases[i].key) : NULL,
			.ca_file = cases[i].ca != NULL ? path(cases[i].ca) : NULL };

		assert_null(tls_material_load(&cfg, &r));
		if (strstr(r.first, cases[i].what) == NULL)
			fail_msg("\"%s\", expected \"%s\"", r.first, cases[i].what);
	}
	struct tls_report r = { .setup = NULL };
	struct tls_cfg cfg = { .minimum = TLS1_2_VERSION, .certificate = path("mx.pem"), .key = path("mx.key") };
	cfg.ciphers = "NONSENSE";
	assert_null(tls_material_load(&cfg, &r));
	assert_non_null(strstr(r.first, "\"NONSENSE\" selects no cipher"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(every_kind_of_wrong_certificate_under_every_policy),
		T(a_next_hop_brings_its_own_trust_name_and_certificate),
		T(files_of_a_next_hop_are_taken_up_when_they_change),
		T(mistakes_in_files_are_told_apart),
	};
	return cmocka_run_group_tests(tests, make_all, remove_all);
}
