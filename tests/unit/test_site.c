/*
 * test_site.c - next hops: grants, fairness, suspension and probing, with a
 * backlog that would be expensive if any of it were tried.
 */
#include "queue_sim.h"

#define BACKLOG 100000

/* Messages that were taken in and have left memory; no bytes behind them. */
static void
backlog(struct sim *s, const struct site_info *site, size_t n)
{
	enum { BATCH = 1000 };
	struct ph_store_added *v = mem_calloc(BATCH, sizeof *v);
	struct sim_mail mail = { 0 };
	struct ph_msgid like = sim_mail(s, &mail);
	struct sim_msg *m = sim_msg(s, like);
	struct job *j;

	/* the model of all others; it goes out first */
	sim_run(s);
	j = sim_take(s);
	sim_outcome(s, j, JR_DELIVERED, 250, "ok");
	sim_run(s);
	for (size_t i = 0; i < n; i += BATCH) {
		for (size_t k = 0; k < BATCH; k++) {
			struct ph_store_summary sum = { .created = s->wall, .due = s->wall, .size = 4096,
				.site = site->hash, .recipients = 1 };

			v[k] = (struct ph_store_added){ .id = id_new(), .summary = sum, .meta = buf_view(&m->meta) };
			(void)sim_put(s, v[k].id, &sum, v[k].meta, m->content);
		}
		queue_added(s->q, v, BATCH);
		sim_run(s);
	}
	free(v);
}

static void
grants_split_over_workers(void **state)
{
	static const struct { int64_t n, low, high; } t[] = {
		{ 1, 0, 1 }, { 2, 1, 1 }, { 5, 2, 3 }, { 20, 10, 10 }, { 0, 2, 2 },    /* 0: the default, 4 */
	};

	(void)state;
	for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
		struct queue_config cfg = sim_config();
		struct sim *s = sim_new(&cfg);
		struct site_info *site = sim_site("hub", t[i].n), *again;
		int64_t a, b;

		(void)sim_mail(s, &(struct sim_mail){ .site = site });
		sim_run(s);
		a = s->grant[0] < s->grant[1] ? s->grant[0] : s->grant[1];
		b = s->grant[0] + s->grant[1] - a;
		assert_int_equal(a, t[i].low);
		assert_int_equal(b, t[i].high);
		assert_true(s->grant[container_of(s->jobs.next, struct job, link)->worker] > 0);
		/* another configuration, same key */
		again = sim_site("hub", 8);
		queue_site(s->q, again);
		sim_run(s);
		assert_int_equal(s->grant[0] + s->grant[1], 8);
		site_info_unref(&again);
		site_info_unref(&site);
		sim_free(s);
	}
}

static void
leases_stay_within_grants(void **state)
{
	struct queue_config cfg = sim_config();
	struct sim *s;
	struct site_info *site = sim_site("hub", 3);

	(void)state;
	cfg.messages_in_flight = 5;
	s = sim_new(&cfg);
	for (int i = 0; i < 100; i++)
		(void)sim_mail(s, &(struct sim_mail){ .site = site });
	sim_run(s);
	assert_int_equal(s->njobs, 15);
	for (unsigned w = 0; w < SIM_WORKERS; w++)
		assert_int_equal(s->by_worker[w], s->grant[w] * 5);
	sim_outcome(s, sim_take(s), JR_DELIVERED, 250, "ok");
	sim_run(s);
	assert_int_equal(s->njobs, 15);
	assert_int_equal(s->dispatched, 16);
	site_info_unref(&site);
	sim_free(s);
}

static void
max_active_holds_for_all(void **state)
{
	struct queue_config cfg = sim_config();
	struct sim *s;
	struct site_info *a = sim_site("a", 20), *b = sim_site("b", 20);

	(void)state;
	cfg.max_active = 7;
	s = sim_new(&cfg);
	for (int i = 0; i < 50; i++)
		(void)sim_mail(s, &(struct sim_mail){ .site = i % 2 != 0 ? a : b });
	sim_run(s);
	assert_int_equal(s->njobs, 7);
	while (s->njobs > 0) {
		sim_outcome(s, sim_take(s), JR_DELIVERED, 250, "ok");
		sim_run(s);
		assert_true(s->njobs <= 7);
	}
	assert_int_equal(s->removed, 50);
	site_info_unref(&a);
	site_info_unref(&b);
	sim_free(s);
}

