/* test_reply.c - our replies are always well formed; a remote's are read with suspicion. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/str.h"
#include "mail/reply.h"

static void
table_is_consistent(void **state)
{
	(void)state;
	for (int r = PH_R_NONE + 1; r < PH_R_COUNT; r++) {
		int code = ph_reply_code((enum ph_reply)r);
		const char *enhanced = ph_reply_enhanced((enum ph_reply)r);

		assert_true(code >= 200 && code < 600);
		assert_true(enhanced[0] == '\0' || enhanced[0] == '0' + code / 100);
		assert_true(strlen(ph_reply_text((enum ph_reply)r)) > 0);
	}
	/* a value no reply has must not read beyond the table */
	assert_int_equal(ph_reply_code((enum ph_reply)PH_R_COUNT), 451);
	assert_int_equal(ph_reply_code((enum ph_reply)-1), 451);
}

static void
writing(void **state)
{
	static const struct { enum ph_reply r; const char *text, *wire, *line; } rows[] = {
		{ PH_R_RELAY_DENIED, NULL, "550 5.7.1 Relaying denied\r\n", "550 5.7.1 Relaying denied" },
		{ PH_R_RELAY_DENIED, "", "550 5.7.1 Relaying denied\r\n", "550 5.7.1 Relaying denied" },
		{ PH_R_START_DATA, NULL, "354 End data with <CR><LF>.<CR><LF>\r\n",
		  "354 End data with <CR><LF>.<CR><LF>" },
		{ PH_R_POLICY, "a\nb\nc", "550-5.7.1 a\r\n550-5.7.1 b\r\n550 5.7.1 c\r\n", "550 5.7.1 a b c" },
		{ PH_R_POLICY, "a\n", "550 5.7.1 a\r\n", "550 5.7.1 a" },
		{ PH_R_POLICY, "a\r\n250 ok\r\n", "550-5.7.1 a\r\n550 5.7.1 250 ok\r\n", "550 5.7.1 a 250 ok" },
		{ PH_R_POLICY, "a\tb\x01\x7f\x1b[0mc", "550 5.7.1 a b[0mc\r\n", "550 5.7.1 a b[0mc" },
		{ PH_R_POLICY, "n\xc3\xb6", "550 5.7.1 n??\r\n", "550 5.7.1 n??" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct buf b = { 0 };

		reply_write(&b, rows[i].r, rows[i].text);
		assert_true(str_is(buf_view(&b), rows[i].wire));
		buf_clear(&b);
		reply_line(&b, rows[i].r, rows[i].text);
		assert_true(str_is(buf_view(&b), rows[i].line));
		buf_free(&b);
	}
}

static void
long_texts_stay_within_a_line(void **state)
{
	char text[3000];
	struct buf b = { 0 };
	struct ph_str rest;

	(void)state;
	memset(text, 'x', sizeof text);
	text[sizeof text - 1] = '\0';
	reply_write(&b, PH_R_POLICY, text);
	assert_true(b.len <= 512);
	buf_clear(&b);
	memset(text, '\n', sizeof text - 1);
	text[2] = 'y';
	reply_write(&b, PH_R_POLICY, text);
	assert_true(b.len < 2000);
	rest = buf_view(&b);
	assert_true(rest.n > 2 && memcmp(rest.p + rest.n - 2, "\r\n", 2) == 0);
	buf_free(&b);
}

struct row { const char *in; int rc; int code; const char *enhanced, *text, *rest; };

static const struct row rows[] = {
	{ "250 ok\r\n", 1, 250, "", "ok", "" },
	{ "250\r\n", 1, 250, "", "", "" },
	{ "250 \r\n", 1, 250, "", "", "" },
	{ "250 2.1.0 ok\r\n250 next\r\n", 1, 250, "2.1.0", "ok", "250 next\r\n" },
	{ "550 5.1.1\r\n", 1, 550, "5.1.1", "", "" },
	{ "550 4.1.1 x\r\n", 1, 550, "", "4.1.1 x", "" },
	{ "550 5.1 x\r\n", 1, 550, "", "5.1 x", "" },
	{ "550 5.1.1234 x\r\n", 1, 550, "", "5.1.1234 x", "" },
	{ "550 5.1.1x\r\n", 1, 550, "", "5.1.1x", "" },
	{ "250-a\r\n250-b\r\n250 c\r\n", 1, 250, "", "a\nb\nc", "" },
	{ "250-a\r\n250\r\n", 1, 250, "", "a\n", "" },
	{ "550-5.7.1 a\r\n550 5.7.1 b\r\n", 1, 550, "5.7.1", "a\nb", "" },
	{ "250 ok\n", 1, 250, "", "ok", "" },
	{ "250 a\rb\x01\r\n", 1, 250, "", "a?b?", "" },
	{ "354 go\r\n", 1, 354, "", "go", "" },
	{ "", 0, 0, 0, 0, 0 },
	{ "2", 0, 0, 0, 0, 0 },
	{ "250", 0, 0, 0, 0, 0 },
	{ "250 ok\r", 0, 0, 0, 0, 0 },
	{ "250-ok\r\n", 0, 0, 0, 0, 0 },
	{ "250-ok\r\n250", 0, 0, 0, 0, 0 },
	{ "\r\n", PH_EPROTO, 0, 0, 0, 0 },
	{ "HTTP/1.1 400 Bad\r\n", PH_EPROTO, 0, 0, 0, 0 },
	{ "25 ok\r\n", PH_EPROTO, 0, 0, 0, 0 },
	{ "2500 ok\r\n", PH_EPROTO, 0, 0, 0, 0 },
	{ "199 ok\r\n", PH_EPROTO, 0, 0, 0, 0 },
	{ "600 ok\r\n", PH_EPROTO, 0, 0, 0, 0 },
	{ "250_ok\r\n", PH_EPROTO, 0, 0, 0, 0 },
	{ "250-a\r\n251 b\r\n", PH_EPROTO, 0, 0, 0, 0 },
	{ "250-a\r\nb\r\n", PH_EPROTO, 0, 0, 0, 0 },
};

static void
reading(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		size_t n = strlen(rows[i].in);
		struct remote_reply r = { 0 };
		struct arena a;

		arena_init(&a, 512);
		/* at every length: needs more, until it is decided, then the same */
		for (size_t have = 0; have <= n; have++) {
			char *copy = malloc(have + 1);
			struct ph_str in = str_make(copy, have);
			int rc;

			memcpy(copy, rows[i].in, have);
			rc = reply_parse(&in, &a, &r);
			if (rc == 1) {
				assert_int_equal(rows[i].rc, 1);
				assert_int_equal(r.code, rows[i].code);
				assert_string_equal(r.enhanced, rows[i].enhanced);
				assert_true(str_is(r.text, rows[i].text));
				assert_false(r.cut);
				assert_int_equal(n - have + in.n, strlen(rows[i].rest));
				free(copy);
				break;
			}
			assert_int_equal(in.n, have);
			if (rc != 0)
				assert_int_equal(rows[i].rc, PH_EPROTO);
			else if (have == n)
				assert_int_equal(rows[i].rc, 0);
			free(copy);
		}
		arena_reset(&a);
	}
}

