/*
 * user_file.c - changing one line of the users file.
 *
 * All else in it stays as it is, comments and mistakes included.  The new file is written beside
 * the old one, synced, and put in its place; a lock on the folder keeps two changes apart.
 */
#include "user_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <posthouse/service.h>

#include "credentials.h"
#include "textfile.h"

enum { LOCK_TRIES = 100, LOCK_PAUSE_MS = 100 };

struct place {                          /* the file behind all links, and its folder */
	char dir[PATH_MAX], name[NAME_MAX + 1], path[PATH_MAX + NAME_MAX + 2];
	int dirfd;
};

static int
fail(char why[USER_WHY], int rc, const char *path, const char *what, int err)
{
	(void)snprintf(why, USER_WHY, "%.512s %s%s%s", path, what, err != 0 ? ": " : "",
	    err != 0 ? strerror(err) : "");
	return rc;
}

static void
keep_why(void *arg, const char *text)
{
	(void)snprintf(arg, USER_WHY, "%s", text);
}

/* --- where it is --- */

static int
place_find(const char *path, struct place *p, char why[USER_WHY])
{
	char full[PATH_MAX];
	const char *slash;

	if (realpath(path, full) == NULL) {
		if (errno != ENOENT || strlen(path) >= sizeof full)
			return fail(why, PH_EIO, path, "cannot be reached", errno);
		(void)snprintf(full, sizeof full, "%s", path);
	}
	slash = strrchr(full, '/');
	if (strlen(slash != NULL ? slash + 1 : full) >= sizeof p->name ||
	    (slash != NULL ? slash[1] : full[0]) == '\0')
		return fail(why, PH_EINVAL, path, "is not the name of a file", 0);
	(void)snprintf(p->name, sizeof p->name, "%.*s", NAME_MAX, slash != NULL ? slash + 1 : full);
	if (slash == NULL)
		(void)snprintf(p->dir, sizeof p->dir, ".");
	else
		(void)snprintf(p->dir, sizeof p->dir, "%.*s", slash == full ? 1
		    : (int)(slash - full), full);
	(void)snprintf(p->path, sizeof p->path, "%s/%s", p->dir, p->name);
	p->dirfd = open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return p->dirfd >= 0 ? 0 : fail(why, PH_EIO, p->dir, "cannot be opened", errno);
}

static int
lock(const struct place *p, char why[USER_WHY])
{
	struct timespec pause = { 0, LOCK_PAUSE_MS * 1000000L };

	for (int i = 0; i < LOCK_TRIES; i++) {
		if (flock(p->dirfd, LOCK_EX | LOCK_NB) == 0)
			return 0;
		if (errno != EWOULDBLOCK && errno != EINTR)
			return fail(why, PH_EIO, p->dir, "cannot be locked", errno);
		(void)nanosleep(&pause, NULL);
	}
	return fail(why, PH_EBUSY, p->dir, "is locked by another program", 0);
}

static int
load(const struct place *p, struct textfile *f, char why[USER_WHY])
{
	int rc;

	*f = (struct textfile){ .path = p->path, .say = keep_why, .arg = why };
	(void)fail(why, 0, p->path, "cannot be read", 0);
	rc = textfile_load(f, 0027);
	return rc == PH_ENOENT ? 0 : rc;
}

/* --- lines --- */

static bool
is_of(struct ph_str line, struct ph_str name, const char *domain)
{
	struct ph_str rest, has = text_cut(line, ':', &rest);
	size_t d = domain != NULL ? strlen(domain) : 0;

	if (line.n == 0 || line.p[0] == '#' || rest.p == NULL)
		return false;
	if (name_same(has, name))
		return true;
	return d > 0 && name.n == has.n + 1 + d && name.p[has.n] == '@' &&
	       name_same(has, (struct ph_str){ name.p, has.n }) &&
	       name_same((struct ph_str){ name.p + has.n + 1, d }, (struct ph_str){ domain, d });
}

static bool
find(struct textfile *f, struct ph_str name, const char *domain, struct ph_str *out)
{
	while (textfile_line(f, out))
		if (is_of(*out, name, domain))
			return true;
	return false;
}

/* --- the new file --- */

static int
put(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t done = write(fd, p, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return -1;
		p += done;
		n -= (size_t)done;
	}
	return 0;
}

