/*
 * spill.c - large contents: written to files of their own while they arrive.
 *
 * A file and its name are durable before the committer sees the append that
 * refers to it; a file that no message refers to is removed at the next
 * start at the latest.  Messages are spread over a few threads by their id.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/id.h"
#include "base/map.h"
#include "base/mem.h"
#include "mail/content.h"
#include "store/embedded.h"

#define BLOCKS 64               /* written by one call */

struct arriving { struct ph_msgid id; int fd; int status; uint64_t size; struct codec_sum *sum; };

struct spiller {
	struct embedded *e;
	struct ph_mailbox mailbox;
	struct park park;
	struct idmap arriving;
	pthread_t thread;
	bool started;
	_Atomic bool stop;
};

static void
wake(struct ph_mailbox *m)
{
	park_wake(&container_of(m, struct spiller, mailbox)->park);
}

struct spiller *
spill_new(struct embedded *e)
{
	struct spiller *s = mem_new(struct spiller);

	s->e = e;
	mailbox_init(&s->mailbox, wake);
	park_init(&s->park);
	idmap_init(&s->arriving, offsetof(struct arriving, id));
	return s;
}

void
spill_submit(struct embedded *e, struct ph_store_request *r)
{
	struct spiller *s = e->spillers[(r->id.hi ^ r->id.lo >> 28) % SPILLERS];

	ph_post(&s->mailbox, &r->note);
}

void
spill_discard(struct embedded *e, struct ph_store_request *r, int status)
{
	r->status = status;
	r->offset = UINT64_MAX;         /* told apart from an append that is to be made */
	spill_submit(e, r);
}

static struct arriving *
start(struct spiller *s, struct ph_msgid id)
{
	struct arriving *a = mem_new(struct arriving);
	char path[STORE_PATH];

	a->id = id;
	a->sum = codec_sum_new();
	codec_sum_start(a->sum, s->e->tag);
	embedded_large_path(s->e, path, id, s->e->tag);
	a->fd = s->e->io->open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (a->fd < 0)
		a->status = embedded_error(a->fd);
	idmap_put(&s->arriving, a);
	return a;
}

static void
forget(struct spiller *s, struct arriving *a, bool remove)
{
	char path[STORE_PATH];

	if (a->fd >= 0) {
		(void)s->e->io->close(a->fd);   /* synced, or not wanted */
		if (remove) {
			embedded_large_path(s->e, path, a->id, s->e->tag);
			(void)s->e->io->unlink(path);   /* else removed at the next start */
		}
	}
	(void)idmap_del(&s->arriving, a->id);
	codec_sum_free(&a->sum);
	free(a);
}

static void
part(struct spiller *s, struct ph_store_request *r)
{
	struct arriving *a = idmap_get(&s->arriving, r->id);
	struct iovec iov = { (void *)(uintptr_t)r->bytes.p, r->bytes.n };
	int rc;

	if (a == NULL)
		a = start(s, r->id);
	if (a->status == 0 && r->offset != a->size)
		a->status = PH_EINVAL;
	if (a->status == 0 && r->bytes.n > 0) {
		codec_sum_add(a->sum, r->bytes.p, r->bytes.n);
		rc = segment_write(s->e, a->fd, &iov, 1, a->size);
		if (rc < 0)
			a->status = embedded_error(rc);
		else
			a->size += r->bytes.n;
	}
	embedded_complete(r, a->status);
}

static void
whole(struct spiller *s, struct arriving *a, const struct ph_content *c)
{
	const struct content_block *at = c->first;
	struct iovec iov[BLOCKS];

	while (at != NULL && a->status == 0) {
		uint64_t size = 0;
		int n = 0, rc;

		for (; at != NULL && n < BLOCKS; at = at->next) {
			size += at->len;
			codec_sum_add(a->sum, at->data, at->len);
			iov[n++] = (struct iovec){ (void *)(uintptr_t)at->data, at->len };
		}
		rc = segment_write(s->e, a->fd, iov, n, a->size);
		if (rc < 0)
			a->status = embedded_error(rc);
		a->size += size;
	}
}

/* Synced data; its name is synced for all of a batch at once. True: goes on
 * to the committer then. */
static bool
spill_ready(struct spiller *s, struct ph_store_request *r)
{
	struct arriving *a = idmap_get(&s->arriving, r->id);
	int rc, status;

	if (a == NULL && r->content == NULL) {
		ph_post(&s->e->urgent, &r->note);       /* an empty message */
		return false;
	}
	if (a == NULL)
		a = start(s, r->id);
	if (r->content != NULL)
		whole(s, a, r->content);
	if (a->status == 0) {
		rc = s->e->io->fdatasync(a->fd);
		if (rc < 0)
			a->status = embedded_error(rc) == PH_ENOSPC ? PH_ENOSPC : PH_EIO;
	}
	status = a->status;
	/* fields that an append does not use tell the committer */
	r->want = s->e->tag;
	r->offset = a->size;
	r->bytes = (struct ph_str){ NULL, codec_sum_end(a->sum) };
	forget(s, a, status != 0);
	if (status != 0)
		embedded_complete(r, status);
	return status == 0;
}

