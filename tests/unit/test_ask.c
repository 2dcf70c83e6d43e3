/*
 * Questions to providers: routers in order, waiting and late; SASL exchanges;
 * password checkers; finding transport security.
 */
#include "plug_stage.h"

/* ---------------------------------------------------------------- routers --- */

enum { R_NONE, R_ALL, R_FIRST, R_REFUSE, R_FAIL, R_WAIT, R_INSIDE, R_BAD_HOP, R_BAD_VERDICT };
static const struct ph_choice r_acts[] = {
	{ "none", R_NONE, NULL }, { "all", R_ALL, NULL }, { "first", R_FIRST, NULL },
	{ "refuse", R_REFUSE, NULL }, { "fail", R_FAIL, NULL }, { "wait", R_WAIT, NULL },
	{ "inside", R_INSIDE, NULL }, { "bad-hop", R_BAD_HOP, NULL },
	{ "bad-verdict", R_BAD_VERDICT, NULL }, { NULL, 0, NULL }
};
struct r_cfg { int act; struct ph_endpoints hosts; struct ph_next_hop hop; };
static const struct ph_option r_options[] = {
	PH_OPT_CHOICE(struct r_cfg, act, "do", r_acts, .dflt = "none", .doc = "What it answers."),
	PH_OPT(struct r_cfg, hosts, "hosts", .dflt = "[\"192.0.2.1:25\"]", .doc = "Its hosts."),
	PH_OPT_END
};

static struct ph_route *waiting_route;
static struct ph_ticket ticket;

static enum ph_verdict
r_route(struct ph_route *r)
{
	const struct r_cfg *cfg = ph_route_config(r);

	traced("%s(%zu) ", cfg->hop.name, ph_route_rcpt_count(r));
	ph_route_to(r, 1000, &cfg->hop);        /* out of range: nothing */
	switch (cfg->act) {
	case R_ALL:
		for (size_t i = 0; i < ph_route_rcpt_count(r); i++)
			ph_route_to(r, i, &cfg->hop);
		break;
	case R_FIRST:
		ph_route_defer(r, 0, "not yet");        /* the last answer holds */
		ph_route_to(r, 0, &cfg->hop);
		break;
	case R_REFUSE:
		ph_route_fail(r, 0, PH_R_NO_SUCH_MAILBOX, "no such domain");
		break;
	case R_FAIL:
		return PH_FAIL;
	case R_INSIDE:
	case R_WAIT:
		waiting_route = r;
		ticket = ph_route_ticket(r);
		if (cfg->act == R_INSIDE) {
			assert_int_equal(ph_route_done(ticket), 0);
			assert_int_equal(ph_route_done(ticket), PH_ESTALE);
		}
		return PH_SUSPEND;
	case R_BAD_HOP:
		ph_route_to(r, 0, &(struct ph_next_hop){ .size = sizeof(struct ph_next_hop), .name = "x" });
		break;
	case R_BAD_VERDICT:
		return PH_REJECT;
	}
	return PH_CONTINUE;
}

static void
r_abandon(struct ph_route *r)
{
	assert_ptr_equal(r, waiting_route);
	assert_int_equal(ph_route_done(ticket), PH_ESTALE);
	traced("abandon ");
}

static const struct ph_router router = {
	.size = sizeof router, .route = r_route, .limit = { 2000 }, .abandon = r_abandon,
};

static int
r_setup(struct ph_setup *s)
{
	struct r_cfg *cfg = ph_setup_config(s);

	cfg->hop = (struct ph_next_hop){ .size = sizeof cfg->hop, .name = ph_setup_instance(s),
	                                 .hosts = cfg->hosts };
	return ph_provide_router(s, &router);
}

PH_PLUGIN(router, .summary = "routes", .options = r_options, .config_size = sizeof(struct r_cfg),
	.setup = r_setup);

static struct route_answer route_v[3];
static unsigned routed;
static void route_done(void *arg) { assert_ptr_equal(arg, &routed); routed++; }

