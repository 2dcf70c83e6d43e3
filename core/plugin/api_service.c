/*
 * api_service.c - timers, watched descriptors and work off the loop for
 * plugins.  Each is known to its worker, which closes what is left open.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/codec.h"
#include "plugin/private.h"

int64_t
ph_now(const struct ph_worker *w)
{
	return loop_now(w->wp->loop);
}

const void *
ph_worker_config(const struct ph_worker *w)
{
	return w->inst->config;
}

void *
ph_worker_storage(struct ph_worker *w)
{
	return w->storage;
}

void
ph_log_worker(struct ph_worker *w, enum ph_level level, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	if (!log_on(level))
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);    /* a longer text is cut */
	va_end(ap);
	log_event(level, &w->log, "plugin.log", LOG_C("plugin", w->inst->name),
	    LOG_C("text", text));
}

/* --- timers --- */

struct ph_timer {
	struct service service;
	struct timer timer;
	struct ph_worker *w;
	void (*fn)(void *arg);
	void *arg;
};

static void
timer_end(struct service *s)
{
	struct ph_timer *t = container_of(s, struct ph_timer, service);

	timer_stop(t->w->wp->loop, &t->timer);
	free(t);
}

static void
timer_fired(struct timer *timer)
{
	struct ph_timer *t = container_of(timer, struct ph_timer, timer);
	void (*fn)(void *) = t->fn;
	void *arg = t->arg;

	list_del(&t->service.link);
	free(t);                /* before fn, which may start the next one */
	fn(arg);
}

struct ph_timer *
ph_timer_start(struct ph_worker *w, ph_duration after, void (*fn)(void *arg), void *arg)
{
	struct ph_timer *t = mem_new(struct ph_timer);

	t->w = w;
	t->fn = fn;
	t->arg = arg;
	t->timer.fn = timer_fired;
	service_add(w, &t->service, timer_end);
	timer_start(w->wp->loop, &t->timer, after.ms > 0 ? after.ms : 0);
	return t;
}

void
ph_timer_stop(struct ph_timer **t)
{
	if (*t != NULL) {
		list_del(&(*t)->service.link);
		timer_end(&(*t)->service);
	}
	*t = NULL;
}

/* --- watched descriptors --- */

struct ph_watch {
	struct service service;
	struct watch *watch;
	void (*fn)(void *arg, unsigned events);
	void *arg;
};

static unsigned
to_stream_events(unsigned events)
{
	return (events & PH_READABLE ? STREAM_READ : 0) | (events & PH_WRITABLE ? STREAM_WRITE : 0);
}

static void
watch_ready(void *arg, unsigned ready)
{
	struct ph_watch *watch = arg;

	watch->fn(watch->arg, (ready & (STREAM_READ | STREAM_HANGUP) ? PH_READABLE : 0) |
	    (ready & STREAM_WRITE ? PH_WRITABLE : 0));
}

static void
watch_end(struct service *s)
{
	struct ph_watch *watch = container_of(s, struct ph_watch, service);

	watch_close(&watch->watch);
	free(watch);
}

struct ph_watch *
ph_watch_start(struct ph_worker *w, int fd, unsigned events,
               void (*fn)(void *arg, unsigned events), void *arg)
{
	struct ph_watch *watch = mem_new(struct ph_watch);

	watch->fn = fn;
	watch->arg = arg;
	watch->watch = watch_open(w->wp->loop, fd, to_stream_events(events), watch_ready, watch);
	if (watch->watch == NULL) {
		free(watch);
		return NULL;
	}
	service_add(w, &watch->service, watch_end);
	return watch;
}

void
ph_watch_events(struct ph_watch *watch, unsigned events)
{
	watch_events(watch->watch, to_stream_events(events));
}

void
ph_watch_stop(struct ph_watch **watch)
{
	if (*watch != NULL) {
		list_del(&(*watch)->service.link);
		watch_end(&(*watch)->service);
	}
	*watch = NULL;
}

/* --- work off the loop --- */

/* Not a service: it cannot be stopped, so it keeps the worker's plugins open. */
struct plug_work {
	struct worker_plugins *wp;
	void (*work)(void *arg), (*done)(void *arg);
	void *arg;
};

static void
work_run(void *arg)
{
	struct plug_work *job = arg;

	job->work(job->arg);
}

static void
work_done(void *arg)
{
	struct plug_work job = *(struct plug_work *)arg;

	free(arg);
	if (job.done != NULL)
		job.done(job.arg);
	worker_plugins_drop(job.wp);
}

int
ph_work(struct ph_worker *w, void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
	struct plug_work *job;
	int rc;

	if (w->wp->closed)      /* one that is only retired still has sessions */
		return PH_ECANCELED;
	job = mem_new(struct plug_work);
	*job = (struct plug_work){ w->wp, work, done, arg };
	worker_plugins_use(w->wp);
	rc = work_start(w->wp->loop, work_run, work_done, job);
	if (rc < 0) {
		free(job);
		worker_plugins_drop(w->wp);
	}
	return rc;
}

/* --- small tools --- */

int
ph_base64_encode(struct ph_str in, char *out, size_t room)
{
	struct buf b = { 0 };
	int n = PH_ELIMIT;

	codec_base64_encode(in, &b);
	if (b.len < room) {
		n = (int)b.len;
		if (b.len > 0)
			memcpy(out, b.data + b.head, b.len);
		out[b.len] = '\0';
	}
	if (b.data != NULL)
		mem_wipe(b.data, b.cap);
	buf_free(&b);
	return n;
}

int
ph_base64_decode(struct ph_str in, void *out, size_t room)
{
	struct buf b = { 0 };
	int n = codec_base64_decode(in, &b);

	if (n == 0) {
		n = b.len <= room ? (int)b.len : PH_ELIMIT;
		if (n > 0)
			memcpy(out, b.data + b.head, b.len);
	}
	if (b.data != NULL)
		mem_wipe(b.data, b.cap);
	buf_free(&b);
	return n;
}

void
ph_wipe(void *p, size_t n)
{
	mem_wipe(p, n);
}
