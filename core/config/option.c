/*
 * option.c - applies a table of rows to a map: finds each row's value or its
 * default, converts, checks bounds, and reports what fits no row.
 *
 * A default is converted by the same code as what the user wrote.  A row that
 * is wrong itself (a plugin's) is reported, never trusted.
 */
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "base/str.h"
#include "config/option_private.h"

#define LIST_ITEMS 1000         /* when the row does not say */
#define HINT_NAMES 40           /* options listed in a hint, at most */

static const struct diag_place nowhere;

/* How each type is called in messages. */
static const char *
noun_of(const struct ph_option *row)
{
	switch (row->type) {
	case PH_T_BOOL:
		return "yes or no";
	case PH_T_INT:
		return "a number";
	case PH_T_STRING:
		return "text";
	case PH_T_DURATION:
		return "a duration";
	case PH_T_SIZE:
		return "a size";
	case PH_T_CHOICE:
		return "one of its choices";
	case PH_T_ENDPOINT:
		return "a host and port";
	case PH_T_SECRET:
		return "the name of a secret";
	case PH_T_STRINGS:
		return "a list of texts";
	case PH_T_DURATIONS:
		return "a list of durations";
	case PH_T_ENDPOINTS:
		return "a list of hosts and ports";
	case PH_T_NETWORKS:
		return "a list of networks";
	case PH_T_SECTION:
		return "a map of options";
	case PH_T_SECTIONS:
		return "a list of maps";
	case PH_T_END:
		break;
	}
	return "something else";
}

static const char *
kind_of(const struct node *n)
{
	return n->kind == NODE_LIST ? "a list" : n->kind == NODE_MAP ? "a map" :
	    n->kind == NODE_NULL ? "nothing" : "text";
}

static void
add_path(struct buf *out, const struct option_path *p)
{
	if (p == NULL)
		return;
	add_path(out, p->up);
	if (out->len > 0)
		buf_addc(out, '.');
	buf_adds(out, p->name);
}

struct diag *
option_complain(struct option_run *run, enum diag_severity severity, struct diag_place at,
                const char *fmt, ...)
{
	struct buf path = { 0 }, text = { 0 };
	struct diag *g;
	va_list ap;

	add_path(&path, run->path);
	buf_addc(&path, '\0');
	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	g = diag_add(run->d, severity, at, path.data, STR_FMT, STR_ARG(buf_view(&text)));
	buf_free(&path);
	buf_free(&text);
	return g;
}

/* "max-recipients", or "queue.retry" when another section has the name. */
static bool
propose(const struct ph_option *rows, struct ph_str key, struct buf *out)
{
	unsigned best = key.n <= 3 ? 2 : key.n <= 6 ? 3 : 4;    /* one more than allowed */
	const struct ph_option *found = NULL;

	for (const struct ph_option *row = rows; row != NULL && row->name != NULL; row++) {
		unsigned d = str_distance(key, str_of(row->name), best);

		if (d < best) {
			best = d;
			found = row;
		}
	}
	if (found != NULL) {
		buf_adds(out, found->name);
		return true;
	}
	for (const struct ph_option *row = rows; row != NULL && row->name != NULL; row++) {
		if (row->type != PH_T_SECTION && row->type != PH_T_SECTIONS)
			continue;
		for (const struct ph_option *sub = row->rows; sub->name != NULL; sub++) {
			if (str_distance(key, str_of(sub->name), 1) <= 1) {
				buf_printf(out, "%s.%s", row->name, sub->name);
				return true;
			}
		}
	}
	return false;
}

static void
refuse_key(struct option_run *run, const struct ph_option *rows, const struct node *child)
{
	char *name = arena_strndup(&run->d->arena, child->key.p, child->key.n);
	struct option_path here = { run->path, name };
	struct buf near = { 0 };
	struct diag *g;
	size_t shown = 0;

	run->path = &here;
	if (run->d->dropped == 0 && propose(rows, child->key, &near)) {
		option_error(run, child->key_place, "no such option; did you mean " STR_FMT "?",
		    STR_ARG(buf_view(&near)));
	} else {
		g = option_error(run, child->key_place, "no such option");
		for (const struct ph_option *row = rows; row != NULL && row->name != NULL &&
		    shown < HINT_NAMES; row++)
			if (!row->deprecated)
				buf_printf(&near, "%s%s", shown++ ? ", " : "", row->name);
		if (shown > 0)
			diag_hint(run->d, g, "the options here are " STR_FMT, STR_ARG(buf_view(&near)));
		else
			diag_hint(run->d, g, "there are no options here");
	}
	buf_free(&near);
	run->path = here.up;
}

