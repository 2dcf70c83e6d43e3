/* rows.c - messages, sites and counts as lines of fields. */
#include "daemon/rows.h"

#include "base/id.h"
#include "base/str.h"

static const char *const rcpt_states[] = {
	[RCPT_PENDING] = "pending", [RCPT_DELIVERED] = "delivered",
	[RCPT_FAILED] = "failed", [RCPT_EXPIRED] = "expired",
};

static void
rows_recipient(const struct queue_row *r, uint32_t i, struct arena *arena, struct buf *out)
{
	const struct recipient *rcpt = &r->env->rcpts[i];
	const struct rcpt_progress *p = r->progress != NULL && i < r->progress->nrcpts
	    ? &r->progress->rcpts[i] : NULL;
	struct fields f;

	fields_start(&f, arena, "rcpt");
	fields_str(&f, "to", rcpt->to.full);
	fields_text(&f, "state", rcpt_states[p != NULL ? p->state : RCPT_PENDING]);
	if (p != NULL && (p->code != 0 || p->reply.n > 0)) {
		fields_int(&f, "code", p->code);
		fields_str(&f, "reply", p->reply);
		fields_str(&f, "remote", p->remote);
	}
	if (rcpt->orcpt.n > 0)
		fields_str(&f, "orcpt", rcpt->orcpt);
	fields_encode(&f, out);
}

void
rows_message(const struct queue_row *r, struct arena *arena, struct buf *out)
{
	char id[PH_MSGID_TEXT];
	struct fields f;

	fields_start(&f, arena, "message");
	fields_text(&f, "id", id_text(r->id, id));
	fields_text(&f, "state", r->state);
	fields_int(&f, "created", r->summary.created);
	fields_int(&f, "size", (int64_t)r->summary.size);
	fields_int(&f, "attempts", r->summary.attempts);
	fields_int(&f, "pending", r->summary.recipients);
	fields_int(&f, "next_attempt", r->next_attempt);
	fields_text(&f, "site", r->site);
	fields_text(&f, "site_state", r->site_state);
	fields_text(&f, "site_why", r->site_why);
	fields_int(&f, "site_probe", r->site_probe);
	fields_bool(&f, "bounce", (r->summary.flags & PH_STORE_BOUNCE) != 0);
	fields_bool(&f, "notified", (r->summary.flags & PH_STORE_NOTIFIED) != 0);
	if (r->env != NULL) {
		fields_str(&f, "from", r->env->from.full);
		fields_int(&f, "rcpts", r->env->nrcpts);
		fields_str(&f, "client", r->env->client_addr);
		fields_str(&f, "hello", r->env->client_hello);
		fields_str(&f, "login", r->env->login);
		fields_str(&f, "protocol", r->env->protocol);
		if (r->env->envid.n > 0)
			fields_str(&f, "envid", r->env->envid);
	}
	if (r->progress != NULL)
		fields_int(&f, "last_attempt", r->progress->last_attempt);
	fields_encode(&f, out);
	for (uint32_t i = 0; r->env != NULL && i < r->env->nrcpts; i++)
		rows_recipient(r, i, arena, out);
}

void
rows_counts(const struct queue_counts *c, struct arena *arena, struct buf *out)
{
	struct fields f;

	fields_start(&f, arena, "counts");
	fields_int(&f, "messages", (int64_t)c->messages);
	fields_int(&f, "bytes", (int64_t)c->bytes);
	fields_int(&f, "active", (int64_t)c->active);
	fields_int(&f, "deferred", (int64_t)c->deferred);
	fields_int(&f, "held", (int64_t)c->held);
	fields_int(&f, "sites", (int64_t)c->sites);
	fields_int(&f, "suspended", (int64_t)c->suspended);
	fields_int(&f, "added", (int64_t)c->added);
	fields_int(&f, "delivered", (int64_t)c->delivered);
	fields_int(&f, "bounced", (int64_t)c->bounced);
	fields_int(&f, "expired", (int64_t)c->expired);
	fields_int(&f, "bounces_sent", (int64_t)c->bounces_sent);
	fields_int(&f, "hot_bytes", (int64_t)c->hot_bytes);
	fields_encode(&f, out);
}

void
rows_site(const struct queue_site_row *r, struct arena *arena, struct buf *out)
{
	struct fields f;

	fields_start(&f, arena, "site");
	fields_text(&f, "name", r->name);
	fields_text(&f, "state", r->state);
	fields_text(&f, "why", r->why);
	fields_int(&f, "messages", (int64_t)r->messages);
	fields_int(&f, "active", (int64_t)r->active);
	fields_int(&f, "connections", r->connections);
	fields_int(&f, "probe", r->probe);
	fields_text(&f, "key", r->key);
	fields_encode(&f, out);
}
