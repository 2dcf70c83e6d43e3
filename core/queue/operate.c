/*
 * operate.c - what operators see and do: lists, counts, flush, hold, release,
 * remove.
 *
 * A request takes the ids that match by what is known in memory, sorted, and
 * works through them in slices, so that a list of a million messages stops
 * nothing.  Envelopes are read from the store, a few at once, rows leave in
 * order.  Every row is looked up again when its turn comes: a message that
 * has been delivered meanwhile is left out.
 */
#include <stdlib.h>

#include "base/abort.h"
#include "base/log.h"
#include "base/id.h"
#include "base/mem.h"
#include "base/str.h"
#include "queue/internal.h"

#define SLICE 1000
#define READS 16

struct op_read {
	struct ph_store_request req;
	struct op *op;
	bool busy, back;
	int status;
	struct arena arena;
	struct envelope env;
	struct progress progress;
};
struct op {
	struct list link;
	struct queue *q;
	bool act;               /* else list */
	enum queue_action action;
	bool reads, canceled;
	char *from, *to, *site;         /* patterns; NULL: any */
	struct queue_filter f;
	struct ph_msgid *ids;
	size_t n, at;           /* at: next to be shown */
	size_t asked;           /* next to be read */
	uint64_t matched;
	unsigned reading;
	void (*done)(void *arg, uint64_t matched);
	void (*row)(void *arg, const struct queue_row *r);
	void *arg;
	struct op_read read[READS];     /* of ids[i] at i % READS */
};

/* --- matching --- */

static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* '*' stands for any run; ASCII case does not matter. Linear but for the
 * last star, which is enough for one pattern against one address. */
static bool
glob(struct ph_str pattern, struct ph_str s)
{
	size_t p = 0, i = 0, star = SIZE_MAX, mark = 0;

	while (i < s.n) {
		if (p < pattern.n && pattern.p[p] == '*') {
			star = ++p;
			mark = i;
		} else if (p < pattern.n && lower(pattern.p[p]) == lower(s.p[i])) {
			p++;
			i++;
		} else if (star != SIZE_MAX) {
			p = star;
			i = ++mark;
		} else {
			return false;
		}
	}
	while (p < pattern.n && pattern.p[p] == '*')
		p++;
	return p == pattern.n;
}

/* An address, "<>" the null sender, "@domain" all of a domain, or with stars. */
bool
queue_address_fits(struct ph_str pattern, struct ph_str address)
{
	if (pattern.p == NULL)
		return true;
	if (str_is(pattern, "<>"))
		return address.n == 0;
	if (pattern.n > 0 && pattern.p[0] == '@')
		return address.n >= pattern.n &&
		    glob(pattern, str_skip(address, address.n - pattern.n));
	return glob(pattern, address);
}

static bool
site_matches(const char *pattern, const struct site *s)
{
	return s->info != NULL && (glob(str_of(pattern), str_of(s->info->name)) ||
	    glob(str_of(pattern), str_of(s->info->key)));
}

/* By what memory knows. */
static bool
entry_matches(const struct op *op, const struct entry *first)
{
	const struct queue_filter *f = &op->f;
	const struct entry *e;
	bool state = !f->held && !f->deferred && !f->active, site = op->site == NULL;

	if (f->any_id && !id_eq(f->id, first->id))
		return false;
	if (f->older_ms > 0 && op->q->now - first->born < f->older_ms)
		return false;
	for (uint32_t i = 0; (e = message_entry(first, i)) != NULL; i++) {
		site = site || site_matches(op->site, e->site);
		state = state || (f->held && e->held) || (f->active && e->state == E_ACTIVE) ||
		    (f->deferred && !e->held && (e->state == E_DEFERRED ||
		    (e->state == E_CHORE && e->node.key != DUE_READY)));
	}
	return state && site;
}

static bool
envelope_matches(const struct op *op, const struct envelope *env)
{
	bool to = op->to == NULL;

	if (!queue_address_fits(str_of(op->from), env->from.full))
		return false;
	for (uint32_t i = 0; i < env->nrcpts && !to; i++)
		to = queue_address_fits(str_of(op->to), env->rcpts[i].to.full);
	return to;
}

/* --- acting --- */

/* The flag goes to the store as a chore, so that no lease comes between the
 * reading of its progress and the writing. */
static void
set_held(struct queue *q, struct entry *e, bool held)
{
	e->held = held;
	if (!group_is_out(e))
		schedule_chore(q, e, TASK_FLAGS);
	/* one that is out is placed by its flag, and written, when it comes home */
}

