/*
 * test_str.c - views: comparing, cutting, numbers, UTF-8, edit distance.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/str.h"

static void
comparisons(void **state)
{
	(void)state;
	assert_true(str_eq(STR(""), (struct ph_str){ NULL, 0 }));
	assert_true(str_is(STR("abc"), "abc"));
	assert_false(str_is(STR("abc"), "ab"));
	assert_false(str_is(STR("ab\0"), "ab"));
	assert_true(str_iis(STR("EHLO"), "ehlo"));
	assert_false(str_ieq(STR("@"), STR("`")));       /* differ by 0x20 and are no letters */
	assert_false(str_ieq(STR("\xC4"), STR("\xE4")));
	assert_true(str_starts(STR("MAIL FROM:"), "MAIL"));
	assert_false(str_starts(STR("MAI"), "MAIL"));
	assert_true(str_istarts(STR("mail from:"), "MAIL FROM:"));
	assert_true(str_eq(str_trim(STR(" \t a b\t ")), STR("a b")));
	assert_int_equal(str_trim(STR(" \t ")).n, 0);
}

static void
cutting(void **state)
{
	struct ph_str rest, head = str_cut(STR("a:b:c"), ':', &rest);

	(void)state;
	assert_true(str_is(head, "a") && str_is(rest, "b:c"));
	head = str_cut(STR("a:"), ':', &rest);
	assert_true(str_is(head, "a") && rest.n == 0 && rest.p != NULL);
	head = str_cut(STR("abc"), ':', &rest);
	assert_true(str_is(head, "abc") && rest.p == NULL);
	head = str_cut((struct ph_str){ NULL, 0 }, ':', &rest);
	assert_true(head.n == 0 && rest.p == NULL);
}

static void
numbers(void **state)
{
	static const char *const bad[] = {
		"", " 1", "1 ", "-1", "+1", "0x1", "1a", "18446744073709551616", "99999999999999999999999",
	};
	uint64_t v = 7;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		if (str_u64(str_of(bad[i]), &v) != PH_EINVAL)
			fail_msg("\"%s\" was taken", bad[i]);
	assert_int_equal(v, 7);
	assert_int_equal(str_u64(STR("0"), &v), 0);
	assert_int_equal(v, 0);
	assert_int_equal(str_u64(STR("18446744073709551615"), &v), 0);
	assert_true(v == UINT64_MAX);
	assert_int_equal(str_u64(STR("0010"), &v), 0);
	assert_int_equal(v, 10);
}

