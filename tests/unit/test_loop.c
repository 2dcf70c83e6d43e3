/*
 * test_loop.c - the loop as its users see it: order of timers, notes from
 * other threads, streams and listeners on loopback, running out of
 * descriptors, child processes.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/buf.h"
#include "base/list.h"
#include "base/log.h"
#include "base/str.h"
#include "net/loop.h"

static struct loop *l;
static char trail[256];

static void
note_down(char c)
{
	size_t n = strlen(trail);
	assert_true(n + 1 < sizeof trail);
	trail[n] = c;
	trail[n + 1] = '\0';
}

/* A test that hangs must fail, not hang: everything here ends within ms. */
static void
overdue(struct timer *t)
{
	(void)t;
	fail_msg("the loop did not stop by itself; trail: %s", trail);
}

static void
run(void)
{
	struct timer t = { .fn = overdue };
	timer_start(l, &t, 10000);
	loop_run(l);
	timer_stop(l, &t);
}

static int
setup(void **state)
{
	(void)state;
	trail[0] = '\0';
	l = loop_new();
	return l == NULL;
}

static int
teardown(void **state)
{
	(void)state;
	loop_free(&l);
	return l != NULL;
}

/* --- timers --- */

struct named_timer { struct timer t; char name; bool stops; };

static void
timer_noted(struct timer *t)
{
	struct named_timer *n = container_of(t, struct named_timer, t);
	note_down(n->name);
	if (n->stops)
		loop_stop(l);
}

static void
timers_run_by_due_time(void **state)
{
	(void)state;
	struct named_timer v[] = {
		{ { .fn = timer_noted }, 'd', true }, { { .fn = timer_noted }, 'b', false },
		{ { .fn = timer_noted }, 'a', false }, { { .fn = timer_noted }, 'x', false },
		{ { .fn = timer_noted }, 'c', false },
	};
	timer_start(l, &v[0].t, 40);
	timer_start(l, &v[1].t, 10);
	timer_start(l, &v[2].t, 0);
	timer_start(l, &v[3].t, 15);
	timer_start(l, &v[4].t, 5);
	timer_start(l, &v[4].t, 30);    /* later than at first */
	timer_stop(l, &v[3].t);
	timer_stop(l, &v[3].t);
	assert_false(timer_active(&v[3].t));
	int64_t before = loop_now(l);
	run();
	assert_string_equal(trail, "abcd");
	assert_true(loop_now(l) - before >= 40);
	assert_false(timer_active(&v[0].t));
}

static void
timer_again(struct timer *t)
{
	timer_start(l, t, 0);
}

static void
a_timer_restarting_itself_lets_others_run(void **state)
{
	(void)state;
	struct timer greedy = { .fn = timer_again };
	struct named_timer other = { { .fn = timer_noted }, 'o', true };
	timer_start(l, &greedy, 0);
	timer_start(l, &other.t, 1);
	run();
	timer_stop(l, &greedy);
	assert_string_equal(trail, "o");
}

/* --- deferred notes and the end of a turn --- */

struct named_note { struct ph_note note; char name; struct named_note *then; };

static void
note_ran(struct ph_note *note)
{
	struct named_note *n = container_of(note, struct named_note, note);
	note_down(n->name);
	if (n->then != NULL)
		loop_defer(l, &n->then->note);
}

static void
turn_over(void *arg)
{
	(void)arg;
	note_down('|');
	loop_stop(l);
}

static void
deferred_notes_run_in_order_before_the_turn_ends(void **state)
{
	(void)state;
	struct named_note c = { { .run = note_ran }, 'c', NULL };
	struct named_note a = { { .run = note_ran }, 'a', &c };
	struct named_note b = { { .run = note_ran }, 'b', NULL };
	loop_each_turn(l, turn_over, NULL);
	loop_defer(l, &a.note);
	loop_defer(l, &b.note);
	assert_string_equal(trail, "");
	run();
	assert_string_equal(trail, "abc|");
}

