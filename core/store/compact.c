/*
 * compact.c - a sparse segment's live records are copied to the tail, so that
 * a backlog which does not move cannot hold the disk that flows by it.
 *
 * While one segment is being emptied no other may vanish and no removal may be
 * forgotten: its messages exist twice, and a removal refers to the new place only.  A progress is copied
 * in front of its message in the same batch, so that whoever finds the copy of the
 * message has found its progress.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/id.h"
#include "store/embedded.h"

#define STEP (512u << 10)       /* copied before the next batch has its turn */
#define MOVES 2048
#define PAGE 4096

struct move { struct row row; uint64_t off; uint64_t from; };
struct compaction {
	struct segment *s;
	struct buf rows;
	size_t at;
	bool by_scan;           /* its index was not enough */
	bool untouched;         /* nothing of it was copied yet */
	uint8_t *p;
	size_t len, cap;
	struct move moves[MOVES];
	size_t n;
	uint64_t want;          /* of the record that did not fit */
};

static bool
sparse(const struct segment *s, uint64_t live)
{
	return live * 4 < s->size * 3;
}

/* The segment to empty next: one that must go, or the one that gives back most
 * when the garbage is more than the mail and a few segments. */
static struct segment *
pick(struct embedded *e)
{
	struct segment *best = NULL;
	uint64_t used = 0, all = 0, gain = 0, slack = 4 * e->cfg.segment_size;
	/* on a full disk only what fits where there is room already */
	uint64_t fits = e->room || e->nspares > 0 ? UINT64_MAX : e->tail == NULL ? 0 :
	    (e->tail->size - e->tail->end) / 4 * 3;

	for (size_t i = 0; i < e->nsegments; i++) {
		struct segment *s = e->segments[i];
		uint64_t live = s->live_bytes + segment_debt(s);

		if (s == e->tail || s->renamed || s->keep)
			continue;
		if (s->evacuate && segment_matters(s))
			return s;
		used += s->size;
		all += live;
		if (sparse(s, live) && s->size - live > gain && segment_matters(s) && live <= fits) {
			gain = s->size - live;
			best = s;
		}
	}
	if (!e->room)
		return used > all + all / 4 + e->cfg.segment_size / 4 ? best : NULL;
	return used > 2 * all + slack ? best : NULL;
}

static void
row_found(void *arg, const struct record *r, const uint8_t *body, uint64_t off)
{
	struct buf *rows = arg;
	uint8_t bytes[ROW_MAX];
	struct row row;

	if (r->type == RECORD_INDEX)
		return;
	row_of(r, body, off, &row);
	buf_add(rows, bytes, row_put(bytes, &row));
}

static void
damage_known(void *arg, uint64_t from, uint64_t to)
{
	(void)arg;                      /* said when it was found */
	(void)from;
	(void)to;
}

static void
load(struct embedded *e, struct compaction *c)
{
	struct scan_result end;

	c->at = 0;
	buf_clear(&c->rows);
	if (!c->by_scan && c->s->sealed && segment_index(e, c->s->fd, c->s, &c->rows) == 0)
		return;
	c->by_scan = true;
	scan_segment(e, c->s, c->s->sealed ? c->s->size : c->s->end, c->s->end, row_found,
	    damage_known, &c->rows, &end);
}

static bool
begin(struct embedded *e)
{
	struct compaction *c;
	struct segment *s;
	bool fresh = false;
	int rc = 0;

	pthread_mutex_lock(&e->lock);
	s = pick(e);
	if (s != NULL)
		rc = segment_pin(e, s);
	if (s != NULL && rc == 0 && !s->evacuate) {
		/* from the first copy until its name is gone */
		segment_evacuate(s, e->tail != NULL ? e->tail->number : e->next_number);
		fresh = true;
	}
	pthread_mutex_unlock(&e->lock);
	if (rc < 0)
		e->compact_retry = clock_mono_ms() + RETRY_MS;
	if (s == NULL)
		e->check_compact = false;
	if (s == NULL || rc < 0)
		return false;
	c = e->compaction = mem_new(struct compaction);
	c->s = s;
	c->untouched = fresh;
	load(e, c);
	return true;
}

