/*
 * fake_resolve.h - the resolver with answers that a test gives, linked instead
 * of core/net/resolve.c.  Names nobody spoke of do not exist.  What is written
 * as an address is answered as such.  The last word on a name holds.
 */
#ifndef TESTS_FAKE_RESOLVE_H
#define TESTS_FAKE_RESOLVE_H

#include "net/resolve.h"

/* addrs: "192.0.2.1 2001:db8::1", in the order they are to be handed out. */
void fake_name(const char *name, const char *addrs);
/* hosts: "a.example b.example" in order of preference, each looked up by its own
 * fake_name; ".": a null MX. */
void fake_mx(const char *name, const char *hosts);
void fake_name_fails(const char *name, int status);     /* PH_EDNS, ... */
void fake_name_silent(const char *name);                /* until the resolver's limit: PH_EDNS */
size_t fake_asked(const char *name);                    /* questions so far */
void fake_names_forget(void);

#endif
