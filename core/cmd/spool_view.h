/* spool_view.h - the messages of a stopped daemon's spool, read without changing anything. */
#ifndef CMD_SPOOL_VIEW_H
#define CMD_SPOOL_VIEW_H

#include "config/settings.h"
#include "daemon/fields.h"
#include "queue/queue.h"

/* Calls row for each matching message ("message" and "rcpt" fields), in order of id,
 * then a "counts" row. 0 or PH_E* with why. */
int spool_view(const struct settings *set, const struct queue_filter *f, bool messages,
               void (*row)(void *arg, const struct fields *f), void *arg, char *why, size_t why_size);

#endif
