/*
 * yaml.c - reads YAML events into nodes; the only user of libyaml.
 *
 * Takes the plain part of YAML: scalars, lists, maps with scalar keys.
 * Aliases and tags are refused, so a small file stays a small tree, and so
 * is what people write by accident: tabs that indent, a key twice, a second
 * document.  Depth and number of nodes are limited while reading, not afterwards.
 */
#include <string.h>
#include <yaml.h>

#include "base/map.h"
#include "base/str.h"
#include "config/yaml.h"

#define KEY_MAX 128             /* bytes; messages repeat keys, so they must be short */

/* One open list or map. */
struct yaml_level {
	struct node *node;
	struct node **end;              /* where the next child goes */
	struct map keys;                /* of a map: key to node */
	struct node *pending;           /* of a map: the child whose key was read */
};

struct yaml_reader {
	yaml_parser_t parser;
	const struct diag_source *src;
	struct arena *arena;
	struct diags *d;
	size_t *nodes;
	struct node *root;
	struct yaml_level level[YAML_DEPTH_MAX];
	size_t depth;
	unsigned documents;
	struct ph_str rest;             /* the text from line `line` on */
	int line;
	int tab_line, alias_line;       /* the last ones blamed for a tab, an alias */
	bool stop, broken;              /* broken: the tree is not what was meant */
};

/* Marks count characters and lines from 0. */
static struct diag_place
place_of(const struct yaml_reader *r, yaml_mark_t start, yaml_mark_t end)
{
	struct diag_place at = { r->src, (int)start.line + 1, (int)start.column + 1, 1 };

	if (end.line == start.line && end.column > start.column)
		at.width = (int)(end.column - start.column);
	return at;
}

/* "queue.retry": the keys that lead to where the reader is; NULL at the top. */
static const char *
path_of(struct yaml_reader *r)
{
	struct buf path = { 0 };
	const char *text = NULL;

	for (size_t i = 0; i < r->depth; i++) {
		const struct node *child = r->level[i].pending;

		if (child == NULL)
			continue;
		if (path.len > 0)
			buf_addc(&path, '.');
		buf_addstr(&path, child->key);
	}
	if (path.len > 0)
		text = arena_strndup(&r->d->arena, path.data, path.len);
	buf_free(&path);
	return text;
}

static void
complain(struct yaml_reader *r, struct diag_place at, const char *text, const char *hint)
{
	struct diag *g = diag_add(r->d, DIAG_ERROR, at, path_of(r), "%s", text);

	if (hint != NULL)
		diag_hint(r->d, g, "%s", hint);
}

/* Blames a tab among the blanks in front of a line's text.  Lines come in
 * order, so the text is walked once. */
static bool
line_has_tab(struct yaml_reader *r, int line)
{
	struct ph_str next;

	while (r->line < line && r->rest.p != NULL) {
		(void)str_cut(r->rest, '\n', &next);
		r->rest = next;
		r->line++;
	}
	if (r->line != line || r->rest.p == NULL)
		return false;
	for (size_t i = 0; i < r->rest.n; i++) {
		if (r->rest.p[i] == '\t') {
			if (r->tab_line != line)
				complain(r, (struct diag_place){ r->src, line, (int)i + 1, 1 },
				    "a tab cannot indent",
				    "indent with spaces, two for each level");
			r->tab_line = line;
			r->broken = true;
			return true;
		}
		if (r->rest.p[i] != ' ')
			return false;
	}
	return false;
}

static struct node *
node_new(struct yaml_reader *r, struct diag_place at)
{
	struct node *n;

	if (++*r->nodes > YAML_NODES_MAX) {
		complain(r, at, "too many settings", "at most 100,000 values can be read");
		r->stop = r->broken = true;
	}
	n = arena_new(r->arena, struct node);
	n->place = at;
	return n;
}

/* The child that a map's key begins.  A second one of the same name is
 * read, so that its own mistakes show, but not kept. */
static void
key_read(struct yaml_reader *r, struct yaml_level *l, struct ph_str key, struct diag_place at)
{
	struct node *child = node_new(r, at), *first;

	child->key_place = at;
	child->key = arena_str(r->arena, str_head(key, KEY_MAX));
	l->pending = child;
	if (key.n > KEY_MAX)
		complain(r, at, "the name is too long", "names have at most 128 bytes");
	first = map_get(&l->keys, child->key);
	if (first != NULL) {
		struct diag *g = diag_add(r->d, DIAG_ERROR, at, path_of(r), "written twice");

		diag_hint(r->d, g, "the first one is in line %d; keep one of them",
		    first->key_place.line);
		return;
	}
	map_put(&l->keys, child->key, child);
	*l->end = child;
	l->end = &child->next;
}

