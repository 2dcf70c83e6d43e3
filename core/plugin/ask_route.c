/*
 * ask_route.c - asks the routers, in the order of the file, where the
 * recipients of a message go.  Each sees those that none before has answered.
 *
 * A question lives in its message's arena.  A router that waits may keep it
 * until it calls ph_route_done; when the wait ends otherwise, its abandon is
 * called, once, and the question is gone after that.
 */
#include <stdlib.h>
#include <string.h>

#include "base/abort.h"
#include "base/str.h"
#include "plugin/ask.h"
#include "plugin/private.h"

enum { ROUTE_WAIT_MS = 30 * 1000 };

struct route_note { struct ph_note note; struct ph_route *r; };

struct ph_route {
	struct worker_plugins *wp;
	const struct envelope *env;
	const uint32_t *rcpts;
	struct route_answer *v;
	size_t n;
	uint32_t *seen;                 /* what the router in question sees: indexes into v */
	size_t nseen;
	struct arena *arena;
	void (*done)(void *arg);
	void *arg;
	size_t pos;                     /* the router in question */
	bool waiting, woken;
	struct wait_node wait;
	struct timer timer;
	struct route_note *note;
};

void
ask_log_failed(const struct instance *inst, const char *what, const char *why)
{
	log_event(PH_WARN, NULL, "hook.failed", LOG_C("plugin", inst->name), LOG_C("hook", what),
	    LOG_C("why", why));
}

void
ask_log_timeout(const struct instance *inst, const char *what)
{
	log_event(PH_WARN, NULL, "hook.timeout", LOG_C("plugin", inst->name), LOG_C("hook", what),
	    LOG_C("waiting-for", "its answer"));
}

static const struct provided *
present(const struct ph_route *r)
{
	return &r->wp->gen->routers.v[r->pos];
}

/* --- what routers call --- */

struct ph_str
ph_route_sender(const struct ph_route *r)
{
	return r->env->from.full.p != NULL ? r->env->from.full : STR("");
}

size_t
ph_route_rcpt_count(const struct ph_route *r)
{
	return r->nseen;
}

static const struct address *
address_at(const struct ph_route *r, size_t i)
{
	return i < r->nseen ? &r->env->rcpts[r->rcpts[r->seen[i]]].to : NULL;
}

struct ph_str
ph_route_rcpt(const struct ph_route *r, size_t i)
{
	const struct address *a = address_at(r, i);

	return a != NULL && a->full.p != NULL ? a->full : STR("");
}

struct ph_str
ph_route_rcpt_domain(const struct ph_route *r, size_t i)
{
	const struct address *a = address_at(r, i);

	return a != NULL && a->domain.p != NULL ? a->domain : STR("");
}

static struct ph_str
keep_text(struct ph_route *r, const char *text)
{
	return text != NULL ? arena_str(r->arena, str_head(str_of(text), MAX_REASON)) : STR("");
}

void
ph_route_defer(struct ph_route *r, size_t i, const char *why)
{
	if (i < r->nseen)
		r->v[r->seen[i]] = (struct route_answer){ ROUTE_DEFER, NULL, PH_R_TRY_LATER,
		    keep_text(r, why) };
}

void
ph_route_fail(struct ph_route *r, size_t i, enum ph_reply reply, const char *text)
{
	if ((int)reply <= PH_R_NONE || reply >= PH_R_COUNT || ph_reply_code(reply) < 400)
		reply = PH_R_REFUSED;
	if (i < r->nseen)
		r->v[r->seen[i]] = (struct route_answer){ ROUTE_FAIL, NULL, reply,
		    keep_text(r, text) };
}

void
ph_route_to(struct ph_route *r, size_t i, const struct ph_next_hop *hop)
{
	if (hop == NULL || hop->size != sizeof *hop) {
		ph_route_defer(r, i, "the router's next hop was built for another posthouse");
		return;
	}
	if (hop->hosts.n == 0 || hop->name == NULL) {
		ph_route_defer(r, i, "the router's next hop has no host or no name");
		return;
	}
	if (i < r->nseen)
		r->v[r->seen[i]] = (struct route_answer){ ROUTE_HOP, hop, PH_R_NONE, STR("") };
}

struct ph_ticket
ph_route_ticket(struct ph_route *r)
{
	if (!r->woken)
		wait_add(&r->wait, WAIT_ROUTE);
	return (struct ph_ticket){ r->wait.session, r->wait.serial, loop_mailbox(r->wp->loop) };
}

const void *
ph_route_config(const struct ph_route *r)
{
	return present(r)->inst->config;
}

void *
ph_route_worker_data(const struct ph_route *r)
{
	return worker_of(r->wp, present(r)->inst)->storage;
}

/* --- asking --- */

static bool route_go(struct ph_route *r);

/* What no router before has answered. */
static void
see_open(struct ph_route *r)
{
	r->nseen = 0;
	for (size_t i = 0; i < r->n; i++)
		if (r->v[i].kind == ROUTE_NONE)
			r->seen[r->nseen++] = (uint32_t)i;
}

