/*
 * plugins/example, and with it connections, timers and helper processes as
 * plugins use them: the real connection code on virtual time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../../plugins/example/directory.c"
#include "../../plugins/example/example.c"
#include "../dialogue/fake_loop.h"
#include "base/str.h"
#include "plugin/chain.h"
#include "plugin/loader.h"

/* A plugin that uses what example does not: helper processes. */
static struct ph_helpers *helpers;
static struct ph_lease *lease;
static char heard[256];
static void
helper_answer(void *arg, int status, struct ph_str bytes)
{
	(void)arg;
	snprintf(heard, sizeof heard, "%d " STR_FMT, status, STR_ARG(bytes));
}
static void
helper_got(void *arg, int status)
{
	(void)arg;
	assert_int_equal(status, 0);
	assert_int_equal(ph_lease_ask(lease, STR("ping"), helper_answer, NULL), 0);
}
static int
helped_open(struct ph_worker *w, void *data)
{
	static const char *const argv[] = { "toy-helper" };
	struct ph_helper_spec spec = { .size = sizeof spec, .command = { argv, 1 },
		.framing = PH_FRAME_LINE, .count = 1, .answer_limit = { 1000 }, .lease_wait = { 1000 } };

	(void)data;
	helpers = ph_helpers_open(w, &spec);
	return helpers != NULL ? 0 : PH_EIO;
}
PH_PLUGIN(helped, .summary = "asks a helper", .worker = { 0, helped_open, NULL });

const struct ph_plugin *const loader_static[] = { &ph_plugin_example, &ph_plugin_helped, NULL };

static struct loop *l;
static struct ph_mailbox main_box;
static void no_wake(struct ph_mailbox *m) { (void)m; }
static struct generation *gen;
static struct worker_plugins *wp;
static struct plug_session ps;
static struct arena session_arena, txn_arena;
static struct envelope env;
static struct facts facts;
static struct recipient rcpt;
static struct plug_outcome outcome;
static unsigned answers;
static const struct ph_addr directory_addr = { 4, 4000, { 192, 0, 2, 9 } };
static struct fake_peer *peer;
static struct buf lines;

static void keep_log(const char *p, size_t n) { buf_add(&lines, p, n); }
static bool
logged(const char *word)
{
	log_flush();
	buf_addc(&lines, '\0');
	bool found = strstr(lines.data + lines.head, word) != NULL;
	buf_clear(&lines);
	return found;
}
static void arrived(void *arg, struct fake_peer *p) { (void)arg; peer = p; }
static void answered(struct plug_session *s, const struct plug_outcome *o) { (void)s; outcome = *o; answers++; }

static void
up(const char *plugins)
{
	struct buf yaml = { 0 }, report = { 0 };
	struct config_file *c;
	struct diags d;

	l = loop_new();
	mailbox_init(&main_box, no_wake);
	log_use(keep_log);
	log_level = PH_INFO;
	buf_printf(&yaml, "listen: [{address: \"127.0.0.1:25\"}]\nplugins:\n%s", plugins);
	diags_init(&d);
	c = config_load_text("test.yaml", buf_view(&yaml), &d);
	gen = c != NULL ? generation_check(c, &d) : NULL;
	if (gen == NULL || generation_setup(gen, 1, &main_box, &d) != 0) {
		diags_print(&d, &report);
		fail_msg(STR_FMT, STR_ARG(buf_view(&report)));
	}
	diags_free(&d);
	buf_free(&yaml);
	wp = worker_plugins_open(gen, l, 0);
	assert_non_null(wp);
	arena_init(&session_arena, 1024);
	arena_init(&txn_arena, 1024);
	memset(&env, 0, sizeof env);
	envelope_init(&env, &txn_arena);
	facts = (struct facts){ .client = { 4, 9, { 203, 0, 113, 7 } }, .hello = STR("client.example") };
	ps = (struct plug_session){ .wp = wp, .facts = &facts, .session_arena = &session_arena,
	                            .txn_arena = &txn_arena, .env = &env, .rcpt = &rcpt,
	                            .answered = answered };
	answers = 0;
	worker_plugins_use(wp);
	assert_int_equal(plug_session_open(&ps), 0);
	assert_int_equal(plug_txn_open(&ps), 0);
}

