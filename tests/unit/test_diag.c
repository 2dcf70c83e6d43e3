/*
 * test_diag.c - the printed form of diagnostics, to the letter.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "base/str.h"

static char *
report(struct diags *d)
{
	struct buf b = { 0 };

	diags_print(d, &b);
	buf_addc(&b, '\0');
	return b.data;
}

static void
the_example_of_the_style_guide(void **state)
{
	struct diag_source src = { "posthouse.yaml", STR("a\nb\n      patience: 5 sek\n") };
	struct diags d;
	struct diag *g;
	char *text;

	(void)state;
	diags_init(&d);
	g = diag_add(&d, DIAG_ERROR, (struct diag_place){ &src, 3, 17, 5 }, "plugins.gate.patience",
	    "\"%s\" is not a duration", "5 sek");
	diag_hint(&d, g, "write a number and a unit, for example %s", "5s");
	text = report(&d);
	assert_string_equal(text,
	    "posthouse.yaml:3:17: error: plugins.gate.patience: \"5 sek\" is not a duration\n"
	    "    3 |       patience: 5 sek\n"
	    "      |                 ^~~~~\n"
	    "  hint: write a number and a unit, for example 5s\n");
	free(text);
	assert_int_equal(d.errors, 1);
	diags_free(&d);
}

static void
carets(void **state)
{
	static const struct { const char *line; int col, width; const char *shown, *marks; } v[] = {
		{ "abc", 1, 1, "abc", "^" },
		{ "abc", 2, 2, "abc", " ^~" },
		{ "abc", 3, 99, "abc", "  ^" },                 /* not past the end */
		{ "abc", 4, 1, "abc", "   ^" },                 /* behind the last */
		{ "", 1, 1, "", "^" },
		{ "\ta\tbc", 4, 2, "\ta\tbc", "\t \t^~" },      /* tabs stay, so they line up */
		{ "\xC3\xBC: \xC3\xB6x", 4, 2, "\xC3\xBC: \xC3\xB6x", "   ^~" },
		{ "\xE6\x97\xA5\xE6\x9C\xAC x", 2, 1, "\xE6\x97\xA5\xE6\x9C\xAC x", "  ^~" },  /* wide */
		{ "e\xCC\x81x", 3, 1, "e\xCC\x81x", " ^" },     /* combining */
		{ "a\x1B[2Jb", 6, 1, "a?[2Jb", "     ^" },
		{ "a\xFF" "b", 3, 1, "a?b", "  ^" },
		{ "abc\r", 3, 1, "abc", "  ^" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof v / sizeof v[0]; i++) {
		struct diag_source src = { "f", str_of(v[i].line) };
		struct diags d;
		char *text, expected[500];

		diags_init(&d);
		diag_add(&d, DIAG_WARNING, (struct diag_place){ &src, 1, v[i].col, v[i].width }, NULL, "t");
		text = report(&d);
		snprintf(expected, sizeof expected, "f:1:%d: warning: t\n    1 | %s\n      | %s\n",
		    v[i].col, v[i].shown, v[i].marks);
		assert_string_equal(text, expected);
		assert_int_equal(d.errors, 0);
		free(text);
		diags_free(&d);
	}
}

static void
reports_are_sorted_by_place(void **state)
{
	struct diag_source one = { "one", STR("l1\nl2\nl3\n") }, two = { "two", STR("x\n") };
	struct diags d;
	char *text;

	(void)state;
	diags_init(&d);
	diag_add(&d, DIAG_ERROR, (struct diag_place){ &one, 3, 1, 1 }, NULL, "third");
	diag_add(&d, DIAG_ERROR, (struct diag_place){ &two, 1, 1, 1 }, NULL, "fourth");
	diag_add(&d, DIAG_ERROR, (struct diag_place){ &one, 1, 2, 1 }, NULL, "second");
	diag_add(&d, DIAG_ERROR, (struct diag_place){ &one, 1, 1, 1 }, NULL, "first");
	diag_add(&d, DIAG_ERROR, (struct diag_place){ &one, 1, 2, 1 }, NULL, "second again");
	diag_add(&d, DIAG_NOTE, (struct diag_place){ 0 }, "", "no place");
	text = report(&d);
	assert_true(str_starts(str_of(text), "note: no place\none:1:1: error: first\n"));
	assert_true(strstr(text, "first") < strstr(text, "second"));
	assert_true(strstr(text, "second\n") < strstr(text, "second again"));
	assert_true(strstr(text, "second again") < strstr(text, "third"));
	assert_true(strstr(text, "third") < strstr(text, "two:1:1: error: fourth"));
	free(text);
	diags_free(&d);
}

