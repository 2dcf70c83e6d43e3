/*
 * plug_worker.c - a generation on one worker: opens and closes the worker
 * scope of every instance, and closes what plugins left open.
 *
 * Closing waits for the last session, attempt and piece of work off the loop,
 * happens on a clean stack, and gives the reference to the generation back only
 * after every wake that was posted from another thread has been dealt with:
 * their functions lie in the plugins' code.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/abort.h"
#include "plugin/private.h"

static void
worker_init(struct ph_worker *w, struct worker_plugins *wp, struct instance *inst)
{
	w->wp = wp;
	w->inst = inst;
	list_init(&w->services);
	list_init(&w->checks);
	(void)snprintf(w->log_text, sizeof w->log_text, "worker=%u", wp->worker);
	w->log.text = w->log_text;
	if (inst->plugin->worker.size > 0)
		w->storage = mem_calloc(1, inst->plugin->worker.size);
}

static void
worker_close(struct ph_worker *w)
{
	if (w->opened && w->inst->plugin->worker.close != NULL)
		w->inst->plugin->worker.close(w, w->storage);
	w->opened = false;
	while (!list_empty(&w->services)) {
		struct service *s = container_of(list_pop(&w->services), struct service, link);

		s->close(s);
	}
}

static void
workers_close(struct worker_plugins *wp)
{
	size_t n = wp->gen->ninstances;

	wp->closing = true;
	/* First the questions between plugins, while all of them still stand. */
	for (size_t i = 0; i < n; i++)
		checks_cancel(&wp->workers[i]);
	for (size_t i = n; i-- > 0;)
		worker_close(&wp->workers[i]);
	services_resolver_free(wp);
}

static void
workers_free(struct worker_plugins *wp)
{
	for (size_t i = 0; i < wp->gen->ninstances; i++) {
		checks_free(&wp->workers[i]);
		free(wp->workers[i].storage);
	}
	free(wp->workers);
	generation_unref(&wp->gen);
	if (wp->gone != NULL)
		wp->gone(wp->gone_arg);
	free(wp);
}

/* In a turn of its own, behind the answers that the closing has set off. */
static void
free_run(struct ph_note *note)
{
	struct worker_plugins *wp = container_of(note, struct worker_plugins, note);

	(void)mailbox_run(loop_mailbox(wp->loop));      /* wakes posted before the close */
	workers_free(wp);
}

static void
close_run(struct ph_note *note)
{
	struct worker_plugins *wp = container_of(note, struct worker_plugins, note);

	workers_close(wp);
	wp->note.run = free_run;
	loop_defer(wp->loop, &wp->note);
}

static void
maybe_close(struct worker_plugins *wp)
{
	if (!wp->closing || wp->users > 0 || wp->closed)
		return;
	wp->closed = true;
	wp->note.run = close_run;
	loop_defer(wp->loop, &wp->note);
}

void
worker_plugins_retire(struct worker_plugins **wpp)
{
	struct worker_plugins *wp = *wpp;

	*wpp = NULL;
	if (wp == NULL)
		return;
	wp->closing = true;
	maybe_close(wp);
}

void
worker_plugins_drop(struct worker_plugins *wp)
{
	if (wp->users == 0)
		ph_abort("plugins of worker %u dropped by %u users", wp->worker, wp->users);
	wp->users--;
	maybe_close(wp);
}

struct worker_plugins *
worker_plugins_open(struct generation *g, struct loop *loop, unsigned worker)
{
	struct worker_plugins *wp = mem_new(struct worker_plugins);

	wp->gen = generation_ref(g);
	wp->loop = loop;
	wp->worker = worker;
	wp->workers = mem_calloc(g->ninstances + 1, sizeof *wp->workers);
	for (size_t i = 0; i < g->ninstances; i++)
		worker_init(&wp->workers[i], wp, &g->instances[i]);
	for (size_t i = 0; i < g->ninstances; i++) {
		struct ph_worker *w = &wp->workers[i];
		int rc = w->inst->plugin->worker.open != NULL
		         ? w->inst->plugin->worker.open(w, w->storage) : 0;

		w->opened = rc >= 0;
		if (w->opened)
			continue;
		log_event(PH_ERROR, &w->log, "plugin.failed", LOG_C("plugin", w->inst->name),
		    LOG_C("phase", "worker-open"), LOG_C("why", ph_strerror(rc)));
		worker_plugins_retire(&wp);     /* those opened may have work under way */
		return NULL;
	}
	return wp;
}
