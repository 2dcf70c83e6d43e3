/*
 * bench_session.h - one connection of the load generator, shared by
 * bench_session.c (connecting, bytes, ends) and bench_dialogue.c (what is said).
 */
#ifndef CMD_BENCH_SESSION_H
#define CMD_BENCH_SESSION_H

#include "cmd/bench.h"

enum { BENCH_OFFERS_PIPELINING = 1, BENCH_OFFERS_CHUNKING = 2, BENCH_OFFERS_STARTTLS = 4 };
enum bench_step {
	STEP_CLOSED, STEP_PAUSE, STEP_CONNECT, STEP_GREETING, STEP_EHLO, STEP_HELO,
	STEP_STARTTLS, STEP_HANDSHAKE,
	STEP_WAIT,      /* for its turn under a rate */
	STEP_ENVELOPE, STEP_CONTENT, STEP_RESET, STEP_QUIT,
	STEP_HOLD,      /* an idle one */
};

/* Owner: the worker. */
struct bench_session {
	struct list link;               /* in w->waiting */
	struct bench_worker *w;
	struct stream *stream;
	struct layer *layer;            /* TLS, NULL in the clear */
	struct timer pause;
	enum bench_step step;
	bool idle, wants_write;
	bool within;                    /* a message is under way */
	bool counted;                   /* in b->active */
	bool last;                      /* QUIT is for good */
	uint8_t offers;
	unsigned barren;                /* connections lost since a message was taken */
	int tried;                      /* addresses that failed in a row */
	int refusal;                    /* code of the first refusal of this message */
	unsigned at, taken_rcpts;       /* place in MAIL RCPT... DATA; recipients taken */
	int64_t here;                   /* messages on this connection */
	uint64_t number;
	int64_t began_us, since_us;     /* the message; the present wait */
	struct buf in;                  /* the beginning of a reply line */
	struct iovec out[4];            /* into rendered text, bdat and head */
	int nout;
	char bdat[32], head[TRAFFIC_HEAD];
};

/* bench_session.c */
void bench_session_connect(struct bench_session *s);
void bench_session_close(struct bench_session *s);
void bench_session_over(struct bench_session *s);       /* closes; it sends no more */
/* The connection is gone, or of no use any more; connects again later. */
void bench_session_lost(struct bench_session *s, const char *why);
void bench_session_flush(struct bench_session *s);      /* may end it: look at s->stream */
void bench_open_next_idle(struct bench_worker *w);

/* Goes on once the handshake is over. */
void bench_session_secured(struct bench_session *s);

/* bench_dialogue.c */
/* One reply is complete (line: its last one). false: do not touch the session any more. */
bool bench_take_reply(struct bench_session *s, int code, struct ph_str line);
void bench_take_offer(struct bench_session *s, struct ph_str line);     /* a line of EHLO's reply */
void bench_begin_message(struct bench_session *s, int64_t began_us);
void bench_say_quit(struct bench_session *s);
void bench_message_over(struct bench_session *s);

#endif
