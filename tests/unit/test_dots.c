/* test_dots.c - where content ends, whatever comes near a dot, at every split. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/buf.h"
#include "smtp/dots.h"

enum { END = 'E', BARE = 'B', MORE = 'M' };

struct row {
	const char *in;
	char strict;            /* outcome when bare newlines are refused */
	const char *content;    /* strict and END or MORE */
	char lenient;           /* outcome when they are accepted */
	const char *mended;
};

static const struct row rows[] = {
	{ ".\r\n", END, "", END, "" },
	{ "a\r\n.\r\n", END, "a\r\n", END, "a\r\n" },
	{ "a\r\n..\r\n.\r\n", END, "a\r\n.\r\n", END, "a\r\n.\r\n" },
	{ "..a\r\n.b\r\n.\r\n", END, ".a\r\nb\r\n", END, ".a\r\nb\r\n" },
	{ "a.\r\n.\r\n", END, "a.\r\n", END, "a.\r\n" },
	{ "\r\n\r\n.\r\n", END, "\r\n\r\n", END, "\r\n\r\n" },
	{ ".\r\nNEXT", END, "", END, "" },
	{ "a\r\n", MORE, "a\r\n", MORE, "a\r\n" },
	{ "a\r\n.", MORE, "a\r\n", MORE, "a\r\n" },
	{ "a\r\n.\r", MORE, "a\r\n", MORE, "a\r\n" },
	{ "a\r", MORE, "a", MORE, "a" },
	/* the smuggling family: not one of them ends data */
	{ "a\n.\nMAIL\r\n.\r\n", BARE, 0, END, "a\r\n.\r\nMAIL\r\n" },
	{ "a\n.\r\nMAIL\r\n.\r\n", BARE, 0, END, "a\r\n.\r\nMAIL\r\n" },
	{ "a\r\n.\nMAIL\r\n.\r\n", BARE, 0, END, "a\r\n.\r\nMAIL\r\n" },
	{ "a\r.\rMAIL\r\n.\r\n", BARE, 0, END, "a\r\n.\r\nMAIL\r\n" },
	{ "a\r.\r\nMAIL\r\n.\r\n", BARE, 0, END, "a\r\n.\r\nMAIL\r\n" },
	{ "a\r\n.\rMAIL\r\n.\r\n", BARE, 0, END, "a\r\n.\r\nMAIL\r\n" },
	{ "a\n.\rMAIL\r\n.\r\n", BARE, 0, END, "a\r\n.\r\nMAIL\r\n" },
	{ "a\r.\nMAIL\r\n.\r\n", BARE, 0, END, "a\r\n.\r\nMAIL\r\n" },
	{ "a\r\n.\r\rMAIL\r\n.\r\n", BARE, 0, END, "a\r\n.\r\n\r\nMAIL\r\n" },
	{ "a\r\n\r.\r\nMAIL\r\n.\r\n", BARE, 0, END, "a\r\n\r\n.\r\nMAIL\r\n" },
	{ "a\r\r\n.\r\n", BARE, 0, END, "a\r\n\r\n" },
	{ "a\n\n.\n\n.\r\n.\r\n", BARE, 0, END, "a\r\n\r\n.\r\n\r\n.\r\n" },
	{ "a\n..b\n.c\r\n.\r\n", BARE, 0, END, "a\r\n.b\r\nc\r\n" },
	{ ".\nb\r\n.\r\n", BARE, 0, END, ".\r\nb\r\n" },
	{ "a\r\n. \r\n.\r\n", END, "a\r\n \r\n", END, "a\r\n \r\n" },
	{ "a\r\n.\x0b\r\n.\r\n", END, "a\r\n\x0b\r\n", END, "a\r\n\x0b\r\n" },
	{ "a\r\n\x0b.\r\n.\r\n", END, "a\r\n\x0b.\r\n", END, "a\r\n\x0b.\r\n" },
	{ "a\r\n .\r\n.\r\n", END, "a\r\n .\r\n", END, "a\r\n .\r\n" },
};

