/*
 * record.h - the bytes of the store: what a segment's header, its records,
 * its index and its trailer look like (doc/store.md has the same as tables).
 *
 * Only layout and checksums; no file is touched here.  All integers are
 * little-endian.  Every checksum is seeded with the segment's nonce and the
 * offset, so that bytes of a file's earlier life, or a record in the
 * wrong place, are never taken for a valid one.
 */
#ifndef STORE_RECORD_H
#define STORE_RECORD_H

#include <endian.h>
#include <string.h>
#include <posthouse/store.h>

enum record_type {
	RECORD_MESSAGE = 1,     /* summary, sizes, tag, meta, head, content */
	RECORD_PROGRESS = 2,    /* summary, progress bytes */
	RECORD_REMOVED = 3,     /* number of the segment that holds the message */
	RECORD_CUT = 4,         /* a segment whose sync failed, and where it ends */
	RECORD_INDEX = 5,       /* rows of this segment, written when it is sealed */
};

enum {
	RECORD_ALIGN = 8,
	RECORD_HEADER = 48,
	RECORD_SUMMARY = 48,
	MESSAGE_FIXED = RECORD_SUMMARY + 32,
	PROGRESS_FIXED = RECORD_SUMMARY + 8,
	REMOVED_BODY = 8,
	CUT_BODY = 16,
	SEGMENT_HEADER = 56,    /* bytes used of each copy */
	SEGMENT_COPY = 4096,    /* where the second copy stands */
	SEGMENT_START = 8192,   /* first record */
	SEGMENT_TRAILER = 64,   /* last bytes of a sealed segment */
	ROW_MAX = 80,
	ROW_REMOVED = 40,
};

struct record {
	enum record_type type;
	uint32_t length;        /* of the body */
	uint32_t seq;           /* grows within a segment; never used twice */
	uint64_t batch;         /* where its batch starts: all before was synced when this was written */
	struct ph_msgid id;
	uint64_t sum;           /* of the body */
};

static inline uint64_t record_span(uint64_t length)
{ return (RECORD_HEADER + length + RECORD_ALIGN - 1) & ~(uint64_t)(RECORD_ALIGN - 1); }
static inline uint64_t record_seed(uint64_t nonce, uint64_t off) { return nonce + off; }

static inline void le32_put(uint8_t *p, uint32_t v) { v = htole32(v); memcpy(p, &v, 4); }
static inline void le64_put(uint8_t *p, uint64_t v) { v = htole64(v); memcpy(p, &v, 8); }
static inline uint32_t le32_get(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return le32toh(v); }
static inline uint64_t le64_get(const uint8_t *p) { uint64_t v; memcpy(&v, p, 8); return le64toh(v); }

void record_put(uint8_t out[RECORD_HEADER], const struct record *r, uint64_t seed);
/* Whether a valid header stands here; a cheap refusal for most bytes. */
bool record_get(const uint8_t in[RECORD_HEADER], uint64_t seed, struct record *out);
/* The body's checksum, and that its inner lengths fit. */
bool record_body_ok(const struct record *r, const uint8_t *body, uint64_t seed);

void summary_put(uint8_t out[RECORD_SUMMARY], const struct ph_store_summary *s);
void summary_get(const uint8_t in[RECORD_SUMMARY], struct ph_store_summary *out);

struct message_fixed {
	struct ph_store_summary summary;
	uint32_t meta, head;    /* lengths */
	uint64_t content;       /* length; in the record, or in the file named by id and tag */
	uint32_t tag;           /* 0: content is in the record */
	uint64_t sum;           /* checksum of that file, seeded with the tag */
};
void message_put(uint8_t out[MESSAGE_FIXED], const struct message_fixed *m);
void message_get(const uint8_t in[MESSAGE_FIXED], struct message_fixed *out);

/* A segment's name, in its first and its last bytes. */
struct segment_id { uint64_t number, nonce, size; };
void segment_header_put(uint8_t out[SEGMENT_HEADER], const struct segment_id *s, int64_t created);
bool segment_header_get(const uint8_t in[SEGMENT_HEADER], struct segment_id *out);
struct segment_trailer { uint64_t number, nonce, index; };      /* index: where the INDEX record is */
void segment_trailer_put(uint8_t out[SEGMENT_TRAILER], const struct segment_trailer *t);
bool segment_trailer_get(const uint8_t in[SEGMENT_TRAILER], struct segment_trailer *out);

/* One record as the index tells it. */
struct row {
	enum record_type type;
	uint32_t span;          /* bytes of the whole record */
	uint64_t off;
	struct ph_msgid id;
	uint32_t tag;           /* MESSAGE */
	struct ph_store_summary summary;        /* MESSAGE, PROGRESS */
	uint64_t target, cut;   /* REMOVED, CUT: segment; CUT: where it ends */
};
size_t row_put(uint8_t out[ROW_MAX], const struct row *r);      /* returns its length */
/* Reads one row at *at and moves behind it; false at the end and for damage. */
bool row_get(const uint8_t *p, size_t n, size_t *at, struct row *out);
/* The row of a valid record. */
void row_of(const struct record *r, const uint8_t *body, uint64_t off, struct row *out);

#endif
