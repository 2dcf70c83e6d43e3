/*
 * helper.c - pools of helper processes that answer requests.
 *
 * A helper's answers carry no mark of whom they are for, so the one rule that
 * matters is that no answer can ever reach another lease: a helper is reused
 * only when everything asked was answered and it has said nothing else; in
 * all other cases it is killed.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/helper.h"

enum {
	WAITING_MOST = 1024, REQUEST_MOST = 512 * 1024, ERROR_LINE = 400,
	ERROR_LINES = 10, ERROR_WINDOW_MS = 1000,       /* lines of stderr logged per second */
};

struct helper {
	struct list link;
	struct helper_pool *pool;
	struct process *p;
	struct helper_lease *lease;     /* NULL: free */
	struct buf in;                  /* of the answer that is awaited */
	struct buf err;                 /* of the line of stderr that is not complete */
};

struct helper_lease {
	struct list link;               /* waits in the pool */
	struct helper_pool *pool;       /* NULL: the pool is gone */
	struct helper *helper;          /* NULL: waits, or lost it */
	void (*got)(void *arg, int status);
	void *arg;
	void (*answer)(void *arg, int status, struct ph_str bytes);     /* NULL: nothing asked */
	void *answer_arg;
	struct timer timer;             /* lease_wait, then answer_limit */
	struct ph_note note;
	int status;                     /* to tell by got */
	bool noted, ended;
};

struct helper_pool {
	struct loop *l;
	struct ph_helper_spec spec;     /* numbers with defaults filled in */
	const char **argv;              /* ours */
	void (*log)(void *arg, enum ph_level level, const char *text);
	void *arg;
	struct list helpers, waiting, leases;   /* leases: those that have a helper, or lost it */
	int64_t count;
	size_t waiting_n;
	int64_t backoff_ms, not_before; /* the next start */
	bool start_failed;              /* the last one */
	struct timer restart;
	int64_t err_window;
	int err_lines;
	struct ph_note note;            /* frees it on a clean stack */
	bool freed;
};

static void PH_PRINTF(3, 4)
pool_log(struct helper_pool *pool, enum ph_level level, const char *fmt, ...)
{
	char text[600];
	int n = snprintf(text, sizeof text, "%.100s: ", pool->argv[0]);
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(text + n, sizeof text - (size_t)n, fmt, ap);    /* cut is fine */
	va_end(ap);
	if (!pool->freed)
		pool->log(pool->arg, level, text);
}

/* --- what helpers complain about --- */

static void
helper_error_line(struct helper *h)
{
	struct helper_pool *pool = h->pool;
	int64_t now = loop_now(pool->l);
	if (now - pool->err_window >= ERROR_WINDOW_MS) {
		if (pool->err_lines > ERROR_LINES)
			pool_log(pool, PH_WARN, "stderr: %d more lines dropped", pool->err_lines - ERROR_LINES);
		pool->err_window = now;
		pool->err_lines = 0;
	}
	if (h->err.len > 0 && pool->err_lines++ < ERROR_LINES)
		pool_log(pool, PH_WARN, "stderr: " STR_FMT, STR_ARG(buf_view(&h->err)));
	buf_clear(&h->err);
}

static void
helper_complained(void *arg, struct ph_str bytes)
{
	struct helper *h = arg;
	for (size_t i = 0; i < bytes.n; i++) {
		if (bytes.p[i] == '\n')
			helper_error_line(h);
		else if (h->err.len < ERROR_LINE)
			buf_addc(&h->err, bytes.p[i]);
	}
}

/* --- ends --- */

static void pool_serve(struct helper_pool *pool);

static void
pool_back_off(struct helper_pool *pool)
{
	int64_t next = pool->backoff_ms * 2;
	pool->not_before = loop_now(pool->l) + pool->backoff_ms;
	pool->backoff_ms = next < pool->spec.restart_max.ms ? next : pool->spec.restart_max.ms;
}

static void
helper_done(struct helper *h)
{
	process_forget(&h->p);
	buf_free(&h->in);
	buf_free(&h->err);
	free(h);
}

