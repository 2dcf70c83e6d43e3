/*
 * check_show.c - what `posthouse check --connect` prints: a line a step, with
 * its verdict and what to do about it, or the same as JSON.  What a remote
 * said is printed without controls, so that it cannot steer the terminal.
 */
#include "cmd/check.h"

#include <stdio.h>

#include "base/str.h"
#include "daemon/fields.h"

static const char *const verdicts[] = { "ok", "note", "warn", "FAIL" };
static const char *const json_verdicts[] = { "ok", "note", "warning", "failure" };

/* The worse one stays: a configuration that cannot work, a final no, nobody there, not now. */
static int
severity(int status)
{
	static const int order[] = { EX_OK, EX_TEMPFAIL, EX_NOHOST, EX_UNAVAILABLE, EX_CONFIG };

	for (size_t i = 0; i < sizeof order / sizeof order[0]; i++)
		if (order[i] == status)
			return (int)i;
	return (int)(sizeof order / sizeof order[0]);
}

int
check_status_of(int code, int rc)
{
	if (code >= 500)
		return EX_UNAVAILABLE;
	if (code >= 400)
		return EX_TEMPFAIL;
	switch (rc) {
	case PH_ENOENT:
	case PH_EREFUSED:
	case PH_EUNREACH:
	case PH_ETIMEOUT:
	case PH_EPERM:
		return EX_NOHOST;
	case PH_ENOTSUP:
		return EX_UNAVAILABLE;
	default:
		return EX_TEMPFAIL;
	}
}

static void
add_clean(struct buf *out, struct ph_str s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char ch = (unsigned char)s.p[i];

		if (ch == '\n')
			buf_adds(out, " / ");
		else
			buf_addc(out, ch < ' ' || ch == 0x7f ? '?' : s.p[i]);
	}
}

static void
put(struct buf *out)
{
	(void)fwrite(out->data + out->head, 1, out->len, stdout);
	(void)fflush(stdout);           /* a step may take long: show what is known */
	buf_free(out);
}

static void
print_text(const char *what, enum check_verdict v, int64_t us, const char *hint, struct ph_str text)
{
	struct buf out = { 0 };

	buf_printf(&out, "  %-11s %-4s ", what, verdicts[v]);
	add_clean(&out, text);
	if (us >= 0)
		buf_printf(&out, "%s%lld.%lld ms", text.n > 0 ? ", " : "", (long long)(us / 1000),
		    (long long)(us % 1000 / 100));
	buf_addc(&out, '\n');
	if (hint != NULL)
		buf_printf(&out, "  %-11s      hint: %s\n", "", hint);
	put(&out);
}

static void
print_json(struct check *c, const char *what, enum check_verdict v, int64_t us, const char *hint,
           struct ph_str text)
{
	struct buf out = { 0 };
	struct fields f;
	struct arena a;

	arena_init(&a, 1024);
	fields_start(&f, &a, "step");
	fields_text(&f, "site", c->site);
	fields_text(&f, "host", c->at);
	fields_text(&f, "address", c->addr);
	fields_text(&f, "step", what);
	fields_text(&f, "verdict", json_verdicts[v]);
	fields_str(&f, "text", text);
	if (us >= 0) {
		fields_text(&f, "ms", arena_printf(&a, "%lld.%03lld", (long long)(us / 1000),
		    (long long)(us % 1000)));
		f.v[f.n - 1].bare = true;
	}
	if (hint != NULL)
		fields_text(&f, "hint", hint);
	buf_adds(&out, c->json_open ? ",\n" : "[\n");
	c->json_open = true;
	fields_json(&f, false, &out);
	arena_reset(&a);
	put(&out);
}

void
check_step(struct check *c, const char *what, enum check_verdict v, int status, int64_t us,
           const char *hint, const char *fmt, ...)
{
	struct buf text = { 0 };
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	c->steps++;
	c->warnings += v == CHECK_WARN;
	c->failures += v == CHECK_FAIL;
	if (v == CHECK_FAIL && severity(status) > severity(c->status))
		c->status = status;
	if (c->o->json)
		print_json(c, what, v, us, hint, text.len > 0 ? buf_view(&text) : STR(""));
	else if (!c->o->quiet || v >= CHECK_WARN)
		print_text(what, v, us, hint, text.len > 0 ? buf_view(&text) : STR(""));
	buf_free(&text);
}

void
check_heading(struct check *c, const char *fmt, ...)
{
	struct buf text = { 0 }, out = { 0 };
	va_list ap;

	if (c->o->json)
		return;
	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	add_clean(&out, buf_view(&text));
	buf_addc(&out, '\n');
	buf_free(&text);
	put(&out);
}

void
check_line(struct check *c, char mark, struct ph_str line)
{
	struct buf out = { 0 };

	if (!c->o->verbose)
		return;
	while (line.n > 0 && (line.p[line.n - 1] == '\n' || line.p[line.n - 1] == '\r'))
		line.n--;
	buf_printf(&out, "    %c ", mark);
	add_clean(&out, line);
	buf_addc(&out, '\n');
	(void)fflush(stdout);
	(void)fwrite(out.data + out.head, 1, out.len, c->o->json ? stderr : stdout);
	buf_free(&out);
}

void
check_summary(struct check *c)
{
	struct buf out = { 0 };

	if (c->o->json) {
		buf_adds(&out, c->json_open ? "\n]\n" : "[]\n");
	} else if (c->failures > 0 || c->warnings > 0 || !c->o->quiet) {
		buf_printf(&out, "%u host%s tried: ", c->hosts, c->hosts == 1 ? "" : "s");
		if (c->failures == 0 && c->warnings == 0)
			buf_adds(&out, "all is well, and no mail was sent\n");
		else
			buf_printf(&out, "%u failure%s, %u warning%s; no mail was sent\n",
			    c->failures, c->failures == 1 ? "" : "s", c->warnings,
			    c->warnings == 1 ? "" : "s");
	}
	if (out.len > 0)
		put(&out);
}
