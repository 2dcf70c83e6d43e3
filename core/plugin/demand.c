/*
 * demand.c - what listeners and routers ask of plugins: transport security and logins.
 *
 * `tls: required` without a plugin that can serve TLS would refuse all mail,
 * `auth: required` without a mechanism nobody can use would, too.  Both are
 * mistakes in the file, told at the listener; what a next hop wants and nobody supplies is told
 * at its router.  What an instance that has mistakes of its own might have supplied is not missed.
 */
#include "plugin/demand.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "config/option.h"
#include "plugin/ask.h"
#include "plugin/private.h"

struct demand { const struct generation *g; struct diags *d; const struct node *item; unsigned errors; };

static void
complain(struct demand *m, enum diag_severity severity, const char *option, const char *path,
         const char *text, const char *hint)
{
	struct diag *g = diag_add(m->d, severity, option_place(m->item, option), path, "%s", text);

	diag_hint(m->d, g, "%s", hint);
	m->errors += severity == DIAG_ERROR;
}

/* Would that be there, were it not for mistakes told already? */
static bool
held_back(const struct generation *g, unsigned flag)
{
	for (size_t i = 0; i < g->ninstances; i++)
		if (g->instances[i].wrong > 0 && (g->instances[i].plugin == NULL ||
		    (g->instances[i].plugin->flags & flag) != 0))
			return true;
	return false;
}

static void
demand_tls(struct demand *m, const struct listen_settings *ls)
{
	if (ls->tls != LISTEN_TLS_REQUIRED && ls->tls != LISTEN_TLS_IMPLICIT)
		return;
	if (secure_serves(m->g) || held_back(m->g, PH_SUPPLIES_TLS))
		return;
	complain(m, DIAG_ERROR, "tls", "listen.tls", m->g->secures.n > 0
	    ? "TLS is required, and the plugin for it has no certificate"
	    : "TLS is required, and no plugin supplies it", m->g->secures.n > 0
	    ? "give the plugin tls a certificate and its key"
	    : "add the plugin tls with a certificate and its key");
}

static bool
listed(const struct ph_strings *names, const char *name)
{
	for (size_t i = 0; i < names->n; i++)
		if (str_iis(str_of(names->v[i]), name))
			return true;
	return names->n == 0;
}

/* Who supplies that mechanism on that side; inst: only that one, unless NULL. */
static const struct provided *
supplier(const struct generation *g, enum ph_side side, const char *name,
         const struct instance *inst)
{
	const struct provided_list *l = &g->mechanisms;

	for (size_t i = 0; i < l->n; i++) {
		const struct ph_mechanism *p = l->v[i].ops;

		if (p->side == side && str_iis(str_of(name), p->name) &&
		    (inst == NULL || inst == l->v[i].inst))
			return &l->v[i];
	}
	return NULL;
}

/* What an admin sets at that plugin to let clients in by it; the pages of others tell. */
static const char *
letting_in(const char *plugin)
{
	static const struct { const char *plugin, *hint; } ours[] = {
		{ "auth-basic", "set its users" }, { "auth-oauth2", "set its server" },
		{ "auth-windows", "set its server: yes" },
	};

	for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
		if (strcmp(ours[i].plugin, plugin) == 0)
			return ours[i].hint;
	return "see its page";
}

/* Why a mechanism may be missing although its plugin is there: it logs in at smart hosts alone. */
static const char *
one_sided(struct demand *m, const struct ph_strings *names)
{
	for (size_t i = 0; i < names->n; i++) {
		const struct provided *p = supplier(m->g, PH_CLIENT, names->v[i], NULL);

		if (p != NULL && supplier(m->g, PH_SERVER, names->v[i], NULL) == NULL)
			return arena_printf(&m->d->arena, "%s supplies %s towards smart hosts only; to "
			    "let clients in by it, %s", p->inst->name, names->v[i],
			    letting_in(p->inst->plugin->name));
	}
	return NULL;
}

/* A name in the list that nobody supplies is a slip, or left over. */
static void
demand_mechanisms(struct demand *m, const struct listen_settings *ls)
{
	for (size_t i = 0; i < ls->mechanisms.n; i++) {
		const char *name = ls->mechanisms.v[i], *hint;
		const struct ph_strings one = { &ls->mechanisms.v[i], 1 };
		char text[128];

		if (supplier(m->g, PH_SERVER, name, NULL) != NULL)
			continue;
		hint = one_sided(m, &one);
		(void)snprintf(text, sizeof text, "no plugin supplies the mechanism %.32s", name);
		complain(m, DIAG_WARNING, "mechanisms", "listen.mechanisms", text, hint != NULL ? hint :
		    "auth-basic, auth-windows and auth-oauth2 each supply some; `posthouse plugins` "
		    "shows which");
	}
}

