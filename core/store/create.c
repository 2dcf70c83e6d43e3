/*
 * create.c - new segments: from a spare, from the disk, from the reserve.
 *
 * A segment's name is durable before anything in it is acknowledged.  A spare
 * still holds the records of its former life; the new nonce tells them apart.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/mem.h"
#include "store/embedded.h"

#define RESERVE_LEAST (32u << 10)
#define SMALLEST (128u << 10)           /* what a segment may shrink to on a full disk */

static int
write_header(struct embedded *e, const struct segment *s)
{
	struct segment_id id = { s->number, s->nonce, s->size };
	uint8_t *p = mem_calloc(1, SEGMENT_START);
	struct iovec iov = { p, SEGMENT_START };
	int rc;

	segment_header_put(p, &id, clock_wall_ms());
	memcpy(p + SEGMENT_COPY, p, SEGMENT_HEADER);
	rc = segment_write(e, s->fd, &iov, 1, 0);
	free(p);
	return rc;
}

/* A spare under its new name; what is in it is told apart by the nonce. */
static int
take_spare(struct embedded *e, struct segment *s, const char *path)
{
	while (e->nspares > 0) {
		char from[STORE_PATH];
		int rc;

		embedded_path(e, from, "spare", e->spares[--e->nspares]);
		rc = e->io->rename(from, path);
		if (rc < 0)
			continue;
		rc = e->io->open(path, O_RDWR | O_CLOEXEC, 0);
		if (rc >= 0 && e->io->size(rc) == (int64_t)e->cfg.segment_size) {
			s->fd = rc;
			s->size = e->cfg.segment_size;
			return 0;
		}
		if (rc >= 0)
			(void)e->io->close(rc);
		(void)e->io->unlink(path);      /* not what it should be: make a new one */
	}
	return -ENOENT;
}

static int
make_fresh(struct embedded *e, struct segment *s, const char *path, uint64_t want)
{
	uint64_t least = (want + SEGMENT_START + SMALLEST / 8 + 4095) & ~(uint64_t)4095;
	int rc, fd = e->io->open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return fd;
	s->size = e->cfg.segment_size;
	if (least < SMALLEST)
		least = SMALLEST;
	for (;;) {
		rc = e->io->fallocate(fd, 0, (int64_t)s->size);
		if (rc == -EOPNOTSUPP || rc == -ENOSYS)
			rc = e->io->ftruncate(fd, (int64_t)s->size);
		if (rc == -EINTR)
			continue;
		if ((rc != -ENOSPC && rc != -EDQUOT) || s->size / 2 < least)
			break;
		/* a smaller one may still fit; give back what was got */
		(void)e->io->ftruncate(fd, 0);
		s->size = (s->size / 2) & ~(uint64_t)4095;
	}
	s->fd = fd;
	return rc;
}

static void
give_back(struct embedded *e, struct segment *s, const char *path)
{
	if (s->fd < 0)
		return;
	(void)e->io->close(s->fd);
	(void)e->io->unlink(path);      /* never used: at worst found empty */
	s->fd = -1;
}

static uint64_t
reserve_size(const struct embedded *e)
{
	uint64_t size = (e->cfg.segment_size / 4) & ~(uint64_t)4095;

	return size < RESERVE_LEAST ? RESERVE_LEAST : size;
}

/* Disk that is kept for removals, progress and compaction when there is no other. */
void
segment_reserve(struct embedded *e)
{
	char path[STORE_PATH];
	int fd, rc;

	if (e->has_reserve)
		return;
	embedded_reserve_path(e, path);
	fd = e->io->open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return;
	rc = e->io->fallocate(fd, 0, (int64_t)reserve_size(e));
	(void)e->io->close(fd);                 /* it is empty */
	if (rc < 0)
		(void)e->io->unlink(path);      /* tried again when there is room */
	else
		e->has_reserve = true;
}

static int
take_reserve(struct embedded *e, struct segment *s, const char *path, uint64_t want)
{
	char from[STORE_PATH];
	int rc;

	s->size = reserve_size(e);
	if (!e->has_reserve || want + want / 8 + 2 * SEGMENT_START > s->size)
		return -ENOSPC;
	embedded_reserve_path(e, from);
	e->has_reserve = false;
	rc = e->io->rename(from, path);
	if (rc == 0)
		rc = e->io->open(path, O_RDWR | O_CLOEXEC, 0);
	if (rc < 0)
		return rc;
	s->fd = rc;
	s->emergency = true;
	embedded_log(e, PH_WARN, "store.reserve", "the disk is full: the reserve is used for what was "
	    "delivered or deferred");
	return 0;
}

int
segment_create(struct embedded *e, uint64_t want, bool append, struct segment **out)
{
	struct segment *s = segment_new(e->next_number++);
	char path[STORE_PATH];
	int rc;

	id_random(&s->nonce, sizeof s->nonce);
	embedded_path(e, path, "seg", s->number);
	rc = take_spare(e, s, path);
	if (rc != 0)
		rc = make_fresh(e, s, path, want);
	if (!append && (rc == -ENOSPC || rc == -EDQUOT)) {
		give_back(e, s, path);
		rc = take_reserve(e, s, path, want);
	}
	if (rc >= 0)
		rc = write_header(e, s);
	if (rc >= 0)
		rc = e->io->syncdir(e->dir);
	if (rc < 0) {
		give_back(e, s, path);
		segment_free(&s);
		return rc;
	}
	s->end = SEGMENT_START;
	pthread_mutex_lock(&e->lock);
	segment_add(e, s);
	e->opened++;
	e->facts.f.bytes_written += SEGMENT_START;
	pthread_mutex_unlock(&e->lock);
	*out = s;
	return 0;
}
