/*
 * answer.c - reads the lines of helpers.
 *
 * A helper is trusted with the decision, not with the form of its lines: what
 * does not fit its dialect to the letter is no answer, and its helper is not
 * used again.
 */
#include <string.h>

#include "answer.h"

enum { WORD_SHOWN = 100 };      /* a longer word in a text may be a token */

struct status {
	const char *name;
	enum answer_blame blame;
	const char *advice;
};

static const struct status statuses[] = {
	{ "NT_STATUS_LOGON_FAILURE", BLAME_CREDENTIALS, NULL },
	{ "NT_STATUS_WRONG_PASSWORD", BLAME_CREDENTIALS, NULL },
	{ "NT_STATUS_NO_SUCH_USER", BLAME_CREDENTIALS, NULL },
	{ "NT_STATUS_ACCOUNT_DISABLED", BLAME_CREDENTIALS, "the account is disabled" },
	{ "NT_STATUS_ACCOUNT_EXPIRED", BLAME_CREDENTIALS, "the account has expired" },
	{ "NT_STATUS_ACCOUNT_LOCKED_OUT", BLAME_CREDENTIALS, "the account is locked" },
	{ "NT_STATUS_ACCOUNT_RESTRICTION", BLAME_CREDENTIALS, "the account may not log in so" },
	{ "NT_STATUS_INVALID_LOGON_HOURS", BLAME_CREDENTIALS, "the account may not log in now" },
	{ "NT_STATUS_INVALID_WORKSTATION", BLAME_CREDENTIALS, "the account may not log in from there" },
	{ "NT_STATUS_PASSWORD_EXPIRED", BLAME_CREDENTIALS, "the password has expired" },
	{ "NT_STATUS_PASSWORD_MUST_CHANGE", BLAME_CREDENTIALS, "the password has to be changed" },
	{ "NT_STATUS_LOGON_TYPE_NOT_GRANTED", BLAME_CREDENTIALS, "the account may not log in over the network" },
	{ "NT_STATUS_LOGON_NOT_GRANTED", BLAME_CREDENTIALS, "the account may not log in so" },
	{ "NT_STATUS_NTLM_BLOCKED", BLAME_CREDENTIALS, "the domain forbids NTLM for it" },
	{ "NT_STATUS_AUTHENTICATION_FIREWALL_FAILED", BLAME_CREDENTIALS, "the trust does not admit the account" },
	{ "NT_STATUS_INVALID_PARAMETER", BLAME_MESSAGE, NULL },
	{ "NT_STATUS_INVALID_TOKEN", BLAME_MESSAGE, NULL },
	{ "NT_STATUS_NO_LOGON_SERVERS", BLAME_DOMAIN, "no domain controller can be reached" },
	{ "NT_STATUS_UNSUCCESSFUL", BLAME_DOMAIN, "winbindd does not run, or the user of posthouse is not in "
	                                          "the group winbindd_priv" },
	{ "NT_STATUS_ACCESS_DENIED", BLAME_DOMAIN, "this machine's account in the domain does not work "
	                                           "(wbinfo -t), or the group winbindd_priv is missing" },
	{ "NT_STATUS_CANT_ACCESS_DOMAIN_INFO", BLAME_DOMAIN, "this machine has not joined the domain" },
	{ "NT_STATUS_NO_TRUST_SAM_ACCOUNT", BLAME_DOMAIN, "this machine's account is gone from the domain" },
	{ "NT_STATUS_TRUSTED_RELATIONSHIP_FAILURE", BLAME_DOMAIN, "this machine has to join the domain again" },
	{ "NT_STATUS_TIME_DIFFERENCE_AT_DC", BLAME_DOMAIN, "the clocks of this machine and the domain differ" },
};

static struct ph_str
word_cut(struct ph_str in, struct ph_str *rest)
{
	const char *space = in.n > 0 ? memchr(in.p, ' ', in.n) : NULL;
	size_t n = space != NULL ? (size_t)(space - in.p) : in.n;

	*rest = space != NULL ? (struct ph_str){ space + 1, in.n - n - 1 } : (struct ph_str){ in.p + n, 0 };
	return (struct ph_str){ in.p, n };
}

static bool
word_is(struct ph_str w, const char *what)
{
	return w.n == strlen(what) && memcmp(w.p, what, w.n) == 0;
}

/* Of RFC 4648 4 in form; decoding is left to who uses it. */
static bool
is_base64(struct ph_str t)
{
	size_t n = t.n;

	if (n == 0 || n % 4 != 0)
		return false;
	for (int pads = 0; pads < 2 && t.p[n - 1] == '='; pads++)
		n--;
	for (size_t i = 0; i < n; i++) {
		char c = t.p[i];

		if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
		    c == '+' || c == '/'))
			return false;
	}
	return true;
}

