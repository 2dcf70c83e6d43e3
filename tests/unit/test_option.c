/*
 * test_option.c - a table with every type: values, defaults, bounds, required
 * and unknown options, secrets, and values shown again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "base/str.h"
#include "config/option.h"

struct inner { int64_t depth; const char *word; };
struct all {
	bool flag;
	int64_t number;
	const char *text, *hidden;
	ph_duration wait;
	ph_size size;
	int choice;
	struct ph_endpoint server;
	struct ph_secret secret;
	struct ph_strings texts;
	struct ph_durations waits;
	struct ph_endpoints servers;
	struct ph_networks networks;
	struct inner inner;
	struct ph_sections list;
};

static const struct ph_choice colours[] = { { "red", 1, NULL }, { "green", 2, NULL }, { NULL, 0, NULL } };
static const struct ph_option inner_rows[] = {
	PH_OPT(struct inner, depth, "depth", .dflt = "3", .min = "1", .max = "9", .doc = "D."),
	PH_OPT(struct inner, word, "word", .doc = "W."),
	PH_OPT_END
};
static const struct ph_option rows[] = {
	PH_OPT(struct all, flag, "flag", .dflt = "yes", .doc = "F."),
	PH_OPT(struct all, number, "number", .dflt = "7", .min = "-5", .max = "100", .doc = "N."),
	PH_OPT(struct all, text, "text", .dflt = "none", .doc = "T."),
	PH_OPT(struct all, hidden, "hidden", .secret = true, .doc = "H."),
	PH_OPT(struct all, wait, "wait", .dflt = "5s", .min = "100ms", .max = "1m", .doc = "W."),
	PH_OPT(struct all, size, "size", .dflt = "64K", .max = "1M", .doc = "S."),
	PH_OPT_CHOICE(struct all, choice, "choice", colours, .dflt = "green", .doc = "C."),
	PH_OPT(struct all, server, "server", .dflt = "localhost:25", .doc = "S."),
	PH_OPT(struct all, secret, "secret", .doc = "S."),
	PH_OPT(struct all, texts, "texts", .dflt = "[one, \"two, three\"]", .max_items = 3, .doc = "T."),
	PH_OPT(struct all, waits, "waits", .dflt = "[15m, 1h]", .min = "1s", .doc = "W."),
	PH_OPT(struct all, servers, "servers", .doc = "S."),
	PH_OPT(struct all, networks, "networks", .dflt = "127.0.0.0/8", .doc = "N."),
	PH_OPT_SECTION(struct all, inner, "inner", inner_rows, .doc = "I."),
	PH_OPT_SECTIONS(struct all, list, "list", struct inner, inner_rows, .doc = "L."),
	PH_OPT_END
};

static struct arena arena;
static struct diags diags;
static struct all out;

static int
setup(void **state)
{
	(void)state;
	arena_init(&arena, 4096);
	diags_init(&diags);
	memset(&out, 0, sizeof out);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	arena_reset(&arena);
	diags_free(&diags);
	return 0;
}

/* Errors of applying text to a table. */
static unsigned
apply_to(const struct ph_option *table, const char *text, void *to)
{
	struct node *root = node_load_text("dir/f", str_of(text), &arena, &diags);

	assert_non_null(root);
	return option_apply(table, root, "plugins.gate", to, &arena, &diags);
}

static unsigned
apply(const char *text)
{
	return apply_to(rows, text, &out);
}

static void
assert_shown(const char *name, const char *expected)
{
	for (const struct ph_option *row = rows; row->name != NULL; row++) {
		struct buf b = { 0 };

		if (strcmp(row->name, name) != 0)
			continue;
		option_show(row, &out, &b);
		if (!str_is(buf_view(&b), expected))
			fail_msg("%s shows as %.*s", name, STR_ARG(buf_view(&b)));
		buf_free(&b);
		return;
	}
	fail_msg("no row %s", name);
}

static void
defaults_are_applied(void **state)
{
	(void)state;
	assert_int_equal(option_apply(rows, NULL, "p", &out, &arena, &diags), 0);
	assert_int_equal(diags.n, 0);
	assert_true(out.flag);
	assert_int_equal(out.number, 7);
	assert_string_equal(out.text, "none");
	assert_null(out.hidden);
	assert_int_equal(out.wait.ms, 5000);
	assert_int_equal(out.size.bytes, 65536);
	assert_int_equal(out.choice, 2);
	assert_string_equal(out.server.host, "localhost");
	assert_null(out.secret.p);
	assert_int_equal(out.texts.n, 2);
	assert_string_equal(out.texts.v[1], "two, three");
	assert_int_equal(out.waits.n, 2);
	assert_int_equal(out.waits.v[1].ms, 3600000);
	assert_int_equal(out.servers.n, 0);
	assert_int_equal(out.networks.n, 1);
	assert_int_equal(out.networks.v[0].bits, 8);
	assert_int_equal(out.inner.depth, 3);
	assert_int_equal(out.list.n, 0);
}

