/*
 * recover.c - what was in the spool before this life.
 *
 * Newest segment first: a removal or a progress always stands in the same
 * or a later segment than its message, so when a message is met all that
 * concerns it is known, and it is reported at once.  Sealed segments
 * are read by their index alone.  New mail is taken meanwhile, into new segments.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/id.h"
#include "base/mem.h"
#include "store/embedded.h"

#define REPORT 1000             /* messages told of at once */
#define NUMBER_DIGITS 16

struct pending {                /* a progress whose message was not met yet */
	struct ph_store_summary summary;
	uint64_t off;
	uint32_t span;
	uint64_t segment;
};
struct recovery {
	struct segment **old;   /* ascending */
	size_t n, left;         /* old[left - 1] is next */
	struct idset removed;   /* id to the segment its removal refers to */
	struct idset progress;  /* id to a place in pending */
	struct pending *pending;
	size_t npending, pending_cap;
	struct cut *cuts;
	size_t ncuts, cuts_cap;
	struct ph_store_added added[REPORT];
	size_t nadded;
	bool damage;            /* content files without a message are kept */
	int status;
	struct embedded *e;     /* for the calls of scan and list */
	struct segment *s;
	struct buf rows;
	uint64_t largest;
};

static void
name_met(void *arg, const char *name)
{
	struct recovery *rec = arg;
	struct embedded *e = rec->e;
	bool spare = strncmp(name, "spare-", 6) == 0;
	const char *digits = name + (spare ? 6 : 4);
	uint64_t number = 0;
	int i;

	if (strcmp(name, "reserve.log") == 0)
		e->has_reserve = true;
	if (!spare && strncmp(name, "seg-", 4) != 0)
		return;
	for (i = 0; i < NUMBER_DIGITS && digits[i] != '\0'; i++) {
		const char *at = strchr("0123456789abcdef", digits[i]);

		if (at == NULL)
			return;
		number = number << 4 | (uint64_t)(at - "0123456789abcdef");
	}
	if (i != NUMBER_DIGITS || strcmp(digits + i, ".log") != 0 || number == 0 || number > UINT32_MAX - 1)
		return;
	if (number > rec->largest)
		rec->largest = number;
	if (spare && e->nspares < SPARES_MAX)
		e->spares[e->nspares++] = number;
	else if (spare && !e->cfg.readonly) {
		char path[STORE_PATH];

		embedded_path(e, path, "spare", number);
		(void)e->io->unlink(path);      /* one more than is kept */
	} else if (!spare)
		segment_add(e, segment_new(number));
}

int
recover_open(struct embedded *e)
{
	struct recovery *rec = e->recovery = mem_new(struct recovery);
	int rc;

	rec->e = e;
	rc = e->io->list(e->dir, name_met, rec);
	rec->n = rec->left = e->nsegments;
	rec->old = mem_calloc(rec->n + 1, sizeof(struct segment *));
	for (size_t i = 0; i < rec->n; i++)
		rec->old[i] = e->segments[i];
	e->next_number = rec->largest + 1;
	return rc;
}

void
recover_free(struct embedded *e)
{
	struct recovery *rec = e->recovery;

	if (rec == NULL)
		return;
	idset_free(&rec->removed);
	idset_free(&rec->progress);
	free(rec->pending);
	free(rec->cuts);
	free(rec->old);
	buf_free(&rec->rows);
	free(rec);
	e->recovery = NULL;
}

void
recover_forget(struct embedded *e, struct ph_msgid id, uint64_t target)
{
	if (e->recovery != NULL)
		(void)idset_put(&e->recovery->removed, id, target);
}

static void
report(struct recovery *rec)
{
	if (rec->nadded > 0 && rec->e->ev->added != NULL)
		rec->e->ev->added(rec->e->arg, rec->added, rec->nadded);
	rec->nadded = 0;
}

static void
met_removed(struct recovery *rec, const struct row *row)
{
	struct embedded *e = rec->e;

	pthread_mutex_lock(&e->lock);
	(void)idset_put(&rec->removed, row->id, row->target);   /* any of them will do */
	if (segment_find(e, row->target) != NULL)
		segment_owe(rec->s, row->target, row->span);
	pthread_mutex_unlock(&e->lock);
}

