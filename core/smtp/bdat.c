/*
 * bdat.c - chunks of RFC 3030.
 *
 * The end of a chunk is a count, so nothing in it can end it early.  Content
 * that was not declared BINARYMIME is text all the same and may be relayed by
 * DATA later: bare CR and LF are found here, at any split of chunks.
 */
#include "smtp/bdat.h"

enum { TEXT, CR };

int
bdat_parse(struct ph_str args, uint64_t *out_size, bool *out_last)
{
	struct ph_str rest, number = str_cut(args, ' ', &rest);
	bool last = false;
	uint64_t size;

	if (str_u64(number, &size) != 0 || size > INT64_MAX)
		return PH_EINVAL;
	rest = str_trim(rest);
	if (rest.n != 0) {
		if (!str_iis(rest, "LAST"))
			return PH_EINVAL;
		last = true;
	}
	*out_size = size;
	*out_last = last;
	return 0;
}

static void
eat(struct ph_str *in, size_t n)
{
	in->p += n;
	in->n -= n;
}

enum dots_result
bdat_pass(uint8_t *state, bool accept_bare, struct ph_str *in, struct ph_str *run)
{
	const char *q, *end;

	*run = str_make(NULL, 0);
	if (in->n == 0)
		return DOTS_MORE;
	if (*state == CR) {
		if (in->p[0] == '\n')
			eat(in, 1);
		else if (!accept_bare)
			return DOTS_BARE;
		*state = TEXT;
		*run = STR("\r\n");
		return DOTS_MORE;
	}
	q = in->p;
	end = q + in->n;
	for (;;) {
		const char *lf = memchr(q, '\n', (size_t)(end - q));
		const char *cr = memchr(q, '\r', (size_t)((lf != NULL ? lf : end) - q));
		const char *stop = cr != NULL ? cr : lf;

		if (cr != NULL && cr + 1 == lf) {
			q = lf + 1;
			continue;
		}
		if (stop == NULL) {
			*run = *in;
			eat(in, in->n);
			return DOTS_MORE;
		}
		if (cr != NULL && cr + 1 == end) {
			*run = str_head(*in, (size_t)(cr - in->p));
			eat(in, in->n);
			*state = CR;
			return DOTS_MORE;
		}
		if (!accept_bare)
			return DOTS_BARE;
		if (stop == in->p) {
			eat(in, 1);
			*run = STR("\r\n");
		} else {
			*run = str_head(*in, (size_t)(stop - in->p));
			eat(in, run->n);
		}
		return DOTS_MORE;
	}
}

enum dots_result
bdat_pass_end(uint8_t *state, bool accept_bare, struct ph_str *run)
{
	bool open = *state == CR;

	*run = str_make(NULL, 0);
	*state = TEXT;
	if (!open)
		return DOTS_MORE;
	if (!accept_bare)
		return DOTS_BARE;
	*run = STR("\r\n");
	return DOTS_MORE;
}
