/*
 * verify.c - whether a client's token is good.
 *
 * Signatures are checked on the worker, it takes some 50 us.  Keys are fetched
 * and tokens introspected in the pool, in small numbers at once: who sends
 * tokens by the thousand waits, and does not take the pool from others.
 */
#include "verify.h"

#include <fcntl.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "jwks.h"

enum {
	INTROSPECT_MOST = 2,            /* requests at once */
	WAITING_MOST = 200,             /* exchanges that wait for one of these, or for keys */
	KEYS_PAUSE_MS = 60 * 1000,      /* between fetches because of unknown keys */
	FAILED_PAUSE_MS = 5 * 1000,     /* after one that failed */
	FILE_MOST = 256 * 1024,
};

struct cached { uint8_t hash[SHA256_DIGEST_LENGTH]; int64_t until; char user[256]; };

struct oauth_verifier {
	const struct oauth_cfg *cfg;
	pthread_mutex_t lock;
	/* under the lock */
	struct oauth_jwks keys;
	int64_t keys_until, keys_next;  /* when they are old; when they may be fetched again */
	struct oauth_stamp stamp;       /* of jwks-file */
	bool fetching, alarmed;
	char problem[400];
	unsigned introspecting;
	struct oauth_waiters waiters;
	struct cached *cache;           /* cache_size places; a token has one only */
};

struct oauth_verifier *
oauth_verifier_new(const struct oauth_cfg *cfg)
{
	struct oauth_verifier *v = calloc(1, sizeof *v);

	if (v == NULL)
		return NULL;
	v->cfg = cfg;
	v->cache = calloc((size_t)cfg->server.cache_size, sizeof *v->cache);
	if (v->cache == NULL || pthread_mutex_init(&v->lock, NULL) != 0) {
		free(v->cache);
		free(v);
		return NULL;
	}
	return v;
}

void
oauth_verifier_free(struct oauth_verifier **vp)
{
	struct oauth_verifier *v = *vp;

	*vp = NULL;
	if (v == NULL)
		return;
	oauth_jwks_done(&v->keys);
	(void)pthread_mutex_destroy(&v->lock);
	free(v->cache);
	free(v);
}

static void
bad(struct oauth_verdict *out, const char *why)
{
	*out = (struct oauth_verdict){ .is = OAUTH_BAD };
	snprintf(out->why, sizeof out->why, "%.299s", why);
}

static void
later(struct oauth_verdict *out, const char *why)
{
	*out = (struct oauth_verdict){ .is = OAUTH_LATER };
	snprintf(out->why, sizeof out->why, "%.299s", why);
}

static void
judge(const struct oauth_cfg *cfg, const json_t *claims, bool lenient, struct oauth_verdict *out,
      int64_t *expires)
{
	const struct oauth_server_cfg *s = &cfg->server;
	struct oauth_expected e = { s->issuers, s->audiences, s->scopes, s->user_claims,
	    (int64_t)time(NULL), s->leeway.ms / 1000 };
	char why[200];
	int rc;

	*out = (struct oauth_verdict){ .is = OAUTH_GOOD };
	rc = oauth_claims_check(claims, &e, lenient, out->user, expires, why);
	if (rc == 0)
		return;
	bad(out, why);
	out->lacks_scope = rc == PH_EREFUSED;
}

/* One line when an endpoint fails, one when it is back; on the worker, without the lock. */
static void
tell(struct oauth_verifier *v, struct ph_worker *w, const char *what, const char *problem)
{
	bool changed;

	(void)pthread_mutex_lock(&v->lock);
	changed = v->alarmed != (problem[0] != '\0');
	v->alarmed = problem[0] != '\0';
	(void)pthread_mutex_unlock(&v->lock);
	if (problem[0] != '\0')
		ph_log_worker(w, changed ? PH_ERROR : PH_DEBUG, "clients' tokens cannot be checked: %s: "
		    "%s", what, problem);
	else if (changed)
		ph_log_worker(w, PH_WARN, "clients' tokens can be checked again: %s answers", what);
}

/* --- keys --- */

struct keys_fetch { struct oauth_verifier *v; struct ph_worker *w; char problem[400]; };

