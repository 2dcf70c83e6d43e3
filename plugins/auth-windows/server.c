/*
 * server.c - AUTH NTLM (MS-SMTPNTLM) and AUTH GSSAPI: SPNEGO as Exchange means
 * it, RFC 4752, and NTLM without any wrapping, told apart by the first token.
 *
 * One handshake holds one helper from the client's first token to the end.
 * A client that keeps it waiting loses it: helpers are few, and silence must
 * not cost the other clients their logins.  Who the client is, the helper says;
 * what the client claims goes to the log and to who slows down guessing.
 */
#include <stdio.h>
#include <string.h>

#include "identity.h"
#include "ntlm.h"
#include "windows.h"

enum phase {
	PHASE_START,
	PHASE_PROMPTED,         /* the client had no initial response */
	PHASE_SHAKING,          /* a challenge was sent; the helper is kept */
	PHASE_FINAL,            /* accepted; the client has to take note of the last token */
	PHASE_LATE,             /* the client kept the helper waiting */
};

struct exchange {
	struct ph_sasl *x;
	struct ph_lease *lease;
	struct ph_timer *patience;      /* for the client, while the helper is kept */
	struct membership *membership;
	struct ph_ticket ticket;
	enum phase phase;
	enum helper_kind kind;
	const char *verb;               /* of the line that waits for a helper */
	uint32_t ntlm_flags;            /* of the challenge */
	bool ntlm;                      /* the helper's challenge was NTLM's */
	char identity[IDENTITY_MAX + 1];
};

static void
over(struct exchange *e, bool broken)
{
	ph_timer_stop(&e->patience);
	ph_lease_end(&e->lease, broken);
}

static void
done(struct exchange *e, enum ph_sasl_result result)
{
	(void)ph_sasl_done(e->ticket, result);  /* stale: nobody waits any more */
}

static enum ph_sasl_result
fail(struct exchange *e, enum ph_sasl_result result, const char *why)
{
	over(e, false);
	ph_sasl_problem(e->x, why);
	return result;
}

/* --- what the client may send --- */

/* An ASN.1 length (X.690 8.1.3) at *at, which is moved behind it; false: there is none. */
static bool
der_length(struct ph_str t, size_t *at)
{
	unsigned char first;

	if (*at >= t.n)
		return false;
	first = (unsigned char)t.p[(*at)++];
	if (first < 0x80)
		return true;
	if (first == 0x80 || (first & 0x7F) > 4 || t.n - *at < (size_t)(first & 0x7F))
		return false;
	*at += first & 0x7F;
	return true;
}

/* RFC 2743 3.1: 60, length, and the mechanism's OID.  PH_EINVAL: neither of the two. */
static int
kind_of(struct ph_str token)
{
	static const char spnego[] = "\x06\x06\x2b\x06\x01\x05\x05\x02";
	static const char kerberos[] = "\x06\x09\x2a\x86\x48\x86\xf7\x12\x01\x02\x02";
	size_t at = 1;

	if (ntlm_is(token))
		return HELPER_NTLM;
	if (token.n < 2 || token.p[0] != 0x60 || !der_length(token, &at))
		return PH_EINVAL;
	if (token.n - at >= sizeof spnego - 1 && memcmp(token.p + at, spnego, sizeof spnego - 1) == 0)
		return HELPER_SPNEGO;
	if (token.n - at >= sizeof kerberos - 1 && memcmp(token.p + at, kerberos, sizeof kerberos - 1) == 0)
		return HELPER_GSSAPI;
	return PH_EINVAL;
}