/* The helper is no more; its lease, if any, gets status when it awaits an answer. */
static void
helper_lost(struct helper *h, int status)
{
	struct helper_pool *pool = h->pool;
	struct helper_lease *lease = h->lease;
	void (*answer)(void *, int, struct ph_str) = NULL;
	void *arg = NULL;
	helper_error_line(h);
	list_del(&h->link);
	pool->count--;
	/* Clients that leave are not its fault: they must not be able to keep all others waiting. */
	if (status != PH_ECANCELED)
		pool_back_off(pool);
	if (lease != NULL) {
		lease->helper = NULL;
		timer_stop(pool->l, &lease->timer);
		answer = lease->answer;
		arg = lease->answer_arg;
		lease->answer = NULL;
	}
	helper_done(h);
	pool_serve(pool);
	if (answer != NULL)     /* last: it may end the lease, or free the pool */
		answer(arg, status, (struct ph_str){ NULL, 0 });
}

static void
helper_kill(struct helper *h, int status, const char *why)
{
	pool_log(h->pool, status == PH_ECANCELED ? PH_INFO : PH_WARN, "killed: %s", why);
	helper_lost(h, status);
}

static void
helper_ended(void *arg, int status, int signum)
{
	struct helper *h = arg;
	h->p = NULL;            /* it is gone by itself */
	if (signum != 0)
		pool_log(h->pool, PH_WARN, "died by signal %d", signum);
	else
		pool_log(h->pool, PH_WARN, "ended with status %d", status);
	helper_lost(h, PH_ECLOSED);
}

static void
helper_late(struct timer *t)
{
	struct helper_lease *lease = container_of(t, struct helper_lease, timer);
	helper_kill(lease->helper, PH_ETIMEOUT, "no answer in time");
}

/* --- answers --- */

/* 1: *out is the whole answer, *used how long it was with its frame; 0: more to come. */
static int
answer_parse(const struct helper_pool *pool, struct ph_str in, struct ph_str *out, size_t *used)
{
	size_t most = (size_t)pool->spec.max_answer;
	if (pool->spec.framing == PH_FRAME_LINE) {
		const char *nl = in.n == 0 ? NULL : memchr(in.p, '\n', in.n);
		if ((nl == NULL ? in.n : (size_t)(nl - in.p)) > most)
			return PH_EPROTO;
		if (nl == NULL)
			return 0;
		*out = str_make(in.p, (size_t)(nl - in.p));
		*used = out->n + 1;
		return 1;
	}
	if (in.n < 4)
		return 0;
	const uint8_t *p = (const uint8_t *)in.p;
	size_t len = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
	if (len > most)
		return PH_EPROTO;
	if (in.n - 4 < len)
		return 0;
	*out = str_make(in.p + 4, len);
	*used = len + 4;
	return 1;
}

static void
helper_said(void *arg, struct ph_str bytes)
{
	struct helper *h = arg;
	struct helper_lease *lease = h->lease;
	struct ph_str answer;
	size_t used = 0;
	if (lease == NULL || lease->answer == NULL) {
		helper_kill(h, PH_EPROTO, "it spoke without being asked");
		return;
	}
	buf_addstr(&h->in, bytes);
	int rc = answer_parse(h->pool, buf_view(&h->in), &answer, &used);
	if (rc == 0)
		return;
	if (rc < 0) {
		helper_kill(h, PH_EPROTO, "its answer is too long");
		return;
	}
	if (used != h->in.len) {        /* which of the two is meant cannot be known */
		helper_kill(h, PH_EPROTO, "it said more than was asked");
		return;
	}
	struct buf whole = h->in;
	void (*fn)(void *, int, struct ph_str) = lease->answer;
	h->in = (struct buf){ 0 };
	lease->answer = NULL;
	timer_stop(h->pool->l, &lease->timer);
	h->pool->backoff_ms = h->pool->spec.restart_min.ms;
	fn(lease->answer_arg, 0, answer);
	mem_wipe(whole.data, whole.cap);        /* it may be about a password */
	buf_free(&whole);
}

/* --- serving those who wait --- */

