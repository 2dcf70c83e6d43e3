/*
 * run.c - runs dialogue scripts against the whole relay - sessions, plugins,
 * queue, deliveries, store - on the fake loop: virtual time, peers in memory,
 * no sleeps.  Only the store's files are real, in a folder of the run.
 *
 *   run [-v] [SCRIPT ...]          default: the .dlg files of $srcdir/tests/dialogue, sorted
 *
 * Each script runs in a process of its own; -v shows the log as it goes.  A script is
 * lines; # begins a comment line.  A line that ends in --- has a block: the lines up to "---".
 *
 *   title TEXT
 *   relay [---]                    starts the relay: relay.example on 127.0.0.1:25, no login needed,
 *                                  smart host 192.0.2.1:25; keys of the block are added, or
 *                                  stand instead
 *   config ---                     starts it with this YAML instead; @SPOOL@ is put in
 *   reload ---                     the same, taken by the running relay; reload-refused --- is not
 *   restart                        ends the relay and starts another on its spool
 *   stop / stopped                 as by SIGTERM / nothing is left to wait for
 *   advance TIME                   500ms 5s 2m 4h
 *   repeat N LINE, repeat N ---    does it N times; {#} is the count, from 1
 *   name HOST ADDRESSES            what the DNS knows; mx DOMAIN HOSTS ("." a null MX)
 *   log PATTERN                    such a line was logged since the last "log" matched
 *   nolog PATTERN                  no such line was logged at all
 *   queue N [STATE]                so many messages (active, deferred, held; sites: suspended), 100 ms later
 *   flush                          posthouse queue flush
 *   badmail N                      so many messages ended there
 *   badmail-has PATTERN            some line of some file there
 *
 *   NAME connects ADDRESS [to LISTENER]    a client, to the first listener
 *   NAME submits FROM TO[,TO..] [TEXT]     a whole transaction of it, paths as written
 *   NAME serves ADDRESS:PORT       a next hop; connections to it wait
 *   NAME refuses, silent, unreachable ADDRESS:PORT
 *   NAME accepts HOP               NAME is the oldest connection waiting at HOP
 *   NAME untried, tried N          so many were tried since it was named or asked last
 *   NAME greets [EXTENSION,..]     a hop: 220, and the answer to EHLO
 *   NAME takes [N]                 answers 2xx to all, N messages long (1)
 *   NAME takes FROM TO[,TO..]      one, whose envelope is this
 *   NAME has, lacks PATTERN        a line of the content it took last
 *   NAME > TEXT                    sends the line with CRLF
 *   NAME >> TEXT                   sends as it is: \r \n \t \0 \xHH \\ are bytes; {N}c is N times c
 *   NAME >>> TEXT                  the same, never sealed
 *   NAME secures [CERTIFICATE]     a handshake with toy-tls (toys.h); sealed both ways from then on
 *   NAME goodbye                   the end of what is sealed, not of the connection
 *   NAME < PATTERN                 the next line it gets; * is any text
 *   NAME <~ PATTERN                a line it gets; those in front are passed over
 *   NAME << TEXT                   the next bytes it gets, written as for >>
 *   NAME quiet                     nothing more has come
 *   NAME ends, hangs-up, resets    half-closes, closes, breaks
 *   NAME closed, open              the relay has ended it, or not
 *   NAME slices N, window N        bytes of each read and write; bytes not eaten at which writes block
 */
#include <dirent.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "actors.h"
#include "base/fsutil.h"
#include "base/log.h"
#include "base/str.h"
#include "config/option.h"
#include "fake_resolve.h"
#include "plugin/loader.h"
#include "relay.h"

enum { SCRIPT_MOST = 1 << 20, LOG_SHOWN = 4000, GATHER_MS = 100 };

static const char common[] =
	"hostname: relay.example\n"
	"listen: [{address: \"127.0.0.1:25\"}]\n"
	"spool: @SPOOL@\n"
	"plugins: [auth-anonymous, smarthost: {hosts: [\"192.0.2.1:25\"]}]\n";

