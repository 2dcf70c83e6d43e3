/*
 * store.h (core) - the embedded store: append-only segments, group commit.
 * See doc/store.md for the format and DESIGN.md for the argument.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <posthouse/store.h>
#include <sys/types.h>
#include <sys/uio.h>

/* Every call that touches files, so that tests can fail, tear and count them.
 * Results as the system calls: -errno on failure. */
struct store_io {
	int     (*open)(const char *path, int flags, unsigned mode);
	int     (*close)(int fd);
	ssize_t (*pread)(int fd, void *p, size_t n, int64_t off);
	ssize_t (*pwritev)(int fd, const struct iovec *v, int n, int64_t off);
	int     (*fdatasync)(int fd);
	int     (*fallocate)(int fd, int64_t off, int64_t len);
	int     (*ftruncate)(int fd, int64_t len);
	int64_t (*size)(int fd);
	int     (*rename)(const char *from, const char *to);
	int     (*unlink)(const char *path);
	int     (*mkdir)(const char *path, unsigned mode);      /* with parents; 0 when it is there */
	int     (*list)(const char *dir, void (*each)(void *arg, const char *name), void *arg);
	int     (*syncdir)(const char *dir);
	int     (*lock)(int fd);        /* -EWOULDBLOCK: another process has it */
	int64_t (*free_bytes)(const char *dir);
	/* NULL when dir is ours (any owner's for a reader) and not writable for others; else why not. */
	const char *(*untrusted)(const char *dir, bool reading, char *why, size_t why_size);
};
extern const struct store_io store_io_posix;

struct store_config {
	const char *dir;                /* the spool; made if missing (0700) */
	uint64_t segment_size;          /* 64 MiB */
	uint64_t spill_above;           /* larger content is in its own file */
	uint64_t reserve;               /* free bytes below which room(false) is told */
	int64_t  lazy_ms;               /* PROGRESS and REMOVE are durable within; 50 ms */
	const struct store_io *io;      /* NULL: posix */
	bool threads;                   /* false: tests call embedded_pump */
	bool readonly;                  /* `queue list` on a stopped spool: scan and read only */
	void (*log)(void *arg, int level, const char *event, const char *text);      /* any store thread */
};
/* Opens (locks the spool: PH_EBUSY when another daemon has it), starts the threads and
 * answers at once; scanning goes on in the background and is reported by events.
 * PH_EPERM: spool is writable for others, or not ours. why: for people. */
int embedded_open(const struct store_config *cfg, const struct ph_store_events *ev, void *arg,
                  struct ph_store **out, char *why, size_t why_size);
/* Without threads: do all work that is due. Returns true if something was done. */
bool embedded_pump(struct ph_store *s);

#endif
