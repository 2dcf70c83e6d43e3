/*
 * opt.c - reads a command line by its table and prints the table as help.
 * Long options take "--name value" and "--name=value", short ones may be
 * gathered ("-vt host") and may touch their value ("-thost"); operands may
 * stand anywhere.  It knows nothing of what commands do.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <math.h>
#include <sysexits.h>
#include "base/abort.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/opt.h"
#include "config/option.h"

enum { HELP_INDENT = 28, HELP_WIDTH = 80 };

struct parse {
	const struct opt_command *cmd;
	void *out;
	bool help;
};

static bool
row_is_end(const struct opt *row)
{
	return row->kind == OPT_NONE && row->doc == NULL;
}

static bool
row_takes_value(const struct opt *row)
{
	return row->kind != OPT_SET && row->kind != OPT_CLEAR && row->kind != OPT_COUNT;
}

int
opt_complain(const struct opt_command *cmd, const char *fmt, ...)
{
	struct buf text = { 0 };
	va_list ap;

	buf_printf(&text, "posthouse %s: ", cmd->name);
	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	buf_printf(&text, "\nTry 'posthouse %s --help'.\n", cmd->name);
	(void)fwrite(text.data + text.head, 1, text.len, stderr);
	buf_free(&text);
	return EX_USAGE;
}

void
opt_list_add(struct opt_list *l, const char *s)
{
	/* powers of two, without a field for the capacity */
	if ((l->n & (l->n - 1)) == 0)
		l->v = mem_realloc(l->v, (l->n == 0 ? 1 : l->n * 2) * sizeof *l->v);
	l->v[l->n++] = s;
}

void
opt_list_free(struct opt_list *l)
{
	free(l->v);
	*l = (struct opt_list){ 0 };
}

/* --- values --- */

static const char *
check_bounds(const struct opt *row, double value)
{
	if (row->min == 0 && row->max == 0)
		return value < 0 ? "must not be negative" : NULL;
	if (value < (double)row->min)
		return "is too small";
	if (row->max != 0 && value > (double)row->max)
		return "is too large";
	return NULL;
}

static const char *
take_choice(const struct opt *row, const char *text, int *out)
{
	for (int i = 0; row->choices[i] != NULL; i++)
		if (str_is(str_of(text), row->choices[i])) {
			*out = i;
			return NULL;
		}
	return "is none of the choices";
}

static const char *
take_real(const char *text, double *out)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end != '\0' || !isfinite(value))
		return "is not a number";
	*out = value;
	return NULL;
}

/* Stores the value; NULL, or what is wrong with it. */
static const char *
take_value(const struct opt *row, void *out, const char *text)
{
	void *field = (char *)out + row->offset;
	const char *why = NULL;
	int64_t i = 0;
	double real = 0;
	ph_size size = { 0 };
	ph_duration span = { 0 };

	switch (row->kind) {
	case OPT_TEXT:
		*(const char **)field = text;
		return NULL;
	case OPT_LIST:
		opt_list_add(field, text);
		return NULL;
	case OPT_CHOICE:
		return take_choice(row, text, field);
	case OPT_INT:
		if (value_int(str_of(text), &i, &why) != 0 ||
		    (why = check_bounds(row, (double)i)) != NULL)
			return why;
		*(int64_t *)field = i;
		return NULL;
	case OPT_REAL:
		if ((why = take_real(text, &real)) != NULL ||
		    (why = check_bounds(row, real)) != NULL)
			return why;
		*(double *)field = real;
		return NULL;
	case OPT_SIZE:
		if (value_size(str_of(text), &size, &why) != 0 ||
		    (why = check_bounds(row, (double)size.bytes)) != NULL)
			return why;
		*(ph_size *)field = size;
		return NULL;
	case OPT_DURATION:
		if (value_duration(str_of(text), &span, &why) != 0 ||
		    (why = check_bounds(row, (double)span.ms)) != NULL)
			return why;
		*(ph_duration *)field = span;
		return NULL;
	case OPT_NONE: case OPT_SET: case OPT_CLEAR: case OPT_COUNT:
		break;
	}
	return "takes no value";
}

static void
take_flag(const struct opt *row, void *out)
{
	void *field = (char *)out + row->offset;

	if (row->kind == OPT_COUNT)
		++*(int *)field;
	else
		*(bool *)field = row->kind == OPT_SET;
}

