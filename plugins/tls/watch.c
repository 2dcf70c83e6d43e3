/*
 * watch.c - certificates that are replaced while the daemon runs.
 *
 * One worker of an instance looks at the files now and then, off the loop, because they
 * may lie on a disk that sleeps.  New material is put in the place of the old; sessions
 * under way keep what they began with.  Two files cannot be replaced at one instant, so
 * what does not fit is looked at once more before anybody is alarmed.
 */
#include <stdlib.h>
#include <string.h>
#include <openssl/err.h>

#include "tls.h"

struct tls_watch {
	struct tls_worker *tw;          /* NULL: the worker has gone, nobody waits */
	const struct tls_cfg *cfg;
	struct tls_stamps used;         /* of the material in force */
	struct tls_stamps bad;          /* of what could not be used */
	bool told;                      /* the log has it */
	bool busy;
	/* the outcome of one look */
	struct tls_material *fresh;
	struct tls_report report;
	bool changed, same_bad;
};

static void
watch_free(struct tls_watch *w)
{
	tls_material_unref(&w->fresh);
	tls_stamps_free(&w->used);
	tls_stamps_free(&w->bad);
	free(w);
}

/* On a pool thread. */
static void
watch_look(void *arg)
{
	struct tls_watch *w = arg;
	struct tls_stamps now = { 0 };

	w->report = (struct tls_report){ .setup = NULL };
	w->changed = tls_stamps_changed(&w->used);
	w->same_bad = false;
	if (!w->changed)
		return;
	tls_stamps_copy(&now, &w->used);
	tls_stamps_refresh(&now);
	w->same_bad = w->bad.n > 0 && tls_stamps_same(&now, &w->bad);
	tls_stamps_free(&w->bad);
	w->bad = now;
	if (!w->same_bad || !w->told)
		w->fresh = tls_material_load(w->cfg, &w->report);
	/* The pool's threads outlive OpenSSL; what it keeps for them would never be freed. */
	OPENSSL_thread_stop();
}

static void watch_again(struct tls_watch *w);

static void
watch_take(struct tls_watch *w)
{
	struct tls_shared *s = w->cfg->shared;
	struct tls_material *old;

	tls_stamps_copy(&w->used, &w->fresh->stamps);
	tls_stamps_free(&w->bad);
	w->told = false;
	pthread_mutex_lock(&s->lock);
	old = s->now;
	s->now = w->fresh;
	atomic_fetch_add(&s->version, 1);
	pthread_mutex_unlock(&s->lock);
	w->fresh = NULL;
	tls_material_unref(&old);
	/* Other authorities may not vouch for the clients of the old ones. */
	if (w->cfg->client_ca_file != NULL)
		tls_tickets_forget(&s->tickets);
}

static void
watch_looked(void *arg)
{
	struct tls_watch *w = arg;

	w->busy = false;
	if (w->tw == NULL) {
		watch_free(w);
		return;
	}
	if (w->fresh != NULL) {
		watch_take(w);
		tls_log(w->tw, PH_INFO, "the certificate files were replaced and are in use now");
		if (w->report.warnings[0] != '\0')
			tls_log(w->tw, PH_WARN, "in the replaced files, %s", w->report.warnings);
	} else if (!w->changed) {
		w->told = false;
		tls_stamps_free(&w->bad);
	} else if (w->same_bad && !w->told) {
		w->told = true;
		tls_log(w->tw, PH_ERROR, "the replaced certificate files cannot be used, the former ones "
		    "stay in force: %s", w->report.first);
	}
	watch_again(w);
}

static void
watch_due(void *arg)
{
	struct tls_watch *w = arg;

	w->tw->timer = NULL;
	w->busy = true;
	if (ph_work(w->tw->w, watch_look, watch_looked, w) != 0)
		w->busy = false;        /* the worker is about to close */
}

static void
watch_again(struct tls_watch *w)
{
	w->tw->timer = ph_timer_start(w->tw->w, w->cfg->check_files, watch_due, w);
}

void
tls_watch_start(struct tls_worker *tw)
{
	struct tls_shared *s = tw->cfg->shared;
	struct tls_watch *w;

	if (tw->w == NULL || tw->cfg->check_files.ms <= 0 || atomic_exchange(&s->watched, true))
		return;
	if ((w = calloc(1, sizeof *w)) == NULL)
		return;
	w->tw = tw;
	w->cfg = tw->cfg;
	tls_stamps_copy(&w->used, &tw->material->stamps);
	tw->watch = w;
	watch_again(w);
}

void
tls_watch_stop(struct tls_worker *tw)
{
	struct tls_watch *w = tw->watch;

	if (w == NULL)
		return;
	tw->watch = NULL;
	if (tw->timer != NULL)
		ph_timer_stop(&tw->timer);
	w->tw = NULL;
	if (!w->busy)
		watch_free(w);
}
