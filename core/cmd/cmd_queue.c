/*
 * cmd_queue.c - `posthouse queue`: what is queued and what is to become of it.
 * Talks to the running daemon; list, show and count also read the spool of a
 * stopped one.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/str.h"
#include "cmd/conf.h"
#include "cmd/spool_view.h"
#include "daemon/control_client.h"
#include "daemon/daemon.h"

struct queue_opts {
	struct conf_opts conf;
	const char *from, *to, *site;
	ph_duration older;
	int64_t limit;
	bool held, deferred, active, json, all, offline;
};

static const struct opt queue_rows[] = {
	CONF_OPTS(struct queue_opts, conf),
	OPT(struct queue_opts, json, 'j', "json", NULL, "Answer in JSON."),
	OPT(struct queue_opts, offline, 0, "offline", NULL,
	    "Read the spool, whether or not a relay runs (list, show, count)."),
	OPT_HEADING("Which messages"),
	OPT(struct queue_opts, from, 0, "from", "PATTERN",
	    "Of this sender: an address, @domain, <>, or with * for any text."),
	OPT(struct queue_opts, to, 0, "to", "PATTERN", "With such a recipient."),
	OPT(struct queue_opts, site, 0, "site", "PATTERN", "For this next hop, by name; * as above."),
	OPT(struct queue_opts, older, 0, "older", "TIME", "Which were accepted longer ago."),
	OPT(struct queue_opts, held, 0, "held", NULL, "Which are held."),
	OPT(struct queue_opts, deferred, 0, "deferred", NULL, "Which wait for their next attempt."),
	OPT(struct queue_opts, active, 0, "active", NULL, "Which are being tried now."),
	OPT(struct queue_opts, limit, 'n', "limit", "N", "At most N messages.", .dflt = "0", .max = 1000000000),
	OPT(struct queue_opts, all, 'a', "all", NULL, "All messages (for hold, release, remove)."),
	OPT_END
};
static const struct opt_command queue_command = {
	"queue", "list|show|count|sites|status|flush|hold|release|remove [OPTION ...] [ID ...]",
	"Shows and changes what is queued.  `flush` also ends the suspension of next hops and tries them "
	"at once.  hold, release and remove want ids, a filter, or --all.",
	queue_rows,
	"\n  list      a line per message        hold      keep, but do not try\n"
	"  show      everything about messages release   try held ones again\n"
	"  count     how many, how large       flush     try now\n"
	"  sites     next hops and their state remove    forget, without a report\n"
	"  status    figures of the running relay\n"
};

struct view {
	const char *verb;
	bool json, any, in_rcpts, show;
	bool tally;             /* count of some: rows are added up, not shown */
	int64_t now, matched, bytes;
	uint64_t rows;
};

static void
show_age(int64_t ms)
{
	int64_t s = ms / 1000;

	if (s < 0)
		printf("0s");
	else if (s < 120)
		printf("%" PRId64 "s", s);
	else if (s < 7200)
		printf("%" PRId64 "m", s / 60);
	else if (s < 172800)
		printf("%" PRId64 "h", s / 3600);
	else
		printf("%" PRId64 "d", s / 86400);
}

static void
show_time(const char *label, int64_t wall_ms)
{
	time_t t = (time_t)(wall_ms / 1000);
	struct tm tm;
	char text[64];

	if (wall_ms <= 0)
		return;
	localtime_r(&t, &tm);
	strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &tm);
	printf("  %-13s %s\n", label, text);
}

/* What a peer sent goes to a terminal: controls are made harmless. */
static void
show_safe(struct ph_str s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (c == '\n')
			fputs(" | ", stdout);
		else
			putchar(c < 0x20 || c == 0x7f ? '?' : c);
	}
}

static void
show_field(const struct fields *f, const char *label, const char *key)
{
	struct ph_str v = fields_get(f, key);

	if (v.n == 0)
		return;
	printf("  %-13s ", label);
	show_safe(v);
	putchar('\n');
}

static void
text_message(struct view *v, const struct fields *f)
{
	struct ph_str from = fields_get(f, "from");

	if (!v->show) {
		printf(STR_FMT "  ", STR_ARG(fields_get(f, "id")));
		printf("%-9.*s %8" PRId64 "  ", STR_ARG(fields_get(f, "state")), fields_get_int(f, "size", 0));
		show_age(v->now - fields_get_int(f, "created", v->now));
		printf("\t<");
		show_safe(from);
		printf(">");
		return;
	}
	printf(STR_FMT "\n", STR_ARG(fields_get(f, "id")));
	printf("  %-13s <", "from");
	show_safe(from);
	printf(">\n");
	show_field(f, "state", "state");
	show_field(f, "size", "size");
	show_time("accepted", fields_get_int(f, "created", 0));
	show_field(f, "client", "client");
	show_field(f, "hello", "hello");
	show_field(f, "login", "login");
	show_field(f, "protocol", "protocol");
	show_field(f, "envid", "envid");
	show_field(f, "attempts", "attempts");
	show_time("last attempt", fields_get_int(f, "last_attempt", 0));
	show_time("next attempt", fields_get_int(f, "next_attempt", 0));
	show_field(f, "site", "site");
	show_field(f, "site state", "site_state");
	show_field(f, "site says", "site_why");
	show_time("site probe", fields_get_int(f, "site_probe", 0));
}

