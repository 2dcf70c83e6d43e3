/*
 * deliver_world.h - a world for core/deliver without sockets: a loop with
 * virtual time, hosts that are SMTP servers with a temper, a store, routers and
 * plugins.  It defines the functions of core/net and core/plugin that deliver
 * calls, so nothing of those layers is linked.
 */
#ifndef TESTS_DELIVER_WORLD_H
#define TESTS_DELIVER_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/id.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "deliver/deliver.h"

/* Rows name what differs from nothing, and no test uses all of the world. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#pragma GCC diagnostic ignored "-Wunused-function"

#define STREAMING "250-mx\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-DSN\r\n250 CHUNKING\r\n"
#define GROUPING  "250-mx\r\n250 PIPELINING\r\n"
#define BARELY    "250 mx\r\n"

/* What a host does. */
struct host {
	bool refuses;                   /* no connection */
	const char *greeting;           /* NULL: 220 */
	const char *ehlo;               /* NULL: STREAMING */
	const char *ehlo_tls;           /* after STARTTLS; NULL: the same */
	const char *on_mail, *on_final; /* replies; NULL 250 */
	unsigned hang_up_after;         /* this many messages, without a word; 0 never */
	bool hang_up_at_mail;           /* from then on, at the next MAIL, MAIL unanswered */
	bool hang_up_at_final;          /* reads the message, then leaves */
	unsigned bye_after;             /* this many messages: 421 to MAIL */
	bool silent_final;              /* reads the message, answers never */
	bool handshake_fails, leaves_in_handshake;
	const char *auth;               /* reply to AUTH */
	const char *auth_then[3];       /* replies to the lines after it */
	const char *starttls;           /* reply; NULL 220 */
	bool implicit;                  /* TLS from the first byte */
	bool handshake_hangs;
	unsigned room;                  /* connections at once; 421 beyond; 0 any */
	/* seen */
	unsigned connections, open, messages, quits, secured, rcpts_most, mails;
	struct buf commands, content;
};

struct conn {
	const struct conn_events *ev; void *arg;
	struct host *h;
	struct buf in, line, to_peer;   /* to the client, a command so far */
	uint64_t chunk; bool chunk_mode, data, tls, eof, closed, noted, shaking, told;
	unsigned authing;               /* lines of a login to come */
	unsigned rcpts, taken;
	struct ph_note note;
};
struct dial { const struct ph_next_hop *hop; size_t first; bool skip[8]; bool ended;
	void (*fn)(void *, const struct dial_result *); void *arg; struct ph_note note; };
struct loop {
	int64_t now;
	struct ph_note *first, **end;
	struct heap timers;
	struct ph_mailbox box;
};

static struct world {
	struct loop loop;
	struct generation gen; struct worker_plugins wp, wp2;
	struct host hosts[4];
	struct ph_endpoint endpoints[4];
	struct ph_next_hop hop, hop2;
	struct ph_secure secure; bool have_secure, verified;
	const char *secure_name;        /* that the provider was told; NULL: the host's */
	struct buf logged;
	struct deliver *d;
	struct deliver_config cfg;
	struct ph_mailbox home;         /* the queue's */
	struct job *back[300]; unsigned nback;
	unsigned grants, sites, stopped;
	/* router */
	bool route_waits; void (*routed)(void *); void *routed_arg; unsigned cancelled;
	/* store */
	struct ph_store_request *asked[64]; unsigned nasked;
	bool store_waits;
	int store_status;
	const char *stored;
	uint64_t biggest_part;
	unsigned parts, released;
	struct buf stored_meta, stored_progress; bool store_content_elsewhere;
	int fail_part_at;               /* offset; -1 none */
	/* plugins */
	enum ph_verdict attempt_verdict, response_verdict; enum ph_reply reply;
	bool suspends; struct plug_session *suspended; unsigned cancelled_hooks;
	unsigned seen[PH_HOOK_COUNT], sessions;
	enum ph_sasl_result sasl_result, sasl_then;     /* of the first step, of those after it */
	const char *sasl_problem; bool sasl_silent;     /* silent: nothing is set to be sent */
	unsigned sasl_steps, sasl_ends, again;          /* again: so many refusals are retried */
	struct buf sasl_input;                          /* of the last step */
	uint16_t sasl_port;
} W;

/* --- loop --- */

void
loop_defer(struct loop *l, struct ph_note *n)
{
	n->next = NULL;
	*l->end = n;
	l->end = &n->next;
}
int64_t loop_now(const struct loop *l) { return l->now; }
struct ph_mailbox *loop_mailbox(struct loop *l) { return &l->box; }
void
timer_start(struct loop *l, struct timer *t, int64_t ms)
{
	heap_put(&l->timers, &t->node, l->now + ms);
}
void timer_stop(struct loop *l, struct timer *t) { heap_del(&l->timers, &t->node); }

