/*
 * session.h - one inbound connection: the only place where connection,
 * engine, chains, store and queue meet.
 *
 * Owner: its worker's list.  It ends by session_close, once; memory goes on
 * the next turn of the loop.
 */
#ifndef DAEMON_SESSION_H
#define DAEMON_SESSION_H

#include "base/buf.h"
#include "daemon/worker.h"
#include "net/conn.h"
#include "plugin/ask.h"
#include "plugin/chain.h"
#include "smtp/server.h"

struct pending_message;

enum session_wait {             /* what an answer is awaited from */
	FOR_NOTHING, FOR_GREET, FOR_HOOK, FOR_STORE, FOR_PARTS, FOR_TLS, FOR_SASL, FOR_FLUSH,
	FOR_DELAY               /* the reply to a login is held back */
};

struct session {
	struct list link;               /* worker's */
	struct ph_note free_note, flushed_note, left_note;
	struct worker *w;
	struct worker_gen *gen;         /* a reference */
	const struct listen_settings *listen;
	struct conn *conn;
	struct smtp_server smtp;
	struct facts facts;
	struct arena arena, txn_arena;
	struct plug_session plug;
	struct timer timer;
	int64_t deadline;
	uint64_t progress_seen;
	enum session_wait wait;
	const char *ending;             /* why we end it, once we do */
	bool closing, in_run, left, left_noted, txn_open, spilling;
	uint32_t accepted;              /* messages, since the connection began */
	int part_status;                /* the first failure of a part; 0 */
	struct ph_msgid id;             /* of the message being received; zero none */
	struct ph_content *content;     /* while it is in memory */
	struct buf part;                /* gathered for the next part, once spilled */
	uint64_t spilled;               /* bytes handed to the store as parts */
	struct list parts;              /* handed over, not yet answered */
	unsigned parts_out;
	struct pending_message *storing;
	struct ph_sasl *sasl;
	char mechanism_text[20], *login_text;   /* what facts show of them */
	enum ph_reply auth_reply;       /* to a login that was decided */
	int64_t auth_failures;
	bool wipe_out, trace_auth;      /* out held a challenge; the trace has seen an AUTH */
	size_t traced;                  /* octets of out that the trace has shown */
	struct log_ctx log;
	char id_text[PH_MSGID_TEXT], log_text[PH_MSGID_TEXT + 8];
};

void session_new(struct worker *w, size_t door, struct stream *stream);
void session_close(struct session *s, const char *why);
void session_shutdown(struct session *s);       /* 421 as soon as it is between messages */
void session_run(struct session *s, struct ph_str *in);
void session_greet(struct session *s);          /* greets, or waits for greet-delay first */
/* An answer that had been waited for has been given to the engine: go on. */
void session_resume(struct session *s);
bool session_idle(const struct session *s);     /* no message is being received or stored */

/* session_message.c: the message while it arrives, and storing it */
void session_begin(struct session *s);
void session_content(struct session *s, struct ph_str bytes);
void session_store(struct session *s);
void session_end_transaction(struct session *s);        /* nothing was stored */
void session_detach_message(struct session *s);         /* the client is gone; what is being stored goes on */
bool session_need_id(struct session *s);

/* session_auth.c: AUTH */
void session_offer(struct session *s);          /* mechanisms for EHLO as things are now */
void session_auth_begin(struct session *s, const struct smtp_request *req);
void session_auth_step(struct session *s, struct ph_str base64);
void session_auth_cancel(struct session *s);
void session_auth_due(struct session *s);       /* the time of FOR_DELAY is over */
/* The auth hook was asked about login. */
void session_auth_ruled(struct session *s, struct ph_str login, const struct plug_outcome *o);

/* session_tls.c: STARTTLS and implicit TLS */
void session_tls(struct session *s);
void session_tls_failed(struct session *s, struct ph_str fallback);
void session_secured(struct session *s, int status);

/* session_trace.c: smtp_server_step, and what it wrote, in the log */
enum smtp_rq session_step_traced(struct session *s, struct ph_str *in, struct smtp_request *req);
void session_trace_out(struct session *s);

#endif
