/*
 * queue.c - the queue's face: what comes in is kept in order, queue_run works
 * it off with the time it is given, then moves what is due and hands out work.
 *
 * Nothing but queue_run changes the schedule, so a batch of a thousand
 * results costs one pass of dispatching.  queue_added and queue_site run on
 * other threads; they copy and post, and touch only the counter of hot bytes.
 */
#include <stdlib.h>

#include "base/abort.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "queue/internal.h"

/* --- notes --- */

void
queue_later(struct queue *q, struct ph_note *note, void (*run)(struct ph_note *))
{
	note->run = run;
	note->next = NULL;
	*q->in_end = note;
	q->in_end = &note->next;
}

static void
run_notes(struct queue *q)
{
	while (q->in != NULL) {
		struct ph_note *note = q->in;

		q->in = note->next;
		if (q->in == NULL)
			q->in_end = &q->in;
		note->run(note);
	}
}

/* --- new messages --- */

struct arrival {
	struct ph_msgid id;
	struct ph_store_summary summary;
	char *meta;             /* malloc'd, with content, or NULL */
	uint32_t meta_len;
	bool scanned;
	struct ph_content *content;
};
struct arrivals {
	struct ph_note note;
	struct queue *q;
	size_t n;
	struct arrival v[];
};

static void
add(struct queue *q, struct arrival *a)
{
	const struct ph_store_summary *s = &a->summary;
	struct entry *e;

	if (idmap_get(&q->ids, a->id) != NULL) {
		if (a->meta != NULL) {
			atomic_fetch_sub_explicit(&q->hot, a->meta_len +
			    ph_content_size(a->content), memory_order_relaxed);
			free(a->meta);
			ph_content_unref(&a->content);
		}
		return;
	}
	e = entry_new(q, a->id, site_get(q, s->site));
	e->born = retry_born(q, s->created);
	e->size = s->size;
	e->attempts = s->attempts < ATTEMPTS_MAX ? s->attempts : ATTEMPTS_MAX;
	e->recipients = s->recipients < 0xfffff ? s->recipients : 0xfffff;
	e->held = (s->flags & PH_STORE_HELD) != 0;
	e->notified = (s->flags & PH_STORE_NOTIFIED) != 0;
	e->bounce = (s->flags & PH_STORE_BOUNCE) != 0;
	if (a->scanned) {
		/* an older configuration may have sent it to this site */
		e->stale = 1;
		q->nstale++;
	}
	if (a->meta != NULL) {
		struct extra *x = entry_extra(q, e);

		x->meta = a->meta;
		x->meta_len = a->meta_len;
		x->content = a->content;
	}
	idmap_put(&q->ids, e);
	q->messages++;
	q->bytes += e->size;
	if (!a->scanned)
		q->added++;
	if (!a->scanned && s->leased != 0 && s->leased <= q->workers)
		dispatch_direct(q, e, s->leased - 1);
	else
		schedule_place(q, e, a->scanned ? retry_stored_due(q, s->due) : DUE_READY);
}

static void
added_now(struct ph_note *note)
{
	struct arrivals *a = container_of(note, struct arrivals, note);

	for (size_t i = 0; i < a->n; i++)
		add(a->q, &a->v[i]);
	free(a);
}

static void
added_run(struct ph_note *note)
{
	queue_later(container_of(note, struct arrivals, note)->q, note, added_now);
}

void
queue_added(struct queue *q, const struct ph_store_added *v, size_t n)
{
	struct arrivals *a = mem_alloc(sizeof *a + n * sizeof a->v[0]);

	bool quiet = true;      /* the result of what its worker tries wakes us soon enough */

	a->q = q;
	a->n = n;
	a->note.run = added_run;
	for (size_t i = 0; i < n; i++) {
		struct arrival *to = &a->v[i];
		uint64_t bytes = v[i].meta.n + (v[i].hot != NULL ? ph_content_size(v[i].hot) : 0);

		*to = (struct arrival){ .id = v[i].id, .summary = v[i].summary,
			.scanned = v[i].meta.p == NULL };
		if (v[i].summary.leased != 0 && !to->scanned)
			continue;
		quiet = false;
		/* over the budget it is the newest that are read again later */
		if (v[i].hot == NULL || v[i].meta.n == 0 || v[i].meta.n > UINT32_MAX ||
		    atomic_load_explicit(&q->hot, memory_order_relaxed) + bytes >
		    atomic_load_explicit(&q->memory, memory_order_relaxed))
			continue;
		atomic_fetch_add_explicit(&q->hot, bytes, memory_order_relaxed);
		to->meta = mem_alloc(v[i].meta.n);
		memcpy(to->meta, v[i].meta.p, v[i].meta.n);
		to->meta_len = (uint32_t)v[i].meta.n;
		to->content = ph_content_ref(v[i].hot);
	}
	if (quiet)
		mailbox_post_quiet(q->mailbox, &a->note);
	else
		ph_post(q->mailbox, &a->note);
}

