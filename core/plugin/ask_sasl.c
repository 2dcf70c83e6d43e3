/*
 * ask_sasl.c - one SASL exchange with a mechanism: steps, waits, its end.
 *
 * The exchange is the core's; the mechanism sees it only inside step and end,
 * and holds a ticket while it waits.  end runs exactly once, also when the
 * client hangs up or the answer is late.  What was said is wiped.
 */
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "plugin/ask.h"
#include "plugin/private.h"

enum { SASL_WAIT_MS = 60 * 1000, LOGIN_MAX = 255, PROMPT_MAX = 64 };

struct sasl_note { struct ph_note note; struct ph_sasl *x; enum ph_sasl_result result; };

struct ph_sasl {
	struct worker_plugins *wp;
	const struct provided *by;
	const struct ph_mechanism *m;
	const struct facts *facts;
	const struct ph_next_hop *hop;
	bool secure;
	void (*answered)(void *arg, const struct sasl_out *o);
	void *arg;
	int (*binding)(void *arg, const char *type, uint8_t *out, size_t *len);
	void *binding_arg;
	struct buf input, output;
	bool has_input, has_output, prompts;    /* prompts: output is text, not to be encoded */
	struct ph_str remote_name;      /* client side; borrowed */
	struct ph_str offered;          /* server side; borrowed */
	uint16_t remote_port;
	char user[LOGIN_MAX + 1];       /* claimed */
	size_t user_n;
	char login[LOGIN_MAX + 1];
	size_t login_n;
	char problem[MAX_REASON + 1];
	bool waiting, woken, over;      /* over: end was called */
	enum ph_sasl_result result;     /* of a wake inside step */
	struct wait_node wait;
	struct timer timer;
	struct sasl_note *note;
	char state[] __attribute__((aligned(16)));
};

static const struct ph_addr nowhere;

/* --- what mechanisms call --- */

struct ph_str
ph_sasl_input(const struct ph_sasl *x)
{
	return x->has_input && x->input.len > 0 ? buf_view(&x->input) : STR("");
}

bool
ph_sasl_has_initial(const struct ph_sasl *x)
{
	return x->has_input;
}

static void
buf_wipe(struct buf *b)
{
	if (b->data != NULL)
		mem_wipe(b->data, b->cap);
	buf_clear(b);
}

int
ph_sasl_output(struct ph_sasl *x, struct ph_str bytes)
{
	if (bytes.n > MAX_SASL)
		return PH_ELIMIT;
	buf_wipe(&x->output);
	if (bytes.n > 0)
		buf_addstr(&x->output, bytes);
	x->has_output = true;
	x->prompts = false;
	return 0;
}

int
ph_sasl_prompt(struct ph_sasl *x, const char *text)
{
	size_t n = strnlen(text, PROMPT_MAX + 1);

	if (n > PROMPT_MAX || x->m->side != PH_SERVER)
		return PH_EINVAL;
	for (size_t i = 0; i < n; i++)
		if (text[i] < 0x20 || text[i] > 0x7E)
			return PH_EINVAL;
	if (ph_sasl_output(x, str_make(text, n)) != 0)
		return PH_ELIMIT;
	x->prompts = true;
	return 0;
}

void
ph_sasl_user(struct ph_sasl *x, struct ph_str claimed)
{
	x->user_n = claimed.n < LOGIN_MAX ? claimed.n : LOGIN_MAX;
	if (x->user_n > 0)
		memcpy(x->user, claimed.p, x->user_n);
}

int
ph_sasl_identity(struct ph_sasl *x, struct ph_str login)
{
	if (login.n == 0 || login.n > LOGIN_MAX || !str_utf8_valid(login))
		return PH_EINVAL;
	for (size_t i = 0; i < login.n; i++)
		if ((unsigned char)login.p[i] < 0x20 || login.p[i] == 0x7F)
			return PH_EINVAL;
	memcpy(x->login, login.p, login.n);
	x->login_n = login.n;
	return 0;
}

void
ph_sasl_problem(struct ph_sasl *x, const char *text)
{
	size_t n = text != NULL ? strnlen(text, MAX_REASON) : 0;

	if (n > 0)
		memcpy(x->problem, text, n);
	x->problem[n] = '\0';
}

