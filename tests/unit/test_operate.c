/*
 * test_operate.c - what operators see and do.
 */
#include <stdio.h>

#include "queue_sim.h"

struct rows { size_t n; bool ended; struct ph_msgid last; char states[64][12]; char next[64];
	bool envelopes; char from[64][40]; bool ordered; };

static void
row(void *arg, const struct queue_row *r)
{
	struct rows *v = arg;

	assert_false(v->ended);
	if (r == NULL) {
		v->ended = true;
		return;
	}
	if (v->n > 0 && (r->id.hi < v->last.hi || (r->id.hi == v->last.hi && r->id.lo <= v->last.lo)))
		v->ordered = false;
	v->last = r->id;
	if (v->n < 64) {
		(void)snprintf(v->states[v->n], sizeof v->states[0], "%s", r->state);
		if (r->env != NULL)
			(void)snprintf(v->from[v->n], sizeof v->from[0], STR_FMT, STR_ARG(r->env->from.full));
	}
	v->envelopes = r->env != NULL;
	v->n++;
}

static struct rows
list(struct sim *s, struct queue_filter f, bool envelopes)
{
	struct rows v = { .ordered = true };

	queue_list(s->q, &f, envelopes, row, &v);
	sim_run(s);
	assert_true(v.ended);
	assert_true(v.ordered);
	return v;
}

static void
act_done(void *arg, uint64_t matched)
{
	*(uint64_t *)arg = matched;
}

static uint64_t
act(struct sim *s, enum queue_action a, struct queue_filter f)
{
	uint64_t matched = UINT64_MAX;

	queue_act(s->q, a, &f, act_done, &matched);
	sim_run(s);
	assert_true(matched != UINT64_MAX);
	return matched;
}

static struct ph_str
text(const char *s)
{
	return str_of(s);
}

/* Two deferred from a@, one held, one active; site hub. */
static struct sim *
mixed(const struct queue_config *cfg, struct site_info *site, struct ph_msgid id[4])
{
	struct sim *s = sim_new(cfg);

	for (int i = 0; i < 4; i++) {
		id[i] = sim_mail(s, &(struct sim_mail){ .site = site,
			.from = i == 1 ? "other@example.com" : NULL,
			.to = { i == 2 ? "c@example.org" : "b@example.net" } });
		sim_run(s);
		if (i < 3)
			sim_outcome(s, sim_take(s), JR_DEFERRED, 451, "4.3.0 later");
		sim_run(s);
		s->mono += 1000;
		s->wall += 1000;
	}
	assert_int_equal(act(s, QUEUE_HOLD, (struct queue_filter){ .id = id[2], .any_id = true }), 1);
	return s;
}

