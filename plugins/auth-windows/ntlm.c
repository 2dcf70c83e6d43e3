/*
 * ntlm.c - reads NTLM messages as far as they are looked at here.
 *
 * Their fields are offsets and lengths that the client chose: the flaws of
 * other servers' NTLM were reads at offsets that nobody had checked.  All sums
 * are made in 64 bit, every field is checked before any is read, and also
 * those that are only passed on to the helper.
 */
#include <string.h>

#include "ntlm.h"

enum {
	OLD_HEADER = 52,                /* type 3 without session key and flags */
	FLAGS_AT = 60, FLAGS_END = 64,
	UNICODE = 1,                    /* NTLMSSP_NEGOTIATE_UNICODE */
};

static const char signature[8] = "NTLMSSP";     /* with its NUL */

static uint16_t
u16(const char *p)
{
	const unsigned char *b = (const unsigned char *)p;

	return (uint16_t)(b[0] | b[1] << 8);
}

static uint32_t
u32(const char *p)
{
	return u16(p) | (uint32_t)u16(p + 2) << 16;
}

bool
ntlm_is(struct ph_str bytes)
{
	return bytes.n >= sizeof signature && memcmp(bytes.p, signature, sizeof signature) == 0;
}

struct ph_str
ntlm_inside(struct ph_str token)
{
	const char *at = token.n > 0 ? memmem(token.p, token.n, signature, sizeof signature) : NULL;

	return at != NULL ? (struct ph_str){ at, token.n - (size_t)(at - token.p) } : (struct ph_str){ NULL, 0 };
}

/* The field whose length and offset are written at at; an empty one may point anywhere. */
static int
field(struct ph_str m, size_t at, struct ph_str *out)
{
	uint64_t len, off;

	if (at + 8 > m.n)
		return PH_EINVAL;
	len = u16(m.p + at);
	off = u32(m.p + at + 4);
	*out = (struct ph_str){ "", 0 };
	if (len == 0)
		return 0;
	if (off < 12 || off + len > (uint64_t)m.n)
		return PH_EINVAL;
	*out = (struct ph_str){ m.p + (size_t)off, (size_t)len };
	return 0;
}

static size_t
utf8_put(char *out, size_t room, uint32_t c)
{
	if (c < 0x80 && room >= 1) {
		out[0] = (char)(c < 0x20 || c == 0x7F ? '?' : c);
		return 1;
	}
	if (c >= 0x80 && c < 0x800 && room >= 2) {
		out[0] = (char)(0xC0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3F));
		return 2;
	}
	if (c >= 0x800 && c < 0x10000 && room >= 3) {
		out[0] = (char)(0xE0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3F));
		out[2] = (char)(0x80 | (c & 0x3F));
		return 3;
	}
	if (c >= 0x10000 && room >= 4) {
		out[0] = (char)(0xF0 | c >> 18);
		out[1] = (char)(0x80 | (c >> 12 & 0x3F));
		out[2] = (char)(0x80 | (c >> 6 & 0x3F));
		out[3] = (char)(0x80 | (c & 0x3F));
		return 4;
	}
	return 0;
}

/* Appends text, of UTF-16 or of a code page that nobody knows, as UTF-8. */
static void
claim(struct ntlm_message *m, struct ph_str text, bool unicode)
{
	size_t step = unicode ? 2 : 1;

	for (size_t i = 0; i + step <= text.n; i += step) {
		uint32_t c = unicode ? u16(text.p + i) : (unsigned char)text.p[i];
		size_t put;

		if (unicode && c >= 0xD800 && c < 0xDC00 && i + 4 <= text.n) {
			uint32_t low = u16(text.p + i + 2);

			if (low >= 0xDC00 && low < 0xE000) {
				c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
				i += 2;
			}
		}
		if ((c >= 0xD800 && c < 0xE000) || (c >= 0x80 && (c < 0xA0 || !unicode)))
			c = '?';        /* half a character, a control, or one of an unknown code page */
		put = utf8_put(m->claimed + m->claimed_n, NTLM_NAME_MAX - m->claimed_n, c);
		if (put == 0)
			break;
		m->claimed_n += put;
	}
	m->claimed[m->claimed_n] = '\0';
}

static int
authenticate_parse(struct ph_str b, uint32_t flags_agreed, struct ntlm_message *m)
{
	static const size_t fields[] = { 12, 20, 28, 36, 44 };  /* LM, NT, domain, user, workstation */
	struct ph_str f[5];
	size_t first = b.n;

	if (b.n < OLD_HEADER)
		return PH_EINVAL;
	for (size_t i = 0; i < 5; i++) {
		if (field(b, fields[i], &f[i]) < 0)
			return PH_EINVAL;
		if (f[i].n > 0 && (size_t)(f[i].p - b.p) < first)
			first = (size_t)(f[i].p - b.p);
	}
	if (first < OLD_HEADER)         /* a field inside the header */
		return PH_EINVAL;
	m->has_flags = b.n >= FLAGS_END && first >= FLAGS_END;
	m->flags = m->has_flags ? u32(b.p + FLAGS_AT) : flags_agreed;
	if (m->has_flags) {
		struct ph_str key;

		if (field(b, 52, &key) < 0)
			return PH_EINVAL;
	}
	m->anonymous = f[3].n == 0;
	if (f[2].n > 0) {
		claim(m, f[2], m->flags & UNICODE);
		claim(m, (struct ph_str){ "\\", 1 }, false);
	}
	claim(m, f[3], m->flags & UNICODE);
	return 0;
}

int
ntlm_parse(struct ph_str b, uint32_t flags_agreed, struct ntlm_message *out)
{
	static const size_t flags_at[] = { 0, 12, 20 };
	struct ntlm_message m = { 0 };
	int rc = 0;

	if (b.n < 12 || !ntlm_is(b))
		return PH_EINVAL;
	m.type = u32(b.p + 8);
	if (m.type < 1 || m.type > 3)
		return PH_EINVAL;
	if (m.type == 3) {
		rc = authenticate_parse(b, flags_agreed, &m);
	} else {
		if (b.n < flags_at[m.type] + 4)
			return PH_EINVAL;
		m.flags = u32(b.p + flags_at[m.type]);
		m.has_flags = true;
	}
	if (rc == 0)
		*out = m;
	return rc;
}
