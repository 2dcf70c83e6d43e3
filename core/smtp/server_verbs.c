/*
 * server_verbs.c - the verbs: which may come when, and what the small ones do.
 *
 * "Allowed" is the table; parse turns text into values and may only answer;
 * the hook runs between parse and apply, on parsed values; apply does it and
 * returns the next state.
 */
#include "smtp/server_private.h"

#define HELLO_MAX 255
#define FOREIGN_MAX 8

bool
verb_no_args(struct smtp_server *s, struct smtp_command *cmd)
{
	if (cmd->args.n == 0)
		return true;
	server_refuse(s, PH_R_BAD_SYNTAX, "This command takes no parameters");
	return false;
}

static bool
any_args(struct smtp_server *s, struct smtp_command *cmd)
{
	(void)s;
	(void)cmd;
	return true;
}

static bool
not_offered(struct smtp_server *s, struct smtp_command *cmd)
{
	(void)cmd;
	server_refuse(s, PH_R_NOT_OFFERED, NULL);
	return false;
}

/* --- HELO, EHLO --- */

/* The name is kept in one place of the session's arena, so that a client that
 * greets a million times costs no more than its longest name. */
static bool
hello_parse(struct smtp_server *s, struct smtp_command *cmd, bool esmtp)
{
	struct ph_str name = cmd->args;
	size_t n = 0;

	while (n < name.n && name.p[n] != ' ' && name.p[n] != '\t')
		n++;
	name.n = n;
	if (n == 0 || n > HELLO_MAX) {
		server_refuse(s, PH_R_BAD_SYNTAX,
		              n == 0 ? "Host name missing" : "Host name too long");
		return false;
	}
	if (n >= s->p.hello_cap) {
		s->p.hello_cap = n < 64 ? 64 : HELLO_MAX + 1;
		s->p.hello = arena_alloc(s->session_arena, s->p.hello_cap);
	}
	/* Machines name themselves as they like; what is not ASCII has no meaning here. */
	for (size_t i = 0; i < n; i++)
		s->p.hello[i] = (uint8_t)name.p[i] < 0x80 ? name.p[i] : '?';
	s->p.hello[n] = '\0';
	s->facts->hello = str_make(s->p.hello, n);
	s->facts->esmtp = esmtp;
	return true;
}

static bool
helo_parse(struct smtp_server *s, struct smtp_command *cmd)
{
	return hello_parse(s, cmd, false);
}

static bool
ehlo_parse(struct smtp_server *s, struct smtp_command *cmd)
{
	return hello_parse(s, cmd, true);
}

static enum smtp_state
helo_apply(struct smtp_server *s)
{
	server_end_transaction(s);
	buf_adds(&s->out, "250 ");
	buf_addstr(&s->out, s->cfg->hostname);
	buf_adds(&s->out, "\r\n");
	return SMTP_READY;
}

static void
keyword(struct smtp_server *s, bool offered, const char *word)
{
	if (!offered)
		return;
	buf_adds(&s->out, "250-");
	buf_adds(&s->out, word);
	buf_adds(&s->out, "\r\n");
}

static enum smtp_state
ehlo_apply(struct smtp_server *s)
{
	const struct smtp_server_config *cfg = s->cfg;

	server_end_transaction(s);
	buf_adds(&s->out, "250-");
	buf_addstr(&s->out, cfg->hostname);
	buf_adds(&s->out, "\r\n");
	keyword(s, cfg->offer_pipelining, "PIPELINING");
	if (cfg->max_message_size != 0)
		buf_printf(&s->out, "250-SIZE %llu\r\n", (unsigned long long)cfg->max_message_size);
	else
		keyword(s, true, "SIZE");
	keyword(s, cfg->offer_tls && !s->facts->tls, "STARTTLS");
	if (cfg->offer_auth && s->mechanisms.n != 0 && (s->facts->tls || !cfg->require_tls)) {
		buf_adds(&s->out, "250-AUTH ");
		buf_addstr(&s->out, s->mechanisms);
		buf_adds(&s->out, "\r\n");
	}
	keyword(s, true, "8BITMIME");
	keyword(s, cfg->offer_chunking, "BINARYMIME");
	keyword(s, cfg->offer_chunking, "CHUNKING");
	keyword(s, cfg->offer_smtputf8, "SMTPUTF8");
	keyword(s, cfg->offer_dsn, "DSN");
	if (cfg->max_transactions != 0 || cfg->max_recipients != 0) {   /* RFC 9422 */
		buf_adds(&s->out, "250-LIMITS");
		if (cfg->max_transactions != 0)
			buf_printf(&s->out, " MAILMAX=%u", (unsigned)cfg->max_transactions);
		if (cfg->max_recipients != 0)
			buf_printf(&s->out, " RCPTMAX=%u", (unsigned)cfg->max_recipients);
		buf_adds(&s->out, "\r\n");
	}
	buf_adds(&s->out, "250 ENHANCEDSTATUSCODES\r\n");
	return SMTP_READY;
}

