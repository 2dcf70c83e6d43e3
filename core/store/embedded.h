/*
 * embedded.h - the inside of the embedded store: what its files share.
 *
 * Threads: the committer owns the tail segment and all that is written to segments; the
 * scanner reads old segments once, at start; the fetcher answers READ; spillers
 * write large contents.  `lock` guards the live table, the list of segments
 * with their counts, and the facts; it is never held over a file call, but
 * for opening a segment's file.
 */
#ifndef STORE_EMBEDDED_H
#define STORE_EMBEDDED_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "base/codec.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mailbox.h"
#include "store/park.h"
#include "store/record.h"
#include "store/store.h"
#include "store/table.h"

enum {
	STORE_PATH = 4096,
	SPARES_MAX = 4,         /* empty segments kept for reuse: prewritten blocks sync faster */
	OPEN_MAX = 48,          /* files of sealed segments kept open */
	BATCH_IOV = 4096,
	BATCH_ITEMS = 4096,
	STAGING = 1 << 20,      /* headers, envelopes and small contents of one batch */
	SPILLERS = 3,
	RETRY_MS = 1000,        /* how often a sick disk is tried again */
};

/* What REMOVED and CUT records of a segment refer to: they matter while the target exists. */
struct debt { uint64_t target; uint64_t bytes; };

struct segment {
	uint64_t number, nonce;
	int fd;                 /* -1: not open */
	unsigned pins;          /* readers at work; fd stays, file stays */
	uint64_t stamp;         /* last use, for closing */
	uint64_t size;          /* of the file */
	uint64_t end;           /* of the records */
	uint64_t live_bytes;    /* of records that count: messages, their last progress */
	uint32_t live;          /* number of those */
	uint32_t seq;
	struct debt *debts;     /* sorted by target */
	size_t ndebts, debts_cap;
	struct buf rows;        /* of the tail, for its index */
	bool sealed;            /* has an index and a trailer */
	bool poisoned;          /* a sync failed: never synced or reused again */
	bool evacuate;          /* may hold copies of what is elsewhere as well, or cannot be
	                         * trusted: it is emptied first */
	uint64_t since;         /* then: the first segment that may hold the newer copies */
	bool emergency;         /* made of the reserve: no new mail in it */
	bool keep;              /* could not be read: never let go of, never emptied */
	bool renamed, reuse;    /* given up (as a spare), but the directory is not synced yet */
};

struct cut { uint64_t segment, end; };

struct fifo { struct ph_note *first, **last; };

/* One batch on its way to the disk. */
struct item {
	struct ph_store_request *r;
	enum record_type type;
	uint32_t span;
	uint64_t off, target;
	struct message_fixed fixed;
};
struct batch {
	struct item items[BATCH_ITEMS];
	size_t n;
	struct iovec iov[BATCH_IOV + 2];        /* + padding to the page */
	int niov;
	uint8_t *staging;
	size_t staged;
	uint8_t *staging_open;  /* end of the last iovec if that is in staging */
	void *flat;             /* a content of too many blocks, in one piece */
	uint64_t start, end;
	struct ph_store_added added[BATCH_ITEMS];
	struct codec_sum *sum;
};

struct spiller;
struct fetcher;
struct compaction;
struct recovery;

enum { ANSWER_HOMES = 16 };
struct answers { struct ph_mailbox *home; struct outbox box; };

struct embedded {
	struct ph_store base;
	struct store_config cfg;
	const struct store_io *io;
	const struct ph_store_events *ev;
	void *arg;
	char *dir, *large, *quarantine;
	int lock_fd;
	uint32_t tag;           /* of this life's content files */

	pthread_mutex_t lock;
	struct table table;
	struct segment **segments;      /* ascending numbers; the tail is the last */
	size_t nsegments, segments_cap;
	unsigned opened;
	uint64_t stamp;
	struct { struct ph_store_facts f; uint64_t large; } facts;
	struct recovery *recovery;      /* until scanned */
	_Atomic bool scanned, closing;

