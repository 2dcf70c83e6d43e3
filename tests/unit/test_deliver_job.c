/*
 * test_deliver_job.c - what surrounds an attempt: reading from the store,
 * routing, hooks, reload and the end of the worker.
 */
#include "deliver_world.h"

/* --- the store --- */

static void
test_read_from_store(void **state)
{
	struct job *j;
	struct rcpt_progress rp[3] = { { .state = RCPT_DELIVERED }, { .state = RCPT_PENDING },
		{ .state = RCPT_FAILED } };
	struct progress p = { rp, 3, 0 };
	(void)state;

	progress_encode(&p, &W.stored_progress);
	j = give(job_for("a b c", NULL));
	settle();
	assert_int_equal(j->result, JOB_TRIED);
	assert_true(j->have_env && j->have_progress);
	assert_int_equal(j->nrcpts, 1);
	assert_int_equal(j->rcpts[0].index, 1);
	assert_string_equal(outcomes(j), "D250");
	assert_int_equal(W.released, 1);
	assert_true(has(&W.hosts[0].commands, "RCPT TO:<b@y.example>"));
	assert_false(has(&W.hosts[0].commands, "RCPT TO:<a@y.example>"));
	/* bytes in memory, but tried before: what is done must be known */
	W.released = 0;
	job_free(&W.back[0]);
	W.nback = 0;
	j = job_for("a b c", "x\r\n");
	j->summary.attempts = 1;
	struct job *same = job_for("a b c", NULL);
	job_free(&same);
	give(j);
	settle();
	assert_int_equal(W.released, 1);
	assert_int_equal(j->nrcpts, 1);
}

static void
test_only_some(void **state)
{
	struct job *j = job_for("a b c d", "x\r\n");
	(void)state;

	j->nonly = 2;
	j->only = arena_alloc(&j->arena, 2 * sizeof *j->only);
	j->only[0] = 1;
	j->only[1] = 2;
	give(j);
	settle();
	assert_int_equal(j->nrcpts, 2);
	assert_int_equal(j->rcpts[0].index, 1);
	assert_int_equal(j->rcpts[1].index, 2);
}

static void
test_unreadable(void **state)
{
	struct job *j;
	(void)state;

	W.store_status = PH_ENOENT;
	j = give(job_for("a", NULL));
	settle();
	assert_int_equal(j->result, JOB_UNREADABLE);
	assert_int_equal(j->status, PH_ENOENT);
	W.store_status = 0;
	j = job_for("a", NULL);
	buf_clear(&W.stored_meta);
	buf_adds(&W.stored_meta, "junk");
	give(j);
	settle();
	assert_int_equal(j->result, JOB_UNREADABLE);
	assert_int_equal(j->status, PH_ECORRUPT);
}

static void
test_stored_content(void **state)
{
	size_t size = 200000;
	char *big = mem_alloc(size + 1);
	static const char *const ehlo[] = { STREAMING, GROUPING };
	(void)state;

	for (size_t i = 0; i < size; i++)
		big[i] = i % 64 == 62 ? '\r' : i % 64 == 63 ? '\n' : (char)('a' + i % 23);
	memcpy(big + size - 2, "\r\n", 3);
	for (int e = 0; e < 2; e++) {
		world_setup(NULL);
		W.stored = big;
		W.store_content_elsewhere = true;
		W.hosts[0].ehlo = ehlo[e];
		struct job *j = give(job_for("a", NULL));
		post("b");
		settle();
		assert_string_equal(outcomes(j), "D250");
		assert_string_equal(outcomes(W.back[1]), "D250");
		assert_int_equal(W.parts, 4);
		assert_int_equal(W.biggest_part, 65536);
		assert_int_equal(W.released, 5);
		assert_true(W.hosts[0].content.len > size);
		assert_true(has(&W.hosts[0].content, big));
		world_teardown(NULL);
	}
	/* a part that cannot be read: half a message must not be taken */
	world_setup(NULL);
	W.stored = big;
	W.store_content_elsewhere = true;
	W.fail_part_at = 65536;
	struct job *j = give(job_for("a", NULL));
	settle();
	assert_int_equal(j->result, JOB_UNREADABLE);
	assert_int_equal(j->status, PH_EIO);
	assert_int_equal(W.hosts[0].messages, 0);
	assert_int_equal(W.hosts[0].open, 0);
	free(big);
}

/* --- routing --- */