static void
discard(struct spiller *s, struct ph_store_request *r)
{
	char path[STORE_PATH];

	embedded_large_path(s->e, path, r->id, (uint32_t)r->want);
	(void)s->e->io->unlink(path);   /* else removed at the next start */
	embedded_complete(r, r->status);
}

bool
spill_cycle(struct spiller *s)
{
	struct ph_note *n = mailbox_take(&s->mailbox), *next;
	struct fifo appends;
	struct arriving *a;
	bool did = n != NULL;
	int rc;

	fifo_init(&appends);
	for (; n != NULL; n = next) {
		struct ph_store_request *r = request_of(n);

		next = n->next;
		if (r->op == PH_STORE_PART) {
			part(s, r);
		} else if (r->op == PH_STORE_ABANDON) {
			a = idmap_get(&s->arriving, r->id);
			if (a != NULL)
				forget(s, a, true);
			embedded_complete(r, 0);
		} else if (r->offset == UINT64_MAX) {
			discard(s, r);
		} else if (spill_ready(s, r))
			fifo_add(&appends, &r->note);
	}
	if (appends.first == NULL)
		return did;
	rc = s->e->io->syncdir(s->e->large);
	while ((n = fifo_pop(&appends)) != NULL) {
		struct ph_store_request *r = request_of(n);

		if (rc < 0) {
			r->status = PH_EIO;
			discard(s, r);
		} else
			ph_post(&s->e->urgent, n);
	}
	return true;
}

struct sweep { struct embedded *e; bool keep; };

/* "<id>-<tag>": of an earlier life, and no message refers to it? */
static void
file_met(void *arg, const char *name)
{
	const struct sweep *sweep = arg;
	struct embedded *e = sweep->e;
	char path[STORE_PATH], kept[STORE_PATH], *end;
	const struct entry *entry;
	struct ph_msgid id;
	unsigned long tag;
	bool needed;

	if (strlen(name) != PH_MSGID_TEXT - 1 + 9 || name[PH_MSGID_TEXT - 1] != '-' ||
	    id_parse((struct ph_str){ name, PH_MSGID_TEXT - 1 }, &id) != 0)
		return;
	tag = strtoul(name + PH_MSGID_TEXT, &end, 16);
	if (*end != '\0' || tag == e->tag)
		return;
	pthread_mutex_lock(&e->lock);
	entry = table_get(&e->table, id);
	needed = entry != NULL && entry->tag == tag;
	pthread_mutex_unlock(&e->lock);
	if (needed)
		return;
	(void)snprintf(path, sizeof path, "%s/%s", e->large, name);
	(void)snprintf(kept, sizeof kept, "%s/%s", e->quarantine, name);
	if (sweep->keep)
		(void)e->io->rename(path, kept);        /* else met again at the next start */
	else
		(void)e->io->unlink(path);
}

void
spill_sweep(struct embedded *e, bool keep)
{
	struct sweep sweep = { e, keep };

	(void)e->io->list(e->large, file_met, &sweep);  /* a matter of tidiness only */
}

static void *
spill_thread(void *arg)
{
	struct spiller *s = arg;

	while (!atomic_load(&s->stop))
		if (!spill_cycle(s))
			park_wait(&s->park, -1);
	return NULL;
}

int
spill_start(struct spiller *s)
{
	s->started = pthread_create(&s->thread, NULL, spill_thread, s) == 0;
	return s->started ? 0 : PH_ENOMEM;
}

void
spill_stop(struct spiller *s)
{
	atomic_store(&s->stop, true);
	park_wake(&s->park);
	if (s->started)
		(void)pthread_join(s->thread, NULL);
	s->started = false;
	while (spill_cycle(s))
		;
}

void
spill_free(struct spiller **sp)
{
	struct spiller *s = *sp;
	size_t it = 0;
	void *v;

	*sp = NULL;
	if (s == NULL)
		return;
	while (idmap_next(&s->arriving, &it, &v)) {     /* never appended: as if the power had gone */
		struct arriving *a = v;

		if (a->fd >= 0)
			(void)s->e->io->close(a->fd);
		codec_sum_free(&a->sum);
		free(a);
	}
	idmap_free(&s->arriving);
	free(s);
}