/* The node that an event fills, NULL when it was a key or reading is to stop. */
static struct node *
value_node(struct yaml_reader *r, const yaml_event_t *ev, struct diag_place at)
{
	struct yaml_level *l = r->depth > 0 ? &r->level[r->depth - 1] : NULL;
	struct node *n;

	line_has_tab(r, at.line);
	if (l != NULL && l->node->kind == NODE_MAP) {
		if (l->pending != NULL) {
			l->pending->place = at;
			return l->pending;
		}
		if (ev->type == YAML_SCALAR_EVENT) {
			key_read(r, l, str_make((const char *)ev->data.scalar.value,
			    ev->data.scalar.length), at);
			return NULL;
		}
		complain(r, at, ev->type == YAML_ALIAS_EVENT ? "aliases are not accepted" :
		    "a list or map cannot be a name", "write the name as plain text");
		r->stop = r->broken = true;
		return NULL;
	}
	n = node_new(r, at);
	if (l == NULL) {
		r->root = n;
	} else {
		*l->end = n;
		l->end = &n->next;
	}
	return n;
}

static void
value_done(struct yaml_reader *r)
{
	if (r->depth > 0)
		r->level[r->depth - 1].pending = NULL;
}

static void
refuse_tag(struct yaml_reader *r, const yaml_char_t *tag, struct diag_place at)
{
	if (tag != NULL)
		complain(r, at, "tags are not accepted", "quote a text that begins with !");
}

static bool
is_null(struct ph_str s)
{
	return s.n == 0 || str_is(s, "~") || str_is(s, "null") || str_is(s, "Null") ||
	    str_is(s, "NULL");
}

static void
read_scalar(struct yaml_reader *r, const yaml_event_t *ev)
{
	struct ph_str text = { (const char *)ev->data.scalar.value, ev->data.scalar.length };
	struct diag_place at = place_of(r, ev->start_mark, ev->end_mark);
	struct node *n = value_node(r, ev, at);

	if (n == NULL)
		return;
	refuse_tag(r, ev->data.scalar.tag, at);
	n->quoted = ev->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
	n->escapes = ev->data.scalar.style == YAML_DOUBLE_QUOTED_SCALAR_STYLE;
	if (!n->quoted && is_null(text)) {
		n->kind = NODE_NULL;
		if (text.n == 0 && n->key.p != NULL)
			n->place = n->key_place;        /* there is nothing to point at */
	} else {
		n->kind = NODE_SCALAR;
		n->text = arena_str(r->arena, text);
	}
	value_done(r);
}

static void
read_start(struct yaml_reader *r, const yaml_event_t *ev, enum node_kind kind)
{
	struct diag_place at = place_of(r, ev->start_mark, ev->end_mark);
	struct node *n = value_node(r, ev, at);
	struct yaml_level *l;

	if (n == NULL)
		return;
	refuse_tag(r, kind == NODE_MAP ? ev->data.mapping_start.tag :
	    ev->data.sequence_start.tag, at);
	if (r->depth == YAML_DEPTH_MAX) {
		complain(r, at, "nested too deeply", "lists and maps can be nested 16 deep");
		r->stop = r->broken = true;
		return;
	}
	n->kind = kind;
	l = &r->level[r->depth++];
	*l = (struct yaml_level){ .node = n, .end = &n->first };
}

static void
read_end(struct yaml_reader *r)
{
	map_free(&r->level[--r->depth].keys);
	value_done(r);
}

static void
read_alias(struct yaml_reader *r, const yaml_event_t *ev)
{
	struct diag_place at = place_of(r, ev->start_mark, ev->end_mark);

	if (value_node(r, ev, at) == NULL)
		return;
	if (r->alias_line != at.line)
		complain(r, at, "aliases are not accepted",
		    "write the value out; a text that begins with * must be in quotes");
	r->alias_line = at.line;
	r->broken = true;
	value_done(r);
}

static void
read_event(struct yaml_reader *r, const yaml_event_t *ev)
{
	switch (ev->type) {
	case YAML_DOCUMENT_START_EVENT:
		if (++r->documents > 1) {
			complain(r, place_of(r, ev->start_mark, ev->end_mark),
			    "a second document begins here", "one file holds one document");
			r->stop = true;
		}
		break;
	case YAML_ALIAS_EVENT:
		read_alias(r, ev);
		break;
	case YAML_SCALAR_EVENT:
		read_scalar(r, ev);
		break;
	case YAML_SEQUENCE_START_EVENT:
		read_start(r, ev, NODE_LIST);
		break;
	case YAML_MAPPING_START_EVENT:
		read_start(r, ev, NODE_MAP);
		break;
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		read_end(r);
		break;
	case YAML_STREAM_END_EVENT:
		r->stop = true;
		break;
	default:
		break;
	}
}

