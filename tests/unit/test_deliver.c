/*
 * test_deliver.c - the way out against hosts with a temper: what comes home
 * for each message, how many connections it took, and what the hosts saw.
 */
#include "deliver_world.h"

static bool
says(const struct job *j, uint32_t i, const char *text)
{
	struct ph_str r = j->rcpts[i].reply;
	return r.n > 0 && memmem(r.p, r.n, text, strlen(text)) != NULL;
}

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
		assert_true(str_starts(v[i]->why, "two.example[192.0.2.2]:25: 421 4.3.2 busy; three.example"));
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

/* --- the store --- */

static void
test_read_from_store(void **state)
{
	struct job *j;
	struct rcpt_progress rp[3] = { { .state = RCPT_DELIVERED }, { .state = RCPT_PENDING }, { .state = RCPT_FAILED } };
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
	static const struct { const char *first, *second; const char *want; } cases[] = {
		{ "a@x", "b@x", "smart" }, { "a@x", "2@x", NULL }, { "a@x", "f@x", NULL }, { "2@x", "2@x", "other" },
	};
	(void)state;

	for (size_t i = 0; i < 4; i++) {
		struct recipient r[2] = { { .to = { .full = str_of(cases[i].first) } }, { .to = { .full = str_of(cases[i].second) } } };
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

/* --- TLS and login --- */

#define TLS_EHLO "250-mx\r\n250-STARTTLS\r\n250 PIPELINING\r\n"

static void
test_tls(void **state)
{
	static const struct {
		const char *name; enum ph_tls_policy policy; bool have; bool fails, unverified, offered;
		const char *want; unsigned secured, connections;
	} cases[] = {
		{ "off", PH_TLS_OFF, true, false, false, true, "D250", 0, 1 },
		{ "opportunistic", PH_TLS_OPPORTUNISTIC, true, false, true, true, "D250", 1, 1 },
		{ "opportunistic, not offered", PH_TLS_OPPORTUNISTIC, true, false, false, false, "D250", 0, 1 },
		{ "opportunistic, no provider", PH_TLS_OPPORTUNISTIC, false, false, false, true, "D250", 0, 1 },
		{ "opportunistic, handshake fails", PH_TLS_OPPORTUNISTIC, true, true, false, true, "D250", 0, 2 },
		{ "required", PH_TLS_REQUIRED, true, false, true, true, "D250", 1, 1 },
		{ "required, not offered", PH_TLS_REQUIRED, true, false, false, false, "4.7.4", 0, 1 },
		{ "required, no provider", PH_TLS_REQUIRED, false, false, false, true, "4.7.5", 0, 0 },
		{ "required, handshake fails", PH_TLS_REQUIRED, true, true, false, true, "4.7.5 TLS handshake failed: bad certificate", 0, 1 },
		{ "verify", PH_TLS_VERIFY, true, false, false, true, "D250", 1, 1 },
		{ "verify, not verified", PH_TLS_VERIFY, true, false, true, true, "4.7.5 certificate not verified", 1, 1 },
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		world_setup(NULL);
		W.hop.tls = cases[i].policy;
		W.have_secure = cases[i].have;
		W.verified = !cases[i].unverified;
		W.hosts[0].handshake_fails = cases[i].fails;
		W.hosts[0].ehlo = cases[i].offered ? TLS_EHLO : GROUPING;
		struct job *j = post("a");
		settle();
		assert_int_equal(W.nback, 1);
		if (cases[i].want[0] == 'D')
			assert_string_equal(outcomes(j), cases[i].want);
		else {
			assert_int_equal(j->result, JOB_SITE_DOWN);
			if (memmem(j->why.p, j->why.n, cases[i].want, strlen(cases[i].want)) == NULL)
				fail_msg("%s: " STR_FMT, cases[i].name, STR_ARG(j->why));
			assert_int_equal(W.hosts[0].mails, 0);  /* nothing in the clear */
		}
		assert_int_equal(W.hosts[0].secured, cases[i].secured);
		assert_int_equal(W.hosts[0].connections, cases[i].connections);
		world_teardown(NULL);
	}
	world_setup(NULL);
}

static void
test_login(void **state)
{
	static const struct { const char *name, *ehlo, *auth; enum ph_sasl_result sasl; const char *want; bool refused; } cases[] = {
		{ "accepted", "250-mx\r\n250 AUTH PLAIN\r\n", "235 2.7.0 ok", PH_SASL_DONE, NULL, false },
		{ "refused", "250-mx\r\n250 AUTH PLAIN\r\n", "535 5.7.8 bad", PH_SASL_DONE, "login refused: 535 5.7.8 bad", true },
		{ "not now", "250-mx\r\n250 AUTH PLAIN\r\n", "454 4.7.0 later", PH_SASL_DONE, "454 4.7.0 later", false },
		{ "no mechanism", "250-mx\r\n250 AUTH GSSAPI\r\n", "", PH_SASL_DONE, "4.7.0 no usable login mechanism without TLS, the remote offers GSSAPI", false },
		{ "not offered", BARELY, "", PH_SASL_DONE, "AUTH is not offered", false },
		{ "mechanism gives up", "250-mx\r\n250 AUTH PLAIN\r\n", "", PH_SASL_TRY_LATER, "4.7.0 the login mechanism failed", false },
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		world_setup(NULL);
		W.hop.auth = "password";
		W.hop.login = "u";
		W.sasl_result = cases[i].sasl;
		W.hop.hosts.n = 2;
		for (int h = 0; h < 2; h++) {
			W.hosts[h].ehlo = cases[i].ehlo;
			W.hosts[h].auth = cases[i].auth;
		}
		struct job *j = post("a"), *k = post("b");
		settle();
		assert_int_equal(W.nback, 2);
		if (cases[i].want == NULL) {
			assert_string_equal(outcomes(j), "D250");
			assert_true(has(&W.hosts[0].commands, "AUTH PLAIN AHUAcA=="));
		} else {
			assert_int_equal(j->result, JOB_SITE_DOWN);
			assert_int_equal(k->result, JOB_SITE_DOWN);
			if (memmem(j->why.p, j->why.n, cases[i].want, strlen(cases[i].want)) == NULL)
				fail_msg("%s: " STR_FMT, cases[i].name, STR_ARG(j->why));
			assert_int_equal(j->site_login_refused, cases[i].refused);
			assert_int_equal(W.hosts[1].connections, cases[i].refused ? 0 : 1);
		}
		world_teardown(NULL);
	}
	world_setup(NULL);
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
/* those that end within a world of their own, over a table */
#define TABLE(f) cmocka_unit_test(f)
#define LAST(f) cmocka_unit_test_teardown(f, world_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_one), TABLE(test_outcomes), T(test_refused_by_us), T(test_streaming_uses_one_connection),
		T(test_connections_stay_within_grant), T(test_all_connections_limit), TABLE(test_next_host),
		T(test_site_down), T(test_greets_and_leaves), T(test_room_for_few), LAST(test_stale_connection),
		LAST(test_lost_final_reply), T(test_421_after_some), T(test_421_at_once), T(test_recipients_per_message),
		T(test_messages_per_connection), T(test_idle), T(test_grant_withdrawn), T(test_read_from_store),
		T(test_only_some), T(test_unreadable), LAST(test_stored_content), T(test_routed), T(test_route_waits),
		T(test_site_of), LAST(test_tls), LAST(test_login), T(test_hooks), T(test_response_hook),
		T(test_hook_waits), T(test_stop), T(test_stop_finishes_what_is_on_the_wire), T(test_generation),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
