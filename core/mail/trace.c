/*
 * trace.c - dates and our own Received field (RFC 5321 4.4, RFC 5322 3.3).
 *
 * The field is made of what a client chose (its HELO name, one recipient) and
 * what we know.  The former passes a filter that leaves nothing with which a
 * client could end the line, open a comment or forge a clause.
 */
#include <time.h>

#include "base/clock.h"
#include "base/id.h"
#include "mail/trace.h"

#define HELLO_MAX 255

static void
two(char *p, int v)
{
	p[0] = (char)('0' + v / 10 % 10);
	p[1] = (char)('0' + v % 10);
}

/* strftime would follow the locale. "Tue, 24 Nov 2026 11:00:00 +0000" */
static size_t
date_format(char *p, time_t t)
{
	static const char days[] = "SunMonTueWedThuFriSat";
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	struct tm tm;
	long zone;
	int year;

	if (localtime_r(&t, &tm) == NULL)
		(void)gmtime_r(&(time_t){ 0 }, &tm);
	zone = tm.tm_gmtoff / 60;
	year = tm.tm_year + 1900;
	memcpy(p, days + 3 * tm.tm_wday, 3);
	memcpy(p + 3, ", ", 2);
	two(p + 5, tm.tm_mday);
	p[7] = ' ';
	memcpy(p + 8, months + 3 * tm.tm_mon, 3);
	p[11] = ' ';
	two(p + 12, year / 100);
	two(p + 14, year % 100);
	p[16] = ' ';
	two(p + 17, tm.tm_hour);
	p[19] = ':';
	two(p + 20, tm.tm_min);
	p[22] = ':';
	two(p + 23, tm.tm_sec);
	p[25] = ' ';
	p[26] = zone < 0 ? '-' : '+';
	if (zone < 0)
		zone = -zone;
	two(p + 27, (int)(zone / 60));
	two(p + 29, (int)(zone % 60));
	return 31;
}

void
trace_date(struct buf *out, int64_t wall_ms)
{
	static _Thread_local struct { time_t second; size_t n; char text[40]; } cache;
	time_t now = (time_t)(wall_ms / 1000);

	if (cache.n == 0 || cache.second != now) {
		cache.n = date_format(cache.text, now);
		cache.second = now;
	}
	buf_add(out, cache.text, cache.n);
}

static bool
is_literal(struct ph_str s)
{
	return s.n > 2 && s.p[0] == '[' && address_domain_valid(s);
}

/* The HELO name as a Domain: other characters become '-'. */
static void
add_hello(struct buf *out, struct ph_str hello)
{
	if (hello.n == 0) {
		buf_adds(out, "unknown");
		return;
	}
	hello = str_head(hello, HELLO_MAX);
	if (is_literal(hello)) {
		buf_addstr(out, hello);
		return;
	}
	for (size_t i = 0; i < hello.n; i++) {
		char c = hello.p[i];
		bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		            (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';

		buf_addc(out, fine ? c : '-');
	}
}

/* " ([192.0.2.1])"; a local client has no address to tell. */
static void
add_client(struct buf *out, const struct ph_addr *a)
{
	char text[PH_ADDR_TEXT];

	if (a->family != 4 && a->family != 6)
		return;
	(void)ph_addr_text(a, text);
	buf_adds(out, memchr(text, ':', strlen(text)) != NULL ? " ([IPv6:" : " ([");
	buf_adds(out, text);
	buf_adds(out, "])");
}

/* Names of a TLS library's making, kept to what a comment may hold. */
static void
add_comment_word(struct buf *out, struct ph_str s)
{
	for (size_t i = 0; i < s.n && i < 64; i++) {
		char c = s.p[i];

		buf_addc(out, c > ' ' && c < 0x7f && c != '(' && c != ')' && c != '\\' ? c : '-');
	}
}

struct ph_str
trace_protocol(const struct facts *f, bool smtputf8)
{
#define S(lit) { lit, sizeof(lit) - 1 }
	static const struct ph_str names[2][2][2] = {
		{ { S("ESMTP"), S("ESMTPA") }, { S("ESMTPS"), S("ESMTPSA") } },
		{ { S("UTF8SMTP"), S("UTF8SMTPA") }, { S("UTF8SMTPS"), S("UTF8SMTPSA") } },
	};

#undef S
	return f->esmtp ? names[smtputf8][f->tls][f->login.n != 0] : STR("SMTP");
}

static bool
may_show(const struct envelope *e)
{
	struct ph_str a;

	/* with more than one recipient it would tell each of the others: Bcc */
	if (e->nrcpts != 1)
		return false;
	a = e->rcpts[0].to.full;
	if (a.n == 0 || (!e->smtputf8 && !str_ascii(a)))
		return false;
	for (size_t i = 0; i < a.n; i++)
		if ((uint8_t)a.p[i] < 0x20 || a.p[i] == 0x7f)
			return false;
	return true;
}

void
trace_received(struct buf *out, const struct facts *f, const struct envelope *e,
               struct ph_msgid id, struct ph_str hostname, int64_t wall_ms)
{
	char text[PH_MSGID_TEXT];

	buf_adds(out, "Received: from ");
	add_hello(out, f->hello);
	add_client(out, &f->client);
	buf_adds(out, "\r\n\tby ");
	buf_addstr(out, hostname);
	buf_adds(out, " with ");
	buf_addstr(out, trace_protocol(f, e->smtputf8));
	if (f->tls && f->tls_version.n != 0) {
		buf_adds(out, " (");
		add_comment_word(out, f->tls_version);
		if (f->tls_cipher.n != 0) {
			buf_addc(out, ' ');
			add_comment_word(out, f->tls_cipher);
		}
		buf_addc(out, ')');
	}
	buf_adds(out, "\r\n\tid ");
	buf_adds(out, id_text(id, text));
	if (may_show(e)) {
		buf_adds(out, "\r\n\tfor <");
		buf_addstr(out, e->rcpts[0].to.full);
		buf_addc(out, '>');
	}
	buf_adds(out, ";\r\n\t");
	trace_date(out, wall_ms);
	buf_adds(out, "\r\n");
}
