/*
 * queue_sim.h - a queue on simulated time, with a store in memory and workers
 * that do what the test says.  Included by the tests of core/queue.
 *
 * The store checks what the queue may do to it, the dispatcher that no
 * recipient is ever leased twice at once.
 */
#ifndef TESTS_QUEUE_SIM_H
#define TESTS_QUEUE_SIM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/id.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "queue/queue.h"

#define SIM_WORKERS 2
#define MIN_MS 60000
#define HOUR_MS 3600000
#define DAY_MS 86400000
#define WALL0 INT64_C(1795518000000)    /* 2026-11-24 11:00 UTC */

struct sim_msg {
	struct ph_msgid id;
	struct ph_store_summary summary;
	struct buf meta, progress;
	struct ph_content *content;
	uint32_t nrcpts;
	bool *leased;
	bool removed;
	unsigned writes;
};
struct sim {
	struct ph_mailbox box;
	struct queue *q;
	int64_t mono, wall;
	struct idmap msgs;
	struct list jobs;               /* out, in order of dispatch */
	size_t njobs, dispatched, by_worker[SIM_WORKERS];
	int64_t grant[SIM_WORKERS];     /* last told, whatever the site */
	unsigned grants;
	bool room;
	struct ph_note *first, **end;   /* answers of the store */
	int append_status, read_status;
	bool hold_store;                /* answers wait */
	size_t appended, removed, reads, progressed;
	struct ph_msgid last_appended;
	struct buf log;
};

static struct sim *sim_now;

static inline void
sim_log(const char *p, size_t n)
{
	if (sim_now != NULL)
		buf_add(&sim_now->log, p, n);
}

static inline bool
sim_logged(struct sim *s, const char *what)
{
	log_flush();
	buf_addc(&s->log, '\0');
	s->log.len--;
	return s->log.len > 0 && strstr(s->log.data + s->log.head, what) != NULL;
}

static inline unsigned
sim_count_logged(struct sim *s, const char *what)
{
	unsigned n = 0;
	const char *at;

	if (!sim_logged(s, what))
		return 0;
	for (at = s->log.data + s->log.head; (at = strstr(at, what)) != NULL; at++)
		n++;
	return n;
}

static inline struct sim_msg *
sim_msg(struct sim *s, struct ph_msgid id)
{
	return idmap_get(&s->msgs, id);
}

/* --- the store --- */

void
ph_store_release(struct ph_store_request *r)
{
	free(r->buffer);
	r->buffer = NULL;
	r->meta = r->progress = r->bytes = (struct ph_str){ NULL, 0 };
}

static inline struct sim_msg *
sim_put(struct sim *s, struct ph_msgid id, const struct ph_store_summary *sum,
        struct ph_str meta, struct ph_content *content)
{
	struct sim_msg *m = mem_new(struct sim_msg);
	struct arena arena;
	struct envelope env;

	arena_init(&arena, 1024);
	envelope_init(&env, &arena);
	assert_int_equal(envelope_decode(meta, &arena, &env), 0);
	m->nrcpts = env.nrcpts;
	arena_reset(&arena);
	m->leased = mem_calloc(m->nrcpts + 1, sizeof *m->leased);
	m->id = id;
	m->summary = *sum;
	buf_addstr(&m->meta, meta);
	m->content = ph_content_ref(content);
	idmap_put(&s->msgs, m);
	return m;
}

static inline void
sim_store_read(struct sim *s, struct ph_store_request *r)
{
	struct sim_msg *m = sim_msg(s, r->id);
	char *b;

	s->reads++;
	r->status = s->read_status;
	if (r->status != 0)
		return;
	if (m == NULL || m->removed) {
		r->status = PH_ENOENT;
		return;
	}
	if (r->op == PH_STORE_READ_PART) {
		uint64_t n = ph_content_size(m->content) - r->offset;

		if (n > r->want)
			n = r->want;
		r->buffer = b = mem_alloc(n + 1);
		r->bytes = str_make(b, content_copy(m->content, r->offset, b, n));
		return;
	}
	r->buffer = b = mem_alloc(m->meta.len + m->progress.len + 1);
	memcpy(b, m->meta.data + m->meta.head, m->meta.len);
	r->meta = str_make(b, m->meta.len);
	if (m->progress.len > 0)
		memcpy(b + m->meta.len, m->progress.data + m->progress.head, m->progress.len);
	r->progress = str_make(b + m->meta.len, m->progress.len);
	r->content = ph_content_size(m->content) > 262144 ?
	    content_stored(ph_content_size(m->content)) : ph_content_ref(m->content);
}

