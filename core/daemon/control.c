/*
 * control.c - answers operators over a unix socket of mode 0600: who may open
 * it is the account of the daemon and root, and nothing else is asked.
 */
#include "daemon/control.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/id.h"
#include "base/list.h"
#include "base/str.h"
#include "daemon/daemon.h"
#include "daemon/rows.h"
#include "net/conn.h"

enum { MAX_CLIENTS = 64 };

struct control {
	struct daemon *d;
	struct listener *listener;
	struct list clients;
	unsigned nclients;
	char *path;
	int fd;
};

struct control_client {
	struct list link;
	struct control *control;        /* NULL once that has closed */
	struct conn *conn;              /* NULL once it has left */
	struct buf out;
	struct arena arena;
	struct queue_filter filter;     /* its views live in arena */
	bool busy, asked, in_queue;               /* busy: an answer is still to come, which needs us */
};

static void
client_free(struct control_client *c)
{
	if (c->busy)
		return;         /* the answer finds conn NULL and comes back here */
	if (c->control != NULL) {
		list_del(&c->link);
		c->control->nclients--;
	}
	buf_free(&c->out);
	arena_reset(&c->arena);
	free(c);
}

static void
client_end(struct control_client *c, bool ok, struct ph_str text)
{
	struct fields f;

	c->busy = false;
	fields_start(&f, &c->arena, "end");
	fields_bool(&f, "ok", ok);
	fields_str(&f, "text", text);
	fields_encode(&f, &c->out);
	if (c->conn == NULL)
		client_free(c);
	else
		conn_kick(c->conn);     /* c is gone once all is sent */
}

/* --- the requests --- */

static void
client_matched(void *arg, uint64_t matched)
{
	struct control_client *c = arg;
	struct fields f;

	fields_start(&f, &c->arena, "matched");
	fields_int(&f, "messages", (int64_t)matched);
	fields_encode(&f, &c->out);
	client_end(c, true, STR(""));
}

static void
client_row(void *arg, const struct queue_row *r)
{
	struct control_client *c = arg;
	struct arena a;

	if (r == NULL) {
		client_end(c, true, STR(""));
		return;
	}
	if (c->conn == NULL)
		return;
	arena_init(&a, 1024);
	rows_message(r, &a, &c->out);
	arena_reset(&a);
	conn_kick(c->conn);
}

static void
client_site(void *arg, const struct queue_site_row *r)
{
	struct control_client *c = arg;

	rows_site(r, &c->arena, &c->out);
}

static int
client_filter(struct control_client *c, const struct fields *f)
{
	struct queue_filter *q = &c->filter;
	struct ph_str id = fields_get(f, "id");

	q->from = fields_get(f, "from");
	q->to = fields_get(f, "to");
	q->site = fields_get(f, "site");
	q->held = str_is(fields_get(f, "held"), "true");
	q->deferred = str_is(fields_get(f, "deferred"), "true");
	q->active = str_is(fields_get(f, "active"), "true");
	q->older_ms = fields_get_int(f, "older", 0);
	q->limit = (uint64_t)fields_get_int(f, "limit", 0);
	if (id.p == NULL)
		return 0;
	q->any_id = true;
	return id_parse(id, &q->id);
}

static void
client_reloaded(void *arg, bool ok, struct buf *report)
{
	struct control_client *c = arg;
	struct ph_str text = arena_str(&c->arena, buf_view(report));

	client_end(c, ok, text);
}

static void
client_status(struct control_client *c)
{
	struct daemon *d = c->control->d;
	struct queue_counts counts;
	struct ph_store_facts sf = { 0 };
	struct fields f;

	queue_counts(d->queue, &counts);
	rows_counts(&counts, &c->arena, &c->out);
	d->shared.store->ops->facts(d->shared.store, &sf);
	fields_start(&f, &c->arena, "daemon");
	fields_text(&f, "version", PH_VERSION);
	fields_int(&f, "pid", getpid());
	fields_int(&f, "generation", d->gen->number);
	fields_int(&f, "workers", d->nworkers);
	fields_int(&f, "connections", atomic_load(&d->shared.connections));
	fields_int(&f, "sessions", (int64_t)atomic_load(&d->shared.sessions));
	fields_int(&f, "accepted", (int64_t)atomic_load(&d->shared.accepted));
	fields_int(&f, "rejected", (int64_t)atomic_load(&d->shared.rejected));
	fields_bool(&f, "store_room", atomic_load(&d->shared.store_room));
	fields_int(&f, "syncs", (int64_t)sf.syncs);
	fields_int(&f, "segments", (int64_t)sf.segments);
	fields_int(&f, "bytes_live", (int64_t)sf.bytes_live);
	fields_int(&f, "bytes_used", (int64_t)sf.bytes_used);
	fields_int(&f, "bytes_written", (int64_t)sf.bytes_written);
	fields_int(&f, "appended", (int64_t)sf.appended);
	fields_int(&f, "removed", (int64_t)sf.removed);
	fields_int(&f, "compacted", (int64_t)sf.compacted);
	fields_int(&f, "quarantined", (int64_t)sf.quarantined);
	fields_encode(&f, &c->out);
	client_end(c, true, STR(""));
}

