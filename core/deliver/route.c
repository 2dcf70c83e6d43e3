/*
 * route.c - where a message goes: asks the routers, turns their next hops
 * into sites, sorts recipients by site.
 *
 * A site's identity is made from what a next hop says, so that two instances
 * with the same words share limits and suspension.  Within a generation a
 * next hop does not change, so its pointer finds its site at once.
 */
#include <stdlib.h>

#include "deliver/deliver_private.h"

struct hop_entry {
	const struct ph_next_hop *hop;
	struct site_info *info;         /* a reference */
};

/* --- sites of hops --- */

static struct ph_str
hop_key(const struct ph_next_hop *const *hop)
{
	return str_make((const char *)hop, sizeof *hop);
}

static struct site_info *
site_make(const struct ph_next_hop *hop)
{
	/* The password is not among them: a key is stored and shown.  A site whose login was
	 * refused is probed at each reload instead. */
	const char *const words[] = { hop->tls_provider, hop->auth, hop->login,
		hop->tls_implicit ? "implicit" : NULL, hop->tls_name, hop->tls_ca_file,
		hop->tls_certificate, hop->tls_key, hop->tls_minimum };
	struct buf key = { 0 };
	struct site_info *info;

	/* NUL stands between the words, so that none can imitate another's. */
	buf_adds(&key, hop->name);
	buf_addc(&key, '\0');
	for (size_t i = 0; i < hop->hosts.n; i++)
		buf_printf(&key, "%s%s:%u,", hop->hosts.v[i].literal ? "=" : "",
		    hop->hosts.v[i].host,
		    hop->hosts.v[i].port != 0 ? hop->hosts.v[i].port : hop->default_port);
	buf_printf(&key, "%ctls=%d", '\0', (int)hop->tls);
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		buf_printf(&key, "%c%s", '\0', words[i] != NULL ? words[i] : "");
	for (size_t i = 0; i < hop->mechanisms.n; i++)
		buf_printf(&key, "%c%s", i > 0 ? ',' : '\0', hop->mechanisms.v[i]);
	info = site_info_new(buf_view(&key), str_of(hop->name), hop->connections,
	                     hop->messages_per_connection);
	site_info_login(info, hop->login != NULL ? hop->login : "");
	buf_free(&key);
	return info;
}

/* Borrowed: lives as long as the generation is the newest. */
static struct site_info *
site_of(struct deliver *d, const struct ph_next_hop *hop)
{
	struct hop_entry *e = map_get(&d->hops, hop_key(&hop));

	if (e == NULL) {
		e = mem_new(struct hop_entry);
		e->hop = hop;
		e->info = site_make(hop);
		(void)map_put(&d->hops, hop_key(&e->hop), e);
		d->ops->site(d->arg, e->info);
	}
	return e->info;
}

void
route_forget(struct deliver *d)
{
	size_t it = 0;
	struct ph_str key;
	void *v;

	while (map_next(&d->hops, &it, &key, &v)) {
		struct hop_entry *e = v;
		(void)map_del(&d->hops, key);
		site_info_unref(&e->info);
		free(e);
	}
	map_free(&d->hops);
	d->hops = (struct map){ 0 };
}

/* --- before a message is stored --- */

static void
never(void *arg)
{
	(void)arg;
}

struct site_info *
deliver_site_of(struct deliver *d, const struct envelope *env)
{
	struct site_info *info = NULL;
	struct arena arena;
	struct route_answer *v;
	struct ph_route *q;
	uint32_t *rcpts;
	bool answered;

	if (d->wp == NULL || d->stopping || env->nrcpts == 0)
		return NULL;
	arena_init(&arena, 1024);
	v = arena_alloc(&arena, env->nrcpts * sizeof *v);
	rcpts = arena_alloc(&arena, env->nrcpts * sizeof *rcpts);
	for (uint32_t i = 0; i < env->nrcpts; i++)
		rcpts[i] = i;
	q = route_ask(d->wp, env, rcpts, env->nrcpts, &arena, v, never, NULL, &answered);
	if (!answered)
		route_cancel(&q);
	for (uint32_t i = 0; answered && i < env->nrcpts; i++) {
		struct site_info *site;
		if (v[i].kind != ROUTE_HOP) {
			info = NULL;
			break;
		}
		site = i > 0 && v[i].hop == v[i - 1].hop ? info : site_of(d, v[i].hop);
		if (i > 0 && site->hash != info->hash) {
			info = NULL;
			break;
		}
		info = site;
	}
	arena_reset(&arena);
	return info != NULL ? site_info_ref(info) : NULL;
}

/* --- a job --- */

static void
collect_pending(struct attempt *a)
{
	struct job *job = a->job;
	uint32_t n = 0, most = job->only != NULL ? job->nonly : job->env.nrcpts;

	a->pending = arena_alloc(&job->arena, most * sizeof *a->pending);
	for (uint32_t i = 0; i < most; i++) {
		uint32_t r = job->only != NULL ? job->only[i] : i;
		if (r < job->env.nrcpts &&
		    (!job->have_progress || job->progress.rcpts[r].state == RCPT_PENDING))
			a->pending[n++] = r;
	}
	a->npending = n;
}

