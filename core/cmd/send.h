/*
 * send.h - what cmd_send.c (command line, outcome), send_input.c, send_session.c
 * (one connection) and send_show.c (the dialogue on a terminal) share.
 */
#ifndef CMD_SEND_H
#define CMD_SEND_H

#include <stdio.h>
#include "base/list.h"
#include "cmd/opt.h"
#include "cmd/traffic.h"
#include "mail/content.h"
#include "mail/envelope.h"
#include "net/loop.h"
#include "smtp/client.h"

enum { SEND_TARGETS = 8, SEND_MAX_COMPLAINTS = 20 };

struct send_opts {
	const char *to, *from, *helo, *subject, *notify, *envid, *ret;
	struct opt_list rcpts;
	int64_t generate, sessions;
	ph_size size;
	ph_duration timeout;
	int verbose;
	bool quiet, no_pipelining, no_chunking;
};

/* One message; its txn while it is on its way. Owner: struct send. */
struct send_message {
	const char *file;               /* NULL: generated */
	struct ph_content *content;
	bool eight_bit;
	uint64_t number;
	struct arena arena;
	struct smtp_client_txn txn;
	char head[TRAFFIC_HEAD];
};

struct send {
	const struct send_opts *o;
	struct loop *loop;
	struct ph_addr to[SEND_TARGETS];
	int nto;
	struct arena arena;
	struct envelope env;            /* of all messages */
	struct smtp_client_config client;
	struct send_message *files;     /* what the command line named */
	size_t nfiles;
	struct traffic traffic;         /* --generate */
	struct ph_content *generated;
	struct codec_sum *sum;
	uint64_t next, total;           /* messages given out, in all */
	unsigned live;                  /* sessions */
	/* outcome */
	uint64_t taken, deferred, refused,
	    lost;                               /* messages: all recipients taken; some 4xx; some
						 * 5xx; connection lost before the outcome */
	bool session_deferred, session_refused; /* greeting or EHLO answered 4xx, 5xx; ended */
	unsigned complaints, connected;
	char trouble[256];              /* why the latest connection failed */
};

/* send_session.c: connects and sends until there is nothing left. */
void send_session_start(struct send *snd);

/* cmd_send.c */
struct send_message *send_next_message(struct send *snd);       /* NULL: no more */
/* All recipients have outcomes, or (lost) the connection ended before. Takes it back. */
void send_message_over(struct send *snd, struct send_message *msg, bool lost);
void send_complain(struct send *snd, const char *fmt, ...) PH_PRINTF(2, 3);

/* send_input.c: reads all messages of the command line. 0 or the exit status, after a complaint. */
int send_read_input(struct send *snd, const struct opt_list *files);

/* send_show.c: the dialogue, line by line, with content summed up (or shown, -vv). */
struct send_show {
	int level;
	struct buf out, in;
	uint64_t content, chunk_left;
	uint8_t at;
	bool go_ahead;
};
void send_show_out(struct send_show *v, const char *p, size_t n);
void send_show_in(struct send_show *v, struct ph_str bytes);
void send_show_free(struct send_show *v);

#endif
