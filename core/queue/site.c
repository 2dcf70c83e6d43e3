/*
 * site.c - the state of next hops: who may have how many connections, whose
 * turn it is, and which of them cannot be reached.
 *
 * A site that is down costs one attempt per probe interval, however many
 * messages wait for it: they stay in its ready list untouched.  A site of which
 * only the hash is known (after a restart) has one message routed; that
 * announces the site for all others.
 *
 * Must not know of envelopes, outcomes or reports.
 */
#include <stdlib.h>

#include "base/abort.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "queue/internal.h"

#define PROBE_DEFAULT 60000
#define PROBE_RETURNED_MS 1000          /* a probe that came home without a verdict */
#define OK_RECENT_MS 10000
#define CONNECTIONS_DEFAULT 20

const char *
site_name(const struct site *s)
{
	return s->info != NULL ? s->info->name : "";
}

/* --- grants --- */

static int64_t
site_limit(const struct queue *q, const struct site *s)
{
	if (s->info != NULL && s->info->connections > 0)
		return s->info->connections;
	return q->cfg.default_connections > 0 ? q->cfg.default_connections : CONNECTIONS_DEFAULT;
}

/* Splits the site's connections over the workers.  The remainder starts at a
 * worker given by the hash, so that many small sites spread over all. */
void
site_grants(struct queue *q, struct site *s)
{
	int64_t n = site_limit(q, s), each = n / q->workers, rest = n % q->workers;

	if (s->info == NULL)
		return;
	for (unsigned i = 0; i < q->workers; i++) {
		unsigned w = (unsigned)((i + s->hash % q->workers) % q->workers);
		int64_t grant = each + (i < rest ? 1 : 0), told = s->w[w].grant;

		s->w[w].grant = grant;
		if (grant != told && (grant > 0 || told > 0))
			q->ops->grant(q->arg, w, s->info, grant);
	}
	site_gate(s);
}

/* Fresh mail may pass the queue by while nothing waits and nothing is wrong. */
void
site_gate(struct site *s)
{
	bool open = s->info != NULL && s->w[0].grant >= 0 && s->nready == 0 && !s->suspended &&
	    !s->q->stopped;

	if (s->info != NULL && atomic_load_explicit(&s->info->open, memory_order_relaxed) != open)
		atomic_store_explicit(&s->info->open, open, memory_order_relaxed);
}

static void
withdraw(struct queue *q, struct site *s)
{
	if (s->info == NULL)
		return;
	atomic_store(&s->info->open, false);
	for (unsigned w = 0; w < q->workers; w++)
		if (s->w[w].grant > 0)
			q->ops->grant(q->arg, w, s->info, 0);
}

/* --- table --- */

static struct site *
site_new(struct queue *q, uint64_t hash)
{
	struct site *s = mem_calloc(1, sizeof *s + q->workers * sizeof s->w[0]);

	s->q = q;
	s->hash = hash;
	s->route_cap = hash == 0 ? ROUTES_OUT : 1;
	s->timer.key = INT64_MAX;
	list_init(&s->ready);
	list_push_back(&q->all_sites, &s->all);
	for (unsigned w = 0; w < q->workers; w++) {
		s->w[w].grant = -1;
		s->w[w].last_ok = INT64_MIN;
	}
	if (hash != 0)
		(void)map_put(&q->sites, str_make((const char *)&s->hash, sizeof s->hash), s);
	return s;
}

void
site_free(struct site *s)
{
	struct queue *q = s->q;

	if (s->hash != 0)
		(void)map_del(&q->sites, str_make((const char *)&s->hash, sizeof s->hash));
	if (q->last_site == s)
		q->last_site = NULL;
	heap_del(&q->site_heap, &s->timer);
	list_del(&s->turn);
	list_del(&s->all);
	site_info_unref(&s->info);
	free(s->why);
	free(s);
}

struct site *
site_get(struct queue *q, uint64_t hash)
{
	struct site *s;

	if (q->unrouted == NULL)
		q->unrouted = site_new(q, 0);
	if (hash == 0)
		return q->unrouted;
	if (q->last_site != NULL && q->last_site->hash == hash)
		return q->last_site;
	s = map_get(&q->sites, str_make((const char *)&hash, sizeof hash));
	if (s == NULL)
		s = site_new(q, hash);
	q->last_site = s;
	return s;
}

