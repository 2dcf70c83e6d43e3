/*
 * batch.c - what waits becomes one write and one sync.
 *
 * Small things (headers, envelopes) are copied side by side into a staging
 * area, contents are written from where they are: a message costs two
 * iovecs.  The write is filled up to the page with zeros, so that the kernel
 * never has to read a page before it can change it.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "mail/content.h"
#include "store/embedded.h"

#define COPY_META 16384         /* up to this an envelope is copied */
#define COPY_CONTENT 1024       /* and a block of content */
#define MANY_BLOCKS 512         /* above this a content is put into one piece first */
#define PAGE 4096

static const uint8_t zeros[PAGE];

void
batch_start(struct embedded *e)
{
	struct batch *b = e->batch;

	b->n = 0;
	b->niov = 0;
	b->staged = 0;
	b->staging_open = NULL;
	b->start = b->end = e->tail->end;
	free(b->flat);
	b->flat = NULL;
}

static uint8_t *
stage(struct batch *b, size_t n)
{
	uint8_t *p = b->staging + b->staged;

	if (b->staging_open == p)
		b->iov[b->niov - 1].iov_len += n;
	else
		b->iov[b->niov++] = (struct iovec){ p, n };
	b->staged += n;
	b->staging_open = p + n;
	return p;
}

static void
put(struct batch *b, const void *p, size_t n, size_t copied)
{
	if (n == 0)
		return;
	codec_sum_add(b->sum, p, n);
	if (n <= copied) {
		memcpy(stage(b, n), p, n);
		return;
	}
	b->iov[b->niov++] = (struct iovec){ (void *)(uintptr_t)p, n };
	b->staging_open = NULL;
}

static size_t
blocks_of(const struct ph_content *c, size_t *copied)
{
	size_t n = 0;

	for (const struct content_block *at = c->first; at != NULL; at = at->next, n++)
		if (at->len <= COPY_CONTENT)
			*copied += at->len;
	return n;
}

static void
put_content(struct batch *b, const struct ph_content *c, bool flat)
{
	if (flat) {
		b->flat = mem_alloc(c->size);
		(void)content_copy(c, 0, b->flat, c->size);     /* all of it: it is in memory */
		put(b, b->flat, c->size, 0);
		return;
	}
	for (const struct content_block *at = c->first; at != NULL; at = at->next)
		put(b, at->data, at->len, COPY_CONTENT);
}

static uint64_t
length_of(struct item *item)
{
	const struct ph_store_request *r = item->r;

	switch (item->type) {
	case RECORD_MESSAGE:
		return (uint64_t)MESSAGE_FIXED + r->meta.n + r->head.n +
		    (item->fixed.tag != 0 ? 0 : item->fixed.content);
	case RECORD_PROGRESS:
		return (uint64_t)PROGRESS_FIXED + r->progress.n;
	default:
		return REMOVED_BODY;
	}
}

static void
fill(struct batch *b, struct item *item, bool flat)
{
	struct ph_store_request *r = item->r;
	uint8_t *p;

	switch (item->type) {
	case RECORD_MESSAGE:
		p = stage(b, MESSAGE_FIXED);
		message_put(p, &item->fixed);
		codec_sum_add(b->sum, p, MESSAGE_FIXED);
		put(b, r->meta.p, r->meta.n, COPY_META);
		put(b, r->head.p, r->head.n, COPY_META);
		if (item->fixed.tag == 0 && r->content != NULL)
			put_content(b, r->content, flat);
		break;
	case RECORD_PROGRESS:
		p = stage(b, PROGRESS_FIXED);
		summary_put(p, &r->summary);
		le32_put(p + RECORD_SUMMARY, (uint32_t)r->progress.n);
		le32_put(p + RECORD_SUMMARY + 4, 0);
		codec_sum_add(b->sum, p, PROGRESS_FIXED);
		put(b, r->progress.p, r->progress.n, COPY_META);
		break;
	default:
		p = stage(b, REMOVED_BODY);
		le64_put(p, item->target);
		codec_sum_add(b->sum, p, REMOVED_BODY);
		break;
	}
}

int
batch_add(struct embedded *e, struct item *item)
{
	struct batch *b = e->batch;
	struct segment *s = e->tail;
	uint64_t length = length_of(item), span = record_span(length), seed;
	bool append = item->type == RECORD_MESSAGE, flat = false;
	size_t blocks = 0, copied = RECORD_HEADER + MESSAGE_FIXED + RECORD_ALIGN + 2 * COPY_META;
	struct record rec;
	uint8_t *header;

	if (append && item->fixed.tag == 0 && item->r->content != NULL) {
		blocks = blocks_of(item->r->content, &copied);
		flat = blocks > MANY_BLOCKS;
		if (flat)
			copied = RECORD_HEADER + MESSAGE_FIXED + RECORD_ALIGN + 2 * COPY_META;
	}
	if (b->n == BATCH_ITEMS || b->staged + copied > STAGING || (flat && b->flat != NULL) ||
	    (size_t)b->niov + (flat ? 1 : blocks) + 5 > BATCH_IOV ||
	    !tail_fits(e, b->end, span, append ? TAIL_APPEND : TAIL_LAZY))
		return PH_EBUSY;
	item->off = b->end;
	item->span = (uint32_t)span;
	seed = record_seed(s->nonce, item->off);
	rec = (struct record){ .type = item->type, .length = (uint32_t)length, .seq = ++s->seq,
	    .batch = b->start, .id = item->r->id };
	header = stage(b, RECORD_HEADER);
	codec_sum_start(b->sum, seed);
	fill(b, item, flat);
	rec.sum = codec_sum_end(b->sum);
	record_put(header, &rec, seed);
	if (span > RECORD_HEADER + length) {
		size_t pad = (size_t)(span - RECORD_HEADER - length);

		memset(stage(b, pad), 0, pad);
	}
	b->end += span;
	b->items[b->n++] = *item;
	return 0;
}

int
batch_write(struct embedded *e)
{
	struct batch *b = e->batch;
	uint64_t page = (b->end + PAGE - 1) & ~(uint64_t)(PAGE - 1);
	int rc;

	if (page > b->end && page <= e->tail->size)
		b->iov[b->niov++] = (struct iovec){ (void *)(uintptr_t)zeros, (size_t)(page - b->end) };
	rc = segment_write(e, e->tail->fd, b->iov, b->niov, b->start);
	if (rc < 0)
		return tail_fail(e, b->start, rc, false);
	rc = e->io->fdatasync(e->tail->fd);
	if (rc < 0)
		return tail_fail(e, b->start, rc, true);
	return 0;
}
