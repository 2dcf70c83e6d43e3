/*
 * ask.h - putting questions to providers: routers, SASL mechanisms, password
 * checkers.  The core's side of provider.h.
 */
#ifndef PLUGIN_ASK_H
#define PLUGIN_ASK_H

#include "plugin/generation.h"
#include "mail/envelope.h"
#include "mail/facts.h"

/* --- routing --- */
struct route_answer {           /* per recipient asked */
	enum { ROUTE_NONE, ROUTE_HOP, ROUTE_FAIL, ROUTE_DEFER } kind;
	const struct ph_next_hop *hop;
	enum ph_reply reply; struct ph_str text;        /* in arena */
};
struct ph_route;                /* the question */
/* v[i] answers rcpts[i] (indexes into env). *answered true: now; false: done(arg) later.
 * Recipients that no router answered are ROUTE_DEFER "no route". Memory from arena, which
 * must outlive it. */
struct ph_route *route_ask(struct worker_plugins *wp, const struct envelope *env,
                           const uint32_t *rcpts, size_t n,
                           struct arena *arena, struct route_answer *v,
                           void (*done)(void *arg), void *arg, bool *answered);
void route_cancel(struct ph_route **r);

/* --- SASL --- */
struct sasl_out {
	enum ph_sasl_result result;
	struct ph_str output, identity;
	struct ph_str user;             /* the name claimed so far, "" unknown */
	const char *problem;            /* for the log, NULL none */
	bool has_output;
	bool prompts;                   /* output is text for the 334, not to be encoded */
};
struct ph_sasl;
/* side, name: which mechanism; client side: hop, whose auth names the instance. NULL: nobody
 * provides it, or what it needs (TLS, a certificate) is not there. */
struct ph_sasl *sasl_begin(struct worker_plugins *wp, enum ph_side side, struct ph_str name,
                           const struct facts *facts, const struct ph_next_hop *hop,
                           bool secure, void (*answered)(void *arg, const struct sasl_out *o),
                           void *arg);
/* input: decoded; copied. true: *o now; false: answered later. Views in *o live until the
 * next step or the end. */
bool sasl_step(struct ph_sasl *x, struct ph_str input, bool has_input, struct sasl_out *o);
void sasl_set_binding(struct ph_sasl *x,
                      int (*binding)(void *arg, const char *type, uint8_t *out, size_t *len),
                      void *arg);
/* Client side: who is connected to; name must live as long as the exchange. */
/* Server side: what the client was offered, "PLAIN LOGIN"; must live as long as the exchange. */
void sasl_set_offered(struct ph_sasl *x, struct ph_str mechanisms);
void sasl_set_remote(struct ph_sasl *x, struct ph_str name, uint16_t port);
/* Client side: the host answered with this code. true: a new exchange may be tried, once. */
bool sasl_refused(struct ph_sasl *x, int code);
void sasl_end(struct ph_sasl **x);      /* cancels a wait; wipes; answered is not called any more */
/* How a client is connected, for what may be offered to it; each includes those before it. */
enum sasl_over { SASL_OVER_CLEAR, SASL_OVER_TLS, SASL_OVER_CERTIFICATE };
/* "PLAIN LOGIN": what may be offered so (cleartext ones only inside TLS), of only's when that is
 * not empty, in the order of the configuration. In arena. */
struct ph_str sasl_offered(struct worker_plugins *wp, enum sasl_over over,
                           const struct ph_strings *only, struct arena *arena);
/* Client side: of those the remote offers, the first in the hop's list, or without a list the
 * strongest; {NULL,0} none. */
struct ph_str sasl_choose(struct worker_plugins *wp, const struct ph_next_hop *hop,
                          struct ph_str offered, bool secure);

/* --- transport security: NULL none; name NULL: the only one --- */
const struct ph_secure *secure_find(struct worker_plugins *wp, const char *name,
                                    struct ph_worker **out_w);

/* Towards clients: the first in the file that can serve; NULL none. */
const struct ph_secure *secure_server(struct worker_plugins *wp, struct ph_worker **out_w);
bool secure_serves(const struct generation *g);

#endif
