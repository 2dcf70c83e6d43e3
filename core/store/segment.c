/*
 * segment.c - segments: what counts in them, their files opened, written, sealed, read.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/mem.h"
#include "store/embedded.h"

struct segment *
segment_new(uint64_t number)
{
	struct segment *s = mem_new(struct segment);

	s->number = number;
	s->fd = -1;
	return s;
}

void
segment_free(struct segment **sp)
{
	struct segment *s = *sp;

	*sp = NULL;
	if (s == NULL)
		return;
	buf_free(&s->rows);
	free(s->debts);
	free(s);
}

void
segment_add(struct embedded *e, struct segment *s)
{
	size_t at = e->nsegments;

	if (e->nsegments == e->segments_cap) {
		e->segments_cap = e->segments_cap != 0 ? e->segments_cap * 2 : 16;
		e->segments = mem_realloc(e->segments, e->segments_cap * sizeof(struct segment *));
	}
	for (; at > 0 && e->segments[at - 1]->number > s->number; at--)
		e->segments[at] = e->segments[at - 1];
	e->segments[at] = s;
	e->nsegments++;
}

struct segment *
segment_find(struct embedded *e, uint64_t number)
{
	size_t from = 0, to = e->nsegments;

	if (to > 0 && e->segments[to - 1]->number == number)
		return e->segments[to - 1];
	while (from < to) {
		size_t mid = from + (to - from) / 2;

		if (e->segments[mid]->number < number)
			from = mid + 1;
		else
			to = mid;
	}
	return from < e->nsegments && e->segments[from]->number == number ? e->segments[from] : NULL;
}

/* Closes the sealed file that was used least recently. */
static void
close_one(struct embedded *e)
{
	struct segment *oldest = NULL;

	for (size_t i = 0; i < e->nsegments; i++) {
		struct segment *s = e->segments[i];

		if (s->fd >= 0 && s->pins == 0 && s != e->tail &&
		    (oldest == NULL || s->stamp < oldest->stamp))
			oldest = s;
	}
	if (oldest == NULL)
		return;
	(void)e->io->close(oldest->fd);         /* nothing of it is unsynced */
	oldest->fd = -1;
	e->opened--;
}

int
segment_pin(struct embedded *e, struct segment *s)
{
	if (s->fd < 0) {
		char path[STORE_PATH];
		int fd;

		if (e->opened >= OPEN_MAX)
			close_one(e);
		embedded_path(e, path, "seg", s->number);
		fd = e->io->open(path, (e->cfg.readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC, 0);
		if (fd < 0)
			return fd;
		s->fd = fd;
		e->opened++;
	}
	s->pins++;
	s->stamp = ++e->stamp;
	return 0;
}

void
segment_unpin(struct segment *s)
{
	s->pins--;
}

void
segment_owe(struct segment *s, uint64_t target, uint64_t bytes)
{
	size_t from = 0, to = s->ndebts;

	if (target == s->number)        /* both vanish together */
		return;
	if (to > 0 && s->debts[to - 1].target == target)
		from = to - 1;
	while (from < to && s->debts[from].target != target) {
		size_t mid = from + (to - from) / 2;

		if (s->debts[mid].target < target)
			from = mid + 1;
		else
			to = mid;
	}
	if (from < s->ndebts && s->debts[from].target == target) {
		s->debts[from].bytes += bytes;
		return;
	}
	if (s->ndebts == s->debts_cap) {
		s->debts_cap = s->debts_cap != 0 ? s->debts_cap * 2 : 4;
		s->debts = mem_realloc(s->debts, s->debts_cap * sizeof(*s->debts));
	}
	memmove(s->debts + from + 1, s->debts + from, (s->ndebts - from) * sizeof(*s->debts));
	s->debts[from] = (struct debt){ target, bytes };
	s->ndebts++;
}

void
segment_forgive(struct segment *s, uint64_t target)
{
	for (size_t i = 0; i < s->ndebts; i++)
		if (s->debts[i].target == target) {
			s->ndebts--;
			memmove(s->debts + i, s->debts + i + 1, (s->ndebts - i) * sizeof(*s->debts));
			return;
		}
}

uint64_t
segment_debt(const struct segment *s)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < s->ndebts; i++)
		bytes += s->debts[i].bytes;
	return bytes;
}

