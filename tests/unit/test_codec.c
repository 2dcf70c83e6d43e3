/*
 * test_codec.c - base64 and xtext vectors, round trips, and the two forms of
 * the checksum.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/codec.h"
#include "base/str.h"

struct pair { const char *plain, *coded; };

static void
assert_buf(const struct buf *b, const char *expected)
{
	assert_int_equal(b->len, strlen(expected));
	if (b->len > 0)
		assert_memory_equal(b->data + b->head, expected, b->len);
}

static void
base64_vectors(void **state)
{
	/* RFC 4648 section 10, and the bytes of AUTH PLAIN */
	static const struct pair v[] = {
		{ "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" }, { "foo", "Zm9v" },
		{ "foob", "Zm9vYg==" }, { "fooba", "Zm9vYmE=" }, { "foobar", "Zm9vYmFy" },
		{ "\xFB\xFF\xBE", "+/++" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof v / sizeof v[0]; i++) {
		struct buf b = { 0 };

		codec_base64_encode(str_of(v[i].plain), &b);
		assert_buf(&b, v[i].coded);
		buf_clear(&b);
		assert_int_equal(codec_base64_decode(str_of(v[i].coded), &b), 0);
		assert_buf(&b, v[i].plain);
		buf_free(&b);
	}
}

static void
base64_refuses(void **state)
{
	static const char *const v[] = {
		"Z", "Zg", "Zg=", "Zg===", "====", "=", "Z===", "Zh==", "Zm9=", "Zm8=Zm8=", "Zm9v\n",
		" Zm9v", "Zm9 ", "Zm-v", "Zm_v", "Zm9v*mFy", "\xC3\xA9++",
	};

	(void)state;
	for (size_t i = 0; i < sizeof v / sizeof v[0]; i++) {
		struct buf b = { 0 };

		buf_adds(&b, "before");
		if (codec_base64_decode(str_of(v[i]), &b) != PH_EINVAL)
			fail_msg("\"%s\" was taken", v[i]);
		assert_buf(&b, "before");
		buf_free(&b);
	}
}

static void
all_bytes_come_back(void **state)
{
	unsigned char all[256 + 3];

	(void)state;
	for (size_t i = 0; i < sizeof all; i++)
		all[i] = (unsigned char)i;
	for (size_t n = 0; n <= sizeof all; n++) {
		struct ph_str in = { (const char *)all, n };
		struct buf coded = { 0 }, plain = { 0 };

		codec_base64_encode(in, &coded);
		assert_int_equal(codec_base64_decode(buf_view(&coded), &plain), 0);
		assert_true(str_eq(buf_view(&plain), in));
		buf_clear(&coded);
		buf_clear(&plain);
		codec_xtext_encode(in, &coded);
		assert_true(str_ascii(buf_view(&coded)));
		assert_int_equal(codec_xtext_decode(buf_view(&coded), &plain), 0);
		assert_true(str_eq(buf_view(&plain), in));
		buf_free(&coded);
		buf_free(&plain);
	}
}

static void
xtext_vectors(void **state)
{
	static const struct pair v[] = {
		{ "", "" }, { "a+b=c", "a+2Bb+3Dc" }, { "QQ 314159", "QQ+20314159" },
		{ "rfc822;a@b", "rfc822;a@b" }, { "\x7F\x01", "+7F+01" },
	};
	struct buf b = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof v / sizeof v[0]; i++) {
		buf_clear(&b);
		codec_xtext_encode(str_of(v[i].plain), &b);
		assert_buf(&b, v[i].coded);
		buf_clear(&b);
		assert_int_equal(codec_xtext_decode(str_of(v[i].coded), &b), 0);
		assert_buf(&b, v[i].plain);
	}
	buf_clear(&b);
	assert_int_equal(codec_xtext_decode(STR("a+2bc"), &b), 0);      /* lower case exists */
	assert_buf(&b, "a+c");
	buf_free(&b);
}

static void
xtext_refuses(void **state)
{
	static const char *const v[] = { "+", "+2", "+G0", "+0G", "a b", "a=b", "a\tb", "\xC3\xA9", "a+" };

	(void)state;
	for (size_t i = 0; i < sizeof v / sizeof v[0]; i++) {
		struct buf b = { 0 };

		if (codec_xtext_decode(str_of(v[i]), &b) != PH_EINVAL)
			fail_msg("\"%s\" was taken", v[i]);
		assert_int_equal(b.len, 0);
		buf_free(&b);
	}
}

static void
checksum_is_the_same_in_pieces(void **state)
{
	struct codec_sum *sum = codec_sum_new();
	char data[5000];

	(void)state;
	for (size_t i = 0; i < sizeof data; i++)
		data[i] = (char)(i * 7);
	for (size_t n = 0; n <= sizeof data; n += 1 + n / 3) {
		codec_sum_start(sum, n);
		for (size_t at = 0; at < n; at++)
			codec_sum_add(sum, data + at, 1);
		assert_true(codec_sum_end(sum) == codec_checksum(data, n, n));
	}
	assert_true(codec_checksum(data, 100, 1) != codec_checksum(data, 100, 2));
	/* files outlive versions: the value is XXH3-64's */
	assert_true(codec_checksum("", 0, 0) == UINT64_C(0x2D06800538D394C2));
	codec_sum_free(&sum);
	assert_null(sum);
	codec_sum_free(&sum);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(base64_vectors),
		cmocka_unit_test(base64_refuses),
		cmocka_unit_test(all_bytes_come_back),
		cmocka_unit_test(xtext_vectors),
		cmocka_unit_test(xtext_refuses),
		cmocka_unit_test(checksum_is_the_same_in_pieces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
