/* check_talk.h - one connection of `posthouse check --connect`: what check_talk.c (dialogue)
 * and check_secure.c (TLS, login) share. */
#ifndef CMD_CHECK_TALK_H
#define CMD_CHECK_TALK_H

#include "cmd/check.h"
#include "deliver/login.h"

/* What has been said last, so whose reply comes next. */
enum talk_stage { TALK_GREETING, TALK_EHLO, TALK_HELO, TALK_STARTTLS, TALK_AUTH,
	TALK_MAIL, TALK_RCPT, TALK_RSET, TALK_QUIT };

/* Owner: itself, from check_talk_start to the note that tells its end. */
struct check_talk {
	struct check *c;
	struct check_hop *h;
	const struct ph_next_hop *hop;
	const char *name;
	uint16_t port;
	bool clear;                     /* opportunistic TLS has failed: without it */
	struct conn *conn;
	struct smtp_client *client;     /* up to READY; behind it the talk says what it wants */
	enum talk_stage stage;
	bool raw;                       /* behind READY */
	struct buf out, line;           /* raw output; the line that is leaving, for the eye */
	struct timer timer;
	int64_t since_us;               /* of the step under way */
	bool secure, shaking, tls_told;
	bool told;                      /* the failure has been said */
	struct login login;
	char reply[400];                /* to AUTH */
	struct arena arena;             /* of the reply at hand */
	bool over, lost;
	enum check_talk_end how;
	struct ph_note end;
	void (*done)(void *arg, enum check_talk_end end);
	void *arg;
};

/* check_talk.c */
void talk_end(struct check_talk *t, enum check_talk_end how);
void talk_kick(struct check_talk *t);           /* the engine has something to say */
void talk_arm(struct check_talk *t);
int64_t talk_took(struct check_talk *t);        /* since the step began; begins the next */

/* check_secure.c */
void talk_tls_start(struct check_talk *t);
void talk_tls_done(struct check_talk *t, int status);
void talk_tls_absent(struct check_talk *t, unsigned extensions);        /* said once */
void talk_login(struct check_talk *t, struct ph_str offered);
void talk_login_ok(struct check_talk *t);
void talk_login_failed(struct check_talk *t, int code, struct ph_str text);
const char *talk_login_missing_hint(const struct check_talk *t);
const char *talk_clear_hint(struct check_talk *t);      /* TLS failed: how a delivery goes on */

#endif
