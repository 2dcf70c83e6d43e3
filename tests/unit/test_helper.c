/*
 * test_helper.c - pools of helpers, with real child processes: shell scripts
 * that answer, hang, die, and talk out of turn.  What must hold above all:
 * an answer never reaches a lease that did not ask for it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/buf.h"
#include "base/list.h"
#include "base/str.h"
#include "net/helper.h"

#define ECHOES "while read x; do echo \"$$ $x\"; done"

static struct loop *l;
static struct helper_pool *pool;
static struct buf logged;
static int64_t answer_limit, restart_min;       /* ms; setup sets them */

static void
log_line(void *arg, enum ph_level level, const char *text)
{
	(void)arg;
	buf_printf(&logged, "%d %s\n", level, text);
}

static size_t
log_count(const char *what)
{
	size_t n = 0;
	buf_addc(&logged, '\0');
	for (const char *at = logged.data + logged.head; (at = strstr(at, what)) != NULL; at++)
		n++;
	logged.len--;
	return n;
}

/* One user of the pool: begins, asks a script of requests, notes the answers. */
struct user {
	struct helper_lease *lease;
	int got, status;                /* 1: not told yet */
	struct buf text;
	bool ends_at_answer;
};

static void overdue(struct timer *t) { (void)t; fail_msg("the loop did not stop by itself"); }

static void
run(void)
{
	struct timer t = { .fn = overdue };
	timer_start(l, &t, 15000);
	loop_run(l);
	timer_stop(l, &t);
}

static void pause_over(struct timer *t) { (void)t; loop_stop(l); }

static void
run_for(int64_t ms)
{
	struct timer t = { .fn = pause_over };
	timer_start(l, &t, ms);
	while (timer_active(&t))
		loop_run(l);
}

/* Scripts say by this file that they have come so far; what they have written is not read
 * by the loop, which does not run. */
static char mark[] = "/tmp/ph-helper-XXXXXX";

static void
await_mark(void)
{
	for (int i = 0; access(mark, F_OK) != 0; i++) {
		assert_true(i < 2000);
		usleep(5000);
	}
}

static void
await_log(const char *what)
{
	for (int i = 0; log_count(what) == 0; i++) {
		assert_true(i < 2000);
		run_for(5);
	}
}

static void
user_got(void *arg, int status)
{
	struct user *u = arg;
	assert_int_equal(u->got, 1);
	u->got = status;
	loop_stop(l);
}

static void
user_answer(void *arg, int status, struct ph_str bytes)
{
	struct user *u = arg;
	assert_int_equal(u->status, 1);
	u->status = status;
	buf_clear(&u->text);
	buf_addstr(&u->text, bytes);
	if (u->ends_at_answer)
		helper_lease_end(&u->lease, false);
	loop_stop(l);
}

static void
begin(struct user *u)
{
	*u = (struct user){ .got = 1, .status = 1 };
	u->lease = helper_lease_begin(pool, user_got, u);
	assert_int_equal(u->got, 1);    /* never from inside */
}

static int
ask(struct user *u, const char *request)
{
	u->status = 1;
	return helper_lease_ask(u->lease, str_of(request), user_answer, u);
}

static void
user_done(struct user *u)
{
	helper_lease_end(&u->lease, false);
	buf_free(&u->text);
}

static void
open_pool(const char *script, enum ph_framing framing, int64_t count)
{
	const char *const argv[] = { "/bin/sh", "-c", script };
	const struct ph_helper_spec spec = {
		.size = sizeof spec, .command = { argv, 3 }, .framing = framing, .count = count,
		.answer_limit = { answer_limit }, .lease_wait = { 400 }, .restart_min = { restart_min },
		.restart_max = { restart_min * 2 }, .max_answer = 1000,
	};
	pool = helper_pool_new(l, &spec, log_line, NULL);
	assert_non_null(pool);
}

static int
setup(void **state)
{
	(void)state;
	l = loop_new();
	buf_clear(&logged);
	unlink(mark);
	answer_limit = 10000;
	restart_min = 100;
	return l == NULL;
}

static int
teardown(void **state)
{
	(void)state;
	helper_pool_free(&pool);
	loop_free(&l);
	buf_free(&logged);
	unlink(mark);
	return 0;
}