static void
utf8(void **state)
{
	static const struct { struct ph_str s; bool valid; } v[] = {
		{ { "", 0 }, true }, { STR("plain ascii of more than eight"), true },
		{ STR("Gr\xC3\xBC\xC3\x9F" "e"), true }, { STR("\xE2\x82\xAC"), true },
		{ STR("\xF0\x9F\x93\xAC"), true }, { STR("\xF4\x8F\xBF\xBF"), true },
		{ STR("\xED\x9F\xBF"), true }, { STR("\xEE\x80\x80"), true }, { STR("a\0b"), true },
		{ STR("\xC0\xAF"), false }, { STR("\xC1\xBF"), false }, { STR("\xE0\x80\xAF"), false },
		{ STR("\xF0\x80\x80\xAF"), false }, { STR("\xED\xA0\x80"), false },
		{ STR("\xF4\x90\x80\x80"), false }, { STR("\xF5\x80\x80\x80"), false },
		{ STR("\x80"), false }, { STR("\xFF"), false }, { STR("\xC3"), false },
		{ STR("\xE2\x82"), false }, { STR("\xF0\x9F\x93"), false }, { STR("\xC3("), false },
		{ STR("long enough for the fast path, then \xC3"), false },
		{ STR("1234567\x80"), false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof v / sizeof v[0]; i++)
		if (str_utf8_valid(v[i].s) != v[i].valid)
			fail_msg("row %zu: expected %d", i, v[i].valid);
	assert_true(str_ascii(STR("all of it is plain text")));
	assert_false(str_ascii(STR("not all of it \xC3\xBC")));
}

static void
utf8_steps(void **state)
{
	uint32_t c = 0;

	(void)state;
	assert_int_equal(str_utf8_step(STR("a"), &c), 1);
	assert_int_equal(c, 'a');
	assert_int_equal(str_utf8_step(STR("\xE2\x82\xAC."), &c), 3);
	assert_int_equal(c, 0x20AC);
	assert_int_equal(str_utf8_step(STR("\xF0\x9F\x93\xAC"), &c), 4);
	assert_int_equal(c, 0x1F4EC);
	assert_int_equal(str_utf8_step(STR("\x80"), &c), 0);
	assert_int_equal(str_utf8_step((struct ph_str){ NULL, 0 }, &c), 0);
}

static void
distance(void **state)
{
	static const struct { const char *a, *b; unsigned limit, expected; } v[] = {
		{ "", "", 3, 0 }, { "a", "", 3, 1 }, { "", "abc", 3, 3 },
		{ "hostname", "hostname", 3, 0 }, { "hostnme", "hostname", 3, 1 },
		{ "max-recipents", "max-recipients", 3, 1 }, { "exipre", "expire", 3, 1 },
		{ "max_line", "max-line", 3, 1 }, { "kitten", "sitting", 3, 3 },
		{ "kitten", "sitting", 2, 3 }, { "abc", "xyz", 1, 2 }, { "a", "abcdef", 2, 3 },
	};
	char lengthy[100];

	(void)state;
	for (size_t i = 0; i < sizeof v / sizeof v[0]; i++) {
		unsigned d = str_distance(str_of(v[i].a), str_of(v[i].b), v[i].limit);

		if (d != v[i].expected)
			fail_msg("%s %s: %u", v[i].a, v[i].b, d);
		assert_int_equal(str_distance(str_of(v[i].b), str_of(v[i].a), v[i].limit), d);
	}
	memset(lengthy, 'x', sizeof lengthy);
	assert_int_equal(str_distance(str_make(lengthy, 100), str_make(lengthy, 100), 3), 4);
	assert_int_equal(str_distance(str_make(lengthy, 64), str_make(lengthy, 64), 3), 0);
}

static void
hiding(void **state)
{
	static const struct { const char *text, *secret, *expected; } v[] = {
		{ "no secret here", "xyzzy", "no secret here" }, { "xyzzy", "xyzzy", "*****" },
		{ "535 \"xyzzy\" is wrong: xyzzy", "xyzzy", "535 \"*****\" is wrong: *****" },
		{ "xyzzyxyzzy", "xyzzy", "**********" }, { "xyzz", "xyzzy", "xyzz" },
		{ "XYZZY", "xyzzy", "XYZZY" }, { "anything", "", "anything" }, { "", "x", "" },
	};
	char text[64], behind[] = "ab|ab";

	(void)state;
	for (size_t i = 0; i < sizeof v / sizeof v[0]; i++) {
		(void)snprintf(text, sizeof text, "%s", v[i].text);
		str_hide(text, strlen(text), str_of(v[i].secret));
		assert_string_equal(text, v[i].expected);
	}
	str_hide(behind, 2, STR("ab"));         /* nothing behind the n bytes, also not in part */
	assert_string_equal(behind, "**|ab");
	str_hide(behind, 4, STR("ab"));
	assert_string_equal(behind, "**|ab");
	memcpy(text, "a\0ba\0b", 6);
	str_hide(text, 6, str_make("a\0b", 3));
	assert_memory_equal(text, "******", 6);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(comparisons), cmocka_unit_test(cutting), cmocka_unit_test(numbers),
		cmocka_unit_test(utf8), cmocka_unit_test(utf8_steps), cmocka_unit_test(distance),
		cmocka_unit_test(hiding),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