static void
met_cut(struct recovery *rec, const struct row *row)
{
	struct embedded *e = rec->e;

	if (rec->ncuts == rec->cuts_cap) {
		rec->cuts_cap = rec->cuts_cap != 0 ? rec->cuts_cap * 2 : 4;
		rec->cuts = mem_realloc(rec->cuts, rec->cuts_cap * sizeof(*rec->cuts));
	}
	rec->cuts[rec->ncuts++] = (struct cut){ row->target, row->cut };
	pthread_mutex_lock(&e->lock);
	if (segment_find(e, row->target) != NULL)
		segment_owe(rec->s, row->target, row->span);
	pthread_mutex_unlock(&e->lock);
}

/* The last one of the newest segment counts. */
static void
met_progress(struct recovery *rec, const struct row *row)
{
	struct pending now = { row->summary, row->off, row->span, rec->s->number };
	uint64_t at;

	if (idset_get(&rec->progress, row->id, &at)) {
		if (rec->pending[at].segment == rec->s->number)
			rec->pending[at] = now;
		return;
	}
	if (rec->npending == rec->pending_cap) {
		rec->pending_cap = rec->pending_cap != 0 ? rec->pending_cap * 2 : 64;
		rec->pending = mem_realloc(rec->pending, rec->pending_cap * sizeof(*rec->pending));
	}
	if (idset_put(&rec->progress, row->id, rec->npending))
		rec->pending[rec->npending++] = now;
}

static void
met_message(struct recovery *rec, const struct row *row)
{
	struct embedded *e = rec->e;
	struct segment *s = rec->s, *ps;
	const struct pending *p = NULL;
	struct entry *entry;
	uint64_t at;

	/* Removed, or met in a newer segment: if this copy is not the one that the
	 * removal speaks of, a compaction was cut short here and is finished first. */
	if (idset_get(&rec->removed, row->id, &at)) {
		if (at != s->number)
			segment_evacuate(s, s->number);
		return;
	}
	if (id_zero(row->id))
		return;
	if (table_get(&e->table, row->id) != NULL) {
		segment_evacuate(s, s->number);
		return;
	}
	entry = table_put(&e->table, row->id);
	entry->segment = (uint32_t)s->number;
	entry->at = (uint32_t)(row->off / RECORD_ALIGN);
	entry->span = row->span / RECORD_ALIGN;
	entry->tag = row->tag;
	if (row->tag != 0)
		entry->pages = (uint32_t)((row->summary.size + 4095) / 4096);
	e->facts.large += (uint64_t)entry->pages * 4096;
	s->live++;
	s->live_bytes += row->span;
	if (idset_get(&rec->progress, row->id, &at)) {
		p = &rec->pending[at];
		ps = segment_find(e, p->segment);
		if (ps != NULL) {
			entry->progress_segment = (uint32_t)p->segment;
			entry->progress_at = (uint32_t)(p->off / RECORD_ALIGN);
			entry->progress_span = p->span / RECORD_ALIGN;
			ps->live++;
			ps->live_bytes += p->span;
		} else
			p = NULL;
	}
	rec->added[rec->nadded++] = (struct ph_store_added){ .id = row->id,
	    .summary = p != NULL ? p->summary : row->summary };
}

/* All rows of one segment; what ends messages comes before what begins them. */
static void
use_rows(struct recovery *rec, uint64_t limit)
{
	const uint8_t *p = (const uint8_t *)buf_view(&rec->rows).p;
	size_t n = rec->rows.len;
	struct row row;

	for (size_t at = 0; row_get(p, n, &at, &row); ) {
		if (row.off >= limit || row.span > limit - row.off)
			continue;
		if (row.type == RECORD_REMOVED)
			met_removed(rec, &row);
		else if (row.type == RECORD_CUT)
			met_cut(rec, &row);
		else if (row.type == RECORD_PROGRESS)
			met_progress(rec, &row);
	}
	pthread_mutex_lock(&rec->e->lock);
	for (size_t at = 0; row_get(p, n, &at, &row); ) {
		if (row.type != RECORD_MESSAGE || row.off >= limit || row.span > limit - row.off)
			continue;
		met_message(rec, &row);
		if (rec->nadded == REPORT) {
			pthread_mutex_unlock(&rec->e->lock);
			report(rec);
			pthread_mutex_lock(&rec->e->lock);
		}
	}
	pthread_mutex_unlock(&rec->e->lock);
}