void *
ph_sasl_data(struct ph_sasl *x)
{
	return x->m->state_size > 0 ? x->state : NULL;
}

const void *
ph_sasl_config(const struct ph_sasl *x)
{
	return x->by->inst->config;
}

struct ph_worker *
ph_sasl_worker(const struct ph_sasl *x)
{
	return worker_of(x->wp, x->by->inst);
}

void *
ph_sasl_worker_data(const struct ph_sasl *x)
{
	return ph_sasl_worker(x)->storage;
}

bool
ph_sasl_is_secure(const struct ph_sasl *x)
{
	return x->secure;
}

int
ph_sasl_binding(struct ph_sasl *x, const char *type, uint8_t *out, size_t *len)
{
	return x->binding != NULL ? x->binding(x->binding_arg, type, out, len) : PH_ENOTSUP;
}

const struct ph_addr *
ph_sasl_client_addr(const struct ph_sasl *x)
{
	return x->facts != NULL ? &x->facts->client : &nowhere;
}

const struct ph_next_hop *
ph_sasl_hop(const struct ph_sasl *x)
{
	return x->hop;
}

struct ph_str
ph_sasl_remote_name(const struct ph_sasl *x)
{
	return x->remote_name.p != NULL ? x->remote_name : STR("");
}

uint16_t
ph_sasl_remote_port(const struct ph_sasl *x)
{
	return x->remote_port;
}

struct ph_str
ph_sasl_certificate(const struct ph_sasl *x)
{
	return x->facts != NULL && x->facts->tls_peer.p != NULL ? x->facts->tls_peer : STR("");
}

static bool
word_in(const char *words, size_t n, const char *word)
{
	struct ph_str rest = str_make(words, n), w;

	while (rest.n > 0) {
		w = str_cut(rest, ' ', &rest);
		if (str_iis(w, word))
			return true;
	}
	return false;
}

bool
ph_sasl_offers(const struct ph_sasl *x, const char *mechanism)
{
	return word_in(x->offered.p, x->offered.n, mechanism);
}

struct ph_ticket
ph_sasl_ticket(struct ph_sasl *x)
{
	if (!x->woken && !x->over)
		wait_add(&x->wait, WAIT_SASL);
	return (struct ph_ticket){ x->wait.session, x->wait.serial, loop_mailbox(x->wp->loop) };
}

/* --- the exchange --- */

static void
wait_over(struct ph_sasl *x)
{
	wait_del(&x->wait);
	x->wait.serial++;
	x->waiting = x->woken = false;
}

static void
sasl_over(struct ph_sasl *x)
{
	if (x->over)
		return;
	x->over = true;
	timer_stop(x->wp->loop, &x->timer);
	if (x->note != NULL) {
		x->note->x = NULL;
		x->note = NULL;
	}
	wait_over(x);
	if (x->m->end != NULL)
		x->m->end(x);
}

/* Turns a mechanism's result into what the core acts upon. */
static void
conclude(struct ph_sasl *x, enum ph_sasl_result result, struct sasl_out *o)
{
	const char *wrong = NULL;

	if (result == PH_SASL_DONE && x->m->side == PH_SERVER && x->login_n == 0)
		wrong = "ended an exchange without an identity";
	else if ((unsigned)result > PH_SASL_TRY_LATER)
		wrong = "answered with a result that is none";
	if (wrong != NULL) {
		ask_log_failed(x->by->inst, x->m->name, wrong);
		result = PH_SASL_TRY_LATER;
	}
	*o = (struct sasl_out){ .result = result, .problem = x->problem[0] ? x->problem : NULL,
	                        .has_output = x->has_output, .prompts = x->prompts,
	                        .output = STR(""), .identity = STR(""),
	                        .user = str_make(x->user, x->user_n) };
	if (x->has_output && x->output.len > 0)
		o->output = buf_view(&x->output);
	if (result == PH_SASL_DONE)
		o->identity = str_make(x->login, x->login_n);
	else
		x->login_n = 0;
}

