/*
 * user_prompt.h - where a password comes from: the terminal, standard input, a file.
 */
#ifndef AUTH_BASIC_USER_PROMPT_H
#define AUTH_BASIC_USER_PROMPT_H

#include <posthouse/types.h>

#include "credentials.h"

/* The password, ended by NUL; the caller wipes it.  0, or what has been printed already. */
/* Asks on the terminal without showing what is typed; twice when it is a new one. */
int prompt_terminal(const char *name, bool twice, char out[PASSWORD_LIMIT + 1])
	__attribute__((warn_unused_result));
/* The first line of a file; path NULL: of standard input. */
int prompt_file(const char *path, char out[PASSWORD_LIMIT + 1]) __attribute__((warn_unused_result));

#endif
