/*
 * test_smtp_server.c - dialogues with the server engine.  Each runs whole,
 * line by line, byte by byte and with late answers, with the same outcome.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "server_driver.h"
#include "server_dialogues.h"

static void
configure(struct smtp_server_config *cfg, struct driver *d, unsigned with)
{
	if (cfg != NULL) {
		*cfg = driver_defaults;
		cfg->accept_bare_newline = (with & BARE_OK) != 0;
		cfg->offer_tls = (with & (TLS | TLS_MUST)) != 0;
		cfg->require_tls = (with & TLS_MUST) != 0;
		cfg->offer_auth = (with & (AUTH | AUTH_MUST | AUTH_IN_TLS)) != 0;
		cfg->require_auth = (with & AUTH_MUST) != 0;
		if (with & PLAIN_SMTP)
			cfg->offer_chunking = cfg->offer_dsn = cfg->offer_smtputf8 = false;
		if (with & FEW_ERRORS)
			cfg->max_errors = 3;
		if (with & FEW_MAILS)
			cfg->max_transactions = 2;
		if (with & NO_LIMITS)
			cfg->max_message_size = 0, cfg->max_recipients = 0, cfg->max_errors = 0;
	}
	if (d != NULL) {
		if (with & (AUTH | AUTH_MUST))
			d->s.mechanisms = STR("PLAIN LOGIN");
		d->facts.admitted = !(with & NOT_ADMITTED);
		smtp_server_room(&d->s, !(with & NO_ROOM));
	}
}

enum way { WHOLE, LINES, BYTES, SEVENS, LATE };

static void
run(const struct dialogue *g, enum way way)
{
	struct smtp_server_config cfg;
	struct driver d;
	struct ph_str script = str_make(g->script, g->n != 0 ? g->n : strlen(g->script));
	char *want;

	configure(&cfg, NULL, g->with);
	driver_init(&d, &cfg);
	configure(NULL, &d, g->with);
	d.later = way == LATE;
	driver_run(&d);         /* the greeting */
	if (way == LINES) {
		while (script.n != 0) {
			const char *lf = memchr(script.p, '\n', script.n);
			size_t n = lf != NULL ? (size_t)(lf - script.p) + 1 : script.n;

			driver_feed(&d, str_head(script, n), 0);
			script = str_skip(script, n);
		}
	} else {
		driver_feed(&d, script, way == BYTES ? 1 : way == SEVENS ? 7 : 0);
	}
	/* the greeting and the first hello are the same everywhere */
	want = malloc(strlen(g->want) + 64);
	sprintf(want, "220%s%s", g->want[0] != '\0' ? " " : "", g->want);
	if (!str_is(buf_view(&d.log), want)) {
		print_error("%s (way %d)\n  got  " STR_FMT "\n  want %s\n", g->name, way,
		            STR_ARG(buf_view(&d.log)), want);
		fail();
	}
	if (!(g->with & FEW_ERRORS))
		assert_int_equal(d.refusals_told, d.refusals_seen);
	free(want);
	driver_free(&d);
}

static void
dialogue_runs(void **state)
{
	const struct dialogue *g = *state;

	for (enum way way = WHOLE; way <= LATE; way++)
		run(g, way);
}