static bool enough;
static void
note_forever(struct ph_note *note)
{
	if (!enough)
		loop_defer(l, note);
}

static void
a_note_deferring_itself_lets_timers_run(void **state)
{
	(void)state;
	struct ph_note n = { .run = note_forever };
	struct named_timer end = { { .fn = timer_noted }, 'e', true };
	enough = false;
	loop_defer(l, &n);
	timer_start(l, &end.t, 5);
	run();
	assert_string_equal(trail, "e");
	enough = true;
	loop_free(&l);
}

/* --- the mailbox --- */

enum { POSTERS = 4, POSTS = 2000 };
struct posted { struct ph_note note; int who, nr; };
static int posted_next[POSTERS], posted_total;

static void
posted_run(struct ph_note *note)
{
	struct posted *p = container_of(note, struct posted, note);
	assert_int_equal(p->nr, posted_next[p->who]);
	posted_next[p->who]++;
	free(p);
	if (++posted_total == POSTERS * POSTS)
		loop_stop(l);
}

static void *
poster(void *arg)
{
	int who = (int)(intptr_t)arg;
	for (int i = 0; i < POSTS; i++) {
		struct posted *p = calloc(1, sizeof *p);
		*p = (struct posted){ { NULL, posted_run }, who, i };
		ph_post(loop_mailbox(l), &p->note);
	}
	return NULL;
}

static void
posts_of_threads_arrive_each_once_in_order(void **state)
{
	(void)state;
	pthread_t th[POSTERS];
	memset(posted_next, 0, sizeof posted_next);
	posted_total = 0;
	for (int i = 0; i < POSTERS; i++)
		assert_int_equal(pthread_create(&th[i], NULL, poster, (void *)(intptr_t)i), 0);
	run();
	for (int i = 0; i < POSTERS; i++)
		pthread_join(th[i], NULL);
	assert_int_equal(posted_total, POSTERS * POSTS);
}

static pthread_t work_thread;
static void work_off(void *arg) { *(int *)arg += 1; work_thread = pthread_self(); }
static void work_over(void *arg) { *(int *)arg += 10; loop_stop(l); }

static void
work_runs_off_the_loop_and_reports_on_it(void **state)
{
	(void)state;
	int n = 0;
	assert_int_equal(work_start(l, work_off, work_over, &n), 0);
	run();
	assert_int_equal(n, 11);
	assert_false(pthread_equal(work_thread, pthread_self()));
}

static void
caught(void *arg, int signum)
{
	*(int *)arg = signum;
	loop_stop(l);
}

static void
signals_are_told(void **state)
{
	(void)state;
	int got = 0;
	struct signal_watch *s = signal_open(l, SIGUSR1, caught, &got);
	assert_non_null(s);
	raise(SIGUSR1);
	run();
	assert_int_equal(got, SIGUSR1);
	signal_close(&s);
	assert_null(s);
}

/* --- streams and listeners --- */

static const struct ph_addr loopback4 = { 4, 0, { 127, 0, 0, 1 } };
static const struct ph_addr loopback6 = { 6, 0, { [15] = 1 } };

static bool
bound_to(int fd, struct ph_addr *out)
{
	struct sockaddr_storage sa = { 0 };
	socklen_t len = sizeof sa;
	if (getsockname(fd, (struct sockaddr *)&sa, &len) != 0)
		return false;
	out->port = ntohs(sa.ss_family == AF_INET ? ((struct sockaddr_in *)&sa)->sin_port
	                                          : ((struct sockaddr_in6 *)&sa)->sin6_port);
	return true;
}

struct echo { struct stream *s; };
static int echoes;

