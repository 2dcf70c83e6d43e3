/* reply.h (core) - writing replies on the wire, and reading those of others. */
#ifndef MAIL_REPLY_H
#define MAIL_REPLY_H

#include <posthouse/reply.h>
#include "base/buf.h"
#include "base/mem.h"

/* "550 5.7.1 Relaying denied\r\n". text NULL: the default. Text with LF gives
 * several lines; controls are dropped; enhanced codes are left out for 354. */
void reply_write(struct buf *out, enum ph_reply r, const char *text);
/* As one line without CRLF, for logs and ph_outcome_text. */
void reply_line(struct buf *out, enum ph_reply r, const char *text);

/* A remote's reply. lines joined by LF in text, without codes; enhanced "" if
 * none was given or its class contradicts the code. */
struct remote_reply { int code; char enhanced[12]; struct ph_str text; bool cut; };
/* Parses one whole reply at the start of *in and moves *in behind it.
 * 1 parsed; 0 more bytes needed; PH_EPROTO not a reply (bad code, codes that
 * differ between lines, a line over 2048 bytes, over 128 lines). Text in arena, cut at 8 KiB. */
int reply_parse(struct ph_str *in, struct arena *arena, struct remote_reply *out);

#endif
