/*
 * watched.c - looks at a file once in a while and takes it when it has changed.
 *
 * By looking, not by inotify: that also works for files on a network, for those behind links that
 * are turned over (as containers mount them), and for ones that do not exist yet.
 *
 * A file that was replaced is taken at once.  One that was changed in place may be half written,
 * so it must look the same twice.
 */
#include "watched.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define LOOK_EVERY ((ph_duration){ 500 })

struct look {                           /* what tells one state of a file from another */
	bool there;
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec mtime, ctime;
};

struct watched {
	const struct watched_kind *kind;
	const char *path;
	const void *arg;
	pthread_mutex_t lock;
	void *object;
	bool claimed;                   /* some worker looks after it */
	struct look seen, before;       /* of what was read; of the last look */
};

static struct look
look_at(const char *path)
{
	struct look l = { 0 };
	struct stat st;

	if (stat(path, &st) == 0)
		l = (struct look){ true, st.st_dev, st.st_ino, st.st_size, st.st_mtim, st.st_ctim };
	return l;
}

static bool
same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool
same_file(const struct look *a, const struct look *b)
{
	return a->there == b->there && a->dev == b->dev && a->ino == b->ino;
}

static bool
same_look(const struct look *a, const struct look *b)
{
	return same_file(a, b) && a->size == b->size && same_time(a->mtime, b->mtime) &&
	       same_time(a->ctime, b->ctime);
}

struct watched *
watched_new(const struct watched_kind *kind, const char *path, const void *arg, void *initial)
{
	struct watched *f = calloc(1, sizeof *f);

	if (f == NULL || pthread_mutex_init(&f->lock, NULL) != 0) {
		free(f);
		return NULL;
	}
	f->kind = kind;
	f->path = path;
	f->arg = arg;
	f->object = initial;
	return f;
}

void
watched_free(struct watched **fp)
{
	struct watched *f = *fp;

	*fp = NULL;
	if (f == NULL)
		return;
	if (f->object != NULL)
		f->kind->unref(f->object);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

static void
take(struct watched *f, void *object)
{
	void *old;

	pthread_mutex_lock(&f->lock);
	old = f->object;
	f->object = object;
	pthread_mutex_unlock(&f->lock);
	if (old != NULL)
		f->kind->unref(old);
}

int
watched_load(struct watched *f, text_say say, void *say_arg)
{
	void *object = NULL;
	int rc;

	f->seen = f->before = look_at(f->path);
	rc = f->kind->read(f->path, f->arg, &object, say, say_arg);
	if (rc == 0)
		take(f, object);
	return rc;
}

void *
watched_get(struct watched *f)
{
	void *object;

	pthread_mutex_lock(&f->lock);
	object = f->object != NULL ? f->kind->ref(f->object) : NULL;
	pthread_mutex_unlock(&f->lock);
	return object;
}

/* --- the worker that looks after it --- */

static void
keep_said(void *arg, const char *text)
{
	struct watch *watch = arg;

	if (watch->said[0] == '\0')
		(void)snprintf(watch->said, sizeof watch->said, "%s", text);
}

/* On a pool thread; nobody else touches seen and before. */
static void
watch_look(void *arg)
{
	struct watch *watch = arg;
	struct watched *f = watch->f;
	struct look now = look_at(f->path);

	watch->changed = false;
	if (same_look(&now, &f->seen)) {
		f->before = now;
		return;
	}
	/* changed in place: wait until it is the same twice */
	if (same_file(&now, &f->seen) && !same_look(&now, &f->before)) {
		f->before = now;
		return;
	}
	f->seen = f->before = now;
	watch->changed = true;
	watch->said[0] = '\0';
	watch->found = NULL;
	watch->status = f->kind->read(f->path, f->arg, &watch->found, keep_said, watch);
}

static void watch_due(void *arg);

static void
watch_looked(void *arg)
{
	struct watch *watch = arg;
	const char *what = watch->f->kind->what;

	watch->working = false;
	if (watch->changed && watch->status == 0) {
		ph_log_worker(watch->w, PH_INFO, "%s read anew from %s: %zu entries", what,
		    watch->f->path, watch->f->kind->count(watch->found));
		take(watch->f, watch->found);
		watch->found = NULL;
	} else if (watch->changed && watch->status == PH_ENOENT) {
		ph_log_worker(watch->w, PH_WARN, "%s is gone; the %s of before stay in force",
		    watch->f->path, what);
	} else if (watch->changed) {
		ph_log_worker(watch->w, PH_ERROR, "%s; the %s of before stay in force",
		    watch->said[0] != '\0' ? watch->said : ph_strerror(watch->status), what);
	}
	if (!watch->ended)
		watch->timer = ph_timer_start(watch->w, LOOK_EVERY, watch_due, watch);
}

static void
watch_due(void *arg)
{
	struct watch *watch = arg;

	watch->timer = NULL;
	watch->working = ph_work(watch->w, watch_look, watch_looked, watch) == 0;
	if (!watch->working)
		watch->timer = ph_timer_start(watch->w, LOOK_EVERY, watch_due, watch);
}

void
watch_begin(struct watch *watch, struct watched *f, struct ph_worker *w)
{
	*watch = (struct watch){ .f = f, .w = w };
	if (f == NULL)
		return;
	pthread_mutex_lock(&f->lock);
	watch->mine = !f->claimed;
	f->claimed = true;
	pthread_mutex_unlock(&f->lock);
	if (watch->mine)
		watch->timer = ph_timer_start(w, LOOK_EVERY, watch_due, watch);
}

void
watch_end(struct watch *watch)
{
	watch->ended = true;
	if (watch->timer != NULL)
		ph_timer_stop(&watch->timer);
	if (!watch->mine)
		return;
	pthread_mutex_lock(&watch->f->lock);
	watch->f->claimed = false;
	pthread_mutex_unlock(&watch->f->lock);
}