static bool
route(struct ph_route **r)
{
	static const uint32_t rcpts[] = { 0, 1, 2 };
	bool now;

	ps.txn_arena = &txn_arena;
	while (env.nrcpts < 3)
		envelope_add(&env)->to = (struct address){ .full = STR("a@b"), .domain = STR("b") };
	routed = 0;
	*r = route_ask(wp, &env, rcpts, 3, &txn_arena, route_v, route_done, &routed, &now);
	return now;
}

/* "hop:a fail:550 defer:no route" */
static const char *
route_text(void)
{
	static char text[512];
	size_t n = 0;

	for (size_t i = 0; i < 3; i++) {
		const struct route_answer *v = &route_v[i];
		const char *sep = i > 0 ? " " : "";

		if (v->kind == ROUTE_HOP)
			n += (size_t)snprintf(text + n, sizeof text - n, "%shop:%s", sep, v->hop->name);
		else if (v->kind == ROUTE_FAIL)
			n += (size_t)snprintf(text + n, sizeof text - n, "%sfail:%d", sep, ph_reply_code(v->reply));
		else
			n += (size_t)snprintf(text + n, sizeof text - n, "%s%s:" STR_FMT, sep,
			    v->kind == ROUTE_DEFER ? "defer" : "none", STR_ARG(v->text));
	}
	return text;
}

#define R(name, act) "  - router: { as: " name ", do: " act " }\n"
#define RSOFT(name, act) "  - router: { as: " name ", do: " act ", on-failure: continue }\n"

static void
routers_in_order(void **state)
{
	static const struct { const char *plugins, *trace, *answers; } cases[] = {
		{ "  - idle\n", "", "defer:no route defer:no route defer:no route" },
		{ R("a", "all") R("b", "all"), "a(3) ", "hop:a hop:a hop:a" },
		{ R("a", "first") R("b", "all"), "a(3) b(2) ", "hop:a hop:b hop:b" },
		{ R("a", "first") R("b", "refuse") R("c", "none"), "a(3) b(2) c(1) ",
		  "hop:a fail:550 defer:no route" },
		{ R("a", "first") R("b", "fail") R("c", "all"), "a(3) b(2) ",
		  "hop:a defer:router b failed defer:router b failed" },
		{ R("a", "first") RSOFT("b", "fail") R("c", "all"), "a(3) b(2) c(2) ",
		  "hop:a hop:c hop:c" },
		{ R("a", "bad-hop") R("b", "all"), "a(3) b(2) ",
		  "defer:the router's next hop has no host or no name hop:b hop:b" },
		{ RSOFT("a", "bad-verdict") R("b", "all"), "a(3) b(3) ", "hop:b hop:b hop:b" },
	};
	struct ph_route *r;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		stage_up(cases[i].plugins);
		assert_true(route(&r));
		did(cases[i].trace);
		assert_string_equal(route_text(), cases[i].answers);
		assert_int_equal(routed, 0);
		route_cancel(&r);
		stage_down();
	}
}

