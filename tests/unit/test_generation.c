/*
 * Generations: instances and their configuration, the storage of each scope,
 * opening and closing in order, facts and changes through a call, services
 * left open, and the teardown after the last reference.
 */
#include "plug_stage.h"
#include "mail/content.h"

struct toy_cfg { bool fail_setup, fail_session, fail_txn, leave_open, work; int64_t number; const char *word; };
static const struct ph_option toy_options[] = {
	PH_OPT(struct toy_cfg, fail_setup, "fail-setup", .dflt = "no", .doc = "Fails in setup."),
	PH_OPT(struct toy_cfg, fail_session, "fail-session", .dflt = "no", .doc = "Fails to open."),
	PH_OPT(struct toy_cfg, fail_txn, "fail-txn", .dflt = "no", .doc = "Fails to open."),
	PH_OPT(struct toy_cfg, leave_open, "leave-open", .dflt = "no", .doc = "Forgets a timer."),
	PH_OPT(struct toy_cfg, work, "work", .dflt = "no", .doc = "Starts work off the loop."),
	PH_OPT(struct toy_cfg, number, "number", .dflt = "7", .max = "9", .doc = "A number."),
	PH_OPT(struct toy_cfg, word, "word", .doc = "A word."),
	PH_OPT_END
};
struct toy_worker { struct ph_worker *w; const struct toy_cfg *cfg; int ticks; };
struct toy_scope { char mark[33]; };

static const char *wname(struct ph_worker *w) { return w->inst->name; }
static void (*in_hook)(struct ph_call *call);

static enum ph_verdict
toy_hook(struct ph_call *call)
{
	if (in_hook != NULL)
		in_hook(call);
	return PH_CONTINUE;
}

static int
toy_check(struct ph_setup *s)
{
	const struct toy_cfg *cfg = ph_setup_config(s);

	if (cfg->number == 3)
		ph_complain(s, "number", "%lld is not liked", (long long)cfg->number);
	if (cfg->number == 4)
		ph_warn(s, "number", "4 is odd");
	assert_int_equal(ph_on_decide(s, PH_HOOK_RCPT, toy_hook), PH_EINVAL);
	return 0;
}

static int
toy_setup(struct ph_setup *s)
{
	struct toy_cfg *cfg = ph_setup_config(s);

	traced("setup(%s) ", ph_setup_instance(s));
	if (cfg->fail_setup)
		return PH_EIO;
	cfg->word = "filled in";
	for (int h = PH_HOOK_CONNECT; h <= PH_HOOK_MESSAGE; h++)
		if (ph_on_decide(s, (enum ph_hook)h, toy_hook) != 0)
			return PH_EINVAL;
	return 0;
}

static void toy_teardown(struct ph_setup *s) { traced("teardown(%s) ", ph_setup_instance(s)); }
static void toy_tick(void *arg) { ((struct toy_worker *)arg)->ticks++; }
static void toy_work(void *arg) { ((struct toy_worker *)arg)->ticks += 100; }
static void toy_worked(void *arg) { traced("worked(%d) ", ((struct toy_worker *)arg)->ticks); }

static int
toy_open(struct ph_worker *w, void *data)
{
	struct toy_worker *mine = data;

	traced("open(%s) ", wname(w));
	assert_ptr_equal(ph_worker_storage(w), data);
	assert_int_equal(mine->ticks, 0);
	mine->w = w;
	mine->cfg = ph_worker_config(w);
	assert_string_equal(mine->cfg->word, "filled in");
	if (mine->cfg->leave_open)
		assert_non_null(ph_timer_start(w, (ph_duration){ 1000 }, toy_tick, mine));
	if (mine->cfg->work)
		assert_int_equal(ph_work(w, toy_work, toy_worked, mine), 0);
	return 0;
}

