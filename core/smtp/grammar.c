/*
 * grammar.c - the parameters of MAIL and RCPT: SIZE (RFC 1870), BODY (6152,
 * 3030), SMTPUTF8 (6531), RET ENVID NOTIFY ORCPT (3461), AUTH (4954).
 *
 * Parsing only; a parameter of an extension that is not offered is unknown.
 * xtext is kept as it came, since it goes out as it came, but what it stands
 * for must be printable: it ends in reports and logs.
 */
#include "smtp/server_private.h"

#define ENVID_MAX 100           /* RFC 3461 4.4 */
#define ORCPT_MAX 500           /* RFC 3461 4.2 */

struct param { struct ph_str key, value; bool has_value; };

/* Takes "KEY" or "KEY=value" off the front. False: nothing left. */
static bool
next_param(struct ph_str *s, struct param *out)
{
	size_t n = 0;
	const char *eq;

	*s = str_trim(*s);
	if (s->n == 0)
		return false;
	while (n < s->n && s->p[n] != ' ' && s->p[n] != '\t')
		n++;
	out->key = str_head(*s, n);
	*s = str_skip(*s, n);
	eq = memchr(out->key.p, '=', n);
	out->has_value = eq != NULL;
	out->value = STR("");
	if (eq != NULL) {
		out->value = str_skip(out->key, (size_t)(eq - out->key.p) + 1);
		out->key.n = (size_t)(eq - out->key.p);
	}
	return true;
}

static int
hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool
xtext_valid(struct ph_str s, bool utf8)
{
	for (size_t i = 0; i < s.n; i++) {
		uint8_t c = (uint8_t)s.p[i];

		if (c == '+') {
			int hi = i + 2 < s.n ? hex(s.p[i + 1]) : -1;
			int lo = hi >= 0 ? hex(s.p[i + 2]) : -1;

			if (lo < 0 || hi * 16 + lo < 0x20 || hi * 16 + lo == 0x7f)
				return false;
			i += 2;
		} else if (c <= ' ' || c == '=' || c == 0x7f || (c >= 0x80 && !utf8)) {
			return false;
		}
	}
	return !utf8 || str_utf8_valid(s);
}

static enum ph_reply
take_size(struct param *p, const struct smtp_server_config *cfg, struct envelope *env)
{
	uint64_t size;

	if (p->value.n == 0 || p->value.n > 20)
		return PH_R_BAD_SYNTAX;
	for (size_t i = 0; i < p->value.n; i++)
		if (p->value.p[i] < '0' || p->value.p[i] > '9')
			return PH_R_BAD_SYNTAX;
	/* twenty digits may exceed 64 bits: then it is surely too big */
	if (str_u64(p->value, &size) != 0)
		size = UINT64_MAX;
	if (cfg->max_message_size != 0 && size > cfg->max_message_size)
		return PH_R_TOO_BIG;
	env->declared_size = size;
	return PH_R_NONE;
}

static enum ph_reply
take_body(struct param *p, const struct smtp_server_config *cfg, struct envelope *env)
{
	if (str_iis(p->value, "7BIT"))
		env->body = BODY_7BIT;
	else if (str_iis(p->value, "8BITMIME"))
		env->body = BODY_8BITMIME;
	else if (str_iis(p->value, "BINARYMIME") && cfg->offer_chunking)
		env->body = BODY_BINARYMIME;
	else
		return PH_R_BAD_SYNTAX;
	return PH_R_NONE;
}

enum { SEEN_SIZE = 1, SEEN_BODY = 2, SEEN_UTF8 = 4, SEEN_RET = 8, SEEN_ENVID = 16, SEEN_AUTH = 32,
       SEEN_NOTIFY = 64, SEEN_ORCPT = 128 };

