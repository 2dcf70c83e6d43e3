/*
 * describe.c - option rows as prose: the manual page (mdoc) and text for a
 * terminal.  Whatever the rows say about a setting is said here; nothing is
 * said that they do not.
 */
#include <string.h>

#include "base/str.h"
#include "config/settings.h"

#define TEXT_COLUMNS 78
#define TEXT_INDENT  6

static const char *
type_name(const struct ph_option *row)
{
	switch (row->type) {
	case PH_T_BOOL:
		return "yes or no";
	case PH_T_INT:
		return "number";
	case PH_T_STRING:
		return "text";
	case PH_T_DURATION:
		return "duration";
	case PH_T_SIZE:
		return "size";
	case PH_T_CHOICE:
		return "choice";
	case PH_T_ENDPOINT:
		return "host:port";
	case PH_T_SECRET:
		return "secret";
	case PH_T_STRINGS:
		return "list of texts";
	case PH_T_DURATIONS:
		return "list of durations";
	case PH_T_ENDPOINTS:
		return "list of host:port";
	case PH_T_NETWORKS:
		return "list of networks";
	case PH_T_SECTION:
		return "map";
	case PH_T_SECTIONS:
		return "list of maps";
	case PH_T_END:
		break;
	}
	return "";
}

/* "Required." or "Default: 5m, from 1s to 1h." */
static void
add_facts(const struct ph_option *row, struct buf *out)
{
	if (row->type == PH_T_SECTION)
		return;
	if (row->required)
		buf_adds(out, "Required");
	else if (row->dflt != NULL && *row->dflt != '\0')
		buf_printf(out, "Default: %s", row->dflt);
	else if (row->min == NULL && row->max == NULL)
		return;
	else
		buf_adds(out, "No default");
	if (row->dflt != NULL && row->unit != NULL)
		buf_printf(out, " %s", row->unit);
	if (row->min != NULL && row->max != NULL)
		buf_printf(out, ", from %s to %s", row->min, row->max);
	else if (row->min != NULL)
		buf_printf(out, ", at least %s", row->min);
	else if (row->max != NULL)
		buf_printf(out, ", at most %s", row->max);
	buf_addc(out, '.');
}

/* --- manual page --- */

/* Characters that roff would take for its own. */
static void
man_escape(struct ph_str s, bool code, struct buf *out)
{
	if (s.n > 0 && (s.p[0] == '.' || s.p[0] == '\''))
		buf_adds(out, "\\&");
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\\')
			buf_adds(out, "\\e");
		else if (s.p[i] == '-' && code)
			buf_adds(out, "\\-");
		else if (s.p[i] == '"' && code)
			buf_adds(out, "\\(dq");
		else
			buf_addc(out, s.p[i]);
	}
}

/* Each sentence on a line of its own, which is what mdoc wants. */
static void
man_prose(const char *text, struct buf *out)
{
	struct ph_str rest = str_of(text);
	size_t i = 0;

	while (i < rest.n) {
		bool end = rest.p[i] == '.' && i + 2 < rest.n && rest.p[i + 1] == ' ' &&
		    ((rest.p[i + 2] >= 'A' && rest.p[i + 2] <= 'Z') ||
		    (rest.p[i + 2] >= '0' && rest.p[i + 2] <= '9') || rest.p[i + 2] == '"');

		i++;
		if (end) {
			man_escape(str_head(rest, i), false, out);
			buf_addc(out, '\n');
			rest = str_skip(rest, i + 1);
			i = 0;
		}
	}
	if (rest.n > 0) {
		man_escape(rest, false, out);
		buf_addc(out, '\n');
	}
}

