/*
 * client_txn.c - transactions: when their commands leave, and what the
 * replies mean.
 *
 * MODE_STREAM sends whole messages without waiting.  A BDAT that fails leaves
 * the remote in a state that RFC 3030 2 calls indeterminate: a MAIL behind it
 * might fall into the failed transaction, and a message would go out under
 * another one's sender.  So each message that follows one whose outcome is
 * not known is led by RSET, which costs six bytes and no waiting.
 * In MODE_GROUPS a transaction ends with its final dot whatever the reply,
 * and what waits for 354 is never followed by anything (RFC 2920 3.1).
 */
#include "smtp/client_private.h"

static struct smtp_client_txn *
following(struct smtp_client *c, struct smtp_client_txn *t)
{
	return t->link.next == &c->open ? NULL
					: container_of(t->link.next, struct smtp_client_txn, link);
}

/* t is wholly in the output, or nothing more of it will be. */
static void
put_over(struct smtp_client *c, struct smtp_client_txn *t)
{
	if (c->next == t)
		c->next = following(c, t);
}

void
client_txn_finish_if_over(struct smtp_client *c, struct smtp_client_txn *t)
{
	if (t->replies_due > 0 || t->stage < STAGE_BODY || (t->stage == STAGE_BODY && !t->sent))
		return;
	put_over(c, t);
	if (c->last_put == t)
		c->last_put = NULL;
	list_del(&t->link);
	list_push_back(&c->done, &t->link);
	c->nopen--;
	c->nput--;
	c->put_bytes -= t->size;
}

/* The reply counts for every recipient that has none yet. */
void
client_txn_fail(struct smtp_client_txn *t, struct client_reply *r)
{
	for (uint32_t i = 0; i < t->nrcpts; i++)
		if (t->rcpts[i].code == 0) {
			t->rcpts[i].code = r->code;
			t->rcpts[i].reply = client_reply_text(r, t->arena);
		}
}

/* --- commands leave --- */

static void
begin(struct smtp_client *c, struct smtp_client_txn *t)
{
	if (c->need_rset) {
		client_put(c, STR("RSET"));
		client_expect(c, WAIT_RSET, NULL, 0);
		c->need_rset = false;
	}
	c->nput++;
	c->put_bytes += t->size;
	client_put_mail(c, t);
	c->last_put = t;
}

static void
put_group(struct smtp_client *c, struct smtp_client_txn *t)
{
	begin(c, t);
	for (uint32_t i = 0; i < t->nrcpts; i++)
		if (t->rcpts[i].code == 0)
			client_put_rcpt(c, t, i);
}

/* The next recipient that is to be asked, from t->next_rcpt on. */
static bool
put_next_rcpt(struct smtp_client *c, struct smtp_client_txn *t)
{
	for (; t->next_rcpt < t->nrcpts; t->next_rcpt++)
		if (t->rcpts[t->next_rcpt].code == 0) {
			client_put_rcpt(c, t, t->next_rcpt++);
			return true;
		}
	return false;
}

static void
put_data(struct smtp_client *c, struct smtp_client_txn *t)
{
	client_put(c, STR("DATA"));
	client_expect(c, WAIT_DATA, t, 0);
	t->stage = STAGE_DATA;
}

static bool
window_has_room(const struct smtp_client *c, const struct smtp_client_txn *t)
{
	return c->nput == 0 || (c->nput < c->cfg.window_messages &&
	                        c->put_bytes + t->size <= c->cfg.window_bytes);
}

static void
advance_plain(struct smtp_client *c, struct smtp_client_txn *t)
{
	/* What is left to come of an earlier one, or of RSET, comes first. */
	if (t->stage != STAGE_QUEUED || c->expects.n > 0)
		return;
	if (c->need_rset) {
		client_put(c, STR("RSET"));
		client_expect(c, WAIT_RSET, NULL, 0);
		c->need_rset = false;
		return;
	}
	t->stage = STAGE_MAIL;
	begin(c, t);
}

void
client_advance(struct smtp_client *c)
{
	struct smtp_client_txn *t;

	while (c->state == CLIENT_READY && (t = c->next) != NULL) {
		if (c->mode == MODE_PLAIN) {
			advance_plain(c, t);
			return;
		}
		if (c->mode == MODE_GROUPS) {
			if (t->stage == STAGE_QUEUED) {
				put_group(c, t);
				put_data(c, t);
			}
			return;         /* goes on with the reply to DATA */
		}
		if (!window_has_room(c, t))
			return;
		put_group(c, t);
		client_put_bdat(c, t);
		c->need_rset = true;
		put_over(c, t);
	}
}

