/*
 * bench_secure.h - TLS of the load generator, by the plugin tls as any daemon
 * would use it: the core knows the provider's interface, and no library.
 */
#ifndef CMD_BENCH_SECURE_H
#define CMD_BENCH_SECURE_H

#include "cmd/bench_session.h"

/* Main thread.  Loads the plugin when TLS is asked for; an exit status, reported. */
int  bench_secure_load(struct bench *b);
void bench_secure_unload(struct bench *b);

/* A worker's share of it, before its thread runs: 0 or PH_E*. */
int  bench_secure_open(struct bench_worker *w, unsigned index);
/* The worker's thread, no session is left.  The loop stops when all is closed. */
void bench_secure_close(struct bench_worker *w);

/* Begins a handshake; false: it failed, and the session is not to be touched any more. */
bool bench_secure_start(struct bench_session *s);
void bench_secure_end(struct bench_session *s);         /* says goodbye if there is room */
/* Plaintext, 0 end, PH_EBUSY or PH_E*; tells bench_session_secured on the way. */
ssize_t bench_secure_read(struct bench_session *s, char *to, size_t room);
/* How much of s->out was taken; 0: all that can be done now is done. */
ssize_t bench_secure_write(struct bench_session *s);
const char *bench_secure_problem(struct bench_session *s, char *out, size_t n);

#endif
