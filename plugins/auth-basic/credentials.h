/*
 * credentials.h - names and passwords as clients send them: what is let in, and in which form.
 * Pure: no I/O, no provider.
 */
#ifndef AUTH_BASIC_CREDENTIALS_H
#define AUTH_BASIC_CREDENTIALS_H

#include <posthouse/types.h>

enum {
	NAME_LIMIT = 255,               /* octets of a name, with its domain */
	PASSWORD_LIMIT = 511,           /* octets; what libcrypt and PAM take */
};

/* The message of PLAIN (RFC 4616 2); views into the message. */
struct plain { struct ph_str authzid, authcid, password; };
/* PH_EINVAL: not of that form, or something is empty, too long or not text. */
int plain_parse(struct ph_str message, struct plain *out) __attribute__((warn_unused_result));

/* UTF-8 without control characters and blanks at its ends, within the limit. */
bool name_valid(struct ph_str name);
/* Likewise for passwords, which may have blanks anywhere. */
bool password_valid(struct ph_str password);
/* The name with "@default_domain" when it has neither a domain nor is one of Windows ("LAB\bob").
 * default_domain may be NULL.  Returns the length, without NUL; PH_EINVAL. */
int name_complete(struct ph_str name, const char *default_domain, char out[NAME_LIMIT + 1])
	__attribute__((warn_unused_result));
/* Names of logins are the same whatever the case of ASCII letters. */
bool name_same(struct ph_str a, struct ph_str b);

#endif
