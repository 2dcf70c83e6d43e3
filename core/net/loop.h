/*
 * loop.h - the seam: everything that waits goes through here.  loop_uv.c is
 * the real one and the only user of libuv; tests link a fake with virtual
 * time and scripted peers.
 *
 * One loop belongs to one thread.  Only ph_post to its mailbox comes from others.
 */
#ifndef NET_LOOP_H
#define NET_LOOP_H

#include <sys/uio.h>
#include <sys/socket.h>
#include "base/heap.h"
#include "base/mailbox.h"

struct loop;
struct loop *loop_new(void);            /* NULL: no descriptors left */
void loop_free(struct loop **l);        /* everything on it must be closed; runs what is deferred */
size_t loop_busy(const struct loop *l); /* what is still open on it: streams, watches, processes, ... */
void loop_run(struct loop *l);          /* until loop_stop */
void loop_stop(struct loop *l);         /* own thread */
int64_t loop_now(const struct loop *l); /* monotonic ms, of this turn */
struct ph_mailbox *loop_mailbox(struct loop *l);
/* fn runs after each turn, before sleeping: flush logs, send gathered output. */
void loop_each_turn(struct loop *l, void (*fn)(void *arg), void *arg);
/* Runs note->run on a clean stack, later in this turn or in the next. */
void loop_defer(struct loop *l, struct ph_note *note);
/* LOOP_SCRATCH bytes that belong to nobody between two callbacks of the loop, cut
 * up in conn.c: what is read lands here, so that idle connections hold nothing. */
enum { LOOP_SCRATCH = 216 * 1024, LOOP_SCRATCH_READ = 64 * 1024 };
char *loop_scratch(struct loop *l);

/* --- timers: many, intrusive, cheap --- */
struct timer { struct heap_node node; void (*fn)(struct timer *t); };
void timer_start(struct loop *l, struct timer *t, int64_t after_ms);    /* (re)starts; fn set before */
void timer_stop(struct loop *l, struct timer *t);                       /* harmless when idle */
static inline bool timer_active(const struct timer *t) { return heap_has(&t->node); }

/* --- streams: one socket each, non-blocking --- */
struct stream;
/* STREAM_HANGUP: the peer has ended its side, though it may not all be read yet. */
enum { STREAM_READ = 1, STREAM_WRITE = 2, STREAM_HANGUP = 4 };
typedef void (*stream_fn)(void *arg, unsigned ready);
/* > 0 bytes, 0 end of file, PH_EBUSY would block, other PH_E*. */
ssize_t stream_read(struct stream *s, void *p, size_t n);
ssize_t stream_write(struct stream *s, const struct iovec *iov, int n);
void stream_watch(struct stream *s, unsigned events, stream_fn fn, void *arg);
void stream_shutdown(struct stream *s);         /* half-close: no more writing */
void stream_close(struct stream **s);           /* NULLs; no callback after it */
void stream_peer(const struct stream *s, struct ph_addr *out);
void stream_local(const struct stream *s, struct ph_addr *out);
/* Starts connecting; STREAM_WRITE is ready when it has an outcome, which
 * stream_connected tells: 0 or PH_E*.  Never NULL: what fails at once, fails so. */
struct stream *stream_connect(struct loop *l, const struct ph_addr *to, const struct ph_addr *from);
int  stream_connected(struct stream *s);
struct stream *stream_connect_unix(struct loop *l, const char *path);

/* --- listeners --- */
struct listener;
/* got takes the stream.  Out of descriptors: one waiting connection is told the
 * text of listener_full and closed (a spare descriptor), accepting pauses for 100 ms. */
struct listener *listener_open(struct loop *l, int fd, void (*got)(void *arg, struct stream *s), void *arg);
void listener_full(struct listener *ln, const char *text);      /* "421 ...\r\n"; must outlive it */
void listener_pause(struct listener *ln, bool pause);
void listener_close(struct listener **ln);      /* closes the loop's use; fd stays the caller's */
/* Bound and listening descriptors; main thread, before privileges drop. >= 0 or -errno.
 * Family 0: all addresses of both families.
 * path for unix sockets (mode applied). */
int listen_tcp(const struct ph_addr *at, bool reuseport, int backlog);
int listen_unix(const char *path, unsigned mode);

/* --- watched descriptors --- */
/* events as for streams.  After an error on the descriptor fn is told all it waits for, and
 * nothing more before the next watch_events. */
struct watch;
struct watch *watch_open(struct loop *l, int fd, unsigned events, void (*fn)(void *arg, unsigned ready), void *arg);
void watch_events(struct watch *w, unsigned events);
void watch_close(struct watch **w);

/* --- signals (main loop) --- */
struct signal_watch;
struct signal_watch *signal_open(struct loop *l, int signum, void (*fn)(void *arg, int signum), void *arg);
void signal_close(struct signal_watch **s);

/* --- work off the loop --- */
int work_start(struct loop *l, void (*work)(void *), void (*done)(void *), void *arg);

/* --- child processes --- */
struct process;
struct process_events {
	void (*output)(void *arg, struct ph_str bytes);         /* stdout */
	void (*error_output)(void *arg, struct ph_str bytes);   /* stderr */
	void (*ended)(void *arg, int status, int signum);       /* once, last; then it is gone */
};
/* argv ends with NULL. NULL: cannot be started (errno kept in *err as PH_E* or -errno). */
struct process *process_start(struct loop *l, const char *const *argv, const struct process_events *ev, void *arg,
	int *err);
int  process_write(struct process *p, const void *data, size_t n);     /* copies; 0 or PH_E* */
bool process_spoke(struct process *p);          /* stdout has bytes that output() was not told yet */
void process_kill(struct process *p, int signum);       /* it and what it has started */
void process_forget(struct process **p);        /* kill -9, no callback any more */

#endif
