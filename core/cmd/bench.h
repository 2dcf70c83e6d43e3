/*
 * bench.h - what the files of the load generator share.
 *
 *   cmd_bench.c       command line, threads, the end
 *   bench_session.c   connections and their bytes
 *   bench_secure.c    their TLS, by the plugin
 *   bench_dialogue.c  what is said
 *   bench_report.c    what came of it
 */
#ifndef CMD_BENCH_H
#define CMD_BENCH_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include "base/list.h"
#include "cmd/histogram.h"
#include "cmd/opt.h"
#include "cmd/traffic.h"
#include "net/loop.h"

enum { BENCH_READ = 1 << 16, BENCH_TARGETS = 8, BENCH_CODES = 600, BENCH_MAX_RCPTS = 1000 };

struct bench_opts {
	const char *to, *from, *rcpt, *helo, *ids;
	int64_t sessions, messages, per_session, rcpts, idle, threads;
	ph_size size;
	ph_duration duration, timeout;
	double rate;
	bool no_pipelining, chunking, tolerate, json, latency;
	bool tls, tls_implicit, tls_full, greet_only;
	const char *plugin_dir;
};

struct bench_stats {
	_Atomic uint64_t taken;         /* relaxed; the main thread shows progress from it */
	uint64_t refused, lost;         /* messages: refused by the server; no reply came */
	uint64_t rcpts_refused;         /* of messages that were taken for others */
	uint64_t connects, connect_failures, idle_lost;
	uint64_t handshakes, resumed;
	char negotiated[80];            /* version and cipher of the first handshake */
	uint64_t codes[BENCH_CODES];    /* refusing replies by code */
	int64_t first_us, last_us;      /* first MAIL, last reply to a message; 0 none */
	struct histogram latency;       /* us, from MAIL (with a rate: from when it was due) */
	char last_refusal[200];         /* the latest refusing reply, or why connecting failed */
};

/* One run. Owner: cmd_bench. Read-only for the workers but for the atomics. */
struct bench {
	const struct bench_opts *o;
	struct ph_addr to[BENCH_TARGETS];
	int nto;
	struct traffic traffic;
	struct buf hello, group, mail, *rcpt_lines;     /* commands, rendered once */
	_Atomic uint64_t next;          /* number of the next message */
	uint64_t limit;
	_Atomic bool stopping;          /* no new message is begun */
	_Atomic unsigned active;        /* sessions that still send */
	_Atomic unsigned idle_open;     /* idle connections past EHLO */
	pthread_t main_thread;
	FILE *ids;
	struct generation *gen;         /* with the plugin tls; NULL: no TLS */
};

struct bench_session;
/* One thread. Owner: cmd_bench. */
struct bench_worker {
	struct bench *b;
	struct loop *loop;
	pthread_t thread;
	struct bench_session *sessions;
	unsigned nsessions, nactive, next_idle;         /* those behind nactive are idle ones */
	struct list waiting;            /* for their turn under a rate */
	struct timer pace, sweep;
	double interval_us, due_us;     /* of this worker's share of the rate */
	struct worker_plugins *plugins; /* NULL: no TLS */
	const struct ph_secure *secure;
	struct ph_worker *secure_worker;
	uint64_t names;                 /* of hosts, made up so that no session is taken up again */
	int which;                      /* of b->to: the address that answers */
	struct codec_sum *sum;
	struct ph_note wind_down, stop;
	bool torn_down;
	struct bench_stats stats;
	char in[BENCH_READ];
};

/* Makes the sessions and begins to connect them; before loop_run. */
void bench_worker_start(struct bench_worker *w, unsigned active, unsigned idle);
/* Sessions that are not within a message quit. The worker's thread, after stopping is set. */
void bench_worker_wind_down(struct bench_worker *w);
/* Closes what is open, counts what was under way as lost. The worker's thread. */
void bench_worker_tear_down(struct bench_worker *w);
/* Prints what all workers found; the exit status. */
int bench_report(struct bench *b, struct bench_worker **workers);

#endif
