/*
 * conn.c - a connection over a stream.  Output is pulled, input is read into
 * the loop's scratch and only unused bytes are kept, so that an idle
 * connection is this struct and nothing else.
 *
 * Callbacks come from the loop only, never from inside a call of the owner's
 * (but output and sent).  The struct lives until a note of its own has run on
 * a clean stack, so every function may look at it after a callback.
 */
#include <stdlib.h>
#include <string.h>
#include "base/abort.h"
#include "base/list.h"
#include "base/mem.h"
#include "net/conn.h"
#include "net/layer.h"
#include "net/parting.h"

enum {
	READ_ROUNDS = 4,                /* reads in one go before others get their turn */
	WRITE_ROUNDS = 16,
	OUTPUT_PIECES = 64,
	LAST_OUTPUT = 256 * 1024,       /* copied from the owner at a polite close */
};

struct conn {
	struct loop *l;
	struct stream *s;               /* NULL once closed */
	const struct conn_events *ev;
	void *arg;
	struct layer *layer;            /* NULL in the clear */
	char *kept;                     /* unused input, NULL when none */
	size_t kept_len, max_input;
	struct ph_note note;
	int pending;                    /* a failure to tell on a clean stack */
	uint8_t watching;
	bool noted, paused, show;       /* show: kept input waits to be shown */
	bool blocked;                   /* waits for the socket to take more */
	bool shaking;                   /* the layer's handshake runs */
	bool eof, told, failed;         /* no more input; closed() was called; all is over */
	bool closing;                   /* conn_close was called */
	bool in_output;
};

static void conn_ready(void *arg, unsigned ready);

/* The peer's bytes make more of ours than it takes. */
static bool
conn_choked(const struct conn *c)
{
	return c->layer != NULL && c->layer->out.len > LAYER_OUT_MOST;
}

static void
conn_watch(struct conn *c)
{
	unsigned want = 0;
	if (!c->failed && !c->closing) {
		if (!c->eof && !conn_choked(c))
			want = c->kept_len < c->max_input || c->shaking ? STREAM_READ : STREAM_HANGUP;
		if (c->blocked)
			want |= STREAM_WRITE;
	}
	if (c->s != NULL && !c->closing && want != c->watching) {
		c->watching = (uint8_t)want;
		stream_watch(c->s, want, conn_ready, c);
	}
}

static void
conn_defer(struct conn *c)
{
	if (!c->noted)
		loop_defer(c->l, &c->note);
	c->noted = true;
}

/* Part of a line with a password may be in it. */
static void
conn_forget(char *kept, size_t n)
{
	mem_wipe(kept, n);
	free(kept);
}

static void
conn_drop_input(struct conn *c)
{
	conn_forget(c->kept, c->kept_len);
	c->kept = NULL;
	c->kept_len = 0;
	c->show = false;
}

/* From the loop's stack only. */
static void
conn_tell(struct conn *c, int status)
{
	if (status == PH_ECLOSED)
		c->eof = true;
	else
		c->failed = true;
	conn_watch(c);
	if (!c->told && !c->closing) {
		c->told = true;
		c->ev->closed(c, c->arg, status);
	}
}

/* --- output --- */

static int
conn_flush_layer(struct conn *c)
{
	int rc = c->layer->out.len > 0 ? layer_flush(c->layer, c->s) : 0;
	if (rc == PH_EBUSY)
		c->blocked = true;
	return rc;
}

/* Pulls and writes once: 1 go on, 0 nothing more for now, or PH_E*. */
static int
conn_push(struct conn *c)
{
	struct iovec iov[OUTPUT_PIECES];
	size_t total = 0;
	int n, rc;
	if (c->layer != NULL) {
		rc = conn_flush_layer(c);
		if (rc != 0)
			return rc == PH_EBUSY ? 0 : rc;
		if (c->layer->at == PH_SECURE_HANDSHAKE)
			return 0;       /* who has said goodbye may still listen (RFC 8446 6.1) */
	}
	n = c->ev->output(c, c->arg, iov, OUTPUT_PIECES);
	if (n <= 0 || c->closing)
		return 0;
	for (int i = 0; i < n; i++)
		total += iov[i].iov_len;
	ssize_t put = c->layer != NULL ? layer_seal(c->layer, c->l, c->s, iov, n) : stream_write(c->s, iov, n);
	if (put < 0 && put != PH_EBUSY)
		return (int)put;
	if (put > 0)
		c->ev->sent(c, c->arg, (size_t)put);
	if (c->closing)
		return 0;
	if (c->layer != NULL)
		return put > 0;
	if (put < 0 || (size_t)put < total)
		c->blocked = true;
	return !c->blocked;
}

static int
conn_flush(struct conn *c)
{
	int rc = 1;
	if (c->in_output || c->blocked || c->failed || c->closing)
		return 0;
	c->in_output = true;
	for (int round = 0; rc > 0; round++) {
		if (round == WRITE_ROUNDS) {
			c->blocked = true;      /* the socket takes more; in the next turn */
			break;
		}
		rc = conn_push(c);
	}
	c->in_output = false;
	if (rc >= 0)
		conn_watch(c);
	return rc < 0 ? rc : 0;
}

