/*
 * scalar.c - one scalar of the tree to one typed value, with its bounds, and
 * secrets from where they are kept.
 *
 * A message quotes what was written, cut to a line's length, and says what
 * would be accepted.  Values of secret rows are never quoted.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "base/secret.h"
#include "base/str.h"
#include "config/option_private.h"

#define QUOTE_MAX  60           /* bytes of a value in a message */
#define SECRET_MAX (64 * 1024)

static const char *
quote(struct option_run *run, const struct ph_option *row, const struct node *n)
{
	struct ph_str s = n->text;

	if (row->secret)
		return "the value";
	if (s.n <= QUOTE_MAX)
		return arena_printf(&run->d->arena, "\"" STR_FMT "\"", STR_ARG(s));
	s.n = QUOTE_MAX;
	while (s.n > 0 && ((unsigned char)s.p[s.n] & 0xC0) == 0x80)
		s.n--;                  /* not within a character */
	return arena_printf(&run->d->arena, "\"" STR_FMT "...\"", STR_ARG(s));
}

/* " (from 100ms to 1m)", or "" */
static const char *
bounds(struct option_run *run, const struct ph_option *row, bool bracket)
{
	const char *open = bracket ? " (" : "", *close = bracket ? ")" : "";

	if (row->min != NULL && row->max != NULL)
		return arena_printf(&run->d->arena, "%sfrom %s to %s%s", open, row->min, row->max,
		    close);
	if (row->min != NULL)
		return arena_printf(&run->d->arena, "%sat least %s%s", open, row->min, close);
	if (row->max != NULL)
		return arena_printf(&run->d->arena, "%sat most %s%s", open, row->max, close);
	return "";
}

static void
refuse(struct option_run *run, const struct ph_option *row, const struct node *n,
       const char *text, const char *why)
{
	struct diag *g = option_error(run, n->place, "%s %s", quote(run, row, n), text);

	diag_hint(run->d, g, "%s%s", why, bounds(run, row, true));
}

/* Order of two values of the row's type; a bound that cannot be read is a
 * mistake of the row and bounds nothing. */
static bool
beyond(const struct ph_option *row, const char *bound, const void *value, bool above)
{
	const char *why;

	if (bound == NULL)
		return false;
	if (row->type == PH_T_INT) {
		int64_t b, v = *(const int64_t *)value;

		return value_int(str_of(bound), &b, &why) == 0 && (above ? v > b : v < b);
	}
	if (row->type == PH_T_SIZE) {
		ph_size b, v = *(const ph_size *)value;

		return value_size(str_of(bound), &b, &why) == 0 &&
		    (above ? v.bytes > b.bytes : v.bytes < b.bytes);
	}
	if (row->type == PH_T_DURATION || row->type == PH_T_DURATIONS) {
		ph_duration b, v = *(const ph_duration *)value;

		return value_duration(str_of(bound), &b, &why) == 0 &&
		    (above ? v.ms > b.ms : v.ms < b.ms);
	}
	return false;
}

static void
check_bounds(struct option_run *run, const struct ph_option *row, const struct node *n,
             const void *value)
{
	bool time = row->type == PH_T_DURATION || row->type == PH_T_DURATIONS;
	const char *text = NULL;
	struct diag *g;

	if (beyond(row, row->min, value, false))
		text = time ? "is too short" : "is too small";
	else if (beyond(row, row->max, value, true))
		text = time ? "is too long" : "is too large";
	if (text == NULL)
		return;
	g = option_error(run, n->place, "%s %s", quote(run, row, n), text);
	diag_hint(run->d, g, "%s", bounds(run, row, false));
}

/* A number is not a misspelt one: TLS 1.4 is not meant for 1.0. */
static bool
is_digit_first(struct ph_str s)
{
	return s.n > 0 && s.p[0] >= '0' && s.p[0] <= '9';
}

