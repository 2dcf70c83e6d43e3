/*
 * identity.h - one form for the names that helpers give: LAB\alice from
 * winbindd, alice@LAB.TEST from Kerberos.
 */
#ifndef AUTH_WINDOWS_IDENTITY_H
#define AUTH_WINDOWS_IDENTITY_H

#include <posthouse/types.h>

enum identity_form { IDENTITY_AS_GIVEN, IDENTITY_NETBIOS, IDENTITY_UPN, IDENTITY_PLAIN };
enum { IDENTITY_MAX = 255 };

/* domains: "LAB=lab.test", short and long name of a domain; the first is the one of names
 * without any.  kerberos: the name is a principal, in which a backslash has no meaning and
 * is refused.  1: in that form; 0: kept as given, for its domain is in no entry;
 * PH_EINVAL: no name, or controls in it.  out is ended by NUL. */
int identity_make(enum identity_form form, const struct ph_strings *domains, bool kerberos,
                  struct ph_str given, char out[IDENTITY_MAX + 1]) __attribute__((warn_unused_result));

/* Is it of the form SHORT=LONG? */
bool identity_domain_valid(const char *entry);
/* The long name for a short one or itself, as the entry spells it; {NULL,0}: in no entry. */
struct ph_str identity_realm(const struct ph_strings *domains, struct ph_str domain);

#endif
