/*
 * client.h - the SMTP client as a protocol: replies in, commands out, no I/O.
 *
 * One struct smtp_client drives one connection.  Transactions are submitted
 * and leave pipelined: with CHUNKING several whole messages travel within a
 * window (RFC 3030, 2920); with PIPELINING the content of one and the MAIL,
 * RCPT, DATA of the next leave together; else command by command.
 *
 *   feed replies -> take events -> submit transactions -> gather output
 */
#ifndef SMTP_CLIENT_H
#define SMTP_CLIENT_H

#include <sys/uio.h>
#include "base/buf.h"
#include "base/list.h"
#include "mail/content.h"
#include "mail/envelope.h"
#include "mail/reply.h"

struct smtp_client_config {
	struct ph_str hostname;         /* for EHLO; a name or an address literal */
	uint32_t window_messages;       /* CHUNKING: messages on the wire, default 32 */
	uint64_t window_bytes;          /* CHUNKING: default 1 MiB (one message may exceed it) */
	bool lmtp;                      /* reserved */
	bool use_chunking, use_pipelining;      /* false: not even when offered */
	enum { SMTP_CLIENT_TLS_NO, SMTP_CLIENT_TLS_IF, SMTP_CLIENT_TLS_MUST } starttls;
	bool tls_begun; /* TLS began with the first byte (RFC 8314 3.3): no STARTTLS */
	bool auth;      /* a login follows */
	/* The dialogue for a log, line by line without CRLF, secrets as "***"; may be NULL. */
	void (*said)(void *arg, struct ph_str command);
	void (*heard)(void *arg, struct ph_str reply);
	void *arg;
};

struct smtp_client_rcpt {
	const struct recipient *rcpt;   /* the caller's */
	uint32_t index;                 /* the caller's */
	int code;                       /* outcome; 0 while open */
	struct ph_str reply;            /* "550 5.1.1 text", lines joined by LF; in txn->arena */
	bool ours;                      /* refused by the engine; the remote was not asked */
};

enum smtp_client_outcome { SMTP_OUT_OPEN, SMTP_OUT_DONE /* look at each rcpt */,
	SMTP_OUT_LOST /* connection ended before the outcome was known */ };

/* Owner: the caller, from submit until the DONE event or smtp_client_end. */
struct smtp_client_txn {
	struct list link;
	const struct envelope *env;
	struct smtp_client_rcpt *rcpts; uint32_t nrcpts;
	struct ph_str head;             /* bytes in front of the content (may be empty) */
	struct ph_content *content;     /* in memory, or read through WANT events */
	uint64_t size;                  /* head + content */
	bool eight_bit;                 /* content has 8-bit bytes */
	struct arena *arena;            /* for reply texts */
	void *arg;
	/* engine's; the caller may read offset, answered and sent */
	uint64_t offset;                /* of head + content: what is on the wire, or encoded */
	uint32_t next_rcpt, ok_rcpts, replies_due;
	uint8_t stage;
	bool answered;                  /* the remote replied to some command of it */
	bool sent;                      /* all of it is on the wire */
	bool mail_refused, wanting;
	struct ph_str part; uint64_t part_at;   /* what smtp_client_content gave */
};

enum smtp_client_event_kind {
	SMTP_EV_NONE,
	SMTP_EV_READY,          /* once: EHLO (and TLS, AUTH) are over, transactions flow */
	SMTP_EV_STARTTLS,       /* remote said 220: put the layer on, drop buffered clear text,
	                         * then smtp_client_secured */
	SMTP_EV_AUTH,           /* text: offered mechanisms, "PLAIN LOGIN", "" none; smtp_client_auth */
	SMTP_EV_AUTH_STEP,      /* text: challenge, base64 as received; "" also for the words of a
	                         * first prompt ("NTLM supported") after no initial response */
	SMTP_EV_AUTH_OK,        /* 235; READY follows at once */
	SMTP_EV_AUTH_FAILED,    /* code, text; another smtp_client_auth may follow */
	SMTP_EV_WANT,           /* txn: needs stored content at txn->offset; smtp_client_content */
	SMTP_EV_TXN,            /* txn: all rcpts have outcomes, it is the caller's again */
	SMTP_EV_FAILED,         /* greeting or EHLO refused (code, text), TLS missing, protocol
	                         * violated; close. Open txns: smtp_client_end gives them back */
	SMTP_EV_QUIT,           /* our QUIT was answered; close */
};
struct smtp_client_event {
	enum smtp_client_event_kind kind;
	struct smtp_client_txn *txn;
	int code;               /* of the remote; 0 for our own reasons */
	int status;             /* FAILED: PH_EPROTO, PH_EREFUSED (5xx greeting), PH_EBUSY (4xx),
	                         * PH_ENOTSUP */
	struct ph_str text;     /* valid until the next feed */
};

