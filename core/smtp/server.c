/*
 * server.c - the server engine's step loop, its states, and the answers that
 * it waits for.
 *
 * One command at a time: while a question is open nothing is taken off the
 * input.  What an answer causes is written to out at once; requests to the
 * owner that follow from it (a transaction begins or ends, a refusal to be
 * observed) are marked as due and given out, in fixed order, by the steps that
 * follow, before more input is read.  So the outcome depends on the bytes and
 * the answers, never on how the bytes were split.
 *
 * Lines end by LF, with or without CR before it: people type with tools that
 * send LF alone.  That is safe here because a line is only looked for where a
 * command may stand, never inside content, where dots.c decides; and a CR
 * alone ends nothing.
 */
#include "base/id.h"
#include "smtp/bdat.h"
#include "smtp/server_private.h"

#define FLUSH_BYTES 16384       /* replies gathered before the owner is told to send */

static const struct { const char *name, *text; unsigned next; } states[SMTP_STATES] = {
#define TO(name) (1u << SMTP_##name)
#define SMTP_STATE(name, text, next) [SMTP_##name] = { #name, text, next },
#include "smtp/states.def"
#undef SMTP_STATE
#undef TO
};

const char *
smtp_state_name(enum smtp_state st)
{
	return st < SMTP_STATES ? states[st].name : "?";
}

const char *
smtp_state_text(enum smtp_state st)
{
	return st < SMTP_STATES ? states[st].text : "?";
}

void
server_enter(struct smtp_server *s, enum smtp_state to)
{
	if (to != SMTP_CLOSE && !(states[s->state].next & (1u << to)))
		ph_abort("smtp: from %s to %s", states[s->state].name, states[to].name);
	s->state = to;
}

void
smtp_server_init(struct smtp_server *s, const struct smtp_server_config *cfg,
                 struct facts *facts, struct arena *session_arena, struct arena *txn_arena)
{
	memset(s, 0, sizeof(*s));
	s->cfg = cfg;
	s->facts = facts;
	s->session_arena = session_arena;
	s->arena = txn_arena;
	s->mechanisms = STR("");
	s->state = SMTP_GREET;
	s->p.hook = NO_HOOK;
	facts->hello = STR("");
	envelope_init(&s->env, txn_arena);
}

void
smtp_server_done(struct smtp_server *s)
{
	buf_free(&s->out);
	buf_free(&s->last_reply);
}

size_t
smtp_server_line_max(const struct smtp_server_config *cfg)
{
	/* one octet more shows that a line is too long */
	return (cfg->max_line > AUTH_LINE_MAX ? cfg->max_line : AUTH_LINE_MAX) + 1;
}

void
server_count_octets(struct smtp_server *s, size_t n)
{
	uint64_t before = s->p.octets >> 12;

	s->p.octets += n;
	s->progress += (s->p.octets >> 12) - before;
}

void
server_end_transaction(struct smtp_server *s)
{
	if (!s->p.in_transaction)
		return;
	s->p.in_transaction = false;
	s->p.due |= DUE_END;
}

void
server_close(struct smtp_server *s)
{
	if (s->state == SMTP_CLOSE)
		return;
	server_end_transaction(s);
	s->p.pending = PENDING_NONE;
	s->p.hook = NO_HOOK;
	s->p.due = (uint8_t)((s->p.due & ~(DUE_TLS | DUE_STORE)) | DUE_CLOSE);
	server_enter(s, SMTP_CLOSE);
}

void
server_refuse(struct smtp_server *s, enum ph_reply reply, const char *text)
{
	int code = ph_reply_code(reply);

	reply_write(&s->out, reply, text);
	buf_clear(&s->last_reply);
	reply_line(&s->last_reply, reply, text);
	s->p.rejected = reply;
	s->p.due |= DUE_REJECTED;
	if (code >= 500)
		s->errors++;
	if (code == 421 || code == 521) {
		server_close(s);
	} else if (s->cfg->max_errors != 0 && s->errors >= s->cfg->max_errors &&
	           s->state != SMTP_CLOSE) {
		reply_write(&s->out, PH_R_TOO_MANY_ERRORS, NULL);
		server_close(s);
	}
}

void
server_ask(struct smtp_server *s, enum ph_hook hook)
{
	s->p.hook = (int8_t)hook;
}

bool
smtp_server_skips(const struct smtp_server *s)
{
	return s->p.skip_line;
}

