/*
 * plugins/tls without a network: two layers joined in memory, the bytes handed over whole
 * or one by one, against certificates of every bad kind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <malloc.h>
#include <openssl/pem.h>

#include "../../plugins/tls/tls.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"

/* --- certificates --- */

enum { DAY = 24 * 60 * 60 };
static char folder[] = "/tmp/posthouse-tls-XXXXXX";

/* Lives as long as the test. */
static const char *
path(const char *name)
{
	static char v[64][96];
	size_t i = 0;

	for (; v[i][0] != '\0'; i++) {
		assert_true(i < 62);
		if (strcmp(strrchr(v[i], '/') + 1, name) == 0)
			return v[i];
	}
	snprintf(v[i], sizeof v[i], "%s/%s", folder, name);
	return v[i];
}

struct made { X509 *x; EVP_PKEY *key; };

static void
extend(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;

	X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	assert_non_null(e);
	assert_int_equal(X509_add_ext(x, e, -1), 1);
	X509_EXTENSION_free(e);
}

/* A certificate signed by "by", NULL: by itself; valid from and to in seconds from now. */
static struct made
make_key(EVP_PKEY *key, const char *cn, const char *names, const struct made *by, long from, long to)
{
	static long serial = 1;
	struct made m = { X509_new(), key };
	X509_NAME *name = X509_get_subject_name(m.x);

	assert_non_null(m.key);
	X509_set_version(m.x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(m.x), serial++);
	X509_gmtime_adj(X509_getm_notBefore(m.x), from);
	X509_gmtime_adj(X509_getm_notAfter(m.x), to);
	X509_set_pubkey(m.x, m.key);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1, 0);
	X509_set_issuer_name(m.x, by != NULL ? X509_get_subject_name(by->x) : name);
	if (names != NULL)
		extend(m.x, by != NULL ? by->x : m.x, NID_subject_alt_name, names);
	else
		extend(m.x, m.x, NID_basic_constraints, "critical,CA:TRUE");
	assert_true(X509_sign(m.x, by != NULL ? by->key : m.key, EVP_sha256()) > 0);
	return m;
}

static struct made
make(const char *cn, const char *names, const struct made *by, long from, long to)
{
	return make_key(EVP_EC_gen("P-256"), cn, names, by, from, to);
}

static void
save(const struct made *m, const char *name)
{
	char file[64];

	snprintf(file, sizeof file, "%s.pem", name);
	FILE *f = fopen(path(file), "w");
	assert_non_null(f);
	assert_int_equal(PEM_write_X509(f, m->x), 1);
	fclose(f);
	snprintf(file, sizeof file, "%s.key", name);
	f = fopen(path(file), "w");
	assert_non_null(f);
	fchmod(fileno(f), 0600);
	assert_int_equal(PEM_write_PrivateKey(f, m->key, NULL, NULL, 0, NULL, NULL), 1);
	fclose(f);
}

static void
gone(struct made *m)
{
	X509_free(m->x);
	EVP_PKEY_free(m->key);
}

static struct made ca;

static void
saved(const char *file, const char *cn, const char *names, const struct made *by, long from, long to)
{
	struct made m = make(cn, names, by, from, to);

	save(&m, file);
	gone(&m);
}

static void
write_file(const char *name, const char *text, mode_t mode)
{
	FILE *f = fopen(path(name), "w");

	assert_non_null(f);
	fputs(text, f);
	fchmod(fileno(f), mode);
	fclose(f);
}

static int
make_all(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(folder));
	ca = make("Test CA", NULL, NULL, -DAY, 10 * DAY);
	save(&ca, "ca");
	struct made other = make("Other CA", NULL, NULL, -DAY, 10 * DAY);
	save(&other, "other-ca");
	saved("mx", "mx", "DNS:mx.example,DNS:*.wild.example,IP:192.0.2.1", &ca, -DAY, 5 * DAY);
	saved("second", "second", "DNS:second.example,DNS:exact.wild.example", &ca, -DAY, 5 * DAY);
	saved("expired", "expired", "DNS:mx.example", &ca, -9 * DAY, -2 * DAY);
	saved("future", "future", "DNS:mx.example", &ca, 2 * DAY, 9 * DAY);
	saved("selfsigned", "selfsigned", "DNS:mx.example", NULL, -DAY, 5 * DAY);
	saved("foreign", "foreign", "DNS:mx.example", &other, -DAY, 5 * DAY);
	saved("alice", "alice smith", "email:alice@example.org,DNS:pc.example.org", &ca, -DAY, 5 * DAY);
	saved("cnonly", "printer7", "IP:192.0.2.7", &ca, -DAY, 5 * DAY);
	saved("old-alice", "alice", "email:alice@example.org", &ca, -9 * DAY, -DAY);
	saved("mallory", "alice", "email:alice@example.org", &other, -DAY, 5 * DAY);
	struct made rsa = make_key(EVP_RSA_gen(2048), "rsa", "DNS:mx.example", &ca, -DAY, 5 * DAY);
	save(&rsa, "rsa");
	gone(&rsa);
	struct made weak = make_key(EVP_RSA_gen(1024), "weak", "DNS:mx.example", &ca, -DAY, 5 * DAY);
	save(&weak, "weak");
	gone(&weak);
	gone(&other);
	write_file("empty.pem", "", 0600);
	write_file("text.pem", "no certificate\n", 0600);
	write_file("damaged.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", 0600);
	return 0;
}