static void
ehlo_offers(void **state)
{
	struct smtp_server_config cfg = driver_defaults;
	struct smtp_request req;
	struct driver d;
	struct ph_str in = STR("EHLO x\r\n");

	(void)state;
	cfg.offer_tls = cfg.offer_auth = true;
	cfg.max_transactions = 50;
	driver_init(&d, &cfg);
	d.s.mechanisms = STR("NTLM PLAIN");
	driver_run(&d);
	assert_int_equal(smtp_server_step(&d.s, &in, &req), SMTP_RQ_ASK);
	assert_int_equal(req.hook, PH_HOOK_HELLO);
	assert_true(str_is(d.facts.hello, "x"));
	smtp_server_verdict(&d.s, PH_ACCEPT, PH_R_NONE, STR(""));
	assert_true(str_is(buf_view(&d.s.out),
	    "250-relay.test\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-STARTTLS\r\n"
	    "250-AUTH NTLM PLAIN\r\n250-8BITMIME\r\n250-BINARYMIME\r\n250-CHUNKING\r\n250-SMTPUTF8\r\n"
	    "250-DSN\r\n250-LIMITS MAILMAX=50 RCPTMAX=3\r\n250 ENHANCEDSTATUSCODES\r\n"));
	driver_free(&d);
	/* and next to nothing */
	memset(&cfg, 0, sizeof cfg);
	cfg.hostname = STR("relay.test");
	cfg.max_line = 512;
	driver_init(&d, &cfg);
	driver_run(&d);
	in = STR("EHLO x\r\n");
	assert_int_equal(smtp_server_step(&d.s, &in, &req), SMTP_RQ_ASK);
	smtp_server_verdict(&d.s, PH_ACCEPT, PH_R_NONE, STR(""));
	assert_true(str_is(buf_view(&d.s.out),
	    "250-relay.test\r\n250-SIZE\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n"));
	driver_free(&d);
}

static void
envelope_is_complete(void **state)
{
	struct driver d;
	struct smtp_request req;
	struct ph_str in = STR("EHLO h\r\nMAIL FROM:<a@b.c> SIZE=9 BODY=8BITMIME SMTPUTF8 RET=HDRS "
	    "ENVID=q+2Bz\r\nRCPT TO:<\xc3\xb6@y> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;x@y\r\nRCPT TO:<z@y> "
	    "NOTIFY=NEVER\r\nNOOP\r\n");
	enum smtp_rq rq;

	(void)state;
	driver_init(&d, &driver_defaults);
	while ((rq = smtp_server_step(&d.s, &in, &req)) != SMTP_RQ_NONE) {
		/* what is asked must not point into input that moves */
		if (rq == SMTP_RQ_ASK)
			smtp_server_verdict(&d.s, PH_CONTINUE, PH_R_NONE, STR(""));
	}
	assert_int_equal(d.s.state, SMTP_RCPT);
	assert_true(str_is(d.s.env.from.full, "a@b.c"));
	assert_int_equal(d.s.env.declared_size, 9);
	assert_int_equal(d.s.env.body, BODY_8BITMIME);
	assert_true(d.s.env.smtputf8);
	assert_int_equal(d.s.env.ret, RET_HDRS);
	assert_true(str_is(d.s.env.envid, "q+2Bz"));
	assert_true(str_is(d.s.env.client_addr, "192.0.2.7"));
	assert_true(str_is(d.s.env.client_hello, "h"));
	assert_true(str_is(d.s.env.protocol, "UTF8SMTP"));
	assert_int_equal(d.s.env.nrcpts, 2);
	assert_int_equal(d.s.env.rcpts[0].notify, NOTIFY_SUCCESS | NOTIFY_DELAY);
	assert_true(str_is(d.s.env.rcpts[0].orcpt, "rfc822;x@y"));
	assert_true(d.s.env.rcpts[0].to.utf8);
	assert_int_equal(d.s.env.rcpts[1].notify, NOTIFY_NEVER);
	driver_free(&d);
}