static bool
turn(void)
{
	size_t ran = mailbox_run(&W.loop.box) + mailbox_run(&W.home);
	struct ph_note *n = W.loop.first;

	W.loop.first = NULL;
	W.loop.end = &W.loop.first;
	while (n != NULL) {
		struct ph_note *next = n->next;
		n->run(n);
		n = next;
		ran++;
	}
	return ran > 0;
}

static void
settle(void)
{
	for (int i = 0; turn(); i++)
		if (i > 20000)
			fail_msg("the world does not come to rest");
}

static void
advance(int64_t ms)
{
	int64_t until = W.loop.now + ms;
	struct heap_node *n;

	settle();
	while ((n = heap_min(&W.loop.timers)) != NULL && n->key <= until) {
		struct timer *t = container_of(n, struct timer, node);
		W.loop.now = n->key > W.loop.now ? n->key : W.loop.now;
		heap_del(&W.loop.timers, n);
		t->fn(t);
		settle();
	}
	W.loop.now = until;
}

#include "deliver_hosts.h"

/* --- plugins --- */

void worker_plugins_drop(struct worker_plugins *wp) { assert_true(wp->users > 0); wp->users--; }

/* The local part's first letter says where to: 2 the second hop, f fail, d defer, else the first
 * hop. */
struct ph_route *
route_ask(struct worker_plugins *wp, const struct envelope *env, const uint32_t *rcpts, size_t n,
    struct arena *arena, struct route_answer *v, void (*done)(void *), void *arg, bool *answered)
{
	(void)wp;
	(void)arena;
	for (size_t i = 0; i < n; i++) {
		char c = env->rcpts[rcpts[i]].to.full.p[0];
		v[i] = c == 'f'   ? (struct route_answer){ ROUTE_FAIL, NULL, PH_R_NO_SUCH_MAILBOX,
			  STR("not here") }
		       : c == 'd' ? (struct route_answer){ ROUTE_DEFER, NULL, PH_R_TRY_LATER,
				 STR("no route") }
				  : (struct route_answer){ ROUTE_HOP, c == '2' ? &W.hop2 : &W.hop,
					    PH_R_NONE, STR("") };
	}
	*answered = !W.route_waits;
	W.routed = done;
	W.routed_arg = arg;
	return (struct ph_route *)(void *)&W;
}
void route_cancel(struct ph_route **r) { *r = NULL; W.cancelled++; }

const struct ph_secure *
secure_find(struct worker_plugins *wp, const char *name, struct ph_worker **out_w)
{
	(void)wp; (void)name;
	*out_w = NULL;
	return W.have_secure ? &W.secure : NULL;
}

struct ph_sasl { int unused; };
struct ph_str
sasl_choose(
    struct worker_plugins *wp, const struct ph_next_hop *hop, struct ph_str offered, bool secure)
{
	(void)wp; (void)hop; (void)secure;
	return str_is(offered, "PLAIN") ? STR("PLAIN") : (struct ph_str){ NULL, 0 };
}
struct ph_sasl *
sasl_begin(struct worker_plugins *wp, enum ph_side side, struct ph_str name,
    const struct facts *facts, const struct ph_next_hop *hop, bool secure,
    void (*answered)(void *, const struct sasl_out *), void *arg)
{
	(void)wp;
	(void)side;
	(void)name;
	(void)facts;
	(void)hop;
	(void)secure;
	(void)answered;
	(void)arg;
	return mem_new(struct ph_sasl);
}
bool
sasl_step(struct ph_sasl *x, struct ph_str in, bool has_in, struct sasl_out *o)
{
	(void)x; (void)has_in;
	buf_clear(&W.sasl_input);
	buf_addstr(&W.sasl_input, in);
	*o = (struct sasl_out){ .result = W.sasl_steps++ == 0 ? W.sasl_result : W.sasl_then,
		.output = STR(""), .problem = W.sasl_problem };
	o->has_output = !W.sasl_silent;
	if (o->has_output && W.sasl_steps == 1)
		o->output = str_make("\0u\0p", 4);
	return true;
}
bool
sasl_refused(struct ph_sasl *x, int code)
{
	(void)x; (void)code;
	W.sasl_steps = 0;
	return W.again > 0 && W.again-- > 0;
}
void
sasl_set_remote(struct ph_sasl *x, struct ph_str name, uint16_t port)
{
	(void)x;
	assert_true(name.n > 0);
	W.sasl_port = port;
}
void
sasl_set_binding(struct ph_sasl *x, int (*b)(void *, const char *, uint8_t *, size_t *), void *arg)
{ (void)x; (void)b; (void)arg; }
void sasl_end(struct ph_sasl **x) { W.sasl_ends += *x != NULL; free(*x); *x = NULL; }

