/*
 * test_result.c - what results do to messages: partial outcomes, groups of a
 * split message, and the order in which the store hears of it.
 */
#include "queue_sim.h"

static enum rcpt_state
state_of(struct sim *s, struct ph_msgid id, uint32_t i)
{
	struct arena arena;
	struct progress p;
	enum rcpt_state out;

	arena_init(&arena, 1024);
	p = sim_progress(sim_msg(s, id), &arena);
	out = p.rcpts[i].state;
	arena_reset(&arena);
	return out;
}

static void
add_group(struct job *j, struct site_info *site, const uint32_t *v, uint32_t n)
{
	struct job_group *g;

	if (j->groups == NULL)
		j->groups = arena_alloc(&j->arena, 8 * sizeof *j->groups);
	g = &j->groups[j->ngroups++];
	g->site = site_info_ref(site);
	g->rcpts = arena_alloc(&j->arena, n * sizeof *v);
	memcpy(g->rcpts, v, n * sizeof *v);
	g->n = n;
}

static void
partial_outcomes(void **state)
{
	struct queue_config cfg = sim_config();
	struct sim *s = sim_new(&cfg);
	struct site_info *site = sim_site("hub", 4);
	struct ph_msgid id = sim_mail(s, &(struct sim_mail){ .site = site,
		.to = { "a@x.example", "b@x.example", "c@x.example", "d@x.example" },
		.notify = { 0, NOTIFY_SUCCESS } });
	struct job *j;
	char *text;

	(void)state;
	sim_run(s);
	j = sim_take(s);
	sim_open(s, j);
	sim_rcpt(j, 0, JR_DELIVERED, 250, "ok");
	sim_rcpt(j, 2, JR_FAILED, 550, "5.1.1 unknown");
	sim_rcpt(j, 3, JR_DEFERRED, 451, "4.2.2 full");
	sim_rcpt(j, 1, JR_DEFERRED, 452, "4.5.3 too many");
	sim_return(s, j, JOB_TRIED);
	sim_run(s);
	assert_int_equal(state_of(s, id, 0), RCPT_DELIVERED);
	assert_int_equal(state_of(s, id, 1), RCPT_PENDING);
	assert_int_equal(state_of(s, id, 2), RCPT_FAILED);
	assert_int_equal(state_of(s, id, 3), RCPT_PENDING);
	assert_int_equal(sim_msg(s, id)->summary.recipients, 2);
	assert_int_equal(s->appended, 1);
	text = sim_text(s, s->last_appended);
	assert_non_null(strstr(text, "c@x.example"));
	assert_null(strstr(text, "d@x.example"));
	free(text);
	sim_pass(s, 15 * MIN_MS);
	while ((j = sim_take(s)) != NULL && !id_eq(j->id, id))
		sim_outcome(s, j, JR_DELIVERED, 250, "ok");     /* the report */
	assert_non_null(j);
	sim_open(s, j);
	sim_rcpt(j, 1, JR_DELIVERED, 250, "ok");
	sim_rcpt(j, 3, JR_FAILED, 554, "5.2.2 over quota");
	sim_return(s, j, JOB_TRIED);
	sim_run(s);
	assert_true(sim_msg(s, id)->removed);
	assert_int_equal(s->appended, 3);       /* failed, and relayed to b */
	assert_int_equal(sim_counts(s).bounced, 2);
	assert_true(sim_logged(s, "event=queue.relayed"));
	site_info_unref(&site);
	sim_free(s);
}

/* Outcomes that make no sense: out of range, twice, of one that is done. */
static void
odd_outcomes_do_no_harm(void **state)
{
	struct queue_config cfg = sim_config();
	struct sim *s = sim_new(&cfg);
	struct site_info *site = sim_site("hub", 4);
	struct ph_msgid id = sim_mail(s, &(struct sim_mail){ .site = site,
		.to = { "a@x.example", "b@x.example" } });
	struct job *j;

	(void)state;
	sim_run(s);
	j = sim_take(s);
	sim_open(s, j);
	sim_rcpt(j, 0, JR_DELIVERED, 250, "ok");
	sim_rcpt(j, 0, JR_DELIVERED, 250, "ok");
	sim_return(s, j, JOB_TRIED);
	sim_run(s);
	assert_false(sim_msg(s, id)->removed);  /* two outcomes, but of one recipient */
	j = sim_take(s);                        /* the rest has not had its turn: now */
	assert_non_null(j);
	sim_open(s, j);
	assert_int_equal(j->progress.rcpts[0].state, RCPT_DELIVERED);
	sim_rcpt(j, 0, JR_FAILED, 550, "no");
	sim_rcpt(j, 1, JR_DEFERRED, 450, "later");
	sim_return(s, j, JOB_TRIED);
	sim_run(s);
	assert_int_equal(s->appended, 0);
	assert_int_equal(state_of(s, id, 0), RCPT_DELIVERED);
	sim_pass(s, HOUR_MS);
	j = sim_take(s);
	sim_open(s, j);
	sim_rcpt(j, 1, JR_DELIVERED, 250, "ok");
	sim_return(s, j, JOB_TRIED);
	sim_run(s);
	assert_true(sim_msg(s, id)->removed);
	site_info_unref(&site);
	sim_free(s);
}

