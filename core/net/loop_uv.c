/*
 * loop_uv.c - the event loop on libuv, and its only user: turns, timers, the
 * mailbox, watched descriptors, signals, work off the loop.  Streams, listeners
 * and child processes are built on its watches, in files of their own.
 *
 * A turn: timers, then deferred notes and the each-turn functions, then sleep,
 * then descriptors and the mailbox.  What a callback defers runs before the
 * loop sleeps again.
 */
#include <signal.h>
#include <stdlib.h>
#include <uv.h>
#include "base/abort.h"
#include "base/list.h"
#include "base/mem.h"
#include "net/loop_private.h"

enum {
	SETTLE_ROUNDS = 4,      /* of notes and each-turn functions, before descriptors get a turn */
	DEFER_ROUNDS = 16,      /* of notes deferring notes, before descriptors get a turn */
	FREE_LIMIT_MS = 2000,   /* for what was just closed, killed children too, to be gone */
	WORK_LIMIT_MS = 60 * 1000,      /* for work off the loop, which nothing can stop */
};

struct each_turn { void (*fn)(void *arg); void *arg; };

struct loop {
	uv_loop_t uv;
	uv_timer_t alarm;               /* for the earliest of timers */
	uv_prepare_t before_sleep;
	uv_check_t after_sleep;
	uv_idle_t awake;                /* active while notes are left over: no sleep */
	uv_async_t knock;
	struct ph_mailbox mailbox;
	_Atomic bool asleep;            /* or about to be: who posts must knock */
	struct heap timers;
	int64_t armed;                  /* when the alarm goes off; INT64_MAX: never */
	struct ph_note *deferred, **deferred_end;
	struct each_turn *each;
	size_t each_n;
	size_t open;                    /* objects of others that are still open */
	size_t works;                   /* of these: work off the loop */
	char *scratch;
};

struct watch {
	uv_poll_t poll;                 /* data: the watch; unused when fd is -1 */
	struct loop *l;
	void (*fn)(void *arg, unsigned ready);
	void *arg;
	struct ph_note note;            /* fd -1: tells that all is ready */
	int fd;
	uint8_t events;
	bool rearm, armed, noted, closed, gone;
	max_align_t extra[];
};

struct signal_watch { uv_signal_t sig; struct loop *l; void (*fn)(void *arg, int signum); void *arg; };

struct work { uv_work_t req; struct loop *l; void (*work)(void *); void (*done)(void *); void *arg; };

static void loop_alarm(uv_timer_t *h);

/* --- turns --- */

static void
run_deferred(struct loop *l)
{
	for (int round = 0; l->deferred != NULL && round < DEFER_ROUNDS; round++) {
		struct ph_note *n = l->deferred;
		l->deferred = NULL;
		l->deferred_end = &l->deferred;
		while (n != NULL) {
			struct ph_note *next = n->next;
			n->next = NULL;
			n->run(n);
			n = next;
		}
	}
}

static void loop_idle(uv_idle_t *h) { (void)h; }

static void
loop_before_sleep(uv_prepare_t *h)
{
	struct loop *l = h->data;
	bool settled = false;

	/* asleep is said before the mailbox is looked at for the last time, so a note is
	 * either seen here or its producer sees that it must knock. */
	for (int round = 0; round < SETTLE_ROUNDS && !settled; round++) {
		atomic_store(&l->asleep, false);
		(void)mailbox_run(&l->mailbox);
		run_deferred(l);
		for (size_t i = 0; i < l->each_n; i++)
			l->each[i].fn(l->each[i].arg);
		run_deferred(l);
		atomic_store(&l->asleep, true);
		settled = l->deferred == NULL && mailbox_empty(&l->mailbox);
	}
	if (settled)
		uv_idle_stop(&l->awake);
	else
		uv_idle_start(&l->awake, loop_idle);
}

static void
loop_after_sleep(uv_check_t *h)
{
	struct loop *l = h->data;

	atomic_store(&l->asleep, false);
	(void)mailbox_run(&l->mailbox);
}