static enum answer_kind
server_parse(enum dialect dialect, struct ph_str verb, struct ph_str rest, struct answer *out)
{
	bool spnego = dialect == DIALECT_SPNEGO;

	if (word_is(verb, "BH")) {
		out->text = rest;
		return ANSWER_BROKEN;
	}
	if (word_is(verb, "NA")) {
		out->text = rest;
		if (rest.n >= 2 && rest.p[0] == '*' && rest.p[1] == ' ')
			out->text = (struct ph_str){ rest.p + 2, rest.n - 2 };
		return ANSWER_REFUSED;
	}
	if (word_is(verb, "TT")) {
		struct ph_str star;

		out->token = word_cut(rest, &star);
		if (!is_base64(out->token) || (star.n > 0 && !word_is(star, "*")))
			return ANSWER_NONE;
		return ANSWER_TOKEN;
	}
	if (word_is(verb, "AF")) {
		out->text = rest;
		if (spnego) {
			out->token = word_cut(rest, &out->text);
			if (word_is(out->token, "*"))
				out->token.n = 0;
			else if (!is_base64(out->token))
				return ANSWER_NONE;
		}
		return out->text.n > 0 ? ANSWER_ACCEPTED : ANSWER_NONE;
	}
	return ANSWER_NONE;
}

static enum answer_kind
client_parse(struct ph_str verb, struct ph_str rest, struct answer *out)
{
	struct ph_str more;

	if (word_is(verb, "OK") && rest.n == 0)
		return ANSWER_OK;
	if (word_is(verb, "PW") && rest.n == 0)
		return ANSWER_PASSWORD;
	if (word_is(verb, "BH") || word_is(verb, "NA") || word_is(verb, "ERR")) {
		out->text = rest;
		return word_is(verb, "NA") ? ANSWER_REFUSED : ANSWER_BROKEN;
	}
	out->token = word_cut(rest, &more);
	if (word_is(out->token, "*"))
		out->token.n = 0;
	if (more.n > 0 || (out->token.n > 0 && !is_base64(out->token)))
		return ANSWER_NONE;
	if (word_is(verb, "AF"))
		return ANSWER_ACCEPTED;
	return word_is(verb, "YR") || word_is(verb, "KK") ? ANSWER_TOKEN : ANSWER_NONE;
}

enum answer_kind
answer_parse(enum dialect dialect, struct ph_str line, struct answer *out)
{
	struct ph_str verb, rest;

	*out = (struct answer){ .kind = ANSWER_NONE, .token = { "", 0 }, .text = { "", 0 } };
	if (line.n == 0)
		return ANSWER_NONE;
	verb = word_cut(line, &rest);
	out->kind = dialect == DIALECT_CLIENT ? client_parse(verb, rest, out)
	                                      : server_parse(dialect, verb, rest, out);
	if (out->kind == ANSWER_NONE)
		out->token = out->text = (struct ph_str){ "", 0 };
	return out->kind;
}

/* The first of the statuses that the text names. */
static const struct status *
status_of(const struct answer *a)
{
	struct ph_str rest = a->text;

	while (rest.n > 0) {
		struct ph_str w = word_cut(rest, &rest);

		for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++)
			if (word_is(w, statuses[i].name))
				return &statuses[i];
	}
	return NULL;
}

enum answer_blame
answer_blame(const struct answer *a)
{
	static const char not_spnego[] = "SPNEGO request";
	const struct status *s = status_of(a);

	if (a->kind == ANSWER_BROKEN) {         /* a client cannot break a helper by its password */
		if (a->text.n >= sizeof not_spnego - 1 &&
		    memcmp(a->text.p, not_spnego, sizeof not_spnego - 1) == 0)
			return BLAME_MESSAGE;
		return BLAME_DOMAIN;
	}
	return s != NULL ? s->blame : BLAME_UNKNOWN;
}

void
answer_reason(const struct answer *a, char *out, size_t room)
{
	struct ph_str rest = a->text;
	size_t n = 0;

	while (rest.n > 0) {
		struct ph_str w = word_cut(rest, &rest);

		if (w.n == 0 || w.n > WORD_SHOWN || word_is(w, "*"))
			continue;
		if (n + w.n + 2 > room)
			break;
		if (n > 0)
			out[n++] = ' ';
		for (size_t i = 0; i < w.n; i++)
			out[n++] = w.p[i] >= 0x21 && w.p[i] <= 0x7E ? w.p[i] : '?';
	}
	out[n] = '\0';
}

const char *
answer_advice(const struct answer *a)
{
	const struct status *s = status_of(a);

	return s != NULL ? s->advice : NULL;
}
