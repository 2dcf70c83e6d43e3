/*
 * api_setup.c - what plugins call in check and setup: their configuration,
 * complaints with a place, registering for hooks.  Providers: ask_*.c and
 * providers.c.
 */
#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "plugin/instance.h"
#include "plugin/private.h"

static const struct { const char *name; bool decides; } hooks[PH_HOOK_COUNT] = {
#define DECIDE true
#define OBSERVE false
#define PH_HOOK(upper, lower, kind, doc) [PH_HOOK_##upper] = { #lower, kind },
#include <posthouse/hooks.def>
#undef PH_HOOK
#undef DECIDE
#undef OBSERVE
};

const char *
hook_name(enum ph_hook hook)
{
	return (unsigned)hook < PH_HOOK_COUNT ? hooks[hook].name : "scope";
}

bool
hook_decides(enum ph_hook hook)
{
	return hooks[hook].decides;
}

void *
ph_setup_config(struct ph_setup *setup)
{
	return setup->inst->config;
}

const char *
ph_setup_instance(const struct ph_setup *setup)
{
	return setup->inst->name;
}

const char *
ph_setup_plugin_of(const struct ph_setup *setup, const char *instance)
{
	const struct instance *inst = generation_instance(setup->gen, instance);

	return inst != NULL && inst->plugin != NULL ? inst->plugin->name : NULL;
}

const char *
ph_setup_listener(const struct ph_setup *setup, size_t index)
{
	const struct ph_sections *listen = &setup->gen->config->settings.listen;

	return index < listen->n ? ((const struct listen_settings *)listen->v)[index].address : NULL;
}

void
instance_state_dir(const struct settings *set, const char *instance, char *out, size_t n)
{
	snprintf(out, n, "%s/state/%s", set->spool, instance);
}

/* It belongs to whom the daemon will run as, like the spool, which may be made here. */
static int
state_dir_make(const struct settings *set, const char *dir)
{
	const struct passwd *pw = geteuid() == 0 && set->user != NULL ? getpwnam(set->user) : NULL;
	bool spool_made = access(set->spool, F_OK) != 0;
	int rc = fs_mkdirs(dir, 0700);

	if (rc == 0 && pw != NULL) {
		const char *slash = strrchr(dir, '/');
		char *parent = mem_strndup(dir, (size_t)(slash - dir));

		if (chown(parent, pw->pw_uid, pw->pw_gid) != 0 ||
		    chown(dir, pw->pw_uid, pw->pw_gid) != 0 ||
		    (spool_made && access(set->spool, F_OK) == 0 &&
		     chown(set->spool, pw->pw_uid, pw->pw_gid) != 0))
			rc = -errno;
		free(parent);
	}
	return rc;
}

const char *
ph_setup_state_dir(struct ph_setup *setup)
{
	const struct settings *set = &setup->gen->config->settings;
	char dir[PATH_MAX];
	int rc;

	if (setup->phase != SETUP_SETUP) {
		setup_complain(setup, NULL, "asks for its state directory outside setup");
		return NULL;
	}
	instance_state_dir(set, setup->inst->name, dir, sizeof dir);
	rc = setup->gen->rehearsal ? 0 : state_dir_make(set, dir);
	if (setup->gen->trial_dir != NULL && (rc != 0 || access(dir, R_OK | W_OK | X_OK) != 0)) {
		snprintf(dir, sizeof dir, "%s/%s", setup->gen->trial_dir, setup->inst->name);
		rc = state_dir_make(set, dir);
	}
	if (rc != 0) {
		setup_complain(setup, NULL, "cannot make %s: %s", dir, strerror(-rc));
		return NULL;
	}
	return arena_strndup(&setup->gen->config->arena, dir, strlen(dir));
}

static void complain_v(struct ph_setup *s, enum diag_severity sev, const char *option,
                       const char *fmt, va_list ap) PH_PRINTF(4, 0);

