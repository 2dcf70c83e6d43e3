/*
 * plug_stage.h - a stage for tests of core/plugin: a loop with virtual time, the
 * log in a buffer, a generation made from YAML, a session on one worker.
 * Included by one test file each; the plugins there are static ones.
 */
#ifndef TEST_PLUG_STAGE_H
#define TEST_PLUG_STAGE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/abort.h"
#include "base/clock.h"
#include "base/str.h"
#include "net/conn.h"
#include "net/dial.h"
#include "net/helper.h"
#include "plugin/ask.h"
#include "plugin/chain.h"
#include "plugin/loader.h"
#include "plugin/private.h"

/* --- a loop with virtual time; its other parts are not needed here --- */

struct loop { int64_t now; struct heap timers; struct ph_note *first, **last; struct ph_mailbox box; };

int64_t loop_now(const struct loop *l) { return l->now; }
struct ph_mailbox *loop_mailbox(struct loop *l) { return &l->box; }
void loop_defer(struct loop *l, struct ph_note *n) { n->next = NULL; *l->last = n; l->last = &n->next; }
void timer_start(struct loop *l, struct timer *t, int64_t ms) { heap_put(&l->timers, &t->node, l->now + ms); }
void timer_stop(struct loop *l, struct timer *t) { heap_del(&l->timers, &t->node); }