static void
toy_close(struct ph_worker *w, void *data)
{
	struct toy_worker *mine = data;

	traced("close(%s) ", wname(w));
	if (mine->cfg->leave_open)      /* also what is started while closing is closed */
		assert_non_null(ph_timer_start(w, (ph_duration){ 0 }, toy_tick, mine));
	assert_int_equal(ph_work(w, toy_work, toy_worked, mine), PH_ECANCELED);
}

static int
scope_opened(struct ph_call *call, void *data, const char *what, bool fails)
{
	struct toy_scope *scope = data;

	for (size_t i = 0; i < sizeof scope->mark; i++)
		assert_int_equal(scope->mark[i], 0);
	memset(scope->mark, 'x', sizeof scope->mark);
	traced("%s(%s)%s ", what, call->inst->name, fails ? "!" : "");
	assert_int_equal(ph_hook_of(call), PH_HOOK_COUNT);
	assert_int_equal(ph_suspend(call, (ph_duration){ 1 }, toy_hook, NULL, "x"), PH_FAIL);
	return fails ? PH_EBUSY : 0;
}

static int
session_open(struct ph_call *call, void *data)
{
	assert_ptr_equal(ph_session_data(call), data);
	return scope_opened(call, data, "session", ((const struct toy_cfg *)ph_config(call))->fail_session);
}
static void session_close(struct ph_call *call, void *data) { (void)data; traced("/session(%s) ", call->inst->name); }
static int
txn_open(struct ph_call *call, void *data)
{
	assert_ptr_equal(ph_transaction_data(call), data);
	return scope_opened(call, data, "txn", ((const struct toy_cfg *)ph_config(call))->fail_txn);
}
static void txn_close(struct ph_call *call, void *data) { (void)data; traced("/txn(%s) ", call->inst->name); }

PH_PLUGIN(toy, .summary = "is never content", .options = toy_options,
	.config_size = sizeof(struct toy_cfg), .check = toy_check, .setup = toy_setup);
PH_PLUGIN(calm, .summary = "has every scope", .options = toy_options,
	.config_size = sizeof(struct toy_cfg),
	.worker = { sizeof(struct toy_worker), toy_open, toy_close },
	.session = { sizeof(struct toy_scope), session_open, session_close },
	.transaction = { sizeof(struct toy_scope), txn_open, txn_close },
	.setup = toy_setup, .teardown = toy_teardown);
PH_PLUGIN(bare, .summary = "has nothing");
/* each within its limit, together not */
PH_PLUGIN(heavy, .summary = "wants much", .session = { 64 * 1024, NULL, NULL });

const struct ph_plugin *const loader_static[] = {
	&ph_plugin_toy, &ph_plugin_calm, &ph_plugin_bare, &ph_plugin_heavy, NULL
};

