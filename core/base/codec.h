/* codec.h - base64 (RFC 4648), xtext (RFC 3461 4), hex, and the checksum (xxhash). */
#ifndef BASE_CODEC_H
#define BASE_CODEC_H

#include "base/buf.h"

void codec_base64_encode(struct ph_str in, struct buf *out);    /* no line breaks */
int  codec_base64_decode(struct ph_str in, struct buf *out);    /* strict; 0 or PH_EINVAL */
void codec_xtext_encode(struct ph_str in, struct buf *out);
int  codec_xtext_decode(struct ph_str in, struct buf *out);
uint64_t codec_checksum(const void *p, size_t n, uint64_t seed);        /* XXH3-64 */
struct codec_sum;                       /* streaming form of the same */
struct codec_sum *codec_sum_new(void);
void codec_sum_start(struct codec_sum *s, uint64_t seed);
void codec_sum_add(struct codec_sum *s, const void *p, size_t n);
uint64_t codec_sum_end(struct codec_sum *s);
void codec_sum_free(struct codec_sum **s);

#endif
