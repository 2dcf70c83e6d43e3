/* trace.h - Received fields (RFC 5321 4.4), dates (RFC 5322 3.3), hop counting, header scan. */
#ifndef MAIL_TRACE_H
#define MAIL_TRACE_H

#include "base/buf.h"
#include "mail/envelope.h"
#include "mail/facts.h"

/* "Tue, 24 Nov 2026 11:00:00 +0000" in local time. Cached per second and thread. */
void trace_date(struct buf *out, int64_t wall_ms);
/* "ESMTPSA" and the like (RFC 3848, 6531). Literals. */
struct ph_str trace_protocol(const struct facts *f, bool smtputf8);
/* The whole field with CRLF, folded; "for" only with one recipient; everything
 * a client chose is filtered to what RFC 5321 allows there. */
void trace_received(struct buf *out, const struct facts *f, const struct envelope *e,
                    struct ph_msgid id, struct ph_str hostname, int64_t wall_ms);

/* Looks at content as it arrives, at any split: finds the end of the header
 * section, counts Received fields, remembers the longest line (without CRLF)
 * and whether 8-bit bytes occur. */
struct header_scan {
	uint64_t seen;          /* bytes looked at */
	uint64_t header_end;    /* offset of the body when done, else of the present line */
	uint32_t hops;          /* Received fields */
	bool done;              /* the empty line, or a line that is no field, was seen */
	bool eight_bit;
	uint32_t line_len, longest;
	char name[16]; uint8_t name_len, state;
};
void header_scan_start(struct header_scan *h);
void header_scan_feed(struct header_scan *h, struct ph_str bytes);

/* Unfolded value of the nth field of that name within a header section held in
 * one piece; {NULL,0} none. In arena. */
struct ph_str header_find(struct ph_str section, const char *name, size_t nth, struct arena *arena);
bool header_name_valid(struct ph_str name);

#endif
