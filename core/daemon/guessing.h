/*
 * guessing.h - slows down who guesses passwords: failed logins are counted per
 * client address and per claimed name, and each more holds the reply back
 * for longer, 1 s, 2 s, 4 s ... 30 s.  What did not fail for 10 minutes is forgotten.
 *
 * One table for all workers, of constant size, without a lock.  It knows
 * neither sessions nor loops: it answers how long to wait.
 */
#ifndef DAEMON_GUESSING_H
#define DAEMON_GUESSING_H

#include <posthouse/types.h>

struct guessing;

struct guessing *guessing_new(void);
void guessing_free(struct guessing **g);
/* A login failed: how many ms to hold the reply back.  user is what was claimed, "" unknown;
 * now in ms, of a clock that never goes back.  Any thread. */
int64_t guessing_failed(struct guessing *g, const struct ph_addr *client, struct ph_str user,
                        int64_t now);
/* A login succeeded: how many ms to hold the reply back.  That is what failures from this address
 * before it cost, or else the quick answer would tell a right guess from a wrong one; the
 * address starts anew.  Failures of others for the same name cost its owner nothing. */
int64_t guessing_passed(struct guessing *g, const struct ph_addr *client, int64_t now);

#endif