static int
parse_big(size_t line, size_t lines, struct remote_reply *r, struct arena *a)
{
	struct buf b = { 0 };
	struct ph_str in;
	int rc;

	for (size_t i = 0; i < lines; i++) {
		buf_adds(&b, i + 1 < lines ? "250-" : "250 ");
		for (size_t k = 4; k < line; k++)
			buf_addc(&b, 'x');
		buf_adds(&b, "\r\n");
	}
	in = buf_view(&b);
	rc = reply_parse(&in, a, r);
	buf_free(&b);
	return rc;
}

static void
bounds(void **state)
{
	struct remote_reply r;
	struct arena a;
	struct ph_str in;
	char junk[3000];

	(void)state;
	arena_init(&a, 512);
	assert_int_equal(parse_big(2048, 1, &r, &a), 1);
	assert_int_equal(parse_big(2049, 1, &r, &a), PH_EPROTO);
	assert_int_equal(parse_big(100, 128, &r, &a), 1);
	assert_true(r.cut);
	assert_int_equal(r.text.n, 8192);
	assert_int_equal(parse_big(100, 129, &r, &a), PH_EPROTO);
	assert_int_equal(parse_big(2000, 100, &r, &a), PH_EPROTO);
	/* a line that never ends is given up before its end */
	memset(junk, '2', sizeof junk);
	memcpy(junk, "250 ", 4);
	in = str_make(junk, sizeof junk);
	assert_int_equal(reply_parse(&in, &a, &r), PH_EPROTO);
	arena_reset(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table_is_consistent),
		cmocka_unit_test(writing),
		cmocka_unit_test(long_texts_stay_within_a_line),
		cmocka_unit_test(reading),
		cmocka_unit_test(bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
