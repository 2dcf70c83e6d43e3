/*
 * reload.c - how a configuration comes into force, at the start and later: load
 * and check everything, set the plugins up, open what is newly to be listened
 * on, then tell the workers.  Any mistake leaves what is in force untouched.
 */
#include "daemon/daemon.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/notify.h"

struct generation *
daemon_load(const char *path, const char *plugin_dir, struct diags *d)
{
	struct config_file *cfg = config_load_mistaken(path, d);
	struct generation *g;
	bool mistaken;

	if (cfg == NULL)
		return NULL;
	mistaken = cfg->mistaken;
	if (plugin_dir != NULL)
		cfg->settings.plugin_dir = arena_strndup(&cfg->arena, plugin_dir, strlen(plugin_dir));
	if (cfg->settings.user != NULL && cfg->settings.user[0] != '\0' &&
	    getpwnam(cfg->settings.user) == NULL) {
		struct diag *w = diag_add(d, DIAG_WARNING, option_place(cfg->root, "user"), "user",
		    "there is no account \"%s\" on this machine", cfg->settings.user);
		diag_hint(d, w, "create it: useradd --system --shell /usr/sbin/nologin %s",
		    cfg->settings.user);
	}
	g = generation_check(cfg, d);
	if (mistaken)
		generation_free_unset(&g);
	return g;
}

const char *
daemon_control_path(const struct settings *set, char *out, size_t n)
{
	if (set->control != NULL && set->control[0] != '\0')
		snprintf(out, n, "%s", set->control);
	else
		snprintf(out, n, "%s/control", set->spool);
	return out;
}

struct queue_config
daemon_queue_config(const struct settings *set, char *badmail, size_t n)
{
	const struct queue_settings *q = &set->queue;

	if (q->badmail != NULL && q->badmail[0] != '\0')
		snprintf(badmail, n, "%s", q->badmail);
	else
		snprintf(badmail, n, "%s/badmail", set->spool);
	return (struct queue_config){
		.retry_ms = (const int64_t *)q->retry.v, .nretry = q->retry.n,
		.probe_ms = (const int64_t *)q->probe.v, .nprobe = q->probe.n,
		.delay_notice_ms = q->delay_notice.ms, .expire_ms = q->expire.ms,
		.max_messages = q->max_messages, .max_active = q->max_active,
		.memory = q->memory.bytes,
		.default_connections = set->outbound.connections_per_site,
		.messages_in_flight = set->outbound.window_messages,
		.bounce_notices = q->bounce_notices,
		.hostname = set->hostname,
		.badmail_dir = badmail,
	};
}
_Static_assert(sizeof(ph_duration) == sizeof(int64_t), "a list of durations reads as milliseconds");

/* The address as bound: a port of 0 in the file becomes the one that was picked. */
static void
daemon_tell_listening(struct daemon *d)
{
	for (size_t i = 0; i < d->binds.n; i++) {
		char text[PH_ADDR_TEXT], at[PH_ADDR_TEXT + 16];
		struct ph_addr a;
		if (!bound_addr(&d->binds.v[i], &a))
			continue;
		snprintf(at, sizeof at, a.family == 6 ? "[%s]:%u" : "%s:%u",
		    ph_addr_text(&a, text), a.port);
		log_event(PH_INFO, &d->log, "daemon.listening", LOG_C("address", at));
	}
}

static void
daemon_applied_by_all(struct daemon *d)
{
	binds_drop(&d->binds);
	daemon_tell_listening(d);
	if (!d->running) {
		d->running = true;
		notify_say("READY=1");
		log_event(PH_INFO, &d->log, "daemon.ready", LOG_I("workers", d->nworkers),
		    LOG_I("ms", clock_mono_ms() - d->started_ms));
	} else {
		notify_say("READY=1");
	}
	log_flush();
	if (d->reloaded != NULL) {
		void (*fn)(void *, bool, struct buf *) = d->reloaded;
		struct buf report = { 0 };
		d->reloaded = NULL;
		buf_printf(&report, d->apply_failed
		    ? "a plugin could not be opened on a worker; see the log\n"
		    : "generation %u in force\n", d->gen->number);
		fn(d->reloaded_arg, !d->apply_failed, &report);
		buf_free(&report);
	}
}