	/* the committer's */
	struct ph_mailbox urgent, lazy;
	struct park park;
	struct fifo appends, lazies, parked;
	_Atomic bool lazy_armed;
	int64_t lazy_due;       /* mono ms; when lazies are written by themselves */
	int64_t lazy_retry;     /* not before; after a failure */
	struct segment *tail;
	uint64_t next_number;
	uint64_t spares[SPARES_MAX];
	size_t nspares;
	struct cut *cuts;       /* not yet durable in another segment */
	size_t ncuts, cuts_cap;
	struct batch *batch;
	struct compaction *compaction;
	bool check_retire, check_compact, saw_scanned;
	uint64_t garbage;       /* since compaction was last thought of */
	uint32_t most;          /* messages in the fullest segment: removals to keep room for */
	int64_t retire_retry, compact_retry;
	unsigned company;               /* appends that lately came together; 0: each alone */
	bool room, no_space, has_reserve;
	int64_t room_check, ill_until;
	bool ill;

	struct spiller *spillers[SPILLERS];
	struct fetcher *fetcher;
	pthread_t committer_thread, scan_thread;
	bool committer_started, scan_started;
	struct answers answers[ANSWER_HOMES];   /* committer's, empty between batches */
};

static inline struct embedded *embedded_of(struct ph_store *s)
{ return container_of(s, struct embedded, base); }

static inline void fifo_init(struct fifo *f) { f->first = NULL; f->last = &f->first; }
static inline void fifo_add(struct fifo *f, struct ph_note *n)
{ n->next = NULL; *f->last = n; f->last = &n->next; }
static inline struct ph_note *fifo_pop(struct fifo *f)
{ struct ph_note *n = f->first;
  if (n != NULL && (f->first = n->next) == NULL) f->last = &f->first;
  return n; }
static inline void fifo_join(struct fifo *to, struct fifo *from)
{ if (from->first != NULL) { *to->last = from->first; to->last = from->last; fifo_init(from); } }
static inline struct ph_store_request *request_of(struct ph_note *n)
{ return container_of(n, struct ph_store_request, note); }

/* --- embedded.c --- */
void embedded_log(const struct embedded *e, enum ph_level level, const char *event, const char *fmt, ...)
	PH_PRINTF(4, 5);
void embedded_complete(struct ph_store_request *r, int status); /* posts done, or drops */
/* The same with status 0 for many at once: each mailbox gets its answers in one go. Committer only. */
void answers_add(struct embedded *e, struct ph_store_request *r);
void answers_post(struct embedded *e);
int  embedded_error(int rc);            /* -errno to PH_E* */
void embedded_path(const struct embedded *e, char out[STORE_PATH], const char *kind, uint64_t number);
void embedded_reserve_path(const struct embedded *e, char out[STORE_PATH]);
void embedded_large_path(const struct embedded *e, char out[STORE_PATH], struct ph_msgid id, uint32_t tag);

/* --- segment.c; those marked L are called with the lock held --- */
struct segment *segment_new(uint64_t number);
void segment_free(struct segment **s);
void segment_add(struct embedded *e, struct segment *s);                /* L */
struct segment *segment_find(struct embedded *e, uint64_t number);      /* L; NULL: gone */
int  segment_pin(struct embedded *e, struct segment *s);                /* L; 0 or -errno */
void segment_unpin(struct segment *s);                               /* L */
void segment_owe(struct segment *s, uint64_t target, uint64_t bytes);   /* L */
void segment_forgive(struct segment *s, uint64_t target);               /* L */
uint64_t segment_debt(const struct segment *s);                         /* L; bytes that matter */
bool segment_matters(const struct segment *s);                          /* L */
/* Whether another segment may hold copies of messages that this one tells the end of:
 * then it keeps all its removals and may not vanish.  L */
bool segment_held(const struct embedded *e, const struct segment *s);
void segment_evacuate(struct segment *s, uint64_t since);               /* L */
void segment_lost(struct embedded *e, uint32_t number, uint32_t span);  /* L; a record stopped counting */
/* A new tail: spare or fresh, its name durable, its header written but not synced. On a
 * full disk the reserve, unless it is for appends. */
int  segment_create(struct embedded *e, uint64_t want, bool append, struct segment **out);
void segment_reserve(struct embedded *e);               /* sees to it that there is one */
int  segment_write(struct embedded *e, int fd, struct iovec *iov, int n, uint64_t off);
                                                        /* all or -errno */
/* Writes index and trailer behind `end` and syncs. rows: those that still count. */
int  segment_seal(struct embedded *e, struct segment *s, const struct buf *rows);
void segment_prune_rows(struct embedded *e, const struct segment *s, const struct buf *rows, struct buf *out);
/* Index of a sealed segment; PH_ENOENT: it has none, PH_ECORRUPT: damaged. */
int  segment_index(struct embedded *e, int fd, const struct segment *s, struct buf *rows);
/* Reads one whole record into p (span bytes) and checks it. */
int  segment_read(struct embedded *e, const struct segment *s, uint64_t off, uint64_t span, uint8_t *p,
                  struct record *out);