static void
down(void)
{
	plug_session_close(&ps);
	arena_reset(&session_arena);
	arena_reset(&txn_arena);
	worker_plugins_retire(&(struct worker_plugins *){ wp });
	worker_plugins_drop(wp);
	fake_run_until_idle();
	fake_loop_advance(10000);       /* what was closed politely has gone */
	generation_unref(&gen);
	assert_int_equal(mailbox_run(&main_box), 1);
	if (peer != NULL)
		fake_peer_free(&peer);
	loop_free(&l);
	loader_done();
	fake_reset_world();
	log_flush();
	buf_free(&lines);
}

static bool
ask_rcpt(const char *address)
{
	rcpt.to.full = str_of(address);
	return plug_ask(&ps, PH_HOOK_RCPT, &outcome);
}

static void
peer_heard(const char *text)
{
	struct ph_str got;

	fake_run_until_idle();
	got = fake_received(peer);
	assert_int_equal(got.n, strlen(text));
	assert_memory_equal(got.p, text, got.n);
	fake_eat(peer, got.n);
}

#define CONFIG "  - example: { directory: \"192.0.2.9:4000\", patience: 5s, max-recipients: 2, " \
	"refused: [no@example.net], require-subject: yes, mark: full, report: { sessions: yes, every: 1m } }\n"

static void
the_directory_decides(void **state)
{
	(void)state;
	up(CONFIG);
	fake_serve(&directory_addr, arrived, NULL);
	assert_true(ask_rcpt("NO@example.net"));
	assert_int_equal(outcome.reply, PH_R_NO_SUCH_MAILBOX);
	assert_false(ask_rcpt("ann@example.net"));
	peer_heard("RCPT ann@example.net\n");
	fake_sends(peer, "y");
	fake_run_until_idle();
	assert_int_equal(answers, 0);
	fake_sends(peer, "es\n");
	fake_run_until_idle();
	assert_int_equal(answers, 1);
	assert_int_equal(outcome.verdict, PH_CONTINUE);
	assert_false(ask_rcpt("bob@example.net"));
	peer_heard("RCPT bob@example.net\n");
	fake_sends(peer, "no\n");
	fake_run_until_idle();
	assert_int_equal(outcome.verdict, PH_REJECT);
	assert_int_equal(outcome.reply, PH_R_NO_SUCH_MAILBOX);
	/* the bound on recipients */
	envelope_add(&env);
	envelope_add(&env);
	assert_true(ask_rcpt("cid@example.net"));
	assert_int_equal(outcome.reply, PH_R_TOO_MANY_RCPTS);
	assert_true(str_is(outcome.text, "At most 2 recipients"));
	/* header and message */
	ps.header = STR("From: a@b\r\n\r\n");
	assert_true(plug_ask(&ps, PH_HOOK_HEADER, &outcome));
	assert_true(str_is(outcome.text, "Give your message a subject"));
	ps.header = STR("Subject: x\r\n\r\n");
	assert_true(plug_ask(&ps, PH_HOOK_HEADER, &outcome));
	assert_int_equal(outcome.verdict, PH_CONTINUE);
	ps.size = 1000;
	assert_true(plug_ask(&ps, PH_HOOK_MESSAGE, &outcome));
	assert_int_equal(outcome.verdict, PH_CONTINUE);
	assert_true(str_is(buf_view(&ps.added), "X-Example: recipients=2; refused=2; asked=2\r\n"));
	ps.size = 11 << 20;
	assert_true(plug_ask(&ps, PH_HOOK_MESSAGE, &outcome));
	assert_int_equal(outcome.reply, PH_R_TOO_BIG);
	/* observers, and the timer of the report */
	plug_observe(&ps, PH_HOOK_ACCEPTED);
	plug_observe(&ps, PH_HOOK_CLOSED);
	assert_true(logged("text=\"2 recipients of client.example were refused\""));
	fake_loop_advance(60000);
	assert_true(logged("text=\"1 messages accepted, 2 recipients refused\""));
	down();
}