static void
written_values_win(void **state)
{
	(void)state;
	assert_int_equal(apply(
	    "flag: off\nnumber: -5\ntext: \"\"\nhidden: hunter2\nwait: 1m\nsize: 0\nchoice: red\n"
	    "server: \"[mx.example.com]:587\"\ntexts: alone\nwaits: []\n"
	    "servers: [\"[::1]:25\", 192.0.2.1, a.example:26]\nnetworks: [\"::1\", 10.0.0.0/8]\n"
	    "inner: { depth: 9 }\nlist: [{ word: a }, { depth: 1, word: b }, {}]\n"), 0);
	assert_int_equal(diags.n, 0);
	assert_false(out.flag);
	assert_int_equal(out.number, -5);
	assert_string_equal(out.text, "");
	assert_int_equal(out.size.bytes, 0);
	assert_int_equal(out.texts.n, 1);
	assert_int_equal(out.waits.n, 0);
	assert_int_equal(out.inner.depth, 9);
	assert_int_equal(out.list.n, 3);
	assert_int_equal(((const struct inner *)out.list.v)[1].depth, 1);
	assert_int_equal(((const struct inner *)out.list.v)[2].depth, 3);
	assert_shown("flag", "no");
	assert_shown("number", "-5");
	assert_shown("hidden", "***");
	assert_shown("wait", "1m");
	assert_shown("choice", "red");
	assert_shown("server", "[mx.example.com]:587");
	assert_shown("texts", "[alone]");
	assert_shown("servers", "[[::1]:25, 192.0.2.1, a.example:26]");
	assert_shown("networks", "[::1, 10.0.0.0/8]");
	assert_shown("inner", "{depth: 9, word: }");
	assert_shown("list", "3 entries");
}

static void
the_message_says_what_would_be_accepted(void **state)
{
	const struct diag *g;

	(void)state;
	assert_int_equal(apply("wait: 5 sek\n"), 1);
	g = &diags.v[0];
	assert_string_equal(g->path, "plugins.gate.wait");
	assert_string_equal(g->text, "\"5 sek\" is not a duration");
	assert_string_equal(g->hint,
	    "write a number and a unit, for example 5s, 2m or 500ms (from 100ms to 1m)");
	assert_int_equal(g->place.line, 1);
	assert_int_equal(g->place.col, 7);
	assert_int_equal(g->place.width, 5);
}

static void
all_mistakes_are_told(void **state)
{
	(void)state;
	assert_int_equal(apply(
	    "flag: 2\nnumber: 101\nwait: 2m\nsize: 2M\nchoice: gren\nserver: a b\ntexts: [a, b, c, d]\n"
	    "waits: [1ms]\nservers: { a: b }\nnetworks: 10.1.1.1/8\ninner: 5\nlist: [5]\nunknown: 1\n"), 13);
	for (size_t i = 0; i < diags.n; i++)
		assert_true(str_starts(str_of(diags.v[i].path), "plugins.gate."));
}

