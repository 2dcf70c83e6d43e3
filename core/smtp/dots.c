/*
 * dots.c - dot-stuffing, undone and done (RFC 5321 4.5.2).
 *
 * The only place that decides where content ends.  A CR is held back until
 * the next byte shows whether it begins a CRLF, so that the decision is the
 * same at every split; everything between two decisions is found with memchr
 * and handed on in place.
 */
#include "smtp/dots.h"

/* Of the decoder; the encoder uses the first, MID and CR. */
enum {
	START,          /* behind a CRLF, or at the beginning */
	SOFT,           /* behind a newline that was not CRLF (accept_bare) */
	MID,            /* inside a line */
	CR,             /* a CR was taken and not yet given on */
	DOT, DOT_SOFT,  /* a dot was taken at START, at SOFT */
	DOT_CR, DOT_CR_SOFT,    /* and a CR behind it */
};

static const struct ph_str nothing = { NULL, 0 };

/* Splits *in after n bytes and drops skip more. */
static inline struct ph_str
take(struct ph_str *in, size_t n, size_t skip)
{
	struct ph_str run = str_make(in->p, n);

	in->p += n + skip;
	in->n -= n + skip;
	return run;
}

/* Where a scan from the start of a line or its middle has to stop. */
enum stop { AT_END, AT_END_OF_LINE, AT_LAST_CR, AT_BARE, AT_DOT };

/* Goes over whole lines until something needs a decision; *out is the number
 * of plain bytes before it. */
static enum stop
scan(struct ph_str in, size_t *out)
{
	const char *q = in.p, *end = in.p + in.n;

	for (;;) {
		const char *lf = memchr(q, '\n', (size_t)(end - q));
		const char *cr = memchr(q, '\r', (size_t)((lf != NULL ? lf : end) - q));

		if (cr == NULL) {
			*out = (size_t)((lf != NULL ? lf : end) - in.p);
			return lf != NULL ? AT_BARE : AT_END;
		}
		*out = (size_t)(cr - in.p);
		if (cr + 1 == end)
			return AT_LAST_CR;
		if (cr + 1 != lf)
			return AT_BARE;
		q = lf + 1;
		*out = (size_t)(q - in.p);
		if (q == end)
			return AT_END_OF_LINE;
		if (*q == '.')
			return AT_DOT;
	}
}

/* Bytes from the middle of a line on. */
static enum dots_result
decode_text(uint8_t *state, bool accept_bare, struct ph_str *in, struct ph_str *run)
{
	size_t n;

	switch (scan(*in, &n)) {
	case AT_END:
		*run = take(in, n, 0);
		*state = MID;
		break;
	case AT_END_OF_LINE:
	case AT_DOT:
		*run = take(in, n, 0);
		*state = START;
		break;
	case AT_LAST_CR:
		*run = take(in, n, 1);
		*state = CR;
		break;
	case AT_BARE:
		if (!accept_bare) {
			*run = take(in, n, 0);
			return DOTS_BARE;
		}
		if (n == 0) {
			*run = STR("\r\n");
			(void)take(in, 1, 0);
			*state = SOFT;
		} else {
			*run = take(in, n, 0);
			*state = MID;
		}
		break;
	}
	return DOTS_MORE;
}

enum dots_result
dots_decode(uint8_t *state, bool accept_bare, struct ph_str *in, struct ph_str *run)
{
	*run = nothing;
	while (in->n != 0) {
		char c = in->p[0];

		switch (*state) {
		case START:
		case SOFT:
			if (c != '.')
				return decode_text(state, accept_bare, in, run);
			(void)take(in, 1, 0);
			*state = *state == START ? DOT : DOT_SOFT;
			break;
		case DOT:
		case DOT_SOFT:
			if (c == '\r') {
				(void)take(in, 1, 0);
				*state = *state == DOT ? DOT_CR : DOT_CR_SOFT;
				break;
			}
			if (c != '\n')  /* other text follows: the dot was stuffing */
				return decode_text(state, accept_bare, in, run);
			if (!accept_bare)
				return DOTS_BARE;
			(void)take(in, 1, 0);
			*run = STR(".\r\n");
			*state = SOFT;
			return DOTS_MORE;
		case DOT_CR:
		case DOT_CR_SOFT:
			if (c == '\n') {
				bool end = *state == DOT_CR;

				(void)take(in, 1, 0);
				*state = START;
				if (end)
					return DOTS_END;
				*run = STR(".\r\n");
				return DOTS_MORE;
			}
			if (!accept_bare)
				return DOTS_BARE;
			*run = STR(".\r\n");
			*state = SOFT;
			return DOTS_MORE;
		case CR:
			if (c == '\n') {
				(void)take(in, 1, 0);
				*state = START;
			} else if (accept_bare) {
				*state = SOFT;
			} else {
				return DOTS_BARE;
			}
			*run = STR("\r\n");
			return DOTS_MORE;
		default:
			return decode_text(state, accept_bare, in, run);
		}
	}
	return DOTS_MORE;
}

void
dots_encode(uint8_t *state, struct ph_str *in, struct ph_str *run)
{
	size_t n;

	*run = nothing;
	if (in->n == 0)
		return;
	if (*state == CR) {
		if (in->p[0] == '\n')
			(void)take(in, 1, 0);
		*run = STR("\r\n");
		*state = START;
		return;
	}
	if (*state == START && in->p[0] == '.') {
		/* given now and, as part of what follows, once more */
		*run = str_head(*in, 1);
		*state = MID;
		return;
	}
	switch (scan(*in, &n)) {
	case AT_END:
		*run = take(in, n, 0);
		*state = MID;
		break;
	case AT_END_OF_LINE:
		*run = take(in, n, 0);
		*state = START;
		break;
	case AT_DOT:
		*run = str_head(*in, n + 1);
		(void)take(in, n, 0);
		*state = MID;
		break;
	case AT_LAST_CR:
		*run = take(in, n, 1);
		*state = CR;
		break;
	case AT_BARE:
		if (n == 0) {
			(void)take(in, 1, 0);
			*run = STR("\r\n");
			*state = START;
		} else {
			*run = take(in, n, 0);
			*state = MID;
		}
		break;
	}
}

struct ph_str
dots_encode_end(uint8_t *state)
{
	bool whole = *state == START;

	*state = START;
	return whole ? STR(".\r\n") : STR("\r\n.\r\n");
}
