/* test_trace.c - dates, the Received field and what cannot get into it, the header section. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

#include "mail/trace.h"

static void
zone(const char *tz)
{
	setenv("TZ", tz, 1);
	tzset();
}

static void
dates(void **state)
{
	static const struct { const char *tz; int64_t ms; const char *want; } rows[] = {
		{ "UTC", 1795518000999, "Tue, 24 Nov 2026 11:00:00 +0000" },
		{ "UTC", 1795518001000, "Tue, 24 Nov 2026 11:00:01 +0000" },
		{ "XXX-05:30", 1795518002000, "Tue, 24 Nov 2026 16:30:02 +0530" },
		{ "XXX+09:45", 1795518003000, "Tue, 24 Nov 2026 01:15:03 -0945" },
		{ "UTC", 2147483648000, "Tue, 19 Jan 2038 03:14:08 +0000" },
		{ "UTC", 0, "Thu, 01 Jan 1970 00:00:00 +0000" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct buf b = { 0 };

		zone(rows[i].tz);
		trace_date(&b, rows[i].ms);
		trace_date(&b, rows[i].ms);     /* from the cache */
		assert_int_equal(b.len, 62);
		assert_true(str_is(str_head(buf_view(&b), 31), rows[i].want));
		assert_true(str_is(str_skip(buf_view(&b), 31), rows[i].want));
		buf_free(&b);
	}
	zone("UTC");
}

struct field {
	const char *hello; struct ph_addr client; bool esmtp, tls, login, utf8;
	const char *cipher;
	const char *rcpts[2];
	const char *want;
};

#define V4 { 4, 25, { 192, 0, 2, 7 } }
#define V6 { 6, 25, { 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1 } }
#define LOCAL { 0, 0, { 0 } }
#define ID "\r\n\tid 00000000010000000000"
#define WHEN ";\r\n\tTue, 24 Nov 2026 11:00:00 +0000\r\n"

static const struct field fields[] = {
	{ "client.example", V4, true, false, false, false, "", { "a@b" },
	  "Received: from client.example ([192.0.2.7])\r\n\tby relay.test with ESMTP" ID "\r\n\tfor <a@b>" WHEN },
	{ "[192.0.2.7]", V4, false, false, false, false, "", { "a@b", "c@d" },
	  "Received: from [192.0.2.7] ([192.0.2.7])\r\n\tby relay.test with SMTP" ID WHEN },
	{ "h", V6, true, true, false, false, "TLS_AES_256_GCM_SHA384", { NULL },
	  "Received: from h ([IPv6:2001:db8::1])\r\n\tby relay.test with ESMTPS (TLSv1.3 "
	  "TLS_AES_256_GCM_SHA384)" ID WHEN },
	{ "h", LOCAL, true, false, true, false, "", { NULL }, "Received: from h\r\n\tby relay.test with ESMTPA" ID WHEN },
	{ "h", LOCAL, true, true, true, true, "x)\r\nEvil: (", { "\xc3\xb6@b" },
	  "Received: from h\r\n\tby relay.test with UTF8SMTPSA (TLSv1.3 x---Evil:--)" ID "\r\n\tfor <\xc3\xb6@b>" WHEN },
	{ "h", LOCAL, true, false, false, false, "", { "\xc3\xb6@b" },
	  "Received: from h\r\n\tby relay.test with ESMTP" ID WHEN },
	/* names that would be fields, comments, clauses */
	{ "x\r\nX-Evil: y", LOCAL, false, false, false, false, "", { NULL },
	  "Received: from x--X-Evil--y\r\n\tby relay.test with SMTP" ID WHEN },
	{ "x by other.example (fake);", LOCAL, false, false, false, false, "", { NULL },
	  "Received: from x-by-other.example--fake--\r\n\tby relay.test with SMTP" ID WHEN },
	{ "[x]", LOCAL, false, false, false, false, "", { NULL },
	  "Received: from -x-\r\n\tby relay.test with SMTP" ID WHEN },
	{ "m\xfcller", LOCAL, false, false, false, false, "", { NULL },
	  "Received: from m-ller\r\n\tby relay.test with SMTP" ID WHEN },
	{ "", LOCAL, false, false, false, false, "", { NULL },
	  "Received: from unknown\r\n\tby relay.test with SMTP" ID WHEN },
};

static void
received(void **state)
{
	(void)state;
	zone("UTC");
	for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
		const struct field *f = &fields[i];
		struct facts facts = { .client = f->client, .hello = str_of(f->hello), .esmtp = f->esmtp,
			.tls = f->tls, .tls_version = STR("TLSv1.3"), .tls_cipher = str_of(f->cipher),
			.login = f->login ? STR("user") : STR("") };
		struct envelope e;
		struct arena a;
		struct buf b = { 0 };

		arena_init(&a, 512);
		envelope_init(&e, &a);
		e.smtputf8 = f->utf8;
		for (int k = 0; k < 2 && f->rcpts[k] != NULL; k++)
			assert_int_equal(address_parse(str_of(f->rcpts[k]), &a, &envelope_add(&e)->to, NULL), 0);
		trace_received(&b, &facts, &e, (struct ph_msgid){ 1ull << 4 << 10, 0 }, STR("relay.test"),
		               1795518000000);
		if (!str_is(buf_view(&b), f->want))
			print_error("got:  " STR_FMT "want: %s", STR_ARG(buf_view(&b)), f->want);
		assert_true(str_is(buf_view(&b), f->want));
		buf_free(&b);
		arena_reset(&a);
	}
}