/* --- input --- */

/* What is left over replaces what was kept. */
static void
conn_keep(struct conn *c, const char *p, size_t n)
{
	if (n == 0) {
		conn_drop_input(c);
		return;
	}
	char *fresh = mem_alloc(n);
	memcpy(fresh, p, n);
	conn_forget(c->kept, c->kept_len);
	c->kept = fresh;
	c->kept_len = n;
}

/* data lies in the scratch. */
static void
conn_show(struct conn *c, const char *data, size_t n)
{
	struct layer *layer = c->layer;
	c->show = false;
	size_t used = c->ev->input(c, c->arg, (struct ph_str){ data, n });
	if (c->closing || c->layer != layer)
		return;         /* RFC 3207 4.2: what came in the clear is forgotten */
	if (used > n)
		ph_abort("input used %zu of %zu bytes", used, n);
	conn_keep(c, data + used, n - used);
	if (!c->paused && n - used >= c->max_input)
		conn_tell(c, PH_ELIMIT);
}

static void
conn_show_kept(struct conn *c)
{
	char *scratch = loop_scratch(c->l);
	size_t n = c->kept_len;
	c->show = false;
	if (n == 0)
		return;
	memcpy(scratch, c->kept, n);
	conn_show(c, scratch, n);
}

/* The layer's handshake has come to an end, good or bad. */
static void
conn_shaken(struct conn *c)
{
	bool open = !c->layer->failed && c->layer->at == PH_SECURE_OPEN;
	c->shaking = false;
	/* The last flight, or an alert that says why; on failure nobody waits for it. */
	if (conn_flush_layer(c) != 0 && !open)
		c->blocked = false;
	if (!open) {
		c->failed = c->told = true;
		conn_watch(c);
	}
	c->ev->secured(c, c->arg, open ? 0 : PH_EPROTO);
}

static void
conn_read(struct conn *c)
{
	char *scratch = loop_scratch(c->l);
	for (int round = 0; round < READ_ROUNDS; round++) {
		if (c->closing || c->failed || c->eof)
			return;
		if (conn_choked(c))
			break;
		if (c->kept_len >= c->max_input && !c->shaking)
			break;
		size_t room = c->max_input - c->kept_len, before = c->paused ? 0 : c->kept_len;
		ssize_t got = c->layer != NULL
			? layer_read(c->layer, c->l, c->s, scratch + before, room)
			: stream_read(c->s, scratch + before, room);
		if (c->shaking && (c->layer->failed || c->layer->at != PH_SECURE_HANDSHAKE)) {
			conn_shaken(c);
			continue;
		}
		/* The handshake goes back and forth inside layer_read. */
		if (c->layer != NULL && c->layer->out.len > 0 && !c->blocked)
			(void)conn_flush_layer(c);      /* an error shows when reading */
		if (got == PH_EBUSY)
			break;
		if (got <= 0) {
			conn_tell(c, got == 0 ? PH_ECLOSED : (int)got);
			return;
		}
		if (c->paused) {
			c->kept = mem_realloc(c->kept, c->kept_len + (size_t)got);
			memcpy(c->kept + c->kept_len, scratch, (size_t)got);
			c->kept_len += (size_t)got;
			c->show = true;
		} else {
			if (before > 0)
				memcpy(scratch, c->kept, before);
			conn_show(c, scratch, before + (size_t)got);
		}
		if (c->layer != NULL ? c->layer->drained && c->layer->in.len == 0 && !c->layer->more
		                     : (size_t)got < room)
			break;          /* the socket is empty, or will wake us */
	}
	if (c->closing || c->failed)
		return;
	/* The socket does not know of what waits inside the layer. */
	if (c->layer != NULL && !conn_choked(c) && (c->layer->yielded ||
	    (!c->shaking && c->kept_len < c->max_input &&
	    (c->layer->more || (c->layer->in.len > 0 && !c->layer->starved)))))
		conn_defer(c);
	conn_watch(c);
}

static void
conn_ready(void *arg, unsigned ready)
{
	struct conn *c = arg;
	if (ready & STREAM_WRITE) {
		c->blocked = false;
		int rc = conn_flush(c);
		if (rc < 0) {
			conn_tell(c, rc);
			return;
		}
	}
	if (c->closing || c->failed)
		return;
	if (ready & STREAM_READ)
		conn_read(c);
	else if (ready & STREAM_HANGUP)
		conn_tell(c, PH_ECLOSED);
	else
		conn_watch(c);
}

/* --- life --- */

static void
conn_note(struct ph_note *note)
{
	struct conn *c = container_of(note, struct conn, note);
	c->noted = false;
	if (c->closing) {
		if (c->s == NULL)
			free(c);
		return;
	}
	if (c->failed)
		return;
	if (c->pending != 0) {
		conn_tell(c, c->pending);
		return;
	}
	if (c->shaking && c->layer->failed) {
		conn_shaken(c);
		return;
	}
	if (c->show && !c->paused)
		conn_show_kept(c);
	if (!c->closing && !c->failed && c->layer != NULL &&
	    (!c->shaking || c->layer->yielded))
		conn_read(c);
	conn_watch(c);
}

