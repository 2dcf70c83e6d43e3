/*
 * map.c - hash tables with open addressing and linear probing.
 *
 * map keeps the hash beside each key and marks what was deleted, so that the
 * current entry may be deleted while walking.  idmap keeps nothing but the
 * pointer, because a queue of a million messages pays for every byte; it
 * closes the gap at once by shifting back what follows.
 *
 * Keys of map may be chosen by peers (domain names), so hashes are seeded at random.
 */
#include <stdatomic.h>
#include <stdlib.h>

#include "base/abort.h"
#include "base/codec.h"
#include "base/id.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"

#define MAP_MIN  16
#define GONE     1      /* hash of a deleted slot; real hashes have the top bit set */
#define HASH_BIT (UINT64_C(1) << 63)

static _Atomic uint64_t map_seed;

static uint64_t
hash_of(struct ph_str key)
{
	uint64_t seed = atomic_load_explicit(&map_seed, memory_order_relaxed), drawn = 0;

	if (seed == 0) {
		id_random(&drawn, sizeof drawn);
		drawn |= 1;
		seed = atomic_compare_exchange_strong(&map_seed, &seed, drawn) ? drawn : seed;
	}
	return codec_checksum(key.p != NULL ? key.p : "", key.n, seed) | HASH_BIT;
}

static struct map_slot *
map_find(const struct map *m, struct ph_str key, uint64_t hash)
{
	if (m->cap == 0)
		return NULL;
	for (size_t i = hash & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
		struct map_slot *slot = &m->v[i];

		if (slot->hash == 0)
			return NULL;
		if (slot->hash == hash && str_eq(slot->key, key))
			return slot;
	}
}

static void
map_resize(struct map *m)
{
	size_t cap = MAP_MIN;
	struct map_slot *old = m->v, *end = old != NULL ? old + m->cap : NULL;

	while (cap < m->n * 2 + 2)
		cap *= 2;
	m->v = mem_calloc(cap, sizeof *m->v);
	m->cap = cap;
	m->used = m->n;
	for (struct map_slot *slot = old; slot != end; slot++) {
		size_t i = slot->hash & (cap - 1);

		if (!(slot->hash & HASH_BIT))
			continue;
		while (m->v[i].hash != 0)
			i = (i + 1) & (cap - 1);
		m->v[i] = *slot;
	}
	free(old);
}

void *
map_get(const struct map *m, struct ph_str key)
{
	struct map_slot *slot;

	if (m->n == 0)
		return NULL;
	slot = map_find(m, key, hash_of(key));
	return slot != NULL ? slot->value : NULL;
}

void *
map_put(struct map *m, struct ph_str key, void *value)
{
	uint64_t hash = hash_of(key);
	struct map_slot *slot = map_find(m, key, hash);
	size_t i;

	ph_assert(value != NULL);
	if (slot != NULL) {
		void *was = slot->value;

		slot->key = key;        /* the old key lives in the old value */
		slot->value = value;
		return was;
	}
	if ((m->used + 1) * 4 > m->cap * 3)
		map_resize(m);
	i = hash & (m->cap - 1);
	while (m->v[i].hash & HASH_BIT)
		i = (i + 1) & (m->cap - 1);
	if (m->v[i].hash == 0)
		m->used++;
	m->v[i] = (struct map_slot){ hash, key, value };
	m->n++;
	return NULL;
}

void *
map_del(struct map *m, struct ph_str key)
{
	struct map_slot *slot = map_find(m, key, hash_of(key));
	void *was;

	if (slot == NULL)
		return NULL;
	was = slot->value;
	*slot = (struct map_slot){ .hash = GONE };
	m->n--;
	return was;
}

bool
map_next(const struct map *m, size_t *it, struct ph_str *key, void **value)
{
	for (; *it < m->cap; ++*it) {
		const struct map_slot *slot = &m->v[*it];

		if (!(slot->hash & HASH_BIT))
			continue;
		if (key != NULL)
			*key = slot->key;
		if (value != NULL)
			*value = slot->value;
		++*it;
		return true;
	}
	return false;
}

void
map_free(struct map *m)
{
	free(m->v);
	*m = (struct map){ 0 };
}

static inline struct ph_msgid
idmap_id(const struct idmap *m, const void *value)
{
	return *(const struct ph_msgid *)(const void *)((const char *)value + m->id_offset);
}

/* Where an id wants to be.  Ids count upwards, so the bits that differ are low ones;
 * a multiplication carries them into the upper half, which is used. */
static inline size_t
idmap_home(const struct idmap *m, struct ph_msgid id)
{
	uint64_t h = (id.hi ^ (id.lo >> 28) * UINT64_C(0xD6E8FEB86659FD93)) *
	    UINT64_C(0x9E3779B97F4A7C15);

	return (h ^ h >> 32) & (m->cap - 1);
}

void
idmap_init(struct idmap *m, size_t id_offset)
{
	*m = (struct idmap){ .id_offset = id_offset };
}

static void
idmap_place(struct idmap *m, void *value)
{
	size_t i = idmap_home(m, idmap_id(m, value));

	while (m->v[i] != NULL)
		i = (i + 1) & (m->cap - 1);
	m->v[i] = value;
}

static void
idmap_resize(struct idmap *m, size_t cap)
{
	void **old = m->v;
	size_t old_cap = m->cap;

	m->v = mem_calloc(cap, sizeof *m->v);
	m->cap = cap;
	for (size_t i = 0; i < old_cap; i++)
		if (old[i] != NULL)
			idmap_place(m, old[i]);
	free(old);
}

static bool
idmap_find(const struct idmap *m, struct ph_msgid id, size_t *out)
{
	if (m->n == 0)
		return false;
	for (size_t i = idmap_home(m, id); m->v[i] != NULL; i = (i + 1) & (m->cap - 1)) {
		if (id_eq(idmap_id(m, m->v[i]), id)) {
			*out = i;
			return true;
		}
	}
	return false;
}

void *
idmap_get(const struct idmap *m, struct ph_msgid id)
{
	size_t i;

	return idmap_find(m, id, &i) ? m->v[i] : NULL;
}

void
idmap_put(struct idmap *m, void *value)
{
	if ((m->n + 1) * 4 > m->cap * 3)
		idmap_resize(m, m->cap ? m->cap * 2 : MAP_MIN);
	idmap_place(m, value);
	m->n++;
}

void *
idmap_del(struct idmap *m, struct ph_msgid id)
{
	size_t gap, i, mask = m->cap - 1;
	void *was;

	if (!idmap_find(m, id, &gap))
		return NULL;
	was = m->v[gap];
	/* Whoever stands behind the gap and does not have its home between
	 * the gap and itself would no longer be found: it moves into the gap. */
	for (i = (gap + 1) & mask; m->v[i] != NULL; i = (i + 1) & mask) {
		size_t home = idmap_home(m, idmap_id(m, m->v[i]));

		if (((i - home) & mask) >= ((i - gap) & mask)) {
			m->v[gap] = m->v[i];
			gap = i;
		}
	}
	m->v[gap] = NULL;
	m->n--;
	if (m->cap > 1024 && m->n < m->cap / 8)
		idmap_resize(m, m->cap / 4);
	return was;
}

bool
idmap_next(const struct idmap *m, size_t *it, void **value)
{
	while (*it < m->cap) {
		void *v = m->v[(*it)++];

		if (v != NULL) {
			*value = v;
			return true;
		}
	}
	return false;
}

void
idmap_free(struct idmap *m)
{
	free(m->v);
	idmap_init(m, m->id_offset);
}
