/*
 * worker.c - a worker's life: its loop, its doors, the configuration it works
 * by, and its end.
 */
#include "daemon/worker.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/abort.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/session.h"

enum { LOG_WITHIN_MS = 50 };

struct addr_count { unsigned n; char text[PH_ADDR_TEXT]; };

/* --- store --- */

void
worker_store(struct worker *w, struct ph_store_request *r)
{
	r->note.next = NULL;
	if (w->submit == NULL)
		w->submit = r;
	else
		w->submit_last->note.next = &r->note;
	w->submit_last = r;
}

static void
worker_submit_gathered(struct worker *w)
{
	struct ph_note *n = w->submit != NULL ? &w->submit->note : NULL, *next;

	w->submit = NULL;
	for (; n != NULL; n = next) {
		next = n->next;
		w->shared->store->ops->submit(w->shared->store,
		    container_of(n, struct ph_store_request, note));
	}
}

/* --- sessions by address --- */

unsigned
worker_count_addr(struct worker *w, const struct ph_addr *client)
{
	char text[PH_ADDR_TEXT];
	struct addr_count *c = map_get(&w->by_addr, str_of(ph_addr_text(client, text)));

	if (c == NULL) {
		c = mem_new(struct addr_count);
		memcpy(c->text, text, sizeof text);
		(void)map_put(&w->by_addr, str_of(c->text), c);
	}
	return ++c->n;
}

static void
worker_last_turn(struct ph_note *note)
{
	struct worker *w = container_of(note, struct worker, last_note);

	worker_submit_gathered(w);
	timer_stop(w->loop, &w->log_timer);
	log_flush();
	ph_post(w->main, w->stopped);
	if (w->joinable)
		loop_stop(w->loop);
}

static void
worker_maybe_stopped(struct worker *w)
{
	if (!w->stopping || w->nsessions > 0 || !w->deliver_stopped || w->last_note.run != NULL)
		return;
	timer_stop(w->loop, &w->grace);
	worker_gen_unref(&w->gen);
	/* Plugins close on a clean stack: after that, and once the last replies are out. */
	w->last_note.run = worker_last_turn;
	conn_loop_settle(w->loop, &w->last_note);
}

void
worker_session_gone(struct worker *w)
{
	w->nsessions--;
	worker_maybe_stopped(w);
}

void
worker_session_ended(struct worker *w, const struct ph_addr *client)
{
	char text[PH_ADDR_TEXT];
	struct addr_count *c = map_get(&w->by_addr, str_of(ph_addr_text(client, text)));

	atomic_fetch_sub(&w->shared->connections, 1);
	if (c != NULL && --c->n == 0) {
		(void)map_del(&w->by_addr, str_of(c->text));
		free(c);
	}
}

/* --- generations --- */

void
worker_gen_ref(struct worker_gen *g)
{
	g->refs++;
}

void
worker_gen_unref(struct worker_gen **gp)
{
	struct worker_gen *g = *gp;

	*gp = NULL;
	if (g == NULL || --g->refs > 0)
		return;
	worker_plugins_retire(&g->wp);
	arena_reset(&g->arena);
	free(g->smtp);
	free(g->listen);
	free(g);
}

static struct smtp_server_config
worker_smtp_config(const struct generation *gen, const struct listen_settings *ls,
                   struct ph_str mechanisms)
{
	const struct settings *set = &gen->config->settings;

	return (struct smtp_server_config){
		.hostname = str_of(set->hostname),
		.greeting = str_of(ls->greeting),
		.max_message_size = ls->max_message_size.bytes,
		.max_line = (uint32_t)ls->max_line,
		.max_recipients = (uint32_t)ls->max_recipients,
		.max_transactions = (uint32_t)ls->max_transactions,
		.max_errors = (uint32_t)ls->max_errors,
		.max_hops = (uint32_t)set->max_hops,
		.timeout_command_ms = ls->timeout_command.ms,
		.timeout_data_ms = ls->timeout_data.ms,
		.offer_tls = secure_serves(gen) &&
		    (ls->tls == LISTEN_TLS_OFFERED || ls->tls == LISTEN_TLS_REQUIRED),
		.require_tls = ls->tls == LISTEN_TLS_REQUIRED || ls->tls == LISTEN_TLS_IMPLICIT,
		.offer_auth = ls->auth != LISTEN_AUTH_OFF && mechanisms.n > 0,
		.require_auth = ls->auth == LISTEN_AUTH_REQUIRED,
		.accept_bare_newline = ls->accept_bare_newline,
		.offer_chunking = true, .offer_pipelining = true,
		.offer_smtputf8 = true, .offer_dsn = true,
		.mechanisms = mechanisms,
	};
}

