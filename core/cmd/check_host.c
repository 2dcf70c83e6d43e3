/*
 * check_host.c - one host after the other: what its name leads to, whether
 * each address takes connections, and a dialogue with the first of each name
 * that does.  A delivery stops at the first host that works; this goes on.
 *
 * Each address is dialled by core/net/dial, told to skip the others, so that
 * what a delivery would not connect to is not connected to here either.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/str.h"
#include "cmd/check.h"

/* Owner: struct check, from its first address to the last. */
struct check_host {
	struct check *c;
	struct check_hop *h;
	struct ph_next_hop one;         /* of h, with this host alone */
	struct ph_endpoint endpoint;
	uint16_t port;
	bool literal;                   /* written as an address */
	struct ph_addr addrs[CHECK_ADDRS];
	char *names[CHECK_ADDRS];
	size_t naddrs, at;
	unsigned connected;             /* addresses that took a connection */
	bool name_done;                 /* the name of this address has been talked to */
	bool clear;
	int64_t began_us;
	int last;                       /* PH_E* of the last try */
	struct resolve *q;
	struct dial *dial;
	struct stream *stream;          /* connected, about to be talked on */
	struct ph_note note;
};

static void host_next(struct check *c);
static void address_next(struct check_host *w);

static void
host_free(struct check_host *w)
{
	for (size_t i = 0; i < w->naddrs; i++)
		free(w->names[i]);
	free(w);
}

static void
host_over(struct check_host *w)
{
	struct check *c = w->c;

	host_free(w);
	c->trying = NULL;
	c->host++;
	host_next(c);
}

/* --- connecting --- */

/* "smtp.example.com[192.0.2.1]" */
static const char *
address_text(const struct check_host *w, char out[CHECK_REMOTE])
{
	char addr[PH_ADDR_TEXT];
	const struct ph_addr *a = &w->addrs[w->at];

	ph_addr_text(a, addr);
	if (w->literal)
		snprintf(out, CHECK_REMOTE, a->family == 6 ? "[%s]:%u" : "%s:%u", addr, a->port);
	else
		snprintf(out, CHECK_REMOTE, "%.200s[%s]:%u", w->names[w->at], addr, a->port);
	return out;
}

static const char *
connect_hint(const struct check_host *w, int rc)
{
	switch (rc) {
	case PH_EREFUSED:
		return "nothing listens on that port there, or a firewall says no: see the port";
	case PH_ETIMEOUT:
		return "a firewall may drop it (many networks block port 25): try port 587, or ask "
		       "who runs the network";
	case PH_EUNREACH:
		return w->addrs[w->at].family == 6 ? "this machine may have no IPv6; deliveries go on "
		                                     "to the next address"
		                                   : "see the route and the firewall of this machine";
	case PH_EPERM:
		return "if this machine is meant, write its address in hosts, or set "
		       "allow-loopback: yes";
	default:
		return "see the network between this machine and the host";
	}
}

static void
next_run(struct ph_note *note)
{
	address_next(container_of(note, struct check_host, note));
}

static void
next_soon(struct check_host *w)
{
	w->note.run = next_run;
	loop_defer(w->c->loop, &w->note);
}

static void
talked(void *arg, enum check_talk_end end)
{
	struct check_host *w = arg;

	if (end == TALK_CLEAR) {
		w->clear = true;
		address_next(w);
		return;
	}
	w->name_done = end == TALK_DONE;
	w->clear = false;
	w->at++;
	address_next(w);
}

static void
talk_run(struct ph_note *note)
{
	struct check_host *w = container_of(note, struct check_host, note);
	struct stream *s = w->stream;

	w->stream = NULL;
	check_talk_start(w->c, w->h, s, w->names[w->at], w->port, w->clear, talked, w);
}

static void
dialled(void *arg, const struct dial_result *res)
{
	struct check_host *w = arg;
	struct check *c = w->c;
	char text[CHECK_REMOTE];
	int64_t us = clock_mono_us() - w->began_us;

	w->dial = NULL;
	if (res->status == 0)
		w->addrs[w->at] = res->addr;    /* names may have new addresses by now */
	address_text(w, text);
	snprintf(c->addr, sizeof c->addr, "%.*s", (int)sizeof c->addr - 1,
	    ph_addr_text(&w->addrs[w->at], (char[PH_ADDR_TEXT]){ 0 }));
	w->last = res->status;
	if (res->status != 0) {
		struct ph_str why = str_of(res->why);
		size_t n = strlen(text);

		if (why.n > n + 2 && strncmp(why.p, text, n) == 0)
			why = str_skip(why, n + 2);
		check_step(c, "connect", w->naddrs > 1 ? CHECK_WARN : CHECK_FAIL,
		    check_status_of(0, res->status), us, connect_hint(w, res->status),
		    "%s: " STR_FMT, text, STR_ARG(why));
		w->at++;
		next_soon(w);
		return;
	}
	w->connected++;
	if (!w->clear)
		check_step(c, "connect", CHECK_OK, 0, us, NULL, "%s", text);
	w->stream = res->stream;
	if (w->name_done) {
		stream_close(&w->stream);
		w->at++;
		next_soon(w);
		return;
	}
	w->note.run = talk_run;
	loop_defer(c->loop, &w->note);
}

