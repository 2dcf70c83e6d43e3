/*
 * log.c - one event, one line, gathered in a buffer of the thread.
 *
 * No lock and, while lines are gathered, no system call.  What is
 * written in one piece stays together as long as it is at most 32 KiB and
 * the receiver takes it whole.  Text from peers cannot start a line, end a
 * quotation or move a terminal's cursor.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

#define FLUSH_AT  (32 * 1024)
#define VALUE_MAX 1024          /* bytes of one value; the rest is cut and marked */
#define STAMP_MAX 32

struct log_lines {
	struct buf buf;
	int64_t second;         /* which the stamp was made for */
	char    stamp[STAMP_MAX];       /* "2026-11-24T11:00:00" */
};

static const char *const level_names[] = {
	[PH_ERROR] = "error", [PH_WARN] = "warn", [PH_INFO] = "info",
	[PH_DEBUG] = "debug", [PH_TRACE] = "trace",
};

enum ph_level log_level = PH_INFO;

static void
write_stderr(const char *p, size_t n)
{
	while (n > 0) {
		ssize_t done = write(STDERR_FILENO, p, n);

		if (done > 0) {
			p += done;
			n -= (size_t)done;
		} else if (done < 0 && errno == EAGAIN) {
			struct pollfd fd = { STDERR_FILENO, POLLOUT, 0 };

			/* a reader that stands still costs a second, then its lines */
			if (poll(&fd, 1, 1000) == 0)
				return;
		} else if (done == 0 || errno != EINTR) {
			return;         /* nowhere left to say so */
		}
	}
}

static void (*log_write)(const char *p, size_t n) = write_stderr;
static pthread_key_t lines_key;
static pthread_once_t lines_once = PTHREAD_ONCE_INIT;
static _Thread_local struct log_lines *own_lines;

static void
lines_flush(struct log_lines *l)
{
	if (l->buf.len > 0)
		log_write(l->buf.data + l->buf.head, l->buf.len);
	buf_clear(&l->buf);
}

static void
lines_done(void *arg)
{
	struct log_lines *l = arg;

	lines_flush(l);
	buf_free(&l->buf);
	free(l);
	own_lines = NULL;
}

static void
lines_setup(void)
{
	(void)pthread_key_create(&lines_key, lines_done);       /* else: lost at thread's end */
}

static struct log_lines *
lines_of_thread(void)
{
	if (own_lines == NULL) {
		pthread_once(&lines_once, lines_setup);
		own_lines = mem_new(struct log_lines);
		own_lines->second = INT64_MIN;
		(void)pthread_setspecific(lines_key, own_lines);
	}
	return own_lines;
}

static void
add_stamp(struct log_lines *l)
{
	int64_t ms = clock_wall_ms();
	unsigned frac = (unsigned)(ms % 1000);

	if (ms / 1000 != l->second) {
		time_t t = (time_t)(ms / 1000);
		struct tm tm;

		gmtime_r(&t, &tm);
		strftime(l->stamp, sizeof l->stamp, "%Y-%m-%dT%H:%M:%S", &tm);
		l->second = ms / 1000;
	}
	buf_adds(&l->buf, l->stamp);
	buf_add(&l->buf, (char[]){ '.', (char)('0' + frac / 100), (char)('0' + frac / 10 % 10),
	    (char)('0' + frac % 10), 'Z', ' ' }, 6);
}

static void
add_context(struct buf *out, const struct log_ctx *ctx)
{
	if (ctx == NULL)
		return;
	add_context(out, ctx->up);
	if (ctx->text != NULL && *ctx->text != '\0') {
		buf_addc(out, ' ');
		buf_adds(out, ctx->text);
	}
}

/* Characters a terminal or a reader may take for something else: C1 controls,
 * line and paragraph separators, marks that change the direction of text. */
