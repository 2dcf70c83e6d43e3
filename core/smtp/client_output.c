/*
 * client_output.c - what is to be sent, in order: command bytes and contents.
 *
 * Content is never copied: pieces point into its blocks, in BDAT mode at
 * whole blocks, in DATA mode at the runs between dots.  Command bytes live in
 * blocks that stay where they are until they have left.
 */
#include <stdio.h>
#include <stdlib.h>

#include "smtp/client_private.h"

enum { BLOCK_SIZE = 4000 };

/* --- queues --- */

static void
push_segment(struct smtp_client *c, struct smtp_client_txn *t, size_t n)
{
	if (c->segments.n == c->segments.cap) {
		uint32_t cap = c->segments.cap > 0 ? c->segments.cap * 2 : 8;
		struct client_segment *v = mem_calloc(cap, sizeof *v);
		for (uint32_t i = 0; i < c->segments.n; i++)
			v[i] = c->segments.v[(c->segments.head + i) & (c->segments.cap - 1)];
		free(c->segments.v);
		c->segments.v = v;
		c->segments.cap = cap;
		c->segments.head = 0;
	}
	c->segments.v[(c->segments.head + c->segments.n++) & (c->segments.cap - 1)] =
	    (struct client_segment){ t, n };
}

static void
pop_segment(struct smtp_client *c)
{
	c->segments.head = (c->segments.head + 1) & (c->segments.cap - 1);
	c->segments.n--;
}

void
client_expect(
    struct smtp_client *c, enum client_wait kind, struct smtp_client_txn *t, uint32_t index)
{
	if (c->expects.n == c->expects.cap) {
		uint32_t cap = c->expects.cap > 0 ? c->expects.cap * 2 : 16;
		struct client_expect *v = mem_calloc(cap, sizeof *v);
		for (uint32_t i = 0; i < c->expects.n; i++)
			v[i] = c->expects.v[(c->expects.head + i) & (c->expects.cap - 1)];
		free(c->expects.v);
		c->expects.v = v;
		c->expects.cap = cap;
		c->expects.head = 0;
	}
	c->expects.v[(c->expects.head + c->expects.n++) & (c->expects.cap - 1)] =
	    (struct client_expect){ kind, index, t, c->cmd_queued };
	if (t != NULL)
		t->replies_due++;
}

char *
client_room(struct smtp_client *c, size_t n)
{
	struct client_block *b = c->last;

	if (b != NULL && b->cap - b->len >= n)
		return b->data + b->len;
	if (c->spare != NULL && c->spare->cap >= n) {
		b = c->spare;
		c->spare = NULL;
	} else {
		size_t cap = n > BLOCK_SIZE ? n : BLOCK_SIZE;
		b = mem_alloc(sizeof *b + cap);
		b->cap = cap;
	}
	b->head = b->len = 0;
	b->next = NULL;
	if (c->last != NULL)
		c->last->next = b;
	else
		c->first = b;
	c->last = b;
	return b->data;
}

/* "AUTH PLAIN ***" */
static void
trace(struct smtp_client *c, struct ph_str line)
{
	char stars[64];
	struct ph_str rest, name;

	if (!c->secret) {
		c->cfg.said(c->cfg.arg, line);
		return;
	}
	if (!str_starts(line, "AUTH ")) {
		c->cfg.said(c->cfg.arg, STR("***"));
		return;
	}
	name = str_cut(str_skip(line, 5), ' ', &rest);
	(void)snprintf(stars, sizeof stars, "AUTH %.*s ***", (int)(name.n < 20 ? name.n : 20), name.p);
	c->cfg.said(c->cfg.arg, str_of(stars));
}

void
client_wrote(struct smtp_client *c, size_t n)
{
	struct client_segment *last = NULL;

	if (c->segments.n > 0)
		last =
		    &c->segments.v[(c->segments.head + c->segments.n - 1) & (c->segments.cap - 1)];
	if (c->cfg.said != NULL)
		trace(c, str_make(c->last->data + c->last->len, n - 2));
	c->last->len += n;
	c->cmd_queued += n;
	if (last != NULL && last->txn == NULL)
		last->n += n;
	else
		push_segment(c, NULL, n);
}

