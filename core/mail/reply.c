/*
 * reply.c - replies: the table by name, writing our own, reading a remote's.
 *
 * What we write is always one well-formed reply, whatever text a plugin or a
 * peer's words have put in: printable ASCII, lines of at most 512 octets
 * (RFC 5321 4.5.3.1.5), the enhanced code on each line (RFC 2034 4).
 */
#include "base/str.h"
#include "mail/reply.h"

#define LINE_TEXT_MAX   480     /* leaves room for codes and CRLF in 512 octets */
#define LINES_MAX       32      /* of a reply of ours */
#define REMOTE_LINE_MAX  2048
#define REMOTE_LINES_MAX 128
#define REMOTE_TEXT_MAX  8192
/* An incomplete reply is read again from its start; this bounds the work that
 * a dripping peer can cause. */
#define REMOTE_REPLY_MAX 65536

struct row { int code; const char *enhanced; const char *text; };

static const struct row rows[PH_R_COUNT] = {
	[PH_R_NONE] = { 0, "", "" },
#define PH_REPLY(name, code, enhanced, text) [PH_R_##name] = { code, enhanced, text },
#include <posthouse/replies.def>
#undef PH_REPLY
};

static const struct row *
row_of(enum ph_reply r)
{
	/* a plugin built elsewhere may hand in anything */
	return (unsigned)r < PH_R_COUNT ? &rows[r] : &rows[PH_R_TRY_LATER];
}

int
ph_reply_code(enum ph_reply r)
{
	return row_of(r)->code;
}

const char *
ph_reply_enhanced(enum ph_reply r)
{
	return row_of(r)->enhanced;
}

const char *
ph_reply_text(enum ph_reply r)
{
	return row_of(r)->text;
}

static void
write_code(struct buf *out, const struct row *row, char sep)
{
	char code[4] = {
		(char)('0' + row->code / 100 % 10), (char)('0' + row->code / 10 % 10),
		(char)('0' + row->code % 10), sep,
	};

	buf_add(out, code, sizeof code);
	if (row->enhanced[0] != '\0') {
		buf_adds(out, row->enhanced);
		buf_addc(out, ' ');
	}
}

/* Printable ASCII passes, tabs become spaces, other controls go, and bytes
 * that a client without SMTPUTF8 must not see become '?'. */
static void
write_text(struct buf *out, struct ph_str text)
{
	size_t written = 0;

	for (size_t i = 0; i < text.n && written < LINE_TEXT_MAX; i++) {
		uint8_t c = (uint8_t)text.p[i];

		if (c == '\t')
			c = ' ';
		if (c < 0x20 || c == 0x7f)
			continue;
		buf_addc(out, c < 0x80 ? (char)c : '?');
		written++;
	}
}

void
reply_write(struct buf *out, enum ph_reply r, const char *text)
{
	const struct row *row = row_of(r);
	struct ph_str rest;

	if (text == NULL || text[0] == '\0') {
		write_code(out, row, ' ');
		buf_adds(out, row->text);
		buf_add(out, "\r\n", 2);
		return;
	}
	rest = str_of(text);
	for (int lines = 1; ; lines++) {
		struct ph_str more, line = str_cut(rest, '\n', &more);
		bool last = more.p == NULL || more.n == 0 || lines == LINES_MAX;

		write_code(out, row, last ? ' ' : '-');
		write_text(out, line);
		buf_add(out, "\r\n", 2);
		if (last)
			return;
		rest = more;
	}
}

void
reply_line(struct buf *out, enum ph_reply r, const char *text)
{
	const struct row *row = row_of(r);
	struct ph_str rest;

	write_code(out, row, ' ');
	if (text == NULL || text[0] == '\0') {
		buf_adds(out, row->text);
		return;
	}
	rest = str_of(text);
	for (int lines = 1; ; lines++) {
		struct ph_str more, line = str_cut(rest, '\n', &more);

		write_text(out, line);
		if (more.p == NULL || more.n == 0 || lines == LINES_MAX)
			return;
		buf_addc(out, ' ');
		rest = more;
	}
}

/* Length of an enhanced code of the right class at the start of s, with the
 * space behind it; 0 when there is none (RFC 3463 2). */
