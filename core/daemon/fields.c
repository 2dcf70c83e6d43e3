/* fields.c - lines of fields, and JSON made from them. */
#include "daemon/fields.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/abort.h"
#include "base/str.h"

void
fields_start(struct fields *f, struct arena *arena, const char *kind)
{
	f->arena = arena;
	f->kind = kind;
	f->n = 0;
}

void
fields_str(struct fields *f, const char *key, struct ph_str value)
{
	ph_assert(f->n < FIELDS_MAX);
	f->v[f->n++] = (struct field){ key, value, false };
}

void
fields_text(struct fields *f, const char *key, const char *value)
{
	fields_str(f, key, str_of(value != NULL ? value : ""));
}

void
fields_int(struct fields *f, const char *key, int64_t value)
{
	fields_str(f, key, str_of(arena_printf(f->arena, "%" PRId64, value)));
	f->v[f->n - 1].bare = true;
}

void
fields_bool(struct fields *f, const char *key, bool value)
{
	fields_text(f, key, value ? "true" : "false");
	f->v[f->n - 1].bare = true;
}

struct ph_str
fields_get(const struct fields *f, const char *key)
{
	for (size_t i = 0; i < f->n; i++)
		if (strcmp(f->v[i].key, key) == 0)
			return f->v[i].value;
	return (struct ph_str){ NULL, 0 };
}

int64_t
fields_get_int(const struct fields *f, const char *key, int64_t dflt)
{
	struct ph_str s = fields_get(f, key);
	bool minus = s.n > 0 && s.p[0] == '-';
	uint64_t v;

	if (str_u64(minus ? str_skip(s, 1) : s, &v) != 0 || v > INT64_MAX)
		return dflt;
	return minus ? -(int64_t)v : (int64_t)v;
}

void
fields_encode(const struct fields *f, struct buf *out)
{
	buf_adds(out, f->kind);
	for (size_t i = 0; i < f->n; i++) {
		buf_addc(out, '\t');
		buf_adds(out, f->v[i].key);
		/* "key=" is text, "key:" a number or literal */
		buf_addc(out, f->v[i].bare ? ':' : '=');
		for (size_t k = 0; k < f->v[i].value.n; k++) {
			unsigned char c = (unsigned char)f->v[i].value.p[k];
			if (c < 0x20 || c == '%' || c == 0x7f)
				buf_printf(out, "%%%02X", c);
			else
				buf_addc(out, (char)c);
		}
	}
	buf_addc(out, '\n');
}

static int
hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static int
field_unescape(struct ph_str in, struct arena *arena, struct ph_str *out)
{
	char *p = arena_alloc(arena, in.n + 1);
	size_t n = 0;

	for (size_t i = 0; i < in.n; i++) {
		if (in.p[i] != '%') {
			p[n++] = in.p[i];
			continue;
		}
		if (in.n - i < 3 || hex_digit(in.p[i + 1]) < 0 || hex_digit(in.p[i + 2]) < 0)
			return PH_EPROTO;
		p[n++] = (char)(hex_digit(in.p[i + 1]) * 16 + hex_digit(in.p[i + 2]));
		i += 2;
	}
	*out = str_make(p, n);
	return 0;
}

int
fields_decode(struct ph_str line, struct arena *arena, struct fields *out)
{
	struct ph_str rest, part = str_cut(line, '\t', &rest);

	fields_start(out, arena, arena_strndup(arena, part.p, part.n));
	while (rest.p != NULL) {
		size_t k = 0;
		part = str_cut(rest, '\t', &rest);
		while (k < part.n && part.p[k] != '=' && part.p[k] != ':')
			k++;
		if (k == part.n || k == 0 || out->n == FIELDS_MAX)
			return PH_EPROTO;
		struct field *f = &out->v[out->n++];
		f->key = arena_strndup(arena, part.p, k);
		f->bare = part.p[k] == ':';
		if (field_unescape(str_skip(part, k + 1), arena, &f->value) != 0)
			return PH_EPROTO;
	}
	return 0;
}

void
fields_json_str(struct ph_str s, struct buf *out)
{
	bool utf8 = str_utf8_valid(s);

	buf_addc(out, '"');
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (c == '"' || c == '\\') {
			buf_addc(out, '\\');
			buf_addc(out, (char)c);
		} else if (c == '\n') {
			buf_adds(out, "\\n");
		} else if (c < 0x20 || c == 0x7f || (c >= 0x80 && !utf8)) {
			buf_printf(out, "\\u%04x", c);
		} else {
			buf_addc(out, (char)c);
		}
	}
	buf_addc(out, '"');
}

void
fields_json(const struct fields *f, bool open, struct buf *out)
{
	buf_addc(out, '{');
	for (size_t i = 0; i < f->n; i++) {
		if (i > 0)
			buf_adds(out, ", ");
		fields_json_str(str_of(f->v[i].key), out);
		buf_adds(out, ": ");
		if (f->v[i].bare)
			buf_addstr(out, f->v[i].value);
		else
			fields_json_str(f->v[i].value, out);
	}
	if (!open)
		buf_addc(out, '}');
}
