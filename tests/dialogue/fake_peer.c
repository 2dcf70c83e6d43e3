/*
 * fake_peer.c - the far ends of streams, which a test plays.  fake_loop.h
 * tells how they behave.
 */
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "fake_private.h"

static struct fake_peer *
connect_to(struct place *p, const struct ph_addr *to, const struct ph_addr *from)
{
	struct listener *ln = p == NULL ? NULL : p->ln;
	if (ln == NULL)
		return NULL;
	struct stream *s = fake_stream_make(ln->l, to, from);
	list_del(&s->link);
	list_push_back(&ln->queue, &s->link);
	return fake_peer_make(s);
}

struct fake_peer *
fake_connect(const struct ph_addr *to, const struct ph_addr *from)
{
	char key[FAKE_KEY];
	struct ph_addr any = { .family = to->family, .port = to->port }, client = *from;
	fake_key(to, key);
	struct place *p = fake_place_find(key);
	if (p == NULL || p->ln == NULL) {
		fake_key(&any, key);
		p = fake_place_find(key);
	}
	if (client.port == 0)
		client.port = fake_next_port();
	return connect_to(p, to, &client);
}

struct fake_peer *
fake_connect_unix(const char *path)
{
	static const struct ph_addr nobody = { 0 };
	return connect_to(fake_place_find(path), &nobody, &nobody);
}

void
fake_send(struct fake_peer *p, const void *data, size_t n)
{
	if (p->s != NULL && !p->s->eof && p->s->failed == 0)
		buf_add(&p->s->in, data, n);
}

void
fake_sends(struct fake_peer *p, const char *text)
{
	fake_send(p, text, strlen(text));
}

void
fake_end(struct fake_peer *p)
{
	if (p->s != NULL)
		p->s->eof = true;
}

void
fake_hang_up(struct fake_peer *p)
{
	if (p->s == NULL)
		return;
	p->s->eof = true;
	p->s->peer = NULL;
	p->s = NULL;
	p->ended = true;
}

void
fake_reset(struct fake_peer *p)
{
	struct stream *s = p->s;
	fake_hang_up(p);
	if (s != NULL) {
		buf_free(&s->in);
		s->failed = PH_EIO;
	}
}

struct ph_str
fake_received(const struct fake_peer *p)
{
	return buf_view(&p->got);
}

void
fake_eat(struct fake_peer *p, size_t n)
{
	buf_eat(&p->got, n);
}

bool
fake_ended(const struct fake_peer *p)
{
	return p->ended;
}

bool
fake_closed(const struct fake_peer *p)
{
	return p->s == NULL;
}

void
fake_window(struct fake_peer *p, size_t n)
{
	p->window = n;
}

void
fake_slices(struct fake_peer *p, size_t n)
{
	if (p->s != NULL)
		p->s->slice = n;
}

void *
fake_data(const struct fake_peer *p)
{
	return p->data;
}

void
fake_set_data(struct fake_peer *p, void *data)
{
	p->data = data;
}

void
fake_peer_free(struct fake_peer **pp)
{
	struct fake_peer *p = *pp;
	if (p == NULL)
		return;
	*pp = NULL;
	fake_hang_up(p);
	list_del(&p->link);
	buf_free(&p->got);
	free(p);
}

static void
place_becomes(struct place *p, int kind, void (*arrived)(void *arg, struct fake_peer *peer), void *arg)
{
	p->kind = kind;
	p->arrived = arrived;
	p->arg = arg;
}

void
fake_serve(const struct ph_addr *at, void (*arrived)(void *arg, struct fake_peer *p), void *arg)
{
	place_becomes(fake_place_at(at), SERVED, arrived, arg);
}

void
fake_serve_unix(const char *path, void (*arrived)(void *arg, struct fake_peer *p), void *arg)
{
	place_becomes(fake_place_named(path), SERVED, arrived, arg);
}

struct fake_peer *
fake_arrived(const struct ph_addr *at)
{
	struct list *it = list_pop(&fake_place_at(at)->waiting);
	return it == NULL ? NULL : container_of(it, struct fake_peer, link);
}

void
fake_refuse(const struct ph_addr *at)
{
	place_becomes(fake_place_at(at), REFUSED, NULL, NULL);
}

void
fake_unreachable(const struct ph_addr *at)
{
	place_becomes(fake_place_at(at), UNREACHABLE, NULL, NULL);
}

void
fake_silent(const struct ph_addr *at)
{
	place_becomes(fake_place_at(at), SILENT, NULL, NULL);
}

size_t
fake_tries(const struct ph_addr *at)
{
	return fake_place_at(at)->tries;
}