static size_t
enhanced_at(struct ph_str s, int code)
{
	size_t i = 1;

	if (s.n < 5 || s.p[0] != '0' + code / 100 || s.p[1] != '.')
		return 0;
	for (int part = 0; part < 2; part++) {
		size_t digits = 0;

		if (i >= s.n || s.p[i] != '.')
			return 0;
		for (i++; i < s.n && s.p[i] >= '0' && s.p[i] <= '9' && digits < 4; i++)
			digits++;
		if (digits == 0 || digits > 3)
			return 0;
	}
	if (i < s.n && s.p[i] != ' ')
		return 0;
	return i;
}

/* The code at the start of a reply line, or -1. */
static int
code_at(struct ph_str line)
{
	int code = 0;

	if (line.n < 3 || (line.n > 3 && line.p[3] != ' ' && line.p[3] != '-'))
		return -1;
	for (int i = 0; i < 3; i++) {
		if (line.p[i] < '0' || line.p[i] > '9')
			return -1;
		code = code * 10 + (line.p[i] - '0');
	}
	return code >= 200 && code <= 599 ? code : -1;
}

/* Finds the end of the reply and checks every line: 1, 0 or PH_EPROTO. */
static int
measure(struct ph_str in, size_t *out_len, int *out_code)
{
	size_t at = 0;
	int first = 0;

	for (int lines = 0; ; lines++) {
		struct ph_str line = str_make(in.p + at, in.n - at);
		const char *lf = line.n != 0 ? memchr(line.p, '\n', line.n) : NULL;
		int code;

		if (lf == NULL) {
			if (line.n == 4 && line.p[3] == '\r')
				line.n--;
			return line.n > REMOTE_LINE_MAX || at + line.n > REMOTE_REPLY_MAX ||
			       (line.n >= 3 && code_at(line) < 0) ? PH_EPROTO : 0;
		}
		line.n = (size_t)(lf - line.p);
		at += line.n + 1;
		if (line.n > 0 && line.p[line.n - 1] == '\r')
			line.n--;
		if (line.n > REMOTE_LINE_MAX || lines >= REMOTE_LINES_MAX || at > REMOTE_REPLY_MAX)
			return PH_EPROTO;
		code = code_at(line);
		if (code < 0 || (lines > 0 && code != first))
			return PH_EPROTO;
		first = code;
		if (line.n == 3 || line.p[3] == ' ') {
			*out_len = at;
			*out_code = code;
			return 1;
		}
	}
}

int
reply_parse(struct ph_str *in, struct arena *arena, struct remote_reply *out)
{
	struct remote_reply r = { .text = STR("") };
	size_t whole, at = 0, n = 0;
	char *text;
	int rc;

	rc = measure(*in, &whole, &r.code);
	if (rc <= 0)
		return rc;
	text = arena_alloc(arena, (whole < REMOTE_TEXT_MAX ? whole : REMOTE_TEXT_MAX) + 1);
	while (at < whole) {
		const char *lf = memchr(in->p + at, '\n', whole - at);
		struct ph_str line = str_make(in->p + at, (size_t)(lf - (in->p + at)));
		size_t enh;

		if (line.n > 0 && line.p[line.n - 1] == '\r')
			line.n--;
		if (at > 0 && n < REMOTE_TEXT_MAX)
			text[n++] = '\n';
		at = (size_t)(lf - in->p) + 1;
		line = str_skip(line, line.n > 3 ? 4 : 3);
		enh = enhanced_at(line, r.code);
		if (enh != 0) {
			if (r.enhanced[0] == '\0')
				memcpy(r.enhanced, line.p, enh);
			line = str_skip(line, enh < line.n ? enh + 1 : enh);
		}
		for (size_t i = 0; i < line.n; i++) {
			uint8_t c = (uint8_t)line.p[i];

			if (n == REMOTE_TEXT_MAX) {
				r.cut = true;
				break;
			}
			text[n++] = (c < 0x20 && c != '\t') || c == 0x7f ? '?' : (char)c;
		}
	}
	r.text = str_make(text, n);
	*in = str_skip(*in, whole);
	*out = r;
	return 1;
}