struct split_case { struct sim *s; struct site_info *a, *b; struct ph_msgid id; struct job *ja, *jb; };

/* Recipients 0 and 2 to site a, 1 to site b; both leases are out. */
static struct split_case
split_out(const struct queue_config *cfg)
{
	struct split_case c = { .s = sim_new(cfg), .a = sim_site("a", 4), .b = sim_site("b", 4) };
	struct job *j;

	c.id = sim_mail(c.s, &(struct sim_mail){ .to = { "0@a.example", "1@b.example", "2@a.example" } });
	sim_run(c.s);
	j = sim_take(c.s);
	assert_int_equal(j->kind, JOB_ROUTE);
	sim_open(c.s, j);
	add_group(j, c.a, (uint32_t[]){ 0, 2 }, 2);
	add_group(j, c.b, (uint32_t[]){ 1 }, 1);
	for (uint32_t i = 0; i < 3; i++)
		(void)sim_rcpt(j, i, JR_NONE, 0, "");
	j->site_ok = false;
	sim_return(c.s, j, JOB_ROUTED);
	sim_run(c.s);
	assert_int_equal(c.s->njobs, 2);
	assert_int_equal(c.s->progressed, 0);
	while ((j = sim_take(c.s)) != NULL)
		*(j->site->hash == c.a->hash ? &c.ja : &c.jb) = j;
	assert_int_equal(c.ja->nonly, 2);
	assert_int_equal(c.jb->nonly, 1);
	assert_non_null(c.ja->meta);            /* both have it from memory */
	assert_non_null(c.jb->meta);
	assert_int_equal(sim_counts(c.s).messages, 1);
	return c;
}

static void
split_done(struct split_case *c)
{
	site_info_unref(&c->a);
	site_info_unref(&c->b);
	sim_free(c->s);
}

static void
split_removed_with_the_last_group(void **state)
{
	struct queue_config cfg = sim_config();

	(void)state;
	for (int order = 0; order < 2; order++) {
		struct split_case c = split_out(&cfg);

		sim_outcome(c.s, order ? c.jb : c.ja, JR_DELIVERED, 250, "ok");
		sim_run(c.s);
		assert_false(sim_msg(c.s, c.id)->removed);
		assert_int_equal(sim_msg(c.s, c.id)->writes, 1);
		sim_outcome(c.s, order ? c.ja : c.jb, JR_DELIVERED, 250, "ok");
		sim_run(c.s);
		assert_true(sim_msg(c.s, c.id)->removed);
		assert_int_equal(sim_counts(c.s).messages, 0);
		assert_int_equal(sim_counts(c.s).hot_bytes, 0);
		split_done(&c);
	}
}

