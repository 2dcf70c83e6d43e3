/*
 * attempt.c - one message on its way through a site: hooks before, its
 * transactions, what becomes of it when the connection ends.
 *
 * A message of which the remote has answered nothing may go to another
 * connection without anybody noticing.  Once its last byte is on the wire and
 * something was answered, the end of the connection leaves its fate unknown:
 * it is put off, and may be delivered twice (RFC 1047).
 */
#include <stdlib.h>

#include "deliver/deliver_private.h"

struct attempt_plugins { struct plug_session ps; struct attempt *a; };

/* --- before --- */

static bool
anybody_listens(const struct worker_plugins *wp)
{
	const struct hook_list *h = wp->gen->hooks;

	return h[PH_HOOK_ATTEMPT].n + h[PH_HOOK_RESPONSE].n + h[PH_HOOK_DELIVERED].n +
	       h[PH_HOOK_DEFERRED].n + h[PH_HOOK_BOUNCED].n > 0;
}

/* Words of ours, for recipients that no remote was asked about. */
static void
all_decided(struct attempt *a, enum ph_verdict v, enum ph_reply reply, struct ph_str text)
{
	bool fail = v == PH_REJECT && ph_reply_code(reply) >= 500;
	enum ph_reply r = v == PH_REJECT ? reply : PH_R_TRY_LATER;

	if (text.n == 0)
		text = str_of(ph_reply_text(r));
	outcome_rest(a, fail ? JR_FAILED : JR_DEFERRED, 0,
	    str_of(
		arena_printf(&a->job->arena, "%s " STR_FMT, ph_reply_enhanced(r), STR_ARG(text))));
	deliver_finish(a, JOB_TRIED);
}

static void
asked(struct attempt *a, const struct plug_outcome *o)
{
	if (o->verdict == PH_REJECT || o->verdict == PH_FAIL)
		all_decided(a, o->verdict, o->reply, o->text);
	else
		pool_wait(a->pool, a, false);
}

static void
answered(struct plug_session *ps, const struct plug_outcome *o)
{
	struct attempt *a = container_of(ps, struct attempt_plugins, ps)->a;

	if (a->phase == ATTEMPT_ASKING)
		asked(a, o);
	else
		outcome_answered(a, o);
}

int
attempt_open_plugins(struct attempt *a)
{
	struct attempt_plugins *both;
	struct job *job = a->job;
	int rc;

	if (a->ps != NULL || !anybody_listens(a->wp))
		return 0;
	both = mem_new(struct attempt_plugins);
	both->a = a;
	a->ps = &both->ps;
	a->ps->wp = a->wp;
	a->ps->log = a->d->log;
	a->ps->session_arena = a->ps->txn_arena = &job->arena;
	a->ps->env = &job->env;
	a->ps->id = job->id;
	a->ps->content = job->content;
	a->ps->size = ph_content_size(job->content);
	a->ps->answered = answered;
	rc = plug_session_open(a->ps);
	if (rc == 0)
		rc = plug_txn_open(a->ps);
	if (rc == 0)
		return 0;
	attempt_close_plugins(a);
	return rc;
}

void
attempt_close_plugins(struct attempt *a)
{
	if (a->ps == NULL)
		return;
	plug_session_close(a->ps);
	free(container_of(a->ps, struct attempt_plugins, ps));
	a->ps = NULL;
}

void
attempt_start(struct attempt *a, struct pool *p)
{
	struct plug_outcome o;

	a->pool = p;
	a->phase = ATTEMPT_ASKING;
	if (attempt_open_plugins(a) != 0)
		all_decided(a, PH_FAIL, PH_R_TRY_LATER, STR("a plugin could not begin"));
	else if (a->ps == NULL)
		pool_wait(p, a, false);
	else if (plug_ask(a->ps, PH_HOOK_ATTEMPT, &o))
		asked(a, &o);
}

/* --- a transaction --- */

static bool
has_eight_bit(const struct ph_content *c)
{
	for (const struct content_block *b = c->first; b != NULL; b = b->next) {
		const char *p = b->data;
		size_t n = b->len;
		uint64_t seen = 0, w;

		for (; n >= 8; p += 8, n -= 8) {
			memcpy(&w, p, 8);
			seen |= w;
		}
		for (; n > 0; n--)
			seen |= (uint8_t)*p++;
		if ((seen & 0x8080808080808080u) != 0)
			return true;
	}
	return false;
}

static uint32_t
most_rcpts(const struct attempt *a, const struct link *l)
{
	int64_t most = l->hop->recipients_per_message > 0 ? l->hop->recipients_per_message
	                                                  : l->d->cfg.recipients_per_message;
	uint32_t offered = smtp_client_max_rcpts(l->client);

	if (most <= 0 || most > a->ntodo)
		most = a->ntodo;
	return offered > 0 && offered < most ? offered : (uint32_t)most;
}