/* Lock held. */
static void
keys_take(struct oauth_verifier *v, struct ph_str json, char *problem, size_t room)
{
	struct oauth_jwks *fresh = calloc(1, sizeof *fresh);
	int64_t now = oauth_now();

	if (fresh != NULL && oauth_jwks_parse(json, fresh) == 0) {
		oauth_jwks_done(&v->keys);
		v->keys = *fresh;
		v->keys_until = now + v->cfg->server.jwks_age.ms;
		v->keys_next = now + KEYS_PAUSE_MS;
		v->problem[0] = '\0';
	} else
		snprintf(problem, room, "it gives no set of keys with one that can be used "
		    "(RSA of 2048 bits and more, P-256, P-384)");
	free(fresh);
}

static void
keys_work(void *arg)
{
	struct keys_fetch *f = arg;
	struct oauth_verifier *v = f->v;
	const struct oauth_cfg *cfg = v->cfg;
	struct oauth_http how = { cfg->ca_file, cfg->timeout.ms };
	struct oauth_reply r;
	int rc = oauth_http(&how, cfg->server.jwks_uri, NULL, NULL, NULL, &r);

	if (rc != 0)
		snprintf(f->problem, sizeof f->problem, "%s", r.problem);
	else if (r.status != 200)
		snprintf(f->problem, sizeof f->problem, "it says %d", r.status);
	(void)pthread_mutex_lock(&v->lock);
	if (f->problem[0] == '\0')
		keys_take(v, (struct ph_str){ r.body.p, r.body.n }, f->problem, sizeof f->problem);
	if (f->problem[0] != '\0') {
		v->keys_next = oauth_now() + FAILED_PAUSE_MS;
		snprintf(v->problem, sizeof v->problem, "%s", f->problem);
	}
	v->fetching = false;
	oauth_wake_all(&v->waiters);
	(void)pthread_mutex_unlock(&v->lock);
	oauth_reply_done(&r);
	oauth_thread_done();
}

static void
keys_done(void *arg)
{
	struct keys_fetch *f = arg;

	tell(f->v, f->w, f->v->cfg->server.jwks_uri, f->problem);
	free(f);
}

/* Lock held. */
static bool
keys_start(struct oauth_verifier *v, struct ph_worker *w)
{
	struct keys_fetch *f;

	if (v->fetching)
		return true;
	if (v->cfg->server.jwks_uri == NULL || oauth_now() < v->keys_next)
		return false;
	f = calloc(1, sizeof *f);
	if (f == NULL)
		return false;
	*f = (struct keys_fetch){ .v = v, .w = w };
	if (ph_work(w, keys_work, keys_done, f) < 0) {
		free(f);
		return false;
	}
	v->fetching = true;
	return true;
}

/* Lock held.  A local file: read here and now, when it has changed. */
static void
keys_look_at_file(struct oauth_verifier *v)
{
	const char *path = v->cfg->server.jwks_file;
	struct oauth_stamp stamp;
	struct stat st;
	char *buf;
	ssize_t n = -1;
	int fd;

	if (path == NULL || stat(path, &st) != 0)
		return;
	stamp = (struct oauth_stamp){ st.st_mtim.tv_sec, st.st_mtim.tv_nsec, st.st_ino };
	if (stamp.seconds == v->stamp.seconds && stamp.nanoseconds == v->stamp.nanoseconds &&
	    stamp.inode == v->stamp.inode)
		return;
	v->stamp = stamp;
	buf = malloc(FILE_MOST);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && buf != NULL)
		n = read(fd, buf, FILE_MOST);
	if (fd >= 0)
		(void)close(fd);
	if (n > 0)
		keys_take(v, (struct ph_str){ buf, (size_t)n }, v->problem, sizeof v->problem);
	free(buf);
}

static bool
verify_by_keys(struct oauth_verifier *v, struct ph_sasl *x, struct oauth_asking *a,
               struct ph_str token, void (*ready)(struct ph_sasl *, struct ph_ticket),
               struct oauth_verdict *out)
{
	struct oauth_jwt jwt;
	bool known, old, waits = false, is_signed = false;
	int64_t expires;
	const char *why;

