/* heap.h - a binary heap of int64 keys over intrusive nodes, smallest first. */
#ifndef BASE_HEAP_H
#define BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap_node { int64_t key; uint32_t pos; };        /* pos 0: not in a heap */
struct heap { struct heap_node **v; uint32_t n, cap; }; /* v[1..n] */

void heap_put(struct heap *h, struct heap_node *node, int64_t key);     /* inserts or moves */
void heap_del(struct heap *h, struct heap_node *node);                  /* harmless when not in */
struct heap_node *heap_min(const struct heap *h);                       /* NULL when empty */
static inline bool heap_has(const struct heap_node *n) { return n->pos != 0; }
void heap_free(struct heap *h);

#endif
