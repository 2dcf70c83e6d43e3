/*
 * server.h - the SMTP server as a protocol: bytes and answers in, replies and
 * requests out.  It does no I/O, knows no loop, no plugin, no store.  It keeps
 * no input: what it does not take off *in it wants to see again, with more
 * behind it; that is never more than smtp_server_line_max() octets.
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

struct smtp_verb;

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
	bool offer_tls, require_tls, offer_auth, require_auth;  /* require_tls: implicit, too */
	bool accept_bare_newline;       /* normalise instead of refusing */
	bool offer_chunking, offer_pipelining, offer_smtputf8, offer_dsn;
	struct ph_str mechanisms;       /* all there are, "PLAIN LOGIN"; those shown now are in
	                                 * struct smtp_server */
};

enum smtp_state {       /* SMTP_GREET, SMTP_HELLO, ... as in states.def */
#define SMTP_STATE(name, text, next) SMTP_##name,
#include "smtp/states.def"
#undef SMTP_STATE
	SMTP_STATES
};

enum smtp_rq {
	SMTP_RQ_NONE,           /* give more input */
	/* --- wait for an answer --- */
	SMTP_RQ_ASK,            /* req.hook: run the chain, then smtp_server_verdict */
	SMTP_RQ_STORE,          /* the message is complete: make it durable, then smtp_server_stored.
	                         * header is scanned, hops checked; MESSAGE hook already asked */
	SMTP_RQ_TLS,            /* 220 is in out: send it, put the layer on, drop what was buffered
	                         * in the clear, then smtp_server_secured */
	SMTP_RQ_AUTH,           /* req.text mechanism, req.bytes initial response as sent (base64
	                         * or "="), req.has_bytes; then smtp_server_auth_challenge or _end */
	SMTP_RQ_AUTH_STEP,      /* req.bytes the response line (base64); then the same */
	SMTP_RQ_AUTH_CANCEL,    /* client said "*": end the exchange (no answer needed) */
	/* --- to be done at once, no answer --- */
	SMTP_RQ_BEGIN,          /* MAIL was accepted: a transaction exists */
	SMTP_RQ_CONTENT,        /* req.bytes: append to the message, in order (dots already removed) */
	SMTP_RQ_END,            /* transaction over without a message stored: drop what was gathered */
	SMTP_RQ_REJECTED,       /* a command was refused: req.reply, s->last_reply text; for observers */
	SMTP_RQ_FLUSH,          /* out has grown large: send it before stepping on, when
	                         * the client reads slowly wait for it (bounds out) */
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
	struct envelope env;            /* valid from the MAIL hook to END or smtp_server_stored */
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
		const struct smtp_verb *verb;   /* of the command whose hook is asked */
		struct recipient rcpt;          /* what asking points to */
		struct ph_str client_text;      /* the client's address as text */
		char *hello; size_t hello_cap;  /* facts->hello lives here */
		enum ph_reply rejected;         /* for RQ_REJECTED */
		enum ph_reply refusal;          /* of a message whose rest is read and dropped */
		struct ph_str refusal_text;     /* in the transaction's arena */
		enum ph_reply ending;           /* smtp_server_end while a message is being stored */
		uint64_t chunk_left, chunk_size;
		uint64_t octets;                /* of content, as they came, for progress */
		size_t flush_at;
		uint32_t rcpt_tries;
		int8_t hook;                    /* to be asked, or asked; NO_HOOK */
		uint8_t pending, due;           /* see server_private.h */
		uint8_t newline_state;          /* of dots.c or bdat.c */
		uint8_t chunk_return;           /* state after a dropped chunk */
		bool chunk_last, chunk_dropped, in_transaction, env_stale, arena_stale;
		bool content_over, header_asked, message_asked;
		bool skip_line, data_refused, no_room;
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
/* Challenge: 334 with base64.  End: PH_R_AUTH_OK (facts->login is set by the owner before it)
 * asks the AUTH hook, then 235 and facts->admitted, or facts->login is emptied; any other
 * reply refuses. */
void smtp_server_auth_challenge(struct smtp_server *s, struct ph_str base64);
void smtp_server_auth_end(struct smtp_server *s, enum ph_reply reply, const char *text);
/* Owner-driven ends: that reply (421), then RQ_CLOSE. From any state, also while a question is
 * open (its answer is ignored then); while a message is being stored it waits for that answer. */
void smtp_server_end(struct smtp_server *s, enum ph_reply reply);
/* For the connect phase: the client talked before the greeting. */
void smtp_server_early_talk(struct smtp_server *s);
int64_t smtp_server_timeout_ms(const struct smtp_server *s);    /* of the present state */
size_t smtp_server_line_max(const struct smtp_server_config *cfg);
bool smtp_server_skips(const struct smtp_server *s);    /* the rest of an overlong line */
bool smtp_server_knows(struct ph_str line);     /* it begins with a verb */
const char *smtp_state_name(enum smtp_state st);        /* "RCPT" */
const char *smtp_state_text(enum smtp_state st);        /* "at least one recipient" */
/* store room (452 at MAIL when false) */
void smtp_server_room(struct smtp_server *s, bool enough);

#endif
