/*
 * service.h - loop services for plugins: timers, connections, watched
 * descriptors, helper processes, work off the loop.  No loop library shows.
 *
 * All of it belongs to one worker of one instance and is closed by the core,
 * if the plugin has not done so, after that worker's close.  Callbacks run on
 * the worker; none is called from inside the function that starts a service.
 */
#ifndef POSTHOUSE_SERVICE_H
#define POSTHOUSE_SERVICE_H

#include <posthouse/plugin.h>

PH_BEGIN_DECLS

/* Milliseconds that never jump; from an unknown start. */
PH_API int64_t ph_now(const struct ph_worker *w);

/* --- timers --- */
struct ph_timer;
PH_API struct ph_timer *ph_timer_start(struct ph_worker *w, ph_duration after,
                                       void (*fn)(void *arg), void *arg);
PH_API void ph_timer_stop(struct ph_timer **t);   /* NULLs; a fired timer frees itself, do not stop it */

/* --- watched descriptors --- */
enum { PH_READABLE = 1, PH_WRITABLE = 2 };
struct ph_watch;
PH_API struct ph_watch *ph_watch_start(struct ph_worker *w, int fd, unsigned events,
                                       void (*fn)(void *arg, unsigned events), void *arg);
PH_API void ph_watch_events(struct ph_watch *watch, unsigned events);
PH_API void ph_watch_stop(struct ph_watch **watch);     /* the descriptor stays open */

/* --- connections --- */
struct ph_conn;
struct ph_conn_events {
	void (*connected)(struct ph_conn *c, void *arg);
	/* returns how many bytes were used; the rest is shown again with more */
	size_t (*input)(struct ph_conn *c, void *arg, const void *data, size_t n);
	/* once, last; status PH_ECLOSED, PH_ETIMEOUT, ...; the conn is gone after it */
	void (*closed)(struct ph_conn *c, void *arg, int status);
};
/* Resolves and connects within limit.  NULL: no memory or bad endpoint. */
PH_API struct ph_conn *ph_connect(struct ph_worker *w, const struct ph_endpoint *to,
                                  ph_duration limit, const struct ph_conn_events *ev, void *arg);
PH_API int  ph_conn_write(struct ph_conn *c, const void *data, size_t n) PH_MUST_USE;
PH_API void ph_conn_close(struct ph_conn **c);  /* closed() is not called */

/* --- work off the loop --- */
/* work(arg) runs on a pool thread, then done(arg) on the worker. */
PH_API int ph_work(struct ph_worker *w, void (*work)(void *arg), void (*done)(void *arg),
                   void *arg) PH_MUST_USE;

/* --- small tools that every protocol needs --- */
/* RFC 4648 4, with padding and without line breaks.  Bytes written (out is ended by NUL), or
 * PH_ELIMIT when room is too small.  decode: strict, PH_EINVAL. */
PH_API int ph_base64_encode(struct ph_str in, char *out, size_t room) PH_MUST_USE;
PH_API int ph_base64_decode(struct ph_str in, void *out, size_t room) PH_MUST_USE;
/* Overwrites what must not stay in memory; not optimised away. */
PH_API void ph_wipe(void *p, size_t n);

/* --- helper processes --- */
/*
 * A pool of child processes that answer requests over stdin/stdout.  A helper
 * is leased for a whole exchange (a handshake of several requests), serves
 * one lease at a time, and is killed and never reused when an answer is late,
 * is too long or comes unasked.  Dead helpers are restarted with back-off.
 */
enum ph_framing {
	PH_FRAME_LINE,          /* one line each way, LF; requests with CR, LF, NUL are refused */
	PH_FRAME_LENGTH,        /* 4 bytes length, network order, then as many bytes */
};
struct ph_helper_spec {
	uint32_t size;                  /* sizeof(struct ph_helper_spec) */
	struct ph_strings command;      /* argv; found by PATH when without '/' */
	enum ph_framing framing;
	int64_t count;                  /* processes at most, per worker */
	ph_duration answer_limit;       /* for one answer */
	ph_duration lease_wait;         /* for a free helper */
	ph_duration restart_min, restart_max;   /* back-off */
	uint64_t max_answer;            /* bytes, default 64 KiB */
	/* Instead of count: processes at most in the whole daemon, shared out among the workers;
	 * each has at least one.  0: count holds. */
	int64_t total;
};
struct ph_helpers;
struct ph_lease;
PH_API struct ph_helpers *ph_helpers_open(struct ph_worker *w, const struct ph_helper_spec *spec);
PH_API void ph_helpers_close(struct ph_helpers **pool);
/* got(arg, status): 0 with *out set when a helper is free, PH_EBUSY after
 * lease_wait, PH_EIO when none can be started.  The lease is the caller's
 * until ph_lease_end. */
PH_API struct ph_lease *ph_lease_begin(struct ph_helpers *pool,
                                       void (*got)(void *arg, int status), void *arg);
/* One request; answer(arg, status, bytes): status 0, PH_ETIMEOUT, PH_ECLOSED,
 * PH_EPROTO.  After a status other than 0 the lease is dead: end it. */
PH_API int  ph_lease_ask(struct ph_lease *lease, struct ph_str request,
                         void (*answer)(void *arg, int status, struct ph_str bytes),
                         void *arg) PH_MUST_USE;
/* broken: the helper misbehaved in the caller's eyes; kill it.  No callback of
 * the lease runs after it. */
PH_API void ph_lease_end(struct ph_lease **lease, bool broken);

PH_END_DECLS
#endif
