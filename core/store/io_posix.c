/* io_posix.c - the store's file calls as the system has them; -errno on failure. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "store/store.h"

#define RESULT(call) do { ssize_t rc_ = (call); return rc_ < 0 ? -errno : rc_; } while (0)

static int
io_open(const char *path, int flags, unsigned mode)
{
	int fd = open(path, flags, (mode_t)mode);

	return fd < 0 ? -errno : fd;
}

static int
io_close(int fd)
{
	return close(fd) < 0 ? -errno : 0;
}

static ssize_t
io_pread(int fd, void *p, size_t n, int64_t off)
{
	RESULT(pread(fd, p, n, off));
}

static ssize_t
io_pwritev(int fd, const struct iovec *v, int n, int64_t off)
{
	RESULT(pwritev(fd, v, n, off));
}

static int
io_fdatasync(int fd)
{
	return fdatasync(fd) < 0 ? -errno : 0;
}

static int
io_fallocate(int fd, int64_t off, int64_t len)
{
	return fallocate(fd, 0, off, len) < 0 ? -errno : 0;
}

static int
io_ftruncate(int fd, int64_t len)
{
	return ftruncate(fd, len) < 0 ? -errno : 0;
}

static int64_t
io_size(int fd)
{
	struct stat st;

	return fstat(fd, &st) < 0 ? -errno : (int64_t)st.st_size;
}

static int
io_rename(const char *from, const char *to)
{
	return rename(from, to) < 0 ? -errno : 0;
}

static int
io_unlink(const char *path)
{
	return unlink(path) < 0 ? -errno : 0;
}

static int
io_mkdir(const char *path, unsigned mode)
{
	return fs_mkdirs(path, (mode_t)mode);
}

static int
io_list(const char *dir, void (*each)(void *arg, const char *name), void *arg)
{
	DIR *d = opendir(dir);
	struct dirent *entry;
	int rc = 0;

	if (d == NULL)
		return -errno;
	errno = 0;
	while ((entry = readdir(d)) != NULL) {
		each(arg, entry->d_name);
		errno = 0;
	}
	if (errno != 0)
		rc = -errno;
	(void)closedir(d);      /* only read */
	return rc;
}

static int
io_syncdir(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;

	if (fd < 0)
		return -errno;
	rc = fsync(fd) < 0 ? -errno : 0;
	(void)close(fd);        /* only synced */
	return rc;
}

static int
io_lock(int fd)
{
	return flock(fd, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
}

static int64_t
io_free_bytes(const char *dir)
{
	struct statvfs st;

	if (statvfs(dir, &st) < 0)
		return -errno;
	return (int64_t)st.f_bavail * (int64_t)st.f_frsize;
}

static const char *
io_untrusted(const char *dir, bool reading, char *why, size_t why_size)
{
	struct stat st;

	if (stat(dir, &st) < 0)
		(void)snprintf(why, why_size, "%s: %s", dir, strerror(errno));
	else if (!S_ISDIR(st.st_mode))
		(void)snprintf(why, why_size, "%s is not a directory", dir);
	else if (st.st_mode & (S_IWGRP | S_IWOTH))
		(void)snprintf(why, why_size, "%s is writable by %s (mode %04o); chmod 0700 it", dir,
		    st.st_mode & S_IWOTH ? "everybody" : "its group", (unsigned)(st.st_mode & 07777));
	else if (!reading && st.st_uid != geteuid())
		(void)snprintf(why, why_size, "%s belongs to user %lu, but this runs as user %lu", dir,
		    (unsigned long)st.st_uid, (unsigned long)geteuid());
	else
		return NULL;
	return why;
}

const struct store_io store_io_posix = {
	.open = io_open, .close = io_close, .pread = io_pread, .pwritev = io_pwritev,
	.fdatasync = io_fdatasync, .fallocate = io_fallocate, .ftruncate = io_ftruncate,
	.size = io_size, .rename = io_rename, .unlink = io_unlink, .mkdir = io_mkdir,
	.list = io_list, .syncdir = io_syncdir, .lock = io_lock, .free_bytes = io_free_bytes,
	.untrusted = io_untrusted,
};
