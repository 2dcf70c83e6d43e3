/*
 * commit.c - the committer: drains its mailboxes, writes all of it as one
 * batch, syncs once, then answers everybody.
 *
 * Progress and removals are lazy: they wait for the next batch, and have one of
 * their own when none comes in time.  An append that waits is always written at
 * once: under load batches grow by themselves, idle there is no timer.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "mail/content.h"
#include "store/embedded.h"

static void
wake_urgent(struct ph_mailbox *m)
{
	park_wake(&container_of(m, struct embedded, urgent)->park);
}

/* Only the first of the lazy ones wakes; the committer then knows when to look. */
static void
wake_lazy(struct ph_mailbox *m)
{
	struct embedded *e = container_of(m, struct embedded, lazy);

	if (!atomic_load(&e->lazy_armed))
		park_wake(&e->park);
}

void
commit_init(struct embedded *e)
{
	mailbox_init(&e->urgent, wake_urgent);
	mailbox_init(&e->lazy, wake_lazy);
	park_init(&e->park);
	fifo_init(&e->appends);
	fifo_init(&e->lazies);
	fifo_init(&e->parked);
	e->batch = mem_new(struct batch);
	e->batch->staging = mem_alloc(STAGING);
	e->batch->sum = codec_sum_new();
	e->room = true;
}

void
commit_done(struct embedded *e)
{
	free(e->batch->staging);
	free(e->batch->flat);
	codec_sum_free(&e->batch->sum);
	free(e->batch);
	free(e->cuts);
}

static void
gather(struct fifo *to, struct ph_mailbox *from, bool *did)
{
	struct ph_note *n = mailbox_take(from), *next;

	for (; n != NULL; n = next) {
		next = n->next;
		fifo_add(to, n);
		*did = true;
	}
}

static bool
collect(struct embedded *e, int64_t now)
{
	bool had = e->lazies.first != NULL, did = false, none = false;

	gather(&e->appends, &e->urgent, &did);
	gather(&e->lazies, &e->lazy, &none);    /* by themselves they are no work yet */
	if (!had && e->lazies.first != NULL) {
		e->lazy_due = now + e->cfg.lazy_ms;
		atomic_store(&e->lazy_armed, true);
	}
	return did;
}

/* A failed append; what it left in a file of its own goes, unless it may come back. */
static void
refuse(struct embedded *e, struct ph_store_request *r, int status)
{
	if (r->want != 0 && status != PH_EDOUBT)
		spill_discard(e, r, status);
	else
		embedded_complete(r, status);
}

static void
refuse_all(struct embedded *e, int status)
{
	struct ph_note *n;

	while ((n = fifo_pop(&e->appends)) != NULL)
		refuse(e, request_of(n), status);
}

/* Whether r is to be written; else it was answered or waits for the scan. */
static bool
resolve(struct embedded *e, struct ph_store_request *r, struct item *item)
{
	const struct entry *entry;

	*item = (struct item){ .r = r };
	pthread_mutex_lock(&e->lock);
	entry = table_get(&e->table, r->id);
	if (entry != NULL)
		item->target = entry->segment;
	pthread_mutex_unlock(&e->lock);
	if (r->op == PH_STORE_APPEND) {
		item->type = RECORD_MESSAGE;
		item->fixed = (struct message_fixed){ r->summary, (uint32_t)r->meta.n,
		    (uint32_t)r->head.n, 0, (uint32_t)r->want, 0 };
		item->fixed.content = r->want != 0 ? r->offset :
		    r->content != NULL ? r->content->size : 0;
		item->fixed.sum = r->want != 0 ? r->bytes.n : 0;        /* see spill_ready */
		if (entry != NULL)
			refuse(e, r, PH_EEXIST);
		else if ((uint64_t)r->meta.n + r->head.n + MESSAGE_FIXED +
		    (r->want != 0 ? 0 : item->fixed.content) > tail_most(e))
			refuse(e, r, PH_ELIMIT);
		else
			return true;
		return false;
	}
	item->type = r->op == PH_STORE_REMOVE ? RECORD_REMOVED : RECORD_PROGRESS;
	if (entry == NULL && !atomic_load(&e->scanned))
		fifo_add(&e->parked, &r->note);
	else if (entry == NULL)
		embedded_complete(r, PH_ENOENT);
	else if (r->op == PH_STORE_PROGRESS && (uint64_t)r->progress.n + PROGRESS_FIXED > tail_most(e))
		embedded_complete(r, PH_ELIMIT);
	else
		return true;
	return false;
}

static bool
fill_from(struct embedded *e, struct fifo *from)
{
	while (from->first != NULL) {
		struct ph_store_request *r = request_of(from->first);
		struct item item;
		struct fifo rest;

		/* resolve may queue it elsewhere, so it is taken out first */
		(void)fifo_pop(from);
		if (!resolve(e, r, &item) || batch_add(e, &item) == 0)
			continue;
		fifo_init(&rest);
		fifo_add(&rest, &r->note);
		fifo_join(&rest, from);
		fifo_join(from, &rest);
		return false;
	}
	return true;
}

