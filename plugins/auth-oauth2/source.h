/*
 * source.h - the instance's access token: one for the whole daemon, fetched by
 * one at a time, ahead of its end.
 */
#ifndef OAUTH_SOURCE_H
#define OAUTH_SOURCE_H

#include "oauth.h"
#include "waiters.h"

/* Main thread.  dir may be NULL: nothing is kept.  Takes the profile's contents. */
struct oauth_source *oauth_source_new(struct oauth_profile *p, const char *name, const char *dir);
void oauth_source_free(struct oauth_source **s);

/* The first worker of an instance keeps the token fresh, from its start on. */
void oauth_source_keep(struct oauth_source *s, struct ph_worker *w);
void oauth_source_leave(struct oauth_source *s, struct ph_worker *w);

enum oauth_have { OAUTH_HAVE, OAUTH_WAIT, OAUTH_NOT };
/* On a worker, for one exchange.  HAVE: a copy of the token is added to *token, *serial names it.
 * WAIT: ready will be called (or oauth_source_forgo, when the exchange ends first).  NOT: there is
 * none to be had now, why says it for people. */
enum oauth_have oauth_source_token(struct oauth_source *s, struct ph_sasl *x,
                                   void (*ready)(struct ph_sasl *x, struct ph_ticket ticket),
                                   struct oauth_waiter **slot, struct oauth_text *token,
                                   uint64_t *serial, char why[300]);
void oauth_source_forgo(struct oauth_source *s, struct oauth_waiter **slot);
/* The host refused the token of that serial.  true: there will be another one. */
bool oauth_source_refused(struct oauth_source *s, uint64_t serial);

#endif
