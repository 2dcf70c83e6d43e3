/* conf.h - what the commands that read a configuration share: -c FILE, --plugin-dir. */
#ifndef CMD_CONF_H
#define CMD_CONF_H

#include "base/diag.h"
#include "cmd/cmd.h"
#include "cmd/opt.h"
#include "config/settings.h"

struct conf_opts { const char *config, *plugin_dir; };
#define CONF_DEFAULT PH_SYSCONFDIR "/posthouse.yaml"
#define CONF_OPTS(T, conf) \
	OPT(T, conf.config, 'c', "config", "FILE", "The configuration.", .dflt = CONF_DEFAULT)
#define CONF_PLUGIN_OPTS(T, conf) \
	OPT(T, conf.plugin_dir, 0, "plugin-dir", "DIR", \
	    "Where plugins are, in place of what the configuration says.")

/* Prints the diagnostics to standard error and a summary line. EX_CONFIG when there were
 * errors, else EX_OK. */
int conf_report(struct diags *d, const char *summary);
/* The configuration without its plugins, for commands that only need settings. NULL: reported. */
struct config_file *conf_settings(const struct conf_opts *o);

#endif
