/*
 * scram_server.h - the server's side of one SCRAM-SHA-256 exchange (RFC 5802 3, 5, 7), from the
 * client's first message to the proof.  Messages in and out, no provider and no I/O.
 */
#ifndef AUTH_BASIC_SCRAM_SERVER_H
#define AUTH_BASIC_SCRAM_SERVER_H

#include "users.h"

enum scram_flag {
	SCRAM_NO_BINDING,               /* n: the client cannot */
	SCRAM_THINKS_NOT,               /* y: it can, and thinks that we cannot */
	SCRAM_BINDING,                  /* p: it does */
};

enum { SCRAM_TYPE_MAX = 64, SCRAM_FIRST_MAX = 1536 };

struct scram_server {
	/* after scram_server_first */
	enum scram_flag flag;
	char type[SCRAM_TYPE_MAX + 1];  /* of the channel binding, for SCRAM_BINDING */
	char authzid[SCRAM_NAME_MAX], name[SCRAM_NAME_MAX];
	size_t authzid_n, name_n;
	/* the rest is its own */
	struct user_verifier verifier;
	char first[SCRAM_FIRST_MAX];    /* the client's first message */
	size_t gs2_n, first_n;          /* of it, the GS2 header */
	char nonce[SCRAM_NONCE_MAX];    /* both parts */
	size_t client_nonce_n, nonce_n;
	char out[SCRAM_MESSAGE_MAX];    /* what we said last */
	size_t out_n;
};

/* PH_EINVAL: not a client-first-message; PH_ENOTSUP: it wants an extension understood. */
int scram_server_first(struct scram_server *s, struct ph_str message)
	__attribute__((warn_unused_result));
/* The answer, in *out until the next call.  nonce: the server's part. */
int scram_server_challenge(struct scram_server *s, const struct user_verifier *v,
                           struct ph_str nonce, struct ph_str *out)
	__attribute__((warn_unused_result));
/* binding: the channel's data, empty without.  0 with *out: the password is right, and out
 * proves ours.  PH_EPERM: it is not; PH_ESTALE: another channel, or another header than before;
 * PH_EINVAL, PH_ENOTSUP as above. */
int scram_server_final(struct scram_server *s, struct ph_str message, struct ph_str binding,
                       struct ph_str *out) __attribute__((warn_unused_result));

#endif
