/*
 * fuzz_bdat.c - BDAT parameters never wrap; newlines of chunks are judged and
 * mended the same at every split.  First byte: options; the first line the
 * parameters, the rest content.
 */
#include <stdint.h>
#include <stdio.h>

#include "base/abort.h"
#include "base/buf.h"
#include "smtp/bdat.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum dots_result
pass(struct ph_str all, size_t piece, bool lenient, struct buf *out)
{
	uint8_t state = 0;
	struct ph_str run;
	enum dots_result rc;

	for (size_t at = 0; at < all.n; ) {
		size_t n = piece < all.n - at ? piece : all.n - at;
		struct ph_str in = str_make(all.p + at, n);

		while (in.n != 0) {
			if (bdat_pass(&state, lenient, &in, &run) == DOTS_BARE)
				return DOTS_BARE;
			buf_addstr(out, run);
		}
		at += n;
	}
	rc = bdat_pass_end(&state, lenient, &run);
	buf_addstr(out, run);
	return rc;
}

static bool
bare(struct ph_str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((s.p[i] == '\r' && (i + 1 == s.n || s.p[i + 1] != '\n')) ||
		    (s.p[i] == '\n' && (i == 0 || s.p[i - 1] != '\r')))
			return true;
	return false;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf a = { 0 }, b = { 0 };
	struct ph_str line, in;
	uint64_t n;
	bool last, lenient;

	if (size == 0)
		return 0;
	lenient = data[0] & 1;
	line = str_cut(str_make((const char *)data + 1, size - 1), '\n', &in);
	if (bdat_parse(line, &n, &last) == 0) {
		char text[32];

		/* the number is the text's, leading zeros aside */
		ph_assert(n <= INT64_MAX);
		(void)snprintf(text, sizeof text, "%llu", (unsigned long long)n);
		while (line.n > 1 && line.p[0] == '0' && line.p[1] >= '0' && line.p[1] <= '9')
			line = str_skip(line, 1);
		ph_assert(str_starts(line, text));
	}
	if (in.p != NULL) {
		enum dots_result rc = pass(in, SIZE_MAX, lenient, &a);

		ph_assert(pass(in, 1 + (data[0] >> 1) % 7, lenient, &b) == rc);
		ph_assert(rc == (bare(in) && !lenient ? DOTS_BARE : DOTS_MORE));
		if (rc == DOTS_MORE) {
			ph_assert(str_eq(buf_view(&a), buf_view(&b)));
			ph_assert(!bare(buf_view(&a)));
			ph_assert(bare(in) || str_eq(buf_view(&a), in));
		}
	}
	buf_free(&a);
	buf_free(&b);
	return 0;
}