/* Messages of NTLM, bare or inside SPNEGO, are read before the helper gets them. */
static enum ph_sasl_result
ntlm_examine(struct exchange *e, struct ph_str token, bool first)
{
	const struct windows_cfg *cfg = ph_sasl_config(e->x);
	struct ph_str inside = e->kind == HELPER_NTLM ? token : ntlm_inside(token);
	struct ntlm_message m;

	if (inside.p == NULL && !e->ntlm)
		return PH_SASL_MORE;
	if (!ph_sasl_is_secure(e->x) && !cfg->allow_cleartext_ntlm)
		return fail(e, PH_SASL_MALFORMED, "NTLM outside TLS (allow-cleartext-ntlm is not set)");
	if (inside.p == NULL)
		return PH_SASL_MORE;
	if (ntlm_parse(inside, e->ntlm_flags, &m) < 0)
		return fail(e, PH_SASL_MALFORMED, "the client's NTLM message is none");
	if (m.type == 3 && m.claimed_n > 0)
		ph_sasl_user(e->x, (struct ph_str){ m.claimed, m.claimed_n });
	if (m.type != (first ? 1u : 3u))
		return fail(e, first && m.type == 3 ? PH_SASL_DENIED : PH_SASL_MALFORMED,
		    "an NTLM message out of turn");
	if (m.type == 3 && m.anonymous)
		return fail(e, PH_SASL_DENIED, "an anonymous NTLM login");
	return PH_SASL_MORE;
}

/* --- what the helper says --- */

/* SASL lets the server speak only when it is asked (RFC 4954 4), so the client hears of it with its
 * next message; the administrator at once, for there may be none. */
static void
client_is_late(void *arg)
{
	static const char *const option[HELPER_KINDS] = { "ntlm-helper", "spnego-helper", "gssapi-helper" };
	struct exchange *e = arg;
	char client[PH_ADDR_TEXT];

	ph_log_worker(ph_sasl_worker(e->x), PH_WARN, "client %s kept its %s waiting for longer than "
	    "client-wait: the helper serves others now, and the client is told 454 with its next message",
	    ph_addr_text(ph_sasl_client_addr(e->x), client), option[e->kind]);
	e->patience = NULL;
	e->phase = PHASE_LATE;
	ph_lease_end(&e->lease, false); /* it has answered all: the next YR starts anew */
}

static void
challenge(struct exchange *e, struct ph_str base64)
{
	const struct windows_cfg *cfg = ph_sasl_config(e->x);
	size_t n = 0;
	char *token = line_decode(base64, &n);
	struct ph_str inside;
	int rc = PH_EPROTO;

	if (token != NULL) {
		struct ntlm_message m;

		inside = ntlm_inside((struct ph_str){ token, n });
		if (inside.p != NULL && ntlm_parse(inside, 0, &m) == 0 && m.type == 2) {
			e->ntlm = true;
			e->ntlm_flags = m.flags;
		}
		rc = ph_sasl_output(e->x, (struct ph_str){ token, n });
		line_free(token, n);
	}
	if (rc < 0) {
		over(e, true);
		ph_sasl_problem(e->x, "the helper's challenge is not to be used");
		done(e, PH_SASL_TRY_LATER);
		return;
	}
	e->phase = PHASE_SHAKING;
	e->patience = ph_timer_start(ph_sasl_worker(e->x), cfg->client_wait, client_is_late, e);
	done(e, PH_SASL_MORE);
}

static void
refused(struct exchange *e, const struct answer *a)
{
	const char *advice = answer_advice(a);
	enum ph_sasl_result result = PH_SASL_TRY_LATER;
	char reason[160], text[360];

	answer_reason(a, reason, sizeof reason);
	snprintf(text, sizeof text, "the helper says %s%s%s", reason[0] != '\0' ? reason : "no",
	    advice != NULL ? ": " : "", advice != NULL ? advice : "");
	switch (answer_blame(a)) {
	case BLAME_CREDENTIALS:
		result = PH_SASL_DENIED;
		break;
	case BLAME_MESSAGE:
		result = PH_SASL_MALFORMED;
		break;
	case BLAME_UNKNOWN:
	case BLAME_DOMAIN:
		break;
	}
	done(e, fail(e, result, text));
}

/* The last token of SPNEGO that says nothing but "accepted": nobody misses it. */
static bool
is_bare_accept(const char *token, size_t n)
{
	static const char bare[] = "\xa1\x07\x30\x05\xa0\x03\x0a\x01";

	return n == sizeof bare && memcmp(token, bare, sizeof bare) == 0;       /* with its NUL: completed */
}

