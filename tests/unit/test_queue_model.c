/*
 * test_queue_model.c - the queue under a world that does anything: random
 * outcomes, sites that come and go, leases that are lost, a store that
 * refuses, restarts, clocks that jump, operators at work.
 *
 * Whatever happens, every message ends delivered, reported, removed by an
 * operator or in badmail; none is lost, none delivered twice, and none leased
 * twice at once (the simulated dispatcher asserts the latter).
 */
#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "queue_sim.h"

#define SITES 3
#define MESSAGES 150
#define STEPS 2500

struct fate { bool done, ours; uint8_t rcpt[4]; unsigned n; };  /* of each recipient: what the world did */
enum { W_DELIVERED = 1, W_FAILED = 2 };

struct world {
	struct sim *s;
	struct queue_config cfg;
	struct site_info *site[SITES];
	bool down[SITES];
	uint64_t seed;
	uint64_t route_salt;
	struct ph_msgid id[MESSAGES];
	struct fate fate[MESSAGES];
	size_t n;
	struct idmap index;
	uint64_t acts;
	bool calm;              /* the end: everything works */
};

static uint32_t
roll(struct world *w, uint32_t n)
{
	w->seed ^= w->seed << 13;
	w->seed ^= w->seed >> 7;
	w->seed ^= w->seed << 17;
	return (uint32_t)((w->seed >> 16) % n);
}

static struct fate *
fate_of(struct world *w, struct ph_msgid id)
{
	for (size_t i = 0; i < w->n; i++)
		if (id_eq(w->id[i], id))
			return &w->fate[i];
	return NULL;            /* a report */
}

/* Where a recipient goes under the routes of the day. */
static unsigned
site_of(const struct world *w, struct ph_msgid id, uint32_t rcpt)
{
	return (unsigned)((id.hi * 31 + id.lo + rcpt * 7 + w->route_salt) >> 3) % SITES;
}

static void
new_message(struct world *w)
{
	static const char *const names[] = { "a@x.example", "b@y.example", "c@z.example", "d@q.example" };
	struct sim_mail m = { 0 };
	uint32_t nrcpts = 1 + roll(w, 4);

	for (uint32_t i = 0; i < nrcpts; i++) {
		m.to[i] = names[i];
		m.notify[i] = (uint8_t[]){ 0, 0, NOTIFY_SUCCESS | NOTIFY_FAILURE, NOTIFY_NEVER,
			NOTIFY_FAILURE | NOTIFY_DELAY }[roll(w, 5)];
	}
	if (roll(w, 10) == 0)
		m.from = "";
	m.ret = roll(w, 4) == 0 ? RET_FULL : RET_NONE;
	m.cold = roll(w, 3) == 0;
	m.size = roll(w, 20) == 0 ? 300000 : 0;
	if (roll(w, 2) == 0)
		m.site = w->site[roll(w, SITES)];
	w->id[w->n] = sim_mail(w->s, &m);
	w->fate[w->n].n = nrcpts;
	w->n++;
}

static void
route(struct world *w, struct job *j)
{
	uint32_t *v = arena_alloc(&j->arena, SITES * 4 * sizeof *v), n[SITES] = { 0 };

	for (uint32_t r = 0; r < j->env.nrcpts; r++) {
		unsigned to = site_of(w, j->id, r);

		if (sim_in_lease(j, r) && (!j->have_progress ||
		    j->progress.rcpts[r].state == RCPT_PENDING))
			v[to * 4 + n[to]++] = r;
	}
	j->groups = arena_alloc(&j->arena, SITES * sizeof *j->groups);
	for (unsigned i = 0; i < SITES; i++)
		if (n[i] > 0)
			j->groups[j->ngroups++] = (struct job_group){ site_info_ref(w->site[i]),
				&v[i * 4], n[i] };
}

static bool
all_to(const struct job *j, const struct site_info *site)
{
	return j->ngroups == 1 && site != NULL && j->groups[0].site->hash == site->hash;
}

static void
forget_groups(struct job *j)
{
	for (uint32_t i = 0; i < j->ngroups; i++)
		site_info_unref(&j->groups[i].site);
	j->ngroups = 0;
}

static void
try_recipients(struct world *w, struct job *j)
{
	struct fate *f = fate_of(w, j->id);
	uint32_t luck = w->calm ? 0 : roll(w, 10);

	for (uint32_t r = 0; r < j->env.nrcpts; r++) {
		uint32_t what = w->calm ? 0 : luck < 6 ? luck : roll(w, 8);

		if (!sim_in_lease(j, r) || (j->have_progress &&
		    j->progress.rcpts[r].state != RCPT_PENDING))
			continue;
		if (what <= 3) {
			(void)sim_rcpt(j, r, JR_DELIVERED, 250, "2.0.0 ok");
			if (f != NULL) {
				/* all results came home here, so nothing goes out twice */
				assert_false(f->rcpt[r] & W_DELIVERED);
				f->rcpt[r] |= W_DELIVERED;
			}
		} else if (what == 4) {
			(void)sim_rcpt(j, r, JR_FAILED, 550, "5.1.1 no");
			if (f != NULL)
				f->rcpt[r] |= W_FAILED;
		} else if (what < 7) {
			(void)sim_rcpt(j, r, JR_DEFERRED, 451, "4.3.0 later");
		}
	}
}

