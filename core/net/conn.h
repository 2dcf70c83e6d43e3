/*
 * conn.h - a connection: a stream, the input not yet used, an optional
 * transport-security layer, one close.  Output is pulled from its owner, so
 * an idle connection holds no buffers; input is read into a buffer of the
 * loop and only what was not used is kept.
 */
#ifndef NET_CONN_H
#define NET_CONN_H

#include "base/buf.h"
#include "net/loop.h"
#include <posthouse/provider.h>

struct conn;
struct conn_events {
	/* Returns how many bytes were used; the rest is shown again with more.
	 * Not called while paused. */
	size_t (*input)(struct conn *c, void *arg, struct ph_str data);
	/* Fills up to max pieces to send now; 0: nothing. Pieces stay valid until sent. */
	int (*output)(struct conn *c, void *arg, struct iovec *iov, int max);
	void (*sent)(struct conn *c, void *arg, size_t n);
	/* Once: PH_ECLOSED (end of file), PH_EIO, PH_EPROTO (the layer failed), PH_ELIMIT
	 * (max_input unused bytes and not paused). Not after conn_close. The peer's end of
	 * file is told at once also while paused.  After PH_ECLOSED the owner may go on for
	 * a while (a half-closed peer still reads replies): output leaves, and input kept by
	 * a pause, all that will ever come, is shown when resumed.  After any other status
	 * no callback follows.  The owner calls conn_close then. */
	void (*closed)(struct conn *c, void *arg, int status);
	/* a handshake started by conn_secure ended: 0 or PH_EPROTO */
	void (*secured)(struct conn *c, void *arg, int status);
};
/* Takes the stream. max_input: unused input kept at most; more pauses reading.  It is also
 * the most that is read at once; above LOOP_SCRATCH_READ it counts as that. */
struct conn *conn_new(struct loop *l, struct stream *s, size_t max_input,
                      const struct conn_events *ev, void *arg);
void conn_kick(struct conn *c);         /* there is output: pull and write now */
void conn_pause(struct conn *c, bool pause);    /* resume shows kept input on a clean stack */
size_t conn_unsent(const struct conn *c);       /* ciphertext not yet out; 0 in the clear */
/* Frees it later on a clean stack.  When polite, what output() still gives (at most
 * 256 KiB) is copied and sent first, at most for 5 s, and the peer gets time to read it.
 * output and sent are called inside conn_close, nothing after it: the owner may go. */
void conn_close(struct conn **c, bool polite);
/* Gives up politely closed connections that are still being sent; before loop_free.  They are
 * their thread's: call it there. */
void conn_loop_done(struct loop *l);
/* Defers note once all of those were sent or their time is over; one note at a time. */
void conn_loop_settle(struct loop *l, struct ph_note *note);
/* Drops buffered input, puts the layer on, then secured().  Output from before still leaves
 * in the clear, in front.  After secured(PH_EPROTO) no callback follows; a peer that
 * leaves meanwhile shows as closed().  PH_EEXIST: has one; PH_ECLOSED: too late. */
int  conn_secure(struct conn *c, const struct ph_secure *provider, struct ph_worker *w,
                 const struct ph_secure_want *want);
bool conn_facts(struct conn *c, struct ph_secure_facts *out);   /* false in the clear */
int  conn_binding(struct conn *c, const char *type, uint8_t *out, size_t *len);
void conn_peer(const struct conn *c, struct ph_addr *out);
void conn_local(const struct conn *c, struct ph_addr *out);

#endif