static void
demand_auth(struct demand *m, const struct listen_settings *ls)
{
	const struct provided_list *l = &m->g->mechanisms;
	bool tls = ls->tls != LISTEN_TLS_OFF && secure_serves(m->g);
	size_t any = 0, allowed = 0, in_the_clear = 0;
	const char *hint;

	if (ls->auth == LISTEN_AUTH_OFF || held_back(m->g, PH_SUPPLIES_LOGINS))
		return;
	if (ls->mechanisms.n > 0)
		demand_mechanisms(m, ls);
	for (size_t i = 0; i < l->n; i++) {
		const struct ph_mechanism *p = l->v[i].ops;

		if (p->side != PH_SERVER)
			continue;
		any++;
		if (!listed(&ls->mechanisms, p->name))
			continue;
		allowed++;
		in_the_clear += !p->cleartext && !p->needs_tls && !p->needs_certificate;
	}
	if (ls->auth != LISTEN_AUTH_REQUIRED)
		return;
	if (any == 0)
		complain(m, DIAG_ERROR, "auth", "listen.auth",
		    "a login is required, and no plugin supplies a mechanism",
		    "add auth-basic, auth-windows or auth-oauth2");
	else if (allowed == 0)
		complain(m, DIAG_ERROR, "mechanisms", "listen.mechanisms",
		    "a login is required, and no plugin supplies any of these",
		    (hint = one_sided(m, &ls->mechanisms)) != NULL ? hint :
		    "leave the list out to offer all that there are");
	else if (in_the_clear == 0 && !tls && !held_back(m->g, PH_SUPPLIES_TLS))
		complain(m, DIAG_ERROR, "auth", "listen.auth",
		    "a login is required, and every mechanism for it works inside TLS only, which this "
		    "address does not have",
		    "give the plugin tls a certificate and its key, and do not set tls: off here");
}

/* --- routers --- */

/* "PLAIN, LOGIN": what inst can log in with. */
static const char *
names_of(struct demand *m, const struct instance *inst)
{
	const struct provided_list *l = &m->g->mechanisms;
	const char *all = "";

	for (size_t i = 0; i < l->n; i++) {
		const struct ph_mechanism *p = l->v[i].ops;

		if (p->side == PH_CLIENT && l->v[i].inst == inst)
			all = arena_printf(&m->d->arena, "%s%s%s", all, *all != '\0' ? ", " : "", p->name);
	}
	return all;
}

static void
demand_hop_mechanisms(struct demand *m, struct ph_setup *s, const struct ph_next_hop *hop,
                      const struct instance *by)
{
	const char *all = names_of(m, by);
	size_t found = 0;

	for (size_t i = 0; i < hop->mechanisms.n; i++)
		found += supplier(m->g, PH_CLIENT, hop->mechanisms.v[i], by) != NULL;
	for (size_t i = 0; i < hop->mechanisms.n; i++) {
		if (supplier(m->g, PH_CLIENT, hop->mechanisms.v[i], by) != NULL)
			continue;
		if (found > 0)
			ph_warn(s, "mechanisms", "%s does not log in with %.32s\nit supplies %s", by->name,
			    hop->mechanisms.v[i], all);
		else
			ph_complain(s, "mechanisms", "%s does not log in with %.32s\nit supplies %s; "
			    "without the list the strongest that the host offers is taken", by->name,
			    hop->mechanisms.v[i], all);
	}
}

