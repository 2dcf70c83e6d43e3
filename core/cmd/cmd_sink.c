/*
 * cmd_sink.c - `posthouse sink`: a receiving server for trials, which takes,
 * counts, verifies, prints or stores what arrives, and misbehaves when told
 * to.  The main thread waits for signals, workers have the connections
 * (sink_session.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/fsutil.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/cmd.h"
#include "cmd/sink.h"
#include "cmd/target.h"

enum { TICK_MS = 1000, LINGER_MS = 500, BACKLOG = 4096 };

static const char *const stages[] = { "connect", "mail", "rcpt", "data", "dot", "reply", "never",
	NULL };
static const char *const greetings[] = { "220", "421", "554", NULL };

static const struct opt rows[] = {
	OPT_HEADING("Where"),
	OPT(struct sink_opts, listen, 'l', "listen", "HOST:PORT",
	    "Address to listen on; port 0 takes a free one.", .dflt = "127.0.0.1:2526"),
	OPT(struct sink_opts, hostname, 0, "hostname", "NAME", "Name in the greeting.",
	    .dflt = "sink.invalid"),
	OPT(struct sink_opts, threads, 0, "threads", "N", "Threads that serve connections.",
	    .dflt = "1", .min = 1, .max = 256),
	OPT(struct sink_opts, port_file, 0, "port-file", "FILE",
	    "Writes the port to FILE when listening."),
	OPT(struct sink_opts, ready_fd, 0, "ready-fd", "FD",
	    "Writes the port and a newline to this descriptor when listening, "
	    "and closes it.",
	    .max = 1 << 20),
	OPT_HEADING("What becomes of messages"),
	OPT(struct sink_opts, print, 'p', "print", NULL, "Prints envelope and content."),
	OPT(struct sink_opts, store, 's', "store", "DIR",
	    "Writes each message to DIR/NUMBER.eml, with the envelope as lines x-sender and "
	    "x-receiver on top."),
	OPT(struct sink_opts, count, 0, "count", NULL,
	    "Prints how many there were, once a second."),
	OPT(struct sink_opts, verify, 'V', "verify", NULL,
	    "Checks messages made by 'posthouse bench' or 'send --generate': "
	    "changed bytes, duplicates, gaps."),
	OPT(struct sink_opts, expect, 0, "expect", "N",
	    "With --verify: how many different messages there should be."),
	OPT(struct sink_opts, ids, 0, "ids", "FILE",
	    "With --verify: writes the id of each message as it arrives."),
	OPT(struct sink_opts, once, 0, "once", "N", "Ends after N messages."),
	OPT(struct sink_opts, json, 0, "json", NULL, "Prints statistics as one line of JSON."),
	OPT_HEADING("Misbehaviour"),
	OPT(struct sink_opts, tempfail, 0, "tempfail", "PERCENT",
	    "Share of messages refused with 451 after their content.", .max = 100),
	OPT(struct sink_opts, permfail, 0, "permfail", "PERCENT",
	    "Share of messages refused with 554 after their content.", .max = 100),
	OPT(struct sink_opts, tempfail_rcpt, 0, "tempfail-rcpt", "ADDRESS",
	    "Recipient (or @domain) that is refused with 451."),
	OPT(struct sink_opts, permfail_rcpt, 0, "permfail-rcpt", "ADDRESS",
	    "Recipient (or @domain) that is refused with 550."),
	OPT_ONE_OF(struct sink_opts, hangup_at, 0, "hangup-at", "STAGE",
	    "Closes the connection instead of the reply to this stage; "
	    "dot: after the content, which is not counted; reply: likewise, but it is.",
	    .dflt = "never", .choices = stages),
	OPT(struct sink_opts, hangup, 0, "hangup", "PERCENT",
	    "How often it hangs up: 100 with --hangup-at; without it, that share of "
	    "messages at dot.",
	    .max = 100),
	OPT_ONE_OF(struct sink_opts, greeting, 0, "greeting-code", "CODE", "Greets with this code.",
	    .dflt = "220", .choices = greetings),
	OPT(struct sink_opts, delay, 0, "delay", "TIME",
	    "Lets each reply leave so much later, while input is used at once: "
	    "the latency of a long line, not a slow server.",
	    .max = 600000),
	OPT(struct sink_opts, seed, 0, "seed", "N", "Repeats the dice of another trial.",
	    .dflt = "1", .min = 1),
	OPT_HEADING("What is offered"),
	OPT(struct sink_opts, max_size, 0, "max-size", "SIZE",
	    "Largest message taken, offered with SIZE.", .dflt = "64M", .min = 1, .max = 1 << 30),
	OPT(struct sink_opts, max_rcpts, 0, "max-rcpts", "N",
	    "Recipients taken in one transaction.", .dflt = "1000", .min = 1, .max = 100000),
	OPT(struct sink_opts, no_pipelining, 0, "no-pipelining", NULL,
	    "Does not offer PIPELINING."),
	OPT(struct sink_opts, no_chunking, 0, "no-chunking", NULL,
	    "Does not offer CHUNKING and BINARYMIME."),
	OPT(struct sink_opts, no_8bitmime, 0, "no-8bitmime", NULL, "Does not offer 8BITMIME."),
	OPT(struct sink_opts, no_smtputf8, 0, "no-smtputf8", NULL, "Does not offer SMTPUTF8."),
	OPT(struct sink_opts, no_dsn, 0, "no-dsn", NULL, "Does not offer DSN."),
	OPT_END
};
static const struct opt_command command = {
	"sink", "[OPTION ...]",
	"Receives mail for trials: it says yes to everything, throws messages away and prints "
	"statistics at the end (^C, SIGTERM, --once) and on SIGUSR1.",
	rows,
	"Exit status: 0, 64 wrong usage, 65 --verify found changed or missing messages,\n"
	"71 cannot listen.\n"
};

/* --- workers --- */

