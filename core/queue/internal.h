/*
 * internal.h - what the files of core/queue share.
 *
 * One struct entry is one message, or one group of a message's recipients
 * after routing split it.  An entry is in exactly one state, and the state
 * says where its links are:
 *
 *   READY     in its site's ready list; in the heap for notice and expiry once
 *             it has waited (fresh mail never touches the heap)
 *   DEFERRED  in the heap; `due` is its next attempt
 *   HELD      nowhere; an operator keeps it
 *   ACTIVE    leased to a worker, or its result is being settled
 *   CHORE     in queue.chores or with a task: a notice, an expiry, a flag
 *
 * Time inside is monotonic only.  An entry keeps when it was born on that
 * scale, so that a jump of the wall clock ages nothing.
 */
#ifndef QUEUE_INTERNAL_H
#define QUEUE_INTERNAL_H

#include "queue/dsn.h"
#include "queue/queue.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"

/* Why an entry is a CHORE; a RESULT is that of a lease. */
enum task_kind { TASK_RESULT, TASK_EXPIRE, TASK_NOTICE, TASK_FLAGS };
enum entry_state { E_READY, E_DEFERRED, E_HELD, E_ACTIVE, E_CHORE, E_STATES };

struct site;
struct entry;

/* Several groups of one message.  Lives from the split until one group is
 * left; progress of all recipients is merged here, because several leases of
 * the message may be out at once. */
struct split {
	struct entry **v;
	uint32_t n, cap;
	uint32_t nrcpts;        /* of the envelope */
	struct buf progress;    /* encoded */
};

/* What only some entries have: bytes still in memory, a group of recipients. */
struct extra {
	char *meta;             /* malloc'd; NULL: not hot */
	struct ph_content *content;
	struct split *split;
	uint32_t *only;         /* pending recipients of this group; malloc'd */
	uint32_t nonly;
	uint32_t meta_len;
};

struct entry {                  /* 80 bytes; a million of them is usual */
	struct ph_msgid id;
	struct heap_node node;
	union {
		struct list link;       /* READY, CHORE */
		int64_t due;            /* DEFERRED, HELD; a CHORE keeps it in node.key */
	};
	struct site *site;      /* never NULL */
	struct extra *x;        /* may be NULL */
	int64_t  born : 44;     /* monotonic ms, may be negative */
	uint64_t recipients : 20;       /* still pending, saturated */
	uint64_t size : 40;
	uint64_t attempts : 11; /* saturated */
	uint64_t state : 3;
	uint64_t held : 1;
	uint64_t notified : 1;
	uint64_t bounce : 1;
	uint64_t stale : 1;     /* routed under an older configuration */
	uint64_t kill : 1;      /* an operator removed it while it was out */
	uint64_t moves : 3;     /* times it came back untried in a row */
	uint64_t chore : 2;     /* CHORE: enum task_kind */
};
_Static_assert(sizeof(struct entry) == 80, "an entry is 80 bytes");

#define ATTEMPTS_MAX 2047
#define DUE_READY INT64_MIN             /* no attempt to wait for */
#define ROUTES_OUT 256                  /* JOB_ROUTE leases at once */
#define TASKS_OUT 64                    /* notices and expiries at once */
#define MOVES_MAX 7
#define SWEEP_MS 60000
#define SITE_IDLE_SWEEPS 10
#define ATTEMPT_NEAR_MS 300000
#define REPORT_PAUSE_MS 60000           /* after the store refused a report */
#define ORIGINAL_MAX (1u << 20)         /* bytes of an original in a report */
#define HEADERS_MAX (64u << 10)

struct site_worker {
	int64_t grant;          /* connections; -1: never told */
	uint32_t leases;
	int64_t paused;         /* no jobs until; 0 */
	int64_t last_ok;        /* INT64_MIN never */
};
struct site {
	struct queue *q;
	uint64_t hash;          /* key in queue.sites; 0: of messages without a route */
	struct site_info *info; /* NULL: only its hash is known, or hash 0 */
	struct list all;
	struct list turn;       /* in queue.turn or queue.route_turn while it can give work */
	struct list ready;
	struct heap_node timer; /* next probe, or end of a worker's pause */
	uint64_t entries;       /* all that point here */
	uint64_t nready, nunkeyed, nhot;        /* of the ready list */
	uint32_t leases;
	uint32_t epoch;         /* of resumptions: an older lease cannot suspend again */
	uint32_t route_cap;     /* info NULL: JOB_ROUTE at once */
	unsigned last_worker;
	unsigned probe_step;
	unsigned idle_sweeps;
	bool suspended, probing, probe_again, alarmed;
	enum job_login login;           /* suspended because of it */
	int64_t probe_at;
	char *why;              /* malloc'd; of the suspension */
	struct site_worker w[];
};

