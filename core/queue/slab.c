/*
 * slab.c - objects of one size from chunks of 64 KiB, for what exists a
 * million times: no header per object, one list of free ones.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "queue/internal.h"

#define SLAB_CHUNK ((size_t)64 << 10)

void *
slab_get(struct slab *s)
{
	void **p;

	if (s->free == NULL) {
		void **chunk = mem_alloc(SLAB_CHUNK);
		char *at = (char *)chunk + 16, *end = (char *)chunk + SLAB_CHUNK;

		chunk[0] = s->chunks;
		s->chunks = chunk;
		for (; at + s->size <= end; at += s->size) {
			*(void **)(void *)at = s->free;
			s->free = at;
		}
	}
	p = s->free;
	s->free = *p;
	s->live++;
	memset(p, 0, s->size);
	return p;
}

void
slab_put(struct slab *s, void *p)
{
	*(void **)p = s->free;
	s->free = p;
	/* after a backlog has drained its memory goes back, all but one chunk's */
	if (--s->live == 0 && s->chunks != NULL && *(void **)s->chunks != NULL)
		slab_free(s);
}

void
slab_free(struct slab *s)
{
	while (s->chunks != NULL) {
		void *next = *(void **)s->chunks;

		free(s->chunks);
		s->chunks = next;
	}
	s->free = NULL;
	s->live = 0;
}
