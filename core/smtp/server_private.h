/*
 * server_private.h - what the files of the server engine share.
 *
 *   server.c          the step loop, states, answers
 *   server_verbs.c    the table of verbs; HELO, EHLO and the small ones
 *   server_mail.c     MAIL, RCPT, DATA, BDAT
 *   server_content.c  content by DATA and BDAT, and what happens at its end
 *   server_auth.c     STARTTLS and AUTH, as far as they are SMTP
 *   grammar.c         parameters of MAIL and RCPT
 */
#ifndef SMTP_SERVER_PRIVATE_H
#define SMTP_SERVER_PRIVATE_H

#include "base/abort.h"
#include "base/str.h"
#include "mail/reply.h"
#include "smtp/server.h"

#define NO_HOOK (-1)
#define SERVER_GO_ON (-1)       /* beside the values of enum smtp_rq: no request, step on */
#define AUTH_LINE_MAX (12288 + 2)       /* RFC 4954 4, with CRLF */

enum server_pending { PENDING_NONE, PENDING_ASK, PENDING_STORE, PENDING_TLS, PENDING_AUTH };

/* Requests that are due, in the order in which they are given out. */
enum {
	DUE_AUTH_CANCEL = 1, DUE_BEGIN = 2, DUE_REJECTED = 4, DUE_END = 8, DUE_STORE = 16,
	DUE_TLS = 32, DUE_CLOSE = 64,
};

struct smtp_command {
	struct ph_str args;             /* behind the verb, spaces trimmed; view of the input */
	struct smtp_request *req;       /* AUTH writes it and sets rq */
	enum smtp_rq rq;
	bool settled;                   /* parse has done all: no hook, no apply */
};

enum {
	NEEDS_TLS = 1,          /* refused without, where TLS is required (RFC 3207 4) */
	CONTENT_FOLLOWS = 2,    /* DATA: a client may send content without waiting for 354 */
	NEEDS_LOGIN = 8,        /* refused without, where a login is required (RFC 4954 6) */
	OCTETS_FOLLOW = 4,      /* BDAT: does, and parse deals with every refusal */
};

struct smtp_verb {
	struct ph_str word;
	unsigned allowed;               /* states in which it may come */
	unsigned flags;
	int8_t hook;                    /* asked between parse and apply */
	/* Text to values, into the server's "asking" fields. False: it has refused. */
	bool (*parse)(struct smtp_server *s, struct smtp_command *cmd);
	/* Does it and returns the state to be in. */
	enum smtp_state (*apply)(struct smtp_server *s);
	/* Instead of apply when a hook refused; NULL: the reply is all. */
	void (*refused)(struct smtp_server *s, enum ph_reply reply, const char *text);
};

/* server.c */
void server_enter(struct smtp_server *s, enum smtp_state to);
/* Writes the reply, tells observers, counts, and closes after 421, 521 and too many errors. */
void server_refuse(struct smtp_server *s, enum ph_reply reply, const char *text);
void server_close(struct smtp_server *s);
void server_end_transaction(struct smtp_server *s);
void server_ask(struct smtp_server *s, enum ph_hook hook);
/* Drops the rest of an overlong line; false while it has not ended. */
bool server_skip(struct smtp_server *s, struct ph_str *in);
/* Takes a line off *in without its newline: 1; 0 when more input is needed; PH_ELIMIT
 * once for a line over limit, of which the rest is skipped. */
int  server_line(struct smtp_server *s, struct ph_str *in, size_t limit, struct ph_str *out);
/* No control characters but tabs: CR, NUL and the like have no place in a command. */
bool server_line_clean(struct ph_str line);
void server_count_octets(struct smtp_server *s, size_t n);

/* server_verbs.c */
int  server_read_command(struct smtp_server *s, struct ph_str *in, struct smtp_request *req);

/* The reply to a verb in a state where it is not allowed. */
enum ph_reply server_out_of_turn(enum smtp_state state, const struct smtp_verb *verb);
bool verb_no_args(struct smtp_server *s, struct smtp_command *cmd);

/* server_mail.c: as struct smtp_verb says */
bool mail_parse(struct smtp_server *s, struct smtp_command *cmd);
enum smtp_state mail_apply(struct smtp_server *s);
void mail_refused(struct smtp_server *s, enum ph_reply reply, const char *text);
bool rcpt_parse(struct smtp_server *s, struct smtp_command *cmd);
enum smtp_state rcpt_apply(struct smtp_server *s);
bool data_parse(struct smtp_server *s, struct smtp_command *cmd);
enum smtp_state data_apply(struct smtp_server *s);
void data_refused(struct smtp_server *s, enum ph_reply reply, const char *text);
bool bdat_verb_parse(struct smtp_server *s, struct smtp_command *cmd);
enum smtp_state bdat_apply(struct smtp_server *s);
void bdat_refused(struct smtp_server *s, enum ph_reply reply, const char *text);

/* server_content.c */
void server_content_start(struct smtp_server *s);
void server_chunk_start(struct smtp_server *s);
/* The chunk's octets will be dropped, then the reply given and the state returned to. */
void server_chunk_drop(struct smtp_server *s, enum ph_reply reply, const char *text,
                       enum smtp_state back_to);
int  server_read_data(struct smtp_server *s, struct ph_str *in, struct smtp_request *req);
int  server_read_chunk(struct smtp_server *s, struct ph_str *in, struct smtp_request *req);
void server_content_verdict(struct smtp_server *s, enum ph_hook hook, enum ph_reply refusal,
                            const char *text);

/* server_auth.c */
bool starttls_parse(struct smtp_server *s, struct smtp_command *cmd);
bool auth_parse(struct smtp_server *s, struct smtp_command *cmd);
int  server_read_sasl(struct smtp_server *s, struct ph_str *in, struct smtp_request *req);
void server_auth_verdict(struct smtp_server *s, enum ph_reply refusal, const char *text);

/* grammar.c: the parameters behind the path. PH_R_NONE, or the reply that refuses them
 * (*why: text or NULL). Texts are copied into the envelope's arena. */
enum ph_reply grammar_mail(struct ph_str params, const struct smtp_server_config *cfg,
                           struct envelope *env, const char **why);
enum ph_reply grammar_rcpt(struct ph_str params, const struct smtp_server_config *cfg,
                           const struct envelope *env, struct recipient *rcpt, const char **why);

#endif