static void
loop_knocked(uv_async_t *h)
{
	(void)h;        /* waking is all; the mailbox is looked at after sleep */
}

/* A loop that is at work looks into its mailbox before it sleeps. */
static void
loop_wake(struct ph_mailbox *m)
{
	struct loop *l = container_of(m, struct loop, mailbox);

	if (atomic_load(&l->asleep) && atomic_exchange(&l->asleep, false))
		uv_async_send(&l->knock);
}

static void
close_handles(struct loop *l)
{
	uv_handle_t *const v[] = { (uv_handle_t *)&l->alarm, (uv_handle_t *)&l->before_sleep,
	                           (uv_handle_t *)&l->after_sleep, (uv_handle_t *)&l->awake };
	for (size_t i = 0; i < sizeof v / sizeof v[0]; i++)
		uv_close(v[i], NULL);
	uv_run(&l->uv, UV_RUN_DEFAULT);
	int rc = uv_loop_close(&l->uv);
	if (rc != 0)
		ph_abort("uv_loop_close: %s", uv_strerror(rc));
}

struct loop *
loop_new(void)
{
	struct loop *l = mem_new(struct loop);
	if (uv_loop_init(&l->uv) != 0)
		goto fail;
	/* A peer or child that left must show as an error, never as a signal. */
	signal(SIGPIPE, SIG_IGN);
	l->armed = INT64_MAX;
	l->deferred_end = &l->deferred;
	mailbox_init(&l->mailbox, loop_wake);
	uv_timer_init(&l->uv, &l->alarm);
	uv_prepare_init(&l->uv, &l->before_sleep);
	uv_idle_init(&l->uv, &l->awake);
	uv_check_init(&l->uv, &l->after_sleep);
	if (uv_async_init(&l->uv, &l->knock, loop_knocked) != 0) {
		close_handles(l);
		goto fail;
	}
	l->alarm.data = l->before_sleep.data = l->after_sleep.data = l->awake.data = l->knock.data = l;
	uv_prepare_start(&l->before_sleep, loop_before_sleep);
	uv_check_start(&l->after_sleep, loop_after_sleep);
	l->scratch = mem_alloc(LOOP_SCRATCH);
	return l;
fail:
	free(l);
	return NULL;
}

/* Turns until *left is none, for limit_ms at most. */
static void
loop_settle(struct loop *l, const size_t *left, uint64_t limit_ms)
{
	uint64_t end = uv_hrtime() + limit_ms * 1000000;

	while ((*left != 0 || l->deferred != NULL) && uv_hrtime() < end) {
		uv_timer_start(&l->alarm, loop_alarm, 10, 0);
		uv_run(&l->uv, UV_RUN_ONCE);
		run_deferred(l);
	}
}

void
loop_free(struct loop **lp)
{
	struct loop *l = *lp;
	if (l == NULL)
		return;
	/* What was just closed or killed may need some turns; what nobody closed is our bug. */
	l->each_n = 0;          /* whose functions these are may be gone */
	run_deferred(l);
	loop_settle(l, &l->works, WORK_LIMIT_MS);
	loop_settle(l, &l->open, FREE_LIMIT_MS);
	if (l->open != 0)
		ph_abort("loop freed with %zu objects open", l->open);
	if (l->timers.n != 0)
		ph_abort("loop freed with %u timers active", (unsigned)l->timers.n);
	uv_close((uv_handle_t *)&l->knock, NULL);
	close_handles(l);
	heap_free(&l->timers);
	free(l->each);
	free(l->scratch);
	free(l);
	*lp = NULL;
}

void
loop_run(struct loop *l)
{
	uv_run(&l->uv, UV_RUN_DEFAULT);
}

void
loop_stop(struct loop *l)
{
	uv_stop(&l->uv);
}

int64_t
loop_now(const struct loop *l)
{
	return (int64_t)uv_now(&l->uv);
}

size_t
loop_busy(const struct loop *l)
{
	return l->open;
}

