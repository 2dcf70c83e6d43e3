/*
 * option.h - option rows: the one truth about a setting.
 *
 * From a row come parsing, bounds, the default, `posthouse check`,
 * `posthouse plugins NAME`, the manual page and the JSON Schema.  Defaults
 * and bounds are text, read by the same code as the user's file.
 */
#ifndef POSTHOUSE_OPTION_H
#define POSTHOUSE_OPTION_H

#include <posthouse/types.h>

PH_BEGIN_DECLS

enum ph_type {
	PH_T_END = 0,
	PH_T_BOOL,              /* bool: true false yes no on off */
	PH_T_INT,               /* int64_t */
	PH_T_STRING,            /* const char * (NULL when not given) */
	PH_T_DURATION,          /* 500ms 5s 2m 4h 2d 1w */
	PH_T_SIZE,              /* 512 64K 10M 1G (powers of 1024) */
	PH_T_CHOICE,            /* int, from .choices */
	PH_T_ENDPOINT,          /* struct ph_endpoint: host:port, [::1]:25, "[name]" */
	PH_T_SECRET,            /* struct ph_secret: value is a file name, or
	                         * "credential:NAME", or "env:NAME" */
	PH_T_STRINGS, PH_T_DURATIONS, PH_T_ENDPOINTS, PH_T_NETWORKS,
	PH_T_SECTION,           /* a nested struct, .rows */
	PH_T_SECTIONS,          /* a list of structs, .rows and .elem_size */
};

struct ph_choice { const char *name; int value; const char *doc; };

struct ph_option {
	const char *name;
	size_t      offset;
	enum ph_type type;
	const char *dflt;       /* as text; NULL: zero. Lists in flow style: "[15m, 30m]" */
	const char *min, *max;  /* as text; for lists: of each element */
	bool required, secret, deprecated;
	bool reread;            /* STRING: from its first / on the name of a file that is read again
	                         * while the daemon runs, as the account of `user:`; who checks
	                         * as root is warned when that account cannot */
	/* reads as the list's single element when a scalar is written */
	const struct ph_choice *choices;
	const struct ph_option *rows;   /* SECTION, SECTIONS: ends with PH_OPT_END */
	size_t      elem_size;          /* SECTIONS: size of one struct */
	int64_t     max_items;          /* lists: limit, 0 = 1000 */
	const char *unit;       /* prose for the manual: "connections", ... */
	const char *doc;        /* a full sentence first; rows without prose fail the tests */
};

#ifndef __cplusplus
/* The tag comes from the C field, so a row cannot lie about it. */
#define PH_TYPE_OF(expr) _Generic((expr),                               \
	bool: PH_T_BOOL,               int64_t: PH_T_INT,               \
	const char *: PH_T_STRING,     ph_duration: PH_T_DURATION,      \
	ph_size: PH_T_SIZE,            struct ph_endpoint: PH_T_ENDPOINT, \
	struct ph_secret: PH_T_SECRET, struct ph_strings: PH_T_STRINGS, \
	struct ph_durations: PH_T_DURATIONS,                            \
	struct ph_endpoints: PH_T_ENDPOINTS,                            \
	struct ph_networks: PH_T_NETWORKS)

#define PH_OPT(T, field, key, ...)                                      \
	{ .name = (key), .offset = offsetof(T, field),                  \
	  .type = PH_TYPE_OF(((T *)0)->field), __VA_ARGS__ }
#define PH_OPT_CHOICE(T, field, key, list, ...)                         \
	{ .name = (key), .offset = offsetof(T, field) +                 \
	      0 * sizeof(_Generic(((T *)0)->field, int: 0)),            \
	  .type = PH_T_CHOICE, .choices = (list), __VA_ARGS__ }
#define PH_OPT_SECTION(T, field, key, table, ...)                       \
	{ .name = (key), .offset = offsetof(T, field),                  \
	  .type = PH_T_SECTION, .rows = (table), __VA_ARGS__ }
#define PH_OPT_SECTIONS(T, field, key, S, table, ...)                   \
	{ .name = (key), .offset = offsetof(T, field),                  \
	  .type = PH_T_SECTIONS, .rows = (table), .elem_size = sizeof(S), \
	  __VA_ARGS__ }
#define PH_OPT_END { .name = NULL, .type = PH_T_END }
#endif

PH_END_DECLS
#endif
