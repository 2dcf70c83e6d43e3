/*
 * fsutil.c - small file helpers: read a file whole and bounded, write all of
 * a buffer, make directories, and decide whether a path can be trusted.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "base/mem.h"

#define READ_STEP 16384

static int
read_all(int fd, size_t limit, struct buf *out)
{
	size_t start = out->len;

	for (;;) {
		ssize_t n = read(fd, buf_room(out, READ_STEP), READ_STEP);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		buf_grew(out, (size_t)n);
		if (out->len - start > limit)
			return PH_ELIMIT;
	}
}

int
fs_read_file(const char *path, size_t limit, struct buf *out)
{
	size_t start = out->len;
	struct stat st;
	int fd, rc;

	/* O_NONBLOCK: opening a FIFO without a writer must not hang */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) != 0)
		rc = -errno;
	else if (S_ISDIR(st.st_mode))
		rc = -EISDIR;
	else if (S_ISREG(st.st_mode) && (uintmax_t)st.st_size > limit)
		rc = PH_ELIMIT;
	else
		rc = read_all(fd, limit, out);
	close(fd);
	if (rc != 0)
		out->len = start;
	return rc;
}

int
fs_write_all(int fd, const void *p, size_t n)
{
	const char *at = p;

	while (n > 0) {
		ssize_t done = write(fd, at, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		at += done;
		n -= (size_t)done;
	}
	return 0;
}

static int
make_one(const char *path, mode_t mode)
{
	struct stat st;

	if (mkdir(path, mode) == 0)
		return 0;
	if (errno != EEXIST)
		return -errno;
	if (stat(path, &st) != 0)
		return -errno;
	return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

int
fs_mkdirs(const char *path, mode_t mode)
{
	char *copy = mem_strdup(path);
	int rc = *path == '\0' ? -ENOENT : 0;

	for (char *at = copy + 1; rc == 0 && *copy != '\0' && *at != '\0'; at++) {
		if (*at != '/' || at[-1] == '/')
			continue;
		*at = '\0';
		/* a parent that exists may lie where we must not create */
		rc = access(copy, F_OK) == 0 ? 0 : make_one(copy, mode);
		*at = '/';
	}
	if (rc == 0)
		rc = make_one(copy, mode);
	free(copy);
	return rc;
}

/* One path, no symbolic link in it. */
static const char *
untrusted_one(const char *path, uid_t uid, bool directory, char *why, size_t n)
{
	struct stat st;

	if (stat(path, &st) != 0) {
		snprintf(why, n, "%s: %s", path, ph_strerror(-errno));
		return why;
	}
	if (st.st_uid != 0 && st.st_uid != uid) {
		snprintf(why, n, "%s belongs to user %lu, not to root or user %lu", path,
		    (unsigned long)st.st_uid, (unsigned long)uid);
		return why;
	}
	if (!(st.st_mode & (S_IWGRP | S_IWOTH)))
		return NULL;
	if (directory && (st.st_mode & S_ISVTX))
		return NULL;
	snprintf(why, n, "%s is writable by %s (mode %04o)", path,
	    st.st_mode & S_IWOTH ? "everybody" : "its group", (unsigned)(st.st_mode & 07777));
	return why;
}

static const char *
untrusted_chain(char *path, uid_t uid, bool directory, char *why, size_t n)
{
	for (;;) {
		const char *bad = untrusted_one(path, uid, directory, why, n);
		char *slash;

		if (bad != NULL)
			return bad;
		if (path[0] == '/' && path[1] == '\0')
			return NULL;
		slash = strrchr(path, '/');
		slash[slash == path] = '\0';
		directory = true;
	}
}

const char *
fs_untrusted(const char *path, uid_t uid, char *why, size_t n)
{
	const char *slash = strrchr(path, '/'), *bad;
	char *parent, *real;
	struct stat st;

	real = realpath(path, NULL);
	if (real == NULL || stat(real, &st) != 0) {
		snprintf(why, n, "%s: %s", path, ph_strerror(-errno));
		free(real);
		return why;
	}
	bad = untrusted_chain(real, uid, S_ISDIR(st.st_mode), why, n);
	free(real);
	if (bad != NULL)
		return bad;
	/* when the last part is a link, whoever may replace it decides as well */
	parent = slash == NULL ? mem_strdup(".") : mem_strndup(path, (size_t)(slash - path) + 1);
	real = realpath(parent, NULL);
	free(parent);
	if (real == NULL) {
		snprintf(why, n, "%s: %s", path, ph_strerror(-errno));
		return why;
	}
	bad = untrusted_chain(real, uid, true, why, n);
	free(real);
	return bad;
}

/* A child asks as that account, so that groups, directories and ACLs count as
 * they will.  Between fork and _exit there are system calls only. */
bool
fs_readable_by(const char *path, const char *user)
{
	const struct passwd *pw = geteuid() == 0 ? getpwnam(user) : NULL;
	gid_t groups[256];
	int n = sizeof groups / sizeof groups[0], status = 0;
	pid_t pid;

	if (pw == NULL || pw->pw_uid == 0 || getgrouplist(user, pw->pw_gid, groups, &n) < 0)
		return true;
	pid = fork();
	if (pid == 0) {
		if (setgroups((size_t)n, groups) != 0 || setgid(pw->pw_gid) != 0 ||
		    setuid(pw->pw_uid) != 0)
			_exit(0);
		_exit(access(path, R_OK) == 0 ? 0 : 1);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return true;
	return pid < 0 || !WIFEXITED(status) || WEXITSTATUS(status) == 0;
}
