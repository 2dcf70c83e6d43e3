/*
 * bench_report.c - what the load generator found, all workers together, as
 * text or as a line of JSON, and the exit status that follows from it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "cmd/bench.h"
#include "cmd/cmd.h"

static void
add_stats(struct bench_stats *all, const struct bench_stats *w)
{
	all->taken += w->taken;
	all->refused += w->refused;
	all->lost += w->lost;
	all->rcpts_refused += w->rcpts_refused;
	all->connects += w->connects;
	all->connect_failures += w->connect_failures;
	all->idle_lost += w->idle_lost;
	for (int i = 0; i < BENCH_CODES; i++)
		all->codes[i] += w->codes[i];
	if (w->first_us != 0 && (all->first_us == 0 || w->first_us < all->first_us))
		all->first_us = w->first_us;
	if (w->last_us > all->last_us)
		all->last_us = w->last_us;
	all->handshakes += w->handshakes;
	all->resumed += w->resumed;
	if (w->negotiated[0] != '\0')
		memcpy(all->negotiated, w->negotiated, sizeof all->negotiated);
	histogram_merge(&all->latency, &w->latency);
	if (w->last_refusal[0] != '\0')
		memcpy(all->last_refusal, w->last_refusal, sizeof all->last_refusal);
}

static double
seconds_of(const struct bench_stats *st)
{
	return st->last_us > st->first_us ? (double)(st->last_us - st->first_us) / 1e6 : 0;
}

static double
per_second(const struct bench_stats *st, double n)
{
	return seconds_of(st) > 0 ? n / seconds_of(st) : 0;
}

static void
report_json(const struct bench *b, const struct bench_stats *st, unsigned idle_open)
{
	const struct histogram *h = &st->latency;
	int64_t offset = clock_wall_ms() * 1000 - clock_mono_us();
	const char *comma = "";

	printf("{\"run\":\"%016" PRIx64 "\",\"sessions\":%" PRId64
	       ",\"size\":%zu,\"recipients\":%" PRId64 ",\"messages\":%" PRIu64
	       ",\"refused\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"recipients_refused\":%" PRIu64,
	    b->traffic.run, b->o->sessions, b->traffic.size, b->o->rcpts, st->taken, st->refused,
	    st->lost, st->rcpts_refused);
	printf(",\"connections\":%" PRIu64 ",\"connect_failures\":%" PRIu64
	       ",\"idle\":%u,\"idle_lost\":%" PRIu64,
	    st->connects, st->connect_failures, idle_open, st->idle_lost);
	printf(",\"handshakes\":%" PRIu64 ",\"resumed\":%" PRIu64 ",\"tls\":\"%s\"",
	    st->handshakes, st->resumed, st->negotiated);
	printf(",\"started\":%.6f,\"ended\":%.6f,\"seconds\":%.6f,\"per_second\":%.1f"
	       ",\"mb_per_second\":%.2f",
	    (double)(st->first_us + offset) / 1e6, (double)(st->last_us + offset) / 1e6,
	    seconds_of(st), per_second(st, (double)st->taken),
	    per_second(st, (double)st->taken * (double)b->traffic.size / 1e6));
	printf(",\"latency_us\":{\"mean\":%.0f,\"min\":%" PRIu64 ",\"p50\":%" PRIu64
	       ",\"p90\":%" PRIu64 ",\"p99\":%" PRIu64 ",\"p999\":%" PRIu64 ",\"max\":%" PRIu64
	       "},\"errors\":{",
	    histogram_mean(h), h->min, histogram_percentile(h, 50), histogram_percentile(h, 90),
	    histogram_percentile(h, 99), histogram_percentile(h, 99.9), h->max);
	for (int code = 0; code < BENCH_CODES; code++)
		if (st->codes[code] > 0) {
			printf("%s\"%d\":%" PRIu64, comma, code, st->codes[code]);
			comma = ",";
		}
	printf("}}\n");
}

static double
ms(uint64_t us)
{
	return (double)us / 1000.0;
}

static void
report_distribution(const struct histogram *h)
{
	static const double shares[] = { 0, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.99, 100 };

	for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++)
		printf("%12.2f%%  %10.3f ms\n", shares[i], ms(histogram_percentile(h, shares[i])));
}

static void
report_text(const struct bench *b, const struct bench_stats *st, unsigned idle_open)
{
	const struct histogram *h = &st->latency;

	if (b->o->greet_only)
		printf("%" PRIu64 " connections in %.2f s: %.0f/s\n", st->taken, seconds_of(st),
		    per_second(st, (double)st->taken));
	else if (b->o->sessions > 0)
		printf("%" PRIu64 " messages of %zu octets in %.2f s: %.0f messages/s, %.1f MB/s\n",
		    st->taken, b->traffic.size, seconds_of(st), per_second(st, (double)st->taken),
		    per_second(st, (double)st->taken * (double)b->traffic.size / 1e6));
	if (h->count > 0)
		printf("%s: p50 %.2f  p90 %.2f  p99 %.2f  p99.9 %.2f  max %.2f ms\n",
		    b->o->greet_only ? "time of each" : "time until 250",
		    ms(histogram_percentile(h, 50)), ms(histogram_percentile(h, 90)),
		    ms(histogram_percentile(h, 99)), ms(histogram_percentile(h, 99.9)), ms(h->max));
	if (b->o->latency && h->count > 0)
		report_distribution(h);
	if (st->handshakes > 0)
		printf("%" PRIu64 " handshakes, %" PRIu64 " of them resumed; %s\n", st->handshakes,
		    st->resumed, st->negotiated);
	if (b->o->idle > 0)
		printf(
		    "%u idle connections at the end, %" PRIu64 " lost\n", idle_open, st->idle_lost);
	if (st->refused > 0 || st->lost > 0)
		printf("%" PRIu64 " messages refused, %" PRIu64 " lost with their connection\n",
		    st->refused, st->lost);
	if (st->rcpts_refused > 0)
		printf("%" PRIu64 " recipients refused of messages that were taken\n",
		    st->rcpts_refused);
	if (st->connect_failures > 0)
		printf("%" PRIu64 " connections failed\n", st->connect_failures);
	for (int code = 0; code < BENCH_CODES; code++)
		if (st->codes[code] > 0)
			printf("reply %d: %" PRIu64 " times\n", code, st->codes[code]);
	if (st->last_refusal[0] != '\0')
		printf("the latest: %s\n", st->last_refusal);
}

int
bench_report(struct bench *b, struct bench_worker **workers)
{
	struct bench_stats *all = mem_new(struct bench_stats);
	unsigned idle_open = atomic_load(&b->idle_open);
	int rc = EX_OK;

	for (int64_t i = 0; i < b->o->threads; i++)
		add_stats(all, &workers[i]->stats);
	if (b->o->json)
		report_json(b, all, idle_open);
	else
		report_text(b, all, idle_open);
	if (all->connects == 0) {
		(void)fprintf(stderr, "posthouse bench: %s: %s\n", b->o->to, all->last_refusal);
		rc = EX_NOHOST;
	} else if (!b->o->tolerate &&
		   (all->refused > 0 || all->lost > 0 || all->rcpts_refused > 0 ||
		       all->idle_lost > 0 || idle_open < b->o->idle ||
		       (b->o->sessions > 0 && all->taken == 0))) {
		rc = EX_UNAVAILABLE;
	}
	free(all);
	return rc;
}