static void
lists_and_filters(void **state)
{
	struct queue_config cfg = sim_config();
	struct site_info *site = sim_site("hub", 4);
	struct ph_msgid id[4];
	struct sim *s = mixed(&cfg, site, id);
	const struct { const char *name; struct queue_filter f; size_t rows; } t[] = {
		{ "all", { .limit = 0 }, 4 },
		{ "limit", { .limit = 2 }, 2 },
		{ "deferred", { .deferred = true }, 2 },
		{ "held", { .held = true }, 1 },
		{ "active", { .active = true }, 1 },
		{ "held or active", { .held = true, .active = true }, 2 },
		{ "id", { .id = id[1], .any_id = true }, 1 },
		{ "unknown id", { .id = { 1, 2 }, .any_id = true }, 0 },
		{ "site", { .site = text("HUB") }, 4 },
		{ "site star", { .site = text("h*") }, 4 },
		{ "other site", { .site = text("hu") }, 0 },
		{ "from", { .from = text("A@example.org") }, 3 },
		{ "from domain", { .from = text("@example.com") }, 1 },
		{ "from star", { .from = text("*@example.*") }, 4 },
		{ "null sender", { .from = text("<>") }, 0 },
		{ "to", { .to = text("c@example.org") }, 1 },
		{ "from and to", { .from = text("a@*"), .to = text("b@*") }, 2 },
		{ "older", { .older_ms = 2500 }, 2 },
		{ "deferred from", { .deferred = true, .from = text("other@*") }, 1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
		struct rows v = list(s, t[i].f, false);

		if (v.n != t[i].rows)
			fail_msg("%s: %zu rows", t[i].name, v.n);
	}
	{
		struct rows v = list(s, (struct queue_filter){ 0 }, true);

		assert_true(v.envelopes);
		assert_string_equal(v.states[0], "deferred");
		assert_string_equal(v.from[1], "other@example.com");
		assert_string_equal(v.states[2], "held");
		assert_string_equal(v.states[3], "active");
	}
	site_info_unref(&site);
	sim_free(s);
}

static void
show_tells_the_reply_and_the_site(void *arg, const struct queue_row *r)
{
	struct sim *s = sim_now;

	if (r == NULL)
		return;
	++*(int *)arg;
	assert_string_equal(r->site, "hub");
	assert_string_equal(r->site_state, "open");
	assert_null(r->site_why);
	assert_int_equal(r->summary.attempts, 1);
	assert_int_equal(r->next_attempt, s->wall + 15 * MIN_MS);
	assert_int_equal(r->env->nrcpts, 1);
	assert_int_equal(r->progress->rcpts[0].code, 451);
	assert_true(str_is(r->progress->rcpts[0].reply, "4.3.0 later"));
	assert_true(str_is(r->progress->rcpts[0].remote, "relay.example.net[192.0.2.25]:25"));
}

static void
show(void **state)
{
	struct queue_config cfg = sim_config();
	struct site_info *site = sim_site("hub", 4);
	struct sim *s = sim_new(&cfg);
	int rows = 0;

	(void)state;
	(void)sim_mail(s, &(struct sim_mail){ .site = site });
	sim_run(s);
	sim_outcome(s, sim_take(s), JR_DEFERRED, 451, "4.3.0 later");
	sim_run(s);
	queue_list(s->q, &(struct queue_filter){ 0 }, true, show_tells_the_reply_and_the_site, &rows);
	sim_run(s);
	assert_int_equal(rows, 1);
	site_info_unref(&site);
	sim_free(s);
}

static void
hold_release_remove(void **state)
{
	struct queue_config cfg = sim_config();
	struct site_info *site = sim_site("hub", 4);
	struct ph_msgid id[4];
	struct sim *s = mixed(&cfg, site, id);
	struct job *j = sim_take(s);

	(void)state;
	assert_true(sim_msg(s, id[2])->summary.flags & PH_STORE_HELD);
	assert_int_equal(sim_counts(s).held, 1);
	/* held mail does not age, is not tried, survives a restart */
	sim_outcome(s, j, JR_DELIVERED, 250, "ok");
	assert_int_equal(act(s, QUEUE_HOLD, (struct queue_filter){ 0 }), 2);
	sim_pass(s, 5 * (int64_t)DAY_MS);
	assert_int_equal(s->njobs, 0);
	assert_int_equal(s->appended, 0);
	sim_stop_queue(s);
	sim_start_queue(s, &cfg);
	queue_site(s->q, site);
	sim_scan(s);
	assert_int_equal(sim_counts(s).held, 3);
	/* the outcome of the attempt before is still beside it */
	assert_true(sim_msg(s, id[2])->progress.len > 0);
	assert_int_equal(act(s, QUEUE_FLUSH, (struct queue_filter){ 0 }), 0);
	assert_int_equal(act(s, QUEUE_RELEASE, (struct queue_filter){ .id = id[0], .any_id = true }), 1);
	assert_false(sim_msg(s, id[0])->summary.flags & PH_STORE_HELD);
	assert_int_equal(s->njobs, 1);
	sim_outcome(s, sim_take(s), JR_DELIVERED, 250, "ok");
	sim_run(s);
	assert_true(sim_msg(s, id[0])->removed);
	assert_int_equal(act(s, QUEUE_REMOVE, (struct queue_filter){ .held = true }), 2);
	assert_int_equal(sim_counts(s).messages, 0);
	assert_int_equal(s->removed, 4);
	assert_int_equal(s->appended, 0);       /* removed without a report */
	site_info_unref(&site);
	sim_free(s);
}

static void
actions_on_a_message_that_is_out(void **state)
{
	static const struct { enum queue_action a; enum job_rcpt_outcome what; bool down; bool removed; size_t held; } t[] = {
		{ QUEUE_REMOVE, JR_DEFERRED, false, true, 0 },
		{ QUEUE_REMOVE, JR_DELIVERED, false, true, 0 },
		{ QUEUE_REMOVE, JR_FAILED, false, true, 0 },
		{ QUEUE_REMOVE, JR_NONE, true, true, 0 },
		{ QUEUE_HOLD, JR_DEFERRED, false, false, 1 },
		{ QUEUE_HOLD, JR_DELIVERED, false, true, 0 },
		{ QUEUE_HOLD, JR_NONE, true, false, 1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
		struct queue_config cfg = sim_config();
		struct site_info *site = sim_site("hub", 4);
		struct sim *s = sim_new(&cfg);
		struct ph_msgid id = sim_mail(s, &(struct sim_mail){ .site = site });

		sim_run(s);
		assert_int_equal(act(s, t[i].a, (struct queue_filter){ 0 }), 1);
		assert_int_equal(act(s, t[i].a, (struct queue_filter){ 0 }), 0);        /* once */
		assert_false(sim_msg(s, id)->removed);
		if (t[i].down)
			sim_down(s, sim_take(s));
		else
			sim_outcome(s, sim_take(s), t[i].what, 450, "so it was");
		sim_run(s);
		assert_int_equal(sim_msg(s, id)->removed, t[i].removed);
		assert_int_equal(sim_counts(s).held, t[i].held);
		assert_int_equal(s->appended, 0);
		if (t[i].held > 0)
			assert_true(sim_msg(s, id)->summary.flags & PH_STORE_HELD);
		site_info_unref(&site);
		sim_free(s);
	}
}

static void
flush_makes_deferred_due(void **state)
{
	struct queue_config cfg = sim_config();
	struct site_info *site = sim_site("hub", 4);
	struct ph_msgid id[4];
	struct sim *s = mixed(&cfg, site, id);

	(void)state;
	sim_outcome(s, sim_take(s), JR_DELIVERED, 250, "ok");
	sim_run(s);
	assert_int_equal(act(s, QUEUE_FLUSH, (struct queue_filter){ .from = text("other@*") }), 1);
	assert_int_equal(s->njobs, 1);
	assert_true(id_eq(container_of(s->jobs.next, struct job, link)->id, id[1]));
	assert_int_equal(act(s, QUEUE_FLUSH, (struct queue_filter){ 0 }), 2);
	assert_int_equal(s->njobs, 2);
	site_info_unref(&site);
	sim_free(s);
}

static void
long_lists_come_in_slices(void **state)
{
	struct queue_config cfg = sim_config();
	struct site_info *site = sim_site("hub", 1);
	struct sim *s = sim_new(&cfg);
	struct rows v = { .ordered = true };

	(void)state;
	for (int i = 0; i < 5000; i++)
		(void)sim_mail(s, &(struct sim_mail){ .site = site });
	sim_run(s);
	queue_list(s->q, &(struct queue_filter){ 0 }, false, row, &v);
	queue_run(s->q, s->mono, s->wall);
	assert_in_range(v.n, 1, 4000);          /* not all in one turn */
	sim_run(s);
	assert_int_equal(v.n, 5000);
	assert_true(v.ended);
	/* with envelopes; half of them are gone before their turn */
	v = (struct rows){ .ordered = true };
	queue_list(s->q, &(struct queue_filter){ 0 }, true, row, &v);
	(void)act(s, QUEUE_REMOVE, (struct queue_filter){ .limit = 2500 });
	sim_run(s);
	assert_true(v.ended);
	assert_true(v.ordered);
	site_info_unref(&site);
	sim_free(s);
}

static void
canceled_requests_call_nobody(void **state)
{
	struct queue_config cfg = sim_config();
	struct site_info *site = sim_site("hub", 4);
	struct ph_msgid id[4];
	struct sim *s = mixed(&cfg, site, id);
	struct rows v = { .ordered = true };

	(void)state;
	s->hold_store = true;
	queue_list(s->q, &(struct queue_filter){ 0 }, true, row, &v);
	sim_run(s);
	queue_cancel(s->q, &v);
	s->hold_store = false;
	sim_run(s);
	assert_int_equal(v.n, 0);
	assert_false(v.ended);
	site_info_unref(&site);
	sim_free(s);
}

static void
site_row(void *arg, const struct queue_site_row *r)
{
	*(struct queue_site_row *)arg = *r;
}

static void
sites(void **state)
{
	struct queue_config cfg = sim_config();
	struct site_info *site = sim_site("hub", 5);
	struct sim *s = sim_new(&cfg);
	struct queue_site_row r = { 0 };
	struct rows v;

	(void)state;
	(void)sim_mail(s, &(struct sim_mail){ .site = site });
	(void)sim_mail(s, &(struct sim_mail){ .site = site });
	sim_run(s);
	queue_sites(s->q, site_row, &r);
	assert_string_equal(r.name, "hub");
	assert_string_equal(r.state, "open");
	assert_int_equal(r.messages, 2);
	assert_int_equal(r.active, 2);
	assert_int_equal(r.connections, 5);
	while (s->njobs > 0)
		sim_down(s, sim_take(s));
	sim_run(s);
	queue_sites(s->q, site_row, &r);
	assert_string_equal(r.state, "suspended");
	assert_string_equal(r.why, "192.0.2.25: connection refused");
	assert_int_equal(r.probe, s->wall + 15000);
	v = list(s, (struct queue_filter){ 0 }, false);
	assert_string_equal(v.states[0], "suspended");
	site_info_unref(&site);
	sim_free(s);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(lists_and_filters),
		cmocka_unit_test(show),
		cmocka_unit_test(hold_release_remove),
		cmocka_unit_test(actions_on_a_message_that_is_out),
		cmocka_unit_test(flush_makes_deferred_due),
		cmocka_unit_test(long_lists_come_in_slices),
		cmocka_unit_test(canceled_requests_call_nobody),
		cmocka_unit_test(sites),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
