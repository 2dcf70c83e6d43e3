/*
 * textfile.c - reading a file of lines whole.  It must be a regular one that nobody else can
 * change: who can write to it decides who may log in.
 */
#include "textfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <posthouse/service.h>

enum { SAY_MAX = 10, SIZE_MAX_BYTES = 256 << 20 };

void
textfile_complain(struct textfile *f, size_t line, const char *fmt, ...)
{
	char what[512], text[1024];
	va_list ap;

	if (f->said++ > SAY_MAX || f->say == NULL)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(what, sizeof what, fmt, ap);
	va_end(ap);
	if (f->said > SAY_MAX)
		(void)snprintf(text, sizeof text, "%s: more mistakes follow", f->path);
	else if (line > 0)
		(void)snprintf(text, sizeof text, "%s:%zu: %s", f->path, line, what);
	else
		(void)snprintf(text, sizeof text, "%s %s", f->path, what);
	f->say(f->arg, text);
}

static int
open_file(struct textfile *f, unsigned forbidden, struct stat *st)
{
	/* not to wait for a writer, should it be a pipe */
	int fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), rc = PH_EIO;

	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return PH_ENOENT;
	if (fd < 0) {
		rc = errno == EACCES || errno == EPERM ? PH_EPERM : PH_EIO;
		textfile_complain(f, 0, "cannot be read: %s", strerror(errno));
		return rc;
	}
	if (fstat(fd, st) != 0 || !S_ISREG(st->st_mode)) {
		textfile_complain(f, 0, "is not a file");
	} else if ((st->st_mode & forbidden) != 0) {
		textfile_complain(f, 0, "has mode %04o: others could %s it; chmod %s",
		    (unsigned)(st->st_mode & 07777),
		    (st->st_mode & forbidden & 0022) != 0 ? "change" : "read",
		    (forbidden & 0004) != 0 ? "0640 or 0600" : "0644");
		rc = PH_EPERM;
	} else if (st->st_size > SIZE_MAX_BYTES) {
		textfile_complain(f, 0, "is larger than 256 MiB");
		rc = PH_ELIMIT;
	} else {
		return fd;
	}
	close(fd);
	return rc;
}

int
textfile_load(struct textfile *f, unsigned forbidden)
{
	struct stat st;
	int fd = open_file(f, forbidden, &st);
	size_t size, n = 0;

	if (fd < 0)
		return fd;
	size = (size_t)st.st_size;
	f->text = malloc(size + 1);
	while (f->text != NULL && n < size) {
		ssize_t got = read(fd, f->text + n, size - n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		n += (size_t)got;
	}
	close(fd);
	f->n = n;
	if (f->text == NULL)
		return PH_ENOMEM;
	if (n < size) {
		/* somebody makes it shorter just now, or the disk is broken */
		textfile_complain(f, 0, "could not be read whole");
		textfile_free(f);
		return PH_EIO;
	}
	f->text[n] = '\0';
	f->rest = (struct ph_str){ f->text, n };
	f->number = 0;
	return 0;
}

struct ph_str
text_cut(struct ph_str s, char at, struct ph_str *rest)
{
	const char *p = s.n > 0 ? memchr(s.p, at, s.n) : NULL;

	if (p == NULL) {
		*rest = (struct ph_str){ NULL, 0 };
		return s;
	}
	*rest = (struct ph_str){ p + 1, s.n - (size_t)(p - s.p) - 1 };
	return (struct ph_str){ s.p, (size_t)(p - s.p) };
}

bool
textfile_line(struct textfile *f, struct ph_str *out)
{
	if (f->rest.n == 0)
		return false;
	*out = text_cut(f->rest, '\n', &f->rest);
	f->number++;
	return true;
}

char *
textfile_take(struct textfile *f)
{
	char *text = f->text;

	f->text = NULL;
	return text;
}

void
textfile_free(struct textfile *f)
{
	if (f->text != NULL)
		ph_wipe(f->text, f->n);
	free(f->text);
	f->text = NULL;
}
