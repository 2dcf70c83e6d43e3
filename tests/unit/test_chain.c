/*
 * Chains of hooks: the order of verdicts, failures, waiting, waking, and all
 * the ways in which a plugin may do these wrongly.
 */
#include "plug_stage.h"

/* --- a plugin that does on rcpt what its configuration says --- */

enum {
	CONTINUE, ACCEPT, REJECT, FAIL, SUSPEND, TWICE, WAKE_INSIDE, WAKE_ONLY, WAKE_TWICE_INSIDE,
	BARE_SUSPEND, BARE_REJECT, REJECT_250, REJECT_NONE, VERDICT_99, NO_LIMIT, NO_RESUME, SLOW
};
static const struct ph_choice acts[] = {
	{ "continue", CONTINUE, NULL }, { "accept", ACCEPT, NULL }, { "reject", REJECT, NULL },
	{ "fail", FAIL, NULL }, { "suspend", SUSPEND, NULL }, { "twice", TWICE, NULL },
	{ "wake-inside", WAKE_INSIDE, NULL }, { "wake-only", WAKE_ONLY, NULL },
	{ "wake-twice-inside", WAKE_TWICE_INSIDE, NULL },
	{ "bare-suspend", BARE_SUSPEND, NULL }, { "bare-reject", BARE_REJECT, NULL },
	{ "reject-250", REJECT_250, NULL }, { "reject-none", REJECT_NONE, NULL },
	{ "verdict-99", VERDICT_99, NULL }, { "no-limit", NO_LIMIT, NULL },
	{ "no-resume", NO_RESUME, NULL }, { "slow", SLOW, NULL }, { NULL, 0, NULL }
};
struct toy_cfg { int act; ph_duration limit; };
static const struct ph_option toy_options[] = {
	PH_OPT_CHOICE(struct toy_cfg, act, "do", acts, .dflt = "continue", .doc = "What it does."),
	PH_OPT(struct toy_cfg, limit, "limit", .dflt = "5s", .doc = "How long it waits."),
	PH_OPT_END
};
struct toy_session { unsigned calls; };
struct toy_txn { char mark[100]; };

static struct ph_ticket ticket;
static const char *name_of(struct ph_call *call) { return call->inst->name; }
static int64_t false_us;
static int64_t false_clock(void) { return false_us; }

static enum ph_verdict
toy_resume(struct ph_call *call)
{
	const char *answer = ph_answer(call);

	traced("%s:resume(%s) ", name_of(call), answer != NULL ? answer : "nothing");
	if (answer == NULL)
		return ph_fail(call, "no answer");
	if (strcmp(answer, "again") == 0) {
		ticket = ph_ticket_of(call);
		return ph_suspend(call, (ph_duration){ 5000 }, toy_resume, NULL, "more");
	}
	return strcmp(answer, "no") == 0 ? ph_reject(call, PH_R_NO_SUCH_MAILBOX, NULL) : PH_CONTINUE;
}

static void
toy_cancel(struct ph_call *call)
{
	struct ph_ticket t = ph_ticket_of(call);

	traced("%s:cancel%s ", name_of(call), t.serial == ticket.serial && t.session == ticket.session
	    ? "" : "(another ticket)");
	assert_int_equal(ph_wake(t, "late"), PH_ESTALE);
	assert_int_equal(ph_suspend(call, (ph_duration){ 1000 }, toy_resume, NULL, "x"), PH_FAIL);
}

