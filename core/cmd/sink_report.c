/*
 * sink_report.c - the sink's statistics: gathered from the workers, each of
 * which owns its own, and printed for people or as JSON.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include "base/mem.h"
#include "base/str.h"
#include "cmd/sink.h"

/* Workers add theirs when asked; the main thread waits for all of them. */
struct gather { pthread_mutex_t lock; pthread_cond_t all; unsigned left; struct sink_stats *into; };
static struct gather gathering = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, NULL };

void
sink_stats_add(struct sink_stats *all, const struct sink_stats *w)
{
	all->messages += w->messages;
	all->bytes += w->bytes;
	all->recipients += w->recipients;
	all->connections += w->connections;
	all->refused += w->refused;
	all->hangups += w->hangups;
	all->foreign += w->foreign;
	all->changed += w->changed;
	if (w->first_ms != 0 && (all->first_ms == 0 || w->first_ms < all->first_ms))
		all->first_ms = w->first_ms;
	if (w->last_ms > all->last_ms)
		all->last_ms = w->last_ms;
	traffic_seen_merge(&all->seen, &w->seen);
}

void
sink_stats_report(struct ph_note *note)
{
	struct sink_worker *w = container_of(note, struct sink_worker, report);

	pthread_mutex_lock(&gathering.lock);
	sink_stats_add(gathering.into, &w->stats);
	if (--gathering.left == 0)
		pthread_cond_signal(&gathering.all);
	pthread_mutex_unlock(&gathering.lock);
}

struct sink_stats *
sink_stats_gather(const struct sink *sink, struct sink_worker **workers)
{
	struct sink_stats *all = mem_new(struct sink_stats);

	pthread_mutex_lock(&gathering.lock);
	gathering.into = all;
	gathering.left = (unsigned)sink->o->threads;
	for (int64_t i = 0; i < sink->o->threads; i++)
		ph_post(loop_mailbox(workers[i]->loop), &workers[i]->report);
	while (gathering.left > 0)
		pthread_cond_wait(&gathering.all, &gathering.lock);
	pthread_mutex_unlock(&gathering.lock);
	return all;
}

static uint64_t
missing(const struct sink *sink, const struct sink_stats *st)
{
	uint64_t distinct = traffic_seen_distinct(&st->seen), expected = (uint64_t)sink->o->expect;

	if (expected == 0)
		return traffic_seen_missing(&st->seen);
	return expected > distinct ? expected - distinct : 0;
}

static double
seconds_of(const struct sink_stats *st)
{
	return (double)(st->last_ms - st->first_ms) / 1000.0;
}

static void
print_json(const struct sink *sink, const struct sink_stats *st)
{
	printf("{\"messages\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"recipients\":%" PRIu64
	       ",\"connections\":%" PRIu64 ",\"open\":%u,\"refused\":%" PRIu64
	       ",\"hangups\":%" PRIu64 ",\"first\":%.3f,\"last\":%.3f",
	    st->messages, st->bytes, st->recipients, st->connections, atomic_load(&sink->sessions),
	    st->refused, st->hangups, (double)st->first_ms / 1000.0, (double)st->last_ms / 1000.0);
	if (sink->o->verify)
		printf(",\"distinct\":%" PRIu64 ",\"duplicates\":%" PRIu64 ",\"missing\":%" PRIu64
		       ",\"changed\":%" PRIu64 ",\"foreign\":%" PRIu64 ",\"untracked\":%" PRIu64,
		    traffic_seen_distinct(&st->seen), traffic_seen_duplicates(&st->seen),
		    missing(sink, st), st->changed, st->foreign, st->seen.untracked);
	printf("}\n");
}

static void
print_text(const struct sink *sink, const struct sink_stats *st)
{
	printf("%" PRIu64 " messages, %" PRIu64 " octets, %" PRIu64 " recipients, %" PRIu64
	       " connections\n",
	    st->messages, st->bytes, st->recipients, st->connections);
	if (seconds_of(st) > 0)
		printf("%.2f s from the first to the last: %.0f messages/s\n", seconds_of(st),
		    (double)st->messages / seconds_of(st));
	if (st->refused > 0 || st->hangups > 0)
		printf("%" PRIu64 " commands or messages refused, hung up %" PRIu64 " times\n",
		    st->refused, st->hangups);
	if (sink->o->verify)
		printf("%" PRIu64 " different, %" PRIu64 " duplicates, %" PRIu64
		       " missing, %" PRIu64 " changed, %" PRIu64 " without check field\n",
		    traffic_seen_distinct(&st->seen), traffic_seen_duplicates(&st->seen),
		    missing(sink, st), st->changed, st->foreign);
}

int
sink_stats_print(const struct sink *sink, struct sink_stats *st)
{
	int rc = sink->o->verify && (st->changed > 0 || missing(sink, st) > 0) ? EX_DATAERR : EX_OK;

	if (sink->o->json)
		print_json(sink, st);
	else
		print_text(sink, st);
	(void)fflush(stdout);
	if (sink->ids != NULL)
		(void)fflush(sink->ids);
	traffic_seen_free(&st->seen);
	free(st);
	return rc;
}
