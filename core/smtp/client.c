/*
 * client.c - the client engine's frame: replies in, events out, time-outs.
 *
 * Replies are taken strictly in order.  One that nobody expects, that comes
 * before its command has left, or that is none at all ends the connection;
 * a reply is never credited to the wrong message.
 */
#include <stdlib.h>

#include "smtp/client_private.h"

enum {
	REPLY_LINE_MAX = 2048,
	CHALLENGE_LINE_MAX = 12288 + 6,         /* RFC 4954 4 */
	EVENT_TEXT_MAX = 8192,
};

struct smtp_client *
smtp_client_new(const struct smtp_client_config *cfg)
{
	struct smtp_client *c = mem_new(struct smtp_client);

	c->cfg = *cfg;
	c->hostname = mem_strndup(cfg->hostname.n > 0 ? cfg->hostname.p : "localhost",
	                          cfg->hostname.n > 0 ? cfg->hostname.n : 9);
	c->cfg.hostname = str_of(c->hostname);
	if (c->cfg.window_messages == 0)
		c->cfg.window_messages = 32;
	if (c->cfg.window_bytes == 0)
		c->cfg.window_bytes = 1024 * 1024;
	c->secured = cfg->tls_begun;
	list_init(&c->open);
	list_init(&c->done);
	arena_init(&c->event_arena, 1024);
	arena_init(&c->scratch, 1024);
	client_expect(c, WAIT_GREETING, NULL, 0);
	return c;
}

void
smtp_client_free(struct smtp_client **cp)
{
	struct smtp_client *c = *cp;

	*cp = NULL;
	if (c == NULL)
		return;
	client_output_free(c);
	arena_reset(&c->event_arena);
	arena_reset(&c->scratch);
	client_forget(&c->auth_initial);
	client_forget(&c->auth_said);
	free(c->expects.v);
	free(c->hostname);
	free(c);
}

/* --- events --- */

void
client_event(struct smtp_client *c, enum smtp_client_event_kind kind, int code, struct ph_str text)
{
	struct smtp_client_event *ev = &c->events[kind];

	*ev = (struct smtp_client_event){ .kind = kind, .code = code };
	ev->text = arena_str(&c->event_arena, str_head(text, EVENT_TEXT_MAX));
	c->pending |= 1u << kind;
}

void
client_fail(struct smtp_client *c, int status, int code, struct ph_str text)
{
	if (c->state == CLIENT_DEAD)
		return;
	if (c->state == CLIENT_QUITTING) {      /* all that mattered has been told */
		client_event(c, SMTP_EV_QUIT, code, STR(""));
		c->state = CLIENT_DEAD;
		return;
	}
	client_event(c, SMTP_EV_FAILED, code, text);
	c->events[SMTP_EV_FAILED].status = status;
	c->state = CLIENT_DEAD;
	c->pending &= ~(1u << SMTP_EV_WANT);
}

/* Finished transactions are told before the failure that came after them. */
bool
smtp_client_event(struct smtp_client *c, struct smtp_client_event *ev)
{
	static const uint8_t order[] = { SMTP_EV_AUTH_OK, SMTP_EV_READY, SMTP_EV_STARTTLS,
		SMTP_EV_AUTH, SMTP_EV_AUTH_STEP, SMTP_EV_AUTH_FAILED, SMTP_EV_TXN, SMTP_EV_WANT,
		SMTP_EV_FAILED, SMTP_EV_QUIT };

	if (c->pending == 0 && list_empty(&c->done))
		return false;
	for (size_t i = 0; i < sizeof order; i++) {
		if (order[i] == SMTP_EV_TXN) {
			struct list *l = list_pop(&c->done);
			if (l == NULL)
				continue;
			*ev = (struct smtp_client_event){ .kind = SMTP_EV_TXN,
				.txn = container_of(l, struct smtp_client_txn, link) };
			return true;
		}
		if ((c->pending & 1u << order[i]) == 0)
			continue;
		c->pending &= ~(1u << order[i]);
		*ev = c->events[order[i]];
		return true;
	}
	return false;
}

/* --- replies --- */

struct ph_str
client_reply_text(struct client_reply *r, struct arena *arena)
{
	size_t n = 0;
	char *p;

	if (r->made.p != NULL && r->made_in == arena)
		return r->made;
	if (r->single) {
		p = arena_strndup(arena, r->line.p, r->line.n);
		n = r->line.n;
		for (size_t i = 0; i < n; i++)
			if ((uint8_t)p[i] < 0x20 || p[i] == 0x7f)
				p[i] = p[i] == '\t' ? ' ' : '?';
	} else {
		p = arena_printf(arena, "%03d %s%s" STR_FMT, r->multi.code, r->multi.enhanced,
		                 r->multi.enhanced[0] != '\0' ? " " : "", STR_ARG(r->multi.text));
		n = strlen(p);
	}
	r->made_in = arena;
	r->made = str_make(p, n);
	return r->made;
}

