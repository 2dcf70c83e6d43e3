/*
 * describe_schema.c - option rows as a JSON Schema (draft 2020-12), with
 * which editors complete and check the file.
 *
 * The schema accepts whatever the daemon accepts as far as a schema can tell: plugins
 * that it does not know, numbers and booleans where text is wanted, a single
 * value for a list.
 */
#include <string.h>

#include "base/str.h"
#include "config/settings.h"

/* A writer that keeps commas and indentation. */
struct json { struct buf *out; unsigned depth; bool first; };

static void
json_text(struct json *j, struct ph_str s)
{
	buf_addc(j->out, '"');
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c == '"' || c == '\\')
			buf_addc(j->out, '\\');
		if (c < ' ')
			buf_printf(j->out, "\\u%04x", c);
		else
			buf_addc(j->out, (char)c);
	}
	buf_addc(j->out, '"');
}

static void
json_item(struct json *j)
{
	buf_adds(j->out, j->first ? "\n" : ",\n");
	buf_printf(j->out, "%*s", (int)j->depth * 2, "");
	j->first = false;
}

static void
json_key(struct json *j, const char *key)
{
	json_item(j);
	json_text(j, str_of(key));
	buf_adds(j->out, ": ");
}

static void
json_open(struct json *j, char bracket)
{
	buf_addc(j->out, bracket);
	j->depth++;
	j->first = true;
}

static void
json_close(struct json *j, char bracket)
{
	j->depth--;
	if (!j->first) {
		buf_addc(j->out, '\n');
		buf_printf(j->out, "%*s", (int)j->depth * 2, "");
	}
	buf_addc(j->out, bracket);
	j->first = false;
}

static void
json_pair(struct json *j, const char *key, const char *text)
{
	json_key(j, key);
	json_text(j, str_of(text));
}

static void
json_raw(struct json *j, const char *key, const char *raw)
{
	json_key(j, key);
	buf_adds(j->out, raw);
}

static void schema_rows(struct json *j, const struct ph_option *rows, bool in_plugin);

/* What one value of the row's type looks like, or one element of its list. */
static void
schema_value(struct json *j, const struct ph_option *row)
{
	switch (row->type) {
	case PH_T_BOOL:
		json_raw(j, "enum", "[true, false, \"yes\", \"no\", \"on\", \"off\"]");
		break;
	case PH_T_INT:
		json_pair(j, "type", "integer");
		if (row->min != NULL)
			json_raw(j, "minimum", row->min);
		if (row->max != NULL)
			json_raw(j, "maximum", row->max);
		break;
	case PH_T_DURATION:
	case PH_T_DURATIONS:
		json_raw(j, "type", "[\"string\", \"integer\"]");
		json_pair(j, "pattern", "^(0|([0-9]+(w|d|h|m|s|ms))+)$");
		json_raw(j, "maximum", "0");
		break;
	case PH_T_SIZE:
		json_raw(j, "type", "[\"string\", \"integer\"]");
		json_pair(j, "pattern", "^[0-9]+[KMGTkmgt]?$");
		json_raw(j, "minimum", "0");
		break;
	case PH_T_CHOICE:
		json_key(j, "enum");
		json_open(j, '[');
		for (const struct ph_choice *c = row->choices; c->name != NULL; c++) {
			json_item(j);
			json_text(j, str_of(c->name));
		}
		json_close(j, ']');
		break;
	case PH_T_STRING:
	case PH_T_STRINGS:
		json_raw(j, "type", "[\"string\", \"number\", \"boolean\"]");
		break;
	case PH_T_SECTIONS:
		schema_rows(j, row->rows, false);
		break;
	default:
		json_pair(j, "type", "string");
		break;
	}
}

static bool
is_list(const struct ph_option *row)
{
	return row->type == PH_T_STRINGS || row->type == PH_T_DURATIONS ||
	    row->type == PH_T_ENDPOINTS || row->type == PH_T_NETWORKS ||
	    row->type == PH_T_SECTIONS;
}

static void
schema_list(struct json *j, const struct ph_option *row)
{
	json_key(j, "anyOf");
	json_open(j, '[');
	json_item(j);
	json_open(j, '{');
	json_pair(j, "type", "array");
	json_key(j, "items");
	json_open(j, '{');
	schema_value(j, row);
	json_close(j, '}');
	json_key(j, "maxItems");
	buf_printf(j->out, "%lld", (long long)(row->max_items > 0 ? row->max_items : 1000));
	json_close(j, '}');
	json_item(j);
	json_open(j, '{');
	schema_value(j, row);
	json_close(j, '}');
	json_item(j);
	json_open(j, '{');
	json_pair(j, "type", "null");
	json_close(j, '}');
	json_close(j, ']');
}

/* Editors insert the default, so it has the type that is written. */
static void
schema_default(struct json *j, const struct ph_option *row)
{
	struct ph_str rest = str_of(row->dflt);
	bool yes;
	const char *why;

	if (row->dflt == NULL || row->type == PH_T_SECTIONS || row->type == PH_T_SECTION)
		return;
	if (row->type == PH_T_INT) {
		json_raw(j, "default", row->dflt);
		return;
	}
	if (row->type == PH_T_BOOL && value_bool(rest, &yes, &why) == 0) {
		json_raw(j, "default", yes ? "true" : "false");
		return;
	}
	if (!is_list(row)) {
		json_pair(j, "default", row->dflt);
		return;
	}
	if (rest.n >= 2 && rest.p[0] == '[')
		rest = str_make(rest.p + 1, rest.n - 2);
	json_key(j, "default");
	json_open(j, '[');
	while (rest.n > 0) {
		struct ph_str item = str_trim(str_cut(rest, ',', &rest));

		if (item.n >= 2 && (item.p[0] == '"' || item.p[0] == '\''))
			item = str_make(item.p + 1, item.n - 2);
		json_item(j);
		json_text(j, item);
	}
	json_close(j, ']');
}

