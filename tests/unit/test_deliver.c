/*
 * test_deliver.c - the way out against hosts with a temper: what comes home
 * for each message, how many connections it took, and what the hosts saw.
 */
#include "deliver_world.h"

static void
test_one(void **state)
{
	struct job *j;
	struct deliver_counts n;
	(void)state;

	j = post("a");
	settle();
	assert_int_equal(W.nback, 1);
	assert_ptr_equal(W.back[0], j);
	assert_int_equal(j->result, JOB_TRIED);
	assert_true(j->site_ok);
	assert_string_equal(outcomes(j), "D250");
	assert_true(str_is(j->rcpts[0].reply, "250 2.0.0 taken"));
	assert_true(str_is(j->rcpts[0].remote, "one.example[192.0.2.1]:25"));
	assert_true(j->rcpts[0].dsn_passed);
	assert_true(str_is(buf_view(&W.hosts[0].content), "Subject: x\r\n\r\nbody\r\n"));
	assert_int_equal(W.hosts[0].open, 1);   /* kept */
	deliver_counts(W.d, &n);
	assert_int_equal(n.delivered, 1);
	assert_int_equal(n.connections, 1);
	assert_int_equal(n.attempts, 1);
}

static void
test_outcomes(void **state)
{
	static const struct { const char *ehlo, *on_mail, *on_final, *rcpts, *want; } cases[] = {
		{ STREAMING, NULL, NULL, "a no later", "D250 F550 X450" },
		{ GROUPING, NULL, NULL, "a no later", "D250 F550 X450" },
		{ BARELY, NULL, NULL, "a no later", "D250 F550 X450" },
		{ STREAMING, NULL, NULL, "no nobody", "F550 F550" },
		{ GROUPING, NULL, NULL, "no later", "F550 X450" },
		{ STREAMING, "550 5.7.1 not you", NULL, "a no", "F550 F550" },
		{ GROUPING, "451 4.7.1 greylisted", NULL, "a b", "X451 X451" },
		{ STREAMING, NULL, "552 5.3.4 too big", "a no", "F552 F550" },
		{ BARELY, NULL, "452 4.3.1 full", "a no", "X452 F550" },
		/* "too many" for some: a second transaction at once */
		{ STREAMING, NULL, NULL, "a many1 many2", "D250 D250 D250" },
		{ GROUPING, NULL, NULL, "a many1 many2 no", "D250 D250 D250 F550" },
		/* a router's own word */
		{ STREAMING, NULL, NULL, "fail a", "F0 D250" },
		{ STREAMING, NULL, NULL, "defer a no", "X0 D250 F550" },
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct job *j;

		world_setup(NULL);
		W.hosts[0].ehlo = cases[i].ehlo;
		W.hosts[0].on_mail = cases[i].on_mail;
		W.hosts[0].on_final = cases[i].on_final;
		j = post(cases[i].rcpts);
		settle();
		assert_int_equal(W.nback, 1);
		assert_int_equal(j->result, JOB_TRIED);
		if (strcmp(outcomes(j), cases[i].want) != 0)
			fail_msg("row %zu: %s, not %s", i, outcomes(j), cases[i].want);
		/* the connection is good for another */
		W.hosts[0].on_mail = W.hosts[0].on_final = NULL;
		j = post("z");
		settle();
		assert_string_equal(outcomes(j), "D250");
		assert_int_equal(W.hosts[0].connections, 1);
		world_teardown(NULL);
	}
}

static void
test_refused_by_us(void **state)
{
	struct job *j;
	(void)state;

	W.hosts[0].ehlo = "250-mx\r\n250-PIPELINING\r\n250 SIZE 10\r\n";
	j = post("a");
	settle();
	assert_string_equal(outcomes(j), "F0");
	assert_true(str_starts(j->rcpts[0].reply, "5.3.4 message of 20 bytes"));
	assert_int_equal(W.hosts[0].mails, 0);
}

static void
test_streaming_uses_one_connection(void **state)
{
	(void)state;
	grant(10);
	for (int i = 0; i < 30; i++)
		post("a");
	settle();
	assert_int_equal(W.nback, 30);
	for (unsigned i = 0; i < W.nback; i++)
		assert_string_equal(outcomes(W.back[i]), "D250");
	assert_in_range(W.hosts[0].connections, 1, 10);
	for (int i = 0; i < 30; i++)
		post("a");
	settle();
	assert_int_equal(W.nback, 60);
	assert_int_equal(W.hosts[0].messages, 60);
}