	if (oauth_jwt_parse(token, &jwt, &why) != 0) {
		bad(out, why);
		return true;
	}
	(void)pthread_mutex_lock(&v->lock);
	keys_look_at_file(v);
	known = oauth_jwks_knows(&v->keys, &jwt);
	old = oauth_now() >= v->keys_until;
	/* Also with a key that is known: the issuer may have withdrawn it. */
	if ((!known || old) && keys_start(v, ph_sasl_worker(x)))
		waits = !a->waited && v->waiters.n < WAITING_MOST &&
		    oauth_wait(&v->waiters, x, ready, &a->waiter) != NULL;
	/* An endpoint that is away does not make withdrawn keys good for ever. */
	if (v->cfg->server.jwks_uri != NULL && v->keys.n > 0 &&
	    oauth_now() >= v->keys_until + v->cfg->server.jwks_age.ms) {
		known = false;
		later(out, v->problem[0] != '\0' ? v->problem : "the keys to check tokens with are too old");
	} else if (known)
		is_signed = oauth_jwks_signed(&v->keys, &jwt);
	else if (v->keys.n == 0)
		later(out, v->problem[0] != '\0' ? v->problem : "there are no keys to check tokens with");
	else
		bad(out, "the token is signed with a key that its issuer does not show");
	(void)pthread_mutex_unlock(&v->lock);
	a->waited = a->waited || waits;
	if (known && !is_signed)
		bad(out, "the token's signature is wrong");
	else if (known)
		judge(v->cfg, jwt.claims, false, out, &expires);
	oauth_jwt_done(&jwt);
	return !waits;
}

/* --- introspection --- */

struct introspection {
	struct oauth_verifier *v;
	struct ph_worker *w;
	/* the worker's */
	struct ph_sasl *x;              /* NULL: has left */
	struct ph_ticket ticket;
	void (*ready)(struct ph_sasl *x, struct ph_ticket ticket);
	bool over;
	/* the pool's until it is over */
	char *token;
	uint8_t hash[SHA256_DIGEST_LENGTH];
	struct oauth_verdict verdict;
	char problem[400];
};

static struct cached *
cache_place(struct oauth_verifier *v, const uint8_t *hash)
{
	uint64_t n;

	memcpy(&n, hash, sizeof n);
	return &v->cache[n % (uint64_t)v->cfg->server.cache_size];
}

static bool
cache_get(struct oauth_verifier *v, const uint8_t *hash, struct oauth_verdict *out)
{
	const struct cached *c = cache_place(v, hash);
	bool hit;

	(void)pthread_mutex_lock(&v->lock);
	hit = c->until > oauth_now() && memcmp(c->hash, hash, sizeof c->hash) == 0;
	if (hit) {
		*out = (struct oauth_verdict){ .is = OAUTH_GOOD };
		memcpy(out->user, c->user, sizeof out->user);
	}
	(void)pthread_mutex_unlock(&v->lock);
	return hit;
}

static void
cache_put(struct oauth_verifier *v, const struct introspection *j, int64_t expires)
{
	struct cached *c = cache_place(v, j->hash);
	int64_t life = v->cfg->server.cache.ms, left = (expires - (int64_t)time(NULL)) * 1000;

	if (expires != 0 && left < life)
		life = left;
	if (life <= 0)
		return;
	(void)pthread_mutex_lock(&v->lock);
	memcpy(c->hash, j->hash, sizeof c->hash);
	memcpy(c->user, j->verdict.user, sizeof c->user);
	c->until = oauth_now() + life;
	(void)pthread_mutex_unlock(&v->lock);
}

static void
read_introspection(struct introspection *j, const struct oauth_reply *r)
{
	json_t *o = r->status == 200 && r->body.n > 0
	    ? json_loadb(r->body.p, r->body.n, JSON_REJECT_DUPLICATES, NULL) : NULL;
	const json_t *active = json_object_get(o, "active");
	int64_t expires = 0;

	if (!json_is_boolean(active)) {
		if (r->status == 401 || r->status == 403)
			snprintf(j->problem, sizeof j->problem, "it says %d: look at the server's client-id "
			    "and client-secret-file", r->status);
		else
			snprintf(j->problem, sizeof j->problem, "it says %d%s", r->status,
			    r->status == 200 ? ", and what follows is not the answer to an introspection" : "");
		later(&j->verdict, j->problem);
	} else if (json_is_false(active))
		bad(&j->verdict, "the issuer says that the token is not valid (any more)");
	else {
		judge(j->v->cfg, o, true, &j->verdict, &expires);
		if (j->verdict.is == OAUTH_GOOD)
			cache_put(j->v, j, expires);
	}
	json_decref(o);
}

