/*
 * job.h - a lease: one message (or some of its recipients) handed from the
 * queue to a worker.  It always comes back, as a result.
 */
#ifndef QUEUE_JOB_H
#define QUEUE_JOB_H

#include <posthouse/store.h>
#include "base/buf.h"
#include "base/list.h"
#include "base/mailbox.h"
#include "mail/content.h"
#include "mail/envelope.h"

/* What the queue must know of a site; made by deliver/route from a next hop.
 * Immutable but for open, refcounted, any thread. */
struct site_info {
	_Atomic unsigned refs;
	uint64_t hash;          /* of key; never 0 */
	char *key, *name, *login;       /* login: for the alarm; "" none */
	int64_t connections, messages_per_connection;
	_Atomic bool open;      /* the queue's word: fresh mail may go without being handed out */
};
struct site_info *site_info_new(struct ph_str key, struct ph_str name, int64_t connections,
                                int64_t messages_per_connection);
void site_info_login(struct site_info *s, const char *login);  /* before it is shared */
struct site_info *site_info_ref(struct site_info *s);
void site_info_unref(struct site_info **s);

enum job_kind {
	JOB_DELIVER,    /* route; if all goes to `site`, deliver; else come back ROUTED */
	JOB_ROUTE,      /* only route, come back ROUTED */
	JOB_PROBE,      /* like DELIVER, the site is suspended: one connection only */
};
enum job_result {
	JOB_TRIED,      /* see rcpts: each has an outcome */
	JOB_ROUTED,     /* see groups: not tried */
	JOB_SITE_DOWN,  /* no host of the site could be reached or greeted us; `why`. Not tried. */
	JOB_RETURNED,   /* not tried for our own reasons (shutdown, connection lost before MAIL) */
	JOB_UNREADABLE, /* the store could not read it; `status` */
};
enum job_login {
	JOB_LOGIN_FINE,
	JOB_LOGIN_REFUSED,      /* the remote does not take it, or wants one: people have to act */
	JOB_LOGIN_UNREADY,      /* we have nothing to log in with now: no token, no helper */
};
enum job_rcpt_outcome { JR_NONE, JR_DELIVERED, JR_DEFERRED, JR_FAILED };
struct job_rcpt {
	uint32_t index;         /* in the envelope */
	enum job_rcpt_outcome outcome;
	uint16_t code;          /* 0: our own reason */
	struct ph_str reply;    /* in job->arena */
	struct ph_str remote;   /* "relay.example.com[192.0.2.1]:25" */
	bool dsn_passed;        /* the next hop offers DSN: it sends success reports */
};
/* A reference; in job->arena. A ROUTED job may have rcpts, too: those that routers
 * refused or put off, and that are in no group. */
struct job_group { struct site_info *site; uint32_t *rcpts; uint32_t n; };

struct job {
	struct ph_note note;            /* travels both ways; run set by the receiver's side */
	struct list link;               /* free for the holder's use */
	struct ph_mailbox *home;        /* the queue's */
	void (*back)(struct ph_note *); /* note.run for the way back */
	enum job_kind kind;
	struct ph_msgid id;
	struct ph_store_summary summary;
	struct site_info *site;         /* a reference; NULL for an unknown site */
	unsigned worker;                /* who has it */
	void *item;                     /* the queue's */
	uint32_t *only; uint32_t nonly; /* recipients of it; NULL: all pending. job->arena */
	/* the message: hot, or NULL and to be read from the store by the worker */
	char *meta; size_t meta_len;    /* malloc'd */
	struct ph_content *content;     /* a reference */
	/* filled by the worker, in arena, which comes back with it */
	struct arena arena;
	struct envelope env; bool have_env;
	struct progress progress; bool have_progress;
	enum job_result result;
	int status; struct ph_str why;
	bool site_ok;                   /* the connection worked: end of a suspension */
	enum job_login site_login;      /* trouble with it: suspend with an alarm */
	struct job_rcpt *rcpts; uint32_t nrcpts;
	struct job_group *groups; uint32_t ngroups;
	struct list waiting_store;      /* deliver's */
	void *worker_data;
	bool direct;                    /* leased by its worker to itself, see queue_direct */
};
struct job *job_new(void);
void job_free(struct job **j);
/* Posts it home, or puts it into an outbox for there. The sender must not touch it
 * once it was posted. */
void job_return(struct job *j, struct outbox *out);      /* out NULL: at once */

#endif
