/*
 * message.h - the messages of XOAUTH2 and OAUTHBEARER (RFC 7628 3.1), built
 * and read.
 */
#ifndef OAUTH_MESSAGE_H
#define OAUTH_MESSAGE_H

#include "text.h"

enum oauth_mechanism { OAUTH_XOAUTH2, OAUTH_BEARER };

/* The client's message; PH_EINVAL when user or host hold what cannot be said. */
int oauth_message_build(enum oauth_mechanism m, const char *user, struct ph_str host, uint16_t port,
                        struct ph_str token, struct oauth_text *out);

struct oauth_message {
	char user[256];                 /* claimed; "" when not said */
	struct ph_str token;            /* in the input */
};
/* The server's reading of it.  0, or PH_EINVAL. */
int oauth_message_parse(enum oauth_mechanism m, struct ph_str in, struct oauth_message *out);

/* RFC 7628 3.2.2: why a token was refused, as it is sent.  scope and configuration may be
 * NULL. */
void oauth_refusal_build(const char *status, const char *scope, const char *configuration,
                         struct oauth_text *out);
/* A refusal in words for the log: "status invalid_token"; any bytes. */
void oauth_refusal_read(struct ph_str in, char *out, size_t room);

#endif
