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
