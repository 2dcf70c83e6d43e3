/*
 * bdat.h - BDAT (RFC 3030): its parameters, and the newlines of chunks that
 * are not BINARYMIME.
 */
#ifndef SMTP_BDAT_H
#define SMTP_BDAT_H

#include "smtp/dots.h"

/* "1000" or "1000 LAST". 0, or PH_EINVAL: junk, or above 2^63-1. */
int bdat_parse(struct ph_str args, uint64_t *out_size, bool *out_last);
/* Like dots_decode without dots and without an end: DOTS_MORE or DOTS_BARE.  *state starts
 * as 0 and lasts over all chunks of a message, since a chunk may end inside a CRLF. */
enum dots_result bdat_pass(uint8_t *state, bool accept_bare, struct ph_str *in, struct ph_str *run);
/* Behind the last chunk: a CR may still be open. DOTS_MORE (with *run) or DOTS_BARE. */
enum dots_result bdat_pass_end(uint8_t *state, bool accept_bare, struct ph_str *run);

#endif