static enum ph_verdict
toy_rcpt(struct ph_call *call)
{
	const struct toy_cfg *cfg = ph_config(call);
	struct toy_session *session = ph_session_data(call);

	traced("%s ", name_of(call));
	session->calls++;
	switch (cfg->act) {
	case ACCEPT:
		return PH_ACCEPT;
	case REJECT:
		return ph_rejectf(call, PH_R_POLICY, "No\r\n%s \x80\x01 mail", name_of(call));
	case FAIL:
		return ph_fail(call, "out of order");
	case TWICE:
	case SUSPEND:
		ticket = ph_ticket_of(call);
		return ph_suspend(call, cfg->limit, toy_resume, toy_cancel, "godot");
	case WAKE_TWICE_INSIDE:
	case WAKE_INSIDE:
		ticket = ph_ticket_of(call);
		assert_int_equal(ph_wake(ticket, "yes"), 0);
		traced("woke ");
		if (cfg->act == WAKE_TWICE_INSIDE) {
			assert_int_equal(ph_wake(ticket, "no"), PH_ESTALE);
			assert_int_equal(ph_ticket_of(call).serial, ticket.serial);
			assert_int_equal(ph_wake(ph_ticket_of(call), "no"), PH_ESTALE);
		}
		return ph_suspend(call, cfg->limit, toy_resume, toy_cancel, "godot");
	case WAKE_ONLY:
		ticket = ph_ticket_of(call);
		assert_int_equal(ph_wake(ticket, "yes"), 0);
		return PH_CONTINUE;
	case BARE_SUSPEND:
		return PH_SUSPEND;
	case BARE_REJECT:
		return PH_REJECT;
	case REJECT_250:
		return ph_reject(call, PH_R_OK, NULL);
	case REJECT_NONE:
		return ph_reject(call, PH_R_COUNT, NULL);
	case VERDICT_99:
		return (enum ph_verdict)99;
	case NO_LIMIT:
		return ph_suspend(call, (ph_duration){ 0 }, toy_resume, NULL, "x");
	case NO_RESUME:
		return ph_suspend(call, (ph_duration){ 1000 }, NULL, NULL, "x");
	case SLOW:
		false_us += 11 * 1000;
		return PH_CONTINUE;
	}
	return PH_CONTINUE;
}

static void
toy_closed(struct ph_call *call)
{
	struct toy_session *session = ph_session_data(call);
	struct ph_str text = ph_outcome_text(call);

	traced("%s:closed(%u,%.*s) ", name_of(call), session->calls, (int)text.n, text.p);
	assert_int_equal(ph_suspend(call, (ph_duration){ 1000 }, toy_resume, NULL, "x"), PH_FAIL);
	assert_int_equal(ph_reject(call, PH_R_POLICY, NULL), PH_FAIL);
	assert_int_equal(ph_wake(ph_ticket_of(call), NULL), PH_ESTALE);
}

static int
toy_setup(struct ph_setup *setup)
{
	if (ph_on_observe(setup, PH_HOOK_CLOSED, toy_closed) != 0)
		return PH_EINVAL;
	return ph_on_decide(setup, PH_HOOK_RCPT, toy_rcpt);
}

PH_PLUGIN(toy, .summary = "does as told", .options = toy_options,
	.config_size = sizeof(struct toy_cfg), .setup = toy_setup,
	.session = { sizeof(struct toy_session), NULL, NULL },
	.transaction = { sizeof(struct toy_txn), NULL, NULL });

const struct ph_plugin *const loader_static[] = { &ph_plugin_toy, NULL };

/* --- tests --- */

#define TOY(name, act) "  - toy: { as: " name ", do: " act " }\n"
#define SOFT(name, act) "  - toy: { as: " name ", do: " act ", on-failure: continue }\n"

