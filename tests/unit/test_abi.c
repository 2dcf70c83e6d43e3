/*
 * Plugin files: what is refused and in which words, and what the daemon does
 * with plugins that load but misbehave.  The plugins are tests/abi/NAME.c.
 * The program must export its symbols (-rdynamic), as posthouse does.
 */
#include <ctype.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "plug_stage.h"

const struct ph_plugin *const loader_static[] = { NULL };

/* Copies with a mode and owner of the test's own choice. */
static char dir[64];

static const char *
from_env(const char *name, const char *dflt)
{
	const char *v = getenv(name);

	return v != NULL && *v != '\0' ? v : dflt;
}

static void
put_file(const char *name, const char *as, mode_t mode)
{
	char from[512], to[512];
	struct buf b = { 0 };
	int fd;

	snprintf(from, sizeof from, "%s/%s.so", from_env("abi_dir", "tests/abi"), name);
	snprintf(to, sizeof to, "%s/%s.so", dir, as);
	if (fs_read_file(from, 16 << 20, &b) != 0)
		fail_msg("cannot read %s", from);
	fd = open(to, O_CREAT | O_TRUNC | O_WRONLY, 0600);
	assert_true(fd >= 0);
	assert_int_equal(fs_write_all(fd, b.data + b.head, b.len), 0);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
	buf_free(&b);
}

static int
make_dir(void **state)
{
	(void)state;
	snprintf(dir, sizeof dir, "/tmp/posthouse-abi-XXXXXX");
	return mkdtemp(dir) != NULL ? 0 : -1;
}

static int
drop_dir(void **state)
{
	char cmd[128];

	(void)state;
	snprintf(cmd, sizeof cmd, "rm -rf '%s'", dir);
	return system(cmd);
}

/* "…" with the directory's name as DIR, so that it can be compared. */
static void
report_to(char *out, size_t n)
{
	size_t at = 0;
	const char *p = stage_report.data;

	while (*p != '\0' && at + 4 < n) {
		if (strncmp(p, dir, strlen(dir)) == 0) {
			memcpy(out + at, "DIR", 3);
			at += 3;
			p += strlen(dir);
		} else {
			out[at++] = *p++;
		}
	}
	out[at] = '\0';
}

static char with_dir[4096];

static const char *
yaml_of(const char *plugins)
{
	snprintf(with_dir, sizeof with_dir, "%splugin-dir: %s\n", plugins, dir);
	return with_dir;
}

static void
refusals(void **state)
{
	static const struct { const char *file, *plugins, *message, *hint; } cases[] = {
		{ NULL, "smarthosts", "DIR/smarthosts.so",
		  "did you mean smarthost? plugins there: good, smarthost" },
		{ NULL, "zebra", "plugins.zebra: no such plugin: there is no DIR/zebra.so",
		  "plugins there: good, smarthost" },
		{ NULL, "/nowhere/at-all.so", "no such plugin: there is no /nowhere/at-all.so", "" },
		{ NULL, "Good", "\"Good\" is not the name of a plugin: [a-z][a-z0-9-]*, or an absolute "
		  "path to a .so", "did you mean good?" },
		{ "bad-magic", "bad-magic", "DIR/bad-magic.so is not a posthouse plugin: its descriptor "
		  "starts with 0x12345678, not 0x50486f73", "" },
		{ "bad-major", "bad-major", "DIR/bad-major.so was built for plugin interface 2.3, this "
		  "posthouse has 1.0: rebuild the plugin", "" },
		{ "bad-minor", "bad-minor", "DIR/bad-minor.so needs plugin interface 1.7, this posthouse "
		  "has 1.0: upgrade posthouse or rebuild the plugin", "" },
		{ "bad-size", "bad-size", "DIR/bad-size.so has a descriptor of 100000 bytes, this "
		  "posthouse knows ", "upgrade posthouse or rebuild the plugin" },
		{ "bad-symbol", "bad-symbol", "cannot load DIR/bad-symbol.so: it needs the function "
		  "ph_from_the_future, which this posthouse (plugin interface 1.0) does not have",
		  "upgrade posthouse, or rebuild" },
		{ "bad-empty", "bad-empty", "DIR/bad-empty.so has no descriptor: the symbol "
		  "ph_plugin_bad_empty is missing", "" },
		{ "bad-name", "bad-name", "DIR/bad-name.so calls itself goodness", "" },
		{ "bad-row", "bad-row", "DIR/bad-row.so its option second lies outside the 8 bytes of its "
		  "config_size", "" },
		{ "bad-storage", "bad-storage", "DIR/bad-storage.so wants 65537 bytes of session storage; "
		  "65536 is the limit", "" },
		{ "bad-check", "bad-check", "test.yaml:3:5: error: plugins.bad-check.silent: is no, which "
		  "bad-check does not like", "" },
		{ "bad-check", "bad-check: { silent: yes }", "plugins.bad-check: check failed: not valid",
		  "" },
		{ "bad-setup", "bad-setup", "plugins.bad-setup: setup failed: not permitted", "" },
		{ "bad-hook", "bad-hook", "plugins.bad-hook: registers for hook rcpt with ph_on_observe; "
		  "it is one to decide, which takes ph_on_decide", "" },
		{ "good", "good: { colour: red }", "plugins.good.colour: no such option", "" },
	};
	char yaml[256], got[8192];

	(void)state;
	put_file("good", "good", 0644);
	put_file("good", "smarthost", 0644);    /* only its name counts */
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		if (cases[i].file != NULL)
			put_file(cases[i].file, cases[i].file, 0644);
		snprintf(yaml, sizeof yaml, "  - %s\n", cases[i].plugins);
		assert_null(stage_check(yaml_of(yaml)));
		report_to(got, sizeof got);
		if (strstr(got, cases[i].message) == NULL || strstr(got, cases[i].hint) == NULL)
			fail_msg("%s: got\n%s", cases[i].plugins, got);
		if (cases[i].file != NULL && strcmp(cases[i].file, "good") != 0) {
			char path[512];

			snprintf(path, sizeof path, "%s/%s.so", dir, cases[i].file);
			unlink(path);
		}
	}
	loader_done();
	buf_free(&stage_report);
}