/* What stood before found, the new line, what stood behind. */
static int
put_all(int fd, const struct textfile *f, struct ph_str found, const char *line)
{
	const char *end = f->text != NULL ? f->text + f->n : NULL;
	const char *tail = found.p != NULL ? found.p + found.n : end;
	size_t head = found.p != NULL ? (size_t)(found.p - f->text) : f->n;

	if (f->text != NULL && head > 0 && put(fd, f->text, head) != 0)
		return -1;
	if (line == NULL && tail < end)
		tail++;                 /* the end of the removed line */
	if (line != NULL) {
		if (found.p == NULL && head > 0 && f->text[head - 1] != '\n' &&
		    put(fd, "\n", 1) != 0)
			return -1;
		if (put(fd, line, strlen(line)) != 0 ||
		    (tail == end && put(fd, "\n", 1) != 0))
			return -1;
	}
	return tail < end ? put(fd, tail, (size_t)(end - tail)) : 0;
}

/* Mode and owner of the old file, or of one that did not exist. */
static int
set_owner(int fd, const struct place *p, const char *account)
{
	const struct passwd *pw;
	char up[PATH_MAX];
	struct stat st;

	if (fstatat(p->dirfd, p->name, &st, 0) == 0) {
		if (fchmod(fd, st.st_mode & 07777) != 0)
			return -1;
		return st.st_uid == geteuid() && st.st_gid == getegid() ? 0
		       : fchown(fd, st.st_uid, st.st_gid);
	}
	if (fchmod(fd, 0600) != 0)
		return -1;
	if (geteuid() != 0 || account == NULL || strlen(account) >= sizeof up)
		return 0;
	if (strchr(account, '/') == NULL) {
		pw = getpwnam(account);
		return pw != NULL ? fchown(fd, pw->pw_uid, pw->pw_gid) : 0;
	}
	(void)snprintf(up, sizeof up, "%s", account);
	while (stat(up, &st) != 0) {
		char *slash = strrchr(up, '/');

		if (slash == NULL || slash == up)
			return 0;
		*slash = '\0';
	}
	return fchown(fd, st.st_uid, st.st_gid);
}

static int
write_new(const struct place *p, const struct textfile *f, struct ph_str found, const char *line,
          const char *account, char why[USER_WHY])
{
	char temp[PATH_MAX + 16];
	int fd, err;

	if (snprintf(temp, sizeof temp, "%s/.users-XXXXXX", p->dir) >= (int)sizeof temp)
		return fail(why, PH_EINVAL, p->dir, "is too long a path", 0);
	fd = mkostemp(temp, O_CLOEXEC);
	if (fd < 0)
		return fail(why, PH_EPERM, p->dir, "cannot take a new file", errno);
	if (set_owner(fd, p, account) != 0) {
		err = errno;
		close(fd);
		(void)unlink(temp);
		return fail(why, PH_EPERM, f->path, "belongs to another account; run this as root, "
		    "or as that account", err);
	}
	if (put_all(fd, f, found, line) != 0 || fsync(fd) != 0) {
		err = errno;
		close(fd);
		(void)unlink(temp);
		return fail(why, PH_EIO, temp, "cannot be written", err);
	}
	close(fd);
	if (renameat(AT_FDCWD, temp, p->dirfd, p->name) != 0) {
		err = errno;
		(void)unlink(temp);
		return fail(why, PH_EIO, f->path, "cannot be replaced", err);
	}
	/* the change is there either way; what may be lost is that it survives a power cut */
	return fsync(p->dirfd) == 0 ? 0 : fail(why, PH_EIO, p->dir, "cannot be synced", errno);
}

int
user_file_change(const char *path, enum user_change what, struct ph_str name,
                 const char *default_domain, const char *line, const char *account,
                 char why[USER_WHY])
{
	struct place p = { .dirfd = -1 };
	struct textfile f = { .text = NULL };
	struct ph_str found = { NULL, 0 };
	bool there;
	int rc = place_find(path, &p, why);

	if (rc == 0)
		rc = lock(&p, why);
	if (rc == 0)
		rc = load(&p, &f, why);
	if (rc == 0) {
		there = find(&f, name, default_domain, &found);
		if (!there)
			found = (struct ph_str){ NULL, 0 };
		if (there == (what == USER_ADD))
			rc = there ? PH_EEXIST : PH_ENOENT;
		else
			rc = write_new(&p, &f, found, what == USER_REMOVE ? NULL : line, account,
			    why);
	}
	textfile_free(&f);
	if (p.dirfd >= 0)
		close(p.dirfd);         /* and the lock */
	return rc;
}

int
user_file_has(const char *path, struct ph_str name, const char *default_domain, char why[USER_WHY])
{
	struct textfile f = { .path = path, .say = keep_why, .arg = why };
	struct ph_str line;
	int rc;

	(void)fail(why, 0, path, "cannot be read", 0);
	rc = textfile_load(&f, 0027);
	if (rc == PH_ENOENT)
		return 0;
	if (rc == 0)
		rc = find(&f, name, default_domain, &line) ? 1 : 0;
	textfile_free(&f);
	return rc;
}
