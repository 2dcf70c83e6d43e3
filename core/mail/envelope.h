/*
 * envelope.h - what a message needs besides its bytes, and its stored form.
 */
#ifndef MAIL_ENVELOPE_H
#define MAIL_ENVELOPE_H

#include "base/buf.h"
#include "mail/address.h"

enum { NOTIFY_DEFAULT = 0, NOTIFY_NEVER = 1, NOTIFY_SUCCESS = 2, NOTIFY_FAILURE = 4, NOTIFY_DELAY = 8 };
enum mail_body { BODY_7BIT, BODY_8BITMIME, BODY_BINARYMIME };
enum mail_ret { RET_NONE, RET_FULL, RET_HDRS };

struct recipient {
	struct address to;
	struct ph_str orcpt;    /* as given after ORCPT=, xtext kept; "" none */
	uint8_t notify;
};

struct envelope {               /* everything in it lives in *arena */
	struct arena *arena;
	struct address from;
	struct recipient *rcpts;
	uint32_t nrcpts, cap;
	enum mail_body body;
	bool smtputf8;
	enum mail_ret ret;
	struct ph_str envid;    /* xtext kept; "" none */
	uint64_t declared_size; /* SIZE=; 0 none */
	/* arrival facts, for queue show and DSNs */
	struct ph_str client_addr, client_hello, login, protocol;
	int64_t arrived;        /* wall ms */
};

void envelope_init(struct envelope *e, struct arena *arena);
struct recipient *envelope_add(struct envelope *e);     /* zeroed */
void envelope_encode(const struct envelope *e, struct buf *out);        /* versioned, little-endian */
/* Copies into arena. 0 or PH_ECORRUPT; every length is checked. */
int  envelope_decode(struct ph_str bytes, struct arena *arena, struct envelope *out);

/* Delivery state beside the envelope: the "progress" bytes of the store. */
enum rcpt_state { RCPT_PENDING, RCPT_DELIVERED, RCPT_FAILED, RCPT_EXPIRED };
struct rcpt_progress {
	enum rcpt_state state;
	uint16_t code;          /* last reply code, 0 none */
	struct ph_str reply;    /* last reply word for word (lines joined by LF), cut at 1000 */
	struct ph_str remote;   /* host that said it */
};
struct progress { struct rcpt_progress *rcpts; uint32_t nrcpts; int64_t last_attempt; };
void progress_encode(const struct progress *p, struct buf *out);
/* nrcpts: of the envelope; empty bytes give all pending. 0 or PH_ECORRUPT. */
int  progress_decode(struct ph_str bytes, uint32_t nrcpts, struct arena *arena, struct progress *out);

#endif