static void
finish(struct exchange *e)
{
	if (e->phase == PHASE_FINAL) {
		done(e, PH_SASL_MORE);
		return;
	}
	if (ph_sasl_identity(e->x, (struct ph_str){ e->identity, strlen(e->identity) }) < 0)
		done(e, fail(e, PH_SASL_DENIED, "the helper's name for the user is not UTF-8"));
	else
		done(e, PH_SASL_DONE);
}

static void
membership_known(void *arg, int member, const char *why)
{
	struct exchange *e = arg;

	e->membership = NULL;
	if (member > 0)
		finish(e);
	else
		done(e, fail(e, member == 0 ? PH_SASL_DENIED : PH_SASL_TRY_LATER, why));
}

static void
accepted(struct exchange *e, const struct answer *a)
{
	const struct windows_cfg *cfg = ph_sasl_config(e->x);
	struct windows_worker *mine = ph_sasl_worker_data(e->x);
	int rc = identity_make((enum identity_form)cfg->identity, &cfg->domains, e->kind == HELPER_GSSAPI,
	    a->text, e->identity);
	size_t n = 0;
	char *token = NULL;
	bool checked = cfg->membership == NULL || e->ntlm;

	if (rc < 0) {
		done(e, fail(e, PH_SASL_DENIED, "the helper's name for the user cannot be used: empty, "
		    "too long, or with control characters"));
		return;
	}
	if (rc == 0 && !mine->told_domain) {
		mine->told_domain = true;
		ph_log_worker(ph_sasl_worker(e->x), PH_INFO, "%s is kept as it is: its domain is not in "
		    "domains", e->identity);
	}
	if (a->token.n > 0)
		token = line_decode(a->token, &n);
	/* Kerberos' answer proves who we are: a client that asked for that waits for it, and a 235
	 * has no room for it. */
	if (token != NULL && !is_bare_accept(token, n) && ph_sasl_output(e->x, (struct ph_str){ token, n }) == 0)
		e->phase = PHASE_FINAL;
	line_free(token, n);
	over(e, false);
	if (checked) {
		finish(e);
		return;
	}
	e->membership = membership_begin(ph_sasl_worker(e->x), cfg, a->text, membership_known, e);
	if (e->membership == NULL)
		done(e, fail(e, PH_SASL_TRY_LATER, "the group cannot be looked up"));
}

static void
answered(void *arg, int status, struct ph_str line)
{
	struct exchange *e = arg;
	struct answer a;

	if (status < 0) {
		done(e, fail(e, PH_SASL_TRY_LATER, line_trouble(status)));
		return;
	}
	switch (answer_parse(e->kind == HELPER_NTLM ? DIALECT_NTLM : DIALECT_SPNEGO, line, &a)) {
	case ANSWER_TOKEN:
		challenge(e, a.token);
		break;
	case ANSWER_ACCEPTED:
		accepted(e, &a);
		break;
	case ANSWER_REFUSED:
	case ANSWER_BROKEN:
		refused(e, &a);
		break;
	default:
		over(e, true);
		ph_sasl_problem(e->x, "the helper's answer is none of its protocol");
		done(e, PH_SASL_TRY_LATER);
		break;
	}
}

/* --- steps --- */

static void
helper_got(void *arg, int status)
{
	struct exchange *e = arg;

	if (status == 0)
		status = line_ask(e->lease, "YR", ph_sasl_input(e->x), answered, e);
	if (status < 0)
		done(e, fail(e, PH_SASL_TRY_LATER, line_trouble(status)));
}

