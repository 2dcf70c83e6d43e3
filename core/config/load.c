/*
 * load.c - a configuration file from path to checked settings.
 *
 * `plugins:` is taken off the tree first, because its entries belong to rows
 * that only the plugins know; the core's own keys inside an entry (`as`,
 * `on-failure`) are taken off the entry.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/map.h"
#include "base/str.h"
#include "config/check.h"
#include "config/yaml.h"

#ifndef PH_PLUGIN_DIR
#define PH_PLUGIN_DIR "/usr/lib/posthouse"
#endif

#define NAME_MAX_LENGTH 64
#define PLUGINS_MAX 1000

static bool
name_valid(struct ph_str s)
{
	if (s.n == 0 || s.n > NAME_MAX_LENGTH)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		    (i > 0 && (c == '-' || c == '_' || c == '.'))))
			return false;
	}
	return true;
}

/* "/opt/mail/gate.so" is the plugin gate. */
static struct ph_str
own_name(struct ph_str plugin)
{
	struct ph_str name = plugin;

	for (size_t i = 0; i < plugin.n; i++)
		if (plugin.p[i] == '/')
			name = str_skip(plugin, i + 1);
	if (name.n > 3 && memcmp(name.p + name.n - 3, ".so", 3) == 0)
		name.n -= 3;
	return name;
}

static char *
entry_path(struct diags *d, struct ph_str instance, const char *key)
{
	return arena_printf(&d->arena, "plugins." STR_FMT "%s%s", STR_ARG(str_head(instance, 128)),
	    *key != '\0' ? "." : "", key);
}

/* Takes a scalar key of the core's off the entry's map. NULL: not there. */
static struct node *
take_core_key(struct node *map, const char *key)
{
	for (struct node **at = &map->first; *at != NULL; at = &(*at)->next) {
		struct node *n = *at;

		if (str_is(n->key, key)) {
			*at = n->next;
			return n;
		}
	}
	return NULL;
}

static void
read_core_keys(struct plugin_entry *e, struct node *map, struct diags *d)
{
	struct node *as = take_core_key(map, "as"), *failure = take_core_key(map, "on-failure");

	if (as != NULL && as->kind == NODE_SCALAR && name_valid(as->text)) {
		e->instance = as->text;
		e->place = as->place;
	} else if (as != NULL) {
		struct diag *g = diag_add(d, DIAG_ERROR, as->place, entry_path(d, e->instance, "as"),
		    "not a name for an instance");

		diag_hint(d, g, "write letters, digits and - _ . (at most 64)");
	}
	if (failure == NULL)
		return;
	if (failure->kind == NODE_SCALAR && str_is(failure->text, "continue")) {
		e->fail_continue = true;
	} else if (failure->kind != NODE_SCALAR || !str_is(failure->text, "defer")) {
		struct diag *g = diag_add(d, DIAG_ERROR, failure->place,
		    entry_path(d, e->instance, "on-failure"), "not a choice");

		diag_hint(d, g, "write defer (answer 451, the default) or continue (as if the plugin "
		    "were not there)");
	}
}

/* "- gate: {...}", but with the options beside the name instead of below it. */
static void
refuse_flat(struct diags *d, const struct node *item)
{
	const struct node *first = item->first;
	struct diag *g = diag_add(d, DIAG_ERROR, first->next->key_place, "plugins",
	    "an entry names one plugin");

	if (first->kind == NODE_NULL)
		diag_hint(d, g, "indent the options of " STR_FMT " deeper than its name",
		    STR_ARG(first->key));
	else
		diag_hint(d, g, "begin each plugin with \"- \"");
}

static bool
read_entry(struct config_file *c, struct node *item, struct plugin_entry *e, struct diags *d)
{
	struct node *map = item->kind == NODE_MAP ? item->first : NULL, *empty;
	struct diag *g;

	if (item->kind == NODE_SCALAR) {
		e->plugin = item->text;
		e->place = item->place;
	} else if (map != NULL && map->next == NULL) {
		e->plugin = map->key;
		e->place = map->key_place;
	} else if (map != NULL) {
		refuse_flat(d, item);
		return false;
	} else {
		g = diag_add(d, DIAG_ERROR, item->place, "plugins", "not the name of a plugin");
		diag_hint(d, g, "write - NAME, or - NAME: and its options below, indented");
		return false;
	}
	e->instance = own_name(e->plugin);
	if (!name_valid(e->instance) || memchr(e->plugin.p, '\0', e->plugin.n) != NULL) {
		g = diag_add(d, DIAG_ERROR, e->place, "plugins", "not the name of a plugin");
		diag_hint(d, g, "write - NAME, or - NAME: and its options below, indented");
		return false;
	}
	if (map != NULL && map->kind != NODE_NULL && map->kind != NODE_MAP) {
		g = diag_add(d, DIAG_ERROR, map->place, entry_path(d, e->instance, ""),
		    "%s where a map of options is expected",
		    map->kind == NODE_LIST ? "a list" : "text");
		diag_hint(d, g, "write NAME: VALUE for each option");
		return false;
	}
	if (map != NULL && map->kind == NODE_MAP) {
		read_core_keys(e, map, d);
		e->options = map;
		return true;
	}
	/* without options there is still a place to point at */
	empty = arena_new(&c->arena, struct node);
	empty->kind = NODE_MAP;
	empty->place = e->place;
	e->options = empty;
	return true;
}