static int
remove_all(void **state)
{
	char command[128];

	(void)state;
	gone(&ca);
	snprintf(command, sizeof command, "rm -r %s", folder);
	return system(command);
}

/* --- an instance and its worker --- */

struct stage { struct tls_cfg cfg; struct tls_worker tw; };
static struct stage server, client;

static void hang_up(void);

static void
stage_down(struct stage *s)
{
	hang_up();
	if (s->cfg.shared == NULL)
		return;
	tls_worker_done(&s->tw);
	tls_shared_free(&s->cfg.shared);
	memset(s, 0, sizeof *s);
}

/* The rest of cfg is set by the caller. */
static void
stage_up(struct stage *s)
{
	struct tls_report r = { .setup = NULL };

	if (s->cfg.minimum == 0)
		s->cfg.minimum = TLS1_2_VERSION;
	s->cfg.shared = tls_shared_new();
	assert_non_null(s->cfg.shared);
	s->cfg.shared->now = tls_material_load(&s->cfg, &r);
	if (s->cfg.shared->now == NULL)
		fail_msg("%s", r.first);
	assert_int_equal(tls_worker_init(&s->tw, &s->cfg, NULL), 0);
}

/* A server with this certificate, a client that trusts the CA. */
static void
both_up(const char *certificate, const char *key)
{
	server.cfg.certificate = certificate;
	server.cfg.key = key;
	server.cfg.tickets = true;
	stage_up(&server);
	if (client.cfg.ca_file == NULL)
		client.cfg.ca_file = path("ca.pem");
	stage_up(&client);
}

/* --- two ends and the wire between them --- */

struct end {
	struct tls_layer y;
	enum ph_secure_state at;
	struct buf in, plain, to_send;
	bool failed, closing, opened;
};
static struct end a, b;         /* a client, b server */
static size_t slice, room_plain = 4096, room_cipher = 65536;
static struct ph_next_hop hop;
static const struct ph_addr device = { 4, 40000, { 10, 1, 2, 3 } };

static size_t
least(size_t x, size_t y)
{
	return x < y ? x : y;
}

/* One pump step; true when anything moved. */
static bool
step(struct end *e, struct end *other)
{
	static uint8_t plain[65536], cipher[65536];
	size_t n = slice != 0 ? least(slice, e->in.len) : e->in.len;
	struct ph_str in = buf_view(&e->in), out = buf_view(&e->to_send);
	enum ph_secure_state before = e->at;
	struct ph_secure_io io = {
		.cipher_in = (const uint8_t *)in.p, .cipher_in_len = n,
		.plain_out = plain, .plain_out_room = e->at == PH_SECURE_HANDSHAKE ? 0 : room_plain,
		.plain_in = (const uint8_t *)out.p, .plain_in_len = e->at == PH_SECURE_OPEN ? out.n : 0,
		.cipher_out = cipher, .cipher_out_room = room_cipher,
		.closing = e->closing && e->to_send.len == 0,
	};
	size_t offered = io.plain_in_len;

	if (e->failed)
		return false;
	int rc = tls_layer_pump(&e->y, &io, &e->at);
	buf_add(&other->in, cipher, io.cipher_out_len);
	buf_add(&e->plain, plain, io.plain_out_len);
	buf_eat(&e->in, n - io.cipher_in_len);
	buf_eat(&e->to_send, offered - io.plain_in_len);
	e->failed = rc < 0;
	e->opened = e->opened || e->at == PH_SECURE_OPEN;
	return before != e->at || io.cipher_out_len > 0 || io.plain_out_len > 0 ||
	       n != io.cipher_in_len || offered != io.plain_in_len;
}