static struct script {
	const char *file;
	char **lines;
	size_t n, at;                   /* at: the line being done */
	char title[256], spool[64];
	struct buf config, log;
	size_t log_seen;
	bool verbose;
} w;

static void
remove_spool(void)
{
	char cmd[200];

	snprintf(cmd, sizeof cmd, "rm -rf %s %s.yaml", w.spool, w.spool);
	if (system(cmd) != 0)
		fprintf(stderr, "%s stays\n", w.spool);
}

/* The relay is left as it is: nothing may follow in this process. */
_Noreturn void
relay_fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "%s:%zu: ", w.file, w.at + 1);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	log_flush();
	if (!w.verbose && w.log.len > 0) {
		struct ph_str v = buf_view(&w.log);
		size_t from = v.n > LOG_SHOWN ? v.n - LOG_SHOWN : 0;
		fprintf(stderr, "--- log ---\n%.*s", (int)(v.n - from), v.p + from);
	}
	remove_spool();
	printf("FAILED %s: %s\n", w.file, w.title);
	fflush(NULL);
	_exit(1);
}

static void
gather_log(const char *p, size_t n)
{
	buf_add(&w.log, p, n);
	if (w.verbose)
		fwrite(p, 1, n, stderr);
}

/* --- what can be looked at --- */

static void
want_log(const char *pattern, bool want)
{
	struct buf p = { 0 };
	struct ph_str line, rest = str_skip(buf_view(&w.log), want ? w.log_seen : 0);
	bool found = false;

	buf_printf(&p, "*%s*", pattern);
	while (!found && rest.p != NULL && rest.n > 0) {
		line = str_cut(rest, '\n', &rest);
		found = text_matches(buf_view(&p), line);
	}
	if (found && want)
		w.log_seen = w.log.len - rest.n;
	buf_free(&p);
	if (found != want)
		relay_fail(want ? "no log line has \"%s\"" : "a log line has \"%s\"", pattern);
}

static void
want_queue(char *rest)
{
	char *state = strchr(rest, ' ');
	uint64_t got;

	if (state != NULL)
		*state++ = '\0';
	relay_advance(GATHER_MS);       /* results come home in batches */
	if (!relay_count(state, &got))
		relay_fail("%s is no state", state);
	if (got != strtoull(rest, NULL, 10))
		relay_fail("%" PRIu64 " are %s", got, state != NULL ? state : "queued");
}

static void
want_badmail(const char *count, const char *pattern)
{
	char path[400];
	DIR *d;
	struct dirent *e;
	size_t n = 0;
	bool found = false;

	snprintf(path, sizeof path, "%s/badmail", w.spool);
	d = opendir(path);
	while (d != NULL && (e = readdir(d)) != NULL) {
		struct buf text = { 0 };
		size_t len = strlen(e->d_name);
		n += len > 4 && strcmp(e->d_name + len - 4, ".eml") == 0;
		snprintf(path, sizeof path, "%s/badmail/%.200s", w.spool, e->d_name);
		if (pattern != NULL && fs_read_file(path, SCRIPT_MOST, &text) == 0)
			found |= text_has_line(buf_view(&text), pattern);
		buf_free(&text);
	}
	if (d != NULL)
		closedir(d);
	if (pattern != NULL && !found)
		relay_fail("nothing in badmail has \"%s\"", pattern);
	if (count != NULL && n != strtoul(count, NULL, 10))
		relay_fail("%zu messages are in badmail", n);
}

/* --- lines and blocks --- */

static void run_lines(size_t from, size_t to, unsigned count);

/* The block of the line at w.at: its first line and the one behind its last. */
static void
block(size_t *from, size_t *to)
{
	*from = *to = w.at + 1;
	while (*to < w.n && strcmp(w.lines[*to], "---") != 0)
		++*to;
	if (*to == w.n)
		relay_fail("the block has no end");
}

