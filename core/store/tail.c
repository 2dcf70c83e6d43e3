/*
 * tail.c - the segment that is written to: when a new one is taken, what
 * happens when writing or syncing it fails, and whether there is room.
 *
 * After a failed fdatasync nobody knows what is on the disk, and a second one
 * would lie: the segment ends at its last good offset for ever.  That is
 * made durable as a CUT record in the next segment before those who waited are told
 * PH_EIO; when not even that can be written they are told PH_EDOUBT.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "store/embedded.h"

#define RESERVE_MAX (1u << 20)

/* Room that only removals and progress may use, so that deliveries go on when
 * the disk is full: at least as many removals as empty one whole segment. */
static uint64_t
reserve_of(const struct embedded *e, const struct segment *s)
{
	uint64_t reserve = s->size / 16 < RESERVE_MAX ? s->size / 16 : RESERVE_MAX;
	uint64_t most = e->most > s->live ? e->most : s->live;

	most *= RECORD_HEADER + REMOVED_BODY + ROW_REMOVED;
	if (most > s->size / 4)
		most = s->size / 4;
	return most > reserve ? most : reserve;
}

bool
tail_fits(const struct embedded *e, uint64_t off, uint64_t span, enum tail_use use)
{
	const struct segment *s = e->tail;
	uint64_t index = record_span(s->rows.len + (e->batch->n + 2) * ROW_MAX) + SEGMENT_TRAILER;
	uint64_t keep = index;

	if (use == TAIL_APPEND && s->emergency)
		return false;
	if (use == TAIL_APPEND && off > SEGMENT_START)
		keep += reserve_of(e, s);
	else if (use == TAIL_LAZY && s->emergency)
		keep += s->size / 2;    /* compaction gets the disk out of this */
	return span <= s->size && keep <= s->size - span && off <= s->size - span - keep;
}

uint64_t
tail_most(const struct embedded *e)
{
	return e->cfg.segment_size - e->cfg.segment_size / 16 - SEGMENT_START - 1024;
}

void
room_set(struct embedded *e, bool room)
{
	if (e->room == room)
		return;
	e->room = room;
	embedded_log(e, room ? PH_INFO : PH_WARN, "store.room",
	    room ? "there is room for new messages again" : "no room for new messages");
	if (e->ev->room != NULL)
		e->ev->room(e->arg, room);
}

/* Durable notes about segments that ended badly; the first records of a tail. */
static int
write_cuts(struct embedded *e)
{
	struct segment *s = e->tail;
	struct buf out = { 0 };
	struct iovec iov;
	int rc;

	for (size_t i = 0; i < e->ncuts; i++) {
		uint64_t off = s->end + out.len, seed = record_seed(s->nonce, off);
		uint8_t *p = (uint8_t *)buf_room(&out, RECORD_HEADER + CUT_BODY), row_bytes[ROW_MAX];
		struct record r = { .type = RECORD_CUT, .length = CUT_BODY, .seq = ++s->seq, .batch = s->end };
		struct row row;

		le64_put(p + RECORD_HEADER, e->cuts[i].segment);
		le64_put(p + RECORD_HEADER + 8, e->cuts[i].end);
		r.sum = codec_checksum(p + RECORD_HEADER, CUT_BODY, seed);
		record_put(p, &r, seed);
		row_of(&r, p + RECORD_HEADER, off, &row);
		buf_grew(&out, RECORD_HEADER + CUT_BODY);
		buf_add(&s->rows, row_bytes, row_put(row_bytes, &row));
	}
	iov = (struct iovec){ out.data + out.head, out.len };
	rc = segment_write(e, s->fd, &iov, 1, s->end);
	if (rc == 0)
		rc = e->io->fdatasync(s->fd);
	if (rc == 0) {
		s->end += out.len;
		pthread_mutex_lock(&e->lock);
		for (size_t i = 0; i < e->ncuts; i++)
			if (segment_find(e, e->cuts[i].segment) != NULL)
				segment_owe(s, e->cuts[i].segment, RECORD_HEADER + CUT_BODY);
		e->facts.f.syncs++;
		e->facts.f.bytes_written += out.len;
		pthread_mutex_unlock(&e->lock);
		e->ncuts = 0;
	}
	buf_free(&out);
	return rc;
}

static void
set_tail(struct embedded *e, struct segment *s)
{
	struct segment *old = e->tail;

	pthread_mutex_lock(&e->lock);
	if (old != NULL)
		segment_unpin(old);
	if (s != NULL)
		s->pins++;              /* its file stays open */
	e->tail = s;
	pthread_mutex_unlock(&e->lock);
	e->check_retire = e->check_compact = true;
}

static void
poison(struct embedded *e, struct segment *s)
{
	s->poisoned = true;
	buf_free(&s->rows);
	set_tail(e, NULL);
}

static void
seal(struct embedded *e, struct segment *s)
{
	struct buf rows = { 0 };
	int rc;

	pthread_mutex_lock(&e->lock);
	if (s->live > e->most)
		e->most = s->live;
	segment_prune_rows(e, s, &s->rows, &rows);
	pthread_mutex_unlock(&e->lock);
	rc = segment_seal(e, s, &rows);
	if (rc < 0) {
		/* all its records were synced before; only its index is not sure */
		s->poisoned = true;
		embedded_log(e, PH_ERROR, "store.seal", "segment %016llx: %s",
		    (unsigned long long)s->number, ph_strerror(embedded_error(rc)));
	}
	buf_free(&rows);
	buf_free(&s->rows);
}

