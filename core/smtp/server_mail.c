/*
 * server_mail.c - the verbs of a transaction: MAIL, RCPT, DATA, BDAT.
 *
 * Each has parse, apply and refused as the table in server_verbs.c wants
 * them.  Everything parsed is copied into the transaction's arena before a
 * hook is asked, since the input may move meanwhile.
 */
#include <stdio.h>

#include "smtp/bdat.h"
#include "smtp/server_private.h"

/* "FROM:" or "TO:", spaces before the colon forgiven; moves *args behind it. */
static bool
skip_keyword(struct ph_str *args, const char *word)
{
	struct ph_str s = *args;

	if (!str_istarts(s, word))
		return false;
	s = str_trim(str_skip(s, strlen(word)));
	if (s.n == 0 || s.p[0] != ':')
		return false;
	*args = str_skip(s, 1);
	return true;
}

static void
refuse_because(struct smtp_server *s, enum ph_reply reply, const char *why)
{
	char text[160];

	if (why == NULL) {
		server_refuse(s, reply, NULL);
		return;
	}
	(void)snprintf(text, sizeof text, "%s: %s", ph_reply_text(reply), why);
	server_refuse(s, reply, text);
}

/* May this client send now at all? */
static enum ph_reply
mail_admitted(const struct smtp_server *s)
{
	const struct smtp_server_config *cfg = s->cfg;

	if (cfg->require_auth && s->facts->login.n == 0)
		return PH_R_LOGIN_REQUIRED;
	if (!s->facts->admitted)
		return PH_R_LOGIN_REQUIRED;
	if (cfg->max_transactions != 0 && s->transactions >= cfg->max_transactions)
		return PH_R_TOO_MANY_MAILS;
	if (s->p.no_room)
		return PH_R_DISK_FULL;
	return PH_R_NONE;
}

void
mail_refused(struct smtp_server *s, enum ph_reply reply, const char *text)
{
	s->p.arena_stale = true;
	server_refuse(s, reply, text);
}

bool
mail_parse(struct smtp_server *s, struct smtp_command *cmd)
{
	enum ph_reply reply = mail_admitted(s);
	struct ph_str args = cmd->args;
	const char *why;
	int rc;

	if (reply != PH_R_NONE) {
		server_refuse(s, reply, NULL);
		return false;
	}
	if (!skip_keyword(&args, "FROM")) {
		server_refuse(s, PH_R_BAD_SYNTAX, "Syntax: MAIL FROM:<address>");
		return false;
	}
	/* what refused MAIL commands left there; there is no transaction now */
	if (s->p.arena_stale)
		arena_reset(s->arena);
	s->p.arena_stale = true;
	envelope_init(&s->env, s->arena);
	rc = address_parse_path(&args, ADDRESS_NULL_OK | ADDRESS_BARE_OK | ADDRESS_UTF8_OK, s->arena,
	                        &s->asking_from, &why);
	if (rc != 0) {
		refuse_because(s, PH_R_BAD_SENDER, why);
		return false;
	}
	reply = grammar_mail(args, s->cfg, &s->env, &why);
	if (reply != PH_R_NONE) {
		refuse_because(s, reply, why);
		return false;
	}
	if (s->asking_from.utf8 && !s->env.smtputf8) {
		server_refuse(s, PH_R_UTF8_NEEDED, NULL);
		return false;
	}
	s->env.from = s->asking_from;
	return true;
}

enum smtp_state
mail_apply(struct smtp_server *s)
{
	s->p.arena_stale = false;
	s->p.in_transaction = true;
	s->p.due |= DUE_BEGIN;
	s->p.rcpt_tries = 0;
	s->transactions++;
	/* these live as long as the session */
	s->env.client_addr = s->p.client_text;
	s->env.client_hello = s->facts->hello;
	s->env.login = s->facts->login;
	s->env.protocol = trace_protocol(s->facts, s->env.smtputf8);
	reply_write(&s->out, PH_R_SENDER_OK, NULL);
	return SMTP_MAIL;
}

/* --- RCPT --- */

