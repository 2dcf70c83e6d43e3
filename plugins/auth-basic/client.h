/*
 * client.h - what the files of the client side share: the mechanisms by which
 * the relay itself logs in at a smart host.
 */
#ifndef AUTH_BASIC_CLIENT_H
#define AUTH_BASIC_CLIENT_H

#include <posthouse/posthouse.h>

/* Registers the client side of PLAIN, LOGIN, CRAM-MD5, SCRAM-SHA-256, SCRAM-SHA-256-PLUS and
 * EXTERNAL. */
int basic_client_setup(struct ph_setup *setup) __attribute__((warn_unused_result));

/* Above all of a list of the remote's: SCRAM proves the remote, too; CRAM-MD5 keeps the password
 * to itself; PLAIN and LOGIN hand it over.  Below zero: only when the smart host lists it. */
enum { STRENGTH_LOGIN = 10, STRENGTH_PLAIN = 20, STRENGTH_CRAM_MD5 = 30, STRENGTH_SCRAM = 40,
       STRENGTH_SCRAM_PLUS = 50, STRENGTH_LISTED = -1 };

/* client_exchange.c */
extern const struct ph_mechanism client_scram, client_scram_plus;

/* The end of an exchange, with a word for the log. */
enum ph_sasl_result client_denied(struct ph_sasl *x, const char *why);
enum ph_sasl_result client_malformed(struct ph_sasl *x, const char *why);
/* Name and password of the next hop, or an end that says which is missing. */
bool client_credentials(struct ph_sasl *x, struct ph_str *out_name, struct ph_str *out_password);

#endif