int plug_session_open(struct plug_session *ps) { (void)ps; W.sessions++; return 0; }
int plug_txn_open(struct plug_session *ps) { (void)ps; return 0; }
void
plug_session_close(struct plug_session *ps)
{
	(void)ps;
	W.sessions--;
	if (W.suspended == ps) {
		W.suspended = NULL;
		W.cancelled_hooks++;
	}
}
void
plug_cancel(struct plug_session *ps)
{
	if (W.suspended == ps) {
		W.suspended = NULL;
		W.cancelled_hooks++;
	}
}
bool
plug_ask(struct plug_session *ps, enum ph_hook hook, struct plug_outcome *o)
{
	*o = (struct plug_outcome){ PH_CONTINUE, PH_R_NONE, STR("") };
	if (ps->wp->gen->hooks[hook].n == 0)
		return true;
	W.seen[hook]++;
	if (W.suspends) {
		W.suspended = ps;
		return false;
	}
	o->verdict = hook == PH_HOOK_ATTEMPT ? W.attempt_verdict : W.response_verdict;
	o->reply = W.reply;
	o->text = STR("said by a plugin");
	return true;
}
void
plug_observe(struct plug_session *ps, enum ph_hook hook)
{
	assert_non_null(ps->rcpt);
	assert_true(ps->outcome_text.n > 0);
	W.seen[hook]++;
}

/* --- store --- */

static void
store_answer(struct ph_store_request *r)
{
	r->status = W.store_status;
	if (r->op == PH_STORE_READ && r->status == 0) {
		r->meta = buf_view(&W.stored_meta);
		r->progress = buf_view(&W.stored_progress);
		r->content =
		    W.store_content_elsewhere ? content_stored(strlen(W.stored)) : content_new();
		if (!W.store_content_elsewhere)
			content_append(r->content, W.stored, strlen(W.stored), 0);
	} else if (r->op == PH_STORE_READ_PART && r->status == 0) {
		if ((int)r->offset == W.fail_part_at)
			r->status = PH_EIO;
		W.parts++;
		if (r->want > W.biggest_part)
			W.biggest_part = r->want;
		r->bytes = str_make(W.stored + r->offset, (size_t)r->want);
	}
	r->done(r);
}

static void
store_note(struct ph_note *n)
{
	store_answer(container_of(n, struct ph_store_request, note));
}
void ph_store_release(struct ph_store_request *r) { (void)r; W.released++; }

static void
world_submit(void *arg, struct ph_store_request *r)
{
	(void)arg;
	r->note.run = store_note;
	if (W.store_waits)
		W.asked[W.nasked++] = r;
	else
		ph_post(r->home, &r->note);
}

/* --- jobs --- */

static void
came_back(struct ph_note *n)
{
	assert_true(W.nback < 300);
	W.back[W.nback++] = container_of(n, struct job, note);
}

static struct job *
job_for(const char *rcpts, const char *content)
{
	struct job *j = job_new();
	struct arena arena;
	struct envelope env;
	struct buf meta = { 0 };
	const char *why;

	arena_init(&arena, 1024);
	envelope_init(&env, &arena);
	assert_int_equal(address_parse(STR("s@x.example"), &arena, &env.from, &why), 0);
	while (*rcpts != '\0') {
		size_t n = strcspn(rcpts, " ");
		char text[80];
		struct recipient *r = envelope_add(&env);
		snprintf(text, sizeof text, "%.*s@y.example", (int)n, rcpts);
		assert_int_equal(address_parse(str_of(text), &arena, &r->to, &why), 0);
		rcpts += n + (rcpts[n] == ' ');
	}
	envelope_encode(&env, &meta);
	j->home = &W.home;
	j->back = came_back;
	j->kind = JOB_DELIVER;
	j->id = id_new();
	if (content != NULL) {
		j->meta_len = meta.len;
		j->meta = mem_strndup(meta.data + meta.head, meta.len);
		j->content = content_new();
		content_append(j->content, content, strlen(content), 0);
		buf_free(&meta);
	} else {                /* to be read from the store */
		buf_free(&W.stored_meta);
		W.stored_meta = meta;
	}
	arena_reset(&arena);
	return j;
}

static void
world_site(void *arg, struct site_info *s)
{
	(void)arg;
	(void)s;
	W.sites++;
}

static const struct deliver_ops world_ops = { .submit = world_submit, .site = world_site };

