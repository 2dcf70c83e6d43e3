/*
 * wiring.c - joins queue, store and workers on the main thread: what each of
 * them asks of the others.  Nothing here knows of processes or privileges, so
 * that tests wire the same parts on a loop of their own.
 */
#include "daemon/daemon.h"

#include <malloc.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/str.h"
#include "daemon/guessing.h"
#include "store/store.h"

enum { LOG_WITHIN_MS = 50, CALM_MS = 1000 };

static void
daemon_dispatch(void *arg, unsigned worker, struct job *job)
{
	struct daemon *d = arg;

	worker_job(d->workers[worker], job, &d->jobs[worker]);
}

static void
daemon_grant(void *arg, unsigned worker, struct site_info *site, int64_t connections)
{
	struct daemon *d = arg;

	worker_grant(d->workers[worker], site, connections);
}

static void
daemon_submit(void *arg, struct ph_store_request *r)
{
	struct daemon *d = arg;

	d->shared.store->ops->submit(d->shared.store, r);
}

static void
daemon_queue_room(void *arg, bool enough)
{
	struct daemon *d = arg;

	atomic_store(&d->shared.queue_room, enough);
	log_event(enough ? PH_INFO : PH_WARN, &d->log, enough ? "queue.room" : "queue.full",
	    LOG_C("option", "queue.max-messages"));
}

static const struct queue_ops daemon_queue_ops = {
	.dispatch = daemon_dispatch, .grant = daemon_grant, .submit = daemon_submit,
	.room = daemon_queue_room,
};

/* Store threads call these. */
static void
daemon_store_added(void *arg, const struct ph_store_added *v, size_t n)
{
	struct daemon *d = arg;

	queue_added(d->queue, v, n);
}

static void
daemon_store_scanned(void *arg, int status)
{
	struct daemon *d = arg;

	queue_scanned(d->queue, status);
}

static void
daemon_store_room(void *arg, bool enough)
{
	struct daemon *d = arg;

	atomic_store(&d->shared.store_room, enough);
	log_event(enough ? PH_INFO : PH_ERROR, &d->log, enough ? "store.room" : "store.full",
	    LOG_C("what", enough ? "accepting again" : "new mail is refused with 452, "
	    "deliveries go on"));
}

static const struct ph_store_events daemon_store_events = {
	.size = sizeof(struct ph_store_events), .added = daemon_store_added,
	.scanned = daemon_store_scanned, .room = daemon_store_room,
};

static void
daemon_store_log(void *arg, int level, const char *event, const char *text)
{
	struct daemon *d = arg;

	log_event((enum ph_level)level, &d->log, event, LOG_C("what", text));
	log_flush();
}

/* --- the main loop --- */

static void
daemon_queue_run(struct daemon *d)
{
	int64_t next, now = clock_mono_ms();

	queue_run(d->queue, now, clock_wall_ms());
	next = queue_next(d->queue);
	if (next == INT64_MAX)
		timer_stop(d->loop, &d->queue_timer);
	else
		timer_start(d->loop, &d->queue_timer, next > now ? next - now : 0);
}

static void
daemon_log_due(struct timer *t)
{
	(void)t;
	log_flush();
}

/* Memory of a burst that is past goes back to the system. */
static void
daemon_calm(struct timer *t)
{
	struct daemon *d = container_of(t, struct daemon, calm_timer);
	uint64_t seen = atomic_load(&d->shared.accepted);

	if (seen != d->calm_seen) {     /* still at it: look again */
		d->calm_seen = seen;
		timer_start(d->loop, t, CALM_MS);
		return;
	}
	(void)malloc_trim(0);
}

static void
daemon_queue_due(struct timer *t)
{
	(void)t;        /* waking the loop is all: each turn runs the queue */
}

static void
daemon_maybe_done(struct daemon *d)
{
	if (d->stopping && d->to_stop == 0 && queue_drained(d->queue))
		loop_stop(d->loop);
}

static void
daemon_turn(void *arg)
{
	struct daemon *d = arg;

	if (d->queue == NULL)           /* taken down: the loop closes what is left */
		return;
	daemon_queue_run(d);
	for (unsigned i = 0; i < d->nworkers; i++)
		if (d->workers != NULL && d->workers[i] != NULL)
			outbox_post(&d->jobs[i], loop_mailbox(d->workers[i]->loop));
	if (atomic_load(&d->shared.accepted) != d->calm_seen && !timer_active(&d->calm_timer))
		timer_start(d->loop, &d->calm_timer, CALM_MS);
	daemon_maybe_done(d);
	if (log_pending() && !timer_active(&d->log_timer))
		timer_start(d->loop, &d->log_timer, LOG_WITHIN_MS);
}

int
daemon_wire(struct daemon *d, bool threads, char *why, size_t why_size)
{
	const struct settings *set = &d->gen->config->settings;
	struct store_config sc = {
		.dir = set->spool, .segment_size = set->store.segment_size.bytes,
		.spill_above = set->store.spill_above.bytes, .reserve = set->store.reserve.bytes,
		.lazy_ms = set->store.lazy_sync.ms, .threads = threads, .log = daemon_store_log,
	};
	struct queue_config qc;
	char badmail[4096];
	int rc;

	qc = daemon_queue_config(set, badmail, sizeof badmail);
	d->queue = queue_new(&qc, &daemon_queue_ops, d, d->nworkers, loop_mailbox(d->loop));
	d->shared.queue = d->queue;
	d->shared.guessing = guessing_new();
	d->shared.workers = d->nworkers;
	d->shared.spill_above = set->store.spill_above.bytes;
	atomic_store(&d->shared.store_room, true);
	atomic_store(&d->shared.queue_room, true);
	rc = embedded_open(&sc, &daemon_store_events, d, &d->shared.store, why, why_size);
	if (rc != 0)
		return rc;
	d->jobs = mem_calloc(d->nworkers, sizeof *d->jobs);
	d->log_timer.fn = daemon_log_due;
	d->calm_timer.fn = daemon_calm;
	d->queue_timer.fn = daemon_queue_due;
	loop_each_turn(d->loop, daemon_turn, d);
	return 0;
}

void
daemon_unwire(struct daemon *d)
{
	if (d->shared.store != NULL)
		d->shared.store->ops->close(d->shared.store);
	if (d->loop != NULL)
		(void)mailbox_run(loop_mailbox(d->loop));       /* last answers of the store */
	for (unsigned i = 0; i < d->nworkers && d->workers != NULL; i++)
		worker_free(&d->workers[i]);
	free(d->workers);
	d->workers = NULL;
	queue_free(&d->queue);
	guessing_free(&d->shared.guessing);
	free(d->jobs);
	d->jobs = NULL;
	if (d->loop == NULL)
		return;
	timer_stop(d->loop, &d->queue_timer);
	timer_stop(d->loop, &d->log_timer);
	timer_stop(d->loop, &d->calm_timer);
}
