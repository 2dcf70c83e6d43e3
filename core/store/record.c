/*
 * record.c - encoding and checking of records, see record.h.
 *
 * The header has a checksum of its own, so that a length is believed only
 * when it is right: searching for the next record behind a damaged one
 * costs one look per 8 bytes, whatever a message may contain.
 */
#include "base/codec.h"
#include "store/record.h"

#define RECORD_MAGIC 0x31524850u        /* "PHR1" */
#define RECORD_VERSION 1
#define HEADER_MAGIC 0x544e4d4745534850ull      /* "PHSEGMNT" */
#define TRAILER_MAGIC 0x44454c4145534850ull     /* "PHSEALED" */
#define FORMAT_VERSION 1

void
record_put(uint8_t out[RECORD_HEADER], const struct record *r, uint64_t seed)
{
	le32_put(out, RECORD_MAGIC);
	out[8] = RECORD_VERSION;
	out[9] = (uint8_t)r->type;
	out[10] = out[11] = 0;
	le32_put(out + 12, r->length);
	le32_put(out + 16, r->seq);
	le32_put(out + 20, (uint32_t)(r->batch / RECORD_ALIGN));
	le64_put(out + 24, r->id.hi);
	le64_put(out + 32, r->id.lo);
	le64_put(out + 40, r->sum);
	le32_put(out + 4, (uint32_t)codec_checksum(out + 8, RECORD_HEADER - 8, seed));
}

bool
record_get(const uint8_t in[RECORD_HEADER], uint64_t seed, struct record *out)
{
	if (le32_get(in) != RECORD_MAGIC || in[8] != RECORD_VERSION ||
	    in[9] < RECORD_MESSAGE || in[9] > RECORD_INDEX)
		return false;
	if (le32_get(in + 4) != (uint32_t)codec_checksum(in + 8, RECORD_HEADER - 8, seed))
		return false;
	out->type = (enum record_type)in[9];
	out->length = le32_get(in + 12);
	out->seq = le32_get(in + 16);
	out->batch = (uint64_t)le32_get(in + 20) * RECORD_ALIGN;
	out->id.hi = le64_get(in + 24);
	out->id.lo = le64_get(in + 32);
	out->sum = le64_get(in + 40);
	return true;
}

static bool
body_fits(const struct record *r, const uint8_t *body)
{
	struct message_fixed m;
	uint64_t room;

	switch (r->type) {
	case RECORD_MESSAGE:
		if (r->length < MESSAGE_FIXED)
			return false;
		message_get(body, &m);
		room = r->length - MESSAGE_FIXED;
		if ((uint64_t)m.meta + m.head > room)
			return false;
		room -= (uint64_t)m.meta + m.head;
		return m.tag != 0 ? room == 0 : room == m.content;
	case RECORD_PROGRESS:
		return r->length >= PROGRESS_FIXED &&
		    le32_get(body + RECORD_SUMMARY) == r->length - PROGRESS_FIXED;
	case RECORD_REMOVED:
		return r->length == REMOVED_BODY;
	case RECORD_CUT:
		return r->length == CUT_BODY;
	case RECORD_INDEX:
		return true;
	}
	return false;
}

bool
record_body_ok(const struct record *r, const uint8_t *body, uint64_t seed)
{
	return codec_checksum(body, r->length, seed) == r->sum && body_fits(r, body);
}

void
summary_put(uint8_t out[RECORD_SUMMARY], const struct ph_store_summary *s)
{
	le64_put(out, (uint64_t)s->created);
	le64_put(out + 8, (uint64_t)s->due);
	le64_put(out + 16, s->size);
	le64_put(out + 24, s->site);
	le32_put(out + 32, s->attempts);
	le32_put(out + 36, s->flags);
	le32_put(out + 40, s->recipients);
	le32_put(out + 44, 0);          /* a lease is not kept */
}

void
summary_get(const uint8_t in[RECORD_SUMMARY], struct ph_store_summary *out)
{
	memset(out, 0, sizeof(*out));
	out->created = (int64_t)le64_get(in);
	out->due = (int64_t)le64_get(in + 8);
	out->size = le64_get(in + 16);
	out->site = le64_get(in + 24);
	out->attempts = le32_get(in + 32);
	out->flags = le32_get(in + 36);
	out->recipients = le32_get(in + 40);
}

void
message_put(uint8_t out[MESSAGE_FIXED], const struct message_fixed *m)
{
	summary_put(out, &m->summary);
	le32_put(out + 48, m->meta);
	le32_put(out + 52, m->head);
	le64_put(out + 56, m->content);
	le32_put(out + 64, m->tag);
	le32_put(out + 68, 0);
	le64_put(out + 72, m->sum);
}

void
message_get(const uint8_t in[MESSAGE_FIXED], struct message_fixed *out)
{
	summary_get(in, &out->summary);
	out->meta = le32_get(in + 48);
	out->head = le32_get(in + 52);
	out->content = le64_get(in + 56);
	out->tag = le32_get(in + 64);
	out->sum = le64_get(in + 72);
}