static bool
is_deceptive(uint32_t c)
{
	return (c >= 0x80 && c <= 0x9F) || c == 0x61C || (c >= 0x200B && c <= 0x200F) ||
	    (c >= 0x2028 && c <= 0x202E) || (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF ||
	    (c >= 0xFFF9 && c <= 0xFFFB) || c >= 0xE0000;
}

static void
add_escaped(struct buf *out, unsigned char c)
{
	static const char hex[] = "0123456789abcdef";
	const char *at = strchr("\nn\rr\tt\"\"\\\\", c);

	buf_addc(out, '\\');
	if (c != '\0' && at != NULL) {
		buf_addc(out, at[1]);
	} else {
		buf_addc(out, 'x');
		buf_addc(out, hex[c >> 4]);
		buf_addc(out, hex[c & 15]);
	}
}

/* Nothing in it needs a quotation: printable ASCII but space, quote, backslash. */
static bool
is_bare(struct ph_str s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c <= ' ' || c >= 0x7F || c == '"' || c == '\\')
			return false;
	}
	return s.n > 0;
}

void
log_escape(struct buf *out, struct ph_str s)
{
	bool cut = s.n > VALUE_MAX;

	s = str_head(s, VALUE_MAX);
	if (!cut && is_bare(s)) {
		buf_addstr(out, s);
		return;
	}
	buf_addc(out, '"');
	while (s.n > 0) {
		unsigned char c = (unsigned char)s.p[0];
		uint32_t point;
		size_t n = c < 0x80 ? 1 : str_utf8_step(s, &point);

		if (n == 1 && c >= ' ' && c < 0x7F && c != '"' && c != '\\') {
			buf_addc(out, (char)c);
		} else if (n > 1 && !is_deceptive(point)) {
			buf_add(out, s.p, n);
		} else {
			n = n == 0 ? 1 : n;
			for (size_t i = 0; i < n; i++)
				add_escaped(out, (unsigned char)s.p[i]);
		}
		s = str_skip(s, n);
	}
	buf_adds(out, cut ? "\"..." : "\"");
}

static void
add_int(struct buf *out, int64_t v)
{
	char text[24], *at = text + sizeof text;
	uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;

	do {
		*--at = (char)('0' + u % 10);
		u /= 10;
	} while (u != 0);
	if (v < 0)
		*--at = '-';
	buf_add(out, at, (size_t)(text + sizeof text - at));
}

static void
add_field(struct buf *out, const struct log_field *f)
{
	char text[PH_ADDR_TEXT];

	buf_addc(out, ' ');
	buf_adds(out, f->key);
	buf_addc(out, '=');
	switch (f->kind) {
	case LOG_F_STR:
		log_escape(out, f->u.s);
		break;
	case LOG_F_INT:
		add_int(out, f->u.i);
		break;
	case LOG_F_ID:
		buf_adds(out, id_text(f->u.id, text));
		break;
	case LOG_F_ADDR:
		buf_adds(out, ph_addr_text(f->u.addr, text));
		break;
	}
}

_Static_assert(PH_ADDR_TEXT >= PH_MSGID_TEXT, "one buffer serves both");

void
log_event_v(enum ph_level level, const struct log_ctx *ctx, const char *event,
            const struct log_field *v, size_t n)
{
	struct log_lines *l;

	if (!log_on(level))
		return;
	l = lines_of_thread();
	add_stamp(l);
	buf_adds(&l->buf, level_names[level]);
	buf_adds(&l->buf, " event=");
	buf_adds(&l->buf, event);
	add_context(&l->buf, ctx);
	for (size_t i = 0; i < n; i++)
		add_field(&l->buf, &v[i]);
	buf_addc(&l->buf, '\n');
	if (level <= PH_WARN || l->buf.len >= FLUSH_AT)
		lines_flush(l);
}

void
log_flush(void)
{
	if (own_lines != NULL)
		lines_flush(own_lines);
}

bool
log_pending(void)
{
	return own_lines != NULL && own_lines->buf.len > 0;
}

void
log_use(void (*write_lines)(const char *p, size_t n))
{
	log_flush();
	log_write = write_lines != NULL ? write_lines : write_stderr;
}

int
log_level_parse(struct ph_str s, enum ph_level *out)
{
	for (size_t i = 0; i < sizeof level_names / sizeof level_names[0]; i++) {
		if (str_iis(s, level_names[i])) {
			*out = (enum ph_level)i;
			return 0;
		}
	}
	return PH_EINVAL;
}
