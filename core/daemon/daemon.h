/*
 * daemon.h - the process: configuration in force, privileges, threads,
 * signals, shutdown.  Main thread.
 */
#ifndef DAEMON_DAEMON_H
#define DAEMON_DAEMON_H

#include "daemon/bind.h"
#include "daemon/worker.h"

struct control;

struct daemon_args {
	const char *config;             /* path */
	const char *plugin_dir;         /* NULL: as configured */
	bool verbose;
};

struct daemon {
	struct daemon_args args;
	struct loop *loop;
	struct generation *gen;
	unsigned generations;
	struct shared shared;
	struct binds binds;
	struct worker **workers; unsigned nworkers;
	struct queue *queue;
	struct timer queue_timer, log_timer, calm_timer;
	uint64_t calm_seen;
	struct outbox *jobs;            /* per worker, of this turn */
	struct control *control;
	struct signal_watch *signals[4];
	struct ph_note *stopped;        /* one per worker */
	unsigned to_stop, to_apply;
	bool stopping, running, store_scanned, apply_failed;
	int64_t started_ms;
	struct log_ctx log;
	void (*reloaded)(void *arg, bool ok, struct buf *report); void *reloaded_arg;
};

/* Reads, checks, sets up, runs until told to stop. Returns an exit status. */
int daemon_run(const struct daemon_args *args);

/* --- wiring.c --- */
/* Makes the queue, opens the store, and joins them; the loop, the generation and nworkers are
 * there, workers may follow. threads: the store's own. 0 or PH_E* with why. */
int daemon_wire(struct daemon *d, bool threads, char *why, size_t why_size);
/* Takes all of it down again; workers have stopped, or never came to be. */
void daemon_unwire(struct daemon *d);

/* --- reload.c --- */
/* Loads and checks a file: NULL with diagnostics. dir: plugin directory override. */
struct generation *daemon_load(const char *path, const char *plugin_dir, struct diags *d);
/* A new configuration; done(arg, ok, report) once it is in force everywhere or refused. */
void daemon_reload(struct daemon *d, void (*done)(void *arg, bool ok, struct buf *report), void *arg);
void daemon_apply(struct daemon *d);            /* the present generation, to all workers */
struct queue_config daemon_queue_config(const struct settings *set, char *badmail, size_t n);

void daemon_stop(struct daemon *d);             /* finish, then leave daemon_run */
/* Spool, control socket and badmail as configured or made from the spool. */
const char *daemon_control_path(const struct settings *set, char *out, size_t n);

#endif
