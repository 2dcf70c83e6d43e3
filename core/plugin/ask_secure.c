/* ask_secure.c - finds the provider of transport security. */
#include <string.h>

#include "plugin/ask.h"
#include "plugin/private.h"

const struct ph_secure *
secure_find(struct worker_plugins *wp, const char *name, struct ph_worker **out_w)
{
	const struct provided_list *l = &wp->gen->secures;

	/* Without a name only one can be meant; two would be a matter of luck. */
	if (name == NULL && l->n != 1)
		return NULL;
	for (size_t i = 0; i < l->n; i++) {
		if (name != NULL && strcmp(l->v[i].inst->name, name) != 0)
			continue;
		*out_w = worker_of(wp, l->v[i].inst);
		return l->v[i].ops;
	}
	return NULL;
}

static const struct provided *
server_of(const struct generation *g)
{
	for (size_t i = 0; i < g->secures.n; i++)
		if (!((const struct ph_secure *)g->secures.v[i].ops)->client_only)
			return &g->secures.v[i];
	return NULL;
}

const struct ph_secure *
secure_server(struct worker_plugins *wp, struct ph_worker **out_w)
{
	const struct provided *p = server_of(wp->gen);

	if (p == NULL)
		return NULL;
	*out_w = worker_of(wp, p->inst);
	return p->ops;
}

bool
secure_serves(const struct generation *g)
{
	return server_of(g) != NULL;
}
