/*
 * link.c - a connection to a site: dial, greeting, messages, QUIT.
 *
 * A host that cannot be reached, greets with 4xx or 5xx or fails before the
 * first message may leave is passed over for the next address or host; only
 * when none is left has the site failed.  Callbacks of the connection change
 * the engine and leave the rest to link_look, which runs on a clean stack, so
 * that nothing is closed or freed under a caller.
 */
#include <stdio.h>
#include <stdlib.h>

#include "deliver/deliver_private.h"

/* MAX_INPUT: one whole reply, as long as the parser takes it. */
enum { MAX_INPUT = 64 * 1024, WHY_MAX = 600 };

static void link_dial(struct link *l, size_t first);
static void link_redial_clear(struct link *l);

static void
link_free(struct link *l)
{
	struct deliver *d = l->d;
	struct pool *p = l->pool;

	timer_stop(d->loop, &l->timer);
	dial_cancel(&l->dial);
	login_free(&l->login);
	if (l->conn != NULL)
		conn_close(&l->conn, false);
	smtp_client_free(&l->client);
	list_del(&l->link);
	list_del(&l->dirty);
	p->nlinks--;
	p->nconnecting -= l->state != LINK_READY;
	d->nlinks--;
	worker_plugins_drop(l->wp);
	buf_free(&l->why);
	buf_free(&l->over_why);
	free(l->host_name);
	free(l);
	pool_dirty(p);          /* room for another */
	if (d->starved)
		deliver_flush_soon(d);
}

void
link_dirty(struct link *l)
{
	if (!list_linked(&l->dirty))
		list_push_back(&l->d->dirty_links, &l->dirty);
	deliver_flush_soon(l->d);
}

unsigned
link_slots(const struct link *l)
{
	uint64_t most =
	    (uint64_t)(l->hop->messages_per_connection > 0 ? l->hop->messages_per_connection
							   : l->d->cfg.messages_per_connection);
	unsigned slots;

	if (l->state != LINK_READY || l->closing || l->over)
		return 0;
	slots = smtp_client_free_slots(l->client);
	if (most > 0 && l->submitted + slots > most)
		slots = most > l->submitted ? (unsigned)(most - l->submitted) : 0;
	return slots;
}

/* --- the end of a connection --- */

static void
add_why(struct link *l, struct ph_str why)
{
	/* The dialler's "no further host" says nothing that is not known. */
	if (l->why.len > 0 && (why.n == 0 || str_is(why, "no further host to try")))
		return;
	if (l->why.len + why.n > WHY_MAX)
		return;
	if (l->why.len > 0)
		buf_adds(&l->why, "; ");
	for (size_t i = 0; i < why.n; i++)
		buf_addc(&l->why, why.p[i] == '\n' ? ' ' : why.p[i]);
}

/* What it says is about the host at hand. */
static void
add_remote_why(struct link *l, struct ph_str why)
{
	char text[900];
	int n = snprintf(
	    text, sizeof text, "%s: %.*s", l->remote, (int)(why.n < 500 ? why.n : 500), why.p);

	add_why(l, str_make(text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1));
}

static void
hang_up(struct link *l)
{
	timer_stop(l->d->loop, &l->timer);
	login_end(&l->login);
	/* RFC 5321 4.1.1.10, where it can still be said, and not in the clear to one who never
	 * speaks in it. */
	if (l->client != NULL && (l->secure || !l->hop->tls_implicit))
		smtp_client_quit(l->client);
	if (l->conn != NULL)
		conn_close(&l->conn, l->client != NULL);
	smtp_client_free(&l->client);
	l->secure = l->shaking = l->login.again = false;
}

/* The host will not do: the next one, or the end of the link. */
static void
link_fail(struct link *l, struct ph_str why, bool try_next, enum job_login login)
{
	struct deliver *d = l->d;
	struct pool *p = l->pool;
	struct buf text;

	if (l->conn != NULL)
		add_remote_why(l, why);
	else
		add_why(l, why);
	log_event(PH_DEBUG, d->log, "deliver.host-failed", LOG_C("site", p->info->name),
	    LOG_S("why", buf_view(&l->why)));
	hang_up(l);
	l->over = false;
	if (try_next && !l->closing && !d->stopping && l->ntried < TRIED_ADDRS) {
		l->tried[l->ntried++] = l->addr;
		link_dial(l, l->host);
		return;
	}
	text = l->why;
	l->why = (struct buf){ 0 };
	link_free(l);
	/* Others may still come about, or are all that it takes. */
	p->calm_until = loop_now(d->loop) + CALM_MS;
	if (login != JOB_LOGIN_FINE) {
		/* What a former password opened is not a proof that the present one is good. */
		p->logged_in = false;
		list_each(it, &p->links)
			link_retire(container_of(it, struct link, link));
	}
	if (p->nlinks == 0 || login != JOB_LOGIN_FINE)
		pool_give_back(p, JOB_SITE_DOWN, buf_view(&text), login);
	buf_free(&text);
}

