/*
 * pool.c - a site on this worker: the messages that wait for it, and which
 * connection takes the next one.
 *
 * Connections are kept and filled before another is opened, so that a remote
 * sees few connections that are busy.  A remote that refuses one connection of
 * several is not down: it has said how many it takes.
 */
#include <stdlib.h>

#include "deliver/deliver_private.h"

static struct ph_str
pool_key(const struct site_info *info)
{
	return str_make((const char *)&info->hash, sizeof info->hash);
}

bool
pool_idle(const struct pool *p)
{
	return p->nlinks == 0 && p->nwaiting == 0;
}

void
pool_free(struct pool *p)
{
	struct deliver *d = p->d;

	(void)map_del(&d->sites, pool_key(p->info));
	pool_use(p, NULL, NULL);
	list_del(&p->all);
	list_del(&p->dirty);
	site_info_unref(&p->info);
	site_info_unref(&p->gate);
	free(p);
}

/* A router with a site for each domain would fill the table. */
static void
make_room(struct deliver *d)
{
	if (d->sites.n < QUIT_IDLE_SITES)
		return;
	list_each_safe(it, &d->all_pools) {
		struct pool *p = container_of(it, struct pool, all);
		if (pool_idle(p) && p->grant <= 0)
			pool_free(p);
	}
}

struct pool *
pool_find(struct deliver *d, const struct site_info *info)
{
	return map_get(&d->sites, pool_key(info));
}

struct pool *
pool_get(struct deliver *d, struct site_info *info)
{
	struct pool *p = map_get(&d->sites, pool_key(info));

	if (p != NULL)
		return p;
	make_room(d);
	p = mem_new(struct pool);
	p->d = d;
	p->info = site_info_ref(info);
	p->grant = -1;
	p->slots_seen = 1;
	list_init(&p->links);
	list_init(&p->waiting);
	list_push_back(&d->all_pools, &p->all);
	(void)map_put(&d->sites, pool_key(p->info), p);
	return p;
}

void
pool_use(struct pool *p, struct worker_plugins *wp, const struct ph_next_hop *hop)
{
	if (p->wp != wp) {
		if (wp != NULL)
			worker_plugins_use(wp);
		if (p->wp != NULL)
			worker_plugins_drop(p->wp);
		p->wp = wp;
		p->logged_in = false;
		memset(p->clear, 0, sizeof p->clear);
	}
	p->hop = hop;
}

void
pool_dirty(struct pool *p)
{
	if (!list_linked(&p->dirty))
		list_push_back(&p->d->dirty_pools, &p->dirty);
	deliver_flush_soon(p->d);
}

void
pool_wait(struct pool *p, struct attempt *a, bool front)
{
	a->phase = ATTEMPT_WAITING;
	a->on = NULL;
	if (p->d->stopping) {
		deliver_finish(a, a->tried ? JOB_TRIED : JOB_RETURNED);
		return;
	}
	if (a->wp != p->d->wp) {
		deliver_reroute(a);
		return;
	}
	if (front)
		list_push_front(&p->waiting, &a->link);
	else
		list_push_back(&p->waiting, &a->link);
	p->nwaiting++;
	p->nprobes += a->job->kind == JOB_PROBE;
	pool_dirty(p);
}

void
pool_unwait(struct attempt *a)
{
	if (!list_linked(&a->link))
		return;
	list_del(&a->link);
	a->pool->nwaiting--;
	a->pool->nprobes -= a->job->kind == JOB_PROBE;
}

void
pool_give_back(struct pool *p, enum job_result result, struct ph_str why, enum job_login login)
{
	struct list taken;
	struct list *it;

	/* What comes home may be handed out again before this is over. */
	list_init(&taken);
	list_splice_back(&taken, &p->waiting);
	p->nwaiting = p->nprobes = 0;
	while ((it = list_pop(&taken)) != NULL) {
		struct attempt *a = container_of(it, struct attempt, link);
		struct job *job = a->job;

		job->site_login = login;
		job->why = arena_str(&job->arena, why);
		if (a->tried) {
			/* A part of it has been delivered: the rest is put off by itself. */
			outcome_rest(a, JR_DEFERRED, 0, why);
			deliver_finish(a, JOB_TRIED);
		} else {
			deliver_finish(a, result);
		}
	}
}

