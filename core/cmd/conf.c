/* conf.c - reading a configuration for a command. */
#include "cmd/conf.h"

#include <stdio.h>

int
conf_report(struct diags *d, const char *summary)
{
	struct buf out = { 0 };

	diags_print(d, &out);
	if (d->errors > 0)
		buf_printf(&out, "%zu error%s, %s\n", d->errors, d->errors == 1 ? "" : "s", summary);
	fwrite(out.data != NULL ? out.data + out.head : "", 1, out.len, stderr);
	buf_free(&out);
	return d->errors > 0 ? EX_CONFIG : EX_OK;
}

struct config_file *
conf_settings(const struct conf_opts *o)
{
	struct config_file *cfg;
	struct diags d;

	diags_init(&d);
	cfg = config_load(o->config, &d);
	if (cfg == NULL)
		(void)conf_report(&d, "configuration not used");
	diags_free(&d);
	return cfg;
}
