/*
 * check.c - what no single row can tell: values with a form of their own, and
 * values that must fit each other.  What cannot work is an error; what
 * works but is hardly meant is a warning.
 */
#include <string.h>

#include "base/str.h"
#include "config/check.h"

#define GREETING_MAX 400        /* RFC 5321 section 4.5.3.1.5: a reply line has 512 octets */
#define WORKERS_MAX  256

static struct diag *
complain(struct diags *d, enum diag_severity severity, const struct node *top, const char *option,
         const char *text)
{
	return diag_add(d, severity, option_place(top, option), option, "%s", text);
}

/* Names, address literals without brackets excepted: what may stand in EHLO. */
static bool
hostname_valid(const char *s)
{
	size_t n = strlen(s), label = 0;

	if (n == 0 || n > 253 || s[0] == '.' || s[n - 1] == '-')
		return false;
	for (size_t i = 0; i < n; i++) {
		char c = s[i];

		if (c == '.') {
			if (label == 0 || s[i - 1] == '-')
				return false;
			label = 0;
		} else if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		    c == '_' || (c == '-' && label > 0)) {
			if (++label > 63)
				return false;
		} else {
			return false;
		}
	}
	return label > 0;
}

static void
check_names(const struct settings *s, const struct node *top, struct diags *d)
{
	uint64_t n;

	if (s->hostname != NULL && !hostname_valid(s->hostname))
		diag_hint(d, complain(d, DIAG_ERROR, top, "hostname", "not a host name"),
		    "write letters, digits, - and dots, for example relay.example.com");
	if (s->workers != NULL && !str_is(str_of(s->workers), "auto") &&
	    (str_u64(str_of(s->workers), &n) != 0 || n < 1 || n > WORKERS_MAX))
		diag_hint(d, complain(d, DIAG_ERROR, top, "workers", "not a number of threads"),
		    "write auto, or a number from 1 to %d", WORKERS_MAX);
	if (s->spool != NULL && *s->spool == '\0')
		complain(d, DIAG_ERROR, top, "spool", "no directory is named");
}

static bool
greeting_valid(const char *s)
{
	if (strlen(s) > GREETING_MAX)
		return false;
	for (; *s != '\0'; s++)
		if ((unsigned char)*s < ' ' || (unsigned char)*s > '~')
			return false;
	return true;
}

static bool
is_empty_list(const struct node *n)
{
	return n != NULL && n->kind == NODE_LIST && n->first == NULL;
}

/* The address that a wildcard and a plain one share is refused by the system
 * when it is bound; the same text twice is told here. */
static void
check_listen(const struct settings *s, const struct node *top, struct diags *d)
{
	const struct listen_settings *v = s->listen.v;
	const struct node *list = node_get(top, "listen");
	const struct node *item = list != NULL && list->kind == NODE_LIST ? list->first : list;

	for (size_t i = 0; i < s->listen.n; i++, item = item != NULL ? item->next : NULL) {
		struct diag_place at = option_place(item, "address");
		struct ph_addr addr, other;
		const char *why;

		if (v[i].greeting != NULL && !greeting_valid(v[i].greeting))
			diag_hint(d, diag_add(d, DIAG_ERROR, option_place(item, "greeting"),
			    "listen.greeting", "not a greeting"),
			    "write printable ASCII on one line, at most %d characters", GREETING_MAX);
		if (v[i].address == NULL)
			continue;
		if (value_listen(str_of(v[i].address), &addr, &why) != 0) {
			struct diag *g = diag_add(d, DIAG_ERROR, at, "listen.address",
			    "\"%.60s\" is not an address to listen on", v[i].address);

			diag_hint(d, g, "%s", why);
			continue;
		}
		for (size_t j = 0; j < i; j++) {
			/* port 0 is a free one, another each time */
			if (v[j].address != NULL && addr.port != 0 &&
			    value_listen(str_of(v[j].address), &other, &why) == 0 &&
			    memcmp(&addr, &other, sizeof addr) == 0) {
				diag_add(d, DIAG_ERROR, at, "listen.address",
				    "\"%s\" is listened on already", v[i].address);
				break;
			}
		}
	}
	if (is_empty_list(list))
		diag_hint(d, complain(d, DIAG_WARNING, top, "listen", "no address to listen on"),
		    "mail can then be accepted from the service manager's sockets only");
}

static void
check_queue(const struct settings *s, const struct node *top, struct diags *d)
{
	const struct queue_settings *q = &s->queue;
	const struct node *section = node_get(top, "queue");

	if (is_empty_list(node_get(section, "retry")))
		diag_hint(d, complain(d, DIAG_ERROR, top, "queue.retry", "an empty list"),
		    "write at least one duration, for example [15m, 30m, 60m, 4h]");
	else if (q->expire.ms > 0 && q->retry.n > 0 && q->expire.ms < q->retry.v[0].ms)
		diag_hint(d, complain(d, DIAG_WARNING, top, "queue.expire",
		    "messages expire before their first retry"),
		    "make it longer than the first item of queue.retry");
	if (is_empty_list(node_get(section, "probe")))
		diag_hint(d, complain(d, DIAG_ERROR, top, "queue.probe", "an empty list"),
		    "write at least one duration, for example [15s, 30s, 1m, 2m, 5m]");
	if (q->expire.ms > 0 && q->delay_notice.ms > q->expire.ms)
		diag_hint(d, complain(d, DIAG_WARNING, top, "queue.delay-notice",
		    "messages expire before a delay is told"),
		    "make it shorter than queue.expire, or 0 for no notice");
	if (s->store.segment_size.bytes > 0 &&
	    s->store.spill_above.bytes > s->store.segment_size.bytes / 4)
		diag_hint(d, complain(d, DIAG_ERROR, top, "store.spill-above",
		    "too large for the segments"), "at most a quarter of store.segment-size");
}

void
settings_check(const struct settings *s, const struct node *top, struct diags *d)
{
	check_names(s, top, d);
	check_listen(s, top, d);
	check_queue(s, top, d);
}