static void
read_plugins(struct config_file *c, const struct node *list, struct diags *d)
{
	struct map names = { 0 };
	size_t n = 0;
	struct diag *g;

	if (list->kind == NODE_NULL)
		return;
	if (list->kind != NODE_LIST) {
		g = diag_add(d, DIAG_ERROR, list->place, "plugins", "%s where a list is expected",
		    list->kind == NODE_MAP ? "a map" : "text");
		diag_hint(d, g, "begin each plugin with \"- \"; their order is the order in which they "
		    "are asked");
		return;
	}
	for (const struct node *item = list->first; item != NULL; item = item->next) {
		if (++n > PLUGINS_MAX) {
			g = diag_add(d, DIAG_ERROR, item->place, "plugins", "too many plugins");
			diag_hint(d, g, "at most %d", PLUGINS_MAX);
			return;
		}
	}
	c->plugins = n > 0 ? arena_alloc(&c->arena, n * sizeof *c->plugins) : NULL;
	for (struct node *item = list->first; item != NULL; item = item->next) {
		struct plugin_entry *e = &c->plugins[c->nplugins], *first;

		if (!read_entry(c, item, e, d))
			continue;
		first = map_put(&names, e->instance, e);
		if (first != NULL) {
			g = diag_add(d, DIAG_ERROR, e->place, entry_path(d, e->instance, ""),
			    "there are two of this name");
			diag_hint(d, g, "the first one is in line %d; give one of them another name "
			    "with as: NAME", first->place.line);
		}
		c->nplugins++;
	}
	map_free(&names);
}

/* The tree without `plugins`, which option rows would not know. */
static struct node *
without_plugins(struct config_file *c, struct node **out_plugins)
{
	struct node *top = arena_new(&c->arena, struct node), **end = &top->first;

	*top = *c->root;
	top->first = NULL;
	*out_plugins = NULL;
	for (const struct node *n = c->root->first; n != NULL; n = n->next) {
		struct node *copy = arena_new(&c->arena, struct node);

		*copy = *n;
		copy->next = NULL;
		if (str_is(n->key, "plugins")) {
			*out_plugins = copy;
			continue;
		}
		*end = copy;
		end = &copy->next;
	}
	return top;
}

static void
fill_in(struct config_file *c)
{
	struct settings *s = &c->settings;

	if (s->hostname == NULL) {
		char name[256];

		if (gethostname(name, sizeof name) != 0 || name[0] == '\0')
			name[0] = '\0';
		name[sizeof name - 1] = '\0';
		s->hostname = *name != '\0' ? arena_strndup(&c->arena, name, strlen(name)) :
		    "localhost";
	}
	if (s->plugin_dir == NULL)
		s->plugin_dir = PH_PLUGIN_DIR;
	if (s->control == NULL)
		s->control = arena_printf(&c->arena, "%s/control", s->spool);
	if (s->queue.badmail == NULL)
		s->queue.badmail = arena_printf(&c->arena, "%s/badmail", s->spool);
}

static struct config_file *
config_new(void)
{
	struct config_file *c = mem_new(struct config_file);

	arena_init(&c->arena, 8192);
	return c;
}

static struct config_file *
config_finish(struct config_file *c, struct diags *d, size_t errors)
{
	struct node *top = NULL, *plugins = NULL;

	if (c->root != NULL) {
		top = without_plugins(c, &plugins);
		if (plugins != NULL)
			read_plugins(c, plugins, d);
	}
	(void)option_apply(settings_rows, top, "", &c->settings, &c->arena, d); /* counted in d */
	settings_check(&c->settings, top, d);
	c->mistaken = d->errors != errors;
	if (c->settings.spool != NULL)
		fill_in(c);
	else if (c->settings.plugin_dir == NULL)
		c->settings.plugin_dir = PH_PLUGIN_DIR;
	return c;
}

static struct config_file *
or_nothing(struct config_file *c)
{
	if (c != NULL && c->mistaken)
		config_free(&c);
	return c;
}

struct config_file *
config_load_mistaken(const char *path, struct diags *d)
{
	struct config_file *c = config_new();
	size_t errors = d->errors;

	if (*path != '\0') {
		c->root = node_load_whole(path, NULL, &c->arena, d);
		if (c->root == NULL) {
			config_free(&c);
			return NULL;
		}
	}
	return config_finish(c, d, errors);
}

struct config_file *
config_load(const char *path, struct diags *d)
{
	return or_nothing(config_load_mistaken(path, d));
}

struct config_file *
config_load_text(const char *name, struct ph_str text, struct diags *d)
{
	struct config_file *c = config_new();
	size_t errors = d->errors;

	c->root = node_load_whole(name, &text, &c->arena, d);
	if (c->root == NULL) {
		config_free(&c);
		return NULL;
	}
	return or_nothing(config_finish(c, d, errors));
}

void
config_free(struct config_file **c)
{
	if (*c == NULL)
		return;
	option_wipe(settings_rows, &(*c)->settings);
	arena_reset(&(*c)->arena);
	free(*c);
	*c = NULL;
}
