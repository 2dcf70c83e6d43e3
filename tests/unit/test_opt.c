/*
 * test_opt.c - command lines: every kind of option, both forms, and what is
 * said about mistakes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/buf.h"
#include "base/str.h"
#include "cmd/opt.h"

struct opts {
	bool flag, on;
	int verbose, color;
	const char *text;
	struct opt_list list;
	int64_t number;
	double share;
	ph_size size;
	ph_duration span;
};

static const char *const colors[] = { "red", "green", NULL };
static const struct opt rows[] = {
	OPT_HEADING("First"),
	OPT(struct opts, flag, 'f', "flag", NULL, "A flag."),
	OPT_OFF(struct opts, on, 0, "off", "Turns it off."),
	OPT(struct opts, verbose, 'v', "verbose", NULL, "Says more."),
	OPT(struct opts, text, 't', "text", "WORD", "A word.", .dflt = "word"),
	OPT_HEADING("Second"),
	OPT(struct opts, list, 'l', "list", "ITEM", "Items."),
	OPT(struct opts, number, 'n', "number", "N", "A number from 1 to 10.", .dflt = "3",
	    .min = 1, .max = 10),
	OPT(struct opts, share, 0, "share", "PERCENT", "A share.", .dflt = "0.5", .max = 100),
	OPT(struct opts, size, 'S', "size", "SIZE", "A size.", .dflt = "4K", .min = 512),
	OPT(struct opts, span, 0, "span", "TIME", "A time.", .dflt = "1500ms"),
	OPT_ONE_OF(struct opts, color, 'c', "color", "COLOR", "A color.", .dflt = "green",
	    .choices = colors),
	OPT_END
};
static const struct opt_command command = {
	"trial", "[OPTION ...] [FILE ...]", "Tries options.", rows, "The end.\n"
};

struct run {
	struct opts o;
	struct opt_list operands;
	int rc;
	char out[4096];         /* standard output or standard error, as caught */
};

static int
catch(int fd, int *saved)
{
	FILE *f = tmpfile();
	int file;

	assert_non_null(f);
	fflush(stdout);
	fflush(stderr);
	*saved = dup(fd);
	file = dup(fileno(f));
	fclose(f);
	assert_true(dup2(file, fd) >= 0);
	return file;
}

static void
release(int fd, int saved, int file, char *out, size_t n)
{
	ssize_t got;

	fflush(stdout);
	fflush(stderr);
	assert_true(dup2(saved, fd) >= 0);
	close(saved);
	got = pread(file, out, n - 1, 0);
	assert_true(got >= 0);
	out[got] = '\0';
	close(file);
}

/* line: words separated by blanks. */
static void
run(struct run *r, const char *line, bool operands, int fd)
{
	static char words[512];
	char *argv[32] = { (char *)(uintptr_t)"trial" }, *save = NULL;
	int argc = 1, saved, file;

	memset(r, 0, sizeof *r);
	r->o.on = true;
	assert_true(strlen(line) < sizeof words);
	memcpy(words, line, strlen(line) + 1);
	for (char *w = strtok_r(words, " ", &save); w != NULL; w = strtok_r(NULL, " ", &save))
		argv[argc++] = w;
	file = catch(fd, &saved);
	r->rc = opt_parse(&command, argc, argv, &r->o, operands ? &r->operands : NULL);
	release(fd, saved, file, r->out, sizeof r->out);
}

static void
run_done(struct run *r)
{
	opt_list_free(&r->o.list);
	opt_list_free(&r->operands);
}

static void
defaults_hold_without_options(void **state)
{
	struct run r;

	(void)state;
	run(&r, "", true, STDERR_FILENO);
	assert_int_equal(r.rc, OPT_GO_ON);
	assert_false(r.o.flag);
	assert_true(r.o.on);
	assert_string_equal(r.o.text, "word");
	assert_int_equal(r.o.number, 3);
	assert_true(r.o.share == 0.5);
	assert_int_equal(r.o.size.bytes, 4096);
	assert_int_equal(r.o.span.ms, 1500);
	assert_int_equal(r.o.color, 1);
	assert_int_equal(r.operands.n, 0);
	run_done(&r);
}

