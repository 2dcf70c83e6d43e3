/*
 * resolve.c - names to addresses on libunbound, and its only user.
 *
 * The context (its cache, its thread) is made at the first question that
 * needs it: a relay whose smart hosts are written as addresses never pays
 * for it.  Answers are handed out from a note, never from inside libunbound.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unbound.h>
#include "base/id.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/resolve.h"

enum {
	HOSTS_MOST = 16, ADDRS_MOST = 32, PER_FAMILY = 8,
	NAME_MOST = 254,                /* with the NUL */
	TYPE_A = 1, TYPE_MX = 15, TYPE_AAAA = 28, CLASS_IN = 1,
	/* Some servers never answer for AAAA: wait this long for the other family once every
	 * host has an address. */
	PATIENCE_MS = 2000,
};

struct resolver {
	struct loop *l;
	char **servers;
	size_t servers_n;
	int64_t limit_ms;
	bool use_hosts;
	struct ub_ctx *ub;              /* NULL before the first question */
	struct watch *w;
	struct list questions;
};

/* One question of ours to libunbound. */
struct ask { struct resolve *q; struct host *host; int type, id; bool pending; };

struct host {
	char name[NAME_MOST];
	unsigned preference;
	uint32_t tie;                   /* random order among equals */
	struct ask ask[2];              /* AAAA, A */
	struct ph_addr addr[2][PER_FAMILY];
	size_t n[2];
	bool failed;                    /* at least one family could not be asked */
};

struct resolve {
	struct list link;
	struct resolver *r;
	resolve_fn fn;
	void *arg;
	uint16_t port;
	bool mx, noted, answered, canceled;
	int status;                     /* decided before any address was looked for */
	struct ask mx_ask;
	struct host *hosts;
	size_t hosts_n;
	struct timer timer;
	struct ph_note note;
	struct ph_addr numeric;
	char why[NAME_MOST + 96];
	char name[NAME_MOST];
};

static void
resolve_free(struct resolve *q)
{
	free(q->hosts);
	free(q);
}

static void
ask_cancel(struct ask *a)
{
	if (a->pending)
		(void)ub_cancel(a->q->r->ub, a->id);    /* unknown id: answered a moment ago */
	a->pending = false;
}

static void
resolve_cancel_asks(struct resolve *q)
{
	ask_cancel(&q->mx_ask);
	for (size_t i = 0; i < q->hosts_n; i++) {
		ask_cancel(&q->hosts[i].ask[0]);
		ask_cancel(&q->hosts[i].ask[1]);
	}
}

/* No more questions; the note hands out what there is. */
static void
resolve_done(struct resolve *q)
{
	resolve_cancel_asks(q);
	timer_stop(q->r->l, &q->timer);
	if (!q->noted)
		loop_defer(q->r->l, &q->note);
	q->noted = true;
}

/* --- handing out --- */

/* In order of preference; of each host the families take turns, IPv6 first. */
static size_t
gather(const struct resolve *q, struct ph_addr *addrs, const char **names)
{
	size_t n = 0;
	for (size_t h = 0; h < q->hosts_n; h++) {
		const struct host *host = &q->hosts[h];
		for (size_t i = 0; i < PER_FAMILY; i++)
			for (int f = 0; f < 2; f++)
				if (i < host->n[f] && n < ADDRS_MOST) {
					addrs[n] = host->addr[f][i];
					names[n++] = host->name;
				}
	}
	return n;
}

static void
resolve_tell(struct ph_note *note)
{
	struct resolve *q = container_of(note, struct resolve, note);
	struct ph_addr addrs[ADDRS_MOST];
	const char *names[ADDRS_MOST];
	struct resolve_answer a = { .status = q->status, .addrs = addrs, .names = names, .why = q->why };
	if (q->canceled) {
		resolve_free(q);
		return;
	}
	if (q->numeric.family != 0) {
		addrs[0] = q->numeric;
		names[0] = q->name;
		a.n = 1;
	} else if (a.status == 0) {
		a.n = gather(q, addrs, names);
		if (a.n == 0) {
			bool failed = q->hosts_n == 0;
			for (size_t i = 0; i < q->hosts_n; i++)
				failed |= q->hosts[i].failed;
			a.status = failed ? PH_EDNS : PH_ENOENT;
			if (!failed)
				snprintf(q->why, sizeof q->why, "%s: no such name, or no address", q->name);
			else if (q->why[0] == '\0')
				snprintf(q->why, sizeof q->why, "%s: no answer from the name servers", q->name);
		}
	}
	q->answered = true;
	list_del(&q->link);
	q->fn(q->arg, &a);
	resolve_free(q);
}

