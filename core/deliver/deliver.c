/*
 * deliver.c - the way out on one worker: jobs come in, results go home.
 *
 * Work is gathered over a turn of the loop: jobs that arrive together are
 * handed to connections together and leave with one write.  Every job comes
 * home exactly once, also at the end of the worker.
 */
#include <stdlib.h>

#include "deliver/deliver_private.h"

static void deliver_flush(struct ph_note *note);
static void home_due(struct timer *t);

static void
set_config(struct deliver *d, const struct deliver_config *cfg)
{
	free(d->hostname);
	d->cfg = *cfg;
	d->hostname = mem_strndup(cfg->hostname.n > 0 ? cfg->hostname.p : "", cfg->hostname.n);
	d->cfg.hostname = str_of(d->hostname);
	if (d->cfg.max_connections <= 0)
		d->cfg.max_connections = 1;
}

struct deliver *
deliver_new(struct loop *l, struct resolver *r, const struct deliver_config *cfg,
            const struct deliver_ops *ops, void *arg, const struct log_ctx *log)
{
	struct deliver *d = mem_new(struct deliver);

	d->loop = l;
	d->resolver = r;
	d->ops = ops;
	d->arg = arg;
	d->log = log;
	set_config(d, cfg);
	list_init(&d->all_pools);
	list_init(&d->attempts);
	list_init(&d->dirty_pools);
	list_init(&d->dirty_links);
	d->flush.run = deliver_flush;
	d->home_timer.fn = home_due;
	return d;
}

/* --- jobs --- */

void
deliver_job(struct deliver *d, struct job *job)
{
	struct attempt *a = arena_new(&job->arena, struct attempt);

	a->d = d;
	a->job = job;
	job->worker_data = a;
	list_push_back(&d->attempts, &a->all);
	d->nattempts++;
	if (d->stopping || d->wp == NULL)
		deliver_finish(a, JOB_RETURNED);
	else
		read_message(a);
}

void
deliver_finish(struct attempt *a, enum job_result result)
{
	struct deliver *d = a->d;
	struct job *job = a->job;

	read_stop(a);
	attempt_close_plugins(a);
	if (a->wp != NULL) {
		worker_plugins_drop(a->wp);
		a->wp = NULL;
	}
	list_del(&a->all);
	d->nattempts--;
	job->result = result;
	job->worker_data = NULL;
	d->home_of = job->home;
	d->nhome++;
	if (!job->direct || result != JOB_TRIED || d->stopping)
		d->home_now = true;
	if (job->direct)
		d->direct--;
	job_return(job, &d->home);      /* a is gone with it, once posted */
	deliver_flush_soon(d);
	deliver_check_stopped(d);
}

/* --- once a turn --- */

void
deliver_flush_soon(struct deliver *d)
{
	if (d->flushing)
		return;
	d->flushing = true;
	loop_defer(d->loop, &d->flush);
}

static void
home_due(struct timer *t)
{
	struct deliver *d = container_of(t, struct deliver, home_timer);

	d->nhome = 0;
	d->home_now = false;
	outbox_post(&d->home, d->home_of);
}

/* The queue need not be woken for each message that went well, as long as more are to
 * come: nobody waits for it. */
static void
send_home(struct deliver *d)
{
	if (d->nhome == 0)
		return;
	if (d->home_now || d->nhome >= HOME_MANY || d->nattempts == 0 || d->stopping)
		home_due(&d->home_timer);
	else if (!timer_active(&d->home_timer))
		timer_start(d->loop, &d->home_timer, HOME_MS);
}

bool
deliver_reserve(struct deliver *d, const struct site_info *site)
{
	unsigned window = d->cfg.window_messages > 0 ? d->cfg.window_messages : 32;
	struct pool *p;

	if (d->stopping || d->direct >= DIRECT_WINDOWS * window)
		return false;
	p = pool_find(d, site);
	if (p == NULL || p->gate == NULL || p->grant <= 0 ||
	    !atomic_load_explicit(&p->gate->open, memory_order_relaxed))
		return false;
	d->direct++;
	return true;
}

void
deliver_unreserve(struct deliver *d)
{
	d->direct--;
}

static void
deliver_flush(struct ph_note *note)
{
	struct deliver *d = container_of(note, struct deliver, flush);
	struct list *it;

	d->flushing = false;
	/* Connections first: what has come back makes room for what waits. */
	for (int round = 0; round < 4; round++) {
		struct list links, pools;

		list_init(&links);
		list_init(&pools);
		list_splice_back(&links, &d->dirty_links);
		while ((it = list_pop(&links)) != NULL)
			link_look(container_of(it, struct link, dirty));
		list_splice_back(&pools, &d->dirty_pools);
		while ((it = list_pop(&pools)) != NULL)
			pool_run(container_of(it, struct pool, dirty));
		if (list_empty(&d->dirty_links) && list_empty(&d->dirty_pools))
			break;
	}
	if (!list_empty(&d->dirty_links) || !list_empty(&d->dirty_pools))
		deliver_flush_soon(d);
	if (d->starved && d->nlinks < d->cfg.max_connections) {
		d->starved = false;
		list_each(p, &d->all_pools) {
			struct pool *pool = container_of(p, struct pool, all);
			if (pool->nwaiting > 0)
				pool_dirty(pool);
		}
	}
	send_home(d);
	deliver_check_stopped(d);
}

