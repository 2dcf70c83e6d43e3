/*
 * node.h - a configuration file as a tree of nodes with places.  yaml.c makes
 * it (the only user of libyaml) and limits it: file size 1 MiB, depth 16,
 * 100,000 nodes, includes 8 deep; duplicate keys, aliases, tabs as indentation, bytes that
 * are not UTF-8, non-scalar keys and second documents are errors with a place.
 */
#ifndef CONFIG_NODE_H
#define CONFIG_NODE_H

#include "base/diag.h"

enum node_kind { NODE_NULL, NODE_SCALAR, NODE_LIST, NODE_MAP };
struct node {
	enum node_kind kind;
	struct diag_place place;
	struct ph_str text;             /* SCALAR */
	bool quoted;                    /* "null", "yes" in quotes are text */
	bool escapes;                   /* in double quotes, where \ means something */
	struct node *first, *next;      /* children; siblings */
	struct ph_str key;              /* in a MAP: key and its place */
	struct diag_place key_place;
};
/* NULL when there were errors (all of them in d). Nodes live in arena.  An
 * `include: [files]` key of the top level is replaced by what the files hold. */
struct node *node_load_file(const char *path, struct arena *arena, struct diags *d);
struct node *node_load_text(const char *name, struct ph_str text, struct arena *arena, struct diags *d);
struct node *node_get(const struct node *map, const char *key);

#endif