struct ph_mailbox *
loop_mailbox(struct loop *l)
{
	return &l->mailbox;
}

char *
loop_scratch(struct loop *l)
{
	return l->scratch;
}

void
loop_each_turn(struct loop *l, void (*fn)(void *arg), void *arg)
{
	l->each = mem_realloc(l->each, (l->each_n + 1) * sizeof *l->each);
	l->each[l->each_n++] = (struct each_turn){ fn, arg };
}

void
loop_defer(struct loop *l, struct ph_note *note)
{
	note->next = NULL;
	*l->deferred_end = note;
	l->deferred_end = &note->next;
}

/* --- timers --- */

static void
set_alarm(struct loop *l)
{
	struct heap_node *min = heap_min(&l->timers);
	if (min == NULL || min->key >= l->armed)
		return;
	int64_t after = min->key - loop_now(l);
	/* Not 0: libuv would run an alarm set by an alarm in the same turn, for ever. */
	uv_timer_start(&l->alarm, loop_alarm, after > 0 ? (uint64_t)after : 1, 0);
	l->armed = min->key;
}

static void
loop_alarm(uv_timer_t *h)
{
	struct loop *l = h->data;
	int64_t now = loop_now(l);
	/* No new alarm meanwhile.  No more than there are: a timer that restarts itself
	 * with 0 ms waits for the next turn. */
	l->armed = INT64_MIN;
	for (uint32_t most = l->timers.n; most > 0; most--) {
		struct heap_node *min = heap_min(&l->timers);
		if (min == NULL || min->key > now)
			break;
		heap_del(&l->timers, min);
		struct timer *t = container_of(min, struct timer, node);
		t->fn(t);
	}
	l->armed = INT64_MAX;
	set_alarm(l);
}

void
timer_start(struct loop *l, struct timer *t, int64_t after_ms)
{
	heap_put(&l->timers, &t->node, loop_now(l) + (after_ms > 0 ? after_ms : 0));
	set_alarm(l);
}

void
timer_stop(struct loop *l, struct timer *t)
{
	heap_del(&l->timers, &t->node);
}

/* --- watched descriptors --- */

static void
watch_release(struct watch *w)
{
	if (w->noted || !w->gone)
		return;
	w->l->open--;
	free(w);
}

static void
watch_closed(uv_handle_t *h)
{
	struct watch *w = h->data;
	w->gone = true;
	watch_release(w);
}

static void
watch_told(struct ph_note *note)
{
	struct watch *w = container_of(note, struct watch, note);
	w->noted = false;
	if (w->closed)
		watch_release(w);
	else if (w->events != 0)
		w->fn(w->arg, w->events);
}

static void watch_ready(uv_poll_t *h, int status, int events);

static void
watch_arm(struct watch *w)
{
	int events = (w->events & STREAM_READ ? UV_READABLE : 0) |
	             (w->events & STREAM_WRITE ? UV_WRITABLE : 0) |
	             (w->events & STREAM_HANGUP ? UV_DISCONNECT : 0);
	if (events == 0) {
		uv_poll_stop(&w->poll);
		w->armed = false;
	} else {
		uv_poll_start(&w->poll, events, watch_ready);
		w->armed = true;
	}
}

static void
watch_ready(uv_poll_t *h, int status, int events)
{
	struct watch *w = h->data;
	unsigned ready = 0;
	if (status < 0) {
		ready = w->events;      /* libuv has stopped it */
		w->armed = false;
	} else {
		if (events & UV_READABLE)
			ready |= STREAM_READ;
		if (events & UV_WRITABLE)
			ready |= STREAM_WRITE;
		if (events & UV_DISCONNECT)
			ready |= STREAM_HANGUP;
		ready &= w->events;
	}
	if (ready != 0)
		w->fn(w->arg, ready);
	if (status < 0 && w->rearm && !w->closed && !w->armed)
		watch_arm(w);
}

