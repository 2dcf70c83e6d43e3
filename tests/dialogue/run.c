/*
 * run.c - runs dialogue scripts against the whole relay - sessions, plugins,
 * queue, deliveries, store - on the fake loop: virtual time, peers in memory,
 * no sleeps.  Only the store's files are real, in a folder of the run.
 *
 *   run [-v] [SCRIPT ...]          default: the .dlg files of $srcdir/tests/dialogue, sorted
 *
 * A script is lines; # begins a comment line.
 *   title TEXT
 *   config ---                     then YAML up to a line "---"; @SPOOL@ is put in
 *   reload ---                     the same, taken by the running relay
 *   NAME connects ADDRESS          a client, to the first listener
 *   NAME > TEXT                    sends the line with CRLF
 *   NAME >> TEXT                   sends as it is: \r \n \t \0 \xHH \\ are bytes; {N}c is N times c
 *   NAME < PATTERN                 the next line it gets; * is any text
 *   NAME quiet                     nothing more has come
 *   NAME ends / hangs-up           half-closes / closes
 *   NAME closed                    the relay has closed
 *   NAME serves ADDRESS:PORT       a next hop; connections to it wait
 *   NAME refuses ADDRESS:PORT      nobody answers there
 *   NAME silent ADDRESS:PORT       neither yes nor no
 *   NAME accepts HOP               NAME is the oldest connection waiting at HOP
 *   NAME untried                   nobody has connected to that hop (since it was named)
 *   advance TIME                   500ms 5s 2m 4h
 *   log PATTERN                    such a line was logged since the last "log" matched
 *   nolog PATTERN                  no such line was logged at all
 *   queue N [STATE]                so many messages (in that state)
 */
#include <ctype.h>
#include <dirent.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fsutil.h"
#include "base/str.h"
#include "config/option.h"
#include "daemon/daemon.h"
#include "fake_loop.h"
#include "net/resolve.h"
#include "plugin/loader.h"
#include "store/store.h"

extern const struct ph_plugin ph_plugin_auth_anonymous, ph_plugin_relay_access,
	ph_plugin_smarthost, ph_plugin_example;
extern const struct ph_plugin *const loader_static[];
const struct ph_plugin *const loader_static[] = {
	&ph_plugin_auth_anonymous, &ph_plugin_relay_access, &ph_plugin_smarthost,
	&ph_plugin_example, NULL
};

enum { MAX_NAMES = 64 };
struct named { char name[32]; struct fake_peer *peer; struct ph_addr at; size_t tries; bool is_hop; };

static struct world {
	const char *file;
	int line;
	char title[256];
	struct daemon d;
	bool up, verbose;
	char spool[256];
	struct buf log;
	size_t log_seen;
	struct named names[MAX_NAMES];
	size_t n;
	jmp_buf failed;
} w;

static _Noreturn void fail(const char *fmt, ...) PH_PRINTF(1, 2);
static _Noreturn void
fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "%s:%d: ", w.file, w.line);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	if (!w.verbose && w.log.len > 0) {
		struct ph_str v = buf_view(&w.log);
		size_t from = v.n > 3000 ? v.n - 3000 : 0;
		fprintf(stderr, "--- log ---\n%.*s", (int)(v.n - from), v.p + from);
	}
	longjmp(w.failed, 1);
}

static void
gather_log(const char *p, size_t n)
{
	buf_add(&w.log, p, n);
	if (w.verbose)
		fwrite(p, 1, n, stderr);
}

/* --- the world turns --- */

static void
settle(void)
{
	bool more = true;

	while (more) {
		fake_run_until_idle();
		more = w.up && w.d.shared.store != NULL && embedded_pump(w.d.shared.store);
	}
	fake_run_until_idle();
	log_flush();
}

/* Timers in their order, the store working between them. */
static void
advance(int64_t ms)
{
	int64_t end = fake_now() + ms, next;

	for (;;) {
		settle();
		next = fake_next_timer();
		if (next > end || fake_now() >= end)
			break;
		fake_loop_advance(next > fake_now() ? next - fake_now() : 0);
	}
	if (end > fake_now())
		fake_loop_advance(end - fake_now());
	settle();
}

