/*
 * sink_delay.c - a queue of replies with the time each may leave at.  Replies
 * of one moment share a mark; beyond a limit of marks the last one takes them
 * all, so that a client that asks without reading costs memory for its
 * replies and no more.
 */
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "cmd/sink_delay.h"

enum { MAX_MARKS = 4096 };

static struct sink_mark *
new_mark(struct sink_delay *d)
{
	if (d->first > 0 && d->first + d->n == d->cap) {
		memmove(d->marks, d->marks + d->first, d->n * sizeof *d->marks);
		d->first = 0;
	}
	if (d->n == d->cap) {
		d->cap = d->cap == 0 ? 16 : d->cap * 2;
		d->marks = mem_realloc(d->marks, d->cap * sizeof *d->marks);
	}
	return &d->marks[d->first + d->n++];
}

void
sink_delay_put(struct sink_delay *d, struct buf *out, int64_t due_ms)
{
	struct sink_mark *last = d->n > 0 ? &d->marks[d->first + d->n - 1] : NULL;

	if (out->len == 0)
		return;
	buf_addstr(&d->held, buf_view(out));
	if (last != NULL && (last->due_ms == due_ms || d->n >= MAX_MARKS))
		last->n += out->len;
	else
		*new_mark(d) = (struct sink_mark){ due_ms, out->len };
	buf_clear(out);
}

size_t
sink_delay_due(const struct sink_delay *d, int64_t now_ms)
{
	size_t n = 0;

	for (size_t i = 0; i < d->n && d->marks[d->first + i].due_ms <= now_ms; i++)
		n += d->marks[d->first + i].n;
	return n;
}

void
sink_delay_sent(struct sink_delay *d, size_t n)
{
	while (n > 0) {
		struct sink_mark *m = &d->marks[d->first];
		size_t part = n < m->n ? n : m->n;

		m->n -= part;
		n -= part;
		if (m->n == 0) {
			d->first++;
			d->n--;
		}
	}
}

int64_t
sink_delay_next(const struct sink_delay *d)
{
	return d->n > 0 ? d->marks[d->first].due_ms : -1;
}

void
sink_delay_free(struct sink_delay *d)
{
	buf_free(&d->held);
	free(d->marks);
	*d = (struct sink_delay){ 0 };
}