static void
trickle_stays_on_one_worker(void **state)
{
	struct queue_config cfg = sim_config();
	struct sim *s = sim_new(&cfg);
	struct site_info *site = sim_site("hub", 4);

	(void)state;
	for (int i = 0; i < 10; i++) {
		(void)sim_mail(s, &(struct sim_mail){ .site = site });
		sim_run(s);
		sim_outcome(s, sim_take(s), JR_DELIVERED, 250, "ok");
		sim_run(s);
	}
	assert_true(s->by_worker[0] == 10 || s->by_worker[1] == 10);
	/* a burst uses both */
	for (int i = 0; i < 10; i++)
		(void)sim_mail(s, &(struct sim_mail){ .site = site });
	sim_run(s);
	assert_true(s->by_worker[0] >= 5 && s->by_worker[1] >= 5);
	site_info_unref(&site);
	sim_free(s);
}

static void
sites_take_turns(void **state)
{
	struct queue_config cfg = sim_config();
	struct sim *s;
	struct site_info *big = sim_site("big", 100), *small = sim_site("small", 100);
	size_t place = 0, n = 0;
	struct job *j;

	(void)state;
	cfg.max_active = 4;
	s = sim_new(&cfg);
	for (int i = 0; i < 200; i++)
		(void)sim_mail(s, &(struct sim_mail){ .site = big });
	sim_run(s);
	for (int i = 0; i < 3; i++)
		(void)sim_mail(s, &(struct sim_mail){ .site = small });
	sim_run(s);
	while ((j = sim_take(s)) != NULL) {
		n++;
		if (j->site == small)
			place = n;
		sim_outcome(s, j, JR_DELIVERED, 250, "ok");
		sim_run(s);
	}
	assert_int_equal(n, 203);
	assert_in_range(place, 1, 12);  /* not behind the 200 */
	site_info_unref(&big);
	site_info_unref(&small);
	sim_free(s);
}

static void
dead_site_costs_one_attempt_per_interval(void **state)
{
	static const int64_t waits[] = { 15, 30, 60, 120, 300, 300, 300 };
	struct queue_config cfg = sim_config();
	struct sim *s;
	struct site_info *site = sim_site("hub", 4);
	size_t before;
	struct job *j;

	(void)state;
	s = sim_new(&cfg);
	backlog(s, site, BACKLOG);
	/* those were handed out before anybody knew; all come back untried */
	queue_site(s->q, site);
	sim_run(s);
	while ((j = sim_take(s)) != NULL) {
		if (j->kind == JOB_ROUTE) {
			sim_open(s, j);
			j->groups = arena_new(&j->arena, struct job_group);
			*j->groups = (struct job_group){ site_info_ref(site), arena_new(&j->arena, uint32_t), 1 };
			j->ngroups = 1;
			sim_return(s, j, JOB_ROUTED);
		} else {
			sim_down(s, j);
		}
	}
	sim_run(s);
	assert_int_equal(s->njobs, 0);
	assert_int_equal(sim_counts(s).suspended, 1);
	assert_int_equal(sim_count_logged(s, "event=site.suspended"), 1);
	before = s->dispatched;
	for (size_t i = 0; i < sizeof waits / sizeof waits[0]; i++) {
		sim_pass(s, waits[i] * 1000 - 1);
		assert_int_equal(s->njobs, 0);
		sim_pass(s, 1);
		assert_int_equal(s->njobs, 1);
		sim_pass(s, 7000);      /* slow to fail; nothing else leaves */
		assert_int_equal(s->njobs, 1);
		j = sim_take(s);
		assert_int_equal(j->kind, JOB_PROBE);
		assert_int_equal(j->summary.attempts, 0);
		sim_down(s, j);
		sim_run(s);
	}
	assert_int_equal(s->dispatched - before, sizeof waits / sizeof waits[0]);
	assert_int_equal(s->progressed, 0);     /* and nothing is written */
	assert_int_equal(sim_count_logged(s, "event=site.suspended"), 1);
	/* back again: everything drains at once */
	sim_pass(s, 300000);
	j = sim_take(s);
	sim_outcome(s, j, JR_DELIVERED, 250, "ok");
	sim_run(s);
	assert_true(s->njobs > 100);
	assert_true(sim_logged(s, "event=site.resumed"));
	while (s->njobs > 0) {
		while ((j = sim_take(s)) != NULL)
			sim_outcome(s, j, JR_DELIVERED, 250, "ok");
		sim_run(s);
	}
	assert_int_equal(sim_counts(s).messages, 0);
	assert_int_equal(sim_counts(s).suspended, 0);
	site_info_unref(&site);
	sim_free(s);
}

