/*
 * api_conn.c - connections for plugins: dial, then a stream with buffered
 * output and input shown until it is used.
 *
 * A connection that a plugin made goes where its own configuration says, so
 * names may lead to this machine; no MX is looked up.
 */
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "net/conn.h"
#include "net/dial.h"
#include "plugin/private.h"

enum { INPUT_MAX = 64 << 10, OUTPUT_MAX = 1 << 20 };

struct ph_conn {
	struct service service;
	struct ph_worker *w;
	const struct ph_conn_events *ev;
	void *arg;
	struct ph_endpoint to;
	struct ph_next_hop hop;
	char *host;
	struct dial *dial;
	struct conn *conn;              /* NULL until connected */
	struct timer limit;             /* for the whole of resolving and connecting */
	struct buf out;
	bool ended;                     /* closed() runs: freed behind it */
};

static struct resolver *
resolver_of(struct worker_plugins *wp)
{
	struct resolver_config cfg = { wp->gen->config->settings.dns.servers,
	                               wp->gen->config->settings.dns.limit, true };

	if (wp->resolver == NULL)
		wp->resolver = resolver_new(wp->loop, &cfg);
	return wp->resolver;
}

void
services_resolver_free(struct worker_plugins *wp)
{
	if (wp->resolver != NULL)
		resolver_free(&wp->resolver);
}

static void
conn_end(struct service *s)
{
	struct ph_conn *c = container_of(s, struct ph_conn, service);

	timer_stop(c->w->wp->loop, &c->limit);
	if (c->dial != NULL)
		dial_cancel(&c->dial);
	if (c->conn != NULL)
		conn_close(&c->conn, true);
	buf_free(&c->out);
	free(c->host);
	free(c);
}

/* The last the plugin hears of it; from the loop's stack. */
static void
conn_ended(struct ph_conn *c, int status)
{
	list_del(&c->service.link);
	timer_stop(c->w->wp->loop, &c->limit);
	c->ended = true;
	if (c->ev->closed != NULL)
		c->ev->closed(c, c->arg, status);
	conn_end(&c->service);
}

static size_t
conn_input(struct conn *conn, void *arg, struct ph_str data)
{
	struct ph_conn *c = arg;
	size_t used;

	(void)conn;
	if (c->ev->input == NULL)
		return data.n;
	used = c->ev->input(c, c->arg, data.p, data.n); /* c may be gone now */
	return used < data.n ? used : data.n;
}

static int
conn_output(struct conn *conn, void *arg, struct iovec *iov, int max)
{
	struct ph_conn *c = arg;
	struct ph_str out = buf_view(&c->out);

	(void)conn;
	if (out.n == 0 || max < 1)
		return 0;
	iov[0] = (struct iovec){ (char *)out.p, out.n };
	return 1;
}

static void
conn_sent(struct conn *conn, void *arg, size_t n)
{
	struct ph_conn *c = arg;

	(void)conn;
	buf_eat(&c->out, n);
}

static void
conn_closed(struct conn *conn, void *arg, int status)
{
	(void)conn;
	conn_ended(arg, status);
}

static const struct conn_events events = {
	.input = conn_input, .output = conn_output, .sent = conn_sent, .closed = conn_closed,
};

static void
conn_dialed(void *arg, const struct dial_result *res)
{
	struct ph_conn *c = arg;

	c->dial = NULL;
	if (res->status != 0) {
		log_event(PH_INFO, &c->w->log, "plugin.connect", LOG_C("plugin", c->w->inst->name),
		    LOG_C("why", res->why != NULL ? res->why : ph_strerror(res->status)));
		conn_ended(c, res->status);
		return;
	}
	timer_stop(c->w->wp->loop, &c->limit);
	c->conn = conn_new(c->w->wp->loop, res->stream, INPUT_MAX, &events, c);
	if (c->out.len > 0)
		conn_kick(c->conn);
	if (c->ev->connected != NULL)
		c->ev->connected(c, c->arg);    /* c may be gone now */
}

static void
conn_late(struct timer *t)
{
	struct ph_conn *c = container_of(t, struct ph_conn, limit);

	conn_ended(c, PH_ETIMEOUT);
}

struct ph_conn *
ph_connect(struct ph_worker *w, const struct ph_endpoint *to, ph_duration limit,
           const struct ph_conn_events *ev, void *arg)
{
	struct resolver *r;
	struct ph_conn *c;

	if (to == NULL || to->host == NULL || to->host[0] == '\0' || to->port == 0 || ev == NULL)
		return NULL;
	r = resolver_of(w->wp);
	if (r == NULL)
		return NULL;
	c = mem_new(struct ph_conn);
	c->w = w;
	c->ev = ev;
	c->arg = arg;
	c->host = mem_strdup(to->host);
	c->to = (struct ph_endpoint){ c->host, to->port, true };
	c->hop = (struct ph_next_hop){ .size = sizeof c->hop, .name = c->host,
	    .hosts = { &c->to, 1 }, .default_port = to->port, .allow_loopback = true };
	c->limit.fn = conn_late;
	service_add(w, &c->service, conn_end);
	limit.ms = wait_limit(limit, 30 * 1000);
	timer_start(w->wp->loop, &c->limit, limit.ms);
	c->dial = dial_start(w->wp->loop, r, &c->hop, 0, limit, conn_dialed, c);
	if (c->dial == NULL) {
		list_del(&c->service.link);
		conn_end(&c->service);
		return NULL;
	}
	return c;
}

int
ph_conn_write(struct ph_conn *c, const void *data, size_t n)
{
	if (c->ended)
		return PH_ECLOSED;
	if (n > OUTPUT_MAX || c->out.len > OUTPUT_MAX - n)
		return PH_ELIMIT;
	buf_add(&c->out, data, n);
	if (c->conn != NULL)
		conn_kick(c->conn);     /* an error is told by closed(), later */
	return 0;
}

void
ph_conn_close(struct ph_conn **c)
{
	if (*c != NULL && !(*c)->ended) {
		list_del(&(*c)->service.link);
		conn_end(&(*c)->service);
	}
	*c = NULL;
}