static void
worker_finish(struct ph_note *note)
{
	struct sink_worker *w = container_of(note, struct sink_worker, finish);

	for (int i = 0; i < w->nlisteners; i++)
		listener_close(&w->listeners[i]);
	w->nlisteners = 0;
}

static void
worker_stop(struct ph_note *note)
{
	struct sink_worker *w = container_of(note, struct sink_worker, stop);

	worker_finish(&w->finish);
	sink_sessions_close(w);
	loop_stop(w->loop);
}

static void *
worker_main(void *arg)
{
	struct sink_worker *w = arg;

	loop_run(w->loop);
	loop_free(&w->loop);
	return NULL;
}

static struct sink_worker *
worker_new(struct sink *sink, int64_t i)
{
	struct sink_worker *w = mem_new(struct sink_worker);

	w->sink = sink;
	w->loop = loop_new();
	w->dice = (uint64_t)sink->o->seed * UINT64_C(0x9E3779B97F4A7C15) + (uint64_t)i;
	if (w->dice == 0)
		w->dice = 1;
	list_init(&w->sessions);
	w->finish.run = worker_finish;
	w->stop.run = worker_stop;
	w->report.run = sink_stats_report;
	return w;
}

/* The port that the kernel chose. */
static uint16_t
port_of(int fd)
{
	struct sockaddr_storage sa = { 0 };
	socklen_t len = sizeof sa;

	if (getsockname(fd, (struct sockaddr *)&sa, &len) != 0)
		return 0;
	return ntohs(sa.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&sa)->sin6_port
	                                      : ((struct sockaddr_in *)&sa)->sin_port);
}

/* Each worker has descriptors of its own (SO_REUSEPORT). 0, or -errno with *failed the address. */
static int
worker_listen(struct sink_worker *w, struct ph_addr *at, int n, int *failed)
{
	for (int i = 0; i < n; i++) {
		int fd = listen_tcp(&at[i], true, BACKLOG);

		*failed = i;
		if (fd < 0)
			return fd;
		w->fds[i] = fd;
		w->nlisteners = i + 1;
		if (at[i].port == 0)
			for (int k = 0; k < n; k++) /* the same for all addresses and workers */
				at[k].port = port_of(fd);
		w->listeners[i] = listener_open(w->loop, fd, sink_session_open, w);
		if (w->listeners[i] == NULL)
			return -ENOMEM;
	}
	return 0;
}