struct watch *
watch_make(struct loop *l, int fd, size_t extra, bool rearm)
{
	struct watch *w = mem_calloc(1, sizeof *w + extra);
	w->l = l;
	w->fd = fd;
	w->rearm = rearm;
	w->note.run = watch_told;
	if (fd >= 0) {
		if (uv_poll_init(&l->uv, &w->poll, fd) != 0) {
			free(w);
			return NULL;
		}
		w->poll.data = w;
	}
	l->open++;
	return w;
}

void *
watch_extra(struct watch *w)
{
	return w->extra;
}

struct watch *
watch_of(void *extra)
{
	return (struct watch *)((char *)extra - offsetof(struct watch, extra));
}

int
watch_fd(const struct watch *w)
{
	return w->fd;
}

void
watch_set(struct watch *w, unsigned events, void (*fn)(void *arg, unsigned ready), void *arg)
{
	w->fn = fn;
	w->arg = arg;
	watch_events(w, events);
}

struct watch *
watch_open(struct loop *l, int fd, unsigned events, void (*fn)(void *arg, unsigned ready), void *arg)
{
	struct watch *w = fd < 0 ? NULL : watch_make(l, fd, 0, false);
	if (w != NULL)
		watch_set(w, events, fn, arg);
	return w;
}

void
watch_events(struct watch *w, unsigned events)
{
	bool same = w->events == events && w->armed == (events != 0);
	w->events = (uint8_t)events;
	if (w->fd >= 0) {
		if (!same)
			watch_arm(w);   /* costs two system calls: only when it changes */
	} else if (events != 0 && !w->noted) {
		w->noted = true;
		loop_defer(w->l, &w->note);
	}
}

void
watch_close(struct watch **wp)
{
	struct watch *w = *wp;
	if (w == NULL)
		return;
	*wp = NULL;
	w->closed = true;
	w->events = 0;
	if (w->fd >= 0) {
		uv_close((uv_handle_t *)&w->poll, watch_closed);
	} else {                        /* freed by its note: this may be its callback */
		w->gone = true;
		if (!w->noted)
			loop_defer(w->l, &w->note);
		w->noted = true;
	}
}

/* --- signals --- */

static void
signal_caught(uv_signal_t *h, int signum)
{
	struct signal_watch *s = h->data;
	s->fn(s->arg, signum);
}

static void
signal_closed(uv_handle_t *h)
{
	struct signal_watch *s = h->data;
	s->l->open--;
	free(s);
}

struct signal_watch *
signal_open(struct loop *l, int signum, void (*fn)(void *arg, int signum), void *arg)
{
	struct signal_watch *s = mem_new(struct signal_watch);
	*s = (struct signal_watch){ .sig.data = s, .l = l, .fn = fn, .arg = arg };
	if (uv_signal_init(&l->uv, &s->sig) != 0) {
		free(s);
		return NULL;
	}
	l->open++;
	if (uv_signal_start(&s->sig, signal_caught, signum) != 0)
		signal_close(&s);
	return s;
}

void
signal_close(struct signal_watch **sp)
{
	struct signal_watch *s = *sp;
	*sp = NULL;
	if (s != NULL)
		uv_close((uv_handle_t *)&s->sig, signal_closed);
}

/* --- work off the loop --- */

static void
work_run(uv_work_t *req)
{
	struct work *w = req->data;
	w->work(w->arg);
}

static void
work_done(uv_work_t *req, int status)
{
	struct work *w = req->data;
	(void)status;                   /* we never cancel */
	w->l->open--;
	w->l->works--;
	w->done(w->arg);
	free(w);
}

int
work_start(struct loop *l, void (*work)(void *), void (*done)(void *), void *arg)
{
	struct work *w = mem_new(struct work);
	*w = (struct work){ .req.data = w, .l = l, .work = work, .done = done, .arg = arg };
	if (uv_queue_work(&l->uv, &w->req, work_run, work_done) != 0) {
		free(w);
		return PH_ENOMEM;
	}
	l->open++;
	l->works++;
	return 0;
}
