/*
 * instance.h - one entry of `plugins:` made real: its file loaded, its options
 * parsed into pages of their own, its check, setup and teardown called.
 */
#ifndef PLUGIN_INSTANCE_H
#define PLUGIN_INSTANCE_H

#include "plugin/private.h"

/* Each returns the number of errors added to d. */
unsigned instance_load(struct instance *inst, const struct plugin_entry *e, const char *dir,
                       struct config_file *config, struct diags *d);
/* Warns of its files that the account the daemon runs as cannot read. */
void     instance_warn_unreadable(const struct instance *inst, struct config_file *config,
                                  struct diags *d);
unsigned instance_check(struct generation *g, struct instance *inst, struct diags *d);
/* Afterwards the configuration is read-only. */
unsigned instance_setup(struct generation *g, struct instance *inst, struct diags *d);
void     instance_teardown(struct generation *g, struct instance *inst);
/* Where an instance of that name keeps what outlives a restart; nothing is made. */
void     instance_state_dir(const struct settings *set, const char *instance, char *out, size_t n);
/* Wipes secrets, gives back pages and file. */
void     instance_free(struct instance *inst);

#endif
