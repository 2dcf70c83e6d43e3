/* fake_resolve.c - see fake_resolve.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/list.h"
#include "base/mem.h"
#include "base/str.h"
#include "fake_resolve.h"

enum { ADDRS_MOST = 32, HOSTS_MOST = 16, NAME_MOST = 256 };

struct name {
	struct list link;
	char *name, *addrs, *mx;
	int status;
	bool silent;
	size_t asked;
};

struct resolver { struct loop *l; int64_t limit_ms; struct list questions; };

struct resolve {
	struct list link;
	struct resolver *r;
	struct ph_note note;
	struct timer timer;
	resolve_fn fn;
	void *arg;
	char name[NAME_MOST];
	uint16_t port;
	bool mx, noted, answered, canceled, late;
};

static struct list names = { &names, &names };

static struct name *
name_find(const char *text)
{
	list_each(it, &names) {
		struct name *n = container_of(it, struct name, link);
		if (str_ieq(str_of(n->name), str_of(text)))
			return n;
	}
	return NULL;
}

static struct name *
name_make(const char *text)
{
	struct name *n = name_find(text);
	if (n == NULL) {
		n = mem_new(struct name);
		n->name = mem_strdup(text);
		list_push_back(&names, &n->link);
	}
	n->status = 0;
	n->silent = false;
	return n;
}

void
fake_name(const char *name, const char *addrs)
{
	struct name *n = name_make(name);
	free(n->addrs);
	n->addrs = mem_strdup(addrs);
}

void
fake_mx(const char *name, const char *hosts)
{
	struct name *n = name_make(name);
	free(n->mx);
	n->mx = mem_strdup(hosts);
}

void
fake_name_fails(const char *name, int status)
{
	name_make(name)->status = status;
}

void
fake_name_silent(const char *name)
{
	name_make(name)->silent = true;
}

size_t
fake_asked(const char *name)
{
	struct name *n = name_find(name);
	return n == NULL ? 0 : n->asked;
}

void
fake_names_forget(void)
{
	for (struct list *it; (it = list_pop(&names)) != NULL; ) {
		struct name *n = container_of(it, struct name, link);
		free(n->name);
		free(n->addrs);
		free(n->mx);
		free(n);
	}
}

struct found { struct ph_addr addrs[ADDRS_MOST]; const char *names[ADDRS_MOST]; size_t n; int status; };

static void
add_addrs(struct found *f, const char *host, uint16_t port)
{
	struct name *n = name_find(host);
	if (n == NULL || n->addrs == NULL || n->status != 0) {
		if (n != NULL && n->status != 0)
			f->status = n->status;
		return;
	}
	struct ph_str rest = str_of(n->addrs);
	while (rest.n > 0 && f->n < ADDRS_MOST) {
		struct ph_str one = str_cut(rest, ' ', &rest);
		if (addr_parse(one, port, &f->addrs[f->n]) == 0)
			f->names[f->n++] = host;
	}
}

static void
resolve_tell(struct ph_note *note)
{
	struct resolve *q = container_of(note, struct resolve, note);
	struct name *n = name_find(q->name);
	struct found f = { .n = 0, .status = PH_ENOENT };
	char hosts[HOSTS_MOST][NAME_MOST], why[NAME_MOST + 64] = "";
	q->noted = false;
	if (q->canceled) {
		free(q);
		return;
	}
	if (n != NULL)
		n->asked++;
	if (addr_parse(str_of(q->name), q->port, &f.addrs[0]) == 0) {
		f.names[0] = q->name;
		f.n = 1;
	} else if (q->late || (n != NULL && n->status != 0)) {
		f.status = q->late ? PH_EDNS : n->status;
	} else if (n != NULL && n->silent) {
		return;         /* the timer answers */
	} else if (q->mx && n != NULL && n->mx != NULL && strcmp(n->mx, ".") == 0) {
		f.status = PH_ENOTSUP;
	} else if (q->mx && n != NULL && n->mx != NULL) {
		struct ph_str rest = str_of(n->mx);
		for (int i = 0; i < HOSTS_MOST && rest.n > 0; i++) {
			struct ph_str one = str_cut(rest, ' ', &rest);
			snprintf(hosts[i], NAME_MOST, STR_FMT, STR_ARG(one));
			add_addrs(&f, hosts[i], q->port);
		}
	} else {
		add_addrs(&f, q->name, q->port);
	}
	struct resolve_answer a = { .status = f.n > 0 ? 0 : f.status, .addrs = f.addrs, .n = f.n,
	                            .names = f.names, .why = why };
	if (a.status != 0)
		snprintf(why, sizeof why, "%s: %s", q->name, ph_strerror(a.status));
	timer_stop(q->r->l, &q->timer);
	list_del(&q->link);
	q->answered = true;
	q->fn(q->arg, &a);
	free(q);
}

static void
resolve_later(struct resolve *q)
{
	if (!q->noted)
		loop_defer(q->r->l, &q->note);
	q->noted = true;
}

static void
resolve_timeout(struct timer *t)
{
	struct resolve *q = container_of(t, struct resolve, timer);
	q->late = true;
	resolve_later(q);
}

struct resolver *
resolver_new(struct loop *l, const struct resolver_config *cfg)
{
	struct resolver *r = mem_new(struct resolver);
	r->l = l;
	r->limit_ms = cfg->limit.ms > 0 ? cfg->limit.ms : 30000;
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
	free(r);
}

struct resolve *
resolve_start(struct resolver *r, const char *name, uint16_t port, bool mx, resolve_fn fn, void *arg)
{
	struct resolve *q = mem_new(struct resolve);
	*q = (struct resolve){ .r = r, .fn = fn, .arg = arg, .port = port, .mx = mx };
	q->note.run = resolve_tell;
	q->timer.fn = resolve_timeout;
	snprintf(q->name, sizeof q->name, "%s", name);
	list_push_back(&r->questions, &q->link);
	timer_start(r->l, &q->timer, r->limit_ms);
	resolve_later(q);
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
		return;
	q->canceled = true;
	timer_stop(q->r->l, &q->timer);
	list_del(&q->link);
	resolve_later(q);
}