static void
sources_may_go_before_the_report(void **state)
{
	struct diags d;
	char *text;

	(void)state;
	diags_init(&d);
	for (int i = 0; i < 3; i++) {
		char *data = strdup(i == 1 ? "other line\n" : "some line\n");
		struct diag_source *src = malloc(sizeof *src);

		*src = (struct diag_source){ "f", str_of(data) };
		diag_add(&d, DIAG_ERROR, (struct diag_place){ src, 1, 1, 4 }, NULL, "t%d", i);
		memset(data, 'x', strlen(data));
		free(data);
		free(src);
	}
	text = report(&d);
	assert_non_null(strstr(text, "t0\n    1 | some line\n"));
	assert_non_null(strstr(text, "t1\n    1 | other line\n"));
	assert_non_null(strstr(text, "t2\n    1 | some line\n"));
	free(text);
	diags_free(&d);
}

static void
the_number_printed_and_kept_is_bounded(void **state)
{
	struct diag_source src = { "f", STR("line\n") };
	struct diags d;
	char *text;
	int lines = 0;

	(void)state;
	diags_init(&d);
	for (int i = 0; i < 5000; i++) {
		struct diag *g = diag_add(&d, DIAG_ERROR, (struct diag_place){ &src, 1, 1, 1 }, NULL, "t");

		diag_hint(&d, g, "h");
	}
	assert_int_equal(d.errors, 5000);
	assert_true(d.n <= 1000);
	text = report(&d);
	for (char *p = text; (p = strstr(p, "error: t\n")) != NULL; p++)
		lines++;
	assert_int_equal(lines, 50);
	assert_non_null(strstr(text, "\nand 4950 more\n"));
	free(text);
	diags_free(&d);
}

static void
long_lines_are_shown_in_part(void **state)
{
	char line[5000], *text;
	struct diag_source src = { "f", { line, sizeof line } };
	struct diags d;

	(void)state;
	memset(line, '.', sizeof line);
	memcpy(line + 2500, "here", 4);
	diags_init(&d);
	diag_add(&d, DIAG_ERROR, (struct diag_place){ &src, 1, 2501, 4 }, NULL, "t");
	text = report(&d);
	assert_true(strlen(text) < 600);
	assert_non_null(strstr(text, "....here...."));
	/* the caret is under the word: same column in both lines */
	assert_int_equal(strstr(text, "here") - strstr(text, "    1 | "),
	    strstr(text, "^~~~") - strstr(text, "      | "));
	free(text);
	diags_free(&d);
}

static void
texts_cannot_command_a_terminal(void **state)
{
	struct diag_source src = { "f\x1B", { NULL, 0 } };
	struct diags d;
	char *text;

	(void)state;
	diags_init(&d);
	diag_hint(&d, diag_add(&d, DIAG_ERROR, (struct diag_place){ &src, 0, 0, 0 }, "p\x07", "a\nb\x1B[0m"),
	    "h\xC2\x9Bx");
	text = report(&d);
	assert_string_equal(text, "f?: error: p?: a?b?[0m\n  hint: h?x\n");
	free(text);
	diags_free(&d);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_example_of_the_style_guide),
		cmocka_unit_test(carets),
		cmocka_unit_test(reports_are_sorted_by_place),
		cmocka_unit_test(sources_may_go_before_the_report),
		cmocka_unit_test(the_number_printed_and_kept_is_bounded),
		cmocka_unit_test(long_lines_are_shown_in_part),
		cmocka_unit_test(texts_cannot_command_a_terminal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