static void
read_choice(struct option_run *run, const struct ph_option *row, const struct node *n, int *out)
{
	struct buf names = { 0 };
	const char *near = NULL;
	unsigned best = 3;
	struct diag *g;

	for (const struct ph_choice *c = row->choices; c != NULL && c->name != NULL; c++) {
		unsigned d;

		if (str_is(n->text, c->name)) {
			*out = c->value;
			buf_free(&names);
			return;
		}
		d = str_distance(n->text, str_of(c->name), best);
		if (d < best && d < n->text.n && !is_digit_first(n->text)) {
			best = d;
			near = c->name;
		}
		buf_printf(&names, "%s%s", names.len > 0 ? ", " : "", c->name);
	}
	if (near != NULL)
		g = option_error(run, n->place, "%s is not a choice; did you mean %s?",
		    quote(run, row, n), near);
	else
		g = option_error(run, n->place, "%s is not a choice", quote(run, row, n));
	diag_hint(run->d, g, "write one of " STR_FMT, STR_ARG(buf_view(&names)));
	buf_free(&names);
}

/* --- secrets --- */

static const char *
secret_path(struct option_run *run, const struct node *n)
{
	struct ph_str name = n->text;
	const char *dir, *slash;

	if (str_starts(name, "credential:")) {
		struct diag *g;

		name = str_skip(name, strlen("credential:"));
		dir = getenv("CREDENTIALS_DIRECTORY");
		if (name.n == 0 || memchr(name.p, '/', name.n) != NULL || name.p[0] == '.') {
			option_error(run, n->place, "not the name of a credential");
			return NULL;
		}
		if (dir == NULL) {
			g = option_error(run, n->place, "the service manager passed no credentials");
			diag_hint(run->d, g, "in the systemd unit write LoadCredential=" STR_FMT
			    ":/path/of/the/file", STR_ARG(name));
			return NULL;
		}
		return arena_printf(run->arena, "%s/" STR_FMT, dir, STR_ARG(name));
	}
	slash = n->place.src != NULL ? strrchr(n->place.src->name, '/') : NULL;
	if (name.p[0] == '/' || slash == NULL)
		return arena_strndup(run->arena, name.p, name.n);
	return arena_printf(run->arena, "%.*s" STR_FMT, (int)(slash - n->place.src->name) + 1,
	    n->place.src->name, STR_ARG(name));
}

static void
secret_file(struct option_run *run, const struct node *n, const char *path, struct buf *out)
{
	struct stat st;
	int rc;

	buf_room(out, SECRET_MAX * 2);  /* so that growing leaves no copies behind */
	rc = fs_read_file(path, SECRET_MAX, out);
	if (rc != 0) {
		struct diag *g = option_error(run, n->place, "%s: %s", path,
		    rc == PH_ELIMIT ? "larger than 64 KiB" : ph_strerror(rc));

		if (rc == -EACCES || rc == -EPERM)
			diag_hint(run->d, g, "see the file's owner and mode, and those of its "
			    "directories");
		else
			diag_hint(run->d, g, "the value is the name of a file that holds the secret, or "
			    "credential:NAME, or env:NAME");
		return;
	}
	if (str_starts(n->text, "credential:") || stat(path, &st) != 0 || !(st.st_mode & S_IROTH))
		return;
	diag_hint(run->d, option_complain(run, DIAG_WARNING, n->place, "everybody may read %s", path),
	    "chmod o-r %s", path);
}

static bool
is_plain(const struct node *n)
{
	return n->kind == NODE_SCALAR && n->text.n > 0 &&
	    memchr(n->text.p, '\0', n->text.n) == NULL;
}

static void
warn_secret(struct option_run *run, const struct node *n, const char *user)
{
	size_t errors = run->d->errors;
	const char *path = NULL;
	struct diag *g;

	if (is_plain(n) && !str_starts(n->text, "env:"))
		path = secret_path(run, n);
	if (path == NULL || run->d->errors != errors || fs_readable_by(path, user))
		return;
	g = option_complain(run, DIAG_WARNING, n->place, "%s cannot be read by the user %s, so a "
	    "reload would fail", path, user);
	if (str_starts(n->text, "credential:"))
		diag_hint(run->d, g, "write User=%s in the systemd unit", user);
	else
		diag_hint(run->d, g, "chown %s %s", user, path);
}

