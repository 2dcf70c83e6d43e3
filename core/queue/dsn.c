/*
 * dsn.c - reports as text: multipart/report (RFC 6522) with a part for
 * people, message/delivery-status (RFC 3464) and the headers of the original,
 * or all of it where the sender asked for that and it is small (RFC 3461 6.2).
 *
 * Everything that a peer chose - replies, host names, addresses, ENVID, ORCPT,
 * the original - is treated as hostile: it can start no line, no field and no
 * part.  The boundary is random, lines are at most 998 bytes, and what is not
 * ASCII is escaped, unless the sender's own address is (RFC 6533), for then the
 * report needs SMTPUTF8 anyway.
 *
 * Pure: no I/O, no clock.
 */
#include <stdlib.h>

#include "base/codec.h"
#include "base/id.h"
#include "base/mem.h"
#include "base/str.h"
#include "mail/trace.h"
#include "queue/dsn.h"
#include "queue/dsn_text.h"

#define PEOPLE_MAX 100          /* recipients named in the part for people */
#define DIAGNOSTIC_MAX 1000
#define DIAGNOSTIC_MANY 200     /* each, beyond PEOPLE_MAX recipients */
#define HEADERS_MAX (64u << 10)
#define LINE_MAX_BYTES 998
#define ADDRESS_BYTES 300       /* escaped it grows to three times as much at most */

struct report {
	const struct dsn_input *in;
	struct buf *out;
	bool utf8;              /* may hold UTF-8: the sender's address does */
	char boundary[40];
};

/* --- what is what --- */

static const char *const actions[] = {
	[DSN_FAILED] = "failed", [DSN_DELAYED] = "delayed",
	[DSN_DELIVERED] = "delivered", [DSN_RELAYED] = "relayed",
};
static const char *const subjects[] = {
	[DSN_FAILED] = "Undelivered Mail Returned to Sender",
	[DSN_DELAYED] = "Delayed Mail (still being retried)",
	[DSN_DELIVERED] = "Successful Mail Delivery Report",
	[DSN_RELAYED] = "Mail Relayed (no further report will follow)",
};
static const char *const openings[] = {
	[DSN_FAILED] =
	    "your message could not be delivered to the recipients named below.\r\n"
	    "It will not be tried again.\r\n",
	[DSN_DELAYED] =
	    "your message could not be delivered yet to the recipients named below.\r\n"
	    "YOU DO NOT NEED TO SEND IT AGAIN: it will be tried further.\r\n",
	[DSN_DELIVERED] =
	    "your message was delivered to the recipients named below.\r\n",
	[DSN_RELAYED] =
	    "your message was handed on for the recipients named below. The next system\r\n"
	    "sends no reports of success, so no further one may follow.\r\n",
};

/* "5.1.1" at the start of s, with the class of code; its length or 0. */
static size_t
enhanced_len(struct ph_str s, char class)
{
	size_t i = 0;

	if (s.n < 5 || s.p[0] != class || s.p[1] != '.')
		return 0;
	for (int part = 0; part < 2; part++) {
		size_t digits = 0;

		if (s.p[i == 0 ? 1 : i] != '.')
			return 0;
		i = i == 0 ? 2 : i + 1;
		while (i < s.n && digits < 4 && s.p[i] >= '0' && s.p[i] <= '9') {
			i++;
			digits++;
		}
		if (digits == 0 || digits > 3 || (part == 0 && i >= s.n))
			return 0;
	}
	return i == s.n || s.p[i] == ' ' || s.p[i] == '\n' ? i : 0;
}

/* The reply without a code in front, as some callers give it with and some without. */
static struct ph_str
reply_text(const struct dsn_rcpt *r)
{
	struct ph_str s = r->reply;

	if (r->code >= 200 && r->code <= 599 && s.n >= 4 && s.p[0] == '0' + r->code / 100 &&
	    s.p[1] == '0' + r->code / 10 % 10 && s.p[2] == '0' + r->code % 10 &&
	    (s.p[3] == ' ' || s.p[3] == '-'))
		s = str_skip(s, 4);
	return s;
}

static void
put_status(struct report *rep, const struct dsn_rcpt *r)
{
	struct ph_str text = reply_text(r);
	char class = rep->in->kind == DSN_FAILED ? '5' : rep->in->kind == DSN_DELAYED ? '4' : '2';
	size_t n;

	if (r->expired) {               /* RFC 3463 3.5: delivery time expired */
		buf_adds(rep->out, "4.4.7");
		return;
	}
	n = enhanced_len(text, class);
	if (n > 0)
		buf_add(rep->out, text.p, n);
	else
		buf_printf(rep->out, "%c.0.0", class);
}

