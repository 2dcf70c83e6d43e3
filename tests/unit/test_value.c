/*
 * test_value.c - text to typed values and back: each row is a text and what it
 * means, or NULL for text that is refused with a reason.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "config/option.h"

static void
durations(void **state)
{
	static const struct { const char *text; int64_t ms; const char *shown; } v[] = {
		{ "0", 0, "0" }, { "0s", 0, "0" }, { "500ms", 500, "500ms" }, { "5s", 5000, "5s" },
		{ "2m", 120000, "2m" }, { "60m", 3600000, "1h" }, { "4h", 14400000, "4h" },
		{ "2d", 172800000, "2d" }, { "1w", 604800000, "7d" }, { "2w", 1209600000, "2w" },
		{ "1h30m", 5400000, "1h30m" }, { "90m", 5400000, "1h30m" }, { "1500ms", 1500, "1s500ms" },
		{ "15250284452w", INT64_C(9223372036569600000), NULL },
		{ "", -1, NULL }, { "5", -1, NULL }, { "s", -1, NULL }, { "5 s", -1, NULL },
		{ " 5s", -1, NULL }, { "5sek", -1, NULL }, { "5S", -1, NULL }, { "5M", -1, NULL },
		{ "-5s", -1, NULL }, { "+5s", -1, NULL }, { "1.5s", -1, NULL }, { "5s ", -1, NULL },
		{ "15250284453w", -1, NULL }, { "99999999999999999999s", -1, NULL },
		{ "15250284452w15250284452w", -1, NULL }, { "1h30", -1, NULL }, { "5min", -1, NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof v / sizeof v[0]; i++) {
		ph_duration d = { 42 }, again;
		const char *why = NULL;
		struct buf b = { 0 };
		int rc = value_duration(str_of(v[i].text), &d, &why);

		if (v[i].ms < 0) {
			if (rc != PH_EINVAL || d.ms != 42 || why == NULL)
				fail_msg("\"%s\" was taken", v[i].text);
			continue;
		}
		if (rc != 0 || d.ms != v[i].ms)
			fail_msg("\"%s\": %lld", v[i].text, (long long)d.ms);
		value_duration_text(d, &b);
		if (v[i].shown != NULL && !str_is(buf_view(&b), v[i].shown))
			fail_msg("%s shows as %.*s", v[i].text, STR_ARG(buf_view(&b)));
		assert_int_equal(value_duration(buf_view(&b), &again, &why), 0);
		assert_int_equal(again.ms, d.ms);
		buf_free(&b);
	}
}

static void
sizes(void **state)
{
	static const struct { const char *text; bool ok; uint64_t bytes; const char *shown; } v[] = {
		{ "0", true, 0, "0" }, { "512", true, 512, "512" }, { "64K", true, 65536, "64K" },
		{ "64k", true, 65536, "64K" }, { "1024", true, 1024, "1K" }, { "10M", true, 10485760, "10M" },
		{ "1G", true, 1 << 30, "1G" }, { "2T", true, UINT64_C(2) << 40, "2T" },
		{ "1025", true, 1025, "1025" }, { "18446744073709551615", true, UINT64_MAX, NULL },
		{ "16777215T", true, UINT64_C(16777215) << 40, NULL },
		{ "", false, 0, NULL }, { "K", false, 0, NULL }, { "5X", false, 0, NULL },
		{ "5MB", false, 0, NULL }, { "5 M", false, 0, NULL }, { "-1", false, 0, NULL },
		{ "1.5M", false, 0, NULL }, { "16777216T", false, 0, NULL }, { "0x10", false, 0, NULL },
		{ "18446744073709551616", false, 0, NULL }, { "5\xCB", false, 0, NULL },
	};
	ph_size s;
	const char *why;

	(void)state;
	for (size_t i = 0; i < sizeof v / sizeof v[0]; i++) {
		struct buf b = { 0 };
		int rc = value_size(str_of(v[i].text), &s, &why);

		if ((rc == 0) != v[i].ok || (rc == 0 && s.bytes != v[i].bytes))
			fail_msg("\"%s\"", v[i].text);
		if (rc == 0) {
			value_size_text(s, &b);
			if (v[i].shown != NULL && !str_is(buf_view(&b), v[i].shown))
				fail_msg("%s shows as %.*s", v[i].text, STR_ARG(buf_view(&b)));
			assert_int_equal(value_size(buf_view(&b), &s, &why), 0);
			assert_true(s.bytes == v[i].bytes);
		}
		buf_free(&b);
	}
	assert_int_equal(value_size(STR("5\0"), &s, &why), PH_EINVAL);
}

static void
booleans(void **state)
{
	static const char *const yes[] = { "true", "yes", "on", "Yes", "TRUE" };
	static const char *const no[] = { "false", "no", "off", "No", "OFF" };
	static const char *const neither[] = { "", "1", "0", "y", "n", "enabled", "yes ", "ye" };
	const char *why = NULL;
	bool b = false;

	(void)state;
	for (size_t i = 0; i < 5; i++) {
		assert_int_equal(value_bool(str_of(yes[i]), &b, &why), 0);
		assert_true(b);
		assert_int_equal(value_bool(str_of(no[i]), &b, &why), 0);
		assert_false(b);
	}
	for (size_t i = 0; i < sizeof neither / sizeof neither[0]; i++)
		assert_int_equal(value_bool(str_of(neither[i]), &b, &why), PH_EINVAL);
	assert_non_null(why);
}

static void
integers(void **state)
{
	static const struct { const char *text; int64_t v; } good[] = {
		{ "0", 0 }, { "-0", 0 }, { "7", 7 }, { "-7", -7 }, { "9223372036854775807", INT64_MAX },
		{ "-9223372036854775807", -INT64_MAX },
	};
	static const char *const bad[] = {
		"", "-", "--1", "+1", "1e3", "0x10", "010", "00", "-01", "1_000", "1,000", "1 ", "five",
		"9223372036854775808",
	};
	const char *why;
	int64_t v = 0;

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		assert_int_equal(value_int(str_of(good[i].text), &v, &why), 0);
		assert_int_equal(v, good[i].v);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		if (value_int(str_of(bad[i]), &v, &why) != PH_EINVAL)
			fail_msg("\"%s\" was taken", bad[i]);
}

static void
endpoints(void **state)
{
	static const struct { const char *text, *host; uint16_t port; bool literal; } v[] = {
		{ "smtp.example.com", "smtp.example.com", 0, false },
		{ "smtp.example.com:25", "smtp.example.com", 25, false },
		{ "smtp.example.com.", "smtp.example.com", 0, false },
		{ "localhost:2526", "localhost", 2526, false }, { "a_b-c:1", "a_b-c", 1, false },
		{ "127.0.0.1:2526", "127.0.0.1", 2526, true }, { "192.0.2.1", "192.0.2.1", 0, true },
		{ "[192.0.2.1]:587", "192.0.2.1", 587, true }, { "::1", "::1", 0, true },
		{ "[::1]", "::1", 0, true }, { "[2001:db8::25]:65535", "2001:db8::25", 65535, true },
		{ "[smtp.example.com]", "smtp.example.com", 0, true },
		{ "[smtp.example.com]:587", "smtp.example.com", 587, true },
		{ "1.example", "1.example", 0, false },
		{ "", NULL, 0, false }, { ":25", NULL, 0, false }, { "host:", NULL, 0, false },
		{ "host:0", NULL, 0, false }, { "host:65536", NULL, 0, false }, { "host:smtp", NULL, 0, false },
		{ "host:25:25", NULL, 0, false }, { "[host", NULL, 0, false }, { "[host]25", NULL, 0, false },
		{ "[]:25", NULL, 0, false }, { "ho st:25", NULL, 0, false }, { "a..b", NULL, 0, false },
		{ "-a.b", NULL, 0, false }, { "a-.b", NULL, 0, false }, { "a.b-", NULL, 0, false },
		{ ".", NULL, 0, false }, { "300.1.2.3:25", NULL, 0, false }, { "1.2.3", NULL, 0, false },
		{ "user@host", NULL, 0, false }, { "h\xC3\xB6st", NULL, 0, false }, { "a/b", NULL, 0, false },
		{ "host:+25", NULL, 0, false }, { "host: 25", NULL, 0, false },
		{ "0123456789012345678901234567890123456789012345678901234567890123.x", NULL, 0, false },
	};
	struct arena a;

	(void)state;
	arena_init(&a, 1024);
	for (size_t i = 0; i < sizeof v / sizeof v[0]; i++) {
		struct ph_endpoint e = { 0 };
		const char *why = NULL;
		int rc = value_endpoint(str_of(v[i].text), &a, &e, &why);

		if ((rc == 0) != (v[i].host != NULL))
			fail_msg("\"%s\": %d", v[i].text, rc);
		if (rc != 0) {
			assert_non_null(why);
			continue;
		}
		assert_string_equal(e.host, v[i].host);
		assert_int_equal(e.port, v[i].port);
		assert_int_equal(e.literal, v[i].literal);
	}
	arena_reset(&a);
}

static void
networks(void **state)
{
	static const struct { const char *text, *addr; uint8_t family, bits; } v[] = {
		{ "127.0.0.0/8", "127.0.0.0", 4, 8 }, { "192.0.2.1", "192.0.2.1", 4, 32 },
		{ "0.0.0.0/0", "0.0.0.0", 4, 0 }, { "::1", "::1", 6, 128 }, { "::/0", "::", 6, 0 },
		{ "2001:db8::/33", "2001:db8::", 6, 33 }, { "::ffff:192.0.2.0/120", "192.0.2.0", 4, 24 },
		{ "10.1.2.3/8", NULL, 0, 0 }, { "2001:db8::1/64", NULL, 0, 0 }, { "10.0.0.0/33", NULL, 0, 0 },
		{ "::/129", NULL, 0, 0 }, { "10.0.0.0/", NULL, 0, 0 }, { "10.0.0.0/8/8", NULL, 0, 0 },
		{ "10.0.0.0/-1", NULL, 0, 0 }, { "10/8", NULL, 0, 0 }, { "", NULL, 0, 0 },
		{ "localhost", NULL, 0, 0 }, { "10.0.0.0/255.0.0.0", NULL, 0, 0 }, { "[::1]", NULL, 0, 0 },
		{ "10.0.0.0 /8", NULL, 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof v / sizeof v[0]; i++) {
		struct ph_network n = { 0 };
		const char *why = NULL;
		char text[PH_ADDR_TEXT];
		int rc = value_network(str_of(v[i].text), &n, &why);
		struct ph_addr a = { .family = n.family };

		if ((rc == 0) != (v[i].addr != NULL))
			fail_msg("\"%s\": %d", v[i].text, rc);
		if (rc != 0) {
			assert_non_null(why);
			continue;
		}
		memcpy(a.ip, n.ip, sizeof a.ip);
		assert_string_equal(ph_addr_text(&a, text), v[i].addr);
		assert_int_equal(n.family, v[i].family);
		assert_int_equal(n.bits, v[i].bits);
	}
}

static void
listen_addresses(void **state)
{
	static const struct { const char *text; bool ok; uint8_t family; uint16_t port; } v[] = {
		{ "127.0.0.1:2525", true, 4, 2525 }, { "[::]:25", true, 6, 25 }, { "*:25", true, 0, 25 },
		{ "0.0.0.0:25", true, 4, 25 }, { "[::1]:587", true, 6, 587 },
		{ "127.0.0.1", false, 0, 0 }, { "::1", false, 0, 0 }, { "[*]:25", false, 0, 0 },
		{ "localhost:25", false, 0, 0 }, { "*", false, 0, 0 }, { "*:0", true, 0, 0 },
		{ "127.0.0.1:0", true, 4, 0 }, { "[::1]:", false, 0, 0 },
		{ ":25", false, 0, 0 }, { "25", false, 0, 0 }, { "[127.0.0.1]:25", false, 0, 0 },
		{ "", false, 0, 0 }, { "*:25 ", false, 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof v / sizeof v[0]; i++) {
		struct ph_addr a = { 0 };
		const char *why;
		int rc = value_listen(str_of(v[i].text), &a, &why);

		if ((rc == 0) != v[i].ok || a.family != v[i].family || a.port != v[i].port)
			fail_msg("\"%s\"", v[i].text);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(durations), cmocka_unit_test(sizes), cmocka_unit_test(booleans),
		cmocka_unit_test(integers), cmocka_unit_test(endpoints), cmocka_unit_test(networks),
		cmocka_unit_test(listen_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
