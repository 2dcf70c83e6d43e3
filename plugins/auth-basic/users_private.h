/*
 * users_private.h - what users.c and users_read.c share.
 */
#ifndef AUTH_BASIC_USERS_PRIVATE_H
#define AUTH_BASIC_USERS_PRIVATE_H

#include <stdatomic.h>

#include "users.h"

enum {
	USERS_ITERATIONS = 100 * 1000,  /* as the option's default */
	USERS_SALT = 16,                /* octets of salts that we make */
	USERS_MAX = 1000 * 1000,
	USER_LINE_MAX = 2048,
};

struct user {
	struct user_line line;          /* views into the file's text; hash ended by NUL */
	struct user_verifier verifier;
	bool has_verifier;
	size_t number;                  /* of its line */
};

struct users {
	atomic_uint refs;
	char *text;                     /* the file */
	size_t text_n;
	struct user *v;                 /* by name */
	size_t n;
	const struct user *sample;      /* one with a verifier, NULL none */
	const struct users_about *about;
};

int user_compare(struct ph_str a, struct ph_str b);

#endif