/* --- starting and ending the relay --- */

static void
applied(void *arg, bool ok, struct buf *report)
{
	(void)report;
	*(int *)arg = ok ? 1 : -1;
}

static const char *
show_diags(struct diags *d)
{
	static struct buf out;

	buf_clear(&out);
	diags_print(d, &out);
	buf_addc(&out, '\0');
	return out.data + out.head;
}

static void
start_relay(struct ph_str text)
{
	struct daemon *d = &w.d;
	struct config_file *cfg;
	struct diags diags;
	char why[512] = "";

	diags_init(&diags);
	memset(d, 0, sizeof *d);
	d->nworkers = d->binds.workers = 1;
	cfg = config_load_text("script", text, &diags);
	if (cfg != NULL)
		d->gen = generation_check(cfg, &diags);
	if (d->gen == NULL)
		fail("the configuration is refused:\n%s", show_diags(&diags));
	d->loop = loop_new();
	if (binds_open(&d->binds, d->gen->config, &diags) > 0 ||
	    generation_setup(d->gen, ++d->generations, loop_mailbox(d->loop), &diags) != 0)
		fail("cannot set up:\n%s", show_diags(&diags));
	diags_free(&diags);
	log_level = PH_DEBUG;
	if (daemon_wire(d, false, why, sizeof why) != 0)
		fail("store: %s", why);
	d->workers = mem_calloc(1, sizeof *d->workers);
	d->workers[0] = worker_new(0, &d->shared, loop_new(), &d->gen->config->settings);
	w.up = true;
	daemon_apply(d);
	settle();
	if (!d->running)
		fail("the relay did not come up");
}

static void
end_relay(void)
{
	struct daemon *d = &w.d;

	if (!w.up)
		return;
	daemon_stop(d);
	advance(60000);
	d->shared.store->ops->close(d->shared.store);
	(void)mailbox_run(loop_mailbox(d->loop));
	struct loop *wl = d->workers[0]->loop;
	worker_free(&d->workers[0]);
	free(d->workers);
	queue_free(&d->queue);
	binds_close(&d->binds);
	generation_unref(&d->gen);
	settle();
	timer_stop(d->loop, &d->queue_timer);
	loop_free(&wl);
	loop_free(&d->loop);
	w.up = false;
}

static void
reload_relay(struct ph_str text)
{
	char path[300];
	int outcome = 0;
	FILE *f;

	snprintf(path, sizeof path, "%s.yaml", w.spool);
	f = fopen(path, "w");
	if (f == NULL || fwrite(text.p, 1, text.n, f) != text.n || fclose(f) != 0)
		fail("cannot write %s", path);
	w.d.args.config = path;
	daemon_reload(&w.d, applied, &outcome);
	settle();
	unlink(path);
	if (outcome == 0)
		fail("the reload has not come to an end");
}

/* --- names and patterns --- */

static struct named *
find(const char *name)
{
	for (size_t i = 0; i < w.n; i++)
		if (strcmp(w.names[i].name, name) == 0)
			return &w.names[i];
	fail("nobody is called %s", name);
}

static struct named *
name_new(const char *name)
{
	for (size_t i = 0; i < w.n; i++)
		if (strcmp(w.names[i].name, name) == 0) {
			fake_peer_free(&w.names[i].peer);
			return &w.names[i];
		}
	if (w.n == MAX_NAMES)
		fail("too many names");
	snprintf(w.names[w.n].name, sizeof w.names[w.n].name, "%s", name);
	return &w.names[w.n++];
}