bool
segment_matters(const struct segment *s)
{
	return s->live > 0 || s->ndebts > 0 || s->keep;
}

void
segment_lost(struct embedded *e, uint32_t number, uint32_t span)
{
	struct segment *s = segment_find(e, number);

	if (s == NULL)
		return;
	s->live--;
	s->live_bytes -= (uint64_t)span * RECORD_ALIGN;
	if (s->live == 0)
		e->check_retire = true;
	e->garbage += (uint64_t)span * RECORD_ALIGN;
	if (e->garbage > e->cfg.segment_size) {
		e->garbage = 0;
		e->check_compact = true;
	}
}

uint64_t
segment_index_room(const struct segment *s)
{
	return record_span(s->rows.len + 2 * ROW_MAX) + SEGMENT_TRAILER;
}

/* All of it, in order; a short write goes on where it stopped. */
int
segment_write(struct embedded *e, int fd, struct iovec *iov, int n, uint64_t off)
{
	while (n > 0) {
		ssize_t done = e->io->pwritev(fd, iov, n < 1024 ? n : 1024, (int64_t)off);

		if (done == -EINTR)
			continue;
		if (done <= 0)
			return done < 0 ? (int)done : -EIO;
		off += (uint64_t)done;
		while (n > 0 && (size_t)done >= iov->iov_len) {
			done -= (ssize_t)iov->iov_len;
			iov++;
			n--;
		}
		if (n > 0) {
			iov->iov_base = (char *)iov->iov_base + done;
			iov->iov_len -= (size_t)done;
		}
	}
	return 0;
}

bool
segment_held(const struct embedded *e, const struct segment *s)
{
	for (size_t i = 0; i < e->nsegments; i++) {
		const struct segment *other = e->segments[i];

		if (other != s && other->evacuate && s->number >= other->since)
			return true;
	}
	return !atomic_load(&e->scanned);
}

void
segment_evacuate(struct segment *s, uint64_t since)
{
	if (!s->evacuate || since < s->since)
		s->since = since;
	s->evacuate = true;
}

void
segment_prune_rows(struct embedded *e, const struct segment *s, const struct buf *rows, struct buf *out)
{
	const uint8_t *p = (const uint8_t *)buf_view(rows).p;
	bool all = segment_held(e, s);  /* removals of what may exist twice */
	size_t at = 0, was = 0;
	struct row row;

	for (; row_get(p, rows->len, &at, &row); was = at) {
		struct entry *entry;
		bool keep = false;

		switch (row.type) {
		case RECORD_MESSAGE:
			entry = table_get(&e->table, row.id);
			keep = entry != NULL && entry->segment == (uint32_t)s->number &&
			    (uint64_t)entry->at * RECORD_ALIGN == row.off;
			break;
		case RECORD_PROGRESS:
			entry = table_get(&e->table, row.id);
			keep = entry != NULL && entry->progress_span != 0 &&
			    entry->progress_segment == (uint32_t)s->number &&
			    (uint64_t)entry->progress_at * RECORD_ALIGN == row.off;
			break;
		case RECORD_REMOVED:
		case RECORD_CUT:
			keep = (all && row.type == RECORD_REMOVED) ||
			    (row.target != s->number && segment_find(e, row.target) != NULL);
			break;
		case RECORD_INDEX:
			break;
		}
		if (keep)
			buf_add(out, p + was, at - was);
	}
}