uint32_t
compact_source(const struct embedded *e)
{
	return e->compaction != NULL ? (uint32_t)e->compaction->s->number : 0;
}

void
compact_abort(struct embedded *e)
{
	struct compaction *c = e->compaction;

	if (c == NULL)
		return;
	pthread_mutex_lock(&e->lock);
	if (c->untouched)
		c->s->evacuate = false;
	segment_unpin(c->s);
	pthread_mutex_unlock(&e->lock);
	buf_free(&c->rows);
	free(c->p);
	free(c);
	e->compaction = NULL;
	e->check_retire = e->check_compact = true;
}

/* Room for one more record in the tail and in the buffer. */
static uint8_t *
room_for(struct embedded *e, struct compaction *c, uint64_t span)
{
	e->batch->n = c->n;             /* counted as rows to come */
	if (c->n == MOVES || !tail_fits(e, e->tail->end + c->len, span, TAIL_COPY)) {
		c->want = span;
		return NULL;
	}
	if (c->len + span + PAGE > c->cap) {
		c->cap = c->len + span + PAGE < 2 * STEP ? 2 * STEP : c->len + span + PAGE;
		c->p = mem_realloc(c->p, c->cap);
	}
	return c->p + c->len;
}

static void
moved(struct embedded *e, struct compaction *c, struct record *r, uint8_t *p, const struct row *row,
    uint64_t from)
{
	uint64_t off = e->tail->end + c->len, seed = record_seed(e->tail->nonce, off);
	uint64_t span = record_span(r->length);

	r->seq = ++e->tail->seq;
	r->batch = e->tail->end;
	r->sum = codec_checksum(p + RECORD_HEADER, r->length, seed);
	record_put(p, r, seed);
	memset(p + RECORD_HEADER + r->length, 0, (size_t)(span - RECORD_HEADER - r->length));
	c->moves[c->n] = (struct move){ *row, off, from };
	c->moves[c->n++].row.span = (uint32_t)span;
	c->len += span;
}

static void
lost(struct embedded *e, struct segment *s, const struct row *row)
{
	struct entry *entry;
	char id[PH_MSGID_TEXT];

	segment_quarantine(e, s, row->off, row->span);
	embedded_log(e, PH_ERROR, "store.damaged", "segment %016llx offset %llu: %s of %s is damaged, "
	    "its bytes are in quarantine", (unsigned long long)s->number, (unsigned long long)row->off,
	    row->type == RECORD_MESSAGE ? "message" : "progress", id_text(row->id, id));
	pthread_mutex_lock(&e->lock);
	entry = table_get(&e->table, row->id);
	if (entry != NULL && entry->progress_span != 0) {
		segment_lost(e, entry->progress_segment, entry->progress_span);
		entry->progress_span = 0;
	}
	if (entry != NULL && row->type == RECORD_MESSAGE) {
		segment_lost(e, entry->segment, entry->span);
		e->facts.large -= (uint64_t)entry->pages * 4096;
		table_del(&e->table, entry);
	}
	pthread_mutex_unlock(&e->lock);
}

/* Copies one record of s; false: no room now. A damaged one is dealt with. */
static bool
copy(struct embedded *e, struct compaction *c, struct segment *s, const struct row *row)
{
	uint8_t *p = room_for(e, c, row->span);
	struct record r;
	int rc;

	if (p == NULL)
		return false;
	rc = segment_read(e, s, row->off, row->span, p, &r);
	if (rc < 0 || r.type != row->type || !id_eq(r.id, row->id))
		lost(e, s, row);
	else
		moved(e, c, &r, p, row, s->number);
	return true;
}

