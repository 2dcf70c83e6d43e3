/*
 * helper.h (core) - pools of helper processes; service.h has the contract.
 * One pool per ph_helpers_open.  Helpers start when the first lease wants one.
 */
#ifndef NET_HELPER_H
#define NET_HELPER_H

#include "net/loop.h"
#include <posthouse/service.h>

struct helper_pool;
struct helper_lease;
/* log(arg, level, text): deaths, restarts, kills. */
struct helper_pool *helper_pool_new(struct loop *l, const struct ph_helper_spec *spec,
                                    void (*log)(void *arg, enum ph_level level, const char *text), void *arg);
/* Kills the helpers.  Leases get no callback any more; they are still to be ended. */
void helper_pool_free(struct helper_pool **p);
/* Callbacks come from the loop.  PH_EBUSY also when too many wait already (1024). */
struct helper_lease *helper_lease_begin(struct helper_pool *p, void (*got)(void *arg, int status), void *arg);
/* 0 and answer() will come, or: PH_EINVAL a request that the framing cannot carry (LINE: empty, or
 * with CR, LF, NUL), PH_EBUSY asked and not answered yet, PH_ELIMIT too long, PH_ECLOSED the
 * helper is gone: end the lease.  bytes of the answer live for the callback. */
int  helper_lease_ask(struct helper_lease *l, struct ph_str request,
                      void (*answer)(void *arg, int status, struct ph_str bytes), void *arg);
void helper_lease_end(struct helper_lease **l, bool broken);

#endif