bool
server_skip(struct smtp_server *s, struct ph_str *in)
{
	const char *lf;

	if (!s->p.skip_line)
		return true;
	lf = in->n != 0 ? memchr(in->p, '\n', in->n) : NULL;
	*in = str_skip(*in, lf != NULL ? (size_t)(lf - in->p) + 1 : in->n);
	s->p.skip_line = lf == NULL;
	return lf != NULL;
}

int
server_line(struct smtp_server *s, struct ph_str *in, size_t limit, struct ph_str *out)
{
	const char *lf = in->n != 0 ? memchr(in->p, '\n', in->n) : NULL;
	size_t n = lf != NULL ? (size_t)(lf - in->p) + 1 : in->n;

	if (n > limit) {
		*in = str_skip(*in, n);
		s->p.skip_line = lf == NULL;
		return PH_ELIMIT;
	}
	if (lf == NULL)
		return 0;
	*out = str_make(in->p, n - 1);
	if (out->n > 0 && out->p[out->n - 1] == '\r')
		out->n--;
	*in = str_skip(*in, n);
	s->progress++;
	return 1;
}

bool
server_line_clean(struct ph_str line)
{
	uint8_t bad = 0;

	for (size_t i = 0; i < line.n; i++) {
		uint8_t c = (uint8_t)line.p[i];

		bad |= (uint8_t)((c < 0x20) & (c != '\t')) | (uint8_t)(c == 0x7f);
	}
	return bad == 0;
}

/* Gives out what is due; SMTP_RQ_NONE when nothing is. */
static enum smtp_rq
give_due(struct smtp_server *s, struct ph_str *in, struct smtp_request *req)
{
	uint8_t bit = (uint8_t)(s->p.due & -s->p.due);

	s->p.due &= (uint8_t)~bit;
	switch (bit) {
	case DUE_AUTH_CANCEL:
		return SMTP_RQ_AUTH_CANCEL;
	case DUE_BEGIN:
		return SMTP_RQ_BEGIN;
	case DUE_REJECTED:
		req->reply = s->p.rejected;
		req->text = buf_view(&s->last_reply);
		return SMTP_RQ_REJECTED;
	case DUE_END:
		s->p.env_stale = true;
		return SMTP_RQ_END;
	case DUE_STORE:
		s->p.pending = PENDING_STORE;
		return SMTP_RQ_STORE;
	case DUE_TLS:
		/* what came in the clear behind STARTTLS must not be believed
		 * inside TLS (RFC 3207 5, CVE-2011-0411) */
		*in = str_skip(*in, in->n);
		s->p.pending = PENDING_TLS;
		return SMTP_RQ_TLS;
	case DUE_CLOSE:
		return SMTP_RQ_CLOSE;
	default:
		return SMTP_RQ_NONE;
	}
}

enum smtp_rq
smtp_server_step(struct smtp_server *s, struct ph_str *in, struct smtp_request *req)
{
	if (s->p.env_stale) {
		s->p.env_stale = false;
		s->asking = NULL;
		envelope_init(&s->env, s->arena);
	}
	for (;;) {
		int rq;

		if (s->p.due != 0)
			return give_due(s, in, req);
		if (s->p.pending != PENDING_NONE)
			return SMTP_RQ_NONE;
		if (s->p.hook != NO_HOOK) {
			s->p.pending = PENDING_ASK;
			req->hook = (enum ph_hook)s->p.hook;
			return SMTP_RQ_ASK;
		}
		if (s->out.len < FLUSH_BYTES) {
			s->p.flush_at = FLUSH_BYTES;
		} else if (s->out.len >= s->p.flush_at) {
			s->p.flush_at = s->out.len + FLUSH_BYTES;
			return SMTP_RQ_FLUSH;
		}
		switch (s->state) {
		case SMTP_GREET:
			server_ask(s, PH_HOOK_CONNECT);
			continue;
		case SMTP_DATA:
			rq = server_read_data(s, in, req);
			break;
		case SMTP_CHUNK:
			rq = server_read_chunk(s, in, req);
			break;
		case SMTP_SASL:
			rq = server_read_sasl(s, in, req);
			break;
		case SMTP_CLOSE:
			*in = str_skip(*in, in->n);
			return SMTP_RQ_NONE;
		default:
			rq = server_read_command(s, in, req);
			break;
		}
		if (rq != SERVER_GO_ON)
			return (enum smtp_rq)rq;
	}
}