struct scanned_note { struct ph_note note; struct queue *q; int status; };

static void
scanned_now(struct ph_note *note)
{
	struct scanned_note *s = container_of(note, struct scanned_note, note);
	struct queue *q = s->q;

	q->scanned = true;
	log_event(s->status == 0 ? PH_INFO : PH_ERROR, NULL, "queue.loaded",
	    LOG_I("messages", q->messages), LOG_I("deferred", q->nstate[E_DEFERRED]),
	    LOG_I("held", q->nstate[E_HELD]),
	    LOG_C("status", s->status == 0 ? "ok" : ph_strerror(s->status)));
	free(s);
}

static void
scanned_run(struct ph_note *note)
{
	queue_later(container_of(note, struct scanned_note, note)->q, note, scanned_now);
}

void
queue_scanned(struct queue *q, int status)
{
	struct scanned_note *s = mem_new(struct scanned_note);

	s->q = q;
	s->status = status;
	s->note.run = scanned_run;
	ph_post(q->mailbox, &s->note);
}

struct site_note { struct ph_note note; struct queue *q; struct site_info *info; };

static void
site_now(struct ph_note *note)
{
	struct site_note *s = container_of(note, struct site_note, note);

	(void)site_meet(s->q, s->info);
	site_info_unref(&s->info);
	free(s);
}

static void
site_note_run(struct ph_note *note)
{
	queue_later(container_of(note, struct site_note, note)->q, note, site_now);
}

void
queue_site(struct queue *q, struct site_info *site)
{
	struct site_note *s = mem_new(struct site_note);

	s->q = q;
	s->info = site_info_ref(site);
	s->note.run = site_note_run;
	ph_post(q->mailbox, &s->note);
}

void
queue_direct(struct queue *q, struct job *job)
{
	job->direct = true;
	job->home = q->mailbox;
	job->back = result_direct_run;
	job->item = q;
}

/* --- configuration --- */

static void
copy_config(struct queue_config *to, const struct queue_config *from)
{
	int64_t *retry = mem_calloc(from->nretry + 1, sizeof *retry);
	int64_t *probes = mem_calloc(from->nprobe + 1, sizeof *probes);

	for (size_t i = 0; i < from->nretry; i++)
		retry[i] = from->retry_ms[i];
	for (size_t i = 0; i < from->nprobe; i++)
		probes[i] = from->probe_ms[i];
	*to = *from;
	to->retry_ms = retry;
	to->probe_ms = probes;
	to->hostname = mem_strdup(from->hostname != NULL ? from->hostname : "localhost");
	to->badmail_dir = mem_strdup(from->badmail_dir != NULL ? from->badmail_dir : "");
}

static void
free_config(struct queue_config *cfg)
{
	free((void *)(uintptr_t)cfg->retry_ms);
	free((void *)(uintptr_t)cfg->probe_ms);
	free((void *)(uintptr_t)cfg->hostname);
	free((void *)(uintptr_t)cfg->badmail_dir);
}

void
queue_configure(struct queue *q, const struct queue_config *cfg)
{
	struct queue_config was = q->cfg;

	copy_config(&q->cfg, cfg);
	atomic_store_explicit(&q->memory, cfg->memory, memory_order_relaxed);
	q->badmail_counted = false;
	list_each(l, &q->all_sites) {
		struct site *s = container_of(l, struct site, all);

		if (s->info != NULL && s->w[0].grant >= 0)
			site_grants(q, s);
		site_wake(s);
	}
	if (was.delay_notice_ms != cfg->delay_notice_ms || was.expire_ms != cfg->expire_ms ||
	    was.bounce_notices != cfg->bounce_notices)
		schedule_rekey(q);
	free_config(&was);
	q->more = true;
}

void
queue_rerouted(struct queue *q)
{
	size_t it = 0;
	void *v;

	q->nstale = 0;
	while (idmap_next(&q->ids, &it, &v)) {
		struct entry *e;

		for (uint32_t i = 0; (e = message_entry(v, i)) != NULL; i++) {
			e->stale = 1;
			q->nstale++;
		}
	}
	/* At sites in service each is routed by its next lease anyway; what
	 * waits for one that is down, or unknown, must ask now. */
	list_each(l, &q->all_sites) {
		struct site *s = container_of(l, struct site, all);

		if (!s->suspended)
			continue;
		/* The operator has changed something, perhaps a password. */
		s->alarmed = false;
		site_probe_now(q, s);
		list_each_safe(r, &s->ready)
			schedule_ready(q, container_of(r, struct entry, link), false);
	}
	q->more = true;
}

/* --- life --- */

