/*
 * embedded.c - the embedded store as the queue sees it: opened, asked, closed.
 */
#include <unistd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/mem.h"
#include "store/embedded.h"

#define SEGMENT_LEAST (64u << 10)
#define SEGMENT_MOST (1u << 30)

void
embedded_log(const struct embedded *e, enum ph_level level, const char *event, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	if (e->cfg.log == NULL)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	e->cfg.log(e->arg, (int)level, event, text);
}

int
embedded_error(int rc)
{
	switch (rc) {
	case -ENOSPC:
	case -EDQUOT:
		return PH_ENOSPC;
	case -ENOENT:
		return PH_ENOENT;
	case -EACCES:
	case -EPERM:
	case -EROFS:
		return PH_EPERM;
	default:
		return rc < -4000 ? rc : PH_EIO;
	}
}

void
embedded_path(const struct embedded *e, char out[STORE_PATH], const char *kind, uint64_t number)
{
	(void)snprintf(out, STORE_PATH, "%s/%s-%016llx.log", e->dir, kind, (unsigned long long)number);
}

void
embedded_reserve_path(const struct embedded *e, char out[STORE_PATH])
{
	(void)snprintf(out, STORE_PATH, "%s/reserve.log", e->dir);
}

void
embedded_large_path(const struct embedded *e, char out[STORE_PATH], struct ph_msgid id, uint32_t tag)
{
	char text[PH_MSGID_TEXT];

	(void)snprintf(out, STORE_PATH, "%s/%s-%08lx", e->large, id_text(id, text), (unsigned long)tag);
}

static void
run_done(struct ph_note *n)
{
	struct ph_store_request *r = request_of(n);

	r->done(r);
}

void
embedded_complete(struct ph_store_request *r, int status)
{
	r->status = status;
	if (r->done == NULL) {
		if (r->drop != NULL)
			r->drop(r);
		return;
	}
	r->note.run = run_done;
	ph_post(r->home, &r->note);
}

void
answers_add(struct embedded *e, struct ph_store_request *r)
{
	struct answers *a = e->answers, *end = a + ANSWER_HOMES;

	while (a < end && a->home != NULL && a->home != r->home)
		a++;
	if (r->done == NULL || a == end) {
		embedded_complete(r, 0);
		return;
	}
	r->status = 0;
	r->note.run = run_done;
	a->home = r->home;
	outbox_add(&a->box, &r->note);
}

void
answers_post(struct embedded *e)
{
	for (struct answers *a = e->answers; a < e->answers + ANSWER_HOMES && a->home != NULL; a++) {
		outbox_post(&a->box, a->home);
		a->home = NULL;
	}
}

static void
embedded_submit(struct ph_store *s, struct ph_store_request *r)
{
	struct embedded *e = embedded_of(s);
	bool reads = r->op == PH_STORE_READ || r->op == PH_STORE_READ_PART;

	if (e->cfg.readonly && !reads) {
		embedded_complete(r, PH_EPERM);
		return;
	}
	switch (r->op) {
	case PH_STORE_APPEND:
		r->want = r->offset = 0;
		if (r->content == NULL || ph_content_size(r->content) > e->cfg.spill_above)
			spill_submit(e, r);
		else
			ph_post(&e->urgent, &r->note);
		break;
	case PH_STORE_PART:
	case PH_STORE_ABANDON:
		spill_submit(e, r);
		break;
	case PH_STORE_PROGRESS:
	case PH_STORE_REMOVE:
		r->want = r->offset = 0;
		ph_post(&e->lazy, &r->note);
		break;
	case PH_STORE_READ:
	case PH_STORE_READ_PART:
		fetch_submit(e->fetcher, r);
		break;
	default:
		embedded_complete(r, PH_ENOTSUP);
	}
}

static void
embedded_facts(struct ph_store *s, struct ph_store_facts *out)
{
	struct embedded *e = embedded_of(s);

	pthread_mutex_lock(&e->lock);
	*out = e->facts.f;
	out->live = e->table.n;
	out->segments = e->nsegments;
	out->bytes_live = out->bytes_used = e->facts.large;
	for (size_t i = 0; i < e->nsegments; i++) {
		out->bytes_live += e->segments[i]->live_bytes + segment_debt(e->segments[i]);
		out->bytes_used += e->segments[i]->size;
	}
	pthread_mutex_unlock(&e->lock);
}

