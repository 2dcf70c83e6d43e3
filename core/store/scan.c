/*
 * scan.c - reads a segment record by record when it has no index.
 *
 * Each record tells where its batch starts, and a batch is written only after
 * the one before it was synced.  So a valid record proves that everything
 * before its batch was once safe: what is bad there is damage, is kept in
 * quarantine and stepped over; what is bad behind the last proof is a torn
 * write that nobody was told about, and the segment ends there.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "store/embedded.h"

#define WINDOW (1u << 20)
#define PAGE 4096u

struct window {
	struct embedded *e;
	int fd;
	uint8_t *p;
	size_t len, cap;
	uint64_t base, limit;
};

/* n bytes at off, or NULL beyond the limit or where they cannot be read. */
static const uint8_t *
look(struct window *w, uint64_t off, uint64_t n)
{
	if (off > w->limit || n > w->limit - off)
		return NULL;
	if (off >= w->base && off + n <= w->base + w->len)
		return w->p + (off - w->base);
	if (n > w->cap) {
		free(w->p);
		w->cap = n < WINDOW ? WINDOW : n;
		w->p = mem_alloc(w->cap);
	}
	w->base = off;
	w->len = 0;
	while (w->len < w->cap && off + w->len < w->limit) {
		uint64_t want = w->limit - off - w->len;
		ssize_t got;

		if (want > w->cap - w->len)
			want = w->cap - w->len;
		got = w->e->io->pread(w->fd, w->p + w->len, want, (int64_t)(off + w->len));
		if (got == -EINTR)
			continue;
		if (got <= 0) {
			/* a bad place further on must not hide what is before it */
			if (w->len < n && want > 4096) {
				got = w->e->io->pread(w->fd, w->p + w->len, 4096,
				    (int64_t)(off + w->len));
				if (got > 0) {
					w->len += (size_t)got;
					continue;
				}
			}
			break;
		}
		w->len += (size_t)got;
	}
	return n <= w->len ? w->p : NULL;
}

enum { NOTHING, HEADER_ONLY, WHOLE };

/* What stands at off.  *skip: where the next may begin, from off; behind what its
 * header claims, or on the next page when this one cannot be read. */
static int
record_at(struct window *w, uint64_t nonce, uint64_t off, uint32_t after_seq, struct record *r,
    const uint8_t **body, uint64_t *skip)
{
	const uint8_t *p = look(w, off, RECORD_HEADER);

	*skip = p != NULL ? RECORD_ALIGN : PAGE - off % PAGE;
	if (p == NULL || !record_get(p, record_seed(nonce, off), r) || r->seq <= after_seq ||
	    r->batch > off || record_span(r->length) > w->limit - off)
		return NOTHING;
	*skip = record_span(r->length);
	p = look(w, off, *skip);
	if (p == NULL || !record_body_ok(r, p + RECORD_HEADER, record_seed(nonce, off)))
		return HEADER_ONLY;
	*body = p + RECORD_HEADER;
	return WHOLE;
}

/* Up to where was the segment certainly synced? */
static uint64_t
proof_behind(struct window *w, uint64_t nonce, uint64_t off, struct scan_result *out)
{
	uint64_t synced = 0, skip;
	const uint8_t *body;
	struct record r;

	for (; off + RECORD_HEADER <= w->limit; off += skip) {
		int what = record_at(w, nonce, off, out->seq, &r, &body, &skip);

		out->torn |= what != NOTHING;
		if (what == WHOLE && r.batch > synced)
			synced = r.batch;
	}
	return synced;
}

void
scan_segment(struct embedded *e, const struct segment *s, uint64_t limit, uint64_t synced,
    scan_fn *fn, damage_fn *damage, void *arg, struct scan_result *out)
{
	struct window w = { .e = e, .fd = s->fd, .limit = limit < s->size ? limit : s->size };
	uint64_t off = SEGMENT_START, bad = 0, skip;
	bool looked = false;
	const uint8_t *body;
	struct record r;

	*out = (struct scan_result){ .end = SEGMENT_START };
	while (off + RECORD_HEADER <= w.limit) {
		if (record_at(&w, s->nonce, off, out->seq, &r, &body, &skip) == WHOLE) {
			if (bad != 0)
				damage(arg, bad, off);
			bad = 0;
			fn(arg, &r, body, off);
			out->seq = r.seq;
			off += skip;
			out->end = off;
			continue;
		}
		if (bad == 0)
			bad = off;
		if (bad >= synced && !looked) {
			synced = proof_behind(&w, s->nonce, bad, out);
			looked = true;
		}
		if (bad >= synced)
			break;
		off += skip;
	}
	if (bad != 0 && bad < synced)
		damage(arg, bad, synced < w.limit ? synced : w.limit);
	free(w.p);
}