static void
connect_refused(void **state)
{
	static const struct { enum ph_verdict v; enum ph_reply r; const char *want; } rows[] = {
		{ PH_REJECT, PH_R_NO_SERVICE, "554 5.7.1 no\r\n" },
		{ PH_REJECT, PH_R_TOO_MANY_FROM_YOU, "421 4.7.0 no\r\n" },
		{ PH_REJECT, PH_R_GREYLISTED, "421 4.3.2 no\r\n" },
		{ PH_FAIL, PH_R_NONE, "421 4.3.2 Try again later\r\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct driver d;
		struct smtp_request req;
		struct ph_str in = STR("EHLO x\r\nQUIT\r\n");

		driver_init(&d, &driver_defaults);
		assert_int_equal(smtp_server_step(&d.s, &in, &req), SMTP_RQ_ASK);
		assert_int_equal(req.hook, PH_HOOK_CONNECT);
		smtp_server_verdict(&d.s, rows[i].v, rows[i].r, STR("no"));
		assert_true(str_is(buf_view(&d.s.out), rows[i].want));
		assert_int_equal(smtp_server_step(&d.s, &in, &req), SMTP_RQ_REJECTED);
		assert_int_equal(smtp_server_step(&d.s, &in, &req), SMTP_RQ_CLOSE);
		assert_int_equal(smtp_server_step(&d.s, &in, &req), SMTP_RQ_NONE);
		assert_int_equal(in.n, 0);
		assert_true(str_is(buf_view(&d.s.out), rows[i].want));
		driver_free(&d);
	}
}

static void
early_talker(void **state)
{
	struct driver d;
	struct smtp_request req;
	struct ph_str in = STR("EHLO x\r\n");

	(void)state;
	driver_init(&d, &driver_defaults);
	assert_int_equal(smtp_server_step(&d.s, &in, &req), SMTP_RQ_ASK);
	smtp_server_early_talk(&d.s);
	smtp_server_verdict(&d.s, PH_CONTINUE, PH_R_NONE, STR(""));     /* too late */
	driver_run(&d);
	assert_true(str_is(buf_view(&d.log), "554/5.5.1 CLOSE"));
	driver_free(&d);
}

/* The owner may end the session at any point; exactly one END when one is due. */
static void
ended_by_owner(void **state)
{
	static const struct { const char *script, *want; } rows[] = {
		{ "", "220 421/4.3.2 CLOSE" },
		{ "EHLO x\r\nMAIL FR", "220 250 421/4.3.2 CLOSE" },
		{ "EHLO x\r\nMAIL FROM:<a@b>\r\n", "220 250 250/2.1.0 BEGIN 421/4.3.2 END CLOSE" },
		{ "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\nabc\r\n.",
		  "220 250 250/2.1.0 BEGIN 250/2.1.5 354 421/4.3.2 END CLOSE" },
		{ "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nBDAT 9\r\nabc",
		  "220 250 250/2.1.0 BEGIN 250/2.1.5 421/4.3.2 END CLOSE" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct driver d;

		driver_init(&d, &driver_defaults);
		driver_run(&d);
		driver_feed(&d, str_of(rows[i].script), 0);
		smtp_server_end(&d.s, PH_R_SHUTTING_DOWN);
		smtp_server_end(&d.s, PH_R_SHUTTING_DOWN);
		driver_run(&d);
		if (!str_is(buf_view(&d.log), rows[i].want))
			print_error("got " STR_FMT "\n", STR_ARG(buf_view(&d.log)));
		assert_true(str_is(buf_view(&d.log), rows[i].want));
		driver_free(&d);
	}
}

/* A message that is being stored gets its 250 before the session ends. */
static void
ended_while_storing(void **state)
{
	struct driver d;
	struct smtp_request req;
	struct ph_str in = STR("EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\nabc\r\n.\r\nNOOP\r\n");
	enum smtp_rq rq;

	(void)state;
	driver_init(&d, &driver_defaults);
	while ((rq = smtp_server_step(&d.s, &in, &req)) != SMTP_RQ_STORE)
		if (rq == SMTP_RQ_ASK)
			smtp_server_verdict(&d.s, PH_CONTINUE, PH_R_NONE, STR(""));
	buf_clear(&d.s.out);
	smtp_server_end(&d.s, PH_R_SHUTTING_DOWN);
	assert_int_equal(d.s.out.len, 0);
	assert_int_equal(smtp_server_step(&d.s, &in, &req), SMTP_RQ_NONE);
	smtp_server_stored(&d.s, 0, (struct ph_msgid){ 1, 0 });
	assert_true(str_starts(buf_view(&d.s.out), "250 2.0.0 Queued as 0"));
	assert_int_equal(smtp_server_step(&d.s, &in, &req), SMTP_RQ_CLOSE);
	assert_non_null(memmem(d.s.out.data + d.s.out.head, d.s.out.len, "421 4.3.2", 9));
	driver_free(&d);
}

/* Only whole commands and 4 KiB of content count as progress. */
static void
drips_are_no_progress(void **state)
{
	struct smtp_server_config cfg = driver_defaults;
	struct driver d;
	uint64_t before;

	(void)state;
	cfg.max_message_size = 0;
	driver_init(&d, &cfg);
	driver_run(&d);
	before = d.s.progress;
	driver_feed(&d, STR("EHLO xxxxxxxxxxxxxxxxxxxx"), 1);
	assert_int_equal(d.s.progress, before);
	driver_feed(&d, STR("\r\n"), 1);
	assert_true(d.s.progress > before);
	assert_int_equal(smtp_server_timeout_ms(&d.s), 300000);
	driver_feed(&d, STR("MAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\n"), 0);
	assert_int_equal(smtp_server_timeout_ms(&d.s), 180000);
	before = d.s.progress;
	for (int i = 0; i < 4095; i++)
		driver_feed(&d, STR("x"), 0);
	assert_int_equal(d.s.progress, before);
	driver_feed(&d, STR("x"), 0);
	assert_int_equal(d.s.progress, before + 1);
	driver_free(&d);
}

/* A client that asks for much and reads nothing cannot make out grow without
 * the owner being told. */
static void
replies_are_flushed(void **state)
{
	struct driver d;
	struct smtp_request req;
	struct buf flood = { 0 };
	struct ph_str in;
	unsigned flushes = 0;
	size_t most = 0;
	enum smtp_rq rq;

	(void)state;
	driver_init(&d, &driver_defaults);
	driver_run(&d);
	for (int i = 0; i < 10000; i++)
		buf_adds(&flood, "HELP\r\n");
	in = buf_view(&flood);
	while ((rq = smtp_server_step(&d.s, &in, &req)) != SMTP_RQ_NONE) {
		assert_int_equal(rq, SMTP_RQ_FLUSH);
		most = d.s.out.len > most ? d.s.out.len : most;
		buf_clear(&d.s.out);
		flushes++;
	}
	assert_true(flushes > 10);
	assert_true(most < 20000);
	buf_free(&flood);
	driver_free(&d);
}

/* No client can make the arenas grow by repeating itself. */
static void
memory_is_bounded(void **state)
{
	struct smtp_server_config cfg = driver_defaults;
	struct driver d;

	(void)state;
	cfg.max_errors = 0;
	driver_init(&d, &cfg);
	driver_run(&d);
	for (int i = 0; i < 2000; i++) {
		driver_feed(&d, STR("EHLO some.very.long.name.that.would.take.room.example\r\n"), 0);
		driver_feed(&d, STR("MAIL FROM:<refuse@somewhere.example>\r\n"), 0);
	}
	driver_feed(&d, STR("MAIL FROM:<a@b>\r\n"), 0);
	for (int i = 0; i < 2000; i++)
		driver_feed(&d, STR("RCPT TO:<later@somewhere.example>\r\n"), 0);
	assert_true(d.session_arena.total < 4096);
	assert_true(d.arena.total < 16384);
	driver_free(&d);
}

#define COUNT (sizeof dialogues / sizeof dialogues[0])

int
main(void)
{
	static const struct CMUnitTest others[] = {
		cmocka_unit_test(ehlo_offers),
		cmocka_unit_test(envelope_is_complete),
		cmocka_unit_test(connect_refused),
		cmocka_unit_test(early_talker),
		cmocka_unit_test(ended_by_owner),
		cmocka_unit_test(ended_while_storing),
		cmocka_unit_test(drips_are_no_progress),
		cmocka_unit_test(replies_are_flushed),
		cmocka_unit_test(memory_is_bounded),
	};
	static struct CMUnitTest tests[COUNT + sizeof others / sizeof others[0]];

	for (size_t i = 0; i < COUNT; i++)
		tests[i] = (struct CMUnitTest){ dialogues[i].name, dialogue_runs, NULL, NULL,
		                                (void *)&dialogues[i] };
	memcpy(tests + COUNT, others, sizeof others);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
