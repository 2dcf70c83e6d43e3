/* helper.h (core) - pools of helper processes; service.h has the contract. One pool per ph_helpers_open. */
#ifndef NET_HELPER_H
#define NET_HELPER_H

#include "net/loop.h"
#include <posthouse/service.h>

struct helper_pool;
struct helper_lease;
/* log(arg, level, text): deaths, restarts, kills. */
struct helper_pool *helper_pool_new(struct loop *l, const struct ph_helper_spec *spec,
                                    void (*log)(void *arg, enum ph_level level, const char *text), void *arg);
void helper_pool_free(struct helper_pool **p);
struct helper_lease *helper_lease_begin(struct helper_pool *p, void (*got)(void *arg, int status), void *arg);
int  helper_lease_ask(struct helper_lease *l, struct ph_str request,
                      void (*answer)(void *arg, int status, struct ph_str bytes), void *arg);
void helper_lease_end(struct helper_lease **l, bool broken);

#endif