static void
schema_row(struct json *j, const struct ph_option *row)
{
	struct buf doc = { 0 };

	json_key(j, row->name);
	json_open(j, '{');
	buf_adds(&doc, row->doc != NULL ? row->doc : "");
	if (row->min != NULL || row->max != NULL)
		buf_printf(&doc, " From %s to %s.", row->min != NULL ? row->min : "any",
		    row->max != NULL ? row->max : "any");
	json_key(j, "description");
	json_text(j, buf_view(&doc));
	buf_free(&doc);
	if (row->deprecated)
		json_raw(j, "deprecated", "true");
	schema_default(j, row);
	if (row->type == PH_T_SECTION)
		schema_rows(j, row->rows, false);
	else if (is_list(row))
		schema_list(j, row);
	else
		schema_value(j, row);
	json_close(j, '}');
}

static void
core_keys(struct json *j)
{
	json_key(j, "as");
	json_open(j, '{');
	json_pair(j, "description", "Another name for this instance of the plugin.");
	json_pair(j, "type", "string");
	json_close(j, '}');
	json_key(j, "on-failure");
	json_open(j, '{');
	json_pair(j, "description", "What happens when the plugin fails or is silent: defer answers 451, "
	    "continue goes on as if it were not there.");
	json_raw(j, "enum", "[\"defer\", \"continue\"]");
	json_pair(j, "default", "defer");
	json_close(j, '}');
}

static void
schema_rows(struct json *j, const struct ph_option *rows, bool in_plugin)
{
	bool any = false;

	json_raw(j, "type", "[\"object\", \"null\"]");
	json_raw(j, "additionalProperties", "false");
	json_key(j, "properties");
	json_open(j, '{');
	for (const struct ph_option *row = rows; row != NULL && row->name != NULL; row++) {
		schema_row(j, row);
		any |= row->required;
	}
	if (in_plugin)
		core_keys(j);
	json_close(j, '}');
	if (!any)
		return;
	json_key(j, "required");
	json_open(j, '[');
	for (const struct ph_option *row = rows; row->name != NULL; row++) {
		if (row->required) {
			json_item(j);
			json_text(j, str_of(row->name));
		}
	}
	json_close(j, ']');
}

static void
schema_plugins(struct json *j, const struct describe_plugin *v, size_t n)
{
	json_key(j, "plugins");
	json_open(j, '{');
	json_pair(j, "description",
	    "The plugins that are in use, in the order in which they are asked.");
	json_raw(j, "type", "[\"array\", \"null\"]");
	json_key(j, "items");
	json_open(j, '{');
	json_key(j, "anyOf");
	json_open(j, '[');
	for (size_t i = 0; i < n; i++) {
		json_item(j);
		json_open(j, '{');
		json_pair(j, "const", v[i].name);
		json_pair(j, "description", v[i].summary != NULL ? v[i].summary : "");
		json_close(j, '}');
	}
	json_item(j);
	json_open(j, '{');
	json_pair(j, "type", "string");
	json_close(j, '}');
	json_item(j);
	json_open(j, '{');
	json_pair(j, "type", "object");
	json_raw(j, "minProperties", "1");
	json_raw(j, "maxProperties", "1");
	json_key(j, "properties");
	json_open(j, '{');
	for (size_t i = 0; i < n; i++) {
		json_key(j, v[i].name);
		json_open(j, '{');
		json_pair(j, "description", v[i].summary != NULL ? v[i].summary : "");
		schema_rows(j, v[i].rows, true);
		json_close(j, '}');
	}
	json_close(j, '}');
	json_raw(j, "additionalProperties", "{ \"type\": [\"object\", \"null\"] }");
	json_close(j, '}');
	json_close(j, ']');
	json_close(j, '}');
	json_close(j, '}');
}

void
describe_schema(const struct describe_plugin *v, size_t n, struct buf *out)
{
	struct json j = { out, 0, true };

	json_open(&j, '{');
	json_pair(&j, "$schema", "https://json-schema.org/draft/2020-12/schema");
	json_pair(&j, "title", "posthouse.yaml");
	json_pair(&j, "description", "Configuration of the SMTP relay posthouse.");
	json_pair(&j, "type", "object");
	json_raw(&j, "additionalProperties", "false");
	json_key(&j, "properties");
	json_open(&j, '{');
	for (const struct ph_option *row = settings_rows; row->name != NULL; row++)
		schema_row(&j, row);
	json_key(&j, "include");
	json_open(&j, '{');
	json_pair(&j, "description", "Other files whose settings stand in place of this one.");
	json_raw(&j, "type", "[\"array\", \"string\", \"null\"]");
	json_raw(&j, "items", "{ \"type\": \"string\" }");
	json_close(&j, '}');
	schema_plugins(&j, v, n);
	json_close(&j, '}');
	json_close(&j, '}');
	buf_addc(out, '\n');
}
