/*
 * sink_delay.h - replies on their way over an imagined long line: each may
 * leave at a time of its own, in order.
 */
#ifndef CMD_SINK_DELAY_H
#define CMD_SINK_DELAY_H

#include "base/buf.h"

/* Owner: whoever embeds it. Zero-initialised is empty and valid. */
struct sink_delay {
	struct buf held;
	struct sink_mark { int64_t due_ms; size_t n; } *marks;  /* n octets of held each... */
	size_t first, n, cap;                                   /* ...a queue of n from first */
};
/* Takes what is in out, which is empty then. due_ms: not before the last one's. */
void    sink_delay_put(struct sink_delay *d, struct buf *out, int64_t due_ms);
size_t sink_delay_due(
    const struct sink_delay *d, int64_t now_ms);      /* octets of held that may leave */
void sink_delay_sent(struct sink_delay *d, size_t n); /* they were eaten from held */
int64_t sink_delay_next(const struct sink_delay *d);  /* when the first may; -1 nothing waits */
void    sink_delay_free(struct sink_delay *d);

#endif
