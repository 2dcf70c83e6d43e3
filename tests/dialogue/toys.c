/* toys.c - see toys.h; written against the public headers alone. */
#include <string.h>

#include <posthouse/posthouse.h>

#include "toys.h"

/* --- toy-tls --- */

struct toy_tls_cfg { bool serves; };
struct toy_layer { bool open, closed, said_goodbye; char line[64]; size_t n; char name[64]; bool verified; const char *problem; };

static int
layer_open(struct ph_worker *w, void *layer, const struct ph_secure_want *want)
{
	(void)w;
	(void)layer;
	return want->side == PH_SERVER && want->client != NULL && want->listener != NULL
	    ? 0 : PH_ENOTSUP;
}

static bool
layer_greeted(struct toy_layer *y)
{
	const char *name = y->n > 4 ? y->line + 4 : "";

	if (y->n < 3 || memcmp(y->line, "toy", 3) != 0 || (y->n > 3 && y->line[3] != ' ')) {
		y->problem = "no toy";
		return false;
	}
	if (name[0] == '!') {
		y->problem = "unknown CA";
		return false;
	}
	y->verified = name[0] != '\0' && name[0] != '?';
	if (name[0] == '?')
		y->problem = "nobody signed it";
	memcpy(y->name, name, strlen(name) + 1);
	y->open = true;
	return true;
}

static int
layer_shake(struct toy_layer *y, struct ph_secure_io *io)
{
	while (io->cipher_in_len > 0 && !y->open) {
		char c = (char)*io->cipher_in++;
		io->cipher_in_len--;
		if (c != '\n' && y->n < sizeof y->line - 1) {
			y->line[y->n++] = c;
			continue;
		}
		y->line[y->n] = '\0';
		if (!layer_greeted(y)) {
			memcpy(io->cipher_out, "no\n", 3);
			io->cipher_out_len = 3;
			return PH_EPROTO;
		}
		memcpy(io->cipher_out, "ok\n", 3);
		io->cipher_out_len = 3;
	}
	return 0;
}

static int
layer_pump(void *layer, struct ph_secure_io *io, enum ph_secure_state *state)
{
	struct toy_layer *y = layer;

	if (!y->open) {
		*state = PH_SECURE_HANDSHAKE;
		if (layer_shake(y, io) != 0)
			return PH_EPROTO;
		if (y->open)
			*state = PH_SECURE_OPEN;
		return 0;
	}
	while (io->cipher_in_len > 0 && !y->closed && io->plain_out_len < io->plain_out_room) {
		uint8_t c = *io->cipher_in++;
		io->cipher_in_len--;
		if (c == TOY_GOODBYE) {
			y->closed = true;
		} else if (c < 0x80) {
			y->problem = "not sealed";
			return PH_EPROTO;
		} else {
			io->plain_out[io->plain_out_len++] = c ^ 0x80;
		}
	}
	while (io->plain_in_len > 0 && io->cipher_out_len < io->cipher_out_room) {
		io->cipher_out[io->cipher_out_len++] = *io->plain_in++ ^ 0x80;
		io->plain_in_len--;
	}
	if (io->closing && !y->said_goodbye && io->cipher_out_len < io->cipher_out_room) {
		io->cipher_out[io->cipher_out_len++] = TOY_GOODBYE;
		y->said_goodbye = true;
	}
	*state = y->closed ? PH_SECURE_CLOSED : PH_SECURE_OPEN;
	return 0;
}

static struct ph_str
text(const char *s)
{
	return (struct ph_str){ s, s != NULL ? strlen(s) : 0 };
}

static void
layer_facts(void *layer, struct ph_secure_facts *out)
{
	struct toy_layer *y = layer;

	out->version = text("TOYv1");
	out->cipher = text("TOY_TOP_BIT");
	out->bits = 1;
	out->verified = y->verified;
	out->peer_name = text(y->verified ? y->name : "");
	out->subject = text(y->name);
	out->problem = text(y->problem);
}

static void
layer_close(void *layer)
{
	(void)layer;
}

static const struct ph_secure toy_secure = {
	.size = sizeof toy_secure, .layer_size = sizeof(struct toy_layer), .open = layer_open,
	.pump = layer_pump, .facts = layer_facts, .close = layer_close,
};

