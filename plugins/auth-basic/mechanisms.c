/*
 * mechanisms.c - PLAIN (RFC 4616), LOGIN (draft-murchison-sasl-login), SCRAM-SHA-256 with and
 * without channel binding (RFC 5802, 7677) and EXTERNAL (RFC 4422 A) as the core's exchanges.
 *
 * What is asked of a checker may be answered after the client has hung up: the question's own
 * little struct knows the exchange until then, and end takes it away.
 */
#include "basic.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "credentials.h"
#include "scram_server.h"

static const char wrong[] = "wrong name or password";

/* --- asking a checker --- */

struct asking { struct ph_sasl *x; struct ph_ticket ticket; };

/* Leads the state of every mechanism that asks. */
struct asker {
	struct asking *asking;          /* NULL: nothing under way */
	char name[NAME_LIMIT + 1];      /* complete, as it is asked for */
	size_t name_n;
};

static struct ph_str
asker_name(const struct asker *a)
{
	return (struct ph_str){ a->name, a->name_n };
}

static const struct ph_str nothing = { "", 0 };

/* The name that a client claims, with its domain. */
static int
asker_claim(struct ph_sasl *x, struct asker *a, struct ph_str claimed)
{
	const struct basic_cfg *cfg = ph_sasl_config(x);
	int n = name_complete(claimed, cfg->default_domain, a->name);

	if (n < 0)
		return n;
	a->name_n = (size_t)n;
	ph_sasl_user(x, asker_name(a));
	return 0;
}

static enum ph_sasl_result
later(struct ph_sasl *x, int status)
{
	ph_sasl_problem(x, status == PH_EBUSY ? "too many password checks at once "
	    "(checks-at-once)" : status == PH_ENOTSUP ? "no plugin checks passwords; set users, or "
	    "add auth-pam" : status == PH_ETIMEOUT ? "the password was not checked in time"
	    : "the password cannot be checked now");
	return PH_SASL_TRY_LATER;
}

static enum ph_sasl_result
asker_ask(struct ph_sasl *x, struct asker *a, struct ph_str password, const char *scheme,
          void (*done)(void *arg, int status, struct ph_str bytes))
{
	struct asking *q = malloc(sizeof *q);
	int rc = PH_ENOMEM;

	if (q != NULL) {
		*q = (struct asking){ x, ph_sasl_ticket(x) };
		rc = ph_check_begin(ph_sasl_worker(x), asker_name(a), password, scheme, done, q);
	}
	if (rc != 0) {
		free(q);
		return later(x, rc);
	}
	a->asking = q;
	return PH_SASL_WAIT;
}

/* The answer is there: NULL when nobody waits for it. */
static struct ph_sasl *
asked(void *arg, struct ph_ticket *ticket)
{
	struct asking *q = arg;
	struct ph_sasl *x = q->x;

	*ticket = q->ticket;
	free(q);
	if (x != NULL)
		((struct asker *)ph_sasl_data(x))->asking = NULL;
	return x;
}

static void
asker_end(struct ph_sasl *x)
{
	struct asker *a = ph_sasl_data(x);

	if (a->asking != NULL)
		a->asking->x = NULL;
	a->asking = NULL;
}

static void
password_checked(void *arg, int status, struct ph_str bytes)
{
	struct ph_ticket ticket;
	struct ph_sasl *x = asked(arg, &ticket);
	enum ph_sasl_result result = PH_SASL_DENIED;

	if (x == NULL)
		return;
	if (status == 0 && ph_sasl_identity(x, bytes.n > 0 ? bytes
	    : asker_name(ph_sasl_data(x))) == 0)
		result = PH_SASL_DONE;
	else if (status == 0 || status == PH_EPERM)
		ph_sasl_problem(x, wrong);
	else
		result = later(x, status);
	(void)ph_sasl_done(ticket, result);     /* x is there, so somebody waits */
}

static enum ph_sasl_result
malformed(struct ph_sasl *x, const char *why)
{
	ph_sasl_problem(x, why);
	return PH_SASL_MALFORMED;
}

static enum ph_sasl_result
denied(struct ph_sasl *x, const char *why)
{
	ph_sasl_problem(x, why);
	return PH_SASL_DENIED;
}

static enum ph_sasl_result
say(struct ph_sasl *x, struct ph_str text)
{
	return ph_sasl_output(x, text) == 0 ? PH_SASL_MORE : PH_SASL_TRY_LATER;
}

