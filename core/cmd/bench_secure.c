/*
 * bench_secure.c - TLS of the load generator.  A configuration with nothing in
 * it but the plugin is made in memory and brought into force, as a daemon does.
 *
 * A plugin keeps sessions to take up again by the host's name; to have full
 * handshakes only, each connection gives another one.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "base/str.h"
#include "cmd/bench_secure.h"
#include "cmd/cmd.h"
#include "cmd/conf.h"
#include "net/layer.h"
#include "plugin/ask.h"
#include "plugin/generation.h"
#include "plugin/loader.h"

static const char configuration[] =
	"hostname: bench.invalid\n"
	"listen:\n"
	"  - address: 127.0.0.1:0\n"
	"spool: /nonexistent\n"
	"plugins:\n"
	"  - tls\n";

int
bench_secure_load(struct bench *b)
{
	struct config_file *config;
	struct diags d;
	int rc = EX_OK;

	if (!b->o->tls && !b->o->tls_implicit)
		return EX_OK;
	log_level = PH_ERROR;
	diags_init(&d);
	(void)loader_init();
	config = config_load_text("posthouse bench", STR(configuration), &d);
	if (config != NULL) {
		config->settings.plugin_dir = b->o->plugin_dir;
		b->gen = generation_check(config, &d);
	}
	if (b->gen == NULL || generation_setup(b->gen, 1, NULL, &d) != 0) {
		d.errors += d.errors == 0;
		rc = conf_report(&d, "the plugin tls cannot be used (see --plugin-dir)");
		generation_free_unset(&b->gen);
	}
	diags_free(&d);
	return rc;
}

void
bench_secure_unload(struct bench *b)
{
	if (b->gen == NULL)
		return;
	generation_unref(&b->gen);
	loader_done();
}

int
bench_secure_open(struct bench_worker *w, unsigned index)
{
	if (w->b->gen == NULL)
		return 0;
	w->plugins = worker_plugins_open(w->b->gen, w->loop, index);
	if (w->plugins == NULL)
		return PH_EIO;
	w->secure = secure_find(w->plugins, NULL, &w->secure_worker);
	return w->secure != NULL ? 0 : PH_ENOTSUP;
}

static void
plugins_gone(void *arg)
{
	struct bench_worker *w = arg;

	loop_stop(w->loop);
}

void
bench_secure_close(struct bench_worker *w)
{
	if (w->plugins == NULL) {
		loop_stop(w->loop);
		return;
	}
	w->plugins->gone = plugins_gone;
	w->plugins->gone_arg = w;
	worker_plugins_retire(&w->plugins);
}

/* --- a connection --- */

bool
bench_secure_start(struct bench_session *s)
{
	struct bench_worker *w = s->w;
	const struct bench_opts *o = w->b->o;
	struct ph_next_hop hop = { .size = sizeof hop, .name = "bench", .tls = PH_TLS_REQUIRED,
		.tls_implicit = o->tls_implicit };
	struct ph_secure_want want = { .size = sizeof want, .side = PH_CLIENT,
		.policy = PH_TLS_REQUIRED, .hop = &hop };
	char name[64];
	int n = snprintf(name, sizeof name, "h%" PRIu64 ".bench.invalid",
	    o->tls_full ? w->names++ : 0), err;

	want.name = str_make(name, (size_t)n);
	s->layer = layer_new(w->secure, w->secure_worker, &want, &err);
	if (s->layer == NULL || layer_step(s->layer, w->loop, false) < 0) {
		bench_session_lost(s, s->layer == NULL ? ph_strerror(err) : "TLS did not begin");
		return false;
	}
	return true;
}

void
bench_secure_end(struct bench_session *s)
{
	if (s->layer == NULL)
		return;
	if (s->stream != NULL && s->layer->at == PH_SECURE_OPEN &&
	    layer_step(s->layer, s->w->loop, true) == 0)
		(void)layer_flush(s->layer, s->stream);         /* what does not go now is not missed */
	layer_free(&s->layer);
}

static void
secured(struct bench_session *s)
{
	struct bench_stats *st = &s->w->stats;
	struct ph_secure_facts f = { 0 };

	s->layer->provider->facts(s->layer->state, &f);
	st->handshakes++;
	st->resumed += f.resumed;
	if (st->negotiated[0] == '\0')
		(void)snprintf(st->negotiated, sizeof st->negotiated, STR_FMT " " STR_FMT,
		    STR_ARG(f.version), STR_ARG(f.cipher));
	bench_session_secured(s);
}

ssize_t
bench_secure_read(struct bench_session *s, char *to, size_t room)
{
	for (;;) {
		bool shaking = s->layer->at == PH_SECURE_HANDSHAKE;
		ssize_t n = layer_read(s->layer, s->w->loop, s->stream, to, room);

		if (n != PH_EBUSY || !shaking || s->layer->at == PH_SECURE_HANDSHAKE)
			return n;
		secured(s);             /* plaintext may have come with the last flight */
	}
}

ssize_t
bench_secure_write(struct bench_session *s)
{
	int rc = layer_flush(s->layer, s->stream);

	if (rc < 0)
		return rc;
	if (s->nout == 0 || s->layer->at != PH_SECURE_OPEN)
		return 0;
	return layer_seal(s->layer, s->w->loop, s->stream, s->out, s->nout);
}

const char *
bench_secure_problem(struct bench_session *s, char *out, size_t n)
{
	struct ph_secure_facts f = { 0 };

	s->layer->provider->facts(s->layer->state, &f);
	(void)snprintf(out, n, "TLS: " STR_FMT, STR_ARG(f.problem));
	return out;
}