/* One that is not there, or a path that is not whole, is the plugin's to tell. */
static void
warn_file(struct option_run *run, const struct node *n, const char *user)
{
	const char *slash = is_plain(n) ? memchr(n->text.p, '/', n->text.n) : NULL, *path;
	struct diag *g;

	if (slash == NULL)
		return;
	path = arena_strndup(run->arena, slash, n->text.n - (size_t)(slash - n->text.p));
	if (access(path, F_OK) != 0 || fs_readable_by(path, user))
		return;
	g = option_complain(run, DIAG_WARNING, n->place, "%s cannot be read by the user %s, as the "
	    "running posthouse has to", path, user);
	diag_hint(run->d, g, "let its group read it (chgrp, chmod g+r), or chown %s %s; its "
	    "directories must let that user in, too", user, path);
}

static void
warn_rows(struct option_run *run, const struct ph_option *rows, const struct node *map,
          const char *user)
{
	if (rows == NULL || map == NULL || map->kind != NODE_MAP)
		return;
	for (const struct node *n = map->first; n != NULL; n = n->next) {
		struct option_path here = { run->path, NULL };
		struct option_run inner = { run->arena, run->d, &here };
		const struct ph_option *row = rows;

		while (row->type != PH_T_END && !str_is(n->key, row->name))
			row++;
		here.name = row->name;
		if (row->type == PH_T_SECRET)
			warn_secret(&inner, n, user);
		else if (row->reread)
			warn_file(&inner, n, user);
		else if (row->type == PH_T_SECTION)
			warn_rows(&inner, row->rows, n, user);
		else if (row->type == PH_T_SECTIONS && n->kind == NODE_LIST)
			for (const struct node *item = n->first; item != NULL; item = item->next)
				warn_rows(&inner, row->rows, item, user);
		else if (row->type == PH_T_SECTIONS)    /* one is a list of one */
			warn_rows(&inner, row->rows, n, user);
	}
}

void
option_warn_unreadable(const struct ph_option *rows, const struct node *map, const char *path,
                       const char *user, struct arena *arena, struct diags *d)
{
	struct option_path top = { NULL, path };
	struct option_run run = { arena, d, &top };

	warn_rows(&run, rows, map, user);
}

/* The last line end belongs to the editor, not to the secret. */
static struct ph_str
without_line_end(struct ph_str s)
{
	if (s.n > 0 && s.p[s.n - 1] == '\n')
		s.n--;
	if (s.n > 0 && s.p[s.n - 1] == '\r')
		s.n--;
	return s;
}

static void
read_secret(struct option_run *run, const struct node *n, struct ph_secret *out)
{
	size_t errors = run->d->errors;
	struct buf held = { 0 };
	struct ph_str s;

	if (n->text.n == 0) {
		option_error(run, n->place, "no secret is named");
		return;
	}
	if (str_starts(n->text, "env:")) {
		const char *name = arena_strndup(run->arena, n->text.p + 4, n->text.n - 4);
		const char *value = getenv(name);

		if (value == NULL)
			option_error(run, n->place, "there is no environment variable %s", name);
		else
			buf_adds(&held, value);
	} else {
		const char *path = secret_path(run, n);

		if (path != NULL)
			secret_file(run, n, path, &held);
	}
	s = without_line_end(buf_view(&held));
	if (run->d->errors == errors && s.n == 0)
		option_error(run, n->place, "the secret is empty");
	if (run->d->errors == errors)
		*out = secret_keep(s);
	mem_wipe(held.data, held.cap);
	buf_free(&held);
}

/* --- what double quotes do to a backslash --- */

/* YAML 1.2.2 5.7: what stands behind the backslash when nobody meant a character that cannot be
 * seen, and what it makes.  The last four are not of ASCII: their bytes in UTF-8. */
