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

struct diag *option_complain(struct option_run *run, enum diag_severity severity,
                             struct diag_place at, const char *fmt, ...) PH_PRINTF(4, 5);
#define option_error(run, at, ...) option_complain((run), DIAG_ERROR, (at), __VA_ARGS__)
void option_rows_apply(struct option_run *run, const struct ph_option *rows,
                       const struct node *map, void *out);
/* One value, or one element of a list, of the row's type. */
void option_scalar(struct option_run *run, const struct ph_option *row, const struct node *n,
                   void *out);

#endif
