/*
 * source.c - the instance's access token.
 *
 * All workers share it under a lock that is held for moments only; the request
 * itself runs in the pool.  While one is under way nobody starts another: who
 * needs the token waits for its answer.  A token is renewed at four fifths of
 * its life and used to its end, so that an endpoint that is down for some
 * minutes is not noticed by mail.  An endpoint that fails is asked less and
 * less often, and spoken of once.
 */
#include "source.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	SPARE_MS = 10 * 1000,           /* a token that ends sooner is not shown any more */
	EARLY_MOST_MS = 60 * 60 * 1000, /* renewed that long before its end at most */
	LOOK_MS = 3 * 1000,             /* how often the keeper looks for a new sign-in */
	SECOND_MS = 60 * 1000,          /* between two tokens fetched because of refusals */
	RETRY_AFTER_MOST_S = 3600,
	TICK_MS = 500,
	WAITERS_MOST = 1000,
};

enum alarm { QUIET, WARNED, ALARMED };

struct oauth_source {
	struct oauth_profile profile;
	char *name, *dir;
	pthread_mutex_t lock;
	/* under the lock */
	char *token;                    /* NULL: none */
	uint64_t serial;
	int64_t expires, renew;         /* when; oauth_now */
	bool fetching;
	bool replacing, replaces;       /* the next token, this one: in place of a refused one */
	int64_t replaced;               /* when a refusal last made us fetch */
	char *held;                     /* a refresh token that could not be written */
	struct oauth_stamp stamp;       /* of the state file when it was last used */
	int64_t next_try, wait_ms;      /* back-off */
	enum alarm alarm;
	int64_t silent_since;
	char error[64], why[480];       /* of the last failure */
	struct oauth_waiters waiters;
	struct ph_worker *keeper;
	/* the keeper's */
	struct ph_timer *timer;
};

struct fetch {
	struct oauth_source *s;
	struct ph_worker *w;
	struct oauth_answer answer;
	enum ph_level level;            /* of what is to be logged; PH_TRACE: nothing */
	char said[1200];
};

struct oauth_source *
oauth_source_new(struct oauth_profile *p, const char *name, const char *dir)
{
	struct oauth_source *s = calloc(1, sizeof *s);

	if (s == NULL)
		return NULL;
	s->name = oauth_copy(name, strlen(name));
	s->dir = dir != NULL ? oauth_copy(dir, strlen(dir)) : NULL;
	if (s->name == NULL || (dir != NULL && s->dir == NULL) ||
	    pthread_mutex_init(&s->lock, NULL) != 0) {
		free(s->name);
		free(s->dir);
		free(s);
		return NULL;
	}
	s->profile = *p;
	p->key = NULL;
	return s;
}

void
oauth_source_free(struct oauth_source **sp)
{
	struct oauth_source *s = *sp;

	*sp = NULL;
	if (s == NULL)
		return;
	oauth_profile_done(&s->profile);
	oauth_forget(&s->token);
	oauth_forget(&s->held);
	(void)pthread_mutex_destroy(&s->lock);
	free(s->name);
	free(s->dir);
	free(s);
}

/* --- after a request, under the lock --- */

static bool
same_stamp(const struct oauth_stamp *a, const struct oauth_stamp *b)
{
	return a->seconds == b->seconds && a->nanoseconds == b->nanoseconds && a->inode == b->inode;
}

static bool
token_usable(const struct oauth_source *s, int64_t now)
{
	return s->token != NULL && now < s->expires;
}

static void
take_token(struct oauth_source *s, struct fetch *f)
{
	int64_t now = oauth_now(), life = f->answer.expires_s * 1000;
	int64_t spare = life / 10 < SPARE_MS ? life / 10 : SPARE_MS;
	int64_t early = life / 5 < EARLY_MOST_MS ? life / 5 : EARLY_MOST_MS;

	oauth_forget(&s->token);
	s->token = f->answer.access_token;
	f->answer.access_token = NULL;
	s->serial++;
	s->replaces = s->replacing;
	s->replacing = false;
	s->expires = now + life - spare;
	s->renew = now + life - (early > spare ? early : spare);
	s->next_try = 0;
	s->wait_ms = 0;
	oauth_forget(&s->held);
	f->level = PH_DEBUG;
	snprintf(f->said, sizeof f->said, "got an access token from %s, good for %lld s",
	    s->profile.token_endpoint, (long long)f->answer.expires_s);
	if (s->alarm != QUIET) {
		f->level = PH_WARN;
		snprintf(f->said, sizeof f->said, "%s gives access tokens again, after %lld s",
		    s->profile.token_endpoint, (long long)(now - s->silent_since) / 1000);
	}
	s->alarm = QUIET;
	s->error[0] = s->why[0] = '\0';
	if (f->answer.why[0] != '\0') {
		s->held = f->answer.refresh_token;
		f->answer.refresh_token = NULL;
		f->level = PH_ERROR;
		snprintf(f->said, sizeof f->said, "%s", f->answer.why);
	}
}

