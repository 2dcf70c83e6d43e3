/*
 * loader.h - plugin files; the only user of libltdl.  Main thread only.
 * Own loader entry (RTLD_NOW, RTLD_LOCAL, dlerror text kept); a static plugin
 * (-dlpreopen) wins.  Names: [a-z][a-z0-9-]*, or an absolute path to a .so.
 */
#ifndef PLUGIN_LOADER_H
#define PLUGIN_LOADER_H

#include <sys/types.h>
#include <posthouse/plugin.h>
#include "base/diag.h"

struct plugin_file;
int  loader_init(void);
void loader_done(void);
/* dir: where NAME.so is looked for. Errors go to d at place, with the path tried, the
 * undefined symbol by name, both ABI versions, or the bad owner and mode. */
struct plugin_file *loader_open(const char *name, const char *dir, uid_t owner,
                                struct diag_place place, struct diags *d);
const struct ph_plugin *loader_plugin(const struct plugin_file *f);
const char *loader_path(const struct plugin_file *f);   /* "static" for built-in */
void loader_close(struct plugin_file **f);
/* Names of all plugins there: static ones and NAME.so in dir; sorted. */
size_t loader_list(const char *dir, struct arena *a, const char ***out);
/* The directory in force: argument, else $pkglibdir. (In an uninstalled build tree the
 * program finds plugins/.libs beside itself: PH_BUILD_PLUGIN_DIR from the environment is
 * NOT consulted by a program running as root without --plugin-dir.) */

#endif