static void
split_merges_outcomes(void **state)
{
	struct queue_config cfg = sim_config();
	struct split_case c = split_out(&cfg);
	struct job *j;

	(void)state;
	/* a comes home while b is out, and then b: neither undoes the other */
	sim_open(c.s, c.ja);
	sim_rcpt(c.ja, 0, JR_DELIVERED, 250, "ok");
	sim_rcpt(c.ja, 2, JR_DEFERRED, 450, "4.2.1 busy");
	sim_return(c.s, c.ja, JOB_TRIED);
	sim_run(c.s);
	assert_int_equal(state_of(c.s, c.id, 0), RCPT_DELIVERED);
	sim_outcome(c.s, c.jb, JR_FAILED, 550, "5.7.1 no");
	sim_run(c.s);
	assert_int_equal(state_of(c.s, c.id, 0), RCPT_DELIVERED);
	assert_int_equal(state_of(c.s, c.id, 1), RCPT_FAILED);
	assert_int_equal(state_of(c.s, c.id, 2), RCPT_PENDING);
	assert_int_equal(sim_msg(c.s, c.id)->summary.recipients, 1);
	assert_int_equal(c.s->appended, 1);
	/* one group left: an ordinary message, progress from the store */
	while ((j = sim_take(c.s)) != NULL)
		sim_outcome(c.s, j, JR_DELIVERED, 250, "ok");
	sim_pass(c.s, 15 * MIN_MS);
	j = sim_take(c.s);
	assert_non_null(j);
	assert_null(j->only);
	assert_null(j->meta);
	sim_outcome(c.s, j, JR_DELIVERED, 250, "ok");
	sim_run(c.s);
	assert_true(sim_msg(c.s, c.id)->removed);
	assert_int_equal(sim_counts(c.s).messages, 0);
	split_done(&c);
}

static void
split_with_one_site_down(void **state)
{
	struct queue_config cfg = sim_config();
	struct split_case c = split_out(&cfg);
	struct job *j;

	(void)state;
	sim_down(c.s, c.jb);
	sim_run(c.s);
	sim_outcome(c.s, c.ja, JR_DELIVERED, 250, "ok");
	sim_run(c.s);
	assert_false(sim_msg(c.s, c.id)->removed);
	assert_int_equal(sim_msg(c.s, c.id)->summary.recipients, 1);
	/* restart: only what is pending is there */
	sim_stop_queue(c.s);
	sim_start_queue(c.s, &cfg);
	queue_site(c.s->q, c.b);
	sim_scan(c.s);
	sim_pass(c.s, 1000);
	while ((j = sim_take(c.s)) != NULL && j->kind == JOB_ROUTE) {
		sim_open(c.s, j);
		add_group(j, c.b, (uint32_t[]){ 1 }, 1);
		sim_return(c.s, j, JOB_ROUTED);
		sim_run(c.s);
	}
	assert_non_null(j);
	sim_outcome(c.s, j, JR_DELIVERED, 250, "ok");
	sim_run(c.s);
	assert_true(sim_msg(c.s, c.id)->removed);
	split_done(&c);
}

static void
act_done(void *arg, uint64_t matched)
{
	*(uint64_t *)arg += matched;
}

/* A flag is written beside the outcomes of a group that is gone, not over them. */
static void
hold_after_a_split_keeps_outcomes(void **state)
{
	struct queue_config cfg = sim_config();
	struct split_case c = split_out(&cfg);
	uint64_t matched = 0;

	(void)state;
	sim_down(c.s, c.jb);
	sim_outcome(c.s, c.ja, JR_DELIVERED, 250, "ok");
	sim_run(c.s);
	queue_act(c.s->q, QUEUE_HOLD, &(struct queue_filter){ 0 }, act_done, &matched);
	sim_run(c.s);
	assert_int_equal(matched, 1);
	assert_true(sim_msg(c.s, c.id)->summary.flags & PH_STORE_HELD);
	assert_int_equal(state_of(c.s, c.id, 0), RCPT_DELIVERED);
	assert_int_equal(state_of(c.s, c.id, 1), RCPT_PENDING);
	assert_int_equal(state_of(c.s, c.id, 2), RCPT_DELIVERED);
	split_done(&c);
}

static void
routing_outcomes_and_leftovers(void **state)
{
	struct queue_config cfg = sim_config();
	struct sim *s = sim_new(&cfg);
	struct site_info *site = sim_site("hub", 4);
	struct ph_msgid id = sim_mail(s, &(struct sim_mail){
		.to = { "0@x.example", "1@null-mx.example", "2@slow.example", "3@x.example" } });
	struct job *j;

	(void)state;
	sim_run(s);
	j = sim_take(s);
	sim_open(s, j);
	sim_rcpt(j, 1, JR_FAILED, 0, "5.1.10 takes no mail");
	sim_rcpt(j, 2, JR_DEFERRED, 0, "4.4.3 no answer from DNS");
	j->site_ok = false;
	add_group(j, site, (uint32_t[]){ 0, 3, 3, 77 }, 4);     /* twice, out of range */
	sim_return(s, j, JOB_ROUTED);
	sim_run(s);
	assert_int_equal(s->appended, 1);
	assert_int_equal(state_of(s, id, 1), RCPT_FAILED);
	while ((j = sim_take(s)) != NULL) {
		if (id_eq(j->id, id))
			assert_int_equal(j->nonly, 2);
		sim_outcome(s, j, JR_DELIVERED, 250, "ok");
		sim_run(s);
	}
	assert_int_equal(state_of(s, id, 0), RCPT_DELIVERED);
	assert_int_equal(state_of(s, id, 3), RCPT_DELIVERED);
	assert_int_equal(state_of(s, id, 2), RCPT_PENDING);
	sim_pass(s, 15 * MIN_MS);
	j = sim_take(s);
	assert_non_null(j);
	assert_int_equal(j->kind, JOB_ROUTE);   /* its site is still not known */
	sim_outcome(s, j, JR_DELIVERED, 250, "ok");
	sim_run(s);
	assert_true(sim_msg(s, id)->removed);
	site_info_unref(&site);
	sim_free(s);
}

