/*
 * test_buf.c - the buffer against a plain array, the integers of records, and
 * arenas.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"

static uint64_t seed = 1181783497276652981u;

static uint64_t
next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	return seed ^= seed << 17;
}

/* A stream of counted bytes goes in and comes out in the same order. */
static void
bytes_keep_their_order(void **state)
{
	struct buf b = { 0 };
	unsigned char in = 0, out = 0;
	size_t most = 0;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		size_t n = next_random() % 200;
		struct ph_str view;
		char *room;

		if (next_random() % 2 && b.len < 5000) {
			room = buf_room(&b, n);
			for (size_t i = 0; i < n; i++)
				room[i] = (char)in++;
			buf_grew(&b, n);
		} else {
			view = buf_view(&b);
			n = n < view.n ? n : view.n;
			for (size_t i = 0; i < n; i++)
				assert_int_equal((unsigned char)view.p[i], out++);
			buf_eat(&b, n);
		}
		most = b.cap > most ? b.cap : most;
	}
	assert_true(most <= 32768);     /* eating gives room back */
	buf_free(&b);
	assert_null(b.data);
}

static void
text_is_formatted(void **state)
{
	struct buf b = { 0 };
	char lengthy[500];

	(void)state;
	buf_printf(&b, "%s", "");
	assert_int_equal(b.len, 0);
	memset(lengthy, 'x', sizeof lengthy - 1);
	lengthy[sizeof lengthy - 1] = '\0';
	buf_printf(&b, "%d-%s-%c", 12, lengthy, 'y');
	assert_int_equal(b.len, 2 + 1 + 499 + 1 + 1);
	assert_true(str_starts(buf_view(&b), "12-xxx"));
	buf_eat(&b, 3);
	buf_printf(&b, "!");
	assert_int_equal(b.data[b.head + b.len - 1], '!');
	buf_clear(&b);
	buf_addc(&b, 'a');
	buf_adds(&b, "bc");
	buf_addstr(&b, STR("de"));
	buf_addstr(&b, (struct ph_str){ NULL, 0 });
	assert_true(str_is(buf_view(&b), "abcde"));
	buf_free(&b);
}

static void
records_read_back(void **state)
{
	struct buf b = { 0 };
	struct reader r;

	(void)state;
	buf_u8(&b, 0xAB);
	buf_u16(&b, 0x1234);
	buf_u32(&b, 0xDEADBEEF);
	buf_u64(&b, UINT64_C(0x0123456789ABCDEF));
	buf_lstr(&b, STR("hello"));
	buf_lstr(&b, STR(""));
	assert_memory_equal(b.data, "\xAB\x34\x12\xEF\xBE\xAD\xDE\xEF\xCD\xAB\x89", 11);
	r = reader_of(buf_view(&b));
	assert_int_equal(read_u8(&r), 0xAB);
	assert_int_equal(read_u16(&r), 0x1234);
	assert_true(read_u32(&r) == 0xDEADBEEF);
	assert_true(read_u64(&r) == UINT64_C(0x0123456789ABCDEF));
	assert_true(str_is(read_lstr(&r), "hello"));
	assert_int_equal(read_lstr(&r).n, 0);
	assert_false(r.bad);
	assert_ptr_equal(r.p, r.end);
	/* every shorter input is bad, and stays so */
	for (size_t n = 0; n < b.len; n++) {
		r = reader_of(str_head(buf_view(&b), n));
		(void)read_u8(&r);
		(void)read_u16(&r);
		(void)read_u32(&r);
		(void)read_u64(&r);
		(void)read_lstr(&r);
		(void)read_lstr(&r);
		assert_true(r.bad);
		assert_int_equal(read_u8(&r), 0);
		assert_null(read_bytes(&r, 0).p);
	}
	buf_free(&b);
}

static void
a_length_cannot_lie(void **state)
{
	struct reader r = reader_of(STR("\xFF\xFF\xFF\xFFxx"));

	(void)state;
	assert_int_equal(read_lstr(&r).n, 0);
	assert_true(r.bad);
}

static void
arena_memory_is_zeroed_and_aligned(void **state)
{
	struct arena a;
	char *v[300];

	(void)state;
	arena_init(&a, 512);
	assert_int_equal(a.total, 0);
	for (size_t i = 0; i < 300; i++) {
		size_t n = next_random() % 700;

		v[i] = arena_alloc(&a, n);
		assert_int_equal((uintptr_t)v[i] % 16, 0);
		for (size_t k = 0; k < n; k++)
			assert_int_equal(v[i][k], 0);
		memset(v[i], (int)i, n);
		if (n > 0 && i > 0)
			assert_ptr_not_equal(v[i], v[i - 1]);
	}
	assert_string_equal(arena_printf(&a, "%s %d", "x", 5), "x 5");
	assert_string_equal(arena_strndup(&a, "abcdef", 3), "abc");
	assert_int_equal(arena_str(&a, STR("ab")).p[2], 0);
	assert_int_equal(arena_str(&a, (struct ph_str){ NULL, 0 }).n, 0);
	assert_true(a.total > 0);
	arena_reset(&a);
	assert_int_equal(a.total, 0);
	assert_non_null(arena_alloc(&a, 1));
	arena_reset(&a);
}

static void
large_requests_do_not_waste_the_chunk(void **state)
{
	struct arena a;
	char *first, *second;

	(void)state;
	arena_init(&a, 4096);
	first = arena_alloc(&a, 16);
	(void)arena_alloc(&a, 100000);
	second = arena_alloc(&a, 16);
	assert_ptr_equal(second, first + 16);
	arena_reset(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_keep_their_order),
		cmocka_unit_test(text_is_formatted),
		cmocka_unit_test(records_read_back),
		cmocka_unit_test(a_length_cannot_lie),
		cmocka_unit_test(arena_memory_is_zeroed_and_aligned),
		cmocka_unit_test(large_requests_do_not_waste_the_chunk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
