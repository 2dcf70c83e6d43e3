/*
 * client_scram.h - the client's messages of SCRAM-SHA-256 (RFC 5802 5, 7677),
 * without exchange, clock or randomness: what a test can feed with a vector.
 */
#ifndef AUTH_BASIC_CLIENT_SCRAM_H
#define AUTH_BASIC_CLIENT_SCRAM_H

#include "scram.h"

/* Which channel binding (RFC 5802 6). */
enum client_scram_binding {
	BINDING_NONE,           /* "n": we do not want it */
	BINDING_NOT_OFFERED,    /* "y": we would, the host seems not to: it will object if that is
	                         * a lie told on the way */
	BINDING_USED,           /* "p=": bound to the TLS connection */
};

enum { CLIENT_SCRAM_ITERATIONS_MAX = 1000 * 1000 };

struct client_scram {
	char gs2[64];                           /* "n,,", "p=tls-exporter,," */
	uint8_t binding[SCRAM_BINDING_MAX];
	size_t binding_n;
	char bare[3 * SCRAM_NAME_MAX + SCRAM_NONCE_TEXT + 16];  /* client-first-message-bare */
	size_t bare_n;
	char nonce[SCRAM_NONCE_TEXT];
	/* of the server's first message */
	char server_first[SCRAM_MESSAGE_MAX];
	size_t server_first_n;
	struct ph_str both;                     /* the joined nonce, in server_first */
	uint8_t salt[SCRAM_SALT_MAX];
	size_t salt_n;
	int64_t iterations;
	uint8_t expected[SCRAM_KEY];            /* the server's signature */
};

/* All answer 0 or PH_E*; *why then says it for people.  Text is written to out, its length is
 * the result. */
int client_scram_begin(struct client_scram *s, struct ph_str name, const char *nonce,
                       enum client_scram_binding how, const char *type, char *out, size_t room,
                       const char **why) __attribute__((warn_unused_result));
int client_scram_challenge(struct client_scram *s, struct ph_str message, const char **why)
	__attribute__((warn_unused_result));
/* salted: of password, salt and iterations, by scram_hi. */
int client_scram_final(struct client_scram *s, const uint8_t salted[SCRAM_KEY], char *out,
                       size_t room, const char **why) __attribute__((warn_unused_result));
/* PH_EPERM: the host refuses (*why its word); PH_EPROTO: it is not who it says. */
int client_scram_verify(const struct client_scram *s, struct ph_str message, const char **why)
	__attribute__((warn_unused_result));

#endif