static void
hello_refused(struct smtp_server *s, enum ph_reply reply, const char *text)
{
	s->facts->hello = STR("");
	s->facts->esmtp = false;
	server_refuse(s, reply, text);
	if (s->state != SMTP_CLOSE) {
		server_end_transaction(s);
		server_enter(s, SMTP_HELLO);
	}
}

static enum smtp_state
rset_apply(struct smtp_server *s)
{
	server_end_transaction(s);
	reply_write(&s->out, PH_R_OK, NULL);
	return s->state == SMTP_HELLO ? SMTP_HELLO : SMTP_READY;
}

static enum smtp_state
noop_apply(struct smtp_server *s)
{
	reply_write(&s->out, PH_R_OK, NULL);
	return s->state;
}

static bool
vrfy_parse(struct smtp_server *s, struct smtp_command *cmd)
{
	if (cmd->args.n != 0)
		return true;
	server_refuse(s, PH_R_BAD_SYNTAX, "Syntax: VRFY address");
	return false;
}

static enum smtp_state
vrfy_apply(struct smtp_server *s)
{
	reply_write(&s->out, PH_R_VRFY_MAYBE, NULL);
	return s->state;
}

static enum smtp_state
help_apply(struct smtp_server *s)
{
	buf_adds(&s->out, "214-2.0.0 HELO EHLO MAIL RCPT DATA BDAT\r\n"
	                  "214-2.0.0 RSET NOOP VRFY HELP QUIT STARTTLS AUTH\r\n"
	                  "214 2.0.0 See RFC 5321\r\n");
	return s->state;
}

static enum smtp_state
quit_apply(struct smtp_server *s)
{
	reply_write(&s->out, PH_R_BYE, NULL);
	server_close(s);
	return SMTP_CLOSE;
}

/* --- the table --- */

#define IN(name) (1u << SMTP_##name)
#define TRANSACTION (IN(MAIL) | IN(RCPT) | IN(BDAT))
#define ANY (IN(HELLO) | IN(READY) | TRANSACTION)
#define WORD(lit) { lit, sizeof(lit) - 1 }

static const struct smtp_verb verbs[] = {
	/* word, allowed, flags, hook, parse, apply, refused */
	{ WORD("RCPT"), IN(MAIL) | IN(RCPT), 0, PH_HOOK_RCPT, rcpt_parse, rcpt_apply, NULL },
	{ WORD("MAIL"), IN(READY), NEEDS_TLS, PH_HOOK_MAIL, mail_parse, mail_apply, mail_refused },
	{ WORD("DATA"), IN(RCPT), CONTENT_FOLLOWS, PH_HOOK_DATA, data_parse, data_apply,
	  data_refused },
	{ WORD("BDAT"), ANY, OCTETS_FOLLOW, PH_HOOK_DATA, bdat_verb_parse, bdat_apply,
	  bdat_refused },
	{ WORD("EHLO"), ANY, 0, PH_HOOK_HELLO, ehlo_parse, ehlo_apply, hello_refused },
	{ WORD("HELO"), ANY, 0, PH_HOOK_HELLO, helo_parse, helo_apply, hello_refused },
	{ WORD("QUIT"), ANY, 0, NO_HOOK, verb_no_args, quit_apply, NULL },
	{ WORD("RSET"), ANY, 0, NO_HOOK, verb_no_args, rset_apply, NULL },
	{ WORD("NOOP"), ANY, 0, NO_HOOK, any_args, noop_apply, NULL },
	{ WORD("STARTTLS"), IN(READY), 0, NO_HOOK, starttls_parse, NULL, NULL },
	{ WORD("AUTH"), IN(READY), NEEDS_TLS, NO_HOOK, auth_parse, NULL, NULL },
	{ WORD("VRFY"), ANY, NEEDS_TLS | NEEDS_LOGIN, NO_HOOK, vrfy_parse, vrfy_apply, NULL },
	{ WORD("HELP"), ANY, 0, NO_HOOK, any_args, help_apply, NULL },
	{ WORD("EXPN"), ANY, 0, NO_HOOK, not_offered, NULL, NULL },
	{ WORD("ETRN"), ANY, 0, NO_HOOK, not_offered, NULL, NULL },
	{ WORD("ATRN"), ANY, 0, NO_HOOK, not_offered, NULL, NULL },
	{ WORD("TURN"), ANY, 0, NO_HOOK, not_offered, NULL, NULL },
	{ WORD("SEND"), ANY, 0, NO_HOOK, not_offered, NULL, NULL },
	{ WORD("SOML"), ANY, 0, NO_HOOK, not_offered, NULL, NULL },
	{ WORD("SAML"), ANY, 0, NO_HOOK, not_offered, NULL, NULL },
};

static const struct smtp_verb *
find_verb(struct ph_str word)
{
	char upper[8];

	if (word.n < 4 || word.n > sizeof upper)
		return NULL;
	for (size_t i = 0; i < word.n; i++)
		upper[i] = (char)(word.p[i] >= 'a' && word.p[i] <= 'z' ? word.p[i] - 32 : word.p[i]);
	for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
		if (word.n == verbs[i].word.n && memcmp(upper, verbs[i].word.p, word.n) == 0)
			return &verbs[i];
	return NULL;
}