/* One line when it begins, one when it gets serious or becomes another trouble. */
static void
take_failure(struct oauth_source *s, struct fetch *f)
{
	const struct oauth_cfg *cfg = s->profile.cfg;
	struct oauth_answer *a = &f->answer;
	int64_t now = oauth_now(), asked = a->retry_after_s;
	enum alarm alarm = token_usable(s, now) ? WARNED : ALARMED;
	bool other = strcmp(s->error, a->error) != 0;

	s->wait_ms = s->wait_ms == 0 ? cfg->retry_first.ms : s->wait_ms * 2;
	/* What somebody has to mend will not mend itself within seconds. */
	if (s->wait_ms > cfg->retry_most.ms || a->fault == OAUTH_REFUSED)
		s->wait_ms = cfg->retry_most.ms;
	if (asked > RETRY_AFTER_MOST_S)
		asked = RETRY_AFTER_MOST_S;
	s->next_try = now + (asked * 1000 > s->wait_ms ? asked * 1000 : s->wait_ms);
	snprintf(s->why, sizeof s->why, "%s", a->why);
	f->level = PH_DEBUG;
	if (s->alarm == QUIET)
		s->silent_since = now;
	if (alarm > s->alarm || (other && a->fault == OAUTH_REFUSED)) {
		f->level = alarm == WARNED ? PH_WARN : PH_ERROR;
		s->alarm = alarm;
	}
	snprintf(s->error, sizeof s->error, "%s", a->error);
	if (alarm == WARNED)
		snprintf(f->said, sizeof f->said, "cannot renew the access token at %s: %s; the present "
		    "one is good for another %lld s", s->profile.token_endpoint, a->why,
		    (long long)(s->expires - now) / 1000);
	else
		snprintf(f->said, sizeof f->said, "no access token from %s: %s; mail waits, asking again "
		    "at most every %lld s", s->profile.token_endpoint, a->why,
		    (long long)cfg->retry_most.ms / 1000);
}

/* --- a request --- */

static void
fetch_work(void *arg)
{
	struct fetch *f = arg;
	struct oauth_source *s = f->s;
	struct oauth_stamp before = oauth_state_stamp(s->dir);
	char *held = NULL;

	(void)pthread_mutex_lock(&s->lock);
	/* A file that somebody has written since is newer than what we hold. */
	if (s->held != NULL && !same_stamp(&before, &s->stamp))
		oauth_forget(&s->held);
	if (s->held != NULL)
		held = oauth_copy(s->held, strlen(s->held));
	(void)pthread_mutex_unlock(&s->lock);

	oauth_grant(&s->profile, s->dir, held, &f->answer);
	oauth_forget(&held);

	(void)pthread_mutex_lock(&s->lock);
	if (f->answer.fault == OAUTH_FINE) {
		s->stamp = oauth_state_stamp(s->dir);
		take_token(s, f);
	} else {
		s->stamp = before;
		take_failure(s, f);
	}
	s->fetching = false;
	oauth_wake_all(&s->waiters);
	(void)pthread_mutex_unlock(&s->lock);
	oauth_thread_done();
}

static void keeper_schedule(struct oauth_source *s, struct ph_worker *w);

static void
fetch_done(void *arg)
{
	struct fetch *f = arg;

	if (f->said[0] != '\0')
		ph_log_worker(f->w, f->level, "%s", f->said);
	keeper_schedule(f->s, f->w);
	oauth_answer_done(&f->answer);
	free(f);
}

/* Lock held. */
static bool
fetch_start(struct oauth_source *s, struct ph_worker *w)
{
	struct fetch *f = calloc(1, sizeof *f);

	if (f == NULL)
		return false;
	*f = (struct fetch){ .s = s, .w = w, .level = PH_TRACE };
	if (ph_work(w, fetch_work, fetch_done, f) < 0) {
		free(f);
		return false;
	}
	s->fetching = true;
	return true;
}