static void
echo_ready(void *arg, unsigned ready)
{
	struct echo *e = arg;
	char buf[256];
	assert_int_equal(ready, STREAM_READ);
	ssize_t n = stream_read(e->s, buf, sizeof buf);
	if (n > 0) {
		struct iovec iov[2] = { { buf, 1 }, { buf + 1, (size_t)n - 1 } };
		assert_int_equal(stream_write(e->s, iov, 2), n);
		return;
	}
	assert_int_equal(n, 0);
	stream_close(&e->s);
	free(e);
	echoes++;
	loop_stop(l);
}

static void
echo_got(void *arg, struct stream *s)
{
	struct ph_addr peer, local;
	(void)arg;
	stream_peer(s, &peer);
	stream_local(s, &local);
	assert_int_equal(peer.family, local.family);
	struct echo *e = calloc(1, sizeof *e);
	e->s = s;
	stream_watch(s, STREAM_READ, echo_ready, e);
}

struct caller { struct stream *s; struct buf got; bool connected; };

static void
caller_ready(void *arg, unsigned ready)
{
	struct caller *c = arg;
	char buf[256];
	if (!c->connected) {
		assert_true(ready & STREAM_WRITE);
		assert_int_equal(stream_connected(c->s), 0);
		c->connected = true;
		struct iovec iov = { (char[]){ "hello" }, 5 };
		assert_int_equal(stream_write(c->s, &iov, 1), 5);
		stream_watch(c->s, STREAM_READ, caller_ready, c);
		return;
	}
	ssize_t n = stream_read(c->s, buf, sizeof buf);
	if (n == PH_EBUSY)
		return;
	assert_true(n > 0);
	buf_add(&c->got, buf, (size_t)n);
	if (c->got.len == 5) {
		assert_int_equal(stream_read(c->s, buf, sizeof buf), PH_EBUSY);
		stream_close(&c->s);
	}
}

static void
echo_over(int fd, struct stream *s)
{
	struct listener *ln = listener_open(l, fd, echo_got, NULL);
	struct caller c = { .s = s };
	assert_non_null(ln);
	echoes = 0;
	stream_watch(c.s, STREAM_WRITE, caller_ready, &c);
	run();
	assert_int_equal(echoes, 1);
	assert_memory_equal(c.got.data + c.got.head, "hello", 5);
	buf_free(&c.got);
	listener_close(&ln);
	assert_null(ln);
	close(fd);
}

static void
bytes_go_there_and_back(void **state)
{
	(void)state;
	const struct ph_addr *const where[] = { &loopback4, &loopback6 };
	for (size_t i = 0; i < 2; i++) {
		struct ph_addr at = *where[i];
		int fd = listen_tcp(&at, true, 16);
		if (fd < 0 && at.family == 6)
			continue;       /* a machine without IPv6 */
		assert_true(fd >= 0);
		assert_true(bound_to(fd, &at));
		echo_over(fd, stream_connect(l, &at, where[i]));
	}
}

struct hangup { struct stream *s; unsigned ready; };

static void
hangup_ready(void *arg, unsigned ready)
{
	struct hangup *h = arg;
	h->ready = ready;
	stream_watch(h->s, 0, NULL, NULL);
	loop_stop(l);
}

static void
hangup_got(void *arg, struct stream *s)
{
	((struct hangup *)arg)->s = s;
	loop_stop(l);
}

static void
a_hang_up_is_told_without_reading(void **state)
{
	static const struct { const char *name; bool half; } cases[] = { { "half", true }, { "whole", false } };
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct ph_addr at = loopback4;
		struct hangup h = { .s = NULL };
		int fd = listen_tcp(&at, false, 1), c = socket(AF_INET, SOCK_STREAM, 0);
		assert_true(bound_to(fd, &at));
		struct listener *ln = listener_open(l, fd, hangup_got, &h);
		struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(at.port) };
		in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		assert_int_equal(connect(c, (struct sockaddr *)&in, sizeof in), 0);
		assert_int_equal(send(c, "unread", 6, 0), 6);
		run();
		stream_watch(h.s, STREAM_HANGUP, hangup_ready, &h);
		struct named_timer quiet = { { .fn = timer_noted }, 'q', true };
		timer_start(l, &quiet.t, 20);
		run();
		assert_int_equal(h.ready, 0);   /* bytes alone are none of its business */
		if (cases[i].half)
			shutdown(c, SHUT_WR);
		else
			close(c);
		run();
		assert_int_equal(h.ready, STREAM_HANGUP);
		char buf[16];
		assert_int_equal(stream_read(h.s, buf, sizeof buf), 6);
		assert_int_equal(stream_read(h.s, buf, sizeof buf), 0);
		if (cases[i].half)
			close(c);
		stream_close(&h.s);
		listener_close(&ln);
		close(fd);
	}
}