void
smtp_client_submit(struct smtp_client *c, struct smtp_client_txn *t)
{
	bool left = false;

	t->offset = t->part_at = 0;
	t->next_rcpt = t->ok_rcpts = t->replies_due = 0;
	t->stage = STAGE_QUEUED;
	t->answered = t->sent = t->mail_refused = t->wanting = false;
	t->part = (struct ph_str){ NULL, 0 };
	client_vet(c, t);
	for (uint32_t i = 0; i < t->nrcpts && !left; i++)
		left = t->rcpts[i].code == 0;
	if (!left) {
		list_push_back(&c->done, &t->link);
		return;
	}
	list_push_back(&c->open, &t->link);
	c->nopen++;
	if (c->next == NULL)
		c->next = t;
	client_advance(c);
}

/* --- replies come --- */

static void
protocol_violated(struct smtp_client *c, struct client_reply *r)
{
	client_fail(c, PH_EPROTO, r->code, client_reply_text(r, &c->event_arena));
}

/* No content will be sent.  open: the remote holds a transaction. */
static void
give_up(struct smtp_client *c, struct smtp_client_txn *t, bool open)
{
	t->stage = STAGE_OVER;
	if (open)
		c->need_rset = true;
	put_over(c, t);
}

static void
mail_reply(struct smtp_client *c, struct smtp_client_txn *t, struct client_reply *r)
{
	bool ok = r->code / 100 == 2;

	if (!ok) {
		t->mail_refused = true;
		client_txn_fail(t, r);
	}
	if (c->mode != MODE_PLAIN)
		return;
	if (!ok)
		give_up(c, t, false);
	else if (put_next_rcpt(c, t))
		t->stage = STAGE_RCPT;
}

static void
rcpt_reply(struct smtp_client *c, struct smtp_client_txn *t, uint32_t i, struct client_reply *r)
{
	struct smtp_client_rcpt *rcpt = &t->rcpts[i];

	if (rcpt->code == 0 && r->code / 100 == 2)
		t->ok_rcpts++;
	else if (rcpt->code == 0) {
		rcpt->code = r->code;
		rcpt->reply = client_reply_text(r, t->arena);
		/* "Too many recipients" said the old way is temporary once others
		 * were taken (RFC 5321 4.5.3.1.10). */
		if (r->code == 552 && t->ok_rcpts > 0)
			rcpt->code = 452;
	}
	if (c->mode != MODE_PLAIN || put_next_rcpt(c, t))
		return;
	if (t->ok_rcpts == 0)
		give_up(c, t, true);
	else if (c->bdat) {
		t->stage = STAGE_BODY;
		client_put_bdat(c, t);
		c->need_rset = true;
		put_over(c, t);
	} else
		put_data(c, t);
}

static void
data_reply(struct smtp_client *c, struct smtp_client_txn *t, struct client_reply *r)
{
	if (r->code != 354) {
		client_txn_fail(t, r);
		give_up(c, t, !t->mail_refused);
		return;
	}
	client_expect(c, WAIT_BODY, t, 0);
	if (t->ok_rcpts > 0) {
		client_push_content(c, t);
		put_over(c, t);
		return;
	}
	/* All recipients were refused and it wants content all the same: an empty
	 * one (RFC 2920 3.1). */
	client_put(c, STR("."));
	t->sent = true;
	give_up(c, t, false);
}

/* The reply to the whole message. */
static void
final_reply(struct smtp_client *c, struct smtp_client_txn *t, enum client_wait kind,
            struct client_reply *r)
{
	bool ok = r->code / 100 == 2;

	if (ok && !t->sent) {
		protocol_violated(c, r);        /* nobody can have taken what we have not sent */
		return;
	}
	for (uint32_t i = 0; i < t->nrcpts; i++)
		if (t->rcpts[i].code == 0) {
			t->rcpts[i].code = r->code;
			t->rcpts[i].reply = client_reply_text(r, t->arena);
		}
	if (kind == WAIT_BDAT && ok && c->last_put == t)
		c->need_rset = false;
	/* Refused in the middle of dot-stuffed content: what comes next would be
	 * taken for commands, or as more content. */
	if (kind == WAIT_BODY && !t->sent) {
		t->stage = STAGE_OVER;
		client_txn_finish_if_over(c, t);
		protocol_violated(c, r);
	}
}

void
client_txn_reply(struct smtp_client *c, const struct client_expect *e, struct client_reply *r)
{
	struct smtp_client_txn *t = e->txn;
	bool three = r->code / 100 == 3, two = r->code / 100 == 2;

	t->answered = true;
	t->replies_due--;
	if (three != (e->kind == WAIT_DATA && r->code == 354) || (two && e->kind == WAIT_DATA)) {
		t->replies_due++;       /* the outcome is not known */
		protocol_violated(c, r);
		return;
	}
	switch (e->kind) {
	case WAIT_MAIL:
		mail_reply(c, t, r);
		break;
	case WAIT_RCPT:
		rcpt_reply(c, t, e->index, r);
		break;
	case WAIT_DATA:
		data_reply(c, t, r);
		break;
	default:
		final_reply(c, t, e->kind, r);
		break;
	}
	if (c->state == CLIENT_DEAD)
		return;
	client_txn_finish_if_over(c, t);
	client_advance(c);
}
