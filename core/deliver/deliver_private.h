/*
 * deliver_private.h - what the files of core/deliver share.
 *
 *   deliver.c    life, jobs in and out, the end
 *   read.c       messages and parts of them from the store
 *   route.c      asking routers, grouping by site
 *   pool.c       a site on this worker: who waits, which connection is next
 *   link.c       a connection from dial to QUIT;  link_secure.c  its TLS and what a login means
 *   login.c      our half of a login
 *   attempt.c    one message through its transactions at a site
 *   outcome.c    what replies mean for recipients: hooks, log, result
 *
 * An attempt is a job on this worker, from deliver_job to job_return, and has
 * exactly one phase.  It lives in its job's arena.
 */
#ifndef DELIVER_DELIVER_PRIVATE_H
#define DELIVER_DELIVER_PRIVATE_H

#include "deliver/deliver.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "deliver/login.h"

enum {
	PART_BYTES = 64 * 1024, /* of stored content at once */
	RETRIES_MAX = 5,        /* on other connections, for a message that was not looked at */
	CALM_MS = 30000,        /* no further connection after one of several was refused */
	QUIT_IDLE_SITES = 4096,
	DIRECT_WINDOWS = 4,     /* fresh mail of our own taking: so many windows of messages */
	HOME_MS = 10, HOME_MANY = 64,   /* results wait so long, or for so many, while others are out */
	TRIED_ADDRS = 32,
	CLEAR_ADDRS = 8, CLEAR_MS = 10 * 60 * 1000,     /* no TLS is tried after a handshake failed */
	HANDSHAKE_MS = 60 * 1000,
};

struct deliver {
	struct loop *loop;
	struct resolver *resolver;
	struct deliver_config cfg;
	char *hostname;
	const struct deliver_ops *ops;
	void *arg;
	const struct log_ctx *log;
	struct worker_plugins *wp;      /* a use; NULL before the first generation */
	struct map hops;                /* of wp: hop pointer -> struct hop_entry */
	struct map sites;               /* site hash -> struct pool */
	struct list all_pools;
	struct list attempts;           /* every job here */
	struct list dirty_pools, dirty_links;
	struct outbox home;             /* results, gathered */
	unsigned nhome;
	bool home_now;                  /* not to be kept back */
	struct timer home_timer;
	unsigned direct;                /* places reserved, jobs of our own taking among them */
	struct ph_mailbox *home_of;     /* the queue's; the same for all jobs */
	struct ph_note flush;
	bool flushing;
	unsigned nlinks, nreads;
	uint64_t nattempts;
	bool starved;                   /* a pool waits for max_connections */
	bool stopping, hard, told;
	struct timer grace;
	struct ph_note done_note;
	void (*done)(void *arg);
	void *done_arg;
	struct deliver_counts counts;
};

/* A site on this worker. */
struct pool {
	struct deliver *d;
	struct list all, dirty;
	struct site_info *info;         /* a reference */
	struct worker_plugins *wp;      /* a use: hop belongs to it; NULL none */
	const struct ph_next_hop *hop;
	int64_t grant;                  /* connections; -1 never told: one */
	struct site_info *gate;         /* the queue's, with its word; NULL before a grant */
	struct list links, waiting;
	unsigned nlinks, nconnecting, nwaiting, nprobes;
	unsigned slots_seen;            /* what a connection took at once when last ready */
	int64_t calm_until;
	bool logged_in;                 /* a login of its hop has succeeded: more may be tried */
	struct { struct ph_addr addr; int64_t until; } clear[CLEAR_ADDRS];
};

enum link_state { LINK_DIALING, LINK_GREETING, LINK_READY };

struct link {
	struct list link, dirty;        /* of its pool, of those to be looked at */
	struct deliver *d;
	struct pool *pool;
	struct worker_plugins *wp;      /* a use */
	const struct ph_next_hop *hop;
	enum link_state state;
	struct dial *dial;
	struct conn *conn;
	struct smtp_client *client;
	size_t host;                    /* in hop->hosts */
	char *host_name;
	struct ph_addr addr, tried[TRIED_ADDRS];
	unsigned ntried;
	char remote[320];               /* "relay.example.com[192.0.2.1]:25" */
	struct buf why;                 /* what went wrong so far, for people */
	bool redial_clear;              /* an opportunistic handshake failed: in the clear */
	bool secure, shaking;           /* the layer is on; its handshake runs */
	bool closing;                   /* no further messages */
	bool looking;                   /* link_look is on the stack */
	bool over, over_next;           /* ends at the next look, as link_over said */
	enum job_login over_login;
	struct buf over_why;
	struct login login;             /* again: on this connection */
	struct timer timer;
	int64_t deadline, armed, shaking_until;
	uint64_t submitted, finished;
};

enum attempt_phase {
	ATTEMPT_READING,        /* the store has been asked */
	ATTEMPT_ROUTING,        /* a router has been asked */
	ATTEMPT_ASKING,         /* hook attempt */
	ATTEMPT_WAITING,        /* for a connection of its site */
	ATTEMPT_SENDING,        /* on a connection */
	ATTEMPT_ANSWERING,      /* hook response */
};