static void
a_router_waits(void **state)
{
	struct ph_route *r;

	(void)state;
	stage_up(R("a", "first") R("b", "wait") R("c", "all"));
	assert_false(route(&r));
	advance(1999);
	ph_route_to(waiting_route, 0, &((const struct r_cfg *)gen->instances[1].config)->hop);
	assert_int_equal(ph_route_done(ticket), 0);
	assert_int_equal(ph_wake(ticket, NULL), PH_ESTALE);     /* it is not that kind */
	assert_int_equal(ph_route_done(ticket), PH_ESTALE);
	did("a(3) b(2) ");
	advance(5000);
	did("c(1) ");
	assert_int_equal(routed, 1);
	assert_string_equal(route_text(), "hop:a hop:b hop:c");
	stage_down();

	/* too late */
	stage_up(R("b", "wait") R("c", "all"));
	assert_false(route(&r));
	advance(2000);
	did("b(3) abandon ");
	assert_int_equal(routed, 1);
	assert_true(logged("event=hook.timeout plugin=b hook=route", "", ""));
	assert_string_equal(route_text(), "defer:router b gave no answer in time defer:router b gave "
	    "no answer in time defer:router b gave no answer in time");
	stage_down();

	stage_up(RSOFT("b", "wait") R("c", "all"));
	assert_false(route(&r));
	advance(2000);
	did("b(3) abandon c(3) ");
	assert_int_equal(routed, 1);
	stage_down();

	/* done inside route() */
	stage_up(R("b", "inside") R("c", "all"));
	assert_false(route(&r));
	assert_int_equal(routed, 0);
	settle();
	did("b(3) c(3) ");
	assert_int_equal(routed, 1);
	stage_down();

	/* cancelled while it waits, and after it was answered */
	stage_up(R("b", "wait"));
	assert_false(route(&r));
	route_cancel(&r);
	did("b(3) abandon ");
	assert_int_equal(ph_route_done(ticket), PH_ESTALE);
	assert_false(route(&r));
	assert_int_equal(ph_route_done(ticket), 0);
	route_cancel(&r);
	arena_reset(&txn_arena);
	settle();
	did("b(3) ");
	assert_int_equal(routed, 0);
	stage_down();
}

/* ------------------------------------------------------------------- SASL --- */

struct m_state { unsigned steps; };
static bool m_inside;

static enum ph_sasl_result
m_step(struct ph_sasl *x)
{
	struct m_state *mine = ph_sasl_data(x);
	struct ph_str in = ph_sasl_input(x);

	traced("step(" STR_FMT ") ", STR_ARG(in));
	mine->steps++;
	if (mine->steps == 1 && !ph_sasl_has_initial(x))
		return ph_sasl_output(x, STR("hello?")) == 0 ? PH_SASL_MORE : PH_SASL_TRY_LATER;
	assert_int_equal(ph_sasl_identity(x, STR("")), PH_EINVAL);
	assert_int_equal(ph_sasl_identity(x, STR("a\nb")), PH_EINVAL);
	if (str_is(in, "wait")) {
		ticket = ph_sasl_ticket(x);
		if (m_inside)
			assert_int_equal(ph_sasl_done(ticket, PH_SASL_DENIED), 0);
		return PH_SASL_WAIT;
	}
	if (str_is(in, "nobody"))
		return PH_SASL_DONE;
	if (str_is(in, "junk"))
		return (enum ph_sasl_result)42;
	if (str_is(in, "wrong")) {
		ph_sasl_problem(x, "wrong password");
		return PH_SASL_DENIED;
	}
	return ph_sasl_identity(x, in) == 0 ? PH_SASL_DONE : PH_SASL_MALFORMED;
}
static void m_end(struct ph_sasl *x) { traced("end(%u) ", ((struct m_state *)ph_sasl_data(x))->steps); }

static int
m_setup(struct ph_setup *s)
{
	static const struct { const char *name; enum ph_side side; bool clear; int strength; } v[] = {
		{ "PLAIN", PH_SERVER, true, 0 }, { "TOY", PH_SERVER, false, 0 },
		{ "PLAIN", PH_CLIENT, true, 1 }, { "TOY", PH_CLIENT, false, 5 },
		{ "MORE-TOY", PH_CLIENT, true, 9 },
	};

	for (size_t i = 0; i < sizeof v / sizeof v[0]; i++) {
		struct ph_mechanism m = {
			.size = sizeof m, .side = v[i].side, .name = v[i].name, .cleartext = v[i].clear,
			.strength = v[i].strength, .state_size = sizeof(struct m_state), .step = m_step,
			.end = m_end, .limit = { 3000 },
		};
		if (ph_provide_mechanism(s, &m) != 0)   /* copied: needs not outlive this */
			return PH_EINVAL;
	}
	return 0;
}