static void
run(void)
{
	for (unsigned idle = 0, n = 0; idle < 3; n++) {
		bool moved = step(&a, &b);

		moved = step(&b, &a) || moved;
		idle = moved ? 0 : idle + 1;
		assert_true(n < 5000000);
	}
}

static void
end_done(struct end *e)
{
	tls_layer_close(&e->y);
	buf_free(&e->in);
	buf_free(&e->plain);
	buf_free(&e->to_send);
	*e = (struct end){ .at = PH_SECURE_HANDSHAKE };
}

static void
hang_up(void)
{
	end_done(&a);
	end_done(&b);
}

static int
down(void **state)
{
	(void)state;
	hop = (struct ph_next_hop){ 0 };
	slice = 0;
	hang_up();
	stage_down(&server);
	stage_down(&client);
	return 0;
}

static void
begin(enum ph_tls_policy policy, const char *name, const char *listener)
{
	const struct ph_secure_want wa = { .size = sizeof wa, .side = PH_CLIENT, .policy = policy,
		.name = { name, strlen(name) }, .hop = &hop };
	const struct ph_secure_want wb = { .size = sizeof wb, .side = PH_SERVER,
		.listener = listener, .client = &device };

	hang_up();
	assert_int_equal(tls_layer_open(&client.tw, &a.y, &wa), 0);
	assert_int_equal(tls_layer_open(&server.tw, &b.y, &wb), 0);
}

static void
connect_as(enum ph_tls_policy policy, const char *name)
{
	begin(policy, name, "0.0.0.0:25");
	run();
}

static bool
is_open(void)
{
	return a.opened && b.opened && !a.failed && !b.failed;
}

static struct ph_secure_facts
facts(struct end *e)
{
	struct ph_secure_facts f;

	tls_layer_facts(&e->y, &f);
	return f;
}

static void
problem_has(struct end *e, const char *word)
{
	struct ph_secure_facts f = facts(e);
	char text[TLS_TEXT];

	snprintf(text, sizeof text, "%.*s", (int)f.problem.n, f.problem.p);
	if (word == NULL ? text[0] != '\0' : strstr(text, word) == NULL)
		fail_msg("problem \"%s\", expected \"%s\"", text, word != NULL ? word : "");
}

static void
is(struct ph_str got, const char *want)
{
	if (!str_is(got, want))
		fail_msg("\"%.*s\", expected \"%s\"", STR_ARG(got), want);
}

static void
say(struct end *from, struct end *to, const char *text)
{
	buf_adds(&from->to_send, text);
	run();
	is(buf_view(&to->plain), text);
	buf_clear(&to->plain);
}

/* --- tests --- */

static void
bytes_go_both_ways_however_they_come(void **state)
{
	static const struct { size_t slice, plain, cipher; } cases[] = {
		{ 0, 4096, 65536 }, { 1, 4096, 65536 }, { 7, 1, 65536 }, { 0, 100, 600 }, { 3, 5000, 1000 },
	};
	struct buf big = { 0 };

	(void)state;
	for (int i = 0; i < 100000; i++)
		buf_addc(&big, (char)('a' + i % 23));
	both_up(path("mx.pem"), path("mx.key"));
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		slice = cases[i].slice;
		room_plain = cases[i].plain;
		room_cipher = cases[i].cipher;
		connect_as(PH_TLS_VERIFY, "mx.example");
		assert_true(is_open());
		say(&a, &b, "EHLO client\r\n");
		say(&b, &a, "250 server\r\n");
		buf_addstr(&a.to_send, buf_view(&big));
		buf_adds(&b.to_send, "meanwhile");
		run();
		assert_int_equal(b.plain.len, big.len);
		assert_memory_equal(buf_view(&b.plain).p, buf_view(&big).p, big.len);
		is(buf_view(&a.plain), "meanwhile");
		is(facts(&a).version, "TLSv1.3");
		is(facts(&a).peer_name, "mx.example");
		is(facts(&a).issuer, "CN=Test CA");
		is(facts(&a).names, "mx.example, *.wild.example, 192.0.2.1");
		assert_true(facts(&a).verified);
		assert_int_equal(facts(&a).bits, 256);
		problem_has(&a, NULL);
		problem_has(&b, NULL);
	}
	slice = 0;
	room_plain = 4096;
	room_cipher = 65536;
	buf_free(&big);
	hang_up();
}

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