struct conn *
conn_new(struct loop *l, struct stream *s, size_t max_input, const struct conn_events *ev, void *arg)
{
	struct conn *c = mem_new(struct conn);
	ph_assert(max_input > 0);
	c->l = l;
	c->s = s;
	c->ev = ev;
	c->arg = arg;
	c->max_input = max_input < LOOP_SCRATCH_READ ? max_input : LOOP_SCRATCH_READ;
	c->note.run = conn_note;
	conn_watch(c);
	return c;
}

void
conn_kick(struct conn *c)
{
	int rc = conn_flush(c);
	if (rc < 0 && c->pending == 0) {
		c->pending = rc;
		conn_defer(c);
	}
}

void
conn_pause(struct conn *c, bool pause)
{
	c->paused = pause;
	if (!pause && (c->kept_len > 0 || c->layer != NULL)) {
		c->show = c->kept_len > 0;
		conn_defer(c);
	}
	if (!pause)
		conn_watch(c);
}

size_t
conn_unsent(const struct conn *c)
{
	return c->layer != NULL ? c->layer->out.len : 0;
}

/* The stream goes at once, the struct on a clean stack. */
static void
conn_end(struct conn *c)
{
	conn_drop_input(c);
	layer_free(&c->layer);
	stream_close(&c->s);
	conn_defer(c);
}

/* Takes over what the owner still has to say. */
static void
conn_last_output(struct conn *c, struct buf *out)
{
	struct iovec iov[OUTPUT_PIECES];
	bool open = c->layer != NULL && c->layer->at != PH_SECURE_HANDSHAKE && !c->layer->failed;
	for (size_t total = 0; total < LAST_OUTPUT && (c->layer == NULL || open); ) {
		int n = c->ev->output(c, c->arg, iov, OUTPUT_PIECES);
		if (n <= 0)
			break;
		size_t put = 0;
		if (c->layer != NULL) {
			ssize_t sealed = layer_seal(c->layer, c->l, NULL, iov, n);
			if (sealed <= 0)
				break;
			put = (size_t)sealed;
		} else {
			for (int i = 0; i < n; i++) {
				buf_add(out, iov[i].iov_base, iov[i].iov_len);
				put += iov[i].iov_len;
			}
		}
		c->ev->sent(c, c->arg, put);
		total += put;
	}
	if (c->layer != NULL) {
		if (open)
			(void)layer_step(c->layer, c->l, true); /* a goodbye that fails is not missed */
		buf_free(out);
		*out = c->layer->out;
		c->layer->out = (struct buf){ 0 };
	}
}

void
conn_close(struct conn **cp, bool polite)
{
	struct conn *c = *cp;
	if (c == NULL)
		return;
	*cp = NULL;
	ph_assert(!c->closing);
	polite = polite && !c->failed && c->pending == 0;
	if (polite && conn_flush(c) < 0)
		polite = false;
	if (polite) {
		struct buf out = { 0 };
		conn_last_output(c, &out);
		parting_start(c->l, &c->s, &out, c->eof);
	}
	c->closing = true;
	conn_end(c);
}

void
conn_loop_done(struct loop *l)
{
	parting_give_up(l);
}

void
conn_loop_settle(struct loop *l, struct ph_note *note)
{
	parting_settle(l, note);
}

/* --- the layer --- */

int
conn_secure(struct conn *c, const struct ph_secure *provider, struct ph_worker *w,
            const struct ph_secure_want *want)
{
	struct buf before = { 0 };
	int rc = 0;
	if (c->layer != NULL)
		return PH_EEXIST;
	if (c->failed || c->told || c->closing)
		return PH_ECLOSED;
	rc = conn_flush(c);
	if (rc < 0)
		return PH_ECLOSED;
	struct layer *y = layer_new(provider, w, want, &rc);
	if (y == NULL)
		return rc;
	conn_last_output(c, &before);
	buf_free(&y->out);
	y->out = before;
	conn_drop_input(c);
	c->layer = y;
	c->shaking = true;
	if (layer_step(y, c->l, false) < 0)
		conn_defer(c);
	if (!c->blocked)
		(void)conn_flush_layer(c);      /* an error shows when reading */
	conn_watch(c);
	return 0;
}

bool
conn_facts(struct conn *c, struct ph_secure_facts *out)
{
	*out = (struct ph_secure_facts){ 0 };
	if (c->layer == NULL || c->layer->provider->facts == NULL)
		return false;
	c->layer->provider->facts(c->layer->state, out);
	return true;
}

int
conn_binding(struct conn *c, const char *type, uint8_t *out, size_t *len)
{
	if (c->layer == NULL || c->layer->provider->binding == NULL)
		return PH_ENOTSUP;
	return c->layer->provider->binding(c->layer->state, type, out, len);
}

void
conn_peer(const struct conn *c, struct ph_addr *out)
{
	stream_peer(c->s, out);
}

void
conn_local(const struct conn *c, struct ph_addr *out)
{
	stream_local(c->s, out);
}
