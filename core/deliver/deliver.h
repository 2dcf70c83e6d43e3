/*
 * deliver.h - the way out on one worker: routes jobs, keeps connections, makes
 * attempts, sends results home.  One struct deliver per worker, worker thread only.
 */
#ifndef DELIVER_DELIVER_H
#define DELIVER_DELIVER_H

#include "net/dial.h"
#include "net/conn.h"
#include "plugin/chain.h"
#include "plugin/ask.h"
#include "queue/job.h"

struct deliver_config {
	struct ph_str hostname;
	int64_t max_connections;        /* this worker's share */
	int64_t messages_per_connection, recipients_per_message;        /* defaults of hops */
	int64_t connect_timeout_ms, idle_timeout_ms;
	uint32_t window_messages;
	bool chunking, pipelining;
};
struct deliver_ops {
	void (*submit)(
	    void *arg, struct ph_store_request *r); /* store; home is the loop's mailbox */
	void (*site)(void *arg, struct site_info *site);        /* tell the queue (queue_site) */
};
struct deliver;
struct deliver *deliver_new(struct loop *l, struct resolver *r, const struct deliver_config *cfg,
                            const struct deliver_ops *ops, void *arg, const struct log_ctx *log);
/* New generation: new attempts use it; connections made under old ones finish their message and
 * close. */
void deliver_generation(
    struct deliver *d, struct worker_plugins *wp, const struct deliver_config *cfg);
void deliver_job(struct deliver *d, struct job *job);           /* takes it; job_return later */
void deliver_grant(struct deliver *d, struct site_info *site, int64_t connections);
/* Finish what is on the wire for grace_ms, return the rest, close; then done(arg). */
void deliver_stop(struct deliver *d, int64_t grace_ms, void (*done)(void *arg), void *arg);
void deliver_free(struct deliver **d);

/* route.c: the site of a message before it is stored, so that the queue knows it at once.
 * The site of all recipients when they share one and routers answer at once; else NULL.
 * The reference is the caller's. */
struct site_info *deliver_site_of(struct deliver *d, const struct envelope *env);

/* Fresh mail for an open site may be tried here without asking the queue: true reserves a
 * place for it; the job (job->direct) or deliver_unreserve gives it back. */
bool deliver_reserve(struct deliver *d, const struct site_info *site);
void deliver_unreserve(struct deliver *d);

/* link_secure.c: what a hop's policy means on a connection, also to one that only tries it.
 * The name that the certificate must be for, as the operator wrote it: one out of an MX record
 * is whatever the answerer of the query wants it to be.  host: in hop->hosts; NULL none. */
const char *deliver_tls_name(const struct ph_next_hop *hop, size_t host);
/* starttls of smtp_client_config.  clear: opportunistic TLS has failed with this address. */
unsigned deliver_starttls(const struct ph_next_hop *hop, struct worker_plugins *wp, bool clear);
/* Puts the hop's layer on: conn_secure, or PH_ENOTSUP where no plugin has it. */
int deliver_secure(struct conn *conn, struct worker_plugins *wp, const struct ph_next_hop *hop,
                   const char *name);

struct deliver_counts { uint64_t connections, attempts, delivered, deferred, failed, bytes; };
void deliver_counts(const struct deliver *d, struct deliver_counts *out);

#endif