static struct helper *
helper_start(struct helper_pool *pool)
{
	static const struct process_events ev = { helper_said, helper_complained, helper_ended };
	struct helper *h = mem_new(struct helper);
	int err = 0;
	h->pool = pool;
	h->p = process_start(pool->l, pool->argv, &ev, h, &err);
	pool->start_failed = h->p == NULL;
	if (h->p == NULL) {
		pool_log(pool, PH_ERROR, "cannot be started: %s",
		         err < 0 && err > -4000 ? strerror(-err) : ph_strerror(err));
		pool_back_off(pool);
		free(h);
		return NULL;
	}
	list_push_back(&pool->helpers, &h->link);
	pool->count++;
	return h;
}

static struct helper *
helper_free_one(struct helper_pool *pool)
{
	list_each(it, &pool->helpers) {
		struct helper *h = container_of(it, struct helper, link);
		if (h->lease == NULL)
			return h;
	}
	return NULL;
}

static void
lease_tell(struct helper_lease *lease, int status)
{
	lease->status = status;
	if (list_linked(&lease->link))
		lease->pool->waiting_n--;
	list_del(&lease->link);
	list_push_back(&lease->pool->leases, &lease->link);
	timer_stop(lease->pool->l, &lease->timer);
	if (!lease->noted)
		loop_defer(lease->pool->l, &lease->note);
	lease->noted = true;
}

static void
pool_serve(struct helper_pool *pool)
{
	int64_t now = loop_now(pool->l);
	while (!pool->freed && !list_empty(&pool->waiting)) {
		struct helper_lease *lease = container_of(pool->waiting.next, struct helper_lease, link);
		struct helper *h = helper_free_one(pool);
		bool may_start = h == NULL && pool->count < pool->spec.count;
		if (may_start && now >= pool->not_before)
			h = helper_start(pool);
		if (h == NULL && pool->start_failed && pool->count == 0) {
			lease_tell(lease, PH_EIO);
			continue;
		}
		if (h == NULL) {
			if (may_start)
				timer_start(pool->l, &pool->restart, pool->not_before - now);
			return;
		}
		h->lease = lease;
		lease->helper = h;
		lease_tell(lease, 0);
	}
}

static void
pool_restart(struct timer *t)
{
	pool_serve(container_of(t, struct helper_pool, restart));
}

/* --- leases --- */

static void
lease_noted(struct ph_note *note)
{
	struct helper_lease *lease = container_of(note, struct helper_lease, note);
	lease->noted = false;
	if (lease->ended)
		free(lease);
	else if (lease->pool != NULL)
		lease->got(lease->arg, lease->status);
}

static void
lease_waited(struct timer *t)
{
	lease_tell(container_of(t, struct helper_lease, timer), PH_EBUSY);
}

struct helper_lease *
helper_lease_begin(struct helper_pool *pool, void (*got)(void *arg, int status), void *arg)
{
	struct helper_lease *lease = mem_new(struct helper_lease);
	*lease = (struct helper_lease){ .pool = pool, .got = got, .arg = arg };
	lease->note.run = lease_noted;
	lease->timer.fn = lease_waited;
	list_push_back(&pool->waiting, &lease->link);
	if (pool->waiting_n++ >= WAITING_MOST) {
		lease_tell(lease, PH_EBUSY);
		return lease;
	}
	timer_start(pool->l, &lease->timer, pool->spec.lease_wait.ms);
	pool_serve(pool);
	return lease;
}

int
helper_lease_ask(struct helper_lease *lease, struct ph_str request,
                 void (*answer)(void *arg, int status, struct ph_str bytes), void *arg)
{
	struct helper *h = lease->helper;
	struct buf b = { 0 };
	if (lease->answer != NULL)
		return PH_EBUSY;
	if (lease->pool == NULL || h == NULL)
		return PH_ECLOSED;
	if (request.n > REQUEST_MOST)
		return PH_ELIMIT;
	if (lease->pool->spec.framing == PH_FRAME_LINE) {
		/* An empty line is never answered by ntlm_auth and its like. */
		if (request.n == 0)
			return PH_EINVAL;
		for (size_t i = 0; i < request.n; i++)
			if (request.p[i] == '\n' || request.p[i] == '\r' || request.p[i] == '\0')
				return PH_EINVAL;
		buf_addstr(&b, request);
		buf_addc(&b, '\n');
	} else {
		for (int shift = 24; shift >= 0; shift -= 8)
			buf_u8(&b, (uint8_t)(request.n >> shift));
		buf_addstr(&b, request);
	}
	int rc = PH_ECLOSED;
	if (process_spoke(h->p))        /* or it would pass for the answer to this */
		helper_kill(h, PH_EPROTO, "it spoke without being asked");
	else if ((rc = process_write(h->p, b.data + b.head, b.len)) == 0) {
		lease->answer = answer;
		lease->answer_arg = arg;
		lease->timer.fn = helper_late;
		timer_start(lease->pool->l, &lease->timer, lease->pool->spec.answer_limit.ms);
	}
	mem_wipe(b.data, b.cap);
	buf_free(&b);
	return rc;
}

