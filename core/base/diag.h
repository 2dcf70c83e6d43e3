/*
 * diag.h - diagnostics with a place: what configuration mistakes are reported with.
 * Collect all, sort by place, print with source line, caret and hint.
 */
#ifndef BASE_DIAG_H
#define BASE_DIAG_H

#include "base/mem.h"
#include "base/buf.h"

struct diag_source { const char *name; struct ph_str text; };   /* a file that was read */
struct diag_place { const struct diag_source *src; int line, col, width; };  /* 1-based, col and width
                                                 * in characters; src NULL: no place */
enum diag_severity { DIAG_ERROR, DIAG_WARNING, DIAG_NOTE };
struct diag {
	enum diag_severity severity;
	struct diag_place place;
	const char *path;       /* "plugins.gate.patience", NULL: none */
	const char *text, *hint;        /* hint may be NULL */
};
struct diag_copy;
/* Sources are copied, so diagnostics may outlive the file they are about.
 * Beyond a thousand only the number is kept. */
struct diags {
	struct arena arena;
	struct diag *v;
	size_t n, cap, errors;
	size_t dropped;
	struct diag scratch;            /* what diag_add returns for a dropped one */
	struct diag_copy *sources;
};

void diags_init(struct diags *d);
void diags_free(struct diags *d);
/* Never NULL; valid until the next diag_add. */
struct diag *diag_add(struct diags *d, enum diag_severity sev, struct diag_place at,
                      const char *path, const char *fmt, ...) PH_PRINTF(5, 6);
void diag_hint(struct diags *d, struct diag *g, const char *fmt, ...) PH_PRINTF(3, 4);
/* The whole report, sorted by place; at most 50 diagnostics, then "and N more". */
void diags_print(struct diags *d, struct buf *out);

#endif
