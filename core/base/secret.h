/*
 * secret.h - memory for secrets: pages of their own that are kept out of core
 * dumps and, where the system lets us, out of swap; wiped when given back.
 */
#ifndef BASE_SECRET_H
#define BASE_SECRET_H

#include <posthouse/types.h>

/* A copy, with a NUL behind it. Never NULL: aborts when memory is gone. */
struct ph_secret secret_keep(struct ph_str s);
/* Wipes it and gives its pages back; *s is empty then. */
void secret_drop(struct ph_secret *s);

#endif
