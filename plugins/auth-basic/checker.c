/*
 * checker.c - the users file as a password checker for whatever mechanism asks.
 *
 * Hashing is slow on purpose, so it is done by pool threads, and only so many checks may wait for
 * one: who floods the relay with logins makes others wait, but neither the loop nor memory suffer.
 */
#include "basic.h"

#include <stdlib.h>
#include <string.h>
#include <openssl/crypto.h>

#include "credentials.h"
#include "users.h"

/* --- the file as a watched one --- */

static int
users_kind_read(const char *path, const void *arg, void **out, text_say say, void *say_arg)
{
	struct users *u;
	int rc = users_read(path, arg, &u, say, say_arg);

	if (rc == 0)
		*out = u;
	return rc;
}

static void *
users_kind_ref(void *object)
{
	return users_ref(object);
}

static void
users_kind_unref(void *object)
{
	struct users *u = object;

	users_unref(&u);
}

static size_t
users_kind_count(const void *object)
{
	return users_count(object);
}

const struct watched_kind users_kind = {
	.what = "users", .read = users_kind_read, .ref = users_kind_ref,
	.unref = users_kind_unref, .count = users_kind_count,
};

/* --- passwords --- */

/* Owns copies: the question's own text is wiped when its asker has waited for too long. */
struct hashing {
	struct ph_check *check;
	struct basic_state *state;
	struct users *users;
	char name[NAME_LIMIT], password[PASSWORD_LIMIT];
	size_t name_n, password_n;
	int status;
	struct ph_str found;            /* the name as the file has it; lives as long as users */
};

static void
hashing_run(void *arg)
{
	struct hashing *h = arg;

	h->status = users_verify(h->users, (struct ph_str){ h->name, h->name_n },
	    (struct ph_str){ h->password, h->password_n }, &h->found);
	/* libcrypto keeps some memory per thread, and pool threads never end properly */
	OPENSSL_thread_stop();
}

static void
hashing_free(struct hashing *h)
{
	atomic_fetch_sub(&h->state->checks, 1);
	users_unref(&h->users);
	ph_wipe(h, sizeof *h);
	free(h);
}

static void
hashing_done(void *arg)
{
	struct hashing *h = arg;

	ph_check_done(h->check, h->status, h->status == 0 ? h->found : (struct ph_str){ "", 0 });
	hashing_free(h);
}

static struct hashing *
hashing_new(struct basic_state *state, struct ph_check *check, struct ph_str name,
            struct ph_str password)
{
	struct hashing *h = malloc(sizeof *h);

	if (h == NULL)
		return NULL;
	*h = (struct hashing){ .check = check, .state = state, .name_n = name.n,
	                       .password_n = password.n, .status = PH_EIO };
	memcpy(h->name, name.p, name.n);
	memcpy(h->password, password.p, password.n);
	h->users = watched_get(state->users);
	atomic_fetch_add(&state->checks, 1);
	return h;
}

static void
users_check(struct ph_worker *w, struct ph_check *check)
{
	const struct basic_cfg *cfg = ph_worker_config(w);
	struct ph_str name = ph_check_user(check), password = ph_check_password(check), none = { "", 0 };
	struct hashing *h;

	if (!name_valid(name) || !password_valid(password)) {
		ph_check_done(check, PH_EPERM, none);
		return;
	}
	if (atomic_load(&cfg->state->checks) >= cfg->checks_at_once) {
		ph_check_done(check, PH_EBUSY, none);
		return;
	}
	h = hashing_new(cfg->state, check, name, password);
	if (h != NULL && ph_work(w, hashing_run, hashing_done, h) == 0)
		return;
	if (h != NULL)
		hashing_free(h);
	ph_check_done(check, PH_EBUSY, none);
}

/* --- verifiers: as the file has them, LF, the name as the file writes it --- */

static void
users_verifier_of(struct ph_worker *w, struct ph_check *check, const char *scheme)
{
	const struct basic_cfg *cfg = ph_worker_config(w);
	struct ph_str name = ph_check_user(check), found;
	char text[USER_VERIFIER_TEXT + NAME_LIMIT + 1];
	struct users *users = watched_get(cfg->state->users);
	struct user_verifier v = { 0 };
	int n = 0, rc = PH_EPERM;

	if (strcmp(scheme, USERS_SCHEME) == 0 && name_valid(name))
		rc = users_verifier(users, name, &v, &found);
	if (rc == 0 && (n = user_verifier_print(&v, text)) > 0) {
		text[n++] = '\n';
		memcpy(text + n, found.p, found.n);
		n += (int)found.n;
	}
	ph_check_done(check, n < 0 ? PH_EIO : rc, (struct ph_str){ text, n > 0 ? (size_t)n : 0 });
	users_unref(&users);
	ph_wipe(&v, sizeof v);
	ph_wipe(text, sizeof text);
}

const struct ph_password_checker users_checker = {
	.size = sizeof users_checker, .verify = users_check, .verifier = users_verifier_of,
};
