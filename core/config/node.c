/*
 * node.c - files to one tree: reads them, follows `include:`, and joins what
 * they hold.
 *
 * The keys of included files stand where the `include:` stood.  Lists of the same
 * name in several files (`plugins`, `listen`) are joined in order, so that a
 * directory of small files can make up one configuration; any other key may
 * be written once.
 */
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fsutil.h"
#include "base/map.h"
#include "base/str.h"
#include "config/yaml.h"

#define INCLUDE_DEPTH 8
#define INCLUDE_FILES 256       /* over all files of one load */

struct open_file { dev_t dev; ino_t ino; };

struct node_loader {
	struct arena *arena;
	struct diags *d;
	size_t nodes, files;
	struct map keys;                        /* of the joined top level */
	struct node *root, **end;
	struct open_file open[INCLUDE_DEPTH + 1];       /* to see a file include itself */
	size_t nopen;
	bool broken;                            /* some file's tree is not whole */
};

static void load_file(struct node_loader *l, const char *path, const struct diag_place *from);

struct node *
node_get(const struct node *map, const char *key)
{
	if (map == NULL || map->kind != NODE_MAP)
		return NULL;
	for (struct node *child = map->first; child != NULL; child = child->next)
		if (str_is(child->key, key))
			return child;
	return NULL;
}

static void
append_list(struct node *to, struct node *more)
{
	struct node **end = &to->first;

	while (*end != NULL)
		end = &(*end)->next;
	*end = more->first;
}

static void
take_key(struct node_loader *l, struct node *child)
{
	struct node *first = map_get(&l->keys, child->key);

	child->next = NULL;
	if (first == NULL) {
		map_put(&l->keys, child->key, child);
		*l->end = child;
		l->end = &child->next;
	} else if (first->kind == NODE_LIST && child->kind == NODE_LIST) {
		append_list(first, child);
	} else {
		struct diag *g = diag_add(l->d, DIAG_ERROR, child->key_place,
		    arena_strndup(&l->d->arena, child->key.p, child->key.n),
		    "written in two files");

		diag_hint(l->d, g, "the first one is in %s, line %d",
		    first->key_place.src->name, first->key_place.line);
	}
}

/* A relative name belongs to the directory of the file that it is written in. */
static char *
beside(struct node_loader *l, const struct diag_source *src, struct ph_str name)
{
	const char *slash = strrchr(src->name, '/');

	if (name.p[0] == '/' || slash == NULL)
		return arena_strndup(l->arena, name.p, name.n);
	return arena_printf(l->arena, "%.*s" STR_FMT, (int)(slash - src->name) + 1, src->name,
	    STR_ARG(name));
}

static void
include_one(struct node_loader *l, const struct node *n)
{
	const char *path;
	glob_t found;

	if (n->kind != NODE_SCALAR || n->text.n == 0 || memchr(n->text.p, '\0', n->text.n)) {
		diag_add(l->d, DIAG_ERROR, n->place, "include", "not the name of a file");
		return;
	}
	path = beside(l, n->place.src, n->text);
	if (strpbrk(path, "*?[") == NULL) {
		load_file(l, path, &n->place);
		return;
	}
	/* none is as good as many: the directory may still be empty */
	if (glob(path, GLOB_ERR, NULL, &found) == 0) {
		for (size_t i = 0; i < found.gl_pathc; i++)
			load_file(l, arena_strndup(l->arena, found.gl_pathv[i],
			    strlen(found.gl_pathv[i])), &n->place);
		globfree(&found);
	}
}

static void
include_all(struct node_loader *l, const struct node *n)
{
	if (n->kind == NODE_NULL)
		return;
	if (n->kind == NODE_MAP) {
		struct diag *g = diag_add(l->d, DIAG_ERROR, n->place, "include",
		    "a map where names of files are expected");

		diag_hint(l->d, g, "write include: [FILE, FILE]");
	} else if (n->kind == NODE_SCALAR) {
		include_one(l, n);
	} else {
		for (const struct node *item = n->first; item != NULL; item = item->next)
			include_one(l, item);
	}
}