static bool
matches(struct ph_str pattern, struct ph_str text)
{
	size_t star = (size_t)-1, mark = 0, p = 0, t = 0;

	while (t < text.n) {
		if (p < pattern.n && pattern.p[p] == '*') {
			star = p++;
			mark = t;
		} else if (p < pattern.n && pattern.p[p] == text.p[t]) {
			p++;
			t++;
		} else if (star != (size_t)-1) {
			p = star + 1;
			t = ++mark;
		} else {
			return false;
		}
	}
	while (p < pattern.n && pattern.p[p] == '*')
		p++;
	return p == pattern.n;
}

static struct ph_addr
address(const char *text)
{
	struct arena a;
	struct ph_endpoint ep;
	struct ph_addr out;
	const char *why;

	arena_init(&a, 256);
	if (value_endpoint(str_of(text), &a, &ep, &why) != 0 ||
	    addr_parse(str_of(ep.host), ep.port, &out) != 0)
		fail("%s is no address", text);
	arena_reset(&a);
	return out;
}

static void
unescape(const char *s, struct buf *out)
{
	for (; *s != '\0'; s++) {
		unsigned n, used = 0;
		char c;
		if (*s == '{' && sscanf(s, "{%u}%c%n", &n, &c, (int *)&used) == 2 && used > 0) {
			for (unsigned i = 0; i < n; i++)
				buf_addc(out, c);
			s += used - 1;
		} else if (*s != '\\') {
			buf_addc(out, *s);
		} else if (*++s == 'x') {
			char hex[3] = { s[1], s[1] ? s[2] : '\0', '\0' };
			buf_addc(out, (char)strtoul(hex, NULL, 16));
			s += 2;
		} else {
			buf_addc(out, *s == 'r' ? '\r' : *s == 'n' ? '\n' : *s == 't' ? '\t' :
			    *s == '0' ? '\0' : *s);
		}
	}
}

/* --- what a line of the script does --- */

static void
expect_line(struct named *n, const char *pattern)
{
	struct ph_str got, line;
	size_t eol = 0;

	if (n->peer == NULL)
		fail("%s is not connected", n->name);
	got = fake_received(n->peer);
	while (eol + 1 < got.n && !(got.p[eol] == '\r' && got.p[eol + 1] == '\n'))
		eol++;
	if (eol + 1 >= got.n)
		fail("%s wants \"%s\" and has got %s\"%.*s\"", n->name, pattern,
		    got.n == 0 ? "nothing " : "", (int)got.n, got.p ? got.p : "");
	line = str_head(got, eol);
	if (!matches(str_of(pattern), line))
		fail("%s wants \"%s\" and got \"%.*s\"", n->name, pattern, (int)line.n, line.p);
	fake_eat(n->peer, eol + 2);
}

static void
client_connects(const char *name, const char *from)
{
	struct ph_addr at, client;
	struct named *n = name_new(name);

	if (!bound_addr(&w.d.binds.v[0], &at))
		at = address(w.d.binds.v[0].address);
	client = address(from);
	if (client.port == 0)
		client.port = (uint16_t)(40000 + w.n);
	n->peer = fake_connect(&at, &client);
	if (n->peer == NULL)
		fail("nobody listens on %s", w.d.binds.v[0].address);
	settle();
}

static void
hop_accepts(const char *name, const char *hop)
{
	struct named *h = find(hop), *n = name_new(name);

	n->peer = fake_arrived(&h->at);
	if (n->peer == NULL)
		fail("no connection waits at %s", hop);
}