void
helper_lease_end(struct helper_lease **lp, bool broken)
{
	struct helper_lease *lease = *lp;
	if (lease == NULL)
		return;
	*lp = NULL;
	struct helper_pool *pool = lease->pool;
	struct helper *h = lease->helper;
	if (pool != NULL && h == NULL && timer_active(&lease->timer))
		pool->waiting_n--;
	if (pool != NULL)
		timer_stop(pool->l, &lease->timer);
	list_del(&lease->link);
	bool asked = lease->answer != NULL;
	lease->ended = true;
	if (!lease->noted)
		free(lease);
	if (h != NULL)
		h->lease = NULL;
	if (h != NULL && (broken || asked))
		helper_kill(h, broken ? PH_EPROTO : PH_ECANCELED,
		            broken ? "its user calls it broken" : "its user left before the answer");
	else if (h != NULL)
		pool_serve(pool);
}

/* --- pools --- */

static void
pool_release(struct ph_note *note)
{
	struct helper_pool *pool = container_of(note, struct helper_pool, note);
	for (size_t i = 0; pool->argv[i] != NULL; i++)
		free((char *)(uintptr_t)pool->argv[i]);
	free(pool->argv);
	free(pool);
}

struct helper_pool *
helper_pool_new(struct loop *l, const struct ph_helper_spec *spec,
                void (*log)(void *arg, enum ph_level level, const char *text), void *arg)
{
	if (spec->command.n == 0)
		return NULL;
	struct helper_pool *pool = mem_new(struct helper_pool);
	*pool = (struct helper_pool){ .l = l, .spec = *spec, .log = log, .arg = arg };
	struct ph_helper_spec *s = &pool->spec;
	if (s->count <= 0)
		s->count = 1;
	if (s->answer_limit.ms <= 0)
		s->answer_limit.ms = 10000;
	if (s->lease_wait.ms <= 0)
		s->lease_wait.ms = 10000;
	if (s->restart_min.ms <= 0)
		s->restart_min.ms = 1000;
	if (s->restart_max.ms <= 0)
		s->restart_max.ms = 60000;
	if (s->max_answer == 0)
		s->max_answer = 64 * 1024;
	pool->backoff_ms = s->restart_min.ms;
	pool->argv = mem_calloc(spec->command.n + 1, sizeof *pool->argv);
	for (size_t i = 0; i < spec->command.n; i++)
		pool->argv[i] = mem_strdup(spec->command.v[i]);
	list_init(&pool->helpers);
	list_init(&pool->waiting);
	list_init(&pool->leases);
	pool->restart.fn = pool_restart;
	pool->note.run = pool_release;
	return pool;
}

/* Cuts a list's leases loose from their pool. */
static void
leases_orphan(struct helper_pool *pool, struct list *from)
{
	for (struct list *it; (it = list_pop(from)) != NULL; ) {
		struct helper_lease *lease = container_of(it, struct helper_lease, link);
		timer_stop(pool->l, &lease->timer);
		lease->pool = NULL;
		lease->helper = NULL;
		lease->answer = NULL;
	}
}

void
helper_pool_free(struct helper_pool **pp)
{
	struct helper_pool *pool = *pp;
	if (pool == NULL)
		return;
	*pp = NULL;
	pool->freed = true;
	timer_stop(pool->l, &pool->restart);
	leases_orphan(pool, &pool->waiting);
	leases_orphan(pool, &pool->leases);
	for (struct list *it; (it = list_pop(&pool->helpers)) != NULL; )
		helper_done(container_of(it, struct helper, link));
	loop_defer(pool->l, &pool->note);
}
