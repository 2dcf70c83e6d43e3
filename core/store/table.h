/*
 * table.h - which message is where: the live index, about 55 bytes a message.
 *
 * Entries live in chunks and never move; the hash table holds their numbers.
 * No locking here: the caller holds the store's lock.
 */
#ifndef STORE_TABLE_H
#define STORE_TABLE_H

#include <posthouse/types.h>

/* Places are in units of 8 bytes.  progress_span 0: no progress yet. */
struct entry {
	struct ph_msgid id;
	uint32_t segment, at, span;
	uint32_t progress_segment, progress_at, progress_span;
	uint32_t tag;           /* not 0: content is in its own file */
	uint32_t pages;         /* 4 KiB units of that file */
};

struct table {
	uint32_t *slots;        /* entry number + 1; 0 free */
	uint32_t cap, n;
	struct entry **chunks;
	uint32_t nchunks, used; /* entries handed out of the chunks */
	uint32_t free;          /* first free entry number + 1, linked by segment */
};

struct entry *table_get(const struct table *t, struct ph_msgid id);
struct entry *table_put(struct table *t, struct ph_msgid id);   /* zeroed; must not be there */
void table_del(struct table *t, struct entry *e);
/* What hangs in slot i < cap, for going through all; NULL: nothing. */
struct entry *table_slot(const struct table *t, uint32_t i);
void table_free(struct table *t);

/* A set of ids with a number each, for the time of a recovery. */
struct idset { struct idset_slot { struct ph_msgid id; uint64_t value; } *v; size_t n, cap; };
bool idset_get(const struct idset *s, struct ph_msgid id, uint64_t *value);
bool idset_put(struct idset *s, struct ph_msgid id, uint64_t value);    /* false: was there, kept */
void idset_free(struct idset *s);

#endif
