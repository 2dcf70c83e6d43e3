/*
 * test_fsutil.c - files: whole and bounded reading, directories, and what may
 * be trusted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "base/str.h"

static char dir[] = "/tmp/test_fsutil.XXXXXX";
static char path[4096];

static const char *
in_dir(const char *name)
{
	snprintf(path, sizeof path, "%s/%s", dir, name);
	return path;
}

static int
enter(void **state)
{
	(void)state;
	return mkdtemp(dir) == NULL;
}

static int
leave(void **state)
{
	static const char *const names[] = { "f", "fifo", "a/b/c", "a/b", "a", "plain", "open/so", "open",
		"link", "t/x", "t" };

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		(void)remove(in_dir(names[i]));
	return rmdir(dir);
}

static void
make_file(const char *name, size_t n, mode_t mode)
{
	int fd = open(in_dir(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);
	char *data = calloc(1, n + 1);

	assert_true(fd >= 0);
	assert_int_equal(fs_write_all(fd, data, n), 0);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
	free(data);
}

static void
files_are_read_up_to_a_limit(void **state)
{
	struct buf b = { 0 };

	(void)state;
	make_file("f", 40000, 0600);
	buf_adds(&b, "x");
	assert_int_equal(fs_read_file(in_dir("f"), 40000, &b), 0);
	assert_int_equal(b.len, 40001);
	assert_int_equal(fs_read_file(in_dir("f"), 39999, &b), PH_ELIMIT);
	assert_int_equal(b.len, 40001);
	assert_int_equal(fs_read_file("/dev/zero", 100000, &b), PH_ELIMIT);
	assert_int_equal(b.len, 40001);
	assert_int_equal(fs_read_file(in_dir("none"), 10, &b), -ENOENT);
	assert_int_equal(fs_read_file(dir, 10, &b), -EISDIR);
	assert_int_equal(mkfifo(in_dir("fifo"), 0600), 0);
	buf_clear(&b);
	assert_int_equal(fs_read_file(path, 10, &b), 0);        /* does not wait for a writer */
	assert_int_equal(b.len, 0);
	buf_free(&b);
}

static void
writing_reports_errors(void **state)
{
	(void)state;
	assert_int_equal(fs_write_all(-1, "x", 1), -EBADF);
	assert_int_equal(fs_write_all(-1, "x", 0), 0);
}

static void
directories_are_made_with_their_parents(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(fs_mkdirs(in_dir("a//b/c/"), 0700), 0);
	assert_int_equal(stat(in_dir("a/b/c"), &st), 0);
	assert_true(S_ISDIR(st.st_mode));
	assert_int_equal(fs_mkdirs(in_dir("a/b/c"), 0700), 0);
	make_file("plain", 1, 0600);
	assert_int_equal(fs_mkdirs(in_dir("plain"), 0700), -ENOTDIR);
	assert_int_equal(fs_mkdirs(in_dir("plain/x"), 0700), -ENOTDIR);
	assert_int_equal(fs_mkdirs("", 0700), -ENOENT);
}

static void
trust(void **state)
{
	char why[200], target[4200];

	(void)state;
	make_file("f", 1, 0600);
	assert_null(fs_untrusted(in_dir("f"), getuid(), why, sizeof why));
	assert_int_equal(chmod(in_dir("f"), 0620), 0);
	assert_non_null(fs_untrusted(path, getuid(), why, sizeof why));
	assert_non_null(strstr(why, "writable by its group"));
	assert_int_equal(chmod(path, 0602), 0);
	assert_non_null(fs_untrusted(path, getuid(), why, sizeof why));
	assert_non_null(strstr(why, "writable by everybody"));
	assert_non_null(fs_untrusted(in_dir("none"), getuid(), why, sizeof why));
	assert_non_null(strstr(why, "No such file"));
	/* the directory counts as well */
	assert_int_equal(mkdir(in_dir("open"), 0700), 0);
	make_file("open/so", 1, 0600);
	assert_null(fs_untrusted(in_dir("open/so"), getuid(), why, sizeof why));
	assert_int_equal(chmod(in_dir("open"), 0777), 0);
	assert_non_null(fs_untrusted(in_dir("open/so"), getuid(), why, sizeof why));
	assert_non_null(strstr(why, "open is writable by everybody"));
	/* and so does what a link leads to */
	snprintf(target, sizeof target, "%s/open/so", dir);
	assert_int_equal(symlink(target, in_dir("link")), 0);
	assert_non_null(fs_untrusted(path, getuid(), why, sizeof why));
	assert_int_equal(chmod(in_dir("open"), 0700), 0);
	assert_null(fs_untrusted(in_dir("link"), getuid(), why, sizeof why));
}

static void
a_link_in_an_open_directory_is_not_trusted(void **state)
{
	char why[200], target[4200];

	(void)state;
	make_file("f", 1, 0600);
	snprintf(target, sizeof target, "%s/f", dir);
	assert_int_equal(mkdir(in_dir("t"), 0700), 0);
	assert_int_equal(symlink(target, in_dir("t/x")), 0);
	assert_int_equal(chmod(in_dir("t"), 0777), 0);
	assert_non_null(fs_untrusted(in_dir("t/x"), getuid(), why, sizeof why));
}

static void
strangers_own_what_is_not_trusted(void **state)
{
	char why[200];

	(void)state;
	if (getuid() != 0)
		skip();
	make_file("f", 1, 0600);
	assert_int_equal(chown(in_dir("f"), 12345, 0), 0);
	assert_non_null(fs_untrusted(path, 0, why, sizeof why));
	assert_non_null(strstr(why, "belongs to user 12345"));
	assert_null(fs_untrusted(path, 12345, why, sizeof why));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_are_read_up_to_a_limit),
		cmocka_unit_test(writing_reports_errors),
		cmocka_unit_test(directories_are_made_with_their_parents),
		cmocka_unit_test(trust),
		cmocka_unit_test(a_link_in_an_open_directory_is_not_trusted),
		cmocka_unit_test(strangers_own_what_is_not_trusted),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
