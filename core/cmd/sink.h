/*
 * sink.h - what cmd_sink.c (command line, threads, report), sink_session.c
 * (one connection) and sink_keep.c (files and printing) share.
 */
#ifndef CMD_SINK_H
#define CMD_SINK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include "base/list.h"
#include "cmd/opt.h"
#include "cmd/traffic.h"
#include "net/loop.h"
#include "smtp/server.h"

enum { SINK_READ = 1 << 16, SINK_ADDRESSES = 8 };
enum sink_stage {
	SINK_AT_CONNECT,
	SINK_AT_MAIL,
	SINK_AT_RCPT,
	SINK_AT_DATA,
	SINK_AT_DOT,
	SINK_AT_REPLY,
	SINK_AT_NEVER
};

struct sink_opts {
	const char *listen, *hostname, *store, *port_file, *ids;
	int64_t ready_fd, threads, once, seed, expect, max_rcpts;
	bool print, count, verify, json;
	struct opt_list tempfail_rcpt, permfail_rcpt;
	double tempfail, permfail, hangup;
	int hangup_at, greeting;
	ph_duration delay;
	ph_size max_size;
	bool no_chunking, no_pipelining, no_8bitmime, no_smtputf8, no_dsn;
};

struct sink_stats {
	_Atomic uint64_t messages;      /* taken; relaxed, shown while it runs */
	uint64_t bytes, recipients, connections, refused, hangups;
	uint64_t foreign, changed;      /* --verify: without check field; not what was sent */
	int64_t first_ms, last_ms;      /* wall clock of the first and the last message; 0 none */
	struct traffic_seen seen;
};

/* One run. Owner: cmd_sink. Read-only for the workers but for the atomics. */
struct sink {
	const struct sink_opts *o;
	struct smtp_server_config server;
	_Atomic uint64_t number;        /* of the last message kept */
	_Atomic uint64_t taken;         /* counted only for --once */
	_Atomic unsigned sessions;
	pthread_t main_thread;
	FILE *ids;
};

/* One thread. Owner: cmd_sink. */
struct sink_worker {
	struct sink *sink;
	struct loop *loop;
	pthread_t thread;
	int fds[SINK_ADDRESSES];
	struct listener *listeners[SINK_ADDRESSES];
	int nlisteners;
	struct list sessions;
	uint64_t dice;
	struct ph_note finish, stop, report;
	struct sink_stats stats;
	char in[SINK_READ];
};

/* sink_session.c: takes the stream; arg is the worker. */
void sink_session_open(void *arg, struct stream *s);
void sink_sessions_close(struct sink_worker *w);

/* sink_report.c */
void sink_stats_add(struct sink_stats *all, const struct sink_stats *w);
void sink_stats_report(struct ph_note *note);           /* run of a worker's report */
/* Asks the running workers; the caller's. Main thread. */
struct sink_stats *sink_stats_gather(const struct sink *sink, struct sink_worker **workers);
/* Prints and frees; EX_DATAERR when --verify found something, else EX_OK. */
int  sink_stats_print(const struct sink *sink, struct sink_stats *st);

/* sink_keep.c: prints and stores as the options say. 0 or PH_E*. */
int sink_keep(struct sink *sink, const struct envelope *env, const struct ph_addr *client,
    struct ph_str content);
/* Where numbering of DIR goes on: the highest NUMBER.eml in it; 0 none, or -errno. */
int64_t sink_keep_last(const char *dir);

#endif