static void
sasl_answered(struct ph_note *note)
{
	struct sasl_note *n = (struct sasl_note *)note;
	enum ph_sasl_result result = n->result;
	struct ph_sasl *x = n->x;
	struct sasl_out o;

	free(n);
	if (x == NULL)          /* ended meanwhile */
		return;
	x->note = NULL;
	wait_over(x);
	conclude(x, result, &o);
	x->answered(x->arg, &o);        /* x may be gone now */
}

static void
sasl_post(struct ph_sasl *x)
{
	struct sasl_note *n = mem_new(struct sasl_note);

	*n = (struct sasl_note){ { NULL, sasl_answered }, x, x->result };
	x->note = n;
	loop_defer(x->wp->loop, &n->note);
}

static void
sasl_late(struct timer *t)
{
	struct ph_sasl *x = container_of(t, struct ph_sasl, timer);
	struct sasl_out o;

	ask_log_timeout(x->by->inst, x->m->name);
	sasl_over(x);
	ph_sasl_problem(x, "no answer in time");
	conclude(x, PH_SASL_TRY_LATER, &o);
	x->answered(x->arg, &o);        /* x may be gone now */
}

bool
sasl_step(struct ph_sasl *x, struct ph_str input, bool has_input, struct sasl_out *o)
{
	enum ph_sasl_result result = PH_SASL_MALFORMED;

	if (x->over) {
		conclude(x, PH_SASL_TRY_LATER, o);
		return true;
	}
	buf_wipe(&x->input);
	buf_wipe(&x->output);
	x->has_output = x->prompts = false;
	x->has_input = has_input;
	x->problem[0] = '\0';
	if (input.n <= MAX_SASL) {
		if (input.n > 0)
			buf_addstr(&x->input, input);
		result = x->m->step(x);
	}
	if (result != PH_SASL_WAIT) {
		if (x->wait.listed || x->woken)
			wait_over(x);
		conclude(x, result, o);
		return true;
	}
	x->waiting = true;
	if (x->woken) {
		sasl_post(x);
		return false;
	}
	wait_add(&x->wait, WAIT_SASL);
	x->timer.fn = sasl_late;
	timer_start(x->wp->loop, &x->timer, wait_limit(x->m->limit, SASL_WAIT_MS));
	return false;
}

int
ph_sasl_done(struct ph_ticket ticket, enum ph_sasl_result result)
{
	struct wait_node *node = wait_find(ticket, WAIT_SASL);
	struct ph_sasl *x;

	if (node == NULL)
		return PH_ESTALE;
	x = container_of(node, struct ph_sasl, wait);
	wait_del(node);
	x->woken = true;
	x->result = result;
	if (x->waiting) {
		timer_stop(x->wp->loop, &x->timer);
		sasl_post(x);
	}
	return 0;
}

/* --- who provides what --- */

static const struct provided *
mechanism_find(struct worker_plugins *wp, enum ph_side side, struct ph_str name,
               const struct ph_next_hop *hop)
{
	const struct provided_list *l = &wp->gen->mechanisms;

	for (size_t i = 0; i < l->n; i++) {
		const struct ph_mechanism *m = l->v[i].ops;

		if (m->side != side || !str_iis(name, m->name))
			continue;
		if (side == PH_CLIENT && (hop == NULL || hop->auth == NULL ||
		    strcmp(hop->auth, l->v[i].inst->name) != 0))
			continue;
		return &l->v[i];
	}
	return NULL;
}

/* What a client so connected may use. */
static bool
usable(const struct ph_mechanism *m, enum sasl_over over)
{
	return over >= SASL_OVER_CERTIFICATE ||
	    (!m->needs_certificate && (over >= SASL_OVER_TLS || (!m->cleartext && !m->needs_tls)));
}