void
attempt_send(struct attempt *a, struct link *l)
{
	struct job *job = a->job;
	struct smtp_client_txn *t = &a->txn;
	uint32_t most = most_rcpts(a, l);

	a->phase = ATTEMPT_SENDING;
	a->on = l;
	a->started = loop_now(a->d->loop);
	if (!a->tried)
		a->d->counts.attempts++;
	if (a->remote == NULL || strcmp(a->remote, l->remote) != 0)
		a->remote = arena_strndup(&job->arena, l->remote, strlen(l->remote));
	a->dsn = (smtp_client_extensions(l->client) & SMTP_EXT_DSN) != 0;
	*t = (struct smtp_client_txn){ .env = &job->env,
		.content = job->content,
		.arena = &job->arena,
		.size = ph_content_size(job->content),
		.arg = a };
	/* What is not in memory is declared 8-bit, which is never wrong. */
	t->eight_bit = job->env.body != BODY_7BIT || !ph_content_in_memory(job->content) ||
	               has_eight_bit(job->content);
	t->rcpts = arena_alloc(&job->arena, most * sizeof *t->rcpts);
	for (uint32_t i = 0; i < a->ntodo && t->nrcpts < most; i++) {
		const struct job_rcpt *r = &job->rcpts[a->todo[i]];
		if (r->outcome == JR_NONE)
			t->rcpts[t->nrcpts++] = (struct smtp_client_rcpt){
				.rcpt = &job->env.rcpts[r->index], .index = a->todo[i] };
	}
	l->submitted++;
	smtp_client_submit(l->client, t);
	link_dirty(l);
}

static bool
all_421(const struct smtp_client_txn *t)
{
	for (uint32_t i = 0; i < t->nrcpts; i++)
		if (t->rcpts[i].code != 421)
			return false;
	return true;
}

bool
attempt_is_login_code(int code)
{
	return code == 530 || code == 534 || code == 535 || code == 538;
}

/* MAIL was answered with "Authentication required" or its kin: true of every message, and a
 * matter for the operator, not for the sender. */
static bool
wants_login(const struct smtp_client_txn *t)
{
	return t->mail_refused && t->nrcpts > 0 && !t->rcpts[0].ours &&
	       attempt_is_login_code(t->rcpts[0].code);
}

static void
site_refuses(struct attempt *a)
{
	struct pool *p = a->pool;
	struct job *job = a->job;

	job->site_login = JOB_LOGIN_REFUSED;
	job->why = str_of(arena_printf(&job->arena, "%s: " STR_FMT " (%s)",
	    a->on->hop->auth != NULL ? "the login was not enough" : "a login is wanted",
	    STR_ARG(a->txn.rcpts[0].reply), a->remote));
	link_retire(a->on);
	a->on = NULL;
	pool_give_back(p, JOB_SITE_DOWN, job->why, JOB_LOGIN_REFUSED);
	if (a->tried)
		outcome_rest(a, JR_DEFERRED, 0, job->why);
	deliver_finish(a, a->tried ? JOB_TRIED : JOB_SITE_DOWN);
}

void
attempt_finished(struct attempt *a)
{
	struct link *l = a->on;

	read_stop(a);
	if (wants_login(&a->txn)) {
		site_refuses(a);
		return;
	}
	/* A remote that has had enough of a connection that served it well: the
	 * message was not refused, the connection was. */
	if (all_421(&a->txn)) {
		if (l->finished > 0 && a->retries < RETRIES_MAX) {
			a->retries++;
			pool_wait(a->pool, a, true);
			return;
		}
	} else {
		l->finished++;
	}
	a->job->site_ok = true;
	outcome_begin(a);
}

void
attempt_lost(struct attempt *a, struct ph_str why)
{
	const struct smtp_client_txn *t = &a->txn;
	struct link *l = a->on;
	bool kept = l->finished > 0, begun = t->stage > 0;
	const char *text;

	read_stop(a);
	if (a->unreadable != 0 && !a->tried) {
		a->job->status = a->unreadable;
		deliver_finish(a, JOB_UNREADABLE);
		return;
	}
	/* A kept connection may have died long ago, which shows only now. */
	if (!t->answered && kept && !a->retried_stale && a->unreadable == 0) {
		a->retried_stale = true;
		pool_wait(a->pool, a, true);
		return;
	}
	if (!t->answered && !t->sent && (kept || !begun) && a->retries < RETRIES_MAX &&
	    a->unreadable == 0) {
		a->retries++;
		pool_wait(a->pool, a, true);
		return;
	}
	if (a->d->hard && !t->sent) {
		deliver_finish(a, a->tried ? JOB_TRIED : JOB_RETURNED);
		return;
	}
	a->job->site_ok = true;
	if (t->sent)
		text = arena_printf(&a->job->arena,
		    "4.4.2 connection lost while waiting for the final reply (" STR_FMT ")",
		    STR_ARG(why));
	else
		text = arena_printf(
		    &a->job->arena, "4.4.2 connection lost (" STR_FMT ")", STR_ARG(why));
	for (uint32_t i = 0; i < t->nrcpts; i++)
		if (t->rcpts[i].code == 0)
			outcome_set(a, t->rcpts[i].index, JR_DEFERRED, 0, str_of(text));
	outcome_begin(a);
}

void
attempt_more(struct attempt *a)
{
	struct job *job = a->job;

	a->tried = true;
	for (uint32_t i = 0; i < a->ntodo; i++)
		if (job->rcpts[a->todo[i]].outcome == JR_NONE) {
			pool_wait(a->pool, a, true);
			return;
		}
	deliver_finish(a, JOB_TRIED);
}