static struct deliver_config
worker_deliver_config(const struct worker *w, const struct settings *set)
{
	const struct outbound_settings *o = &set->outbound;

	return (struct deliver_config){
		.hostname = str_of(set->hostname),
		.max_connections = (o->max_connections + w->shared->workers - 1) / w->shared->workers,
		.messages_per_connection = o->messages_per_connection,
		.recipients_per_message = o->recipients_per_message,
		.connect_timeout_ms = o->connect_timeout.ms,
		.idle_timeout_ms = o->idle_timeout.ms,
		.window_messages = (uint32_t)o->window_messages,
		.chunking = o->chunking, .pipelining = o->pipelining,
	};
}

/* --- doors: listening sockets, kept over reloads --- */

static void
door_got(void *arg, struct stream *stream)
{
	struct door *d = arg;

	session_new(d->w, d->index, stream);
}

static void
worker_close_doors(struct worker *w)
{
	for (size_t i = 0; i < w->ndoors; i++) {
		listener_close(&w->doors[i]->listener);
		free(w->doors[i]);
	}
	free(w->doors);
	w->doors = NULL;
	w->ndoors = 0;
}

/* A descriptor that stays keeps its listener, so that no connection waiting in
 * its backlog is lost; only its place in the new settings may differ. */
static void
worker_set_doors(struct worker *w, const struct worker_listen *v, size_t n)
{
	struct door **doors = mem_calloc(n ? n : 1, sizeof *doors);

	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < w->ndoors && doors[i] == NULL; k++)
			if (w->doors[k] != NULL && w->doors[k]->fd == v[i].fd) {
				doors[i] = w->doors[k];
				w->doors[k] = NULL;
			}
		if (doors[i] == NULL) {
			doors[i] = mem_new(struct door);
			doors[i]->w = w;
			doors[i]->fd = v[i].fd;
			doors[i]->listener = listener_open(w->loop, v[i].fd, door_got, doors[i]);
		}
		doors[i]->index = i;
	}
	for (size_t k = 0; k < w->ndoors; k++)
		if (w->doors[k] != NULL) {
			listener_close(&w->doors[k]->listener);
			free(w->doors[k]);
		}
	free(w->doors);
	w->doors = doors;
	w->ndoors = n;
}

static int
worker_use(struct worker *w, struct generation *gen, const struct worker_listen *v, size_t n)
{
	struct deliver_config dc = worker_deliver_config(w, &gen->config->settings);
	struct worker_plugins *wp = worker_plugins_open(gen, w->loop, w->index);
	struct worker_gen *g;
	struct ph_str mechanisms = { NULL, 0 };

	if (wp == NULL)
		return PH_EINVAL;
	g = mem_new(struct worker_gen);
	g->refs = 1;
	g->wp = wp;
	g->nlisten = n;
	g->smtp = mem_calloc(n ? n : 1, sizeof *g->smtp);
	g->listen = mem_calloc(n ? n : 1, sizeof *g->listen);
	g->max_connections = (unsigned)gen->config->settings.max_connections;
	arena_init(&g->arena, 256);
	for (size_t i = 0; i < n; i++) {
		mechanisms = gen->mechanisms.n == 0 ? STR("")
		    : sasl_offered(wp, SASL_OVER_CERTIFICATE, &v[i].settings.mechanisms, &g->arena);
		g->listen[i] = v[i].settings;
		g->smtp[i] = worker_smtp_config(gen, &v[i].settings, mechanisms);
	}
	if (w->gen != NULL)
		worker_gen_unref(&w->gen);
	w->gen = g;
	deliver_generation(w->deliver, wp, &dc);
	worker_set_doors(w, v, n);
	return 0;
}

static void
worker_update_run(struct ph_note *note)
{
	struct worker_update *u = container_of(note, struct worker_update, note);
	struct worker *w = u->worker;

	u->status = w->stopping ? PH_ECANCELED : worker_use(w, u->gen, u->listen, u->nlisten);
	if (u->status == PH_EINVAL)
		log_event(PH_ERROR, &w->log, "worker.refused", LOG_I("generation", u->gen->number),
		    LOG_C("why", "a plugin could not be opened; the former configuration stays"));
	u->note.run = u->applied;
	ph_post(u->main, &u->note);
}

void
worker_update_free(struct worker_update *u)
{
	generation_unref(&u->gen);
	free(u->listen);
	free(u);
}

void
worker_apply(struct worker *w, struct generation *gen, const struct worker_listen *v, size_t n,
             struct ph_mailbox *main, void (*applied)(struct ph_note *), void *arg)
{
	struct worker_update *u = mem_new(struct worker_update);

	u->worker = w;
	u->gen = generation_ref(gen);
	u->listen = mem_calloc(n ? n : 1, sizeof *u->listen);
	memcpy(u->listen, v, n * sizeof *v);
	u->nlisten = n;
	u->main = main;
	u->applied = applied;
	u->arg = arg;
	u->note.run = worker_update_run;
	ph_post(loop_mailbox(w->loop), &u->note);
}

/* --- the way out --- */

static void
worker_job_run(struct ph_note *note)
{
	struct job *job = container_of(note, struct job, note);
	struct worker *w = job->worker_data;

	deliver_job(w->deliver, job);
}

