/*
 * send_session.c - one connection of `posthouse send`: the client engine on a
 * core/net connection.  It takes messages while the engine has room for them
 * and says QUIT when there are no more.
 */
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "base/str.h"
#include "cmd/send.h"
#include "cmd/target.h"
#include "net/conn.h"

enum { MAX_INPUT = 65536 };

/* Owner: itself; ends when its connection does. */
struct send_session {
	struct send *snd;
	struct stream *stream;          /* while connecting */
	struct conn *conn;
	struct smtp_client *client;
	struct timer timer;
	int which;                      /* of snd->to */
	bool over, failed;
	struct ph_note end;
	struct send_show show;
};

static void session_try(struct send_session *s);

static void
trouble(struct send_session *s, const char *what)
{
	struct buf at = { 0 };

	target_text(&s->snd->to[s->which], &at);
	(void)snprintf(
	    s->snd->trouble, sizeof s->snd->trouble, STR_FMT ": %s", STR_ARG(buf_view(&at)), what);
	buf_free(&at);
}

/* --- the end --- */

static void
session_end(struct ph_note *note)
{
	struct send_session *s = container_of(note, struct send_session, end);
	struct send *snd = s->snd;
	struct smtp_client_txn *txn;

	timer_stop(snd->loop, &s->timer);
	if (s->client != NULL) {
		while ((txn = smtp_client_end(s->client)) != NULL)
			send_message_over(snd, txn->arg, true);
		smtp_client_free(&s->client);
	}
	if (s->conn != NULL)
		conn_close(&s->conn, false);
	stream_close(&s->stream);
	send_show_free(&s->show);
	free(s);
	if (--snd->live == 0)
		loop_stop(snd->loop);
}

/* Later, on a clean stack: we may be inside a callback of the connection. */
static void
session_over(struct send_session *s)
{
	if (s->over)
		return;
	s->over = true;
	s->end.run = session_end;
	loop_defer(s->snd->loop, &s->end);
}

/* --- the dialogue --- */

static void
arm(struct send_session *s)
{
	int64_t limit = smtp_client_timeout_ms(s->client), wanted = s->snd->o->timeout.ms;

	if (limit == 0)
		timer_stop(s->snd->loop, &s->timer);
	else
		timer_start(s->snd->loop, &s->timer, wanted > 0 && wanted < limit ? wanted : limit);
}

static void
submit_more(struct send_session *s)
{
	struct send_message *msg;

	while (smtp_client_free_slots(s->client) > 0) {
		msg = send_next_message(s->snd);
		if (msg == NULL)
			break;
		smtp_client_submit(s->client, &msg->txn);
	}
	if (smtp_client_open_txns(s->client) == 0 &&
	    (s->snd->next == s->snd->total || smtp_client_spent(s->client)))
		smtp_client_quit(s->client);
}

static void
take_events(struct send_session *s)
{
	struct smtp_client_event ev;

	while (!s->over && smtp_client_event(s->client, &ev)) {
		switch (ev.kind) {
		case SMTP_EV_READY:
			submit_more(s);
			break;
		case SMTP_EV_TXN:
			send_message_over(s->snd, ev.txn->arg, false);
			submit_more(s);
			break;
		case SMTP_EV_FAILED: {
			struct buf text = { 0 };

			buf_printf(&text, STR_FMT "%c", STR_ARG(ev.text), '\0');
			trouble(s, ev.text.n > 0 ? text.data + text.head : ph_strerror(ev.status));
			send_complain(s->snd, "%s", s->snd->trouble);
			buf_free(&text);
			if (ev.code / 100 == 5)
				s->snd->session_refused = true;
			else
				s->snd->session_deferred = true;
			s->failed = true;
			session_over(s);
			break;
		}
		case SMTP_EV_QUIT:
			if (s->snd->next <
			    s->snd->total) /* the remote takes so many a connection */
				send_session_start(s->snd);
			session_over(s);
			break;
		default:                        /* neither TLS nor AUTH was asked for */
			session_over(s);
			break;
		}
	}
}

