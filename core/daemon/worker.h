/*
 * worker.h - one worker: a thread, a loop, its inbound sessions and its share
 * of the way out.  Everything in it belongs to its thread, but what is
 * posted to its mailbox.
 */
#ifndef DAEMON_WORKER_H
#define DAEMON_WORKER_H

#include <pthread.h>
#include <posthouse/store.h>
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "deliver/deliver.h"
#include "net/loop.h"
#include "plugin/generation.h"
#include "queue/queue.h"
#include "smtp/server.h"

/* What all workers share; set before they start, or atomic. */
struct shared {
	struct guessing *guessing;              /* failed logins, of all workers */
	struct ph_store *store;
	struct queue *queue;
	_Atomic bool store_room, queue_room;    /* false: 452 at MAIL */
	_Atomic unsigned connections;           /* inbound, whole daemon */
	_Atomic uint64_t accepted, rejected, sessions;
	uint64_t spill_above;
	unsigned workers;
};

/* A listening descriptor and its settings, for one worker. */
struct worker_listen { int fd; struct listen_settings settings; };
/* A new configuration for a worker; posted to it, applied on its thread. */
struct worker_update {
	struct ph_note note;
	struct worker *worker;
	struct generation *gen;                 /* a reference */
	struct worker_listen *listen; size_t nlisten;   /* owned */
	struct ph_mailbox *main;                /* told when it is in force (or refused: status) */
	void (*applied)(struct ph_note *);      /* run there with this note; frees it */
	void *arg;
	int status;
};

/* Listeners and engine settings of one generation; counted by its sessions. */
struct worker_gen {
	unsigned refs;
	struct worker_plugins *wp;
	struct smtp_server_config *smtp;        /* one per listener */
	struct listen_settings *listen;
	size_t nlisten;
	unsigned max_connections;
	struct arena arena;
};

struct door { struct worker *w; size_t index; struct listener *listener; int fd; };

struct worker {
	unsigned index;
	struct shared *shared;
	struct loop *loop;
	struct resolver *resolver;
	struct deliver *deliver;
	struct worker_gen *gen;                 /* the newest */
	struct door **doors; size_t ndoors;
	struct list sessions;
	unsigned nsessions;
	struct map by_addr;                     /* address text -> struct addr_count */
	bool stopping, deliver_stopped, joinable;
	int64_t grace_ms;
	struct timer grace, log_timer;
	struct ph_store_request *submit, *submit_last;  /* gathered over a turn */
	pthread_t thread;
	char log_text[24];
	struct log_ctx log;
	struct ph_note stop_note, last_note;
	struct ph_mailbox *main;                /* told when it has stopped */
	struct ph_note *stopped;                /* posted there */
};

/* Makes it; loop is the caller's in tests, else made here (NULL).  It works by a
 * configuration once one was applied. */
struct worker *worker_new(unsigned index, struct shared *shared, struct loop *loop,
                          const struct settings *set);
void worker_free(struct worker **w);
int  worker_start(struct worker *w);            /* its own thread; else run its loop yourself */
void worker_join(struct worker *w);
/* Any thread. */
void worker_apply(struct worker *w, struct generation *gen, const struct worker_listen *v, size_t n,
                  struct ph_mailbox *main, void (*applied)(struct ph_note *), void *arg);
void worker_update_free(struct worker_update *u);
/* Gathered in out, which the caller posts to the worker's loop. */
void worker_job(struct worker *w, struct job *job, struct outbox *out);
void worker_grant(struct worker *w, struct site_info *site, int64_t connections);
void worker_stop(struct worker *w, int64_t grace_ms, struct ph_mailbox *main, struct ph_note *stopped);

/* --- for session.c --- */
/* To the store at the end of this turn, so that messages that came together share a sync. */
void worker_store(struct worker *w, struct ph_store_request *r);
void worker_gen_ref(struct worker_gen *g);
void worker_gen_unref(struct worker_gen **g);
void worker_session_ended(struct worker *w, const struct ph_addr *client);
void worker_session_gone(struct worker *w);     /* its memory, too: the last one may end a stop */
/* Connections that this address has here now, after counting one more. */
unsigned worker_count_addr(struct worker *w, const struct ph_addr *client);

#endif