/* What a router refused or put off is settled at once; code 0, since no
 * remote said it. */
static void
settle_refused(struct attempt *a, uint32_t place, const struct route_answer *v)
{
	struct job *job = a->job;
	bool fail = v->kind == ROUTE_FAIL && ph_reply_code(v->reply) >= 500;
	struct ph_str text = v->text.n > 0 ? v->text : str_of(ph_reply_text(v->reply));
	const char *enhanced = v->kind == ROUTE_NONE ? "4.3.0" : ph_reply_enhanced(v->reply);
	const char *reply = arena_printf(&job->arena, "%s " STR_FMT, enhanced, STR_ARG(text));

	outcome_set(a, place, fail ? JR_FAILED : JR_DEFERRED, 0, str_of(reply));
}

static struct job_group *
group_of(struct attempt *a, struct site_info *info)
{
	struct job *job = a->job;

	for (uint32_t g = job->ngroups; g-- > 0;)
		if (job->groups[g].site->hash == info->hash)
			return &job->groups[g];
	job->groups[job->ngroups] = (struct job_group){ .site = site_info_ref(info),
		.rcpts = arena_alloc(&job->arena, a->npending * sizeof(uint32_t)) };
	return &job->groups[job->ngroups++];
}

/* Keeps in job->rcpts only what has an outcome. */
static void
drop_open(struct job *job)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < job->nrcpts; i++)
		if (job->rcpts[i].outcome != JR_NONE)
			job->rcpts[n++] = job->rcpts[i];
	job->nrcpts = n;
}

static uint32_t
count_sites(struct attempt *a, const struct ph_next_hop **out_hop)
{
	uint32_t sites = 0;
	struct site_info *first = NULL;

	for (uint32_t i = 0; i < a->npending && sites < 2; i++) {
		const struct route_answer *v = &a->answers[i];
		if (v->kind != ROUTE_HOP || v->hop == *out_hop)
			continue;
		struct site_info *info = site_of(a->d, v->hop);
		if (first != NULL && info->hash == first->hash)
			continue;
		first = info;
		*out_hop = v->hop;
		sites++;
	}
	return sites;
}

static void
routed(struct attempt *a)
{
	struct deliver *d = a->d;
	struct job *job = a->job;
	const struct ph_next_hop *hop = NULL;
	uint32_t sites = count_sites(a, &hop);
	struct site_info *info = sites == 1 ? site_of(d, hop) : NULL;
	bool here = info != NULL && job->kind != JOB_ROUTE && job->site != NULL &&
	            job->site->hash == info->hash;

	job->rcpts = arena_alloc(&job->arena, a->npending * sizeof *job->rcpts);
	job->nrcpts = a->npending;
	a->todo = arena_alloc(&job->arena, a->npending * sizeof *a->todo);
	a->ntodo = 0;
	if (!here && sites > 0)
		job->groups = arena_alloc(&job->arena, a->npending * sizeof *job->groups);
	for (uint32_t i = 0; i < a->npending; i++) {
		job->rcpts[i] = (struct job_rcpt){ .index = a->pending[i] };
		if (a->answers[i].kind != ROUTE_HOP) {
			/* For observers; a plugin that cannot begin hears nothing. */
			(void)attempt_open_plugins(a);
			settle_refused(a, i, &a->answers[i]);
		} else if (here)
			a->todo[a->ntodo++] = i;
		else {
			struct job_group *g = group_of(a, site_of(d, a->answers[i].hop));
			g->rcpts[g->n++] = a->pending[i];
		}
	}
	if (sites == 0) {
		deliver_finish(a, job->kind == JOB_ROUTE ? JOB_ROUTED : JOB_TRIED);
	} else if (!here) {
		drop_open(job);
		deliver_finish(a, JOB_ROUTED);
	} else {
		struct pool *p = pool_get(d, info);
		pool_use(p, a->wp, hop);
		attempt_start(a, p);
	}
}

static void
routed_later(void *arg)
{
	struct attempt *a = arg;

	a->question = NULL;
	if (a->wp != a->d->wp) {        /* answered under routes that no longer hold */
		worker_plugins_drop(a->wp);
		a->wp = NULL;
		route_job(a);
		return;
	}
	routed(a);
}

void
route_job(struct attempt *a)
{
	struct deliver *d = a->d;
	struct ph_route *q;
	bool answered;

	a->phase = ATTEMPT_ROUTING;
	a->question = NULL;
	collect_pending(a);
	a->answers = arena_alloc(&a->job->arena, a->npending * sizeof *a->answers);
	a->wp = d->wp;
	worker_plugins_use(a->wp);
	q = route_ask(d->wp, &a->job->env, a->pending, a->npending, &a->job->arena, a->answers,
	              routed_later, a, &answered);
	if (answered)
		routed(a);
	else
		a->question = q;
}