/* begin, ask, answer in one */
static void
whole(struct user *u, const char *request)
{
	begin(u);
	while (u->got == 1)
		run();
	assert_int_equal(u->got, 0);
	assert_int_equal(ask(u, request), 0);
	while (u->status == 1)
		run();
}

static void
answers_come_and_helpers_are_reused(void **state)
{
	struct user u;
	char first[256];
	(void)state;
	open_pool(ECHOES, PH_FRAME_LINE, 3);
	assert_int_equal(loop_busy(l), 0);      /* none starts before it is wanted */
	whole(&u, "hello there");
	assert_int_equal(u.status, 0);
	snprintf(first, sizeof first, STR_FMT, STR_ARG(buf_view(&u.text)));
	assert_non_null(strstr(first, " hello there"));
	assert_int_equal(ask(&u, "hello there"), 0);
	assert_int_equal(ask(&u, "two at once"), PH_EBUSY);
	u.status = 1;
	run();
	assert_true(str_is(buf_view(&u.text), first));
	user_done(&u);
	whole(&u, "hello there");
	assert_true(str_is(buf_view(&u.text), first));  /* the same process */
	user_done(&u);
	assert_int_equal(logged.len, 0);
}

static void
requests_that_would_break_the_framing_are_refused(void **state)
{
	static const struct { const char *name; struct ph_str request; } cases[] = {
		{ "empty", { "", 0 } }, { "LF", { "a\nb", 3 } }, { "CR", { "a\rb", 3 } },
		{ "NUL", { "a\0b", 3 } }, { "LF at the end", { "a\n", 2 } },
	};
	struct user u;
	(void)state;
	open_pool(ECHOES, PH_FRAME_LINE, 1);
	whole(&u, "x");
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		assert_int_equal(helper_lease_ask(u.lease, cases[i].request, user_answer, &u), PH_EINVAL);
	static char longer[1 << 20];
	memset(longer, 'x', sizeof longer - 1);
	assert_int_equal(helper_lease_ask(u.lease, str_of(longer), user_answer, &u), PH_ELIMIT);
	assert_int_equal(ask(&u, "still fine"), 0);
	run();
	assert_int_equal(u.status, 0);
	user_done(&u);
}

static void
length_framing_carries_any_bytes(void **state)
{
	struct user u;
	(void)state;
	open_pool("exec cat", PH_FRAME_LENGTH, 1);
	whole(&u, "two\nlines\r\n");
	assert_int_equal(u.status, 0);
	assert_true(str_is(buf_view(&u.text), "two\nlines\r\n"));
	u.status = 1;
	assert_int_equal(helper_lease_ask(u.lease, (struct ph_str){ "", 0 }, user_answer, &u), 0);
	run();
	assert_int_equal(u.status, 0);
	assert_int_equal(u.text.len, 0);
	user_done(&u);
}