static struct { void (*work)(void *), (*done)(void *); void *arg; } stage_work;
int
work_start(struct loop *l, void (*work)(void *), void (*done)(void *), void *arg)
{
	(void)l;
	assert_null(stage_work.work);
	stage_work.work = work;
	stage_work.done = done;
	stage_work.arg = arg;
	return 0;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#define NOT_HERE(type, name, ...) type name(__VA_ARGS__) { ph_abort("%s is not on the stage", #name); }
NOT_HERE(struct watch *, watch_open, struct loop *l, int fd, unsigned ev, void (*fn)(void *, unsigned), void *arg)
NOT_HERE(void, watch_events, struct watch *w, unsigned events)
NOT_HERE(void, watch_close, struct watch **w)
NOT_HERE(struct conn *, conn_new, struct loop *l, struct stream *s, size_t max, const struct conn_events *ev, void *arg)
NOT_HERE(void, conn_kick, struct conn *c)
NOT_HERE(void, conn_close, struct conn **c, bool polite)
NOT_HERE(struct dial *, dial_start, struct loop *l, struct resolver *r, const struct ph_next_hop *hop, size_t first, ph_duration limit, void (*fn)(void *, const struct dial_result *), void *arg)
NOT_HERE(void, dial_cancel, struct dial **d)
NOT_HERE(struct resolver *, resolver_new, struct loop *l, const struct resolver_config *cfg)
NOT_HERE(void, resolver_free, struct resolver **r)
NOT_HERE(struct helper_pool *, helper_pool_new, struct loop *l, const struct ph_helper_spec *spec, void (*log)(void *, enum ph_level, const char *), void *arg)
NOT_HERE(void, helper_pool_free, struct helper_pool **p)
NOT_HERE(struct helper_lease *, helper_lease_begin, struct helper_pool *p, void (*got)(void *, int), void *arg)
NOT_HERE(int, helper_lease_ask, struct helper_lease *l, struct ph_str req, void (*answer)(void *, int, struct ph_str), void *arg)
NOT_HERE(void, helper_lease_end, struct helper_lease **l, bool broken)
#pragma GCC diagnostic pop

static struct loop loop;
static struct ph_mailbox main_box;
static void no_wake(struct ph_mailbox *m) { (void)m; }

/* Runs what is deferred, posted or due, until nothing is. */
static void
settle(void)
{
	for (;;) {
		struct ph_note *n = loop.first;
		struct heap_node *t = heap_min(&loop.timers);

		if (n != NULL) {
			loop.first = n->next;
			if (loop.first == NULL)
				loop.last = &loop.first;
			n->run(n);
		} else if (t != NULL && t->key <= loop.now) {
			heap_del(&loop.timers, t);
			container_of(t, struct timer, node)->fn(container_of(t, struct timer, node));
		} else if (mailbox_run(&loop.box) == 0) {
			return;
		}
	}
}

__attribute__((unused)) static void
advance(int64_t ms)
{
	int64_t end = loop.now + ms;

	for (settle(); heap_min(&loop.timers) != NULL && heap_min(&loop.timers)->key <= end; settle())
		loop.now = heap_min(&loop.timers)->key;
	loop.now = end;
}

/* --- the log --- */

static struct buf log_lines;
static void log_keep(const char *p, size_t n) { buf_add(&log_lines, p, n); }

/* Whether a line so far holds all of these words; forgets the lines. */
__attribute__((unused)) static bool
logged(const char *a, const char *b, const char *c)
{
	bool found = false;
	char *line;

	log_flush();
	buf_addc(&log_lines, '\0');
	for (line = log_lines.data + log_lines.head; line != NULL && !found;) {
		char *end = strchr(line, '\n');

		if (end != NULL)
			*end = '\0';
		found = strstr(line, a) && strstr(line, b) && strstr(line, c);
		line = end != NULL ? end + 1 : NULL;
	}
	buf_clear(&log_lines);
	return found;
}

/* --- what plugins did, in words --- */

static char trace[2048];
__attribute__((unused, format(printf, 1, 2))) static void
traced(const char *fmt, ...)
{
	size_t n = strlen(trace);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(trace + n, sizeof trace - n, fmt, ap);
	va_end(ap);
}

/* Compares the trace and forgets it. */
#define did(expected) do { assert_string_equal(trace, expected); trace[0] = '\0'; } while (0)

/* --- a generation and a session --- */

static struct generation *gen;
static struct worker_plugins *wp;
static struct plug_session ps;
static struct arena session_arena, txn_arena, env_arena;
static struct envelope env;
static struct facts facts;
static struct plug_outcome outcome;
static char outcome_text[512];
static unsigned answers;

static void
keep_outcome(const struct plug_outcome *o)
{
	outcome = *o;
	snprintf(outcome_text, sizeof outcome_text, STR_FMT, STR_ARG(o->text));
}

static void
stage_answered(struct plug_session *s, const struct plug_outcome *o)
{
	assert_ptr_equal(s, &ps);
	answers++;
	keep_outcome(o);
}

/* Diagnostics of a configuration that must not be used, as printed. */
static struct buf stage_report;

static struct generation *
stage_check(const char *plugins)
{
	struct buf yaml = { 0 };
	struct diags d;
	struct config_file *c;
	struct generation *g = NULL;

	if (loop.last == NULL) {
		loop.last = &loop.first;
		mailbox_init(&loop.box, no_wake);
		mailbox_init(&main_box, no_wake);
		log_use(log_keep);
		log_level = PH_INFO;
	}
	buf_printf(&yaml, "listen: [{address: \"127.0.0.1:2525\"}]\nplugins:\n%s", plugins);
	diags_init(&d);
	c = config_load_text("test.yaml", buf_view(&yaml), &d);
	if (c != NULL)
		g = generation_check(c, &d);
	if (g != NULL && generation_setup(g, 1, &main_box, &d) != 0)
		generation_free_unset(&g);
	buf_clear(&stage_report);
	diags_print(&d, &stage_report);
	buf_addc(&stage_report, '\0');
	diags_free(&d);
	buf_free(&yaml);
	return g;
}

static void
stage_up(const char *plugins)
{
	trace[0] = '\0';
	answers = 0;
	gen = stage_check(plugins);
	if (gen == NULL)
		fail_msg("%s", stage_report.data);
	wp = worker_plugins_open(gen, &loop, 0);
	assert_non_null(wp);
	arena_init(&session_arena, 1024);
	arena_init(&txn_arena, 1024);
	arena_init(&env_arena, 1024);
	memset(&facts, 0, sizeof facts);
	facts.client = (struct ph_addr){ 4, 1234, { 192, 0, 2, 1 } };
	memset(&env, 0, sizeof env);
	envelope_init(&env, &env_arena);
	memset(&ps, 0, sizeof ps);
	ps.wp = wp;
	ps.facts = &facts;
	ps.session_arena = &session_arena;
	ps.answered = stage_answered;
	worker_plugins_use(wp);
	assert_int_equal(plug_session_open(&ps), 0);
}

/* Everything closes, nothing waits, nothing is left. */
static void
stage_down(void)
{
	plug_session_close(&ps);
	arena_reset(&session_arena);
	arena_reset(&txn_arena);
	arena_reset(&env_arena);
	worker_plugins_retire(&(struct worker_plugins *){ wp });
	worker_plugins_drop(wp);
	settle();
	generation_unref(&gen);
	assert_int_equal(mailbox_run(&main_box), 1);    /* the teardown */
	settle();
	assert_null(heap_min(&loop.timers));
	assert_int_equal(wait_count(), 0);
	heap_free(&loop.timers);
	loader_done();
	log_flush();
	buf_free(&log_lines);
	buf_free(&stage_report);
}

/* Asks; true when the outcome is there at once. */
__attribute__((unused)) static bool
ask(enum ph_hook hook)
{
	struct plug_outcome o;
	bool now = plug_ask(&ps, hook, &o);

	if (now)
		keep_outcome(&o);
	return now;
}

#endif
