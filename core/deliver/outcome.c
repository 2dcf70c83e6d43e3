/*
 * outcome.c - what replies mean for recipients: 2xx delivered, 4xx deferred,
 * 5xx failed, in the remote's own words; hooks that may say otherwise,
 * observers, one line of log for each recipient.
 */
#include "deliver/deliver_private.h"

static const char *const events[] = {
	[JR_DELIVERED] = "deliver.delivered",
	[JR_DEFERRED] = "deliver.deferred",
	[JR_FAILED] = "deliver.failed",
};
static const enum ph_hook observers[] = {
	[JR_DELIVERED] = PH_HOOK_DELIVERED,
	[JR_DEFERRED] = PH_HOOK_DEFERRED,
	[JR_FAILED] = PH_HOOK_BOUNCED,
};

void
outcome_set(
    struct attempt *a, uint32_t place, enum job_rcpt_outcome o, int code, struct ph_str reply)
{
	struct deliver *d = a->d;
	struct job *job = a->job;
	struct job_rcpt *r = &job->rcpts[place];
	const struct recipient *rcpt = &job->env.rcpts[r->index];

	r->outcome = o;
	r->code = (uint16_t)code;
	r->reply = reply;
	r->remote = a->remote != NULL ? str_of(a->remote) : STR("");
	r->dsn_passed = a->dsn;
	d->counts.delivered += o == JR_DELIVERED;
	d->counts.deferred += o == JR_DEFERRED;
	d->counts.failed += o == JR_FAILED;
	log_event(PH_INFO, d->log, events[o], LOG_ID("mid", job->id), LOG_S("to", rcpt->to.full),
	    LOG_C("site", a->pool != NULL ? a->pool->info->name : ""), LOG_S("remote", r->remote),
	    LOG_S("reply", reply),
	    LOG_I("ms", a->started > 0 ? loop_now(d->loop) - a->started : 0));
	if (a->ps != NULL && plug_listens(a->ps, observers[o])) {
		a->ps->rcpt = rcpt;
		a->ps->outcome_text = reply;
		a->ps->outcome_code = code;
		plug_observe(a->ps, observers[o]);
		a->ps->rcpt = NULL;
	}
}

void
outcome_rest(struct attempt *a, enum job_rcpt_outcome o, int code, struct ph_str reply)
{
	struct ph_str kept = arena_str(&a->job->arena, reply);

	for (uint32_t i = 0; i < a->ntodo; i++)
		if (a->job->rcpts[a->todo[i]].outcome == JR_NONE)
			outcome_set(a, a->todo[i], o, code, kept);
}

static enum job_rcpt_outcome
outcome_of(int code)
{
	/* Mail does not bounce because of who we are to the remote: that can be mended. */
	if (attempt_is_login_code(code))
		return JR_DEFERRED;
	return code / 100 == 2 ? JR_DELIVERED : code / 100 == 5 ? JR_FAILED : JR_DEFERRED;
}

/* "Too many recipients" while others were taken: these go at once in a
 * transaction of their own (RFC 5321 4.5.3.1.10). */
static bool
another_round(const struct attempt *a, const struct smtp_client_rcpt *r)
{
	if (r->code != 452)
		return false;
	for (uint32_t i = 0; i < a->txn.nrcpts; i++)
		if (a->txn.rcpts[i].code / 100 == 2)
			return true;
	return false;
}

/* Our own refusals have no code of a remote: "552 5.3.4 text" is "5.3.4 text". */
static void
settle(struct attempt *a, const struct smtp_client_rcpt *r)
{
	if (r->ours)
		outcome_set(a, r->index, outcome_of(r->code), 0,
		    str_skip(r->reply, r->reply.n > 4 ? 4 : 0));
	else
		outcome_set(a, r->index, outcome_of(r->code), r->code, r->reply);
}

/* A plugin may turn a refusal into another; what was delivered is delivered. */
static void
decided(struct attempt *a, const struct smtp_client_rcpt *r, const struct plug_outcome *o)
{
	struct ph_str text;

	if (o == NULL || o->verdict != PH_REJECT || r->code / 100 == 2) {
		settle(a, r);
		return;
	}
	text = o->text.n > 0 ? o->text : str_of(ph_reply_text(o->reply));
	outcome_set(a, r->index, outcome_of(ph_reply_code(o->reply)), 0,
	    str_of(arena_printf(
		&a->job->arena, "%s " STR_FMT, ph_reply_enhanced(o->reply), STR_ARG(text))));
}

static void
outcome_next(struct attempt *a)
{
	for (; a->asking < a->txn.nrcpts; a->asking++) {
		const struct smtp_client_rcpt *r = &a->txn.rcpts[a->asking];
		struct plug_outcome o;

		if (r->code == 0 || another_round(a, r))
			continue;
		if (a->ps == NULL || !plug_listens(a->ps, PH_HOOK_RESPONSE)) {
			settle(a, r);
			continue;
		}
		a->ps->rcpt = r->rcpt;
		a->ps->outcome_text = r->reply;
		a->ps->outcome_code = r->code;
		if (!plug_ask(a->ps, PH_HOOK_RESPONSE, &o))
			return;
		decided(a, r, &o);
	}
	attempt_more(a);
}

void
outcome_begin(struct attempt *a)
{
	a->phase = ATTEMPT_ANSWERING;
	a->on = NULL;
	a->asking = 0;
	outcome_next(a);
}

void
outcome_answered(struct attempt *a, const struct plug_outcome *o)
{
	decided(a, &a->txn.rcpts[a->asking++], o);
	outcome_next(a);
}