static int
toy_tls_setup(struct ph_setup *setup)
{
	const struct toy_tls_cfg *cfg = ph_setup_config(setup);
	struct ph_secure secure = toy_secure;

	secure.client_only = !cfg->serves;
	return ph_provide_secure(setup, &secure);
}

static const struct ph_option toy_tls_rows[] = {
	PH_OPT(struct toy_tls_cfg, serves, "serves", .dflt = "yes", .doc = "Whether it can serve."),
	PH_OPT_END
};

PH_PLUGIN(toy_tls,
	.summary = "transport security that hides nothing",
	.doc = "For dialogues.",
	.options = toy_tls_rows, .config_size = sizeof(struct toy_tls_cfg),
	.setup = toy_tls_setup);

/* --- toy-auth --- */

struct toy_auth_cfg { const char *refuse; bool cleartext; };
struct toy_exchange { unsigned step; char user[64]; size_t user_n; struct ph_timer *timer; struct ph_ticket ticket; };

static bool
is(struct ph_str s, const char *lit)
{
	return s.n == strlen(lit) && memcmp(s.p, lit, s.n) == 0;
}

static enum ph_sasl_result
judge(struct ph_sasl *x, struct ph_str user, struct ph_str password)
{
	bool alice = is(user, "alice"), bob = is(user, "bob");

	ph_sasl_user(x, user);
	if (!alice && !bob) {
		ph_sasl_problem(x, "no such user");
		return PH_SASL_DENIED;
	}
	if (!is(password, alice ? "wonderland" : "builder")) {
		ph_sasl_problem(x, "wrong password");
		return PH_SASL_DENIED;
	}
	return ph_sasl_identity(x, user) == 0 ? PH_SASL_DONE : PH_SASL_DENIED;
}

static enum ph_sasl_result
more(struct ph_sasl *x, const char *challenge)
{
	return ph_sasl_output(x, text(challenge)) == 0 ? PH_SASL_MORE : PH_SASL_TRY_LATER;
}

static enum ph_sasl_result
plain_step(struct ph_sasl *x)
{
	struct ph_str in = ph_sasl_input(x), user, password;
	const char *first, *second;

	if (!ph_sasl_has_initial(x))
		return more(x, "");
	first = in.n > 0 ? memchr(in.p, '\0', in.n) : NULL;
	second = first != NULL ? memchr(first + 1, '\0', in.n - (size_t)(first + 1 - in.p)) : NULL;
	if (second == NULL)
		return PH_SASL_MALFORMED;
	user = (struct ph_str){ first + 1, (size_t)(second - first - 1) };
	password = (struct ph_str){ second + 1, in.n - (size_t)(second + 1 - in.p) };
	return judge(x, user, password);
}

static enum ph_sasl_result
login_step(struct ph_sasl *x)
{
	struct toy_exchange *e = ph_sasl_data(x);
	struct ph_str in = ph_sasl_input(x);

	if (e->step == 0 && !ph_sasl_has_initial(x)) {
		e->step = 1;
		return more(x, "Username:");
	}
	if (e->step < 2) {
		e->step = 2;
		e->user_n = in.n < sizeof e->user ? in.n : sizeof e->user;
		if (e->user_n > 0)
			memcpy(e->user, in.p, e->user_n);
		ph_sasl_user(x, (struct ph_str){ e->user, e->user_n });
		return more(x, "Password:");
	}
	return judge(x, (struct ph_str){ e->user, e->user_n }, in);
}

/* "alice", then "*alice*". */
static enum ph_sasl_result
plus_step(struct ph_sasl *x)
{
	struct toy_exchange *e = ph_sasl_data(x);
	struct ph_str in = ph_sasl_input(x);

	if (e->step == 0 && !ph_sasl_has_initial(x))
		return more(x, "");
	if (e->step == 0) {
		e->step = 1;
		e->user_n = in.n < sizeof e->user ? in.n : sizeof e->user;
		if (e->user_n > 0)
			memcpy(e->user, in.p, e->user_n);
		ph_sasl_user(x, (struct ph_str){ e->user, e->user_n });
		return more(x, "and now?");
	}
	if (in.n != e->user_n + 2 || in.p[0] != '*' || memcmp(in.p + 1, e->user, e->user_n) != 0)
		return PH_SASL_DENIED;
	return ph_sasl_identity(x, (struct ph_str){ e->user, e->user_n }) == 0 ? PH_SASL_DONE
	    : PH_SASL_MALFORMED;
}