struct ph_sasl *
sasl_begin(struct worker_plugins *wp, enum ph_side side, struct ph_str name,
           const struct facts *facts, const struct ph_next_hop *hop, bool secure,
           void (*answered)(void *arg, const struct sasl_out *o), void *arg)
{
	const struct provided *p = mechanism_find(wp, side, name, hop);
	const struct ph_mechanism *m = p != NULL ? p->ops : NULL;
	struct ph_sasl *x;

	/* A secret is never spoken in the clear, whatever the caller forgot to look at. */
	if (m == NULL || ((m->cleartext || m->needs_tls) && !secure) ||
	    (side == PH_SERVER && m->needs_certificate &&
	    (facts == NULL || facts->tls_peer.n == 0)))
		return NULL;
	x = mem_calloc(1, sizeof *x + m->state_size);
	x->wp = wp;
	x->by = p;
	x->m = m;
	x->facts = facts;
	x->hop = hop;
	x->secure = secure;
	x->answered = answered;
	x->arg = arg;
	worker_plugins_use(wp);
	return x;
}

void
sasl_set_binding(struct ph_sasl *x,
                 int (*binding)(void *arg, const char *type, uint8_t *out, size_t *len), void *arg)
{
	x->binding = binding;
	x->binding_arg = arg;
}

void
sasl_set_offered(struct ph_sasl *x, struct ph_str mechanisms)
{
	x->offered = mechanisms;
}

void
sasl_set_remote(struct ph_sasl *x, struct ph_str name, uint16_t port)
{
	x->remote_name = name;
	x->remote_port = port;
}

bool
sasl_refused(struct ph_sasl *x, int code)
{
	return x != NULL && !x->over && x->m->refused != NULL && x->m->refused(x, code);
}

void
sasl_end(struct ph_sasl **xp)
{
	struct ph_sasl *x = *xp;

	*xp = NULL;
	if (x == NULL)
		return;
	sasl_over(x);
	buf_wipe(&x->input);
	buf_wipe(&x->output);
	buf_free(&x->input);
	buf_free(&x->output);
	worker_plugins_drop(x->wp);
	mem_wipe(x, sizeof *x + x->m->state_size);
	free(x);
}

static bool
name_in(const struct ph_strings *names, const char *name)
{
	for (size_t i = 0; i < names->n; i++)
		if (str_iis(str_of(names->v[i]), name))
			return true;
	return false;
}

struct ph_str
sasl_offered(struct worker_plugins *wp, enum sasl_over over, const struct ph_strings *only,
             struct arena *arena)
{
	const struct provided_list *l = &wp->gen->mechanisms;
	struct buf out = { 0 };
	struct ph_str kept = STR("");

	for (size_t i = 0; i < l->n; i++) {
		const struct ph_mechanism *m = l->v[i].ops;

		if (m->side != PH_SERVER || !usable(m, over) ||
		    (only->n > 0 && !name_in(only, m->name)) ||
		    word_in(out.data, out.len, m->name))
			continue;
		if (out.len > 0)
			buf_addc(&out, ' ');
		buf_adds(&out, m->name);
	}
	if (out.len > 0)
		kept = arena_str(arena, buf_view(&out));
	buf_free(&out);
	return kept;
}

/* What the hop's list says goes first; without one, strength decides. */
static size_t
rank(const struct ph_next_hop *hop, const struct ph_mechanism *m)
{
	if (hop->mechanisms.n == 0)
		return m->strength >= 0 ? (size_t)m->strength + 1 : 0;
	for (size_t i = 0; i < hop->mechanisms.n; i++)
		if (str_iis(str_of(hop->mechanisms.v[i]), m->name))
			return hop->mechanisms.n - i;
	return 0;
}

struct ph_str
sasl_choose(struct worker_plugins *wp, const struct ph_next_hop *hop, struct ph_str offered,
            bool secure)
{
	const struct provided_list *l = &wp->gen->mechanisms;
	const struct ph_mechanism *best = NULL;
	size_t best_rank = 0;

	for (size_t i = 0; i < l->n && hop->auth != NULL; i++) {
		const struct ph_mechanism *m = l->v[i].ops;

		if (m->side == PH_CLIENT && (secure || (!m->cleartext && !m->needs_tls)) &&
		    strcmp(hop->auth, l->v[i].inst->name) == 0 &&
		    word_in(offered.p, offered.n, m->name) && rank(hop, m) > best_rank) {
			best = m;
			best_rank = rank(hop, m);
		}
	}
	return best != NULL ? str_of(best->name) : (struct ph_str){ NULL, 0 };
}
