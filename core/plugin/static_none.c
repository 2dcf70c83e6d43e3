/*
 * static_none.c - the table of plugins linked into the program when the build
 * brings none of its own (--with-plugin-NAME=static makes one, which wins).
 */
#include <stddef.h>

#include "plugin/loader.h"

__attribute__((weak)) const struct ph_plugin *const loader_static[] = { NULL };