void
link_lost(struct link *l, struct ph_str why)
{
	struct smtp_client_txn *t;
	struct buf text = { 0 };

	if (l->client == NULL || l->state != LINK_READY) {
		link_free(l);
		return;
	}
	buf_addstr(&text, why);
	log_event(PH_DEBUG, l->d->log, "deliver.lost", LOG_C("site", l->pool->info->name),
	    LOG_C("remote", l->remote), LOG_S("why", why));
	l->over = l->closing = true;
	if (l->conn != NULL)
		conn_close(&l->conn, false);
	/* Backwards, so that those that wait again stand in their order. */
	struct attempt **v = NULL;
	size_t n = 0, cap = 0;
	while ((t = smtp_client_end(l->client)) != NULL) {
		if (n == cap) {
			cap = cap > 0 ? cap * 2 : 32;
			v = mem_realloc(v, cap * sizeof *v);
		}
		v[n++] = t->arg;
	}
	while (n > 0)
		attempt_lost(v[--n], buf_view(&text));
	free(v);
	buf_free(&text);
	link_free(l);
}

void
link_quit(struct link *l)
{
	log_event(PH_DEBUG, l->d->log, "deliver.quit", LOG_C("remote", l->remote),
	    LOG_I("messages", l->finished));
	smtp_client_quit(l->client);
	conn_close(&l->conn, true);
	link_free(l);
}

void
link_retire(struct link *l)
{
	l->closing = true;
	link_dirty(l);
}

void
link_over(struct link *l, struct ph_str why, bool try_next, enum job_login login)
{
	if (l->over)
		return;
	l->over = true;
	l->over_next = try_next;
	l->over_login = login;
	buf_clear(&l->over_why);
	buf_addstr(&l->over_why, why);
	link_dirty(l);
}

static void
link_end(struct link *l)
{
	struct buf why = l->over_why;

	l->over_why = (struct buf){ 0 };
	if (l->redial_clear && !l->closing)
		link_redial_clear(l);
	else if (l->state != LINK_READY ||
		 (l->submitted == 0 && l->pool->nwaiting > 0 && !l->closing)) {
		/* One that greets and leaves has not worked either. */
		link_fail(l, buf_view(&why), l->over_next, l->over_login);
	} else {
		link_lost(l, buf_view(&why));
	}
	buf_free(&why);
}

/* --- time --- */

void
link_touch(struct link *l)
{
	int64_t now = loop_now(l->d->loop), wait = smtp_client_timeout_ms(l->client);
	int64_t idle =
	    l->hop->idle_timeout.ms > 0 ? l->hop->idle_timeout.ms : l->d->cfg.idle_timeout_ms;

	if (wait == 0)
		wait = idle > 0 ? idle : 1;
	if (l->shaking)         /* from its beginning, however it drips */
		wait = l->shaking_until > now ? l->shaking_until - now : 0;
	l->deadline = now + wait;
	/* A timer that fires too early looks again, which is cheaper than moving it each time. */
	if (timer_active(&l->timer) && l->armed <= l->deadline)
		return;
	l->armed = l->deadline;
	timer_start(l->d->loop, &l->timer, wait);
}

static void
link_timeout(struct timer *t)
{
	struct link *l = container_of(t, struct link, timer);
	int64_t now = loop_now(l->d->loop);
	char text[80];

	if (now < l->deadline) {
		l->armed = l->deadline;
		timer_start(l->d->loop, &l->timer, l->deadline - now);
		return;
	}
	if (l->state == LINK_READY && smtp_client_open_txns(l->client) == 0 &&
	    smtp_client_timeout_ms(l->client) == 0) {
		link_quit(l);
		return;
	}
	if (l->shaking) {
		link_secured(l, PH_ETIMEOUT);
		return;
	}
	snprintf(text, sizeof text, "timed out waiting for %s", smtp_client_waiting_for(l->client));
	link_over(l, str_of(text), true, JOB_LOGIN_FINE);
}

