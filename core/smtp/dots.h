/*
 * dots.h - dot-stuffed content (RFC 5321 4.5.2), both ways, at any split.
 *
 * Runs without anything special are handed on as large views into the input.
 * Both keep their state in one byte that starts as 0, so that an engine can
 * hold it where it likes.
 */
#ifndef SMTP_DOTS_H
#define SMTP_DOTS_H

#include "base/str.h"

enum dots_result {
	DOTS_MORE,      /* *run is content (may be empty); call again while *in has bytes */
	DOTS_END,       /* <CRLF>.<CRLF> was consumed; *run is empty */
	DOTS_BARE,      /* a CR or LF that is no CRLF; *in starts at or behind it */
};

/*
 * Takes bytes off *in.  Only <CRLF>.<CRLF> ends the content (the CRLF of the
 * DATA command counts as the first).  accept_bare: bare CR and LF become CRLF
 * and DOTS_BARE never comes; a line that is one dot between newlines of which
 * not both are CRLF is content.
 */
enum dots_result dots_decode(uint8_t *state, bool accept_bare, struct ph_str *in,
                             struct ph_str *run);

/*
 * Takes bytes off *in and gives in *run what to send for them (may be empty):
 * dots doubled at line starts, and bare CR or LF made CRLF before that is
 * decided, so that no next hop sees an end of data of its own invention.
 * Runs are views into *in or into constants.  Call while *in has bytes.
 */
void dots_encode(uint8_t *state, struct ph_str *in, struct ph_str *run);
/* What ends the content: ".\r\n", with a CRLF before it when one is missing.  Resets state. */
struct ph_str dots_encode_end(uint8_t *state);

#endif
