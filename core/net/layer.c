/*
 * layer.c - ciphertext in, plaintext out, and back, by a transport-security
 * provider.  Buffers are the loop's; only what could not be used or sent yet
 * is kept, so an idle secured connection holds the provider's state alone.
 */
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "net/layer.h"

enum {  /* the loop's scratch: the first part is conn.c's */
	SCRATCH_CIPHER = LOOP_SCRATCH_READ, CIPHER_SIZE = 64 * 1024,
	SCRATCH_GATHER = SCRATCH_CIPHER + CIPHER_SIZE, GATHER_SIZE = 16 * 1024,
	SCRATCH_SEALED = SCRATCH_GATHER + GATHER_SIZE, SEALED_SIZE = LOOP_SCRATCH - SCRATCH_SEALED,
	SEAL_MOST = 64 * 1024,          /* at once: bounds ->out */
	/* A provider that moves nothing in so many steps on end is stuck. */
	PUMP_STEPS = 10000,
	/* Reads on end that bring nothing to show: a peer may send such records (TLS 1.3 key
	 * updates) for ever, and faster than they are opened. */
	EMPTY_READS = 8,
};

struct layer *
layer_new(const struct ph_secure *provider, struct ph_worker *w,
          const struct ph_secure_want *want, int *err)
{
	struct layer *y = mem_new(struct layer);
	y->provider = provider;
	y->state = mem_calloc(1, provider->layer_size > 0 ? provider->layer_size : 1);
	*err = provider->open == NULL ? 0 : provider->open(w, y->state, want);
	if (*err < 0) {
		free(y->state);
		free(y);
		return NULL;
	}
	return y;
}

void
layer_free(struct layer **yp)
{
	struct layer *y = *yp;
	if (y == NULL)
		return;
	*yp = NULL;
	if (y->provider->close != NULL)
		y->provider->close(y->state);
	mem_wipe(y->state, y->provider->layer_size);
	free(y->state);
	buf_free(&y->out);
	buf_free(&y->in);
	free(y);
}

/* What was sealed goes to the socket from where it lies; only what that does not take is
 * copied.  An error of the socket shows at the next flush. */
static void
layer_send(struct layer *y, struct stream *s, const uint8_t *p, size_t n)
{
	if (s != NULL && y->out.len == 0 && n > 0) {
		struct iovec iov = { (void *)(uintptr_t)p, n };
		ssize_t put = stream_write(s, &iov, 1);

		if (put > 0) {
			p += put;
			n -= (size_t)put;
		}
	}
	buf_add(&y->out, p, n);
}

/* Steps the provider while it moves anything; what it seals goes to s, or to ->out.  Stops
 * when the room for plaintext is used up.  io keeps what is left of its input. */
static int
layer_pump(struct layer *y, struct loop *l, struct stream *s, struct ph_secure_io *io)
{
	uint8_t *sealed = (uint8_t *)loop_scratch(l) + SCRATCH_SEALED;
	for (int steps = 0; !y->failed && steps < PUMP_STEPS; steps++) {
		enum ph_secure_state before = y->at;
		size_t cipher = io->cipher_in_len, plain = io->plain_in_len, opened = io->plain_out_len;
		io->cipher_out = sealed;
		io->cipher_out_room = SEALED_SIZE;
		io->cipher_out_len = 0;
		int rc = y->provider->pump(y->state, io, &y->at);
		if (io->cipher_out_len > SEALED_SIZE || io->plain_out_len > io->plain_out_room ||
		    io->cipher_in_len > cipher || io->plain_in_len > plain)
			rc = PH_EPROTO;         /* marks moved out of bounds: the provider's bug */
		else
			layer_send(y, s, sealed, io->cipher_out_len);   /* an alert goes out on failure, too */
		if (rc < 0) {
			y->failed = true;
			return PH_EPROTO;
		}
		if (before == PH_SECURE_HANDSHAKE && y->at != before)
			return 0;               /* let it be told before there is plaintext */
		if (io->plain_out_room > 0 && io->plain_out_len == io->plain_out_room)
			return 0;
		if (cipher == io->cipher_in_len && plain == io->plain_in_len &&
		    opened == io->plain_out_len && io->cipher_out_len == 0)
			return 0;
	}
	return y->failed ? PH_EPROTO : 0;
}

