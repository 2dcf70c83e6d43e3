/*
 * mem.c - heap allocation that cannot fail, and arenas.
 *
 * An arena is a chain of chunks, the newest first; requests larger than half
 * a chunk get one of their own behind it, so that the room left in the newest is
 * not lost.  Memory is zeroed when it is handed out, not when it is taken.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/abort.h"
#include "base/mem.h"

#define ARENA_ALIGN 16

struct arena_chunk {
	struct arena_chunk *next;
	size_t size, used;
	size_t pad;             /* data starts at a multiple of ARENA_ALIGN */
	char   data[];
};

_Static_assert(offsetof(struct arena_chunk, data) % ARENA_ALIGN == 0, "chunk data is aligned");

void *
mem_alloc(size_t n)
{
	void *p = malloc(n ? n : 1);

	if (p == NULL)
		ph_abort("out of memory for %zu bytes", n);
	return p;
}

void *
mem_calloc(size_t n, size_t size)
{
	void *p = calloc(n ? n : 1, size ? size : 1);

	if (p == NULL)
		ph_abort("out of memory for %zu times %zu bytes", n, size);
	return p;
}

void *
mem_realloc(void *p, size_t n)
{
	p = realloc(p, n ? n : 1);
	if (p == NULL)
		ph_abort("out of memory for %zu bytes", n);
	return p;
}

char *
mem_strndup(const char *s, size_t n)
{
	char *p = mem_alloc(n + 1);

	if (n > 0)
		memcpy(p, s, n);
	p[n] = '\0';
	return p;
}

char *
mem_strdup(const char *s)
{
	return mem_strndup(s, strlen(s));
}

void
mem_wipe(void *p, size_t n)
{
	if (p != NULL && n > 0)
		explicit_bzero(p, n);
}

void
arena_init(struct arena *a, size_t chunk_size)
{
	a->head = NULL;
	a->chunk_size = chunk_size;
	a->total = 0;
}

static struct arena_chunk *
chunk_new(struct arena *a, size_t size)
{
	struct arena_chunk *c = mem_alloc(sizeof *c + size);

	c->next = NULL;
	c->size = size;
	c->used = 0;
	a->total += sizeof *c + size;
	return c;
}

void *
arena_alloc(struct arena *a, size_t n)
{
	struct arena_chunk *c = a->head;
	void *p;

	if (n > SIZE_MAX / 2)
		ph_abort("arena request of %zu bytes", n);
	n = n == 0 ? ARENA_ALIGN : (n + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
	if (c == NULL || c->size - c->used < n) {
		size_t room = a->chunk_size > sizeof *c ? a->chunk_size - sizeof *c : 0;

		room &= ~(size_t)(ARENA_ALIGN - 1);
		if (c != NULL && n > room / 2) {
			struct arena_chunk *own = chunk_new(a, n);

			own->next = c->next;
			c->next = own;
			c = own;
		} else {
			struct arena_chunk *fresh = chunk_new(a, n > room ? n : room);

			fresh->next = c;
			a->head = c = fresh;
		}
	}
	p = c->data + c->used;
	c->used += n;
	return memset(p, 0, n);
}

char *
arena_strndup(struct arena *a, const char *s, size_t n)
{
	char *p = arena_alloc(a, n + 1);

	if (n > 0)
		memcpy(p, s, n);
	return p;
}

struct ph_str
arena_str(struct arena *a, struct ph_str s)
{
	return (struct ph_str){ arena_strndup(a, s.p, s.n), s.n };
}

char *
arena_printf(struct arena *a, const char *fmt, ...)
{
	char brief[256], *p;            /* most texts are formatted once */
	va_list ap, again;
	size_t n;
	int rc;

	va_start(ap, fmt);
	va_copy(again, ap);
	rc = vsnprintf(brief, sizeof brief, fmt, ap);
	va_end(ap);
	if (rc < 0)
		ph_abort("format \"%s\" cannot be written", fmt);
	n = (size_t)rc;
	p = arena_alloc(a, n + 1);
	if (n < sizeof brief)
		memcpy(p, brief, n + 1);
	else
		vsnprintf(p, n + 1, fmt, again);
	va_end(again);
	return p;
}

void
arena_reset(struct arena *a)
{
	struct arena_chunk *c = a->head, *next;

	for (; c != NULL; c = next) {
		next = c->next;
		free(c);
	}
	a->head = NULL;
	a->total = 0;
}
