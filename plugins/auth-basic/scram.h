/*
 * scram.h - what both sides of SCRAM-SHA-256 (RFC 5802, 7677) need: the hash functions and the
 * form of the messages.  No I/O, no state, no provider; any thread.
 *
 * Views that a parser hands out point into its input.  Functions that can fail answer 0 or
 * PH_EINVAL (not the form of the RFC), PH_ELIMIT (room too small), PH_EIO (libcrypto failed).
 */
#ifndef AUTH_BASIC_SCRAM_H
#define AUTH_BASIC_SCRAM_H

#include <posthouse/types.h>

enum {
	SCRAM_KEY = 32,                         /* octets of SHA-256 */
	SCRAM_SALT_MAX = 64,
	SCRAM_NONCE_TEXT = 33,                  /* 24 random octets in base64, and the NUL */
	SCRAM_NONCE_MAX = 512,                  /* of a peer, and of both together */
	SCRAM_NAME_MAX = 255,
	SCRAM_MESSAGE_MAX = 2048,
	SCRAM_BINDING_MAX = 256,                /* channel binding data */
	SCRAM_ITERATIONS_MIN = 4096,            /* RFC 7677 4 */
	SCRAM_ITERATIONS_MAX = 10 * 1000 * 1000,
};

/* --- RFC 5802 2.2, 3 --- */
int scram_h(struct ph_str in, uint8_t out[SCRAM_KEY]) __attribute__((warn_unused_result));
int scram_hmac(const uint8_t key[SCRAM_KEY], struct ph_str in, uint8_t out[SCRAM_KEY])
	__attribute__((warn_unused_result));
/* SaltedPassword.  Costs as many hashes as iterations says: never on a worker when that may be
 * many.  PH_EINVAL: no iterations, more than the maximum, or a salt out of bounds. */
int scram_hi(struct ph_str password, struct ph_str salt, int64_t iterations,
             uint8_t out[SCRAM_KEY]) __attribute__((warn_unused_result));
/* From SaltedPassword; any out may be NULL. */
int scram_keys(const uint8_t salted[SCRAM_KEY], uint8_t *client_key, uint8_t *stored_key,
               uint8_t *server_key) __attribute__((warn_unused_result));
/* Proof, client: ClientKey XOR ClientSignature over AuthMessage. */
int scram_proof(const uint8_t client_key[SCRAM_KEY], const uint8_t stored_key[SCRAM_KEY],
                struct ph_str auth_message, uint8_t out[SCRAM_KEY])
	__attribute__((warn_unused_result));
/* Server: 0 when proof fits stored_key, else PH_EPERM. */
int scram_verify(const uint8_t stored_key[SCRAM_KEY], struct ph_str auth_message,
                 const uint8_t proof[SCRAM_KEY]) __attribute__((warn_unused_result));
/* Takes the same time wherever the difference is. */
bool scram_same(const void *a, const void *b, size_t n);
int scram_random(void *out, size_t n) __attribute__((warn_unused_result));
int scram_nonce(char out[SCRAM_NONCE_TEXT]) __attribute__((warn_unused_result));

/* --- messages --- */
/* Takes "x=VALUE" and the comma behind it off *rest; name is x.  VALUE may be empty and
 * contains no comma and no NUL. */
int scram_attr(struct ph_str *rest, char name, struct ph_str *out_value)
	__attribute__((warn_unused_result));
/* What may follow the attributes that a message must have: "a=1,b=2".  PH_ENOTSUP: one that the
 * sender wants understood ("m=", RFC 5802 5.1). */
int scram_extensions(struct ph_str rest) __attribute__((warn_unused_result));
/* An attribute of base64; *out_n says how many octets. */
int scram_octets(struct ph_str base64, void *out, size_t room, size_t *out_n)
	__attribute__((warn_unused_result));
/* Printable ASCII without a comma, at least one, at most SCRAM_NONCE_MAX. */
bool scram_nonce_ok(struct ph_str nonce);
/* A positive number without sign or leading zeros; at most SCRAM_ITERATIONS_MAX. */
int scram_number(struct ph_str text, int64_t *out) __attribute__((warn_unused_result));
/* saslname: "=2C" is ",", "=3D" is "=".  Bytes written. */
int scram_name_decode(struct ph_str in, char *out, size_t room) __attribute__((warn_unused_result));
int scram_name_encode(struct ph_str in, char *out, size_t room) __attribute__((warn_unused_result));

#endif
