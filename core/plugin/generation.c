/*
 * generation.c - builds a generation from a parsed file, sets it up, counts its
 * references and tears it down on the main loop after the last.
 */
#include <stdlib.h>
#include <string.h>

#include "base/abort.h"
#include "base/str.h"
#include "plugin/demand.h"
#include "plugin/instance.h"
#include "plugin/loader.h"

static void
lists_free(struct generation *g)
{
	for (size_t i = 0; i < PH_HOOK_COUNT; i++) {
		free(g->hooks[i].v);
		g->hooks[i] = (struct hook_list){ NULL, 0 };
	}
	free(g->routers.v);
	free(g->secures.v);
	free(g->mechanisms.v);
	free(g->checkers.v);
	free(g->expected.v);
	g->expected = (struct expected_list){ NULL, 0 };
	g->routers = g->secures = g->mechanisms = g->checkers = (struct provided_list){ NULL, 0 };
}

static void
generation_free(struct generation *g)
{
	for (size_t i = g->ninstances; i-- > 0;)
		instance_teardown(g, &g->instances[i]);
	for (size_t i = g->ninstances; i-- > 0;)
		instance_free(&g->instances[i]);
	lists_free(g);
	free(g->scoped);
	free(g->instances);
	config_free(&g->config);
	free(g);
}

struct instance *
generation_instance(const struct generation *g, const char *name)
{
	for (size_t i = 0; i < g->ninstances; i++)
		if (g->instances[i].name != NULL && strcmp(g->instances[i].name, name) == 0)
			return &g->instances[i];
	return NULL;
}

/* As before setup. */
static void
take_down(struct generation *g)
{
	for (size_t i = g->ninstances; i-- > 0;)
		instance_teardown(g, &g->instances[i]);
	lists_free(g);
	g->relay_ruled = g->admission_ruled = false;
}

/* Those with mistakes are left out. */
static unsigned
set_up(struct generation *g, struct diags *d)
{
	unsigned errors = 0;

	for (size_t i = 0; i < g->ninstances; i++) {
		struct instance *inst = &g->instances[i];

		if (inst->wrong == 0)
			errors += inst->wrong = instance_setup(g, inst, d);
	}
	return errors + demand_check(g, d);
}

/* It will not be used, but what the others would have said may be heard now. */
static void
rehearse_the_rest(struct generation *g, struct diags *d)
{
	if (g->config->settings.spool == NULL)
		return;
	g->rehearsal = true;
	(void)set_up(g, d);     /* counted in d */
	take_down(g);
	g->rehearsal = false;
}

struct generation *
generation_check(struct config_file *config, struct diags *d)
{
	struct generation *g = mem_new(struct generation);
	const char *dir = config->settings.plugin_dir;
	unsigned errors = 0;

	atomic_init(&g->refs, 1);
	g->config = config;
	g->ninstances = config->nplugins;
	g->instances = mem_calloc(g->ninstances + 1, sizeof *g->instances);
	for (size_t i = 0; i < g->ninstances; i++) {
		g->instances[i].index = i;
		g->instances[i].wrong =
		    instance_load(&g->instances[i], &config->plugins[i], dir, config, d);
		errors += g->instances[i].wrong;
	}
	/* check sees only options that could be read, and every instance of the file, before
	 * or after its own */
	for (size_t i = 0; i < g->ninstances; i++)
		if (g->instances[i].wrong == 0)
			errors += g->instances[i].wrong = instance_check(g, &g->instances[i], d);
	if (errors == 0)
		errors = slots_lay_out(g, d);
	if (errors > 0 || config->mistaken)
		rehearse_the_rest(g, d);
	if (errors > 0)
		generation_free_unset(&g);
	return g;
}

struct generation *
generation_of_plugin(struct config_file *config, const char *plugin, struct diags *d)
{
	struct generation *g = mem_new(struct generation);

	atomic_init(&g->refs, 1);
	g->config = config;
	g->instances = mem_calloc(config->nplugins + 1, sizeof *g->instances);
	for (size_t i = 0; i < config->nplugins; i++) {
		struct instance *inst = &g->instances[g->ninstances];

		if (!str_is(config->plugins[i].plugin, plugin))
			continue;
		inst->index = g->ninstances++;
		inst->wrong = instance_load(inst, &config->plugins[i],
		    config->settings.plugin_dir, config, d);
	}
	return g;
}

int
generation_setup(struct generation *g, unsigned number, struct ph_mailbox *main, struct diags *d)
{
	unsigned errors;

	g->number = number;
	g->main = main;
	errors = set_up(g, d);
	if (errors == 0)
		return 0;
	take_down(g);
	return (int)errors;
}

int
generation_rehearse(struct generation *g, struct diags *d)
{
	int errors;

	g->rehearsal = true;
	errors = generation_setup(g, 0, NULL, d);
	if (errors == 0)
		take_down(g);
	g->rehearsal = false;
	return errors;
}

struct generation *
generation_ref(struct generation *g)
{
	atomic_fetch_add_explicit(&g->refs, 1, memory_order_relaxed);
	return g;
}

static void
teardown_run(struct ph_note *note)
{
	generation_free(container_of(note, struct generation, teardown));
}

void
generation_unref(struct generation **gp)
{
	struct generation *g = *gp;

	*gp = NULL;
	if (g == NULL || atomic_fetch_sub_explicit(&g->refs, 1, memory_order_acq_rel) > 1)
		return;
	if (g->main == NULL) {
		generation_free(g);
		return;
	}
	g->teardown.run = teardown_run;
	ph_post(g->main, &g->teardown);
}

void
generation_free_unset(struct generation **gp)
{
	if (*gp != NULL)
		generation_free(*gp);
	*gp = NULL;
}
