/*
 * cmd_plugins.c - `posthouse plugins`: what is loaded and who runs on which
 * hook; `plugins NAME`: a plugin's options.  `posthouse explain`: the
 * reference made from the same rows.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "cmd/conf.h"
#include "daemon/daemon.h"
#include "plugin/loader.h"

struct plugins_opts { struct conf_opts conf; bool json, available; };

static const struct opt plugins_rows[] = {
	CONF_OPTS(struct plugins_opts, conf),
	CONF_PLUGIN_OPTS(struct plugins_opts, conf),
	OPT(struct plugins_opts, json, 'j', "json", NULL, "Answer in JSON."),
	OPT(struct plugins_opts, available, 'a', "available", NULL, "List what could be loaded."),
	OPT_END
};
static const struct opt_command plugins_command = {
	"plugins", "[OPTION ...] [NAME]",
	"Without NAME: the plugins that the configuration loads, and for each hook who runs on it, in "
	"order.  With NAME: what that plugin is for, and its options.", plugins_rows, NULL
};

static void
put(struct buf *out)
{
	fwrite(out->data != NULL ? out->data + out->head : "", 1, out->len, stdout);
	buf_free(out);
}

static int
plugins_describe(const char *name, const char *dir)
{
	struct buf out = { 0 };
	struct diags d;
	struct plugin_file *f;
	const struct ph_plugin *p;
	int rc;

	diags_init(&d);
	f = loader_open(name, dir, geteuid(), (struct diag_place){ 0 }, &d);
	rc = conf_report(&d, "plugin not loaded");
	diags_free(&d);
	if (f == NULL)
		return rc;
	p = loader_plugin(f);
	buf_printf(&out, "%s - %s\n", name, p->summary);
	if (p->doc != NULL)
		buf_printf(&out, "\n%s\n", p->doc);
	buf_adds(&out, p->options != NULL ? "\noptions:\n" : "\nIt has no options.\n");
	if (p->options != NULL)
		describe_text(p->options, &out);
	buf_printf(&out, "\nfile: %s\n", loader_path(f));
	put(&out);
	loader_close(&f);
	return EX_OK;
}

static int
plugins_available(const char *dir)
{
	struct arena a;
	const char **names;
	size_t n;

	arena_init(&a, 1024);
	n = loader_list(dir, &a, &names);
	for (size_t i = 0; i < n; i++)
		puts(names[i]);
	arena_reset(&a);
	return EX_OK;
}

static int
plugins_loaded(const struct plugins_opts *o)
{
	struct buf out = { 0 };
	struct generation *g;
	struct diags d;
	int rc = EX_CONFIG;

	diags_init(&d);
	g = daemon_load(o->conf.config, o->conf.plugin_dir, &d);
	/* Hooks are registered in setup; nothing is opened by it. */
	if (g != NULL && generation_setup(g, 1, NULL, &d) == 0) {
		generation_describe(g, o->json, &out);
		put(&out);
		rc = EX_OK;
	}
	(void)conf_report(&d, "configuration not used");
	generation_free_unset(&g);
	diags_free(&d);
	return rc;
}

int
cmd_plugins(int argc, char **argv)
{
	struct plugins_opts o = { 0 };
	struct opt_list words = { 0 };
	int rc = opt_parse(&plugins_command, argc, argv, &o, &words);
	const char *dir;

	if (rc != OPT_GO_ON)
		return rc;
	if (words.n > 1) {
		rc = opt_complain(&plugins_command, "one NAME at a time");
		opt_list_free(&words);
		return rc;
	}
	(void)loader_init();
	dir = o.conf.plugin_dir != NULL ? o.conf.plugin_dir : PH_PLUGIN_DIR;
	if (o.available)
		rc = plugins_available(dir);
	else if (words.n == 1)
		rc = plugins_describe(words.v[0], dir);
	else
		rc = plugins_loaded(&o);
	loader_done();
	opt_list_free(&words);
	return rc;
}

struct explain_opts { struct conf_opts conf; bool man, schema; };

static const struct opt explain_rows[] = {
	CONF_PLUGIN_OPTS(struct explain_opts, conf),
	OPT(struct explain_opts, man, 0, "man", NULL, "As the manual page posthouse.yaml(5)."),
	OPT(struct explain_opts, schema, 0, "schema", NULL,
	    "As a JSON Schema, with which editors complete posthouse.yaml."),
	OPT_END
};
static const struct opt_command explain_command = {
	"explain", "[OPTION ...]",
	"Prints every setting of the core with its type, default, bounds and meaning.",
	explain_rows, NULL
};

enum { EXPLAIN_MAX = 256 };

static void
explain_plugins(const char *dir, bool man, struct buf *out)
{
	struct plugin_file *files[EXPLAIN_MAX] = { NULL };
	struct describe_plugin v[EXPLAIN_MAX];
	const char **names;
	struct arena a;
	struct diags d;
	size_t n, k = 0;

	arena_init(&a, 1024);
	diags_init(&d);
	n = loader_list(dir, &a, &names);
	for (size_t i = 0; i < n && k < EXPLAIN_MAX; i++) {
		files[k] = loader_open(names[i], dir, geteuid(), (struct diag_place){ 0 }, &d);
		if (files[k] == NULL)
			continue;
		v[k].name = names[i];
		v[k].summary = loader_plugin(files[k])->summary;
		v[k].rows = loader_plugin(files[k])->options;
		k++;
	}
	if (man)
		describe_man_plugins(v, k, out);
	else
		describe_schema(v, k, out);
	for (size_t i = 0; i < k; i++)
		loader_close(&files[i]);
	diags_free(&d);
	arena_reset(&a);
}

int
cmd_explain(int argc, char **argv)
{
	struct explain_opts o = { 0 };
	struct buf out = { 0 };
	int rc = opt_parse(&explain_command, argc, argv, &o, NULL);
	const char *dir;

	if (rc != OPT_GO_ON)
		return rc;
	(void)loader_init();
	dir = o.conf.plugin_dir != NULL ? o.conf.plugin_dir : PH_PLUGIN_DIR;
	if (o.man) {
		describe_man(&out);
		explain_plugins(dir, true, &out);
	} else if (o.schema) {
		explain_plugins(dir, false, &out);
	} else {
		describe_text(settings_rows, &out);
	}
	put(&out);
	loader_done();
	return EX_OK;
}
