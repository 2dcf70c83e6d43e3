/*
 * layer.h - the transport-security layer of one connection: pumps bytes
 * through a provider that never sees the socket.  Private to core/net.
 */
#ifndef NET_LAYER_H
#define NET_LAYER_H

#include "base/buf.h"
#include "net/loop.h"
#include <posthouse/provider.h>

/* Sealed bytes that may wait for the socket before the peer's are read no more: who makes us answer
 * without reading the answers is not to fill our memory. */
enum { LAYER_OUT_MOST = 128 * 1024 };

struct layer {                          /* owned by its conn */
	const struct ph_secure *provider;
	void *state;                    /* the provider's */
	enum ph_secure_state at;
	bool failed;                    /* the provider gave up: no more pumping */
	bool more;                      /* plaintext may be left inside the provider */
	bool starved;                   /* it could do nothing with all of ->in */
	bool yielded;                   /* a read ended with work left, so that others get their turn */
	bool drained;                   /* the socket had less than was asked for: it will wake us */
	struct buf out;                 /* bytes for the wire */
	struct buf in;                  /* ciphertext that the provider did not take yet */
};

/* NULL when the provider refuses; *err then. */
struct layer *layer_new(const struct ph_secure *provider, struct ph_worker *w,
                        const struct ph_secure_want *want, int *err);
void layer_free(struct layer **y);
/* Reads from the stream and opens: > 0 bytes of plaintext, 0 end, PH_EBUSY nothing yet, or
 * PH_E*.  Returns PH_EBUSY also when the handshake has just ended: look at ->at. */
ssize_t layer_read(struct layer *y, struct loop *l, struct stream *s, char *to, size_t room);
/* Seals pieces of plaintext and sends them; what the stream does not take now, and all when it
 * is NULL, waits in ->out.  How many bytes were taken, or PH_EPROTO. */
ssize_t layer_seal(struct layer *y, struct loop *l, struct stream *s, const struct iovec *iov, int n);
/* One step without input: starts the handshake, or says goodbye. */
int  layer_step(struct layer *y, struct loop *l, bool closing);
/* Writes what is in ->out: 0 all gone, PH_EBUSY, or PH_E*. */
int  layer_flush(struct layer *y, struct stream *s);

#endif
