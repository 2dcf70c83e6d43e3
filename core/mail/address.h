/*
 * address.h - mailbox and path syntax (RFC 5321 4.1.2, 6531).  Linear time,
 * no recursion, one parse whose result everybody uses.
 */
#ifndef MAIL_ADDRESS_H
#define MAIL_ADDRESS_H

#include "base/mem.h"
#include "base/str.h"

/* Views into one arena copy "local@domain". */
struct address {
	struct ph_str full;     /* as it goes out between < >, without route; "" null path */
	struct ph_str local;    /* as written, quotes included */
	struct ph_str domain;   /* as written, with [] for a literal; "" for postmaster alone */
	bool utf8;              /* needs SMTPUTF8 */
	bool literal;           /* domain is an address literal */
};

enum {
	ADDRESS_NULL_OK = 1,            /* <> (sender) */
	ADDRESS_POSTMASTER_OK = 2,      /* <postmaster> without domain (recipient) */
	ADDRESS_BARE_OK = 4,            /* a@b.c without brackets, as people type */
	ADDRESS_UTF8_OK = 8,            /* SMTPUTF8 was given */
};
/* Parses a path at the start of *in (after "FROM:" or "TO:", leading spaces
 * allowed) and moves *in behind it. 0; PH_EINVAL (*why says what, a literal),
 * PH_ENOTSUP (needs SMTPUTF8). Source routes are accepted and dropped. */
int address_parse_path(struct ph_str *in, unsigned flags, struct arena *arena,
                       struct address *out, const char **why);
/* Parses a bare addr-spec that fills all of s (configuration, stored envelopes). */
int address_parse(struct ph_str s, struct arena *arena, struct address *out, const char **why);
bool address_domain_valid(struct ph_str domain);        /* also literals, U-labels */

#endif
