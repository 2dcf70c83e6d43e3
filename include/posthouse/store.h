/*
 * store.h - where messages live: the interface between queue and store.
 *
 * Everything is asynchronous and comes back as a note to the asker's mailbox.
 * A store may refuse, may answer "outcome unknown" (PH_EDOUBT: not
 * acknowledged, the client tries again), and may bring up messages that this
 * daemon never accepted (recovery, or taken over from another node).  Nothing
 * above it may assume a local file.
 *
 * Life of a message: (PART ...) APPEND -> READ* PROGRESS* -> REMOVE.
 */
#ifndef POSTHOUSE_STORE_H
#define POSTHOUSE_STORE_H

#include <posthouse/types.h>

PH_BEGIN_DECLS

/* Message bytes: refcounted, any thread may hold a reference; immutable once
 * handed to a store.  In memory as blocks, or in the store itself as parts. */
struct ph_content;
PH_API struct ph_content *ph_content_ref(struct ph_content *c);
PH_API void     ph_content_unref(struct ph_content **c);
PH_API uint64_t ph_content_size(const struct ph_content *c);
/* false: bytes must be fetched with PH_STORE_READ_PART. */
PH_API bool     ph_content_in_memory(const struct ph_content *c);
/* A run of bytes at offset (in memory only); lives as long as the content. */
PH_API struct ph_str ph_content_at(const struct ph_content *c, uint64_t offset);

/* What the queue must know of a message without reading it; kept by the store
 * beside the message, replaced by each PROGRESS, returned by SCAN. Times are
 * wall clock, ms since 1970. */
struct ph_store_summary {
	int64_t  created, due;
	uint64_t size;          /* content bytes */
	uint64_t site;          /* hash of the site's key; 0 unknown */
	uint32_t attempts;
	uint32_t flags;         /* PH_STORE_HELD, PH_STORE_NOTIFIED */
	uint32_t recipients;    /* still pending */
	uint32_t leased;        /* APPEND only: worker + 1 that will try it itself, 0 nobody; handed
	                         * on by `added`, means nothing in a SCAN */
};
enum { PH_STORE_HELD = 1, PH_STORE_NOTIFIED = 2, PH_STORE_BOUNCE = 4 };

enum ph_store_op {
	/* One part of a large message, in order, while it arrives: bytes.
	 * Not durable by itself.  First part names a new id. */
	PH_STORE_PART,
	/* Forget the parts of a message that will not be appended. */
	PH_STORE_ABANDON,
	/* Make a message durable: id, summary, meta, head, content.  head is
	 * bytes in front of the content (trace fields).  If parts were given, content
	 * is NULL. done(0) means: on stable storage. The note also leads to
	 * events->added. PH_ENOSPC, PH_EIO: not stored, not acknowledged. */
	PH_STORE_APPEND,
	/* Replace summary and progress bytes of a message. Lazy: durable within
	 * 100 ms, done() after that if set. */
	PH_STORE_PROGRESS,
	/* The message is finished.  Lazy in the same way. done may be NULL. */
	PH_STORE_REMOVE,
	/* out: meta, progress, content (in memory unless it came in parts; then
	 * stored); PH_ENOENT, PH_ECORRUPT (then already in quarantine). */
	PH_STORE_READ,
	/* out: bytes of a stored content at offset, up to want. */
	PH_STORE_READ_PART,
};

struct ph_store_request {
	struct ph_note note;            /* the store's while it works */
	enum ph_store_op op;
	int status;                     /* out */
	struct ph_mailbox *home;        /* done runs on this mailbox's thread */
	void (*done)(struct ph_store_request *);        /* may be NULL: lazy ops; the
	                                 * store then frees the request with drop */
	void (*drop)(struct ph_store_request *);        /* when done is NULL; any thread */
	struct ph_msgid id;
	struct ph_store_summary summary;
	struct ph_str meta;             /* envelope, opaque to the store; in: lives until
	                                 * done; out (READ): valid until *buffer is freed */
	struct ph_str progress;         /* likewise */
	struct ph_str head;             /* APPEND */
	struct ph_content *content;     /* in: borrowed until done; out: a reference */
	struct ph_str bytes;            /* PART in; READ_PART out */
	uint64_t offset, want;          /* READ_PART; PART: offset of bytes */
	void *buffer;                   /* out: owns meta, progress, bytes; ph_store_release */
	void *arg;                      /* the caller's */
};

/* A message that the queue does not know yet. Called on a store thread, any
 * number at once; must not block. hot: content in memory (a reference is the
 * callee's if it takes one by ph_content_ref) or NULL. */
struct ph_store_added {
	struct ph_msgid id;
	struct ph_store_summary summary;
	struct ph_str meta;             /* as appended; {NULL,0} from a scan */
	struct ph_content *hot;
};
struct ph_store_events {
	uint32_t size;
	void (*added)(void *arg, const struct ph_store_added *v, size_t n);
	void (*scanned)(void *arg, int status); /* everything old was reported */
	/* room: may new messages be taken? false answers 452 at MAIL. */
	void (*room)(void *arg, bool enough);
};

struct ph_store_facts {
	uint64_t live, bytes_live, bytes_used, segments, syncs, appended, removed,
	         bytes_written, quarantined, compacted;
};

struct ph_store;
struct ph_store_ops {
	uint32_t size;
	void (*submit)(struct ph_store *s, struct ph_store_request *r);   /* any thread */
	void (*facts)(struct ph_store *s, struct ph_store_facts *out);
	void (*close)(struct ph_store *s);      /* flushes, ends its threads; main thread */
};
struct ph_store { const struct ph_store_ops *ops; };

/* Give back what READ or READ_PART handed out. Any thread. */
PH_API void ph_store_release(struct ph_store_request *r);

PH_END_DECLS
#endif