/* "relay.example.com[192.0.2.1]:25" gives the name, or the address literal. */
static void
put_mta(struct report *rep, struct ph_str remote)
{
	struct ph_str rest, name = str_cut(remote, '[', &rest);
	size_t n = 0;

	if (name.n == 0 && rest.p != NULL) {
		struct ph_str addr = str_cut(rest, ']', &rest);

		buf_adds(rep->out, "Remote-MTA: dns; [");
		dsn_put_token(rep->out, addr, ":", 60);
		buf_adds(rep->out, "]\r\n");
		return;
	}
	while (n < name.n && name.p[n] != ':' && name.p[n] != ' ')
		n++;
	if (n == 0)
		return;
	buf_adds(rep->out, "Remote-MTA: dns; ");
	dsn_put_token(rep->out, str_head(name, n), "_", 255);
	buf_adds(rep->out, "\r\n");
}

static void
put_date(struct report *rep, const char *name, int64_t wall_ms)
{
	buf_printf(rep->out, "%s: ", name);
	trace_date(rep->out, wall_ms);
	buf_adds(rep->out, "\r\n");
}

/* "rfc822; addr", or "utf-8; " with the characters as they are or escaped
 * (RFC 6533 3). */
static void
put_address(struct report *rep, struct ph_str addr)
{
	if (str_ascii(addr)) {
		buf_adds(rep->out, "rfc822; ");
		dsn_put_plain(rep->out, addr, DSN_ESCAPE, 2 * ADDRESS_BYTES);
	} else {
		buf_adds(rep->out, "utf-8; ");
		dsn_put_plain(rep->out, addr, rep->utf8 ? DSN_UTF8 : DSN_ESCAPE, ADDRESS_BYTES);
	}
}

/* ORCPT=type;xtext (RFC 3461 4.2) comes back decoded as "type; address". */
static void
put_original_recipient(struct report *rep, struct ph_str orcpt)
{
	struct ph_str rest, type = str_cut(orcpt, ';', &rest);
	struct buf plain = { 0 };
	bool utf8 = str_iis(type, "utf-8");

	if (rest.p == NULL || type.n == 0 || rest.n == 0)
		return;
	/* RFC 6533 3: utf-8 addresses have their own escapes, not xtext's */
	if (utf8 || codec_xtext_decode(rest, &plain) != 0) {
		buf_clear(&plain);
		buf_addstr(&plain, rest);
	}
	buf_adds(rep->out, "Original-Recipient: ");
	dsn_put_token(rep->out, type, "", 40);
	buf_adds(rep->out, "; ");
	dsn_put_plain(rep->out, buf_view(&plain), rep->utf8 && utf8 ? DSN_UTF8 : DSN_ESCAPE,
	    ADDRESS_BYTES);
	buf_adds(rep->out, "\r\n");
	buf_free(&plain);
}

/* --- the parts --- */

static void
put_boundary(struct report *rep, bool last)
{
	buf_printf(rep->out, "\r\n--%s%s\r\n", rep->boundary, last ? "--" : "");
}

static void
put_header(struct report *rep)
{
	const struct dsn_input *in = rep->in;
	char id[PH_MSGID_TEXT];

	put_date(rep, "Date", in->now);
	buf_adds(rep->out, "From: Mail Delivery System <MAILER-DAEMON@");
	dsn_put_token(rep->out, in->hostname, "", 255);
	buf_adds(rep->out, ">\r\nTo: <");
	dsn_put_plain(rep->out, in->env->from.full, rep->utf8 ? DSN_UTF8 : DSN_ESCAPE, 900);
	buf_printf(rep->out, ">\r\nSubject: %s\r\nMessage-ID: <%s@", subjects[in->kind],
	    id_text(in->id, id));
	dsn_put_token(rep->out, in->hostname, "", 255);
	/* RFC 3834 5: keeps vacation programs and our like from answering */
	buf_printf(rep->out, ">\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
	    "Content-Type: multipart/report; report-type=%sdelivery-status;\r\n"
	    "\tboundary=\"%s\"\r\n", rep->utf8 ? "global-" : "", rep->boundary);
}

static void
put_people_recipient(struct report *rep, const struct dsn_rcpt *r)
{
	enum dsn_escape mode = rep->utf8 ? DSN_UTF8 : DSN_ESCAPE;
	struct ph_str line, rest = reply_text(r);
	struct buf said = { 0 };

	buf_adds(rep->out, "\r\n<");
	dsn_put_plain(rep->out, r->rcpt->to.full, mode, ADDRESS_BYTES);
	buf_adds(rep->out, ">");
	if (r->expired)
		buf_adds(rep->out, "\r\n    The time for delivering it is over.");
	if (rest.n > 0 && rep->in->kind != DSN_RELAYED && rep->in->kind != DSN_DELIVERED) {
		if (r->code != 0)
			buf_printf(&said, "%s%.*s said: %d ", r->remote.n > 0 ? "" : "the next system",
			    (int)str_head(r->remote, 300).n, r->remote.p != NULL ? r->remote.p : "",
			    r->code);
		for (rest = str_head(rest, DIAGNOSTIC_MAX); rest.p != NULL;) {
			line = str_cut(rest, '\n', &rest);
			buf_addstr(&said, line);
			if (rest.p != NULL)
				buf_addc(&said, ' ');
		}
		buf_adds(rep->out, "\r\n    ");
		dsn_put_folded(rep->out, buf_view(&said), mode, 4, "\r\n    ");
		buf_free(&said);
	}
	buf_adds(rep->out, "\r\n");
}

