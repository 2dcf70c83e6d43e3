/*
 * api_call.c - what plugins ask of, and do with, a struct ph_call: verdict
 * builders, storage, facts, and the few things a decide hook may change.
 *
 * Nothing here trusts the plugin to call at the right time: a function that
 * makes no sense where it is called does nothing and says so by its result.
 */
#include <stdio.h>
#include <string.h>

#include "base/id.h"
#include "base/str.h"
#include "mail/content.h"
#include "mail/trace.h"
#include "plugin/private.h"

static const struct ph_str nothing = { "", 0 };
static const struct ph_addr nowhere;

/* --- verdicts --- */

/* Copies text to where the outcome points; one line of printable ASCII
 * (RFC 5321 4.2: textstring), anything else is shown as ' ' or '?'. */
static void
keep_text(struct chain_state *c, const char *text)
{
	size_t n = 0;

	for (; text != NULL && text[n] != '\0' && n < MAX_REASON; n++) {
		unsigned char ch = (unsigned char)text[n];

		c->text[n] = ch < 0x20 || ch == 0x7F ? ' ' : ch > 0x7F ? '?' : (char)ch;
	}
	c->text[n] = '\0';
}

enum ph_verdict
ph_reject(struct ph_call *call, enum ph_reply reply, const char *text)
{
	if (call->phase != CALL_DECIDE)
		return PH_FAIL;
	if ((int)reply <= PH_R_NONE || reply >= PH_R_COUNT)
		return ph_fail(call, "rejected with a reply that does not exist");
	call->ps->chain.reply = reply;
	keep_text(&call->ps->chain, text);
	return PH_REJECT;
}

enum ph_verdict
ph_rejectf(struct ph_call *call, enum ph_reply reply, const char *fmt, ...)
{
	char text[MAX_REASON + 1];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);    /* cutting is what is wanted */
	va_end(ap);
	return ph_reject(call, reply, text);
}

enum ph_verdict
ph_fail(struct ph_call *call, const char *why)
{
	if (call->phase == CALL_DECIDE)
		keep_text(&call->ps->chain, why);
	return PH_FAIL;
}

enum ph_verdict
ph_suspend(struct ph_call *call, ph_duration limit, ph_decide_fn resume, ph_cancel_fn cancel,
           const char *waiting_for)
{
	struct chain_state *c = &call->ps->chain;

	if (call->phase != CALL_DECIDE)
		return PH_FAIL;
	if (resume == NULL)
		return ph_fail(call, "suspended without a function to resume with");
	if (limit.ms <= 0)
		return ph_fail(call, "suspended without a limit");
	c->resume = resume;
	c->cancel = cancel;
	c->what = waiting_for != NULL ? waiting_for : "an answer";
	c->limit_ms = wait_limit(limit, LONGEST_WAIT_MS);
	c->suspended = true;
	return PH_SUSPEND;
}

struct ph_ticket
ph_ticket_of(struct ph_call *call)
{
	struct plug_session *ps = call->ps;

	/* Only a decide hook can wait; in cancel it is the ticket of the wait that ended. */
	if (call->phase == CALL_DECIDE && !ps->chain.woken)
		wait_add(&ps->wait, WAIT_HOOK);
	else if (call->phase != CALL_DECIDE && call->phase != CALL_CANCEL)
		return (struct ph_ticket){ 0, 0, NULL };
	return (struct ph_ticket){ ps->wait.session, ps->wait.serial, loop_mailbox(ps->wp->loop) };
}

void *
ph_answer(struct ph_call *call)
{
	return call->answer;
}

/* --- storage --- */

const void *
ph_config(struct ph_call *call)
{
	return call->inst->config;
}

void *
ph_worker_data(struct ph_call *call)
{
	return worker_of(call->ps->wp, call->inst)->storage;
}

struct ph_worker *
ph_worker_of(struct ph_call *call)
{
	return worker_of(call->ps->wp, call->inst);
}

void *
ph_session_data(struct ph_call *call)
{
	char *slots = call->ps->session_slots;

	return slots != NULL && call->inst->session_off != SIZE_MAX
	       ? slots + call->inst->session_off : NULL;
}

void *
ph_transaction_data(struct ph_call *call)
{
	char *slots = call->ps->txn_slots;

	return slots != NULL && call->inst->txn_off != SIZE_MAX
	       ? slots + call->inst->txn_off : NULL;
}

