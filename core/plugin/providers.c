/*
 * providers.c - registering providers.  Each struct is checked against what
 * this daemon knows and copied, so that one built against an older, smaller
 * struct reads as zero where it ends.
 */
#include <ctype.h>
#include <string.h>

#include "plugin/private.h"

/* Appends a copy of ops (want bytes here, *ops_size there) to list. */
static int
provide(struct ph_setup *s, struct provided_list *list, const char *what, const void *ops,
        size_t want, size_t oldest)
{
	void *copy;
	uint32_t size;

	if (ops == NULL || s->phase != SETUP_SETUP) {
		setup_complain(s, NULL, "provides a %s %s", what,
		    ops == NULL ? "that is NULL" : "outside setup");
		return PH_EINVAL;
	}
	memcpy(&size, ops, sizeof size);
	if (size < oldest || size > want) {
		setup_complain(s, NULL, "provides a %s of %u bytes; this posthouse knows %zu: "
		    "rebuild the plugin", what, size, want);
		return PH_EINVAL;
	}
	copy = arena_alloc(&s->gen->config->arena, want);
	memcpy(copy, ops, size);
	list->v = mem_realloc(list->v, (list->n + 1) * sizeof *list->v);
	list->v[list->n++] = (struct provided){ s->inst, copy };
	return 0;
}

static int
lacks(struct ph_setup *s, const char *what, const char *member)
{
	setup_complain(s, NULL, "provides a %s without %s", what, member);
	return PH_EINVAL;
}

#define PROVIDE(s, list, what, ops) \
	provide((s), &(s)->gen->list, (what), (ops), sizeof *(ops), sizeof *(ops))

int
ph_provide_router(struct ph_setup *setup, const struct ph_router *router)
{
	if (router != NULL && router->route == NULL)
		return lacks(setup, "router", "route");
	return PROVIDE(setup, routers, "router", router);
}

int
ph_provide_secure(struct ph_setup *setup, const struct ph_secure *secure)
{
	if (secure != NULL && (secure->open == NULL || secure->pump == NULL ||
	    secure->facts == NULL || secure->close == NULL))
		return lacks(setup, "transport security", "open, pump, facts or close");
	if (secure != NULL && secure->layer_size > MAX_LAYER) {
		setup_complain(setup, NULL, "wants %zu bytes for each secure layer; %d is the limit",
		    secure->layer_size, MAX_LAYER);
		return PH_EINVAL;
	}
	return PROVIDE(setup, secures, "transport security", secure);
}

/* RFC 4422 3.1: 1 to 20 of A-Z 0-9 - _ */
static bool
mechanism_name_valid(const char *name)
{
	size_t n = strlen(name);

	for (const char *p = name; *p != '\0'; p++)
		if (!isupper((unsigned char)*p) && !isdigit((unsigned char)*p) && *p != '-' &&
		    *p != '_')
			return false;
	return n >= 1 && n <= 20;
}

int
ph_provide_mechanism(struct ph_setup *setup, const struct ph_mechanism *m)
{
	if (m != NULL && (m->name == NULL || m->step == NULL))
		return lacks(setup, "SASL mechanism", "name or step");
	if (m != NULL && !mechanism_name_valid(m->name)) {
		setup_complain(setup, NULL, "provides a SASL mechanism named \"%s\"; a name is 1 to 20 "
		    "of A-Z, 0-9, '-' and '_'", m->name);
		return PH_EINVAL;
	}
	if (m != NULL && m->state_size > MAX_STATE) {
		setup_complain(setup, NULL, "wants %zu bytes for each %s exchange; %d is the limit",
		    m->state_size, m->name, MAX_STATE);
		return PH_EINVAL;
	}
	return PROVIDE(setup, mechanisms, "SASL mechanism", m);
}

int
ph_provide_checker(struct ph_setup *setup, const struct ph_password_checker *c)
{
	if (c != NULL && c->verify == NULL && c->verifier == NULL)
		return lacks(setup, "password checker", "verify and verifier");
	return PROVIDE(setup, checkers, "password checker", c);
}