static void
do_name(const char *name, char *verb, char *rest)
{
	if (strcmp(verb, "connects") == 0) {
		client_connects(name, rest);
	} else if (strcmp(verb, "accepts") == 0) {
		hop_accepts(name, rest);
	} else if (strcmp(verb, "serves") == 0 || strcmp(verb, "refuses") == 0 ||
	    strcmp(verb, "silent") == 0) {
		struct named *n = name_new(name);
		n->at = address(rest);
		n->is_hop = true;
		if (verb[0] == 'r')
			fake_refuse(&n->at);
		else if (verb[1] == 'i')
			fake_silent(&n->at);
		else
			fake_serve(&n->at, NULL, NULL);
		n->tries = fake_tries(&n->at);
	} else if (strcmp(verb, "untried") == 0) {
		struct named *n = find(name);
		if (fake_tries(&n->at) != n->tries)
			fail("%zu connections were tried", fake_tries(&n->at) - n->tries);
	} else if (strcmp(verb, "tried") == 0) {
		struct named *n = find(name);
		size_t want = (size_t)strtoul(rest, NULL, 10);
		if (fake_tries(&n->at) - n->tries != want)
			fail("%zu connections were tried", fake_tries(&n->at) - n->tries);
	} else if (strcmp(verb, ">") == 0) {
		fake_sends(find(name)->peer, rest);
		fake_send(find(name)->peer, "\r\n", 2);
		settle();
	} else if (strcmp(verb, ">>") == 0) {
		struct buf b = { 0 };
		unescape(rest, &b);
		fake_send(find(name)->peer, b.data + b.head, b.len);
		buf_free(&b);
		settle();
	} else if (strcmp(verb, "<") == 0) {
		expect_line(find(name), rest);
	} else if (strcmp(verb, "quiet") == 0) {
		struct ph_str got = fake_received(find(name)->peer);
		if (got.n > 0)
			fail("%s should hear nothing and got \"%.*s\"", name, (int)got.n, got.p);
	} else if (strcmp(verb, "ends") == 0) {
		fake_end(find(name)->peer);
		settle();
	} else if (strcmp(verb, "hangs-up") == 0) {
		fake_hang_up(find(name)->peer);
		settle();
	} else if (strcmp(verb, "closed") == 0) {
		if (!fake_ended(find(name)->peer))
			fail("%s is still connected", name);
	} else {
		fail("what is \"%s %s\"?", name, verb);
	}
}

static void
want_log(const char *pattern, bool want)
{
	struct buf p = { 0 };
	struct ph_str v = buf_view(&w.log), line, rest;
	bool found = false;

	buf_printf(&p, "*%s*", pattern);
	v = str_skip(v, want ? w.log_seen : 0);
	for (line = str_cut(v, '\n', &rest); rest.p != NULL && !found; line = str_cut(rest, '\n', &rest))
		if (matches(buf_view(&p), line)) {
			found = true;
			if (want)
				w.log_seen = (size_t)(rest.p - buf_view(&w.log).p);
		}
	buf_free(&p);
	if (found != want)
		fail(want ? "no log line has \"%s\"" : "a log line has \"%s\"", pattern);
}

static void
want_queue(char *args)
{
	char *state = strchr(args, ' ');
	struct queue_counts c;
	uint64_t got;

	queue_counts(w.d.queue, &c);
	got = c.messages;
	if (state != NULL) {
		*state++ = '\0';
		got = strcmp(state, "active") == 0 ? c.active : strcmp(state, "deferred") == 0 ? c.deferred
		    : strcmp(state, "held") == 0 ? c.held : UINT64_MAX;
	}
	uint64_t want = strcmp(args, "empty") == 0 ? 0 : strtoull(args, NULL, 10);
	if (got != want)
		fail("%" PRIu64 " messages are queued", got);
}

static void
do_line(char *line)
{
	char *verb, *rest;
	ph_duration t;
	const char *why;

	if ((verb = strchr(line, ' ')) == NULL)
		fail("what is \"%s\"?", line);
	*verb++ = '\0';
	while (*verb == ' ')
		verb++;
	if (strcmp(line, "title") == 0) {
		snprintf(w.title, sizeof w.title, "%s", verb);
	} else if (strcmp(line, "advance") == 0) {
		if (value_duration(str_of(verb), &t, &why) != 0)
			fail("%s", why);
		advance(t.ms);
	} else if (strcmp(line, "log") == 0) {
		want_log(verb, true);
	} else if (strcmp(line, "nolog") == 0) {
		want_log(verb, false);
	} else if (strcmp(line, "queue") == 0) {
		want_queue(verb);
	} else if (strcmp(line, "flush") == 0) {
		struct queue_filter all = { 0 };
		queue_act(w.d.queue, QUEUE_FLUSH, &all, NULL, NULL);
		settle();
	} else {
		rest = strchr(verb, ' ');
		if (rest != NULL)
			*rest++ = '\0';
		do_name(line, verb, rest != NULL ? rest : (char[]){ "" });
	}
}

