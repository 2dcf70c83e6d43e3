/*
 * slots.c - the storage that plugins declare for a session and a transaction:
 * where each one's slot lies, and the scopes' open and close functions.
 *
 * All slots of a scope are one zeroed block in the arena of what they belong
 * to.  A scope that no plugin uses costs nothing.
 */
#include <stdint.h>

#include "plugin/private.h"

enum { SLOT_ALIGN = 16 };

static size_t
slot_take(size_t *total, size_t size)
{
	size_t off = *total;

	if (size == 0)
		return SIZE_MAX;
	*total += (size + SLOT_ALIGN - 1) / SLOT_ALIGN * SLOT_ALIGN;
	return off;
}

static bool
has_functions(const struct ph_plugin *p)
{
	return p->session.open != NULL || p->session.close != NULL ||
	       p->transaction.open != NULL || p->transaction.close != NULL;
}

unsigned
slots_lay_out(struct generation *g, struct diags *d)
{
	static const struct { const char *what; } scopes[] = { { "session" }, { "transaction" } };
	const size_t *sums[] = { &g->session_size, &g->txn_size };
	unsigned errors = 0;

	g->session_size = g->txn_size = g->nscoped = 0;
	g->scoped = mem_calloc(g->ninstances + 1, sizeof(struct instance *));
	for (size_t i = 0; i < g->ninstances; i++) {
		struct instance *inst = &g->instances[i];

		inst->session_off = slot_take(&g->session_size, inst->plugin->session.size);
		inst->txn_off = slot_take(&g->txn_size, inst->plugin->transaction.size);
		if (has_functions(inst->plugin))
			g->scoped[g->nscoped++] = inst;
	}
	for (size_t i = 0; i < 2; i++) {
		if (*sums[i] <= MAX_SCOPE_SUM)
			continue;
		diag_add(d, DIAG_ERROR, (struct diag_place){ 0 }, "plugins",
		    "all plugins together want %zu bytes for each %s; %d is the limit",
		    *sums[i], scopes[i].what, MAX_SCOPE_SUM);
		errors++;
	}
	return errors;
}

static void *
slot_of(char *slots, size_t off)
{
	return slots != NULL && off != SIZE_MAX ? slots + off : NULL;
}

/* Closes the first n instances of the scope, last opened first. */
static void
scope_close(struct plug_session *ps, size_t n, bool txn)
{
	const struct generation *g = ps->wp->gen;

	while (n-- > 0) {
		struct instance *inst = g->scoped[n];
		const struct ph_scope *s = txn ? &inst->plugin->transaction
		                               : &inst->plugin->session;
		struct ph_call call = { ps, inst, PH_HOOK_COUNT, CALL_SCOPE, NULL };

		if (s->close != NULL)
			s->close(&call, txn ? slot_of(ps->txn_slots, inst->txn_off)
			                    : slot_of(ps->session_slots, inst->session_off));
	}
}

static int
scope_open(struct plug_session *ps, bool txn)
{
	const struct generation *g = ps->wp->gen;

	for (size_t i = 0; i < g->nscoped; i++) {
		struct instance *inst = g->scoped[i];
		const struct ph_scope *s = txn ? &inst->plugin->transaction
		                               : &inst->plugin->session;
		struct ph_call call = { ps, inst, PH_HOOK_COUNT, CALL_SCOPE, NULL };
		int rc;

		if (s->open == NULL)
			continue;
		rc = s->open(&call, txn ? slot_of(ps->txn_slots, inst->txn_off)
		                        : slot_of(ps->session_slots, inst->session_off));
		if (rc >= 0)
			continue;
		log_event(PH_WARN, ps->log, "hook.failed", LOG_C("plugin", inst->name),
		    LOG_C("hook", txn ? "transaction-open" : "session-open"),
		    LOG_C("why", ph_strerror(rc)));
		scope_close(ps, i, txn);
		return PH_EINVAL;
	}
	return 0;
}

int
plug_session_open(struct plug_session *ps)
{
	const struct generation *g = ps->wp->gen;

	if (g->session_size > 0)
		ps->session_slots = arena_alloc(ps->session_arena, g->session_size);
	if (g->nscoped > 0 && scope_open(ps, false) != 0) {
		ps->session_slots = NULL;
		return PH_EINVAL;
	}
	ps->session_open = true;
	return 0;
}

void
plug_session_close(struct plug_session *ps)
{
	plug_cancel(ps);
	plug_txn_close(ps);
	if (ps->session_open) {
		ps->session_open = false;
		scope_close(ps, ps->wp->gen->nscoped, false);
	}
	ps->session_slots = NULL;
	buf_free(&ps->added);
}

static void
txn_forget(struct plug_session *ps)
{
	ps->txn_slots = NULL;
	ps->id_text[0] = '\0';
	ps->gathered = (struct ph_str){ NULL, 0 };
}

int
plug_txn_open(struct plug_session *ps)
{
	const struct generation *g = ps->wp->gen;

	txn_forget(ps);
	if (g->txn_size > 0)
		ps->txn_slots = arena_alloc(ps->txn_arena, g->txn_size);
	if (g->nscoped > 0 && scope_open(ps, true) != 0) {
		ps->txn_slots = NULL;
		return PH_EINVAL;
	}
	ps->txn_open = true;
	return 0;
}

void
plug_txn_close(struct plug_session *ps)
{
	if (!ps->txn_open)
		return;
	ps->txn_open = false;
	if (ps->wp->gen->nscoped > 0)
		scope_close(ps, ps->wp->gen->nscoped, true);
	txn_forget(ps);
}