static void
man_row(const struct ph_option *row, const char *prefix, struct buf *out)
{
	struct buf facts = { 0 };

	buf_adds(out, ".It Cm ");
	if (*prefix != '\0') {
		man_escape(str_of(prefix), true, out);
		buf_addc(out, '.');
	}
	man_escape(str_of(row->name), true, out);
	buf_printf(out, " : Em %s\n", type_name(row));
	if (row->deprecated)
		buf_adds(out, "Deprecated.\n");
	man_prose(row->doc != NULL ? row->doc : "", out);
	if (row->type == PH_T_CHOICE) {
		buf_adds(out, ".Bl -tag -width Ds -compact\n");
		for (const struct ph_choice *c = row->choices; c->name != NULL; c++) {
			buf_adds(out, ".It Cm ");
			man_escape(str_of(c->name), true, out);
			buf_addc(out, '\n');
			man_prose(c->doc != NULL ? c->doc : "", out);
		}
		buf_adds(out, ".El\n");
	}
	add_facts(row, &facts);
	man_escape(buf_view(&facts), false, out);
	if (facts.len > 0)
		buf_addc(out, '\n');
	buf_free(&facts);
}

static void
man_rows(const struct ph_option *rows, const char *prefix, struct buf *out)
{
	for (; rows != NULL && rows->name != NULL; rows++) {
		struct buf path = { 0 };

		man_row(rows, prefix, out);
		if (rows->type != PH_T_SECTION && rows->type != PH_T_SECTIONS)
			continue;
		buf_printf(&path, "%s%s%s", prefix, *prefix != '\0' ? "." : "", rows->name);
		buf_addc(&path, '\0');
		man_rows(rows->rows, path.data, out);
		buf_free(&path);
	}
}

void
describe_man_options(const struct ph_option *rows, const char *prefix, struct buf *out)
{
	if (rows == NULL || rows->name == NULL)
		return;
	buf_adds(out, ".Bl -tag -width Ds\n");
	man_rows(rows, prefix, out);
	buf_adds(out, ".El\n");
}

static const char man_head[] =
	".\\\" Printed by `posthouse explain --man` from the option tables.\n"
	".Dd November 24, 2026\n"
	".Dt POSTHOUSE.YAML 5\n"
	".Os\n"
	".Sh NAME\n"
	".Nm posthouse.yaml\n"
	".Nd configuration of the SMTP relay posthouse\n"
	".Sh DESCRIPTION\n"
	"The configuration of\n"
	".Xr posthouse 8\n"
	"is a YAML file.\n"
	"Every setting has a default, so a file holds what differs:\n"
	".Bd -literal -offset indent\n"
	"hostname: relay.example.com\n"
	"listen:\n"
	"  \\- address: 127.0.0.1:25\n"
	"plugins:\n"
	"  \\- auth\\-anonymous\n"
	"  \\- relay\\-access:\n"
	"      allow: [127.0.0.0/8, \\(dq::1\\(dq]\n"
	"  \\- smarthost:\n"
	"      hosts: [\\(dqsmarthost.example.com\\(dq]\n"
	".Ed\n"
	".Pp\n"
	"Mistakes are reported all at once, each with file, line and column, by\n"
	".Xr posthouse-check 8 ,\n"
	"at start and at reload.\n"
	"A reload with a mistake leaves the running configuration in force.\n"
	".Pp\n"
	"Aliases, tags, a name written twice, tabs that indent, further documents and\n"
	"bytes that are not UTF-8 are mistakes.\n"
	"A file has at most 1 MiB.\n"
	".Sh VALUES\n"
	".Bl -tag -width Ds\n"
	".It Em yes or no\n"
	"Also true, false, on, off.\n"
	".It Em duration\n"
	"A number and a unit: ms, s, m, h, d or w, for example 500ms, 5s, 2d; also 1h30m.\n"
	".It Em size\n"
	"Bytes, or a number with K, M, G or T (powers of 1024), for example 512 or 64K.\n"
	".It Em host:port\n"
	"For example smtp.example.com:25 or 192.0.2.1:25.\n"
	"An IPv6 address stands in brackets.\n"
	"A name in brackets means the host itself, without asking for its MX records.\n"
	"Values that begin with [ or * need quotes in YAML.\n"
	".It Em network\n"
	"An address, or an address and a prefix length, for example 10.0.0.0/8.\n"
	".It Em secret\n"
	"The name of a file that holds the value, or credential:NAME for a credential of\n"
	"the service manager (LoadCredential= in the systemd unit), or env:NAME for a\n"
	"variable of the environment.\n"
	"Secrets are never printed.\n"
	".It Em list\n"
	"A single value is taken for a list of one.\n"
	".El\n"
	".Sh SETTINGS\n";

