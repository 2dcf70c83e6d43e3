/*
 * server.h - the SMTP server as a protocol: bytes and answers in, replies and
 * requests out.  It does no I/O, knows no loop, no plugin, no store.
 *
 * The owner calls smtp_server_step until it answers SMTP_RQ_NONE (more input
 * wanted) or a request that waits for an answer.  Replies gather in s->out;
 * the owner sends them whenever it is about to wait (RFC 2920 3.2).
 *
 *   while ((rq = smtp_server_step(s, &in, &req)) != SMTP_RQ_NONE)
 *           ... do it; answer now or later; when later: stop stepping
 */
#ifndef SMTP_SERVER_H
#define SMTP_SERVER_H

#include <posthouse/hook.h>
#include "base/buf.h"
#include "base/mem.h"
#include "mail/envelope.h"
#include "mail/facts.h"
#include "mail/trace.h"

struct smtp_server_config {     /* one per listener and generation, shared, read-only */
	struct ph_str hostname;
	struct ph_str greeting;         /* text behind the host name; "" : "ESMTP posthouse" */
	uint64_t max_message_size;      /* 0: none, but SIZE is still offered */
	uint32_t max_line;              /* command line, octets with CRLF */
	uint32_t max_recipients;        /* per transaction */
	uint32_t max_transactions;      /* per connection, 0 none */
	uint32_t max_errors;            /* then 421 */
	uint32_t max_hops;
	int64_t timeout_command_ms, timeout_data_ms;    /* RFC 5321 4.5.3.2 */
	bool offer_tls, require_tls, offer_auth, require_auth;
	bool accept_bare_newline;       /* normalise instead of refusing */
	bool offer_chunking, offer_pipelining, offer_smtputf8, offer_dsn;
	struct ph_str mechanisms;       /* "PLAIN LOGIN": to be shown now comes from smtp_server.mechanisms */
};

enum smtp_state {
	SMTP_GREET, SMTP_HELLO, SMTP_READY, SMTP_MAIL, SMTP_RCPT,
	SMTP_DATA,      /* reading dot-stuffed content */
	SMTP_CHUNK,     /* reading the octets of a BDAT chunk */
	SMTP_BDAT,      /* between chunks */
	SMTP_SASL,      /* reading an AUTH response line */
	SMTP_CLOSE,     /* last reply on its way */
	SMTP_STATES
};      /* generated from states.def by the implementer; order free */

enum smtp_rq {
	SMTP_RQ_NONE,           /* give more input */
	/* --- wait for an answer --- */
	SMTP_RQ_ASK,            /* req.hook: run the chain, then smtp_server_verdict */
	SMTP_RQ_STORE,          /* the message is complete: make it durable, then smtp_server_stored.
	                         * header is scanned, hops checked; MESSAGE hook already asked */
	SMTP_RQ_TLS,            /* 220 is in out: send it, put the layer on, drop what was buffered
	                         * in the clear, then smtp_server_secured */
	SMTP_RQ_AUTH,           /* req.text mechanism, req.bytes initial response as sent (base64 or "="),
	                         * req.has_bytes; then smtp_server_auth */
	SMTP_RQ_AUTH_STEP,      /* req.bytes the response line (base64); then smtp_server_auth */
	SMTP_RQ_AUTH_CANCEL,    /* client said "*": end the exchange (no answer needed) */
	/* --- to be done at once, no answer --- */
	SMTP_RQ_BEGIN,          /* MAIL was accepted: a transaction exists */
	SMTP_RQ_CONTENT,        /* req.bytes: append to the message, in order (dots already removed) */
	SMTP_RQ_END,            /* transaction over without a message stored: drop what was gathered */
	SMTP_RQ_REJECTED,       /* a command was refused: req.reply, s->last_reply text; for observers */
	SMTP_RQ_CLOSE,          /* send out, then close; nothing comes after it */
};

struct smtp_request {
	enum ph_hook hook;
	struct ph_str text, bytes;      /* views, valid until the next step */
	bool has_bytes;
	enum ph_reply reply;
};

struct smtp_server {            /* embedded in the owner's session; zeroed, then init */
	const struct smtp_server_config *cfg;
	struct facts *facts;            /* the owner's; engine writes hello and esmtp */
	struct arena *session_arena, *arena;    /* the owner's; arena is the transaction's and
	                                 * reset by the owner on BEGIN's counterpart END or after STORE */
	struct buf out;                 /* replies to send */
	struct envelope env;            /* valid between BEGIN and the end of the transaction */
	struct header_scan scan;
	struct recipient *asking;       /* RCPT under question, not yet in env */
	struct address asking_from;     /* MAIL under question */
	struct ph_str mechanisms;       /* shown in EHLO now; owner sets on init and after TLS; "" none */
	enum smtp_state state;
	uint64_t content_size;          /* octets of content so far */
	uint32_t errors, transactions;
	uint64_t progress;              /* grows with each command and each 4 KiB of content: re-arm
	                                 * the time-out only when it changed (slow drips) */
	struct buf last_reply;          /* one line, of the latest refusal */
	/* private to smtp/server*.c */
	struct smtp_server_private {
		int pending;            /* request that waits for an answer */
		const void *verb;
		uint64_t chunk_left;
		uint8_t dot_state;
		bool discarding, chunk_last, bare_seen, too_big, header_asked, relay_ok, quit;
		enum ph_reply refusal;
		struct ph_str refusal_text;
		bool greeted, in_transaction, data_phase, skip_line;
		uint32_t mail_flags;
		void *extra;
	} p;
};

void smtp_server_init(struct smtp_server *s, const struct smtp_server_config *cfg,
                      struct facts *facts, struct arena *session_arena, struct arena *txn_arena);
void smtp_server_done(struct smtp_server *s);
/* First step asks the CONNECT hook, then greets. Consumes from *in. */
enum smtp_rq smtp_server_step(struct smtp_server *s, struct ph_str *in, struct smtp_request *req);

/* Answers. verdict: CONTINUE/ACCEPT go on; REJECT with reply and text; FAIL: 451. */
void smtp_server_verdict(struct smtp_server *s, enum ph_verdict v, enum ph_reply reply,
                         struct ph_str text);
/* status 0: "250 2.0.0 Queued as ID"; PH_ENOSPC 452; anything else 451. Ends the transaction. */
void smtp_server_stored(struct smtp_server *s, int status, struct ph_msgid id);
void smtp_server_secured(struct smtp_server *s, bool ok);       /* false: the owner closes */
/* code 334: challenge in text (already base64); PH_R_AUTH_OK ends it; any other reply refuses. */
void smtp_server_auth_challenge(struct smtp_server *s, struct ph_str base64);
void smtp_server_auth_end(struct smtp_server *s, enum ph_reply reply, const char *text);
/* Owner-driven ends: 421 with that reply, then RQ_CLOSE. From any state. */
void smtp_server_end(struct smtp_server *s, enum ph_reply reply);
/* For the connect phase: the client talked before the greeting. */
void smtp_server_early_talk(struct smtp_server *s);
int64_t smtp_server_timeout_ms(const struct smtp_server *s);    /* of the present state */
const char *smtp_state_name(enum smtp_state st);
/* store room (452 at MAIL when false) */
void smtp_server_room(struct smtp_server *s, bool enough);

#endif
