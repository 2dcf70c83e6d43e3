/*
 * bounce.c - who is told what about a message, and the telling: reports are
 * built by dsn.c and appended to the store like any message, from <>, and
 * come back through queue_added.
 *
 * RFC 3461 5.2, 6; RFC 5321 4.5.5: nobody is ever told about a message from <>.
 */
#include "base/id.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "queue/dsn.h"
#include "queue/internal.h"

/* --- who is told what --- */

static bool
null_sender(const struct task *t)
{
	return t->env->from.full.n == 0;
}

static bool
wants(const struct task *t, uint32_t i, uint8_t bit)
{
	uint8_t notify = t->env->rcpts[i].notify;

	/* no NOTIFY means failures and delays (RFC 3461 4.1) */
	return notify == NOTIFY_DEFAULT ? bit != NOTIFY_SUCCESS : (notify & bit) != 0;
}

static bool
told(const struct task *t, uint32_t i, enum dsn_kind kind)
{
	const struct fate *f = &t->fate[i];

	switch (kind) {
	case DSN_FAILED:
		return (f->what == F_FAILED || f->what == F_EXPIRED) && wants(t, i, NOTIFY_FAILURE);
	case DSN_DELAYED:
		return f->delayed && wants(t, i, NOTIFY_DELAY);
	case DSN_RELAYED:
		return f->relayed;
	default:
		return false;
	}
}

bool
bounce_wanted(const struct task *t, enum dsn_kind kind)
{
	if (t->fate == NULL || null_sender(t) || !t->q->cfg.bounce_notices || t->e->kill)
		return false;
	for (uint32_t i = 0; i < t->env->nrcpts; i++)
		if (told(t, i, kind))
			return true;
	return false;
}

static uint32_t
count_fate(const struct task *t, enum fate_kind what)
{
	uint32_t n = 0;

	for (uint32_t i = 0; t->fate != NULL && i < t->env->nrcpts; i++)
		n += t->fate[i].what == what;
	return n;
}

/* Nobody can be told, so the message itself is kept for the operator. */
bool
bounce_badmail(const struct task *t)
{
	return t->fate != NULL && !t->e->kill && (null_sender(t) || !t->q->cfg.bounce_notices) &&
	    count_fate(t, F_FAILED) + count_fate(t, F_EXPIRED) > 0;
}

/* --- reports --- */

void
bounce_log(struct task *t, enum dsn_kind kind, bool made)
{
	char id[PH_MSGID_TEXT] = "none";
	struct ph_str to = t->env->from.full;
	int64_t age = t->q->now - t->e->born;
	uint32_t failed = count_fate(t, F_FAILED), expired = count_fate(t, F_EXPIRED);

	if (made)
		(void)id_text(t->report, id);
	if (kind == DSN_RELAYED) {
		log_event(PH_INFO, NULL, "queue.relayed", LOG_ID("mid", t->e->id),
		    LOG_C("report", id), LOG_S("to", to));
		return;
	}
	if (kind == DSN_DELAYED) {
		log_event(PH_INFO, NULL, "queue.notice", LOG_ID("mid", t->e->id),
		    LOG_C("report", id), LOG_S("to", to), LOG_I("age-s", age / 1000));
		return;
	}
	if (failed > 0)
		log_event(PH_INFO, NULL, "queue.bounced", LOG_ID("mid", t->e->id),
		    LOG_I("recipients", failed), LOG_C("report", id), LOG_S("to", to));
	if (expired > 0)
		log_event(PH_INFO, NULL, "queue.expired", LOG_ID("mid", t->e->id),
		    LOG_I("recipients", expired), LOG_I("age-s", age / 1000),
		    LOG_C("report", id), LOG_S("to", to));
}