enum ph_hook
ph_hook_of(const struct ph_call *call)
{
	return call->hook;
}

static struct arena *
arena_of(const struct ph_call *call)
{
	return call->ps->txn_arena != NULL ? call->ps->txn_arena : call->ps->session_arena;
}

void *
ph_alloc(struct ph_call *call, size_t n)
{
	struct arena *a = arena_of(call);

	if (a == NULL || n > MAX_ALLOC || a->total > MAX_ARENA)
		return NULL;
	return arena_alloc(a, n);
}

/* --- the session --- */

const struct ph_addr *
ph_client_addr(const struct ph_call *call)
{
	return call->ps->facts != NULL ? &call->ps->facts->client : &nowhere;
}

const struct ph_addr *
ph_local_addr(const struct ph_call *call)
{
	return call->ps->facts != NULL ? &call->ps->facts->local : &nowhere;
}

static struct ph_str
or_nothing(struct ph_str s)
{
	return s.p != NULL ? s : nothing;
}

struct ph_str
ph_client_hello(const struct ph_call *call)
{
	return call->ps->facts != NULL ? or_nothing(call->ps->facts->hello) : nothing;
}

bool
ph_client_is_esmtp(const struct ph_call *call)
{
	return call->ps->facts != NULL && call->ps->facts->esmtp;
}

bool
ph_client_is_tls(const struct ph_call *call)
{
	return call->ps->facts != NULL && call->ps->facts->tls;
}

struct ph_str
ph_client_login(const struct ph_call *call)
{
	const struct facts *f = call->ps->facts;

	/* RFC 4505: who logs in by ANONYMOUS says nothing about himself */
	if (f == NULL || str_iis(f->mechanism, "ANONYMOUS"))
		return nothing;
	return or_nothing(f->login);
}

struct ph_str
ph_client_mechanism(const struct ph_call *call)
{
	const struct facts *f = call->ps->facts;

	return f != NULL && f->login.n > 0 ? or_nothing(f->mechanism) : nothing;
}

struct ph_str
ph_client_certificate(const struct ph_call *call)
{
	return call->ps->facts != NULL ? or_nothing(call->ps->facts->tls_peer) : nothing;
}

struct ph_str
ph_session_id(const struct ph_call *call)
{
	return call->ps->facts != NULL ? or_nothing(call->ps->facts->id) : nothing;
}

/* --- the transaction --- */

static const struct address *
sender_of(const struct ph_call *call)
{
	const struct plug_session *ps = call->ps;

	if (ps->asking_from != NULL)
		return ps->asking_from;
	return ps->env != NULL ? &ps->env->from : NULL;
}

struct ph_str
ph_sender(const struct ph_call *call)
{
	const struct address *a = sender_of(call);

	return a != NULL ? or_nothing(a->full) : nothing;
}

struct ph_str
ph_sender_domain(const struct ph_call *call)
{
	const struct address *a = sender_of(call);

	return a != NULL ? or_nothing(a->domain) : nothing;
}

struct ph_str
ph_rcpt(const struct ph_call *call)
{
	return call->ps->rcpt != NULL ? or_nothing(call->ps->rcpt->to.full) : nothing;
}

struct ph_str
ph_rcpt_domain(const struct ph_call *call)
{
	return call->ps->rcpt != NULL ? or_nothing(call->ps->rcpt->to.domain) : nothing;
}

size_t
ph_rcpt_count(const struct ph_call *call)
{
	return call->ps->env != NULL ? call->ps->env->nrcpts : 0;
}

struct ph_str
ph_rcpt_at(const struct ph_call *call, size_t i)
{
	return i < ph_rcpt_count(call) ? or_nothing(call->ps->env->rcpts[i].to.full) : nothing;
}

struct ph_str
ph_message_id_text(const struct ph_call *call)
{
	struct plug_session *ps = call->ps;

	if (id_zero(ps->id))
		return nothing;
	return str_of(id_text(ps->id, ps->id_text));
}

uint64_t
ph_message_size(const struct ph_call *call)
{
	return call->ps->size;
}

