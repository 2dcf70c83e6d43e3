/*
 * files.c - reading the files of certificates and keys, and noticing that they changed.
 *
 * A stamp is taken of what a name leads to in the end: files replaced by rename, links
 * pointed elsewhere (certbot) and linked directories exchanged (Kubernetes) all show.
 */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tls.h"

void
tls_error(struct tls_report *r, const char *option, const char *fmt, ...)
{
	char text[TLS_TEXT];
	va_list ap;

	r->errors++;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);    /* a longer one is cut */
	va_end(ap);
	if (r->setup != NULL)
		ph_complain(r->setup, option, "%s", text);
	else if (r->first[0] == '\0')
		memcpy(r->first, text, sizeof r->first);
}

void
tls_warning(struct tls_report *r, const char *option, const char *fmt, ...)
{
	char text[TLS_TEXT];
	size_t n = strlen(r->warnings);
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (r->setup != NULL)
		ph_warn(r->setup, option, "%s", text);
	else
		(void)snprintf(r->warnings + n, sizeof r->warnings - n, "%s%s", n > 0 ? "; " : "", text);
}

static void
stamp_set(struct tls_stamp *s, const struct stat *st)
{
	s->there = true;
	s->dev = st->st_dev;
	s->ino = st->st_ino;
	s->size = st->st_size;
	s->changed = st->st_ctim;
	s->mtime = st->st_mtim;
}

static void
stamp_take(struct tls_stamp *s)
{
	struct stat st;

	s->there = false;
	if (stat(s->path, &st) == 0)
		stamp_set(s, &st);
}

static bool
stamp_same(const struct tls_stamp *a, const struct tls_stamp *b)
{
	if (!a->there || !b->there)
		return a->there == b->there;
	return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
	       a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec &&
	       a->mtime.tv_sec == b->mtime.tv_sec && a->mtime.tv_nsec == b->mtime.tv_nsec;
}

static struct tls_stamp *
stamp_add(struct tls_stamps *s, const char *path)
{
	struct tls_stamp *v = realloc(s->v, (s->n + 1) * sizeof *v);

	if (v == NULL)
		return NULL;
	s->v = v;
	v += s->n;
	*v = (struct tls_stamp){ .path = path };
	s->n++;
	return v;
}

bool
tls_stamps_changed(const struct tls_stamps *s)
{
	for (size_t i = 0; i < s->n; i++) {
		struct tls_stamp now = { .path = s->v[i].path };

		stamp_take(&now);
		if (!stamp_same(&now, &s->v[i]))
			return true;
	}
	return false;
}

bool
tls_stamps_same(const struct tls_stamps *a, const struct tls_stamps *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (!stamp_same(&a->v[i], &b->v[i]))
			return false;
	return true;
}

void
tls_stamps_refresh(struct tls_stamps *s)
{
	for (size_t i = 0; i < s->n; i++)
		stamp_take(&s->v[i]);
}

void
tls_stamps_copy(struct tls_stamps *to, const struct tls_stamps *from)
{
	tls_stamps_free(to);
	for (size_t i = 0; i < from->n; i++) {
		struct tls_stamp *s = stamp_add(to, from->v[i].path);

		if (s != NULL)
			*s = from->v[i];
	}
}

void
tls_stamps_free(struct tls_stamps *s)
{
	free(s->v);
	*s = (struct tls_stamps){ 0 };
}

static const char *
whoami(void)
{
	const struct passwd *pw = getpwuid(geteuid());

	return pw != NULL ? pw->pw_name : "an unnamed user";
}

/* 0, or an error number; the bytes are in *out then. */
static int
read_all(int fd, size_t size, BIO **out)
{
	char *bytes = size > 0 ? OPENSSL_malloc(size) : NULL;
	size_t n = 0;

	if (bytes == NULL)
		return size > 0 ? ENOMEM : ENODATA;
	while (n < size) {
		ssize_t got = read(fd, bytes + n, size - n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		n += (size_t)got;
	}
	*out = BIO_new(BIO_s_secmem());
	int rc = *out != NULL && BIO_write(*out, bytes, (int)n) == (int)n ? 0 : ENOMEM;
	OPENSSL_clear_free(bytes, size);
	return rc;
}

BIO *
tls_file_open(struct tls_report *r, const char *option, const char *path, bool secret,
              struct tls_stamps *stamps)
{
	struct tls_stamp *stamp = stamps != NULL ? stamp_add(stamps, path) : NULL;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	BIO *bio = NULL;

	if (fd < 0 || fstat(fd, &st) != 0) {
		int err = errno;

		if (err == EACCES)
			tls_error(r, option, "%s: %s (for the user %s)", path, strerror(err), whoami());
		else
			tls_error(r, option, "%s: %s", path, strerror(err));
	} else if (!S_ISREG(st.st_mode)) {
		tls_error(r, option, "%s is not a file", path);
	} else if (st.st_size > TLS_FILE_MOST) {
		tls_error(r, option, "%s is too large for a file of certificates", path);
	} else {
		int rc = read_all(fd, (size_t)st.st_size, &bio);

		if (stamp != NULL)
			stamp_set(stamp, &st);
		if (rc == ENODATA)
			tls_error(r, option, "%s is empty", path);
		else if (rc != 0)
			tls_error(r, option, "%s: %s", path, strerror(rc));
		if (secret && (st.st_mode & S_IROTH))
			tls_warning(r, option, "everybody may read the key %s; run chmod o-r %s",
			    path, path);
	}
	if (fd >= 0)
		close(fd);
	return bio;
}