/* A job that is out.  Pooled. */
struct lease {
	struct list link;
	struct ph_msgid id;     /* key in queue.direct */
	struct queue *q;
	struct entry *e;
	struct site *site;
	uint64_t hot;           /* bytes of the job counted as hot */
	uint32_t epoch;
	bool probe, route, direct;
};

/* slab.c: no header per object, memory comes back when all are free. */
struct slab { size_t size; void *free; void *chunks; size_t live; };
void *slab_get(struct slab *s);         /* zeroed */
void  slab_put(struct slab *s, void *p);
void  slab_free(struct slab *s);

struct op;                              /* operate.c */
struct queue {
	struct queue_config cfg;        /* lists and strings are ours */
	const struct queue_ops *ops;
	void *arg;
	unsigned workers;
	struct ph_mailbox *mailbox;
	int64_t now, wall;
	/* notes that came, in order, worked off by queue_run */
	struct ph_note *in, **in_end;
	struct slab entry_slab, extra_slab, lease_slab;
	struct idmap ids;               /* one entry of each message */
	struct idmap direct;            /* leases that workers took themselves */
	struct heap heap;               /* entries */
	struct heap site_heap;
	struct map sites;
	struct list all_sites, turn, route_turn;
	struct site *unrouted, *last_site;
	uint32_t *worker_leases;
	unsigned last_route_worker;
	struct list leases, chores, tasks, badmail_wait, operations;
	unsigned badmail_turn;
	uint64_t nstate[E_STATES];
	uint64_t messages, entries, bytes, active, routing, ntasks, nstale;
	_Atomic uint64_t hot, memory;   /* bytes kept, and how many may be */
	int64_t sweep_at;
	int64_t reports_after;          /* no notices before: the store refused one */
	int64_t handed_back_after;      /* not said again before */
	bool stopped, full, scanned, more;
	uint64_t badmail_files, badmail_bytes;
	bool badmail_counted, badmail_said;
	uint64_t delivered, bounced, expired, added, reports;
};

/* --- schedule.c --- */
struct entry *entry_new(struct queue *q, struct ph_msgid id, struct site *s);
/* Out of its state's lists, out of its site, freed. Not out of ids. */
void entry_drop(struct queue *q, struct entry *e);
struct extra *entry_extra(struct queue *q, struct entry *e);
struct split *entry_split(const struct entry *e);
void entry_trim(struct queue *q, struct entry *e);      /* gives back an empty extra */
void entry_cool(struct queue *q, struct entry *e);      /* drops the bytes in memory */
void entry_move(struct queue *q, struct entry *e, struct site *s);      /* not while READY */
void schedule_detach(struct queue *q, struct entry *e, enum entry_state to);
void schedule_ready(struct queue *q, struct entry *e, bool front);
void schedule_place(struct queue *q, struct entry *e, int64_t due);     /* held, ready or deferred */
void schedule_chore(struct queue *q, struct entry *e, enum task_kind kind);
int64_t schedule_due(const struct queue *q, const struct entry *e);     /* DUE_READY or when */
void schedule_run(struct queue *q);
void schedule_sweep(struct queue *q);
void schedule_key(struct queue *q, struct entry *e);
void schedule_rekey(struct queue *q);
/* Calls for each entry of a message; fn must not drop entries. */
struct entry *message_entry(const struct entry *first, uint32_t i);     /* NULL at the end */

/* --- retry.c --- */
int64_t retry_wait(const struct queue *q, unsigned attempts);
int64_t retry_due(const struct queue *q, const struct entry *e);        /* of the next attempt */
int64_t retry_event(const struct queue *q, const struct entry *e);      /* notice or expiry */
bool retry_expired(const struct queue *q, const struct entry *e);
bool retry_notice(const struct queue *q, const struct entry *e);
int64_t retry_stored_due(const struct queue *q, int64_t due_wall);
int64_t retry_born(const struct queue *q, int64_t created_wall);
int64_t retry_wall(const struct queue *q, int64_t mono);

/* --- site.c --- */
struct site *site_get(struct queue *q, uint64_t hash);  /* made when not there */
struct site *site_meet(struct queue *q, struct site_info *info);
void site_wake(struct site *s);         /* it may have work to give */
void site_gate(struct site *s);         /* may workers take fresh mail for it themselves? */
void site_timer(struct site *s);
void site_verdict(struct queue *q, struct lease *l, const struct job *job);
void site_probe_now(struct queue *q, struct site *s);
void site_grants(struct queue *q, struct site *s);
void site_sweep(struct queue *q);
void site_free(struct site *s);
const char *site_name(const struct site *s);