static void
complain_v(struct ph_setup *s, enum diag_severity sev, const char *option, const char *fmt,
           va_list ap)
{
	const struct plugin_entry *e = s->inst->entry;
	struct diag_place place = e->place;
	char text[1024], *hint;
	struct diag *g;

	(void)vsnprintf(text, sizeof text, fmt, ap);    /* a longer text is cut */
	if (sev == DIAG_ERROR)
		s->errors++;
	if (s->d == NULL) {
		log_event(PH_WARN, NULL, "plugin.log", LOG_C("plugin", s->inst->name),
		    LOG_C("hook", "teardown"), LOG_C("text", text));
		return;
	}
	if (option != NULL && e->options != NULL)
		place = option_place(e->options, option);
	/* the line end of fmt, which is the last; what is quoted may have some of its own */
	hint = strchr(fmt, '\n') != NULL ? strrchr(text, '\n') : NULL;
	if (hint != NULL)
		*hint++ = '\0';
	g = diag_add(s->d, sev, place, arena_printf(&s->d->arena, "plugins.%s%s%s", s->inst->name,
	    option != NULL ? "." : "", option != NULL ? option : ""), "%s", text);
	if (hint != NULL)
		diag_hint(s->d, g, "%s", hint);
}

void
setup_complain(struct ph_setup *s, const char *option, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	complain_v(s, DIAG_ERROR, option, fmt, ap);
	va_end(ap);
}

void
ph_complain(struct ph_setup *setup, const char *option, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	complain_v(setup, DIAG_ERROR, option, fmt, ap);
	va_end(ap);
}

void
ph_warn(struct ph_setup *setup, const char *option, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	complain_v(setup, DIAG_WARNING, option, fmt, ap);
	va_end(ap);
}

/* Why a registration is refused; NULL when it is not. */
static int
hook_add(struct ph_setup *s, enum ph_hook hook, bool decides, struct hook_entry e)
{
	struct hook_list *l;

	if ((unsigned)hook >= PH_HOOK_COUNT) {
		setup_complain(s, NULL, "registers for hook number %d, which does not exist",
		    (int)hook);
		return PH_EINVAL;
	}
	if (s->phase != SETUP_SETUP) {
		setup_complain(s, NULL, "registers for hook %s outside setup", hook_name(hook));
		return PH_EINVAL;
	}
	if (hook_decides(hook) != decides) {
		setup_complain(s, NULL, "registers for hook %s with %s; it is one to %s, which "
		    "takes %s", hook_name(hook), decides ? "ph_on_decide" : "ph_on_observe",
		    decides ? "observe" : "decide", decides ? "ph_on_observe" : "ph_on_decide");
		return PH_EINVAL;
	}
	l = &s->gen->hooks[hook];
	if ((e.decide == NULL && e.observe == NULL) || l->n >= MAX_HOOK_ENTRIES) {
		setup_complain(s, NULL, "registers for hook %s %s", hook_name(hook),
		    l->n >= MAX_HOOK_ENTRIES ? "too often" : "without a function");
		return PH_EINVAL;
	}
	l->v = mem_realloc(l->v, (l->n + 1) * sizeof *l->v);
	l->v[l->n++] = e;
	return 0;
}

int
ph_on_decide(struct ph_setup *setup, enum ph_hook hook, ph_decide_fn fn)
{
	return hook_add(setup, hook, true, (struct hook_entry){ .inst = setup->inst, .decide = fn });
}

int
ph_on_observe(struct ph_setup *setup, enum ph_hook hook, ph_observe_fn fn)
{
	return hook_add(setup, hook, false,
	    (struct hook_entry){ .inst = setup->inst, .observe = fn });
}

void
ph_rules_relay(struct ph_setup *setup)
{
	if (setup->phase == SETUP_SETUP)
		setup->gen->relay_ruled = true;
}

void
ph_rules_admission(struct ph_setup *setup)
{
	if (setup->phase == SETUP_SETUP)
		setup->gen->admission_ruled = true;
}

static void
expect(struct ph_setup *s, struct expected e)
{
	struct expected_list *l = &s->gen->expected;

	if (s->phase != SETUP_SETUP)
		return;
	l->v = mem_realloc(l->v, (l->n + 1) * sizeof *l->v);
	l->v[l->n++] = e;
}

void
ph_expects_certificates(struct ph_setup *setup, const char *option)
{
	expect(setup, (struct expected){ .inst = setup->inst, .option = option });
}

void
ph_expects_hop(struct ph_setup *setup, const struct ph_next_hop *hop)
{
	expect(setup, (struct expected){ .inst = setup->inst, .hop = hop });
}
