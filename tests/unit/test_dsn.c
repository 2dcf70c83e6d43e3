/*
 * test_dsn.c - reports as text: one golden report, and whatever a peer may
 * put into replies, addresses, parameters and originals to break out of its
 * place.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "base/id.h"
#include "base/mem.h"
#include "base/str.h"
#include "queue/dsn.h"

#define WALL INT64_C(1795518000000)     /* 2026-11-24 11:00 UTC */

struct fixture {
	struct arena arena;
	struct envelope env;
	struct dsn_rcpt rcpts[200];
	struct dsn_input in;
	struct buf out;
};

static void
fixed_random(void *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((uint8_t *)p)[i] = (uint8_t)(0x10 + i);
}

static struct recipient *
add(struct fixture *f, const char *to)
{
	struct recipient *r = envelope_add(&f->env);

	assert_int_equal(address_parse(str_of(to), &f->arena, &r->to, NULL), 0);
	return r;
}

/* Recipients must be all there before this: their array may move. */
static void
fill(struct fixture *f, int code, const char *reply)
{
	f->in.nrcpts = f->env.nrcpts < 200 ? f->env.nrcpts : 200;
	for (size_t i = 0; i < f->in.nrcpts; i++)
		f->rcpts[i] = (struct dsn_rcpt){ .rcpt = &f->env.rcpts[i], .code = code,
			.reply = str_of(reply), .remote = STR("mx.example.net[192.0.2.25]:25") };
}

static void
start(struct fixture *f, const char *from)
{
	*f = (struct fixture){ 0 };
	arena_init(&f->arena, 4096);
	envelope_init(&f->env, &f->arena);
	assert_int_equal(address_parse(str_of(from), &f->arena, &f->env.from, NULL), 0);
	f->env.arrived = WALL - 60000;
	f->in = (struct dsn_input){ .kind = DSN_FAILED, .hostname = STR("relay.example.com"),
		.about = { 0x0123456789abcdefu, 0x1234567000000000u },
		.id = { 0x0123456789abcdf0u, 0x1234567000000000u },
		.env = &f->env, .rcpts = f->rcpts, .now = WALL, .max_original = 1 << 20,
		.headers = STR("From: A <a@example.org>\r\nSubject: hello\r\n\r\n") };
}

/* Builds, and checks what holds for every report. The text ends with NUL. */
static const char *
build(struct fixture *f)
{
	size_t line = 0;

	dsn_build(&f->in, &f->out);
	buf_addc(&f->out, '\0');
	f->out.len--;
	for (size_t i = 0; i < f->out.len; i++) {
		char c = f->out.data[f->out.head + i];

		assert_true(c != '\0');
		if (c == '\n') {
			assert_true(i > 0 && f->out.data[f->out.head + i - 1] == '\r');
			line = 0;
			continue;
		}
		if (c == '\r')
			assert_true(f->out.data[f->out.head + i + 1] == '\n');
		assert_true(++line <= 999);     /* with the CR */
	}
	assert_int_equal(line, 0);
	return f->out.data + f->out.head;
}

static void
end(struct fixture *f)
{
	buf_free(&f->out);
	arena_reset(&f->arena);
}

static unsigned
count(const char *text, const char *what)
{
	unsigned n = 0;

	for (; (text = strstr(text, what)) != NULL; text++)
		n++;
	return n;
}