static void
add_choices(const struct opt *row, struct buf *out)
{
	for (int i = 0; row->choices[i] != NULL; i++)
		buf_printf(out, "%s%s", i == 0 ? "" : ", ", row->choices[i]);
}

static int
complain_value(const struct parse *p, const struct opt *row, const char *text, const char *why)
{
	struct buf hint = { 0 };
	int rc;

	if (row->kind == OPT_CHOICE) {
		buf_adds(&hint, ": ");
		add_choices(row, &hint);
	}
	rc = row->name != NULL ? opt_complain(p->cmd, "--%s: \"%s\" %s" STR_FMT, row->name, text,
				     why, STR_ARG(buf_view(&hint)))
			       : opt_complain(p->cmd, "-%c: \"%s\" %s" STR_FMT, row->letter, text,
				     why, STR_ARG(buf_view(&hint)));
	buf_free(&hint);
	return rc;
}

/* --- looking up --- */

static const struct opt *
find_long(const struct opt *rows, struct ph_str name)
{
	for (; !row_is_end(rows); rows++)
		if (rows->kind != OPT_NONE && rows->name != NULL && str_is(name, rows->name))
			return rows;
	return NULL;
}

static const struct opt *
find_letter(const struct opt *rows, char letter)
{
	for (; !row_is_end(rows); rows++)
		if (rows->kind != OPT_NONE && rows->letter == letter)
			return rows;
	return NULL;
}

static const char *
nearest(const struct opt *rows, struct ph_str name)
{
	const char *best = NULL;
	unsigned least = 4, distance;

	for (; !row_is_end(rows); rows++) {
		if (rows->kind == OPT_NONE || rows->name == NULL)
			continue;
		distance = str_distance(name, str_of(rows->name), least);
		if (distance < least) {
			least = distance;
			best = rows->name;
		}
	}
	return best;
}

static int
complain_unknown(const struct parse *p, struct ph_str name)
{
	const char *guess = nearest(p->cmd->rows, name);

	if (guess != NULL)
		return opt_complain(p->cmd, "--" STR_FMT ": no such option; did you mean --%s?",
		    STR_ARG(name), guess);
	return opt_complain(p->cmd, "--" STR_FMT ": no such option", STR_ARG(name));
}

/* --- parsing --- */

/* *next is the argument behind, taken (and set NULL) when it is the value. */
static int
parse_long(struct parse *p, const char *word, const char **next)
{
	struct ph_str value, name = str_cut(str_of(word), '=', &value);
	const struct opt *row = find_long(p->cmd->rows, name);
	const char *text = value.p, *why;

	if (row == NULL) {
		if (str_is(name, "help")) {
			p->help = true;
			return OPT_GO_ON;
		}
		return complain_unknown(p, name);
	}
	if (!row_takes_value(row)) {
		if (text != NULL)
			return opt_complain(p->cmd, "--%s: takes no value", row->name);
		take_flag(row, p->out);
		return OPT_GO_ON;
	}
	if (text == NULL) {
		if (*next == NULL)
			return opt_complain(p->cmd, "--%s: %s is missing", row->name, row->arg);
		text = *next;
		*next = NULL;
	}
	why = take_value(row, p->out, text);
	return why != NULL ? complain_value(p, row, text, why) : OPT_GO_ON;
}

static int
parse_short(struct parse *p, const char *letters, const char **next)
{
	for (; *letters != '\0'; letters++) {
		const struct opt *row = find_letter(p->cmd->rows, *letters);
		const char *text, *why;

		if (row == NULL && *letters == 'h') {
			p->help = true;
			continue;
		}
		if (row == NULL)
			return opt_complain(p->cmd, "-%c: no such option", *letters);
		if (!row_takes_value(row)) {
			take_flag(row, p->out);
			continue;
		}
		text = letters[1] != '\0' ? letters + 1 : *next;
		if (text == NULL)
			return opt_complain(p->cmd, "-%c: %s is missing", *letters, row->arg);
		if (text == *next)
			*next = NULL;
		why = take_value(row, p->out, text);
		return why != NULL ? complain_value(p, row, text, why) : OPT_GO_ON;
	}
	return OPT_GO_ON;
}

static void
apply_defaults(const struct opt_command *cmd, void *out)
{
	for (const struct opt *row = cmd->rows; !row_is_end(row); row++)
		if (row->kind != OPT_NONE && row->dflt != NULL)
			ph_assert(take_value(row, out, row->dflt) == NULL);
}

