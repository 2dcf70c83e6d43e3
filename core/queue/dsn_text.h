/* dsn_text.h - writing text that a peer chose so that it stays text. */
#ifndef QUEUE_DSN_TEXT_H
#define QUEUE_DSN_TEXT_H

#include "base/buf.h"

enum dsn_escape {
	DSN_ESCAPE,     /* what is not ASCII becomes \x{HEX} of its code point, or '?' */
	DSN_UTF8,       /* UTF-8 stays, other bytes become '?' */
};
/* On one line: controls become '?'; at most `most` bytes of s. */
void dsn_put_plain(struct buf *out, struct ph_str s, enum dsn_escape mode, size_t most);
/* Letters, digits, '.', '-' and those in `more`; others are left out. */
void dsn_put_token(struct buf *out, struct ph_str s, const char *more, size_t most);
/* Folded at 76 columns; `column` is where it starts, `fold` what starts a line. */
void dsn_put_folded(struct buf *out, struct ph_str s, enum dsn_escape mode, size_t column,
                    const char *fold);
/* ASCII without controls but tab, lines ended by CRLF and at most 998 long. */
bool dsn_is_plain(struct ph_str s);
/* Quoted-printable (RFC 2045 6.7) of lines; ends with CRLF. */
void dsn_put_quoted(struct buf *out, struct ph_str s);

#endif