static void
text_rcpt(struct view *v, const struct fields *f)
{
	if (!v->show) {
		printf(" <");
		show_safe(fields_get(f, "to"));
		printf(">");
		return;
	}
	printf("  to            <");
	show_safe(fields_get(f, "to"));
	printf("> " STR_FMT "\n", STR_ARG(fields_get(f, "state")));
	show_field(f, "  remote", "remote");
	show_field(f, "  said", "reply");
}

static void
json_row(struct view *v, const struct fields *f)
{
	struct buf out = { 0 };

	if (strcmp(f->kind, "rcpt") == 0) {
		buf_adds(&out, v->in_rcpts ? ",\n    " : ", \"recipients\": [\n    ");
		v->in_rcpts = true;
		fields_json(f, false, &out);
	} else {
		if (v->in_rcpts)
			buf_adds(&out, "]}");
		v->in_rcpts = false;
		buf_adds(&out, v->any ? ",\n" : "[\n");
		v->any = true;
		/* a message's recipients follow, so its brace stays open */
		bool open = strcmp(f->kind, "message") == 0 && fields_get_int(f, "rcpts", 0) > 0;
		fields_json(f, open, &out);
	}
	fwrite(out.data + out.head, 1, out.len, stdout);
	buf_free(&out);
}

static void
view_row(void *arg, const struct fields *f)
{
	struct view *v = arg;
	bool message = strcmp(f->kind, "message") == 0, rcpt = strcmp(f->kind, "rcpt") == 0;

	if (v->tally) {
		v->rows += message;
		v->bytes += message ? fields_get_int(f, "size", 0) : 0;
		return;
	}
	if (strcmp(f->kind, "matched") == 0)
		v->matched = fields_get_int(f, "messages", 0);
	if (v->json) {
		json_row(v, f);
		return;
	}
	if (message) {
		if (v->rows++ > 0 && !v->show)
			putchar('\n');
		text_message(v, f);
	} else if (rcpt) {
		text_rcpt(v, f);
	} else if (strcmp(f->kind, "matched") == 0) {
		printf("%" PRId64 " message%s\n", v->matched, v->matched == 1 ? "" : "s");
	} else if (strcmp(f->kind, "site") == 0) {
		show_safe(fields_get(f, "name"));
		putchar('\n');
		for (size_t i = 1; i < f->n; i++)
			if (strcmp(f->v[i].key, "probe") == 0)
				show_time("next probe", fields_get_int(f, "probe", 0));
			else
				show_field(f, f->v[i].key, f->v[i].key);
	} else {
		for (size_t i = 0; i < f->n; i++) {
			printf("%-14s ", f->v[i].key);
			show_safe(f->v[i].value);
			putchar('\n');
		}
	}
}

static void
view_end(struct view *v)
{
	if (v->tally) {
		struct fields f;
		struct arena a;
		arena_init(&a, 256);
		fields_start(&f, &a, "counts");
		fields_int(&f, "messages", (int64_t)v->rows);
		fields_int(&f, "bytes", v->bytes);
		v->tally = false;
		v->rows = 0;
		view_row(v, &f);
		arena_reset(&a);
	}
	if (v->json)
		printf("%s\n", v->in_rcpts ? "]}\n]" : v->any ? "\n]" : "[]");
	else if (!v->show && v->rows > 0)
		putchar('\n');
}

static void
queue_request(const struct queue_opts *o, const char *verb, const char *id, struct arena *a,
              struct fields *req)
{
	fields_start(req, a, verb);
	if (id != NULL)
		fields_text(req, "id", id);
	if (o->from != NULL)
		fields_text(req, "from", o->from);
	if (o->to != NULL)
		fields_text(req, "to", o->to);
	if (o->site != NULL)
		fields_text(req, "site", o->site);
	if (o->older.ms > 0)
		fields_int(req, "older", o->older.ms);
	if (o->limit > 0)
		fields_int(req, "limit", o->limit);
	fields_bool(req, "held", o->held);
	fields_bool(req, "deferred", o->deferred);
	fields_bool(req, "active", o->active);
}