static void
append_done_now(struct ph_note *note)
{
	struct ph_store_request *r = container_of(note, struct ph_store_request, note);
	struct task *t = r->arg;
	enum dsn_kind kind = t->reporting;

	ph_content_unref(&r->content);
	buf_clear(&t->meta);
	if (r->status == 0) {
		t->q->reports++;
		bounce_log(t, kind, true);
	} else {
		char id[PH_MSGID_TEXT];

		log_event(PH_ERROR, NULL, "queue.report-failed", LOG_ID("mid", t->e->id),
		    LOG_C("report", id_text(t->report, id)), LOG_C("why", ph_strerror(r->status)));
		task_pause_reports(t->q);
		if (kind == DSN_FAILED)
			t->refused = true;
		if (kind == DSN_DELAYED)
			t->e->notified = 0;
	}
	task_step(t);
}

static void
append_done(struct ph_store_request *r)
{
	queue_later(((struct task *)r->arg)->q, &r->note, append_done_now);
}

static struct dsn_rcpt
dsn_rcpt_of(const struct task *t, uint32_t i)
{
	const struct fate *f = &t->fate[i];
	const struct rcpt_progress *p = &t->progress->rcpts[i];
	struct dsn_rcpt r = { .rcpt = &t->env->rcpts[i], .expired = f->what == F_EXPIRED };

	if (f->said != NULL) {
		r.code = f->said->code;
		r.reply = f->said->reply;
		r.remote = f->said->remote;
	} else {
		r.code = p->code;
		r.reply = p->reply;
		r.remote = p->remote;
	}
	if (r.reply.n == 0 && t->e->site->suspended)
		r.reply = str_of(t->e->site->why);
	return r;
}

static void
build(struct task *t, enum dsn_kind kind, struct buf *out)
{
	struct dsn_rcpt *v = arena_alloc(&t->arena, t->env->nrcpts * sizeof *v);
	const struct queue *q = t->q;
	struct dsn_input in = {
		.kind = kind, .hostname = str_of(q->cfg.hostname), .about = t->e->id,
		.id = t->report, .env = t->env, .rcpts = v, .now = q->wall,
		.retry_until = q->cfg.expire_ms > 0 ?
		    retry_wall(q, t->e->born + q->cfg.expire_ms) : 0,
		.content = t->content, .headers = buf_view(&t->headers),
		.max_original = ORIGINAL_MAX,
	};

	for (uint32_t i = 0; i < t->env->nrcpts; i++)
		if (told(t, i, kind))
			v[in.nrcpts++] = dsn_rcpt_of(t, i);
	dsn_build(&in, out);
}

/* The report's own envelope: from <>, and no report about it (RFC 3461 6.1). */
static void
report_envelope(struct task *t, struct ph_str text)
{
	struct envelope env;
	struct recipient *to;

	envelope_init(&env, &t->arena);
	to = envelope_add(&env);
	to->to = t->env->from;
	to->notify = NOTIFY_NEVER;
	env.smtputf8 = t->env->from.utf8;
	env.body = str_ascii(text) ? BODY_7BIT : BODY_8BITMIME;
	env.protocol = STR("report");
	env.arrived = t->q->wall;
	buf_clear(&t->meta);
	envelope_encode(&env, &t->meta);
}

bool
bounce_append(struct task *t, enum dsn_kind kind)
{
	struct buf text = { 0 };
	struct ph_content *c;

	if (!bounce_wanted(t, kind))
		return false;
	t->report = id_new();
	t->reporting = kind;
	build(t, kind, &text);
	report_envelope(t, buf_view(&text));
	c = content_new();
	content_append(c, text.data + text.head, text.len, text.len);
	t->req = (struct ph_store_request){
		.id = t->report,
		.summary = { .created = t->q->wall, .due = t->q->wall, .size = text.len,
			.flags = PH_STORE_BOUNCE, .recipients = 1 },
		.meta = buf_view(&t->meta),
		.content = c,
	};
	buf_free(&text);
	task_submit(t, PH_STORE_APPEND, append_done);
	return true;
}