static inline void
sim_done(struct ph_note *note)
{
	struct ph_store_request *r = container_of(note, struct ph_store_request, note);

	r->done(r);
}

/* Works at once, in order; the answer may take its time. */
static inline void
sim_submit(void *arg, struct ph_store_request *r)
{
	struct sim *s = arg;
	struct sim_msg *m;

	r->status = 0;
	switch (r->op) {
	case PH_STORE_APPEND:
		r->status = s->append_status;
		if (r->status != 0)
			break;
		assert_null(sim_msg(s, r->id));
		(void)sim_put(s, r->id, &r->summary, r->meta, r->content);
		s->appended++;
		s->last_appended = r->id;
		break;
	case PH_STORE_PROGRESS:
		m = sim_msg(s, r->id);
		assert_non_null(m);
		assert_false(m->removed);
		m->summary = r->summary;
		buf_clear(&m->progress);
		buf_addstr(&m->progress, r->progress);
		m->writes++;
		s->progressed++;
		break;
	case PH_STORE_REMOVE:
		m = sim_msg(s, r->id);
		assert_non_null(m);
		assert_false(m->removed);
		m->removed = true;
		s->removed++;
		break;
	case PH_STORE_READ:
	case PH_STORE_READ_PART:
		sim_store_read(s, r);
		break;
	default:
		fail_msg("store op %d", (int)r->op);
	}
	if (r->done == NULL) {
		r->drop(r);
		return;
	}
	r->note.next = NULL;
	*s->end = &r->note;
	s->end = &r->note.next;
}

static inline bool
sim_store(struct sim *s)
{
	struct ph_note *note = s->first;

	if (note == NULL || s->hold_store)
		return false;
	s->first = NULL;
	s->end = &s->first;
	while (note != NULL) {
		struct ph_store_request *r = container_of(note, struct ph_store_request, note);

		note = note->next;
		if (r->op == PH_STORE_APPEND && r->status == 0)
			queue_added(s->q, &(struct ph_store_added){ r->id, r->summary, r->meta,
			    r->content }, 1);
		r->note.run = sim_done;
		ph_post(r->home, &r->note);
	}
	return true;
}

/* --- workers --- */

static inline bool
sim_in_lease(const struct job *j, uint32_t i)
{
	if (j->only == NULL)
		return true;
	for (uint32_t k = 0; k < j->nonly; k++)
		if (j->only[k] == i)
			return true;
	return false;
}

static inline struct progress
sim_progress(const struct sim_msg *m, struct arena *arena)
{
	struct progress p;

	assert_int_equal(progress_decode(buf_view(&m->progress), m->nrcpts, arena, &p), 0);
	return p;
}

static inline void
sim_lease(struct sim *s, struct job *j, bool on)
{
	struct sim_msg *m = sim_msg(s, j->id);
	struct arena arena;
	struct progress p;

	arena_init(&arena, 1024);
	assert_non_null(m);
	assert_false(on && m->removed);
	p = sim_progress(m, &arena);
	for (uint32_t i = 0; i < m->nrcpts; i++) {
		if (!sim_in_lease(j, i) || (j->only == NULL && p.rcpts[i].state != RCPT_PENDING))
			continue;
		assert_true(m->leased[i] != on);        /* never twice at once */
		m->leased[i] = on;
	}
	arena_reset(&arena);
}

static inline void
sim_dispatch(void *arg, unsigned worker, struct job *j)
{
	struct sim *s = arg;

	assert_true(worker < SIM_WORKERS);
	sim_lease(s, j, true);
	list_push_back(&s->jobs, &j->link);
	s->njobs++;
	s->dispatched++;
	s->by_worker[worker]++;
}

static inline void
sim_grant(void *arg, unsigned worker, struct site_info *site, int64_t n)
{
	struct sim *s = arg;

	(void)site;
	s->grant[worker] = n;
	s->grants++;
}

static inline void
sim_room(void *arg, bool enough)
{
	((struct sim *)arg)->room = enough;
}

/* Does what a worker does first: envelope and progress, from memory or the store. */
static inline void
sim_open(struct sim *s, struct job *j)
{
	struct sim_msg *m = sim_msg(s, j->id);

	envelope_init(&j->env, &j->arena);
	j->have_env = true;
	if (j->meta != NULL) {
		assert_int_equal(envelope_decode(str_make(j->meta, j->meta_len), &j->arena, &j->env), 0);
		return;
	}
	assert_int_equal(envelope_decode(buf_view(&m->meta), &j->arena, &j->env), 0);
	j->progress = sim_progress(m, &j->arena);
	j->have_progress = true;
}