static void
put_people(struct report *rep)
{
	const struct dsn_input *in = rep->in;

	put_boundary(rep, false);
	buf_printf(rep->out, "Content-Type: text/plain; charset=%s\r\n%s\r\n",
	    rep->utf8 ? "utf-8" : "us-ascii",
	    rep->utf8 ? "Content-Transfer-Encoding: 8bit\r\n" : "");
	buf_adds(rep->out, "This is the mail system at ");
	dsn_put_token(rep->out, in->hostname, "", 255);
	buf_printf(rep->out, ":\r\n%s", openings[in->kind]);
	if (in->kind == DSN_DELAYED && in->retry_until > 0) {
		buf_adds(rep->out, "If all attempts fail until ");
		trace_date(rep->out, in->retry_until);
		buf_adds(rep->out, ",\r\nyou will be told.\r\n");
	}
	for (size_t i = 0; i < in->nrcpts && i < PEOPLE_MAX; i++)
		put_people_recipient(rep, &in->rcpts[i]);
	if (in->nrcpts > PEOPLE_MAX)
		buf_printf(rep->out, "\r\nand %zu more, named in the next part.\r\n",
		    in->nrcpts - PEOPLE_MAX);
}

static void
put_status_recipient(struct report *rep, const struct dsn_rcpt *r)
{
	struct ph_str text = str_head(reply_text(r),
	    rep->in->nrcpts > PEOPLE_MAX ? DIAGNOSTIC_MANY : DIAGNOSTIC_MAX);
	enum dsn_kind kind = rep->in->kind;

	buf_adds(rep->out, "\r\n");
	put_original_recipient(rep, r->rcpt->orcpt);
	buf_adds(rep->out, "Final-Recipient: ");
	put_address(rep, r->rcpt->to.full);
	buf_printf(rep->out, "\r\nAction: %s\r\nStatus: ", actions[kind]);
	put_status(rep, r);
	buf_adds(rep->out, "\r\n");
	put_mta(rep, r->remote);
	if (text.n > 0 || r->code != 0) {
		struct buf all = { 0 };

		if (r->code != 0)
			buf_printf(&all, "%d ", r->code);
		buf_addstr(&all, text);
		buf_printf(rep->out, "Diagnostic-Code: %s; ", r->code != 0 ? "smtp" : "x-posthouse");
		dsn_put_folded(rep->out, buf_view(&all), rep->utf8 ? DSN_UTF8 : DSN_ESCAPE, 24, "\r\n ");
		buf_adds(rep->out, "\r\n");
		buf_free(&all);
	}
	put_date(rep, "Last-Attempt-Date", rep->in->now);
	if (kind == DSN_DELAYED && rep->in->retry_until > 0)
		put_date(rep, "Will-Retry-Until", rep->in->retry_until);
}

static void
put_delivery_status(struct report *rep)
{
	const struct dsn_input *in = rep->in;
	struct buf envid = { 0 };
	char id[PH_MSGID_TEXT];

	put_boundary(rep, false);
	buf_printf(rep->out, "Content-Type: message/%sdelivery-status\r\n%s\r\n",
	    rep->utf8 ? "global-" : "",
	    rep->utf8 ? "Content-Transfer-Encoding: 8bit\r\n" : "");
	buf_adds(rep->out, "Reporting-MTA: dns; ");
	dsn_put_token(rep->out, in->hostname, "", 255);
	buf_adds(rep->out, "\r\n");
	if (in->env->envid.n > 0 && codec_xtext_decode(in->env->envid, &envid) == 0) {
		buf_adds(rep->out, "Original-Envelope-Id: ");
		dsn_put_plain(rep->out, buf_view(&envid), DSN_ESCAPE, 300);
		buf_adds(rep->out, "\r\n");
	}
	buf_free(&envid);
	put_date(rep, "Arrival-Date", in->env->arrived > 0 ? in->env->arrived : in->now);
	buf_printf(rep->out, "X-Posthouse-Queue-ID: %s\r\n", id_text(in->about, id));
	for (size_t i = 0; i < in->nrcpts; i++)
		put_status_recipient(rep, &in->rcpts[i]);
}

/* --- the original --- */

