/*
 * tls_stage.c - what the tests of plugins/tls share: certificates of every bad kind in a folder, a
 * server and a client, and the wire between them, in memory.
 */
#include "tls_stage.h"

#include <openssl/pem.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- certificates --- */

static char folder[] = "/tmp/posthouse-tls-XXXXXX";

/* Lives as long as the test. */
const char *
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

struct made
make(const char *cn, const char *names, const struct made *by, long from, long to)
{
	return make_key(EVP_EC_gen("P-256"), cn, names, by, from, to);
}

void
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

void
gone(struct made *m)
{
	X509_free(m->x);
	EVP_PKEY_free(m->key);
}

struct made ca;

static void
saved(const char *file, const char *cn, const char *names, const struct made *by, long from, long to)
{
	struct made m = make(cn, names, by, from, to);

	save(&m, file);
	gone(&m);
}

void
write_file(const char *name, const char *text, mode_t mode)
{
	FILE *f = fopen(path(name), "w");

	assert_non_null(f);
	fputs(text, f);
	fchmod(fileno(f), mode);
	fclose(f);
}

int
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

int
remove_all(void **state)
{
	char command[128];

	(void)state;
	gone(&ca);
	snprintf(command, sizeof command, "rm -r %s", folder);
	return system(command);
}

/* --- an instance and its worker --- */

struct stage server, client;

void
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
void
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
void
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

struct end a, b;
size_t slice, room_plain = 4096, room_cipher = 65536;
struct ph_next_hop hop;
static const struct ph_addr device = { 4, 40000, { 10, 1, 2, 3 } };

static size_t
least(size_t x, size_t y)
{
	return x < y ? x : y;
}

/* One pump step; true when anything moved. */
bool
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

void
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

void
hang_up(void)
{
	end_done(&a);
	end_done(&b);
}

int
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

void
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

void
connect_as(enum ph_tls_policy policy, const char *name)
{
	begin(policy, name, "0.0.0.0:25");
	run();
}

bool
is_open(void)
{
	return a.opened && b.opened && !a.failed && !b.failed;
}

struct ph_secure_facts
facts(struct end *e)
{
	struct ph_secure_facts f;

	tls_layer_facts(&e->y, &f);
	return f;
}

void
problem_has(struct end *e, const char *word)
{
	struct ph_secure_facts f = facts(e);
	char text[TLS_TEXT];

	snprintf(text, sizeof text, "%.*s", (int)f.problem.n, f.problem.p);
	if (word == NULL ? text[0] != '\0' : strstr(text, word) == NULL)
		fail_msg("problem \"%s\", expected \"%s\"", text, word != NULL ? word : "");
}

void
is(struct ph_str got, const char *want)
{
	if (!str_is(got, want))
		fail_msg("\"%.*s\", expected \"%s\"", STR_ARG(got), want);
}

void
say(struct end *from, struct end *to, const char *text)
{
	buf_adds(&from->to_send, text);
	run();
	is(buf_view(&to->plain), text);
	buf_clear(&to->plain);
}

/* Connects and lets the tickets arrive. */
bool
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
