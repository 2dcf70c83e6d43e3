/*
 * users_read.c - reads the users file whole, or says what is wrong in which line.
 *
 * A file with a mistake is not used at all: half of the users would be refused without anybody
 * knowing why.
 */
#include "users.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <posthouse/service.h>

#include "credentials.h"
#include "users_private.h"

/* --- verifiers --- */

int
user_verifier_parse(struct ph_str text, struct user_verifier *out)
{
	struct ph_str rest, scheme = text_cut(text, '$', &rest), cost, keys, iterations, salt, stored,
	              server;
	struct user_verifier v = { 0 };
	size_t n;

	cost = text_cut(rest, '$', &keys);
	iterations = text_cut(cost, ':', &salt);
	stored = text_cut(keys, ':', &server);
	if (scheme.n != strlen(USERS_SCHEME) || memcmp(scheme.p, USERS_SCHEME, scheme.n) != 0 ||
	    scram_number(iterations, &v.iterations) != 0 ||
	    v.iterations < SCRAM_ITERATIONS_MIN ||
	    scram_octets(salt, v.salt, sizeof v.salt, &v.salt_n) != 0 || v.salt_n == 0 ||
	    scram_octets(stored, v.stored, sizeof v.stored, &n) != 0 || n != SCRAM_KEY ||
	    scram_octets(server, v.server, sizeof v.server, &n) != 0 || n != SCRAM_KEY)
		return PH_EINVAL;
	*out = v;
	return 0;
}

int
user_verifier_print(const struct user_verifier *v, char out[USER_VERIFIER_TEXT])
{
	char salt[100], stored[48], server[48];
	int n;

	if (ph_base64_encode((struct ph_str){ (const char *)v->salt, v->salt_n }, salt,
	    sizeof salt) < 0 ||
	    ph_base64_encode((struct ph_str){ (const char *)v->stored, SCRAM_KEY }, stored,
	    sizeof stored) < 0 ||
	    ph_base64_encode((struct ph_str){ (const char *)v->server, SCRAM_KEY }, server,
	    sizeof server) < 0)
		return PH_ELIMIT;
	n = snprintf(out, USER_VERIFIER_TEXT, USERS_SCHEME "$%lld:%s$%s:%s",
	    (long long)v->iterations, salt, stored, server);
	return n > 0 && n < USER_VERIFIER_TEXT ? n : PH_ELIMIT;
}

int
user_verifier_make(struct ph_str password, int64_t iterations, struct user_verifier *out)
{
	struct user_verifier v = { .iterations = iterations, .salt_n = USERS_SALT };
	uint8_t salted[SCRAM_KEY];
	int rc = scram_random(v.salt, v.salt_n);

	if (rc == 0)
		rc = scram_hi(password, (struct ph_str){ (const char *)v.salt, v.salt_n },
		    iterations, salted);
	if (rc == 0)
		rc = scram_keys(salted, NULL, v.stored, v.server);
	ph_wipe(salted, sizeof salted);
	if (rc == 0)
		*out = v;
	return rc;
}

/* --- a line --- */

const char *
user_name_problem(struct ph_str name)
{
	if (name.n == 0)
		return "the name is empty";
	if (name.n > NAME_LIMIT)
		return "the name is longer than 255 octets";
	if (!name_valid(name))
		return "the name is not UTF-8, has a control character, or a blank at an end";
	if (name.p[0] == '#')
		return "a name cannot begin with #, which begins a comment";
	for (size_t i = 0; i < name.n; i++)
		if (name.p[i] == ':' || name.p[i] == ' ')
			return "a name cannot have a colon or a blank";
	return NULL;
}

bool
user_domain_valid(const char *domain)
{
	struct ph_str d = { domain, strlen(domain) };

	return d.n <= 200 && strpbrk(domain, "@\\") == NULL && user_name_problem(d) == NULL;
}

const char *
user_hash_scheme(struct ph_str hash)
{
	static const struct { const char *prefix, *name; } kinds[] = {
		{ "$y$", "yescrypt" }, { "$gy$", "gost-yescrypt" }, { "$7$", "scrypt" },
		{ "$2b$", "bcrypt" }, { "$2y$", "bcrypt" }, { "$2a$", "bcrypt" },
		{ "$6$", "sha512" }, { "$5$", "sha256" },
	};

	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		size_t n = strlen(kinds[i].prefix);

		if (hash.n > n && memcmp(hash.p, kinds[i].prefix, n) == 0)
			return kinds[i].name;
	}
	return NULL;
}

static bool
hash_chars(struct ph_str hash)
{
	/* crypt(5): what a hash may consist of */
	for (size_t i = 0; i < hash.n; i++)
		if (hash.p[i] <= ' ' || hash.p[i] > '~' || strchr(":;*!\\", hash.p[i]) != NULL)
			return false;
	return true;
}

