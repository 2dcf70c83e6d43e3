/*
 * show.c - a typed value back to text, as it would be written in the file.
 * Secrets show as stars.
 */
#include <arpa/inet.h>
#include <string.h>

#include "base/str.h"
#include "config/option.h"

static void
show_endpoint(const struct ph_endpoint *e, struct buf *out)
{
	if (e->host == NULL)
		return;
	/* a host in brackets reads back as literal; a bare address does too, but
	 * one with colons needs them before a port */
	if (strchr(e->host, ':') != NULL || (e->literal &&
	    inet_addr(e->host) == INADDR_NONE))
		buf_printf(out, "[%s]", e->host);
	else
		buf_adds(out, e->host);
	if (e->port != 0)
		buf_printf(out, ":%u", e->port);
}

static void
show_network(const struct ph_network *n, struct buf *out)
{
	struct ph_addr addr = { .family = n->family };
	char text[PH_ADDR_TEXT];

	memcpy(addr.ip, n->ip, sizeof addr.ip);
	buf_adds(out, ph_addr_text(&addr, text));
	if (n->bits != (n->family == 4 ? 32 : 128))
		buf_printf(out, "/%u", n->bits);
}

static void
show_choice(const struct ph_option *row, int value, struct buf *out)
{
	for (const struct ph_choice *c = row->choices; c != NULL && c->name != NULL; c++) {
		if (c->value == value) {
			buf_adds(out, c->name);
			return;
		}
	}
	buf_printf(out, "%d", value);
}

static void
show_item(const struct ph_option *row, const void *v, size_t i, struct buf *out)
{
	if (row->type == PH_T_STRINGS)
		buf_adds(out, ((const char *const *)v)[i]);
	else if (row->type == PH_T_DURATIONS)
		value_duration_text(((const ph_duration *)v)[i], out);
	else if (row->type == PH_T_ENDPOINTS)
		show_endpoint(&((const struct ph_endpoint *)v)[i], out);
	else
		show_network(&((const struct ph_network *)v)[i], out);
}

static void
show_list(const struct ph_option *row, const void *field, struct buf *out)
{
	struct ph_sections list;

	memcpy(&list, field, sizeof list);
	if (row->type == PH_T_SECTIONS) {
		buf_printf(out, "%zu %s", list.n, list.n == 1 ? "entry" : "entries");
		return;
	}
	buf_addc(out, '[');
	for (size_t i = 0; i < list.n; i++) {
		if (i > 0)
			buf_adds(out, ", ");
		show_item(row, list.v, i, out);
	}
	buf_addc(out, ']');
}

void
option_show(const struct ph_option *row, const void *base, struct buf *out)
{
	const void *field = (const char *)base + row->offset;
	const char *text;

	switch (row->type) {
	case PH_T_BOOL:
		buf_adds(out, *(const bool *)field ? "yes" : "no");
		break;
	case PH_T_INT:
		buf_printf(out, "%lld", (long long)*(const int64_t *)field);
		break;
	case PH_T_STRING:
		text = *(const char *const *)field;
		buf_adds(out, text == NULL ? "" : row->secret ? "***" : text);
		break;
	case PH_T_DURATION:
		value_duration_text(*(const ph_duration *)field, out);
		break;
	case PH_T_SIZE:
		value_size_text(*(const ph_size *)field, out);
		break;
	case PH_T_CHOICE:
		show_choice(row, *(const int *)field, out);
		break;
	case PH_T_ENDPOINT:
		show_endpoint(field, out);
		break;
	case PH_T_SECRET:
		buf_adds(out, ((const struct ph_secret *)field)->p != NULL ? "***" : "");
		break;
	case PH_T_SECTION:
		buf_adds(out, "{");
		for (const struct ph_option *sub = row->rows; sub->name != NULL; sub++) {
			buf_printf(out, "%s%s: ", sub == row->rows ? "" : ", ", sub->name);
			option_show(sub, field, out);
		}
		buf_adds(out, "}");
		break;
	case PH_T_END:
		break;
	default:
		show_list(row, field, out);
		break;
	}
}
