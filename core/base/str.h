/* str.h - views of bytes. */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <string.h>
#include <posthouse/types.h>

#define STR(lit) ((struct ph_str){ (lit), sizeof(lit) - 1 })
#define STR_FMT "%.*s"
#define STR_ARG(s) (int)(s).n, (s).p ? (s).p : ""

static inline struct ph_str str_of(const char *s)
{ return (struct ph_str){ s, s ? strlen(s) : 0 }; }
static inline struct ph_str str_make(const char *p, size_t n)
{ return (struct ph_str){ p, n }; }
static inline struct ph_str str_skip(struct ph_str s, size_t n)
{ return (struct ph_str){ s.p + n, s.n - n }; }
static inline struct ph_str str_head(struct ph_str s, size_t n)
{ return (struct ph_str){ s.p, n < s.n ? n : s.n }; }

bool str_eq(struct ph_str a, struct ph_str b);
bool str_ieq(struct ph_str a, struct ph_str b);         /* ASCII case */
bool str_is(struct ph_str a, const char *lit);          /* exact */
bool str_iis(struct ph_str a, const char *lit);         /* ASCII case */
bool str_starts(struct ph_str a, const char *lit);
bool str_istarts(struct ph_str a, const char *lit);
struct ph_str str_trim(struct ph_str s);                /* spaces and tabs, both ends */
/* Splits at the first sep: returns what is before, *rest what is behind
 * ({NULL,0} when sep does not occur). */
struct ph_str str_cut(struct ph_str s, char sep, struct ph_str *rest);
/* Decimal; 0 or PH_EINVAL (empty, junk, overflow). */
int  str_u64(struct ph_str s, uint64_t *out);
/* Stars wherever secret stands in the n bytes of text; an empty one stands nowhere. */
void str_hide(char *text, size_t n, struct ph_str secret);
bool str_utf8_valid(struct ph_str s);
bool str_ascii(struct ph_str s);
/* The first character of s: its length in bytes, 0 when empty or not UTF-8. */
size_t str_utf8_step(struct ph_str s, uint32_t *out);
/* Edit distance for "did you mean"; gives up above limit. */
unsigned str_distance(struct ph_str a, struct ph_str b, unsigned limit);

#endif