static void
defer_open(struct ph_route *r, const char *why)
{
	struct ph_str text = arena_str(r->arena, str_of(why));

	see_open(r);
	for (size_t i = 0; i < r->nseen; i++)
		r->v[r->seen[i]] = (struct route_answer){ ROUTE_DEFER, NULL, PH_R_TRY_LATER, text };
}

static void
wait_over(struct ph_route *r)
{
	wait_del(&r->wait);
	r->wait.serial++;
	r->waiting = r->woken = false;
}

/* The router could not answer: true when the next one may try. */
static bool
route_failed(struct ph_route *r, const char *why)
{
	const struct instance *inst = present(r)->inst;

	if (inst->fail_continue)
		return true;
	defer_open(r, arena_printf(r->arena, "router %s %s", inst->name, why));
	return false;
}

static void
route_answered(struct ph_note *note)
{
	struct route_note *n = (struct route_note *)note;
	struct ph_route *r = n->r;

	free(n);
	if (r == NULL)          /* cancelled meanwhile */
		return;
	r->note = NULL;
	wait_over(r);
	r->pos++;
	if (route_go(r))
		r->done(r->arg);        /* r may be gone now */
}

static void
route_post(struct ph_route *r)
{
	struct route_note *n = mem_new(struct route_note);

	n->note.run = route_answered;
	n->r = r;
	r->note = n;
	loop_defer(r->wp->loop, &n->note);
}

static void
route_abandon(struct ph_route *r)
{
	const struct ph_router *ops = present(r)->ops;

	timer_stop(r->wp->loop, &r->timer);
	if (r->note != NULL) {          /* answered, but nobody heard it yet */
		r->note->r = NULL;
		r->note = NULL;
	} else {
		wait_del(&r->wait);
		ops->abandon(r);
	}
	wait_over(r);
}

static void
route_late(struct timer *t)
{
	struct ph_route *r = container_of(t, struct ph_route, timer);
	bool finished = true;

	ask_log_timeout(present(r)->inst, "route");
	route_abandon(r);
	if (route_failed(r, "gave no answer in time")) {
		r->pos++;
		finished = route_go(r);
	}
	if (finished)
		r->done(r->arg);        /* r may be gone now */
}

static void
route_wait(struct ph_route *r, ph_duration limit)
{
	r->waiting = true;
	if (r->woken) {
		route_post(r);
		return;
	}
	wait_add(&r->wait, WAIT_ROUTE);
	r->timer.fn = route_late;
	timer_start(r->wp->loop, &r->timer, wait_limit(limit, ROUTE_WAIT_MS));
}

/* Asks the routers from pos on. false: one of them waits. */
static bool
route_go(struct ph_route *r)
{
	for (; r->pos < r->wp->gen->routers.n; r->pos++) {
		const struct ph_router *ops = present(r)->ops;
		const char *why = NULL;
		enum ph_verdict v;

		see_open(r);
		if (r->nseen == 0)
			return true;
		v = ops->route(r);
		if (v == PH_SUSPEND && ops->abandon != NULL) {
			route_wait(r, ops->limit);
			return false;
		}
		if (r->wait.listed || r->woken)
			wait_over(r);
		if (v == PH_ACCEPT)
			break;
		if (v != PH_CONTINUE)
			why = v == PH_FAIL ? "failed" : v == PH_SUSPEND ? "waits without abandon"
			      : "answered with a verdict that is none";
		if (why == NULL)
			continue;
		ask_log_failed(present(r)->inst, "route", why);
		if (!route_failed(r, why))
			return true;
	}
	defer_open(r, "no route");
	return true;
}

int
ph_route_done(struct ph_ticket ticket)
{
	struct wait_node *node = wait_find(ticket, WAIT_ROUTE);
	struct ph_route *r;

	if (node == NULL)
		return PH_ESTALE;
	r = container_of(node, struct ph_route, wait);
	wait_del(node);
	r->woken = true;
	if (r->waiting) {
		timer_stop(r->wp->loop, &r->timer);
		route_post(r);
	}
	return 0;
}

struct ph_route *
route_ask(struct worker_plugins *wp, const struct envelope *env, const uint32_t *rcpts, size_t n,
          struct arena *arena, struct route_answer *v, void (*done)(void *arg), void *arg,
          bool *answered)
{
	struct ph_route *r = arena_new(arena, struct ph_route);

	r->wp = wp;
	r->env = env;
	r->rcpts = rcpts;
	r->n = n;
	r->v = v;
	r->arena = arena;
	r->done = done;
	r->arg = arg;
	r->seen = arena_alloc(arena, (n + 1) * sizeof *r->seen);
	for (size_t i = 0; i < n; i++) {
		ph_assert(rcpts[i] < env->nrcpts);
		v[i] = (struct route_answer){ .kind = ROUTE_NONE };
	}
	*answered = route_go(r);
	return r;
}

void
route_cancel(struct ph_route **rp)
{
	struct ph_route *r = *rp;

	*rp = NULL;
	if (r != NULL && r->waiting)
		route_abandon(r);
}
