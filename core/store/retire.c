/*
 * retire.c - segments that nothing needs any more, and bytes that are damaged.
 *
 * Order is everything: a segment that holds the removal of a message may
 * go only after the directory is known to name the message's own segment no more.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "store/embedded.h"

#define COPY (1u << 20)

static void
drop_from_list(struct embedded *e, struct segment *s)
{
	size_t at = 0;

	while (e->segments[at] != s)
		at++;
	e->nsegments--;
	memmove(e->segments + at, e->segments + at + 1,
	    (e->nsegments - at) * sizeof(struct segment *));
	for (size_t i = 0; i < e->nsegments; i++)
		segment_forgive(e->segments[i], s->number);
	if (s->fd >= 0) {
		(void)e->io->close(s->fd);      /* nothing in it matters */
		e->opened--;
	}
}

/* Renamed to be a spare or unlinked; false: try again later. */
static bool
let_go(struct embedded *e, struct segment *s)
{
	bool reuse = !s->poisoned && s->size == e->cfg.segment_size && e->nspares < SPARES_MAX;
	char path[STORE_PATH], spare[STORE_PATH];
	int rc = 0;

	embedded_path(e, path, "seg", s->number);
	embedded_path(e, spare, "spare", s->number);
	if (!s->renamed) {
		if (reuse && e->io->rename(path, spare) < 0)
			reuse = false;
		if (!reuse)
			rc = e->io->unlink(path);
		if (rc < 0 && rc != -ENOENT) {
			embedded_log(e, PH_WARN, "store.retire", "%s: %s", path, ph_strerror(embedded_error(rc)));
			return false;
		}
		s->reuse = reuse;
		s->renamed = true;
	}
	if (e->io->syncdir(e->dir) < 0)
		return false;
	if (s->reuse && e->nspares < SPARES_MAX)
		e->spares[e->nspares++] = s->number;
	else if (s->reuse)
		(void)e->io->unlink(spare);     /* found and removed at the next start at the latest */
	pthread_mutex_lock(&e->lock);
	drop_from_list(e, s);
	pthread_mutex_unlock(&e->lock);
	segment_free(&s);
	return true;
}

static struct segment *
next_to_go(struct embedded *e)
{
	struct segment *found = NULL;

	pthread_mutex_lock(&e->lock);
	for (size_t i = 0; i < e->nsegments && found == NULL; i++) {
		struct segment *s = e->segments[i];

		if (s != e->tail && s->pins == 0 && !segment_matters(s) &&
		    (s->evacuate || !segment_held(e, s)))
			found = s;
	}
	pthread_mutex_unlock(&e->lock);
	return found;
}

bool
segment_retire(struct embedded *e)
{
	struct segment *s;
	bool did = false;

	while ((s = next_to_go(e)) != NULL) {
		if (!let_go(e, s)) {
			e->retire_retry = clock_mono_ms() + RETRY_MS;
			return did;
		}
		did = true;
	}
	e->check_retire = false;
	return did;
}

void
segment_quarantine(struct embedded *e, const struct segment *s, uint64_t off, uint64_t n)
{
	char path[STORE_PATH];
	uint8_t *p;
	int fd;

	if (e->cfg.readonly)
		return;
	(void)snprintf(path, sizeof path, "%s/seg-%016llx-%llx.bin", e->quarantine,
	    (unsigned long long)s->number, (unsigned long long)off);
	fd = e->io->open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd == -EEXIST)
		return;                         /* kept at an earlier start */
	pthread_mutex_lock(&e->lock);
	e->facts.f.quarantined++;
	pthread_mutex_unlock(&e->lock);
	if (fd < 0) {
		embedded_log(e, PH_ERROR, "store.quarantine", "%s: %s", path,
		    ph_strerror(embedded_error(fd)));
		return;
	}
	p = mem_alloc(COPY);
	for (uint64_t done = 0; done < n; ) {
		uint64_t want = n - done < COPY ? n - done : COPY;
		ssize_t got = e->io->pread(s->fd, p, want, (int64_t)(off + done));
		struct iovec iov;

		if (got <= 0) {                 /* unreadable: its place is kept */
			got = want < 4096 ? (ssize_t)want : 4096;
			memset(p, 0, (size_t)got);
		}
		iov = (struct iovec){ p, (size_t)got };
		if (segment_write(e, fd, &iov, 1, done) < 0)
			break;
		done += (uint64_t)got;
	}
	free(p);
	(void)e->io->fdatasync(fd);             /* a copy: the segment itself stays for now */
	(void)e->io->close(fd);
	(void)e->io->syncdir(e->quarantine);
}