static bool
act_entry(struct queue *q, enum queue_action a, struct entry *e)
{
	switch (a) {
	case QUEUE_FLUSH:
		if (e->held)
			return false;
		if (e->state == E_DEFERRED)
			schedule_ready(q, e, false);
		else if (e->state == E_CHORE)
			e->node.key = DUE_READY;
		site_probe_now(q, e->site);
		return true;
	case QUEUE_HOLD:
		if (e->held)
			return false;
		set_held(q, e, true);
		return true;
	case QUEUE_RELEASE:
		if (!e->held)
			return false;
		set_held(q, e, false);
		return true;
	case QUEUE_REMOVE:
		break;
	}
	return true;
}

static bool
act_message(struct queue *q, enum queue_action a, struct entry *first)
{
	bool any = false;
	struct entry *e;

	if (a == QUEUE_REMOVE) {
		if (first->kill)
			return false;
		log_event(PH_INFO, NULL, "queue.discarded", LOG_ID("mid", first->id),
		    LOG_C("by", "operator"));
		group_message_gone(q, first, true);
		return true;
	}
	for (uint32_t i = 0; (e = message_entry(first, i)) != NULL; i++)
		any = act_entry(q, a, e) || any;
	return any;
}

/* --- rows --- */

static const char *
state_of(const struct entry *e)
{
	if (e->held)
		return "held";
	switch (e->state) {
	case E_ACTIVE:
		return "active";
	case E_READY:
		return e->site->suspended ? "suspended" : "waiting";
	case E_CHORE:
		return e->node.key != DUE_READY ? "deferred" : "waiting";
	default:
		return "deferred";
	}
}

/* Of several groups the one that keeps the message longest is shown. */
static unsigned
weight(const struct entry *e)
{
	if (e->held)
		return 5;
	if (e->site->suspended && e->state == E_READY)
		return 4;
	return e->state == E_DEFERRED ? 3 : e->state == E_ACTIVE ? 1 : 2;
}

static void
show(struct op *op, const struct entry *first, const struct op_read *rd)
{
	const struct queue *q = op->q;
	const struct entry *e, *best = first;
	struct queue_row row;
	int64_t due = INT64_MAX;

	for (uint32_t i = 0; (e = message_entry(first, i)) != NULL; i++) {
		int64_t at = e->state == E_READY && e->site->suspended ?
		    e->site->probe_at : schedule_due(q, e);

		if (weight(e) > weight(best))
			best = e;
		if (!e->held && at < due)
			due = at;
	}
	row = (struct queue_row){
		.id = first->id,
		.summary = group_summary(q, first),
		.state = state_of(best),
		.site = best->site->info != NULL ? best->site->info->name : NULL,
		.site_state = best->site->info != NULL ? site_state(best->site) : NULL,
		.site_why = best->site->suspended ? best->site->why : NULL,
		.site_probe = best->site->suspended ? retry_wall(q, best->site->probe_at) : 0,
		.next_attempt = due <= q->now || due == INT64_MAX ? 0 : retry_wall(q, due),
		.env = rd != NULL ? &rd->env : NULL,
		.progress = rd != NULL ? &rd->progress : NULL,
	};
	op->row(op->arg, &row);
}

/* --- working through --- */

static bool
enough(const struct op *op)
{
	return op->canceled || op->at >= op->n || (op->f.limit > 0 && op->matched >= op->f.limit);
}

/* One message whose turn it is; rd: its envelope when that was asked for. */
static void
take(struct op *op, const struct op_read *rd)
{
	struct entry *e = idmap_get(&op->q->ids, op->ids[op->at++]);

	if (e == NULL || (rd != NULL && rd->status != 0) || !entry_matches(op, e))
		return;
	if (rd != NULL && !envelope_matches(op, &rd->env))
		return;
	if (op->act) {
		op->matched += act_message(op->q, op->action, e);
	} else {
		op->matched++;
		show(op, e, rd);
	}
}

static void
op_read_now(struct ph_note *note)
{
	struct ph_store_request *r = container_of(note, struct ph_store_request, note);
	struct op_read *rd = r->arg;
	struct op *op = rd->op;
	const struct entry *e = idmap_get(&op->q->ids, r->id);
	const struct split *sp = e != NULL ? entry_split(e) : NULL;

	rd->status = r->status;
	if (r->status == 0) {
		ph_content_unref(&r->content);
		envelope_init(&rd->env, &rd->arena);
		rd->status = envelope_decode(r->meta, &rd->arena, &rd->env);
		if (rd->status == 0)
			rd->status = progress_decode(sp != NULL && sp->nrcpts == rd->env.nrcpts ?
			    buf_view(&sp->progress) : r->progress, rd->env.nrcpts, &rd->arena,
			    &rd->progress);
	}
	ph_store_release(r);
	rd->back = true;
	op->reading--;
}