/* The header section in one piece: the owner's, or copied out of the content once. */
static struct ph_str
header_section(struct plug_session *ps, struct arena *a)
{
	struct header_scan scan;
	char *copy;
	uint64_t n;

	if (ps->header.p != NULL)
		return ps->header;
	if (ps->gathered.p != NULL || ps->content == NULL || !ph_content_in_memory(ps->content))
		return ps->gathered;
	header_scan_start(&scan);
	n = ph_content_size(ps->content);
	for (uint64_t at = 0; at < n && at < MAX_HEADER && !scan.done;) {
		struct ph_str run = ph_content_at(ps->content, at);

		if (run.n == 0)
			break;
		header_scan_feed(&scan, run);
		at += run.n;
	}
	if (scan.done)
		n = scan.header_end;
	if (n > MAX_HEADER)
		n = MAX_HEADER;
	copy = arena_alloc(a, n + 1);
	ps->gathered = (struct ph_str){ copy, content_copy(ps->content, 0, copy, n) };
	return ps->gathered;
}

struct ph_str
ph_header_get(struct ph_call *call, const char *name, size_t nth)
{
	struct plug_session *ps = call->ps;
	struct arena *a = arena_of(call);

	if (a == NULL || a->total > MAX_ARENA || name == NULL ||
	    (ps->header.p == NULL && ps->content == NULL))
		return (struct ph_str){ NULL, 0 };
	return header_find(header_section(ps, a), name, nth, a);
}

struct ph_str
ph_outcome_text(const struct ph_call *call)
{
	return or_nothing(call->ps->outcome_text);
}

int
ph_outcome_code(const struct ph_call *call)
{
	return call->ps->outcome_code;
}

/* --- what a decide hook may change --- */

void
ph_admit_anonymous(struct ph_call *call)
{
	if (call->phase == CALL_DECIDE &&
	    (call->hook == PH_HOOK_CONNECT || call->hook == PH_HOOK_HELLO))
		call->ps->admitted = true;
}

void
ph_permit_relay(struct ph_call *call)
{
	if (call->phase == CALL_DECIDE && call->hook == PH_HOOK_RCPT)
		call->ps->relay_permitted = true;
}

enum { FOLD_AT = 78, LINE_MAX_OCTETS = 998 };   /* RFC 5322 2.1.1 */

/* A value as words: controls separate, so that no CR or LF gets through. */
static bool
is_gap(char ch)
{
	return (unsigned char)ch <= 0x20 || ch == 0x7F;
}

/* Appends the words of value, each on the present line if it fits. */
static int
fold_words(struct buf *out, struct ph_str value, size_t column)
{
	size_t i = 0, start;

	for (;;) {
		while (i < value.n && is_gap(value.p[i]))
			i++;
		if (i == value.n)
			return 0;
		for (start = i; i < value.n && !is_gap(value.p[i]);)
			i++;
		if (i - start + 1 > LINE_MAX_OCTETS)
			return PH_EINVAL;       /* cannot be folded */
		if (column + 1 + i - start > FOLD_AT && column > 0) {
			buf_adds(out, "\r\n");
			column = 0;
		}
		buf_addc(out, ' ');
		buf_add(out, value.p + start, i - start);
		column += 1 + i - start;
	}
}

int
ph_header_add(struct ph_call *call, const char *name, struct ph_str value)
{
	struct plug_session *ps = call->ps;
	struct ph_str n = str_of(name);
	size_t before = ps->added.len;
	int rc;

	if (call->phase != CALL_DECIDE ||
	    (call->hook != PH_HOOK_HEADER && call->hook != PH_HOOK_MESSAGE))
		return PH_EINVAL;
	if (n.n == 0 || n.n > FOLD_AT - 1 || !header_name_valid(n))
		return PH_EINVAL;
	if (!str_ascii(value) && (ps->env == NULL || !ps->env->smtputf8 || !str_utf8_valid(value)))
		return PH_EINVAL;       /* RFC 6532: only where SMTPUTF8 was asked for */
	if (value.n > MAX_ADDED || before > MAX_ADDED - value.n)
		return PH_ELIMIT;
	buf_addstr(&ps->added, n);
	buf_addc(&ps->added, ':');
	rc = fold_words(&ps->added, value, n.n + 1);
	if (rc == 0)
		buf_adds(&ps->added, "\r\n");
	else
		ps->added.len = before;
	return rc;
}

void
ph_log(struct ph_call *call, enum ph_level level, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	if (!log_on(level))
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);    /* a longer text is cut */
	va_end(ap);
	log_event(level, call->ps->log, "plugin.log", LOG_C("plugin", call->inst->name),
	    LOG_C("hook", hook_name(call->hook)), LOG_C("text", text));
}