/* --- scripts --- */

static void
run_lines(char *text)
{
	char *line, *next;
	struct buf yaml = { 0 };
	enum { PLAIN, CONFIG, RELOAD } in = PLAIN;

	for (line = text; line != NULL; line = next) {
		next = strchr(line, '\n');
		if (next != NULL)
			*next++ = '\0';
		w.line++;
		if (in != PLAIN && strcmp(line, "---") == 0) {
			if (in == CONFIG)
				start_relay(buf_view(&yaml));
			else
				reload_relay(buf_view(&yaml));
			buf_free(&yaml);
			in = PLAIN;
		} else if (in != PLAIN) {
			char *at = strstr(line, "@SPOOL@");
			if (at != NULL)
				buf_printf(&yaml, "%.*s%s%s\n", (int)(at - line), line, w.spool, at + 7);
			else
				buf_printf(&yaml, "%s\n", line);
		} else if (strncmp(line, "config ", 7) == 0) {
			in = CONFIG;
		} else if (strncmp(line, "reload ", 7) == 0) {
			in = RELOAD;
		} else if (line[0] != '\0' && line[0] != '#') {
			do_line(line);
		}
	}
}

static bool
run_script(const char *file)
{
	struct buf text = { 0 };
	char cmd[300];
	volatile bool ok = false;

	memset(&w.names, 0, sizeof w.names);
	w.n = 0;
	w.file = file;
	w.line = 0;
	w.log_seen = 0;
	buf_clear(&w.log);
	snprintf(w.spool, sizeof w.spool, "/tmp/posthouse-dialogue-XXXXXX");
	if (mkdtemp(w.spool) == NULL || fs_read_file(file, 1 << 20, &text) != 0) {
		fprintf(stderr, "%s: cannot be read\n", file);
		return false;
	}
	buf_addc(&text, '\0');
	if (setjmp(w.failed) == 0) {
		run_lines(text.data + text.head);
		for (size_t i = 0; i < w.n; i++)
			fake_peer_free(&w.names[i].peer);
		end_relay();
		fake_reset_world();
		ok = true;
	}
	printf("%s %s: %s\n", ok ? "ok" : "FAILED", file, w.title);
	fflush(stdout);
	buf_free(&text);
	snprintf(cmd, sizeof cmd, "rm -rf %s", w.spool);
	if (system(cmd) != 0)
		ok = false;
	return ok;
}

static int
is_script(const struct dirent *e)
{
	size_t n = strlen(e->d_name);

	return n > 4 && strcmp(e->d_name + n - 4, ".dlg") == 0;
}

int
main(int argc, char **argv)
{
	char dir[2048], path[4096];
	struct dirent **v;
	int n, ran = 0, bad = 0;

	log_use(gather_log);
	if (argc > 1 && strcmp(argv[1], "-v") == 0) {
		w.verbose = true;
		argv++;
		argc--;
	}
	if (loader_init() != 0)
		return 99;
	for (int i = 1; i < argc; i++, ran++)
		if (!run_script(argv[i]))
			return 1;       /* a failed relay is not taken down: nothing may follow */
	if (argc == 1) {
		snprintf(dir, sizeof dir, "%s/tests/dialogue", getenv("srcdir") ? getenv("srcdir") : ".");
		n = scandir(dir, &v, is_script, alphasort);
		for (int i = 0; i < n; i++) {
			snprintf(path, sizeof path, "%s/%s", dir, v[i]->d_name);
			if (bad == 0 && !run_script(path))
				bad = 1;
			free(v[i]);
			ran++;
		}
		if (n >= 0)
			free(v);
	}
	loader_done();
	buf_free(&w.log);
	printf("%d dialogues\n", ran);
	return ran == 0 || bad;
}
