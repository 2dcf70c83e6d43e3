/*
 * login.c - our half of one login at a host.
 *
 * Nothing that a mechanism said stays in memory longer than it takes to be
 * handed on.
 */
#include "deliver/login.h"

#include "base/codec.h"
#include "base/str.h"

static int
binding(void *arg, const char *type, uint8_t *out, size_t *len)
{
	struct login *x = arg;

	return x->conn != NULL ? conn_binding(x->conn, type, out, len) : PH_ENOTSUP;
}

static void
say(struct login *x, const struct sasl_out *o)
{
	struct buf b64 = { 0 };

	codec_base64_encode(o->output, &b64);
	if (!x->said)
		smtp_client_auth(x->client, x->mechanism, o->has_output, buf_view(&b64));
	else    /* an empty response is an empty line, not a cancel */
		smtp_client_auth_step(x->client, b64.len > 0 ? buf_view(&b64) : STR(""));
	x->said = true;
	mem_wipe(b64.data, b64.cap);
	buf_free(&b64);
	x->on->said(x->arg);
}

static void
stepped(void *arg, const struct sasl_out *o)
{
	struct login *x = arg;
	/* Denied, with something to say: the last word that the protocol wants of us. */
	bool goes_on = o->result == PH_SASL_MORE || o->result == PH_SASL_DONE ||
	               (o->result == PH_SASL_DENIED && o->has_output && x->said);

	x->at = o->result;
	buf_clear(&x->why);             /* a copy, for what o shows ends with the exchange */
	if (o->problem != NULL)
		buf_adds(&x->why, o->problem);
	if (goes_on) {
		say(x, o);
		return;
	}
	if (x->said)
		smtp_client_auth_step(x->client, (struct ph_str){ NULL, 0 });   /* "*" */
	x->on->stopped(x->arg, o->result);
}

bool
login_begin(struct login *x, struct ph_str offered)
{
	struct ph_str mechanism = sasl_choose(x->wp, x->hop, offered, x->secure);
	struct sasl_out o;

	sasl_end(&x->sasl);
	x->mechanism = mechanism.p != NULL ? mechanism : STR("");
	x->said = false;
	x->at = PH_SASL_MORE;
	buf_clear(&x->why);
	if (mechanism.p != NULL)
		x->sasl = sasl_begin(x->wp, PH_CLIENT, mechanism, NULL, x->hop, x->secure, stepped, x);
	if (x->sasl == NULL)
		return false;
	if (x->secure)
		sasl_set_binding(x->sasl, binding, x);
	sasl_set_remote(x->sasl, x->name, x->port);
	if (sasl_step(x->sasl, STR(""), false, &o))
		stepped(x, &o);
	return true;
}

void
login_step(struct login *x, struct ph_str challenge)
{
	struct sasl_out o = { .result = PH_SASL_MALFORMED, .problem = "the challenge is not base64" };
	struct buf plain = { 0 };

	if (x->sasl == NULL)
		return;
	if (codec_base64_decode(challenge, &plain) != 0)
		stepped(x, &o);
	else if (sasl_step(x->sasl, plain.len > 0 ? buf_view(&plain) : STR(""), true, &o))
		stepped(x, &o);
	mem_wipe(plain.data, plain.cap);
	buf_free(&plain);
}

bool
login_accepted(struct login *x)
{
	sasl_end(&x->sasl);
	return x->at == PH_SASL_DONE;   /* RFC 5802 3: without the signature anybody may say 235 */
}

struct ph_str
login_unproven(const struct login *x)
{
	return x->at == PH_SASL_DENIED && x->why.len > 0
	       ? buf_view(&x->why) : STR("the remote says yes without having proved who it is");
}

bool
login_refused(struct login *x, int code)
{
	bool anew = x->sasl != NULL && sasl_refused(x->sasl, code) && !x->again;

	sasl_end(&x->sasl);
	x->again = x->again || anew;
	return anew;
}

void
login_refusal(const struct login *x, struct ph_str text, struct buf *out)
{
	buf_addstr(out, text);
	if (x->why.len > 0) {
		buf_adds(out, " (");
		buf_addstr(out, buf_view(&x->why));
		buf_addc(out, ')');
	}
}

void
login_hide(const struct login *x, char *text, size_t n)
{
	const struct ph_secret *pw = &x->hop->password;

	if (n > 0)
		str_hide(text, n, str_make(pw->p, pw->n));
}

void
login_end(struct login *x)
{
	sasl_end(&x->sasl);
}

void
login_free(struct login *x)
{
	sasl_end(&x->sasl);
	buf_free(&x->why);
}
