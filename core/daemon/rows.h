/* rows.h - what the queue tells of itself, as fields; for the control socket and for a stopped spool. */
#ifndef DAEMON_ROWS_H
#define DAEMON_ROWS_H

#include "daemon/fields.h"
#include "queue/queue.h"

/* A "message" line and, with envelope, one "rcpt" line per recipient. */
void rows_message(const struct queue_row *r, struct arena *arena, struct buf *out);
void rows_counts(const struct queue_counts *c, struct arena *arena, struct buf *out);
void rows_site(const struct queue_site_row *r, struct arena *arena, struct buf *out);

#endif