static void
act_done(void *arg, uint64_t matched)
{
	*(uint64_t *)arg = matched;
}

static void
flush_probes_at_once(void **state)
{
	struct queue_config cfg = sim_config();
	struct sim *s = sim_new(&cfg);
	struct site_info *site = sim_site("hub", 4);
	uint64_t matched = 0;
	struct job *j;

	(void)state;
	for (int i = 0; i < 50; i++)
		(void)sim_mail(s, &(struct sim_mail){ .site = site });
	sim_run(s);
	while ((j = sim_take(s)) != NULL)
		sim_down(s, j);
	sim_run(s);
	sim_pass(s, 15000);
	assert_int_equal(s->njobs, 1);          /* a probe that hangs */
	queue_act(s->q, QUEUE_FLUSH, &(struct queue_filter){ 0 }, act_done, &matched);
	sim_run(s);
	assert_int_equal(matched, 50);
	assert_int_equal(s->njobs, 1);          /* never two connections at once */
	sim_down(s, sim_take(s));
	sim_run(s);
	assert_int_equal(s->njobs, 1);          /* but another one without waiting */
	sim_down(s, sim_take(s));
	sim_run(s);
	assert_int_equal(s->njobs, 0);
	queue_act(s->q, QUEUE_FLUSH, &(struct queue_filter){ 0 }, act_done, &matched);
	sim_run(s);
	assert_int_equal(s->njobs, 1);
	sim_outcome(s, sim_take(s), JR_DELIVERED, 250, "ok");
	sim_run(s);
	assert_int_equal(s->njobs, 49);
	site_info_unref(&site);
	sim_free(s);
}

static void
late_failures_do_not_suspend_again(void **state)
{
	struct queue_config cfg = sim_config();
	struct sim *s = sim_new(&cfg);
	struct site_info *site = sim_site("hub", 4);
	struct job *late[8], *j;

	(void)state;
	for (int i = 0; i < 30; i++)
		(void)sim_mail(s, &(struct sim_mail){ .site = site });
	sim_run(s);
	for (int i = 0; i < 8; i++)
		late[i] = sim_take(s);          /* hang in connect */
	while ((j = sim_take(s)) != NULL)
		sim_down(s, j);
	sim_run(s);
	sim_pass(s, 15000);
	sim_outcome(s, sim_take(s), JR_DELIVERED, 250, "ok");
	sim_run(s);
	assert_int_equal(sim_counts(s).suspended, 0);
	for (int i = 0; i < 8; i++)
		sim_down(s, late[i]);
	sim_run(s);
	assert_int_equal(sim_counts(s).suspended, 0);
	assert_int_equal(s->njobs, 29);
	site_info_unref(&site);
	sim_free(s);
}

static void
one_refused_worker_pauses_alone(void **state)
{
	struct queue_config cfg = sim_config();
	struct sim *s;
	struct site_info *site = sim_site("hub", 2);
	struct job *mine = NULL, *other = NULL, *j;

	(void)state;
	cfg.messages_in_flight = 2;
	s = sim_new(&cfg);
	for (int i = 0; i < 20; i++)
		(void)sim_mail(s, &(struct sim_mail){ .site = site });
	sim_run(s);
	assert_int_equal(s->njobs, 4);
	while ((j = sim_take(s)) != NULL) {
		if (j->worker == 0 && mine == NULL)
			mine = j;
		else if (j->worker == 1 && other == NULL)
			other = j;
		else if (j->worker == 0)
			sim_return(s, j, JOB_RETURNED);
		else
			sim_outcome(s, j, JR_DELIVERED, 250, "ok");
	}
	sim_run(s);
	while ((j = sim_take(s)) != NULL)       /* worker 1 is in full swing */
		if (j->worker == 1)
			sim_outcome(s, j, JR_DELIVERED, 250, "ok");
		else
			sim_return(s, j, JOB_RETURNED);
	sim_run(s);
	sim_down(s, mine);                      /* "too many connections" */
	sim_run(s);
	assert_int_equal(sim_counts(s).suspended, 0);
	sim_outcome(s, other, JR_DELIVERED, 250, "ok");
	sim_run(s);
	for (int i = 0; i < 100 && s->njobs > 0; i++) {
		j = sim_take(s);
		if (j->worker == 0)
			sim_return(s, j, JOB_RETURNED);
		else
			sim_outcome(s, j, JR_DELIVERED, 250, "ok");
		sim_run(s);
	}
	assert_int_equal(sim_counts(s).messages, 0);
	site_info_unref(&site);
	sim_free(s);
}

