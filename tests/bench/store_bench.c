/*
 * store_bench.c - how fast the store makes messages durable: writers that each
 * wait for their message before the next, all sharing the syncs.
 *
 *   store_bench DIRECTORY [SECONDS [SIZE [WRITERS...]]]
 *
 * Prints for each number of writers: messages and syncs per second, latency,
 * CPU time per message, bytes written per byte of content; then what a start
 * with 100,000 messages takes.  The writers are not threads: one thread
 * keeps that many appends under way, as a worker's sessions do.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/mailbox.h"
#include "base/mem.h"
#include "mail/content.h"
#include "store/park.h"
#include "store/store.h"

static struct {
	struct ph_store *store;
	struct ph_mailbox home;
	struct park park;
	struct ph_content *content;
	int64_t *latency;
	size_t n, cap;
	unsigned under_way;
	bool stop, keep;
	_Atomic unsigned added;
	_Atomic int64_t scanned;
} bench;

struct writer { struct ph_store_request r; int64_t began; };

static void wake(struct ph_mailbox *m) { (void)m; park_wake(&bench.park); }
static void drop(struct ph_store_request *r) { free(r); }

static void
added(void *arg, const struct ph_store_added *v, size_t n)
{
	(void)arg;
	(void)v;
	bench.added += (unsigned)n;
}

static void
scanned(void *arg, int status)
{
	(void)arg;
	(void)status;
	bench.scanned = clock_mono_us();
}

static void appended(struct ph_store_request *r);

static void
append(struct writer *w)
{
	w->began = clock_mono_us();
	w->r = (struct ph_store_request){ .op = PH_STORE_APPEND, .home = &bench.home, .done = appended,
	    .id = id_new(), .meta = { "a typical envelope: sender, recipient, where it came from, when. "
	    "About two hundred bytes in all, which this is nearly, as one can see by counting them.", 150 },
	    .content = bench.content, .summary = { .size = ph_content_size(bench.content) } };
	bench.under_way++;
	bench.store->ops->submit(bench.store, &w->r);
}

static void
appended(struct ph_store_request *r)
{
	struct writer *w = (struct writer *)r;

	bench.under_way--;
	if (r->status != 0) {
		fprintf(stderr, "append: %s\n", ph_strerror(r->status));
		exit(1);
	}
	if (bench.n < bench.cap)
		bench.latency[bench.n++] = clock_mono_us() - w->began;
	if (!bench.keep) {
		struct ph_store_request *gone = mem_new(struct ph_store_request);

		gone->op = PH_STORE_REMOVE;
		gone->id = r->id;
		gone->drop = drop;
		bench.store->ops->submit(bench.store, gone);
	}
	if (!bench.stop)
		append(w);
}

static int
by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

static int64_t
cpu_us(void)
{
	struct rusage u;

	(void)getrusage(RUSAGE_SELF, &u);
	return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000ll + u.ru_utime.tv_usec + u.ru_stime.tv_usec;
}

static void
run(unsigned writers, int64_t us, size_t most)
{
	struct writer *w = mem_calloc(writers, sizeof(*w));
	struct ph_store_facts before, after;
	int64_t start = clock_mono_us(), cpu = cpu_us(), took;

	bench.stop = false;
	bench.n = 0;
	bench.store->ops->facts(bench.store, &before);
	for (unsigned i = 0; i < writers; i++)
		append(&w[i]);
	while (bench.under_way > 0) {
		if (mailbox_run(&bench.home) == 0)
			park_wait(&bench.park, -1);
		bench.stop = clock_mono_us() - start >= us || bench.n >= most;
	}
	took = clock_mono_us() - start;
	cpu = cpu_us() - cpu;
	bench.store->ops->facts(bench.store, &after);
	if (bench.keep) {
		free(w);
		return;
	}
	qsort(bench.latency, bench.n, sizeof(*bench.latency), by_value);
	printf("%4u writers: %7.0f messages/s %6.0f syncs/s  p50 %5lld us  p99 %6lld us  CPU %5.1f us/message  "
	    "written x%.2f\n", writers, (double)bench.n * 1e6 / (double)took,
	    (double)(after.syncs - before.syncs) * 1e6 / (double)took,
	    (long long)bench.latency[bench.n / 2], (long long)bench.latency[bench.n * 99 / 100],
	    (double)cpu / (double)bench.n,
	    (double)(after.bytes_written - before.bytes_written) /
	    ((double)bench.n * (double)ph_content_size(bench.content)));
	free(w);
}

static void
open_store(const char *dir)
{
	static const struct ph_store_events ev = { sizeof(ev), added, scanned, NULL };
	struct store_config cfg = { .dir = dir, .threads = true };
	char why[300];

	bench.added = 0;
	bench.scanned = 0;
	if (embedded_open(&cfg, &ev, NULL, &bench.store, why, sizeof why) != 0) {
		fprintf(stderr, "%s\n", why);
		exit(1);
	}
}

int
main(int argc, char **argv)
{
	static const unsigned usual[] = { 1, 10, 100 };
	double seconds = argc > 2 ? strtod(argv[2], NULL) : 3;
	size_t size = argc > 3 ? strtoul(argv[3], NULL, 10) : 4096;
	char *bytes;
	int64_t start;

	if (argc < 2) {
		fprintf(stderr, "usage: store_bench DIRECTORY [SECONDS [SIZE [WRITERS...]]]\n");
		return 64;
	}
	bytes = mem_calloc(1, size + 1);
	bench.cap = 10000000;
	bench.latency = mem_calloc(bench.cap, sizeof(*bench.latency));
	bench.content = content_new();
	content_append(bench.content, bytes, size, size);
	park_init(&bench.park);
	mailbox_init(&bench.home, wake);
	open_store(argv[1]);
	run(100, 2000000, SIZE_MAX);            /* segments get their blocks */
	for (int i = 4; i < argc || (argc <= 4 && i < 7); i++)
		run(argc > 4 ? (unsigned)strtoul(argv[i], NULL, 10) : usual[i - 4], (int64_t)(seconds * 1e6),
		    SIZE_MAX);
	bench.keep = true;
	run(200, INT64_MAX / 2, 100000);
	bench.store->ops->close(bench.store);
	start = clock_mono_us();
	open_store(argv[1]);
	printf("open: %.2f ms", (double)(clock_mono_us() - start) / 1000);
	while (bench.scanned == 0)
		park_wait(&bench.park, 1);
	printf(", %u messages known after %.1f ms\n", (unsigned)bench.added,
	    (double)(bench.scanned - start) / 1000);
	bench.store->ops->close(bench.store);
	ph_content_unref(&bench.content);
	free(bench.latency);
	free(bytes);
	return 0;
}