static enum ph_sasl_result
begin(struct exchange *e, bool ntlm_only)
{
	struct windows_worker *mine = ph_sasl_worker_data(e->x);
	struct ph_str token = ph_sasl_input(e->x);
	int kind = kind_of(token);
	enum ph_sasl_result result;

	if (token.n > TOKEN_MAX || kind < 0 || (ntlm_only && kind != HELPER_NTLM))
		return fail(e, PH_SASL_MALFORMED, ntlm_only ? "the client's NTLM message is none" :
		    "the client's first token is neither SPNEGO nor Kerberos");
	e->kind = (enum helper_kind)kind;
	result = ntlm_examine(e, token, true);
	if (result != PH_SASL_MORE)
		return result;
	/* That posthouse-gssapi is not installed is not the client's fault; the other two were
	 * taken out by the configuration. */
	if (mine->pool[kind] == NULL && kind == HELPER_GSSAPI)
		return fail(e, PH_SASL_TRY_LATER, "there is no gssapi-helper for bare Kerberos (RFC 4752): "
		    "posthouse-gssapi is not installed");
	if (mine->pool[kind] == NULL)
		return fail(e, PH_SASL_MALFORMED, kind == HELPER_NTLM ? "there is no ntlm-helper" :
		    "there is no spnego-helper");
	e->ticket = ph_sasl_ticket(e->x);
	e->lease = ph_lease_begin(mine->pool[kind], helper_got, e);
	return e->lease != NULL ? PH_SASL_WAIT : fail(e, PH_SASL_TRY_LATER, "no memory for a helper");
}

static enum ph_sasl_result
go_on(struct exchange *e)
{
	struct ph_str token = ph_sasl_input(e->x);
	enum ph_sasl_result result;
	int rc;

	ph_timer_stop(&e->patience);
	/* RFC 4752 3.1 has an empty response; no other mechanism here does. */
	if (token.n > TOKEN_MAX || (token.n == 0 && e->kind != HELPER_GSSAPI))
		return fail(e, PH_SASL_MALFORMED, "an empty or oversized response");
	result = ntlm_examine(e, token, false);
	if (result != PH_SASL_MORE)
		return result;
	e->ticket = ph_sasl_ticket(e->x);
	rc = line_ask(e->lease, "KK", token, answered, e);
	return rc == 0 ? PH_SASL_WAIT : fail(e, PH_SASL_TRY_LATER, line_trouble(rc));
}

static enum ph_sasl_result
server_step(struct ph_sasl *x, bool ntlm)
{
	struct exchange *e = ph_sasl_data(x);

	e->x = x;
	switch (e->phase) {
	case PHASE_START:
		if (ph_sasl_input(x).n > 0)
			return begin(e, ntlm);
		e->phase = PHASE_PROMPTED;
		/* The text is MS-SMTPNTLM's; RFC 4752 wants an empty challenge, and clients of
		 * Exchange that look at the line at all only see the 334. */
		if ((ntlm ? ph_sasl_prompt(x, "NTLM supported") : ph_sasl_output(x, (struct ph_str){ "", 0 })) < 0)
			return PH_SASL_TRY_LATER;
		return PH_SASL_MORE;
	case PHASE_PROMPTED:
		return begin(e, ntlm);
	case PHASE_SHAKING:
		return go_on(e);
	case PHASE_FINAL:
		if (ph_sasl_input(x).n > 0)
			return fail(e, PH_SASL_MALFORMED, "a response after the last token");
		if (ph_sasl_identity(x, (struct ph_str){ e->identity, strlen(e->identity) }) < 0)
			return fail(e, PH_SASL_DENIED, "the helper's name for the user is not UTF-8");
		return PH_SASL_DONE;
	case PHASE_LATE:
		break;
	}
	return fail(e, PH_SASL_TRY_LATER, "the client let the helper wait too long (client-wait)");
}

static enum ph_sasl_result
ntlm_step(struct ph_sasl *x)
{
	return server_step(x, true);
}

static enum ph_sasl_result
gssapi_step(struct ph_sasl *x)
{
	return server_step(x, false);
}

static void
server_end(struct ph_sasl *x)
{
	struct exchange *e = ph_sasl_data(x);

	membership_forget(&e->membership);
	over(e, false);
}

void
server_mechanism(struct ph_mechanism *m, const char *name, const struct windows_cfg *cfg)
{
	bool ntlm = strcmp(name, "NTLM") == 0;

	*m = (struct ph_mechanism){
		.size = sizeof *m, .side = PH_SERVER, .name = name, .client_first = true,
		.state_size = sizeof(struct exchange), .step = ntlm ? ntlm_step : gssapi_step,
		.end = server_end, .needs_tls = ntlm && !cfg->allow_cleartext_ntlm,
		/* the group is asked for after the helper, in its own time */
		.limit = { cfg->helper_wait.ms + 2 * cfg->helper_timeout.ms + 5000 },
	};
}
