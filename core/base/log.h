/*
 * log.h - one event, one line:
 *   2026-11-24T11:00:00.123Z info event=smtp.accepted worker=0 sid=... k=v ...
 * Values are quoted when they hold spaces, quotes or controls; peer bytes
 * always go through the escaping writer.  Lines gather in a buffer of the
 * thread and leave by one write when log_flush is called (loops do within 50
 * ms), at 32 KiB, or at once for warn and error.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/buf.h"
#include <posthouse/plugin.h>   /* enum ph_level */

struct log_field {
	const char *key;
	enum { LOG_F_STR, LOG_F_INT, LOG_F_ID, LOG_F_ADDR } kind;
	union { struct ph_str s; int64_t i; struct ph_msgid id; const struct ph_addr *addr; } u;
};
#define LOG_S(k, v) ((struct log_field){ (k), LOG_F_STR, { .s = (v) } })
#define LOG_C(k, v) ((struct log_field){ (k), LOG_F_STR, { .s = str_of(v) } })
#define LOG_I(k, v) ((struct log_field){ (k), LOG_F_INT, { .i = (int64_t)(v) } })
#define LOG_ID(k, v) ((struct log_field){ (k), LOG_F_ID, { .id = (v) } })
#define LOG_A(k, v) ((struct log_field){ (k), LOG_F_ADDR, { .addr = (v) } })

/* Inherited context: "worker=0 sid=..."; parts are already formatted. */
struct log_ctx { const struct log_ctx *up; const char *text; };

void log_event_v(enum ph_level level, const struct log_ctx *ctx, const char *event,
                 const struct log_field *v, size_t n);
/* log_event(PH_INFO, ctx, "queue.added", LOG_ID("mid", id), ...) */
#define log_event(level, ctx, event, ...) \
	do { if (log_on(level)) { const struct log_field log_v_[] = { __VA_ARGS__ }; \
	     log_event_v((level), (ctx), (event), log_v_, sizeof log_v_ / sizeof log_v_[0]); } } while (0)
extern enum ph_level log_level;         /* set once before threads start */
static inline bool log_on(enum ph_level level) { return level <= log_level; }
void log_flush(void);                   /* this thread's lines */
bool log_pending(void);                 /* it has lines that were not written yet */
/* Where lines go; default writes to fd 2. For tests and for the journal. */
void log_use(void (*write_lines)(const char *p, size_t n));
void log_escape(struct buf *out, struct ph_str s);      /* the escaping writer */
int  log_level_parse(struct ph_str s, enum ph_level *out);

#endif