static bool
copy_note(struct embedded *e, struct compaction *c, const struct row *row)
{
	bool cut = row->type == RECORD_CUT;
	struct record r = { .type = row->type, .length = cut ? CUT_BODY : REMOVED_BODY, .id = row->id };
	uint8_t *p = room_for(e, c, record_span(r.length));

	if (p == NULL)
		return false;
	le64_put(p + RECORD_HEADER, row->target);
	if (cut)
		le64_put(p + RECORD_HEADER + 8, row->cut);
	moved(e, c, &r, p, row, c->s->number);
	return true;
}

static bool
copy_message(struct embedded *e, struct compaction *c, const struct row *row, const struct entry *at)
{
	struct row progress = { .type = RECORD_PROGRESS, .id = row->id,
	    .span = at->progress_span * RECORD_ALIGN,
	    .off = (uint64_t)at->progress_at * RECORD_ALIGN };
	size_t n = c->n, len = c->len;
	struct segment *s = NULL;
	bool ok = true;

	if (at->progress_span != 0) {
		pthread_mutex_lock(&e->lock);
		s = segment_find(e, at->progress_segment);
		if (s != NULL && segment_pin(e, s) < 0)
			s = NULL;
		pthread_mutex_unlock(&e->lock);
		ok = s != NULL && copy(e, c, s, &progress);
		pthread_mutex_lock(&e->lock);
		if (s != NULL)
			segment_unpin(s);
		pthread_mutex_unlock(&e->lock);
	}
	if (ok && copy(e, c, c->s, row))
		return true;
	c->n = n;                       /* both or neither */
	c->len = len;
	return false;
}

/* Does what one row needs; false: no room now. */
static bool
one(struct embedded *e, struct compaction *c, const struct row *row)
{
	struct entry at = { .span = 0 };
	const struct entry *entry;
	bool exists, here, progress_here;

	pthread_mutex_lock(&e->lock);
	entry = table_get(&e->table, row->id);
	if (entry != NULL)
		at = *entry;
	exists = (row->target != c->s->number && segment_find(e, row->target) != NULL) ||
	    (row->type == RECORD_REMOVED && segment_held(e, c->s));
	pthread_mutex_unlock(&e->lock);
	here = at.span != 0 && at.segment == (uint32_t)c->s->number;
	progress_here = at.progress_span != 0 && at.progress_segment == (uint32_t)c->s->number &&
	    (uint64_t)at.progress_at * RECORD_ALIGN == row->off;
	switch (row->type) {
	case RECORD_MESSAGE:
		if (here && (uint64_t)at.at * RECORD_ALIGN == row->off)
			return copy_message(e, c, row, &at);
		return true;
	case RECORD_PROGRESS:
		/* with its message, when that is here too */
		return here || !progress_here || copy(e, c, c->s, row);
	case RECORD_REMOVED:
	case RECORD_CUT:
		return !exists || copy_note(e, c, row);
	case RECORD_INDEX:
		break;
	}
	return true;
}

static void
arrived(struct embedded *e, const struct move *m)
{
	struct segment *t = e->tail;
	struct entry *entry;
	struct row row = m->row;
	uint8_t bytes[ROW_MAX];

	row.off = m->off;
	buf_add(&t->rows, bytes, row_put(bytes, &row));
	if (row.type == RECORD_REMOVED || row.type == RECORD_CUT) {
		segment_owe(t, row.target, row.span);
		return;
	}
	entry = table_get(&e->table, row.id);
	if (entry == NULL)              /* dropped as damaged in this very step */
		return;
	if (row.type == RECORD_MESSAGE) {
		segment_lost(e, entry->segment, entry->span);
		entry->segment = (uint32_t)t->number;
		entry->at = (uint32_t)(row.off / RECORD_ALIGN);
	} else {
		segment_lost(e, entry->progress_segment, entry->progress_span);
		entry->progress_segment = (uint32_t)t->number;
		entry->progress_at = (uint32_t)(row.off / RECORD_ALIGN);
	}
	t->live++;
	t->live_bytes += row.span;
}