static void
owner_and_mode(void **state)
{
	char got[8192], path[512];

	(void)state;
	put_file("good", "good", 0666);
	assert_null(stage_check(yaml_of("  - good\n")));
	report_to(got, sizeof got);
	assert_non_null(strstr(got, "plugins.good: does not trust DIR/good.so: DIR/good.so is writable "
	    "by everybody (mode 0666)"));
	assert_non_null(strstr(got, "chmod go-w"));
	put_file("good", "good", 0644);
	assert_int_equal(chmod(dir, 0777), 0);
	assert_null(stage_check(yaml_of("  - good\n")));
	report_to(got, sizeof got);
	assert_non_null(strstr(got, "DIR is writable by everybody"));
	assert_int_equal(chmod(dir, 0755), 0);
	if (geteuid() == 0) {
		snprintf(path, sizeof path, "%s/good.so", dir);
		assert_int_equal(chown(path, 12345, 12345), 0);
		assert_null(stage_check(yaml_of("  - good\n")));
		report_to(got, sizeof got);
		assert_non_null(strstr(got, "belongs to user 12345"));
		assert_int_equal(unlink(path), 0);
	}
	loader_done();
	buf_free(&stage_report);
}

/* A good one: by name and by path, several instances, listed. */
static void
good_ones(void **state)
{
	char yaml[512];
	struct buf text = { 0 };

	(void)state;
	put_file("good", "good", 0644);
	snprintf(yaml, sizeof yaml, "  - good\n  - %s/good.so: { as: second }\n", dir);
	stage_up(yaml_of(yaml));
	assert_true(logged("event=plugin.loaded plugin=second generation=1", "version=3.1", "/good.so"));
	assert_true(ask(PH_HOOK_RCPT));
	assert_int_equal(outcome.reply, PH_R_NO_SUCH_MAILBOX);
	generation_describe(gen, false, &text);
	buf_addc(&text, '\0');
	assert_non_null(strstr(text.data, "as it should be"));
	assert_non_null(strstr(text.data, "rcpt       good, second\n"));
	buf_clear(&text);
	generation_describe(gen, true, &text);
	buf_addc(&text, '\0');
	assert_non_null(strstr(text.data, "\"rcpt\":[\"good\",\"second\"]"));
	buf_free(&text);
	stage_down();
}