/* Seeded with nothing: it is what tells the nonce. */
void
segment_header_put(uint8_t out[SEGMENT_HEADER], const struct segment_id *s, int64_t created)
{
	le64_put(out, HEADER_MAGIC);
	le32_put(out + 8, FORMAT_VERSION);
	le32_put(out + 12, 0);
	le64_put(out + 16, s->number);
	le64_put(out + 24, s->nonce);
	le64_put(out + 32, s->size);
	le64_put(out + 40, (uint64_t)created);
	le64_put(out + 48, codec_checksum(out, 48, 0));
}

bool
segment_header_get(const uint8_t in[SEGMENT_HEADER], struct segment_id *out)
{
	if (le64_get(in) != HEADER_MAGIC || le32_get(in + 8) != FORMAT_VERSION ||
	    le64_get(in + 48) != codec_checksum(in, 48, 0))
		return false;
	out->number = le64_get(in + 16);
	out->nonce = le64_get(in + 24);
	out->size = le64_get(in + 32);
	return true;
}

void
segment_trailer_put(uint8_t out[SEGMENT_TRAILER], const struct segment_trailer *t)
{
	memset(out, 0, SEGMENT_TRAILER);
	le64_put(out, TRAILER_MAGIC);
	le32_put(out + 8, FORMAT_VERSION);
	le64_put(out + 16, t->number);
	le64_put(out + 24, t->nonce);
	le64_put(out + 32, t->index);
	le64_put(out + 56, codec_checksum(out, 56, 0));
}

bool
segment_trailer_get(const uint8_t in[SEGMENT_TRAILER], struct segment_trailer *out)
{
	if (le64_get(in) != TRAILER_MAGIC || le32_get(in + 8) != FORMAT_VERSION ||
	    le64_get(in + 56) != codec_checksum(in, 56, 0))
		return false;
	out->number = le64_get(in + 16);
	out->nonce = le64_get(in + 24);
	out->index = le64_get(in + 32);
	return true;
}

/* type 1, zero 3, span / 8, offset / 8, tag, id; then summary, or target and cut */
static size_t
row_length(enum record_type type)
{
	switch (type) {
	case RECORD_MESSAGE:
	case RECORD_PROGRESS:
		return 32 + RECORD_SUMMARY;
	case RECORD_REMOVED:
		return ROW_REMOVED;
	case RECORD_CUT:
		return 48;
	case RECORD_INDEX:
		break;
	}
	return 0;
}

size_t
row_put(uint8_t out[ROW_MAX], const struct row *r)
{
	out[0] = (uint8_t)r->type;
	out[1] = out[2] = out[3] = 0;
	le32_put(out + 4, r->span / RECORD_ALIGN);
	le32_put(out + 8, (uint32_t)(r->off / RECORD_ALIGN));
	le32_put(out + 12, r->tag);
	le64_put(out + 16, r->id.hi);
	le64_put(out + 24, r->id.lo);
	if (r->type == RECORD_MESSAGE || r->type == RECORD_PROGRESS)
		summary_put(out + 32, &r->summary);
	else
		le64_put(out + 32, r->target);
	if (r->type == RECORD_CUT)
		le64_put(out + 40, r->cut);
	return row_length(r->type);
}

bool
row_get(const uint8_t *p, size_t n, size_t *at, struct row *out)
{
	size_t length;

	if (*at >= n)
		return false;
	memset(out, 0, sizeof(*out));
	out->type = (enum record_type)p[*at];
	length = row_length(out->type);
	if (length == 0 || n - *at < length)
		return false;
	p += *at;
	out->span = le32_get(p + 4) * RECORD_ALIGN;
	out->off = (uint64_t)le32_get(p + 8) * RECORD_ALIGN;
	out->tag = le32_get(p + 12);
	out->id.hi = le64_get(p + 16);
	out->id.lo = le64_get(p + 24);
	if (out->type == RECORD_MESSAGE || out->type == RECORD_PROGRESS)
		summary_get(p + 32, &out->summary);
	else
		out->target = le64_get(p + 32);
	if (out->type == RECORD_CUT)
		out->cut = le64_get(p + 40);
	*at += length;
	return true;
}

void
row_of(const struct record *r, const uint8_t *body, uint64_t off, struct row *out)
{
	struct message_fixed m;

	memset(out, 0, sizeof(*out));
	out->type = r->type;
	out->span = (uint32_t)record_span(r->length);
	out->off = off;
	out->id = r->id;
	switch (r->type) {
	case RECORD_MESSAGE:
		message_get(body, &m);
		out->summary = m.summary;
		out->tag = m.tag;
		break;
	case RECORD_PROGRESS:
		summary_get(body, &out->summary);
		break;
	case RECORD_CUT:
		out->cut = le64_get(body + 8);
		out->target = le64_get(body);
		break;
	case RECORD_REMOVED:
		out->target = le64_get(body);
		break;
	case RECORD_INDEX:
		break;
	}
}
