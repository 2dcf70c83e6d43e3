/*
 * plugin_command.c - finds the plugin that has a subcommand, and runs it with
 * what the configuration says of that plugin.
 */
#include "cmd/plugin_command.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <posthouse/posthouse.h>
#include "base/str.h"
#include "cmd/conf.h"
#include "plugin/instance.h"
#include "plugin/loader.h"

/* Takes NAME VALUE and NAME=VALUE out of argv, wherever they stand before "--". */
static const char *
take_option(int *argc, char **argv, const char *name)
{
	size_t n = strlen(name);

	for (int i = 1; i < *argc && strcmp(argv[i], "--") != 0; i++) {
		bool joined = strncmp(argv[i], name, n) == 0 && argv[i][n] == '=';
		int gone = joined ? 1 : 2;
		const char *value;

		if (!joined && (strcmp(argv[i], name) != 0 || i + 1 >= *argc))
			continue;
		value = joined ? argv[i] + n + 1 : argv[i + 1];
		memmove(&argv[i], &argv[i + gone], (size_t)(*argc - i - gone + 1) * sizeof *argv);
		*argc -= gone;
		return value;
	}
	return NULL;
}

static const struct ph_command *
command_of(const struct ph_plugin *p, const char *name)
{
	const struct ph_command *c = p->commands;

	while (c != NULL && c->name != NULL && strcmp(c->name, name) != 0)
		c++;
	return c != NULL && c->name != NULL ? c : NULL;
}

/* Calls fn for each plugin that can be loaded, until it answers true.  One that cannot is
 * passed over: it is not asked for. */
static bool
each_plugin(const char *dir, bool (*fn)(const char *name, const struct ph_plugin *p, void *arg),
            void *arg)
{
	const char **names;
	struct arena a;
	bool found = false;
	size_t n;

	(void)loader_init();
	arena_init(&a, 1024);
	n = loader_list(dir, &a, &names);
	for (size_t i = 0; i < n && !found; i++) {
		struct diags d;
		struct plugin_file *f;

		diags_init(&d);
		f = loader_open(names[i], dir, geteuid(), (struct diag_place){ 0 }, &d);
		if (f != NULL)
			found = fn(names[i], loader_plugin(f), arg);
		loader_close(&f);
		diags_free(&d);
	}
	arena_reset(&a);
	loader_done();
	return found;
}

struct running {
	int argc;
	char **argv;
	const char *config, *plugin_dir;
	bool named;                     /* the user named a configuration */
	int status;
};

/* What is wrong elsewhere is no reason not to run; what is wrong with this plugin's own options is. */
static struct generation *
load(const char *plugin, const struct running *r, struct diags *d, int *status)
{
	struct config_file *cfg = config_load_mistaken(r->config, d);
	struct generation *g;
	struct diags own;
	bool wrong = false;

	if (cfg == NULL) {
		*status = conf_report(d, "configuration not used");
		return NULL;
	}
	for (size_t i = 0; i < d->n; i++)
		if (d->v[i].severity == DIAG_ERROR)
			d->v[i].severity = DIAG_WARNING;
	d->errors = 0;
	(void)conf_report(d, "");
	if (r->plugin_dir != NULL)
		cfg->settings.plugin_dir = arena_strndup(&cfg->arena, r->plugin_dir,
		    strlen(r->plugin_dir));
	diags_init(&own);
	g = generation_of_plugin(cfg, plugin, &own);
	for (size_t i = 0; i < g->ninstances; i++)
		wrong = wrong || g->instances[i].wrong > 0;
	if (wrong || cfg->settings.spool == NULL) {
		(void)conf_report(&own, "configuration not used");
		*status = EX_CONFIG;
		generation_free_unset(&g);
	}
	diags_free(&own);
	return g;
}

/* What the command has written, too, the daemon has to read. */
static void
warn_of_files(const struct generation *g)
{
	struct diags d;

	diags_init(&d);
	for (size_t i = 0; i < g->ninstances; i++)
		instance_warn_unreadable(&g->instances[i], g->config, &d);
	(void)conf_report(&d, "");
	diags_free(&d);
}

static int
run_configured(const struct ph_command *c, const char *plugin, struct running *r)
{
	struct ph_command_env env = { .size = sizeof env, .config_file = "" };
	struct ph_command_instance *v = NULL;
	char (*dirs)[PATH_MAX] = NULL;
	struct generation *g = NULL;
	struct diags d;
	int rc = EX_OK;

	diags_init(&d);
	if (r->named || access(r->config, F_OK) == 0) {
		env.config_file = r->config;
		g = load(plugin, r, &d, &rc);
	}
	if (g != NULL) {
		const char *user = g->config->settings.user;

		env.user = user != NULL && user[0] != '\0' ? user : NULL;
		v = mem_calloc(g->ninstances + 1, sizeof *v);
		dirs = mem_calloc(g->ninstances + 1, sizeof *dirs);
		for (size_t i = 0; i < g->ninstances; i++) {
			const struct instance *inst = &g->instances[i];

			instance_state_dir(&g->config->settings, inst->name, dirs[i], sizeof dirs[0]);
			v[i] = (struct ph_command_instance){
				.name = inst->name, .config = inst->config, .state_dir = dirs[i],
			};
		}
		env.ninstances = g->ninstances;
		env.instances = v;
	}
	if (rc == EX_OK) {
		rc = c->run(r->argc, r->argv, &env);
		fflush(stdout);
		if (g != NULL)
			warn_of_files(g);
	}
	generation_free_unset(&g);
	free(v);
	free(dirs);
	diags_free(&d);
	return rc;
}

static bool
run_if_there(const char *name, const struct ph_plugin *p, void *arg)
{
	struct running *r = arg;
	const struct ph_command *c = command_of(p, r->argv[0]);

	if (c == NULL)
		return false;
	r->status = run_configured(c, name, r);
	return true;
}

bool
plugin_command(int argc, char **argv, int *status)
{
	struct running r = { .argc = argc, .argv = argv };
	const char *dir, *config, *c;

	dir = take_option(&r.argc, argv, "--plugin-dir");
	config = take_option(&r.argc, argv, "--config");
	c = take_option(&r.argc, argv, "-c");
	if (config == NULL)
		config = c;
	r.named = config != NULL;
	r.config = config != NULL ? config : CONF_DEFAULT;
	r.plugin_dir = dir;
	if (!each_plugin(dir != NULL ? dir : PH_PLUGIN_DIR, run_if_there, &r))
		return false;
	*status = r.status;
	return true;
}

static bool
list_one(const char *name, const struct ph_plugin *p, void *arg)
{
	(void)name;
	for (const struct ph_command *c = p->commands; c != NULL && c->name != NULL; c++)
		fprintf(arg, "  %-9s %s\n", c->name, c->summary);
	return false;
}

void
plugin_command_list(FILE *f)
{
	(void)each_plugin(PH_PLUGIN_DIR, list_one, f);
}
