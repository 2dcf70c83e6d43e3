/*
 * codec.c - base64, xtext, and the checksum; the only user of xxhash.
 *
 * Decoders are strict and write nothing when they fail.
 */
#include <stdlib.h>
#include <xxhash.h>

#include "base/abort.h"
#include "base/codec.h"
#include "base/mem.h"

static const char base64_digits[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void
codec_base64_encode(struct ph_str in, struct buf *out)
{
	const unsigned char *p = (const unsigned char *)in.p;
	char *to = buf_room(out, (in.n + 2) / 3 * 4);
	size_t left = in.n, n = 0;

	for (; left >= 3; left -= 3, p += 3) {
		to[n++] = base64_digits[p[0] >> 2];
		to[n++] = base64_digits[(p[0] & 3) << 4 | p[1] >> 4];
		to[n++] = base64_digits[(p[1] & 15) << 2 | p[2] >> 6];
		to[n++] = base64_digits[p[2] & 63];
	}
	if (left > 0) {
		unsigned second = left == 2 ? p[1] : 0;

		to[n++] = base64_digits[p[0] >> 2];
		to[n++] = base64_digits[(p[0] & 3u) << 4 | second >> 4];
		to[n++] = left == 2 ? base64_digits[(second & 15) << 2] : '=';
		to[n++] = '=';
	}
	buf_grew(out, n);
}

static int
base64_value(unsigned char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* RFC 4648 section 3: padding is required, other characters and bits that
 * would be dropped (section 3.5) are refused. */
int
codec_base64_decode(struct ph_str in, struct buf *out)
{
	size_t pad = 0, n = 0;
	uint32_t acc = 0;
	char *to;

	if (in.n % 4 != 0)
		return PH_EINVAL;
	if (in.n > 0 && in.p[in.n - 1] == '=')
		pad = in.p[in.n - 2] == '=' ? 2 : 1;
	to = buf_room(out, in.n / 4 * 3);
	for (size_t i = 0; i < in.n - pad; i++) {
		int v = base64_value((unsigned char)in.p[i]);

		if (v < 0)
			return PH_EINVAL;
		acc = acc << 6 | (uint32_t)v;
		if (i % 4 == 3) {
			to[n++] = (char)(acc >> 16);
			to[n++] = (char)(acc >> 8);
			to[n++] = (char)acc;
		}
	}
	if (pad == 1) {
		if (acc & 3)
			return PH_EINVAL;
		to[n++] = (char)(acc >> 10);
		to[n++] = (char)(acc >> 2);
	} else if (pad == 2) {
		if (acc & 15)
			return PH_EINVAL;
		to[n++] = (char)(acc >> 4);
	}
	buf_grew(out, n);
	return 0;
}

/* RFC 3461 section 4: xchar is any of "!" to "~" but "+" and "=". */
static bool
is_xchar(unsigned char c)
{
	return c >= '!' && c <= '~' && c != '+' && c != '=';
}

void
codec_xtext_encode(struct ph_str in, struct buf *out)
{
	static const char hex[] = "0123456789ABCDEF";

	for (size_t i = 0; i < in.n; i++) {
		unsigned char c = (unsigned char)in.p[i];

		if (is_xchar(c)) {
			buf_addc(out, (char)c);
		} else {
			buf_addc(out, '+');
			buf_addc(out, hex[c >> 4]);
			buf_addc(out, hex[c & 15]);
		}
	}
}

static int
hex_value(unsigned char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	/* the RFC has upper case only; senders with lower case exist */
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int
codec_xtext_decode(struct ph_str in, struct buf *out)
{
	char *to = buf_room(out, in.n);
	size_t n = 0;

	for (size_t i = 0; i < in.n; i++) {
		unsigned char c = (unsigned char)in.p[i];
		int hi, lo;

		if (is_xchar(c)) {
			to[n++] = (char)c;
			continue;
		}
		if (c != '+' || in.n - i < 3)
			return PH_EINVAL;
		hi = hex_value((unsigned char)in.p[i + 1]);
		lo = hex_value((unsigned char)in.p[i + 2]);
		if (hi < 0 || lo < 0)
			return PH_EINVAL;
		to[n++] = (char)(hi << 4 | lo);
		i += 2;
	}
	buf_grew(out, n);
	return 0;
}

uint64_t
codec_checksum(const void *p, size_t n, uint64_t seed)
{
	return XXH3_64bits_withSeed(p, n, seed);
}

struct codec_sum { XXH3_state_t *state; };

struct codec_sum *
codec_sum_new(void)
{
	struct codec_sum *s = mem_new(struct codec_sum);

	s->state = XXH3_createState();
	if (s->state == NULL)
		ph_abort("out of memory for a checksum");
	codec_sum_start(s, 0);
	return s;
}

void
codec_sum_start(struct codec_sum *s, uint64_t seed)
{
	(void)XXH3_64bits_reset_withSeed(s->state, seed);       /* fails for NULL only */
}

void
codec_sum_add(struct codec_sum *s, const void *p, size_t n)
{
	if (n > 0)
		(void)XXH3_64bits_update(s->state, p, n);       /* fails for NULL only */
}

uint64_t
codec_sum_end(struct codec_sum *s)
{
	return XXH3_64bits_digest(s->state);
}

void
codec_sum_free(struct codec_sum **s)
{
	if (*s == NULL)
		return;
	XXH3_freeState((*s)->state);
	free(*s);
	*s = NULL;
}