/* check registers a hook, which is refused with a complaint; that makes check fail. */
static void
mistakes(void **state)
{
	static const struct { const char *plugins, *message; } cases[] = {
		{ "  - toy: { number: 2 }\n", "plugins.toy: registers for hook rcpt outside setup" },
		{ "  - toy: { number: 3 }\n", "test.yaml:3:20: error: plugins.toy.number: 3 is not liked" },
		{ "  - toy: { number: 4 }\n", "test.yaml:3:20: warning: plugins.toy.number: 4 is odd" },
		{ "  - toy: { numbr: 2 }\n", "did you mean number" },
		{ "  - toy: { number: 10 }\n", "plugins.toy.number" },
		{ "  - heavy: { as: a }\n  - heavy: { as: b }\n  - heavy: { as: c }\n  - heavy: { as: d }\n"
		  "  - heavy: { as: e }\n", "all plugins together want 327680 bytes for each session; 262144 is "
		  "the limit" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_null(stage_check(cases[i].plugins));
		if (strstr(stage_report.data, cases[i].message) == NULL)
			fail_msg("expected %s, got\n%s", cases[i].message, stage_report.data);
	}
	trace[0] = '\0';
	buf_free(&stage_report);
	loader_done();
}

static void
life(void **state)
{
	(void)state;
	stage_up("  - calm: { as: a }\n  - bare\n  - calm: { as: b, number: 8 }\n");
	did("setup(a) setup(b) open(a) open(b) session(a) session(b) ");
	ps.txn_arena = &txn_arena;
	assert_int_equal(plug_txn_open(&ps), 0);
	did("txn(a) txn(b) ");
	plug_txn_close(&ps);
	plug_txn_close(&ps);
	did("/txn(b) /txn(a) ");
	assert_int_equal(plug_txn_open(&ps), 0);
	assert_int_equal(((const struct toy_cfg *)gen->instances[2].config)->number, 8);
	assert_ptr_equal(generation_instance(gen, "b"), &gen->instances[2]);
	assert_null(generation_instance(gen, "c"));
	/* the last session keeps the worker's plugins, they keep the generation */
	worker_plugins_retire(&(struct worker_plugins *){ wp });
	generation_unref(&gen);
	settle();
	assert_int_equal(mailbox_run(&main_box), 0);
	trace[0] = '\0';
	plug_session_close(&ps);
	did("/txn(b) /txn(a) /session(b) /session(a) ");
	worker_plugins_drop(wp);
	did("");                                /* on a clean stack */
	settle();
	did("close(b) close(a) ");
	assert_int_equal(mailbox_run(&main_box), 1);
	did("teardown(b) teardown(a) ");
	arena_reset(&session_arena);
	arena_reset(&txn_arena);
	arena_reset(&env_arena);
	loader_done();
	log_flush();
	buf_free(&log_lines);
	buf_free(&stage_report);
}

static void
a_setup_that_fails_undoes_the_others(void **state)
{
	(void)state;
	trace[0] = '\0';
	assert_null(stage_check("  - calm: { as: a }\n  - calm: { as: b, fail-setup: yes }\n"
	    "  - calm: { as: c }\n"));
	did("setup(a) setup(b) setup(c) teardown(c) teardown(a) ");
	assert_non_null(strstr(stage_report.data, "plugins.b: setup failed: input/output error"));
	buf_free(&stage_report);
	loader_done();
}

static void
a_scope_that_fails_closes_the_others(void **state)
{
	(void)state;
	stage_up("  - calm: { as: a }\n  - calm: { as: b, fail-txn: yes }\n  - calm: { as: c }\n");
	trace[0] = '\0';
	ps.txn_arena = &txn_arena;
	assert_int_equal(plug_txn_open(&ps), PH_EINVAL);
	did("txn(a) txn(b)! /txn(a) ");
	assert_true(logged("event=hook.failed plugin=b hook=transaction-open why=busy", "", ""));
	plug_txn_close(&ps);
	did("");
	stage_down();
}

static void
what_was_left_open_is_closed(void **state)
{
	(void)state;
	stage_up("  - calm: { leave-open: yes }\n");
	advance(1000);
	struct toy_worker *mine = wp->workers[0].storage;
	assert_int_equal(mine->ticks, 1);
	stage_down();           /* asserts that no timer is left */

	stage_up("  - calm: { leave-open: yes }\n");
	stage_down();
}

static void
work_keeps_the_plugins_open(void **state)
{
	(void)state;
	stage_up("  - calm: { work: yes }\n");
	trace[0] = '\0';
	plug_session_close(&ps);
	worker_plugins_retire(&(struct worker_plugins *){ wp });
	worker_plugins_drop(wp);
	settle();
	did("/session(calm) ");
	stage_work.work(stage_work.arg);
	stage_work.done(stage_work.arg);
	stage_work.work = NULL;
	did("worked(100) ");
	settle();
	did("close(calm) ");
	generation_unref(&gen);
	assert_int_equal(mailbox_run(&main_box), 1);
	arena_reset(&session_arena);
	arena_reset(&env_arena);
	loader_done();
	log_flush();
	buf_free(&log_lines);
	buf_free(&stage_report);
}

/* --- what a call tells and changes --- */

#define same(str, lit) do { struct ph_str s_ = (str); \
	assert_non_null(s_.p); \
	assert_int_equal(s_.n, strlen(lit)); assert_memory_equal(s_.p, lit, strlen(lit)); } while (0)

