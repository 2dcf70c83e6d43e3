/*
 * park.h - where a store thread sleeps until there is work: one futex, so that
 * waking a thread which is busy costs its producers no system call.
 */
#ifndef STORE_PARK_H
#define STORE_PARK_H

#include <stdatomic.h>
#include <stdint.h>

struct park { _Atomic uint32_t state; };

void park_init(struct park *p);
void park_wake(struct park *p);                         /* any thread */
void park_wait(struct park *p, int64_t timeout_ms);     /* owner; < 0: no limit */

#endif