static void
unix_sockets_take_their_mode_and_replace_leftovers(void **state)
{
	char dir[] = "/tmp/ph-loop-XXXXXX", path[64];
	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/s", dir);
	int fd = listen_unix(path, 0600);
	assert_true(fd >= 0);
	assert_int_equal(listen_unix(path, 0600), -EADDRINUSE);        /* somebody answers there */
	close(fd);
	fd = listen_unix(path, 0600);
	assert_true(fd >= 0);
	struct stat st;
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	echo_over(fd, stream_connect_unix(l, path));
	unlink(path);
	rmdir(dir);
}

static void
outcome_ready(void *arg, unsigned ready)
{
	struct caller *c = arg;
	assert_true(ready & STREAM_WRITE);
	c->connected = true;
	loop_stop(l);
}

static int
outcome_of(struct stream *s)
{
	struct caller c = { .s = s };
	stream_watch(s, STREAM_WRITE, outcome_ready, &c);
	assert_false(c.connected);      /* never from inside */
	run();
	int rc = stream_connected(c.s);
	stream_close(&c.s);
	return rc;
}

static void
failing_connects_are_told_later(void **state)
{
	(void)state;
	struct ph_addr at = loopback4, bad = { .family = 0 }, six = loopback6;
	int fd = listen_tcp(&at, false, 1);
	assert_true(bound_to(fd, &at));
	close(fd);                      /* a port that nobody listens on */
	assert_int_equal(outcome_of(stream_connect(l, &at, NULL)), PH_EREFUSED);
	assert_int_equal(outcome_of(stream_connect(l, &bad, NULL)), PH_EINVAL);
	assert_int_equal(outcome_of(stream_connect(l, &at, &six)), PH_EUNREACH);
	assert_int_equal(outcome_of(stream_connect_unix(l, "/nonexistent/socket")), PH_ENOENT);
	char longer[200];
	memset(longer, 'x', sizeof longer - 1);
	longer[sizeof longer - 1] = '\0';
	assert_int_equal(outcome_of(stream_connect_unix(l, longer)), PH_EINVAL);
}

/* --- running out of descriptors --- */

static struct buf logged;
static void log_sink(const char *p, size_t n) { buf_add(&logged, p, n); }

enum { CLIENTS = 6 };
struct crowd { struct stream *s[CLIENTS]; int n; struct listener *ln; };

static void
crowd_got(void *arg, struct stream *s)
{
	struct crowd *c = arg;
	assert_true(c->n < CLIENTS);
	c->s[c->n++] = s;
	if (c->n == CLIENTS - 1)        /* one of them was turned away */
		loop_stop(l);
}

struct rlimit_timer { struct timer t; struct rlimit limit; };
static void
limit_lifted(struct timer *t)
{
	setrlimit(RLIMIT_NOFILE, &container_of(t, struct rlimit_timer, t)->limit);
}

static void count_turn(void *arg) { ++*(int *)arg; }

