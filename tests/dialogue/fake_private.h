/* fake_private.h - between the files of the fake loop. */
#ifndef TESTS_FAKE_PRIVATE_H
#define TESTS_FAKE_PRIVATE_H

#include "base/list.h"
#include "fake_loop.h"

enum { FAKE_KEY = 128 };

/* A stream and its peer point at each other; either may go first.  Bytes for the code
 * under test lie in its stream, bytes for the test in its peer. */
struct stream {
	struct list link;
	struct loop *l;
	struct ph_note note;            /* frees it */
	struct fake_peer *peer;         /* NULL: it has hung up */
	struct ph_addr from, to;        /* local and far address */
	struct buf in;
	unsigned events;
	stream_fn fn;
	void *arg;
	int failed;                     /* PH_E* of everything; told by stream_connected */
	size_t slice;
	bool silent, eof, shut, closed;
};

struct fake_peer {
	struct list link;               /* waits in a place for fake_arrived, or a listener */
	struct stream *s;               /* NULL: the code under test has closed */
	struct buf got;
	size_t window;                  /* 0: no limit */
	bool ended;
	void *data;
};

/* An address or path, what the code under test listens to there, or what the test plays there. */
struct place {
	struct list link;
	char key[FAKE_KEY];
	int fd;                         /* of listen_tcp, -1 */
	struct listener *ln;
	enum { NOBODY, SERVED, REFUSED, UNREACHABLE, SILENT } kind;
	void (*arrived)(void *arg, struct fake_peer *p);
	void *arg;
	struct list waiting;            /* peers not fetched */
	size_t tries;
};

struct listener {
	struct list link;
	struct ph_note note;            /* frees it */
	struct loop *l;
	void (*got)(void *arg, struct stream *s);
	void *arg;
	struct list queue;              /* streams not accepted yet */
	bool paused;
	struct place *at;
};

void fake_key(const struct ph_addr *a, char out[FAKE_KEY]);
struct place *fake_place_find(const char *key);
struct place *fake_place_named(const char *key);        /* makes it when there is none */
struct place *fake_place_at(const struct ph_addr *a);
uint16_t fake_next_port(void);
struct stream *fake_stream_make(struct loop *l, const struct ph_addr *from, const struct ph_addr *to);
struct fake_peer *fake_peer_make(struct stream *s);

/* One round of everything that is ready for this loop: true when there was something. */
bool fake_streams_step(struct loop *l);
bool fake_processes_step(struct loop *l);
void fake_streams_forget(void);
void fake_processes_forget(void);
void fake_opened(struct loop *l, int change);   /* keeps loop_busy */

#endif