static const char man_plugins_head[] =
	".Sh INCLUDED FILES\n"
	".Bl -tag -width Ds\n"
	".It Cm include : Em list of texts\n"
	"Other files whose settings stand in place of the\n"
	".Cm include ,\n"
	"which is possible at the top level.\n"
	"A relative name belongs to the directory of the file that names it; names may hold\n"
	"the wildcards * and ?.\n"
	"Lists of the same name (plugins, listen) are joined in order; another name may be\n"
	"written once in all files.\n"
	".El\n"
	".Sh PLUGINS\n"
	"The list\n"
	".Cm plugins\n"
	"names the plugins that are in use, in the order in which they are asked.\n"
	"An entry is a name, or a name and its options below it, indented.\n"
	"Besides the options of its plugin each entry may have:\n"
	".Bl -tag -width Ds\n"
	".It Cm as : Em text\n"
	"Another name for this instance, needed when a plugin is used more than once.\n"
	".It Cm on\\-failure : Em choice\n"
	"What happens when the plugin fails or does not answer in time:\n"
	".Cm defer ,\n"
	"the default, answers 451;\n"
	".Cm continue\n"
	"goes on as if the plugin were not there.\n"
	".El\n";

void
describe_man(struct buf *out)
{
	buf_adds(out, man_head);
	describe_man_options(settings_rows, "", out);
	buf_adds(out, man_plugins_head);
}

void
describe_man_plugins(const struct describe_plugin *v, size_t n, struct buf *out)
{
	for (size_t i = 0; i < n; i++) {
		buf_adds(out, ".Ss ");
		man_escape(str_of(v[i].name), true, out);
		buf_addc(out, '\n');
		if (v[i].summary != NULL) {
			man_escape(str_of(v[i].summary), false, out);
			buf_adds(out, ".\n");
		}
		describe_man_options(v[i].rows, "", out);
	}
	buf_adds(out, ".Sh SEE ALSO\n.Xr posthouse-check 8 ,\n.Xr posthouse-plugins 8 ,\n"
	    ".Xr posthouse 8\n");
}

/* --- terminal --- */

static void
text_wrapped(const char *text, unsigned indent, struct buf *out)
{
	struct ph_str rest = str_of(text), word;
	size_t column = 0;

	while (rest.n > 0) {
		word = str_cut(rest, ' ', &rest);
		if (word.n == 0)
			continue;
		if (column == 0 || column + 1 + word.n > TEXT_COLUMNS) {
			if (column > 0)
				buf_addc(out, '\n');
			buf_printf(out, "%*s", (int)indent, "");
			column = indent;
		} else {
			buf_addc(out, ' ');
			column++;
		}
		buf_addstr(out, word);
		column += word.n;
	}
	if (column > 0)
		buf_addc(out, '\n');
}

static void
text_rows(const struct ph_option *rows, unsigned indent, struct buf *out)
{
	for (; rows != NULL && rows->name != NULL; rows++) {
		struct buf facts = { 0 };

		buf_printf(out, "%*s%s: %s%s\n", (int)indent, "", rows->name, type_name(rows),
		    rows->deprecated ? " (deprecated)" : "");
		if (rows->doc != NULL)
			text_wrapped(rows->doc, indent + TEXT_INDENT, out);
		for (const struct ph_choice *c = rows->type == PH_T_CHOICE ? rows->choices : NULL;
		    c != NULL && c->name != NULL; c++)
			buf_printf(out, "%*s%-10s %s\n", (int)indent + TEXT_INDENT + 2, "", c->name,
			    c->doc != NULL ? c->doc : "");
		add_facts(rows, &facts);
		buf_addc(&facts, '\0');
		text_wrapped(facts.data, indent + TEXT_INDENT, out);
		buf_free(&facts);
		if (rows->type == PH_T_SECTION || rows->type == PH_T_SECTIONS)
			text_rows(rows->rows, indent + 2, out);
	}
}

void
describe_text(const struct ph_option *rows, struct buf *out)
{
	text_rows(rows, 0, out);
}
