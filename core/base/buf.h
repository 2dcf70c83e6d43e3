/* buf.h - a growable buffer of bytes with a front that can be consumed. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdarg.h>
#include <posthouse/types.h>

/* Owner: whoever embeds it.  Zero-initialised is empty and valid. */
struct buf { char *data; size_t head, len, cap; };      /* bytes are data[head..head+len) */

static inline struct ph_str buf_view(const struct buf *b)
{ return (struct ph_str){ b->data ? b->data + b->head : NULL, b->len }; }

void  buf_add(struct buf *b, const void *p, size_t n);
void  buf_adds(struct buf *b, const char *s);
void  buf_addstr(struct buf *b, struct ph_str s);
void  buf_addc(struct buf *b, char c);
void  buf_printf(struct buf *b, const char *fmt, ...) PH_PRINTF(2, 3);
void  buf_vprintf(struct buf *b, const char *fmt, va_list ap) PH_PRINTF(2, 0);
char *buf_room(struct buf *b, size_t n);        /* n writable bytes at the end; then buf_grew */
void  buf_grew(struct buf *b, size_t n);
void  buf_eat(struct buf *b, size_t n);         /* drop n from the front */
void  buf_clear(struct buf *b);                 /* empty, keeps memory */
void  buf_free(struct buf *b);                  /* empty, frees memory */
/* little-endian integers for records */
void  buf_u8(struct buf *b, uint8_t v);
void  buf_u16(struct buf *b, uint16_t v);
void  buf_u32(struct buf *b, uint32_t v);
void  buf_u64(struct buf *b, uint64_t v);
void  buf_lstr(struct buf *b, struct ph_str s); /* u32 length + bytes */

/* Reading the same; sets bad and returns zeros once anything does not fit. */
struct reader { const uint8_t *p, *end; bool bad; };
static inline struct reader reader_of(struct ph_str s)
{ return (struct reader){ (const uint8_t *)s.p, (const uint8_t *)s.p + s.n, false }; }
uint8_t  read_u8(struct reader *r);
uint16_t read_u16(struct reader *r);
uint32_t read_u32(struct reader *r);
uint64_t read_u64(struct reader *r);
struct ph_str read_bytes(struct reader *r, size_t n);
struct ph_str read_lstr(struct reader *r);

#endif
