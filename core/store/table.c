/*
 * table.c - the live index, see table.h.
 *
 * Linear probing with backward-shift deletion: no tombstones that would slow
 * a table down which sees as many removals as insertions.
 */
#include <stdlib.h>
#include <string.h>

#include "base/id.h"
#include "base/mem.h"
#include "store/table.h"

#define CHUNK 4096u

static inline uint32_t
hash_of(struct ph_msgid id)
{
	uint64_t h = (id.hi ^ id.lo) * 0x9e3779b97f4a7c15ull;

	return (uint32_t)(h >> 32);
}

static inline struct entry *
entry_at(const struct table *t, uint32_t number)
{
	return &t->chunks[number / CHUNK][number % CHUNK];
}

static uint32_t
slot_of(const struct table *t, struct ph_msgid id)
{
	uint32_t i = hash_of(id) & (t->cap - 1);

	while (t->slots[i] != 0 && !id_eq(entry_at(t, t->slots[i] - 1)->id, id))
		i = (i + 1) & (t->cap - 1);
	return i;
}

struct entry *
table_get(const struct table *t, struct ph_msgid id)
{
	uint32_t i;

	if (t->n == 0)
		return NULL;
	i = slot_of(t, id);
	return t->slots[i] != 0 ? entry_at(t, t->slots[i] - 1) : NULL;
}

struct entry *
table_slot(const struct table *t, uint32_t i)
{
	return t->slots[i] != 0 ? entry_at(t, t->slots[i] - 1) : NULL;
}

static void
grow(struct table *t)
{
	uint32_t *old = t->slots, cap = t->cap;

	t->cap = cap != 0 ? cap * 2 : 256;
	t->slots = mem_calloc(t->cap, sizeof(*t->slots));
	for (uint32_t i = 0; i < cap; i++)
		if (old[i] != 0)
			t->slots[slot_of(t, entry_at(t, old[i] - 1)->id)] = old[i];
	free(old);
}

struct entry *
table_put(struct table *t, struct ph_msgid id)
{
	struct entry *e;
	uint32_t number;

	if (t->n + 1 > t->cap / 4 * 3)
		grow(t);
	if (t->free != 0) {
		number = t->free - 1;
		t->free = entry_at(t, number)->segment;
	} else {
		number = t->used++;
		if (number / CHUNK == t->nchunks) {
			t->chunks = mem_realloc(t->chunks, (t->nchunks + 1) * sizeof(*t->chunks));
			t->chunks[t->nchunks++] = mem_alloc(CHUNK * sizeof(struct entry));
		}
	}
	e = entry_at(t, number);
	memset(e, 0, sizeof(*e));
	e->id = id;
	t->slots[slot_of(t, id)] = number + 1;
	t->n++;
	return e;
}

void
table_del(struct table *t, struct entry *e)
{
	uint32_t mask = t->cap - 1, hole = slot_of(t, e->id), number = t->slots[hole] - 1;

	for (uint32_t i = (hole + 1) & mask; t->slots[i] != 0; i = (i + 1) & mask) {
		uint32_t want = hash_of(entry_at(t, t->slots[i] - 1)->id) & mask;

		/* may move back unless its own place lies behind the hole */
		if (((i - want) & mask) >= ((i - hole) & mask)) {
			t->slots[hole] = t->slots[i];
			hole = i;
		}
	}
	t->slots[hole] = 0;
	e->segment = t->free;
	t->free = number + 1;
	/* a drained backlog gives its memory back */
	if (--t->n == 0 && t->used > CHUNK)
		table_free(t);
}

void
table_free(struct table *t)
{
	for (uint32_t i = 0; i < t->nchunks; i++)
		free(t->chunks[i]);
	free(t->chunks);
	free(t->slots);
	memset(t, 0, sizeof(*t));
}

static size_t
idset_slot(const struct idset *s, struct ph_msgid id)
{
	size_t i = hash_of(id) & (s->cap - 1);

	while (!id_zero(s->v[i].id) && !id_eq(s->v[i].id, id))
		i = (i + 1) & (s->cap - 1);
	return i;
}

bool
idset_get(const struct idset *s, struct ph_msgid id, uint64_t *value)
{
	size_t i;

	if (s->n == 0)
		return false;
	i = idset_slot(s, id);
	if (id_zero(s->v[i].id))
		return false;
	*value = s->v[i].value;
	return true;
}

bool
idset_put(struct idset *s, struct ph_msgid id, uint64_t value)
{
	size_t i;

	if (id_zero(id))
		return false;
	if (s->n + 1 > s->cap / 4 * 3) {
		struct idset_slot *old = s->v;
		size_t cap = s->cap;

		s->cap = cap != 0 ? cap * 2 : 256;
		s->v = mem_calloc(s->cap, sizeof(*s->v));
		for (i = 0; i < cap; i++)
			if (!id_zero(old[i].id))
				s->v[idset_slot(s, old[i].id)] = old[i];
		free(old);
	}
	i = idset_slot(s, id);
	if (!id_zero(s->v[i].id))
		return false;
	s->v[i] = (struct idset_slot){ id, value };
	s->n++;
	return true;
}

void
idset_free(struct idset *s)
{
	free(s->v);
	memset(s, 0, sizeof(*s));
}