/* The header section, copied, cut to whole lines within the limit. */
static void
header_section(const struct dsn_input *in, struct buf *out)
{
	size_t most = in->max_original < HEADERS_MAX ? (size_t)in->max_original : HEADERS_MAX;
	struct header_scan scan;
	struct ph_str s = in->headers;
	char *room = buf_room(out, most + 1);
	size_t n;

	if (in->content != NULL && ph_content_in_memory(in->content)) {
		n = content_copy(in->content, 0, room, most);
	} else {
		n = s.n < most ? s.n : most;
		if (n > 0)
			memcpy(room, s.p, n);
	}
	header_scan_start(&scan);
	header_scan_feed(&scan, str_make(room, n));
	if (scan.done && scan.header_end <= n)
		n = (size_t)scan.header_end;
	else
		while (n > 0 && room[n - 1] != '\n')    /* cut within: whole lines only */
			n--;
	buf_grew(out, n);
	/* without the empty line at its end */
	if (out->len >= 4 && memcmp(out->data + out->head + out->len - 4, "\r\n\r\n", 4) == 0)
		out->len -= 2;
	else if (out->len == 2 && memcmp(out->data + out->head, "\r\n", 2) == 0)
		out->len = 0;
}

/* Whole content that may stand in a message part as it is: no NUL, lines
 * that end with CRLF and are not too long. *eight: has 8-bit bytes. */
static bool
fit_to_return(const struct ph_content *c, bool *eight)
{
	size_t line = 0;
	bool cr = false;

	*eight = false;
	for (uint64_t at = 0; at < ph_content_size(c);) {
		struct ph_str s = ph_content_at(c, at);

		if (s.n == 0)
			return false;
		for (size_t i = 0; i < s.n; i++) {
			unsigned char b = (unsigned char)s.p[i];

			if (b == '\0' || cr != (b == '\n'))
				return false;
			cr = b == '\r';
			*eight = *eight || b >= 0x80;
			line = b == '\n' ? 0 : line + 1;
			if (line > LINE_MAX_BYTES + 1)
				return false;
		}
		at += s.n;
	}
	return !cr;
}

static void
put_full(struct report *rep, bool eight)
{
	const struct ph_content *c = rep->in->content;
	bool global = rep->in->env->smtputf8;

	put_boundary(rep, false);
	buf_printf(rep->out, "Content-Type: message/%s\r\n%s\r\n", global ? "global" : "rfc822",
	    eight ? "Content-Transfer-Encoding: 8bit\r\n" : "");
	for (uint64_t at = 0; at < ph_content_size(c);) {
		struct ph_str s = ph_content_at(c, at);

		buf_addstr(rep->out, s);
		at += s.n;
	}
}

static void
put_headers(struct report *rep)
{
	bool global = rep->in->env->smtputf8, plain;
	struct buf head = { 0 };
	const char *encoding = "";

	header_section(rep->in, &head);
	plain = dsn_is_plain(buf_view(&head));
	if (!plain)
		encoding = "Content-Transfer-Encoding: quoted-printable\r\n";
	put_boundary(rep, false);
	buf_printf(rep->out, "Content-Type: %s\r\n%s\r\n",
	    global ? "message/global-headers" : "text/rfc822-headers", encoding);
	if (plain)
		buf_addstr(rep->out, buf_view(&head));
	else
		dsn_put_quoted(rep->out, buf_view(&head));
	buf_free(&head);
}

/* All of it only when the sender asked, for failures, and when it is small:
 * otherwise a forged sender gets others' mail multiplied. */
static bool
returns_full(const struct dsn_input *in, bool *eight)
{
	return in->kind == DSN_FAILED && in->env->ret == RET_FULL && in->content != NULL &&
	    ph_content_in_memory(in->content) && ph_content_size(in->content) <= in->max_original &&
	    fit_to_return(in->content, eight);
}

void
dsn_build(const struct dsn_input *in, struct buf *out)
{
	struct report rep = { .in = in, .out = out, .utf8 = in->env->from.utf8 };
	bool eight = false, full = returns_full(in, &eight);
	uint64_t random[2];

	id_random(random, sizeof random);
	rep.boundary[0] = '=';  /* "=_" cannot occur in quoted-printable (RFC 2045 6.7) */
	rep.boundary[1] = '_';
	for (int i = 0; i < 32; i++)
		rep.boundary[2 + i] = "0123456789abcdef"[random[i / 16] >> (i % 16 * 4) & 15];
	rep.boundary[34] = '\0';
	put_header(&rep);
	if (rep.utf8 || (full && eight))
		buf_adds(out, "Content-Transfer-Encoding: 8bit\r\n");
	buf_adds(out, "\r\nThis is a report in MIME format.\r\n");
	put_people(&rep);
	put_delivery_status(&rep);
	if (full)
		put_full(&rep, eight);
	else
		put_headers(&rep);
	put_boundary(&rep, true);
}