static int
start_workers(struct sink *sink, struct sink_worker **workers, struct ph_addr *at, int nat)
{
	for (int64_t i = 0; i < sink->o->threads; i++) {
		int failed = 0, rc;

		workers[i] = worker_new(sink, i);
		rc = workers[i]->loop == NULL ? -ENOMEM
					      : worker_listen(workers[i], at, nat, &failed);
		if (rc < 0) {
			struct buf text = { 0 };

			target_text(&at[failed], &text);
			(void)fprintf(stderr, "posthouse sink: " STR_FMT ": %s\n",
			    STR_ARG(buf_view(&text)), strerror(-rc));
			buf_free(&text);
			return EX_OSERR;
		}
	}
	for (int64_t i = 0; i < sink->o->threads; i++)
		if (pthread_create(&workers[i]->thread, NULL, worker_main, workers[i]) != 0) {
			(void)fprintf(stderr, "posthouse sink: no threads: %s\n", strerror(errno));
			return EX_OSERR;
		}
	return 0;
}

/* --- saying that it listens --- */

static int
write_port_file(const char *path, uint16_t port)
{
	struct buf text = { 0 }, partial = { 0 };
	int fd, rc = 0;

	/* whoever waits for the file must not see it empty */
	buf_printf(&partial, "%s.part%c", path, '\0');
	buf_printf(&text, "%u\n", port);
	fd = open(partial.data + partial.head, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0 || fs_write_all(fd, text.data + text.head, text.len) != 0 ||
	    rename(partial.data + partial.head, path) != 0) {
		(void)fprintf(stderr, "posthouse sink: %s: %s\n", path, strerror(errno));
		rc = EX_CANTCREAT;
	}
	if (fd >= 0)
		(void)close(fd);
	buf_free(&text);
	buf_free(&partial);
	return rc;
}

static int
tell_ready(const struct sink *sink, const struct ph_addr *at, int nat)
{
	struct buf text = { 0 };
	int rc = 0;

	for (int i = 0; i < nat; i++) {
		buf_adds(&text, i == 0 ? "listening on " : ", ");
		target_text(&at[i], &text);
	}
	printf(STR_FMT "\n", STR_ARG(buf_view(&text)));
	(void)fflush(stdout);
	if (sink->o->port_file != NULL)
		rc = write_port_file(sink->o->port_file, at[0].port);
	if (rc == 0 && sink->o->ready_fd > 0) {
		(void)dprintf((int)sink->o->ready_fd, "%u\n", at[0].port);
		(void)close((int)sink->o->ready_fd);
	}
	buf_free(&text);
	return rc;
}

/* --- the main thread --- */

static uint64_t
messages_now(const struct sink *sink, struct sink_worker **workers)
{
	uint64_t n = 0;

	for (int64_t i = 0; i < sink->o->threads; i++)
		n += atomic_load_explicit(&workers[i]->stats.messages, memory_order_relaxed);
	return n;
}

static void
wait_for_end(const struct sink *sink, struct sink_worker **workers, const sigset_t *signals)
{
	struct timespec tick = { TICK_MS / 1000, 0 };
	uint64_t before = 0, now;

	for (;;) {
		int sig = sigtimedwait(signals, NULL, sink->o->count ? &tick : NULL);

		if (sig == SIGINT || sig == SIGTERM || sig == SIGUSR2)
			break;
		if (sig == SIGUSR1)
			(void)sink_stats_print(sink, sink_stats_gather(sink, workers));
		else if (sink->o->count && (now = messages_now(sink, workers)) != before) {
			printf("%" PRIu64 " messages, %" PRIu64 " in the last second\n", now,
			    now - before);
			(void)fflush(stdout);
			before = now;
		}
	}
	if (sink->o->once > 0) {                /* the last client may still say QUIT */
		for (int64_t i = 0; i < sink->o->threads; i++)
			ph_post(loop_mailbox(workers[i]->loop), &workers[i]->finish);
		for (int waited = 0; waited < LINGER_MS && atomic_load(&sink->sessions) > 0;
		     waited += 10)
			(void)nanosleep(&(struct timespec){ 0, 10000000 }, NULL);
	}
}