static void
load_text(struct node_loader *l, const struct diag_source *src, bool included)
{
	size_t errors = l->d->errors;
	struct node *root, *child, *next;

	if (!yaml_read(src, l->arena, &l->nodes, l->d, &root)) {
		l->broken = true;
		return;
	}
	if (root == NULL || root->kind == NODE_NULL || (root->kind == NODE_MAP && !root->first)) {
		struct diag *g;

		if (l->d->errors != errors)
			return;         /* why there is nothing has been told */
		/* a file cut short by a full disk must not pass for a configuration */
		g = diag_add(l->d, included ? DIAG_WARNING : DIAG_ERROR,
		    (struct diag_place){ src, 0, 0, 0 }, NULL, "holds no settings");
		if (!included)
			diag_hint(l->d, g, "for the defaults alone write plugins: []");
		return;
	}
	if (root->kind != NODE_MAP) {
		struct diag *g = diag_add(l->d, DIAG_ERROR, root->place, NULL,
		    "%s where settings are expected", root->kind == NODE_LIST ? "a list" : "text");

		diag_hint(l->d, g, "write NAME: VALUE on each line");
		return;
	}
	if (l->root == NULL) {
		l->root = arena_new(l->arena, struct node);
		*l->root = *root;
		l->root->first = NULL;
		l->end = &l->root->first;
	}
	for (child = root->first; child != NULL; child = next) {
		next = child->next;
		if (str_is(child->key, "include"))
			include_all(l, child);
		else
			take_key(l, child);
	}
}

static void
cannot_read(struct node_loader *l, const char *path, const struct diag_place *from, const char *why)
{
	struct diag_source src = { path, { NULL, 0 } };

	if (from != NULL)
		diag_add(l->d, DIAG_ERROR, *from, "include", "%s: %s", path, why);
	else
		diag_add(l->d, DIAG_ERROR, (struct diag_place){ &src, 0, 0, 0 }, NULL, "%s", why);
}

/* NULL when path may be opened now, else why not. */
static const char *
may_open(struct node_loader *l, const char *path, const struct diag_place *from)
{
	struct open_file *at = &l->open[l->nopen];
	struct stat st;

	if (++l->files > INCLUDE_FILES)
		return "too many files (at most 256)";
	if (l->nopen > INCLUDE_DEPTH)
		return "included too deeply (at most 8)";
	if (stat(path, &st) != 0)
		return NULL;            /* reading it will say why */
	for (size_t i = 0; from != NULL && i < l->nopen; i++)
		if (l->open[i].dev == st.st_dev && l->open[i].ino == st.st_ino)
			return "the file includes itself";
	*at = (struct open_file){ st.st_dev, st.st_ino };
	return NULL;
}

/* A source that lives as long as the nodes.  Editors of another world begin a
 * file with a byte order mark, which is no part of its text. */
static struct diag_source *
source_new(struct node_loader *l, const char *name, struct ph_str text)
{
	struct diag_source *src = arena_new(l->arena, struct diag_source);

	if (str_starts(text, "\xEF\xBB\xBF"))
		text = str_skip(text, 3);
	src->name = arena_strndup(l->arena, name, strlen(name));
	src->text = arena_str(l->arena, text);
	return src;
}

/* from is where the file is included, NULL for the first one. */
static void
load_file(struct node_loader *l, const char *path, const struct diag_place *from)
{
	const char *why = may_open(l, path, from);
	struct buf text = { 0 };
	int rc;

	if (why != NULL) {
		cannot_read(l, path, from, why);
		return;
	}
	rc = fs_read_file(path, YAML_TEXT_MAX, &text);
	if (rc != 0) {
		cannot_read(l, path, from, rc == PH_ELIMIT ? "larger than 1 MiB" : ph_strerror(rc));
		return;
	}
	l->nopen++;
	load_text(l, source_new(l, path, buf_view(&text)), from != NULL);
	l->nopen--;
	buf_free(&text);
}

struct node *
node_load_whole(const char *name, const struct ph_str *text, struct arena *arena, struct diags *d)
{
	struct node_loader l = { .arena = arena, .d = d };

	if (text == NULL)
		load_file(&l, name, NULL);
	else if (text->n > YAML_TEXT_MAX)
		cannot_read(&l, name, NULL, "larger than 1 MiB");
	else
		load_text(&l, source_new(&l, name, *text), false);
	map_free(&l.keys);
	return l.broken ? NULL : l.root;
}

struct node *
node_load_file(const char *path, struct arena *arena, struct diags *d)
{
	size_t errors = d->errors;
	struct node *root = node_load_whole(path, NULL, arena, d);

	return d->errors == errors ? root : NULL;
}

struct node *
node_load_text(const char *name, struct ph_str text, struct arena *arena, struct diags *d)
{
	size_t errors = d->errors;
	struct node *root = node_load_whole(name, &text, arena, d);

	return d->errors == errors ? root : NULL;
}