static void
test_routed(void **state)
{
	struct job *j;
	(void)state;

	j = post("a 2b c fx 2d");
	settle();
	assert_int_equal(j->result, JOB_ROUTED);
	assert_int_equal(j->ngroups, 2);
	assert_int_equal(j->groups[0].n, 2);
	assert_int_equal(j->groups[0].rcpts[0], 0);
	assert_int_equal(j->groups[0].rcpts[1], 2);
	assert_int_equal(j->groups[1].rcpts[1], 4);
	assert_string_equal(j->groups[1].site->name, "other");
	assert_int_equal(j->nrcpts, 1);
	assert_int_equal(j->rcpts[0].index, 3);
	assert_string_equal(outcomes(j), "F0");
	assert_true(str_is(j->rcpts[0].reply, "5.1.1 not here"));
	assert_int_equal(W.hosts[0].connections, 0);
	/* only routing is wanted */
	j = job_for("a c", "x\r\n");
	j->kind = JOB_ROUTE;
	give(j);
	settle();
	assert_int_equal(j->result, JOB_ROUTED);
	assert_int_equal(j->ngroups, 1);
	assert_int_equal(j->groups[0].n, 2);
	/* nobody may have it */
	j = post("fx dy");
	settle();
	assert_int_equal(j->result, JOB_TRIED);
	assert_string_equal(outcomes(j), "F0 X0");
	assert_int_equal(W.hosts[0].connections, 0);
	assert_int_equal(W.sites, 2);
}

static void
test_route_waits(void **state)
{
	struct job *j;
	(void)state;

	W.route_waits = true;
	j = post("a");
	settle();
	assert_int_equal(W.nback, 0);
	W.routed(W.routed_arg);
	settle();
	assert_string_equal(outcomes(j), "D250");
	j = post("a");
	deliver_stop(W.d, 1000, on_stopped, NULL);
	settle();
	assert_int_equal(j->result, JOB_RETURNED);
	assert_int_equal(W.cancelled, 1);
}

static void
test_site_of(void **state)
{
	static const struct { const char *first, *second; const char *want;
	} cases[] = {
		{ "a@x", "b@x", "smart" },
		{ "a@x", "2@x", NULL },
		{ "a@x", "f@x", NULL },
		{ "2@x", "2@x", "other" },
	};
	(void)state;

	for (size_t i = 0; i < 4; i++) {
		struct recipient r[2] = { { .to = { .full = str_of(cases[i].first) } },
			{ .to = { .full = str_of(cases[i].second) } } };
		struct envelope env = { .rcpts = r, .nrcpts = 2 };
		struct site_info *s = deliver_site_of(W.d, &env);
		if (cases[i].want == NULL)
			assert_null(s);
		else
			assert_string_equal(s->name, cases[i].want);
		site_info_unref(&s);
		W.route_waits = true;
		assert_null(deliver_site_of(W.d, &env));
		W.route_waits = false;
	}
}

/* --- plugins --- */

static struct hook_entry nobody;

static void
listen_on(enum ph_hook hook)
{
	W.gen.hooks[hook] = (struct hook_list){ &nobody, 1 };
}

static void
test_hooks(void **state)
{
	struct job *j;
	(void)state;

	listen_on(PH_HOOK_ATTEMPT);
	listen_on(PH_HOOK_DELIVERED);
	listen_on(PH_HOOK_DEFERRED);
	listen_on(PH_HOOK_BOUNCED);
	W.attempt_verdict = PH_REJECT;
	W.reply = PH_R_POLICY;
	j = post("a b");
	settle();
	assert_string_equal(outcomes(j), "F0 F0");
	assert_true(str_is(j->rcpts[0].reply, "5.7.1 said by a plugin"));
	assert_int_equal(W.hosts[0].connections, 0);
	assert_int_equal(W.seen[PH_HOOK_BOUNCED], 2);
	W.attempt_verdict = PH_FAIL;
	j = post("a");
	settle();
	assert_string_equal(outcomes(j), "X0");
	assert_int_equal(W.seen[PH_HOOK_DEFERRED], 1);
	W.attempt_verdict = PH_CONTINUE;
	j = post("a no later fx");
	settle();
	assert_string_equal(outcomes(j), "D250 F550 X450 F0");
	assert_int_equal(W.seen[PH_HOOK_DELIVERED], 1);
	assert_int_equal(W.seen[PH_HOOK_BOUNCED], 4);
	assert_int_equal(W.seen[PH_HOOK_DEFERRED], 2);
	assert_int_equal(W.seen[PH_HOOK_ATTEMPT], 3);
}

static void
test_response_hook(void **state)
{
	struct job *j;
	(void)state;

	listen_on(PH_HOOK_RESPONSE);
	W.response_verdict = PH_REJECT;
	W.reply = PH_R_TRY_LATER;
	j = post("a no");
	settle();
	/* what was delivered stays so; a refusal became a delay */
	assert_string_equal(outcomes(j), "D250 X0");
	assert_true(str_is(j->rcpts[1].reply, "4.3.0 said by a plugin"));
	assert_int_equal(W.seen[PH_HOOK_RESPONSE], 2);
}

