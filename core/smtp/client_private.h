/*
 * client_private.h - what the files of the client engine share.
 *
 * Two queues run side by side: segments that wait to be sent, and replies
 * that are expected.  A reply is good only when it is the next one expected
 * and the command it answers has left.
 */
#ifndef SMTP_CLIENT_PRIVATE_H
#define SMTP_CLIENT_PRIVATE_H

#include "smtp/client.h"
#include "smtp/dots.h"
#include "base/mem.h"
#include "base/str.h"

enum { CLIENT_RUNS = 32 };

enum client_state {
	CLIENT_HELLO,           /* greeting, EHLO, HELO, STARTTLS */
	CLIENT_TLS,             /* the owner puts the layer on */
	CLIENT_AUTH,
	CLIENT_READY,
	CLIENT_QUITTING,
	CLIENT_DEAD,            /* FAILED was told, or the owner took its transactions back */
};

enum client_mode {
	MODE_PLAIN,             /* a command, its reply, the next command */
	MODE_GROUPS,            /* PIPELINING with DATA */
	MODE_STREAM,            /* PIPELINING with BDAT */
};

enum client_wait {
	WAIT_GREETING, WAIT_EHLO, WAIT_HELO, WAIT_STARTTLS, WAIT_AUTH, WAIT_MAIL, WAIT_RCPT,
	WAIT_DATA, WAIT_BODY, WAIT_BDAT, WAIT_RSET, WAIT_QUIT,
};

/* Stages of a transaction, in order. */
enum client_stage {
	STAGE_QUEUED,           /* nothing of it is in the output */
	STAGE_MAIL, STAGE_RCPT, /* command by command */
	STAGE_DATA,             /* DATA is out */
	STAGE_BODY,             /* its content is in the output or sent */
	STAGE_OVER,             /* no content of it will be sent */
};

struct client_expect {
	enum client_wait kind;
	uint32_t index;                 /* RCPT: of the recipient */
	struct smtp_client_txn *txn;    /* NULL: not of a transaction */
	uint64_t at;                    /* its command has left once this many command bytes have */
};

/* Command bytes never move once written, since pieces of the output point at them. */
struct client_block { struct client_block *next; size_t cap, head, len; char data[]; };
struct client_segment {
	struct smtp_client_txn *txn;
	size_t n;
}; /* txn NULL: n command bytes */

struct client_reply {
	int code;
	bool single;
	struct ph_str line;             /* single: the line as received, without CRLF */
	struct remote_reply multi;
	struct arena *made_in; struct ph_str made;      /* text, once copied */
};

struct smtp_client {
	struct smtp_client_config cfg;
	char *hostname;
	enum client_state state;
	enum client_mode mode;
	bool bdat, secured, esmtp;
	unsigned ext;
	uint64_t max_size;
	uint32_t max_rcpts, max_mails, mails;
	char mechanisms[512];

	struct list open;               /* transactions in order of submission */
	struct list done;               /* finished, TXN not yet told */
	struct smtp_client_txn *next;   /* first of open that is not wholly in the output */
	struct smtp_client_txn *last_put;
	unsigned nopen;
	unsigned nput; uint64_t put_bytes;      /* in the output or sent, not finished */
	bool need_rset;                 /* the remote may hold a transaction open */

	struct { struct client_expect *v; uint32_t cap, head, n; } expects;
	struct { struct client_segment *v; uint32_t cap, head, n; } segments;
	struct client_block *first, *last, *spare;
	uint64_t cmd_queued, cmd_sent;
	/* dot-stuffed runs of the one content that is being sent by DATA */
	struct { struct iovec v[CLIENT_RUNS]; int head, n; uint8_t dots; bool done; } enc;

	unsigned pending;               /* events, bits of enum smtp_client_event_kind */
	struct smtp_client_event events[SMTP_EV_QUIT + 1];
	struct arena event_arena, scratch;
	struct buf auth_initial;        /* waits for the first 334 */
	struct buf auth_said;           /* the last response, so that a reply cannot repeat it */
	bool auth_prompt;               /* AUTH has left without a response */
	bool secret;                    /* what is put and sent is a login's: wiped once it left */
};

/* client.c */
void client_event(
    struct smtp_client *c, enum smtp_client_event_kind kind, int code, struct ph_str text);
void client_fail(struct smtp_client *c, int status, int code, struct ph_str text);
/* "550 5.1.1 text" in arena; control characters shown as '?'. */
struct ph_str client_reply_text(struct client_reply *r, struct arena *arena);

/* client_hello.c: from the greeting to READY */
void client_hello_reply(struct smtp_client *c, enum client_wait kind, struct client_reply *r);
/* Like client_reply_text; what we said is starred, since some repeat what they do not like. */
struct ph_str client_auth_text(struct smtp_client *c, struct client_reply *r);

/* client_txn.c */
void client_txn_reply(struct smtp_client *c, const struct client_expect *e, struct client_reply *r);
void client_advance(struct smtp_client *c);
void client_txn_finish_if_over(struct smtp_client *c, struct smtp_client_txn *t);
void client_txn_fail(struct smtp_client_txn *t, struct client_reply *r);

/* client_command.c: commands, written only here */
void client_put(struct smtp_client *c, struct ph_str line);     /* CRLF is added */
void client_put_mail(struct smtp_client *c, struct smtp_client_txn *t);
void client_put_rcpt(struct smtp_client *c, struct smtp_client_txn *t, uint32_t i);
void client_put_bdat(struct smtp_client *c, struct smtp_client_txn *t);
/* Refuses at once what the remote cannot take. */
void client_vet(struct smtp_client *c, struct smtp_client_txn *t);

/* client_output.c */
char *client_room(struct smtp_client *c, size_t n);     /* contiguous; then client_wrote */
void client_wrote(struct smtp_client *c, size_t n);
void client_push_content(struct smtp_client *c, struct smtp_client_txn *t);
void client_expect(
    struct smtp_client *c, enum client_wait kind, struct smtp_client_txn *t, uint32_t index);
void client_output_free(struct smtp_client *c);
void client_forget(struct buf *b);              /* wiped, then freed */

#endif