static int
sick(struct embedded *e, int rc)
{
	if (rc == -ENOSPC || rc == -EDQUOT) {
		e->no_space = true;
		room_set(e, false);
		return PH_ENOSPC;
	}
	if (!e->ill)
		embedded_log(e, PH_ERROR, "store.ill", "no new segment can be written: %s",
		    ph_strerror(embedded_error(rc)));
	e->ill = true;
	e->ill_until = clock_mono_ms() + RETRY_MS;
	room_set(e, false);
	return PH_EIO;
}

int
tail_roll(struct embedded *e, uint64_t want, bool append)
{
	struct segment *s, *old = e->tail;
	int rc;

	if (e->ill && clock_mono_ms() < e->ill_until)
		return PH_EIO;
	rc = segment_create(e, want, append, &s);
	if (rc < 0)
		return sick(e, rc);
	if (old != NULL) {
		pthread_mutex_lock(&e->lock);
		old->pins++;            /* until it is sealed */
		pthread_mutex_unlock(&e->lock);
	}
	set_tail(e, s);
	if (old != NULL) {
		seal(e, old);
		pthread_mutex_lock(&e->lock);
		segment_unpin(old);
		pthread_mutex_unlock(&e->lock);
	}
	if (e->ncuts > 0) {
		rc = write_cuts(e);
		if (rc < 0) {
			/* it holds nothing but cuts, which are true whether they survive or not */
			poison(e, s);
			return sick(e, rc);
		}
	}
	e->ill = false;
	e->no_space = s->emergency;
	if (e->no_space)
		room_set(e, false);
	return 0;
}

int
tail_ensure(struct embedded *e, bool append)
{
	return e->tail != NULL ? 0 : tail_roll(e, 0, append);
}

static void
add_cut(struct embedded *e, uint64_t segment, uint64_t end)
{
	if (e->ncuts == e->cuts_cap) {
		e->cuts_cap = e->cuts_cap != 0 ? e->cuts_cap * 2 : 4;
		e->cuts = mem_realloc(e->cuts, e->cuts_cap * sizeof(*e->cuts));
	}
	e->cuts[e->ncuts++] = (struct cut){ segment, end };
}

/* What was written of a batch that failed must not be taken for mail
 * after a crash: its first header goes, and what stands behind it says itself
 * that it belongs to this batch. */
static int
blank(struct embedded *e, uint64_t start)
{
	uint8_t nothing[RECORD_HEADER] = { 0 };
	struct iovec iov = { nothing, sizeof nothing };

	return segment_write(e, e->tail->fd, &iov, 1, start);
}

int
tail_fail(struct embedded *e, uint64_t start, int rc, bool synced)
{
	struct segment *s = e->tail;

	if (!synced && (rc == -ENOSPC || rc == -EDQUOT)) {
		rc = blank(e, start);
		if (rc >= 0)
			rc = e->io->fdatasync(e->tail->fd);
		if (rc == 0)
			return sick(e, -ENOSPC);
	} else {
		/* Should the cut fail, too: a process that dies then does not find the batch. */
		(void)blank(e, start);
	}
	embedded_log(e, PH_ERROR, "store.failed-sync", "segment %016llx ends at %llu: %s",
	    (unsigned long long)s->number, (unsigned long long)start, ph_strerror(embedded_error(rc)));
	s->end = start;
	add_cut(e, s->number, start);
	poison(e, s);
	return tail_roll(e, 0, false) == 0 ? PH_EIO : PH_EDOUBT;
}

void
room_look(struct embedded *e, int64_t now)
{
	int64_t bytes, least = (int64_t)e->cfg.reserve;

	if (now < e->room_check)
		return;
	e->room_check = now + RETRY_MS;
	e->check_compact |= !e->room;
	bytes = e->io->free_bytes(e->dir);
	if (!e->room)
		least += least / 8;     /* does not flap */
	if (bytes >= 0 && bytes < least)
		bytes += (int64_t)(e->nspares * e->cfg.segment_size);
	if (bytes >= 0 && bytes < least) {
		room_set(e, false);
		return;
	}
	if (e->ill && tail_ensure(e, true) == 0)
		e->ill = false;
	if (e->no_space && !e->ill) {
		if (e->tail != NULL)
			e->batch->n = 0;
		if (e->tail != NULL && tail_fits(e, e->tail->end, SEGMENT_START, TAIL_APPEND))
			e->no_space = false;
		else if (tail_roll(e, 0, true) == 0)
			e->no_space = false;
	}
	if (!e->ill && !e->no_space)
		segment_reserve(e);
	room_set(e, !e->ill && !e->no_space);
}

void
tail_close(struct embedded *e)
{
	struct segment *s = e->tail;

	if (s == NULL)
		return;
	if (segment_matters(s))
		seal(e, s);
	set_tail(e, NULL);
}
