/*
 * clock.h - all time comes from here, so that tests own it.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

struct clock { int64_t (*mono_us)(void); int64_t (*wall_us)(void); };
void    clock_use(const struct clock *c);       /* NULL: the real one. Before threads start. */
int64_t clock_mono_ms(void);                    /* never jumps */
int64_t clock_mono_us(void);
int64_t clock_wall_ms(void);                    /* since 1970, for headers and records */

#endif