static void
without_descriptors_one_is_told_and_accepting_rests(void **state)
{
	(void)state;
	struct ph_addr at = loopback4;
	struct crowd crowd = { .n = 0 };
	int clients[CLIENTS], turns = 0;
	int fd = listen_tcp(&at, false, 16);
	assert_true(bound_to(fd, &at));
	crowd.ln = listener_open(l, fd, crowd_got, &crowd);
	listener_full(crowd.ln, "421 full\r\n");
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(at.port) };
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (int i = 0; i < CLIENTS; i++) {
		clients[i] = socket(AF_INET, SOCK_STREAM, 0);
		assert_int_equal(connect(clients[i], (struct sockaddr *)&in, sizeof in), 0);
	}
	struct rlimit_timer lift = { .t = { .fn = limit_lifted } };
	getrlimit(RLIMIT_NOFILE, &lift.limit);
	int next = dup(0);
	close(next);
	struct rlimit low = { (rlim_t)next, lift.limit.rlim_max };
	setrlimit(RLIMIT_NOFILE, &low);
	log_use(log_sink);
	loop_each_turn(l, count_turn, &turns);
	timer_start(l, &lift.t, 50);
	int64_t before = loop_now(l);
	run();
	log_use(NULL);
	assert_true(loop_now(l) - before >= 100);
	assert_true(turns < 50);        /* it slept */
	buf_addc(&logged, '\0');
	const char *line = strstr(logged.data + logged.head, "event=net.exhausted");
	assert_non_null(line);
	assert_null(strstr(line + 1, "event=net.exhausted"));   /* once */
	buf_free(&logged);
	int told = 0;
	for (int i = 0; i < CLIENTS; i++) {
		char text[32];
		ssize_t n = recv(clients[i], text, sizeof text, MSG_DONTWAIT);
		if (n == 10 && memcmp(text, "421 full\r\n", 10) == 0)
			told++;
		close(clients[i]);
	}
	assert_int_equal(told, 1);
	for (int i = 0; i < crowd.n; i++)
		stream_close(&crowd.s[i]);
	listener_close(&crowd.ln);
	close(fd);
}

/* --- watches --- */

struct watched { struct watch *w; int fd; };
static void
pipe_ready(void *arg, unsigned ready)
{
	struct watched *w = arg;
	char c;
	assert_int_equal(ready, STREAM_READ);
	assert_int_equal(read(w->fd, &c, 1), 1);
	note_down(c);
	if (c == 'z') {
		watch_close(&w->w);     /* inside its own callback */
		loop_stop(l);
	}
}

static void
a_watched_descriptor_is_told_until_closed(void **state)
{
	(void)state;
	int p[2];
	assert_int_equal(pipe(p), 0);
	struct watched w = { .fd = p[0] };
	assert_null(watch_open(l, -1, STREAM_READ, pipe_ready, &w));
	w.w = watch_open(l, p[0], STREAM_READ, pipe_ready, &w);
	assert_int_equal(loop_busy(l), 1);
	assert_int_equal(write(p[1], "xyz", 3), 3);
	run();
	assert_string_equal(trail, "xyz");
	close(p[0]);
	close(p[1]);
}

/* --- child processes --- */

struct child { struct process *p; struct buf out, err; int status, signum; bool ended; const char *stop_at; };

static void
child_out(void *arg, struct ph_str b)
{
	struct child *c = arg;
	buf_addstr(&c->out, b);
	if (c->stop_at != NULL && c->out.len >= strlen(c->stop_at))
		loop_stop(l);
}
static void child_err(void *arg, struct ph_str b) { buf_addstr(&((struct child *)arg)->err, b); }
static void
child_ended(void *arg, int status, int signum)
{
	struct child *c = arg;
	assert_false(c->ended);
	c->ended = true;
	c->status = status;
	c->signum = signum;
	loop_stop(l);
}
static const struct process_events child_events = { child_out, child_err, child_ended };

static void
child_free(struct child *c)
{
	buf_free(&c->out);
	buf_free(&c->err);
}