static void
look_at_nothing(struct ph_call *call)
{
	same(ph_client_hello(call), "");
	same(ph_client_login(call), "");
	same(ph_sender(call), "");
	same(ph_rcpt(call), "");
	same(ph_rcpt_at(call, 0), "");
	same(ph_message_id_text(call), "");
	assert_int_equal(ph_rcpt_count(call), 0);
	assert_null(ph_transaction_data(call));
	assert_null(ph_header_get(call, "Subject", 0).p);
	assert_int_equal(ph_client_addr(call)->family, 0);
	assert_false(ph_client_is_tls(call));
	assert_int_equal(ph_header_add(call, "X-A", STR("b")), PH_EINVAL);
	traced("looked ");
}

static void
look(struct ph_call *call)
{
	same(ph_client_hello(call), "client.example");
	same(ph_client_login(call), "ann");
	same(ph_sender(call), "from@example.org");
	same(ph_sender_domain(call), "example.org");
	same(ph_rcpt(call), "second@example.net");
	same(ph_rcpt_domain(call), "example.net");
	assert_int_equal(ph_rcpt_count(call), 1);
	same(ph_rcpt_at(call, 0), "first@example.net");
	assert_int_equal(ph_message_id_text(call).n, PH_MSGID_TEXT - 1);
	assert_int_equal(ph_client_addr(call)->ip[0], 192);
	assert_true(ph_client_is_esmtp(call));
	char *p = ph_alloc(call, 100);
	assert_non_null(p);
	assert_int_equal(p[99], 0);
	assert_null(ph_alloc(call, (1 << 20) + 1));
	ph_admit_anonymous(call);       /* the wrong hook */
	ph_permit_relay(call);
	traced("looked ");
}

static void
facts_of_a_session(void **state)
{
	struct address from = { .full = STR("from@example.org"), .domain = STR("example.org") };
	struct recipient asked = { .to = { .full = STR("second@example.net"), .domain = STR("example.net") } };

	(void)state;
	stage_up("  - calm\n");
	trace[0] = '\0';
	ps.facts = NULL;
	in_hook = look_at_nothing;
	assert_true(ask(PH_HOOK_MAIL));
	did("looked ");
	ps.facts = &facts;
	facts.hello = STR("client.example");
	facts.esmtp = true;
	facts.login = STR("ann");
	facts.mechanism = STR("PLAIN");
	ps.env = &env;
	ps.txn_arena = &txn_arena;
	env.from = from;
	envelope_add(&env)->to = (struct address){ .full = STR("first@example.net") };
	ps.rcpt = &asked;
	ps.id = (struct ph_msgid){ 12345, 0 };
	in_hook = look;
	assert_true(ask(PH_HOOK_RCPT));
	did("looked ");
	assert_true(ps.relay_permitted);
	assert_false(ps.admitted);
	in_hook = NULL;
	stage_down();
}

static void anonymous(struct ph_call *call) { same(ph_client_login(call), ""); ph_admit_anonymous(call); ph_permit_relay(call); }

static void
anonymous_is_no_login(void **state)
{
	(void)state;
	stage_up("  - calm\n");
	facts.login = STR("anybody");
	facts.mechanism = STR("anonymous");
	in_hook = anonymous;
	assert_true(ask(PH_HOOK_HELLO));
	assert_true(ps.admitted);
	assert_false(ps.relay_permitted);
	in_hook = NULL;
	stage_down();
}