int
opt_parse(
    const struct opt_command *cmd, int argc, char **argv, void *out, struct opt_list *operands)
{
	struct parse p = { cmd, out, false };
	bool only_operands = false;

	apply_defaults(cmd, out);
	for (int i = 1; i < argc; i++) {
		const char *word = argv[i], *next = i + 1 < argc ? argv[i + 1] : NULL;
		const char *offered = next;
		int rc = OPT_GO_ON;

		if (only_operands || word[0] != '-' || word[1] == '\0') {
			if (operands == NULL)
				return opt_complain(cmd, "\"%s\" is not wanted here", word);
			opt_list_add(operands, word);
			continue;
		}
		if (word[1] == '-' && word[2] == '\0')
			only_operands = true;
		else if (word[1] == '-')
			rc = parse_long(&p, word + 2, &next);
		else
			rc = parse_short(&p, word + 1, &next);
		if (rc != OPT_GO_ON)
			return rc;
		if (offered != NULL && next == NULL)
			i++;
	}
	if (p.help) {
		struct buf text = { 0 };

		opt_help(cmd, &text);
		(void)fwrite(text.data + text.head, 1, text.len, stdout);
		buf_free(&text);
		return EX_OK;
	}
	return OPT_GO_ON;
}

/* --- help --- */

static void
pad_to(struct buf *out, size_t *col, size_t want)
{
	for (; *col < want; ++*col)
		buf_addc(out, ' ');
}

/* Words of text from column *col on, wrapped, each line at indent. */
static void
wrap(struct buf *out, size_t *col, size_t indent, struct ph_str text)
{
	while (text.n > 0) {
		struct ph_str rest, word = str_cut(text, ' ', &rest);

		if (*col > indent && *col + 1 + word.n > HELP_WIDTH) {
			buf_addc(out, '\n');
			*col = 0;
		}
		if (*col > indent) {
			buf_addc(out, ' ');
			++*col;
		}
		pad_to(out, col, indent);
		buf_addstr(out, word);
		*col += word.n;
		text = rest;
	}
}

static void
help_row(const struct opt *row, struct buf *out)
{
	struct buf text = { 0 };
	size_t start = out->len, col;

	if (row->letter != 0)
		buf_printf(out, "  -%c%s", row->letter, row->name != NULL ? ", " : "");
	else
		buf_adds(out, "      ");
	if (row->name != NULL)
		buf_printf(out, "--%s", row->name);
	if (row->arg != NULL)
		buf_printf(out, " %s", row->arg);
	col = out->len - start;
	if (col + 2 > HELP_INDENT) {
		buf_addc(out, '\n');
		col = 0;
	}
	pad_to(out, &col, HELP_INDENT);
	buf_adds(&text, row->doc);
	if (row->kind == OPT_CHOICE) {
		buf_adds(&text, " One of: ");
		add_choices(row, &text);
		buf_addc(&text, '.');
	}
	if (row->kind == OPT_LIST)
		buf_adds(&text, " May be repeated.");
	if (row->dflt != NULL)
		buf_printf(&text, " [%s]", row->dflt);
	wrap(out, &col, HELP_INDENT, buf_view(&text));
	buf_addc(out, '\n');
	buf_free(&text);
}

void
opt_help(const struct opt_command *cmd, struct buf *out)
{
	size_t col = 0;
	bool seen_help = false;

	buf_printf(out, "Usage: posthouse %s %s\n", cmd->name, cmd->usage);
	wrap(out, &col, 0, str_of(cmd->about));
	buf_adds(out, "\n\n");
	if (cmd->rows->kind != OPT_NONE || row_is_end(cmd->rows))
		buf_adds(out, "Options:\n");
	for (const struct opt *row = cmd->rows; !row_is_end(row); row++) {
		if (row->kind == OPT_NONE)
			buf_printf(out, "%s%s:\n", row == cmd->rows ? "" : "\n", row->doc);
		else
			help_row(row, out);
		seen_help |= row->name != NULL && str_is(str_of(row->name), "help");
	}
	if (!seen_help)
		help_row(&(struct opt){ .kind = OPT_SET,
			     .letter = find_letter(cmd->rows, 'h') ? 0 : 'h',
			     .name = "help",
			     .doc = "Print this and exit." },
		    out);
	if (cmd->epilog != NULL)
		buf_printf(out, "\n%s", cmd->epilog);
}