/* Connects and lets the tickets arrive. */
static bool
resumes(enum ph_tls_policy policy, const char *name, const char *listener, int version)
{
	begin(policy, name, listener);
	SSL_set_max_proto_version(a.y.ssl, version);
	run();
	assert_true(is_open());
	say(&b, &a, "250 ok\r\n");
	assert_int_equal(facts(&a).resumed, facts(&b).resumed);
	return facts(&a).resumed;
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

static void
nothing_in_common_is_said_in_words(void **state)
{
	(void)state;
	server.cfg.minimum = TLS1_3_VERSION;
	both_up(path("mx.pem"), path("mx.key"));
	begin(PH_TLS_REQUIRED, "mx.example", "x");
	SSL_set_max_proto_version(a.y.ssl, TLS1_2_VERSION);
	run();
	problem_has(&a, "does not speak any version");
	problem_has(&b, "the client speaks at most TLSv1.2, the minimum at x is TLSv1.3");
	hang_up();
	down(NULL);
	client.cfg.minimum = TLS1_3_VERSION;
	both_up(path("mx.pem"), path("mx.key"));
	begin(PH_TLS_REQUIRED, "mx.example", "x");
	SSL_set_max_proto_version(b.y.ssl, TLS1_2_VERSION);
	run();
	problem_has(&a, "does not speak any version that we allow");
	hang_up();
	down(NULL);
	client.cfg.ciphersuites = "TLS_AES_128_GCM_SHA256";
	server.cfg.ciphersuites = "TLS_AES_256_GCM_SHA384";
	client.cfg.minimum = TLS1_3_VERSION;
	both_up(path("mx.pem"), path("mx.key"));
	connect_as(PH_TLS_REQUIRED, "mx.example");
	problem_has(&a, "found no cipher or parameters in common");
	problem_has(&b, "no cipher in common with the client");
	hang_up();
}

static void
what_is_no_tls_is_quoted(void **state)
{
	static const struct { const char *text, *client, *server; } cases[] = {
		{ "220 mx.example ESMTP\r\n", "the remote does not speak TLS: it sent \"220 mx.example ESMTP\"; a port with STARTTLS",
		  "the client does not speak TLS: it sent \"220 mx.example ESMTP\"" },
		{ "EHLO evil\x1b[31m\r\nMAIL", "it sent \"EHLO evil.[31m\"", "it sent \"EHLO evil.[31m\"" },
		{ "GET / HTTP/1.1\r\n\r\n", "it sent \"GET / HTTP/1.1\"", "it sent \"GET / HTTP/1.1\"" },
		{ "\r\n", "it sent \"\"", NULL },       /* OpenSSL's server waits for more */
		{ "\x80\x2e\x01\x03\x01 an SSLv2 hello", "does not speak TLS", NULL },
	};

	(void)state;
	both_up(path("mx.pem"), path("mx.key"));
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		for (slice = 0; slice < 2; slice++) {
			begin(PH_TLS_OPPORTUNISTIC, "mx.example", "x");
			buf_adds(&a.in, cases[i].text);
			buf_adds(&a.in, "more that makes it long enough");
			buf_adds(&b.in, cases[i].text);
			buf_adds(&b.in, "more that makes it long enough");
			for (int n = 0; n < 100; n++) {
				struct end nowhere = { .failed = true };

				step(&a, &nowhere);
				step(&b, &nowhere);
				buf_free(&nowhere.in);
			}
			assert_true(a.failed);
			problem_has(&a, slice == 0 ? cases[i].client : "does not speak TLS");
			if (cases[i].server != NULL)
				problem_has(&b, slice == 0 ? cases[i].server : "does not speak TLS");
		}
	}
	slice = 0;
	hang_up();
}

static void
the_goodbye_ends_one_direction(void **state)
{
	(void)state;
	both_up(path("mx.pem"), path("mx.key"));
	connect_as(PH_TLS_VERIFY, "mx.example");
	a.closing = true;
	buf_adds(&a.to_send, "QUIT\r\n");
	run();
	is(buf_view(&b.plain), "QUIT\r\n");
	assert_int_equal(b.at, PH_SECURE_CLOSED);
	assert_int_equal(a.at, PH_SECURE_OPEN);
	buf_adds(&b.in, "MAIL FROM:<in@the.clear>\r\n");
	run();
	is(buf_view(&b.plain), "QUIT\r\n");
	assert_int_equal(b.in.len, 0);
	assert_false(b.failed);
	hang_up();
}

static void
damaged_bytes_end_it(void **state)
{
	(void)state;
	both_up(path("mx.pem"), path("mx.key"));
	connect_as(PH_TLS_VERIFY, "mx.example");
	buf_add(&b.in, "\x17\x03\x03\x00\x20 these are not thirty-two bytes of truth", 45);
	run();
	assert_true(b.failed);
	problem_has(&b, "damaged data from the client");
	assert_true(a.failed);
	hang_up();
}

