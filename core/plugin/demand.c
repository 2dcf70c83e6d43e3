/*
 * demand.c - what listeners ask of plugins: transport security and logins.
 *
 * `tls: required` without a plugin that can serve TLS would refuse all mail,
 * `auth: required` without a mechanism nobody can use would, too.  Both are
 * mistakes in the file, told at the listener.
 */
#include "plugin/demand.h"

#include <stdio.h>

#include "base/str.h"
#include "config/option.h"
#include "plugin/ask.h"

struct demand { const struct generation *g; struct diags *d; const struct node *item; unsigned errors; };

static void
complain(struct demand *m, enum diag_severity severity, const char *option, const char *path,
         const char *text, const char *hint)
{
	struct diag *g = diag_add(m->d, severity, option_place(m->item, option), path, "%s", text);

	diag_hint(m->d, g, "%s", hint);
	m->errors += severity == DIAG_ERROR;
}

static void
demand_tls(struct demand *m, const struct listen_settings *ls)
{
	if (ls->tls != LISTEN_TLS_REQUIRED && ls->tls != LISTEN_TLS_IMPLICIT)
		return;
	if (secure_serves(m->g))
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

/* A name in the list that nobody supplies is a slip, or left over. */
static void
demand_mechanisms(struct demand *m, const struct listen_settings *ls)
{
	const struct provided_list *l = &m->g->mechanisms;

	for (size_t i = 0; i < ls->mechanisms.n; i++) {
		bool found = false;
		char text[128];

		for (size_t k = 0; k < l->n && !found; k++) {
			const struct ph_mechanism *p = l->v[k].ops;
			found = p->side == PH_SERVER && str_iis(str_of(ls->mechanisms.v[i]), p->name);
		}
		if (found)
			continue;
		(void)snprintf(text, sizeof text, "no plugin supplies the mechanism %.32s",
		    ls->mechanisms.v[i]);
		complain(m, DIAG_WARNING, "mechanisms", "listen.mechanisms", text,
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

	if (ls->auth == LISTEN_AUTH_OFF)
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
		    "leave the list out to offer all that there are");
	else if (in_the_clear == 0 && !tls)
		complain(m, DIAG_ERROR, "auth", "listen.auth",
		    "a login is required, and every mechanism for it works inside TLS only, which this "
		    "address does not have",
		    "give the plugin tls a certificate and its key, and do not set tls: off here");
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
	return m.errors;
}
