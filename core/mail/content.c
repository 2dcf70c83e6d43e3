/*
 * content.c - message bytes as a chain of blocks, counted by reference.
 *
 * One thread builds a content, then it is shared and never changes.  Blocks
 * grow with the content, so that a small message takes one allocation and a
 * large one few; the caller limits the size before it appends.
 */
#include "base/mem.h"
#include "base/abort.h"
#include "base/str.h"
#include "mail/content.h"

#include <stdlib.h>

#define BLOCK_MIN ((size_t)2048 - sizeof(struct content_block) - 16)
#define BLOCK_MAX ((size_t)65536 - sizeof(struct content_block) - 16)

static _Atomic uint64_t memory;

static struct content_block *
block_new(size_t cap)
{
	struct content_block *b = mem_alloc(sizeof(*b) + cap);

	b->next = NULL;
	b->len = 0;
	b->cap = cap;
	atomic_fetch_add_explicit(&memory, cap, memory_order_relaxed);
	return b;
}

struct ph_content *
content_new(void)
{
	struct ph_content *c = mem_new(struct ph_content);

	atomic_init(&c->refs, 1);
	c->in_memory = true;
	return c;
}

struct ph_content *
content_stored(uint64_t size)
{
	struct ph_content *c = content_new();

	c->in_memory = false;
	c->size = size;
	return c;
}

void
content_append(struct ph_content *c, const void *p, size_t n, uint64_t hint)
{
	struct content_block *last = c->last;

	ph_assert(c->in_memory);
	if (n == 0)
		return;
	if (last != NULL && last->cap > last->len) {
		size_t part = last->cap - last->len < n ? last->cap - last->len : n;

		memcpy(last->data + last->len, p, part);
		last->len += part;
		c->size += part;
		p = (const char *)p + part;
		n -= part;
	}
	if (n == 0)
		return;
	/* what is expected, or as much again as there is, within bounds */
	uint64_t cap = hint > c->size ? hint - c->size : c->size;
	if (cap < BLOCK_MIN && hint <= c->size)
		cap = BLOCK_MIN;
	if (cap > BLOCK_MAX)
		cap = BLOCK_MAX;
	if (cap < n)
		cap = n;
	last = block_new((size_t)cap);
	memcpy(last->data, p, n);
	last->len = n;
	c->size += n;
	if (c->last != NULL)
		c->last->next = last;
	else
		c->first = last;
	c->last = last;
}

void
content_prepend(struct ph_content *c, const void *p, size_t n)
{
	struct content_block *b;

	ph_assert(c->in_memory);
	if (n == 0)
		return;
	b = block_new(n);
	memcpy(b->data, p, n);
	b->len = n;
	b->next = c->first;
	c->first = b;
	if (c->last == NULL)
		c->last = b;
	c->size += n;
}

struct ph_content *
ph_content_ref(struct ph_content *c)
{
	atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
	return c;
}

void
ph_content_unref(struct ph_content **cp)
{
	struct ph_content *c = *cp;

	*cp = NULL;
	if (c == NULL || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
		return;
	while (c->first != NULL) {
		struct content_block *b = c->first;

		c->first = b->next;
		atomic_fetch_sub_explicit(&memory, b->cap, memory_order_relaxed);
		free(b);
	}
	free(c);
}

uint64_t
ph_content_size(const struct ph_content *c)
{
	return c->size;
}

bool
ph_content_in_memory(const struct ph_content *c)
{
	return c->in_memory;
}

struct ph_str
ph_content_at(const struct ph_content *c, uint64_t offset)
{
	for (const struct content_block *b = c->first; b != NULL; b = b->next) {
		if (offset < b->len)
			return str_make(b->data + offset, b->len - (size_t)offset);
		offset -= b->len;
	}
	return str_make(NULL, 0);
}

size_t
content_copy(const struct ph_content *c, uint64_t offset, void *out, size_t n)
{
	size_t done = 0;

	for (const struct content_block *b = c->first; b != NULL && done < n; b = b->next) {
		if (offset >= b->len) {
			offset -= b->len;
			continue;
		}
		size_t part = b->len - (size_t)offset;
		if (part > n - done)
			part = n - done;
		memcpy((char *)out + done, b->data + offset, part);
		done += part;
		offset = 0;
	}
	return done;
}

uint64_t
content_memory(void)
{
	return atomic_load_explicit(&memory, memory_order_relaxed);
}