static int
bad_mechanism_setup(struct ph_setup *s)
{
	struct ph_mechanism m = { .size = sizeof m, .name = "plain", .step = m_step };

	assert_int_equal(ph_provide_mechanism(s, &m), PH_EINVAL);
	m.name = "PLAIN";
	m.size += 8;
	return ph_provide_mechanism(s, &m);
}

PH_PLUGIN(logins, .summary = "knows logins", .setup = m_setup);
PH_PLUGIN(bad_logins, .summary = "knows them wrongly", .setup = bad_mechanism_setup);

static struct sasl_out later;
static unsigned sasl_answers;
static void
sasl_answered(void *arg, const struct sasl_out *o)
{
	assert_ptr_equal(arg, &later);
	later = *o;
	sasl_answers++;
}
static struct ph_sasl *
begin(const char *name, enum ph_side side, const struct ph_next_hop *hop, bool secure)
{
	sasl_answers = 0;
	return sasl_begin(wp, side, str_of(name), &facts, hop, secure, sasl_answered, &later);
}

static void
sasl_at_once(void **state)
{
	static const struct { const char *input; enum ph_sasl_result result; const char *log; } cases[] = {
		{ "ann", PH_SASL_DONE, "" }, { "wrong", PH_SASL_DENIED, "" },
		{ "nobody", PH_SASL_TRY_LATER, "why=\"ended an exchange without an identity\"" },
		{ "junk", PH_SASL_TRY_LATER, "why=\"answered with a result that is none\"" },
		{ "\xff", PH_SASL_MALFORMED, "" },
	};
	static char big[20000];
	struct ph_sasl *x;
	struct sasl_out o;

	(void)state;
	stage_up("  - logins\n");
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		trace[0] = '\0';
		assert_non_null(x = begin("toy", PH_SERVER, NULL, false));
		assert_true(sasl_step(x, STR(""), false, &o));
		assert_int_equal(o.result, PH_SASL_MORE);
		assert_true(o.has_output && str_is(o.output, "hello?"));
		assert_true(sasl_step(x, str_of(cases[i].input), true, &o));
		assert_int_equal(o.result, cases[i].result);
		assert_int_equal(o.identity.n, cases[i].result == PH_SASL_DONE ? 3 : 0);
		assert_false(o.has_output);
		assert_true(o.problem == NULL || strcmp(o.problem, "wrong password") == 0);
		sasl_end(&x);
		assert_null(x);
		assert_non_null(strstr(trace, "end(2) "));
		assert_true(logged(cases[i].log, "", ""));
	}
	trace[0] = '\0';
	memset(big, 'x', sizeof big);
	assert_non_null(x = begin("TOY", PH_SERVER, NULL, false));
	assert_true(sasl_step(x, str_make(big, sizeof big), true, &o));
	assert_int_equal(o.result, PH_SASL_MALFORMED);
	did("");
	sasl_end(&x);
	stage_down();
}

static void
sasl_waits(void **state)
{
	struct ph_sasl *x;
	struct sasl_out o;

	(void)state;
	stage_up("  - logins\n");
	x = begin("TOY", PH_SERVER, NULL, false);
	assert_false(sasl_step(x, STR("wait"), true, &o));
	assert_int_equal(ph_sasl_done(ticket, PH_SASL_DENIED), 0);
	assert_int_equal(ph_sasl_done(ticket, PH_SASL_DENIED), PH_ESTALE);
	assert_int_equal(sasl_answers, 0);
	advance(10000);
	assert_int_equal(sasl_answers, 1);
	assert_int_equal(later.result, PH_SASL_DENIED);
	sasl_end(&x);
	did("step(wait) end(1) ");
	/* inside step */
	m_inside = true;
	x = begin("TOY", PH_SERVER, NULL, false);
	assert_false(sasl_step(x, STR("wait"), true, &o));
	settle();
	assert_int_equal(sasl_answers, 1);
	sasl_end(&x);
	m_inside = false;
	/* too late: end runs once */
	trace[0] = '\0';
	x = begin("TOY", PH_SERVER, NULL, false);
	assert_false(sasl_step(x, STR("wait"), true, &o));
	advance(3000);
	assert_int_equal(sasl_answers, 1);
	assert_int_equal(later.result, PH_SASL_TRY_LATER);
	assert_int_equal(ph_sasl_done(ticket, PH_SASL_DONE), PH_ESTALE);
	assert_true(sasl_step(x, STR("ann"), true, &o));
	assert_int_equal(o.result, PH_SASL_TRY_LATER);
	sasl_end(&x);
	did("step(wait) end(1) ");
	/* hang-up while waiting, and after the answer */
	x = begin("TOY", PH_SERVER, NULL, false);
	assert_false(sasl_step(x, STR("wait"), true, &o));
	sasl_end(&x);
	did("step(wait) end(1) ");
	x = begin("TOY", PH_SERVER, NULL, false);
	assert_false(sasl_step(x, STR("wait"), true, &o));
	assert_int_equal(ph_sasl_done(ticket, PH_SASL_DENIED), 0);
	sasl_end(&x);
	settle();
	assert_int_equal(sasl_answers, 0);
	stage_down();
}