static int
write_out(struct embedded *e, struct compaction *c)
{
	struct segment *t = e->tail;
	uint64_t after = t->end + c->len, page = (after + PAGE - 1) & ~(uint64_t)(PAGE - 1);
	struct iovec iov = { c->p, c->len };
	int rc;

	if (page <= t->size) {
		memset(c->p + c->len, 0, (size_t)(page - after));
		iov.iov_len += (size_t)(page - after);
	}
	c->untouched = false;
	rc = segment_write(e, t->fd, &iov, 1, t->end);
	if (rc < 0)
		return tail_fail(e, t->end, rc, false);
	rc = e->io->fdatasync(t->fd);
	if (rc < 0)
		return tail_fail(e, t->end, rc, true);
	pthread_mutex_lock(&e->lock);
	for (size_t i = 0; i < c->n; i++)
		arrived(e, &c->moves[i]);
	t->end = after;
	e->facts.f.syncs++;
	e->facts.f.bytes_written += c->len;
	pthread_mutex_unlock(&e->lock);
	return 0;
}

/* What the table has in this segment but neither index nor scan can find is lost. */
static void
give_up(struct embedded *e, struct segment *s)
{
	struct buf rows = { 0 };
	size_t at = 0;
	struct row row;

	pthread_mutex_lock(&e->lock);
	for (uint32_t i = 0; i < e->table.cap; i++) {
		const struct entry *entry = table_slot(&e->table, i);
		uint8_t bytes[ROW_MAX];

		if (entry == NULL)
			continue;
		row = (struct row){ .type = RECORD_MESSAGE, .id = entry->id, .span = entry->span * RECORD_ALIGN,
		    .off = (uint64_t)entry->at * RECORD_ALIGN };
		if (entry->segment != (uint32_t)s->number) {
			if (entry->progress_span == 0 || entry->progress_segment != (uint32_t)s->number)
				continue;
			row.type = RECORD_PROGRESS;
			row.span = entry->progress_span * RECORD_ALIGN;
			row.off = (uint64_t)entry->progress_at * RECORD_ALIGN;
		}
		buf_add(&rows, bytes, row_put(bytes, &row));
	}
	pthread_mutex_unlock(&e->lock);
	while (row_get((const uint8_t *)buf_view(&rows).p, rows.len, &at, &row))
		lost(e, s, &row);
	buf_free(&rows);
}

static void
end(struct embedded *e)
{
	struct compaction *c = e->compaction;
	struct segment *s = c->s;

	if (s->live > 0 && !c->by_scan) {
		c->by_scan = true;
		load(e, c);
		return;
	}
	if (s->live > 0)
		give_up(e, s);
	pthread_mutex_lock(&e->lock);
	s->ndebts = 0;                  /* all that matter were copied */
	e->facts.f.compacted++;
	pthread_mutex_unlock(&e->lock);
	compact_abort(e);
}

bool
compact_step(struct embedded *e, int64_t now)
{
	struct compaction *c = e->compaction;
	const uint8_t *p;
	struct row row;
	uint64_t step;
	bool more = true;
	int rc;

	if (now < e->compact_retry || e->ill || (c == NULL && !e->check_compact))
		return false;
	if (c == NULL)
		return begin(e);
	rc = tail_ensure(e, false);
	c->len = c->n = 0;
	c->want = 0;
	p = (const uint8_t *)buf_view(&c->rows).p;
	step = e->cfg.segment_size / 16 < STEP ? e->cfg.segment_size / 16 : STEP;
	while (rc == 0 && c->len < step) {
		size_t next = c->at;

		more = row_get(p, c->rows.len, &next, &row);
		if (!more || !one(e, c, &row))
			break;
		c->at = next;
	}
	if (rc == 0 && c->n > 0)
		rc = write_out(e, c);
	else if (rc == 0 && c->want != 0)
		rc = tail_roll(e, c->want, false);
	if (rc < 0) {
		compact_abort(e);
		e->compact_retry = now + RETRY_MS;
	} else if (!more)
		end(e);
	return true;
}