static inline struct job *
sim_take(struct sim *s)
{
	struct list *l = list_pop(&s->jobs);

	if (l == NULL)
		return NULL;
	s->njobs--;
	return container_of(l, struct job, link);
}

static inline void
sim_return(struct sim *s, struct job *j, enum job_result result)
{
	sim_lease(s, j, false);
	j->result = result;
	job_return(j, NULL);
}

/* One outcome for all recipients of the lease. */
static inline void
sim_outcome(struct sim *s, struct job *j, enum job_rcpt_outcome what, uint16_t code,
            const char *reply)
{
	sim_open(s, j);
	j->rcpts = arena_alloc(&j->arena, (j->env.nrcpts + 1) * sizeof *j->rcpts);
	for (uint32_t i = 0; i < j->env.nrcpts; i++) {
		if (!sim_in_lease(j, i) ||
		    (j->have_progress && j->progress.rcpts[i].state != RCPT_PENDING))
			continue;
		j->rcpts[j->nrcpts++] = (struct job_rcpt){ .index = i, .outcome = what, .code = code,
			.reply = str_of(reply), .remote = STR("relay.example.net[192.0.2.25]:25") };
	}
	j->site_ok = true;
	sim_return(s, j, JOB_TRIED);
}

static inline void
sim_down(struct sim *s, struct job *j)
{
	j->why = STR("192.0.2.25: connection refused");
	sim_return(s, j, JOB_SITE_DOWN);
}

/* One recipient's outcome in a lease opened by sim_open; then sim_return(TRIED). */
static inline struct job_rcpt *
sim_rcpt(struct job *j, uint32_t i, enum job_rcpt_outcome what, uint16_t code, const char *reply)
{
	struct job_rcpt *r;

	if (j->rcpts == NULL)
		j->rcpts = arena_alloc(&j->arena, (j->env.nrcpts + 1) * sizeof *j->rcpts);
	r = &j->rcpts[j->nrcpts++];
	*r = (struct job_rcpt){ .index = i, .outcome = what, .code = code, .reply = str_of(reply),
		.remote = STR("relay.example.net[192.0.2.25]:25") };
	j->site_ok = true;
	return r;
}

/* --- the turn --- */

static inline void
sim_run(struct sim *s)
{
	for (unsigned i = 0; i < 100000; i++) {
		bool some = sim_store(s);

		some = mailbox_run(&s->box) > 0 || some;
		queue_run(s->q, s->mono, s->wall);
		if (!some && queue_next(s->q) > s->mono && (s->first == NULL || s->hold_store))
			return;
	}
	fail_msg("the queue does not come to rest");
}

static inline void
sim_pass(struct sim *s, int64_t ms)
{
	s->mono += ms;
	s->wall += ms;
	sim_run(s);
}

/* Goes on to the next thing the queue waits for, at most `most` ms. */
static inline int64_t
sim_next(struct sim *s, int64_t most)
{
	int64_t wait = queue_next(s->q) - s->mono;

	if (wait > most)
		wait = most;
	if (wait < 0)
		wait = 0;
	sim_pass(s, wait);
	return wait;
}

static const int64_t sim_retry[] = { 15 * MIN_MS, 30 * MIN_MS, 60 * MIN_MS, 240 * MIN_MS };
static const int64_t sim_probe[] = { 15000, 30000, MIN_MS, 2 * MIN_MS, 5 * MIN_MS };

static inline struct queue_config
sim_config(void)
{
	return (struct queue_config){
		.retry_ms = sim_retry, .nretry = 4, .probe_ms = sim_probe, .nprobe = 5,
		.delay_notice_ms = 12 * HOUR_MS, .expire_ms = 2 * DAY_MS,
		.max_active = 10000, .memory = 1 << 20, .default_connections = 4,
		.messages_in_flight = 32, .bounce_notices = true, .hostname = "relay.example.com",
		.badmail_dir = "",
	};
}

static const struct queue_ops sim_ops = {
	.dispatch = sim_dispatch, .grant = sim_grant, .submit = sim_submit, .room = sim_room,
};

static inline void
sim_start_queue(struct sim *s, const struct queue_config *cfg)
{
	s->q = queue_new(cfg, &sim_ops, s, SIM_WORKERS, &s->box);
	sim_run(s);
}

static inline struct sim *
sim_new(const struct queue_config *cfg)
{
	struct sim *s = mem_new(struct sim);

	mailbox_init(&s->box, NULL);
	list_init(&s->jobs);
	idmap_init(&s->msgs, offsetof(struct sim_msg, id));
	s->end = &s->first;
	s->mono = 1000;
	s->wall = WALL0;
	s->room = true;
	log_use(sim_log);
	sim_now = s;
	sim_start_queue(s, cfg);
	return s;
}

