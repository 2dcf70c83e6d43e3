/*
 * heap.c - a binary heap over intrusive nodes.
 *
 * A node knows its place, so moving and removing need no search.  Equal keys
 * leave in no particular order.
 */
#include <stdlib.h>

#include "base/abort.h"
#include "base/heap.h"
#include "base/mem.h"

static void
place(struct heap *h, struct heap_node *node, uint32_t pos)
{
	h->v[pos] = node;
	node->pos = pos;
}

static void
sift_up(struct heap *h, struct heap_node *node, uint32_t pos)
{
	while (pos > 1 && h->v[pos / 2]->key > node->key) {
		place(h, h->v[pos / 2], pos);
		pos /= 2;
	}
	place(h, node, pos);
}

static void
sift_down(struct heap *h, struct heap_node *node, uint32_t pos)
{
	for (;;) {
		uint32_t child = pos * 2;

		if (child > h->n)
			break;
		if (child < h->n && h->v[child + 1]->key < h->v[child]->key)
			child++;
		if (h->v[child]->key >= node->key)
			break;
		place(h, h->v[child], pos);
		pos = child;
	}
	place(h, node, pos);
}

static void
sift(struct heap *h, struct heap_node *node, uint32_t pos)
{
	if (pos > 1 && h->v[pos / 2]->key > node->key)
		sift_up(h, node, pos);
	else
		sift_down(h, node, pos);
}

void
heap_put(struct heap *h, struct heap_node *node, int64_t key)
{
	node->key = key;
	if (node->pos != 0) {
		ph_assert(node->pos <= h->n && h->v[node->pos] == node);
		sift(h, node, node->pos);
		return;
	}
	if (h->n + 1 >= h->cap) {
		if (h->cap > UINT32_MAX / 4)
			ph_abort("heap of %u nodes", h->n);
		h->cap = h->cap ? h->cap * 2 : 16;
		h->v = mem_realloc(h->v, h->cap * sizeof *h->v);
	}
	sift_up(h, node, ++h->n);
}

void
heap_del(struct heap *h, struct heap_node *node)
{
	uint32_t pos = node->pos;
	struct heap_node *last;

	if (pos == 0)
		return;
	ph_assert(pos <= h->n && h->v[pos] == node);
	node->pos = 0;
	last = h->v[h->n--];
	if (last != node)
		sift(h, last, pos);
}

struct heap_node *
heap_min(const struct heap *h)
{
	return h->n > 0 ? h->v[1] : NULL;
}

void
heap_free(struct heap *h)
{
	for (uint32_t i = 1; i <= h->n; i++)
		h->v[i]->pos = 0;
	free(h->v);
	*h = (struct heap){ 0 };
}