void
worker_job(struct worker *w, struct job *job, struct outbox *out)
{
	job->worker_data = w;
	job->note.run = worker_job_run;
	outbox_add(out, &job->note);
}

struct grant { struct ph_note note; struct worker *w; struct site_info *site; int64_t n; };

static void
worker_grant_run(struct ph_note *note)
{
	struct grant *g = container_of(note, struct grant, note);

	deliver_grant(g->w->deliver, g->site, g->n);
	site_info_unref(&g->site);
	free(g);
}

void
worker_grant(struct worker *w, struct site_info *site, int64_t connections)
{
	struct grant *g = mem_new(struct grant);

	g->w = w;
	g->site = site_info_ref(site);
	g->n = connections;
	g->note.run = worker_grant_run;
	ph_post(loop_mailbox(w->loop), &g->note);
}

static void
worker_submit(void *arg, struct ph_store_request *r)
{
	worker_store(arg, r);
}

static void
worker_site(void *arg, struct site_info *site)
{
	struct worker *w = arg;

	queue_site(w->shared->queue, site);
}

static const struct deliver_ops worker_deliver_ops = { .submit = worker_submit, .site = worker_site };

/* --- life --- */

static void
worker_log_due(struct timer *t)
{
	(void)t;
	log_flush();
}

static void
worker_turn(void *arg)
{
	struct worker *w = arg;

	if (w->deliver == NULL)         /* taken down: the loop closes what is left */
		return;
	worker_submit_gathered(w);
	/* Lines of several turns leave together. */
	if (log_pending() && !timer_active(&w->log_timer))
		timer_start(w->loop, &w->log_timer, LOG_WITHIN_MS);
}

struct worker *
worker_new(unsigned index, struct shared *shared, struct loop *loop, const struct settings *set)
{
	struct worker *w = mem_new(struct worker);
	struct resolver_config rc = { .servers = set->dns.servers, .limit = set->dns.limit,
	                              .use_hosts = true };
	struct deliver_config dc;

	w->index = index;
	w->shared = shared;
	w->loop = loop != NULL ? loop : loop_new();
	list_init(&w->sessions);
	snprintf(w->log_text, sizeof w->log_text, "worker=%u", index);
	w->log.text = w->log_text;
	w->resolver = resolver_new(w->loop, &rc);
	dc = worker_deliver_config(w, set);
	w->deliver = deliver_new(w->loop, w->resolver, &dc, &worker_deliver_ops, w, &w->log);
	w->log_timer.fn = worker_log_due;
	loop_each_turn(w->loop, worker_turn, w);
	return w;
}

void
worker_free(struct worker **wp)
{
	struct worker *w = *wp;

	*wp = NULL;
	if (w == NULL)
		return;
	deliver_free(&w->deliver);
	resolver_free(&w->resolver);
	map_free(&w->by_addr);
	if (w->joinable)
		loop_free(&w->loop);
	free(w);
}

static void *
worker_main(void *arg)
{
	struct worker *w = arg;

	loop_run(w->loop);
	log_flush();
	return NULL;
}

int
worker_start(struct worker *w)
{
	sigset_t all, old;
	int rc;

	sigfillset(&all);               /* signals are the main thread's */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&w->thread, NULL, worker_main, w);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	w->joinable = rc == 0;
	return rc == 0 ? 0 : PH_ENOMEM;
}

void
worker_join(struct worker *w)
{
	if (w->joinable)
		pthread_join(w->thread, NULL);
}

/* --- the end: no new sessions, the present ones finish their message --- */

static void
worker_deliver_stopped(void *arg)
{
	struct worker *w = arg;

	w->deliver_stopped = true;
	worker_maybe_stopped(w);
}

static void
worker_grace_over(struct timer *t)
{
	struct worker *w = container_of(t, struct worker, grace);

	list_each_safe(it, &w->sessions)
		session_close(container_of(it, struct session, link), "shutdown");
	worker_maybe_stopped(w);
}

static void
worker_stop_run(struct ph_note *note)
{
	struct worker *w = container_of(note, struct worker, stop_note);

	w->stopping = true;
	worker_close_doors(w);
	w->grace.fn = worker_grace_over;
	timer_start(w->loop, &w->grace, w->grace_ms);
	list_each_safe(it, &w->sessions) {
		struct session *s = container_of(it, struct session, link);
		if (session_idle(s))
			session_shutdown(s);
	}
	deliver_stop(w->deliver, w->grace_ms, worker_deliver_stopped, w);
	worker_maybe_stopped(w);
}

void
worker_stop(struct worker *w, int64_t grace_ms, struct ph_mailbox *main, struct ph_note *stopped)
{
	w->grace_ms = grace_ms;
	w->main = main;
	w->stopped = stopped;
	w->stop_note.run = worker_stop_run;
	ph_post(loop_mailbox(w->loop), &w->stop_note);
}