/* Takes note of a site that a worker made; info stays the caller's. */
struct site *
site_meet(struct queue *q, struct site_info *info)
{
	struct site *s = site_get(q, info->hash);

	ph_assert(info->hash != 0);
	s->idle_sweeps = 0;
	if (s->info == NULL) {
		s->info = site_info_ref(info);
		list_del(&s->turn);             /* leaves the ring of those to be routed */
		site_wake(s);
	} else if (s->info->connections != info->connections ||
	    s->info->messages_per_connection != info->messages_per_connection) {
		atomic_store(&s->info->open, false);
		site_info_unref(&s->info);
		s->info = site_info_ref(info);
		if (s->w[0].grant >= 0) {
			for (unsigned w = 0; w < q->workers; w++)
				s->w[w].grant = -1;     /* told anew: the gate is another one */
			site_grants(q, s);
		}
		site_wake(s);
	}
	return s;
}

/* --- timers and turns --- */

void
site_timer(struct site *s)
{
	int64_t at = INT64_MAX;

	if (s->nready == 0) {
		/* nothing to try it with */
	} else if (s->suspended) {
		if (!s->probing)
			at = s->probe_at;
	} else {
		for (unsigned w = 0; w < s->q->workers; w++)
			if (s->w[w].paused != 0 && s->w[w].paused < at)
				at = s->w[w].paused;
	}
	if (at == s->timer.key && (at == INT64_MAX || heap_has(&s->timer)))
		return;
	if (at == INT64_MAX)
		heap_del(&s->q->site_heap, &s->timer);
	else
		heap_put(&s->q->site_heap, &s->timer, at);
	s->timer.key = at;
}

void
site_wake(struct site *s)
{
	if (s->nready == 0 || list_linked(&s->turn))
		return;
	if (s->info == NULL) {
		if (s->leases < s->route_cap)
			list_push_back(&s->q->route_turn, &s->turn);
		return;
	}
	if (!s->suspended)
		list_push_back(&s->q->turn, &s->turn);
	if (s->suspended || s->timer.key != INT64_MAX)
		site_timer(s);
}

/* --- suspension --- */

static int64_t
probe_wait(const struct queue *q, unsigned step)
{
	size_t n = q->cfg.nprobe;

	if (n == 0)
		return PROBE_DEFAULT;
	return q->cfg.probe_ms[step < n ? step : n - 1];
}

/* What waits here is not tried for a while: its bytes leave memory, its
 * notice and expiry count, and what an older configuration sent here asks
 * for its way again. */
static void
put_aside(struct queue *q, struct site *s)
{
	list_each_safe(l, &s->ready) {
		struct entry *e = container_of(l, struct entry, link);

		if (s->nhot == 0 && s->nunkeyed == 0 && q->nstale == 0)
			break;
		if (e->stale) {
			schedule_ready(q, e, false);    /* moves to those without a route */
			continue;
		}
		if (s->nhot > 0)
			entry_cool(q, e);
		if (e->node.key == 0)
			schedule_key(q, e);
	}
}

/* The mail that waits for it: what is in line, what others have out, and the
 * message of this lease, which is in neither while its result is judged. */
static int64_t
site_waiting(const struct site *s, const struct lease *l, const struct job *job)
{
	bool back = job->result != JOB_TRIED && !l->e->kill && !l->e->held;

	return (int64_t)s->nready + (int64_t)s->leases + (back ? 1 : 0);
}

/* Once for each time it is suspended, however often it is probed. */
static void
alarm_about(struct site *s, enum job_login login, int64_t waiting)
{
	bool refused = login == JOB_LOGIN_REFUSED;

	s->alarmed = true;
	log_event(PH_ERROR, NULL, refused ? "site.login-refused" : "site.login-failed",
	    LOG_C("site", site_name(s)), LOG_C("login", s->info != NULL ? s->info->login : ""),
	    LOG_I("waiting", waiting), LOG_C("why", s->why),
	    LOG_C("note", refused ? "its mail is kept; set the login right and reload"
	                          : "its mail is kept and goes out once a login succeeds"));
}