static void
test_connections_stay_within_grant(void **state)
{
	(void)state;
	W.hosts[0].ehlo = BARELY;
	W.hosts[0].silent_final = true;
	grant(3);
	for (int i = 0; i < 10; i++)
		post("a");
	settle();
	assert_int_equal(W.hosts[0].connections, 3);
	assert_int_equal(W.nback, 0);
	grant(4);
	settle();
	assert_int_equal(W.hosts[0].connections, 4);
	/* the final reply never comes: ten minutes, then put off */
	advance(601000);
	assert_int_equal(W.nback, 4);
	assert_string_equal(outcomes(W.back[0]), "X0");
	assert_true(says(W.back[0], 0, "connection lost while waiting for the final reply"));
	assert_true(says(W.back[0], 0, "timed out waiting for reply to end of data"));
	W.hosts[0].silent_final = false;
	advance(601000);
	assert_int_equal(W.nback, 10);
}

static void
test_all_connections_limit(void **state)
{
	struct job *j;
	(void)state;

	W.cfg.max_connections = 1;
	deliver_generation(W.d, &W.wp2, &W.cfg);
	post("a");
	settle();
	assert_int_equal(W.hosts[0].open, 1);
	/* another site needs the only connection: the idle one goes */
	j = job_for("2b", "x\r\n");
	give(j);
	settle();
	assert_int_equal(j->result, JOB_ROUTED);
	struct job *k = job_for("2b", "x\r\n");
	k->site = site_info_ref(j->groups[0].site);
	give(k);
	settle();
	assert_int_equal(k->result, JOB_TRIED);
	assert_string_equal(outcomes(k), "D250");
	assert_int_equal(W.hosts[0].open, 0);
	assert_int_equal(W.hosts[0].quits, 1);
	assert_int_equal(W.hosts[3].open, 1);
}

static void
test_next_host(void **state)
{
	static const struct { struct host one; } cases[] = {
		{ { .refuses = true } },
		{ { .greeting = "421 4.3.2 not now" } },
		{ { .greeting = "554 5.7.1 go away" } },
		{ { .greeting = "HTTP/1.0 400 x" } },
		{ { .ehlo = "451 4.3.0 later\r\n" } },
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		world_setup(NULL);
		W.hop.hosts.n = 2;
		W.hosts[0] = cases[i].one;
		struct job *j = post("a");
		settle();
		assert_string_equal(outcomes(j), "D250");
		assert_true(str_is(j->rcpts[0].remote, "two.example[192.0.2.2]:25"));
		assert_int_equal(W.hosts[0].open, 0);
		world_teardown(NULL);
	}
}

static void
test_site_down(void **state)
{
	struct job *v[5];
	(void)state;

	W.hop.hosts.n = 3;
	W.hosts[0].refuses = true;
	W.hosts[1].greeting = "421 4.3.2 busy";
	W.hosts[2].refuses = true;
	grant(2);
	for (int i = 0; i < 5; i++)
		v[i] = post("a");
	settle();
	assert_int_equal(W.nback, 5);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(v[i]->result, JOB_SITE_DOWN);
		assert_false(v[i]->site_ok);
		assert_true(str_starts(
		    v[i]->why, "two.example[192.0.2.2]:25: 421 4.3.2 busy; three.example"));
	}
	/* a probe finds it working again */
	W.hosts[0].refuses = false;
	struct job *p = job_for("a", "x\r\n");
	p->kind = JOB_PROBE;
	give(p);
	settle();
	assert_string_equal(outcomes(p), "D250");
	assert_true(p->site_ok);
}

static void
test_greets_and_leaves(void **state)
{
	struct job *j;
	(void)state;

	/* READY, then gone before any message: no endless dialling */
	W.hosts[0].ehlo = STREAMING "421 4.3.2 bye\r\n";
	j = post("a");
	settle();
	assert_int_equal(W.nback, 1);
	assert_int_equal(j->result, JOB_SITE_DOWN);
	assert_in_range(W.hosts[0].connections, 1, 3);
}

static void
test_room_for_few(void **state)
{
	(void)state;
	W.hosts[0].ehlo = BARELY;
	W.hosts[0].room = 2;
	grant(6);
	for (int i = 0; i < 12; i++)
		post("a");
	settle();
	assert_int_equal(W.nback, 12);
	for (unsigned i = 0; i < 12; i++)
		assert_string_equal(outcomes(W.back[i]), "D250");
}

static void
test_stale_connection(void **state)
{
	static const char *const ehlo[] = { STREAMING, GROUPING, BARELY };
	(void)state;

	for (size_t i = 0; i < 3; i++) {
		world_setup(NULL);
		W.hosts[0].ehlo = ehlo[i];
		W.hosts[0].hang_up_after = 1;
		W.hosts[0].hang_up_at_mail = true;
		post("a");
		settle();
		struct job *j = post("b");
		settle();
		assert_int_equal(j->result, JOB_TRIED);
		assert_string_equal(outcomes(j), "D250");
		assert_int_equal(W.hosts[0].connections, 2);
		world_teardown(NULL);
	}
	/* a fresh connection that leaves at MAIL: put off, not tried for ever */
	world_setup(NULL);
	W.hosts[0].ehlo = GROUPING;
	W.hosts[0].hang_up_at_mail = true;
	struct job *j = post("a");
	settle();
	assert_int_equal(j->result, JOB_TRIED);
	assert_string_equal(outcomes(j), "X0");
	assert_true(says(j, 0, "4.4.2 connection lost (connection closed by the remote)"));
	assert_int_equal(W.hosts[0].connections, 1);
}

