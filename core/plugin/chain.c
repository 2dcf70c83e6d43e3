/*
 * chain.c - runs the chain of a hook for one session and keeps its one wait.
 *
 * A hook nobody listens to costs one comparison; a synchronous chain costs its
 * calls and no allocation.  A suspended question is owned by the session:
 * exactly one of resume and cancel runs, on a clean stack, and the answer to
 * the session comes once.  What a failure means is the instance's on-failure.
 */
#include <stdlib.h>

#include "base/abort.h"
#include "base/clock.h"
#include "base/str.h"
#include "plugin/private.h"

enum { SLOW_MS = 10 };

/* Carries a wake to a clean stack.  On the heap, because the session may be
 * closed while it is under way. */
struct chain_note { struct ph_note note; struct plug_session *ps; };

static void chain_timeout(struct timer *t);

static void
log_failed(const struct ph_call *call, const char *why)
{
	log_event(PH_WARN, call->ps->log, "hook.failed", LOG_C("plugin", call->inst->name),
	    LOG_C("hook", hook_name(call->hook)), LOG_C("why", why));
}

static void
log_slow(const struct ph_call *call, int64_t took_us)
{
	if (took_us > SLOW_MS * 1000)
		log_event(PH_WARN, call->ps->log, "hook.slow", LOG_C("plugin", call->inst->name),
		    LOG_C("hook", hook_name(call->hook)), LOG_I("ms", took_us / 1000));
}

static enum ph_verdict
call_decide(struct ph_call *call, ph_decide_fn fn)
{
	enum ph_verdict v;

	call->ps->chain.in_hook = true;
	if (log_on(PH_DEBUG)) {
		int64_t start = clock_mono_us();

		v = fn(call);
		log_slow(call, clock_mono_us() - start);
	} else {
		v = fn(call);
	}
	call->ps->chain.in_hook = false;
	return v;
}

/* Resume is due: on a clean stack, soon. */
static void chain_resume(struct ph_note *note);

static void
chain_post(struct plug_session *ps)
{
	struct chain_note *n = mem_new(struct chain_note);

	n->note.run = chain_resume;
	n->ps = ps;
	ps->chain.note = n;
	loop_defer(ps->wp->loop, &n->note);
}

static void
chain_wait(struct plug_session *ps)
{
	struct chain_state *c = &ps->chain;

	c->waiting = true;
	if (c->woken) {         /* woken inside the hook itself */
		chain_post(ps);
		return;
	}
	wait_add(&ps->wait, WAIT_HOOK);
	c->timer.fn = chain_timeout;
	timer_start(ps->wp->loop, &c->timer, c->limit_ms);
}

/* The wait, or the chance of one, is over: its ticket is stale from now on. */
static void
chain_wait_over(struct plug_session *ps)
{
	struct chain_state *c = &ps->chain;

	if (ps->wait.listed || c->woken || c->suspended) {
		wait_del(&ps->wait);
		ps->wait.serial++;
		c->woken = c->suspended = false;
		c->resume = NULL;
		c->cancel = NULL;
	}
	c->waiting = false;
}

static const char *
misuse(const struct chain_state *c, enum ph_verdict v)
{
	switch (v) {
	case PH_REJECT:
		return c->reply == PH_R_NONE ? "answered PH_REJECT without ph_reject"
		       : ph_reply_code(c->reply) < 400 ? "rejected with a reply that accepts" : NULL;
	case PH_SUSPEND:
		return c->suspended ? NULL : "answered PH_SUSPEND without ph_suspend";
	case PH_CONTINUE:
	case PH_ACCEPT:
	case PH_FAIL:
		return NULL;
	}
	return "answered with a verdict that does not exist";
}

/*
 * Goes on at c->pos; resume, when given, in place of that plugin's hook.
 * true: *o is the outcome. false: suspended.
 */
static bool
chain_go(struct plug_session *ps, ph_decide_fn resume, void *answer, struct plug_outcome *o)
{
	struct chain_state *c = &ps->chain;
	const struct hook_list *list = &ps->wp->gen->hooks[c->hook];

	for (; c->pos < list->n; c->pos++) {
		const struct hook_entry *e = &list->v[c->pos];
		struct ph_call call = { ps, e->inst, c->hook, CALL_DECIDE, answer };
		enum ph_verdict v;
		const char *wrong;

		c->reply = PH_R_NONE;
		c->text[0] = '\0';
		v = call_decide(&call, resume != NULL ? resume : e->decide);
		resume = NULL;
		answer = NULL;
		wrong = misuse(c, v);
		if (wrong == NULL && v == PH_SUSPEND) {
			chain_wait(ps);
			return false;
		}
		chain_wait_over(ps);
		if (wrong == NULL && v == PH_CONTINUE)
			continue;
		if (wrong == NULL && v != PH_FAIL) {
			*o = (struct plug_outcome){ v, v == PH_REJECT ? c->reply : PH_R_NONE,
			                            str_of(v == PH_REJECT ? c->text : "") };
			return true;
		}
		log_failed(&call, wrong != NULL ? wrong : c->text[0] != '\0' ? c->text
		    : "no reason given");
		if (!e->inst->fail_continue) {
			*o = (struct plug_outcome){ PH_FAIL, PH_R_TRY_LATER, { "", 0 } };
			return true;
		}
	}
	*o = (struct plug_outcome){ PH_CONTINUE, PH_R_NONE, { "", 0 } };
	return true;
}

