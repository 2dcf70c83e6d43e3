/*
 * badsync.c - a disk that fails: loaded in front of libc, lets fdatasync on a
 * segment return EIO as long as it can take a file fail.N out of the folder
 * that BADSYNC names, one for each failure; and so pwritev to the file of a
 * large message with fail-large.N.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { FAILURES = 8 };

static int
told_to_fail(const char *what)
{
	const char *dir = getenv("BADSYNC");
	char path[4096];

	for (int i = 0; i < FAILURES && dir != NULL; i++) {
		snprintf(path, sizeof path, "%s/%s.%d", dir, what, i);
		if (unlink(path) == 0)
			return 1;
	}
	return 0;
}

static int
is_file_of(int fd, const char *part)
{
	char link[64], path[4096];
	ssize_t n;

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof path - 1);
	path[n > 0 ? n : 0] = '\0';
	return strstr(path, part) != NULL;
}

int
fdatasync(int fd)
{
	if (is_file_of(fd, "/seg-") && told_to_fail("fail")) {
		errno = EIO;
		return -1;
	}
	return (int)syscall(SYS_fdatasync, fd);
}

ssize_t
pwritev(int fd, const struct iovec *v, int n, off_t off)
{
	if (is_file_of(fd, "/large/") && told_to_fail("fail-large")) {
		errno = EIO;
		return -1;
	}
	return syscall(SYS_pwritev, fd, v, n, off, 0L);
}