/* --- addresses whose TLS does not work --- */

static bool
same_addr(const struct ph_addr *a, const struct ph_addr *b)
{
	return a->family == b->family && a->port == b->port &&
	       memcmp(a->ip, b->ip, sizeof a->ip) == 0;
}

bool
pool_is_clear(const struct pool *p, const struct ph_addr *addr)
{
	for (size_t i = 0; i < CLEAR_ADDRS; i++)
		if (p->clear[i].until > loop_now(p->d->loop) && same_addr(&p->clear[i].addr, addr))
			return true;
	return false;
}

void
pool_set_clear(struct pool *p, const struct ph_addr *addr)
{
	size_t oldest = 0;

	for (size_t i = 1; i < CLEAR_ADDRS; i++)
		if (p->clear[i].until < p->clear[oldest].until)
			oldest = i;
	p->clear[oldest].addr = *addr;
	p->clear[oldest].until = loop_now(p->d->loop) + CLEAR_MS;
}

/* --- connections --- */

/* A suspended site is tried with one connection, whatever it was granted. */
int64_t
pool_limit(const struct pool *p)
{
	int64_t n = p->grant < 0 ? 1 : p->grant;

	return n == 0 && p->nprobes > 0 ? 1 : n;
}

/* Streaming connections are filled in turn; others are better used side by
 * side before a second message waits behind a first. */
static struct link *
pick_link(struct pool *p)
{
	struct link *best = NULL;

	list_each(it, &p->links) {
		struct link *l = container_of(it, struct link, link);
		unsigned slots = link_slots(l);

		if (slots == 0)
			continue;
		if (slots > 2 || smtp_client_open_txns(l->client) == 0)
			return l;
		if (best == NULL)
			best = l;
	}
	return best;
}

/* The connection of another site that has been idle longest makes room. */
static void
close_idle_elsewhere(struct pool *mine)
{
	struct link *oldest = NULL;

	mine->d->starved = true;
	list_each(pi, &mine->d->all_pools) {
		struct pool *p = container_of(pi, struct pool, all);
		if (p == mine || p->nwaiting > 0)
			continue;
		list_each(li, &p->links) {
			struct link *l = container_of(li, struct link, link);
			if (l->state == LINK_READY && smtp_client_open_txns(l->client) == 0 &&
			    (oldest == NULL || l->deadline < oldest->deadline))
				oldest = l;
		}
	}
	if (oldest != NULL)
		link_quit(oldest);
}

static void
open_links(struct pool *p)
{
	struct deliver *d = p->d;

	while (p->nwaiting > (uint64_t)p->nconnecting * p->slots_seen &&
	       p->nlinks < pool_limit(p) &&
	       /* A wrong password tried on twenty connections locks the account. */
	       (p->hop->auth == NULL || p->logged_in || p->nconnecting == 0) &&
	       (p->calm_until <= loop_now(d->loop) || p->nlinks == 0)) {
		if (d->nlinks >= d->cfg.max_connections)
			close_idle_elsewhere(p);
		if (d->nlinks >= d->cfg.max_connections)
			return;
		if (!link_secure_usable(p->hop, p->wp)) {
			pool_give_back(p, JOB_SITE_DOWN,
			    STR("4.7.5 TLS is required and no plugin provides it"),
			    JOB_LOGIN_FINE);
			return;
		}
		link_new(p);
	}
}

void
pool_run(struct pool *p)
{
	struct link *l;

	while (!list_empty(&p->waiting) && (l = pick_link(p)) != NULL) {
		struct attempt *a = container_of(p->waiting.next, struct attempt, link);
		pool_unwait(a);
		attempt_send(a, l);
	}
	if (p->nwaiting > 0)
		open_links(p);
	/* Nothing was granted, and nothing will carry them. */
	if (p->nwaiting > 0 && p->nlinks == 0 && pool_limit(p) == 0)
		pool_give_back(p, JOB_RETURNED, STR("no connection granted"), JOB_LOGIN_FINE);
	if (pool_idle(p) && p->grant == 0)
		pool_free(p);
}