struct queue *
queue_new(const struct queue_config *cfg, const struct queue_ops *ops, void *arg,
          unsigned workers, struct ph_mailbox *mailbox)
{
	struct queue *q = mem_new(struct queue);

	ph_assert(workers > 0);
	copy_config(&q->cfg, cfg);
	atomic_init(&q->memory, cfg->memory);
	q->ops = ops;
	q->arg = arg;
	q->workers = workers;
	q->mailbox = mailbox;
	q->in_end = &q->in;
	q->worker_leases = mem_calloc(workers, sizeof *q->worker_leases);
	q->entry_slab.size = sizeof(struct entry);
	q->extra_slab.size = sizeof(struct extra);
	q->lease_slab.size = sizeof(struct lease);
	q->sweep_at = INT64_MIN;
	q->reports_after = INT64_MIN;
	idmap_init(&q->ids, offsetof(struct entry, id));
	idmap_init(&q->direct, offsetof(struct lease, id));
	list_init(&q->all_sites);
	list_init(&q->turn);
	list_init(&q->route_turn);
	list_init(&q->leases);
	list_init(&q->chores);
	list_init(&q->tasks);
	list_init(&q->badmail_wait);
	list_init(&q->operations);
	(void)site_get(q, 0);
	return q;
}

static void
free_entries(struct queue *q)
{
	size_t it = 0;
	void *v;

	while (idmap_next(&q->ids, &it, &v)) {
		struct entry *first = v;
		struct split *sp = entry_split(first);
		uint32_t n = sp != NULL ? sp->n : 1;

		for (uint32_t i = 0; i < n; i++) {
			struct entry *e = sp != NULL ? sp->v[i] : first;

			if (e->x != NULL)
				e->x->split = NULL;
			entry_drop(q, e);
		}
		if (sp != NULL) {
			buf_free(&sp->progress);
			free(sp->v);
			free(sp);
		}
	}
}

void
queue_free(struct queue **qp)
{
	struct queue *q = *qp;

	*qp = NULL;
	if (q == NULL)
		return;
	run_notes(q);
	operate_free(q);
	list_each_safe(l, &q->tasks)
		task_free(container_of(l, struct task, link));
	free_entries(q);
	list_each_safe(l, &q->all_sites)
		site_free(container_of(l, struct site, all));
	idmap_free(&q->ids);
	idmap_free(&q->direct);
	map_free(&q->sites);
	heap_free(&q->heap);
	heap_free(&q->site_heap);
	slab_free(&q->entry_slab);
	slab_free(&q->extra_slab);
	slab_free(&q->lease_slab);
	free(q->worker_leases);
	free_config(&q->cfg);
	free(q);
}

/* --- the turn --- */

static void
tell_room(struct queue *q)
{
	uint64_t most = (uint64_t)q->cfg.max_messages, again;

	if (q->cfg.max_messages <= 0) {
		if (q->full) {
			q->full = false;
			q->ops->room(q->arg, true);
		}
		return;
	}
	again = most - most / 16 - (most >= 16 ? 0 : 1);
	if (!q->full && q->messages >= most) {
		q->full = true;
		log_event(PH_WARN, NULL, "queue.full", LOG_I("messages", q->messages),
		    LOG_C("option", "queue.max-messages"));
		q->ops->room(q->arg, false);
	} else if (q->full && q->messages <= again) {
		q->full = false;
		log_event(PH_INFO, NULL, "queue.room", LOG_I("messages", q->messages));
		q->ops->room(q->arg, true);
	}
}

void
queue_run(struct queue *q, int64_t mono_ms, int64_t wall_ms)
{
	q->now = mono_ms;
	q->wall = wall_ms;
	q->more = false;
	if (q->sweep_at == INT64_MIN)
		q->sweep_at = mono_ms + SWEEP_MS;
	run_notes(q);
	if (mono_ms >= q->sweep_at) {
		schedule_sweep(q);
		site_sweep(q);
		q->sweep_at = mono_ms + SWEEP_MS;
	}
	schedule_run(q);
	operate_run(q);
	task_waiting(q);
	if (!q->stopped) {
		task_chores(q);
		dispatch_timers(q);
		dispatch_run(q);
	}
	tell_room(q);
}

int64_t
queue_next(const struct queue *q)
{
	int64_t at = INT64_MAX;
	const struct heap_node *n;

	if (q->in != NULL || q->more)
		return q->now;
	if (q->stopped)
		return INT64_MAX;
	if ((n = heap_min(&q->heap)) != NULL && n->key < at)
		at = n->key;
	if ((n = heap_min(&q->site_heap)) != NULL && n->key < at)
		at = n->key;
	if (q->entries > 0 || q->sites.n > 0)
		at = q->sweep_at < at ? q->sweep_at : at;
	return at;
}

void
queue_stop(struct queue *q)
{
	q->stopped = true;
	list_each(l, &q->all_sites)
		site_gate(container_of(l, struct site, all));
}

bool
queue_drained(const struct queue *q)
{
	return q->in == NULL && q->active == 0 && q->ntasks == 0;
}
