/*
 * loop_private.h - what loop_uv.c gives to stream.c and listener.c, so that
 * they need not know the loop library.  Private to core/net.
 */
#ifndef NET_LOOP_PRIVATE_H
#define NET_LOOP_PRIVATE_H

#include "net/loop.h"

/* A watch with extra zeroed bytes behind it that live and die with it: a stream
 * is one allocation.  fd -1: nothing to wait for; whatever is asked of it is
 * ready on the next clean stack.  rearm: goes on watching after an error.
 * Owns nothing but itself: the descriptor is closed by the caller, after watch_close. */
struct watch *watch_make(struct loop *l, int fd, size_t extra, bool rearm);
void *watch_extra(struct watch *w);
struct watch *watch_of(void *extra);    /* the way back */
int  watch_fd(const struct watch *w);
void watch_set(struct watch *w, unsigned events, void (*fn)(void *arg, unsigned ready), void *arg);

/* stream.c: makes a stream of an accepted socket; closes it when it cannot. NULL then. */
struct stream *stream_of_fd(struct loop *l, int fd, const struct ph_addr *peer);

#endif
