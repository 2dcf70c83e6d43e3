/*
 * check.h - what no single row can tell: values that must fit each other.
 */
#ifndef CONFIG_CHECK_H
#define CONFIG_CHECK_H

#include "config/settings.h"

/* top is the tree the settings come from, NULL for defaults.  Values that were
 * refused before are zero, and nothing further is said about them. */
void settings_check(const struct settings *s, const struct node *top, struct diags *d);

#endif
