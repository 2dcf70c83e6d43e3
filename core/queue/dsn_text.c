/*
 * dsn_text.c - writing text that a peer chose so that it stays text: on one
 * line, folded, or quoted-printable.
 */
#include <string.h>

#include "base/str.h"
#include "queue/dsn_text.h"

#define COLUMNS 76
#define LINE_MAX_BYTES 998

/* The UTF-8 sequence at the start of s: its length, 0 when it is not one. */
static size_t
sequence(struct ph_str s, uint32_t *out)
{
	unsigned char c = (unsigned char)s.p[0];
	size_t n = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 0;
	uint32_t v = n == 1 ? c : n == 2 ? c & 0x1f : n == 3 ? c & 0x0f : c & 0x07;

	if (n == 0 || n > s.n || !str_utf8_valid(str_head(s, n)))
		return 0;
	for (size_t i = 1; i < n; i++)
		v = v << 6 | ((unsigned char)s.p[i] & 0x3f);
	*out = v;
	return n;
}

/* One character, made harmless; returns how many bytes of s it was. */
static size_t
put_char(struct buf *out, struct ph_str s, enum dsn_escape mode)
{
	unsigned char c = (unsigned char)s.p[0];
	uint32_t v;
	size_t n;

	if (c < 0x80) {
		buf_addc(out, c < ' ' || c == 0x7f ? '?' : (char)c);
		return 1;
	}
	n = sequence(s, &v);
	if (n == 0) {
		buf_addc(out, '?');
		return 1;
	}
	if (v < 0xa0 || (v >= 0x2028 && v <= 0x202e) || (v >= 0x2066 && v <= 0x2069))
		buf_addc(out, '?');     /* C1 controls, line separators, bidi overrides */
	else if (mode == DSN_UTF8)
		buf_add(out, s.p, n);
	else
		buf_printf(out, "\\x{%X}", (unsigned)v);
	return n;
}

void
dsn_put_plain(struct buf *out, struct ph_str s, enum dsn_escape mode, size_t most)
{
	s = str_head(s, most);
	while (s.n > 0)
		s = str_skip(s, put_char(out, s, mode));
}

void
dsn_put_token(struct buf *out, struct ph_str s, const char *more, size_t most)
{
	s = str_head(s, most);
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if ((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '.' ||
		    c == '-' || (c != '\0' && strchr(more, c) != NULL))
			buf_addc(out, c);
	}
}

static bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

void
dsn_put_folded(struct buf *out, struct ph_str s, enum dsn_escape mode, size_t column,
               const char *fold)
{
	size_t indent = strlen(fold) - 2;       /* fold starts with CRLF */
	bool first = true;

	while (s.n > 0) {
		struct buf word = { 0 };
		size_t done = 0;

		while (s.n > 0 && is_space(s.p[0]))
			s = str_skip(s, 1);
		while (s.n > 0 && !is_space(s.p[0]))
			s = str_skip(s, put_char(&word, s, mode));
		if (word.len == 0)
			break;
		if (!first && column + 1 + word.len > COLUMNS) {
			buf_adds(out, fold);
			column = indent;
		} else if (!first) {
			buf_addc(out, ' ');
			column++;
		}
		first = false;
		/* a word longer than a line is broken, but not within a character */
		while (word.len - done > COLUMNS - indent) {
			size_t n = COLUMNS - indent;

			while (n > 1 && ((unsigned char)word.data[word.head + done + n] & 0xc0) == 0x80)
				n--;
			buf_add(out, word.data + word.head + done, n);
			buf_adds(out, fold);
			column = indent;
			done += n;
		}
		buf_add(out, word.data + word.head + done, word.len - done);
		column += word.len - done;
		buf_free(&word);
	}
}

bool
dsn_is_plain(struct ph_str s)
{
	size_t line = 0;

	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c == '\r' && i + 1 < s.n && s.p[i + 1] == '\n') {
			i++;
			line = 0;
			continue;
		}
		if ((c < ' ' && c != '\t') || c >= 0x7f || ++line > LINE_MAX_BYTES)
			return false;
	}
	return line == 0;
}

void
dsn_put_quoted(struct buf *out, struct ph_str s)
{
	size_t column = 0;

	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		bool end = i + 1 == s.n || s.p[i + 1] == '\r' || s.p[i + 1] == '\n';

		if (c == '\r' && i + 1 < s.n && s.p[i + 1] == '\n') {
			buf_adds(out, "\r\n");
			column = 0;
			i++;
			continue;
		}
		if (column >= COLUMNS - 4) {
			buf_adds(out, "=\r\n");
			column = 0;
		}
		if ((c > ' ' && c < 0x7f && c != '=') || ((c == ' ' || c == '\t') && !end)) {
			buf_addc(out, (char)c);
			column++;
		} else {
			buf_printf(out, "=%02X", (unsigned)c);
			column += 3;
		}
	}
	if (column > 0)
		buf_adds(out, "\r\n");
}
