/*
 * str.c - views of bytes: comparing, splitting, numbers, UTF-8, and the edit
 * distance behind "did you mean".  Nothing here depends on the locale.
 */
#include "base/str.h"

#define DISTANCE_MAX 64         /* longer names are not worth a proposal */

static inline unsigned char
lower(unsigned char c)
{
	return c >= 'A' && c <= 'Z' ? c | 0x20 : c;
}

bool
str_eq(struct ph_str a, struct ph_str b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool
str_ieq(struct ph_str a, struct ph_str b)
{
	if (a.n != b.n)
		return false;
	for (size_t i = 0; i < a.n; i++)
		if (lower((unsigned char)a.p[i]) != lower((unsigned char)b.p[i]))
			return false;
	return true;
}

bool
str_is(struct ph_str a, const char *lit)
{
	return str_eq(a, str_of(lit));
}

bool
str_iis(struct ph_str a, const char *lit)
{
	return str_ieq(a, str_of(lit));
}

bool
str_starts(struct ph_str a, const char *lit)
{
	struct ph_str b = str_of(lit);

	return a.n >= b.n && str_eq(str_head(a, b.n), b);
}

bool
str_istarts(struct ph_str a, const char *lit)
{
	struct ph_str b = str_of(lit);

	return a.n >= b.n && str_ieq(str_head(a, b.n), b);
}

struct ph_str
str_trim(struct ph_str s)
{
	while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
		s = str_skip(s, 1);
	while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
		s.n--;
	return s;
}

struct ph_str
str_cut(struct ph_str s, char sep, struct ph_str *rest)
{
	const char *at = s.n > 0 ? memchr(s.p, sep, s.n) : NULL;
	struct ph_str head = s;

	if (at == NULL) {
		*rest = (struct ph_str){ NULL, 0 };
		return head;
	}
	head.n = (size_t)(at - s.p);
	*rest = str_skip(s, head.n + 1);
	return head;
}

int
str_u64(struct ph_str s, uint64_t *out)
{
	uint64_t v = 0;

	if (s.n == 0)
		return PH_EINVAL;
	for (size_t i = 0; i < s.n; i++) {
		unsigned digit = (unsigned char)s.p[i] - (unsigned)'0';

		if (digit > 9 || v > (UINT64_MAX - digit) / 10)
			return PH_EINVAL;
		v = v * 10 + digit;
	}
	*out = v;
	return 0;
}

/* Length of the run of ASCII at the front, eight bytes a step. */
static size_t
ascii_run(const char *p, size_t n)
{
	size_t i = 0;

	for (; n - i >= 8; i += 8) {
		uint64_t w;

		memcpy(&w, p + i, 8);
		if (w & 0x8080808080808080u)
			break;
	}
	while (i < n && (unsigned char)p[i] < 0x80)
		i++;
	return i;
}

bool
str_ascii(struct ph_str s)
{
	return s.n == 0 || ascii_run(s.p, s.n) == s.n;
}

/* RFC 3629 section 4: no overlong forms, no surrogates, nothing above U+10FFFF. */
static size_t
utf8_sequence(const unsigned char *p, size_t n)
{
	unsigned char lo = 0x80, hi = 0xBF;
	size_t want;

	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xC2 && p[0] <= 0xDF)
		want = 2;
	else if (p[0] >= 0xE0 && p[0] <= 0xEF)
		want = 3;
	else if (p[0] >= 0xF0 && p[0] <= 0xF4)
		want = 4;
	else
		return 0;
	if (n < want)
		return 0;
	if (p[0] == 0xE0)
		lo = 0xA0;
	else if (p[0] == 0xED)
		hi = 0x9F;
	else if (p[0] == 0xF0)
		lo = 0x90;
	else if (p[0] == 0xF4)
		hi = 0x8F;
	if (p[1] < lo || p[1] > hi)
		return 0;
	for (size_t i = 2; i < want; i++)
		if ((p[i] & 0xC0) != 0x80)
			return 0;
	return want;
}

size_t
str_utf8_step(struct ph_str s, uint32_t *out)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t n = s.n == 0 ? 0 : utf8_sequence(p, s.n);

	if (n == 0)
		return 0;
	*out = n == 1 ? p[0] : n == 2 ? p[0] & 0x1Fu : n == 3 ? p[0] & 0x0Fu : p[0] & 0x07u;
	for (size_t i = 1; i < n; i++)
		*out = *out << 6 | (p[i] & 0x3Fu);
	return n;
}

void
str_hide(char *text, size_t n, struct ph_str secret)
{
	char *end = text + n, *p;

	while (secret.n > 0 && (size_t)(end - text) >= secret.n &&
	    (p = memmem(text, (size_t)(end - text), secret.p, secret.n)) != NULL) {
		memset(p, '*', secret.n);
		text = p + secret.n;
	}
}

bool
str_utf8_valid(struct ph_str s)
{
	while (s.n > 0) {
		size_t n = ascii_run(s.p, s.n);

		if (n == 0)
			n = utf8_sequence((const unsigned char *)s.p, s.n);
		if (n == 0)
			return false;
		s = str_skip(s, n);
	}
	return true;
}

/* Insertions, deletions, changes, and swaps of neighbours count one each. */
unsigned
str_distance(struct ph_str a, struct ph_str b, unsigned limit)
{
	unsigned rows[3][DISTANCE_MAX + 1];
	unsigned *before = rows[0], *last = rows[1], *now = rows[2], *spare;

	if (a.n > DISTANCE_MAX || b.n > DISTANCE_MAX)
		return limit + 1;
	if ((a.n > b.n ? a.n - b.n : b.n - a.n) > limit)
		return limit + 1;
	for (size_t j = 0; j <= b.n; j++)
		last[j] = (unsigned)j;
	memset(before, 0, sizeof rows[0]);
	for (size_t i = 1; i <= a.n; i++) {
		unsigned best = now[0] = (unsigned)i;

		for (size_t j = 1; j <= b.n; j++) {
			unsigned d = last[j - 1] + (a.p[i - 1] != b.p[j - 1]);

			if (last[j] + 1 < d)
				d = last[j] + 1;
			if (now[j - 1] + 1 < d)
				d = now[j - 1] + 1;
			if (i > 1 && j > 1 && a.p[i - 1] == b.p[j - 2] &&
			    a.p[i - 2] == b.p[j - 1] && before[j - 2] + 1 < d)
				d = before[j - 2] + 1;
			now[j] = d;
			if (d < best)
				best = d;
		}
		if (best > limit)
			return limit + 1;
		spare = before;
		before = last;
		last = now;
		now = spare;
	}
	return last[b.n] > limit ? limit + 1 : last[b.n];
}