static void
mechanisms_are_chosen(void **state)
{
	struct ph_next_hop hop = { .size = sizeof hop, .name = "x", .auth = "logins" };
	const char *const toys[] = { "toy", "none" };
	const struct ph_strings all = { NULL, 0 }, some = { toys, 2 };
	struct ph_sasl *x;

	(void)state;
	stage_up("  - logins\n  - logins: { as: others }\n");
	assert_true(str_is(sasl_offered(wp, SASL_OVER_TLS, &some, &session_arena), "TOY"));
	assert_true(str_is(sasl_offered(wp, SASL_OVER_TLS, &all, &session_arena), "PLAIN TOY"));
	assert_true(str_is(sasl_offered(wp, SASL_OVER_CLEAR, &all, &session_arena), "TOY"));
	/* in the clear: not even when asked for */
	assert_null(begin("PLAIN", PH_SERVER, NULL, false));
	assert_non_null(x = begin("PLAIN", PH_SERVER, NULL, true));
	sasl_end(&x);
	assert_null(begin("NONE", PH_SERVER, NULL, true));
	assert_true(str_is(sasl_choose(wp, &hop, STR("PLAIN MORE-TOY TOY"), true), "MORE-TOY"));
	assert_true(str_is(sasl_choose(wp, &hop, STR("PLAIN MORE-TOY TOY"), false), "TOY"));
	assert_true(str_is(sasl_choose(wp, &hop, STR("plain"), true), "PLAIN"));
	assert_null(sasl_choose(wp, &hop, STR("PLAIN"), false).p);
	assert_null(sasl_choose(wp, &hop, STR("PLAINER TO"), true).p);
	assert_non_null(x = begin("TOY", PH_CLIENT, &hop, true));
	assert_ptr_equal(ph_sasl_hop(x), &hop);
	assert_string_equal(ph_sasl_worker(x)->inst->name, "logins");
	sasl_end(&x);
	hop.auth = "others";
	assert_non_null(x = begin("TOY", PH_CLIENT, &hop, true));
	assert_string_equal(ph_sasl_worker(x)->inst->name, "others");
	sasl_end(&x);
	hop.auth = NULL;
	assert_null(begin("TOY", PH_CLIENT, &hop, true));
	assert_null(sasl_choose(wp, &hop, STR("TOY"), true).p);
	stage_down();

	assert_null(stage_check("  - bad-logins\n"));
	assert_non_null(strstr(stage_report.data, "provides a SASL mechanism named \"plain\""));
	assert_non_null(strstr(stage_report.data, "rebuild the plugin"));
	buf_free(&stage_report);
	loader_done();
}

/* --------------------------------------------------------------- checkers --- */