enum ph_reply
grammar_mail(struct ph_str params, const struct smtp_server_config *cfg, struct envelope *env,
             const char **why)
{
	unsigned seen = 0, bit;
	struct param p;

	*why = NULL;
	while (next_param(&params, &p)) {
		enum ph_reply r = PH_R_NONE;

		if (str_iis(p.key, "SIZE")) {
			bit = SEEN_SIZE;
			r = take_size(&p, cfg, env);
		} else if (str_iis(p.key, "BODY")) {
			bit = SEEN_BODY;
			r = take_body(&p, cfg, env);
		} else if (str_iis(p.key, "SMTPUTF8") && cfg->offer_smtputf8) {
			bit = SEEN_UTF8;
			env->smtputf8 = true;
			r = p.has_value ? PH_R_BAD_SYNTAX : PH_R_NONE;
		} else if (str_iis(p.key, "RET") && cfg->offer_dsn) {
			bit = SEEN_RET;
			env->ret = str_iis(p.value, "FULL") ? RET_FULL :
			           str_iis(p.value, "HDRS") ? RET_HDRS : RET_NONE;
			r = env->ret == RET_NONE ? PH_R_BAD_SYNTAX : PH_R_NONE;
		} else if (str_iis(p.key, "ENVID") && cfg->offer_dsn) {
			bit = SEEN_ENVID;
			if (p.value.n == 0 || p.value.n > ENVID_MAX || !xtext_valid(p.value, false))
				r = PH_R_BAD_SYNTAX;
			else
				env->envid = arena_str(env->arena, p.value);
		} else if (str_iis(p.key, "AUTH")) {
			/* who wrote it is told by clients we do not trust with it (RFC 4954 5) */
			bit = SEEN_AUTH;
			if (p.value.n == 0 ||
			    (!str_is(p.value, "<>") && !xtext_valid(p.value, false)))
				r = PH_R_BAD_SYNTAX;
		} else {
			return PH_R_UNKNOWN_PARAMETER;
		}
		if (r != PH_R_NONE)
			return r;
		if (seen & bit) {
			*why = "Parameter given twice";
			return PH_R_BAD_SYNTAX;
		}
		seen |= bit;
	}
	return PH_R_NONE;
}

/* "NEVER", or a list of the others. */
static bool
notify_parse(struct ph_str v, uint8_t *out)
{
	static const struct { const char *word; uint8_t bit; } words[] = {
		{ "NEVER", NOTIFY_NEVER }, { "SUCCESS", NOTIFY_SUCCESS },
		{ "FAILURE", NOTIFY_FAILURE }, { "DELAY", NOTIFY_DELAY },
	};
	uint8_t all = 0;

	do {
		struct ph_str rest, word = str_cut(v, ',', &rest);
		uint8_t bit = 0;

		for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
			if (str_iis(word, words[i].word))
				bit = words[i].bit;
		if (bit == 0 || (all & bit))
			return false;
		all |= bit;
		v = rest;
	} while (v.p != NULL);
	*out = all;
	return !(all & NOTIFY_NEVER) || all == NOTIFY_NEVER;
}

static bool
orcpt_valid(struct ph_str v, bool utf8)
{
	struct ph_str address, type = str_cut(v, ';', &address);

	if (v.n > ORCPT_MAX || type.n == 0 || address.n == 0)
		return false;
	for (size_t i = 0; i < type.n; i++) {
		char c = type.p[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		    (c >= '0' && c <= '9') || c == '-'))
			return false;
	}
	return xtext_valid(address, utf8);
}

enum ph_reply
grammar_rcpt(struct ph_str params, const struct smtp_server_config *cfg, const struct envelope *env,
             struct recipient *rcpt, const char **why)
{
	unsigned seen = 0, bit;
	struct param p;

	*why = NULL;
	while (next_param(&params, &p)) {
		if (str_iis(p.key, "NOTIFY") && cfg->offer_dsn) {
			bit = SEEN_NOTIFY;
			if (!notify_parse(p.value, &rcpt->notify))
				return PH_R_BAD_SYNTAX;
		} else if (str_iis(p.key, "ORCPT") && cfg->offer_dsn) {
			bit = SEEN_ORCPT;
			if (!orcpt_valid(p.value, env->smtputf8))
				return PH_R_BAD_SYNTAX;
			rcpt->orcpt = arena_str(env->arena, p.value);
		} else {
			return PH_R_UNKNOWN_PARAMETER;
		}
		if (seen & bit) {
			*why = "Parameter given twice";
			return PH_R_BAD_SYNTAX;
		}
		seen |= bit;
	}
	return PH_R_NONE;
}