int
user_line_parse(struct ph_str line, struct user_line *out, const char **why)
{
	struct user_line l = { 0 };
	struct user_verifier v;
	struct ph_str rest;

	while (line.n > 0 && (line.p[line.n - 1] == '\r' || line.p[line.n - 1] == ' ' ||
	    line.p[line.n - 1] == '\t'))
		line.n--;
	if (line.n == 0 || line.p[0] == '#')
		return 0;
	l.name = text_cut(line, ':', &rest);
	l.hash = text_cut(rest, ':', &l.verifier);
	if (rest.p == NULL || l.hash.n == 0) {
		*why = "there is no password hash behind the name; \"NAME:HASH\" is wanted";
		return PH_EINVAL;
	}
	if ((*why = user_name_problem(l.name)) != NULL)
		return PH_EINVAL;
	if (l.hash.n == 1 && l.hash.p[0] == '-') {
		l.hash = (struct ph_str){ NULL, 0 };
	} else if (l.hash.p[0] == '{') {
		*why = "a scheme in braces is not known here; only the hash itself, from the $ on";
		return PH_EINVAL;
	} else if (user_hash_scheme(l.hash) == NULL || !hash_chars(l.hash)) {
		*why = "the hash is none of yescrypt ($y$), bcrypt ($2b$), SHA-512 ($6$) or SHA-256 "
		    "($5$)";
		return PH_EINVAL;
	}
	if (l.verifier.n == 0) {
		l.verifier = (struct ph_str){ NULL, 0 };
	} else if (user_verifier_parse(l.verifier, &v) != 0) {
		*why = "the third part is not SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY, or "
		    "has fewer than 4096 iterations";
		return PH_EINVAL;
	}
	if (l.hash.p == NULL && l.verifier.p == NULL) {
		*why = "there is neither a hash nor a verifier";
		return PH_EINVAL;
	}
	*out = l;
	return 1;
}

/* --- the file --- */

static int
add(struct users *u, size_t *room, struct user_line line, size_t number)
{
	struct user *v = u->v;

	if (u->n == *room) {
		size_t more = *room == 0 ? 64 : 2 * *room;

		if (more > USERS_MAX || (v = calloc(more, sizeof *v)) == NULL)
			return PH_ELIMIT;
		if (u->n > 0) {
			memcpy(v, u->v, u->n * sizeof *v);
			ph_wipe(u->v, u->n * sizeof *v);
		}
		free(u->v);
		u->v = v;
		*room = more;
	}
	v = &u->v[u->n++];
	*v = (struct user){ .line = line, .number = number };
	v->has_verifier = line.verifier.p != NULL &&
	    user_verifier_parse(line.verifier, &v->verifier) == 0;
	return 0;
}

static int
by_name(const void *a, const void *b)
{
	const struct user *x = a, *y = b;
	int c = user_compare(x->line.name, y->line.name);

	return c != 0 ? c : x->number < y->number ? -1 : x->number > y->number;
}

static void
sort(struct textfile *f, struct users *u)
{
	if (u->n > 0)
		qsort(u->v, u->n, sizeof *u->v, by_name);
	for (size_t i = 0; i < u->n; i++) {
		if (i > 0 && user_compare(u->v[i - 1].line.name, u->v[i].line.name) == 0)
			textfile_complain(f, u->v[i].number, "\"%.*s\" stands in line %zu already",
			    (int)u->v[i].line.name.n, u->v[i].line.name.p, u->v[i - 1].number);
		if (u->sample == NULL && u->v[i].has_verifier)
			u->sample = &u->v[i];
	}
}

static int
parse(struct textfile *f, struct users *u)
{
	struct ph_str line;
	size_t room = 0;

	while (textfile_line(f, &line)) {
		const char *why = NULL;
		struct user_line l;
		int rc;

		if (line.n > USER_LINE_MAX) {
			textfile_complain(f, f->number, "the line is longer than %d octets",
			    USER_LINE_MAX);
			continue;
		}
		if ((rc = user_line_parse(line, &l, &why)) < 0) {
			textfile_complain(f, f->number, "%s", why);
		} else if (rc > 0 && add(u, &room, l, f->number) != 0) {
			textfile_complain(f, f->number, "there are more users than can be kept");
			return PH_ELIMIT;
		}
	}
	sort(f, u);
	/* Only now: crypt wants a NUL, which takes the place of what stood behind. */
	for (size_t i = 0; i < u->n; i++)
		if (u->v[i].line.hash.p != NULL)
			f->text[(size_t)(u->v[i].line.hash.p - f->text) + u->v[i].line.hash.n] = '\0';
	return f->said > 0 ? PH_EINVAL : 0;
}

int
users_read(const char *path, const struct users_about *about, struct users **out, text_say say,
           void *arg)
{
	struct textfile f = { .path = path, .say = say, .arg = arg };
	struct users *u;
	int rc = textfile_load(&f, 0027);

	if (rc != 0)
		return rc;
	u = users_empty(about);
	rc = u != NULL ? parse(&f, u) : PH_ENOMEM;
	if (rc == 0) {
		u->text_n = f.n;
		u->text = textfile_take(&f);
		*out = u;
	} else {
		users_unref(&u);
	}
	textfile_free(&f);
	return rc;
}