static void
test_lost_final_reply(void **state)
{
	static const char *const ehlo[] = { STREAMING, GROUPING, BARELY };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		world_setup(NULL);
		W.hosts[0].ehlo = ehlo[i];
		W.hosts[0].hang_up_at_final = true;
		struct job *j = post("a no");
		settle();
		assert_string_equal(outcomes(j), "X0 F550");
		assert_true(says(j, 0, "connection lost while waiting for the final reply"));
		assert_int_equal(W.hosts[0].messages, 1);
		world_teardown(NULL);
	}
	world_setup(NULL);
}

static void
test_421_after_some(void **state)
{
	(void)state;
	W.hosts[0].bye_after = 3;
	for (int i = 0; i < 10; i++)
		post("a");
	settle();
	assert_int_equal(W.nback, 10);
	for (unsigned i = 0; i < 10; i++)
		assert_string_equal(outcomes(W.back[i]), "D250");
	assert_int_equal(W.hosts[0].messages, 10);
	assert_int_equal(W.hosts[0].connections, 4);
}

static void
test_421_at_once(void **state)
{
	struct job *j;
	(void)state;

	W.hosts[0].on_mail = "421 4.7.0 no";
	j = post("a");
	settle();
	assert_string_equal(outcomes(j), "X421");
	assert_int_equal(W.hosts[0].connections, 1);
}

static void
test_recipients_per_message(void **state)
{
	struct job *j;
	(void)state;

	W.hop.recipients_per_message = 2;
	j = post("a no b later c");
	settle();
	assert_string_equal(outcomes(j), "D250 F550 D250 X450 D250");
	assert_int_equal(W.hosts[0].messages, 3);
	assert_int_equal(W.hosts[0].rcpts_most, 1);
	W.hop.recipients_per_message = 0;
	W.hosts[0].rcpts_most = 0;
	j = post("a b c");
	settle();
	assert_int_equal(W.hosts[0].rcpts_most, 3);
}

static void
test_messages_per_connection(void **state)
{
	(void)state;
	W.hop.messages_per_connection = 4;
	for (int i = 0; i < 10; i++)
		post("a");
	settle();
	assert_int_equal(W.nback, 10);
	assert_int_equal(W.hosts[0].connections, 3);
	assert_int_equal(W.hosts[0].quits, 2);
}

static void
test_idle(void **state)
{
	(void)state;
	post("a");
	settle();
	advance(29000);
	assert_int_equal(W.hosts[0].open, 1);
	assert_int_equal(W.hosts[0].quits, 0);
	advance(1500);
	assert_int_equal(W.hosts[0].open, 0);
	assert_int_equal(W.hosts[0].quits, 1);
	post("a");
	settle();
	assert_int_equal(W.hosts[0].connections, 2);
	assert_string_equal(outcomes(W.back[1]), "D250");
}

static void
test_grant_withdrawn(void **state)
{
	struct job *a, *b;
	(void)state;

	/* an idle connection goes */
	post("a");
	settle();
	grant(0);
	settle();
	assert_int_equal(W.hosts[0].open, 0);
	assert_int_equal(W.hosts[0].quits, 1);
	/* a busy one finishes its message; what waited behind it goes home */
	W.hosts[0].ehlo = BARELY;
	W.hosts[0].silent_final = true;
	grant(1);
	a = post("a");
	b = post("b");
	settle();
	grant(0);
	settle();
	assert_int_equal(W.nback, 1);
	advance(601000);
	assert_int_equal(W.nback, 3);
	assert_string_equal(outcomes(a), "X0");
	assert_int_equal(b->result, JOB_RETURNED);
}

#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
/* those that make a world for each row, and leave the last to the teardown */
/* and those that end within it */
#define TABLE(f) cmocka_unit_test(f)
#define LAST(f) cmocka_unit_test_teardown(f, world_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_one), TABLE(test_outcomes), T(test_refused_by_us),
		T(test_streaming_uses_one_connection), T(test_connections_stay_within_grant),
		T(test_all_connections_limit), TABLE(test_next_host), T(test_site_down),
		T(test_greets_and_leaves), T(test_room_for_few), LAST(test_stale_connection),
		LAST(test_lost_final_reply), T(test_421_after_some), T(test_421_at_once),
		T(test_recipients_per_message), T(test_messages_per_connection), T(test_idle),
		T(test_grant_withdrawn),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