static void
verdicts_in_order(void **state)
{
	static const struct {
		const char *name, *plugins, *trace;
		enum ph_verdict verdict;
		enum ph_reply reply;
		const char *text, *log;
	} cases[] = {
		{ "nobody objects", TOY("a", "continue") TOY("b", "continue"), "a b ",
		  PH_CONTINUE, PH_R_NONE, "", "" },
		{ "accept ends the chain", TOY("a", "continue") TOY("b", "accept") TOY("c", "reject"),
		  "a b ", PH_ACCEPT, PH_R_NONE, "", "" },
		{ "reject ends the chain, its text is made safe", TOY("a", "reject") TOY("b", "accept"),
		  "a ", PH_REJECT, PH_R_POLICY, "No  a ?  mail", "" },
		{ "a failure defers", TOY("a", "fail") TOY("b", "accept"), "a ",
		  PH_FAIL, PH_R_TRY_LATER, "", "event=hook.failed plugin=a hook=rcpt why=\"out of order\"" },
		{ "a failure is passed over", SOFT("a", "fail") TOY("b", "accept"), "a b ",
		  PH_ACCEPT, PH_R_NONE, "", "event=hook.failed plugin=a hook=rcpt why=\"out of order\"" },
		{ "the last one fails and is passed over", TOY("a", "continue") SOFT("b", "fail"), "a b ",
		  PH_CONTINUE, PH_R_NONE, "", "plugin=b" },
		{ "suspend without ph_suspend", TOY("a", "bare-suspend"), "a ",
		  PH_FAIL, PH_R_TRY_LATER, "", "why=\"answered PH_SUSPEND without ph_suspend\"" },
		{ "reject without ph_reject", TOY("a", "bare-reject"), "a ",
		  PH_FAIL, PH_R_TRY_LATER, "", "why=\"answered PH_REJECT without ph_reject\"" },
		{ "reject with 250", TOY("a", "reject-250"), "a ",
		  PH_FAIL, PH_R_TRY_LATER, "", "why=\"rejected with a reply that accepts\"" },
		{ "reject with an unknown reply", TOY("a", "reject-none"), "a ",
		  PH_FAIL, PH_R_TRY_LATER, "", "why=\"rejected with a reply that does not exist\"" },
		{ "an unknown verdict", SOFT("a", "verdict-99") TOY("b", "accept"), "a b ",
		  PH_ACCEPT, PH_R_NONE, "", "why=\"answered with a verdict that does not exist\"" },
		{ "suspend without limit", TOY("a", "no-limit"), "a ",
		  PH_FAIL, PH_R_TRY_LATER, "", "why=\"suspended without a limit\"" },
		{ "suspend without resume", TOY("a", "no-resume"), "a ",
		  PH_FAIL, PH_R_TRY_LATER, "", "without a function to resume with" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		print_message("  %s\n", cases[i].name);
		stage_up(cases[i].plugins);
		assert_true(ask(PH_HOOK_RCPT));
		did(cases[i].trace);
		assert_int_equal(outcome.verdict, cases[i].verdict);
		assert_int_equal(outcome.reply, cases[i].reply);
		assert_string_equal(outcome_text, cases[i].text);
		assert_true(logged(cases[i].log, "", ""));
		stage_down();
	}
}

static void
a_hook_nobody_listens_to(void **state)
{
	(void)state;
	stage_up(TOY("a", "reject"));
	assert_false(plug_listens(&ps, PH_HOOK_MAIL));
	assert_true(ask(PH_HOOK_MAIL));
	assert_int_equal(outcome.verdict, PH_CONTINUE);
	did("");
	stage_down();
}

static void
a_wait_ends_by_wake(void **state)
{
	(void)state;
	stage_up(TOY("a", "suspend") TOY("b", "continue"));
	assert_false(ask(PH_HOOK_RCPT));
	assert_true(plug_waiting(&ps));
	advance(4999);
	assert_int_equal(ph_wake(ticket, "yes"), 0);
	did("a ");                              /* not from inside ph_wake */
	assert_int_equal(ph_wake(ticket, "no"), PH_ESTALE);     /* wakes twice */
	advance(100000);                        /* the deadline is off */
	did("a:resume(yes) b ");
	assert_int_equal(answers, 1);
	assert_int_equal(outcome.verdict, PH_CONTINUE);
	assert_false(plug_waiting(&ps));
	assert_int_equal(ph_wake(ticket, "no"), PH_ESTALE);     /* wakes late */
	/* the ticket of a former wait does not wake the next one */
	struct ph_ticket old = ticket;
	assert_false(ask(PH_HOOK_RCPT));
	assert_int_equal(ph_wake(old, "no"), PH_ESTALE);
	assert_int_equal(ph_wake(ticket, "no"), 0);
	settle();
	assert_int_equal(outcome.verdict, PH_REJECT);
	assert_int_equal(outcome.reply, PH_R_NO_SUCH_MAILBOX);
	stage_down();
}

static void
a_wait_ends_by_deadline(void **state)
{
	(void)state;
	stage_up(TOY("a", "suspend") TOY("b", "continue"));
	assert_false(ask(PH_HOOK_RCPT));
	advance(4999);
	assert_int_equal(answers, 0);
	advance(1);
	did("a a:cancel ");
	assert_int_equal(answers, 1);
	assert_int_equal(outcome.verdict, PH_FAIL);
	assert_int_equal(outcome.reply, PH_R_TRY_LATER);
	assert_true(logged("event=hook.timeout plugin=a hook=rcpt waiting-for=godot", "", ""));
	assert_int_equal(ph_wake(ticket, "yes"), PH_ESTALE);
	stage_down();

	stage_up(SOFT("a", "suspend") TOY("b", "reject"));
	assert_false(ask(PH_HOOK_RCPT));
	advance(5000);
	did("a a:cancel b ");
	assert_int_equal(answers, 1);
	assert_int_equal(outcome.verdict, PH_REJECT);
	stage_down();
}

static void
a_wait_ends_by_hang_up(void **state)
{
	(void)state;
	stage_up(TOY("a", "suspend"));
	assert_false(ask(PH_HOOK_RCPT));
	plug_cancel(&ps);
	did("a a:cancel ");
	assert_false(plug_waiting(&ps));
	plug_cancel(&ps);
	assert_int_equal(ph_wake(ticket, "yes"), PH_ESTALE);
	advance(100000);
	did("");
	assert_int_equal(answers, 0);
	/* woken, but hung up before resume could run: cancel alone runs */
	assert_false(ask(PH_HOOK_RCPT));
	assert_int_equal(ph_wake(ticket, "yes"), 0);
	plug_session_close(&ps);
	did("a a:cancel ");
	memset(&ps.chain, 0xA5, sizeof ps.chain);       /* as if freed */
	settle();
	did("");
	memset(&ps.chain, 0, sizeof ps.chain);
	assert_int_equal(answers, 0);
	stage_down();
}

static void
resume_may_wait_again(void **state)
{
	(void)state;
	stage_up(TOY("a", "suspend") TOY("b", "continue"));
	assert_false(ask(PH_HOOK_RCPT));
	struct ph_ticket first = ticket;
	assert_int_equal(ph_wake(ticket, "again"), 0);
	settle();
	did("a a:resume(again) ");
	assert_int_equal(answers, 0);
	assert_int_equal(ph_wake(first, "no"), PH_ESTALE);
	assert_int_equal(ph_wake(ticket, "again"), 0);
	settle();
	assert_int_equal(ph_wake(ticket, "yes"), 0);
	settle();
	did("a:resume(again) a:resume(yes) b ");
	assert_int_equal(answers, 1);
	/* a wait without cancel function runs into its deadline */
	assert_false(ask(PH_HOOK_RCPT));
	assert_int_equal(ph_wake(ticket, "again"), 0);
	settle();
	advance(5000);
	assert_int_equal(answers, 2);
	assert_int_equal(outcome.verdict, PH_FAIL);
	stage_down();
}

static void
a_wake_inside_the_hook_is_queued(void **state)
{
	(void)state;
	stage_up(TOY("a", "wake-inside") TOY("b", "continue"));
	assert_false(ask(PH_HOOK_RCPT));
	did("a woke ");
	settle();
	did("a:resume(yes) b ");
	assert_int_equal(answers, 1);
	stage_down();

	stage_up(TOY("a", "wake-twice-inside"));
	assert_false(ask(PH_HOOK_RCPT));
	settle();
	did("a woke a:resume(yes) ");
	assert_int_equal(answers, 1);
	stage_down();

	/* woken but never suspended: nothing comes of it */
	stage_up(TOY("a", "wake-only"));
	assert_true(ask(PH_HOOK_RCPT));
	struct ph_ticket old = ticket;
	settle();
	did("a ");
	assert_true(ask(PH_HOOK_RCPT));
	assert_int_not_equal(old.serial, ticket.serial);
	assert_int_equal(answers, 0);
	stage_down();
}

static unsigned dropped;
static void drop(void *answer) { assert_string_equal(answer, "yes"); dropped++; }

static void
wakes_from_other_threads(void **state)
{
	(void)state;
	stage_up(TOY("a", "suspend"));
	assert_false(ask(PH_HOOK_RCPT));
	dropped = 0;
	ph_wake_remote(ticket, "yes", drop);
	did("a ");
	settle();
	did("a:resume(yes) ");
	assert_int_equal(dropped, 0);
	ph_wake_remote(ticket, "yes", drop);
	ph_wake_remote(ticket, "yes", NULL);
	ph_wake_remote((struct ph_ticket){ 0 }, "yes", drop);
	settle();
	assert_int_equal(dropped, 2);
	did("");
	stage_down();
}

static void
observers_are_told_once(void **state)
{
	(void)state;
	stage_up(TOY("a", "continue") TOY("b", "continue"));
	ask(PH_HOOK_RCPT);
	ask(PH_HOOK_RCPT);
	trace[0] = '\0';
	ps.outcome_text = STR("221 2.0.0 Bye");
	plug_observe(&ps, PH_HOOK_CLOSED);
	did("a:closed(2,221 2.0.0 Bye) b:closed(2,221 2.0.0 Bye) ");
	stage_down();
}

static void
slow_hooks_are_named_when_debugging(void **state)
{
	static const struct clock false_time = { false_clock, false_clock };

	(void)state;
	clock_use(&false_time);
	stage_up(TOY("a", "slow"));
	assert_true(ask(PH_HOOK_RCPT));
	assert_false(logged("hook.slow", "", ""));
	log_level = PH_DEBUG;
	assert_true(ask(PH_HOOK_RCPT));
	assert_true(logged("event=hook.slow plugin=a hook=rcpt ms=11", " warn ", ""));
	log_level = PH_INFO;
	stage_down();
	clock_use(NULL);
}

static void
many_waits_at_once(void **state)
{
	enum { N = 1000 };
	static struct wait_node v[N];
	struct ph_ticket t;

	(void)state;
	for (size_t i = 0; i < N; i++) {
		v[i].serial = i;
		wait_add(&v[i], WAIT_ROUTE);
	}
	assert_int_equal(wait_count(), N);
	for (size_t i = 0; i < N; i++) {
		t = (struct ph_ticket){ v[i].session, i, NULL };
		assert_ptr_equal(wait_find(t, WAIT_ROUTE), &v[i]);
		assert_null(wait_find(t, WAIT_SASL));
		t.serial++;
		assert_null(wait_find(t, WAIT_ROUTE));
	}
	for (size_t i = 0; i < N; i++) {
		t = (struct ph_ticket){ v[i].session, i, NULL };
		wait_del(&v[i]);
		assert_null(wait_find(t, WAIT_ROUTE));
	}
	assert_int_equal(wait_count(), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(verdicts_in_order),
		cmocka_unit_test(a_hook_nobody_listens_to),
		cmocka_unit_test(a_wait_ends_by_wake),
		cmocka_unit_test(a_wait_ends_by_deadline),
		cmocka_unit_test(a_wait_ends_by_hang_up),
		cmocka_unit_test(resume_may_wait_again),
		cmocka_unit_test(a_wake_inside_the_hook_is_queued),
		cmocka_unit_test(wakes_from_other_threads),
		cmocka_unit_test(observers_are_told_once),
		cmocka_unit_test(slow_hooks_are_named_when_debugging),
		cmocka_unit_test(many_waits_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