static const struct { const char *verb; enum queue_action action; } actions[] = {
	{ "flush", QUEUE_FLUSH }, { "hold", QUEUE_HOLD },
	{ "release", QUEUE_RELEASE }, { "remove", QUEUE_REMOVE },
};

static void
client_ask(struct control_client *c, const struct fields *f)
{
	struct daemon *d = c->control->d;
	struct queue_counts counts;

	c->busy = true;
	if (client_filter(c, f) != 0) {
		client_end(c, false, STR("that is not a queue id"));
		return;
	}
	for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++)
		if (strcmp(f->kind, actions[i].verb) == 0) {
			c->in_queue = true;
			queue_act(d->queue, actions[i].action, &c->filter, client_matched, c);
			return;
		}
	if (strcmp(f->kind, "list") == 0) {
		c->in_queue = true;
		queue_list(d->queue, &c->filter, true, client_row, c);
	} else if (strcmp(f->kind, "count") == 0) {
		queue_counts(d->queue, &counts);
		rows_counts(&counts, &c->arena, &c->out);
		client_end(c, true, STR(""));
	} else if (strcmp(f->kind, "sites") == 0) {
		queue_sites(d->queue, client_site, c);
		client_end(c, true, STR(""));
	} else if (strcmp(f->kind, "status") == 0) {
		client_status(c);
	} else if (strcmp(f->kind, "reload") == 0) {
		daemon_reload(d, client_reloaded, c);
	} else if (strcmp(f->kind, "stop") == 0) {
		client_end(c, true, STR(""));
		daemon_stop(d);
	} else {
		client_end(c, false, STR("no such request; is the command newer than the daemon?"));
	}
}

/* --- connection --- */

static size_t
client_input(struct conn *conn, void *arg, struct ph_str data)
{
	struct control_client *c = arg;
	struct ph_str rest, line = str_cut(data, '\n', &rest);
	struct fields f;

	(void)conn;
	if (c->asked)
		return data.n;
	if (rest.p == NULL) {
		if (data.n < FIELDS_LINE_MAX / 4)
			return 0;
		c->asked = true;
		client_end(c, false, STR("request too long"));
		return data.n;
	}
	c->asked = true;
	if (fields_decode(line, &c->arena, &f) != 0)
		client_end(c, false, STR("malformed request"));
	else
		client_ask(c, &f);
	return data.n;
}

static int
client_output(struct conn *conn, void *arg, struct iovec *iov, int max)
{
	struct control_client *c = arg;

	(void)conn;
	if (c->out.len == 0 || max < 1)
		return 0;
	iov[0].iov_base = c->out.data + c->out.head;
	iov[0].iov_len = c->out.len;
	return 1;
}

static void
client_sent(struct conn *conn, void *arg, size_t n)
{
	struct control_client *c = arg;

	(void)conn;
	buf_eat(&c->out, n);
	if (c->out.len == 0 && c->asked && !c->busy) {
		conn_close(&c->conn, true);
		client_free(c);
	}
}

static void
client_closed(struct conn *conn, void *arg, int status)
{
	struct control_client *c = arg;

	(void)conn;
	(void)status;
	conn_close(&c->conn, false);
	if (c->busy && c->control != NULL && c->in_queue) {
		queue_cancel(c->control->d->queue, c);
		c->busy = false;
	}
	client_free(c);
}

static const struct conn_events client_events = {
	.input = client_input, .output = client_output, .sent = client_sent,
	.closed = client_closed,
};

static void
control_got(void *arg, struct stream *stream)
{
	struct control *ctl = arg;
	struct control_client *c;

	if (ctl->nclients >= MAX_CLIENTS) {
		stream_close(&stream);
		return;
	}
	c = mem_new(struct control_client);
	c->control = ctl;
	arena_init(&c->arena, 1024);
	list_push_back(&ctl->clients, &c->link);
	ctl->nclients++;
	c->conn = conn_new(ctl->d->loop, stream, FIELDS_LINE_MAX, &client_events, c);
}

struct control *
control_open(struct daemon *d, const char *path)
{
	struct control *ctl = mem_new(struct control);

	ctl->fd = listen_unix(path, 0600);
	if (ctl->fd < 0) {
		free(ctl);
		return NULL;
	}
	ctl->d = d;
	ctl->path = mem_strdup(path);
	list_init(&ctl->clients);
	ctl->listener = listener_open(d->loop, ctl->fd, control_got, ctl);
	return ctl;
}

void
control_close(struct control **cp)
{
	struct control *ctl = *cp;

	*cp = NULL;
	if (ctl == NULL)
		return;
	listener_close(&ctl->listener);
	close(ctl->fd);
	(void)unlink(ctl->path);
	list_each_safe(it, &ctl->clients) {
		struct control_client *c = container_of(it, struct control_client, link);
		if (c->conn != NULL)
			conn_close(&c->conn, true);
		if (c->busy && c->in_queue) {
			queue_cancel(ctl->d->queue, c);
			c->busy = false;
		}
		list_del(&c->link);
		c->control = NULL;
		client_free(c);
	}
	free(ctl->path);
	free(ctl);
}