static void
site_suspend(struct queue *q, struct lease *l, const struct job *job, enum job_login login)
{
	struct site *s = l->site;
	struct ph_str why = job->why;
	int64_t waiting = site_waiting(s, l, job);
	bool probed = s->suspended;

	if (why.n == 0)
		why = STR("cannot be reached");
	free(s->why);
	s->why = mem_strndup(why.p, str_head(why, 500).n);
	if (probed && s->probe_step < 1000)
		s->probe_step++;
	s->probe_at = q->now + probe_wait(q, s->probe_step);
	if (s->probe_again) {
		s->probe_again = false;
		s->probe_at = q->now;
	}
	if (!probed) {
		s->suspended = true;
		s->alarmed = false;
		site_gate(s);
		list_del(&s->turn);
		log_event(PH_WARN, NULL, "site.suspended", LOG_C("site", site_name(s)),
		    LOG_I("waiting", waiting), LOG_I("probe-ms", s->probe_at - q->now),
		    LOG_C("why", s->why));
		put_aside(q, s);
	}
	s->login = login;
	if (login != JOB_LOGIN_FINE && !s->alarmed)
		alarm_about(s, login, waiting);
	site_timer(s);
}

static void
site_resume(struct lease *l, const struct job *job)
{
	struct site *s = l->site;

	s->suspended = s->alarmed = s->probe_again = false;
	s->login = JOB_LOGIN_FINE;
	s->probe_step = 0;
	s->epoch++;
	site_gate(s);
	log_event(PH_INFO, NULL, "site.resumed", LOG_C("site", site_name(s)),
	    LOG_I("waiting", site_waiting(s, l, job)));
	site_timer(s);
	site_wake(s);
}

/* True when another worker has just spoken to the site: then it is this one
 * that gets no further connection (a limit of the remote), not the site. */
static bool
others_succeed(const struct queue *q, const struct site *s, unsigned but)
{
	for (unsigned w = 0; w < q->workers; w++)
		if (w != but && s->w[w].leases > 0 && s->w[w].paused == 0 &&
		    s->w[w].last_ok > q->now - OK_RECENT_MS)
			return true;
	return false;
}

/* What a result says of the site.  The lease is counted back already. */
void
site_verdict(struct queue *q, struct lease *l, const struct job *job)
{
	struct site *s = l->site;
	struct site_worker *w = &s->w[job->worker];

	if (s->info == NULL || l->route) {
		if (job->result == JOB_ROUTED && s->route_cap < ROUTES_OUT)
			s->route_cap *= 2;      /* others of this hash may go elsewhere too */
	} else if (job->site_login != JOB_LOGIN_FINE) {
		if (s->suspended ? l->probe : l->epoch == s->epoch)
			site_suspend(q, l, job, job->site_login);
	} else if (job->site_ok) {
		w->last_ok = q->now;
		w->paused = 0;
		/* What was on its way when a login was refused says nothing of the next one. */
		if (s->suspended && (s->login == JOB_LOGIN_FINE || l->probe))
			site_resume(l, job);
	} else if (job->result == JOB_SITE_DOWN) {
		if (s->suspended ? l->probe : l->epoch == s->epoch) {
			if (!s->suspended && others_succeed(q, s, job->worker)) {
				w->paused = q->now + probe_wait(q, 0);
				log_event(PH_INFO, NULL, "site.paused", LOG_C("site", site_name(s)),
				    LOG_I("worker", job->worker), LOG_S("why", job->why));
			} else {
				site_suspend(q, l, job, JOB_LOGIN_FINE);
			}
		}
	} else if (l->probe && s->suspended) {
		s->probe_at = q->now + (job->result == JOB_RETURNED ? PROBE_RETURNED_MS : 0);
	}
	site_timer(s);
	site_wake(s);
}

/* An operator wants it now. */
void
site_probe_now(struct queue *q, struct site *s)
{
	for (unsigned w = 0; w < q->workers; w++)
		s->w[w].paused = 0;
	if (s->suspended) {
		s->probe_step = 0;
		s->probe_at = q->now;
		s->probe_again = s->probing;
	}
	site_timer(s);
	site_wake(s);
}

/* Sites that nobody needs any more. */
void
site_sweep(struct queue *q)
{
	list_each_safe(l, &q->all_sites) {
		struct site *s = container_of(l, struct site, all);

		if (s == q->unrouted)
			continue;
		if (s->entries > 0 || s->leases > 0) {
			s->idle_sweeps = 0;
			continue;
		}
		if (++s->idle_sweeps < SITE_IDLE_SWEEPS)
			continue;
		withdraw(q, s);
		site_free(s);
	}
}
