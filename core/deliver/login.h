/*
 * login.h - our half of one login at a host: mechanism, challenges, the proof
 * behind the yes, a second try.  Who owns the connection says what comes of it.
 */
#ifndef DELIVER_LOGIN_H
#define DELIVER_LOGIN_H

#include "base/buf.h"
#include "net/conn.h"
#include "plugin/ask.h"
#include "smtp/client.h"

/* Called last: the login may be ended or begun anew inside. */
struct login_events {
	void (*said)(void *arg);        /* the engine has something to send */
	/* The mechanism will not go on; a dialogue under way was canceled, why says why. */
	void (*stopped)(void *arg, enum ph_sasl_result result);
};

/* Zeroed, then the first part is the owner's to set.  client and conn outlive login_end. */
struct login {
	struct worker_plugins *wp;
	const struct ph_next_hop *hop;
	struct smtp_client *client;
	struct conn *conn;
	bool secure;                    /* TLS is on */
	struct ph_str name; uint16_t port;      /* who is connected to */
	const struct login_events *on; void *arg;
	/* to be read */
	struct ph_str mechanism;        /* lives with wp; "" none */
	bool again;                     /* a refused login was tried anew; for the owner to clear */
	/* login.c's own */
	struct ph_sasl *sasl;           /* NULL: nothing under way */
	bool said;                      /* AUTH has left */
	enum ph_sasl_result at;         /* the mechanism's last word */
	struct buf why;                 /* and its words for people */
};

/* With the best of the mechanisms offered; false: none will do, nothing was said. */
bool login_begin(struct login *x, struct ph_str offered);
void login_step(struct login *x, struct ph_str challenge);      /* base64, as received */
/* The host says yes. false: without having proved who it is; login_unproven has words. */
bool login_accepted(struct login *x);
struct ph_str login_unproven(const struct login *x);
/* The host says no. true: begin once more, with x->mechanism. */
bool login_refused(struct login *x, int code);
/* The host's words with the mechanism's. */
void login_refusal(const struct login *x, struct ph_str text, struct buf *out);
/* Stars for the password, which some hosts quote.  Before text is cut, lest half of it stay. */
void login_hide(const struct login *x, char *text, size_t n);
void login_end(struct login *x);        /* of the exchange; the words stay */
void login_free(struct login *x);

#endif
