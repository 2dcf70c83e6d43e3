/*
 * fetch.c - the thread that answers READ and READ_PART.
 *
 * A message's place is looked up and its segments are pinned under the lock; the
 * reading itself holds nothing.  Small messages come back in one block, files
 * of large ones stay open for a while because parts are asked for in a row.  A
 * file's checksum is known by its last part: when it is wrong that part is refused,
 * and a message whose end does not come is not delivered.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/id.h"
#include "base/mem.h"
#include "mail/content.h"
#include "store/embedded.h"

#define FILES 64                /* more than there usually are connections with a large message */
#define PART_MOST (1u << 20)
#define IDLE_MS 1000            /* then open files are closed, so that removed ones free their space */

struct file {
	struct ph_msgid id;
	int fd;
	bool used;
	uint64_t stamp, size;   /* size: of the content in the file */
	char *head;             /* bytes in front of it */
	uint32_t head_length, tag;
	uint64_t want_sum, summed;      /* bytes that are in sum */
	struct codec_sum *sum;  /* NULL: was found right */
};

struct fetcher {
	struct embedded *e;
	struct ph_mailbox mailbox;
	struct park park;
	struct fifo parked;     /* for messages that the scan may still bring up */
	pthread_t thread;
	bool started;
	_Atomic bool stop;
	struct file files[FILES];
	uint64_t stamp;
};

static void
wake(struct ph_mailbox *m)
{
	park_wake(&container_of(m, struct fetcher, mailbox)->park);
}

struct fetcher *
fetch_new(struct embedded *e)
{
	struct fetcher *f = mem_new(struct fetcher);

	f->e = e;
	mailbox_init(&f->mailbox, wake);
	park_init(&f->park);
	fifo_init(&f->parked);
	return f;
}

void
fetch_submit(struct fetcher *f, struct ph_store_request *r)
{
	ph_post(&f->mailbox, &r->note);
}

void
fetch_wake(struct fetcher *f)
{
	park_wake(&f->park);
}

struct place { struct entry at; struct segment *s, *progress; };

/* 0 with everything pinned; PH_EBUSY: the scan may still find it. */
static int
find(struct embedded *e, struct ph_msgid id, struct place *p)
{
	const struct entry *entry;
	int rc = 0;

	pthread_mutex_lock(&e->lock);
	entry = table_get(&e->table, id);
	if (entry == NULL) {
		rc = atomic_load(&e->scanned) ? PH_ENOENT : PH_EBUSY;
		pthread_mutex_unlock(&e->lock);
		return rc;
	}
	p->at = *entry;
	p->progress = NULL;
	p->s = segment_find(e, entry->segment);
	rc = p->s != NULL ? segment_pin(e, p->s) : PH_EIO;
	if (rc == 0 && entry->progress_span != 0) {
		p->progress = segment_find(e, entry->progress_segment);
		rc = p->progress != NULL ? segment_pin(e, p->progress) : PH_EIO;
		if (rc != 0)
			segment_unpin(p->s);
	}
	pthread_mutex_unlock(&e->lock);
	return rc == 0 ? 0 : embedded_error(rc);
}

static void
unpin(struct embedded *e, struct place *p)
{
	pthread_mutex_lock(&e->lock);
	segment_unpin(p->s);
	if (p->progress != NULL)
		segment_unpin(p->progress);
	pthread_mutex_unlock(&e->lock);
}

/* A record as malloc'd bytes. */
static int
record_of(struct embedded *e, const struct segment *s, struct ph_msgid id, enum record_type type,
    uint32_t at, uint32_t units, uint8_t **out)
{
	uint64_t off = (uint64_t)at * RECORD_ALIGN, span = (uint64_t)units * RECORD_ALIGN;
	uint8_t *p = mem_alloc(span);
	char text[PH_MSGID_TEXT];
	struct record r;
	int rc = segment_read(e, s, off, span, p, &r);

	if (rc == 0 && (r.type != type || !id_eq(r.id, id)))
		rc = PH_ECORRUPT;
	if (rc == 0) {
		*out = p;
		return 0;
	}
	free(p);
	if (rc == PH_ECORRUPT) {
		segment_quarantine(e, s, off, span);
		embedded_log(e, PH_ERROR, "store.damaged", "segment %016llx offset %llu: message %s is damaged,"
		    " its bytes are in quarantine", (unsigned long long)s->number, (unsigned long long)off,
		    id_text(id, text));
	}
	return rc;
}

