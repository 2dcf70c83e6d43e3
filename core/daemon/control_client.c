/* control_client.c - one request over the control socket. */
#include "daemon/control_client.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "base/str.h"

static int
control_connect(const char *path)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	size_t n = strlen(path);
	int fd;

	if (n >= sizeof un.sun_path)
		return PH_EINVAL;
	memcpy(un.sun_path, path, n + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return PH_EIO;
	if (connect(fd, (const struct sockaddr *)&un, sizeof un) != 0) {
		int err = errno;
		close(fd);
		return err == EACCES || err == EPERM ? PH_EPERM : PH_ENOENT;
	}
	return fd;
}

/* 1: "end" was seen; 0: go on; negative: broken. */
static int
control_line(struct ph_str line, void (*row)(void *arg, const struct fields *f), void *arg,
             char **out_text)
{
	struct arena a;
	struct fields f;
	int rc;

	arena_init(&a, 1024);
	rc = fields_decode(line, &a, &f);
	if (rc == 0 && strcmp(f.kind, "end") == 0) {
		struct ph_str text = fields_get(&f, "text");
		*out_text = mem_strndup(text.p != NULL ? text.p : "", text.n);
		rc = str_is(fields_get(&f, "ok"), "true") ? 1 : PH_EREFUSED;
	} else if (rc == 0) {
		row(arg, &f);
	}
	arena_reset(&a);
	return rc;
}

int
control_ask(const char *path, const struct fields *request,
            void (*row)(void *arg, const struct fields *f), void *arg, char **out_text)
{
	struct buf b = { 0 };
	int fd = control_connect(path), rc = 0;
	ssize_t n;

	*out_text = NULL;
	if (fd < 0)
		return fd;
	fields_encode(request, &b);
	if (fs_write_all(fd, b.data + b.head, b.len) != 0)
		rc = PH_EIO;
	buf_clear(&b);
	while (rc == 0) {
		struct ph_str rest, all, line;
		n = read(fd, buf_room(&b, 65536), 65536);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			rc = PH_EIO;
			break;
		}
		buf_grew(&b, (size_t)n);
		all = buf_view(&b);
		for (line = str_cut(all, '\n', &rest); rest.p != NULL && rc == 0;
		    line = str_cut(rest, '\n', &rest)) {
			rc = control_line(line, row, arg, out_text);
			all = rest;
		}
		if (rc == 0)
			buf_eat(&b, b.len - all.n);
	}
	buf_free(&b);
	close(fd);
	return rc > 0 ? 0 : rc;
}
