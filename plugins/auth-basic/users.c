/*
 * users.c - the users file as it was read, and whether a password fits.
 *
 * Whoever is not in the file is checked like somebody who is: against the hash of a user that is
 * picked by the name, so that neither the reply nor the time tells who has an account.
 */
#include "users.h"

#include <crypt.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <posthouse/service.h>

#include "credentials.h"
#include "users_private.h"

struct users *
users_empty(const struct users_about *about)
{
	struct users *u = calloc(1, sizeof *u);

	if (u == NULL)
		return NULL;
	atomic_init(&u->refs, 1);
	u->about = about;
	return u;
}

struct users *
users_ref(struct users *u)
{
	atomic_fetch_add_explicit(&u->refs, 1, memory_order_relaxed);
	return u;
}

void
users_unref(struct users **up)
{
	struct users *u = *up;

	*up = NULL;
	if (u == NULL || atomic_fetch_sub_explicit(&u->refs, 1, memory_order_acq_rel) != 1)
		return;
	if (u->text != NULL)
		ph_wipe(u->text, u->text_n);
	if (u->v != NULL)
		ph_wipe(u->v, u->n * sizeof *u->v);
	free(u->text);
	free(u->v);
	ph_wipe(u, sizeof *u);
	free(u);
}

size_t
users_count(const struct users *u)
{
	return u->n;
}

int
user_compare(struct ph_str a, struct ph_str b)
{
	int c = strncasecmp(a.p, b.p, a.n < b.n ? a.n : b.n);

	return c != 0 ? c : a.n < b.n ? -1 : a.n > b.n;
}

static const struct user *
find_exactly(const struct users *u, struct ph_str name)
{
	size_t low = 0, high = u->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int c = user_compare(name, u->v[mid].line.name);

		if (c == 0)
			return &u->v[mid];
		if (c < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return NULL;
}

/* Also without the default domain, which whoever wrote the file may have left out. */
static const struct user *
find(const struct users *u, struct ph_str name)
{
	const struct user *found = find_exactly(u, name);
	const char *domain = u->about->default_domain;
	size_t n = domain != NULL ? strlen(domain) : 0;

	if (found == NULL && n > 0 && name.n > n + 1 && name.p[name.n - n - 1] == '@' &&
	    strncasecmp(name.p + name.n - n, domain, n) == 0)
		found = find_exactly(u, (struct ph_str){ name.p, name.n - n - 1 });
	return found;
}

/* What is made from the secret, a label and the name without regard to case. */
static void
derive(const uint8_t secret[SCRAM_KEY], char label, struct ph_str name, uint8_t out[SCRAM_KEY])
{
	char text[1 + NAME_LIMIT];
	size_t n = name.n < NAME_LIMIT ? name.n : NAME_LIMIT;

	text[0] = label;
	for (size_t i = 0; i < n; i++)
		text[1 + i] = name.p[i] >= 'A' && name.p[i] <= 'Z' ? (char)(name.p[i] + 32)
		                                                   : name.p[i];
	if (scram_hmac(secret, (struct ph_str){ text, n + 1 }, out) != 0)
		memcpy(out, secret, SCRAM_KEY);         /* nothing that could be guessed */
}

/* Somebody of the file, the same for the same name. */
static const struct user *
stand_in(const struct users *u, struct ph_str name)
{
	uint8_t h[SCRAM_KEY];
	uint64_t k;

	if (u->n == 0)
		return NULL;
	derive(u->about->secret, 'u', name, h);
	memcpy(&k, h, sizeof k);
	return &u->v[k % u->n];
}

/* --- passwords --- */

/* A cost that nobody has chosen: that of an empty file. */
#define DUMMY_SETTING "$y$j9T$Rz9lRMGdvvmbcVPhfsaxR1$"

static int
crypt_fits(const char *password, const char *hash, const char *setting)
{
	struct crypt_data *d = calloc(1, sizeof *d);
	const char *got;
	size_t n = strlen(hash);
	int rc = PH_EPERM;

	if (d == NULL)
		return PH_ENOMEM;
	got = crypt_rn(password, setting, d, (int)sizeof *d);
	if (got == NULL)
		rc = PH_EIO;
	else if (strlen(got) == n && n > 4 && scram_same(got, hash, n))
		rc = 0;
	ph_wipe(d, sizeof *d);
	free(d);
	return rc;
}

static int
verifier_fits(struct ph_str password, const struct user_verifier *v)
{
	uint8_t salted[SCRAM_KEY], stored[SCRAM_KEY];
	int rc = scram_hi(password, (struct ph_str){ (const char *)v->salt, v->salt_n },
	    v->iterations, salted);

	if (rc == 0)
		rc = scram_keys(salted, NULL, stored, NULL);
	if (rc == 0 && !scram_same(stored, v->stored, SCRAM_KEY))
		rc = PH_EPERM;
	ph_wipe(salted, sizeof salted);
	ph_wipe(stored, sizeof stored);
	return rc;
}

static int
fits(const struct user *who, struct ph_str password)
{
	char text[PASSWORD_LIMIT + 1];
	int rc;

	if (who != NULL && who->line.hash.p == NULL)
		return who->has_verifier ? verifier_fits(password, &who->verifier) : PH_EPERM;
	memcpy(text, password.p, password.n);
	text[password.n] = '\0';
	/* the hash in the file is ended by NUL when it is read */
	rc = who != NULL ? crypt_fits(text, who->line.hash.p, who->line.hash.p)
	                 : crypt_fits(text, "", DUMMY_SETTING);
	ph_wipe(text, sizeof text);
	return rc;
}

int
users_verify(const struct users *u, struct ph_str name, struct ph_str password,
             struct ph_str *out_name)
{
	const struct user *who = find(u, name), *as = who != NULL ? who : stand_in(u, name);
	int rc;

	if (!password_valid(password))
		return PH_EPERM;
	rc = fits(as, password);
	if (rc != 0)
		return rc;
	if (who == NULL)
		return PH_EPERM;
	*out_name = who->line.name;
	return 0;
}

/* --- SCRAM --- */

void
user_verifier_fake(const uint8_t secret[SCRAM_KEY], struct ph_str name, int64_t iterations,
                   size_t salt_n, struct user_verifier *out)
{
	uint8_t h[2 * SCRAM_KEY];

	memset(out, 0, sizeof *out);
	derive(secret, 's', name, h);
	derive(secret, 't', name, h + SCRAM_KEY);
	out->iterations = iterations;
	out->salt_n = salt_n <= SCRAM_SALT_MAX ? salt_n : SCRAM_SALT_MAX;
	memcpy(out->salt, h, out->salt_n);
	derive(secret, 'k', name, out->stored);
	derive(secret, 'v', name, out->server);
}

void
users_fake(const struct users *u, struct ph_str name, struct user_verifier *out)
{
	const struct user *like = stand_in(u, name);

	if (like == NULL || !like->has_verifier)
		like = u->sample;
	user_verifier_fake(u->about->secret, name, like != NULL ? like->verifier.iterations
	    : USERS_ITERATIONS, like != NULL ? like->verifier.salt_n : USERS_SALT, out);
}

int
users_verifier(const struct users *u, struct ph_str name, struct user_verifier *out,
               struct ph_str *out_name)
{
	const struct user *who = find(u, name);

	if (who == NULL || !who->has_verifier)
		return PH_EPERM;
	*out = who->verifier;
	*out_name = who->line.name;
	return 0;
}