static void
unknown_options_get_a_proposal(void **state)
{
	static const struct { const char *text, *said; } v[] = {
		{ "flagg: 1\n", "no such option; did you mean flag?" },
		{ "nmuber: 1\n", "no such option; did you mean number?" },
		{ "depth: 1\n", "no such option; did you mean inner.depth?" },
		{ "colour: red\n", "no such option" },
		{ "inner: { depht: 5 }\n", "no such option; did you mean depth?" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof v / sizeof v[0]; i++) {
		assert_int_equal(apply(v[i].text), 1);
		assert_string_equal(diags.v[i].text, v[i].said);
	}
	/* a plugin without options */
	assert_int_equal(apply_to(NULL, "a: 1\n", NULL), 1);
	assert_string_equal(diags.v[diags.n - 1].hint, "there are no options here");
}

static void
required_options_are_missed(void **state)
{
	static const struct ph_option table[] = {
		PH_OPT(struct inner, word, "server", .required = true, .doc = "S."), PH_OPT_END
	};
	struct inner to = { 0 };

	(void)state;
	assert_int_equal(option_apply(table, NULL, "plugins.gate", &to, &arena, &diags), 1);
	assert_string_equal(diags.v[0].path, "plugins.gate");
	assert_string_equal(diags.v[0].text, "server is required");
	assert_int_equal(apply_to(table, "server: ''\n", &to), 0);
	assert_string_equal(to.word, "");
	assert_int_equal(apply_to(table, "server:\n", &to), 1);
}

static void
secrets_come_from_files(void **state)
{
	char dir[] = "/tmp/test_option.XXXXXX", path[100], text[200];
	int fd;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/pw", dir);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	assert_int_equal(fs_write_all(fd, "pass word \n", 11), 0);
	snprintf(text, sizeof text, "secret: %s\n", path);
	assert_int_equal(apply(text), 0);
	assert_int_equal(diags.n, 0);
	assert_true(str_is(str_make(out.secret.p, out.secret.n), "pass word "));
	assert_shown("secret", "***");
	option_wipe(rows, &out);
	assert_null(out.secret.p);

	setenv("CREDENTIALS_DIRECTORY", dir, 1);
	assert_int_equal(apply("secret: credential:pw\n"), 0);
	assert_true(str_is(str_make(out.secret.p, out.secret.n), "pass word "));
	assert_int_equal(apply("secret: credential:../pw\n"), 1);
	assert_int_equal(apply("secret: 'credential:'\n"), 1);
	unsetenv("CREDENTIALS_DIRECTORY");
	assert_int_equal(apply("secret: credential:pw\n"), 1);

	setenv("POSTHOUSE_TEST_SECRET", "s3cret", 1);
	assert_int_equal(apply("secret: env:POSTHOUSE_TEST_SECRET\n"), 0);
	assert_true(str_is(str_make(out.secret.p, out.secret.n), "s3cret"));
	unsetenv("POSTHOUSE_TEST_SECRET");
	assert_int_equal(apply("secret: env:POSTHOUSE_TEST_SECRET\n"), 1);

	/* readable by everybody: works, with a warning */
	assert_int_equal(fchmod(fd, 0644), 0);
	diags.n = 0;
	assert_int_equal(apply(text), 0);
	assert_int_equal(diags.n, 1);
	assert_int_equal(diags.v[0].severity, DIAG_WARNING);
	assert_string_equal(diags.v[0].path, "plugins.gate.secret");
	/* no byte of it */
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(apply(text), 1);
	close(fd);
	unlink(path);
	diags.n = 0;
	assert_int_equal(apply(text), 1);
	assert_non_null(strstr(diags.v[0].text, "No such file or directory"));
	/* a relative name belongs to the file's directory */
	diags.n = 0;
	assert_int_equal(apply("secret: pw\n"), 1);
	assert_true(str_starts(str_of(diags.v[0].text), "dir/pw: "));
	rmdir(dir);
}

static void
secret_text_is_not_quoted(void **state)
{
	static const struct ph_option table[] = {
		PH_OPT(struct inner, depth, "pin", .secret = true, .max = "9", .doc = "P."), PH_OPT_END
	};
	struct inner to = { 0 };

	(void)state;
	assert_int_equal(apply_to(table, "pin: 12345\n", &to), 1);
	assert_null(strstr(diags.v[0].text, "12345"));
	assert_int_equal(apply_to(table, "pin: hunter2\n", &to), 1);
	assert_null(strstr(diags.v[1].text, "hunter2"));
}

static void
long_values_are_quoted_in_part(void **state)
{
	struct buf b = { 0 };

	(void)state;
	buf_adds(&b, "number: ");
	for (int i = 0; i < 5000; i++)
		buf_adds(&b, "\xC3\xBC");
	buf_adds(&b, "\n");
	buf_addc(&b, '\0');
	assert_int_equal(apply(b.data), 1);
	assert_true(strlen(diags.v[0].text) < 100);
	assert_true(str_utf8_valid(str_of(diags.v[0].text)));
	buf_free(&b);
}

/* Plugins bring rows of their own; wrong ones must not end the process. */
static void
broken_rows_are_reported(void **state)
{
	static const struct ph_option bad_default[] = {
		PH_OPT(struct inner, depth, "depth", .dflt = "lots", .doc = "D."), PH_OPT_END
	};
	static const struct ph_option bad_list[] = {
		PH_OPT(struct all, waits, "waits", .dflt = "[5m", .doc = "D."), PH_OPT_END
	};
	static const struct ph_option bad_type[] = {
		{ .name = "x", .type = (enum ph_type)99, .dflt = "1", .doc = "D." }, PH_OPT_END
	};

	(void)state;
	assert_true(option_apply(bad_default, NULL, "p", &out, &arena, &diags) > 0);
	assert_true(option_apply(bad_list, NULL, "p", &out, &arena, &diags) > 0);
	assert_true(option_apply(bad_type, NULL, "p", &out, &arena, &diags) > 0);
}

static void
deprecated_options_work_with_a_warning(void **state)
{
	static const struct ph_option table[] = {
		PH_OPT(struct inner, depth, "old", .deprecated = true, .doc = "Use new."), PH_OPT_END
	};
	struct inner to = { 0 };

	(void)state;
	assert_int_equal(apply_to(table, "old: 4\n", &to), 0);
	assert_int_equal(to.depth, 4);
	assert_int_equal(diags.n, 1);
	assert_int_equal(diags.v[0].severity, DIAG_WARNING);
}

static void
places_of_options_are_found(void **state)
{
	struct node *root = node_load_text("f", STR("a: 1\nb:\n  c: x\n"), &arena, &diags);

	(void)state;
	assert_int_equal(option_place(root, "a").line, 1);
	assert_int_equal(option_place(root, "b.c").line, 3);
	assert_int_equal(option_place(root, "b.c").col, 6);
	assert_int_equal(option_place(root, "b.d").line, 3);    /* the section */
	assert_int_equal(option_place(root, "none").line, 1);
	assert_null(option_place(NULL, "a").src);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(defaults_are_applied), T(written_values_win), T(the_message_says_what_would_be_accepted),
		T(all_mistakes_are_told), T(unknown_options_get_a_proposal), T(required_options_are_missed),
		T(secrets_come_from_files), T(secret_text_is_not_quoted), T(long_values_are_quoted_in_part),
		T(broken_rows_are_reported), T(deprecated_options_work_with_a_warning),
		T(places_of_options_are_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
