/*
 * relay.h - the relay that a dialogue talks to: all of the daemon but its
 * process, wired on the fake loop.  One at a time; what it does wrong ends
 * the script by relay_fail.
 */
#ifndef TESTS_RELAY_H
#define TESTS_RELAY_H

#include "base/buf.h"
#include "fake_loop.h"
#include "queue/queue.h"

/* Ends the script with this text; the script's runner defines it. */
_Noreturn void relay_fail(const char *fmt, ...) PH_PRINTF(1, 2);

/* Starts on this configuration; spool is its folder, for relay_reload's file. */
void relay_start(struct ph_str yaml, const char *spool);
bool relay_up(void);
/* True: taken; false: refused, which is in the log. */
bool relay_reload(struct ph_str yaml);
void relay_stop(void);          /* SIGTERM; it may go on for its grace */
bool relay_stopped(void);       /* nothing is left to wait for */
void relay_end(void);           /* stops, waits and frees it all */

/* Runs what is ready, the store too; time stands still. */
void relay_settle(void);
void relay_advance(int64_t ms);

/* The address of the nth entry of `listen`. */
bool relay_listens(size_t n, struct ph_addr *out);
/* "active", "deferred", "held", "suspended": how many, or all for NULL. */
bool relay_count(const char *state, uint64_t *out);
void relay_flush(void);         /* posthouse queue flush */

#endif
