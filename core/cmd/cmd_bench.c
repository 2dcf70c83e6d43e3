/*
 * cmd_bench.c - `posthouse bench`: drives any SMTP server with generated
 * messages and says how many it took, how fast and what it refused.  The main thread
 * waits for signals and the end, workers do the rest (bench_session.c).
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/id.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/bench.h"
#include "cmd/bench_secure.h"
#include "cmd/cmd.h"
#include "cmd/target.h"

enum { TICK_MS = 500, GRACE_MS = 10000 };

static const struct opt rows[] = {
	OPT_HEADING("What to drive"),
	OPT(struct bench_opts, to, 't', "to", "HOST:PORT", "The server.", .dflt = "localhost:25"),
	OPT(struct bench_opts, from, 'f', "from", "ADDRESS", "Sender of all messages.",
	    .dflt = "sender@example.com"),
	OPT(struct bench_opts, rcpt, 'r', "rcpt", "ADDRESS",
	    "Recipient of all messages; with --rcpts a number is put "
	    "behind its local part.",
	    .dflt = "rcpt@example.net"),
	OPT(struct bench_opts, helo, 0, "helo", "NAME", "Name given with EHLO.",
	    .dflt = "posthouse.invalid"),
	OPT_HEADING("How much"),
	OPT(struct bench_opts, sessions, 's', "sessions", "N",
	    "Connections that send, each one message after "
	    "another: the next begins when the reply to the last has come.",
	    .dflt = "10", .min = 0, .max = 60000),
	OPT(struct bench_opts, messages, 'n', "messages", "N", "Messages in all."),
	OPT(struct bench_opts, duration, 'd', "duration", "TIME",
	    "Time to send for, instead of a number of messages; "
	    "10s when neither is given."),
	OPT(struct bench_opts, per_session, 0, "per-session", "N",
	    "Messages on one connection before QUIT and a new one; "
	    "0 puts no end to it."),
	OPT(struct bench_opts, size, 'S', "size", "SIZE", "Octets of a message, header and all.",
	    .dflt = "4K", .min = TRAFFIC_MIN_SIZE, .max = 1 << 30),
	OPT(struct bench_opts, rcpts, 0, "rcpts", "N", "Recipients of each message.", .dflt = "1",
	    .min = 1, .max = BENCH_MAX_RCPTS),
	OPT(struct bench_opts, rate, 0, "rate", "R",
	    "Messages a second at most, all sessions together. Times are then "
	    "taken from when a message was due, so that a server that stalls cannot hide it. 0: as "
	    "fast as it goes."),
	OPT(struct bench_opts, idle, 0, "connections-idle", "N",
	    "Opens so many more connections, says EHLO on them and holds "
	    "them to the end.",
	    .max = 60000),
	OPT(struct bench_opts, threads, 0, "threads", "N", "Threads that drive the sessions.",
	    .dflt = "1", .min = 1, .max = 256),
	OPT_HEADING("Transport security"),
	OPT(struct bench_opts, tls, 0, "tls", NULL,
	    "Says STARTTLS on each connection, and EHLO again. Whose certificate it is does not "
	    "matter."),
	OPT(struct bench_opts, tls_implicit, 0, "tls-implicit", NULL,
	    "Speaks TLS from the first byte, as on port 465."),
	OPT(struct bench_opts, tls_full, 0, "no-resumption", NULL,
	    "Makes each handshake a full one; else sessions are taken up again as the server "
	    "allows."),
	OPT(struct bench_opts, plugin_dir, 0, "plugin-dir", "DIR",
	    "Where the plugin tls is, which does it.", .dflt = PH_PLUGIN_DIR),
	OPT_HEADING("How it talks"),
	OPT(struct bench_opts, greet_only, 0, "greet-only", NULL,
	    "Sends no messages: each of them is a connection with its greeting, EHLO, TLS if so "
	    "asked, and QUIT."),
	OPT(struct bench_opts, no_pipelining, 0, "no-pipelining", NULL,
	    "Waits for each reply, even when PIPELINING is offered."),
	OPT(struct bench_opts, chunking, 0, "chunking", NULL,
	    "Sends by BDAT when CHUNKING is offered."),
	OPT(struct bench_opts, timeout, 0, "timeout", "TIME", "How long a reply may take.",
	    .dflt = "5m", .min = 100),
	OPT(struct bench_opts, tolerate, 0, "tolerate", NULL,
	    "Goes on after refusals and failed connections, and exits with 0 "
	    "in spite of them."),
	OPT_HEADING("Results"),
	OPT(struct bench_opts, latency, 0, "latency", NULL,
	    "Shows the whole distribution of times."),
	OPT(struct bench_opts, json, 0, "json", NULL, "Prints the results as one line of JSON."),
	OPT(struct bench_opts, ids, 0, "ids", "FILE",
	    "Writes the id of each message that was taken; "
	    "'posthouse sink --ids' writes those that arrive."),
	OPT_END
};
static const struct opt_command command = {
	"bench", "[OPTION ...]",
	"Drives an SMTP server with generated messages and reports messages per second, times and "
	"refusals. "
	"'posthouse sink --verify' recognises the messages where they arrive.",
	rows,
	"Exit status: 0 all were taken, 64 wrong usage, 68 nobody answers, 69 a message was\n"
	"refused or lost.\n"
};

static struct ph_str
local_part(const char *address, struct ph_str *rest)
{
	const char *at = strrchr(address, '@');
	struct ph_str all = str_of(address);

	*rest = at != NULL ? str_of(at) : STR("");
	return str_head(all, all.n - rest->n);
}

static void
render_commands(struct bench *b)
{
	struct ph_str domain, local = local_part(b->o->rcpt, &domain);

	buf_printf(&b->hello, "EHLO %s\r\n", b->o->helo);
	buf_printf(&b->mail, "MAIL FROM:<%s>\r\n", b->o->from);
	buf_addstr(&b->group, buf_view(&b->mail));
	b->rcpt_lines = mem_calloc((size_t)b->o->rcpts, sizeof *b->rcpt_lines);
	for (int64_t i = 0; i < b->o->rcpts; i++) {
		struct buf *line = &b->rcpt_lines[i];

		buf_printf(line, "RCPT TO:<" STR_FMT, STR_ARG(local));
		if (b->o->rcpts > 1)
			buf_printf(line, "%" PRId64, i);
		buf_printf(line, STR_FMT ">\r\n", STR_ARG(domain));
		buf_addstr(&b->group, buf_view(line));
	}
	if (!b->o->chunking)
		buf_adds(&b->group, "DATA\r\n");
}

static void
free_commands(struct bench *b)
{
	buf_free(&b->hello);
	buf_free(&b->mail);
	buf_free(&b->group);
	for (int64_t i = 0; i < b->o->rcpts; i++)
		buf_free(&b->rcpt_lines[i]);
	free(b->rcpt_lines);
	traffic_done(&b->traffic);
}

/* --- workers --- */

