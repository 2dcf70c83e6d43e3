/*
 * yaml.h - one YAML text to a tree; node.c puts files together from it.
 */
#ifndef CONFIG_YAML_H
#define CONFIG_YAML_H

#include "config/node.h"

#define YAML_TEXT_MAX  (1024 * 1024)    /* bytes of one file */
#define YAML_DEPTH_MAX 16
#define YAML_NODES_MAX 100000           /* over all files of one load */

/* Builds the tree of src->text; nodes and texts in arena, nodes counted on
 * *nodes.  *out is NULL for a text without a document.  Mistakes go to d.  True
 * when the tree is whole, so that looking for further mistakes makes sense. */
bool yaml_read(const struct diag_source *src, struct arena *arena, size_t *nodes, struct diags *d,
               struct node **out);

/* node_load_file (text NULL) and node_load_text, but the tree comes back in spite of errors that
 * leave it whole: names written twice, files that cannot be included. */
struct node *node_load_whole(const char *name, const struct ph_str *text, struct arena *arena,
                             struct diags *d);

#endif