static size_t
session_input(struct conn *c, void *arg, struct ph_str data)
{
	struct send_session *s = arg;
	struct ph_str left = data;

	(void)c;
	if (s->over)
		return data.n;
	(void)smtp_client_feed(s->client, &left);       /* what is wrong comes as an event */
	send_show_in(&s->show, str_head(data, data.n - left.n));
	take_events(s);
	if (!s->over) {
		arm(s);
		conn_kick(s->conn);
	}
	return data.n - left.n;
}

static int
session_output(struct conn *c, void *arg, struct iovec *iov, int max)
{
	struct send_session *s = arg;

	(void)c;
	return s->over ? 0 : smtp_client_output(s->client, iov, max);
}

static void
session_sent(struct conn *c, void *arg, size_t n)
{
	struct send_session *s = arg;
	struct iovec iov[16];
	size_t left = n;

	(void)c;
	if (s->show.level > 0) {
		/* the pieces are still those that were written from */
		while (left > 0) {
			int pieces = smtp_client_output(s->client, iov, 16);
			size_t shown = 0;

			for (int i = 0; i < pieces && left > 0; i++) {
				size_t part = iov[i].iov_len < left ? iov[i].iov_len : left;

				send_show_out(&s->show, iov[i].iov_base, part);
				shown += part;
				left -= part;
			}
			if (shown == 0)
				break;
			smtp_client_sent(s->client, shown);
			n -= shown;
		}
	}
	if (n > 0)
		smtp_client_sent(s->client, n);
	arm(s);
}

static void
session_closed(struct conn *c, void *arg, int status)
{
	struct send_session *s = arg;

	(void)c;
	if (s->over)
		return;
	if (!s->failed) {
		trouble(s, status == PH_ECLOSED ? "the server closed the connection"
						: ph_strerror(status));
		send_complain(s->snd, "%s", s->snd->trouble);
		if (smtp_client_open_txns(s->client) == 0)
			s->snd->session_deferred = true;
	}
	session_over(s);
}

static const struct conn_events events = {
	.input = session_input,
	.output = session_output,
	.sent = session_sent,
	.closed = session_closed,
};

/* --- connecting --- */

static void
next_address(struct send_session *s, int status)
{
	trouble(s, ph_strerror(status));
	stream_close(&s->stream);
	if (++s->which < s->snd->nto) {
		session_try(s);
		return;
	}
	send_complain(s->snd, "%s", s->snd->trouble);
	session_over(s);
}

static void
session_timer(struct timer *t)
{
	struct send_session *s = container_of(t, struct send_session, timer);
	char text[160];

	if (s->client == NULL) {
		next_address(s, PH_ETIMEOUT);
		return;
	}
	(void)snprintf(
	    text, sizeof text, "timed out waiting for %s", smtp_client_waiting_for(s->client));
	trouble(s, text);
	send_complain(s->snd, "%s", s->snd->trouble);
	if (smtp_client_open_txns(s->client) == 0)
		s->snd->session_deferred = true;
	session_over(s);
}

static void
session_connected(void *arg, unsigned ready)
{
	struct send_session *s = arg;
	int rc = stream_connected(s->stream);

	(void)ready;
	if (rc != 0) {
		next_address(s, rc);
		return;
	}
	s->snd->connected++;
	if (s->show.level > 0) {
		struct buf at = { 0 };

		target_text(&s->snd->to[s->which], &at);
		(void)fprintf(stderr, "* connected to " STR_FMT "\n", STR_ARG(buf_view(&at)));
		buf_free(&at);
	}
	s->client = smtp_client_new(&s->snd->client);
	s->conn = conn_new(s->snd->loop, s->stream, MAX_INPUT, &events, s);
	s->stream = NULL;
	arm(s);
}

static void
session_try(struct send_session *s)
{
	int64_t limit = s->snd->o->timeout.ms > 0 ? s->snd->o->timeout.ms : 30000;

	s->stream = stream_connect(s->snd->loop, &s->snd->to[s->which], NULL);
	if (s->stream == NULL) {
		next_address(s, PH_EUNREACH);
		return;
	}
	timer_start(s->snd->loop, &s->timer, limit);
	stream_watch(s->stream, STREAM_WRITE, session_connected, s);
}

void
send_session_start(struct send *snd)
{
	struct send_session *s = mem_new(struct send_session);

	s->snd = snd;
	s->timer.fn = session_timer;
	s->show.level = snd->o->verbose;
	snd->live++;
	session_try(s);
}