static void
route_to(struct sim *s, struct job *j, struct site_info *to)
{
	sim_open(s, j);
	j->groups = arena_new(&j->arena, struct job_group);
	*j->groups = (struct job_group){ site_info_ref(to), arena_new(&j->arena, uint32_t), 1 };
	j->ngroups = 1;
	sim_return(s, j, JOB_ROUTED);
}

static void
refused_login_is_an_alarm_once(void **state)
{
	struct queue_config cfg = sim_config();
	struct sim *s = sim_new(&cfg);
	struct site_info *site = sim_site("hub", 4);
	struct job *j;

	(void)state;
	for (int i = 0; i < 10; i++)
		(void)sim_mail(s, &(struct sim_mail){ .site = site });
	sim_run(s);
	for (int round = 0; round < 3; round++) {
		while ((j = sim_take(s)) != NULL) {
			j->site_login = JOB_LOGIN_REFUSED;
			j->why = STR("535 5.7.8 bad credentials");
			sim_return(s, j, JOB_SITE_DOWN);
		}
		sim_run(s);
		(void)sim_next(s, 10 * MIN_MS);
	}
	assert_int_equal(sim_count_logged(s, "event=site.login-refused"), 1);
	assert_int_equal(sim_count_logged(s, " waiting=10 "), 2);      /* site.suspended, too */
	/* a reload, perhaps with a new password: tried at once, and told of anew */
	queue_rerouted(s->q);
	sim_run(s);
	for (int round = 0; round < 2; round++) {
		bool probed = false;

		while ((j = sim_take(s)) != NULL) {
			if (j->kind == JOB_ROUTE) {
				route_to(s, j, site);
			} else if (round == 0) {
				assert_int_equal(j->kind, JOB_PROBE);
				probed = true;
				j->site_login = JOB_LOGIN_REFUSED;
				j->why = STR("535 5.7.8 bad credentials");
				sim_return(s, j, JOB_SITE_DOWN);
			} else {
				sim_outcome(s, j, JR_DELIVERED, 250, "ok");
			}
			sim_run(s);
		}
		assert_int_equal(probed, round == 0);
		assert_int_equal(sim_count_logged(s, "event=site.login-refused"), 2);
		if (round == 0) {
			assert_int_equal(sim_counts(s).messages, 10);
			queue_rerouted(s->q);
			sim_run(s);
		}
	}
	assert_int_equal(sim_count_logged(s, "event=site.resumed"), 1);
	assert_int_equal(sim_count_logged(s, "event=site.resumed site=hub waiting=9\n"), 1);
	assert_int_equal(sim_counts(s).messages, 0);
	assert_int_equal(s->appended, 0);
	site_info_unref(&site);
	sim_free(s);
}

