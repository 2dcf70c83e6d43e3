/*
 * option_private.h - what option.c (tables), scalar.c (single values) and show.c
 * share.
 */
#ifndef CONFIG_OPTION_PRIVATE_H
#define CONFIG_OPTION_PRIVATE_H

#include "config/option.h"

/* Where a run is; built on the stack, written out only for a message. */
struct option_path { const struct option_path *up; const char *name; };
struct option_run { struct arena *arena; struct diags *d; const struct option_path *path; };

struct diag *option_error(struct option_run *run, struct diag_place at, const char *fmt, ...)
	PH_PRINTF(3, 4);
void option_rows_apply(struct option_run *run, const struct ph_option *rows,
                       const struct node *map, void *out);
/* One value, or one element of a list, of the row's type. */
void option_scalar(struct option_run *run, const struct ph_option *row, const struct node *n,
                   void *out);

#endif
