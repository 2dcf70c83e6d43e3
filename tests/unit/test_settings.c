/*
 * test_settings.c - whole files through config_load: every file of
 * tests/config against its .expected report, defaults, and the rows
 * themselves.  With UPDATE_EXPECTED set the reports are written instead.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <posthouse/plugin.h>

#include "base/fsutil.h"
#include "base/str.h"
#include "config/settings.h"

static char *
report(struct diags *d, const struct config_file *c)
{
	struct buf b = { 0 };

	diags_print(d, &b);
	buf_adds(&b, c != NULL ? "accepted\n" : "refused\n");
	buf_addc(&b, '\0');
	return b.data;
}

static int
is_yaml(const struct dirent *e)
{
	size_t n = strlen(e->d_name);

	return n > 5 && strcmp(e->d_name + n - 5, ".yaml") == 0;
}

/* True when the report is the expected one. */
static bool
check_file(const char *name)
{
	struct buf expected = { 0 };
	struct diags d;
	struct config_file *c;
	char path[300], *text;
	bool same;

	diags_init(&d);
	c = config_load(name, &d);
	text = report(&d, c);
	snprintf(path, sizeof path, "%.*s.expected", (int)strlen(name) - 5, name);
	if (getenv("UPDATE_EXPECTED") != NULL) {
		FILE *f = fopen(path, "w");

		assert_non_null(f);
		fputs(text, f);
		fclose(f);
	}
	same = fs_read_file(path, 1 << 20, &expected) == 0 && str_is(buf_view(&expected), text);
	if (!same)
		print_error("%s: expected\n%.*s\ngot\n%s\n", name, STR_ARG(buf_view(&expected)), text);
	/* what is an error refuses the file, and nothing else does */
	assert_int_equal(c == NULL, d.errors > 0);
	buf_free(&expected);
	free(text);
	config_free(&c);
	diags_free(&d);
	return same;
}

static void
files_give_the_expected_reports(void **state)
{
	const char *top = getenv("srcdir");
	char dir[4096], *back = getcwd(NULL, 0);
	struct dirent **v;
	int n, failed = 0;

	(void)state;
	snprintf(dir, sizeof dir, "%s/tests/config", top != NULL ? top : ".");
	assert_int_equal(chdir(dir), 0);
	n = scandir(".", &v, is_yaml, alphasort);
	assert_true(n > 30);
	for (int i = 0; i < n; i++) {
		failed += !check_file(v[i]->d_name);
		free(v[i]);
	}
	free(v);
	assert_int_equal(chdir(back), 0);
	free(back);
	assert_int_equal(failed, 0);
}

static struct config_file *
load(const char *text)
{
	struct diags d;
	struct config_file *c;

	diags_init(&d);
	c = config_load_text("test.yaml", str_of(text), &d);
	if (c == NULL || d.n > 0)
		fail_msg("%s", report(&d, c));
	diags_free(&d);
	return c;
}

static void
defaults_are_complete(void **state)
{
	struct diags d;
	struct config_file *c;
	const struct settings *s;
	const struct listen_settings *l;

	(void)state;
	diags_init(&d);
	c = config_load("", &d);
	assert_non_null(c);
	assert_int_equal(d.n, 0);
	s = &c->settings;
	assert_non_null(s->hostname);
	assert_true(*s->hostname != '\0');
	assert_string_equal(s->spool, "/var/spool/posthouse");
	assert_string_equal(s->control, "/var/spool/posthouse/control");
	assert_string_equal(s->queue.badmail, "/var/spool/posthouse/badmail");
	assert_string_equal(s->workers, "auto");
	assert_non_null(s->plugin_dir);
	assert_null(s->user);
	assert_int_equal(s->log_level, PH_INFO);
	assert_int_equal(s->queue.retry.n, 4);
	assert_int_equal(s->queue.retry.v[2].ms, 3600000);
	assert_int_equal(s->queue.probe.n, 5);
	assert_int_equal(s->queue.delay_notice.ms, 12 * 3600000);
	assert_int_equal(s->queue.expire.ms, 48 * 3600000);
	assert_true(s->queue.bounce_notices && s->outbound.chunking && s->outbound.pipelining);
	assert_int_equal(s->listen.n, 1);
	l = s->listen.v;
	assert_string_equal(l->address, "127.0.0.1:25");
	assert_true(l->max_message_size.bytes == 50u << 20);
	assert_int_equal(l->max_recipients, 1000);
	assert_int_equal(l->max_line, 2048);
	assert_int_equal(l->max_errors, 20);
	assert_false(l->accept_bare_newline);
	assert_int_equal(c->nplugins, 0);
	config_free(&c);
	assert_null(c);
	config_free(&c);
	diags_free(&d);
}

static void
paths_follow_the_spool(void **state)
{
	struct config_file *c = load("spool: /srv/mail\ncontrol: /run/ph\n");

	(void)state;
	assert_string_equal(c->settings.control, "/run/ph");
	assert_string_equal(c->settings.queue.badmail, "/srv/mail/badmail");
	config_free(&c);
}