static void
address_next(struct check_host *w)
{
	struct check *c = w->c;
	ph_duration limit = w->one.connect_timeout;

	if (w->at > 0 && w->at < w->naddrs && strcmp(w->names[w->at], w->names[w->at - 1]) != 0)
		w->name_done = false;   /* the next MX host */
	if (w->at == w->naddrs) {
		if (w->connected == 0 && w->naddrs > 1)
			check_step(c, "connect", CHECK_FAIL, check_status_of(0, w->last), -1, NULL,
			    "none of the %zu addresses takes a connection", w->naddrs);
		host_over(w);
		return;
	}
	if (limit.ms <= 0)
		limit = c->set->outbound.connect_timeout;
	if (limit.ms <= 0 || c->o->timeout.ms < limit.ms)
		limit = c->o->timeout;
	w->began_us = clock_mono_us();
	w->dial = dial_start(c->loop, c->resolver, &w->one, 0, limit, dialled, w);
	for (size_t i = 0; i < w->naddrs; i++)
		if (i != w->at)
			dial_skip(w->dial, &w->addrs[i]);
}

/* --- names --- */

static void
say_addresses(struct check_host *w, int64_t us)
{
	struct buf text = { 0 };
	char addr[PH_ADDR_TEXT];

	for (size_t i = 0; i < w->naddrs; i++) {
		bool again = i > 0 && strcmp(w->names[i], w->names[i - 1]) == 0;

		if (!again)
			buf_printf(&text, "%s%s", i > 0 ? "; " : "", strcmp(w->names[i],
			    w->endpoint.host) == 0 ? "" : "MX ");
		if (!again)
			buf_printf(&text, "%s", w->names[i]);
		buf_printf(&text, " %s %s", w->addrs[i].family == 6 ? "AAAA" : "A",
		    ph_addr_text(&w->addrs[i], addr));
	}
	check_step(w->c, "dns", CHECK_OK, 0, us, NULL, STR_FMT, STR_ARG(buf_view(&text)));
	buf_free(&text);
}

static const char *
dns_hint(int status)
{
	if (status == PH_ENOENT)
		return "see the spelling in hosts; a name that only this company knows needs "
		       "dns.servers, or write its address";
	if (status == PH_ENOTSUP)
		return "the domain says that it takes no mail; write the name of the mail server in "
		       "brackets, \"[name]\"";
	return "the name servers did not answer: see /etc/resolv.conf or dns.servers";
}

static void
resolved(void *arg, const struct resolve_answer *a)
{
	struct check_host *w = arg;
	int64_t us = clock_mono_us() - w->began_us;

	w->q = NULL;
	if (a->status != 0) {
		check_step(w->c, "dns", CHECK_FAIL, check_status_of(0, a->status), us,
		    dns_hint(a->status), "%s", a->why);
		host_over(w);
		return;
	}
	for (size_t i = 0; i < a->n && i < CHECK_ADDRS; i++) {
		w->addrs[i] = a->addrs[i];
		w->names[i] = mem_strdup(a->names[i]);
		w->naddrs = i + 1;
	}
	say_addresses(w, us);
	address_next(w);
}

static struct ph_str
without_brackets(const char *host)
{
	struct ph_str s = str_of(host);

	return s.n >= 2 && s.p[0] == '[' && s.p[s.n - 1] == ']' ? str_make(s.p + 1, s.n - 2) : s;
}

static void
host_start(struct check *c, struct check_hop *h, size_t i)
{
	struct check_host *w = mem_new(struct check_host);
	struct ph_str name;
	char *bare;

	w->c = c;
	w->h = h;
	w->endpoint = h->hop->hosts.v[i];
	w->one = *h->hop;
	w->one.hosts = (struct ph_endpoints){ &w->endpoint, 1 };
	w->port = w->endpoint.port != 0 ? w->endpoint.port
	          : h->hop->default_port != 0 ? h->hop->default_port : 25;
	name = without_brackets(w->endpoint.host);
	c->trying = w;
	c->hosts++;
	c->addr[0] = '\0';
	snprintf(c->at, sizeof c->at, "%s:%u", w->endpoint.host, w->port);
	check_heading(c, "%s", c->at);
	w->literal = addr_parse(name, w->port, &w->addrs[0]) == 0;
	if (w->literal) {
		w->naddrs = 1;
		w->names[0] = mem_strndup(name.p, name.n);
		address_next(w);
		return;
	}
	bare = arena_strndup(&c->arena, name.p, name.n);
	w->began_us = clock_mono_us();
	w->q = resolve_start(c->resolver, bare, w->port, !w->endpoint.literal, resolved, w);
}

/* --- all of them --- */

static const char *const policies[] = { "off", "opportunistic", "required", "verify" };

static void
say_hop(struct check *c, const struct check_hop *h)
{
	const struct ph_next_hop *hop = h->hop;

	c->site = hop->name;
	check_heading(c, "%s: %zu host%s, tls: %s%s, auth: %s%s%s; from <%s> to <%s>%s", hop->name,
	    hop->hosts.n, hop->hosts.n == 1 ? "" : "s", policies[hop->tls & 3],
	    hop->tls_implicit ? " (implicit)" : "",
	    hop->auth != NULL ? hop->auth : "anonymous", hop->login != NULL ? " as " : "",
	    hop->login != NULL ? hop->login : "", h->from, h->to, h->made_up ? " (made up)" : "");
}

static void
host_next(struct check *c)
{
	while (c->hop < c->nhops) {
		struct check_hop *h = &c->hops[c->hop];

		if (c->host == 0)
			say_hop(c, h);
		if (c->host < h->hop->hosts.n) {
			host_start(c, h, c->host);
			return;
		}
		c->hop++;
		c->host = 0;
	}
	loop_stop(c->loop);
}

void
check_hosts(struct check *c)
{
	c->hop = c->host = 0;
	host_next(c);
}