/* --- PLAIN --- */

struct plain_state { struct asker asker; bool begun; };

static enum ph_sasl_result
plain_step(struct ph_sasl *x)
{
	const struct basic_cfg *cfg = ph_sasl_config(x);
	struct plain_state *s = ph_sasl_data(x);
	char authzid[NAME_LIMIT + 1];
	struct plain p;
	int n;

	if (!ph_sasl_has_initial(x) && !s->begun) {
		s->begun = true;
		return say(x, nothing);
	}
	if (plain_parse(ph_sasl_input(x), &p) != 0)
		return malformed(x, "the PLAIN message is not name and password");
	if (asker_claim(x, &s->asker, p.authcid) != 0)
		return malformed(x, "the name is too long");
	if (p.authzid.n > 0) {
		n = name_complete(p.authzid, cfg->default_domain, authzid);
		if (n < 0 || !name_same((struct ph_str){ authzid, (size_t)n },
		    asker_name(&s->asker)))
			return denied(x, "wants to act for somebody else (authorization identity)");
	}
	return asker_ask(x, &s->asker, p.password, NULL, password_checked);
}

/* --- LOGIN: with a name in the first line or without; clients know the prompts by heart --- */

struct login_state { struct asker asker; enum { LOGIN_BEGIN, LOGIN_NAME, LOGIN_PASSWORD } at; };

static enum ph_sasl_result
login_step(struct ph_sasl *x)
{
	struct login_state *s = ph_sasl_data(x);
	struct ph_str in = ph_sasl_input(x);

	if (s->at == LOGIN_BEGIN && in.n == 0) {
		s->at = LOGIN_NAME;
		return say(x, (struct ph_str){ "Username:", 9 });
	}
	if (s->at != LOGIN_PASSWORD) {
		/* some clients end the name with a NUL */
		if (in.n > 1 && in.p[in.n - 1] == '\0')
			in.n--;
		if (asker_claim(x, &s->asker, in) != 0)
			return malformed(x, "the name is empty, too long or not text");
		s->at = LOGIN_PASSWORD;
		return say(x, (struct ph_str){ "Password:", 9 });
	}
	if (in.n > 1 && in.p[in.n - 1] == '\0')
		in.n--;
	if (!password_valid(in))
		return malformed(x, "the password is empty, too long or not text");
	return asker_ask(x, &s->asker, in, NULL, password_checked);
}

/* --- SCRAM-SHA-256, -PLUS --- */

enum scram_at { SCRAM_BEGIN, SCRAM_FIRST, SCRAM_FINAL, SCRAM_LAST };

struct scram_state {
	struct asker asker;
	enum scram_at at;
	bool plus, known;
	char identity[NAME_LIMIT + 1];
	size_t identity_n;
	struct scram_server server;
};

/* The verifier as checker.c prints it: text, LF, the name as the checker writes it. */
static int
take_verifier(struct scram_state *s, struct ph_str bytes, struct user_verifier *out)
{
	const char *lf = bytes.n > 0 ? memchr(bytes.p, '\n', bytes.n) : NULL;
	struct ph_str text = { bytes.p, lf != NULL ? (size_t)(lf - bytes.p) : bytes.n };
	struct ph_str name = asker_name(&s->asker);

	if (lf != NULL && text.n + 1 < bytes.n)
		name = (struct ph_str){ lf + 1, bytes.n - text.n - 1 };
	if (name.n > NAME_LIMIT || user_verifier_parse(text, out) != 0)
		return PH_EINVAL;
	memcpy(s->identity, name.p, name.n);
	s->identity_n = name.n;
	return 0;
}

static void
scram_found(void *arg, int status, struct ph_str bytes)
{
	struct user_verifier v, real = { 0 };
	char nonce[SCRAM_NONCE_TEXT];
	struct ph_ticket ticket;
	struct ph_sasl *x = asked(arg, &ticket);
	const struct basic_cfg *cfg;
	struct scram_state *s;
	struct ph_str out;
	struct users *users;

	if (x == NULL)
		return;
	cfg = ph_sasl_config(x);
	s = ph_sasl_data(x);
	if (status != 0 && status != PH_EPERM) {
		(void)ph_sasl_done(ticket, later(x, status));
		return;
	}
	/* Always both, so that it takes the same time to make one up. */
	users = watched_get(cfg->state->users);
	users_fake(users, asker_name(&s->asker), &v);
	users_unref(&users);
	s->known = status == 0 && take_verifier(s, bytes, &real) == 0;
	if (s->known)
		v = real;
	s->at = SCRAM_FINAL;
	if (scram_nonce(nonce) != 0 || scram_server_challenge(&s->server, &v,
	    (struct ph_str){ nonce, strlen(nonce) }, &out) != 0)
		(void)ph_sasl_done(ticket, later(x, PH_EIO));
	else
		(void)ph_sasl_done(ticket, say(x, out));
	ph_wipe(&v, sizeof v);
	ph_wipe(&real, sizeof real);
}

