/*
 * describe.c - `posthouse plugins`: which instances there are, from where, and
 * who runs on which hook and provides what, in order.
 */
#include <string.h>

#include "base/str.h"
#include "plugin/loader.h"
#include "plugin/private.h"

static void
json_text(struct buf *out, const char *s)
{
	buf_addc(out, '"');
	for (; *s != '\0'; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '"' || c == '\\') {
			buf_addc(out, '\\');
			buf_addc(out, (char)c);
		} else if (c < 0x20) {
			buf_printf(out, "\\u%04x", c);
		} else {
			buf_addc(out, (char)c);
		}
	}
	buf_addc(out, '"');
}

static const char *
version_of(const struct instance *inst)
{
	return inst->plugin->version != NULL ? inst->plugin->version : PH_VERSION;
}

static const struct { const char *what; size_t offset; } provided_kinds[] = {
	{ "router", offsetof(struct generation, routers) },
	{ "transport security", offsetof(struct generation, secures) },
	{ "SASL mechanism", offsetof(struct generation, mechanisms) },
	{ "password checker", offsetof(struct generation, checkers) },
};
enum { KINDS = sizeof provided_kinds / sizeof provided_kinds[0] };

static const struct provided_list *
provided_of(const struct generation *g, size_t kind)
{
	return (const struct provided_list *)((const char *)g + provided_kinds[kind].offset);
}

/* "PLAIN" of a mechanism; NULL for what has no name of its own. */
static const char *
provided_name(const struct generation *g, size_t kind, const struct provided *p)
{
	return provided_of(g, kind) == &g->mechanisms
	       ? ((const struct ph_mechanism *)p->ops)->name : NULL;
}

static void
describe_json(const struct generation *g, struct buf *out)
{
	buf_adds(out, "{\"plugins\":[");
	for (size_t i = 0; i < g->ninstances; i++) {
		const struct instance *inst = &g->instances[i];

		buf_adds(out, i > 0 ? ",{\"name\":" : "{\"name\":");
		json_text(out, inst->name);
		buf_adds(out, ",\"plugin\":");
		json_text(out, inst->plugin->name);
		buf_adds(out, ",\"version\":");
		json_text(out, version_of(inst));
		buf_adds(out, ",\"from\":");
		json_text(out, loader_path(inst->file));
		buf_adds(out, ",\"on-failure\":");
		json_text(out, inst->fail_continue ? "continue" : "defer");
		buf_adds(out, ",\"summary\":");
		json_text(out, inst->plugin->summary != NULL ? inst->plugin->summary : "");
		buf_addc(out, '}');
	}
	buf_adds(out, "],\"hooks\":{");
	for (size_t h = 0; h < PH_HOOK_COUNT; h++) {
		if (h > 0)
			buf_addc(out, ',');
		json_text(out, hook_name((enum ph_hook)h));
		buf_adds(out, ":[");
		for (size_t i = 0; i < g->hooks[h].n; i++) {
			if (i > 0)
				buf_addc(out, ',');
			json_text(out, g->hooks[h].v[i].inst->name);
		}
		buf_addc(out, ']');
	}
	buf_adds(out, "},\"providers\":[");
	for (size_t k = 0, n = 0; k < KINDS; k++) {
		const struct provided_list *l = provided_of(g, k);

		for (size_t i = 0; i < l->n; i++, n++) {
			const char *name = provided_name(g, k, &l->v[i]);

			buf_adds(out, n > 0 ? ",{\"kind\":" : "{\"kind\":");
			json_text(out, provided_kinds[k].what);
			if (name != NULL) {
				buf_adds(out, ",\"mechanism\":");
				json_text(out, name);
			}
			buf_adds(out, ",\"by\":");
			json_text(out, l->v[i].inst->name);
			buf_addc(out, '}');
		}
	}
	buf_adds(out, "]}\n");
}

static void
pad_to(struct buf *out, size_t column, size_t written)
{
	buf_addc(out, ' ');
	for (written++; written < column; written++)
		buf_addc(out, ' ');
}

static void
cell(struct buf *out, const char *s, size_t width)
{
	buf_adds(out, s);
	pad_to(out, width, strlen(s));
}

static void
describe_instances(const struct generation *g, struct buf *out)
{
	size_t name = 10, version = 9, from = 6;

	for (size_t i = 0; i < g->ninstances; i++) {
		const struct instance *inst = &g->instances[i];
		size_t n = strlen(inst->name) + 2, f = strlen(loader_path(inst->file)) + 2;
		size_t v = strlen(version_of(inst)) + 2;

		name = n > name ? n : name;
		from = f > from ? f : from;
		version = v > version ? v : version;
	}
	cell(out, "INSTANCE", name);
	cell(out, "VERSION", version);
	cell(out, "FROM", from);
	buf_adds(out, "WHAT IT DOES\n");
	for (size_t i = 0; i < g->ninstances; i++) {
		const struct instance *inst = &g->instances[i];

		cell(out, inst->name, name);
		cell(out, version_of(inst), version);
		cell(out, loader_path(inst->file), from);
		buf_printf(out, "%s%s\n", inst->plugin->summary != NULL ? inst->plugin->summary : "",
		    inst->fail_continue ? " (on-failure: continue)" : "");
	}
}

static void
describe_table(const struct generation *g, struct buf *out)
{
	if (g->ninstances == 0) {
		buf_adds(out, "no plugins: without one that admits clients, MAIL is answered 530\n");
		return;
	}
	describe_instances(g, out);
	buf_adds(out, "\nHOOK       WHO IS ASKED OR TOLD, IN ORDER\n");
	for (size_t h = 0; h < PH_HOOK_COUNT; h++) {
		if (g->hooks[h].n == 0)
			continue;
		cell(out, hook_name((enum ph_hook)h), 11);
		for (size_t i = 0; i < g->hooks[h].n; i++)
			buf_printf(out, "%s%s", i > 0 ? ", " : "", g->hooks[h].v[i].inst->name);
		buf_addc(out, '\n');
	}
	for (size_t k = 0, n = 0; k < KINDS; k++) {
		const struct provided_list *l = provided_of(g, k);

		for (size_t i = 0; i < l->n; i++, n++) {
			const char *name = provided_name(g, k, &l->v[i]);

			if (n == 0)
				buf_adds(out, "\nPROVIDER            BY\n");
			cell(out, name != NULL ? name : provided_kinds[k].what, 20);
			buf_printf(out, "%s\n", l->v[i].inst->name);
		}
	}
}

void
generation_describe(const struct generation *g, bool json, struct buf *out)
{
	if (json)
		describe_json(g, out);
	else
		describe_table(g, out);
}
