/*
 * queue.h - which message is tried when: schedule, sites, retry, notices.
 *
 * Main thread only (queue_added, queue_site, queue_scanned excepted: any thread, they post).
 * Sees base, mail and the store's interface; time is given, never taken: the
 * owner calls queue_run when queue_next says so and after each batch of notes.
 */
#ifndef QUEUE_QUEUE_H
#define QUEUE_QUEUE_H

#include "queue/job.h"
#include "base/mailbox.h"

struct queue_config {           /* copied; changes by reload */
	const int64_t *retry_ms; size_t nretry;
	const int64_t *probe_ms; size_t nprobe;
	int64_t delay_notice_ms, expire_ms;     /* 0: none */
	int64_t max_messages, max_active;
	uint64_t memory;                        /* hot content kept */
	int64_t default_connections;
	int64_t messages_in_flight;             /* leases per granted connection, default 32 */
	bool bounce_notices;
	const char *hostname;
	const char *badmail_dir;
};
struct queue_ops {
	/* Post a job to a worker (its note.run is set by this function's owner). */
	void (*dispatch)(void *arg, unsigned worker, struct job *job);
	/* Connections that this worker may have open to a site, from now on. */
	void (*grant)(void *arg, unsigned worker, struct site_info *site, int64_t connections);
	/* The store may be asked; requests come back to mailbox. */
	void (*submit)(void *arg, struct ph_store_request *r);
	/* Room for new messages changed (queue limit). */
	void (*room)(void *arg, bool enough);
	/* Observe hooks delivered, deferred, bounced; on the main thread's plugins; may be NULL. */
};
struct queue;
struct queue *queue_new(const struct queue_config *cfg, const struct queue_ops *ops, void *arg,
                        unsigned workers, struct ph_mailbox *mailbox);
/* After the store has answered all and the mailbox was run. */
void queue_free(struct queue **q);
void queue_configure(struct queue *q, const struct queue_config *cfg);
/* A new generation routes differently: every message is routed anew before it is tried. */
void queue_rerouted(struct queue *q);

/* store events; any thread */
void queue_added(struct queue *q, const struct ph_store_added *v, size_t n);
void queue_scanned(struct queue *q, int status);
/* A worker tries a fresh message itself: the APPEND said so (summary.leased), the site was
 * open, and the store has answered.  Makes the job's way home; the queue has or will have
 * the lease from `added`, which the store tells before it answers. Any thread. */
void queue_direct(struct queue *q, struct job *job);
/* A worker met a site; before it submits messages with its hash. Any thread. */
void queue_site(struct queue *q, struct site_info *site);

int64_t queue_next(const struct queue *q);      /* monotonic ms when queue_run is due; INT64_MAX never */
void queue_run(struct queue *q, int64_t mono_ms, int64_t wall_ms);
/* Stop dispatching; drained when no lease is out. */
void queue_stop(struct queue *q);
bool queue_drained(const struct queue *q);

/* --- operators (control socket) --- */
struct queue_filter {
	struct ph_str from, to, site;
	struct ph_msgid id; bool any_id;        /* any_id: only that id */
	bool held, deferred, active;            /* none: all states */
	int64_t older_ms;
	uint64_t limit;
};
/* Whether an address fits a filter's from or to; NULL fits all. */
bool queue_address_fits(struct ph_str pattern, struct ph_str address);
enum queue_action { QUEUE_FLUSH, QUEUE_HOLD, QUEUE_RELEASE, QUEUE_REMOVE };
/* Filters by from/to/site need envelopes and read the store; done(arg, matched) comes when finished. */
void queue_act(struct queue *q, enum queue_action a, const struct queue_filter *f,
               void (*done)(void *arg, uint64_t matched), void *arg);
struct queue_row {              /* one message for list and show */
	struct ph_msgid id;
	struct ph_store_summary summary;
	const char *state;      /* "active", "deferred", "waiting", "held", "suspended" */
	const char *site; const char *site_state; const char *site_why; int64_t site_probe; /* wall ms */
	int64_t next_attempt;   /* wall ms; 0 now */
	const struct envelope *env;             /* NULL if not asked for */
	const struct progress *progress;
};
/* row(arg, NULL) at the end. One row at a time, in order of id; a row's views live
 * as long as the call.  Patterns: an address, "<>", "@domain", '*' any run; a site
 * by name or key. Both come from queue_run, never from inside queue_list. */
void queue_list(struct queue *q, const struct queue_filter *f, bool envelopes,
                void (*row)(void *arg, const struct queue_row *r), void *arg);
/* Forgets all requests made with this arg: no callback comes any more. */
void queue_cancel(struct queue *q, void *arg);
/* delivered, bounced and expired count recipients. */
struct queue_counts { uint64_t messages, bytes, active, deferred, held, sites, suspended, hot_bytes,
                      delivered, bounced, expired, added, bounces_sent; };
void queue_counts(const struct queue *q, struct queue_counts *out);
struct queue_site_row {
	const char *name, *key, *state, *why;   /* "open", "suspended", "probing" */
	uint64_t messages, active;
	int64_t probe;                          /* wall ms */
	int64_t connections;
};
void queue_sites(const struct queue *q, void (*row)(void *arg, const struct queue_site_row *r), void *arg);

#endif
