/*
 * diag.c - collects diagnostics and prints them as a compiler would: place,
 * text, the source line, a caret under what is meant, and a hint.
 *
 * A diagnostic keeps a copy of the source it points into, so that it may
 * be printed after the file's own memory is gone.  The number kept is bounded: a file
 * that is nothing but mistakes must not cost more than a good one.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "base/str.h"

#define KEEP_MAX  1000          /* diagnostics kept */
#define PRINT_MAX 50            /* and printed */
#define LINE_MAX_COLUMNS 160    /* of a source line; longer ones are shown in part */
#define LINE_LEAD 40            /* columns shown before the caret then */

struct diag_copy {
	struct diag_copy *next;
	struct diag_source copy;
	size_t order;
};

void
diags_init(struct diags *d)
{
	*d = (struct diags){ 0 };
	arena_init(&d->arena, 4096);
}

void
diags_free(struct diags *d)
{
	arena_reset(&d->arena);
	free(d->v);
	*d = (struct diags){ 0 };
}

/* Compared by content: an address proves nothing once a source was freed. */
static const struct diag_source *
keep_source(struct diags *d, const struct diag_source *src)
{
	struct diag_copy *c, **at = &d->sources;
	size_t order = 0;

	for (; (c = *at) != NULL; at = &c->next, order++)
		if (&c->copy == src || (strcmp(c->copy.name, src->name) == 0 &&
		    str_eq(c->copy.text, src->text)))
			return &c->copy;
	c = arena_new(&d->arena, struct diag_copy);
	c->copy.name = arena_strndup(&d->arena, src->name, strlen(src->name));
	c->copy.text = arena_str(&d->arena, src->text);
	c->order = order;
	*at = c;
	return &c->copy;
}

PH_PRINTF(2, 0) static char *
format_text(struct arena *a, const char *fmt, va_list ap)
{
	struct buf b = { 0 };
	char *text;

	buf_vprintf(&b, fmt, ap);
	text = arena_strndup(a, b.data, b.len);
	buf_free(&b);
	return text;
}

struct diag *
diag_add(struct diags *d, enum diag_severity sev, struct diag_place at, const char *path,
         const char *fmt, ...)
{
	struct diag *g;
	va_list ap;

	if (sev == DIAG_ERROR)
		d->errors++;
	if (d->n == KEEP_MAX) {
		d->dropped++;
		return &d->scratch;
	}
	if (d->n == d->cap) {
		d->cap = d->cap ? d->cap * 2 : 16;
		d->v = mem_realloc(d->v, d->cap * sizeof *d->v);
	}
	g = &d->v[d->n++];
	*g = (struct diag){ .severity = sev, .place = at };
	if (at.src != NULL)
		g->place.src = keep_source(d, at.src);
	if (path != NULL && *path != '\0')
		g->path = arena_strndup(&d->arena, path, strlen(path));
	va_start(ap, fmt);
	g->text = format_text(&d->arena, fmt, ap);
	va_end(ap);
	return g;
}

void
diag_hint(struct diags *d, struct diag *g, const char *fmt, ...)
{
	va_list ap;

	if (g == &d->scratch)
		return;
	va_start(ap, fmt);
	g->hint = format_text(&d->arena, fmt, ap);
	va_end(ap);
}

/* --- printing --- */

/* Columns a terminal gives a character: none for marks that combine with the one
 * before, two for the wide ones of East Asia and pictures. */
static unsigned
columns_of(uint32_t c)
{
	static const struct { uint32_t first, last; unsigned columns; } ranges[] = {
		{ 0x0300, 0x036F, 0 }, { 0x200B, 0x200F, 0 }, { 0x20D0, 0x20FF, 0 },
		{ 0xFE00, 0xFE0F, 0 }, { 0xFE20, 0xFE2F, 0 },
		{ 0x1100, 0x115F, 2 }, { 0x2E80, 0x303E, 2 }, { 0x3041, 0x33FF, 2 },
		{ 0x3400, 0x4DBF, 2 }, { 0x4E00, 0x9FFF, 2 }, { 0xA000, 0xA4CF, 2 },
		{ 0xAC00, 0xD7A3, 2 }, { 0xF900, 0xFAFF, 2 }, { 0xFE30, 0xFE6F, 2 },
		{ 0xFF00, 0xFF60, 2 }, { 0xFFE0, 0xFFE6, 2 }, { 0x1F300, 0x1F64F, 2 },
		{ 0x1F900, 0x1F9FF, 2 }, { 0x20000, 0x3FFFD, 2 },
	};

	for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
		if (c >= ranges[i].first && c <= ranges[i].last)
			return ranges[i].columns;
	return 1;
}

static struct ph_str
source_line(struct ph_str text, int line)
{
	struct ph_str rest = text, at = { NULL, 0 };

	for (int i = 0; i < line; i++) {
		if (rest.p == NULL)
			return (struct ph_str){ NULL, 0 };
		at = str_cut(rest, '\n', &rest);
	}
	if (at.n > 0 && at.p[at.n - 1] == '\r')
		at.n--;
	return at;
}

