/*
 * fake_loop.c - turns, timers, notes, watches, signals and work of the fake
 * loop.  fake_loop.h tells how it behaves.
 */
#include <poll.h>
#include <stdlib.h>
#include <time.h>
#include "base/abort.h"
#include "base/clock.h"
#include "base/mem.h"
#include "fake_private.h"

enum { ROUNDS_MOST = 1000000, START_MS = 1000000, AWAIT_MS = 10000 };
static const int64_t start_wall_ms = 1767225600000;     /* 2026-01-01T00:00:00Z */

struct each_turn { void (*fn)(void *arg); void *arg; };

struct loop {
	struct list link;
	struct ph_mailbox mailbox;
	struct heap timers;
	struct ph_note *deferred, **deferred_end;
	struct each_turn *each;
	size_t each_n, open;
	bool fired;             /* a timer ran since the last turn: it ends one, too */
	struct list watches, signals;
	char *scratch;
	bool stopped;
};

struct watch {
	struct list link;
	struct loop *l;
	struct ph_note note;    /* frees it */
	int fd;
	unsigned events;
	void (*fn)(void *arg, unsigned ready);
	void *arg;
};

struct signal_watch {
	struct list link;
	struct ph_note note;    /* frees it */
	struct loop *l;
	int signum;
	size_t pending;
	void (*fn)(void *arg, int signum);
	void *arg;
};

struct work {
	struct ph_note note;
	struct loop *l;
	void (*work)(void *);
	void (*done)(void *);
	void *arg;
};

static int64_t now_ms = START_MS;
static struct list loops = { &loops, &loops };

static int64_t fake_mono_us(void) { return now_ms * 1000; }
static int64_t fake_wall_us(void) { return (start_wall_ms + now_ms - START_MS) * 1000; }
static const struct clock fake_clock = { fake_mono_us, fake_wall_us };

/* --- turns --- */

static void
fake_wake(struct ph_mailbox *m)
{
	(void)m;                /* every round looks into every mailbox */
}

struct loop *
loop_new(void)
{
	struct loop *l = mem_new(struct loop);
	clock_use(&fake_clock);
	l->deferred_end = &l->deferred;
	list_init(&l->watches);
	list_init(&l->signals);
	mailbox_init(&l->mailbox, fake_wake);
	l->scratch = mem_alloc(LOOP_SCRATCH);
	list_push_back(&loops, &l->link);
	return l;
}

static bool
run_deferred(struct loop *l)
{
	struct ph_note *n = l->deferred;
	bool some = n != NULL;
	l->deferred = NULL;
	l->deferred_end = &l->deferred;
	while (n != NULL) {
		struct ph_note *next = n->next;
		n->next = NULL;
		n->run(n);
		n = next;
	}
	return some;
}

static bool
run_watches(struct loop *l)
{
	list_each(it, &l->watches) {
		struct watch *w = container_of(it, struct watch, link);
		struct pollfd p = {
			.fd = w->fd,
			.events = (short)((w->events & STREAM_READ ? POLLIN : 0) |
			                  (w->events & STREAM_WRITE ? POLLOUT : 0)),
		};
		if (w->events == 0 || poll(&p, 1, 0) <= 0)
			continue;
		unsigned ready = (p.revents & POLLIN ? STREAM_READ : 0u) |
		                 (p.revents & POLLOUT ? STREAM_WRITE : 0u);
		if (p.revents & (POLLERR | POLLHUP | POLLNVAL))
			ready = w->events;
		w->fn(w->arg, ready & w->events);
		return true;    /* the list may have changed: the rest in the next round */
	}
	return false;
}

static bool
run_signals(struct loop *l)
{
	list_each(it, &l->signals) {
		struct signal_watch *s = container_of(it, struct signal_watch, link);
		if (s->pending > 0) {
			s->pending--;
			s->fn(s->arg, s->signum);
			return true;
		}
	}
	return false;
}

/* One turn; true when there was anything to do. */
static bool
turn(struct loop *l)
{
	bool some = l->fired;
	l->fired = false;
	some |= mailbox_run(&l->mailbox) > 0;
	some |= run_signals(l);
	some |= run_watches(l);
	some |= fake_streams_step(l);
	some |= fake_processes_step(l);
	while (run_deferred(l))
		some = true;
	if (some) {
		for (size_t i = 0; i < l->each_n; i++)
			l->each[i].fn(l->each[i].arg);
	}
	return some || l->deferred != NULL;
}

size_t
fake_run_until_idle(void)
{
	size_t rounds = 0;
	bool some = true;
	while (some) {
		some = false;
		list_each_safe(it, &loops)
			some |= turn(container_of(it, struct loop, link));
		if (some && ++rounds > ROUNDS_MOST)
			ph_abort("the code under test spins: %zu rounds without an end", rounds);
	}
	return rounds;
}

int64_t
fake_now(void)
{
	return now_ms;
}

static struct loop *
earliest(void)
{
	struct loop *first = NULL;
	list_each(it, &loops) {
		struct loop *l = container_of(it, struct loop, link);
		struct heap_node *min = heap_min(&l->timers);
		if (min != NULL && (first == NULL || min->key < heap_min(&first->timers)->key))
			first = l;
	}
	return first;
}

int64_t
fake_next_timer(void)
{
	struct loop *l = earliest();
	return l == NULL ? INT64_MAX : heap_min(&l->timers)->key;
}

