/*
 * parting.h - what is left of a politely closed connection: a stream and its
 * last bytes.  Private to core/net.
 */
#ifndef NET_PARTING_H
#define NET_PARTING_H

#include "base/buf.h"
#include "net/loop.h"

/* Takes the stream and the bytes, sends them (5 s at most), ends our side and lets the
 * peer read (2 s at most).  peer_ended: nothing more comes from there. */
void parting_start(struct loop *l, struct stream **s, struct buf *out, bool peer_ended);
/* Closes those of this loop that are still at it.  The loop's thread. */
void parting_give_up(struct loop *l);
/* Defers note once none of this loop is left, at once if so. The loop's thread; one note at a time. */
void parting_settle(struct loop *l, struct ph_note *note);

#endif