bool segment_retire(struct embedded *e);        /* lets go of segments that nothing needs */
uint64_t segment_index_room(const struct segment *s);   /* bytes to keep free for the index */
void segment_quarantine(struct embedded *e, const struct segment *s, uint64_t off, uint64_t n);

/* --- scan.c: record by record --- */
struct scan_result { uint64_t end; uint32_t seq; bool torn; };
typedef void scan_fn(void *arg, const struct record *r, const uint8_t *body, uint64_t off);
typedef void damage_fn(void *arg, uint64_t from, uint64_t to);
/* s is pinned. Calls fn for each valid record before limit, and damage for bad stretches
 * that had been synced; synced: what is known of that beforehand. */
void scan_segment(struct embedded *e, const struct segment *s, uint64_t limit, uint64_t synced,
                  scan_fn *fn, damage_fn *damage, void *arg, struct scan_result *out);

/* --- commit.c --- */
bool commit_cycle(struct embedded *e);
int64_t commit_wait(struct embedded *e);        /* ms until there is something to do; -1: nothing */
void commit_drain(struct embedded *e);          /* at close */
void commit_init(struct embedded *e);
void commit_done(struct embedded *e);
/* --- batch.c --- */
void batch_start(struct embedded *e);
int  batch_add(struct embedded *e, struct item *item);  /* PH_EBUSY: full */
int  batch_write(struct embedded *e);   /* and sync; else what those who wait are told */
/* --- company.c; committer only --- */
void company_thread(void);
bool company_expected(const struct embedded *e);        /* more appends are about to come */
bool company_patient(unsigned naps);
void company_nap(void);
void company_came(struct embedded *e, unsigned n);
/* --- tail.c: the segment that is written to --- */
int  tail_ensure(struct embedded *e, bool append);      /* 0, PH_ENOSPC, PH_EIO */
int  tail_roll(struct embedded *e, uint64_t want, bool append); /* a new one, then seals the old */
/* Writing or syncing what starts there failed; returns what those who wait are told. */
int  tail_fail(struct embedded *e, uint64_t start, int rc, bool synced);
enum tail_use { TAIL_APPEND, TAIL_LAZY, TAIL_COPY };   /* each may use more of a full disk */
bool tail_fits(const struct embedded *e, uint64_t off, uint64_t span, enum tail_use use);
uint64_t tail_most(const struct embedded *e);           /* largest record */
void tail_close(struct embedded *e);
void room_set(struct embedded *e, bool room);
void room_look(struct embedded *e, int64_t now);

/* --- compact.c --- */
bool compact_step(struct embedded *e, int64_t now);     /* one batch of copies */
void compact_abort(struct embedded *e);
uint32_t compact_source(const struct embedded *e);      /* the segment that is being emptied; 0 none */

/* --- recover.c --- */
int  recover_open(struct embedded *e);          /* names only */
bool recover_step(struct embedded *e);          /* one segment; false: nothing left */
/* A message was removed while old segments are still being read. L */
void recover_forget(struct embedded *e, struct ph_msgid id, uint64_t target);
void recover_free(struct embedded *e);

/* --- fetch.c --- */
struct fetcher *fetch_new(struct embedded *e);
void fetch_submit(struct fetcher *f, struct ph_store_request *r);
bool fetch_cycle(struct fetcher *f);
int  fetch_start(struct fetcher *f);
void fetch_stop(struct fetcher *f);
void fetch_wake(struct fetcher *f);
void fetch_free(struct fetcher **f);

/* --- spill.c --- */
struct spiller *spill_new(struct embedded *e);
void spill_submit(struct embedded *e, struct ph_store_request *r);
/* Removes the content file of r (tag in r->want), then answers it. */
void spill_discard(struct embedded *e, struct ph_store_request *r, int status);
/* Removes content files that no message refers to; keep: they go to quarantine. */
void spill_sweep(struct embedded *e, bool keep);
bool spill_cycle(struct spiller *s);
int  spill_start(struct spiller *s);
void spill_stop(struct spiller *s);
void spill_free(struct spiller **s);

#endif
