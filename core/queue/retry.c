/*
 * retry.c - when a message is tried again, when its sender is told that it is
 * late, and when its time is up.  Computes only; schedule.c acts.
 *
 * All of it counts on the monotonic scale.  Stored times are wall clock: what
 * lies in the future is not believed (created), or cut to the longest wait
 * of the retry list (due), so that a clock that was wrong once neither bounces
 * everything nor keeps anything for years.
 */
#include "queue/internal.h"

#define WAIT_DEFAULT 900000     /* without a retry list */
#define WAIT_MIN 1000
#define BORN_MIN (-(INT64_C(1) << 42))

int64_t
retry_wait(const struct queue *q, unsigned attempts)
{
	const struct queue_config *cfg = &q->cfg;
	size_t i = attempts > 0 ? attempts - 1 : 0;
	int64_t wait;

	if (cfg->nretry == 0)
		return WAIT_DEFAULT;
	wait = cfg->retry_ms[i < cfg->nretry ? i : cfg->nretry - 1];
	return wait < WAIT_MIN ? WAIT_MIN : wait;
}

/* Of the next attempt after a failed one.  The last attempt is made when the
 * message expires, not up to four hours later. */
int64_t
retry_due(const struct queue *q, const struct entry *e)
{
	int64_t due = q->now + retry_wait(q, e->attempts);

	if (q->cfg.expire_ms > 0) {
		int64_t end = e->born + q->cfg.expire_ms;

		if (end > q->now && end < due)
			due = end;
	}
	return due;
}

bool
retry_expired(const struct queue *q, const struct entry *e)
{
	return q->cfg.expire_ms > 0 && q->now - e->born >= q->cfg.expire_ms;
}

static bool
may_notice(const struct queue *q, const struct entry *e)
{
	return q->cfg.delay_notice_ms > 0 && q->cfg.bounce_notices && !e->notified && !e->bounce;
}

bool
retry_notice(const struct queue *q, const struct entry *e)
{
	return may_notice(q, e) && q->now - e->born >= q->cfg.delay_notice_ms;
}

int64_t
retry_event(const struct queue *q, const struct entry *e)
{
	int64_t at = INT64_MAX;

	if (may_notice(q, e))
		at = e->born + q->cfg.delay_notice_ms;
	if (q->cfg.expire_ms > 0 && e->born + q->cfg.expire_ms < at)
		at = e->born + q->cfg.expire_ms;
	return at < q->reports_after ? q->reports_after : at;
}

int64_t
retry_stored_due(const struct queue *q, int64_t due_wall)
{
	int64_t wait = due_wall - q->wall, longest = 0;

	if (due_wall <= q->wall)
		return DUE_READY;
	for (size_t i = 0; i < q->cfg.nretry; i++)
		if (q->cfg.retry_ms[i] > longest)
			longest = q->cfg.retry_ms[i];
	if (longest == 0)
		longest = WAIT_DEFAULT;
	return q->now + (wait < longest ? wait : longest);
}

int64_t
retry_born(const struct queue *q, int64_t created_wall)
{
	int64_t born;

	if (created_wall >= q->wall)
		return q->now;
	born = q->now - (q->wall - created_wall);
	return born > BORN_MIN ? born : BORN_MIN;
}

int64_t
retry_wall(const struct queue *q, int64_t mono)
{
	return q->wall + (mono - q->now);
}
