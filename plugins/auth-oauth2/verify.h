/*
 * verify.h - whether a client's token is good, and whose it is: by the keys
 * of its issuer, or by asking the issuer.
 */
#ifndef OAUTH_VERIFY_H
#define OAUTH_VERIFY_H

#include "oauth.h"
#include "waiters.h"

struct oauth_verdict {
	enum { OAUTH_GOOD, OAUTH_BAD, OAUTH_LATER } is;
	bool lacks_scope;               /* BAD for that reason alone */
	char user[256];                 /* GOOD */
	char why[300];                  /* else: for the log */
};

struct oauth_verifier *oauth_verifier_new(const struct oauth_cfg *cfg);
void oauth_verifier_free(struct oauth_verifier **v);

/* What an exchange holds while it asks; in its state, zeroed. */
struct oauth_asking {
	struct oauth_waiter *waiter;
	struct introspection *job;
	bool waited;
};
/* On the exchange's worker.  true: *out.  false: ready(x, ticket) will be called; then ask again
 * with the same token, and the answer may be false once more. */
bool oauth_verify(struct oauth_verifier *v, struct ph_sasl *x, struct oauth_asking *a,
                  struct ph_str token, void (*ready)(struct ph_sasl *x, struct ph_ticket ticket),
                  struct oauth_verdict *out);
void oauth_verify_leave(struct oauth_verifier *v, struct oauth_asking *a);

#endif
