/*
 * buf.c - a growable buffer of bytes with a front that can be consumed, and the
 * little-endian integers that records are made of.
 *
 * Consuming moves the head; the bytes move only when the end is reached and
 * at least half of the memory lies in front of the head, so that each byte
 * is moved a bounded number of times.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/abort.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"

#define BUF_MIN 64

char *
buf_room(struct buf *b, size_t n)
{
	size_t cap;

	if (b->cap - b->head - b->len >= n && b->data != NULL)
		return b->data + b->head + b->len;
	if (b->head >= b->cap / 2 && b->head > 0 && b->cap - b->len >= n) {
		memmove(b->data, b->data + b->head, b->len);
		b->head = 0;
		return b->data + b->len;
	}
	if (n > SIZE_MAX / 4 - b->len)
		ph_abort("buffer of %zu bytes asked for %zu more", b->len, n);
	cap = b->cap < BUF_MIN ? BUF_MIN : b->cap;
	while (cap < b->len + n)
		cap *= 2;
	if (b->head == 0) {
		b->data = mem_realloc(b->data, cap);
	} else {
		char *fresh = mem_alloc(cap);

		if (b->len > 0)
			memcpy(fresh, b->data + b->head, b->len);
		free(b->data);
		b->data = fresh;
		b->head = 0;
	}
	b->cap = cap;
	return b->data + b->len;
}

void
buf_grew(struct buf *b, size_t n)
{
	ph_assert(n <= b->cap - b->head - b->len);
	b->len += n;
}

void
buf_add(struct buf *b, const void *p, size_t n)
{
	if (n == 0)
		return;
	memcpy(buf_room(b, n), p, n);
	b->len += n;
}

void
buf_adds(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

void
buf_addstr(struct buf *b, struct ph_str s)
{
	buf_add(b, s.p, s.n);
}

void
buf_addc(struct buf *b, char c)
{
	*buf_room(b, 1) = c;
	b->len++;
}

void
buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
	va_list again;
	char *room = buf_room(b, 1);
	size_t have = b->cap - b->head - b->len;
	int n;

	va_copy(again, ap);
	n = vsnprintf(room, have, fmt, ap);
	if (n < 0)
		ph_abort("format \"%s\" cannot be written", fmt);
	if ((size_t)n >= have) {
		room = buf_room(b, (size_t)n + 1);
		vsnprintf(room, (size_t)n + 1, fmt, again);
	}
	va_end(again);
	b->len += (size_t)n;
}

void
buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(b, fmt, ap);
	va_end(ap);
}

void
buf_eat(struct buf *b, size_t n)
{
	ph_assert(n <= b->len);
	b->len -= n;
	b->head = b->len == 0 ? 0 : b->head + n;
}

void
buf_clear(struct buf *b)
{
	b->head = b->len = 0;
}

void
buf_free(struct buf *b)
{
	free(b->data);
	*b = (struct buf){ 0 };
}

void
buf_u8(struct buf *b, uint8_t v)
{
	buf_addc(b, (char)v);
}

static void
add_le(struct buf *b, uint64_t v, size_t n)
{
	uint8_t le[8];

	for (size_t i = 0; i < n; i++, v >>= 8)
		le[i] = (uint8_t)v;
	buf_add(b, le, n);
}

void
buf_u16(struct buf *b, uint16_t v)
{
	add_le(b, v, 2);
}

void
buf_u32(struct buf *b, uint32_t v)
{
	add_le(b, v, 4);
}

void
buf_u64(struct buf *b, uint64_t v)
{
	add_le(b, v, 8);
}

void
buf_lstr(struct buf *b, struct ph_str s)
{
	ph_assert(s.n <= UINT32_MAX);
	buf_u32(b, (uint32_t)s.n);
	buf_addstr(b, s);
}

static uint64_t
read_le(struct reader *r, size_t n)
{
	uint64_t v = 0;

	if (r->bad || (size_t)(r->end - r->p) < n) {
		r->bad = true;
		return 0;
	}
	for (size_t i = 0; i < n; i++)
		v |= (uint64_t)r->p[i] << (8 * i);
	r->p += n;
	return v;
}

uint8_t
read_u8(struct reader *r)
{
	return (uint8_t)read_le(r, 1);
}

uint16_t
read_u16(struct reader *r)
{
	return (uint16_t)read_le(r, 2);
}

uint32_t
read_u32(struct reader *r)
{
	return (uint32_t)read_le(r, 4);
}

uint64_t
read_u64(struct reader *r)
{
	return read_le(r, 8);
}

struct ph_str
read_bytes(struct reader *r, size_t n)
{
	struct ph_str s = { (const char *)r->p, n };

	if (r->bad || (size_t)(r->end - r->p) < n) {
		r->bad = true;
		return (struct ph_str){ NULL, 0 };
	}
	if (n > 0)
		r->p += n;
	return s;
}

struct ph_str
read_lstr(struct reader *r)
{
	return read_bytes(r, read_u32(r));
}
