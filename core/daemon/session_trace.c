/*
 * session_trace.c - the dialogue in the log, at log-level trace: what the
 * client said and what it was told, line by line, without the content of messages.
 *
 * Credentials are starred: what follows the mechanism in AUTH, all lines of
 * an exchange both ways, and, once there was an AUTH, lines that are no
 * command: a client may send its answers without waiting to be asked.
 */
#include "daemon/session.h"

#include "base/str.h"

static bool
starts_verb(struct ph_str line, const char *verb)
{
	size_t n = strlen(verb);

	return str_istarts(line, verb) && (line.n == n || line.p[n] == ' ' || line.p[n] == '\t');
}

/* "AUTH PLAIN" of "AUTH PLAIN AGFs...": up to the second gap. */
static struct ph_str
without_initial(struct ph_str line)
{
	size_t n = 0;

	for (int words = 0; words < 2; words++) {
		while (n < line.n && (line.p[n] == ' ' || line.p[n] == '\t'))
			n++;
		while (n < line.n && line.p[n] != ' ' && line.p[n] != '\t')
			n++;
	}
	return str_head(line, n);
}

/* " AUTH PLAIN ...", "AUTH=PLAIN ...": no command, and a password all the same. */
static bool
misspelt_auth(struct ph_str line)
{
	while (line.n > 0 && (line.p[0] == ' ' || line.p[0] == '\t'))
		line = str_skip(line, 1);
	return str_istarts(line, "AUTH");
}

static void
trace(struct session *s, const char *event, struct ph_str line, const char *stars)
{
	if (stars[0] != '\0')
		log_event(PH_TRACE, &s->log, event, LOG_S("line", line), LOG_C("hidden", stars));
	else
		log_event(PH_TRACE, &s->log, event, LOG_S("line", line));
}

static void
trace_command(struct session *s, enum smtp_state was, struct ph_str line)
{
	if (was == SMTP_SASL) {
		trace(s, "smtp.in", str_is(line, "*") ? line : STR(""),
		    str_is(line, "*") ? "" : "***");
	} else if (starts_verb(line, "AUTH")) {
		struct ph_str shown = without_initial(line);
		s->trace_auth = true;
		trace(s, "smtp.in", shown, shown.n < line.n ? "***" : "");
	} else if (misspelt_auth(line)) {
		s->trace_auth = true;
		trace(s, "smtp.in", STR("AUTH"), "***");
	} else if (s->trace_auth && !smtp_server_knows(line)) {
		trace(s, "smtp.in", STR(""), "***");
	} else {
		trace(s, "smtp.in", line, "");
	}
}

static struct ph_str
next_line(struct ph_str *rest)
{
	struct ph_str line = str_cut(*rest, '\n', rest);

	if (line.n > 0 && line.p[line.n - 1] == '\r')
		line.n--;
	return line;
}

enum smtp_rq
session_step_traced(struct session *s, struct ph_str *in, struct smtp_request *req)
{
	enum smtp_state was = s->smtp.state;
	bool rest = smtp_server_skips(&s->smtp);        /* of a line that was too long */
	struct ph_str before = *in;
	enum smtp_rq rq = smtp_server_step(&s->smtp, in, req);
	struct ph_str said = str_head(before, before.n - in->n);

	if (said.n == 0 || was == SMTP_DATA || was == SMTP_CHUNK || was == SMTP_CLOSE)
		return rq;
	if (rq == SMTP_RQ_TLS) {
		trace_command(s, was, next_line(&said));
		if (said.n == 0)
			return rq;
		log_event(PH_TRACE, &s->log, "smtp.dropped", LOG_I("octets", said.n),
		    LOG_C("why", "sent in the clear behind STARTTLS"));
		return rq;
	}
	while (said.p != NULL && said.n > 0) {
		struct ph_str line = next_line(&said);
		if (rest)
			trace(s, "smtp.in", STR(""), "***");
		else
			trace_command(s, was, line);
		rest = false;
		if (starts_verb(line, "BDAT"))
			break;          /* what follows is content */
	}
	return rq;
}

/* Replies are written whole, but may leave in pieces: what was not shown yet. */
void
session_trace_out(struct session *s)
{
	struct ph_str out = buf_view(&s->smtp.out);

	if (out.n <= s->traced)
		return;
	out = str_skip(out, s->traced);
	s->traced += out.n;
	while (out.p != NULL && out.n > 0) {
		struct ph_str line = next_line(&out);
		bool challenge = str_starts(line, "334 ") && line.n > 4;
		trace(s, "smtp.out", challenge ? str_head(line, 4) : line, challenge ? "***" : "");
	}
}
