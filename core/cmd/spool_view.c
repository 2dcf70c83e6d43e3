/*
 * spool_view.c - `queue list`, `show` and `count` without a daemon: opens the
 * store read-only, pumps its scan, reads each message, and makes the same
 * rows that a running daemon would send.
 */
#include "cmd/spool_view.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/mailbox.h"
#include "base/str.h"
#include "daemon/rows.h"
#include "store/store.h"

struct spool_entry { struct ph_msgid id; struct ph_store_summary summary; };
struct spool {
	struct spool_entry *v; size_t n, cap;
	struct ph_mailbox home;
	bool scanned;
	int status;
};

static void
spool_added(void *arg, const struct ph_store_added *v, size_t n)
{
	struct spool *sp = arg;

	if (sp->n + n > sp->cap) {
		sp->cap = (sp->n + n) * 2;
		sp->v = mem_realloc(sp->v, sp->cap * sizeof *sp->v);
	}
	for (size_t i = 0; i < n; i++)
		sp->v[sp->n++] = (struct spool_entry){ v[i].id, v[i].summary };
}

static void
spool_scanned(void *arg, int status)
{
	struct spool *sp = arg;

	sp->scanned = true;
	sp->status = status;
}

static void
spool_room(void *arg, bool enough)
{
	(void)arg;
	(void)enough;
}

static int
spool_order(const void *a, const void *b)
{
	const struct spool_entry *x = a, *y = b;

	if (x->id.hi != y->id.hi)
		return x->id.hi < y->id.hi ? -1 : 1;
	return x->id.lo < y->id.lo ? -1 : x->id.lo > y->id.lo;
}

static void
spool_read_done(struct ph_store_request *r)
{
	*(bool *)r->arg = true;
}

static bool
spool_matches(const struct queue_filter *f, const struct envelope *env)
{
	bool to = f->to.p == NULL;

	for (uint32_t i = 0; i < env->nrcpts && !to; i++)
		to = queue_address_fits(f->to, env->rcpts[i].to.full);
	return to && queue_address_fits(f->from, env->from.full);
}

/* Hands lines to row as the control client would. */
static void
spool_emit(struct buf *lines, struct arena *a, void (*row)(void *, const struct fields *), void *arg)
{
	struct ph_str rest, line;
	struct fields f;

	for (line = str_cut(buf_view(lines), '\n', &rest); rest.p != NULL;
	    line = str_cut(rest, '\n', &rest))
		if (fields_decode(line, a, &f) == 0)
			row(arg, &f);
	buf_clear(lines);
}

static bool
spool_one(struct ph_store *store, struct spool *sp, const struct spool_entry *e,
          const struct queue_filter *f, struct buf *lines, struct arena *a)
{
	struct ph_store_request req = { .op = PH_STORE_READ, .id = e->id, .home = &sp->home,
	                                .done = spool_read_done };
	struct envelope env;
	struct progress progress;
	struct queue_row r = { .id = e->id, .summary = e->summary,
	    .state = e->summary.flags & PH_STORE_HELD ? "held" : "stored",
	    .next_attempt = e->summary.due };
	bool done = false, shown = false;

	req.arg = &done;
	store->ops->submit(store, &req);
	while (!done) {
		bool worked = embedded_pump(store);
		if (mailbox_run(&sp->home) == 0 && !worked)
			break;
	}
	if (done && req.status == 0 && envelope_decode(req.meta, a, &env) == 0) {
		r.env = &env;
		if (progress_decode(req.progress, env.nrcpts, a, &progress) == 0)
			r.progress = &progress;
		shown = spool_matches(f, &env);
		if (shown)
			rows_message(&r, a, lines);
	}
	ph_content_unref(&req.content);
	ph_store_release(&req);
	return shown;
}

static bool
spool_wanted(const struct queue_filter *f, const struct spool_entry *e)
{
	if (f->any_id && !id_eq(f->id, e->id))
		return false;
	if (f->held && !(e->summary.flags & PH_STORE_HELD))
		return false;
	return f->older_ms == 0 || clock_wall_ms() - e->summary.created >= f->older_ms;
}

int
spool_view(const struct settings *set, const struct queue_filter *f, bool messages,
           void (*row)(void *arg, const struct fields *f), void *arg, char *why, size_t why_size)
{
	static const struct ph_store_events events = { .size = sizeof events,
	    .added = spool_added, .scanned = spool_scanned, .room = spool_room };
	struct store_config sc = { .dir = set->spool, .segment_size = set->store.segment_size.bytes,
	    .spill_above = set->store.spill_above.bytes, .readonly = true };
	struct spool sp = { 0 };
	struct queue_counts counts = { 0 };
	struct ph_store *store = NULL;
	struct buf lines = { 0 };
	struct arena a;
	int rc;

	mailbox_init(&sp.home, NULL);
	rc = embedded_open(&sc, &events, &sp, &store, why, why_size);
	if (rc != 0)
		return rc;
	while (!sp.scanned && embedded_pump(store))
		;
	qsort(sp.v, sp.n, sizeof *sp.v, spool_order);
	arena_init(&a, 4096);
	for (size_t i = 0; i < sp.n; i++) {
		counts.messages++;
		counts.bytes += sp.v[i].summary.size;
		counts.held += (sp.v[i].summary.flags & PH_STORE_HELD) != 0;
		if (messages && spool_wanted(f, &sp.v[i])) {
			bool shown = spool_one(store, &sp, &sp.v[i], f, &lines, &a);
			spool_emit(&lines, &a, row, arg);
			arena_reset(&a);
			if (shown && f->limit > 0 && ++counts.active >= f->limit)
				break;
		}
	}
	counts.active = 0;
	if (!messages) {
		rows_counts(&counts, &a, &lines);
		spool_emit(&lines, &a, row, arg);
	}
	arena_reset(&a);
	buf_free(&lines);
	free(sp.v);
	store->ops->close(store);
	return sp.status;
}