static void
worker_wind_down(struct ph_note *note)
{
	bench_worker_wind_down(container_of(note, struct bench_worker, wind_down));
}

static void
worker_stop(struct ph_note *note)
{
	struct bench_worker *w = container_of(note, struct bench_worker, stop);

	bench_worker_tear_down(w);
	bench_secure_close(w);          /* then the loop stops */
}

static void *
worker_main(void *arg)
{
	struct bench_worker *w = arg;

	loop_run(w->loop);
	loop_free(&w->loop);
	return NULL;
}

static unsigned
share(int64_t all, int64_t parts, int64_t i)
{
	return (unsigned)(all / parts + (i < all % parts ? 1 : 0));
}

static int
start_workers(struct bench *b, struct bench_worker **workers)
{
	int64_t n = b->o->threads;

	for (int64_t i = 0; i < n; i++) {
		struct bench_worker *w = workers[i] = mem_new(struct bench_worker);

		w->b = b;
		w->loop = loop_new();
		if (w->loop == NULL)
			return EX_OSERR;
		w->wind_down.run = worker_wind_down;
		w->stop.run = worker_stop;
		w->interval_us = b->o->rate > 0 ? 1e6 * (double)n / b->o->rate : 0;
		if (bench_secure_open(w, (unsigned)i) != 0)
			return EX_UNAVAILABLE;
		bench_worker_start(w, share(b->o->sessions, n, i), share(b->o->idle, n, i));
	}
	for (int64_t i = 0; i < n; i++)
		if (pthread_create(&workers[i]->thread, NULL, worker_main, workers[i]) != 0)
			return EX_OSERR;
	return 0;
}

/* --- the main thread's wait --- */

static void
show_progress(const struct bench *b, struct bench_worker **workers, int64_t began_ms, bool *shown)
{
	uint64_t taken = 0;
	double seconds = (double)(clock_mono_ms() - began_ms) / 1000.0;

	if (!isatty(STDERR_FILENO) || b->o->json)
		return;
	for (int64_t i = 0; i < b->o->threads; i++)
		taken += atomic_load_explicit(&workers[i]->stats.taken, memory_order_relaxed);
	(void)fprintf(stderr, "\r%8.0f s  %10" PRIu64 " messages  %8.0f/s ", seconds, taken,
	    seconds > 0 ? (double)taken / seconds : 0);
	if (b->o->messages > 0)
		(void)fprintf(stderr, " %3.0f%%", 100.0 * (double)taken / (double)b->o->messages);
	if (b->o->idle > 0)
		(void)fprintf(stderr, "  %u idle", atomic_load(&b->idle_open));
	*shown = true;
}

static void
post_all(const struct bench *b, struct bench_worker **workers, bool stop)
{
	for (int64_t i = 0; i < b->o->threads; i++)
		ph_post(loop_mailbox(workers[i]->loop),
		    stop ? &workers[i]->stop : &workers[i]->wind_down);
}