static int
run(struct sink *sink, struct ph_addr *at, int nat)
{
	struct sink_worker **workers = mem_calloc((size_t)sink->o->threads, sizeof *workers);
	struct sink_stats *all;
	sigset_t signals;
	int rc;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGUSR1);
	sigaddset(&signals, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);             /* workers inherit it */
	sink->main_thread = pthread_self();
	rc = start_workers(sink, workers, at, nat);
	if (rc != 0 || (rc = tell_ready(sink, at, nat)) != 0)
		return rc;                                      /* the process ends with it */
	wait_for_end(sink, workers, &signals);
	all = mem_new(struct sink_stats);
	for (int64_t i = 0; i < sink->o->threads; i++) {
		ph_post(loop_mailbox(workers[i]->loop), &workers[i]->stop);
		(void)pthread_join(workers[i]->thread, NULL);
		sink_stats_add(all, &workers[i]->stats);
		for (int k = 0; k < nat; k++)
			(void)close(workers[i]->fds[k]);
		traffic_seen_free(&workers[i]->stats.seen);
		free(workers[i]);
	}
	free(workers);
	return sink_stats_print(sink, all);
}

static void
set_up_server(struct sink *sink)
{
	const struct sink_opts *o = sink->o;

	sink->server = (struct smtp_server_config){
		.hostname = str_of(o->hostname),
		.greeting = STR("ESMTP posthouse sink"),
		.max_message_size = o->max_size.bytes,
		.max_line = 4096,
		.max_recipients = (uint32_t)o->max_rcpts,
		.max_errors = 1000,
		.max_hops = 1000,
		.timeout_command_ms = 300000,
		.timeout_data_ms = 600000,
		.offer_chunking = !o->no_chunking,
		.offer_pipelining = !o->no_pipelining,
		.offer_smtputf8 = !o->no_smtputf8,
		.offer_dsn = !o->no_dsn,
	};
}

static int
check_opts(struct sink_opts *o)
{
	if (o->ids != NULL && !o->verify)
		return opt_complain(&command, "--ids needs --verify");
	if (o->expect > 0 && !o->verify)
		return opt_complain(&command, "--expect needs --verify");
	if (o->hangup > 0 && o->hangup_at == SINK_AT_NEVER)
		o->hangup_at = SINK_AT_DOT;
	else if (o->hangup_at != SINK_AT_NEVER && o->hangup <= 0)
		o->hangup = 100;
	return OPT_GO_ON;
}

/* The directory exists and its numbering is known, the file of ids is open. */
static int
open_files(struct sink *sink)
{
	const struct sink_opts *o = sink->o;
	int64_t last = 0;

	if (o->store != NULL) {
		(void)fs_mkdirs(o->store, 0755);                /* the next call tells */
		last = sink_keep_last(o->store);
		if (last < 0) {
			(void)fprintf(
			    stderr, "posthouse sink: %s: %s\n", o->store, strerror((int)-last));
			return EX_CANTCREAT;
		}
	}
	atomic_init(&sink->number, (uint64_t)last);
	if (o->ids != NULL && (sink->ids = fopen(o->ids, "we")) == NULL) {
		(void)fprintf(stderr, "posthouse sink: %s: %s\n", o->ids, strerror(errno));
		return EX_CANTCREAT;
	}
	return EX_OK;
}

int
cmd_sink(int argc, char **argv)
{
	struct sink_opts opts = { 0 };
	struct sink sink = { .o = &opts };
	struct ph_addr at[SINK_ADDRESSES];
	struct buf why = { 0 };
	int nat, rc = opt_parse(&command, argc, argv, &opts, NULL);

	if (rc != OPT_GO_ON || (rc = check_opts(&opts)) != OPT_GO_ON)
		return rc;
	nat = target_resolve(opts.listen, 25, true, at, SINK_ADDRESSES, &why);
	if (nat < 0) {
		rc = opt_complain(&command, "--listen: " STR_FMT, STR_ARG(buf_view(&why)));
		buf_free(&why);
		return rc;
	}
	target_raise_files();
	set_up_server(&sink);
	rc = open_files(&sink);
	if (rc == EX_OK)
		rc = run(&sink, at, nat);
	if (sink.ids != NULL && fclose(sink.ids) != 0 && rc == EX_OK)
		rc = EX_IOERR;
	opt_list_free(&opts.tempfail_rcpt);
	opt_list_free(&opts.permfail_rcpt);
	return rc;
}