struct scan_row { const char *in; bool done; uint64_t end; uint32_t hops, longest; bool eight; };

static const struct scan_row scans[] = {
	{ "", false, 0, 0, 0, false },
	{ "\r\n", true, 2, 0, 0, false },
	{ "A: b\r\n\r\nbody\r\n", true, 8, 0, 4, false },
	{ "A: b\r\n", false, 6, 0, 4, false },
	{ "Received: x\r\n\tby y\r\nreceived: z\r\nRECEIVED : w\r\n\r\nReceived: body\r\n", true, 49, 3, 14, false },
	{ "Received-SPF: x\r\nXReceived: y\r\nReceive: z\r\n\r\n", true, 45, 0, 15, false },
	{ "no field at all\r\nReceived: x\r\n\r\n", true, 0, 0, 15, false },
	{ "A: b\r\nno field\r\n\r\n", true, 6, 0, 8, false },
	{ " folded on top\r\nReceived: x\r\n", true, 0, 0, 14, false },
	{ "A: b\r\n: no name\r\n", true, 6, 0, 9, false },
	{ "A: b\r\n\rx\r\n", true, 6, 0, 4, false },
	{ "A\xc3\xa4: b\r\n\r\n", true, 0, 0, 6, true },
	{ "A: \xc3\xa4\r\n\r\n", true, 9, 0, 5, true },
	{ "A: b\n\nbody\n", true, 6, 0, 4, false },
	{ "A: b\r\n\r\nxxxxxxxxxxxxxxxxxxxxxxxxxxxx\xff\r\n", true, 8, 0, 29, true },
};

static void
scanning(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof scans / sizeof scans[0]; i++) {
		const struct scan_row *r = &scans[i];
		size_t n = strlen(r->in);

		for (size_t step = 1; step <= n + 1; step++) {
			struct header_scan h;

			header_scan_start(&h);
			for (size_t at = 0; at < n; at += step)
				header_scan_feed(&h, str_head(str_skip(str_of(r->in), at), step));
			if (h.done != r->done || h.hops != r->hops || (h.done && h.header_end != r->end))
				print_error("row %zu step %zu\n", i, step);
			assert_int_equal(h.done, r->done);
			assert_int_equal(h.seen, n);
			if (h.done)
				assert_int_equal(h.header_end, r->end);
			assert_int_equal(h.hops, r->hops);
			assert_int_equal(h.eight_bit, r->eight);
			if (memchr(r->in, '\r', n) != NULL)
				assert_int_equal(h.longest, r->longest);
		}
	}
}

static void
long_lines(void **state)
{
	static char text[5000];
	struct header_scan h;

	(void)state;
	memset(text, 'x', sizeof text);
	header_scan_start(&h);
	header_scan_feed(&h, STR("A: b\r\n\r\n"));
	header_scan_feed(&h, str_make(text, 998));
	header_scan_feed(&h, STR("\r\n"));
	assert_int_equal(h.longest, 998);
	header_scan_feed(&h, str_make(text, sizeof text));
	header_scan_feed(&h, str_make(text, 10));
	header_scan_feed(&h, STR("\r"));
	header_scan_feed(&h, STR("\n"));
	assert_int_equal(h.longest, 5010);
}

static void
finding(void **state)
{
	static const char section[] =
		"Received: one\r\n two\r\n\tthree\r\nsubject : a \r\nReceived:four\r\nEmpty:\r\nX: y\r\n"
		"\r\nSubject: body\r\n";
	static const struct { const char *name; size_t nth; const char *want; } rows[] = {
		{ "Received", 0, "one two\tthree" }, { "RECEIVED", 1, "four" }, { "Received", 2, NULL },
		{ "Subject", 0, "a" }, { "Subject", 1, NULL }, { "Empty", 0, "" }, { "X", 0, "y" },
		{ "two", 0, NULL }, { "Receive", 0, NULL },
	};
	struct arena a;

	(void)state;
	arena_init(&a, 512);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct ph_str v = header_find(STR(section), rows[i].name, rows[i].nth, &a);

		if (rows[i].want == NULL) {
			assert_null(v.p);
		} else {
			assert_non_null(v.p);
			assert_true(str_is(v, rows[i].want));
		}
	}
	assert_null(header_find(str_make(NULL, 0), "X", 0, &a).p);
	assert_true(str_is(header_find(STR("X: y"), "X", 0, &a), "y"));
	arena_reset(&a);
}

static void
names(void **state)
{
	(void)state;
	assert_true(header_name_valid(STR("X-Spam")));
	assert_false(header_name_valid(STR("")));
	assert_false(header_name_valid(STR("a b")));
	assert_false(header_name_valid(STR("a:")));
	assert_false(header_name_valid(STR("a\r\nb")));
	assert_false(header_name_valid(STR("\xc3\xa4")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dates),
		cmocka_unit_test(received),
		cmocka_unit_test(scanning),
		cmocka_unit_test(long_lines),
		cmocka_unit_test(finding),
		cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