/* Until all is sent, time is over, or the user has enough. */
static void
wait_for_end(struct bench *b, struct bench_worker **workers, const sigset_t *signals)
{
	int64_t began = clock_mono_ms(),
		limit = b->o->duration.ms > 0 ? began + b->o->duration.ms : INT64_MAX;
	bool shown = false, told_idle = b->o->idle == 0, winding_down = false;

	for (;;) {
		int64_t now = clock_mono_ms(), left = limit - now < TICK_MS ? limit - now : TICK_MS;
		struct timespec ts = { left > 0 ? left / 1000 : 0,
			left > 0 ? left % 1000 * 1000000 : 0 };
		int sig = sigtimedwait(signals, NULL, &ts);
		bool all_sent = b->o->sessions > 0 && atomic_load(&b->active) == 0;

		now = clock_mono_ms();
		if (all_sent || (winding_down && (now >= limit || sig == SIGINT || sig == SIGTERM)))
			break;
		if (!winding_down && (now >= limit || sig == SIGINT || sig == SIGTERM)) {
			if (b->o->sessions == 0)
				break;
			winding_down = true;
			atomic_store(&b->stopping, true);
			post_all(b, workers, false);
			limit = now + GRACE_MS;
		}
		if (!told_idle && atomic_load(&b->idle_open) >= b->o->idle) {
			told_idle = true;
			(void)fprintf(stderr, "%s%" PRId64 " idle connections are open\n",
			    shown ? "\n" : "", b->o->idle);
		}
		show_progress(b, workers, began, &shown);
	}
	if (shown)
		(void)fputc('\n', stderr);
}

static int
run(struct bench *b)
{
	struct bench_worker **workers = mem_calloc((size_t)b->o->threads, sizeof *workers);
	sigset_t signals, before;
	int rc;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &signals, &before);          /* workers inherit it */
	b->main_thread = pthread_self();
	atomic_init(&b->active, (unsigned)b->o->sessions);
	rc = start_workers(b, workers);
	if (rc != 0) {
		if (rc == EX_OSERR)
			(void)fprintf(stderr, "posthouse bench: no threads: %s\n", strerror(errno));
		return rc;                                      /* the process ends with it */
	}
	wait_for_end(b, workers, &signals);
	post_all(b, workers, true);
	for (int64_t i = 0; i < b->o->threads; i++)
		(void)pthread_join(workers[i]->thread, NULL);
	rc = bench_report(b, workers);
	for (int64_t i = 0; i < b->o->threads; i++)
		free(workers[i]);
	free(workers);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rc;
}

static int
check_opts(struct bench_opts *o)
{
	if (o->messages > 0 && o->duration.ms > 0)
		return opt_complain(&command, "--messages and --duration exclude each other");
	if (o->sessions == 0 && o->idle == 0)
		return opt_complain(
		    &command, "--sessions 0 leaves nothing to do without --connections-idle");
	if (o->greet_only && o->rate > 0)
		return opt_complain(&command, "--greet-only has no --rate");
	if (o->threads > o->sessions + o->idle)
		o->threads = o->sessions + o->idle;
	if (o->messages == 0 && o->duration.ms == 0 && o->sessions > 0)
		o->duration.ms = 10000;
	return OPT_GO_ON;
}

int
cmd_bench(int argc, char **argv)
{
	struct bench_opts opts = { 0 };
	struct bench b = { .o = &opts };
	struct buf why = { 0 };
	uint64_t run_id;
	int rc = opt_parse(&command, argc, argv, &opts, NULL);

	if (rc != OPT_GO_ON || (rc = check_opts(&opts)) != OPT_GO_ON)
		return rc;
	b.nto = target_resolve(opts.to, 25, false, b.to, BENCH_TARGETS, &why);
	if (b.nto < 0) {
		rc = b.nto == PH_EINVAL
			 ? opt_complain(&command, "--to: " STR_FMT, STR_ARG(buf_view(&why)))
			 : EX_NOHOST;
		if (rc == EX_NOHOST)
			(void)fprintf(
			    stderr, "posthouse bench: " STR_FMT "\n", STR_ARG(buf_view(&why)));
		buf_free(&why);
		return rc;
	}
	if (opts.ids != NULL && (b.ids = fopen(opts.ids, "we")) == NULL) {
		(void)fprintf(stderr, "posthouse bench: %s: %s\n", opts.ids, strerror(errno));
		return EX_CANTCREAT;
	}
	rc = bench_secure_load(&b);
	if (rc != EX_OK)
		return rc;
	target_raise_files();
	id_random(&run_id, sizeof run_id);
	b.limit = opts.messages > 0 ? (uint64_t)opts.messages : UINT64_MAX;
	traffic_init(
	    &b.traffic, run_id, (size_t)opts.size.bytes, str_of(opts.from), str_of(opts.rcpt));
	render_commands(&b);
	rc = run(&b);
	bench_secure_unload(&b);
	free_commands(&b);
	if (b.ids != NULL && fclose(b.ids) != 0 && rc == EX_OK)
		rc = EX_IOERR;
	return rc;
}
