/*
 * badmail.c - where a message ends whose failure nobody can be told of:
 * ID.eml as it was, ID.txt with the reason, both on stable storage before the
 * message leaves the queue.
 *
 * The directory is bounded in files and bytes.  When it is full a message is
 * let go with a line in the log: its failure has been said there, and a
 * flood of forged bounces must not fill the disk.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "base/id.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "mail/trace.h"
#include "queue/internal.h"

#define PART_BYTES (256u << 10)

struct badmail {
	int fd;                 /* of the temporary file; -1 none */
	char *tmp;
	uint64_t offset;        /* bytes of a content in the store written so far */
	int rc;                 /* of the part that came */
};

void
badmail_free(struct badmail **bp)
{
	struct badmail *b = *bp;

	*bp = NULL;
	if (b == NULL)
		return;
	if (b->fd >= 0)
		close(b->fd);
	if (b->tmp != NULL)
		(void)unlink(b->tmp);   /* gone already when all went well */
	free(b->tmp);
	free(b);
}

/* --- limits --- */

static void
count_directory(struct queue *q)
{
	DIR *d = opendir(q->cfg.badmail_dir);
	struct dirent *at;
	struct stat st;

	q->badmail_files = q->badmail_bytes = 0;
	q->badmail_counted = true;
	if (d == NULL)
		return;
	while ((at = readdir(d)) != NULL) {
		size_t n = strlen(at->d_name);

		if (n < 4 || strcmp(at->d_name + n - 4, ".eml") != 0 ||
		    fstatat(dirfd(d), at->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
			continue;
		q->badmail_files++;
		q->badmail_bytes += (uint64_t)st.st_size;
	}
	closedir(d);
}

static bool
has_room(struct queue *q, uint64_t size)
{
	for (int again = 0; again < 2; again++) {
		if (!q->badmail_counted)
			count_directory(q);
		if (q->badmail_files < BADMAIL_FILES && q->badmail_bytes + size <= BADMAIL_BYTES)
			return true;
		q->badmail_counted = false;     /* somebody may have tidied up */
	}
	return false;
}

/* --- writing --- */

static char *
path_of(const struct queue *q, struct ph_msgid id, const char *before, const char *after)
{
	char text[PH_MSGID_TEXT];
	struct buf b = { 0 };
	char *out;

	buf_printf(&b, "%s/%s%s%s", q->cfg.badmail_dir, before, id_text(id, text), after);
	out = mem_strndup(b.data + b.head, b.len);
	buf_free(&b);
	return out;
}

static int
begin(struct task *t, const char *suffix)
{
	struct badmail *b = t->badmail;

	free(b->tmp);
	b->tmp = path_of(t->q, t->e->id, ".", suffix);
	b->fd = open(b->tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	return b->fd < 0 ? -errno : 0;
}

static int
commit(struct task *t, const char *suffix)
{
	struct badmail *b = t->badmail;
	char *to = path_of(t->q, t->e->id, "", suffix);
	int rc = fsync(b->fd) != 0 ? -errno : 0;

	if (close(b->fd) != 0 && rc == 0)
		rc = -errno;
	b->fd = -1;
	if (rc == 0 && rename(b->tmp, to) != 0)
		rc = -errno;
	free(to);
	return rc;
}

static int
sync_directory(const struct queue *q)
{
	int fd = open(q->cfg.badmail_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = 0;

	if (fd < 0)
		return -errno;
	if (fsync(fd) != 0)
		rc = -errno;
	close(fd);
	return rc;
}

static void
one_line(struct buf *out, struct ph_str s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		buf_addc(out, c == '\n' ? ' ' : (unsigned char)c < ' ' || c == 0x7f ? '?' : c);
	}
}

static void
reason(const struct task *t, struct buf *out)
{
	char id[PH_MSGID_TEXT];

	buf_printf(out, "Message %s could not be delivered, and nobody can be told:\n%s\n\nwritten: ",
	    id_text(t->e->id, id), t->env->from.full.n == 0 ? "its sender is <>." :
	    "reports are switched off (queue.bounce-notices).");
	trace_date(out, t->q->wall);
	buf_adds(out, "\nfrom: <");
	one_line(out, t->env->from.full);
	buf_printf(out, ">\nattempts: %u\n", (unsigned)t->e->attempts);
	for (uint32_t i = 0; i < t->env->nrcpts; i++) {
		const struct fate *f = &t->fate[i];
		const struct rcpt_progress *p = &t->progress->rcpts[i];
		struct ph_str reply = f->said != NULL ? f->said->reply : p->reply;
		struct ph_str remote = f->said != NULL ? f->said->remote : p->remote;

		if (f->what != F_FAILED && f->what != F_EXPIRED)
			continue;
		buf_adds(out, "\nto: <");
		one_line(out, t->env->rcpts[i].to.full);
		buf_printf(out, ">\nresult: %s\nhost: ", f->what == F_FAILED ? "failed" : "expired");
		one_line(out, remote);
		buf_printf(out, "\nreply: %u ", (unsigned)(f->said != NULL ? f->said->code : p->code));
		one_line(out, reply);
		buf_addc(out, '\n');
	}
}

static int
write_reason(struct task *t)
{
	struct buf text = { 0 };
	int rc = begin(t, ".txt");

	reason(t, &text);
	if (rc == 0)
		rc = fs_write_all(t->badmail->fd, text.data + text.head, text.len);
	buf_free(&text);
	return rc == 0 ? commit(t, ".txt") : rc;
}

static int
write_memory(struct task *t)
{
	for (uint64_t at = 0; at < ph_content_size(t->content);) {
		struct ph_str s = ph_content_at(t->content, at);
		int rc;

		if (s.n == 0)
			return PH_EIO;
		rc = fs_write_all(t->badmail->fd, s.p, s.n);
		if (rc != 0)
			return rc;
		at += s.n;
	}
	return 0;
}

static void
part_now(struct ph_note *note)
{
	struct ph_store_request *r = container_of(note, struct ph_store_request, note);
	struct task *t = r->arg;
	struct badmail *b = t->badmail;

	b->rc = r->status;
	if (r->status == 0 && r->bytes.n == 0)
		b->rc = PH_EIO;
	if (b->rc == 0)
		b->rc = fs_write_all(b->fd, r->bytes.p, r->bytes.n);
	b->offset += r->bytes.n;
	ph_store_release(r);
	task_step(t);
}

static void
part_done(struct ph_store_request *r)
{
	queue_later(((struct task *)r->arg)->q, &r->note, part_now);
}

/* 1 all is in the file, 0 a part is on its way, negative failed. */
static int
write_content(struct task *t)
{
	struct badmail *b = t->badmail;
	int rc;

	if (t->content == NULL)
		return PH_EIO;
	if (ph_content_in_memory(t->content)) {
		rc = write_memory(t);
		return rc == 0 ? 1 : rc;
	}
	if (b->rc != 0)
		return b->rc;
	if (b->offset >= ph_content_size(t->content))
		return 1;
	t->req = (struct ph_store_request){ .op = PH_STORE_READ_PART, .id = t->e->id,
		.offset = b->offset, .want = PART_BYTES, .home = t->q->mailbox,
		.done = part_done, .arg = t };
	t->q->ops->submit(t->q->arg, &t->req);
	return 0;
}

static void
say(struct task *t, const char *why, int rc)
{
	char text[PH_MSGID_TEXT + 8];
	const struct queue *q = t->q;

	if (rc < 0) {
		log_event(PH_ERROR, NULL, "queue.badmail-failed", LOG_ID("mid", t->e->id),
		    LOG_C("directory", q->cfg.badmail_dir),
		    LOG_C("why", rc > -4000 ? strerror(-rc) : ph_strerror(rc)));
		return;
	}
	(void)id_text(t->e->id, text);
	log_event(PH_INFO, NULL, "queue.badmail", LOG_ID("mid", t->e->id), LOG_S("from", t->env->from.full),
	    LOG_S("to", t->env->nrcpts > 0 ? t->env->rcpts[0].to.full : STR("")), LOG_C("copy", why));
}

int
badmail_write(struct task *t)
{
	struct queue *q = t->q;
	int rc = 0;

	if (t->badmail == NULL) {
		if (q->cfg.badmail_dir == NULL || q->cfg.badmail_dir[0] == '\0') {
			say(t, "none", 1);
			return 1;
		}
		if (!has_room(q, t->e->size)) {
			if (!q->badmail_said)
				log_event(PH_ERROR, NULL, "queue.badmail-full",
				    LOG_C("directory", q->cfg.badmail_dir),
				    LOG_I("files", q->badmail_files), LOG_I("bytes", q->badmail_bytes));
			q->badmail_said = true;
			say(t, "none, directory is full", 1);
			return 1;
		}
		q->badmail_said = false;
		t->badmail = mem_new(struct badmail);
		t->badmail->fd = -1;
		rc = fs_mkdirs(q->cfg.badmail_dir, 0700);
		if (rc == 0)
			rc = begin(t, ".eml");
	}
	if (rc == 0)
		rc = write_content(t);
	if (rc == 0)
		return 0;
	if (rc == 1)
		rc = commit(t, ".eml");
	if (rc == 0)
		rc = write_reason(t);
	if (rc == 0)
		rc = sync_directory(q);
	if (rc != 0) {
		say(t, NULL, rc);
		badmail_free(&t->badmail);
		return rc;
	}
	q->badmail_files++;
	q->badmail_bytes += t->e->size;
	say(t, "written", 1);
	return 1;
}
