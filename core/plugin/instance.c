/*
 * instance.c - the life of one instance on the main thread: load, parse, check,
 * setup, teardown.
 *
 * The configuration lies in pages of its own, which are read-only once setup
 * is over: a plugin that writes to it is stopped at the write, not found
 * by its victims.
 */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/abort.h"
#include "base/str.h"
#include "plugin/instance.h"
#include "plugin/loader.h"

static const struct ph_option no_options[] = { PH_OPT_END };

static const struct ph_option *
rows_of(const struct instance *inst)
{
	return inst->plugin->options != NULL ? inst->plugin->options : no_options;
}

static void *
pages_take(size_t size, size_t *mapped)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *p;

	*mapped = (size + page - 1) / page * page;
	p = mmap(NULL, *mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return p != MAP_FAILED ? p : NULL;
}

static void
protect(const struct instance *inst, int mode)
{
	if (inst->config != NULL && mprotect(inst->config, inst->config_pages, mode) != 0)
		ph_abort("mprotect of %zu bytes to %d failed", inst->config_pages, mode);
}

void
instance_warn_unreadable(const struct instance *inst, struct config_file *config, struct diags *d)
{
	const char *user = config->settings.user;

	if (user != NULL && user[0] != '\0')
		option_warn_unreadable(rows_of(inst), inst->entry->options,
		    arena_printf(&config->arena, "plugins.%s", inst->name), user, &config->arena, d);
}

unsigned
instance_load(struct instance *inst, const struct plugin_entry *e, const char *dir,
              struct config_file *config, struct diags *d)
{
	char *name = arena_strndup(&config->arena, e->plugin.p, e->plugin.n);
	const char *path;
	unsigned errors;

	inst->entry = e;
	inst->name = arena_strndup(&config->arena, e->instance.p, e->instance.n);
	inst->fail_continue = e->fail_continue;
	inst->session_off = inst->txn_off = SIZE_MAX;
	inst->file = loader_open(name, dir, geteuid(), e->place, d);
	if (inst->file == NULL)
		return 1;
	inst->plugin = loader_plugin(inst->file);
	if (inst->plugin->config_size > 0)
		inst->config = pages_take(inst->plugin->config_size, &inst->config_pages);
	path = arena_printf(&config->arena, "plugins.%s", inst->name);
	if (inst->plugin->config_size > 0 && inst->config == NULL) {
		diag_add(d, DIAG_ERROR, e->place, path, "no memory for its configuration");
		return 1;
	}
	errors = option_apply(rows_of(inst), e->options, path, inst->config, &config->arena, d);
	if (errors == 0)
		instance_warn_unreadable(inst, config, d);
	return errors;
}

/* Runs one phase; an error code without a complaint becomes one. */
static unsigned
run_phase(struct ph_setup *s, int (*fn)(struct ph_setup *), const char *what)
{
	int rc;

	if (fn == NULL)
		return 0;
	rc = fn(s);
	if (rc < 0 && s->errors == 0)
		setup_complain(s, NULL, "%s failed: %s", what, ph_strerror(rc));
	return s->errors;
}

unsigned
instance_check(struct generation *g, struct instance *inst, struct diags *d)
{
	struct ph_setup s = { g, inst, SETUP_CHECK, d, 0 };

	return run_phase(&s, inst->plugin->check, "check");
}

unsigned
instance_setup(struct generation *g, struct instance *inst, struct diags *d)
{
	struct ph_setup s = { g, inst, SETUP_SETUP, d, 0 };

	if (run_phase(&s, inst->plugin->setup, "setup") > 0)
		return s.errors;
	protect(inst, PROT_READ);
	inst->set_up = true;
	if (g->rehearsal)
		return 0;
	log_event(PH_INFO, NULL, "plugin.loaded", LOG_C("plugin", inst->name),
	    LOG_I("generation", g->number), LOG_C("from", loader_path(inst->file)),
	    LOG_C("version", inst->plugin->version != NULL ? inst->plugin->version : PH_VERSION));
	return 0;
}

void
instance_teardown(struct generation *g, struct instance *inst)
{
	struct ph_setup s = { g, inst, SETUP_TEARDOWN, NULL, 0 };

	if (!inst->set_up)
		return;
	inst->set_up = false;
	protect(inst, PROT_READ | PROT_WRITE);
	if (inst->plugin->teardown != NULL)
		inst->plugin->teardown(&s);
}

void
instance_free(struct instance *inst)
{
	if (inst->config != NULL) {
		protect(inst, PROT_READ | PROT_WRITE);
		option_wipe(rows_of(inst), inst->config);
		(void)munmap(inst->config, inst->config_pages); /* only fails on bad arguments */
		inst->config = NULL;
	}
	loader_close(&inst->file);
}