/* --- events of the engine --- */

static void
link_ready(struct link *l)
{
	l->state = LINK_READY;
	l->pool->nconnecting--;
	l->pool->logged_in = l->hop->auth != NULL;
	l->pool->slots_seen = smtp_client_free_slots(l->client);
	if (l->pool->slots_seen == 0)
		l->pool->slots_seen = 1;
	buf_clear(&l->why);
	log_event(PH_DEBUG, l->d->log, "deliver.connected", LOG_C("site", l->pool->info->name),
	    LOG_C("remote", l->remote), LOG_I("tls", l->secure),
	    LOG_I("extensions", smtp_client_extensions(l->client)));
	pool_dirty(l->pool);
}

/* Transactions that are finished, content that is wanted. */
static void
link_events(struct link *l)
{
	struct smtp_client_event ev;

	while (smtp_client_event(l->client, &ev)) {
		switch (ev.kind) {
		case SMTP_EV_READY:
			if (!l->over)
				link_ready(l);
			break;
		case SMTP_EV_STARTTLS:
			link_secure(l);
			break;
		case SMTP_EV_AUTH:
			link_auth(l, ev.text);
			break;
		case SMTP_EV_AUTH_STEP:
			login_step(&l->login, ev.text);
			break;
		case SMTP_EV_AUTH_OK:
			link_auth_ok(l);
			break;
		case SMTP_EV_AUTH_FAILED:
			link_auth_failed(l, ev.code, ev.text);
			break;
		case SMTP_EV_TXN:
			attempt_finished(ev.txn->arg);
			break;
		case SMTP_EV_WANT:
			read_want(ev.txn->arg);
			break;
		case SMTP_EV_FAILED:
			link_over(l, ev.text, true, JOB_LOGIN_FINE);
			break;
		default:
			break;
		}
	}
}

void
link_look(struct link *l)
{
	struct pool *p = l->pool;

	if (l->client != NULL)
		link_events(l);
	if (l->over) {
		link_end(l);
		return;
	}
	if (l->closing && l->state != LINK_READY) {
		link_free(l);
		return;
	}
	if (l->conn == NULL)
		return;
	if (l->state == LINK_READY && smtp_client_open_txns(l->client) == 0 &&
	    (l->closing || (link_slots(l) == 0 && l->submitted > 0) || p->nlinks > pool_limit(p))) {
		link_quit(l);
		return;
	}
	l->looking = true;
	conn_kick(l->conn);
	l->looking = false;
	link_events(l);
	link_touch(l);
}

/* --- events of the connection --- */

static size_t
link_input(struct conn *c, void *arg, struct ph_str data)
{
	struct link *l = arg;
	struct ph_str in = data;

	(void)c;
	(void)smtp_client_feed(l->client, &in);
	if (in.n > 0 && smtp_client_wants_tls(l->client)) {
		/* What a stranger puts behind the 220 must not count as said inside TLS; the
		 * connection forgets it (RFC 3207 4.2, CVE-2011-0411 the other way round). */
		log_event(PH_WARN, l->d->log, "deliver.tls-injection",
		    LOG_C("site", l->pool->info->name), LOG_C("remote", l->remote),
		    LOG_I("octets", in.n),
		    LOG_C("note", "sent in the clear behind the reply to STARTTLS; dropped"));
	}
	if (in.n == data.n)
		return 0;               /* a drip of a reply does not count as progress */
	link_touch(l);
	link_dirty(l);
	/* A finished transaction frees its content and makes room at once. */
	link_events(l);
	if (l->state == LINK_READY && l->pool->nwaiting > 0)
		pool_dirty(l->pool);
	return data.n - in.n;
}

static int
link_output(struct conn *c, void *arg, struct iovec *iov, int max)
{
	struct link *l = arg;
	int n = smtp_client_output(l->client, iov, max);

	/* c is being closed when it is not ours any more: nobody waits for content. */
	if (n == 0 && l->conn == c && l->state == LINK_READY)
		link_events(l);         /* content is wanted, if anything */
	return n;
}

static void
link_sent(struct conn *c, void *arg, size_t n)
{
	struct link *l = arg;

	smtp_client_sent(l->client, n);
	l->d->counts.bytes += n;
	if (l->conn == c && !l->looking) {
		link_touch(l);
		link_dirty(l);
	}
}

