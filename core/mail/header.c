/*
 * header.c - the header section of a message, looked at while it passes by:
 * where it ends, how many hops it tells of, whether lines or bytes need more
 * than an old next hop can take.  Linear, bounded, blind to MIME: a relay does
 * not parse bodies.
 */
#include "mail/trace.h"

enum { AT_START, AT_CR, IN_NAME, BEHIND_NAME, IN_VALUE };

void
header_scan_start(struct header_scan *h)
{
	*h = (struct header_scan){ 0 };
}

static inline char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* Lengths of lines without their CRLF, and 8-bit bytes: for all content. */
static void
look_at_lines(struct header_scan *h, struct ph_str s)
{
	uint32_t len = h->line_len, longest = h->longest;
	const char *p = s.p, *end = s.p + s.n;

	if (!h->eight_bit) {
		uint64_t bits = 0, word;
		size_t i = 0;

		for (; i + 8 <= s.n; i += 8) {
			memcpy(&word, s.p + i, 8);
			bits |= word;
		}
		for (; i < s.n; i++)
			bits |= (uint8_t)s.p[i];
		h->eight_bit = (bits & 0x8080808080808080u) != 0;
	}
	while (p < end) {
		const char *lf = memchr(p, '\n', (size_t)(end - p));
		size_t n = (size_t)((lf != NULL ? lf : end) - p);

		len = n > UINT32_MAX / 2 - len ? UINT32_MAX / 2 : len + (uint32_t)n;
		if (lf == NULL)
			break;
		/* the CR; content has no bare LF unless it is binary */
		if (len > 0)
			len--;
		if (len > longest)
			longest = len;
		len = 0;
		p = lf + 1;
	}
	/* the unfinished line counts too; its last byte may be half a CRLF */
	if (len > 1 && len - 1 > longest)
		longest = len - 1;
	h->line_len = len;
	h->longest = longest;
}

static void
name_done(struct header_scan *h)
{
	if (h->name_len == 8 && memcmp(h->name, "received", 8) == 0)
		h->hops++;
	h->state = IN_VALUE;
}

/* One byte of a line's start; false when the header section is over.  The
 * body's offset is that of the next byte when over by an empty line, else
 * that of the line's start. */
static bool
header_byte(struct header_scan *h, char c, uint64_t at)
{
	switch (h->state) {
	case AT_START:
		h->header_end = at;
		h->name_len = 0;
		if (c == '\r') {
			h->state = AT_CR;
			return true;
		}
		if (c == '\n') {
			h->header_end = at + 1;
			return false;
		}
		if (c == ' ' || c == '\t') {
			/* a folded line belongs to a field; on top there is none */
			h->state = IN_VALUE;
			return at != 0;
		}
		h->state = IN_NAME;
		break;
	case AT_CR:
		if (c == '\n')
			h->header_end = at + 1;
		return false;
	case BEHIND_NAME:               /* "Name :" is obsolete, not wrong (RFC 5322 4.5) */
		if (c == ':') {
			name_done(h);
			return true;
		}
		return c == ' ' || c == '\t';
	default:
		break;
	}
	if (c == ':') {
		if (h->name_len == 0)
			return false;
		name_done(h);
		return true;
	}
	if (c == ' ' || c == '\t') {
		h->state = BEHIND_NAME;
		return true;
	}
	if ((uint8_t)c <= ' ' || (uint8_t)c >= 0x7f)
		return false;
	if (h->name_len < sizeof h->name)
		h->name[h->name_len++] = lower(c);
	return true;
}

void
header_scan_feed(struct header_scan *h, struct ph_str bytes)
{
	size_t i = 0;

	if (bytes.n == 0)
		return;
	while (i < bytes.n && !h->done) {
		if (h->state == IN_VALUE) {
			const char *lf = memchr(bytes.p + i, '\n', bytes.n - i);

			if (lf == NULL)
				break;
			i = (size_t)(lf - bytes.p) + 1;
			h->state = AT_START;
			continue;
		}
		h->done = !header_byte(h, bytes.p[i], h->seen + i);
		i++;
	}
	look_at_lines(h, bytes);
	h->seen += bytes.n;
}

bool
header_name_valid(struct ph_str name)
{
	if (name.n == 0 || name.n > 76)
		return false;
	for (size_t i = 0; i < name.n; i++)
		if (name.p[i] <= ' ' || name.p[i] > '~' || name.p[i] == ':')
			return false;
	return true;
}

/* Takes one line, without its newline, off the front. */
static struct ph_str
take_line(struct ph_str *s)
{
	const char *lf = memchr(s->p, '\n', s->n);
	struct ph_str line = str_make(s->p, lf != NULL ? (size_t)(lf - s->p) : s->n);

	*s = str_skip(*s, lf != NULL ? line.n + 1 : line.n);
	if (line.n > 0 && line.p[line.n - 1] == '\r')
		line.n--;
	return line;
}

static bool
is_folded(struct ph_str s)
{
	return s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t');
}

struct ph_str
header_find(struct ph_str section, const char *name, size_t nth, struct arena *arena)
{
	size_t len = strlen(name);

	while (section.n > 0) {
		struct ph_str line = take_line(&section), key, value, rest = section;
		size_t size, n;
		char *text;

		if (line.n == 0)
			break;
		if (line.n <= len || is_folded(line))
			continue;
		key = str_trim(str_cut(line, ':', &value));
		if (value.p == NULL || !str_ieq(key, str_make(name, len)) || nth-- > 0)
			continue;
		size = value.n;
		while (is_folded(rest))
			size += take_line(&rest).n;
		text = arena_alloc(arena, size + 1);
		memcpy(text, value.p, value.n);
		n = value.n;
		/* unfolding takes the newline out and leaves the space (RFC 5322 2.2.3) */
		while (is_folded(section)) {
			struct ph_str more = take_line(&section);

			memcpy(text + n, more.p, more.n);
			n += more.n;
		}
		return str_trim(str_make(text, n));
	}
	return str_make(NULL, 0);
}