static void
introspect_work(void *arg)
{
	struct introspection *j = arg;
	const struct oauth_cfg *cfg = j->v->cfg;
	struct oauth_http how = { cfg->ca_file, cfg->timeout.ms };
	struct oauth_text form = { 0 };
	struct oauth_reply r;

	oauth_text_form(&form, "token", j->token, strlen(j->token));
	oauth_text_adds(&form, "&token_type_hint=access_token");
	if (oauth_http(&how, cfg->server.introspection_endpoint, &form, cfg->server.client_id,
	    &cfg->server.client_secret, &r) != 0) {
		snprintf(j->problem, sizeof j->problem, "%s", r.problem);
		later(&j->verdict, j->problem);
	} else
		read_introspection(j, &r);
	oauth_reply_done(&r);
	oauth_text_done(&form);
	oauth_thread_done();
}

static void
introspection_free(struct introspection *j)
{
	oauth_forget(&j->token);
	free(j);
}

static void
introspect_done(void *arg)
{
	struct introspection *j = arg;
	struct oauth_verifier *v = j->v;

	tell(v, j->w, v->cfg->server.introspection_endpoint, j->problem);
	(void)pthread_mutex_lock(&v->lock);
	v->introspecting--;
	oauth_wake_one(&v->waiters);
	(void)pthread_mutex_unlock(&v->lock);
	j->over = true;
	if (j->x == NULL)
		introspection_free(j);
	else
		j->ready(j->x, j->ticket);      /* takes the verdict, and the job with it */
}

static bool
introspect_start(struct oauth_verifier *v, struct ph_sasl *x, struct oauth_asking *a,
                 struct ph_str token, const uint8_t *hash,
                 void (*ready)(struct ph_sasl *, struct ph_ticket))
{
	struct introspection *j = calloc(1, sizeof *j);

	if (j == NULL)
		return false;
	*j = (struct introspection){ .v = v, .w = ph_sasl_worker(x), .x = x,
	    .ticket = ph_sasl_ticket(x), .ready = ready, .token = oauth_copy(token.p, token.n) };
	memcpy(j->hash, hash, sizeof j->hash);
	if (j->token == NULL || ph_work(j->w, introspect_work, introspect_done, j) < 0) {
		introspection_free(j);
		return false;
	}
	a->job = j;
	return true;
}

static bool
verify_by_asking(struct oauth_verifier *v, struct ph_sasl *x, struct oauth_asking *a,
                 struct ph_str token, void (*ready)(struct ph_sasl *, struct ph_ticket),
                 struct oauth_verdict *out)
{
	uint8_t hash[SHA256_DIGEST_LENGTH];
	bool start, waits = false;

	if (a->job != NULL) {
		*out = a->job->verdict;
		introspection_free(a->job);
		a->job = NULL;
		return true;
	}
	SHA256((const uint8_t *)token.p, token.n, hash);
	if (cache_get(v, hash, out))
		return true;
	(void)pthread_mutex_lock(&v->lock);
	start = v->introspecting < INTROSPECT_MOST;
	if (start)
		v->introspecting++;
	else if (v->waiters.n < WAITING_MOST)
		waits = oauth_wait(&v->waiters, x, ready, &a->waiter) != NULL;
	(void)pthread_mutex_unlock(&v->lock);
	if (waits)
		return false;
	if (start && introspect_start(v, x, a, token, hash, ready))
		return false;
	(void)pthread_mutex_lock(&v->lock);
	if (start)
		v->introspecting--;
	(void)pthread_mutex_unlock(&v->lock);
	later(out, "too many tokens are being checked at once");
	return true;
}

/* --- both --- */

bool
oauth_verify(struct oauth_verifier *v, struct ph_sasl *x, struct oauth_asking *a,
             struct ph_str token, void (*ready)(struct ph_sasl *x, struct ph_ticket ticket),
             struct oauth_verdict *out)
{
	return v->cfg->server.introspection_endpoint != NULL
	    ? verify_by_asking(v, x, a, token, ready, out)
	    : verify_by_keys(v, x, a, token, ready, out);
}

void
oauth_verify_leave(struct oauth_verifier *v, struct oauth_asking *a)
{
	(void)pthread_mutex_lock(&v->lock);
	oauth_wait_leave(&v->waiters, &a->waiter);
	/* The one that was woken in our place, when we were: else a free turn is lost. */
	if (v->cfg->server.introspection_endpoint != NULL && v->introspecting < INTROSPECT_MOST)
		oauth_wake_one(&v->waiters);
	(void)pthread_mutex_unlock(&v->lock);
	if (a->job == NULL)
		return;
	a->job->x = NULL;
	if (a->job->over)
		introspection_free(a->job);
	a->job = NULL;
}
