/*
 * parting.c - says the last words of a connection.
 *
 * Closing with input unread would send a reset, and a reset may overtake the
 * last reply and destroy it in the peer's socket.  So our side is ended first
 * and the peer's bytes are read away until it ends its own, within limits.
 */
#include <stdlib.h>
#include "base/list.h"
#include "base/mem.h"
#include "net/parting.h"

enum { SEND_MS = 5000, DRAIN_MS = 2000, DRAIN_MOST = 256 * 1024 };

struct parting {
	struct list link;
	struct loop *l;
	struct stream *s;
	struct timer timer;
	struct buf out;
	size_t drained;
	bool peer_ended, shut;
};

static _Thread_local struct list all;   /* this thread's */
static _Thread_local struct { struct loop *l; struct ph_note *note; } waiter;

static bool
parting_any(struct loop *l)
{
	if (all.next == NULL)
		return false;
	list_each_safe(it, &all)
		if (container_of(it, struct parting, link)->l == l)
			return true;
	return false;
}

static void
parting_maybe_settled(struct loop *l)
{
	struct ph_note *note = waiter.note;

	if (note == NULL || waiter.l != l || parting_any(l))
		return;
	waiter.note = NULL;
	loop_defer(l, note);
}

static void
parting_end(struct parting *p)
{
	struct loop *l = p->l;

	timer_stop(l, &p->timer);
	stream_close(&p->s);
	list_del(&p->link);
	buf_free(&p->out);
	free(p);
	parting_maybe_settled(l);
}

static void
parting_timeout(struct timer *t)
{
	parting_end(container_of(t, struct parting, timer));
}

static void parting_ready(void *arg, unsigned ready);

/* Sends what is left; when all is out, ends our side. */
static void
parting_send(struct parting *p)
{
	while (p->out.len > 0) {
		struct iovec iov = { p->out.data + p->out.head, p->out.len };
		ssize_t put = stream_write(p->s, &iov, 1);
		if (put == PH_EBUSY) {
			stream_watch(p->s, STREAM_WRITE, parting_ready, p);
			return;
		}
		if (put < 0) {
			parting_end(p);
			return;
		}
		buf_eat(&p->out, (size_t)put);
	}
	if (p->peer_ended) {
		parting_end(p);
		return;
	}
	p->shut = true;
	buf_free(&p->out);
	stream_shutdown(p->s);
	timer_start(p->l, &p->timer, DRAIN_MS);
	stream_watch(p->s, STREAM_READ, parting_ready, p);
}

static void
parting_ready(void *arg, unsigned ready)
{
	struct parting *p = arg;
	(void)ready;
	if (!p->shut) {
		parting_send(p);
		return;
	}
	while (p->drained <= DRAIN_MOST) {
		ssize_t got = stream_read(p->s, loop_scratch(p->l), LOOP_SCRATCH_READ);
		if (got == PH_EBUSY)
			return;
		if (got <= 0)
			break;
		p->drained += (size_t)got;
	}
	parting_end(p);
}

void
parting_start(struct loop *l, struct stream **s, struct buf *out, bool peer_ended)
{
	struct parting *p = mem_new(struct parting);
	*p = (struct parting){ .l = l, .s = *s, .out = *out, .peer_ended = peer_ended };
	*s = NULL;
	*out = (struct buf){ 0 };
	p->timer.fn = parting_timeout;
	if (all.next == NULL)
		list_init(&all);
	list_push_back(&all, &p->link);
	timer_start(l, &p->timer, SEND_MS);
	parting_send(p);        /* reads nothing yet: the caller's bytes may lie in the scratch */
}

void
parting_settle(struct loop *l, struct ph_note *note)
{
	waiter.l = l;
	waiter.note = note;
	parting_maybe_settled(l);
}

void
parting_give_up(struct loop *l)
{
	if (all.next == NULL)
		return;
	list_each_safe(it, &all) {
		struct parting *p = container_of(it, struct parting, link);
		if (p->l == l)
			parting_end(p);
	}
}
