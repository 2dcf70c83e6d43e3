/*
 * badsync.c - a disk that fails: loaded in front of libc, lets fdatasync on a
 * segment return EIO as long as it can take a file fail.N out of the folder
 * that BADSYNC names, one for each failure.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { FAILURES = 8 };

static int
told_to_fail(void)
{
	const char *dir = getenv("BADSYNC");
	char path[4096];

	for (int i = 0; i < FAILURES && dir != NULL; i++) {
		snprintf(path, sizeof path, "%s/fail.%d", dir, i);
		if (unlink(path) == 0)
			return 1;
	}
	return 0;
}

int
fdatasync(int fd)
{
	char link[64], path[4096];
	ssize_t n;

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof path - 1);
	path[n > 0 ? n : 0] = '\0';
	if (strstr(path, "/seg-") != NULL && told_to_fail()) {
		errno = EIO;
		return -1;
	}
	return (int)syscall(SYS_fdatasync, fd);
}