static void
resolve_timeout(struct timer *t)
{
	struct resolve *q = container_of(t, struct resolve, timer);
	if (q->mx_ask.pending || q->hosts_n == 0) {
		q->status = PH_EDNS;
		snprintf(q->why, sizeof q->why, "%s: no answer from the name servers in time", q->name);
	}
	for (size_t i = 0; i < q->hosts_n; i++)
		q->hosts[i].failed |= q->hosts[i].ask[0].pending || q->hosts[i].ask[1].pending;
	resolve_done(q);
}

/* --- asking --- */

static void resolve_answered(void *arg, int err, struct ub_result *res);

static void
ask_start(struct ask *a, struct resolve *q, struct host *host, const char *name, int type)
{
	*a = (struct ask){ .q = q, .host = host, .type = type, .pending = true };
	int rc = ub_resolve_async(q->r->ub, name, type, CLASS_IN, a, resolve_answered, &a->id);
	if (rc == 0)
		return;
	a->pending = false;
	if (host != NULL)
		host->failed = true;
	else
		q->status = PH_EDNS;
	snprintf(q->why, sizeof q->why, "%s: %s", name, ub_strerror(rc));
}

static void
resolve_ask_hosts(struct resolve *q)
{
	for (size_t i = 0; i < q->hosts_n; i++) {
		struct host *h = &q->hosts[i];
		ask_start(&h->ask[0], q, h, h->name, TYPE_AAAA);
		ask_start(&h->ask[1], q, h, h->name, TYPE_A);
	}
}

/* The name itself is the host (RFC 5321 5.1). */
static void
resolve_ask_name(struct resolve *q)
{
	q->hosts = mem_new(struct host);
	q->hosts_n = 1;
	memcpy(q->hosts->name, q->name, sizeof q->name);
	resolve_ask_hosts(q);
}

/* Ends the question when nothing is pending; hurries when only luxury is. */
static void
resolve_check(struct resolve *q)
{
	bool pending = q->mx_ask.pending, enough = !q->mx_ask.pending && q->hosts_n > 0;
	for (size_t i = 0; i < q->hosts_n; i++) {
		const struct host *h = &q->hosts[i];
		bool waits = h->ask[0].pending || h->ask[1].pending;
		pending |= waits;
		if (waits && h->n[0] + h->n[1] == 0)
			enough = false;
	}
	if (!pending)
		resolve_done(q);
	else if (enough && q->timer.node.key > loop_now(q->r->l) + PATIENCE_MS)
		timer_start(q->r->l, &q->timer, PATIENCE_MS);
}

/* A wire-format name as text; only what a host name may hold, so that it can go into
 * logs and replies as it is. */
static bool
name_text(const unsigned char *p, size_t n, char out[NAME_MOST])
{
	size_t at = 0, o = 0;
	while (at < n && p[at] != 0) {
		size_t len = p[at++];
		if (len > 63 || at + len >= n || o + len + 2 > NAME_MOST)
			return false;
		for (size_t i = 0; i < len; i++, at++) {
			unsigned char c = p[at];
			bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			            (c >= '0' && c <= '9') || c == '-' || c == '_';
			if (!fine)
				return false;
			out[o++] = (char)c;
		}
		if (at < n && p[at] != 0)
			out[o++] = '.';
	}
	out[o] = '\0';
	return at < n;
}

static int
host_order(const void *a, const void *b)
{
	const struct host *x = a, *y = b;
	if (x->preference != y->preference)
		return x->preference < y->preference ? -1 : 1;
	return x->tie < y->tie ? -1 : x->tie > y->tie;
}