static void
the_directory_fails(void **state)
{
	(void)state;
	up(CONFIG);
	/* nobody there: at once for the one who asked, and not tried again before the pause is over */
	assert_false(ask_rcpt("ann@example.net"));
	fake_run_until_idle();
	assert_int_equal(answers, 1);
	assert_int_equal(outcome.verdict, PH_FAIL);
	assert_true(logged("event=hook.failed plugin=example hook=rcpt why=\"the link to the directory was lost\""));
	assert_true(ask_rcpt("ann@example.net"));
	assert_int_equal(outcome.verdict, PH_FAIL);
	assert_int_equal(fake_tries(&directory_addr), 1);
	fake_loop_advance(1000);
	/* it hangs up in the middle */
	fake_serve(&directory_addr, arrived, NULL);
	assert_false(ask_rcpt("ann@example.net"));
	peer_heard("RCPT ann@example.net\n");
	fake_hang_up(peer);
	fake_run_until_idle();
	assert_int_equal(outcome.verdict, PH_FAIL);
	fake_peer_free(&peer);
	fake_loop_advance(1000);
	/* it is silent: the answer that comes late is not taken for that of the next question */
	assert_false(ask_rcpt("ann@example.net"));
	peer_heard("RCPT ann@example.net\n");
	fake_loop_advance(5000);
	assert_true(logged("event=hook.timeout plugin=example hook=rcpt waiting-for=\"the directory's answer\""));
	assert_int_equal(outcome.verdict, PH_FAIL);
	assert_false(ask_rcpt("bob@example.net"));
	peer_heard("RCPT bob@example.net\n");
	answers = 0;
	fake_sends(peer, "no\n");
	fake_run_until_idle();
	assert_int_equal(answers, 0);
	fake_sends(peer, "yes\n");
	fake_run_until_idle();
	assert_int_equal(answers, 1);
	assert_int_equal(outcome.verdict, PH_CONTINUE);
	/* it talks nonsense */
	assert_false(ask_rcpt("ann@example.net"));
	peer_heard("RCPT ann@example.net\n");
	fake_sends(peer, "perhaps\n");
	fake_run_until_idle();
	assert_int_equal(outcome.verdict, PH_FAIL);
	fake_peer_free(&peer);
	fake_loop_advance(1000);
	/* the client hangs up while the answer is on its way; then the worker closes */
	assert_false(ask_rcpt("ann@example.net"));
	peer_heard("RCPT ann@example.net\n");
	down();
}

static void
no_answer_to_connecting(void **state)
{
	(void)state;
	up("  - example: { directory: \"192.0.2.9:4000\", patience: 1m }\n");
	fake_silent(&directory_addr);
	assert_false(ask_rcpt("ann@example.net"));
	fake_loop_advance(4999);
	assert_int_equal(answers, 0);
	fake_loop_advance(1);
	assert_int_equal(answers, 1);
	assert_int_equal(outcome.verdict, PH_FAIL);
	down();
}

static void
mistakes(void **state)
{
	static const struct { const char *plugins, *message; } cases[] = {
		{ "  - example: { directory: dir.example }\n", "plugins.example.directory: needs a port, as in dir.example:4000" },
		{ "  - example: { directory: \"a.b:1\", field: Subject }\n", "plugins.example.field: is \"Subject\"" },
		{ "  - example: { directory: \"a.b:1\", mark: medium }\n", "plugins.example.mark" },
		{ "  - example: { directory: \"a.b:1\", patience: 5 sek }\n", "plugins.example.patience" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct buf yaml = { 0 }, report = { 0 };
		struct config_file *c;
		struct diags d;

		buf_printf(&yaml, "listen: [{address: \"127.0.0.1:25\"}]\nplugins:\n%s", cases[i].plugins);
		diags_init(&d);
		c = config_load_text("test.yaml", buf_view(&yaml), &d);
		assert_non_null(c);
		assert_null(generation_check(c, &d));
		diags_print(&d, &report);
		buf_addc(&report, '\0');
		if (strstr(report.data, cases[i].message) == NULL)
			fail_msg("%s", report.data);
		diags_free(&d);
		buf_free(&report);
		buf_free(&yaml);
	}
	loader_done();
}

static struct fake_child *child;
static void
play_helper(void *arg, struct fake_child *c, struct ph_str bytes)
{
	(void)arg;
	child = c;
	if (bytes.n > 0)
		fake_child_says(c, "pong\n", 5);
}

static void
helpers_answer(void **state)
{
	(void)state;
	fake_program("toy-helper", play_helper, NULL);
	up("  - helped\n");
	heard[0] = '\0';
	lease = ph_lease_begin(helpers, helper_got, NULL);
	assert_non_null(lease);
	fake_run_until_idle();
	assert_string_equal(heard, "0 pong");
	ph_lease_end(&lease, false);
	assert_null(lease);
	/* a lease left open goes with its pool, and the pool with the worker */
	lease = ph_lease_begin(helpers, helper_got, NULL);
	fake_run_until_idle();
	down();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_directory_decides),
		cmocka_unit_test(the_directory_fails),
		cmocka_unit_test(no_answer_to_connecting),
		cmocka_unit_test(mistakes),
		cmocka_unit_test(helpers_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
