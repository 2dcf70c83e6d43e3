/*
 * directory.c - asks a directory service over TCP whether a recipient exists:
 * "RCPT address" is answered by "yes" or "no", one line each.
 *
 * The link is made at the first question and again, after a pause, when it was
 * lost.  Who asked is known by ticket only: a session that has gone meanwhile
 * needs no word, waking its ticket does nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "directory.h"

enum { QUESTIONS_MAX = 1000, LINE_LIMIT = 100, CONNECT_MS = 5000 };

struct directory {
	struct ph_worker *w;
	struct ph_endpoint at;
	ph_duration retry;              /* pause before the next connection */
	struct ph_conn *conn;           /* NULL: no link */
	struct ph_timer *pause;         /* not NULL: no link is tried before it ends */
	/* a ring: asked[first] is answered next */
	struct ph_ticket asked[QUESTIONS_MAX];
	size_t first, n;
};

static const bool yes = true, no = false;

/* The oldest question has its answer. */
static void
directory_answer(struct directory *d, const bool *known)
{
	struct ph_ticket ticket = d->asked[d->first];

	d->first = (d->first + 1) % QUESTIONS_MAX;
	d->n--;
	(void)ph_wake(ticket, (void *)known);   /* PH_ESTALE: the session has gone */
}

static void
directory_pause_over(void *arg)
{
	struct directory *d = arg;

	d->pause = NULL;
}

/* All who wait learn that there is no answer. */
static void
directory_lost(struct directory *d, const char *why)
{
	ph_log_worker(d->w, PH_WARN, "link to directory %s lost: %s", d->at.host, why);
	while (d->n > 0)
		directory_answer(d, NULL);
	d->pause = ph_timer_start(d->w, d->retry, directory_pause_over, d);
}

static size_t
directory_input(struct ph_conn *conn, void *arg, const void *data, size_t n)
{
	struct directory *d = arg;
	const char *p = data, *end;
	size_t used = 0;

	while ((end = memchr(p + used, '\n', n - used)) != NULL) {
		size_t len = (size_t)(end - p) - used;
		bool is_yes = len == 3 && memcmp(p + used, "yes", 3) == 0;
		bool is_no = len == 2 && memcmp(p + used, "no", 2) == 0;

		if (d->n == 0 || (!is_yes && !is_no))
			break;
		directory_answer(d, is_yes ? &yes : &no);
		used += len + 1;
	}
	/* Nobody asked, or it is no answer: such a peer cannot be followed any more. */
	if (end != NULL || n - used > LINE_LIMIT) {
		ph_conn_close(&d->conn);
		directory_lost(d, "it said something else than yes or no");
		return n;
	}
	(void)conn;
	return used;
}

static void
directory_closed(struct ph_conn *conn, void *arg, int status)
{
	struct directory *d = arg;

	(void)conn;
	d->conn = NULL;
	directory_lost(d, ph_strerror(status));
}

static const struct ph_conn_events directory_events = {
	.input = directory_input, .closed = directory_closed,
};

int
directory_ask(struct directory *d, struct ph_str address, struct ph_ticket ticket)
{
	char line[512];
	int n = snprintf(line, sizeof line, "RCPT %.*s\n", (int)address.n, address.p);

	if (n < 0 || (size_t)n >= sizeof line)
		return PH_EINVAL;
	if (d->n == QUESTIONS_MAX)
		return PH_EBUSY;
	if (d->conn == NULL && d->pause == NULL)
		d->conn = ph_connect(d->w, &d->at, (ph_duration){ CONNECT_MS },
		    &directory_events, d);
	if (d->conn == NULL)
		return PH_ECLOSED;
	d->asked[(d->first + d->n++) % QUESTIONS_MAX] = ticket;
	n = ph_conn_write(d->conn, line, (size_t)n);    /* waits until connected */
	if (n < 0)
		d->n--;
	return n;
}

struct directory *
directory_open(struct ph_worker *w, const struct ph_endpoint *at, ph_duration retry)
{
	struct directory *d = calloc(1, sizeof *d);

	if (d == NULL)
		return NULL;
	d->w = w;
	d->at = *at;
	d->retry = retry;
	return d;
}

void
directory_close(struct directory **d)
{
	if (*d == NULL)
		return;
	ph_conn_close(&(*d)->conn);
	ph_timer_stop(&(*d)->pause);
	free(*d);
	*d = NULL;
}