int
segment_seal(struct embedded *e, struct segment *s, const struct buf *rows)
{
	struct ph_str body = buf_view(rows);
	struct record r = { .type = RECORD_INDEX, .length = (uint32_t)body.n, .seq = ++s->seq,
	    .batch = s->end };
	struct segment_trailer t = { s->number, s->nonce, s->end };
	uint8_t header[RECORD_HEADER], trailer[SEGMENT_TRAILER];
	uint64_t after = s->end + record_span(body.n), size = s->size;
	uint64_t seed = record_seed(s->nonce, s->end);
	struct iovec iov[2] = { { header, RECORD_HEADER }, { (void *)(uintptr_t)body.p, body.n } };
	int rc;

	/* what is much too long gives its end back; a full one can be reused as it is */
	if (after + SEGMENT_TRAILER > size || size - after - SEGMENT_TRAILER > size / 8)
		size = after + SEGMENT_TRAILER;
	r.sum = codec_checksum(body.p, body.n, seed);
	record_put(header, &r, seed);
	segment_trailer_put(trailer, &t);
	rc = segment_write(e, s->fd, iov, body.n > 0 ? 2 : 1, s->end);
	iov[0] = (struct iovec){ trailer, SEGMENT_TRAILER };
	if (rc == 0)
		rc = segment_write(e, s->fd, iov, 1, size - SEGMENT_TRAILER);
	if (rc == 0 && size != s->size)
		rc = e->io->ftruncate(s->fd, (int64_t)size);
	if (rc == 0)
		rc = e->io->fdatasync(s->fd);
	pthread_mutex_lock(&e->lock);
	s->sealed = rc == 0;
	if (rc == 0)
		s->size = size;
	e->facts.f.syncs++;
	e->facts.f.bytes_written += RECORD_HEADER + body.n + SEGMENT_TRAILER;
	pthread_mutex_unlock(&e->lock);
	return rc;
}

int
segment_index(struct embedded *e, int fd, const struct segment *s, struct buf *rows)
{
	uint8_t trailer[SEGMENT_TRAILER], header[RECORD_HEADER];
	struct segment_trailer t;
	struct record r;
	char *body;

	if (s->size < SEGMENT_START + SEGMENT_TRAILER ||
	    e->io->pread(fd, trailer, sizeof trailer, (int64_t)(s->size - sizeof trailer)) !=
	    (ssize_t)sizeof trailer ||
	    !segment_trailer_get(trailer, &t) || t.number != s->number || t.nonce != s->nonce)
		return PH_ENOENT;
	if (t.index < SEGMENT_START || t.index > s->size - SEGMENT_TRAILER - RECORD_HEADER ||
	    e->io->pread(fd, header, sizeof header, (int64_t)t.index) != (ssize_t)sizeof header ||
	    !record_get(header, record_seed(s->nonce, t.index), &r) || r.type != RECORD_INDEX ||
	    r.length > s->size - t.index - RECORD_HEADER)
		return PH_ECORRUPT;
	body = buf_room(rows, r.length);
	if (r.length > 0 && e->io->pread(fd, body, r.length, (int64_t)(t.index + RECORD_HEADER)) !=
	    (ssize_t)r.length)
		return PH_ECORRUPT;
	if (!record_body_ok(&r, (const uint8_t *)body, record_seed(s->nonce, t.index)))
		return PH_ECORRUPT;
	buf_grew(rows, r.length);
	return 0;
}

int
segment_read(struct embedded *e, const struct segment *s, uint64_t off, uint64_t span, uint8_t *p,
    struct record *out)
{
	uint64_t done = 0, seed = record_seed(s->nonce, off);

	while (done < span) {
		ssize_t got = e->io->pread(s->fd, p + done, span - done, (int64_t)(off + done));

		if (got == -EINTR)
			continue;
		if (got <= 0)
			return got < 0 && got != -EIO ? PH_EIO : PH_ECORRUPT;
		done += (uint64_t)got;
	}
	if (!record_get(p, seed, out) || record_span(out->length) != span ||
	    !record_body_ok(out, p + RECORD_HEADER, seed))
		return PH_ECORRUPT;
	return 0;
}