static void
plugin_entries_keep_their_order_and_options(void **state)
{
	struct config_file *c = load(
	    "plugins:\n"
	    "  - auth-anonymous\n"
	    "  - gate: { as: one, server: a, on-failure: continue }\n"
	    "  - gate: { on-failure: defer }\n"
	    "  - /opt/mail/lib.so:\n");
	const struct plugin_entry *e = c->plugins;

	(void)state;
	assert_int_equal(c->nplugins, 4);
	assert_true(str_is(e[0].plugin, "auth-anonymous") && str_is(e[0].instance, "auth-anonymous"));
	assert_int_equal(e[0].options->kind, NODE_MAP);
	assert_null(e[0].options->first);
	assert_int_equal(e[0].options->place.line, 2);
	assert_int_equal(e[0].options->place.col, 5);
	assert_true(str_is(e[1].plugin, "gate") && str_is(e[1].instance, "one"));
	assert_true(e[1].fail_continue);
	assert_true(str_is(node_get(e[1].options, "server")->text, "a"));
	assert_null(node_get(e[1].options, "as"));
	assert_null(node_get(e[1].options, "on-failure"));
	assert_true(str_is(e[2].instance, "gate") && !e[2].fail_continue && !e[2].options->first);
	assert_true(str_is(e[3].plugin, "/opt/mail/lib.so") && str_is(e[3].instance, "lib"));
	/* places stay good when the diagnostics are gone */
	assert_true(str_starts(e[1].place.src->text, "plugins:"));
	config_free(&c);
}

/* Every row of a table and below. */
static void
check_rows(const struct ph_option *rows, const char *where)
{
	for (const struct ph_option *row = rows; row->name != NULL; row++) {
		size_t n;

		if (row->doc == NULL)
			fail_msg("%s.%s has no prose", where, row->name);
		n = strlen(row->doc);
		if (n < 15 || row->doc[n - 1] != '.' || row->doc[0] < 'A' || row->doc[0] > 'Z')
			fail_msg("%s.%s: not a sentence: %s", where, row->name, row->doc);
		for (const char *p = row->name; *p; p++)
			assert_true((*p >= 'a' && *p <= 'z') || *p == '-');
		for (const struct ph_option *other = rows; other != row; other++)
			assert_string_not_equal(other->name, row->name);
		if (row->rows != NULL)
			check_rows(row->rows, row->name);
	}
}

static void
every_row_has_prose(void **state)
{
	(void)state;
	check_rows(settings_rows, "settings");
}

static void
the_manual_names_every_setting(void **state)
{
	static const char *const v[] = {
		"hostname", "listen.address", "listen.max\\-message\\-size", "queue.delay\\-notice",
		"store.lazy\\-sync", "outbound.chunking", "dns.servers", "as", "on\\-failure", "include",
	};
	struct buf b = { 0 };
	char item[100];

	(void)state;
	describe_man(&b);
	describe_man_plugins(NULL, 0, &b);
	buf_addc(&b, '\0');
	for (size_t i = 0; i < sizeof v / sizeof v[0]; i++) {
		snprintf(item, sizeof item, ".It Cm %s : ", v[i]);
		if (strstr(b.data, item) == NULL)
			fail_msg("%s is missing", v[i]);
	}
	assert_null(strstr(b.data, "\n\n"));
	buf_clear(&b);
	describe_text(settings_rows, &b);
	buf_addc(&b, '\0');
	assert_non_null(strstr(b.data, "  expire: duration\n"));
	assert_non_null(strstr(b.data, "Default: 2d, from 1s to 30d.\n"));
	for (struct ph_str rest = str_make(b.data, b.len - 1), line; rest.n > 0; ) {
		line = str_cut(rest, '\n', &rest);
		assert_true(line.n <= 80);
	}
	buf_free(&b);
}

/* The schema is itself YAML (in flow style), so our own reader can look inside. */
static void
the_schema_is_well_formed(void **state)
{
	static const struct ph_option rows[] = {
		{ .name = "server", .type = PH_T_STRING, .required = true, .doc = "A \"quoted\" word." },
		PH_OPT_END
	};
	static const struct describe_plugin known[] = {
		{ "gate", "accept only what is known", rows }, { "bare", NULL, NULL },
	};
	struct buf b = { 0 };
	struct arena a;
	struct diags d;
	const struct node *root, *props, *n;
	size_t count = 0;

	(void)state;
	arena_init(&a, 4096);
	diags_init(&d);
	describe_schema(known, 2, &b);
	assert_int_equal(b.data[0], '{');
	/* depth 16 is for configurations; the check needs the outer levels only */
	root = node_load_text("schema", buf_view(&b), &a, &d);
	if (root == NULL)
		fail_msg("%s", report(&d, NULL));
	assert_true(str_is(node_get(root, "$schema")->text,
	    "https://json-schema.org/draft/2020-12/schema"));
	props = node_get(root, "properties");
	for (const struct ph_option *row = settings_rows; row->name != NULL; row++) {
		n = node_get(props, row->name);
		assert_non_null(n);
		assert_non_null(node_get(n, "description"));
	}
	n = node_get(node_get(node_get(props, "plugins"), "items"), "anyOf");
	assert_true(str_is(node_get(n->first, "const")->text, "gate"));
	for (n = n->first; n != NULL; n = n->next, count++)
		if (node_get(n, "maxProperties") != NULL)
			break;
	n = node_get(node_get(n, "properties"), "gate");
	assert_true(str_is(node_get(n, "required")->first->text, "server"));
	assert_non_null(node_get(node_get(n, "properties"), "on-failure"));
	buf_free(&b);
	diags_free(&d);
	arena_reset(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_give_the_expected_reports),
		cmocka_unit_test(defaults_are_complete),
		cmocka_unit_test(paths_follow_the_spool),
		cmocka_unit_test(plugin_entries_keep_their_order_and_options),
		cmocka_unit_test(every_row_has_prose),
		cmocka_unit_test(the_manual_names_every_setting),
		cmocka_unit_test(the_schema_is_well_formed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