static void
bad_answers_kill_the_helper(void **state)
{
	static const struct {
		const char *name, *script;
		enum ph_framing framing;
		int status;
		const char *log;
	} cases[] = {
		{ "hangs", "read x; sleep 100", PH_FRAME_LINE, PH_ETIMEOUT, "no answer in time" },
		{ "half an answer", "read x; printf half; sleep 100", PH_FRAME_LINE, PH_ETIMEOUT,
		  "no answer in time" },
		{ "dies", "read x; exit 7", PH_FRAME_LINE, PH_ECLOSED, "ended with status 7" },
		{ "is killed", "read x; kill -9 $$", PH_FRAME_LINE, PH_ECLOSED, "died by signal 9" },
		{ "two answers", "while read x; do printf 'OK\\nOK\\n'; done", PH_FRAME_LINE, PH_EPROTO,
		  "more than was asked" },
		{ "no end", "read x; head -c 2000 /dev/zero; sleep 100", PH_FRAME_LINE, PH_EPROTO,
		  "answer is too long" },
		{ "too long", "read x; head -c 2000 /dev/zero; echo; sleep 100", PH_FRAME_LINE, PH_EPROTO,
		  "answer is too long" },
		{ "length beyond", "head -c 5 >/dev/null; printf '\\377\\377\\377\\377x'; sleep 100",
		  PH_FRAME_LENGTH, PH_EPROTO, "answer is too long" },
		{ "length and more", "head -c 5 >/dev/null; printf '\\000\\000\\000\\001xy'; sleep 100",
		  PH_FRAME_LENGTH, PH_EPROTO, "more than was asked" },
		{ "closes its output", "read x; exec >&-; sleep 100", PH_FRAME_LINE, PH_ETIMEOUT,
		  "no answer in time" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct user u;
		if (i > 0)
			assert_int_equal(setup(state), 0);
		if (cases[i].status == PH_ETIMEOUT)
			answer_limit = 200;
		open_pool(cases[i].script, cases[i].framing, 1);
		whole(&u, "x");
		if (u.status != cases[i].status || log_count(cases[i].log) != 1)
			fail_msg("%s: status %d, log \"%.*s\"", cases[i].name, u.status, STR_ARG(buf_view(&logged)));
		assert_int_equal(ask(&u, "again"), PH_ECLOSED);        /* the lease is dead */
		user_done(&u);
		if (i + 1 < sizeof cases / sizeof cases[0])
			teardown(state);
	}
}

static void
a_late_answer_never_reaches_the_next_lease(void **state)
{
	struct user a, b;
	(void)state;
	answer_limit = 1000;
	open_pool("while read x; do case $x in slow) sleep 1.2;; esac; echo \"for $x\"; done", PH_FRAME_LINE, 1);
	whole(&a, "slow");
	assert_int_equal(a.status, PH_ETIMEOUT);
	user_done(&a);
	run_for(300);           /* the answer would have come meanwhile */
	whole(&b, "quick");
	assert_int_equal(b.status, 0);
	assert_true(str_is(buf_view(&b.text), "for quick"));
	user_done(&b);
}

static void
an_answer_to_one_who_left_never_reaches_the_next(void **state)
{
	struct user a, b;
	(void)state;
	restart_min = 5000;
	open_pool("while read x; do case $x in slow) sleep 0.1;; esac; echo \"for $x\"; done", PH_FRAME_LINE, 1);
	begin(&a);
	run();
	assert_int_equal(ask(&a, "slow"), 0);
	user_done(&a);
	assert_int_equal(a.status, 1);
	whole(&b, "quick");     /* no back-off for it: lease_wait would be over */
	assert_true(str_is(buf_view(&b.text), "for quick"));
	user_done(&b);
}

static void
who_speaks_unasked_is_killed(void **state)
{
	static const struct { const char *name, *script; bool looping; } cases[] = {
		{ "before the first request", "echo hello; " ECHOES, true },
		{ "before the first request, seen when asked", "echo hello; : >$MARK; " ECHOES, false },
		{ "between leases", "read x; echo ok; sleep 0.05; echo OK admin; " ECHOES, true },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct user a, b;
		if (i > 0)
			assert_int_equal(setup(state), 0);
		open_pool(cases[i].script, PH_FRAME_LINE, 1);
		if (i < 2) {
			begin(&a);
			run();
			assert_int_equal(a.got, 0);
			if (cases[i].looping)
				await_log("spoke without being asked");
			else
				await_mark();
			assert_int_equal(ask(&a, "x"), PH_ECLOSED);
			user_done(&a);
		} else {
			whole(&a, "x");
			assert_int_equal(a.status, 0);
			user_done(&a);
			await_log("spoke without being asked");
			whole(&b, "y");
			assert_true(str_is(buf_view(&b.text), "ok"));
			user_done(&b);
		}
		assert_int_equal(log_count("spoke without being asked"), 1);
		if (i < 2)
			teardown(state);
	}
}

static void
leases_wait_for_a_free_helper(void **state)
{
	struct user a, b, c;
	(void)state;
	open_pool(ECHOES, PH_FRAME_LINE, 1);
	begin(&a);
	begin(&b);
	begin(&c);
	run();
	assert_int_equal(a.got, 0);
	assert_int_equal(b.got, 1);
	user_done(&a);
	run();
	assert_int_equal(b.got, 0);
	assert_int_equal(c.got, 1);
	run();                  /* until lease_wait is over */
	assert_int_equal(c.got, PH_EBUSY);
	assert_int_equal(ask(&c, "x"), PH_ECLOSED);
	user_done(&c);
	begin(&c);
	user_done(&c);          /* one that leaves while it waits */
	b.ends_at_answer = true;
	assert_int_equal(ask(&b, "x"), 0);
	run();
	assert_int_equal(b.status, 0);
	assert_null(b.lease);
	whole(&c, "y");
	assert_int_equal(c.status, 0);
	user_done(&b);
	user_done(&c);
}

static void
several_helpers_serve_at_once(void **state)
{
	struct user u[3];
	(void)state;
	open_pool(ECHOES, PH_FRAME_LINE, 3);
	for (int i = 0; i < 3; i++)
		begin(&u[i]);
	while (u[0].got == 1 || u[1].got == 1 || u[2].got == 1)
		run();
	for (int i = 0; i < 3; i++)
		assert_int_equal(ask(&u[i], "x"), 0);
	while (u[0].status == 1 || u[1].status == 1 || u[2].status == 1)
		run();
	assert_false(str_eq(buf_view(&u[0].text), buf_view(&u[1].text)));
	assert_false(str_eq(buf_view(&u[1].text), buf_view(&u[2].text)));
	for (int i = 0; i < 3; i++)
		user_done(&u[i]);
}

static void
what_cannot_start_is_told_at_once(void **state)
{
	const char *const argv[] = { "/nonexistent/helper" };
	const struct ph_helper_spec spec = { .size = sizeof spec, .command = { argv, 1 }, .count = 2 };
	struct user u;
	(void)state;
	pool = helper_pool_new(l, &spec, log_line, NULL);
	for (int i = 0; i < 2; i++) {
		begin(&u);
		run();
		assert_int_equal(u.got, PH_EIO);
		user_done(&u);
	}
	assert_int_equal(log_count("cannot be started: not found"), 1);        /* back-off */
}

static void
restarts_back_off(void **state)
{
	struct user u;
	(void)state;
	open_pool("exit 1", PH_FRAME_LINE, 1);
	begin(&u);
	run_for(30);
	user_done(&u);
	begin(&u);
	run_for(1000);
	user_done(&u);
	/* One by one after 100, 200, 200 ... ms at the earliest. */
	size_t starts = log_count("ended with status 1");
	assert_true(starts >= 1 && starts <= 6);
}

static void
what_helpers_complain_of_is_logged_within_bounds(void **state)
{
	struct user u;
	(void)state;
	open_pool("echo careful >&2; i=0; while test $i -lt 500; do echo line $i >&2; i=$((i+1)); done; " ECHOES,
	          PH_FRAME_LINE, 1);
	whole(&u, "x");
	run_for(50);
	assert_int_equal(log_count("stderr: careful\n"), 1);
	assert_int_equal(log_count("stderr: "), 10);
	user_done(&u);
}

static void
a_pool_may_go_at_any_time(void **state)
{
	struct user a, b;
	(void)state;
	open_pool("read x; sleep 100", PH_FRAME_LINE, 1);
	begin(&a);
	begin(&b);
	run();
	assert_int_equal(ask(&a, "x"), 0);
	helper_pool_free(&pool);
	assert_null(pool);
	run_for(50);
	assert_int_equal(a.status, 1);
	assert_int_equal(b.got, 1);
	assert_int_equal(ask(&b, "x"), PH_ECLOSED);
	user_done(&a);
	user_done(&b);
	assert_int_equal(loop_busy(l), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(answers_come_and_helpers_are_reused), T(requests_that_would_break_the_framing_are_refused),
		T(length_framing_carries_any_bytes), T(bad_answers_kill_the_helper),
		T(a_late_answer_never_reaches_the_next_lease),
		T(an_answer_to_one_who_left_never_reaches_the_next), T(who_speaks_unasked_is_killed),
		T(leases_wait_for_a_free_helper), T(several_helpers_serve_at_once),
		T(what_cannot_start_is_told_at_once), T(restarts_back_off),
		T(what_helpers_complain_of_is_logged_within_bounds), T(a_pool_may_go_at_any_time),
	};
	int fd = mkstemp(mark);
	if (fd < 0)
		return 1;
	close(fd);
	setenv("MARK", mark, 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