/* What EHLO told. */
enum { SMTP_EXT_PIPELINING = 1, SMTP_EXT_CHUNKING = 2, SMTP_EXT_8BITMIME = 4,
       SMTP_EXT_BINARYMIME = 8, SMTP_EXT_SMTPUTF8 = 16, SMTP_EXT_DSN = 32,
       SMTP_EXT_SIZE = 64, SMTP_EXT_STARTTLS = 128,
       SMTP_EXT_ENHANCED = 256, SMTP_EXT_LIMITS = 512, SMTP_EXT_AUTH = 1024 };

struct smtp_client;
struct smtp_client *smtp_client_new(const struct smtp_client_config *cfg);
void smtp_client_free(struct smtp_client **c);          /* end first if txns are open */
/* Consumes whole replies from *in. Events wait to be taken. 0 or PH_EPROTO (then FAILED is one). */
int  smtp_client_feed(struct smtp_client *c, struct ph_str *in);
bool smtp_client_event(struct smtp_client *c, struct smtp_client_event *ev);
void smtp_client_secured(struct smtp_client *c);        /* starts over with EHLO (RFC 3207 4.2) */
/* After 220 to STARTTLS: what comes now, and what is left of the input of a feed, is not SMTP. */
bool smtp_client_wants_tls(const struct smtp_client *c);
void smtp_client_auth(struct smtp_client *c, struct ph_str mechanism, bool has_initial,
                      struct ph_str initial_base64);
/* {NULL,0} cancels with "*" */
void smtp_client_auth_step(struct smtp_client *c, struct ph_str base64);
void smtp_client_submit(struct smtp_client *c, struct smtp_client_txn *txn);    /* after READY */
/* How many more messages may be submitted so that they travel without waiting. */
unsigned smtp_client_free_slots(const struct smtp_client *c);
unsigned smtp_client_open_txns(const struct smtp_client *c);
/* bytes: borrowed until the next WANT for txn, or until txn is given back. WANT shows
 * up in smtp_client_output: look at the events after it. */
void smtp_client_content(struct smtp_client *c, struct smtp_client_txn *txn, struct ph_str bytes);
void smtp_client_quit(struct smtp_client *c);
/* Gives back an open txn or NULL. Those whose final reply was due have sent = true
 * and rcpts with code 0: a duplicate is possible (RFC 1047). */
struct smtp_client_txn *smtp_client_end(struct smtp_client *c);
/* Bytes to send, as pieces; they do not move before smtp_client_sent has them. */
int  smtp_client_output(struct smtp_client *c, struct iovec *iov, int max);
void smtp_client_sent(struct smtp_client *c, size_t n);
/* The time-out of what is waited for now (RFC 5321 4.5.3.2): greeting 5m, MAIL RCPT 5m,
 * DATA 2m, block 3m, final dot 10m; 0 when idle. */
int64_t smtp_client_timeout_ms(const struct smtp_client *c);
const char *smtp_client_waiting_for(const struct smtp_client *c);
unsigned smtp_client_extensions(const struct smtp_client *c);
uint64_t smtp_client_max_size(const struct smtp_client *c);     /* SIZE offered, 0 unknown */
/* LIMITS (RFC 9422): recipients of one transaction, 0 no limit; no further transaction. */
uint32_t smtp_client_max_rcpts(const struct smtp_client *c);
bool smtp_client_spent(const struct smtp_client *c);

#endif