struct c_cfg { const char *knows; bool broken, waits; };
static const struct ph_option c_options[] = {
	PH_OPT(struct c_cfg, knows, "knows", .dflt = "ann", .doc = "The user it knows."),
	PH_OPT(struct c_cfg, broken, "broken", .dflt = "no", .doc = "Fails."),
	PH_OPT(struct c_cfg, waits, "waits", .dflt = "no", .doc = "Answers later, or never."),
	PH_OPT_END
};
static struct ph_check *waiting_check;

static void
c_verify(struct ph_worker *w, struct ph_check *c)
{
	const struct c_cfg *cfg = ph_worker_config(w);
	bool right = str_is(ph_check_user(c), cfg->knows) && str_is(ph_check_password(c), "secret");

	traced("%s ", w->inst->name);
	if (cfg->waits) {
		waiting_check = c;
		return;
	}
	ph_check_done(c, cfg->broken ? PH_EIO : right ? 0 : PH_EPERM, STR(""));
	ph_check_done(c, 0, STR(""));           /* answered before: nothing */
}
static void
c_verifier(struct ph_worker *w, struct ph_check *c, const char *scheme)
{
	(void)w;
	traced("%s ", scheme);
	ph_check_done(c, 0, STR("verifier"));
}
static int
c_setup(struct ph_setup *s)
{
	static const struct ph_password_checker c = { .size = sizeof c, .verify = c_verify };
	static const struct ph_password_checker both = { .size = sizeof c, .verify = c_verify,
	                                                 .verifier = c_verifier };

	return ph_provide_checker(s, strcmp(ph_setup_instance(s), "both") == 0 ? &both : &c);
}
PH_PLUGIN(users, .summary = "knows users", .options = c_options, .config_size = sizeof(struct c_cfg),
	.setup = c_setup);

static int check_status;
static char check_bytes[32];
static unsigned checked;
static void
check_answer(void *arg, int status, struct ph_str bytes)
{
	assert_ptr_equal(arg, &checked);
	checked++;
	check_status = status;
	snprintf(check_bytes, sizeof check_bytes, STR_FMT, STR_ARG(bytes));
}
static int
check(const char *user, const char *scheme)
{
	checked = 0;
	return ph_check_begin(&wp->workers[0], str_of(user), STR("secret"), scheme, check_answer, &checked);
}