static const char golden[] =
	"Date: Tue, 24 Nov 2026 11:00:00 +0000\r\n"
	"From: Mail Delivery System <MAILER-DAEMON@relay.example.com>\r\n"
	"To: <a@example.org>\r\n"
	"Subject: Undelivered Mail Returned to Sender\r\n"
	"Message-ID: <04HKAPS9LF6V04HKAPO0@relay.example.com>\r\n"
	"Auto-Submitted: auto-replied\r\n"
	"MIME-Version: 1.0\r\n"
	"Content-Type: multipart/report; report-type=delivery-status;\r\n"
	"\tboundary=\"=_01112131415161718191a1b1c1d1e1f1\"\r\n"
	"\r\n"
	"This is a report in MIME format.\r\n"
	"\r\n"
	"--=_01112131415161718191a1b1c1d1e1f1\r\n"
	"Content-Type: text/plain; charset=us-ascii\r\n"
	"\r\n"
	"This is the mail system at relay.example.com:\r\n"
	"your message could not be delivered to the recipients named below.\r\n"
	"It will not be tried again.\r\n"
	"\r\n"
	"<b@example.net>\r\n"
	"    mx.example.net[192.0.2.25]:25 said: 550 5.1.1 <b@example.net>: no\r\n"
	"    mailbox of that name is known here; ask postmaster@example.net\r\n"
	"\r\n"
	"--=_01112131415161718191a1b1c1d1e1f1\r\n"
	"Content-Type: message/delivery-status\r\n"
	"\r\n"
	"Reporting-MTA: dns; relay.example.com\r\n"
	"Original-Envelope-Id: order=17 b\r\n"
	"Arrival-Date: Tue, 24 Nov 2026 10:59:00 +0000\r\n"
	"X-Posthouse-Queue-ID: 04HKAPS9LF6UU4HKAPO0\r\n"
	"\r\n"
	"Original-Recipient: rfc822; list+b@example.org\r\n"
	"Final-Recipient: rfc822; b@example.net\r\n"
	"Action: failed\r\n"
	"Status: 5.1.1\r\n"
	"Remote-MTA: dns; mx.example.net\r\n"
	"Diagnostic-Code: smtp; 550 5.1.1 <b@example.net>: no mailbox of that name\r\n"
	" is known here; ask postmaster@example.net\r\n"
	"Last-Attempt-Date: Tue, 24 Nov 2026 11:00:00 +0000\r\n"
	"\r\n"
	"--=_01112131415161718191a1b1c1d1e1f1\r\n"
	"Content-Type: text/rfc822-headers\r\n"
	"\r\n"
	"From: A <a@example.org>\r\n"
	"Subject: hello\r\n"
	"\r\n"
	"--=_01112131415161718191a1b1c1d1e1f1--\r\n";

static void
golden_report(void **state)
{
	struct fixture f;

	(void)state;
	id_use_random(fixed_random);
	start(&f, "a@example.org");
	add(&f, "b@example.net")->orcpt = STR("rfc822;list+2Bb@example.org");
	f.env.envid = STR("order+3D17+20b");
	fill(&f, 550, "5.1.1 <b@example.net>: no mailbox\nof that name is known here; ask postmaster@example.net");
	assert_string_equal(build(&f), golden);
	end(&f);
	id_use_random(NULL);
}

