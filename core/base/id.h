/*
 * id.h - all randomness and all ids come from here, so that tests own them.
 */
#ifndef BASE_ID_H
#define BASE_ID_H

#include <posthouse/types.h>

/* Replaces the source of random bytes; NULL: getrandom. Before threads start. */
void id_use_random(void (*fill)(void *p, size_t n));
void id_random(void *p, size_t n);

/* hi: 48 bits wall ms, 16 bits counter; lo: 36 random bits of this process in the
 * top, rest 0, so that all 100 bits show in the text.  Any thread. */
struct ph_msgid id_new(void);
const char *id_text(struct ph_msgid id, char out[PH_MSGID_TEXT]);
int  id_parse(struct ph_str text, struct ph_msgid *out);        /* 0 or PH_EINVAL */
static inline bool id_eq(struct ph_msgid a, struct ph_msgid b) { return a.hi == b.hi && a.lo == b.lo; }
static inline bool id_zero(struct ph_msgid a) { return a.hi == 0 && a.lo == 0; }

#endif