static const struct client_expect *
expect_head(const struct smtp_client *c)
{
	return c->expects.n > 0 ? &c->expects.v[c->expects.head] : NULL;
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Takes one reply off *in: 1, 0 more bytes needed, PH_EPROTO.  The usual one
 * is a single line, which is looked at where it lies. */
static int
take_reply(struct smtp_client *c, struct ph_str *in, struct client_reply *r)
{
	const struct client_expect *e = expect_head(c);
	size_t limit = e != NULL && e->kind == WAIT_AUTH ? CHALLENGE_LINE_MAX : REPLY_LINE_MAX;
	const char *p = in->p, *lf = memchr(p, '\n', in->n < limit + 2 ? in->n : limit + 2);
	int rc;

	r->made = (struct ph_str){ NULL, 0 };
	if (lf != NULL && lf - p >= 5 && lf[-1] == '\r' && p[3] == ' ' && p[0] >= '2' &&
	    p[0] <= '5' && is_digit(p[1]) && is_digit(p[2])) {
		r->single = true;
		r->code = (p[0] - '0') * 100 + (p[1] - '0') * 10 + (p[2] - '0');
		r->line = str_make(p, (size_t)(lf - 1 - p));
		*in = str_skip(*in, (size_t)(lf - p) + 1);
		return 1;
	}
	if (lf == NULL && e != NULL && e->kind == WAIT_AUTH && in->n <= limit && in->n >= 4 &&
	    memcmp(p, "334 ", 4) == 0)
		return 0;       /* a challenge may be longer than what reply_parse takes */
	r->single = false;
	rc = reply_parse(in, &c->scratch, &r->multi);
	r->code = r->multi.code;
	return rc;
}

/* 421 may answer any command: "I must shut down" (RFC 5321 3.8, 4.2.1).  The
 * transaction it answers is over; what was sent behind it was not looked at. */
static void
reply_421(struct smtp_client *c, struct smtp_client_txn *t, struct client_reply *r)
{
	list_each(it, &c->open) {
		struct smtp_client_txn *o = container_of(it, struct smtp_client_txn, link);
		if (t != NULL)
			o->sent = false;
	}
	if (t != NULL) {
		t->answered = true;
		client_txn_fail(t, r);
		t->stage = STAGE_OVER;
		t->replies_due = 0;
		client_txn_finish_if_over(c, t);
	}
	client_fail(c, PH_EBUSY, r->code, client_reply_text(r, &c->event_arena));
}

static void
client_trace(struct smtp_client *c, struct client_reply *r)
{
	c->cfg.heard(c->cfg.arg, c->state == CLIENT_AUTH && r->code == 334 ? STR("334 ***")
	    : c->state == CLIENT_AUTH ? client_auth_text(c, r)
	    : client_reply_text(r, &c->event_arena));
}

static void
handle_reply(struct smtp_client *c, struct client_reply *r)
{
	struct client_expect e = { .kind = WAIT_RSET };

	if (c->cfg.heard != NULL)
		client_trace(c, r);
	if (c->expects.n == 0 || c->expects.v[c->expects.head].at > c->cmd_sent) {
		if (r->code == 421)
			reply_421(c, NULL, r);
		else
			client_fail(c, PH_EPROTO, r->code, STR("reply without a command"));
		return;
	}
	e = c->expects.v[c->expects.head];
	c->expects.head = (c->expects.head + 1) & (c->expects.cap - 1);
	c->expects.n--;
	if (r->code == 421 && e.kind >= WAIT_MAIL && e.kind <= WAIT_RSET) {
		reply_421(c, e.txn, r);
		return;
	}
	if (e.txn != NULL)
		client_txn_reply(c, &e, r);
	else if (e.kind == WAIT_RSET) {
		/* Without it the next MAIL could join a transaction that is still open. */
		if (r->code / 100 != 2)
			client_fail(c, PH_EPROTO, r->code, client_reply_text(r, &c->event_arena));
		client_advance(c);
	} else if (e.kind == WAIT_QUIT) {
		client_event(c, SMTP_EV_QUIT, r->code, STR(""));
		c->state = CLIENT_DEAD;
	} else
		client_hello_reply(c, e.kind, r);
}

int
smtp_client_feed(struct smtp_client *c, struct ph_str *in)
{
	if (c->event_arena.head != NULL)
		arena_reset(&c->event_arena);
	while (in->n > 0) {
		struct client_reply r;
		int rc;

		if (c->state == CLIENT_DEAD) {
			*in = str_skip(*in, in->n);
			break;
		}
		/* What follows the 220 in the clear is not for us to believe. */
		if (c->state == CLIENT_TLS)
			break;
		rc = take_reply(c, in, &r);
		if (rc == 0)
			break;
		if (rc < 0) {
			client_fail(c, PH_EPROTO, 0, STR("not an SMTP reply"));
			*in = str_skip(*in, in->n);
			return PH_EPROTO;
		}
		handle_reply(c, &r);
		if (c->scratch.head != NULL)
			arena_reset(&c->scratch);
	}
	return c->state == CLIENT_DEAD && (c->pending & 1u << SMTP_EV_FAILED) != 0 &&
	       c->events[SMTP_EV_FAILED].status == PH_EPROTO ? PH_EPROTO : 0;
}

/* --- the owner's questions --- */

bool
smtp_client_wants_tls(const struct smtp_client *c)
{
	return c->state == CLIENT_TLS;
}

void
smtp_client_quit(struct smtp_client *c)
{
	if (c->state == CLIENT_DEAD || c->state == CLIENT_QUITTING || c->state == CLIENT_TLS)
		return;
	c->state = CLIENT_QUITTING;
	client_put(c, STR("QUIT"));
	client_expect(c, WAIT_QUIT, NULL, 0);
}

struct smtp_client_txn *
smtp_client_end(struct smtp_client *c)
{
	struct list *l = list_pop(&c->open);
	struct smtp_client_txn *t;

	c->state = CLIENT_DEAD;
	c->pending &= ~(1u << SMTP_EV_WANT);
	c->next = c->last_put = NULL;
	c->segments.n = 0;
	c->expects.n = 0;
	if (l == NULL)
		l = list_pop(&c->done);
	else
		c->nopen--;
	if (l == NULL)
		return NULL;
	t = container_of(l, struct smtp_client_txn, link);
	return t;
}

/* The bits of a wait: how long (RFC 5321 4.5.3.2), and what to call it. */
static const struct { int64_t ms; const char *name; } waits[] = {
	[WAIT_GREETING] = { 5 * 60000, "greeting" },
	[WAIT_EHLO] = { 5 * 60000, "reply to EHLO" },
	[WAIT_HELO] = { 5 * 60000, "reply to HELO" },
	[WAIT_STARTTLS] = { 2 * 60000, "reply to STARTTLS" },
	[WAIT_AUTH] = { 2 * 60000, "reply to AUTH" },
	[WAIT_MAIL] = { 5 * 60000, "reply to MAIL" },
	[WAIT_RCPT] = { 5 * 60000, "reply to RCPT" },
	[WAIT_DATA] = { 2 * 60000, "reply to DATA" },
	[WAIT_BODY] = { 10 * 60000, "reply to end of data" },
	[WAIT_BDAT] = { 10 * 60000, "reply to BDAT" },
	[WAIT_RSET] = { 5 * 60000, "reply to RSET" },
	[WAIT_QUIT] = { 5000, "reply to QUIT" },
};
static const int64_t block_ms = 3 * 60000;

static bool
is_blocked(const struct smtp_client *c, const struct client_expect *e)
{
	if (e == NULL)
		return c->segments.n > 0;
	return e->at > c->cmd_sent ||
	       ((e->kind == WAIT_BODY || e->kind == WAIT_BDAT) && !e->txn->sent);
}

int64_t
smtp_client_timeout_ms(const struct smtp_client *c)
{
	const struct client_expect *e = expect_head(c);

	if (c->state == CLIENT_DEAD)
		return 0;
	if (c->state == CLIENT_TLS || (c->state == CLIENT_AUTH && e == NULL))
		return 2 * 60000;
	if (is_blocked(c, e))
		return block_ms;
	return e != NULL ? waits[e->kind].ms : 0;
}

const char *
smtp_client_waiting_for(const struct smtp_client *c)
{
	const struct client_expect *e = expect_head(c);

	if (c->state == CLIENT_DEAD)
		return "nothing";
	if (c->state == CLIENT_TLS)
		return "TLS handshake";
	if (c->state == CLIENT_AUTH && e == NULL)
		return "login mechanism";
	if (is_blocked(c, e))
		return "the remote to read";
	return e != NULL ? waits[e->kind].name : "nothing";
}

bool
smtp_client_spent(const struct smtp_client *c)
{
	return c->max_mails > 0 && c->mails + (c->nopen - c->nput) >= c->max_mails;
}

unsigned
smtp_client_free_slots(const struct smtp_client *c)
{
	unsigned room = c->mode == MODE_STREAM ? c->cfg.window_messages
	    : c->mode == MODE_GROUPS ? 2 : 1;

	if (c->state != CLIENT_READY || c->nopen >= room ||
	    (c->mode == MODE_STREAM && c->put_bytes >= c->cfg.window_bytes))
		return 0;
	room -= c->nopen;
	if (c->max_mails > 0) {
		unsigned queued = c->nopen - c->nput;
		unsigned left =
		    c->max_mails > c->mails + queued ? c->max_mails - c->mails - queued : 0;
		if (room > left)
			room = left;
	}
	return room;
}

unsigned
smtp_client_open_txns(const struct smtp_client *c)
{
	return c->nopen;
}

unsigned
smtp_client_extensions(const struct smtp_client *c)
{
	return c->ext;
}

uint64_t
smtp_client_max_size(const struct smtp_client *c)
{
	return c->max_size;
}

uint32_t
smtp_client_max_rcpts(const struct smtp_client *c)
{
	return c->max_rcpts;
}