static char
decode_split(struct ph_str all, const size_t *cuts, size_t ncuts, bool lenient, struct buf *out,
             size_t *used)
{
	uint8_t state = 0;
	size_t from = 0;

	for (size_t k = 0; k <= ncuts; k++) {
		size_t to = k < ncuts ? cuts[k] : all.n;
		/* a copy of its own, so that a sanitizer sees reads beyond a piece */
		char *copy = malloc(to - from + 1);
		struct ph_str in = str_make(copy, to - from), run;

		if (to > from)
			memcpy(copy, all.p + from, to - from);
		while (in.n != 0) {
			enum dots_result rc = dots_decode(&state, lenient, &in, &run);

			buf_addstr(out, run);
			*used = to - in.n;
			if (rc != DOTS_MORE) {
				free(copy);
				return rc == DOTS_END ? END : BARE;
			}
		}
		free(copy);
		from = to;
	}
	return MORE;
}

static void
check(const struct row *r, const size_t *cuts, size_t ncuts)
{
	for (int lenient = 0; lenient < 2; lenient++) {
		struct ph_str in = str_of(r->in);
		struct buf out = { 0 };
		size_t used = 0;
		char rc = decode_split(in, cuts, ncuts, lenient, &out, &used);

		if (rc != (lenient ? r->lenient : r->strict))
			print_error("%s (lenient %d)\n", r->in, lenient);
		assert_int_equal(rc, lenient ? r->lenient : r->strict);
		if (rc != BARE)
			assert_true(str_is(buf_view(&out), lenient ? r->mended : r->content));
		if (rc == END)
			assert_true(used >= 3 && memcmp(in.p + used - 3, ".\r\n", 3) == 0);
		buf_free(&out);
	}
}

static void
decode(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		size_t n = strlen(rows[i].in), each[64];

		check(&rows[i], NULL, 0);
		for (size_t a = 0; a <= n; a++)
			for (size_t b = a; b <= n; b++)
				check(&rows[i], (size_t[]){ a, b }, 2);
		for (size_t a = 0; a < n; a++)
			each[a] = a + 1;
		check(&rows[i], each, n);       /* byte by byte */
	}
}

static void
plain_lines_pass_in_one_piece(void **state)
{
	char text[4096];
	struct ph_str in = str_make(text, sizeof text), run;
	uint8_t st = 0;

	(void)state;
	memset(text, 'x', sizeof text);
	for (size_t i = 70; i + 2 <= sizeof text; i += 72)
		memcpy(text + i, "\r\n", 2);
	assert_int_equal(dots_decode(&st, false, &in, &run), DOTS_MORE);
	assert_ptr_equal(run.p, text);
	assert_int_equal(run.n, sizeof text);
	st = 0;
	in = str_make(text, sizeof text);
	dots_encode(&st, &in, &run);
	assert_ptr_equal(run.p, text);
	assert_int_equal(run.n, sizeof text);
}

static void
encode(void **state)
{
	static const struct { const char *in, *out; } enc[] = {
		{ "", ".\r\n" },
		{ "a\r\n", "a\r\n.\r\n" },
		{ "a", "a\r\n.\r\n" },
		{ "a\r", "a\r\n.\r\n" },
		{ ".", "..\r\n.\r\n" },
		{ ".\r\n", "..\r\n.\r\n" },
		{ "..\r\n.a\r\n", "...\r\n..a\r\n.\r\n" },
		{ "a\r\n.\r\nb\r\n", "a\r\n..\r\nb\r\n.\r\n" },
		/* binary content never shows a lenient next hop an end of data */
		{ "a\n.\nb\n", "a\r\n..\r\nb\r\n.\r\n" },
		{ "a\r.\rb\r\r\n", "a\r\n..\r\nb\r\n\r\n.\r\n" },
		{ "a\n.\r\nb", "a\r\n..\r\nb\r\n.\r\n" },
		{ "a.b\r\nc.\r\n", "a.b\r\nc.\r\n.\r\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof enc / sizeof enc[0]; i++) {
		size_t n = strlen(enc[i].in);

		for (size_t step = 1; step <= n + 1; step++) {
			struct buf out = { 0 };
			uint8_t st = 0;

			for (size_t at = 0; at < n; at += step) {
				struct ph_str run, in = str_head(str_skip(str_of(enc[i].in), at), step);

				while (in.n != 0) {
					dots_encode(&st, &in, &run);
					buf_addstr(&out, run);
				}
			}
			buf_addstr(&out, dots_encode_end(&st));
			if (!str_is(buf_view(&out), enc[i].out))
				print_error("%s: step %zu\n", enc[i].in, step);
			assert_true(str_is(buf_view(&out), enc[i].out));
			assert_int_equal(st, 0);
			buf_free(&out);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(decode),
		cmocka_unit_test(plain_lines_pass_in_one_piece),
		cmocka_unit_test(encode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