void
deliver_grant(struct deliver *d, struct site_info *site, int64_t connections)
{
	struct pool *p = pool_get(d, site);

	p->grant = connections > 0 ? connections : 0;
	if (p->gate != site) {
		site_info_unref(&p->gate);
		p->gate = site_info_ref(site);
	}
	list_each(it, &p->links)
		link_dirty(container_of(it, struct link, link));
	pool_dirty(p);
}

/* --- generations --- */

void
deliver_reroute(struct attempt *a)
{
	pool_unwait(a);
	if (a->tried) {
		/* Partly done: the queue hands the rest out again. */
		deliver_finish(a, JOB_TRIED);
		return;
	}
	attempt_close_plugins(a);
	if (a->wp != NULL)
		worker_plugins_drop(a->wp);
	a->wp = NULL;
	a->pool = NULL;
	a->job->rcpts = NULL;
	a->job->nrcpts = 0;
	route_job(a);
}

void
deliver_generation(struct deliver *d, struct worker_plugins *wp, const struct deliver_config *cfg)
{
	struct worker_plugins *old = d->wp;

	if (d->stopping)
		return;
	worker_plugins_use(wp);
	d->wp = wp;
	set_config(d, cfg);
	route_forget(d);
	if (old == NULL)
		return;
	list_each_safe(pi, &d->all_pools) {
		struct pool *p = container_of(pi, struct pool, all);
		list_each_safe(li, &p->links) {
			struct link *l = container_of(li, struct link, link);
			l->closing = true;
			link_dirty(l);
		}
		pool_use(p, NULL, NULL);
	}
	list_each_safe(it, &d->attempts) {
		struct attempt *a = container_of(it, struct attempt, all);
		if (a->phase == ATTEMPT_WAITING)
			deliver_reroute(a);
	}
	worker_plugins_drop(old);
}

/* --- the end --- */

static void
tell_done(struct ph_note *note)
{
	struct deliver *d = container_of(note, struct deliver, done_note);

	if (d->flushing) {              /* the other note is still in the loop */
		loop_defer(d->loop, &d->done_note);
		return;
	}
	d->done(d->done_arg);           /* d may be gone now */
}

void
deliver_check_stopped(struct deliver *d)
{
	if (!d->stopping || d->told || d->nattempts > 0 || d->nlinks > 0 || d->nreads > 0)
		return;
	d->told = true;
	timer_stop(d->loop, &d->grace);
	timer_stop(d->loop, &d->home_timer);
	home_due(&d->home_timer);
	route_forget(d);
	list_each_safe(it, &d->all_pools)
		pool_use(container_of(it, struct pool, all), NULL, NULL);
	if (d->wp != NULL)
		worker_plugins_drop(d->wp);
	d->wp = NULL;
	if (d->done == NULL)
		return;
	d->done_note.run = tell_done;
	loop_defer(d->loop, &d->done_note);
}

/* Of one that is not on a connection; those that the store has come when it answers. */
static void
give_back(struct attempt *a)
{
	switch (a->phase) {
	case ATTEMPT_ROUTING:
		if (a->question == NULL)
			return;
		route_cancel(&a->question);
		deliver_finish(a, JOB_RETURNED);
		break;
	case ATTEMPT_ASKING:
		deliver_finish(a, JOB_RETURNED);
		break;
	case ATTEMPT_WAITING:
		pool_unwait(a);
		deliver_finish(a, a->tried ? JOB_TRIED : JOB_RETURNED);
		break;
	case ATTEMPT_ANSWERING:
		if (a->d->hard) {               /* the reply counts as it is */
			plug_cancel(a->ps);
			outcome_answered(a, NULL);
		}
		break;
	default:
		break;
	}
}

static void
grace_over(struct timer *t)
{
	struct deliver *d = container_of(t, struct deliver, grace);

	d->hard = true;
	list_each_safe(it, &d->attempts) {
		struct attempt *a = container_of(it, struct attempt, all);
		if (a->phase == ATTEMPT_ANSWERING)
			give_back(a);
	}
	list_each(pi, &d->all_pools) {
		struct pool *p = container_of(pi, struct pool, all);
		while (!list_empty(&p->links))
			link_lost(
			    container_of(p->links.next, struct link, link), STR("shutting down"));
	}
	deliver_check_stopped(d);
}

void
deliver_stop(struct deliver *d, int64_t grace_ms, void (*done)(void *arg), void *arg)
{
	if (d->stopping)
		return;
	d->stopping = true;
	d->done = done;
	d->done_arg = arg;
	list_each_safe(it, &d->attempts)
		give_back(container_of(it, struct attempt, all));
	list_each(pi, &d->all_pools)
		list_each(li, &container_of(pi, struct pool, all)->links) {
			struct link *l = container_of(li, struct link, link);
			l->closing = true;
			link_dirty(l);
		}
	d->grace.fn = grace_over;
	timer_start(d->loop, &d->grace, grace_ms > 0 ? grace_ms : 0);
	deliver_flush_soon(d);          /* clean stack for what follows */
}

void
deliver_free(struct deliver **dp)
{
	struct deliver *d = *dp;

	*dp = NULL;
	if (d == NULL)
		return;
	if (!d->told) {
		d->done = NULL;
		d->stopping = true;
		list_each_safe(it, &d->attempts)
			give_back(container_of(it, struct attempt, all));
		grace_over(&d->grace);
	}
	timer_stop(d->loop, &d->grace);
	list_each_safe(it, &d->all_pools)
		pool_free(container_of(it, struct pool, all));
	map_free(&d->sites);
	map_free(&d->hops);
	free(d->hostname);
	free(d);
}

void
deliver_counts(const struct deliver *d, struct deliver_counts *out)
{
	*out = d->counts;
}