/* Lock held.  In the back-off nobody asks, but a new sign-in ends it. */
static bool
may_ask(struct oauth_source *s, int64_t now)
{
	struct oauth_stamp stamp;

	if (s->fetching)
		return false;
	if (now >= s->next_try)
		return true;
	stamp = oauth_state_stamp(s->dir);
	if (same_stamp(&stamp, &s->stamp))
		return false;
	s->wait_ms = 0;
	return true;
}

/* --- the keeper --- */

static void
keeper_tick(void *arg)
{
	struct oauth_source *s = arg;
	struct ph_worker *w = s->keeper;        /* changes on this thread only */
	int64_t now = oauth_now();
	bool started = false;

	s->timer = NULL;                /* it has freed itself */
	(void)pthread_mutex_lock(&s->lock);
	if ((s->token == NULL || now >= s->renew) && may_ask(s, now))
		started = fetch_start(s, w);
	(void)pthread_mutex_unlock(&s->lock);
	if (!started)
		keeper_schedule(s, w);
}

static void
keeper_schedule(struct oauth_source *s, struct ph_worker *w)
{
	int64_t now = oauth_now(), wait;

	(void)pthread_mutex_lock(&s->lock);
	if (s->keeper != w) {           /* it has fetched, but keeps no timer */
		(void)pthread_mutex_unlock(&s->lock);
		return;
	}
	wait = (s->token != NULL && s->next_try == 0 ? s->renew : s->next_try) - now;
	/* A sign-in is to be noticed soon. */
	if (s->next_try != 0 && s->profile.grant == OAUTH_REFRESH_TOKEN && wait > LOOK_MS)
		wait = LOOK_MS;
	(void)pthread_mutex_unlock(&s->lock);
	ph_timer_stop(&s->timer);
	s->timer = ph_timer_start(w, (ph_duration){ wait > TICK_MS ? wait : TICK_MS }, keeper_tick, s);
}

void
oauth_source_keep(struct oauth_source *s, struct ph_worker *w)
{
	bool mine = false;

	(void)pthread_mutex_lock(&s->lock);
	if (s->keeper == NULL) {
		s->keeper = w;
		mine = true;
	}
	(void)pthread_mutex_unlock(&s->lock);
	if (mine)
		s->timer = ph_timer_start(w, (ph_duration){ 0 }, keeper_tick, s);
}

void
oauth_source_leave(struct oauth_source *s, struct ph_worker *w)
{
	bool mine;

	(void)pthread_mutex_lock(&s->lock);
	mine = s->keeper == w;
	if (mine)
		ph_timer_stop(&s->timer);
	if (mine)
		s->keeper = NULL;
	(void)pthread_mutex_unlock(&s->lock);
}

/* --- exchanges --- */

enum oauth_have
oauth_source_token(struct oauth_source *s, struct ph_sasl *x,
                   void (*ready)(struct ph_sasl *x, struct ph_ticket ticket),
                   struct oauth_waiter **slot, struct oauth_text *token, uint64_t *serial,
                   char why[300])
{
	enum oauth_have have = OAUTH_NOT;
	int64_t now = oauth_now();

	(void)pthread_mutex_lock(&s->lock);
	if (token_usable(s, now)) {
		oauth_text_adds(token, s->token);
		*serial = s->serial;
		have = OAUTH_HAVE;
	} else if (s->waiters.n < WAITERS_MOST &&
	    (s->fetching || (may_ask(s, now) && fetch_start(s, ph_sasl_worker(x)))) &&
	    oauth_wait(&s->waiters, x, ready, slot) != NULL)
		have = OAUTH_WAIT;
	else
		snprintf(why, 300, "no access token: %.280s", s->why[0] != '\0' ? s->why :
		    "too many wait for it");
	(void)pthread_mutex_unlock(&s->lock);
	return have;
}

void
oauth_source_forgo(struct oauth_source *s, struct oauth_waiter **slot)
{
	(void)pthread_mutex_lock(&s->lock);
	oauth_wait_leave(&s->waiters, slot);
	(void)pthread_mutex_unlock(&s->lock);
}

bool
oauth_source_refused(struct oauth_source *s, uint64_t serial)
{
	int64_t now = oauth_now();
	bool another = true;

	(void)pthread_mutex_lock(&s->lock);
	if (serial == s->serial && s->token != NULL) {
		/* One that came in place of a refused one, refused as well: the token is not
		 * what is wrong. */
		another = !s->replaces || now - s->replaced >= SECOND_MS;
		if (another) {
			oauth_forget(&s->token);
			s->replaced = now;
			s->replacing = true;
			s->next_try = 0;
		}
	}
	(void)pthread_mutex_unlock(&s->lock);
	return another;
}