static void
suspended_mail_gets_notice_and_expires(void **state)
{
	struct queue_config cfg = sim_config();
	struct sim *s = sim_new(&cfg);
	struct site_info *site = sim_site("hub", 4), *own = sim_site("own", 4);
	struct ph_msgid id[3];
	int64_t start = s->mono, notices = 0, expiries = 0;
	char *text;

	(void)state;
	for (int i = 0; i < 3; i++)
		id[i] = sim_mail(s, &(struct sim_mail){ .site = site });
	sim_run(s);
	while (s->mono < start + 3 * DAY_MS) {
		struct job *j;

		while ((j = sim_take(s)) != NULL) {
			if (j->kind == JOB_ROUTE) {     /* reports find another way */
				sim_open(s, j);
				j->groups = arena_new(&j->arena, struct job_group);
				*j->groups = (struct job_group){ site_info_ref(own),
					arena_new(&j->arena, uint32_t), 1 };
				j->ngroups = 1;
				sim_return(s, j, JOB_ROUTED);
			} else if (j->site == own || j->site->hash == own->hash) {
				sim_outcome(s, j, JR_DELIVERED, 250, "ok");
			} else {
				sim_down(s, j);
			}
			sim_run(s);
		}
		if (s->appended == 3 && notices == 0)
			notices = s->mono - start;
		if (s->appended == 6 && expiries == 0)
			expiries = s->mono - start;
		if (s->appended >= 6)
			break;
		(void)sim_next(s, HOUR_MS);
	}
	assert_int_equal(notices, 12 * HOUR_MS);
	assert_int_equal(expiries, 2 * DAY_MS);
	for (int i = 0; i < 3; i++)
		assert_true(sim_msg(s, id[i])->removed);
	text = sim_text(s, s->last_appended);
	assert_non_null(strstr(text, "Status: 4.4.7\r\n"));
	assert_non_null(strstr(text, "connection refused"));
	free(text);
	site_info_unref(&site);
	site_info_unref(&own);
	sim_free(s);
}

static void
suspension_gives_memory_back(void **state)
{
	struct queue_config cfg = sim_config();
	struct sim *s;
	struct site_info *site = sim_site("hub", 1);
	struct job *j;

	(void)state;
	cfg.messages_in_flight = 2;
	s = sim_new(&cfg);
	for (int i = 0; i < 20; i++)
		(void)sim_mail(s, &(struct sim_mail){ .site = site });
	sim_run(s);
	assert_true(sim_counts(s).hot_bytes > 0);
	while ((j = sim_take(s)) != NULL)
		sim_down(s, j);
	sim_run(s);
	assert_int_equal(sim_counts(s).hot_bytes, 0);
	(void)sim_mail(s, &(struct sim_mail){ .site = site });
	sim_run(s);
	assert_int_equal(sim_counts(s).hot_bytes, 0);
	site_info_unref(&site);
	sim_free(s);
}

/* --- routing --- */

static void
suspended_mail_follows_new_routes(void **state)
{
	struct queue_config cfg = sim_config();
	struct sim *s = sim_new(&cfg);
	struct site_info *old = sim_site("old", 4), *new = sim_site("new", 4);
	size_t most = 0, delivered = 0;
	struct job *j;

	(void)state;
	for (int i = 0; i < 1000; i++)
		(void)sim_mail(s, &(struct sim_mail){ .site = old });
	sim_run(s);
	while ((j = sim_take(s)) != NULL)
		sim_down(s, j);
	sim_run(s);
	queue_rerouted(s->q);
	sim_run(s);
	while (s->njobs > 0) {
		size_t routes = 0;

		list_each(l, &s->jobs)
			routes += container_of(l, struct job, link)->kind == JOB_ROUTE;
		if (routes > most)
			most = routes;
		j = sim_take(s);
		if (j->kind == JOB_ROUTE) {
			route_to(s, j, new);
		} else {
			assert_string_equal(j->site->name, "new");
			sim_outcome(s, j, JR_DELIVERED, 250, "ok");
			delivered++;
		}
		sim_run(s);
	}
	assert_int_equal(delivered, 1000);
	assert_int_equal(most, 256);
	site_info_unref(&old);
	site_info_unref(&new);
	sim_free(s);
}

static void
unchanged_routes_go_back_to_waiting(void **state)
{
	struct queue_config cfg = sim_config();
	struct sim *s = sim_new(&cfg);
	struct site_info *site = sim_site("hub", 4);
	struct job *j;
	size_t routes = 0, probes = 0;

	(void)state;
	for (int i = 0; i < 300; i++)
		(void)sim_mail(s, &(struct sim_mail){ .site = site });
	sim_run(s);
	while ((j = sim_take(s)) != NULL)
		sim_down(s, j);
	sim_run(s);
	queue_rerouted(s->q);
	sim_run(s);
	while ((j = sim_take(s)) != NULL) {
		if (j->kind == JOB_PROBE) {     /* a reload asks the site at once */
			probes++;
			sim_down(s, j);
		} else {
			assert_int_equal(j->kind, JOB_ROUTE);
			route_to(s, j, site);
			routes++;
		}
		sim_run(s);
	}
	assert_int_equal(routes, 300);          /* once each */
	assert_int_equal(probes, 1);
	assert_int_equal(sim_counts(s).suspended, 1);
	sim_pass(s, 2 * MIN_MS);
	assert_int_equal(s->njobs, 1);
	site_info_unref(&site);
	sim_free(s);
}

