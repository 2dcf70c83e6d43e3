/* counts.c - figures: of the queue as a whole, and of each site. */
#include "queue/internal.h"

const char *
site_state(const struct site *s)
{
	static const char *const names[] = {
		[JOB_LOGIN_FINE] = "suspended", [JOB_LOGIN_REFUSED] = "login refused",
		[JOB_LOGIN_UNREADY] = "login failed",
	};

	return !s->suspended ? "open" : s->probing ? "probing" : names[s->login];
}

void
queue_counts(const struct queue *q, struct queue_counts *out)
{
	*out = (struct queue_counts){
		.messages = q->messages, .bytes = q->bytes, .active = q->active,
		.deferred = q->nstate[E_DEFERRED], .held = q->nstate[E_HELD],
		.hot_bytes = atomic_load_explicit(&q->hot, memory_order_relaxed),
		.delivered = q->delivered, .bounced = q->bounced, .expired = q->expired,
		.added = q->added, .bounces_sent = q->reports,
	};
	list_each(l, &q->all_sites) {
		const struct site *s = container_of(l, struct site, all);

		out->sites += s->info != NULL;
		out->suspended += s->suspended;
	}
}

void
queue_sites(const struct queue *q, void (*row)(void *arg, const struct queue_site_row *r), void *arg)
{
	list_each(l, &q->all_sites) {
		const struct site *s = container_of(l, struct site, all);
		struct queue_site_row r;

		if (s->info == NULL)
			continue;
		r = (struct queue_site_row){
			.name = s->info->name, .key = s->info->key, .state = site_state(s),
			.why = s->suspended ? s->why : NULL, .messages = s->entries,
			.active = s->leases, .probe = s->suspended ? retry_wall(q, s->probe_at) : 0,
		};
		for (unsigned w = 0; w < q->workers; w++)
			r.connections += s->w[w].grant > 0 ? s->w[w].grant : 0;
		row(arg, &r);
	}
}
