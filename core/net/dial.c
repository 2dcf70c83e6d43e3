/*
 * dial.c - tries the addresses of a next hop in order until one connects.
 *
 * What DNS says is a stranger's word: it must not lead a relay to services of
 * its own machine or link, or back to itself (the address is checked again
 * on the connected socket).  An address that the operator wrote is obeyed.
 */
#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/list.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/dial.h"

enum { TRIES_MOST = 32, SKIPS_MOST = 32, SMTP_PORT = 25, NAME_MOST = 256 };

struct try { struct ph_addr addr; const char *host; };

struct dial {
	struct loop *l;
	struct resolver *r;
	const struct ph_next_hop *hop;
	int64_t limit_ms;
	void (*fn)(void *arg, const struct dial_result *res);
	void *arg;
	size_t host, at, tries_n, skips_n;
	struct try *tries;              /* addresses of the current host */
	struct ph_addr skips[SKIPS_MOST];
	bool written;                   /* the current host was written as an address */
	bool ended;
	struct resolve *q;
	struct stream *s;
	struct timer timer;
	struct ph_note note;            /* the next step, on a clean stack */
	void (*step)(struct dial *d);
	bool noted;
	int status;
	char name[NAME_MOST];           /* the current host, without brackets */
	char why[512];
};

static void
dial_free(struct dial *d)
{
	for (size_t i = 0; i < d->tries_n; i++)
		free((char *)(uintptr_t)d->tries[i].host);
	free(d->tries);
	free(d);
}

static void
dial_noted(struct ph_note *note)
{
	struct dial *d = container_of(note, struct dial, note);
	d->noted = false;
	if (d->ended)
		dial_free(d);
	else
		d->step(d);
}

static void
dial_later(struct dial *d, void (*step)(struct dial *))
{
	d->step = step;
	if (!d->noted)
		loop_defer(d->l, &d->note);
	d->noted = true;
}

/* Ends everything; the struct itself goes on a clean stack. */
static void
dial_end(struct dial *d)
{
	d->ended = true;
	timer_stop(d->l, &d->timer);
	resolve_cancel(&d->q);
	stream_close(&d->s);
	dial_later(d, NULL);
}

static void PH_PRINTF(3, 4)
dial_failed(struct dial *d, int status, const char *fmt, ...)
{
	/* "Come again" from one host outweighs "there is no such host" of another. */
	bool final = status == PH_ENOENT || status == PH_ENOTSUP;
	if (final && d->status != 0)
		return;
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(d->why, sizeof d->why, fmt, ap);        /* cut is fine */
	va_end(ap);
	d->status = status;
}

static void
dial_addr_failed(struct dial *d, int status, const char *what)
{
	char text[PH_ADDR_TEXT];
	const struct try *t = &d->tries[d->at];
	ph_addr_text(&t->addr, text);
	if (d->written)
		dial_failed(d, status, t->addr.family == 6 ? "[%s]:%u: %s" : "%s:%u: %s", text,
		            t->addr.port, what);
	else
		dial_failed(d, status, "%s[%s]:%u: %s", t->host, text, t->addr.port, what);
}

static void
dial_tell(struct dial *d, struct dial_result *res)
{
	d->ended = true;        /* a cancel from the callback has nothing left to do */
	res->why = d->why;
	timer_stop(d->l, &d->timer);
	d->fn(d->arg, res);
	dial_later(d, NULL);
}

/* --- addresses --- */

/* Why DNS must not lead there, or NULL. */
static const char *
dubious(const struct ph_addr *a)
{
	static const uint8_t zero[16];
	const uint8_t *ip = a->ip;
	if (ph_addr_is_loopback(a))
		return "a loopback address from DNS is refused";
	if (a->family == 4) {
		if (ip[0] == 0)
			return "an unspecified address from DNS is refused";
		if (ip[0] == 169 && ip[1] == 254)
			return "a link-local address from DNS is refused";
		return ip[0] >= 224 ? "a multicast or reserved address from DNS is refused" : NULL;
	}
	if (memcmp(ip, zero, 12) == 0)  /* ::, and ::127.0.0.1 with its like (RFC 4291 2.5.5.1) */
		return "an unspecified address from DNS is refused";
	if (ip[0] == 0xfe && (ip[1] & 0xc0) == 0x80)
		return "a link-local address from DNS is refused";
	return ip[0] == 0xff ? "a multicast address from DNS is refused" : NULL;
}

static bool
same_ip(const struct ph_addr *a, const struct ph_addr *b)
{
	return a->family == b->family && memcmp(a->ip, b->ip, a->family == 4 ? 4 : 16) == 0;
}

static bool
skipped(const struct dial *d, const struct ph_addr *a)
{
	for (size_t i = 0; i < d->skips_n; i++)
		if (same_ip(&d->skips[i], a) && d->skips[i].port == a->port)
			return true;
	return false;
}

/* --- steps --- */

static void dial_next_addr(struct dial *d);
static void dial_next_host(struct dial *d);

static void
dial_behind(struct dial *d)
{
	timer_stop(d->l, &d->timer);
	stream_close(&d->s);
	d->at++;
	dial_later(d, dial_next_addr);
}