static int
queue_offline(const struct queue_opts *o, const struct settings *set, const char *verb,
              const char *id, struct view *v)
{
	struct queue_filter f = { .from = str_of(o->from), .to = str_of(o->to), .held = o->held,
	    .older_ms = o->older.ms, .limit = (uint64_t)o->limit };
	char why[512] = "";
	int rc;

	if (id != NULL) {
		f.any_id = true;
		if (id_parse(str_of(id), &f.id) != 0) {
			fprintf(stderr, "posthouse queue: \"%s\" is not a queue id\n", id);
			return EX_USAGE;
		}
	}
	if (o->site != NULL || o->deferred || o->active) {
		fprintf(stderr, "posthouse queue: --site, --deferred and --active ask what only a running "
		    "relay knows\n");
		return EX_UNAVAILABLE;
	}
	rc = spool_view(set, &f, strcmp(verb, "count") != 0, view_row, v, why, sizeof why);
	if (rc == 0)
		return EX_OK;
	fprintf(stderr, "posthouse queue: %s: %s\n", set->spool, why[0] ? why : ph_strerror(rc));
	return EX_NOINPUT;
}

static int
queue_ask(const struct queue_opts *o, const struct settings *set, const char *verb,
          const char *id, struct view *v)
{
	bool reads = strcmp(verb, "list") == 0 || strcmp(verb, "show") == 0 || strcmp(verb, "count") == 0;
	char path[4096], *text = NULL;
	struct fields req;
	struct arena a;
	int rc;

	if (v->show || v->tally)
		verb = "list";
	if (o->offline && reads)
		return queue_offline(o, set, verb, id, v);
	arena_init(&a, 1024);
	queue_request(o, verb, id, &a, &req);
	rc = control_ask(daemon_control_path(set, path, sizeof path), &req, view_row, v, &text);
	arena_reset(&a);
	if (rc == PH_ENOENT && reads)
		return queue_offline(o, set, verb, id, v);
	if (rc != 0)
		fprintf(stderr, "posthouse queue: %s: %s\n", path, text != NULL && text[0] ? text :
		    rc == PH_ENOENT ? "no relay is running there" : ph_strerror(rc));
	free(text);
	return rc == 0 ? EX_OK : rc == PH_EREFUSED ? EX_DATAERR : rc == PH_EPERM ? EX_NOPERM
	    : EX_UNAVAILABLE;
}

static bool
queue_verb_known(const char *verb)
{
	static const char *const verbs[] = { "list", "show", "count", "sites", "status", "flush",
	    "hold", "release", "remove" };

	for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
		if (strcmp(verb, verbs[i]) == 0)
			return true;
	return false;
}

int
cmd_queue(int argc, char **argv)
{
	struct queue_opts o = { 0 };
	struct opt_list words = { 0 };
	struct config_file *cfg;
	struct view v = { .now = clock_wall_ms(), .matched = -1 };
	int rc = opt_parse(&queue_command, argc, argv, &o, &words);
	bool changes, filtered;

	if (rc != OPT_GO_ON)
		return rc;
	v.verb = words.n > 0 ? words.v[0] : "list";
	if (!queue_verb_known(v.verb)) {
		rc = opt_complain(&queue_command, "there is no \"%s\"", v.verb);
		opt_list_free(&words);
		return rc;
	}
	if ((o.from && !*o.from) || (o.to && !*o.to) || (o.site && !*o.site)) {
		rc = opt_complain(&queue_command, "an empty pattern fits nothing; the null sender is \"<>\"");
		opt_list_free(&words);
		return rc;
	}
	changes = strcmp(v.verb, "hold") == 0 || strcmp(v.verb, "release") == 0 ||
	    strcmp(v.verb, "remove") == 0;
	filtered = o.from || o.to || o.site || o.older.ms || o.held || o.deferred || o.active;
	if (changes && words.n < 2 && !filtered && !o.all) {
		rc = opt_complain(&queue_command, "%s wants ids, a filter, or --all", v.verb);
		opt_list_free(&words);
		return rc;
	}
	if ((cfg = conf_settings(&o.conf)) == NULL) {
		opt_list_free(&words);
		return EX_CONFIG;
	}
	v.json = o.json;
	v.show = strcmp(v.verb, "show") == 0;
	v.tally = strcmp(v.verb, "count") == 0 && (filtered || words.n > 1);
	if (words.n < 2)
		rc = queue_ask(&o, &cfg->settings, v.verb, NULL, &v);
	for (size_t i = 1; i < words.n; i++) {
		int one = queue_ask(&o, &cfg->settings, v.verb, words.v[i], &v);
		if (rc == OPT_GO_ON || one != EX_OK)
			rc = one;
	}
	view_end(&v);
	/* Ids that were named and are not there are a failure for scripts. */
	if (rc == EX_OK && words.n > 1 && (v.matched == 0 || (v.show && v.rows == 0 && !v.any)))
		rc = EX_DATAERR;
	opt_list_free(&words);
	config_free(&cfg);
	return rc;
}