static void
answer(struct world *w, struct job *j)
{
	unsigned dead = SITES;

	if (!w->calm && roll(w, 12) == 0) {     /* a worker that is lost, or in a hurry */
		sim_return(w->s, j, JOB_RETURNED);
		return;
	}
	if (!w->calm && j->meta == NULL && roll(w, 25) == 0) {
		j->status = PH_EIO;
		sim_return(w->s, j, JOB_UNREADABLE);
		return;
	}
	sim_open(w->s, j);
	route(w, j);
	if (j->kind == JOB_ROUTE || !all_to(j, j->site)) {
		sim_return(w->s, j, JOB_ROUTED);
		return;
	}
	forget_groups(j);
	for (unsigned i = 0; i < SITES; i++)
		if (j->site->hash == w->site[i]->hash && w->down[i])
			dead = i;
	if (dead < SITES && !w->calm) {
		sim_down(w->s, j);
		return;
	}
	try_recipients(w, j);
	j->site_ok = true;
	sim_return(w->s, j, JOB_TRIED);
}

static void
act_done(void *arg, uint64_t matched)
{
	((struct world *)arg)->acts += matched;
}

static void
list_row(void *arg, const struct queue_row *r)
{
	(void)arg;
	if (r != NULL)
		assert_true(id_eq(r->id, r->id) && r->state != NULL);
}

static void
operator(struct world *w)
{
	struct queue_filter f = { .limit = 1 + roll(w, 5) };
	uint32_t what = roll(w, 8);

	if (what < 2) {
		queue_list(w->s->q, &f, roll(w, 2) == 0, list_row, w);
	} else if (what == 2) {
		/* removed by name, so that the model knows which */
		size_t i = roll(w, (uint32_t)w->n);

		f = (struct queue_filter){ .id = w->id[i], .any_id = true };
		w->fate[i].ours = true;
		queue_act(w->s->q, QUEUE_REMOVE, &f, act_done, w);
	} else {
		queue_act(w->s->q, what == 3 ? QUEUE_HOLD : what == 4 ? QUEUE_FLUSH : QUEUE_RELEASE,
		    &f, act_done, w);
	}
}

static void
restart(struct world *w)
{
	sim_stop_queue(w->s);
	w->s->mono = 1 + roll(w, 100000);
	w->s->wall += roll(w, 3) == 0 ? (int64_t)roll(w, 1000) * HOUR_MS - 500 * (int64_t)HOUR_MS : 5000;
	sim_start_queue(w->s, &w->cfg);
	sim_scan(w->s);
}

static void
step(struct world *w)
{
	struct sim *s = w->s;
	struct job *j;

	switch (roll(w, 20)) {
	case 0:
	case 1:
		if (w->n < MESSAGES)
			new_message(w);
		break;
	case 2:
		w->down[roll(w, SITES)] = roll(w, 2) == 0;
		break;
	case 3:
		(void)sim_next(s, HOUR_MS);
		break;
	case 4:
		sim_pass(s, roll(w, 4 * HOUR_MS));
		break;
	case 5:
		if (roll(w, 4) == 0)
			s->wall += (int64_t)roll(w, 200) * HOUR_MS - 100 * (int64_t)HOUR_MS;
		break;
	case 6:
		if (w->n > 0)
			operator(w);
		break;
	case 7:
		s->append_status = roll(w, 3) == 0 ? PH_ENOSPC : 0;
		break;
	case 8:
		s->read_status = roll(w, 4) == 0 ? PH_EIO : 0;
		break;
	case 9:
		if (roll(w, 10) == 0)
			restart(w);
		break;
	case 10:
		if (roll(w, 4) == 0) {
			w->route_salt += roll(w, 100);
			queue_rerouted(s->q);
		}
		break;
	case 11:
		s->hold_store = roll(w, 2) == 0;
		break;
	default:
		/* any of those that are out, not only the first */
		for (uint32_t skip = roll(w, 5); s->njobs > 1 && skip > 0; skip--) {
			struct list *l = list_pop(&s->jobs);

			list_push_back(&s->jobs, l);
		}
		if ((j = sim_take(s)) != NULL)
			answer(w, j);
		break;
	}
	sim_run(s);
}