/* The daemon goes: what is out comes home, what is in memory is gone. */
static inline void
sim_stop_queue(struct sim *s)
{
	struct job *j;

	queue_stop(s->q);
	s->hold_store = false;
	while ((j = sim_take(s)) != NULL)
		sim_return(s, j, JOB_RETURNED);
	sim_run(s);
	assert_true(queue_drained(s->q));
	queue_free(&s->q);
}

static inline void
sim_free(struct sim *s)
{
	size_t it = 0;
	void *v;

	sim_stop_queue(s);
	log_flush();
	sim_now = NULL;
	while (idmap_next(&s->msgs, &it, &v)) {
		struct sim_msg *m = v;

		buf_free(&m->meta);
		buf_free(&m->progress);
		ph_content_unref(&m->content);
		free(m->leased);
		free(m);
	}
	idmap_free(&s->msgs);
	buf_free(&s->log);
	free(s);
}

/* --- messages --- */

struct sim_mail {               /* fields left out: one ordinary message */
	const char *from;       /* NULL: a@example.org */
	const char *to[4];
	uint8_t notify[4];
	enum mail_ret ret;
	const char *orcpt, *envid;
	const char *text;
	uint64_t size;          /* of generated text */
	struct site_info *site;
	bool cold;
	uint32_t flags;
};

static inline struct ph_msgid
sim_mail(struct sim *s, const struct sim_mail *mail)
{
	struct arena arena;
	struct envelope env;
	struct buf meta = { 0 };
	struct ph_content *c = content_new();
	const char *text = mail->text != NULL ? mail->text :
	    "Subject: hello\r\nMessage-ID: <1@example.org>\r\n\r\nThe body.\r\n";
	struct ph_store_added v = { .id = id_new() };
	uint32_t n = 0;

	arena_init(&arena, 1024);
	envelope_init(&env, &arena);
	if (mail->from == NULL || mail->from[0] != '\0')
		assert_int_equal(address_parse(str_of(mail->from != NULL ? mail->from : "a@example.org"),
		    &arena, &env.from, NULL), 0);
	for (; n < 4 && (mail->to[n] != NULL || n == 0); n++) {
		struct recipient *r = envelope_add(&env);

		assert_int_equal(address_parse(str_of(mail->to[n] != NULL ? mail->to[n] :
		    "b@example.net"), &arena, &r->to, NULL), 0);
		r->notify = mail->notify[n];
		if (mail->orcpt != NULL)
			r->orcpt = str_of(mail->orcpt);
	}
	env.ret = mail->ret;
	env.arrived = s->wall;
	if (mail->envid != NULL)
		env.envid = str_of(mail->envid);
	envelope_encode(&env, &meta);
	content_append(c, text, strlen(text), 0);
	while (c->size < mail->size)
		content_append(c, "The quick brown fox jumps over the lazy dog.\r\n", 46, mail->size);
	v.summary = (struct ph_store_summary){ .created = s->wall, .due = s->wall, .size = c->size,
		.site = mail->site != NULL ? mail->site->hash : 0, .recipients = n,
		.flags = mail->flags };
	v.meta = buf_view(&meta);
	v.hot = mail->cold ? NULL : c;
	(void)sim_put(s, v.id, &v.summary, v.meta, c);
	if (mail->site != NULL)
		queue_site(s->q, mail->site);
	queue_added(s->q, &v, 1);
	arena_reset(&arena);
	buf_free(&meta);
	ph_content_unref(&c);
	return v.id;
}

static inline struct site_info *
sim_site(const char *name, int64_t connections)
{
	return site_info_new(str_of(name), str_of(name), connections, 0);
}

/* The store tells a new queue what it has. */
static inline void
sim_scan(struct sim *s)
{
	size_t it = 0;
	void *v;

	while (idmap_next(&s->msgs, &it, &v)) {
		struct sim_msg *m = v;

		if (!m->removed)
			queue_added(s->q, &(struct ph_store_added){ m->id, m->summary, { NULL, 0 }, NULL }, 1);
	}
	queue_scanned(s->q, 0);
	sim_run(s);
}

static inline struct queue_counts
sim_counts(const struct sim *s)
{
	struct queue_counts c;

	queue_counts(s->q, &c);
	return c;
}

/* The text of a stored message; the caller frees it. */
static inline char *
sim_text(struct sim *s, struct ph_msgid id)
{
	const struct sim_msg *m = sim_msg(s, id);
	uint64_t n = ph_content_size(m->content);
	char *out = mem_alloc(n + 1);

	assert_int_equal(content_copy(m->content, 0, out, n), n);
	out[n] = '\0';
	return out;
}

#endif