static void
row_found(void *arg, const struct record *r, const uint8_t *body, uint64_t off)
{
	struct recovery *rec = arg;
	uint8_t bytes[ROW_MAX];
	struct row row;

	if (r->type == RECORD_INDEX)
		return;
	row_of(r, body, off, &row);
	buf_add(&rec->rows, bytes, row_put(bytes, &row));
}

static void
damage_found(void *arg, uint64_t from, uint64_t to)
{
	struct recovery *rec = arg;
	struct record r = { .type = 0 };
	uint8_t p[RECORD_HEADER];
	char id[PH_MSGID_TEXT];

	rec->damage = true;
	segment_quarantine(rec->e, rec->s, from, to - from);
	if (rec->e->io->pread(rec->s->fd, p, sizeof p, (int64_t)from) != (ssize_t)sizeof p ||
	    !record_get(p, record_seed(rec->s->nonce, from), &r))
		r.id = (struct ph_msgid){ 0, 0 };
	embedded_log(rec->e, PH_ERROR, "store.damaged", "segment %016llx offset %llu: %llu bytes are "
	    "damaged, in quarantine; message %s", (unsigned long long)rec->s->number,
	    (unsigned long long)from, (unsigned long long)(to - from),
	    id_zero(r.id) ? "unknown" : id_text(r.id, id));
}

enum header { HEADER_GOOD, HEADER_UNUSED, HEADER_BAD };

/* Two copies at the start; the trailer has the nonce as well. A file that
 * was taken over but not written under its new name yet has its old one. */
static enum header
read_header(struct recovery *rec)
{
	struct segment *s = rec->s;
	uint8_t p[SEGMENT_HEADER], trailer[SEGMENT_TRAILER];
	struct segment_trailer t;
	struct segment_id id;
	bool other = false, zero = true;

	for (int64_t at = 0; at <= SEGMENT_COPY; at += SEGMENT_COPY) {
		if (rec->e->io->pread(s->fd, p, sizeof p, at) != (ssize_t)sizeof p)
			continue;
		for (size_t i = 0; i < sizeof p; i++)
			zero &= p[i] == 0;
		if (!segment_header_get(p, &id))
			continue;
		if (id.number == s->number) {
			s->nonce = id.nonce;
			return HEADER_GOOD;
		}
		other = true;
	}
	if (s->size >= SEGMENT_START + SEGMENT_TRAILER &&
	    rec->e->io->pread(s->fd, trailer, sizeof trailer, (int64_t)(s->size - sizeof trailer)) ==
	    (ssize_t)sizeof trailer && segment_trailer_get(trailer, &t) && t.number == s->number) {
		s->nonce = t.nonce;
		return HEADER_GOOD;
	}
	return other || zero ? HEADER_UNUSED : HEADER_BAD;
}

/* Gets the index that the crash kept it from, so that the next start is quick.  Only when
 * everything was read: its progress may belong to messages of older segments. */
static void
seal_old(struct embedded *e, struct segment *s)
{
	struct buf rows = { 0 };
	int rc;

	pthread_mutex_lock(&e->lock);
	rc = segment_matters(s) ? segment_pin(e, s) : 1;
	if (rc == 0)
		segment_prune_rows(e, s, &s->rows, &rows);
	pthread_mutex_unlock(&e->lock);
	if (rc == 0) {
		rc = segment_seal(e, s, &rows);
		pthread_mutex_lock(&e->lock);
		segment_unpin(s);
		pthread_mutex_unlock(&e->lock);
	}
	buf_free(&rows);
	buf_free(&s->rows);
	if (rc == 1)
		return;
	if (rc == 0 || rc == -ENOSPC || rc == -EDQUOT)
		return;
	/* nobody knows what is on the disk: what counts is copied */
	embedded_log(e, PH_ERROR, "store.seal", "segment %016llx: %s", (unsigned long long)s->number,
	    ph_strerror(embedded_error(rc)));
	s->poisoned = true;
	segment_evacuate(s, s->number);
}