static void
eat_commands(struct smtp_client *c, size_t n)
{
	c->cmd_sent += n;
	while (n > 0) {
		struct client_block *b = c->first;
		size_t k = b->len - b->head < n ? b->len - b->head : n;
		if (c->secret)
			mem_wipe(b->data + b->head, k);
		b->head += k;
		n -= k;
		if (b->head < b->len)
			return;
		if (b == c->last) {
			/* The only one, and all of it has left: start again at its front. */
			b->head = b->len = 0;
			return;
		}
		c->first = b->next;
		free(c->spare);
		c->spare = b;
	}
}

void
client_push_content(struct smtp_client *c, struct smtp_client_txn *t)
{
	t->stage = STAGE_BODY;
	if (c->bdat && t->size == 0) {
		t->sent = true;
		return;
	}
	if (!c->bdat) {
		c->enc.head = c->enc.n = 0;
		c->enc.dots = 0;
		c->enc.done = false;
	}
	push_segment(c, t, 0);
}

void
client_forget(struct buf *b)
{
	mem_wipe(b->data, b->cap);
	buf_free(b);
}

void
client_output_free(struct smtp_client *c)
{
	while (c->first != NULL) {
		struct client_block *b = c->first;
		c->first = b->next;
		if (c->secret)
			mem_wipe(b->data, b->cap);
		free(b);
	}
	c->last = NULL;
	free(c->spare);
	c->spare = NULL;
	free(c->segments.v);
	c->segments.v = NULL;
}

/* --- content --- */

/* A run of head + content at an offset; {NULL, 0} when it must be asked for. */
static struct ph_str
content_at(const struct smtp_client_txn *t, uint64_t at)
{
	struct ph_str run;

	if (at < t->head.n)
		return str_skip(t->head, (size_t)at);
	if (ph_content_in_memory(t->content))
		run = ph_content_at(t->content, at - t->head.n);
	else if (at >= t->part_at && at < t->part_at + t->part.n)
		run = str_skip(t->part, (size_t)(at - t->part_at));
	else
		return str_make(NULL, 0);
	return str_head(run, (size_t)(t->size - at < SIZE_MAX ? t->size - at : SIZE_MAX));
}

static void
want(struct smtp_client *c, struct smtp_client_txn *t)
{
	if (t->wanting || c->state == CLIENT_DEAD)
		return;
	t->wanting = true;
	c->events[SMTP_EV_WANT] = (struct smtp_client_event){ .kind = SMTP_EV_WANT, .txn = t };
	c->pending |= 1u << SMTP_EV_WANT;
}

void
smtp_client_content(struct smtp_client *c, struct smtp_client_txn *t, struct ph_str bytes)
{
	(void)c;
	t->wanting = false;
	t->part = bytes;
	t->part_at = t->offset;
}

static int
raw_pieces(
    struct smtp_client *c, struct smtp_client_txn *t, struct iovec *iov, int max, bool *whole)
{
	uint64_t at = t->offset;
	int n = 0;

	while (at < t->size && n < max) {
		struct ph_str run = content_at(t, at);
		if (run.n == 0)
			break;
		iov[n].iov_base = (void *)(uintptr_t)run.p;
		iov[n++].iov_len = run.n;
		at += run.n;
	}
	*whole = at == t->size;
	/* What was given before must have left: it is the caller's again with WANT. */
	if (n == 0 && max > 0 && !*whole)
		want(c, t);
	return n;
}

