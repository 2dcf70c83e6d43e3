/*
 * windows.h - what the files of auth-windows share: the configuration, a
 * worker's pools, and how a token becomes a line for a helper.
 */
#ifndef AUTH_WINDOWS_WINDOWS_H
#define AUTH_WINDOWS_WINDOWS_H

#include <posthouse/posthouse.h>
#include "answer.h"

enum { TOKEN_MAX = 12288 };             /* octets; RFC 4954 4 */

enum helper_kind { HELPER_NTLM, HELPER_SPNEGO, HELPER_GSSAPI, HELPER_KINDS };
enum gssapi_flavour { FLAVOUR_EXCHANGE, FLAVOUR_RFC4752 };

struct windows_cfg {
	struct ph_strings ntlm_helper, spnego_helper, gssapi_helper;
	struct ph_strings ntlm_client_helper, spnego_client_helper, membership_helper;
	int64_t helpers;
	ph_duration helper_timeout, helper_wait, client_wait;
	const char *keytab;
	const char *membership;
	int identity;                   /* enum identity_form */
	struct ph_strings domains;
	bool allow_cleartext_ntlm, server;
	int flavour;                    /* of the mechanism GSSAPI, client side */
	const char *client_keytab, *client_cache, *client_host, *client_service;
	/* made in setup */
	struct ph_strings command[HELPER_KINDS];
	struct ph_mechanism mechanism[5];
};

struct windows_worker {
	struct ph_helpers *pool[HELPER_KINDS];  /* NULL: there is no such helper */
	bool told_domain;               /* that a name's domain is in no entry */
};

/* server.c, client.c: fill m; limit is the longest that one step may take. */
void server_mechanism(struct ph_mechanism *m, const char *name, const struct windows_cfg *cfg);
void client_mechanism(struct ph_mechanism *m, const char *name, const struct windows_cfg *cfg);

/* line.c: a request to a helper: verb, a blank, base64 of token.  An empty token is written as
 * '*', for a line with nothing behind the verb means something else.  0 or what ph_lease_ask says. */
int line_ask(struct ph_lease *lease, const char *verb, struct ph_str token,
             void (*answer)(void *arg, int status, struct ph_str bytes), void *arg)
	__attribute__((warn_unused_result));
/* Base64 of an answer into memory of its own: octets, NUL behind; NULL: not base64, or more than
 * TOKEN_MAX.  line_free wipes. */
char *line_decode(struct ph_str base64, size_t *out_n);
void line_free(char *p, size_t n);
/* Why a helper's line did not come, for the log. */
const char *line_trouble(int status);

/* membership.c: is user one of group, as winbindd knows it?  done(arg, 1 yes, 0 no, or negative:
 * it cannot be found out) later, on the worker.  Samba's helpers look at groups for NTLM alone. */
struct membership;
struct membership *membership_begin(struct ph_worker *w, const struct windows_cfg *cfg, struct ph_str user,
                                    void (*done)(void *arg, int member, const char *why), void *arg);
void membership_forget(struct membership **m);  /* done is not called any more */

#endif
