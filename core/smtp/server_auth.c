/*
 * server_auth.c - STARTTLS (RFC 3207) and AUTH (RFC 4954) as far as they are
 * SMTP: when they may come, how their lines look.  What the octets mean is for
 * plugins; no credential is kept here.
 */
#include "smtp/server_private.h"

#define MECHANISM_MAX 20        /* RFC 4422 3.1 */

bool
starttls_parse(struct smtp_server *s, struct smtp_command *cmd)
{
	enum ph_reply reply = PH_R_NONE;

	/* Behind a login there is something to lose: a session that somebody
	 * else began in the clear must not become theirs inside TLS. */
	if (s->facts->tls || (s->cfg->offer_tls && s->facts->login.n != 0))
		reply = PH_R_BAD_SEQUENCE;
	else if (!s->cfg->offer_tls)
		reply = PH_R_NOT_OFFERED;
	else if (cmd->args.n != 0)
		reply = PH_R_BAD_SYNTAX;
	if (reply != PH_R_NONE) {
		server_refuse(s, reply, NULL);
		return false;
	}
	reply_write(&s->out, PH_R_TLS_READY, NULL);
	s->p.due |= DUE_TLS;
	cmd->settled = true;
	return true;
}

void
smtp_server_secured(struct smtp_server *s, bool ok)
{
	if (s->p.pending != PENDING_TLS)
		return;
	s->p.pending = PENDING_NONE;
	if (!ok) {
		server_enter(s, SMTP_CLOSE);
		return;
	}
	/* RFC 3207 4.2: everything known from before is forgotten */
	s->facts->hello = STR("");
	s->facts->esmtp = false;
	s->p.skip_line = s->p.data_refused = false;
	server_enter(s, SMTP_HELLO);
}

static bool
listed(struct ph_str list, struct ph_str word)
{
	while (list.n != 0) {
		struct ph_str rest, one = str_cut(list, ' ', &rest);

		if (str_ieq(one, word))
			return true;
		list = rest;
	}
	return false;
}

bool
auth_parse(struct smtp_server *s, struct smtp_command *cmd)
{
	const struct smtp_server_config *cfg = s->cfg;
	struct ph_str initial, mechanism = str_cut(cmd->args, ' ', &initial);
	bool has_initial = initial.p != NULL;
	enum ph_reply reply = PH_R_NONE;

	initial = str_trim(initial);
	if (!cfg->offer_auth)
		reply = PH_R_NOT_OFFERED;
	else if (s->facts->login.n != 0)
		reply = PH_R_BAD_SEQUENCE;
	else if (mechanism.n == 0 || mechanism.n > MECHANISM_MAX ||
	         (initial.n != 0 && memchr(initial.p, ' ', initial.n) != NULL))
		reply = PH_R_BAD_SYNTAX;
	else if (!listed(s->mechanisms, mechanism))
		reply = !s->facts->tls && listed(cfg->mechanisms, mechanism)
		        ? PH_R_AUTH_NEEDS_TLS : PH_R_AUTH_BAD_MECHANISM;
	if (reply != PH_R_NONE) {
		server_refuse(s, reply, NULL);
		return false;
	}
	cmd->req->text = mechanism;
	cmd->req->bytes = initial;
	cmd->req->has_bytes = has_initial && initial.n != 0;
	cmd->rq = SMTP_RQ_AUTH;
	s->p.pending = PENDING_AUTH;
	return true;
}

static void
cancel(struct smtp_server *s, enum ph_reply reply)
{
	s->p.due |= DUE_AUTH_CANCEL;
	server_enter(s, SMTP_READY);
	server_refuse(s, reply, NULL);
}

int
server_read_sasl(struct smtp_server *s, struct ph_str *in, struct smtp_request *req)
{
	struct ph_str line;

	switch (server_line(s, in, AUTH_LINE_MAX, &line)) {
	case 0:
		return SMTP_RQ_NONE;
	case PH_ELIMIT:
		cancel(s, PH_R_AUTH_LINE_TOO_LONG);
		return SERVER_GO_ON;
	default:
		break;
	}
	if (str_is(line, "*")) {
		cancel(s, PH_R_AUTH_CANCELED);
		return SERVER_GO_ON;
	}
	if (!server_line_clean(line)) {
		cancel(s, PH_R_AUTH_BAD_BASE64);
		return SERVER_GO_ON;
	}
	req->bytes = line;
	req->has_bytes = true;
	s->p.pending = PENDING_AUTH;
	return SMTP_RQ_AUTH_STEP;
}

void
smtp_server_auth_challenge(struct smtp_server *s, struct ph_str base64)
{
	if (s->p.pending != PENDING_AUTH)
		return;
	s->p.pending = PENDING_NONE;
	buf_adds(&s->out, "334 ");
	buf_addstr(&s->out, base64);
	buf_adds(&s->out, "\r\n");
	server_enter(s, SMTP_SASL);
}

void
smtp_server_auth_end(struct smtp_server *s, enum ph_reply reply, const char *text)
{
	if (s->p.pending != PENDING_AUTH)
		return;
	s->p.pending = PENDING_NONE;
	server_enter(s, SMTP_READY);
	if (reply == PH_R_AUTH_OK)
		server_ask(s, PH_HOOK_AUTH);
	else
		server_refuse(s, reply, text);
}

void
server_auth_verdict(struct smtp_server *s, enum ph_reply refusal, const char *text)
{
	if (refusal == PH_R_NONE) {
		s->facts->admitted = true;
		reply_write(&s->out, PH_R_AUTH_OK, NULL);
		return;
	}
	s->facts->login = STR("");
	server_refuse(s, refusal, text);
}
