/*
 * relay.c - the relay on the fake loop: main thread and one worker take turns,
 * the store works when asked, peers and time are the script's.
 *
 * It is put together as daemon.c does it, without what belongs to a process:
 * privileges, signals, threads, the control socket.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "config/option.h"
#include "daemon/daemon.h"
#include "net/conn.h"
#include "net/resolve.h"
#include "plugin/loader.h"
#include "relay.h"
#include "store/store.h"

enum { STOPS_WITHIN_MS = 15 * 60000 };

extern const struct ph_plugin ph_plugin_auth_anonymous, ph_plugin_relay_access,
	ph_plugin_smarthost, ph_plugin_example, ph_plugin_toy_tls, ph_plugin_toy_auth;
extern const struct ph_plugin *const loader_static[];
const struct ph_plugin *const loader_static[] = {
	&ph_plugin_auth_anonymous, &ph_plugin_relay_access, &ph_plugin_smarthost,
	&ph_plugin_example, &ph_plugin_toy_tls, &ph_plugin_toy_auth, NULL
};

static struct daemon d;
static bool up;
static char config_path[300];

/* --- turns and time --- */

void
relay_settle(void)
{
	bool more = true;

	while (more) {
		fake_run_until_idle();
		more = up && d.shared.store != NULL && embedded_pump(d.shared.store);
	}
	log_flush();
}

/* Timers in their order, the store working between them. */
void
relay_advance(int64_t ms)
{
	int64_t end = fake_now() + ms, next;

	for (;;) {
		relay_settle();
		next = fake_next_timer();
		if (next > end)
			break;
		fake_loop_advance(next > fake_now() ? next - fake_now() : 0);
	}
	fake_loop_advance(end - fake_now());
	relay_settle();
}

/* --- its life --- */

bool
relay_up(void)
{
	return up;
}

static void
refuse(const char *what, struct diags *diags)
{
	struct buf out = { 0 };

	diags_print(diags, &out);
	relay_fail("%s:\n%.*s", what, (int)out.len, out.data != NULL ? out.data + out.head : "");
}

void
relay_start(struct ph_str yaml, const char *spool)
{
	struct config_file *cfg;
	struct diags diags;
	char why[512] = "";

	snprintf(config_path, sizeof config_path, "%s.yaml", spool);
	memset(&d, 0, sizeof d);
	d.args.config = config_path;
	diags_init(&diags);
	cfg = config_load_text("script", yaml, &diags);
	if (cfg != NULL)
		d.gen = generation_check(cfg, &diags);
	if (d.gen == NULL)
		refuse("the configuration is refused", &diags);
	d.nworkers = d.binds.workers = 1;
	d.loop = loop_new();
	if (binds_open(&d.binds, d.gen->config, &diags) > 0 ||
	    generation_setup(d.gen, ++d.generations, loop_mailbox(d.loop), &diags) != 0)
		refuse("cannot set up", &diags);
	diags_free(&diags);
	log_level = PH_TRACE;
	if (daemon_wire(&d, false, why, sizeof why) != 0)
		relay_fail("store: %s", why);
	d.workers = mem_calloc(1, sizeof *d.workers);
	d.workers[0] = worker_new(0, &d.shared, loop_new(), &d.gen->config->settings);
	up = true;
	daemon_apply(&d);
	relay_settle();
	if (!d.running)
		relay_fail("the relay did not come up");
}

static void
reloaded(void *arg, bool ok, struct buf *report)
{
	(void)report;
	*(int *)arg = ok ? 1 : -1;
}

bool
relay_reload(struct ph_str yaml)
{
	int outcome = 0;
	FILE *f = fopen(config_path, "w");

	if (f == NULL || fwrite(yaml.p, 1, yaml.n, f) != yaml.n || fclose(f) != 0)
		relay_fail("cannot write %s", config_path);
	daemon_reload(&d, reloaded, &outcome);
	relay_settle();
	unlink(config_path);
	if (outcome == 0)
		relay_fail("the reload has not come to an end");
	return outcome > 0;
}

void
relay_stop(void)
{
	daemon_stop(&d);
	relay_settle();
}

bool
relay_stopped(void)
{
	return d.stopping && d.to_stop == 0 && queue_drained(d.queue);
}

void
relay_end(void)
{
	int64_t end = fake_now() + STOPS_WITHIN_MS, next;
	struct loop *of_worker;

	if (!up)
		return;
	relay_stop();
	while (!relay_stopped() && (next = fake_next_timer()) <= end)
		relay_advance(next > fake_now() ? next - fake_now() : 0);
	if (!relay_stopped())
		relay_fail("the relay does not stop");
	up = false;
	of_worker = d.workers[0]->loop;
	daemon_unwire(&d);
	conn_loop_done(of_worker);
	loop_free(&of_worker);
	binds_close(&d.binds);
	generation_unref(&d.gen);
	(void)mailbox_run(loop_mailbox(d.loop));        /* teardown of plugins */
	loop_free(&d.loop);
	log_flush();
}

/* --- looking at it --- */

bool
relay_listens(size_t n, struct ph_addr *out)
{
	const struct bound *b = n < d.binds.n ? &d.binds.v[n] : NULL;
	const char *why;

	return b != NULL && (bound_addr(b, out) || value_listen(str_of(b->address), out, &why) == 0);
}

bool
relay_count(const char *state, uint64_t *out)
{
	struct queue_counts c;
	struct { const char *name; uint64_t n; } v[4];

	queue_counts(d.queue, &c);
	v[0].name = "active", v[0].n = c.active;
	v[1].name = "deferred", v[1].n = c.deferred;
	v[2].name = "held", v[2].n = c.held;
	v[3].name = "suspended", v[3].n = c.suspended;
	*out = c.messages;
	for (size_t i = 0; state != NULL; i++) {
		if (i == 4)
			return false;
		if (strcmp(v[i].name, state) == 0) {
			*out = v[i].n;
			break;
		}
	}
	return true;
}

static void
flushed(void *arg, uint64_t matched)
{
	(void)arg;
	(void)matched;
}

static void
flush_run(struct ph_note *note)
{
	struct queue_filter all = { 0 };

	(void)note;
	queue_act(d.queue, QUEUE_FLUSH, &all, flushed, NULL);
}

/* On a turn of the main thread, as the control socket does. */
void
relay_flush(void)
{
	static struct ph_note note = { .run = flush_run };

	ph_post(loop_mailbox(d.loop), &note);
	relay_settle();
}