static void
op_read_done(struct ph_store_request *r)
{
	queue_later(((struct op_read *)r->arg)->op->q, &r->note, op_read_now);
}

static void
ask(struct op *op)
{
	while (!op->canceled && op->asked < op->n && op->asked < op->at + READS) {
		struct op_read *rd = &op->read[op->asked % READS];

		arena_reset(&rd->arena);
		arena_init(&rd->arena, 2048);
		rd->op = op;
		rd->busy = true;
		rd->back = false;
		rd->req = (struct ph_store_request){ .op = PH_STORE_READ, .id = op->ids[op->asked],
			.home = op->q->mailbox, .done = op_read_done, .arg = rd };
		op->asked++;
		op->reading++;
		op->q->ops->submit(op->q->arg, &rd->req);
	}
}

static void
op_free(struct op *op)
{
	for (unsigned i = 0; i < READS; i++)
		arena_reset(&op->read[i].arena);
	list_del(&op->link);
	free(op->from);
	free(op->to);
	free(op->site);
	free(op->ids);
	free(op);
}

/* False when it is finished and freed. */
static bool
step(struct op *op)
{
	for (unsigned i = 0; i < SLICE && !enough(op); i++) {
		if (op->reads) {
			struct op_read *rd = &op->read[op->at % READS];

			ask(op);
			if (!rd->back)
				return true;
			rd->back = false;
			take(op, rd);
		} else {
			take(op, NULL);
		}
	}
	if (!enough(op)) {
		op->q->more = true;
		return true;
	}
	if (op->reading > 0)    /* answers that nobody needs must still come */
		return true;
	if (!op->canceled && op->act)
		op->done(op->arg, op->matched);
	else if (!op->canceled)
		op->row(op->arg, NULL);
	op_free(op);
	return false;
}

void
operate_run(struct queue *q)
{
	list_each_safe(l, &q->operations)
		(void)step(container_of(l, struct op, link));
}

void
operate_free(struct queue *q)
{
	list_each_safe(l, &q->operations)
		op_free(container_of(l, struct op, link));
}

static int
id_order(const void *a, const void *b)
{
	const struct ph_msgid *x = a, *y = b;

	if (x->hi != y->hi)
		return x->hi < y->hi ? -1 : 1;
	return x->lo < y->lo ? -1 : x->lo > y->lo;
}

static void
collect(struct op *op)
{
	struct queue *q = op->q;
	size_t it = 0, cap = 0;
	void *v;

	if (op->f.any_id) {
		op->ids = mem_alloc(sizeof *op->ids);
		if (idmap_get(&q->ids, op->f.id) != NULL)
			op->ids[op->n++] = op->f.id;
		return;
	}
	while (idmap_next(&q->ids, &it, &v)) {
		struct entry *e = v;

		if (!entry_matches(op, e))
			continue;
		if (op->n == cap) {
			cap = cap > 0 ? cap * 2 : 64;
			op->ids = mem_realloc(op->ids, cap * sizeof *op->ids);
		}
		op->ids[op->n++] = e->id;
	}
	if (op->n > 1)
		qsort(op->ids, op->n, sizeof *op->ids, id_order);
}

static struct op *
op_new(struct queue *q, const struct queue_filter *f, void *arg)
{
	struct op *op = mem_new(struct op);

	op->q = q;
	op->f = *f;
	op->arg = arg;
	op->from = f->from.n > 0 ? mem_strndup(f->from.p, f->from.n) : NULL;
	op->to = f->to.n > 0 ? mem_strndup(f->to.p, f->to.n) : NULL;
	op->site = f->site.n > 0 ? mem_strndup(f->site.p, f->site.n) : NULL;
	op->reads = op->from != NULL || op->to != NULL;
	for (unsigned i = 0; i < READS; i++)
		arena_init(&op->read[i].arena, 2048);
	collect(op);
	list_push_back(&q->operations, &op->link);
	q->more = true;
	return op;
}

void
queue_act(struct queue *q, enum queue_action a, const struct queue_filter *f,
          void (*done)(void *arg, uint64_t matched), void *arg)
{
	struct op *op = op_new(q, f, arg);

	op->act = true;
	op->action = a;
	op->done = done;
}

void
queue_list(struct queue *q, const struct queue_filter *f, bool envelopes,
           void (*row)(void *arg, const struct queue_row *r), void *arg)
{
	struct op *op = op_new(q, f, arg);

	op->row = row;
	op->reads = op->reads || envelopes;
}

void
queue_cancel(struct queue *q, void *arg)
{
	list_each(l, &q->operations) {
		struct op *op = container_of(l, struct op, link);

		if (op->arg == arg)
			op->canceled = true;
	}
	q->more = true;
}