static enum ph_sasl_result
ntlm_step(struct ph_sasl *x)
{
	if (!ph_sasl_has_initial(x))
		return ph_sasl_prompt(x, "NTLM supported") == 0 ? PH_SASL_MORE : PH_SASL_TRY_LATER;
	return plus_step(x);
}

static enum ph_sasl_result
external_step(struct ph_sasl *x)
{
	if (!ph_sasl_has_initial(x))
		return more(x, "");
	return ph_sasl_identity(x, ph_sasl_certificate(x)) == 0 ? PH_SASL_DONE : PH_SASL_DENIED;
}

static enum ph_sasl_result
busy_step(struct ph_sasl *x)
{
	ph_sasl_problem(x, "no domain controller");
	return PH_SASL_TRY_LATER;
}

static void
slow_due(void *arg)
{
	struct toy_exchange *e = arg;

	e->timer = NULL;
	(void)ph_sasl_done(e->ticket, is((struct ph_str){ e->user, e->user_n }, "bad") ? PH_SASL_DENIED : PH_SASL_DONE);
}

static enum ph_sasl_result
slow_step(struct ph_sasl *x)
{
	struct toy_exchange *e = ph_sasl_data(x);
	struct ph_str in = ph_sasl_input(x);

	if (!ph_sasl_has_initial(x))
		return more(x, "");
	e->user_n = in.n < sizeof e->user ? in.n : sizeof e->user;
	if (e->user_n > 0)
		memcpy(e->user, in.p, e->user_n);
	ph_sasl_user(x, in);
	if (!is(in, "bad") && ph_sasl_identity(x, in) != 0)
		return PH_SASL_MALFORMED;
	e->ticket = ph_sasl_ticket(x);
	if (!is(in, "never"))
		e->timer = ph_timer_start(ph_sasl_worker(x),
		    (ph_duration){ is(in, "late") ? 60000 : 1000 }, slow_due, e);
	return PH_SASL_WAIT;
}

static void
slow_end(struct ph_sasl *x)
{
	struct toy_exchange *e = ph_sasl_data(x);

	if (e->timer != NULL)
		ph_timer_stop(&e->timer);
	ph_log_worker(ph_sasl_worker(x), PH_INFO, "slow exchange ended");
}

static enum ph_verdict
toy_auth_ruled(struct ph_call *call)
{
	const struct toy_auth_cfg *cfg = ph_config(call);

	if (cfg->refuse != NULL && is(ph_client_login(call), cfg->refuse))
		return ph_reject(call, PH_R_POLICY, "Not at this hour");
	return PH_CONTINUE;
}

static int
toy_auth_setup(struct ph_setup *setup)
{
	const struct toy_auth_cfg *cfg = ph_setup_config(setup);
	const struct ph_mechanism v[] = {
		{ .name = "PLAIN", .cleartext = !cfg->cleartext, .step = plain_step },
		{ .name = "LOGIN", .cleartext = !cfg->cleartext, .step = login_step },
		{ .name = "TOY-PLUS", .needs_tls = true, .step = plus_step },
		{ .name = "EXTERNAL", .needs_certificate = true, .step = external_step },
		{ .name = "NTLM", .step = ntlm_step },
		{ .name = "SLOW", .step = slow_step, .end = slow_end, .limit = { 5000 } },
		{ .name = "BUSY", .step = busy_step },
	};
	int rc = ph_on_decide(setup, PH_HOOK_AUTH, toy_auth_ruled);

	for (size_t i = 0; i < sizeof v / sizeof v[0] && rc == 0; i++) {
		struct ph_mechanism m = v[i];

		m.size = sizeof m;
		m.side = PH_SERVER;
		m.state_size = sizeof(struct toy_exchange);
		rc = ph_provide_mechanism(setup, &m);
	}
	ph_rules_admission(setup);
	return rc;
}

static const struct ph_option toy_auth_rows[] = {
	PH_OPT(struct toy_auth_cfg, refuse, "refuse", .doc = "Whose login is refused by the hook."),
	PH_OPT(struct toy_auth_cfg, cleartext, "allow-cleartext", .dflt = "no",
	    .doc = "Whether passwords may be given away."),
	PH_OPT_END
};

PH_PLUGIN(toy_auth,
	.summary = "logins of two people",
	.doc = "For dialogues.",
	.options = toy_auth_rows, .config_size = sizeof(struct toy_auth_cfg),
	.setup = toy_auth_setup);