static void
checkers_in_order(void **state)
{
	static const struct { const char *plugins, *user, *scheme, *trace; int rc, status; const char *bytes; } cases[] = {
		{ "  - users\n", "ann", NULL, "users ", 0, 0, "" },
		{ "  - users\n", "bob", NULL, "users ", 0, PH_EPERM, "" },
		{ "  - users\n  - users: { as: b, knows: bob }\n", "bob", NULL, "users b ", 0, 0, "" },
		{ "  - users: { broken: yes }\n  - users: { as: b }\n", "ann", NULL, "users b ", 0, 0, "" },
		{ "  - users: { broken: yes }\n  - users: { as: b }\n", "bob", NULL, "users b ", 0, PH_EIO, "" },
		{ "  - users\n", "ann", "SCRAM", "", PH_ENOTSUP, 0, "" },
		{ "  - users\n  - users: { as: both }\n", "ann", "SCRAM", "SCRAM ", 0, 0, "verifier" },
		{ "  - idle\n", "ann", NULL, "", PH_ENOTSUP, 0, "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		stage_up(cases[i].plugins);
		assert_int_equal(check(cases[i].user, cases[i].scheme), cases[i].rc);
		assert_int_equal(checked, 0);   /* never from inside */
		settle();
		did(cases[i].trace);
		assert_int_equal(checked, cases[i].rc == 0);
		if (cases[i].rc == 0) {
			assert_int_equal(check_status, cases[i].status);
			assert_string_equal(check_bytes, cases[i].bytes);
		}
		stage_down();
	}
}

static void
a_checker_is_late(void **state)
{
	(void)state;
	stage_up("  - users: { waits: yes }\n");
	assert_int_equal(check("ann", NULL), 0);
	advance(29999);
	assert_int_equal(checked, 0);
	advance(1);
	assert_int_equal(checked, 1);
	assert_int_equal(check_status, PH_ETIMEOUT);
	assert_true(logged("event=hook.timeout plugin=users hook=check", "", ""));
	assert_int_equal(ph_check_password(waiting_check).n, 0);
	ph_check_done(waiting_check, 0, STR(""));       /* late, but harmless */
	settle();
	assert_int_equal(checked, 1);
	assert_int_equal(wp->workers[0].nchecks, 0);
	/* in time */
	assert_int_equal(check("ann", NULL), 0);
	ph_check_done(waiting_check, 0, STR("x"));
	settle();
	assert_int_equal(checked, 1);
	assert_int_equal(check_status, 0);
	/* never: told when the plugins close */
	assert_int_equal(check("ann", NULL), 0);
	stage_down();
	assert_int_equal(checked, 1);
	assert_int_equal(check_status, PH_ECANCELED);
	/* a session of a configuration that is no longer in force logs in like any other */
	stage_up("  - users: { waits: yes }\n");
	worker_plugins_retire(&(struct worker_plugins *){ wp });
	assert_int_equal(check("ann", NULL), 0);
	ph_check_done(waiting_check, PH_ENOENT, STR(""));       /* "no such user" is "wrong" to the asker */
	settle();
	assert_int_equal(checked, 1);
	assert_int_equal(check_status, PH_EPERM);
	stage_down();
	/* not without bounds */
	stage_up("  - users: { waits: yes }\n");
	for (int i = 0; i < MAX_CHECKS; i++)
		assert_int_equal(check("ann", NULL), 0);
	assert_int_equal(check("ann", NULL), PH_EBUSY);
	stage_down();
}

/* ----------------------------------------------------- transport security --- */

static int s_open(struct ph_worker *w, void *l, const struct ph_secure_want *want) { (void)w; (void)l; (void)want; return 0; }
static int s_pump(void *l, struct ph_secure_io *io, enum ph_secure_state *st) { (void)l; (void)io; *st = PH_SECURE_OPEN; return 0; }
static void s_facts(void *l, struct ph_secure_facts *out) { (void)l; (void)out; }
static void s_close(void *l) { (void)l; }
static int
s_setup(struct ph_setup *s)
{
	static const struct ph_secure secure = { .size = sizeof secure, .layer_size = 10, .open = s_open,
		.pump = s_pump, .facts = s_facts, .close = s_close };

	return ph_provide_secure(s, &secure);
}
PH_PLUGIN(tls, .summary = "secures", .setup = s_setup);
PH_PLUGIN(idle, .summary = "does nothing");

static void
security_is_found(void **state)
{
	struct ph_worker *w = NULL;

	(void)state;
	stage_up("  - idle\n");
	assert_null(secure_find(wp, NULL, &w));
	stage_down();
	stage_up("  - idle\n  - tls\n");
	assert_int_equal(secure_find(wp, NULL, &w)->layer_size, 10);
	assert_string_equal(w->inst->name, "tls");
	assert_null(secure_find(wp, "idle", &w));
	stage_down();
	stage_up("  - tls\n  - tls: { as: other }\n");
	assert_null(secure_find(wp, NULL, &w));
	assert_non_null(secure_find(wp, "other", &w));
	assert_string_equal(w->inst->name, "other");
	stage_down();
}

const struct ph_plugin *const loader_static[] = {
	&ph_plugin_router, &ph_plugin_logins, &ph_plugin_bad_logins, &ph_plugin_users, &ph_plugin_tls,
	&ph_plugin_idle, NULL
};

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(routers_in_order),
		cmocka_unit_test(a_router_waits),
		cmocka_unit_test(sasl_at_once),
		cmocka_unit_test(sasl_waits),
		cmocka_unit_test(mechanisms_are_chosen),
		cmocka_unit_test(checkers_in_order),
		cmocka_unit_test(a_checker_is_late),
		cmocka_unit_test(security_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