/* Finds ciphertext to work on: kept, or read now.  1, or what stream_read said. */
static ssize_t
layer_fetch(struct layer *y, struct stream *s, uint8_t *scratch, const uint8_t **from, size_t *n)
{
	ssize_t got;
	if (y->in.len == 0 && !y->more) {
		got = stream_read(s, scratch, CIPHER_SIZE);
		if (got <= 0)
			return got;
		y->drained = got < CIPHER_SIZE;
		*from = scratch;
		*n = (size_t)got;
		return 1;
	}
	if (y->starved && !y->more) {
		if (y->in.len >= CIPHER_SIZE)
			return PH_EPROTO;       /* no record is as long as that */
		got = stream_read(s, buf_room(&y->in, CIPHER_SIZE), CIPHER_SIZE);
		if (got <= 0)
			return got;
		buf_grew(&y->in, (size_t)got);
		y->drained = got < CIPHER_SIZE;
	}
	*from = (const uint8_t *)buf_view(&y->in).p;
	*n = y->in.len;
	return 1;
}

ssize_t
layer_read(struct layer *y, struct loop *l, struct stream *s, char *to, size_t room)
{
	uint8_t *scratch = (uint8_t *)loop_scratch(l) + SCRATCH_CIPHER;
	y->yielded = false;
	for (int empty = 0;; empty++) {
		const uint8_t *from;
		size_t n;
		if (y->failed)
			return PH_EPROTO;
		if (y->at == PH_SECURE_CLOSED && !y->more)
			return 0;
		ssize_t rc = layer_fetch(y, s, scratch, &from, &n);
		if (rc <= 0)
			return rc;
		bool shaking = y->at == PH_SECURE_HANDSHAKE;
		struct ph_secure_io io = {
			.cipher_in = from, .cipher_in_len = n,
			/* No plaintext before the end of the handshake was told. */
			.plain_out = (uint8_t *)to, .plain_out_room = shaking ? 0 : room,
		};
		if (layer_pump(y, l, NULL, &io) < 0)
			return PH_EPROTO;
		bool told = shaking && y->at != PH_SECURE_HANDSHAKE;
		size_t taken = n - io.cipher_in_len;
		if (from == scratch)
			buf_add(&y->in, from + taken, n - taken);
		else
			buf_eat(&y->in, taken);
		if (y->in.len == 0)
			buf_free(&y->in);
		y->more = told || (!shaking && io.plain_out_len == room);
		y->starved = taken == 0 && io.plain_out_len == 0;
		if (io.plain_out_len > 0)
			return (ssize_t)io.plain_out_len;
		if (told || (y->drained && y->in.len == 0 && !y->more))
			return PH_EBUSY;
		if (empty == EMPTY_READS || y->out.len > LAYER_OUT_MOST) {
			y->yielded = true;
			return PH_EBUSY;
		}
	}
}

ssize_t
layer_seal(struct layer *y, struct loop *l, struct stream *s, const struct iovec *iov, int n)
{
	/* Small pieces are gathered: each step makes a record of its own. */
	char *gather = loop_scratch(l) + SCRATCH_GATHER;
	size_t total = 0;
	const void *from = gather;
	if (n == 1 || iov[0].iov_len >= GATHER_SIZE) {
		from = iov[0].iov_base;
		total = iov[0].iov_len < SEAL_MOST ? iov[0].iov_len : SEAL_MOST;
	} else {
		for (int i = 0; i < n && total < GATHER_SIZE; i++) {
			size_t k = iov[i].iov_len;
			if (k > GATHER_SIZE - total)
				k = GATHER_SIZE - total;
			if (k > 0)
				memcpy(gather + total, iov[i].iov_base, k);
			total += k;
		}
	}
	struct ph_secure_io io = { .plain_in = from, .plain_in_len = total };
	int rc = layer_pump(y, l, s, &io);
	return rc < 0 ? rc : (ssize_t)(total - io.plain_in_len);
}

int
layer_step(struct layer *y, struct loop *l, bool closing)
{
	struct ph_secure_io io = { .closing = closing };
	return layer_pump(y, l, NULL, &io);
}

int
layer_flush(struct layer *y, struct stream *s)
{
	while (y->out.len > 0) {
		struct iovec iov = { y->out.data + y->out.head, y->out.len };
		ssize_t put = stream_write(s, &iov, 1);
		if (put < 0)
			return (int)put;
		buf_eat(&y->out, (size_t)put);
	}
	buf_free(&y->out);
	return 0;
}
