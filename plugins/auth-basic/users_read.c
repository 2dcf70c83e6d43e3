/*
 * users_read.c - reads the users file whole, or says what is wrong in which line.
 *
 * A file with a mistake is not used at all: half of the users would be refused without anybody
 * knowing why.
 */
#include "users.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <posthouse/service.h>

#include "credentials.h"
#include "users_private.h"

enum { SAY_MAX = 10 };

/* --- verifiers --- */

static struct ph_str
cut(struct ph_str s, char at, struct ph_str *rest)
{
	const char *p = s.n > 0 ? memchr(s.p, at, s.n) : NULL;

	if (p == NULL) {
		*rest = (struct ph_str){ NULL, 0 };
		return s;
	}
	*rest = (struct ph_str){ p + 1, s.n - (size_t)(p - s.p) - 1 };
	return (struct ph_str){ s.p, (size_t)(p - s.p) };
}

int
user_verifier_parse(struct ph_str text, struct user_verifier *out)
{
	struct ph_str rest, scheme = cut(text, '$', &rest), cost, keys, iterations, salt, stored,
	              server;
	struct user_verifier v = { 0 };
	size_t n;

	cost = cut(rest, '$', &keys);
	iterations = cut(cost, ':', &salt);
	stored = cut(keys, ':', &server);
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
	l.name = cut(line, ':', &rest);
	if ((*why = user_name_problem(l.name)) != NULL)
		return PH_EINVAL;
	l.hash = cut(rest, ':', &l.verifier);
	if (rest.p == NULL || l.hash.n == 0) {
		*why = "there is no password hash behind the name; \"NAME:HASH\" is wanted";
		return PH_EINVAL;
	}
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

struct reading {
	const char *path;
	users_say say;
	void *arg;
	unsigned said;
};

static void complain(struct reading *r, size_t line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* line 0: the file as a whole */
static void
complain(struct reading *r, size_t line, const char *fmt, ...)
{
	char what[512], text[1024];
	va_list ap;

	if (r->said++ > SAY_MAX || r->say == NULL)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(what, sizeof what, fmt, ap);
	va_end(ap);
	if (r->said > SAY_MAX)
		(void)snprintf(text, sizeof text, "%s: more mistakes follow", r->path);
	else if (line > 0)
		(void)snprintf(text, sizeof text, "%s:%zu: %s", r->path, line, what);
	else
		(void)snprintf(text, sizeof text, "%s %s", r->path, what);
	r->say(r->arg, text);
}

static int
load(struct reading *r, int fd, size_t size, char **out)
{
	char *text = malloc(size + 1);
	size_t n = 0;

	while (text != NULL && n < size) {
		ssize_t got = read(fd, text + n, size - n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		n += (size_t)got;
	}
	if (text == NULL || n < size) {
		/* somebody is writing it just now, or the disk is broken */
		complain(r, 0, "could not be read whole");
		if (text != NULL)
			ph_wipe(text, n);
		free(text);
		return PH_EIO;
	}
	text[size] = '\0';
	*out = text;
	return 0;
}

static int
open_file(struct reading *r, struct stat *st)
{
	int fd = open(r->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return PH_ENOENT;
	if (fd < 0) {
		int why = errno;

		complain(r, 0, "cannot be read: %s", strerror(why));
		return why == EACCES || why == EPERM ? PH_EPERM : PH_EIO;
	}
	if (fstat(fd, st) != 0 || !S_ISREG(st->st_mode)) {
		complain(r, 0, "is not a file");
	} else if ((st->st_mode & 0027) != 0) {
		complain(r, 0, "has mode %04o: others could read it or change it; chmod 0640 or 0600",
		    (unsigned)(st->st_mode & 07777));
		close(fd);
		return PH_EPERM;
	} else if (st->st_size > USERS_FILE_MAX) {
		complain(r, 0, "is larger than 256 MiB");
	} else {
		return fd;
	}
	close(fd);
	return PH_EIO;
}

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
sort(struct reading *r, struct users *u)
{
	if (u->n > 0)
		qsort(u->v, u->n, sizeof *u->v, by_name);
	for (size_t i = 0; i < u->n; i++) {
		if (i > 0 && user_compare(u->v[i - 1].line.name, u->v[i].line.name) == 0)
			complain(r, u->v[i].number, "\"%.*s\" stands in line %zu already",
			    (int)u->v[i].line.name.n, u->v[i].line.name.p, u->v[i - 1].number);
		if (u->sample == NULL && u->v[i].has_verifier)
			u->sample = &u->v[i];
	}
}

static int
parse(struct reading *r, struct users *u)
{
	struct ph_str rest = { u->text, u->text_n }, line;
	size_t room = 0, number = 0;

	while (rest.n > 0) {
		struct user_line l;
		const char *why = NULL;
		int rc;

		line = cut(rest, '\n', &rest);
		number++;
		if (line.n > USER_LINE_MAX) {
			complain(r, number, "the line is longer than %d octets", USER_LINE_MAX);
			continue;
		}
		if ((rc = user_line_parse(line, &l, &why)) < 0)
			complain(r, number, "%s", why);
		else if (rc > 0 && add(u, &room, l, number) != 0) {
			complain(r, number, "there are more users than can be kept");
			return PH_ELIMIT;
		}
	}
	sort(r, u);
	/* Only now, as it ends the views of those that stand behind: crypt wants a NUL. */
	for (size_t i = 0; i < u->n; i++)
		if (u->v[i].line.hash.p != NULL)
			u->text[(size_t)(u->v[i].line.hash.p - u->text) + u->v[i].line.hash.n] = '\0';
	return r->said > 0 ? PH_EINVAL : 0;
}

int
users_read(const char *path, const uint8_t secret[SCRAM_KEY], struct users **out,
           struct stat *out_st, users_say say, void *arg)
{
	struct reading r = { .path = path, .say = say, .arg = arg };
	struct users *u;
	struct stat st;
	int fd = open_file(&r, &st), rc;

	if (fd < 0)
		return fd;
	u = users_empty(secret);
	rc = u != NULL ? load(&r, fd, (size_t)st.st_size, &u->text) : PH_ENOMEM;
	close(fd);
	if (rc == 0) {
		u->text_n = (size_t)st.st_size;
		rc = parse(&r, u);
	}
	if (rc != 0) {
		users_unref(&u);
		return rc;
	}
	*out = u;
	if (out_st != NULL)
		*out_st = st;
	return 0;
}