struct glyph { struct ph_str bytes; unsigned columns; };

/* The next character as it is printed; what would move the cursor or is not
 * UTF-8 shows as "?".  A tab stays one in both lines, so it lines up itself. */
static struct glyph
next_glyph(struct ph_str *s)
{
	struct glyph g = { str_head(*s, 1), 1 };
	uint32_t c;
	size_t n = str_utf8_step(*s, &c);

	if (n == 0) {
		g.bytes = STR("?");
		n = 1;
	} else if ((c < ' ' && c != '\t') || (c >= 0x7F && c < 0xA0) ||
	    (c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069)) {
		g.bytes = STR("?");
	} else {
		g.bytes = str_head(*s, n);
		g.columns = columns_of(c);
	}
	*s = str_skip(*s, n);
	return g;
}

static void
print_source(struct buf *out, const struct diag_place *at)
{
	struct ph_str line = source_line(at->src->text, at->line), rest = line;
	struct buf shown = { 0 }, marks = { 0 };
	int col = 1, from = 1, width = at->width > 1 ? at->width : 1;
	unsigned columns = 0;

	if (line.p == NULL)
		return;
	if (line.n > LINE_MAX_COLUMNS && at->col > LINE_LEAD)
		from = at->col - LINE_LEAD;
	for (; rest.n > 0 && columns < LINE_MAX_COLUMNS; col++) {
		struct glyph g = next_glyph(&rest);

		if (col < from)
			continue;
		if (col == from && from > 1) {
			buf_adds(&shown, "...");
			buf_adds(&marks, "   ");
		}
		buf_addstr(&shown, g.bytes);
		columns += g.columns;
		for (unsigned i = 0; i < g.columns; i++) {
			if (col < at->col)
				buf_addc(&marks, g.bytes.p[0] == '\t' ? '\t' : ' ');
			else if (col < at->col + width)
				buf_addc(&marks, col == at->col && i == 0 ? '^' : '~');
		}
	}
	if (rest.n > 0)
		buf_adds(&shown, "...");
	for (; col <= at->col && columns < LINE_MAX_COLUMNS; col++)     /* behind the last */
		buf_addc(&marks, col == at->col ? '^' : ' ');
	buf_printf(out, "%5d | ", at->line);
	buf_addstr(out, buf_view(&shown));
	buf_adds(out, "\n      | ");
	buf_addstr(out, buf_view(&marks));
	buf_addc(out, '\n');
	buf_free(&shown);
	buf_free(&marks);
}

/* Text may quote what was written: controls in it must not reach a terminal. */
static void
print_safe(struct buf *out, const char *text)
{
	struct ph_str rest = str_of(text);

	while (rest.n > 0) {
		struct glyph g = next_glyph(&rest);

		buf_addstr(out, g.bytes);
	}
}

static void
print_one(struct buf *out, const struct diag *g)
{
	static const char *const names[] = { "error", "warning", "note" };

	if (g->place.src != NULL) {
		print_safe(out, g->place.src->name);
		if (g->place.line > 0)
			buf_printf(out, ":%d:%d", g->place.line, g->place.col);
		buf_adds(out, ": ");
	}
	buf_printf(out, "%s: ", names[g->severity]);
	if (g->path != NULL) {
		print_safe(out, g->path);
		buf_adds(out, ": ");
	}
	print_safe(out, g->text);
	buf_addc(out, '\n');
	if (g->place.src != NULL && g->place.line > 0)
		print_source(out, &g->place);
	if (g->hint != NULL) {
		buf_adds(out, "  hint: ");
		print_safe(out, g->hint);
		buf_addc(out, '\n');
	}
}

/* What has no place comes first; files in the order in which they were met. */
static size_t
source_order(const struct diag *g)
{
	const struct diag_source *src = g->place.src;

	if (src == NULL)
		return 0;
	return ((const struct diag_copy *)(const void *)((const char *)src -
	    offsetof(struct diag_copy, copy)))->order + 1;
}

static bool
comes_after(const struct diag *a, const struct diag *b)
{
	size_t file_a = source_order(a), file_b = source_order(b);

	if (file_a != file_b)
		return file_a > file_b;
	if (a->place.line != b->place.line)
		return a->place.line > b->place.line;
	return a->place.col > b->place.col;
}

/* Insertion keeps the order of what shares a place; most input is sorted. */
static void
sort_by_place(struct diags *d)
{
	for (size_t i = 1; i < d->n; i++) {
		struct diag g = d->v[i];
		size_t j = i;

		for (; j > 0 && comes_after(&d->v[j - 1], &g); j--)
			d->v[j] = d->v[j - 1];
		d->v[j] = g;
	}
}

void
diags_print(struct diags *d, struct buf *out)
{
	size_t left = d->n + d->dropped;

	sort_by_place(d);
	for (size_t i = 0; i < d->n && i < PRINT_MAX; i++, left--)
		print_one(out, &d->v[i]);
	if (left > 0)
		buf_printf(out, "and %zu more\n", left);
}
