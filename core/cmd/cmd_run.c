/* cmd_run.c - `posthouse run`, `reload`, `version`: the life of the daemon. */
#include <stdio.h>
#include <stdlib.h>

#include "base/str.h"
#include "cmd/conf.h"
#include "daemon/control_client.h"
#include "daemon/daemon.h"

struct run_opts { struct conf_opts conf; bool verbose; };

static const struct opt run_rows[] = {
	CONF_OPTS(struct run_opts, conf),
	CONF_PLUGIN_OPTS(struct run_opts, conf),
	OPT(struct run_opts, verbose, 'v', "verbose", NULL, "Log decisions, too (log-level: debug)."),
	OPT_END
};
static const struct opt_command run_command = {
	"run", "[OPTION ...]",
	"Runs the relay in the foreground until SIGTERM or SIGINT; SIGHUP takes the configuration "
	"anew.  Log lines go to standard error.", run_rows, NULL
};

int
cmd_run(int argc, char **argv)
{
	struct run_opts o = { 0 };
	int rc = opt_parse(&run_command, argc, argv, &o, NULL);

	if (rc != OPT_GO_ON)
		return rc;
	return daemon_run(&(struct daemon_args){ o.conf.config, o.conf.plugin_dir, o.verbose });
}

struct reload_opts { struct conf_opts conf; };

static const struct opt reload_rows[] = { CONF_OPTS(struct reload_opts, conf), OPT_END };
static const struct opt_command reload_command = {
	"reload", "[OPTION ...]",
	"Makes the running relay take its configuration anew and waits for the outcome.  With a "
	"mistake in the file the relay keeps what it has, the mistakes are printed and the status is 78.",
	reload_rows, NULL
};

static void
reload_row(void *arg, const struct fields *f)
{
	(void)arg;
	(void)f;
}

int
cmd_reload(int argc, char **argv)
{
	struct reload_opts o = { 0 };
	struct config_file *cfg;
	struct fields req;
	struct arena a;
	char path[4096], *text = NULL;
	struct diags d;
	int rc = opt_parse(&reload_command, argc, argv, &o, NULL);

	if (rc != OPT_GO_ON)
		return rc;
	diags_init(&d);
	cfg = config_load(o.conf.config, &d);
	if (cfg == NULL) {      /* the daemon would say the same; it need not be bothered */
		rc = conf_report(&d, "configuration not used (the running daemon keeps the previous one)");
		diags_free(&d);
		return rc;
	}
	diags_free(&d);
	arena_init(&a, 1024);
	fields_start(&req, &a, "reload");
	rc = control_ask(daemon_control_path(&cfg->settings, path, sizeof path), &req,
	    reload_row, NULL, &text);
	if (text != NULL)
		fputs(text, rc == 0 ? stdout : stderr);
	if (rc != 0 && text == NULL)
		fprintf(stderr, "posthouse reload: %s: %s\n", path, rc == PH_ENOENT
		    ? "no relay is running there" : ph_strerror(rc));
	free(text);
	arena_reset(&a);
	config_free(&cfg);
	return rc == 0 ? EX_OK : rc == PH_EREFUSED ? EX_CONFIG : rc == PH_EPERM ? EX_NOPERM
	    : EX_UNAVAILABLE;
}

static const struct opt version_rows[] = { OPT_END };
static const struct opt_command version_command = {
	"version", "", "Prints the version, the plugin interface and where things are.",
	version_rows, NULL
};

int
cmd_version(int argc, char **argv)
{
	int none, rc = opt_parse(&version_command, argc, argv, &none, NULL);

	if (rc != OPT_GO_ON)
		return rc;
	printf("posthouse %s\nplugin interface %d.%d\nplugins %s\nconfiguration %s\n", PH_VERSION,
	    PH_ABI_MAJOR, PH_ABI_MINOR, PH_PLUGIN_DIR, CONF_DEFAULT);
	return EX_OK;
}