struct part_read;
struct attempt {
	struct list all, link;          /* of the deliver, of its pool's waiting */
	struct deliver *d;
	struct job *job;
	enum attempt_phase phase;
	/* routing */
	struct worker_plugins *wp;      /* a use, from routing on */
	struct ph_route *question;
	struct route_answer *answers;
	uint32_t *pending, npending;
	/* at a site */
	struct pool *pool;
	struct link *on;
	uint32_t *todo, ntodo;          /* places in job->rcpts */
	struct smtp_client_txn txn;
	int64_t started;
	char *remote;                   /* in the job's arena */
	const char *remote_of;          /* the link->remote it was copied from */
	bool tried, retried_stale, dsn;
	uint8_t retries;
	struct part_read *given, *ahead;
	bool hungry;
	int unreadable;
	struct plug_session *ps;        /* NULL: nobody listens */
	uint32_t asking;                /* place in txn.rcpts */
};

/* --- deliver.c --- */
void deliver_finish(struct attempt *a, enum job_result result);
/* It waited under routes that no longer hold: asks anew, or hands back what is left. */
void deliver_reroute(struct attempt *a);
void deliver_flush_soon(struct deliver *d);
void deliver_check_stopped(struct deliver *d);

/* --- read.c --- */
void read_message(struct attempt *a);           /* then route_job, or the end */
void read_want(struct attempt *a);              /* the engine wants content at txn.offset */
void read_stop(struct attempt *a);

/* --- route.c --- */
void route_job(struct attempt *a);
void route_forget(struct deliver *d);           /* the hops of a generation */

/* --- pool.c --- */
struct pool *pool_find(struct deliver *d, const struct site_info *info);        /* NULL: none */
struct pool *pool_get(struct deliver *d, struct site_info *info);       /* made when not there */
void pool_use(struct pool *p, struct worker_plugins *wp, const struct ph_next_hop *hop);
void pool_wait(struct pool *p, struct attempt *a, bool front);
void pool_unwait(struct attempt *a);
void pool_dirty(struct pool *p);
void pool_run(struct pool *p);
/* Everything that waits goes home. status: JOB_SITE_DOWN or JOB_RETURNED. */
void pool_give_back(
    struct pool *p, enum job_result result, struct ph_str why, enum job_login login);
/* Opportunistic TLS with this address failed a while ago. */
bool pool_is_clear(const struct pool *p, const struct ph_addr *addr);
void pool_set_clear(struct pool *p, const struct ph_addr *addr);
void pool_free(struct pool *p);
bool pool_idle(const struct pool *p);
int64_t pool_limit(const struct pool *p);       /* connections it may have */

/* --- link.c --- */
void link_new(struct pool *p);
unsigned link_slots(const struct link *l);
void link_dirty(struct link *l);
void link_look(struct link *l);                 /* on a clean stack: events, close, kick */
/* Not any more: the next look ends it, or tries the next host if it never was ready. */
void link_over(struct link *l, struct ph_str why, bool try_next, enum job_login login);
/* What is under way may end; nothing new. */
void link_retire(struct link *l);
void link_lost(struct link *l, struct ph_str why);
void link_quit(struct link *l);                 /* no open transactions */
void link_touch(struct link *l);

/* --- link_secure.c --- */
bool link_secure_usable(const struct ph_next_hop *hop, struct worker_plugins *wp);
bool link_secure_needed(const struct ph_next_hop *hop);         /* never in the clear */
void link_secure(struct link *l);       /* puts the layer on; link_secured follows */
void link_secured(struct link *l, int status);
void link_auth(struct link *l, struct ph_str offered);
void link_auth_ok(struct link *l);
void link_auth_failed(struct link *l, int code, struct ph_str text);

/* --- attempt.c --- */
void attempt_start(struct attempt *a, struct pool *p);
/* a->ps, when anybody listens; 0 or PH_E*. Does nothing the second time. */
int  attempt_open_plugins(struct attempt *a);
void attempt_close_plugins(struct attempt *a);
void attempt_send(struct attempt *a, struct link *l);
void attempt_finished(struct attempt *a);       /* the engine gave its transaction back */
/* 530, 534, 535, 538: about who we are, not about the message (RFC 4954 6, RFC 3207 4). */
bool attempt_is_login_code(int code);
void attempt_lost(struct attempt *a, struct ph_str why);
void attempt_more(struct attempt *a);           /* after a part: the next, or the end */

/* --- outcome.c --- */
void outcome_begin(struct attempt *a);          /* of the replies in txn.rcpts; then attempt_more */
void outcome_set(
    struct attempt *a, uint32_t place, enum job_rcpt_outcome o, int code, struct ph_str reply);
void outcome_rest(struct attempt *a, enum job_rcpt_outcome o, int code, struct ph_str reply);
void outcome_answered(struct attempt *a, const struct plug_outcome *o);

#endif
