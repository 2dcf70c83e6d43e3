/*
 * fuzz_dots.c - decoding is the same at every split; what is encoded decodes
 * to itself and shows no other reader an end of its own.  First two bytes:
 * options and a seed for the splits.
 */
#include <stdint.h>

#include "base/abort.h"
#include "base/buf.h"
#include "smtp/dots.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t rnd;

static size_t
piece_of(size_t left, bool whole)
{
	size_t n;

	if (whole)
		return left;
	rnd = rnd * 1103515245u + 12345u;
	n = 1 + (rnd >> 16) % 5;
	return n < left ? n : left;
}

static enum dots_result
decode(struct ph_str all, bool whole, bool lenient, struct buf *out, size_t *used)
{
	uint8_t state = 0;

	*used = 0;
	while (*used < all.n) {
		size_t n = piece_of(all.n - *used, whole);
		struct ph_str in = str_make(all.p + *used, n), run;

		while (in.n != 0) {
			enum dots_result rc = dots_decode(&state, lenient, &in, &run);

			buf_addstr(out, run);
			if (rc != DOTS_MORE) {
				*used += n - in.n;
				return rc;
			}
		}
		*used += n;
	}
	return DOTS_MORE;
}

static void
encode(struct ph_str all, bool whole, struct buf *out)
{
	uint8_t state = 0;

	for (size_t at = 0; at < all.n; ) {
		size_t n = piece_of(all.n - at, whole);
		struct ph_str in = str_make(all.p + at, n), run;

		while (in.n != 0) {
			dots_encode(&state, &in, &run);
			buf_addstr(out, run);
		}
		at += n;
	}
	buf_addstr(out, dots_encode_end(&state));
}

static bool
bare(struct ph_str s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\r' && (i + 1 == s.n || s.p[i + 1] != '\n'))
			return true;
		if (s.p[i] == '\n' && (i == 0 || s.p[i - 1] != '\r'))
			return true;
	}
	return false;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf a = { 0 }, b = { 0 }, back = { 0 };
	struct ph_str in, coded;
	size_t used_a, used_b;
	enum dots_result rc;
	bool lenient;

	if (size < 2)
		return 0;
	lenient = data[0] & 1;
	rnd = data[1];
	in = str_make((const char *)data + 2, size - 2);

	rc = decode(in, true, lenient, &a, &used_a);
	ph_assert(decode(in, false, lenient, &b, &used_b) == rc);
	ph_assert(!(lenient && rc == DOTS_BARE));
	if (rc != DOTS_BARE) {
		ph_assert(used_a == used_b && str_eq(buf_view(&a), buf_view(&b)));
	}
	if (rc == DOTS_END) {
		ph_assert(!bare(buf_view(&a)));
		ph_assert(used_a >= 3 && memcmp(in.p + used_a - 3, ".\r\n", 3) == 0);
		ph_assert(used_a == 3 || memcmp(in.p + used_a - 5, "\r\n", 2) == 0);
	}

	buf_clear(&a);
	buf_clear(&b);
	encode(in, true, &a);
	encode(in, false, &b);
	ph_assert(str_eq(buf_view(&a), buf_view(&b)));
	coded = buf_view(&a);
	ph_assert(!bare(coded));
	ph_assert(decode(coded, false, false, &back, &used_a) == DOTS_END && used_a == coded.n);
	if (!bare(in) && (in.n == 0 || in.p[in.n - 1] == '\n'))
		ph_assert(str_eq(buf_view(&back), in));
	for (size_t i = 0; i + 5 < coded.n; i++)
		ph_assert(memcmp(coded.p + i, "\r\n.\r\n", 5) != 0);
	buf_free(&a);
	buf_free(&b);
	buf_free(&back);
	return 0;
}