static void
row_add(struct segment *s, const struct item *item)
{
	struct row row = { .type = item->type, .span = item->span, .off = item->off, .id = item->r->id,
	    .tag = item->fixed.tag, .summary = item->r->summary, .target = item->target };
	uint8_t bytes[ROW_MAX];

	buf_add(&s->rows, bytes, row_put(bytes, &row));
}

static void
counts(struct segment *s, uint64_t span)
{
	s->live++;
	s->live_bytes += span;
}

static void
now_stored(struct embedded *e, struct item *item)
{
	struct segment *s = e->tail;
	struct entry *entry = table_put(&e->table, item->r->id);

	entry->segment = (uint32_t)s->number;
	entry->at = (uint32_t)(item->off / RECORD_ALIGN);
	entry->span = item->span / RECORD_ALIGN;
	entry->tag = item->fixed.tag;
	if (entry->tag != 0)
		entry->pages = (uint32_t)((item->fixed.content + 4095) / 4096);
	e->facts.large += (uint64_t)entry->pages * 4096;
	e->facts.f.appended++;
	counts(s, item->span);
}

static void
now_progressed(struct embedded *e, struct item *item)
{
	struct entry *entry = table_get(&e->table, item->r->id);

	if (entry == NULL)              /* removed in the same batch */
		return;
	if (entry->progress_span != 0)
		segment_lost(e, entry->progress_segment, entry->progress_span);
	entry->progress_segment = (uint32_t)e->tail->number;
	entry->progress_at = (uint32_t)(item->off / RECORD_ALIGN);
	entry->progress_span = item->span / RECORD_ALIGN;
	counts(e->tail, item->span);
}

static void
now_removed(struct embedded *e, struct item *item)
{
	struct entry *entry = table_get(&e->table, item->r->id);

	segment_owe(e->tail, item->target, item->span);
	if (entry == NULL)              /* removed twice */
		return;
	segment_lost(e, entry->segment, entry->span);
	if (entry->progress_span != 0)
		segment_lost(e, entry->progress_segment, entry->progress_span);
	item->fixed.tag = entry->tag;
	e->facts.large -= (uint64_t)entry->pages * 4096;
	e->facts.f.removed++;
	recover_forget(e, item->r->id, item->target);
	table_del(&e->table, entry);
}

/* Synced: everybody may know.  Order matters: the index first, so that what
 * follows from `added` finds the message; then the queue; then those who wait. */
static void
finish(struct embedded *e)
{
	struct batch *b = e->batch;
	size_t nadded = 0;

	pthread_mutex_lock(&e->lock);
	for (size_t i = 0; i < b->n; i++) {
		struct item *item = &b->items[i];

		if (item->type == RECORD_MESSAGE)
			now_stored(e, item);
		else if (item->type == RECORD_PROGRESS)
			now_progressed(e, item);
		else
			now_removed(e, item);
		row_add(e->tail, item);
	}
	e->tail->end = b->end;
	e->facts.f.syncs++;
	e->facts.f.bytes_written += b->end - b->start;
	pthread_mutex_unlock(&e->lock);

	for (size_t i = 0; i < b->n; i++) {
		struct ph_store_request *r = b->items[i].r;
		struct ph_content *hot = r->content;

		if (b->items[i].type != RECORD_MESSAGE)
			continue;
		if (hot != NULL && r->head.n > 0) {
			hot = content_new();    /* a reader gets head and content as one */
			content_append(hot, r->head.p, r->head.n, r->head.n + r->content->size);
			for (const struct content_block *at = r->content->first; at != NULL; at = at->next)
				content_append(hot, at->data, at->len, r->head.n + r->content->size);
		}
		b->added[nadded++] = (struct ph_store_added){ r->id, r->summary, r->meta, hot };
	}
	if (nadded > 0) {
		company_came(e, (unsigned)nadded);
		e->ev->added(e->arg, b->added, nadded);
	}
	nadded = 0;
	for (size_t i = 0; i < b->n; i++) {
		struct ph_store_request *r = b->items[i].r;

		if (b->items[i].type == RECORD_MESSAGE) {
			if (b->added[nadded].hot != r->content)
				ph_content_unref(&b->added[nadded].hot);
			nadded++;
		}
		if (b->items[i].type == RECORD_REMOVED && b->items[i].fixed.tag != 0) {
			r->want = b->items[i].fixed.tag;
			spill_discard(e, r, 0);
		} else
			answers_add(e, r);
	}
	answers_post(e);
}

/* Appends are told; the lazy ones go back in front and are tried again. */
static void
give_back(struct embedded *e, int status)
{
	struct batch *b = e->batch;
	struct fifo again;

	fifo_init(&again);
	for (size_t i = 0; i < b->n; i++) {
		struct ph_store_request *r = b->items[i].r;

		if (b->items[i].type == RECORD_MESSAGE)
			refuse(e, r, status);
		else
			fifo_add(&again, &r->note);
	}
	fifo_join(&again, &e->lazies);
	fifo_join(&e->lazies, &again);
	if (status != PH_EIO)           /* with PH_EIO there is a new segment already */
		e->lazy_retry = clock_mono_ms() + RETRY_MS;
}