static void
ping_pong_routes_are_slowed(void **state)
{
	struct queue_config cfg = sim_config();
	struct sim *s = sim_new(&cfg);
	struct site_info *a = sim_site("a", 4), *b = sim_site("b", 4);
	struct job *j;
	int n = 0;

	(void)state;
	(void)sim_mail(s, &(struct sim_mail){ .site = a });
	sim_run(s);
	while ((j = sim_take(s)) != NULL) {
		route_to(s, j, j->site->hash == a->hash ? b : a);
		sim_run(s);
		assert_true(++n < 20);
	}
	assert_true(sim_logged(s, "event=queue.unsettled"));
	sim_pass(s, 61000);
	sim_outcome(s, sim_take(s), JR_DELIVERED, 250, "ok");
	sim_run(s);
	assert_int_equal(s->removed, 1);
	site_info_unref(&a);
	site_info_unref(&b);
	sim_free(s);
}

static void
backlog_of_a_known_hash_is_routed_once(void **state)
{
	struct queue_config cfg = sim_config();
	struct sim *s = sim_new(&cfg);
	struct site_info *site = sim_site("hub", 4);
	size_t routes = 0, deliveries = 0;
	struct job *j;

	(void)state;
	for (int i = 0; i < 500; i++)
		(void)sim_mail(s, &(struct sim_mail){ .site = site });
	sim_run(s);
	sim_stop_queue(s);
	sim_start_queue(s, &cfg);
	sim_scan(s);
	while ((j = sim_take(s)) != NULL) {
		if (j->kind == JOB_ROUTE) {
			route_to(s, j, site);
			routes++;
		} else {
			sim_outcome(s, j, JR_DELIVERED, 250, "ok");
			deliveries++;
		}
		sim_run(s);
	}
	assert_int_equal(routes, 1);
	assert_int_equal(deliveries, 500);
	site_info_unref(&site);
	sim_free(s);
}

static void
idle_sites_are_forgotten(void **state)
{
	struct queue_config cfg = sim_config();
	struct sim *s = sim_new(&cfg);

	(void)state;
	for (int i = 0; i < 20; i++) {
		char name[16] = { 's', (char)('a' + i), '\0' };
		struct site_info *site = sim_site(name, 4);

		(void)sim_mail(s, &(struct sim_mail){ .site = site });
		site_info_unref(&site);
	}
	sim_run(s);
	while (s->njobs > 0)
		sim_outcome(s, sim_take(s), JR_DELIVERED, 250, "ok");
	sim_run(s);
	assert_int_equal(sim_counts(s).sites, 20);
	for (int i = 0; i < 30; i++)
		sim_pass(s, MIN_MS);
	assert_int_equal(sim_counts(s).sites, 0);
	assert_int_equal(s->grant[0], 0);
	assert_true(queue_next(s->q) == INT64_MAX);     /* nothing wakes it any more */
	sim_free(s);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(grants_split_over_workers),
		cmocka_unit_test(leases_stay_within_grants),
		cmocka_unit_test(max_active_holds_for_all),
		cmocka_unit_test(trickle_stays_on_one_worker),
		cmocka_unit_test(sites_take_turns),
		cmocka_unit_test(dead_site_costs_one_attempt_per_interval),
		cmocka_unit_test(flush_probes_at_once),
		cmocka_unit_test(late_failures_do_not_suspend_again),
		cmocka_unit_test(one_refused_worker_pauses_alone),
		cmocka_unit_test(refused_login_is_an_alarm_once),
		cmocka_unit_test(suspended_mail_gets_notice_and_expires),
		cmocka_unit_test(suspension_gives_memory_back),
		cmocka_unit_test(suspended_mail_follows_new_routes),
		cmocka_unit_test(unchanged_routes_go_back_to_waiting),
		cmocka_unit_test(ping_pong_routes_are_slowed),
		cmocka_unit_test(backlog_of_a_known_hash_is_routed_once),
		cmocka_unit_test(idle_sites_are_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