bool
rcpt_parse(struct smtp_server *s, struct smtp_command *cmd)
{
	uint32_t max = s->cfg->max_recipients;
	struct ph_str args = cmd->args;
	enum ph_reply reply;
	const char *why;
	int rc;

	/* Refused ones leave traces in the arena, so their number is bounded too. */
	if (max != 0 && (s->env.nrcpts >= max || s->p.rcpt_tries / 10 >= max)) {
		server_refuse(s, PH_R_TOO_MANY_RCPTS, NULL);
		return false;
	}
	s->p.rcpt_tries++;
	if (!skip_keyword(&args, "TO")) {
		server_refuse(s, PH_R_BAD_SYNTAX, "Syntax: RCPT TO:<address>");
		return false;
	}
	s->p.rcpt = (struct recipient){ .orcpt = STR("") };
	rc = address_parse_path(&args, ADDRESS_POSTMASTER_OK | ADDRESS_BARE_OK |
	                        (s->env.smtputf8 ? ADDRESS_UTF8_OK : 0), s->arena,
	                        &s->p.rcpt.to, &why);
	if (rc == PH_ENOTSUP) {
		server_refuse(s, PH_R_UTF8_NEEDED, NULL);
		return false;
	}
	if (rc != 0) {
		refuse_because(s, PH_R_BAD_RCPT, why);
		return false;
	}
	s->asking = &s->p.rcpt;
	reply = grammar_rcpt(args, s->cfg, &s->env, &s->p.rcpt, &why);
	if (reply == PH_R_NONE)
		return true;
	refuse_because(s, reply, why);
	return false;
}

enum smtp_state
rcpt_apply(struct smtp_server *s)
{
	*envelope_add(&s->env) = s->p.rcpt;
	s->asking = NULL;
	reply_write(&s->out, PH_R_RCPT_OK, NULL);
	return SMTP_RCPT;
}

/* --- DATA, BDAT --- */

bool
data_parse(struct smtp_server *s, struct smtp_command *cmd)
{
	if (!verb_no_args(s, cmd))
		return false;
	if (s->env.body == BODY_BINARYMIME) {           /* RFC 3030 3 */
		server_refuse(s, PH_R_BAD_SEQUENCE, "BINARYMIME needs BDAT");
		return false;
	}
	return true;
}

enum smtp_state
data_apply(struct smtp_server *s)
{
	server_content_start(s);
	reply_write(&s->out, PH_R_START_DATA, NULL);
	return SMTP_DATA;
}

void
data_refused(struct smtp_server *s, enum ph_reply reply, const char *text)
{
	s->p.data_refused = true;
	server_refuse(s, reply, text);
	if (s->state != SMTP_CLOSE) {
		server_end_transaction(s);
		server_enter(s, SMTP_READY);
	}
}

/* Whatever is wrong, the chunk's octets are behind the command and must be
 * read as such (RFC 3030 2). */
bool
bdat_verb_parse(struct smtp_server *s, struct smtp_command *cmd)
{
	enum ph_reply reply = PH_R_NONE;

	if (bdat_parse(cmd->args, &s->p.chunk_size, &s->p.chunk_last) != 0) {
		server_refuse(s, PH_R_BAD_SYNTAX, "Syntax: BDAT size [LAST]");
		return false;
	}
	if (!s->cfg->offer_chunking)
		reply = PH_R_NOT_OFFERED;
	else if (s->state != SMTP_RCPT && s->state != SMTP_BDAT)
		reply = server_out_of_turn(s->state, s->p.verb);
	if (reply != PH_R_NONE) {
		cmd->settled = true;
		server_chunk_drop(s, reply, NULL, s->state);
		server_enter(s, SMTP_CHUNK);
	} else if (s->state == SMTP_BDAT) {
		cmd->settled = true;
		server_chunk_start(s);
		server_enter(s, SMTP_CHUNK);
	}
	return true;
}

enum smtp_state
bdat_apply(struct smtp_server *s)
{
	server_content_start(s);
	server_chunk_start(s);
	return SMTP_CHUNK;
}

void
bdat_refused(struct smtp_server *s, enum ph_reply reply, const char *text)
{
	server_chunk_drop(s, reply, text, SMTP_READY);
	server_enter(s, SMTP_CHUNK);
}