/* --- dispatch.c --- */
void dispatch_timers(struct queue *q);
void dispatch_run(struct queue *q);
void dispatch_direct(struct queue *q, struct entry *e, unsigned w);     /* it is out already */

/* --- group.c --- */
void group_gone(struct queue *q, struct entry *e, bool remove);        /* finished; e is freed */
void group_message_gone(struct queue *q, struct entry *first, bool remove);     /* all groups */
void group_collapse(struct queue *q, struct entry *e);  /* if it is the only one */
bool group_is_out(const struct entry *e);               /* with a worker or a task */
struct split *group_split(struct queue *q, struct entry *e, uint32_t nrcpts);
struct entry *group_add(struct queue *q, struct split *sp, const struct entry *like, struct site *s);
void group_only(struct queue *q, struct entry *e, const uint32_t *v, uint32_t n);
struct ph_store_summary group_summary(const struct queue *q, const struct entry *e);
void group_write(struct queue *q, const struct entry *e, const struct progress *p);

/* --- result.c --- */
struct task;
void result_run(struct ph_note *note);  /* a job that is home */
void result_direct_run(struct ph_note *note);   /* one that its worker took itself */
void result_job_done(struct queue *q, struct job **job);
void result_unreadable(struct queue *q, struct entry *e, int status, int64_t due);
void result_hot_copy(struct queue *q, struct entry *e, const struct job *job);
bool result_any_tried(const struct job *job);           /* any recipient has an outcome */
bool result_moved_too_often(struct entry *e, const struct job *job);

/* --- settle.c --- */
void settle_task(struct queue *q, struct task *t);      /* its reports are durable */

/* --- task.c --- */
enum fate_kind { F_NONE, F_DELIVERED, F_DEFERRED, F_FAILED, F_EXPIRED };
struct fate {
	enum fate_kind what;
	bool relayed;           /* delivered, and the sender wants to know from us */
	bool delayed;           /* pending, and named in the delay notice */
	const struct job_rcpt *said;    /* NULL: what progress has */
};
struct badmail;
struct task {
	struct list link;
	struct queue *q;
	struct entry *e;
	struct job *job;        /* TASK_RESULT: the lease that came home; owned */
	enum task_kind kind;
	unsigned step;
	struct arena arena;
	struct envelope *env;
	struct progress *progress;
	struct fate *fate;      /* of each recipient in env */
	struct ph_content *content;     /* a reference, may be NULL */
	struct buf headers;     /* header section of a content not in memory */
	bool have_headers;
	bool refused;           /* the report of failures could not be kept */
	bool unreadable;
	int status;
	struct ph_store_request req;
	struct buf meta;
	struct ph_msgid report;         /* the one being appended */
	enum dsn_kind reporting;
	struct badmail *badmail;
};
struct task *task_new(struct queue *q, struct entry *e, enum task_kind kind, struct job *job);
void task_step(struct task *t);
void task_free(struct task *t);
void task_waiting(struct queue *q);     /* those that wait to write files */
void task_chores(struct queue *q);      /* starts tasks for entries in queue.chores */
void task_submit(struct task *t, enum ph_store_op op, void (*done)(struct ph_store_request *));
void task_pause_reports(struct queue *q);
bool fate_in_entry(const struct entry *e, uint32_t rcpt);

/* --- bounce.c --- */
bool bounce_wanted(const struct task *t, enum dsn_kind kind);
bool bounce_badmail(const struct task *t);      /* nobody can be told */
bool bounce_append(struct task *t, enum dsn_kind kind); /* true: an answer will carry on */
void bounce_log(struct task *t, enum dsn_kind kind, bool made);

/* --- badmail.c --- */
enum { BADMAIL_FILES = 1000, BADMAIL_BYTES = 256 << 20, BADMAIL_PER_TURN = 4 };
/* 1 written (or over the limit: said and let go), 0 goes on when task->req is
 * back, negative: not written, try later. */
int badmail_write(struct task *t);
void badmail_free(struct badmail **b);

/* --- operate.c --- */
void operate_run(struct queue *q);
void operate_free(struct queue *q);

/* --- counts.c --- */
const char *site_state(const struct site *s);

/* --- queue.c --- */
/* Keeps a note for queue_run; the mailbox's callbacks do nothing else. */
void queue_later(struct queue *q, struct ph_note *note, void (*run)(struct ph_note *));

#endif