void
ph_store_release(struct ph_store_request *r)
{
	free(r->buffer);
	r->buffer = NULL;
	r->meta = r->progress = r->bytes = (struct ph_str){ NULL, 0 };
}

static void *
committer_main(void *arg)
{
	struct embedded *e = arg;

	company_thread();
	for (;;) {
		while (commit_cycle(e))
			;
		if (atomic_load(&e->closing))
			return NULL;
		park_wait(&e->park, commit_wait(e));
	}
}

enum { SCANNER_NICE = 10 };

static void *
scanner_main(void *arg)
{
	struct embedded *e = arg;

	/* Those who want to hand in new mail come first; only this thread is meant. */
	(void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), SCANNER_NICE);
	while (!atomic_load(&e->closing) && recover_step(e))
		;
	park_wake(&e->park);
	fetch_wake(e->fetcher);
	return NULL;
}

static void
destroy(struct embedded *e)
{
	for (size_t i = 0; i < e->nsegments; i++) {
		if (e->segments[i]->fd >= 0)
			(void)e->io->close(e->segments[i]->fd); /* synced as far as it was promised */
		segment_free(&e->segments[i]);
	}
	free(e->segments);
	table_free(&e->table);
	recover_free(e);
	for (size_t i = 0; i < SPILLERS; i++)
		spill_free(&e->spillers[i]);
	fetch_free(&e->fetcher);
	commit_done(e);
	if (e->lock_fd >= 0)
		(void)e->io->close(e->lock_fd);
	(void)pthread_mutex_destroy(&e->lock);
	free(e->dir);
	free(e->large);
	free(e->quarantine);
	free(e);
}

/* Each stage ends before the one it hands work to. */
static void
embedded_close(struct ph_store *s)
{
	struct embedded *e = embedded_of(s);

	atomic_store(&e->closing, true);
	if (e->scan_started)
		(void)pthread_join(e->scan_thread, NULL);
	for (size_t i = 0; i < SPILLERS; i++)
		spill_stop(e->spillers[i]);
	park_wake(&e->park);
	if (e->committer_started)
		(void)pthread_join(e->committer_thread, NULL);
	if (!e->cfg.readonly)
		commit_drain(e);
	for (size_t i = 0; i < SPILLERS; i++)   /* files of what was removed last */
		spill_stop(e->spillers[i]);
	fetch_stop(e->fetcher);
	destroy(e);
}

static const struct ph_store_ops embedded_ops = {
	.size = sizeof(struct ph_store_ops),
	.submit = embedded_submit, .facts = embedded_facts, .close = embedded_close,
};

static int
refuse_open(struct embedded *e, int code, char *why, size_t why_size, const char *fmt, ...)
	PH_PRINTF(5, 6);
static int
refuse_open(struct embedded *e, int code, char *why, size_t why_size, const char *fmt, ...)
{
	va_list ap;

	if (fmt != NULL) {
		va_start(ap, fmt);
		(void)vsnprintf(why, why_size, fmt, ap);
		va_end(ap);
	}
	destroy(e);
	return code;
}

static char *
below(const char *dir, const char *name)
{
	size_t n = strlen(dir) + strlen(name) + 2;
	char *p = mem_alloc(n);

	(void)snprintf(p, n, "%s/%s", dir, name);
	return p;
}

/* The spool's own name is durable before anything in it is promised. */
static void
sync_parent(struct embedded *e)
{
	char *parent = mem_strdup(e->dir), *slash = strrchr(parent, '/');

	if (slash == parent)
		slash[1] = '\0';
	else if (slash != NULL)
		*slash = '\0';
	/* may not be ours to open; then whoever made the spool saw to it */
	(void)e->io->syncdir(slash != NULL ? parent : ".");
	free(parent);
}