static void
resolve_got_mx(struct resolve *q, const struct ub_result *res)
{
	size_t n = 0, nulls = 0;
	while (res->data[n] != NULL)
		n++;
	/* A peer chooses how many there are: take no more than we will use, after sorting. */
	size_t room = n < 256 ? n : 256;
	struct host *v = mem_calloc(room > 0 ? room : 1, sizeof *v);
	size_t got = 0;
	for (size_t i = 0; i < room; i++) {
		const unsigned char *p = (const unsigned char *)res->data[i];
		size_t len = (size_t)res->len[i];
		if (len < 3 || !name_text(p + 2, len - 2, v[got].name))
			continue;
		if (v[got].name[0] == '\0') {
			nulls++;
			continue;
		}
		v[got].preference = (unsigned)p[0] << 8 | p[1];
		id_random(&v[got].tie, sizeof v[got].tie);
		got++;
	}
	if (got == 0) {
		free(v);
		q->status = nulls > 0 ? PH_ENOTSUP : PH_EDNS;
		snprintf(q->why, sizeof q->why, nulls > 0 ? "%s accepts no mail (null MX)"
		                                          : "%s: no usable MX host", q->name);
		resolve_done(q);
		return;
	}
	qsort(v, got, sizeof *v, host_order);
	q->hosts_n = got < HOSTS_MOST ? got : HOSTS_MOST;
	/* Before anything is asked: each ask points into it. */
	q->hosts = mem_realloc(v, q->hosts_n * sizeof *v);
	resolve_ask_hosts(q);
}

static void
host_got(struct host *h, const struct ask *a, uint16_t port, const struct ub_result *res)
{
	int f = a->type == TYPE_A;
	size_t want = f == 1 ? 4 : 16;
	for (size_t i = 0; res->data[i] != NULL && h->n[f] < PER_FAMILY; i++) {
		if ((size_t)res->len[i] != want)
			continue;
		struct ph_addr *to = &h->addr[f][h->n[f]++];
		*to = (struct ph_addr){ .family = f == 1 ? 4 : 6, .port = port };
		memcpy(to->ip, res->data[i], want);
		static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
		if (to->family == 6 && memcmp(to->ip, mapped, sizeof mapped) == 0) {
			/* or it would pass by every check of addresses */
			to->family = 4;
			memmove(to->ip, to->ip + 12, 4);
			memset(to->ip + 4, 0, 12);
		}
	}
}

static void
resolve_answered(void *arg, int err, struct ub_result *res)
{
	struct ask *a = arg;
	struct resolve *q = a->q;
	a->pending = false;
	bool none = err == UB_SYNTAX ||         /* no such name can exist */
	            (err == 0 && !res->bogus && (res->rcode == 0 || res->nxdomain) && !res->havedata);
	bool good = err == 0 && !res->bogus && res->rcode == 0 && res->havedata;
	if (!none && !good) {
		const char *what = err != 0 ? ub_strerror(err) : res->bogus ? "answer fails DNSSEC validation"
		                                                            : "name server failure";
		snprintf(q->why, sizeof q->why, "%s: %s", a->host != NULL ? a->host->name : q->name, what);
		if (a->host != NULL)
			a->host->failed = true;
		else
			q->status = PH_EDNS;    /* an MX that cannot be asked for is not absent */
	} else if (a->host != NULL && good) {
		host_got(a->host, a, q->port, res);
	} else if (a->host == NULL && good) {
		resolve_got_mx(q, res);
	} else if (a->host == NULL) {
		resolve_ask_name(q);
	}
	ub_resolve_free(res);
	if (!q->noted)
		resolve_check(q);
}

/* --- the context --- */

static void
resolver_ready(void *arg, unsigned ready)
{
	struct resolver *r = arg;
	(void)ready;
	(void)ub_process(r->ub);        /* what fails is told question by question, or times out */
}