static void
full_return_only_when_asked_and_small(void **state)
{
	static const struct { const char *name; enum mail_ret ret; uint64_t size; bool cold, full; } t[] = {
		{ "not asked", RET_NONE, 0, false, false },
		{ "headers asked", RET_HDRS, 0, false, false },
		{ "full asked", RET_FULL, 0, false, true },
		{ "full asked, from the store", RET_FULL, 0, true, true },
		{ "full asked, large", RET_FULL, 2 << 20, true, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
		struct queue_config cfg = sim_config();
		struct sim *s;
		struct site_info *site = sim_site("hub", 4);
		char *text;

		cfg.memory = 16 << 20;
		s = sim_new(&cfg);
		(void)sim_mail(s, &(struct sim_mail){ .site = site, .ret = t[i].ret, .size = t[i].size,
			.cold = t[i].cold });
		sim_run(s);
		sim_outcome(s, sim_take(s), JR_FAILED, 550, "no");
		sim_run(s);
		assert_int_equal(s->appended, 1);
		text = sim_text(s, s->last_appended);
		if ((strstr(text, "The body.") != NULL) != t[i].full)
			fail_msg("%s: %s", t[i].name, text);
		assert_non_null(strstr(text, "Subject: hello"));
		assert_true(strlen(text) < 8192);
		free(text);
		site_info_unref(&site);
		sim_free(s);
	}
}

static void
reports_switched_off(void **state)
{
	struct queue_config cfg = sim_config();
	struct sim *s;
	struct site_info *site = sim_site("hub", 4);
	struct ph_msgid id;

	(void)state;
	cfg.bounce_notices = false;
	s = sim_new(&cfg);
	id = sim_mail(s, &(struct sim_mail){ .site = site, .notify = { NOTIFY_SUCCESS | NOTIFY_FAILURE } });
	sim_run(s);
	sim_outcome(s, sim_take(s), JR_FAILED, 550, "no");
	sim_run(s);
	assert_true(sim_msg(s, id)->removed);
	assert_int_equal(s->appended, 0);
	assert_true(sim_logged(s, "event=queue.badmail "));     /* not without a trace */
	site_info_unref(&site);
	sim_free(s);
}

static void
unreadable_original_is_reported_all_the_same(void **state)
{
	struct queue_config cfg = sim_config();
	struct sim *s = sim_new(&cfg);
	struct site_info *site = sim_site("hub", 4);
	char *text;

	(void)state;
	(void)sim_mail(s, &(struct sim_mail){ .site = site, .cold = true });
	sim_run(s);
	s->read_status = PH_EIO;
	sim_outcome(s, sim_take(s), JR_FAILED, 550, "no");
	sim_run(s);
	assert_int_equal(s->appended, 1);
	assert_int_equal(s->removed, 1);
	text = sim_text(s, s->last_appended);
	assert_non_null(strstr(text, "Action: failed"));
	free(text);
	site_info_unref(&site);
	sim_free(s);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(partial_outcomes),
		cmocka_unit_test(odd_outcomes_do_no_harm),
		cmocka_unit_test(split_removed_with_the_last_group),
		cmocka_unit_test(split_merges_outcomes),
		cmocka_unit_test(split_with_one_site_down),
		cmocka_unit_test(hold_after_a_split_keeps_outcomes),
		cmocka_unit_test(routing_outcomes_and_leftovers),
		cmocka_unit_test(full_return_only_when_asked_and_small),
		cmocka_unit_test(reports_switched_off),
		cmocka_unit_test(unreadable_original_is_reported_all_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
