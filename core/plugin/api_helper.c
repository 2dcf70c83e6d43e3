/*
 * api_helper.c - pools of helper processes for plugins; core/net/helper.c has
 * the work.  What is here ties pool and leases to the worker.
 */
#include <stdlib.h>
#include <string.h>

#include "net/helper.h"
#include "plugin/private.h"

struct ph_helpers {
	struct service service;
	struct ph_worker *w;
	struct helper_pool *pool;
	struct list leases;             /* struct ph_lease */
};
struct ph_lease {
	struct list link;
	struct helper_lease *lease;
};

static void
helpers_log(void *arg, enum ph_level level, const char *text)
{
	struct ph_helpers *h = arg;

	log_event(level, &h->w->log, "plugin.helper", LOG_C("plugin", h->w->inst->name),
	    LOG_C("text", text));
}

static void
lease_end(struct ph_lease *lease, bool broken)
{
	list_del(&lease->link);
	helper_lease_end(&lease->lease, broken);
	free(lease);
}

static void
helpers_end(struct service *s)
{
	struct ph_helpers *h = container_of(s, struct ph_helpers, service);

	while (!list_empty(&h->leases))
		lease_end(container_of(h->leases.next, struct ph_lease, link), true);
	helper_pool_free(&h->pool);
	free(h);
}

/* This worker's part of what the whole daemon may have. */
static int64_t
share(const struct ph_worker *w, int64_t total)
{
	int64_t workers = w->wp->gen->workers > 0 ? w->wp->gen->workers : 1;
	int64_t mine = total / workers + (w->wp->worker < total % workers);

	return mine > 0 ? mine : 1;
}

struct ph_helpers *
ph_helpers_open(struct ph_worker *w, const struct ph_helper_spec *given)
{
	struct ph_helper_spec own = { 0 }, *spec = &own;
	struct ph_helpers *h;

	/* Grown at its end: a plugin of before has a shorter one. */
	if (given == NULL || given->size < offsetof(struct ph_helper_spec, total) ||
	    given->size > sizeof own || given->command.n == 0) {
		ph_log_worker(w, PH_ERROR, "helper pool without a command, or built for another posthouse");
		return NULL;
	}
	memcpy(&own, given, given->size);
	own.size = sizeof own;
	if (own.total > 0)
		own.count = share(w, own.total);
	h = mem_new(struct ph_helpers);
	h->w = w;
	list_init(&h->leases);
	h->pool = helper_pool_new(w->wp->loop, spec, helpers_log, h);
	if (h->pool == NULL) {
		free(h);
		return NULL;
	}
	service_add(w, &h->service, helpers_end);
	return h;
}

void
ph_helpers_close(struct ph_helpers **h)
{
	if (*h != NULL) {
		list_del(&(*h)->service.link);
		helpers_end(&(*h)->service);
	}
	*h = NULL;
}

struct ph_lease *
ph_lease_begin(struct ph_helpers *h, void (*got)(void *arg, int status), void *arg)
{
	struct ph_lease *lease = mem_new(struct ph_lease);

	lease->lease = helper_lease_begin(h->pool, got, arg);
	if (lease->lease == NULL) {
		free(lease);
		return NULL;
	}
	list_push_back(&h->leases, &lease->link);
	return lease;
}

int
ph_lease_ask(struct ph_lease *lease, struct ph_str request,
             void (*answer)(void *arg, int status, struct ph_str bytes), void *arg)
{
	return helper_lease_ask(lease->lease, request, answer, arg);
}

void
ph_lease_end(struct ph_lease **lease, bool broken)
{
	if (*lease != NULL)
		lease_end(*lease, broken);
	*lease = NULL;
}
