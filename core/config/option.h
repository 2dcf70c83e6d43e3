/*
 * option.h (core) - applies a table of option rows to a node: defaults,
 * types, bounds, unknown keys with "did you mean".
 */
#ifndef CONFIG_OPTION_H
#define CONFIG_OPTION_H

#include <posthouse/option.h>
#include "config/node.h"

/* Fills out (zeroed storage of the table's struct). node may be NULL (all
 * defaults). path is the prefix for messages ("plugins.gate"). Strings and
 * lists live in arena. Returns the number of errors added to d. A scalar is
 * taken for a list of one. */
unsigned option_apply(const struct ph_option *rows, const struct node *node, const char *path,
                      void *out, struct arena *arena, struct diags *d);
/* Warns of files, of secrets and of rows with reread, that the account user, whom root goes on as,
 * cannot read again. */
void option_warn_unreadable(const struct ph_option *rows, const struct node *map, const char *path,
                            const char *user, struct arena *arena, struct diags *d);
/* Wipes secrets. */
void option_wipe(const struct ph_option *rows, void *out);
/* Where an option was written (or the node itself when it was not). */
struct diag_place option_place(const struct node *node, const char *option);
/* Text of a value for people: "5s", "[15m, 30m]". */
void option_show(const struct ph_option *row, const void *base, struct buf *out);

/* value.c: text to typed, each 0 or PH_EINVAL with *why saying what is accepted. */
int value_duration(struct ph_str s, ph_duration *out, const char **why);
int value_size(struct ph_str s, ph_size *out, const char **why);
int value_bool(struct ph_str s, bool *out, const char **why);
int value_int(struct ph_str s, int64_t *out, const char **why);
int value_endpoint(struct ph_str s, struct arena *a, struct ph_endpoint *out, const char **why);
int value_network(struct ph_str s, struct ph_network *out, const char **why);
/* "127.0.0.1:25", "[::]:25"; "*:25" (all addresses of both families) gives family 0. Port 0: any free one. */
int value_listen(struct ph_str s, struct ph_addr *out, const char **why);
/* The shortest text that reads back as the same: "90m" is written "1h30m". */
void value_duration_text(ph_duration d, struct buf *out);
void value_size_text(ph_size s, struct buf *out);

#endif