/* A worker that one plugin does not open is not opened; the others are closed. */
static void
worker_open_fails(void **state)
{
	struct generation *g;

	(void)state;
	put_file("bad-open", "bad-open", 0644);
	put_file("good", "good", 0644);
	stage_up(yaml_of("  - good\n"));
	g = stage_check(yaml_of("  - good\n  - bad-open\n"));
	assert_non_null(g);
	assert_null(worker_plugins_open(g, &loop, 1));
	assert_true(logged("event=plugin.failed worker=1 plugin=bad-open phase=worker-open", "error",
	    "connection refused"));
	settle();
	generation_unref(&g);
	assert_int_equal(mailbox_run(&main_box), 1);
	stage_down();
}

static void
configuration_is_read_only(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	put_file("bad-write", "bad-write", 0644);
	stage_up(yaml_of("  - bad-write\n"));
	pid = fork();
	if (pid == 0) {
		struct plug_outcome o;

		signal(SIGSEGV, SIG_DFL);       /* whatever a sanitizer has set */
		(void)plug_ask(&ps, PH_HOOK_RCPT, &o);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSEGV);
	stage_down();
}

static void
wakes(void **state)
{
	static const struct {
		const char *plugins; enum ph_verdict verdict; const char *log, *also;
	} cases[] = {
		{ "  - bad-wake: { how: never }\n", PH_FAIL,
		  "event=hook.timeout plugin=bad-wake hook=rcpt waiting-for=\"better days\"", "" },
		{ "  - bad-wake: { how: never, on-failure: continue }\n", PH_CONTINUE,
		  "event=hook.timeout plugin=bad-wake", "" },
		{ "  - bad-wake: { how: twice }\n", PH_CONTINUE, "first 0 second -4003", "" },
		{ "  - bad-wake: { how: late }\n", PH_FAIL, "first -4003", "" },
		{ "  - bad-wake: { how: inside }\n", PH_CONTINUE, "", "" },
	};

	(void)state;
	put_file("bad-wake", "bad-wake", 0644);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		print_message("  %s", cases[i].plugins);
		stage_up(yaml_of(cases[i].plugins));
		assert_false(ask(PH_HOOK_RCPT));
		assert_int_equal(answers, 0);
		advance(5000);
		assert_int_equal(answers, 1);
		assert_int_equal(outcome.verdict, cases[i].verdict);
		assert_true(logged(cases[i].log, cases[i].also, ""));
		stage_down();
	}
	/* the ticket of the wait before: harmless, and the deadline holds */
	stage_up(yaml_of("  - bad-wake: { how: stale }\n"));
	assert_false(ask(PH_HOOK_RCPT));
	advance(600);
	assert_int_equal(answers, 1);
	assert_false(ask(PH_HOOK_RCPT));
	advance(600);
	assert_true(logged("first -4003", "", ""));
	assert_int_equal(answers, 1);
	advance(400);
	assert_int_equal(answers, 2);
	assert_int_equal(outcome.verdict, PH_FAIL);
	stage_down();
}

/* Every PH_API function of the headers can be found by a plugin. */
static void
the_whole_interface_is_exported(void **state)
{
	static const char *const headers[] = { "types", "reply", "hook", "plugin", "service",
	                                       "provider", "store" };
	size_t found = 0, missing = 0;

	(void)state;
	assert_true(api_exported_count > 0);
	for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
		char path[512];
		struct buf b = { 0 };
		char *p;

		snprintf(path, sizeof path, "%s/include/posthouse/%s.h", from_env("srcdir", "."),
		    headers[i]);
		if (fs_read_file(path, 1 << 20, &b) != 0)
			fail_msg("cannot read %s", path);
		buf_addc(&b, '\0');
		for (p = b.data + b.head; (p = strstr(p, "\nPH_API ")) != NULL; p++) {
			char *open_at = strchr(p, '('), *name = open_at;
			char symbol[64];

			while (name > p && (isalnum((unsigned char)name[-1]) || name[-1] == '_'))
				name--;
			snprintf(symbol, sizeof symbol, "%.*s", (int)(open_at - name), name);
			found++;
			if (dlsym(RTLD_DEFAULT, symbol) == NULL &&
			    strcmp(symbol, "ph_store_release") != 0) {
				print_error("not exported: %s\n", symbol);
				missing++;
			}
		}
		buf_free(&b);
	}
	assert_true(found > 100);
	assert_int_equal(missing, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refusals),
		cmocka_unit_test(owner_and_mode),
		cmocka_unit_test(good_ones),
		cmocka_unit_test(worker_open_fails),
		cmocka_unit_test(configuration_is_read_only),
		cmocka_unit_test(wakes),
		cmocka_unit_test(the_whole_interface_is_exported),
	};

	return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
