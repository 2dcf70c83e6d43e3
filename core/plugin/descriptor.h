/*
 * descriptor.h - decides whether a plugin's descriptor can be used, reading
 * only what its ABI block says is there.  Knows nothing of files.
 */
#ifndef PLUGIN_DESCRIPTOR_H
#define PLUGIN_DESCRIPTOR_H

#include <posthouse/plugin.h>

enum { DESCRIPTOR_WHY = 400 };
/* 0 and a copy, zero where an older plugin's ends; or PH_EINVAL and why.
 * name: from the configuration; '-' and '_' are alike. */
int descriptor_read(const void *found, const char *name, struct ph_plugin *out,
                    char why[DESCRIPTOR_WHY]);

#endif