static void
greet(struct smtp_server *s, enum ph_reply refusal, const char *text)
{
	const struct smtp_server_config *cfg = s->cfg;
	char addr[PH_ADDR_TEXT];

	if (refusal != PH_R_NONE) {
		/* of the temporary codes only 421 may greet (RFC 5321 4.3.2) */
		if (ph_reply_code(refusal) < 500 && ph_reply_code(refusal) != 421) {
			text = text != NULL ? text : ph_reply_text(refusal);
			refusal = PH_R_SHUTTING_DOWN;
		}
		server_refuse(s, refusal, text);
		server_close(s);
		return;
	}
	s->p.client_text = arena_str(s->session_arena,
	                             str_of(ph_addr_text(&s->facts->client, addr)));
	buf_adds(&s->out, "220 ");
	buf_addstr(&s->out, cfg->hostname);
	buf_addc(&s->out, ' ');
	buf_addstr(&s->out, cfg->greeting.n != 0 ? cfg->greeting : STR("ESMTP posthouse"));
	buf_adds(&s->out, "\r\n");
	server_enter(s, SMTP_HELLO);
}

static void
verb_verdict(struct smtp_server *s, enum ph_reply refusal, const char *text)
{
	const struct smtp_verb *verb = s->p.verb;
	int code = ph_reply_code(refusal);

	if (refusal == PH_R_NONE) {
		server_enter(s, verb->apply(s));
		return;
	}
	/* a chunk's octets are on their way, whatever was answered: only an end
	 * of the connection comes before they are dropped */
	if (verb->refused != NULL && code != 421 && code != 521)
		verb->refused(s, refusal, text);
	else
		server_refuse(s, refusal, text);
}

void
smtp_server_verdict(struct smtp_server *s, enum ph_verdict v, enum ph_reply reply,
                    struct ph_str text)
{
	enum ph_hook hook = (enum ph_hook)s->p.hook;
	enum ph_reply refusal = PH_R_NONE;
	char copy[1024];

	if (s->p.pending != PENDING_ASK)
		return;         /* the session was ended meanwhile */
	s->p.pending = PENDING_NONE;
	s->p.hook = NO_HOOK;
	if (v == PH_REJECT)
		refusal = ph_reply_code(reply) >= 400 ? reply : PH_R_POLICY;
	else if (v != PH_CONTINUE && v != PH_ACCEPT)
		refusal = PH_R_TRY_LATER;
	text = str_head(text, sizeof copy - 1);
	if (text.n != 0)
		memcpy(copy, text.p, text.n);
	copy[text.n] = '\0';
	const char *words = text.n != 0 && v == PH_REJECT ? copy : NULL;

	switch (hook) {
	case PH_HOOK_CONNECT:
		greet(s, refusal, words);
		break;
	case PH_HOOK_AUTH:
		server_auth_verdict(s, refusal, words);
		break;
	case PH_HOOK_HEADER:
	case PH_HOOK_MESSAGE:
		server_content_verdict(s, hook, refusal, words);
		break;
	default:
		verb_verdict(s, refusal, words);
		break;
	}
}

void
smtp_server_stored(struct smtp_server *s, int status, struct ph_msgid id)
{
	ph_assert(s->p.pending == PENDING_STORE);
	s->p.pending = PENDING_NONE;
	s->p.in_transaction = false;
	s->asking = NULL;
	envelope_init(&s->env, s->arena);
	server_enter(s, SMTP_READY);
	if (status == 0) {
		char text[16 + PH_MSGID_TEXT] = "Queued as ", name[PH_MSGID_TEXT];

		(void)id_text(id, name);
		memcpy(text + 10, name, sizeof name);
		reply_write(&s->out, PH_R_QUEUED, text);
	} else {
		server_refuse(s, status == PH_ENOSPC ? PH_R_DISK_FULL : PH_R_STORE_FAILED, NULL);
	}
	if (s->p.ending != PH_R_NONE)
		smtp_server_end(s, s->p.ending);
}

void
smtp_server_end(struct smtp_server *s, enum ph_reply reply)
{
	if (s->state == SMTP_CLOSE)
		return;
	if (s->p.pending == PENDING_STORE) {
		s->p.ending = reply;
		return;
	}
	reply_write(&s->out, reply, NULL);
	server_close(s);
}

void
smtp_server_early_talk(struct smtp_server *s)
{
	if (s->state != SMTP_GREET)
		return;
	s->p.pending = PENDING_NONE;
	server_refuse(s, PH_R_EARLY_TALKER, NULL);
	server_close(s);
}

int64_t
smtp_server_timeout_ms(const struct smtp_server *s)
{
	return s->state == SMTP_DATA || s->state == SMTP_CHUNK ? s->cfg->timeout_data_ms
	                                                       : s->cfg->timeout_command_ms;
}

void
smtp_server_room(struct smtp_server *s, bool enough)
{
	s->p.no_room = !enough;
}
