/*
 * fake_stream.c - streams in memory and listeners by address: the side that
 * the code under test sees.  fake_loop.h tells how they behave.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "fake_private.h"

enum { SPARE_PORT = 40000 };

static struct list streams = { &streams, &streams };    /* in order of their making */
static struct list listeners = { &listeners, &listeners };
static struct list places = { &places, &places };
static uint16_t next_port = SPARE_PORT;

/* --- places --- */

void
fake_key(const struct ph_addr *a, char out[FAKE_KEY])
{
	char text[PH_ADDR_TEXT];
	snprintf(out, FAKE_KEY, "%s port %u", ph_addr_text(a, text), a->port);
}

struct place *
fake_place_find(const char *key)
{
	list_each(it, &places) {
		struct place *p = container_of(it, struct place, link);
		if (strcmp(p->key, key) == 0)
			return p;
	}
	return NULL;
}

static struct place *
place_new(const char *key)
{
	struct place *p = mem_new(struct place);
	snprintf(p->key, sizeof p->key, "%s", key);
	p->fd = -1;
	list_init(&p->waiting);
	list_push_back(&places, &p->link);
	return p;
}

struct place *
fake_place_named(const char *key)
{
	struct place *p = fake_place_find(key);
	return p != NULL ? p : place_new(key);
}

struct place *
fake_place_at(const struct ph_addr *a)
{
	char key[FAKE_KEY];
	fake_key(a, key);
	return fake_place_named(key);
}

uint16_t
fake_next_port(void)
{
	return next_port++;
}

/* --- streams --- */

static void
stream_release(struct ph_note *note)
{
	free(container_of(note, struct stream, note));
}

struct stream *
fake_stream_make(struct loop *l, const struct ph_addr *from, const struct ph_addr *to)
{
	struct stream *s = mem_new(struct stream);
	*s = (struct stream){ .l = l, .from = *from, .to = *to };
	s->note.run = stream_release;
	list_push_back(&streams, &s->link);
	fake_opened(l, 1);
	return s;
}

struct fake_peer *
fake_peer_make(struct stream *s)
{
	struct fake_peer *p = mem_new(struct fake_peer);
	p->s = s;
	s->peer = p;
	return p;
}

static size_t
peer_room(const struct fake_peer *p)
{
	if (p->window == 0)
		return SIZE_MAX;
	return p->got.len < p->window ? p->window - p->got.len : 0;
}

static unsigned
stream_ready(const struct stream *s)
{
	unsigned ready = 0;
	if (s->silent)
		return 0;
	if (s->in.len > 0 || s->eof || s->failed != 0)
		ready |= STREAM_READ;
	if (s->peer == NULL || s->failed != 0 || peer_room(s->peer) > 0)
		ready |= STREAM_WRITE;
	if (s->eof || s->failed != 0)
		ready |= STREAM_HANGUP;
	return ready & s->events;
}

ssize_t
stream_read(struct stream *s, void *p, size_t n)
{
	if (s->failed != 0)
		return s->failed;
	if (s->in.len == 0)
		return s->eof ? 0 : PH_EBUSY;
	if (n > s->in.len)
		n = s->in.len;
	if (s->slice != 0 && n > s->slice)
		n = s->slice;
	memcpy(p, buf_view(&s->in).p, n);
	buf_eat(&s->in, n);
	return (ssize_t)n;
}

ssize_t
stream_write(struct stream *s, const struct iovec *iov, int n)
{
	size_t put = 0;
	if (s->failed != 0 || s->peer == NULL || s->shut)
		return s->failed != 0 ? s->failed : PH_EIO;
	if (s->silent)
		return PH_EBUSY;
	size_t room = peer_room(s->peer);
	if (s->slice != 0 && room > s->slice)
		room = s->slice;
	for (int i = 0; i < n && room > 0; i++) {
		size_t k = iov[i].iov_len < room ? iov[i].iov_len : room;
		buf_add(&s->peer->got, iov[i].iov_base, k);
		put += k;
		room -= k;
	}
	return put > 0 ? (ssize_t)put : PH_EBUSY;
}

void
stream_watch(struct stream *s, unsigned events, stream_fn fn, void *arg)
{
	s->events = events;
	s->fn = fn;
	s->arg = arg;
}

void
stream_shutdown(struct stream *s)
{
	s->shut = true;
	if (s->peer != NULL)
		s->peer->ended = true;
}

void
stream_close(struct stream **sp)
{
	struct stream *s = *sp;
	if (s == NULL)
		return;
	*sp = NULL;
	if (s->peer != NULL) {
		s->peer->s = NULL;
		s->peer->ended = true;
	}
	s->closed = true;
	list_del(&s->link);
	buf_free(&s->in);
	fake_opened(s->l, -1);
	loop_defer(s->l, &s->note);
}

void
stream_peer(const struct stream *s, struct ph_addr *out)
{
	*out = s->to;
}

void
stream_local(const struct stream *s, struct ph_addr *out)
{
	*out = s->from;
}

/* Decides what becomes of a connect. */
static struct stream *
stream_to(struct loop *l, const struct ph_addr *from, const struct ph_addr *to, struct place *at)
{
	struct stream *s = fake_stream_make(l, from, to);
	at->tries++;
	if (at->kind == UNREACHABLE)
		s->failed = PH_EUNREACH;
	else if (at->kind == SILENT)
		s->silent = true;
	else if (at->kind == SERVED)
		list_push_back(&at->waiting, &fake_peer_make(s)->link);
	else if (at->kind == NOBODY && at->ln != NULL) {
		/* The code under test talks to itself: two streams with a peer between would need a
		 * pump; no test has asked for it. */
		s->failed = PH_ENOTSUP;
	} else
		s->failed = PH_EREFUSED;
	return s;
}