static void
daemon_applied(struct ph_note *note)
{
	struct worker_update *u = container_of(note, struct worker_update, note);
	struct daemon *d = u->arg;

	if (u->status != 0)
		d->apply_failed = true;
	worker_update_free(u);
	if (--d->to_apply == 0 && !d->stopping)
		daemon_applied_by_all(d);
}

void
daemon_apply(struct daemon *d)
{
	size_t n = d->gen->config->settings.listen.n;
	struct worker_listen *v = mem_calloc(n ? n : 1, sizeof *v);

	d->apply_failed = false;
	d->to_apply = d->nworkers;
	for (unsigned i = 0; i < d->nworkers; i++) {
		(void)binds_for(&d->binds, d->gen->config, i, v);
		worker_apply(d->workers[i], d->gen, v, n, loop_mailbox(d->loop),
		    daemon_applied, d);
	}
	free(v);
}

/* What only a restart can change is said, not silently ignored. */
static void
daemon_note_unchanged(const struct settings *was, const struct settings *now, struct buf *report)
{
	struct { const char *name; const char *a, *b; } v[] = {
		{ "spool", was->spool, now->spool }, { "user", was->user, now->user },
		{ "workers", was->workers, now->workers }, { "control", was->control, now->control },
		{ "plugin-dir", was->plugin_dir, now->plugin_dir },
	};

	for (size_t i = 0; i < sizeof v / sizeof v[0]; i++)
		if (strcmp(v[i].a != NULL ? v[i].a : "", v[i].b != NULL ? v[i].b : "") != 0)
			buf_printf(report, "warning: a new %s takes effect at the next restart\n",
			    v[i].name);
}

void
daemon_reload(struct daemon *d, void (*done)(void *arg, bool ok, struct buf *report), void *arg)
{
	struct diags diags;
	struct generation *g;
	struct buf report = { 0 };
	bool ok = false;

	diags_init(&diags);
	notify_say("RELOADING=1");
	if (d->to_apply > 0 || d->stopping) {
		buf_adds(&report, "a reload is under way already\n");
	} else if ((g = daemon_load(d->args.config, d->args.plugin_dir, &diags)) != NULL) {
		g->workers = d->nworkers;
		if (binds_open(&d->binds, g->config, &diags) > 0) {
			generation_free_unset(&g);
		} else if (generation_setup(g, d->generations + 1, loop_mailbox(d->loop),
		    &diags) != 0) {
			generation_free_unset(&g);
		} else {
			ok = true;
		}
		if (!ok) {      /* sockets opened for it go again */
			struct diags none;
			diags_init(&none);
			(void)binds_open(&d->binds, d->gen->config, &none);
			binds_drop(&d->binds);
			diags_free(&none);
		}
	}
	diags_print(&diags, &report);
	if (!ok) {
		if (diags.errors > 0)
			buf_printf(&report, "%zu error%s, configuration not used (the running daemon "
			    "keeps the previous one)\n", diags.errors, diags.errors == 1 ? "" : "s");
		log_event(PH_ERROR, &d->log, "config.refused", LOG_S("report", buf_view(&report)));
		notify_say("READY=1");
		if (done != NULL)
			done(arg, false, &report);
	} else {
		struct generation *old = d->gen;
		struct queue_config qc;
		char badmail[4096];

		d->generations++;
		d->gen = g;
		qc = daemon_queue_config(&g->config->settings, badmail, sizeof badmail);
		queue_configure(d->queue, &qc);
		queue_rerouted(d->queue);
		daemon_note_unchanged(&old->config->settings, &g->config->settings, &report);
		log_event(PH_INFO, &d->log, "config.reloaded", LOG_I("generation", g->number),
		    LOG_S("report", buf_view(&report)));
		d->reloaded = done;
		d->reloaded_arg = arg;
		daemon_apply(d);
		generation_unref(&old);
	}
	buf_free(&report);
	diags_free(&diags);
}