static void
test_hook_waits(void **state)
{
	struct plug_outcome o = { PH_CONTINUE, PH_R_NONE, STR("") };
	struct plug_session *ps;
	struct job *j, *k;
	(void)state;

	listen_on(PH_HOOK_ATTEMPT);
	listen_on(PH_HOOK_RESPONSE);
	W.suspends = true;
	j = post("a");
	settle();
	assert_int_equal(W.hosts[0].connections, 0);
	ps = W.suspended;
	W.suspended = NULL;
	ps->answered(ps, &o);
	settle();
	assert_int_equal(W.hosts[0].messages, 1);
	assert_int_equal(W.nback, 0);           /* response waits */
	k = post("b");                          /* attempt waits */
	settle();
	deliver_stop(W.d, 5000, on_stopped, NULL);
	settle();
	assert_int_equal(W.nback, 1);
	assert_ptr_equal(W.back[0], k);
	assert_int_equal(k->result, JOB_RETURNED);
	advance(6000);
	assert_int_equal(W.nback, 2);
	assert_string_equal(outcomes(j), "D250");
	assert_int_equal(W.stopped, 1);
}

/* --- the end, and a new beginning --- */

static void
test_stop(void **state)
{
	struct job *a, *b, *c;
	(void)state;

	W.hosts[0].ehlo = BARELY;
	W.hosts[0].silent_final = true;
	a = post("a");
	settle();
	b = post("b");
	settle();
	W.store_waits = true;
	c = give(job_for("c", NULL));
	settle();
	deliver_stop(W.d, 5000, on_stopped, NULL);
	settle();
	assert_int_equal(W.nback, 1);
	assert_ptr_equal(W.back[0], b);
	assert_int_equal(b->result, JOB_RETURNED);
	store_answer(W.asked[0]);
	settle();
	assert_int_equal(c->result, JOB_RETURNED);
	assert_int_equal(W.stopped, 0);
	advance(5001);
	assert_int_equal(W.nback, 3);
	assert_string_equal(outcomes(a), "X0");
	assert_true(says(a, 0, "connection lost while waiting for the final reply"));
	assert_int_equal(W.stopped, 1);
	/* what comes later goes back at once */
	struct job *d = post("d");
	settle();
	assert_int_equal(d->result, JOB_RETURNED);
}

static void
test_stop_finishes_what_is_on_the_wire(void **state)
{
	(void)state;
	for (int i = 0; i < 5; i++)
		post("a");
	for (int i = 0; i < 4; i++)
		turn();
	deliver_stop(W.d, 60000, on_stopped, NULL);
	settle();
	assert_int_equal(W.nback, 5);
	assert_int_equal(W.stopped, 1);
	assert_int_equal(W.hosts[0].open, 0);
	for (unsigned i = 0; i < 5; i++)
		if (W.back[i]->result == JOB_TRIED)
			assert_string_equal(outcomes(W.back[i]), "D250");
		else
			assert_int_equal(W.back[i]->result, JOB_RETURNED);
}

static void
test_generation(void **state)
{
	struct job *a, *b;
	(void)state;

	W.hosts[0].ehlo = BARELY;
	W.hosts[0].silent_final = true;
	a = post("a");
	settle();
	b = post("b");                          /* waits for the only connection */
	settle();
	W.hop.hosts = (struct ph_endpoints){ W.endpoints + 1, 1 };
	deliver_generation(W.d, &W.wp2, &W.cfg);
	settle();
	/* the hop has other hosts now: another site, which the queue must hear of */
	assert_int_equal(b->result, JOB_ROUTED);
	assert_int_equal(b->ngroups, 1);
	struct job *c = post("c");
	settle();
	assert_string_equal(outcomes(c), "D250");
	assert_int_equal(W.hosts[1].messages, 1);
	assert_true(W.wp.users > 0);            /* one message is still on the wire */
	advance(601000);
	assert_string_equal(outcomes(a), "X0");
	assert_int_equal(W.wp.users, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
/* those that make a world for each row, and leave the last to the teardown */
#define LAST(f) cmocka_unit_test_teardown(f, world_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_read_from_store), T(test_only_some), T(test_unreadable), LAST(test_stored_content),
		T(test_routed), T(test_route_waits), T(test_site_of),
		T(test_hooks), T(test_response_hook), T(test_hook_waits), T(test_stop),
		T(test_stop_finishes_what_is_on_the_wire), T(test_generation),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