static size_t
alive(struct world *w)
{
	size_t it = 0, n = 0;
	void *v;

	while (idmap_next(&w->s->msgs, &it, &v))
		n += !((struct sim_msg *)v)->removed;
	return n;
}

static void
come_to_an_end(struct world *w)
{
	struct sim *s = w->s;
	struct job *j;

	w->calm = true;
	s->append_status = s->read_status = 0;
	s->hold_store = false;
	for (int i = 0; i < 3000 && alive(w) > 0; i++) {
		if (i % 100 == 0)
			queue_act(s->q, QUEUE_RELEASE, &(struct queue_filter){ 0 }, act_done, w);
		sim_run(s);
		while ((j = sim_take(s)) != NULL) {
			answer(w, j);
			sim_run(s);
		}
		(void)sim_next(s, HOUR_MS);
	}
	assert_int_equal(alive(w), 0);
	assert_int_equal(sim_counts(s).messages, 0);
	assert_int_equal(sim_counts(s).active, 0);
	assert_int_equal(sim_counts(s).hot_bytes, 0);
}

static void
clear_directory(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *at;
	char path[512];

	assert_non_null(d);
	while ((at = readdir(d)) != NULL) {
		(void)snprintf(path, sizeof path, "%s/%s", dir, at->d_name);
		if (at->d_name[0] != '.')
			assert_int_equal(unlink(path), 0);
	}
	closedir(d);
	assert_int_equal(rmdir(dir), 0);        /* no temporary files either */
}

static bool
said(struct world *w, const char *event, struct ph_msgid id)
{
	char line[80], text[PH_MSGID_TEXT];

	(void)snprintf(line, sizeof line, "event=%s mid=%s ", event, id_text(id, text));
	return sim_logged(w->s, line);
}

/* Each recipient of each message met an end, and one that can be looked up:
 * the world took or refused it, or the log says what became of it. */
static void
check_ends(struct world *w)
{
	for (size_t i = 0; i < w->n; i++) {
		const struct fate *f = &w->fate[i];
		struct sim_msg *m = sim_msg(w->s, w->id[i]);
		bool late, bounced, bad;
		struct arena arena;
		struct progress p;

		assert_true(m->removed);
		if (f->ours)
			continue;
		late = said(w, "queue.expired", m->id);
		bad = said(w, "queue.badmail", m->id);
		bounced = said(w, "queue.bounced", m->id);
		arena_init(&arena, 1024);
		p = sim_progress(m, &arena);
		for (uint32_t r = 0; r < m->nrcpts; r++) {
			if ((f->rcpt[r] & W_DELIVERED) == 0)
				assert_true(late || bad || ((f->rcpt[r] & W_FAILED) && bounced));
			if (p.rcpts[r].state == RCPT_DELIVERED)
				assert_true(f->rcpt[r] & W_DELIVERED);
			if (p.rcpts[r].state == RCPT_FAILED)
				assert_true(f->rcpt[r] & W_FAILED);
		}
		arena_reset(&arena);
	}
}

/* Ids and boundaries are the seed's too, so that a failure can be seen again. */
static uint64_t random_state;

static void
seeded_random(void *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		random_state = random_state * 6364136223846793005u + 1442695040888963407u;
		((uint8_t *)p)[i] = (uint8_t)(random_state >> 56);
	}
}

static int64_t
simulated_us(void)
{
	return sim_now != NULL ? sim_now->wall * 1000 : WALL0 * 1000;
}

static void
run_world(uint64_t seed)
{
	static const struct clock simulated = { simulated_us, simulated_us };
	struct world w = { .seed = seed * 0x9E3779B97F4A7C15u + 1, .cfg = sim_config() };
	char dir[] = "/tmp/ph-model-XXXXXX";

	random_state = seed;
	id_use_random(seeded_random);
	clock_use(&simulated);
	assert_non_null(mkdtemp(dir));
	w.cfg.badmail_dir = dir;
	w.cfg.max_active = 20;
	w.cfg.messages_in_flight = 3;
	w.cfg.memory = 40000;
	for (int i = 0; i < SITES; i++) {
		char name[8] = { 's', (char)('0' + i), '\0' };

		w.site[i] = sim_site(name, 1 + i);
	}
	w.s = sim_new(&w.cfg);
	for (int i = 0; i < STEPS; i++)
		step(&w);
	come_to_an_end(&w);
	check_ends(&w);
	for (int i = 0; i < SITES; i++)
		site_info_unref(&w.site[i]);
	sim_free(w.s);
	clear_directory(dir);
}

static void
nothing_is_lost(void **state)
{
	const char *only = getenv("SEED");

	(void)state;
	if (only != NULL) {
		run_world(strtoull(only, NULL, 10));
		return;
	}
	for (uint64_t seed = 1; seed <= 12; seed++) {
		print_message("seed %d\n", (int)seed);
		run_world(seed);
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
