/*
 * check_plan.c - which next hops are there?  Only routers know, and they
 * answer for recipients; so they are asked for --to, or for made-up
 * recipients of the domains that stand in the options of the routers, and of
 * some that stand nowhere.
 */
#include <stdlib.h>

#include "base/str.h"
#include "cmd/check.h"

enum { RCPTS_MOST = 1000 };

/* A domain that no option can name: what serves it serves all. */
#define NOBODYS_DOMAIN "example.com"

static bool
add_rcpt(struct check *c, const char *address, bool made_up)
{
	const char *why = NULL;
	struct recipient *r;

	if (c->env.nrcpts >= RCPTS_MOST)
		return false;
	for (uint32_t i = 0; i < c->env.nrcpts; i++)
		if (str_ieq(c->env.rcpts[i].to.full, str_of(address)))
			return true;
	r = envelope_add(&c->env);
	if (address_parse(str_of(address), &c->arena, &r->to, &why) != 0) {
		c->env.nrcpts--;
		return false;
	}
	c->made_up[c->env.nrcpts - 1] = made_up;
	return true;
}

static void
add_domain(struct check *c, struct ph_str pattern)
{
	if (pattern.n > 0 && pattern.p[0] == '*')
		pattern = str_skip(pattern, 1);
	if (pattern.n == 0)
		return;
	(void)add_rcpt(c, arena_printf(&c->arena, "postmaster@%s" STR_FMT,
	    pattern.p[0] == '.' ? "check" : "", STR_ARG(pattern)), true);
}

/* Routers share recipients out by an option of this name; one that does it otherwise is
 * tried with --to. */
static void
add_domains_of(struct check *c, const struct instance *inst)
{
	const struct node *list = inst->entry->options != NULL
	                          ? node_get(inst->entry->options, "domains") : NULL;

	if (list == NULL)
		return;
	if (list->kind == NODE_SCALAR)
		add_domain(c, list->text);
	for (const struct node *n = list->first; n != NULL; n = n->next)
		if (n->kind == NODE_SCALAR)
			add_domain(c, n->text);
}

/* In order of how likely the address is to exist. */
static void
make_up(struct check *c)
{
	const char *dot = strchr(c->set->hostname, '.');

	for (size_t i = 0; i < c->gen->routers.n; i++)
		add_domains_of(c, c->gen->routers.v[i].inst);
	if (dot != NULL && strchr(dot + 1, '.') != NULL)
		add_domain(c, str_of(dot + 1));
	add_domain(c, str_of(NOBODYS_DOMAIN));
}

/* --- answers --- */

/* Microsoft 365 and Gmail take the sender's own address only. */
static const char *
sender_for(struct check *c, const struct ph_next_hop *hop)
{
	if (c->o->from == NULL && hop->login != NULL && strchr(hop->login, '@') != NULL)
		return hop->login;
	return arena_printf(&c->arena, STR_FMT, STR_ARG(c->env.from.full));
}

static void
add_hop(struct check *c, const struct ph_next_hop *hop, uint32_t rcpt)
{
	for (size_t i = 0; i < c->nhops; i++)
		if (c->hops[i].hop == hop)
			return;
	if (c->nhops == CHECK_HOPS)
		return;
	c->hops[c->nhops++] = (struct check_hop){
		.hop = hop, .from = sender_for(c, hop), .made_up = c->made_up[rcpt],
		.to = arena_printf(&c->arena, STR_FMT, STR_ARG(c->env.rcpts[rcpt].to.full)),
	};
}

static void
tell_no_route(struct check *c, uint32_t rcpt)
{
	const struct route_answer *v = &c->answers[rcpt];
	struct ph_str why = v->text.n > 0 ? v->text : STR("no route");
	bool fail = v->kind == ROUTE_FAIL;

	check_step(c, "route", CHECK_FAIL, fail ? EX_UNAVAILABLE : EX_CONFIG, -1,
	    fail ? NULL : "add an instance of smarthost that serves this domain, or one without "
	    "domains for all the rest",
	    STR_FMT ": " STR_FMT, STR_ARG(c->env.rcpts[rcpt].to.full), STR_ARG(why));
}

static void
planned(struct check *c, void (*done)(struct check *c))
{
	for (uint32_t i = 0; i < c->env.nrcpts; i++)
		if (c->answers[i].kind == ROUTE_HOP)
			add_hop(c, c->answers[i].hop, i);
	/* A domain of nobody's need not have a route; what was asked for must. */
	for (uint32_t i = 0; i < c->env.nrcpts; i++)
		if (c->answers[i].kind != ROUTE_HOP && (c->nhops == 0 || c->o->to != NULL)) {
			tell_no_route(c, i);
			break;
		}
	done(c);
}

struct waiting { struct check *c; void (*done)(struct check *c); };

static void
answered_later(void *arg)
{
	struct waiting *w = arg;

	w->c->question = NULL;
	planned(w->c, w->done);
}

void
check_plan(struct check *c, void (*done)(struct check *c))
{
	struct waiting *w = arena_new(&c->arena, struct waiting);
	const char *why = NULL, *from = c->o->from;
	uint32_t *which;
	bool answered;

	*w = (struct waiting){ c, done };
	envelope_init(&c->env, &c->arena);
	c->made_up = arena_alloc(&c->arena, RCPTS_MOST * sizeof *c->made_up);
	if (from == NULL)
		from = arena_printf(&c->arena, "postmaster@%s", c->set->hostname);
	if (from[0] != '\0' && address_parse(str_of(from), &c->arena, &c->env.from, &why) != 0)
		check_step(c, "route", CHECK_FAIL, EX_CONFIG, -1,
		    "give one with --from, or set hostname: to the relay's full name",
		    "%s is no sender's address", from);
	else if (c->gen->routers.n == 0)
		check_step(c, "route", CHECK_FAIL, EX_CONFIG, -1,
		    "add smarthost with its hosts to plugins:", "no plugin routes mail");
	else if (c->o->to != NULL && !add_rcpt(c, c->o->to, false))
		check_step(c, "route", CHECK_FAIL, EX_USAGE, -1, "write it as user@example.com",
		    "--to: %s is no address", c->o->to);
	if (c->failures > 0) {
		done(c);
		return;
	}
	if (c->o->to == NULL)
		make_up(c);
	c->answers = arena_alloc(&c->arena, (c->env.nrcpts + 1) * sizeof *c->answers);
	which = arena_alloc(&c->arena, (c->env.nrcpts + 1) * sizeof *which);
	for (uint32_t i = 0; i < c->env.nrcpts; i++)
		which[i] = i;
	c->question = route_ask(c->wp, &c->env, which, c->env.nrcpts, &c->arena, c->answers,
	    answered_later, w, &answered);
	if (answered) {
		c->question = NULL;
		planned(c, done);
	}
}
