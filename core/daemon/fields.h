/*
 * fields.h - the control socket's one form: a line is a kind and fields,
 *   KIND TAB key=value TAB key=value ... LF
 * with tabs, newlines, percent signs and controls of values as %XX.  Requests,
 * rows and the closing "end" line all are such lines, and --json is made from
 * the same fields.
 */
#ifndef DAEMON_FIELDS_H
#define DAEMON_FIELDS_H

#include "base/buf.h"
#include "base/mem.h"

struct field { const char *key; struct ph_str value; bool bare; };      /* bare: a JSON number or literal */
enum { FIELDS_MAX = 40, FIELDS_LINE_MAX = 256 * 1024 };
struct fields { struct arena *arena; const char *kind; struct field v[FIELDS_MAX]; size_t n; };

void fields_start(struct fields *f, struct arena *arena, const char *kind);
void fields_str(struct fields *f, const char *key, struct ph_str value);        /* borrows value */
void fields_text(struct fields *f, const char *key, const char *value);         /* NULL: "" */
void fields_int(struct fields *f, const char *key, int64_t value);
void fields_bool(struct fields *f, const char *key, bool value);
struct ph_str fields_get(const struct fields *f, const char *key);              /* {NULL,0} none */
int64_t fields_get_int(const struct fields *f, const char *key, int64_t dflt);

void fields_encode(const struct fields *f, struct buf *out);
int  fields_decode(struct ph_str line, struct arena *arena, struct fields *out);        /* 0 or PH_EPROTO */
/* {"key":"value", ...} without the closing brace when open is set. */
void fields_json(const struct fields *f, bool open, struct buf *out);
void fields_json_str(struct ph_str s, struct buf *out);

#endif