static void
add_fields(struct ph_call *call)
{
	static const struct { const char *name; struct ph_str value; int rc; } cases[] = {
		{ "X-A", { "one", 3 }, 0 },
		{ "X-Inject", { "a\r\nBcc: b\r\n\r\nbody", 18 }, 0 },
		{ "X-Nul", { "a\0b", 3 }, 0 },
		{ "X-Empty", { "", 0 }, 0 },
		{ "Bad Name", { "x", 1 }, PH_EINVAL },
		{ "X:", { "x", 1 }, PH_EINVAL },
		{ "", { "x", 1 }, PH_EINVAL },
		{ "X-Utf8", { "\xc3\xa4", 2 }, PH_EINVAL },
	};
	char word[1000], words[300];

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		assert_int_equal(ph_header_add(call, cases[i].name, cases[i].value), cases[i].rc);
	memset(word, 'w', sizeof word);
	assert_int_equal(ph_header_add(call, "X-Long", str_make(word, 1000)), PH_EINVAL);
	for (size_t i = 0; i < sizeof words; i++)
		words[i] = i % 10 == 9 ? ' ' : 'w';
	assert_int_equal(ph_header_add(call, "X-Fold", str_make(words, sizeof words)), 0);
	traced("added ");
}

static void
adding_header_fields(void **state)
{
	static const char start[] = "X-A: one\r\nX-Inject: a Bcc: b body\r\nX-Nul: a b\r\nX-Empty:\r\nX-Fold: w";
	size_t line = 0;

	(void)state;
	stage_up("  - calm\n");
	trace[0] = '\0';
	ps.env = &env;
	ps.txn_arena = &txn_arena;
	in_hook = add_fields;
	assert_true(ask(PH_HOOK_MESSAGE));
	did("added ");
	assert_true(ps.added.len > sizeof start);
	assert_memory_equal(ps.added.data + ps.added.head, start, sizeof start - 1);
	for (size_t i = 0; i < ps.added.len; i++) {
		char c = ps.added.data[ps.added.head + i];

		line = c == '\n' ? 0 : line + 1;
		assert_true(line <= 79);        /* 78 and the CR */
	}
	in_hook = NULL;
	stage_down();
}

static void
get_fields(struct ph_call *call)
{
	same(ph_header_get(call, "subject", 0), "a long one");
	same(ph_header_get(call, "Received", 1), "two");
	assert_null(ph_header_get(call, "Received", 2).p);
	assert_null(ph_header_get(call, "Body", 0).p);
	assert_int_equal(ph_message_size(call), 77);
	traced("got ");
}

static void
reading_header_fields(void **state)
{
	static const char text[] = "Received: one\r\nReceived: two\r\nSubject: a\r\n long one\r\n\r\nBody: x\r\n";
	struct ph_content *c = content_new();

	(void)state;
	stage_up("  - calm\n");
	trace[0] = '\0';
	ps.txn_arena = &txn_arena;
	ps.size = 77;
	in_hook = get_fields;
	content_append(c, text, sizeof text - 1, 0);
	ps.content = c;
	assert_true(ask(PH_HOOK_MESSAGE));
	did("got ");
	plug_txn_open(&ps);
	plug_txn_close(&ps);            /* forgets what was gathered */
	arena_reset(&txn_arena);
	trace[0] = '\0';
	assert_true(ask(PH_HOOK_HEADER));
	did("got ");
	ps.content = NULL;
	ps.header = str_make(text, (size_t)(strstr(text, "\r\n\r\n") + 4 - text));
	assert_true(ask(PH_HOOK_HEADER));
	did("got ");
	ph_content_unref(&c);
	in_hook = NULL;
	stage_down();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mistakes),
		cmocka_unit_test(life),
		cmocka_unit_test(a_setup_that_fails_undoes_the_others),
		cmocka_unit_test(a_scope_that_fails_closes_the_others),
		cmocka_unit_test(what_was_left_open_is_closed),
		cmocka_unit_test(work_keeps_the_plugins_open),
		cmocka_unit_test(facts_of_a_session),
		cmocka_unit_test(anonymous_is_no_login),
		cmocka_unit_test(adding_header_fields),
		cmocka_unit_test(reading_header_fields),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