static void
a_child_reads_writes_and_ends(void **state)
{
	(void)state;
	struct child c = { 0 };
	int err = 0;
	const char *const argv[] = { "sh", "-c", "read a; echo \"<$a>\"; echo oops >&2; exit 3", NULL };
	c.p = process_start(l, argv, &child_events, &c, &err);
	assert_non_null(c.p);
	assert_int_equal(process_write(c.p, "hi\n", 3), 0);
	run();
	assert_true(c.ended);
	assert_int_equal(c.status, 3);
	assert_int_equal(c.signum, 0);
	assert_true(str_is(buf_view(&c.out), "<hi>\n"));
	assert_true(str_is(buf_view(&c.err), "oops\n"));
	child_free(&c);
}

static void
what_cannot_start_says_so(void **state)
{
	(void)state;
	struct child c = { 0 };
	int err = 0;
	const char *const argv[] = { "/nonexistent/helper", NULL };
	assert_null(process_start(l, argv, &child_events, &c, &err));
	assert_int_equal(err, PH_ENOENT);
	assert_false(c.ended);
}

static void
large_writes_wait_and_are_bounded(void **state)
{
	(void)state;
	static char block[256 * 1024];
	struct child c = { 0 };
	int err = 0, rc = 0;
	const char *const argv[] = { "sh", "-c", "read go; head -c 524288 | wc -c", NULL };
	memset(block, 'x', sizeof block);
	c.p = process_start(l, argv, &child_events, &c, &err);
	assert_int_equal(process_write(c.p, "go\n", 3), 0);
	assert_int_equal(process_write(c.p, block, sizeof block), 0);
	assert_int_equal(process_write(c.p, block, sizeof block), 0);
	for (int i = 0; i < 10 && rc == 0; i++)
		rc = process_write(c.p, block, sizeof block);
	assert_int_equal(rc, PH_ELIMIT);
	run();
	assert_int_equal(c.status, 0);
	assert_int_equal(atol(str_trim(buf_view(&c.out)).p), 524288);
	child_free(&c);
}

static void
a_child_dies_by_a_signal_with_its_children(void **state)
{
	(void)state;
	struct child c = { .stop_at = "up\n" };
	int err = 0;
	const char *const argv[] = { "sh", "-c", "sleep 1000 & echo up; wait", NULL };
	c.p = process_start(l, argv, &child_events, &c, &err);
	run();
	assert_true(str_is(buf_view(&c.out), "up\n"));
	process_kill(c.p, SIGTERM);
	run();
	assert_true(c.ended);
	assert_int_equal(c.signum, SIGTERM);
	child_free(&c);
}

static void
a_forgotten_child_says_nothing_more(void **state)
{
	(void)state;
	struct child c = { .stop_at = "up\n" };
	int err = 0;
	const char *const argv[] = { "sh", "-c", "echo up; sleep 1000", NULL };
	c.p = process_start(l, argv, &child_events, &c, &err);
	run();
	process_forget(&c.p);
	assert_null(c.p);
	loop_free(&l);                  /* waits until it is reaped */
	assert_false(c.ended);
	child_free(&c);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(timers_run_by_due_time), T(a_timer_restarting_itself_lets_others_run),
		T(deferred_notes_run_in_order_before_the_turn_ends),
		T(a_note_deferring_itself_lets_timers_run),
		T(posts_of_threads_arrive_each_once_in_order),
		T(work_runs_off_the_loop_and_reports_on_it), T(signals_are_told),
		T(bytes_go_there_and_back), T(a_hang_up_is_told_without_reading),
		T(unix_sockets_take_their_mode_and_replace_leftovers),
		T(failing_connects_are_told_later),
		T(without_descriptors_one_is_told_and_accepting_rests),
		T(a_watched_descriptor_is_told_until_closed), T(a_child_reads_writes_and_ends),
		T(what_cannot_start_says_so), T(large_writes_wait_and_are_bounded),
		T(a_child_dies_by_a_signal_with_its_children), T(a_forgotten_child_says_nothing_more),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