static bool
resolver_open(struct resolver *r)
{
	if (r->ub != NULL)
		return true;
	/* The library sets itself up in the first call, and not safely for two threads at once. */
	static pthread_mutex_t creating = PTHREAD_MUTEX_INITIALIZER;
	pthread_mutex_lock(&creating);
	struct ub_ctx *ub = ub_ctx_create();
	pthread_mutex_unlock(&creating);
	if (ub == NULL)
		return false;
	/* A name server on this machine is common, and names under .test may be real inside
	 * a company; libunbound's own defaults forbid both. */
	(void)ub_ctx_set_option(ub, "do-not-query-localhost:", "no");
	(void)ub_ctx_set_option(ub, "local-zone:", "test. transparent");
	int rc = ub_ctx_async(ub, 1);
	for (size_t i = 0; i < r->servers_n && rc == 0; i++)
		rc = ub_ctx_set_fwd(ub, r->servers[i]);
	if (r->servers_n == 0)
		(void)ub_ctx_resolvconf(ub, NULL);      /* without one: asks the root itself */
	if (r->use_hosts)
		(void)ub_ctx_hosts(ub, NULL);           /* without one: the DNS alone */
	if (rc == 0)
		r->w = watch_open(r->l, ub_fd(ub), STREAM_READ, resolver_ready, r);
	if (rc != 0 || r->w == NULL) {
		ub_ctx_delete(ub);
		return false;
	}
	r->ub = ub;
	return true;
}

struct resolver *
resolver_new(struct loop *l, const struct resolver_config *cfg)
{
	struct resolver *r = mem_new(struct resolver);
	r->l = l;
	r->limit_ms = cfg->limit.ms > 0 ? cfg->limit.ms : 30000;
	r->use_hosts = cfg->use_hosts;
	r->servers_n = cfg->servers.n;
	r->servers = mem_calloc(cfg->servers.n + 1, sizeof *r->servers);
	for (size_t i = 0; i < cfg->servers.n; i++)
		r->servers[i] = mem_strdup(cfg->servers.v[i]);
	list_init(&r->questions);
	return r;
}

void
resolver_free(struct resolver **rp)
{
	struct resolver *r = *rp;
	if (r == NULL)
		return;
	*rp = NULL;
	for (struct list *it; (it = list_pop(&r->questions)) != NULL; ) {
		struct resolve *q = container_of(it, struct resolve, link);
		resolve_cancel(&q);
	}
	watch_close(&r->w);
	if (r->ub != NULL)
		ub_ctx_delete(r->ub);
	for (size_t i = 0; i < r->servers_n; i++)
		free(r->servers[i]);
	free(r->servers);
	free(r);
}

struct resolve *
resolve_start(struct resolver *r, const char *name, uint16_t port, bool mx, resolve_fn fn, void *arg)
{
	struct resolve *q = mem_new(struct resolve);
	size_t n = strlen(name);
	*q = (struct resolve){ .r = r, .fn = fn, .arg = arg, .port = port, .mx = mx };
	q->note.run = resolve_tell;
	q->timer.fn = resolve_timeout;
	list_push_back(&r->questions, &q->link);
	if (n == 0 || n >= NAME_MOST) {
		q->status = PH_ENOENT;
		snprintf(q->why, sizeof q->why, "not a domain name");
		resolve_done(q);
		return q;
	}
	memcpy(q->name, name, n);
	if (addr_parse(str_of(name), port, &q->numeric) == 0) {
		resolve_done(q);
		return q;
	}
	if (!resolver_open(r)) {
		q->status = PH_EDNS;
		snprintf(q->why, sizeof q->why, "%s: the resolver cannot be started", q->name);
		resolve_done(q);
		return q;
	}
	timer_start(r->l, &q->timer, r->limit_ms);
	if (mx)
		ask_start(&q->mx_ask, q, NULL, q->name, TYPE_MX);
	else
		resolve_ask_name(q);
	resolve_check(q);
	return q;
}

void
resolve_cancel(struct resolve **qp)
{
	struct resolve *q = *qp;
	if (q == NULL)
		return;
	*qp = NULL;
	if (q->answered)
		return;         /* inside its own callback */
	q->canceled = true;
	list_del(&q->link);
	resolve_done(q);        /* freed by its note */
}
