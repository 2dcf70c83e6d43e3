/*
 * content.h - message bytes as refcounted blocks (struct ph_content of
 * store.h), and the builder that gathers them while they arrive.
 */
#ifndef MAIL_CONTENT_H
#define MAIL_CONTENT_H

#include <stdatomic.h>
#include <posthouse/store.h>

struct content_block { struct content_block *next; size_t len, cap; char data[]; };
struct ph_content {
	_Atomic unsigned refs;
	uint64_t size;
	bool in_memory;
	struct content_block *first, *last;
};

struct ph_content *content_new(void);                   /* empty, in memory, one reference */
/* Only before it is shared. hint: bytes expected in all, 0 unknown. */
void content_append(struct ph_content *c, const void *p, size_t n, uint64_t hint);
/* Puts bytes in front (trace fields). Only before it is shared. */
void content_prepend(struct ph_content *c, const void *p, size_t n);
struct ph_content *content_stored(uint64_t size);       /* bytes are in the store */
/* Copies up to n bytes from offset; returns how many (in memory only). */
size_t content_copy(const struct ph_content *c, uint64_t offset, void *out, size_t n);
/* Bytes of all contents in memory now; for limits and tests. */
uint64_t content_memory(void);

#endif