struct stream *
stream_connect(struct loop *l, const struct ph_addr *to, const struct ph_addr *from)
{
	struct ph_addr local = { .family = to->family };
	local.ip[0] = to->family == 4 ? 192 : 0x20;     /* 192.0.2.200 or 2001:db8::c8 */
	if (to->family == 4)
		memcpy(local.ip, (const uint8_t[]){ 192, 0, 2, 200 }, 4);
	else
		memcpy(local.ip, (const uint8_t[16]){ 0x20, 1, 0x0d, 0xb8, [15] = 200 }, 16);
	if (from != NULL && from->family != 0)
		local = *from;
	local.port = next_port++;
	return stream_to(l, &local, to, fake_place_at(to));
}

struct stream *
stream_connect_unix(struct loop *l, const char *path)
{
	static const struct ph_addr nobody = { 0 };
	return stream_to(l, &nobody, &nobody, fake_place_named(path));
}

int
stream_connected(struct stream *s)
{
	return s->failed;
}

/* --- listeners --- */

static int
listen_at(struct place *p, bool shared)
{
	if (p->ln != NULL && !shared)
		return -EADDRINUSE;
	if (p->ln != NULL || p->fd >= 0)        /* one listener per worker: the first gets them all */
		p = place_new(p->key);
	/* A real number, so that its owner may close it. */
	p->fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return p->fd;
}

int
listen_tcp(const struct ph_addr *at, bool reuseport, int backlog)
{
	struct ph_addr a = *at;
	(void)backlog;
	if (a.port == 0)
		a.port = next_port++;
	return listen_at(fake_place_at(&a), reuseport);
}

int
listen_unix(const char *path, unsigned mode)
{
	(void)mode;
	return listen_at(fake_place_named(path), false);
}

static void
listener_release(struct ph_note *note)
{
	free(container_of(note, struct listener, note));
}

struct listener *
listener_open(struct loop *l, int fd, void (*got)(void *arg, struct stream *s), void *arg)
{
	/* From the back: a number may have been used before. */
	for (struct list *it = places.prev; it != &places; it = it->prev) {
		struct place *p = container_of(it, struct place, link);
		if (p->fd != fd || p->ln != NULL)
			continue;
		struct listener *ln = mem_new(struct listener);
		*ln = (struct listener){ .l = l, .got = got, .arg = arg, .at = p };
		ln->note.run = listener_release;
		list_init(&ln->queue);
		list_push_back(&listeners, &ln->link);
		p->ln = ln;
		p->fd = -1;
		fake_opened(l, 1);
		return ln;
	}
	return NULL;
}

void
listener_full(struct listener *ln, const char *text)
{
	(void)ln;
	(void)text;             /* there is no end of descriptors here */
}

void
listener_pause(struct listener *ln, bool pause)
{
	ln->paused = pause;
}

void
listener_close(struct listener **lp)
{
	struct listener *ln = *lp;
	if (ln == NULL)
		return;
	*lp = NULL;
	ln->at->ln = NULL;
	for (struct list *it; (it = list_pop(&ln->queue)) != NULL; ) {
		struct stream *s = container_of(it, struct stream, link);
		stream_close(&s);
	}
	list_del(&ln->link);
	fake_opened(ln->l, -1);
	loop_defer(ln->l, &ln->note);
}

/* --- one round --- */

static bool
step_listeners(struct loop *l)
{
	list_each(it, &listeners) {
		struct listener *ln = container_of(it, struct listener, link);
		if (ln->l != l || ln->paused || list_empty(&ln->queue))
			continue;
		struct stream *s = container_of(list_pop(&ln->queue), struct stream, link);
		list_push_back(&streams, &s->link);
		ln->got(ln->arg, s);
		return true;
	}
	return false;
}

/* Tells the test of those who came, outside of the code under test. */
static bool
step_places(void)
{
	list_each(it, &places) {
		struct place *p = container_of(it, struct place, link);
		if (p->arrived == NULL || list_empty(&p->waiting))
			continue;
		p->arrived(p->arg, container_of(list_pop(&p->waiting), struct fake_peer, link));
		return true;
	}
	return false;
}

bool
fake_streams_step(struct loop *l)
{
	bool some = step_places();
	some |= step_listeners(l);
	list_each(it, &streams) {
		struct stream *s = container_of(it, struct stream, link);
		unsigned ready = s->l == l ? stream_ready(s) : 0;
		if (ready == 0)
			continue;
		/* Behind all others, so that one that is always ready does not keep them waiting. */
		list_del(&s->link);
		list_push_back(&streams, &s->link);
		s->fn(s->arg, ready);
		return true;
	}
	return some;
}

void
fake_streams_forget(void)
{
	for (struct list *it; (it = list_pop(&places)) != NULL; ) {
		struct place *p = container_of(it, struct place, link);
		for (struct list *at; (at = list_pop(&p->waiting)) != NULL; ) {
			struct fake_peer *peer = container_of(at, struct fake_peer, link);
			fake_peer_free(&peer);
		}
		free(p);
	}
	next_port = SPARE_PORT;
}
