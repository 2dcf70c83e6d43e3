/* test_content.c - content built in any pieces reads back the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"
#include "mail/content.h"

static char
byte_of(uint64_t i)
{
	return (char)(i * 31 + i / 251);
}

static void
pieces(void **state)
{
	static const struct { size_t total, piece; uint64_t hint; } rows[] = {
		{ 1, 1, 0 }, { 4096, 4096, 4096 }, { 4096, 1, 0 }, { 5000, 7, 100 },
		{ 300000, 1000, 0 }, { 300000, 70000, 300000 }, { 200000, 200000, 0 },
	};

	(void)state;
	for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++) {
		struct ph_content *c = content_new(), *second;
		char *want = malloc(rows[k].total + 3), *got = malloc(rows[k].total + 3);
		size_t n = rows[k].total;

		memcpy(want, "abc", 3);
		for (size_t i = 0; i < n; i++)
			want[3 + i] = byte_of(i);
		for (size_t at = 0; at < n; at += rows[k].piece)
			content_append(c, want + 3 + at,
			               n - at < rows[k].piece ? n - at : rows[k].piece, rows[k].hint);
		content_append(c, want, 0, 0);
		content_prepend(c, want, 3);
		assert_int_equal(ph_content_size(c), n + 3);
		assert_true(ph_content_in_memory(c));
		assert_true(content_memory() >= n + 3);
		assert_int_equal(content_copy(c, 0, got, n + 3), n + 3);
		assert_memory_equal(got, want, n + 3);
		assert_int_equal(content_copy(c, n, got, 100), 3);
		assert_memory_equal(got, want + n, 3);
		assert_int_equal(content_copy(c, n + 3, got, 1), 0);
		for (uint64_t at = 0; at < n + 3; ) {
			struct ph_str run = ph_content_at(c, at);

			assert_true(run.n > 0);
			assert_memory_equal(run.p, want + at, run.n);
			at += run.n;
		}
		assert_int_equal(ph_content_at(c, n + 3).n, 0);
		second = ph_content_ref(c);
		ph_content_unref(&c);
		assert_null(c);
		assert_int_equal(ph_content_size(second), n + 3);
		ph_content_unref(&second);
		ph_content_unref(&second);      /* NULL is fine */
		assert_int_equal(content_memory(), 0);
		free(want);
		free(got);
	}
}

static void
stored(void **state)
{
	struct ph_content *c = content_stored(1 << 30);

	(void)state;
	assert_false(ph_content_in_memory(c));
	assert_int_equal(ph_content_size(c), 1 << 30);
	assert_int_equal(ph_content_at(c, 0).n, 0);
	assert_int_equal(content_memory(), 0);
	ph_content_unref(&c);
}

static void
prepend_to_empty(void **state)
{
	struct ph_content *c = content_new();
	char got[8];

	(void)state;
	content_prepend(c, "xy", 2);
	content_append(c, "z", 1, 0);
	assert_int_equal(content_copy(c, 0, got, 8), 3);
	assert_memory_equal(got, "xyz", 3);
	ph_content_unref(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pieces),
		cmocka_unit_test(stored),
		cmocka_unit_test(prepend_to_empty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