static void
yaml_line(struct buf *out, const char *line)
{
	const char *at = strstr(line, "@SPOOL@");

	if (at != NULL)
		buf_printf(out, "%.*s%s%s\n", (int)(at - line), line, w.spool, at + 7);
	else
		buf_printf(out, "%s\n", line);
}

static bool
block_has_key(const char *line, size_t from, size_t to)
{
	size_t n = strcspn(line, ":") + 1;

	for (size_t i = from; i < to; i++)
		if (strncmp(w.lines[i], line, n) == 0)
			return true;
	return false;
}

static void
configure(const char *how, bool has_block)
{
	size_t from = 0, to = 0;
	struct buf yaml = { 0 };
	char text[sizeof common], *line, *more;

	if (has_block)
		block(&from, &to);
	if (strcmp(how, "relay") == 0) {
		memcpy(text, common, sizeof text);
		for (line = strtok_r(text, "\n", &more); line != NULL; line = strtok_r(NULL, "\n", &more))
			if (!block_has_key(line, from, to))
				yaml_line(&yaml, line);
	}
	for (size_t i = from; i < to; i++)
		yaml_line(&yaml, w.lines[i]);
	if (strncmp(how, "reload", 6) == 0) {
		if (relay_reload(buf_view(&yaml)) == (how[6] != '\0'))
			relay_fail("the new configuration was %s", how[6] != '\0' ? "taken" : "refused");
	} else {
		relay_start(buf_view(&yaml), w.spool);
	}
	buf_free(&w.config);
	w.config = yaml;
	if (has_block)
		w.at = to;
}

static void
repeat(char *rest, bool has_block)
{
	char *what = strchr(rest, ' ');
	unsigned n = (unsigned)strtoul(rest, NULL, 10);
	size_t from, to, at = w.at;

	if (what == NULL)
		relay_fail("repeat what?");
	if (has_block) {
		block(&from, &to);
	} else {
		char *whole = w.lines[at];
		w.lines[at] = what + 1;
		for (unsigned i = 1; i <= n; i++)
			run_lines(at, at + 1, i);
		w.lines[at] = whole;
		w.at = at;
		return;
	}
	for (unsigned i = 1; i <= n; i++)
		run_lines(from, to, i);
	w.at = to;
}

static bool
does_alone(const char *word, char *rest, bool has_block)
{
	ph_duration t;
	const char *why;
	char *more = strchr(rest, ' ');

	if (strcmp(word, "title") == 0) {
		snprintf(w.title, sizeof w.title, "%s", rest);
	} else if (strcmp(word, "relay") == 0 || strcmp(word, "config") == 0 ||
	    strcmp(word, "reload") == 0 || strcmp(word, "reload-refused") == 0) {
		configure(word, has_block);
	} else if (strcmp(word, "restart") == 0) {
		relay_end();
		relay_start(buf_view(&w.config), w.spool);
	} else if (strcmp(word, "stop") == 0) {
		relay_stop();
	} else if (strcmp(word, "stopped") == 0) {
		if (!relay_stopped())
			relay_fail("it has not stopped");
	} else if (strcmp(word, "advance") == 0) {
		if (value_duration(str_of(rest), &t, &why) != 0)
			relay_fail("%s", why);
		relay_advance(t.ms);
	} else if (strcmp(word, "repeat") == 0) {
		repeat(rest, has_block);
	} else if (strcmp(word, "log") == 0 || strcmp(word, "nolog") == 0) {
		want_log(rest, word[0] == 'l');
	} else if (strcmp(word, "queue") == 0) {
		want_queue(rest);
	} else if (strcmp(word, "flush") == 0) {
		relay_flush();
	} else if (strcmp(word, "badmail") == 0) {
		want_badmail(rest, NULL);
	} else if (strcmp(word, "badmail-has") == 0) {
		want_badmail(NULL, rest);
	} else if ((strcmp(word, "name") == 0 || strcmp(word, "mx") == 0) && more != NULL) {
		*more++ = '\0';
		if (word[0] == 'n')
			fake_name(rest, more);
		else
			fake_mx(rest, more);
	} else {
		return false;
	}
	return true;
}

