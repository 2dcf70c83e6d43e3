/*
 * fuzz_config.c - configuration files: whatever the text, a tree or a message,
 * settings or a message, and a report that prints.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/str.h"
#include "config/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct target {
	struct ph_endpoint endpoint;
	struct ph_endpoints endpoints;
	struct ph_networks networks;
	struct ph_strings strings;
	ph_size size;
};

/* The types that the core's own settings do not have. */
static const struct ph_option rows[] = {
	PH_OPT(struct target, endpoint, "endpoint", .doc = "E."),
	PH_OPT(struct target, endpoints, "endpoints", .dflt = "[a:1, \"[::1]:2\"]", .doc = "E."),
	PH_OPT(struct target, networks, "networks", .doc = "N."),
	PH_OPT(struct target, strings, "strings", .max_items = 5, .doc = "S."),
	PH_OPT(struct target, size, "size", .min = "1K", .max = "1G", .doc = "S."),
	PH_OPT_END
};

static void
check_tree(const struct node *n, unsigned depth)
{
	assert(depth <= 17);
	for (const struct node *child = n->first; child != NULL; child = child->next) {
		assert(n->kind == NODE_LIST || n->kind == NODE_MAP);
		assert(child->place.line >= 1 && child->place.col >= 1);
		assert(str_utf8_valid(child->text));
		assert(str_utf8_valid(child->key) || child->key.n == 128);
		check_tree(child, depth + 1);
	}
}

static void
show_all(const struct ph_option *table, const void *base)
{
	struct buf b = { 0 };

	for (const struct ph_option *row = table; row->name != NULL; row++)
		option_show(row, base, &b);
	buf_free(&b);
}

static void
read_tree(struct ph_str text)
{
	struct arena arena;
	struct diags d;
	struct target t = { 0 };
	const struct node *root;

	arena_init(&arena, 4096);
	diags_init(&d);
	root = node_load_text("fuzz.yaml", text, &arena, &d);
	assert((root == NULL) == (d.errors > 0));
	if (root != NULL) {
		check_tree(root, 0);
		if (option_apply(rows, root, "p", &t, &arena, &d) == 0)
			show_all(rows, &t);
	}
	diags_free(&d);
	arena_reset(&arena);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ph_str text = { (const char *)data, size };
	struct config_file *c;
	struct buf report = { 0 };
	struct diags d;

	/* files of the machine are not part of the input */
	if (memmem(data, size, "include", 7) != NULL)
		return 0;
	read_tree(text);
	diags_init(&d);
	c = config_load_text("fuzz.yaml", text, &d);
	assert((c == NULL) == (d.errors > 0));
	if (c != NULL) {
		assert(c->settings.hostname != NULL && c->settings.spool != NULL);
		for (size_t i = 0; i < c->nplugins; i++)
			assert(c->plugins[i].options->kind == NODE_MAP && c->plugins[i].instance.n > 0);
		show_all(settings_rows, &c->settings);
	}
	diags_print(&d, &report);
	assert(str_utf8_valid(buf_view(&report)));
	for (size_t i = 0; i < report.len; i++) {
		unsigned char ch = (unsigned char)report.data[report.head + i];

		assert(ch >= ' ' || ch == '\n' || ch == '\t');
	}
	buf_free(&report);
	diags_free(&d);
	config_free(&c);
	return 0;
}
