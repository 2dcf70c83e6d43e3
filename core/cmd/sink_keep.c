/*
 * sink_keep.c - messages that were taken, as files or on standard output.
 * Files have the form of IIS's Drop directory: lines x-sender and x-receiver
 * with the envelope, then the message as it came.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/fsutil.h"
#include "base/str.h"
#include "cmd/sink.h"

enum { PATH_LEN = 4096 };

int64_t
sink_keep_last(const char *dir)
{
	DIR *d = opendir(dir);
	int64_t last = 0;

	if (d == NULL)
		return -errno;
	for (const struct dirent *e; (e = readdir(d)) != NULL;) {
		struct ph_str rest, number = str_cut(str_of(e->d_name), '.', &rest);
		uint64_t value;

		if (str_is(rest, "eml") && str_u64(number, &value) == 0 && value < INT64_MAX &&
		    (int64_t)value > last)
			last = (int64_t)value;
	}
	(void)closedir(d);
	return last;
}

static void
add_envelope(const struct envelope *env, const char *eol, struct buf *out)
{
	buf_printf(out, "x-sender: " STR_FMT "%s", STR_ARG(env->from.full), eol);
	for (uint32_t i = 0; i < env->nrcpts; i++)
		buf_printf(out, "x-receiver: " STR_FMT "%s", STR_ARG(env->rcpts[i].to.full), eol);
}

static int
store(const char *dir, uint64_t number, const struct envelope *env, struct ph_str content)
{
	char path[PATH_LEN], partial[PATH_LEN];
	struct buf head = { 0 };
	int fd, rc;

	/* appears under its name only when it is whole */
	if (snprintf(partial, sizeof partial, "%s/.%" PRIu64 ".part", dir, number) >=
		(int)sizeof partial ||
	    snprintf(path, sizeof path, "%s/%" PRIu64 ".eml", dir, number) >= (int)sizeof path)
		return PH_EINVAL;
	fd = open(partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		return errno == ENOSPC ? PH_ENOSPC : PH_EIO;
	add_envelope(env, "\r\n", &head);
	rc = fs_write_all(fd, head.data + head.head, head.len);
	if (rc == 0)
		rc = fs_write_all(fd, content.p, content.n);
	buf_free(&head);
	if (close(fd) != 0 && rc == 0)
		rc = -errno;
	if (rc == 0 && rename(partial, path) != 0)
		rc = -errno;
	if (rc != 0)
		(void)unlink(partial);
	return rc == 0 ? 0 : rc == -ENOSPC ? PH_ENOSPC : PH_EIO;
}

static void
print(uint64_t number, const struct envelope *env, const struct ph_addr *client,
    struct ph_str content)
{
	struct buf out = { 0 };
	char addr[PH_ADDR_TEXT];

	buf_printf(&out, "--- message %" PRIu64 " from %s, %zu octets\n", number,
	    ph_addr_text(client, addr), content.n);
	add_envelope(env, "\n", &out);
	for (size_t i = 0; i < content.n; i++)
		if (content.p[i] != '\r' || i + 1 == content.n || content.p[i + 1] != '\n')
			buf_addc(&out, content.p[i]);
	buf_addc(&out, '\n');
	(void)fwrite(out.data + out.head, 1, out.len, stdout); /* one call: messages do not mix */
	(void)fflush(stdout);
	buf_free(&out);
}

int
sink_keep(struct sink *sink, const struct envelope *env, const struct ph_addr *client,
    struct ph_str content)
{
	uint64_t number = atomic_fetch_add(&sink->number, 1) + 1;
	int rc = 0;

	if (sink->o->store != NULL)
		rc = store(sink->o->store, number, env, content);
	if (rc == 0 && sink->o->print)
		print(number, env, client, content);
	return rc;
}