/* A login that could never be tried is told before mail waits for it. */
static void
demand_hop_login(struct demand *m, struct ph_setup *s, const struct ph_next_hop *hop)
{
	const struct instance *by = hop->auth != NULL ? generation_instance(m->g, hop->auth) : NULL;
	const struct provided_list *l = &m->g->mechanisms;
	size_t any = 0, listed_ones = 0, clear = 0;

	if (hop->auth != NULL && by == NULL)
		ph_complain(s, "auth", "there is no instance %s", hop->auth);
	if (by == NULL || by->wrong > 0)        /* the latter is told already */
		return;
	for (size_t i = 0; i < l->n; i++) {
		const struct ph_mechanism *p = l->v[i].ops;

		if (p->side != PH_CLIENT || l->v[i].inst != by)
			continue;
		any++;
		if (!listed(&hop->mechanisms, p->name))
			continue;
		listed_ones++;
		clear += !p->cleartext && !p->needs_tls;
	}
	if (any == 0) {
		ph_complain(s, "auth", "%s supplies nothing to log in with at a smart host\n"
		    "its options for that are not set; `posthouse plugins` shows what each instance "
		    "supplies", by->name);
		return;
	}
	demand_hop_mechanisms(m, s, hop, by);
	if (listed_ones > 0 && clear == 0 && hop->tls == PH_TLS_OFF && !hop->tls_implicit)
		ph_complain(s, "tls", "is off, and %s works inside TLS only\nwrite tls: verify",
		    listed_ones == 1 && hop->mechanisms.n == 1 ? hop->mechanisms.v[0]
		    : "each mechanism for the login");
}

static void
demand_no_tls(struct demand *m, struct ph_setup *s, const struct ph_next_hop *hop)
{
	if ((hop->tls < PH_TLS_REQUIRED && !hop->tls_implicit) || held_back(m->g, PH_SUPPLIES_TLS))
		return;
	if (hop->tls_provider != NULL)
		ph_complain(s, "tls", "is needed, and %s does not supply it\nname an instance of the "
		    "plugin tls", hop->tls_provider);
	else if (m->g->secures.n == 0)
		ph_complain(s, "tls", "is needed, and no plugin supplies it\nadd the plugin tls");
	else
		ph_complain(s, "tls", "is needed, and several instances supply it\nname one of them");
}

/* The same that is asked when a connection is made: of that name, or the only one. */
static void
demand_hop_tls(struct demand *m, struct ph_setup *s, const struct ph_next_hop *hop)
{
	const struct provided_list *l = &m->g->secures;
	const struct provided *by = NULL;
	const struct ph_secure *ops;

	if (hop->tls == PH_TLS_OFF && !hop->tls_implicit)
		return;
	for (size_t i = 0; i < l->n && by == NULL; i++)
		if (hop->tls_provider != NULL ? strcmp(hop->tls_provider, l->v[i].inst->name) == 0
		    : l->n == 1)
			by = &l->v[i];
	if (by == NULL) {
		demand_no_tls(m, s, hop);
		return;
	}
	ops = by->ops;
	/* one whose setup failed behind it has nothing left to look at */
	if (by->inst->wrong == 0 && ops->check != NULL)
		ops->check(s, by->inst->config, hop);
}

static bool
certificates_asked(const struct generation *g)
{
	for (size_t i = 0; i < g->secures.n; i++)
		if (((const struct ph_secure *)g->secures.v[i].ops)->asks_certificates)
			return true;
	return false;
}

static unsigned
demand_of_instances(struct demand *m)
{
	unsigned errors = 0;

	for (size_t i = 0; i < m->g->expected.n; i++) {
		const struct expected *e = &m->g->expected.v[i];
		struct ph_setup s = { (struct generation *)m->g, e->inst, SETUP_CHECK, m->d, 0 };

		if (e->inst->wrong > 0)
			continue;
		if (e->hop != NULL) {
			demand_hop_login(m, &s, e->hop);
			demand_hop_tls(m, &s, e->hop);
		} else if (!certificates_asked(m->g) && !held_back(m->g, PH_SUPPLIES_TLS)) {
			ph_warn(&s, e->option, "clients are not asked for certificates\nset "
			    "client-certificates: request, and client-ca-file, at the plugin tls");
		}
		errors += s.errors;
	}
	return errors;
}

unsigned
demand_check(const struct generation *g, struct diags *d)
{
	const struct ph_sections *listen = &g->config->settings.listen;
	const struct listen_settings *v = listen->v;
	const struct node *list = node_get(g->config->root, "listen");
	struct demand m = { g, d, NULL, 0 };

	m.item = list != NULL && list->kind == NODE_LIST ? list->first : list;
	for (size_t i = 0; i < listen->n; i++) {
		demand_tls(&m, &v[i]);
		demand_auth(&m, &v[i]);
		m.item = m.item != NULL ? m.item->next : NULL;
	}
	return m.errors + demand_of_instances(&m);
}