/* Without a list: what can work.  An instance may be there for the smart host's login only. */
static bool
offers(const struct basic_cfg *cfg, const char *name)
{
	if (cfg->mechanisms.n == 0)
		return strcmp(name, "EXTERNAL") == 0 ||
		       (strncmp(name, "SCRAM", 5) == 0 ? cfg->users != NULL : cfg->passwords);
	for (size_t i = 0; i < cfg->mechanisms.n; i++)
		if (strcasecmp(cfg->mechanisms.v[i], name) == 0)
			return true;
	return false;
}

static enum ph_sasl_result
scram_first(struct ph_sasl *x, struct scram_state *s)
{
	const struct basic_cfg *cfg = ph_sasl_config(x);
	char authzid[NAME_LIMIT + 1];
	int rc = scram_server_first(&s->server, ph_sasl_input(x)), n;

	if (rc != 0)
		return malformed(x, rc == PH_ENOTSUP ? "wants an extension of SCRAM"
		    : "the first message of SCRAM is malformed");
	if (s->plus != (s->server.flag == SCRAM_BINDING))
		return malformed(x, s->plus ? "-PLUS without channel binding"
		    : "channel binding without -PLUS");
	/* RFC 5802 6: somebody in the middle has taken -PLUS out of what we offer. */
	if (s->server.flag == SCRAM_THINKS_NOT && ph_sasl_offers(x, "SCRAM-SHA-256-PLUS"))
		return denied(x, "the client did not see SCRAM-SHA-256-PLUS, which is offered: "
		    "somebody between changes what is said");
	if (asker_claim(x, &s->asker, (struct ph_str){ s->server.name, s->server.name_n }) != 0)
		return malformed(x, "the name is too long or not text");
	if (s->server.authzid_n > 0) {
		n = name_complete((struct ph_str){ s->server.authzid, s->server.authzid_n },
		    cfg->default_domain, authzid);
		if (n < 0 || !name_same((struct ph_str){ authzid, (size_t)n },
		    asker_name(&s->asker)))
			return denied(x, "wants to act for somebody else (authorization identity)");
	}
	return asker_ask(x, &s->asker, nothing, USERS_SCHEME, scram_found);
}

static enum ph_sasl_result
scram_final(struct ph_sasl *x, struct scram_state *s)
{
	uint8_t binding[SCRAM_BINDING_MAX];
	struct ph_str data = { (const char *)binding, 0 }, out;
	size_t n = sizeof binding;
	int rc;

	if (s->plus) {
		if (ph_sasl_binding(x, s->server.type, binding, &n) != 0 || n == 0 ||
		    n > sizeof binding)
			return denied(x, "wants a channel binding that this connection has not");
		data.n = n;
	}
	rc = scram_server_final(&s->server, ph_sasl_input(x), data, &out);
	if (rc == PH_ESTALE)
		return denied(x, s->plus ? "the channel binding differs: somebody stands between "
		    "the client and us" : "the header differs from that of the first message");
	if (rc == PH_EINVAL || rc == PH_ENOTSUP)
		return malformed(x, "the last message of SCRAM is malformed");
	if (rc != 0 && rc != PH_EPERM)
		return later(x, rc);
	if (rc != 0 || !s->known)
		return denied(x, wrong);
	s->at = SCRAM_LAST;
	return say(x, out);
}

