/*
 * fake_loop.h - the loop on virtual time, with peers in memory.
 *
 * Linked instead of core/net/loop_uv.c (and stream.c, listener.c, process.c):
 * fake_loop.c, fake_stream.c, fake_peer.c and fake_process.c define everything that
 * net/loop.h declares.  Nothing here touches a socket or sleeps; the same
 * script gives the same run.
 *
 * Time stands still until fake_loop_advance moves it; loop_now, clock_mono_*
 * and clock_wall_* all follow it.  It starts at 1,000,000 ms, on
 * 2026-01-01T00:00:00Z.  All loops of the process share it; they take turns
 * in the order they were made.
 *
 * A script goes: let the code under test open its listeners; fake_connect;
 * fake_send; fake_run_until_idle; look at fake_received; and so on.  Code
 * under test runs only inside fake_run_until_idle, fake_loop_advance,
 * fake_await and loop_run, never inside fake_send and its like.
 */
#ifndef TESTS_FAKE_LOOP_H
#define TESTS_FAKE_LOOP_H

#include "base/buf.h"
#include "net/loop.h"

/* --- running --- */

/* Runs notes, mailboxes, streams until nothing is left to do at this moment.  Aborts
 * after a million rounds: then somebody spins.  Returns how many rounds had work. */
size_t fake_run_until_idle(void);
/* Runs until idle, then timer by timer in their order, each at its time, to now + ms. */
void fake_loop_advance(int64_t ms);
int64_t fake_now(void);
/* When the earliest timer of any loop is due, INT64_MAX when there is none. */
int64_t fake_next_timer(void);
/* For code with threads of its own (the embedded store): runs until done(arg), or 10 s of
 * real time have gone by; virtual time stands still.  False: it never came true. */
bool fake_await(bool (*done)(void *arg), void *arg);
/* loop_run, for code that calls it: runs, and moves time to the next timer whenever idle,
 * until loop_stop.  Aborts when there is nothing left that could ever happen. */

/* --- the other ends --- */

/* The far end of one stream of the code under test. Owner: the test; free it any time. */
struct fake_peer;
/* A client connects to a listener: the address given to listen_tcp, or one with port and
 * family the same and all zeros for the host.  NULL: nobody listens there. */
struct fake_peer *fake_connect(const struct ph_addr *to, const struct ph_addr *from);
struct fake_peer *fake_connect_unix(const char *path);
void fake_send(struct fake_peer *p, const void *data, size_t n);
void fake_sends(struct fake_peer *p, const char *text);
void fake_end(struct fake_peer *p);             /* half-close: sends no more, still receives */
void fake_hang_up(struct fake_peer *p);         /* closes */
void fake_reset(struct fake_peer *p);           /* resets: reads and writes of the other side fail */
/* What has come and was not eaten. Lives until something else is done with the peer. */
struct ph_str fake_received(const struct fake_peer *p);
void fake_eat(struct fake_peer *p, size_t n);
bool fake_ended(const struct fake_peer *p);     /* the code under test sends no more: closed, or half */
bool fake_closed(const struct fake_peer *p);    /* it has closed */
/* The code under test blocks when so many bytes lie uneaten; default: never. */
void fake_window(struct fake_peer *p, size_t n);
/* Its reads give at most n bytes each, its writes take at most n; 0: any. */
void fake_slices(struct fake_peer *p, size_t n);
void *fake_data(const struct fake_peer *p);     /* the test's own */
void fake_set_data(struct fake_peer *p, void *data);
void fake_peer_free(struct fake_peer **p);      /* hangs up first */

/* --- where the code under test connects to --- */

/* Addresses nobody spoke of refuse.  The last word on an address holds. */
/* arrived(arg, p) has the far end of each connection and owns it; NULL: fake_arrived fetches it. */
void fake_serve(const struct ph_addr *at, void (*arrived)(void *arg, struct fake_peer *p), void *arg);
struct fake_peer *fake_arrived(const struct ph_addr *at);       /* oldest not fetched, or NULL */
void fake_serve_unix(const char *path, void (*arrived)(void *arg, struct fake_peer *p), void *arg);
void fake_refuse(const struct ph_addr *at);
void fake_unreachable(const struct ph_addr *at);
void fake_silent(const struct ph_addr *at);     /* neither yes nor no */
size_t fake_tries(const struct ph_addr *at);    /* connects so far, whatever came of them */

/* --- the rest of the world --- */

void fake_signal(int signum);                   /* tells every signal_open of it */
/* argv[0] of a child process that is played by the test: input(arg, c, bytes) has what the
 * code under test writes to its stdin, with no bytes once when it starts. */
struct fake_child;
void fake_program(const char *name, void (*input)(void *arg, struct fake_child *c, struct ph_str bytes),
                  void *arg);
void fake_child_says(struct fake_child *c, const char *text, size_t n);         /* stdout */
void fake_child_complains(struct fake_child *c, const char *text);              /* stderr */
void fake_child_ends(struct fake_child *c, int status, int signum);
/* Signals sent to children of that name so far, SIGKILL of process_forget among them. */
size_t fake_kills(const char *name);

/* Forgets peers, addresses, programs and the time. All loops must be free. */
void fake_reset_world(void);

#endif