bool
smtp_server_knows(struct ph_str line)
{
	size_t n = 0;

	while (n < line.n && line.p[n] != ' ' && line.p[n] != '\t')
		n++;
	return find_verb(str_head(line, n)) != NULL;
}

/* The first octets of other protocols: their lines must not be tried as
 * commands one by one, for a page in a browser can make it send them. */
static bool
foreign(struct ph_str in)
{
	static const struct ph_str starts[] = {
		WORD("GET "), WORD("POST "), WORD("HEAD "), WORD("PUT "), WORD("PATCH "),
		WORD("DELETE "), WORD("OPTIONS "), WORD("CONNECT "), WORD("TRACE "), WORD("PRI "),
		WORD("SSH-"), WORD("\x16\x03"),
	};

	for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++)
		if (in.n >= starts[i].n && in.p[0] == starts[i].p[0] &&
		    memcmp(in.p, starts[i].p, starts[i].n) == 0)
			return true;
	return false;
}

enum ph_reply
server_out_of_turn(enum smtp_state state, const struct smtp_verb *verb)
{
	if (state == SMTP_HELLO)
		return PH_R_SAY_HELLO_FIRST;
	if (state == SMTP_MAIL && (verb->flags & (CONTENT_FOLLOWS | OCTETS_FOLLOW)))
		return PH_R_NO_RCPTS;
	return PH_R_BAD_SEQUENCE;
}

/* A line that is no command.  After a refused DATA it is likely the content of
 * a client that did not wait: none of the rest may be believed (RFC 2920 3.1). */
static int
no_command(struct smtp_server *s, bool after_data, const char *text)
{
	if (after_data) {
		server_refuse(s, PH_R_BAD_SEQUENCE,
		              "Content was sent without 354, closing connection");
		server_close(s);
	} else {
		server_refuse(s, PH_R_NOT_RECOGNIZED, text);
	}
	return SERVER_GO_ON;
}

static int
run_command(struct smtp_server *s, const struct smtp_verb *verb, struct smtp_command *cmd)
{
	s->p.verb = verb;
	if (!(verb->allowed & (1u << s->state)))
		server_refuse(s, server_out_of_turn(s->state, verb), NULL);
	else if ((verb->flags & NEEDS_TLS) && s->cfg->require_tls && !s->facts->tls)
		server_refuse(s, PH_R_TLS_REQUIRED, NULL);
	else if ((verb->flags & NEEDS_LOGIN) && s->cfg->require_auth && s->facts->login.n == 0)
		server_refuse(s, PH_R_LOGIN_REQUIRED, NULL);
	else if (verb->parse(s, cmd)) {
		if (cmd->rq != SMTP_RQ_NONE)
			return cmd->rq;
		if (cmd->settled)
			return SERVER_GO_ON;
		if (verb->hook != NO_HOOK)
			server_ask(s, (enum ph_hook)verb->hook);
		else
			server_enter(s, verb->apply(s));
		return SERVER_GO_ON;
	}
	if (verb->flags & CONTENT_FOLLOWS)
		s->p.data_refused = true;
	return SERVER_GO_ON;
}

int
server_read_command(struct smtp_server *s, struct ph_str *in, struct smtp_request *req)
{
	struct smtp_command cmd = { .req = req, .rq = SMTP_RQ_NONE };
	const struct smtp_verb *verb;
	bool after_data = s->p.data_refused;
	struct ph_str line, rest;
	size_t limit = s->cfg->max_line, n = 0;
	bool auth;

	/* observers of a refusal have seen them by now */
	s->asking = NULL;
	s->asking_from = (struct address){ 0 };
	if (!server_skip(s, in))
		return SMTP_RQ_NONE;
	if (in->n == 0)
		return SMTP_RQ_NONE;
	if (foreign(*in)) {
		server_refuse(s, PH_R_NOT_SMTP, NULL);
		return SERVER_GO_ON;
	}
	auth = str_istarts(*in, "AUTH ");
	if (limit < AUTH_LINE_MAX && auth)
		limit = AUTH_LINE_MAX;
	switch (server_line(s, in, limit, &line)) {
	case 0:
		return SMTP_RQ_NONE;
	case PH_ELIMIT:
		s->p.data_refused = false;
		if (after_data)
			return no_command(s, true, NULL);
		server_refuse(s, auth ? PH_R_AUTH_LINE_TOO_LONG : PH_R_LINE_TOO_LONG, NULL);
		return SERVER_GO_ON;
	default:
		break;
	}
	s->p.data_refused = false;
	if (!server_line_clean(line))
		return no_command(s, after_data, "Control character in command");
	while (n < line.n && line.p[n] != ' ' && line.p[n] != '\t')
		n++;
	rest = str_skip(line, n);
	verb = find_verb(str_head(line, n));
	if (verb == NULL)
		return no_command(s, after_data, NULL);
	cmd.args = str_trim(rest);
	return run_command(s, verb, &cmd);
}