static void
dial_timeout(struct timer *t)
{
	struct dial *d = container_of(t, struct dial, timer);
	dial_addr_failed(d, PH_ETIMEOUT, "connection timed out");
	dial_behind(d);
}

static void
dial_ready(void *arg, unsigned ready)
{
	struct dial *d = arg;
	struct ph_addr local;
	(void)ready;
	int rc = stream_connected(d->s);
	if (rc != 0) {
		dial_addr_failed(d, rc, ph_strerror(rc));
		dial_behind(d);
		return;
	}
	stream_local(d->s, &local);
	if (!d->written && !d->hop->allow_loopback && same_ip(&local, &d->tries[d->at].addr)) {
		dial_addr_failed(d, PH_EPERM, "DNS leads back to this machine; refused");
		dial_behind(d);
		return;
	}
	stream_watch(d->s, 0, NULL, NULL);
	struct dial_result res = {
		.stream = d->s, .host = d->tries[d->at].host, .host_index = d->host,
		.addr = d->tries[d->at].addr,
	};
	d->s = NULL;
	d->why[0] = '\0';
	dial_tell(d, &res);
}

static void
dial_next_addr(struct dial *d)
{
	for (; d->at < d->tries_n; d->at++) {
		const struct ph_addr *a = &d->tries[d->at].addr;
		const char *no = d->written || d->hop->allow_loopback ? NULL : dubious(a);
		if (skipped(d, a))
			continue;
		if (no == NULL)
			break;
		dial_addr_failed(d, PH_EPERM, no);
	}
	if (d->at == d->tries_n) {
		d->host++;
		dial_next_host(d);
		return;
	}
	d->s = stream_connect(d->l, &d->tries[d->at].addr, NULL);
	timer_start(d->l, &d->timer, d->limit_ms);
	stream_watch(d->s, STREAM_WRITE, dial_ready, d);
}

static void
dial_take(struct dial *d, const struct ph_addr *addrs, const char *const *names, size_t n)
{
	for (size_t i = 0; i < d->tries_n; i++)
		free((char *)(uintptr_t)d->tries[i].host);
	d->at = 0;
	d->tries_n = n < TRIES_MOST ? n : TRIES_MOST;
	d->tries = mem_realloc(d->tries, (d->tries_n + 1) * sizeof *d->tries);
	for (size_t i = 0; i < d->tries_n; i++)
		d->tries[i] = (struct try){ addrs[i], mem_strdup(names[i]) };
	dial_next_addr(d);
}

static void
dial_resolved(void *arg, const struct resolve_answer *a)
{
	struct dial *d = arg;
	d->q = NULL;
	if (a->status == 0) {
		dial_take(d, a->addrs, a->names, a->n);
		return;
	}
	dial_failed(d, a->status, "%s", a->why);
	d->host++;
	dial_later(d, dial_next_host);
}

static void
dial_next_host(struct dial *d)
{
	if (d->host >= d->hop->hosts.n) {
		struct dial_result res = { .status = d->status, .host = d->name, .host_index = d->host };
		if (d->status == 0) {
			res.status = PH_EUNREACH;
			snprintf(d->why, sizeof d->why, "no further host to try");
		}
		dial_tell(d, &res);
		return;
	}
	const struct ph_endpoint *e = &d->hop->hosts.v[d->host];
	struct ph_str host = str_of(e->host);
	if (host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
		host = str_make(host.p + 1, host.n - 2);
	uint16_t port = e->port != 0 ? e->port : d->hop->default_port != 0 ? d->hop->default_port : SMTP_PORT;
	struct ph_addr addr;
	const char *name = d->name;
	snprintf(d->name, sizeof d->name, STR_FMT, STR_ARG(host));
	d->written = addr_parse(host, port, &addr) == 0;
	if (d->written) {
		dial_take(d, &addr, &name, 1);
	} else if (d->r == NULL || host.n >= sizeof d->name) {
		dial_failed(d, PH_EDNS, "%s: cannot be resolved", d->name);
		d->host++;
		dial_later(d, dial_next_host);
	} else {
		d->q = resolve_start(d->r, d->name, port, !e->literal, dial_resolved, d);
	}
}

struct dial *
dial_start(struct loop *l, struct resolver *r, const struct ph_next_hop *hop, size_t first,
           ph_duration limit_per_address, void (*fn)(void *arg, const struct dial_result *res), void *arg)
{
	struct dial *d = mem_new(struct dial);
	*d = (struct dial){ .l = l, .r = r, .hop = hop, .host = first, .fn = fn, .arg = arg };
	d->limit_ms = limit_per_address.ms > 0 ? limit_per_address.ms : 30000;
	d->note.run = dial_noted;
	d->timer.fn = dial_timeout;
	dial_later(d, dial_next_host);
	return d;
}

void
dial_skip(struct dial *d, const struct ph_addr *addr)
{
	if (d->skips_n < SKIPS_MOST)
		d->skips[d->skips_n++] = *addr;
}

void
dial_cancel(struct dial **dp)
{
	struct dial *d = *dp;
	if (d == NULL)
		return;
	*dp = NULL;
	if (!d->ended)
		dial_end(d);
}