static int
take_spool(struct embedded *e, char *why, size_t why_size)
{
	const struct store_io *io = e->io;
	char *path;
	int rc = 0;

	if (!e->cfg.readonly) {
		rc = io->mkdir(e->dir, 0700);
		if (rc < 0) {
			(void)snprintf(why, why_size, "%s cannot be made: %s", e->dir, strerror(-rc));
			return embedded_error(rc);
		}
		sync_parent(e);
	}
	if (io->untrusted(e->dir, e->cfg.readonly, why, why_size) != NULL)
		return PH_EPERM;
	if (e->cfg.readonly)
		return 0;
	path = below(e->dir, "lock");
	e->lock_fd = io->open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	rc = e->lock_fd < 0 ? e->lock_fd : io->lock(e->lock_fd);
	if (rc == -EWOULDBLOCK)
		(void)snprintf(why, why_size, "%s is in use by another daemon", e->dir);
	else if (rc < 0)
		(void)snprintf(why, why_size, "%s: %s", path, strerror(-rc));
	free(path);
	if (rc < 0)
		return rc == -EWOULDBLOCK ? PH_EBUSY : embedded_error(rc);
	if ((rc = io->mkdir(e->large, 0700)) < 0 || (rc = io->mkdir(e->quarantine, 0700)) < 0) {
		(void)snprintf(why, why_size, "%s: %s", e->dir, strerror(-rc));
		return embedded_error(rc);
	}
	return 0;
}

static int
start_threads(struct embedded *e)
{
	int rc = fetch_start(e->fetcher);

	for (size_t i = 0; i < SPILLERS && rc == 0 && !e->cfg.readonly; i++)
		rc = spill_start(e->spillers[i]);
	if (rc == 0 && !e->cfg.readonly) {
		e->committer_started = pthread_create(&e->committer_thread, NULL, committer_main, e) == 0;
		rc = e->committer_started ? 0 : PH_ENOMEM;
	}
	if (rc == 0) {
		e->scan_started = pthread_create(&e->scan_thread, NULL, scanner_main, e) == 0;
		rc = e->scan_started ? 0 : PH_ENOMEM;
	}
	return rc;
}

int
embedded_open(const struct store_config *cfg, const struct ph_store_events *ev, void *arg,
    struct ph_store **out, char *why, size_t why_size)
{
	struct embedded *e = mem_new(struct embedded);
	int rc;

	e->base.ops = &embedded_ops;
	e->cfg = *cfg;
	e->io = cfg->io != NULL ? cfg->io : &store_io_posix;
	e->ev = ev;
	e->arg = arg;
	e->lock_fd = -1;
	e->dir = mem_strdup(cfg->dir);
	e->large = below(cfg->dir, "large");
	e->quarantine = below(cfg->dir, "quarantine");
	if (e->cfg.segment_size == 0)
		e->cfg.segment_size = 64u << 20;
	if (e->cfg.spill_above == 0)
		e->cfg.spill_above = 256u << 10;
	if (e->cfg.lazy_ms <= 0)
		e->cfg.lazy_ms = 50;
	(void)pthread_mutex_init(&e->lock, NULL);
	commit_init(e);
	e->fetcher = fetch_new(e);
	for (size_t i = 0; i < SPILLERS; i++)
		e->spillers[i] = spill_new(e);
	do
		id_random(&e->tag, sizeof e->tag);
	while (e->tag == 0);
	if (e->cfg.segment_size < SEGMENT_LEAST || e->cfg.segment_size > SEGMENT_MOST ||
	    e->cfg.segment_size % 4096 != 0)
		return refuse_open(e, PH_EINVAL, why, why_size, "segments must be %u KiB to %u MiB in steps of 4 KiB",
		    SEGMENT_LEAST >> 10, SEGMENT_MOST >> 20);
	if (e->cfg.spill_above > e->cfg.segment_size / 4)
		e->cfg.spill_above = e->cfg.segment_size / 4;
	if (strlen(cfg->dir) > STORE_PATH - 100)
		return refuse_open(e, PH_EINVAL, why, why_size, "the spool's name is too long");
	rc = take_spool(e, why, why_size);
	if (rc != 0)
		return refuse_open(e, rc, why, why_size, NULL);
	rc = recover_open(e);
	if (rc < 0)
		return refuse_open(e, embedded_error(rc), why, why_size, "%s: %s", e->dir, strerror(-rc));
	if (!e->cfg.readonly)
		segment_reserve(e);
	if (cfg->threads && start_threads(e) != 0) {
		(void)snprintf(why, why_size, "no thread can be started");
		embedded_close(&e->base);
		return PH_ENOMEM;
	}
	*out = &e->base;
	return 0;
}

bool
embedded_pump(struct ph_store *s)
{
	struct embedded *e = embedded_of(s);
	bool did = recover_step(e);

	if (!e->cfg.readonly) {
		for (size_t i = 0; i < SPILLERS; i++)
			did |= spill_cycle(e->spillers[i]);
		did |= commit_cycle(e);
	}
	return fetch_cycle(e->fetcher) || did;
}