static const struct ph_option *
row_named(const struct ph_option *rows, struct ph_str key)
{
	for (; rows != NULL && rows->name != NULL; rows++)
		if (str_is(key, rows->name))
			return rows;
	return NULL;
}

/* --- lists --- */

static size_t
element_size(const struct ph_option *row)
{
	switch (row->type) {
	case PH_T_STRINGS:
		return sizeof(const char *);
	case PH_T_DURATIONS:
		return sizeof(ph_duration);
	case PH_T_ENDPOINTS:
		return sizeof(struct ph_endpoint);
	case PH_T_NETWORKS:
		return sizeof(struct ph_network);
	default:
		return row->elem_size;
	}
}

/* All list types are a pointer and a count. */
#define SAME_SHAPE(T) \
	_Static_assert(sizeof(struct T) == sizeof(struct ph_sections) && \
	    offsetof(struct T, v) == offsetof(struct ph_sections, v) && \
	    offsetof(struct T, n) == offsetof(struct ph_sections, n), #T)
SAME_SHAPE(ph_strings);
SAME_SHAPE(ph_durations);
SAME_SHAPE(ph_endpoints);
SAME_SHAPE(ph_networks);

static void
apply_list(struct option_run *run, const struct ph_option *row, const struct node *n, void *field)
{
	bool one = n->kind != NODE_LIST;        /* reads as a list of one */
	size_t size = element_size(row), limit, count = 0, done = 0;
	struct ph_sections list;
	char *v;

	if (row->type == PH_T_SECTIONS ? n->kind == NODE_SCALAR : n->kind == NODE_MAP) {
		struct diag *g = option_error(run, n->place, "%s where %s is expected", kind_of(n),
		    noun_of(row));

		if (row->type == PH_T_SECTIONS && row->rows != NULL && row->rows->name != NULL)
			diag_hint(run->d, g, "write a list of maps, each beginning with \"- %s: ...\"",
			    row->rows->name);
		return;
	}
	limit = row->max_items > 0 ? (size_t)row->max_items : LIST_ITEMS;
	for (const struct node *item = one ? n : n->first; item != NULL;
	    item = one ? NULL : item->next) {
		if (++count > limit) {
			struct diag *g = option_error(run, item->place, "too many items");

			diag_hint(run->d, g, "at most %zu", limit);
			return;
		}
	}
	v = count > 0 ? arena_alloc(run->arena, count * size) : NULL;
	for (const struct node *item = one ? n : n->first; item != NULL;
	    item = one ? NULL : item->next, done++) {
		if (row->type == PH_T_SECTIONS)
			option_rows_apply(run, row->rows, item, v + done * size);
		else
			option_scalar(run, row, item, v + done * size);
	}
	list = (struct ph_sections){ v, count };
	memcpy(field, &list, sizeof list);
}

static bool
is_list(const struct ph_option *row)
{
	return row->type == PH_T_STRINGS || row->type == PH_T_DURATIONS ||
	    row->type == PH_T_ENDPOINTS || row->type == PH_T_NETWORKS ||
	    row->type == PH_T_SECTIONS;
}

static void
apply_value(struct option_run *run, const struct ph_option *row, const struct node *n, void *field)
{
	if (row->type == PH_T_SECTION)
		option_rows_apply(run, row->rows, n, field);
	else if (is_list(row))
		apply_list(run, row, n, field);
	else
		option_scalar(run, row, n, field);
}

/* --- defaults --- */

static void
apply_default(struct option_run *run, const struct ph_option *row, void *field)
{
	struct node text = { .kind = NODE_SCALAR };
	size_t errors = run->d->errors;

	if (row->type == PH_T_SECTION) {
		option_rows_apply(run, row->rows, NULL, field);
		return;
	}
	if (row->dflt == NULL)
		return;
	if (is_list(row)) {
		struct buf b = { 0 };
		const struct node *root;

		buf_printf(&b, "default: %s\n", row->dflt);
		root = node_load_text("the built-in default", buf_view(&b), run->arena, run->d);
		buf_free(&b);
		if (root != NULL && root->first->kind != NODE_NULL)
			apply_list(run, row, root->first, field);
	} else {
		text.text = str_of(row->dflt);
		option_scalar(run, row, &text, field);
	}
	if (run->d->errors != errors)
		option_error(run, nowhere, "the built-in default is not valid");
}

/* --- rows --- */

static void
apply_row(struct option_run *run, const struct ph_option *row, const struct node *map,
          void *field)
{
	const struct node *n = node_get(map, row->name);
	struct option_path here = { run->path, row->name };

	run->path = &here;
	if (n != NULL && n->kind == NODE_NULL && row->type != PH_T_SECTION && !is_list(row)) {
		struct diag *g = option_error(run, n->place, "no value");

		diag_hint(run->d, g, "write %s, or remove the line for the default", noun_of(row));
	} else if (n != NULL && n->kind != NODE_NULL) {
		if (row->deprecated)
			option_complain(run, DIAG_WARNING, n->key_place, "the option is going away; %s",
			    row->doc != NULL ? row->doc : "");
		apply_value(run, row, n, field);
	} else if (row->required) {
		run->path = here.up;
		option_error(run, map != NULL ? map->place : nowhere, "%s is required", row->name);
	} else {
		apply_default(run, row, field);
	}
	run->path = here.up;
}

void
option_rows_apply(struct option_run *run, const struct ph_option *rows, const struct node *map,
                  void *out)
{
	if (map != NULL && map->kind != NODE_MAP && map->kind != NODE_NULL) {
		option_error(run, map->place, "%s where a map of options is expected", kind_of(map));
		return;
	}
	for (const struct node *child = map != NULL ? map->first : NULL; child != NULL;
	    child = child->next)
		if (row_named(rows, child->key) == NULL)
			refuse_key(run, rows, child);
	for (; rows != NULL && rows->name != NULL; rows++)
		apply_row(run, rows, map, (char *)out + rows->offset);
}

unsigned
option_apply(const struct ph_option *rows, const struct node *node, const char *path,
             void *out, struct arena *arena, struct diags *d)
{
	struct option_path top = { NULL, path };
	struct option_run run = { arena, d, path != NULL && *path != '\0' ? &top : NULL };
	size_t before = d->errors;

	option_rows_apply(&run, rows, node, out);
	return (unsigned)(d->errors - before);
}

struct diag_place
option_place(const struct node *node, const char *option)
{
	struct ph_str rest = str_of(option);
	struct diag_place at = node != NULL ? node->place : (struct diag_place){ 0 };

	while (node != NULL && rest.p != NULL) {
		struct ph_str name = str_cut(rest, '.', &rest);
		const struct node *child = node->kind == NODE_MAP ? node->first : NULL;

		while (child != NULL && !str_eq(child->key, name))
			child = child->next;
		if (child != NULL)
			at = child->place;
		node = child;
	}
	return at;
}

void
option_wipe(const struct ph_option *rows, void *out)
{
	for (; rows != NULL && rows->name != NULL; rows++) {
		void *field = (char *)out + rows->offset;

		if (rows->type == PH_T_SECTION) {
			option_wipe(rows->rows, field);
		} else if (rows->type == PH_T_SECTIONS) {
			struct ph_sections list;

			memcpy(&list, field, sizeof list);
			for (size_t i = 0; i < list.n; i++)
				option_wipe(rows->rows, (char *)(uintptr_t)list.v + i * rows->elem_size);
		} else if (rows->type == PH_T_SECRET) {
			secret_drop(field);
		} else if (rows->type == PH_T_STRING && rows->secret) {
			const char **s = field;

			if (*s != NULL)
				mem_wipe((void *)(uintptr_t)*s, strlen(*s));
			*s = NULL;
		}
	}
}