/* Stuffs dots into what comes next of t, as far as runs have room. */
static void
encode(struct smtp_client *c, struct smtp_client_txn *t)
{
	c->enc.head = c->enc.n = 0;
	while (c->enc.n < CLIENT_RUNS && !c->enc.done) {
		struct ph_str run, in;

		if (t->offset == t->size) {
			run = dots_encode_end(&c->enc.dots);
			c->enc.done = true;
		} else {
			size_t before;
			in = content_at(t, t->offset);
			if (in.n == 0)
				break;
			before = in.n;
			dots_encode(&c->enc.dots, &in, &run);
			t->offset += before - in.n;
		}
		if (run.n > 0) {
			c->enc.v[c->enc.n].iov_base = (void *)(uintptr_t)run.p;
			c->enc.v[c->enc.n++].iov_len = run.n;
		}
	}
	if (c->enc.n == 0)
		want(c, t);
}

static int
dotted_pieces(
    struct smtp_client *c, struct smtp_client_txn *t, struct iovec *iov, int max, bool *whole)
{
	int n = 0;

	if (c->enc.head == c->enc.n && !c->enc.done)
		encode(c, t);
	for (int i = c->enc.head; i < c->enc.n && n < max; i++)
		iov[n++] = c->enc.v[i];
	*whole = c->enc.done && c->enc.head + n == c->enc.n;
	return n;
}

static int
command_pieces(struct client_block **b, size_t *skip, size_t want_bytes, struct iovec *iov, int max)
{
	int n = 0;

	while (want_bytes > 0 && n < max) {
		size_t k = (*b)->len - (*b)->head - *skip;
		if (k == 0) {
			*b = (*b)->next;
			*skip = 0;
			continue;
		}
		if (k > want_bytes)
			k = want_bytes;
		iov[n].iov_base = (*b)->data + (*b)->head + *skip;
		iov[n++].iov_len = k;
		*skip += k;
		want_bytes -= k;
	}
	return n;
}

int
smtp_client_output(struct smtp_client *c, struct iovec *iov, int max)
{
	struct client_block *b = c->first;
	size_t skip = 0;
	int n = 0;

	if (c->state == CLIENT_DEAD)
		return 0;
	for (uint32_t i = 0; i < c->segments.n && n < max; i++) {
		struct client_segment *s =
		    &c->segments.v[(c->segments.head + i) & (c->segments.cap - 1)];
		bool whole = true;

		if (s->txn == NULL)
			n += command_pieces(&b, &skip, s->n, iov + n, max - n);
		else if (c->bdat)
			n += raw_pieces(c, s->txn, iov + n, max - n, &whole);
		else
			n += dotted_pieces(c, s->txn, iov + n, max - n, &whole);
		if (!whole)
			break;
	}
	return n;
}

static void
content_sent(struct smtp_client *c, struct smtp_client_txn *t)
{
	t->sent = true;
	pop_segment(c);
	client_txn_finish_if_over(c, t);
	client_advance(c);
}

/* Returns how many of n bytes belonged to the runs of t. */
static size_t
dotted_sent(struct smtp_client *c, size_t n)
{
	size_t left = n;

	while (left > 0 && c->enc.head < c->enc.n) {
		struct iovec *v = &c->enc.v[c->enc.head];
		size_t k = v->iov_len < left ? v->iov_len : left;
		v->iov_base = (char *)v->iov_base + k;
		v->iov_len -= k;
		left -= k;
		if (v->iov_len == 0)
			c->enc.head++;
	}
	return n - left;
}

void
smtp_client_sent(struct smtp_client *c, size_t n)
{
	while (n > 0 && c->segments.n > 0) {
		struct client_segment *s = &c->segments.v[c->segments.head];
		struct smtp_client_txn *t = s->txn;
		size_t k;

		if (t == NULL) {
			k = n < s->n ? n : s->n;
			eat_commands(c, k);
			s->n -= k;
			if (s->n == 0)
				pop_segment(c);
		} else if (c->bdat) {
			k = n < t->size - t->offset ? n : (size_t)(t->size - t->offset);
			t->offset += k;
			if (t->offset == t->size)
				content_sent(c, t);
		} else {
			k = dotted_sent(c, n);
			if (c->enc.done && c->enc.head == c->enc.n)
				content_sent(c, t);
			else if (k == 0)
				return;
		}
		n -= k;
	}
}