static int
read_message(struct embedded *e, struct ph_store_request *r, struct place *where)
{
	uint8_t *p = NULL, *q = NULL, *from;
	struct message_fixed m;
	uint32_t more = 0;
	int rc = record_of(e, where->s, r->id, RECORD_MESSAGE, where->at.at, where->at.span, &p);

	if (rc == 0 && where->progress != NULL)
		rc = record_of(e, where->progress, r->id, RECORD_PROGRESS, where->at.progress_at,
		    where->at.progress_span, &q);
	if (rc != 0) {
		free(p);
		return rc;
	}
	message_get(p + RECORD_HEADER, &m);
	r->summary = m.summary;
	from = p + RECORD_HEADER + MESSAGE_FIXED;
	if (m.tag != 0) {
		r->content = content_stored(m.head + m.content);
	} else {
		r->content = content_new();
		content_append(r->content, from + m.meta, (size_t)(m.head + m.content), m.head + m.content);
	}
	if (q != NULL) {
		summary_get(q + RECORD_HEADER, &r->summary);
		more = le32_get(q + RECORD_HEADER + RECORD_SUMMARY);
	}
	/* one buffer for both: envelope, then progress */
	memmove(p, from, m.meta);
	p = mem_realloc(p, (size_t)m.meta + more + 1);
	if (more > 0)
		memcpy(p + m.meta, q + RECORD_HEADER + PROGRESS_FIXED, more);
	free(q);
	r->buffer = p;
	r->meta = (struct ph_str){ (const char *)p, m.meta };
	r->progress = (struct ph_str){ more > 0 ? (const char *)p + m.meta : NULL, more };
	return 0;
}

static void
file_close(struct fetcher *f, struct file *file)
{
	if (!file->used)
		return;
	if (file->fd >= 0)
		(void)f->e->io->close(file->fd);
	free(file->head);
	codec_sum_free(&file->sum);
	memset(file, 0, sizeof(*file));
}

/* Content of a message as a file; one that stands in its record is all head. */
static int
file_open(struct fetcher *f, struct ph_msgid id, struct file *file)
{
	struct embedded *e = f->e;
	struct message_fixed m;
	struct place where;
	char path[STORE_PATH];
	uint64_t inside;
	uint8_t *p;
	int rc = find(e, id, &where);

	if (rc != 0)
		return rc;
	rc = record_of(e, where.s, id, RECORD_MESSAGE, where.at.at, where.at.span, &p);
	unpin(e, &where);
	if (rc != 0)
		return rc;
	message_get(p + RECORD_HEADER, &m);
	inside = m.head + (m.tag != 0 ? 0 : m.content);
	memmove(p, p + RECORD_HEADER + MESSAGE_FIXED + m.meta, inside);
	*file = (struct file){ .id = id, .fd = -1, .used = true, .size = m.tag != 0 ? m.content : 0,
	    .head = mem_realloc(p, inside + 1), .head_length = (uint32_t)inside, .tag = m.tag,
	    .want_sum = m.sum };
	if (m.tag == 0)
		return 0;
	file->sum = codec_sum_new();
	codec_sum_start(file->sum, m.tag);
	embedded_large_path(e, path, id, m.tag);
	file->fd = e->io->open(path, O_RDONLY | O_CLOEXEC, 0);
	if (file->fd >= 0)
		return 0;
	rc = file->fd == -ENOENT ? PH_ECORRUPT : embedded_error(file->fd);
	file_close(f, file);
	if (rc == PH_ECORRUPT)
		embedded_log(e, PH_ERROR, "store.damaged", "%s is missing", path);
	return rc;
}

static int
file_of(struct fetcher *f, struct ph_msgid id, struct file **out)
{
	struct file *oldest = &f->files[0];

	for (size_t i = 0; i < FILES; i++) {
		struct file *file = &f->files[i];

		if (file->used && id_eq(file->id, id)) {
			file->stamp = ++f->stamp;
			*out = file;
			return 0;
		}
		if (!file->used || (oldest->used && file->stamp < oldest->stamp))
			oldest = file;
	}
	file_close(f, oldest);
	*out = oldest;
	int rc = file_open(f, id, oldest);

	oldest->stamp = ++f->stamp;
	return rc;
}

/* Takes bytes of the file at `from` into its checksum.  When they do not follow what was
 * taken before - two readers, or the file was closed meanwhile in favour of others - it is
 * read through once, with the part that completes it. */
