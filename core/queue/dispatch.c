/*
 * dispatch.c - handing out: which site's turn it is, which worker gets the
 * job, and when a site that is down is probed.
 *
 * Sites with work stand in a ring and give one message each, so that none
 * starves another.  A site leaves the ring when its connections are busy and
 * comes back with a lease or a message.
 */
#include "base/mem.h"
#include "base/str.h"
#include "queue/internal.h"

#define IN_FLIGHT_DEFAULT 32

/* --- handing out --- */

static void
lease_out(struct queue *q, struct lease *l, struct entry *e, unsigned w)
{
	struct site *s = e->site;

	l->q = q;
	l->e = e;
	l->site = s;
	l->epoch = s->epoch;
	list_push_back(&q->leases, &l->link);
	s->leases++;
	s->w[w].leases++;
	s->idle_sweeps = 0;
	q->worker_leases[w]++;
	q->active++;
}

/* The worker that accepted it has the bytes and a warm connection: what would be handed out
 * to it at once it takes itself, and we only keep count. */
void
dispatch_direct(struct queue *q, struct entry *e, unsigned w)
{
	struct lease *l = slab_get(&q->lease_slab);

	schedule_detach(q, e, E_ACTIVE);
	l->id = e->id;
	lease_out(q, l, e, w);
	idmap_put(&q->direct, l);
}

static void
issue(struct queue *q, struct site *s, unsigned w, enum job_kind kind)
{
	struct entry *e = container_of(s->ready.next, struct entry, link);
	struct lease *l = slab_get(&q->lease_slab);
	struct job *job = job_new();
	struct extra *x;

	schedule_detach(q, e, E_ACTIVE);
	l->probe = kind == JOB_PROBE;
	l->route = kind == JOB_ROUTE;
	lease_out(q, l, e, w);
	job->home = q->mailbox;
	job->back = result_run;
	job->kind = kind;
	job->id = e->id;
	job->summary = group_summary(q, e);
	job->site = kind == JOB_ROUTE ? NULL : site_info_ref(s->info);
	job->worker = w;
	job->item = l;
	x = e->x;
	if (x != NULL && x->only != NULL) {
		job->only = arena_alloc(&job->arena, x->nonly * sizeof *x->only);
		memcpy(job->only, x->only, x->nonly * sizeof *x->only);
		job->nonly = x->nonly;
	}
	if (x != NULL && x->meta != NULL) {
		job->meta = x->meta;
		job->meta_len = x->meta_len;
		job->content = x->content;
		l->hot = ph_content_size(x->content) + x->meta_len;
		x->meta = NULL;
		x->content = NULL;
		entry_trim(q, e);
	}
	s->last_worker = w;
	if (kind == JOB_ROUTE)
		q->routing++;
	q->ops->dispatch(q->arg, w, job);
}

/* The worker with the fewest leases of those that have room, ties to the one
 * used last, so that a trickle stays on one warm connection. */
static int
pick_worker(const struct queue *q, const struct site *s)
{
	int64_t each = q->cfg.messages_in_flight > 0 ? q->cfg.messages_in_flight : IN_FLIGHT_DEFAULT;
	int best = -1;

	for (unsigned i = 0; i < q->workers; i++) {
		unsigned w = (s->last_worker + i) % q->workers;
		const struct site_worker *sw = &s->w[w];

		if (sw->grant <= 0 || sw->paused > q->now || sw->leases >= sw->grant * each)
			continue;
		if (best < 0 || sw->leases < s->w[best].leases)
			best = (int)w;
	}
	return best;
}

static void
probe(struct queue *q, struct site *s)
{
	int w = 0;

	if (s->w[0].grant < 0)
		site_grants(q, s);
	/* Leases still out to it fill no quota here: the probe must leave. */
	for (unsigned i = 0; i < q->workers; i++) {
		w = (int)((s->last_worker + i) % q->workers);
		if (s->w[w].grant > 0)
			break;
	}
	s->probing = true;
	issue(q, s, (unsigned)w, JOB_PROBE);
	site_timer(s);
}

void
dispatch_timers(struct queue *q)
{
	struct heap_node *n;

	while ((n = heap_min(&q->site_heap)) != NULL && n->key <= q->now) {
		struct site *s = container_of(n, struct site, timer);

		heap_del(&q->site_heap, n);
		s->timer.key = INT64_MAX;
		if (s->suspended) {
			if (!s->probing && s->nready > 0)
				probe(q, s);
			continue;
		}
		for (unsigned w = 0; w < q->workers; w++)
			if (s->w[w].paused <= q->now)
				s->w[w].paused = 0;
		site_timer(s);
		site_wake(s);
	}
}

static unsigned
least_busy_worker(const struct queue *q)
{
	unsigned best = q->last_route_worker;

	for (unsigned w = 0; w < q->workers; w++)
		if (q->worker_leases[w] < q->worker_leases[best])
			best = w;
	return best;
}

static struct site *
next_turn(struct list *ring)
{
	return list_empty(ring) ? NULL : container_of(ring->next, struct site, turn);
}

void
dispatch_run(struct queue *q)
{
	uint64_t most = q->cfg.max_active > 0 ? (uint64_t)q->cfg.max_active : UINT64_MAX;
	struct site *s;

	while (q->active < most && q->routing < ROUTES_OUT &&
	    (s = next_turn(&q->route_turn)) != NULL) {
		list_del(&s->turn);
		if (s->nready == 0 || s->leases >= s->route_cap)
			continue;
		q->last_route_worker = least_busy_worker(q);
		issue(q, s, q->last_route_worker, JOB_ROUTE);
		site_wake(s);
	}
	while (q->active < most && (s = next_turn(&q->turn)) != NULL) {
		int w;

		if (s->w[0].grant < 0)
			site_grants(q, s);
		list_del(&s->turn);
		if (s->nready == 0 || (w = pick_worker(q, s)) < 0)
			continue;       /* comes back with a lease or a message */
		issue(q, s, (unsigned)w, JOB_DELIVER);
		if (s->nready > 0)
			list_push_back(&q->turn, &s->turn);
	}
}