static enum ph_sasl_result
scram_step(struct ph_sasl *x, bool plus)
{
	struct scram_state *s = ph_sasl_data(x);

	s->plus = plus;
	switch (s->at) {
	case SCRAM_BEGIN:
		s->at = SCRAM_FIRST;
		if (!ph_sasl_has_initial(x))
			return say(x, nothing);
		return scram_first(x, s);
	case SCRAM_FIRST:
		return scram_first(x, s);
	case SCRAM_FINAL:
		return scram_final(x, s);
	default:
		break;
	}
	/* SMTP has no place for the server's last word but one more challenge (RFC 4954 4). */
	if (ph_sasl_input(x).n > 0)
		return malformed(x, "something behind the end of SCRAM");
	return ph_sasl_identity(x, (struct ph_str){ s->identity, s->identity_n }) == 0
	       ? PH_SASL_DONE : denied(x, wrong);
}

static enum ph_sasl_result
scram_plain_step(struct ph_sasl *x)
{
	return scram_step(x, false);
}

static enum ph_sasl_result
scram_plus_step(struct ph_sasl *x)
{
	return scram_step(x, true);
}

/* --- EXTERNAL: who the client's certificate says --- */

struct external_state { bool begun; };

static enum ph_sasl_result
external_step(struct ph_sasl *x)
{
	struct external_state *s = ph_sasl_data(x);
	struct ph_str name = ph_sasl_certificate(x), wanted = ph_sasl_input(x);

	if (!ph_sasl_has_initial(x) && !s->begun) {
		s->begun = true;
		return say(x, nothing);
	}
	if (name.n == 0 || !name_valid(name))
		return denied(x, "there is no verified name in the client's certificate");
	ph_sasl_user(x, name);
	if (wanted.n > 0 && !name_same(wanted, name))
		return denied(x, "wants to be somebody else than its certificate says");
	return ph_sasl_identity(x, name) == 0 ? PH_SASL_DONE
	       : denied(x, "the name in the client's certificate cannot be a login");
}

/* --- what is offered --- */

static const struct ph_mechanism known[] = {
	{ .size = sizeof(struct ph_mechanism), .side = PH_SERVER, .name = "SCRAM-SHA-256-PLUS",
	  .client_first = true, .state_size = sizeof(struct scram_state), .strength = 0,
	  .step = scram_plus_step, .end = asker_end, .needs_tls = true },
	{ .size = sizeof(struct ph_mechanism), .side = PH_SERVER, .name = "SCRAM-SHA-256",
	  .client_first = true, .state_size = sizeof(struct scram_state),
	  .step = scram_plain_step, .end = asker_end },
	{ .size = sizeof(struct ph_mechanism), .side = PH_SERVER, .name = "PLAIN",
	  .cleartext = true, .client_first = true, .state_size = sizeof(struct plain_state),
	  .step = plain_step, .end = asker_end },
	{ .size = sizeof(struct ph_mechanism), .side = PH_SERVER, .name = "LOGIN",
	  .cleartext = true, .state_size = sizeof(struct login_state),
	  .step = login_step, .end = asker_end },
	{ .size = sizeof(struct ph_mechanism), .side = PH_SERVER, .name = "EXTERNAL",
	  .client_first = true, .state_size = sizeof(struct external_state),
	  .step = external_step, .needs_tls = true, .needs_certificate = true },
};
enum { KNOWN = sizeof known / sizeof known[0] };

int
mechanisms_check(struct ph_setup *setup, const struct basic_cfg *cfg)
{
	for (size_t i = 0; i < cfg->mechanisms.n; i++) {
		bool found = false;

		for (size_t k = 0; k < KNOWN; k++)
			found |= strcasecmp(cfg->mechanisms.v[i], known[k].name) == 0;
		if (!found)
			ph_complain(setup, "mechanisms", "there is no \"%s\" here; write some of "
			    "SCRAM-SHA-256-PLUS, SCRAM-SHA-256, PLAIN, LOGIN, EXTERNAL",
			    cfg->mechanisms.v[i]);
		if (strncasecmp(cfg->mechanisms.v[i], "SCRAM", 5) == 0 && cfg->users == NULL)
			ph_complain(setup, "mechanisms", "%s needs verifiers, which are in the file of "
			    "users: only", cfg->mechanisms.v[i]);
	}
	return 0;
}

int
mechanisms_setup(struct ph_setup *setup, const struct basic_cfg *cfg)
{
	int rc = 0;

	for (size_t k = 0; k < KNOWN && rc == 0; k++) {
		struct ph_mechanism m = known[k];

		if (!offers(cfg, m.name))
			continue;
		if (cfg->allow_cleartext)
			m.cleartext = false;
		rc = ph_provide_mechanism(setup, &m);
	}
	return rc;
}