static void
both_ends_bind_to_the_same_value(void **state)
{
	static const struct { int version; const char *type; size_t n; bool fresh; } cases[] = {
		{ TLS1_3_VERSION, "tls-exporter", 32, true },
		{ TLS1_2_VERSION, "tls-exporter", 32, true },
		{ TLS1_3_VERSION, "tls-server-end-point", 32, false },
		{ TLS1_2_VERSION, "tls-server-end-point", 32, false },
		{ TLS1_2_VERSION, "tls-unique", 12, true },
		{ TLS1_3_VERSION, "tls-unique", 0, true },
		{ TLS1_3_VERSION, "no-such", 0, true },
	};

	(void)state;
	both_up(path("mx.pem"), path("mx.key"));
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		uint8_t va[64], vb[64], before[64] = { 0 };

		for (int round = 0; round < 3; round++) {
			size_t na = sizeof va, nb = sizeof vb, small = 4;
			bool again = resumes(PH_TLS_VERIFY, "mx.example", "x", cases[i].version);

			assert_true(round == 0 || again);
			if (cases[i].n == 0) {
				assert_int_equal(tls_layer_binding(&a.y, cases[i].type, va, &na), PH_ENOTSUP);
				continue;
			}
			assert_int_equal(tls_layer_binding(&a.y, cases[i].type, va, &na), 0);
			assert_int_equal(tls_layer_binding(&b.y, cases[i].type, vb, &nb), 0);
			assert_int_equal(na, cases[i].n);
			assert_int_equal(nb, cases[i].n);
			assert_memory_equal(va, vb, na);
			if (round > 0)
				assert_int_equal(memcmp(va, before, na) != 0, cases[i].fresh);
			memcpy(before, va, na);
			assert_int_equal(tls_layer_binding(&a.y, cases[i].type, vb, &small), PH_ENOTSUP);
		}
		begin(PH_TLS_VERIFY, "mx.example", "x");
		size_t n = sizeof va;
		assert_int_equal(tls_layer_binding(&a.y, cases[i].type, va, &n), PH_ENOTSUP);
	}
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

static void
an_idle_connection_is_small(void **state)
{
	enum { PAIRS = 50 };
	static struct end many[PAIRS][2];

	(void)state;
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	both_up(path("mx.pem"), path("mx.key"));
	connect_as(PH_TLS_REQUIRED, "mx.example");
	struct mallinfo2 before = mallinfo2();
	for (int i = 0; i < PAIRS; i++) {
		memset(&a, 0, sizeof a);
		memset(&b, 0, sizeof b);
		begin(PH_TLS_REQUIRED, "mx.example", "x");
		run();
		say(&a, &b, "EHLO x\r\n");
		say(&b, &a, "250 x\r\n");
		(void)facts(&b);
		buf_free(&a.in);
		buf_free(&b.in);
		buf_free(&a.plain);
		buf_free(&b.plain);
		buf_free(&a.to_send);
		buf_free(&b.to_send);
		many[i][0] = a;
		many[i][1] = b;
		/* BIOs point at the layers */
		BIO_set_data(SSL_get_rbio(a.y.ssl), &many[i][0].y);
		BIO_set_data(SSL_get_rbio(b.y.ssl), &many[i][1].y);
	}
	struct mallinfo2 after = mallinfo2();
	size_t each = (after.uordblks - before.uordblks) / PAIRS / 2;
	print_message("%zu bytes each\n", each);
	assert_true(each < 30 * 1024);
	for (int i = 0; i < PAIRS; i++) {
		a = many[i][0];
		b = many[i][1];
		hang_up();
	}
#else
	(void)many;
#endif
}

#define T(f) cmocka_unit_test_teardown(f, down)
int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(bytes_go_both_ways_however_they_come),
		T(every_kind_of_wrong_certificate_under_every_policy),
		T(a_next_hop_brings_its_own_trust_name_and_certificate),
		T(files_of_a_next_hop_are_taken_up_when_they_change),
		T(the_name_asked_for_chooses_the_certificate), T(client_certificates_are_an_identity),
		T(sessions_are_taken_up_again), T(without_tickets_every_handshake_is_a_full_one),
		T(old_versions_only_behind_the_fence), T(nothing_in_common_is_said_in_words),
		T(what_is_no_tls_is_quoted), T(the_goodbye_ends_one_direction), T(damaged_bytes_end_it),
		T(both_ends_bind_to_the_same_value), T(mistakes_in_files_are_told_apart),
		T(an_idle_connection_is_small),
	};
	return cmocka_run_group_tests(tests, make_all, remove_all);
}