/* libyaml's words, and ours for those that people meet. */
static const struct { const char *theirs, *ours, *hint; bool at_context; } problems[] = {
	{ "mapping values are not allowed in this context", "a name cannot stand here",
	  "check the indentation and the line above, or quote a text that holds \": \"", false },
	{ "could not find expected ':'", "a ':' is missing behind this name",
	  "write NAME: VALUE", true },
	{ "did not find expected key", "this line does not fit the ones above it",
	  "check its indentation and the quotes and brackets above", false },
	{ "did not find expected '-' indicator", "an item of the list must begin with '-'",
	  "check the indentation: all items of a list begin in the same column", false },
	{ "block sequence entries are not allowed in this context", "a list item cannot stand here",
	  "begin the list on a line of its own", false },
	{ "found unexpected end of stream", "the quotation is not closed",
	  "write the closing quote", true },
	{ "did not find expected ',' or ']'", "the list is not closed",
	  "separate items by ',' and end the list with ']'", true },
	{ "did not find expected ',' or '}'", "the map is not closed",
	  "separate entries by ',' and end the map with '}'", true },
	{ "found character that cannot start any token", "this character cannot begin a value",
	  "put the value in quotes", false },
	{ "did not find expected alphabetic or numeric character",
	  "a text that begins with * or & must be in quotes", "for example \"*:25\"", false },
	{ "found unknown escape character", "there is no such escape",
	  "write \\\\ for a backslash, or use single quotes", false },
};

/* The reader knows an offset in bytes, the others a mark. */
static struct diag_place
offset_place(const struct yaml_reader *r, size_t offset)
{
	struct diag_place at = { r->src, 1, 1, 1 };
	struct ph_str text = str_head(r->src->text, offset);
	uint32_t c;

	while (text.n > 0) {
		size_t n = str_utf8_step(text, &c);

		at.col++;
		if (text.p[0] == '\n') {
			at.line++;
			at.col = 1;
		}
		text = str_skip(text, n > 0 ? n : 1);
	}
	return at;
}

static void
parser_failed(struct yaml_reader *r)
{
	const yaml_parser_t *p = &r->parser;
	const char *problem = p->problem != NULL ? p->problem : "cannot be read";
	struct diag_place at;

	if (p->error == YAML_READER_ERROR) {
		complain(r, offset_place(r, p->problem_offset),
		    "a control character cannot stand in a file", NULL);
		return;
	}
	if (line_has_tab(r, (int)p->problem_mark.line + 1))
		return;
	at = place_of(r, p->problem_mark, p->problem_mark);
	for (size_t i = 0; i < sizeof problems / sizeof problems[0]; i++) {
		if (strcmp(problem, problems[i].theirs) != 0)
			continue;
		if (problems[i].at_context && p->context != NULL)
			at = place_of(r, p->context_mark, p->context_mark);
		complain(r, at, problems[i].ours, problems[i].hint);
		return;
	}
	complain(r, at, problem, NULL);
}

/* libyaml would take other encodings and count other line ends than we do. */
static bool
text_is_plain(struct yaml_reader *r)
{
	struct ph_str rest = r->src->text;
	const char *hint = "save the file with plain line ends";
	uint32_t c;

	while (rest.n > 0) {
		size_t n = str_utf8_step(rest, &c), offset = r->src->text.n - rest.n;
		struct diag *g;

		if (n == 0) {
			g = diag_add(r->d, DIAG_ERROR, offset_place(r, offset), NULL,
			    "byte 0x%02X is not UTF-8", (unsigned)(unsigned char)rest.p[0]);
			diag_hint(r->d, g, "save the file in the encoding UTF-8");
			return false;
		}
		if (c == 0x85 || c == 0x2028 || c == 0x2029) {
			complain(r, offset_place(r, offset), "an unusual line separator", hint);
			return false;
		}
		if (c == '\r' && (rest.n < 2 || rest.p[1] != '\n')) {
			complain(r, offset_place(r, offset), "a carriage return alone", hint);
			return false;
		}
		rest = str_skip(rest, n);
	}
	return true;
}

bool
yaml_read(const struct diag_source *src, struct arena *arena, size_t *nodes, struct diags *d,
          struct node **out)
{
	struct yaml_reader r = { .src = src, .arena = arena, .nodes = nodes, .d = d,
		.rest = src->text, .line = 1 };
	yaml_event_t ev;

	*out = NULL;
	if (!text_is_plain(&r))
		return false;
	if (!yaml_parser_initialize(&r.parser)) {
		complain(&r, (struct diag_place){ src, 0, 0, 0 }, "no memory to read it", NULL);
		return false;
	}
	yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&r.parser, (const unsigned char *)(src->text.p != NULL ?
	    src->text.p : ""), src->text.n);
	while (!r.stop) {
		if (!yaml_parser_parse(&r.parser, &ev)) {
			parser_failed(&r);
			r.broken = true;
			break;
		}
		read_event(&r, &ev);
		yaml_event_delete(&ev);
	}
	while (r.depth > 0)
		map_free(&r.level[--r.depth].keys);
	yaml_parser_delete(&r.parser);
	*out = r.root;
	return !r.broken;
}