/* Runs the earliest timer at its time if that is not after end. */
static bool
run_timer(int64_t end)
{
	struct loop *l = earliest();
	struct heap_node *min = l == NULL ? NULL : heap_min(&l->timers);
	if (min == NULL || min->key > end)
		return false;
	if (min->key > now_ms)
		now_ms = min->key;
	heap_del(&l->timers, min);
	struct timer *t = container_of(min, struct timer, node);
	l->fired = true;
	t->fn(t);
	return true;
}

void
fake_loop_advance(int64_t ms)
{
	int64_t end = now_ms + ms;
	size_t rounds = 0;
	do {
		fake_run_until_idle();
		if (++rounds > ROUNDS_MOST)
			ph_abort("timers without an end");
	} while (run_timer(end));
	now_ms = end;
}

bool
fake_await(bool (*done)(void *arg), void *arg)
{
	const struct timespec pause = { .tv_nsec = 200000 };
	struct timespec a, b;
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (;;) {
		fake_run_until_idle();
		if (done(arg))
			return true;
		clock_gettime(CLOCK_MONOTONIC, &b);
		if ((b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000 > AWAIT_MS)
			return false;
		nanosleep(&pause, NULL);
	}
}

void
loop_run(struct loop *l)
{
	for (l->stopped = false; !l->stopped; ) {
		if (turn(l))
			continue;
		fake_run_until_idle();
		if (!l->stopped && !run_timer(INT64_MAX))
			ph_abort("the loop would sleep for ever");
	}
}

void
loop_stop(struct loop *l)
{
	l->stopped = true;
}

void
loop_free(struct loop **lp)
{
	struct loop *l = *lp;
	if (l == NULL)
		return;
	while (turn(l))
		;
	if (l->open != 0)
		ph_abort("loop freed with %zu objects open", l->open);
	if (heap_min(&l->timers) != NULL)
		ph_abort("loop freed with %u timers active", (unsigned)l->timers.n);
	list_del(&l->link);
	heap_free(&l->timers);
	free(l->each);
	free(l->scratch);
	free(l);
	*lp = NULL;
}

int64_t
loop_now(const struct loop *l)
{
	(void)l;
	return now_ms;
}

size_t
loop_busy(const struct loop *l)
{
	return l->open;
}

void
fake_opened(struct loop *l, int change)
{
	l->open += (size_t)change;
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

void
timer_start(struct loop *l, struct timer *t, int64_t after_ms)
{
	heap_put(&l->timers, &t->node, now_ms + (after_ms > 0 ? after_ms : 0));
}

void
timer_stop(struct loop *l, struct timer *t)
{
	heap_del(&l->timers, &t->node);
}

/* --- watches, signals, work --- */

static void
watch_release(struct ph_note *note)
{
	free(container_of(note, struct watch, note));
}

struct watch *
watch_open(struct loop *l, int fd, unsigned events, void (*fn)(void *arg, unsigned ready), void *arg)
{
	if (fd < 0)
		return NULL;
	struct watch *w = mem_new(struct watch);
	*w = (struct watch){ .l = l, .fd = fd, .events = events, .fn = fn, .arg = arg };
	w->note.run = watch_release;
	list_push_back(&l->watches, &w->link);
	l->open++;
	return w;
}

void
watch_events(struct watch *w, unsigned events)
{
	w->events = events;
}

void
watch_close(struct watch **wp)
{
	struct watch *w = *wp;
	if (w == NULL)
		return;
	*wp = NULL;
	list_del(&w->link);
	w->l->open--;
	loop_defer(w->l, &w->note);
}

static void
signal_release(struct ph_note *note)
{
	free(container_of(note, struct signal_watch, note));
}

struct signal_watch *
signal_open(struct loop *l, int signum, void (*fn)(void *arg, int signum), void *arg)
{
	struct signal_watch *s = mem_new(struct signal_watch);
	*s = (struct signal_watch){ .l = l, .signum = signum, .fn = fn, .arg = arg };
	s->note.run = signal_release;
	list_push_back(&l->signals, &s->link);
	l->open++;
	return s;
}

void
signal_close(struct signal_watch **sp)
{
	struct signal_watch *s = *sp;
	if (s == NULL)
		return;
	*sp = NULL;
	list_del(&s->link);
	s->l->open--;
	loop_defer(s->l, &s->note);
}

void
fake_signal(int signum)
{
	list_each(it, &loops) {
		struct loop *l = container_of(it, struct loop, link);
		list_each(at, &l->signals) {
			struct signal_watch *s = container_of(at, struct signal_watch, link);
			s->pending += s->signum == signum;
		}
	}
}

static void
work_do(struct ph_note *note)
{
	struct work *w = container_of(note, struct work, note);
	w->work(w->arg);
	w->l->open--;
	w->done(w->arg);
	free(w);
}

int
work_start(struct loop *l, void (*work)(void *), void (*done)(void *), void *arg)
{
	struct work *w = mem_new(struct work);
	*w = (struct work){ { NULL, work_do }, l, work, done, arg };
	l->open++;
	loop_defer(l, &w->note);
	return 0;
}

void
fake_reset_world(void)
{
	ph_assert(list_empty(&loops));
	fake_streams_forget();
	fake_processes_forget();
	now_ms = START_MS;
}