static void
options_are_taken_in_every_form(void **state)
{
	static const char *const lines[] = {
		"--flag --off --verbose --verbose --text x --list a --list=b --number 7 --share "
		"12.5 --size 1M --span 2s --color red one two",
		"-fvv --off -t x -l a -lb -n7 --share=12.5 -S 1M --span=2s -c red one two",
		"one -fv --off -vtx two -la -l b --number=7 --share 12.5 -S1M --span 2s -cred",
		"-n 9 -t y -f --off -vv -tx -la -lb -n 7 --share 12.5 -S1M --span 2s -cred -- one "
		"two",
	};

	(void)state;
	for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
		struct run r;

		run(&r, lines[i], true, STDERR_FILENO);
		assert_string_equal(r.out, "");
		assert_int_equal(r.rc, OPT_GO_ON);
		assert_true(r.o.flag);
		assert_false(r.o.on);
		assert_int_equal(r.o.verbose, 2);
		assert_string_equal(r.o.text, "x");
		assert_int_equal(r.o.list.n, 2);
		assert_string_equal(r.o.list.v[0], "a");
		assert_string_equal(r.o.list.v[1], "b");
		assert_int_equal(r.o.number, 7);
		assert_true(r.o.share == 12.5);
		assert_int_equal(r.o.size.bytes, 1024 * 1024);
		assert_int_equal(r.o.span.ms, 2000);
		assert_int_equal(r.o.color, 0);
		assert_int_equal(r.operands.n, 2);
		assert_string_equal(r.operands.v[0], "one");
		assert_string_equal(r.operands.v[1], "two");
		run_done(&r);
	}
}

static void
dashes_can_be_operands_and_values(void **state)
{
	struct run r;

	(void)state;
	run(&r, "- -t -v -- -f --flag", true, STDERR_FILENO);
	assert_int_equal(r.rc, OPT_GO_ON);
	assert_string_equal(r.o.text, "-v");
	assert_false(r.o.flag);
	assert_int_equal(r.operands.n, 3);
	assert_string_equal(r.operands.v[0], "-");
	assert_string_equal(r.operands.v[1], "-f");
	assert_string_equal(r.operands.v[2], "--flag");
	run_done(&r);
}

static void
mistakes_are_named(void **state)
{
	static const struct { const char *line, *text; } cases[] = {
		{ "--numer 3", "--numer: no such option; did you mean --number?" },
		{ "--elephant", "--elephant: no such option\n" },
		{ "-x", "-x: no such option" },
		{ "--number", "--number: N is missing" },
		{ "-fn", "-n: N is missing" },
		{ "--flag=yes", "--flag: takes no value" },
		{ "--number seven", "--number: \"seven\" " },
		{ "--number 0", "--number: \"0\" is too small" },
		{ "-n 11", "--number: \"11\" is too large" },
		{ "--share 100.5", "\"100.5\" is too large" },
		{ "--share -1", "\"-1\"" },
		{ "--share nan", "\"nan\" is not a number" },
		{ "--share 5%", "\"5%\" is not a number" },
		{ "--size 100", "\"100\" is too small" },
		{ "--size many", "--size: \"many\" " },
		{ "--span 5sek", "--span: \"5sek\" " },
		{ "--color blue", "\"blue\" is none of the choices: red, green" },
		{ "one", "\"one\" is not wanted here" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct run r;

		run(&r, cases[i].line, false, STDERR_FILENO);
		if (r.rc != EX_USAGE || strstr(r.out, cases[i].text) == NULL)
			fail_msg("\"%s\": %d, %s", cases[i].line, r.rc, r.out);
		assert_non_null(strstr(r.out, "posthouse trial: "));
		assert_non_null(strstr(r.out, "Try 'posthouse trial --help'"));
		run_done(&r);
	}
}

static void
help_shows_every_row(void **state)
{
	static const char *const wanted[] = {
		"Usage: posthouse trial [OPTION ...] [FILE ...]\n",
		"Tries options.",
		"\nSecond:\n",
		"-f, --flag",
		"    --off",
		"-t, --text WORD",
		"[word]",
		"[4K]",
		"One of: red, green. [green]",
		"May be repeated.",
		"-h, --help",
		"\nThe end.\n",
	};
	struct run r;

	(void)state;
	run(&r, "--help", false, STDOUT_FILENO);
	assert_int_equal(r.rc, EX_OK);
	for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
		if (strstr(r.out, wanted[i]) == NULL)
			fail_msg("\"%s\" is not in %s", wanted[i], r.out);
	for (const char *line = r.out, *end; (end = strchr(line, '\n')) != NULL; line = end + 1)
		assert_true(end - line <= 80);
	run_done(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_hold_without_options),
		cmocka_unit_test(options_are_taken_in_every_form),
		cmocka_unit_test(dashes_can_be_operands_and_values),
		cmocka_unit_test(mistakes_are_named),
		cmocka_unit_test(help_shows_every_row),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