static void
bad_file(struct recovery *rec)
{
	struct embedded *e = rec->e;
	char from[STORE_PATH], to[STORE_PATH];

	rec->damage = true;
	embedded_log(e, PH_ERROR, "store.damaged", "segment %016llx has no readable header; the file is "
	    "kept in quarantine", (unsigned long long)rec->s->number);
	if (e->cfg.readonly)
		return;
	embedded_path(e, from, "seg", rec->s->number);
	(void)snprintf(to, sizeof to, "%s/seg-%016llx.log", e->quarantine,
	    (unsigned long long)rec->s->number);
	pthread_mutex_lock(&e->lock);
	e->facts.f.quarantined++;
	if (e->io->rename(from, to) < 0)
		rec->s->keep = true;    /* stays where it is */
	pthread_mutex_unlock(&e->lock);
	(void)e->io->syncdir(e->quarantine);
}

static void
read_segment(struct recovery *rec)
{
	struct embedded *e = rec->e;
	struct segment *s = rec->s;
	struct scan_result result;
	uint64_t limit = UINT64_MAX;
	int64_t size;
	int rc = PH_ENOENT;

	size = e->io->size(s->fd);
	s->size = size > 0 ? (uint64_t)size : 0;
	switch (read_header(rec)) {
	case HEADER_GOOD:
		break;
	case HEADER_UNUSED:
		s->poisoned = true;     /* not worth keeping */
		return;
	case HEADER_BAD:
		s->poisoned = true;
		bad_file(rec);
		return;
	}
	for (size_t i = 0; i < rec->ncuts; i++)
		if (rec->cuts[i].segment == s->number && rec->cuts[i].end < limit)
			limit = rec->cuts[i].end;
	buf_clear(&rec->rows);
	if (limit == UINT64_MAX)
		rc = segment_index(e, s->fd, s, &rec->rows);
	s->sealed = rc == 0;
	if (rc == PH_ECORRUPT)
		embedded_log(e, PH_WARN, "store.index", "segment %016llx: its index is damaged, it is read "
		    "as a whole", (unsigned long long)s->number);
	if (rc == 0) {
		s->end = s->size;
	} else {
		scan_segment(e, s, limit, limit != UINT64_MAX ? limit : 0, row_found, damage_found, rec,
		    &result);
		s->end = result.end;
		s->seq = result.seq;
		embedded_log(e, PH_INFO, "store.scanned", "segment %016llx was not sealed: ends at %llu%s",
		    (unsigned long long)s->number, (unsigned long long)s->end,
		    result.torn ? ", a torn write behind it is cut off" : "");
	}
	use_rows(rec, limit < s->size ? limit : s->size);
	report(rec);
	if (limit != UINT64_MAX) {
		s->poisoned = true;
		segment_evacuate(s, s->number);
	} else if (rc != 0 && !e->cfg.readonly) {
		s->rows = rec->rows;
		rec->rows = (struct buf){ 0 };
	}
}

static void
finish(struct embedded *e)
{
	struct recovery *rec = e->recovery;
	int status = rec->status;

	for (size_t i = 0; i < rec->n; i++)
		if (rec->old[i]->evacuate)
			buf_free(&rec->old[i]->rows);   /* its index must tell of every copy */
		else if (rec->old[i]->rows.len > 0)
			seal_old(e, rec->old[i]);
	if (!e->cfg.readonly)
		spill_sweep(e, rec->damage);
	pthread_mutex_lock(&e->lock);
	recover_free(e);
	atomic_store(&e->scanned, true);
	pthread_mutex_unlock(&e->lock);
	if (e->ev->scanned != NULL)
		e->ev->scanned(e->arg, status);
}

bool
recover_step(struct embedded *e)
{
	struct recovery *rec = e->recovery;
	struct segment *s;
	int rc;

	if (atomic_load(&e->scanned))
		return false;
	if (rec->left == 0) {
		finish(e);
		return true;
	}
	s = rec->s = rec->old[--rec->left];
	pthread_mutex_lock(&e->lock);
	rc = segment_pin(e, s);
	if (rc < 0)
		s->keep = true;
	pthread_mutex_unlock(&e->lock);
	if (rc < 0) {
		embedded_log(e, PH_ERROR, "store.unreadable", "segment %016llx: %s",
		    (unsigned long long)s->number, ph_strerror(embedded_error(rc)));
		rec->status = PH_EIO;
		rec->damage = true;
		return true;
	}
	read_segment(rec);
	pthread_mutex_lock(&e->lock);
	segment_unpin(s);
	pthread_mutex_unlock(&e->lock);
	return true;
}