static void
statuses(void **state)
{
	static const struct { enum dsn_kind kind; int code; const char *reply; bool expired;
		const char *status; } t[] = {
		{ DSN_FAILED, 550, "5.1.1 unknown", false, "Status: 5.1.1\r\n" },
		{ DSN_FAILED, 550, "550 5.7.26 policy", false, "Status: 5.7.26\r\n" },
		{ DSN_FAILED, 550, "550-5.7.1 policy\nmore", false, "Status: 5.7.1\r\n" },
		{ DSN_FAILED, 550, "unknown", false, "Status: 5.0.0\r\n" },
		{ DSN_FAILED, 550, "4.1.1 contradicts", false, "Status: 5.0.0\r\n" },
		{ DSN_FAILED, 550, "5.1111.1 too long", false, "Status: 5.0.0\r\n" },
		{ DSN_FAILED, 550, "5.1.", false, "Status: 5.0.0\r\n" },
		{ DSN_FAILED, 550, "5.1", false, "Status: 5.0.0\r\n" },
		{ DSN_FAILED, 550, "5..1 x", false, "Status: 5.0.0\r\n" },
		{ DSN_FAILED, 550, "5.1.1x", false, "Status: 5.0.0\r\n" },
		{ DSN_FAILED, 0, "", false, "Status: 5.0.0\r\n" },
		{ DSN_FAILED, 0, "5.1.10 domain takes no mail", false, "Status: 5.1.10\r\n" },
		{ DSN_FAILED, 451, "4.3.0 later", true, "Status: 4.4.7\r\n" },
		{ DSN_DELAYED, 451, "4.3.0 later", false, "Status: 4.3.0\r\n" },
		{ DSN_DELAYED, 0, "connection refused", false, "Status: 4.0.0\r\n" },
		{ DSN_RELAYED, 250, "2.1.5 ok", false, "Status: 2.1.5\r\n" },
		{ DSN_DELIVERED, 250, "ok", false, "Status: 2.0.0\r\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
		struct fixture f;

		start(&f, "a@example.org");
		(void)add(&f, "b@example.net");
		fill(&f, t[i].code, t[i].reply);
		f.rcpts[0].expired = t[i].expired;
		f.in.kind = t[i].kind;
		if (strstr(build(&f), t[i].status) == NULL)
			fail_msg("%s: %s", t[i].reply, f.out.data + f.out.head);
		end(&f);
	}
}

static void
remote_names(void **state)
{
	static const struct { const char *remote, *line; } t[] = {
		{ "mx.example.net[192.0.2.25]:25", "\r\nRemote-MTA: dns; mx.example.net\r\n" },
		{ "[192.0.2.25]:25", "\r\nRemote-MTA: dns; [192.0.2.25]\r\n" },
		{ "[2001:db8::1]:25", "\r\nRemote-MTA: dns; [2001:db8::1]\r\n" },
		{ "mx.example.net:25", "\r\nRemote-MTA: dns; mx.example.net\r\n" },
		{ "mx\r\nAction: relayed", "\r\nRemote-MTA: dns; mxAction\r\n" },
		{ "", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
		struct fixture f;
		const char *text;

		start(&f, "a@example.org");
		(void)add(&f, "b@example.net");
		fill(&f, 550, "no");
		f.rcpts[0].remote = str_of(t[i].remote);
		text = build(&f);
		if (t[i].line == NULL)
			assert_null(strstr(text, "Remote-MTA"));
		else if (strstr(text, t[i].line) == NULL)
			fail_msg("%s: %s", t[i].remote, text);
		end(&f);
	}
}

/* Whatever stands in these fields, the report keeps its shape. */
static void
injection(void **state)
{
	static const char *const evil[] = {
		"no\r\nAction: relayed\r\nX: y",
		"no\r\n\r\nFinal-Recipient: rfc822; victim@example.com",
		"no\n--=_01112131415161718191a1b1c1d1e1f1--\nmore",
		"no\r--=_01112131415161718191a1b1c1d1e1f1\r\nContent-Type: text/html",
		"\r\n.\r\nMAIL FROM:<>",
		"no \x1b[2J\x07\x7f bell",
		"\xff\xfe\xc3\x28 8-bit \xe2\x80\xae \xc2\x85 x",
		"na\xc3\xafve",
		"\t \r\n \t\r\n",
		"     ",
	};

	(void)state;
	id_use_random(fixed_random);
	for (size_t i = 0; i < sizeof evil / sizeof evil[0]; i++) {
		struct fixture f;
		const char *text;

		start(&f, "a@example.org");
		add(&f, "b@example.net")->orcpt = str_of(evil[i]);
		f.env.envid = str_of(evil[i]);
		fill(&f, 550, evil[i]);
		f.rcpts[0].remote = str_of(evil[i]);
		text = build(&f);
		assert_int_equal(count(text, "\r\nAction: "), 1);
		assert_int_equal(count(text, "\r\nFinal-Recipient: "), 1);
		assert_int_equal(count(text, "\r\n--=_01112131415161718191a1b1c1d1e1f1"), 4);
		assert_int_equal(count(text, "\r\nContent-Type: "), 4);
		assert_null(strstr(text, "\r\n.\r\n"));
		assert_true(str_ascii(buf_view(&f.out)));
		for (const char *c = text; *c != '\0'; c++)
			assert_true(*c >= ' ' || *c == '\r' || *c == '\n' || *c == '\t');
		end(&f);
	}
	id_use_random(NULL);
}

/* xtext that hides line ends, and an ORCPT without a type. */
static void
encoded_injection(void **state)
{
	struct fixture f;
	const char *text;

	(void)state;
	start(&f, "a@example.org");
	add(&f, "b@example.net")->orcpt = STR("rfc822;x+0D+0AAction:+20relayed");
	f.env.envid = STR("a+0D+0AAction:+20relayed+00+FF");
	fill(&f, 550, "no");
	text = build(&f);
	assert_int_equal(count(text, "\r\nAction: "), 1);
	assert_non_null(strstr(text, "\r\nOriginal-Envelope-Id: a??Action: relayed??\r\n"));
	assert_non_null(strstr(text, "\r\nOriginal-Recipient: rfc822; x??Action: relayed\r\n"));
	end(&f);
	start(&f, "a@example.org");
	add(&f, "b@example.net")->orcpt = STR("no-type");
	f.env.envid = STR("bad+xtext");
	fill(&f, 550, "no");
	text = build(&f);
	assert_null(strstr(text, "Original-Recipient"));
	assert_null(strstr(text, "Original-Envelope-Id"));
	end(&f);
}

static void
boundaries_differ(void **state)
{
	struct fixture f;
	char first[40], *at;

	(void)state;
	start(&f, "a@example.org");
	(void)add(&f, "b@example.net");
	fill(&f, 550, "no");
	at = strstr(build(&f), "boundary=\"");
	memcpy(first, at, sizeof first);
	buf_clear(&f.out);
	assert_int_not_equal(memcmp(strstr(build(&f), "boundary=\""), first, sizeof first), 0);
	end(&f);
}

static void
long_replies_are_folded_and_cut(void **state)
{
	struct fixture f;
	char *reply = mem_alloc(9001);
	const char *text, *at;
	size_t longest = 0;

	(void)state;
	memset(reply, 'x', 9000);
	reply[9000] = '\0';
	start(&f, "a@example.org");
	(void)add(&f, "b@example.net");
	fill(&f, 550, reply);
	text = build(&f);
	for (at = text; *at != '\0'; at = strstr(at, "\r\n") + 2)
		if ((size_t)(strstr(at, "\r\n") - at) > longest)
			longest = (size_t)(strstr(at, "\r\n") - at);
	assert_in_range(longest, 1, 120);
	assert_true(f.out.len < 5000);
	end(&f);
	free(reply);
}

static void
many_recipients_are_bounded(void **state)
{
	struct fixture f;
	char reply[1001];

	(void)state;
	memset(reply, 'y', 1000);
	reply[1000] = '\0';
	start(&f, "a@example.org");
	for (int i = 0; i < 200; i++)
		(void)add(&f, "some.rather.long.name@some.rather.long.domain.example.net");
	fill(&f, 550, reply);
	(void)build(&f);
	assert_int_equal(count(f.out.data + f.out.head, "\r\nFinal-Recipient: "), 200);
	assert_non_null(strstr(f.out.data + f.out.head, "and 100 more, named in the next part."));
	assert_true(f.out.len < 300000);
	end(&f);
}

/* --- the original --- */

static struct ph_content *
content_of(struct ph_str s)
{
	struct ph_content *c = content_new();

	content_append(c, s.p, s.n, 0);
	return c;
}

static void
originals(void **state)
{
	static const struct {
		const char *name;
		struct ph_str text;
		enum mail_ret ret;
		enum dsn_kind kind;
		uint64_t max;
		const char *has, *has_not;
	} t[] = {
		{ "headers by default", { "Subject: s\r\n\r\nbody\r\n", 20 }, RET_NONE, DSN_FAILED, 1000,
		  "text/rfc822-headers\r\n\r\nSubject: s\r\n\r\n--", "body" },
		{ "headers asked for", { "Subject: s\r\n\r\nbody\r\n", 20 }, RET_HDRS, DSN_FAILED, 1000,
		  "text/rfc822-headers", "body" },
		{ "full", { "Subject: s\r\n\r\nbody\r\n", 20 }, RET_FULL, DSN_FAILED, 1000,
		  "Content-Type: message/rfc822\r\n\r\nSubject: s\r\n\r\nbody\r\n\r\n--", "rfc822-headers" },
		{ "full only for failures", { "Subject: s\r\n\r\nbody\r\n", 20 }, RET_FULL, DSN_RELAYED, 1000,
		  "text/rfc822-headers", "body" },
		{ "full, too large", { "Subject: s\r\n\r\nbody\r\n", 20 }, RET_FULL, DSN_FAILED, 19,
		  "text/rfc822-headers", "body" },
		{ "full, 8-bit", { "Subject: s\r\n\r\nb\xf6" "dy\r\n", 20 }, RET_FULL, DSN_FAILED, 1000,
		  "message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\nSubject: s\r\n\r\nb\xf6" "dy\r\n", "-headers" },
		{ "full, NUL", { "Subject: s\r\n\r\nb\0dy\r\n", 20 }, RET_FULL, DSN_FAILED, 1000,
		  "text/rfc822-headers", "dy" },
		{ "full, bare LF", { "Subject: s\r\n\r\nb\ndy\r\n", 20 }, RET_FULL, DSN_FAILED, 1000,
		  "text/rfc822-headers", "dy" },
		{ "full, no CRLF at the end", { "Subject: s\r\n\r\nbody", 18 }, RET_FULL, DSN_FAILED, 1000,
		  "message/rfc822\r\n\r\nSubject: s\r\n\r\nbody\r\n--", "rfc822-headers" },
		{ "8-bit header", { "Subject: \xf6=\r\n\r\nbody\r\n", 21 }, RET_NONE, DSN_FAILED, 1000,
		  "text/rfc822-headers\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nSubject: =F6=3D\r\n\r\n--", "body" },
		{ "no header", { "\r\nbody\r\n", 8 }, RET_NONE, DSN_FAILED, 1000,
		  "text/rfc822-headers\r\n\r\n\r\n--", "body" },
		{ "not a header", { "just words\r\nbody\r\n", 18 }, RET_NONE, DSN_FAILED, 1000,
		  "text/rfc822-headers\r\n\r\n\r\n--", "just words" },
		{ "header larger than allowed", { "A: 1\r\nB: 2\r\nC: 3\r\n\r\nx\r\n", 23 }, RET_NONE, DSN_FAILED, 9,
		  "text/rfc822-headers\r\n\r\nA: 1\r\n\r\n--", "B:" },
		{ "empty", { "", 0 }, RET_FULL, DSN_FAILED, 1000, "Content-Type: message/rfc822", "body" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
		struct fixture f;
		struct ph_content *c = content_of(t[i].text);
		const char *text;

		start(&f, "a@example.org");
		(void)add(&f, "b@example.net");
		f.env.ret = t[i].ret;
		fill(&f, 550, "no");
		f.in.kind = t[i].kind;
		f.in.content = c;
		f.in.max_original = t[i].max;
		text = build(&f);
		if (strstr(text, t[i].has) == NULL || strstr(text, t[i].has_not) != NULL)
			fail_msg("%s: %s", t[i].name, text);
		end(&f);
		ph_content_unref(&c);
	}
}

static void
long_header_lines_are_encoded(void **state)
{
	struct fixture f;
	struct buf h = { 0 };
	const char *text;

	(void)state;
	buf_adds(&h, "X-Long: ");
	for (int i = 0; i < 3000; i++)
		buf_addc(&h, 'z');
	buf_adds(&h, "\r\nSubject: after\r\n\r\n");
	start(&f, "a@example.org");
	(void)add(&f, "b@example.net");
	fill(&f, 550, "no");
	f.in.headers = buf_view(&h);
	text = build(&f);       /* checks the length of lines */
	assert_non_null(strstr(text, "Content-Transfer-Encoding: quoted-printable"));
	assert_non_null(strstr(text, "\r\nSubject: after\r\n"));
	end(&f);
	buf_free(&h);
}

/* --- addresses beyond ASCII (RFC 6533) --- */

static void
utf8_sender_gets_utf8(void **state)
{
	struct fixture f;
	const char *text;

	(void)state;
	start(&f, "j\xc3\xb6rg@example.org");
	add(&f, "m\xc3\xbcller@example.net")->orcpt = STR("utf-8;m\xc3\xbcller@example.net");
	f.env.smtputf8 = true;
	fill(&f, 550, "5.1.1 kein Postfach f\xc3\xbcr m\xc3\xbcller");
	f.in.headers = STR("Subject: Gr\xc3\xbc\xc3\x9f" "e\r\n\r\n");
	text = build(&f);
	assert_non_null(strstr(text, "\r\nTo: <j\xc3\xb6rg@example.org>\r\n"));
	assert_non_null(strstr(text, "report-type=global-delivery-status;"));
	assert_non_null(strstr(text, "Content-Type: message/global-delivery-status\r\nContent-Transfer-Encoding: 8bit\r\n"));
	assert_non_null(strstr(text, "Final-Recipient: utf-8; m\xc3\xbcller@example.net\r\n"));
	assert_non_null(strstr(text, "Original-Recipient: utf-8; m\xc3\xbcller@example.net\r\n"));
	assert_non_null(strstr(text, "Content-Type: message/global-headers\r\n"));
	assert_non_null(strstr(text, "f\xc3\xbcr"));
	end(&f);
}

static void
ascii_sender_gets_ascii(void **state)
{
	struct fixture f;
	const char *text;

	(void)state;
	start(&f, "a@example.org");
	(void)add(&f, "m\xc3\xbcller\xf0\x9f\x90\x8e@example.net");
	f.env.smtputf8 = true;
	fill(&f, 550, "5.1.1 kein Postfach f\xc3\xbcr \xff");
	f.in.headers = STR("Subject: Gr\xc3\xbc\xc3\x9f" "e\r\n\r\n");
	text = build(&f);
	assert_true(str_ascii(buf_view(&f.out)));
	assert_non_null(strstr(text, "Final-Recipient: utf-8; m\\x{FC}ller\\x{1F40E}@example.net\r\n"));
	assert_non_null(strstr(text, "f\\x{FC}r ?"));
	assert_non_null(strstr(text, "Content-Type: message/global-headers\r\nContent-Transfer-Encoding: quoted-printable\r\n"));
	assert_non_null(strstr(text, "Subject: Gr=C3=BC=C3=9Fe\r\n"));
	end(&f);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden_report),
		cmocka_unit_test(statuses),
		cmocka_unit_test(remote_names),
		cmocka_unit_test(injection),
		cmocka_unit_test(encoded_injection),
		cmocka_unit_test(boundaries_differ),
		cmocka_unit_test(long_replies_are_folded_and_cut),
		cmocka_unit_test(many_recipients_are_bounded),
		cmocka_unit_test(originals),
		cmocka_unit_test(long_header_lines_are_encoded),
		cmocka_unit_test(utf8_sender_gets_utf8),
		cmocka_unit_test(ascii_sender_gets_ascii),
	};

	(void)setenv("TZ", "UTC", 1);
	tzset();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
