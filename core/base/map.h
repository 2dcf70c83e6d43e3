/*
 * map.h - hash tables.  map: bytes to pointer, keys borrowed (they live in
 * the value).  idmap: message id to pointer, 8 bytes a slot, the id read
 * from the value through an offset.
 */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <posthouse/types.h>

struct map_slot { uint64_t hash; struct ph_str key; void *value; };
struct map { struct map_slot *v; size_t n, used, cap; };

void *map_get(const struct map *m, struct ph_str key);
/* value is not NULL; returns what it replaced. */
void *map_put(struct map *m, struct ph_str key, void *value);
void *map_del(struct map *m, struct ph_str key);
/* *it starts at 0; false at the end. No changes meanwhile, but map_del of the current one. */
bool  map_next(const struct map *m, size_t *it, struct ph_str *key, void **value);
void  map_free(struct map *m);

struct idmap { void **v; size_t n, cap; size_t id_offset; };    /* linear probing, backward-shift delete */
void  idmap_init(struct idmap *m, size_t id_offset);
void *idmap_get(const struct idmap *m, struct ph_msgid id);
void  idmap_put(struct idmap *m, void *value);  /* its id must not be in yet */
void *idmap_del(struct idmap *m, struct ph_msgid id);
/* No changes meanwhile: a deletion moves others. */
bool  idmap_next(const struct idmap *m, size_t *it, void **value);
void  idmap_free(struct idmap *m);

#endif