static void
link_closed(struct conn *c, void *arg, int status)
{
	struct link *l = arg;
	struct ph_str why = status == PH_ECLOSED  ? STR("connection closed by the remote")
	                    : status == PH_ELIMIT ? STR("its reply is too long")
	                                          : str_of(ph_strerror(status));

	(void)c;
	if (l->shaking)
		link_secured(l, status);        /* that, too, is a handshake that failed */
	else
		link_over(l, why, true, JOB_LOGIN_FINE);
}

static void
link_conn_secured(struct conn *c, void *arg, int status)
{
	(void)c;
	link_secured(arg, status);
}

static const struct conn_events link_conn_events = {
	.input = link_input, .output = link_output, .sent = link_sent, .closed = link_closed,
	.secured = link_conn_secured,
};

/* --- dialling --- */

static void
link_said(void *arg, struct ph_str command)
{
	const struct link *l = arg;

	log_event(PH_TRACE, l->d->log, "deliver.said", LOG_C("remote", l->remote),
	    LOG_S("line", command));
}

static void
link_heard(void *arg, struct ph_str reply)
{
	const struct link *l = arg;
	struct buf text = { 0 };

	buf_addstr(&text, reply);
	if (l->login.sasl != NULL)
		login_hide(&l->login, text.data, text.len);
	log_event(PH_TRACE, l->d->log, "deliver.heard", LOG_C("remote", l->remote),
	    LOG_S("reply", buf_view(&text)));
	buf_free(&text);
}

static void
link_connected(struct link *l, const struct dial_result *res)
{
	struct deliver *d = l->d;
	char addr[PH_ADDR_TEXT];
	struct smtp_client_config cfg = {
		.hostname = d->cfg.hostname, .window_messages = d->cfg.window_messages,
		.use_chunking = d->cfg.chunking, .use_pipelining = d->cfg.pipelining,
		.auth = l->hop->auth != NULL, .tls_begun = l->hop->tls_implicit,
		.starttls = deliver_starttls(l->hop, l->wp, pool_is_clear(l->pool, &res->addr)),
	};

	if (log_on(PH_TRACE)) {
		cfg.said = link_said;
		cfg.heard = link_heard;
		cfg.arg = l;
	}
	l->state = LINK_GREETING;
	l->host = res->host_index;
	l->addr = res->addr;
	free(l->host_name);
	l->host_name = mem_strdup(res->host != NULL ? res->host : "");
	ph_addr_text(&res->addr, addr);
	if (strcmp(addr, l->host_name) == 0)
		snprintf(l->remote, sizeof l->remote, "%s:%u", addr, res->addr.port);
	else
		snprintf(l->remote, sizeof l->remote, "%.240s[%s]:%u", l->host_name, addr,
		    res->addr.port);
	d->counts.connections++;
	l->client = smtp_client_new(&cfg);
	l->conn = conn_new(d->loop, res->stream, MAX_INPUT, &link_conn_events, l);
	link_touch(l);
	if (l->hop->tls_implicit)
		link_secure(l);
}

static void
link_dialled(void *arg, const struct dial_result *res)
{
	struct link *l = arg;

	l->dial = NULL;
	if (res->status == 0)
		link_connected(l, res);
	else
		/* a host before that had no use for our login: still worth the alarm */
		link_fail(l, str_of(res->why), false, l->over_login);
}

static void
link_dial(struct link *l, size_t first)
{
	ph_duration limit = l->hop->connect_timeout;

	if (limit.ms <= 0)
		limit.ms = l->d->cfg.connect_timeout_ms;
	if (l->state == LINK_READY)
		l->pool->nconnecting++;
	l->state = LINK_DIALING;
	l->dial = dial_start(l->d->loop, l->d->resolver, l->hop, first, limit, link_dialled, l);
	for (unsigned i = 0; i < l->ntried; i++)
		dial_skip(l->dial, &l->tried[i]);
}

/* The handshake failed and the policy takes what it gets (RFC 7435 4): the
 * same host again, in the clear. */
static void
link_redial_clear(struct link *l)
{
	hang_up(l);
	l->over = false;
	pool_set_clear(l->pool, &l->addr);
	l->redial_clear = false;
	link_dial(l, l->host);
}

void
link_new(struct pool *p)
{
	struct link *l = mem_new(struct link);

	l->d = p->d;
	l->pool = p;
	l->hop = p->hop;
	l->wp = p->wp;
	worker_plugins_use(l->wp);
	l->timer.fn = link_timeout;
	list_push_back(&p->links, &l->link);
	p->nlinks++;
	p->nconnecting++;
	p->d->nlinks++;
	link_dial(l, 0);
}