static const struct { const char *bytes, *escape, *name; } escapes[] = {
	{ "\a", "a", "a bell" }, { "\b", "b", "a backspace" }, { "\t", "t", "a tab" },
	{ "\n", "n", "a line end" }, { "\v", "v", "a vertical tab" }, { "\f", "f", "a form feed" },
	{ "\r", "r", "a carriage return" }, { "\x1b", "e", "an escape character" },
	{ "\xC2\x85", "N", "a line end" }, { "\xC2\xA0", "_", "a space that does not break" },
	{ "\xE2\x80\xA8", "L", "a line end" }, { "\xE2\x80\xA9", "P", "the end of a paragraph" },
};

/* A name like LAB\relay, a path of Windows: in double quotes its backslash is gone, and what
 * follows has become something else.  Text over several lines is written as a block. */
static bool
escape_slipped(struct option_run *run, const struct ph_option *row, const struct node *n)
{
	struct diag *g;

	if (!n->escapes || (row->type != PH_T_STRING && row->type != PH_T_STRINGS &&
	    row->type != PH_T_SECRET))
		return false;
	for (size_t at = 0; at < n->text.n; at++) {
		struct ph_str rest = str_skip(n->text, at);
		unsigned char c = (unsigned char)rest.p[0];

		for (size_t i = 0; i < sizeof escapes / sizeof escapes[0]; i++) {
			if (!str_starts(rest, escapes[i].bytes))
				continue;
			g = option_error(run, n->place, "holds %s, which is what \\%s means in double "
			    "quotes", escapes[i].name, escapes[i].escape);
			diag_hint(run->d, g, "write it in single quotes, where a backslash is one, or "
			    "write \\\\ for it");
			return true;
		}
		if (c < 0x20 || c == 0x7f) {
			g = option_error(run, n->place, "holds the control character %d", c);
			diag_hint(run->d, g, "write a backslash as \\\\, or the text in single quotes");
			return true;
		}
	}
	return false;
}

/* --- one value --- */

static void
read_text(struct option_run *run, const struct ph_option *row, const struct node *n, void *out)
{
	const char *why = NULL;
	int rc = 0;

	switch (row->type) {
	case PH_T_BOOL:
		rc = value_bool(n->text, out, &why);
		if (rc != 0)
			refuse(run, row, n, "is neither yes nor no", why);
		break;
	case PH_T_INT:
		rc = value_int(n->text, out, &why);
		if (rc != 0)
			refuse(run, row, n, "is not a number", why);
		break;
	case PH_T_DURATION:
	case PH_T_DURATIONS:
		rc = value_duration(n->text, out, &why);
		if (rc != 0)
			refuse(run, row, n, "is not a duration", why);
		break;
	case PH_T_SIZE:
		rc = value_size(n->text, out, &why);
		if (rc != 0)
			refuse(run, row, n, "is not a size", why);
		break;
	case PH_T_ENDPOINT:
	case PH_T_ENDPOINTS:
		rc = value_endpoint(n->text, run->arena, out, &why);
		if (rc != 0)
			refuse(run, row, n, "is not a host and port", why);
		break;
	case PH_T_NETWORKS:
		rc = value_network(n->text, out, &why);
		if (rc != 0)
			refuse(run, row, n, "is not a network", why);
		break;
	case PH_T_STRING:
	case PH_T_STRINGS:
		*(const char **)out = arena_strndup(run->arena, n->text.p, n->text.n);
		break;
	case PH_T_CHOICE:
		read_choice(run, row, n, out);
		break;
	case PH_T_SECRET:
		read_secret(run, n, out);
		break;
	default:
		option_error(run, n->place, "the option's type %d is not known", (int)row->type);
		break;
	}
	if (rc == 0)
		check_bounds(run, row, n, out);
}

void
option_scalar(struct option_run *run, const struct ph_option *row, const struct node *n, void *out)
{
	if (n->kind != NODE_SCALAR) {
		option_error(run, n->place, "%s where a single value is expected",
		    n->kind == NODE_LIST ? "a list" : n->kind == NODE_MAP ? "a map" : "nothing");
		return;
	}
	if (n->text.n > 0 && memchr(n->text.p, '\0', n->text.n) != NULL) {
		option_error(run, n->place, "a NUL byte cannot be part of a value");
		return;
	}
	if (!escape_slipped(run, row, n))
		read_text(run, row, n, out);
}