static void
run_line(const char *text, unsigned count)
{
	struct buf b = { 0 };
	const char *at;
	char *line, *verb, *rest;
	size_t n = strlen(text);
	bool has_block = n > 4 && strcmp(text + n - 4, " ---") == 0;

	/* what is repeated has its own count */
	while (strncmp(text, "repeat ", 7) != 0 && (at = strstr(text, "{#}")) != NULL) {
		buf_printf(&b, "%.*s%u", (int)(at - text), text, count);
		text = at + 3;
	}
	buf_adds(&b, text);
	buf_addc(&b, '\0');
	line = b.data + b.head;
	verb = strchr(line, ' ');
	if (verb != NULL)
		*verb++ = '\0';
	if (!does_alone(line, verb != NULL ? verb : (char[]){ "" }, has_block)) {
		if (verb == NULL)
			relay_fail("what is \"%s\"?", line);
		rest = strchr(verb, ' ');
		if (rest != NULL)
			*rest++ = '\0';
		actor_does(line, verb, rest != NULL ? rest : (char[]){ "" });
	}
	buf_free(&b);
}

static void
run_lines(size_t from, size_t to, unsigned count)
{
	for (w.at = from; w.at < to; w.at++)
		if (w.lines[w.at][0] != '\0' && w.lines[w.at][0] != '#')
			run_line(w.lines[w.at], count);
}

/* --- scripts --- */

static void
run_script(const char *file)
{
	struct buf text = { 0 };
	char *line, *next;
	size_t cap = 0;

	w.file = file;
	snprintf(w.spool, sizeof w.spool, "/tmp/posthouse-dialogue-XXXXXX");
	if (mkdtemp(w.spool) == NULL || fs_read_file(file, SCRIPT_MOST, &text) != 0)
		relay_fail("cannot be read");
	buf_addc(&text, '\0');
	for (line = text.data + text.head; line != NULL; line = next) {
		if ((next = strchr(line, '\n')) != NULL)
			*next++ = '\0';
		if (w.n == cap) {
			cap = cap > 0 ? 2 * cap : 64;
			w.lines = mem_realloc(w.lines, cap * sizeof *w.lines);
		}
		w.lines[w.n++] = line;
	}
	run_lines(0, w.n, 0);
	actors_go();
	relay_end();
	fake_names_forget();
	fake_reset_world();
	printf("ok %s: %s\n", file, w.title);
	free(w.lines);
	buf_free(&text);
	buf_free(&w.config);
	buf_free(&w.log);
	remove_spool();
}

/* In a process of its own, so that one that fails, or crashes, leaves the others alone. */
static bool
run_apart(const char *file)
{
	int status = 0;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid < 0)
		return false;
	if (pid == 0) {
		log_use(gather_log);
		if (loader_init() != 0)
			exit(99);
		run_script(file);
		loader_done();
		exit(0);
	}
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status)) {
		printf("FAILED %s: killed by signal %d\n", file, WTERMSIG(status));
		return false;
	}
	if (WEXITSTATUS(status) > 1)
		printf("FAILED %s: exit status %d\n", file, WEXITSTATUS(status));
	return WEXITSTATUS(status) == 0;
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

	setenv("TZ", "UTC", 1);
	if (argc > 1 && strcmp(argv[1], "-v") == 0) {
		w.verbose = true;
		argv++;
		argc--;
	}
	for (int i = 1; i < argc; i++, ran++)
		bad += !run_apart(argv[i]);
	if (argc == 1) {
		snprintf(dir, sizeof dir, "%s/tests/dialogue", getenv("srcdir") != NULL ? getenv("srcdir") : ".");
		n = scandir(dir, &v, is_script, alphasort);
		for (int i = 0; i < n; i++, ran++) {
			snprintf(path, sizeof path, "%s/%s", dir, v[i]->d_name);
			bad += !run_apart(path);
			free(v[i]);
		}
		if (n >= 0)
			free(v);
	}
	printf("%d dialogues, %d failed\n", ran, bad);
	return ran == 0 || bad > 0;
}