static uint64_t
want_of(const struct ph_note *n)
{
	const struct ph_store_request *r = n != NULL ? request_of((struct ph_note *)(uintptr_t)n) : NULL;

	if (r == NULL)
		return 0;
	return record_span(MESSAGE_FIXED + r->meta.n + r->head.n + r->progress.n +
	    (r->op == PH_STORE_APPEND && r->want == 0 && r->content != NULL ? r->content->size : 0));
}

/* What a new segment must hold at least. */
static uint64_t
want(const struct embedded *e)
{
	uint64_t a = want_of(e->appends.first), b = want_of(e->lazies.first);

	return a > b ? a : b;
}

static void
commit_some(struct embedded *e, bool with_lazies, int64_t now)
{
	bool append = !with_lazies, all;
	int rc = tail_ensure(e, append);

	if (rc == 0) {
		batch_start(e);
		all = with_lazies ? fill_from(e, &e->lazies) : true;
		all = fill_from(e, &e->appends) && all;
		if (e->batch->n > 0) {
			rc = batch_write(e);
			if (rc == 0)
				finish(e);
			else
				give_back(e, rc);
			rc = 0;
		} else if (!all)
			rc = tail_roll(e, want(e), append || e->lazies.first == NULL);
	}
	if (rc != 0) {
		refuse_all(e, rc);
		if (with_lazies && e->lazies.first != NULL)
			e->lazy_retry = now + RETRY_MS;
	}
	if (e->lazies.first == NULL)
		atomic_store(&e->lazy_armed, false);
	else
		e->lazy_due = now;
}

static bool
lazies_due(const struct embedded *e, int64_t now)
{
	return e->lazies.first != NULL && now >= e->lazy_retry &&
	    (e->appends.first != NULL || now >= e->lazy_due || atomic_load(&e->closing));
}

/* Recovery is through: from now on segments may be emptied and let go. */
static void
all_known(struct embedded *e)
{
	pthread_mutex_lock(&e->lock);
	for (size_t i = 0; i < e->nsegments; i++)
		if (e->segments[i]->live > e->most)
			e->most = e->segments[i]->live;
	pthread_mutex_unlock(&e->lock);
	e->saw_scanned = e->check_retire = e->check_compact = true;
}

bool
commit_cycle(struct embedded *e)
{
	int64_t now = clock_mono_ms();
	bool did = collect(e, now);

	for (unsigned naps = 0; e->appends.first != NULL && company_expected(e) &&
	    company_patient(naps); naps++) {
		company_nap();
		(void)collect(e, now);
	}

	if (e->parked.first != NULL && atomic_load(&e->scanned)) {
		fifo_join(&e->parked, &e->lazies);
		fifo_join(&e->lazies, &e->parked);
		e->lazy_due = now;
	}
	if (!e->room || e->appends.first != NULL)
		room_look(e, now);
	if (e->appends.first != NULL || lazies_due(e, now)) {
		commit_some(e, lazies_due(e, now), now);
		did = true;
	}
	if (!atomic_load(&e->scanned))
		return did;
	if (!e->saw_scanned)
		all_known(e);
	if (e->check_retire && now >= e->retire_retry && segment_retire(e))
		did = true;
	return compact_step(e, now) || did;
}

int64_t
commit_wait(struct embedded *e)
{
	int64_t now = clock_mono_ms(), until = INT64_MAX;

	if (e->lazies.first != NULL)
		until = e->lazy_due > e->lazy_retry ? e->lazy_due : e->lazy_retry;
	if (!e->room && e->room_check < until)
		until = e->room_check;
	if (e->check_retire && e->retire_retry > now && e->retire_retry < until)
		until = e->retire_retry;
	if (e->compact_retry > now && e->compact_retry < until)
		until = e->compact_retry;
	return until == INT64_MAX ? -1 : until > now ? until - now : 0;
}

void
commit_drain(struct embedded *e)
{
	struct ph_note *n;

	for (int tries = 0; tries < 3; tries++) {
		while (commit_cycle(e))
			;
		if (e->lazies.first == NULL)
			break;
		e->lazy_retry = 0;      /* a sick disk gets three chances, not a second each */
		e->ill_until = 0;
	}
	refuse_all(e, PH_EIO);
	fifo_join(&e->lazies, &e->parked);
	while ((n = fifo_pop(&e->lazies)) != NULL)
		embedded_complete(request_of(n), PH_EIO);
	if (e->lazies.first == NULL)
		atomic_store(&e->lazy_armed, false);
	compact_abort(e);
	tail_close(e);
	if (atomic_load(&e->scanned))
		(void)segment_retire(e);
}