static int
file_check(struct fetcher *f, struct file *file, uint64_t from, const char *p, uint64_t n)
{
	char text[PH_MSGID_TEXT];
	uint8_t *whole = NULL;
	ssize_t got = 1;

	if (file->sum == NULL || (n == 0 && file->size > 0))
		return 0;
	if (from == file->summed) {
		codec_sum_add(file->sum, p, n);
		file->summed += n;
	} else if (from + n < file->size) {
		return 0;
	} else {
		whole = mem_alloc(PART_MOST);
		codec_sum_start(file->sum, file->tag);
		for (file->summed = 0; file->summed < file->size && got > 0; ) {
			got = f->e->io->pread(file->fd, whole, PART_MOST, (int64_t)file->summed);
			if (got == -EINTR) {
				got = 1;
				continue;
			}
			codec_sum_add(file->sum, whole, got > 0 ? (size_t)got : 0);
			file->summed += got > 0 ? (uint64_t)got : 0;
		}
		free(whole);
		if (got <= 0)
			return got == 0 ? PH_ECORRUPT : PH_EIO;
	}
	if (file->summed < file->size)
		return 0;
	if (codec_sum_end(file->sum) == file->want_sum) {
		codec_sum_free(&file->sum);
		return 0;
	}
	codec_sum_start(file->sum, file->tag);
	file->summed = 0;
	embedded_log(f->e, PH_ERROR, "store.damaged", "content file of message %s is damaged",
	    id_text(file->id, text));
	return PH_ECORRUPT;
}

static int
read_part(struct fetcher *f, struct ph_store_request *r)
{
	uint64_t all, n = 0, from_head = 0;
	struct file *file;
	char *p;
	int rc = file_of(f, r->id, &file);

	if (rc != 0)
		return rc;
	all = file->head_length + file->size;
	if (r->offset < all)
		n = all - r->offset < r->want ? all - r->offset : r->want;
	if (n > PART_MOST)
		n = PART_MOST;
	p = mem_alloc(n + 1);
	if (r->offset < file->head_length) {
		from_head = file->head_length - r->offset < n ? file->head_length - r->offset : n;
		memcpy(p, file->head + r->offset, from_head);
	}
	for (uint64_t done = from_head; done < n; ) {
		ssize_t got = f->e->io->pread(file->fd, p + done, n - done,
		    (int64_t)(r->offset + done - file->head_length));

		if (got == -EINTR)
			continue;
		if (got <= 0) {
			free(p);
			return got == 0 ? PH_ECORRUPT : PH_EIO;
		}
		done += (uint64_t)got;
	}
	rc = file_check(f, file, r->offset + from_head - file->head_length, p + from_head, n - from_head);
	if (rc != 0) {
		free(p);
		return rc;
	}
	r->buffer = p;
	r->bytes = (struct ph_str){ p, n };
	return 0;
}

static void
answer(struct fetcher *f, struct ph_store_request *r)
{
	struct place where;
	int rc;

	r->buffer = NULL;
	if (r->op == PH_STORE_READ) {
		r->content = NULL;
		rc = find(f->e, r->id, &where);
		if (rc == 0) {
			rc = read_message(f->e, r, &where);
			unpin(f->e, &where);
		}
	} else
		rc = read_part(f, r);
	if (rc == PH_EBUSY)
		fifo_add(&f->parked, &r->note);
	else
		embedded_complete(r, rc);
}

bool
fetch_cycle(struct fetcher *f)
{
	bool scanned = atomic_load(&f->e->scanned);
	struct ph_note *n = mailbox_take(&f->mailbox), *next;
	struct fifo again;
	bool did = n != NULL;

	for (; n != NULL; n = next) {
		next = n->next;
		answer(f, request_of(n));
	}
	if (!scanned || f->parked.first == NULL)
		return did;
	fifo_init(&again);
	fifo_join(&again, &f->parked);
	while ((n = fifo_pop(&again)) != NULL)
		answer(f, request_of(n));
	return true;
}

static bool
close_files(struct fetcher *f)
{
	bool any = false;

	for (size_t i = 0; i < FILES; i++) {
		any |= f->files[i].used;
		file_close(f, &f->files[i]);
	}
	return any;
}

static void *
fetch_thread(void *arg)
{
	struct fetcher *f = arg;
	bool open = false;

	while (!atomic_load(&f->stop)) {
		if (fetch_cycle(f)) {
			open = true;
			continue;
		}
		park_wait(&f->park, open ? IDLE_MS : -1);
		if (open && atomic_load(&f->mailbox.top) == NULL)
			open = close_files(f);
	}
	while (fetch_cycle(f))
		;
	return NULL;
}

int
fetch_start(struct fetcher *f)
{
	f->started = pthread_create(&f->thread, NULL, fetch_thread, f) == 0;
	return f->started ? 0 : PH_ENOMEM;
}

void
fetch_stop(struct fetcher *f)
{
	struct ph_note *n;

	atomic_store(&f->stop, true);
	park_wake(&f->park);
	if (f->started)
		(void)pthread_join(f->thread, NULL);
	while (fetch_cycle(f))
		;
	while ((n = fifo_pop(&f->parked)) != NULL)
		embedded_complete(request_of(n), PH_ECANCELED);
	(void)close_files(f);
}

void
fetch_free(struct fetcher **f)
{
	free(*f);
	*f = NULL;
}