bool
plug_ask(struct plug_session *ps, enum ph_hook hook, struct plug_outcome *o)
{
	struct chain_state *c = &ps->chain;

	if (ps->wp->gen->hooks[hook].n == 0) {
		*o = (struct plug_outcome){ PH_CONTINUE, PH_R_NONE, { "", 0 } };
		return true;
	}
	ph_assert(!c->waiting && !c->in_hook);
	c->hook = hook;
	c->pos = 0;
	return chain_go(ps, NULL, NULL, o);
}

static void
chain_resume(struct ph_note *note)
{
	struct chain_note *n = (struct chain_note *)note;
	struct plug_session *ps = n->ps;
	struct plug_outcome o;
	ph_decide_fn resume;

	free(n);
	if (ps == NULL)         /* the session hung up meanwhile */
		return;
	ps->chain.note = NULL;
	resume = ps->chain.resume;
	chain_wait_over(ps);
	if (chain_go(ps, resume, ps->chain.answer, &o))
		ps->answered(ps, &o);   /* ps may be gone now */
}

int
chain_wake(struct wait_node *node, void *answer)
{
	struct plug_session *ps = container_of(node, struct plug_session, wait);
	struct chain_state *c = &ps->chain;

	wait_del(node);         /* a second wake finds nothing */
	c->woken = true;
	c->answer = answer;
	if (c->waiting) {
		timer_stop(ps->wp->loop, &c->timer);
		chain_post(ps);
	}                       /* else inside the hook: chain_wait posts it */
	return 0;
}

/* Runs cancel of the present wait, which is over then. */
static void
chain_abandon(struct plug_session *ps)
{
	struct chain_state *c = &ps->chain;
	struct ph_call call = { ps, ps->wp->gen->hooks[c->hook].v[c->pos].inst, c->hook,
	                        CALL_CANCEL, c->woken ? c->answer : NULL };

	timer_stop(ps->wp->loop, &c->timer);
	if (c->note != NULL) {
		c->note->ps = NULL;
		c->note = NULL;
	}
	wait_del(&ps->wait);    /* stale already for cancel itself */
	if (c->cancel != NULL) {
		c->in_hook = true;
		c->cancel(&call);
		c->in_hook = false;
	}
	chain_wait_over(ps);
}

static void
chain_timeout(struct timer *t)
{
	struct plug_session *ps = container_of(t, struct plug_session, chain.timer);
	struct chain_state *c = &ps->chain;
	const struct instance *inst = ps->wp->gen->hooks[c->hook].v[c->pos].inst;
	struct plug_outcome o;

	log_event(PH_WARN, ps->log, "hook.timeout", LOG_C("plugin", inst->name),
	    LOG_C("hook", hook_name(c->hook)), LOG_C("waiting-for", c->what),
	    LOG_I("ms", c->limit_ms));
	chain_abandon(ps);
	if (inst->fail_continue) {
		c->pos++;
		if (!chain_go(ps, NULL, NULL, &o))
			return;
	} else {
		o = (struct plug_outcome){ PH_FAIL, PH_R_TRY_LATER, { "", 0 } };
	}
	ps->answered(ps, &o);           /* ps may be gone now */
}

bool
plug_waiting(const struct plug_session *ps)
{
	return ps->chain.waiting;
}

void
plug_cancel(struct plug_session *ps)
{
	if (ps->chain.waiting)
		chain_abandon(ps);
}

void
plug_observe(struct plug_session *ps, enum ph_hook hook)
{
	const struct hook_list *list = &ps->wp->gen->hooks[hook];
	int64_t start;

	for (size_t i = 0; i < list->n; i++) {
		struct ph_call call = { ps, list->v[i].inst, hook, CALL_OBSERVE, NULL };

		if (!log_on(PH_DEBUG)) {
			list->v[i].observe(&call);
			continue;
		}
		start = clock_mono_us();
		list->v[i].observe(&call);
		log_slow(&call, clock_mono_us() - start);
	}
}
