/*
 * users.h - the users file: its form, and whether a password fits.
 *
 * One user a line, "NAME:HASH" or "NAME:HASH:VERIFIER"; HASH is what crypt(3) makes, or "-";
 * VERIFIER is "SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY" in base64.  Empty lines and
 * those that begin with # mean nothing.
 *
 * A struct users is the whole file as it was read; it never changes, is counted, and any thread
 * may ask it.
 */
#ifndef AUTH_BASIC_USERS_H
#define AUTH_BASIC_USERS_H

#include "scram.h"
#include "textfile.h"

#define USERS_SCHEME "SCRAM-SHA-256"

struct user_verifier {
	int64_t iterations;
	uint8_t salt[SCRAM_SALT_MAX];
	size_t salt_n;
	uint8_t stored[SCRAM_KEY], server[SCRAM_KEY];
};
/* "SCRAM-SHA-256$..." to *out.  PH_EINVAL. */
int user_verifier_parse(struct ph_str text, struct user_verifier *out)
	__attribute__((warn_unused_result));
enum { USER_VERIFIER_TEXT = 256 };
int user_verifier_print(const struct user_verifier *v, char out[USER_VERIFIER_TEXT])
	__attribute__((warn_unused_result));
/* From a password with a fresh salt; as slow as iterations says. */
int user_verifier_make(struct ph_str password, int64_t iterations, struct user_verifier *out)
	__attribute__((warn_unused_result));

/* One line, views into it.  hash {NULL,0}: none. */
struct user_line { struct ph_str name, hash, verifier; };
/* 1: a user; 0: nothing in it; PH_EINVAL: *why says what is wrong. */
int user_line_parse(struct ph_str line, struct user_line *out, const char **why)
	__attribute__((warn_unused_result));
/* What may stand in front of the first colon.  NULL: it may; else why not. */
const char *user_name_problem(struct ph_str name);
/* Whether names can be completed with it: they must stay such names. */
bool user_domain_valid(const char *domain);
/* "yescrypt" for "$y$..."; NULL: not one of those that are taken. */
const char *user_hash_scheme(struct ph_str hash);

struct users;
/* What a file is read with; both live as long as what was read. */
struct users_about {
	uint8_t secret[SCRAM_KEY];      /* what answers about unknown users are made from */
	const char *default_domain;     /* names in the file may lack it; may be NULL */
};
/* 0 with *out; PH_ENOENT: no such file (nothing is said); PH_EPERM: open to others, or may not be
 * read; PH_EINVAL: mistakes; PH_EIO. */
int users_read(const char *path, const struct users_about *about, struct users **out, text_say say,
               void *arg) __attribute__((warn_unused_result));
/* As if a file without users had been read. */
struct users *users_empty(const struct users_about *about);
struct users *users_ref(struct users *u);
void users_unref(struct users **u);
size_t users_count(const struct users *u);

/* 0: right, and *out_name is how the file writes the name (as long as u).  PH_EPERM: wrong or
 * unknown, after the same time.  PH_EIO.  Slow: not on a worker. */
int users_verify(const struct users *u, struct ph_str name, struct ph_str password,
                 struct ph_str *out_name) __attribute__((warn_unused_result));
/* The verifier of SCRAM; PH_EPERM: there is no such user, or it has none. */
int users_verifier(const struct users *u, struct ph_str name, struct user_verifier *out,
                   struct ph_str *out_name) __attribute__((warn_unused_result));
/* One that nobody's password fits, the same for the same name each time: what whoever asks for
 * an unknown name is told. */
void users_fake(const struct users *u, struct ph_str name, struct user_verifier *out);
/* iterations, salt_n: as those of real ones. */
void user_verifier_fake(const uint8_t secret[SCRAM_KEY], struct ph_str name, int64_t iterations,
                        size_t salt_n, struct user_verifier *out);

#endif