/* The site that all go to, as the queue would know it. */
static struct site_info *
world_site_info(void)
{
	struct arena arena;
	struct envelope env;
	struct recipient *r;
	struct site_info *s;

	arena_init(&arena, 512);
	envelope_init(&env, &arena);
	r = envelope_add(&env);
	r->to.full = STR("a@y.example");
	s = deliver_site_of(W.d, &env);
	arena_reset(&arena);
	return s;
}

static struct job *
give(struct job *j)
{
	bool waits = W.route_waits;

	W.route_waits = false;
	if (j->kind != JOB_ROUTE && j->site == NULL)
		j->site = world_site_info();
	W.route_waits = waits;
	deliver_job(W.d, j);
	return j;
}

static struct job *
post(const char *rcpts)
{
	return give(job_for(rcpts, "Subject: x\r\n\r\nbody\r\n"));
}

static void
grant(int64_t n)
{
	struct site_info *s = world_site_info();
	deliver_grant(W.d, s, n);
	site_info_unref(&s);
}

static void on_stopped(void *arg) { (void)arg; W.stopped++; }
static void to_logged(const char *p, size_t n) { buf_add(&W.logged, p, n); }

static int
world_setup(void **state)
{
	static const char *const names[] = { "one.example", "two.example", "three.example",
		"four.example" };

	(void)state;
	memset(&W, 0, sizeof W);
	W.loop.now = 1000000;
	W.loop.end = &W.loop.first;
	mailbox_init(&W.loop.box, NULL);
	mailbox_init(&W.home, NULL);
	W.wp.gen = W.wp2.gen = &W.gen;
	for (int i = 0; i < 4; i++)
		W.endpoints[i] = (struct ph_endpoint){ names[i], 25, false };
	W.hop = (struct ph_next_hop){ .size = sizeof W.hop,
		.name = "smart",
		.hosts = { W.endpoints, 1 },
		.default_port = 25 };
	W.hop2 = (struct ph_next_hop){ .size = sizeof W.hop2,
		.name = "other",
		.hosts = { W.endpoints + 3, 1 },
		.default_port = 25 };
	W.cfg = (struct deliver_config){ .hostname = STR("relay.example"),
		.max_connections = 50,
		.idle_timeout_ms = 30000,
		.connect_timeout_ms = 10000,
		.window_messages = 32,
		.chunking = true,
		.pipelining = true };
	W.stored = "Subject: stored\r\n\r\nbody\r\n";
	W.fail_part_at = -1;
	W.sasl_result = PH_SASL_DONE;
	log_level = PH_TRACE;
	log_use(to_logged);
	W.d = deliver_new(&W.loop, NULL, &W.cfg, &world_ops, NULL, NULL);
	deliver_generation(W.d, &W.wp, &W.cfg);
	return 0;
}

/* All jobs are home, all connections closed, every plugin use given back. */
static int
world_teardown(void **state)
{
	uint64_t expected = content_memory();

	(void)state;
	W.suspends = false;
	deliver_stop(W.d, 1000, on_stopped, NULL);
	advance(2000);
	assert_int_equal(W.stopped, 1);
	deliver_free(&W.d);
	settle();
	for (unsigned i = 0; i < W.nback; i++)
		job_free(&W.back[i]);
	assert_int_equal(W.wp.users, 0);
	assert_int_equal(W.wp2.users, 0);
	assert_int_equal(W.sessions, 0);
	assert_true(content_memory() <= expected);
	assert_null(heap_min(&W.loop.timers));
	for (int i = 0; i < 4; i++) {
		assert_int_equal(W.hosts[i].open, 0);
		buf_free(&W.hosts[i].commands);
		buf_free(&W.hosts[i].content);
	}
	log_flush();
	buf_free(&W.logged);
	buf_free(&W.sasl_input);
	buf_free(&W.stored_meta);
	buf_free(&W.stored_progress);
	heap_free(&W.loop.timers);
	return 0;
}

static bool
has(const struct buf *b, const char *text)
{
	return b->len > 0 && memmem(b->data + b->head, b->len, text, strlen(text)) != NULL;
}

/* Outcomes of a job as text: "D250 F550 X451"; X deferred, - none. */
static const char *
outcomes(const struct job *j)
{
	static char text[400];
	size_t n = 0;

	text[0] = '\0';
	for (uint32_t i = 0; i < j->nrcpts && n < 380; i++)
		n += (size_t)snprintf(text + n, sizeof text - n, "%s%c%u", i > 0 ? " " : "",
		    "-DXF"[j->rcpts[i].outcome], j -> rcpts[i].code);
	return text;
}

static bool
says(const struct job *j, uint32_t i, const char *text)
{
	struct ph_str r = j->rcpts[i].reply;
	return r.n > 0 && memmem(r.p, r.n, text, strlen(text)) != NULL;
}

#endif
