/*
 * plugins/tls as a layer: bytes both ways however they come, the end of a connection, what is no
 * TLS at all, values to bind logins to, and memory.
 */
#include <malloc.h>

#include "tls_stage.h"

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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(bytes_go_both_ways_however_they_come),
		T(nothing_in_common_is_said_in_words), T(what_is_no_tls_is_quoted),
		T(the_goodbye_ends_one_direction), T(damaged_bytes_end_it),
		T(both_ends_bind_to_the_same_value), T(an_idle_connection_is_small),
	};
	return cmocka_run_group_tests(tests, make_all, remove_all);
}
