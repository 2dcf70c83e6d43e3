/*
 * client_exchange.c - SCRAM-SHA-256 and SCRAM-SHA-256-PLUS as the core's
 * exchange on the client's side.
 *
 * The iterations that the host asks for are counted on another thread, in a
 * struct of their own that outlives an exchange whose connection was lost.
 */
#include "client.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/crypto.h>

#include "client_scram.h"

struct counting {
	struct ph_sasl *x;              /* NULL: the exchange is over */
	struct ph_ticket ticket;
	char *password;
	size_t password_n;
	uint8_t salt[SCRAM_SALT_MAX];
	size_t salt_n;
	int64_t iterations;
	uint8_t salted[SCRAM_KEY];
	int rc;
};

enum stage { STAGE_FIRST, STAGE_CHALLENGE, STAGE_PROOF, STAGE_OVER };

struct exchange { enum stage stage; struct counting *counting; struct client_scram scram; };

static enum ph_sasl_result
over(struct ph_sasl *x, int rc, const char *why)
{
	return rc == PH_EPERM || rc == PH_EPROTO ? client_denied(x, why) : client_malformed(x, why);
}

/* --- first message --- */

static bool
listed(const struct ph_next_hop *hop, const char *name)
{
	for (size_t i = 0; i < hop->mechanisms.n; i++)
		if (strcasecmp(hop->mechanisms.v[i], name) == 0)
			return true;
	return hop->mechanisms.n == 0;
}

/* RFC 9266 4: the exporter, which every version has; what older servers know instead. */
static const char *
bind_to(struct ph_sasl *x, struct client_scram *s)
{
	static const char *const types[] = { "tls-exporter", "tls-unique", "tls-server-end-point" };

	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
		size_t n = sizeof s->binding;

		if (ph_sasl_binding(x, types[i], s->binding, &n) != 0 || n > sizeof s->binding)
			continue;
		s->binding_n = n;
		return types[i];
	}
	return NULL;
}

static enum ph_sasl_result
first(struct ph_sasl *x, bool plus)
{
	struct exchange *e = ph_sasl_data(x);
	enum client_scram_binding how = BINDING_NONE;
	char nonce[SCRAM_NONCE_TEXT], text[SCRAM_MESSAGE_MAX];
	const char *why = "", *type = NULL;
	struct ph_str name, password;
	int n;

	if (!client_credentials(x, &name, &password))
		return PH_SASL_DENIED;
	if (plus) {
		type = bind_to(x, &e->scram);
		if (type == NULL)
			return client_denied(x, "the TLS connection cannot be bound to; take "
			    "SCRAM-SHA-256-PLUS out of mechanisms");
		how = BINDING_USED;
	} else if (ph_sasl_is_secure(x) && listed(ph_sasl_hop(x), "SCRAM-SHA-256-PLUS")) {
		/* It would have been chosen, had the host offered it. */
		how = BINDING_NOT_OFFERED;
	}
	if (scram_nonce(nonce) != 0)
		return client_denied(x, "libcrypto has no random numbers");
	n = client_scram_begin(&e->scram, name, nonce, how, type, text, sizeof text, &why);
	if (n < 0)
		return over(x, n, why);
	e->stage = STAGE_CHALLENGE;
	return ph_sasl_output(x, (struct ph_str){ text, (size_t)n }) == 0
	    ? PH_SASL_MORE : client_denied(x, "the message is too long");
}

/* --- the proof --- */

static void
count(void *arg)
{
	struct counting *c = arg;

	c->rc = scram_hi((struct ph_str){ c->password, c->password_n },
	    (struct ph_str){ (const char *)c->salt, c->salt_n }, c->iterations, c->salted);
	/* The pool's threads outlive libcrypto, which would never get its own back from them. */
	OPENSSL_thread_stop();
}

static void
counting_free(struct counting *c)
{
	ph_wipe(c->password, c->password_n);
	free(c->password);
	ph_wipe(c, sizeof *c);
	free(c);
}

static enum ph_sasl_result
prove(struct ph_sasl *x, const struct counting *c)
{
	struct exchange *e = ph_sasl_data(x);
	char text[SCRAM_MESSAGE_MAX];
	const char *why = "libcrypto cannot compute PBKDF2";
	int n = c->rc;

	if (n == 0)
		n = client_scram_final(&e->scram, c->salted, text, sizeof text, &why);
	if (n < 0 || ph_sasl_output(x, (struct ph_str){ text, (size_t)n }) != 0)
		return client_denied(x, why);
	e->stage = STAGE_PROOF;
	return PH_SASL_MORE;
}

static void
counted(void *arg)
{
	struct counting *c = arg;

	if (c->x != NULL) {
		((struct exchange *)ph_sasl_data(c->x))->counting = NULL;
		(void)ph_sasl_done(c->ticket, prove(c->x, c));  /* it waits: end has not run */
	}
	counting_free(c);
}

static enum ph_sasl_result
challenged(struct ph_sasl *x)
{
	struct exchange *e = ph_sasl_data(x);
	struct ph_str name, password;
	struct counting *c;
	const char *why = "";
	int rc = client_scram_challenge(&e->scram, ph_sasl_input(x), &why);

	if (rc != 0)
		return over(x, rc, why);
	if (!client_credentials(x, &name, &password))
		return PH_SASL_DENIED;
	c = calloc(1, sizeof *c);
	if (c != NULL)
		c->password = malloc(password.n);
	if (c == NULL || c->password == NULL) {
		free(c);
		ph_sasl_problem(x, "out of memory");
		return PH_SASL_TRY_LATER;
	}
	memcpy(c->password, password.p, password.n);
	c->password_n = password.n;
	memcpy(c->salt, e->scram.salt, e->scram.salt_n);
	c->salt_n = e->scram.salt_n;
	c->iterations = e->scram.iterations;
	c->x = x;
	c->ticket = ph_sasl_ticket(x);
	rc = ph_work(ph_sasl_worker(x), count, counted, c);
	if (rc != 0) {
		counting_free(c);
		ph_sasl_problem(x, ph_strerror(rc));
		return PH_SASL_TRY_LATER;
	}
	e->counting = c;
	return PH_SASL_WAIT;
}

/* --- the exchange --- */

static enum ph_sasl_result
step(struct ph_sasl *x, bool plus)
{
	struct exchange *e = ph_sasl_data(x);
	const char *why = "";
	int rc;

	switch (e->stage) {
	case STAGE_FIRST:
		return first(x, plus);
	case STAGE_CHALLENGE:
		return challenged(x);
	case STAGE_PROOF:
		rc = client_scram_verify(&e->scram, ph_sasl_input(x), &why);
		if (rc != 0)
			return over(x, rc, why);
		e->stage = STAGE_OVER;
		/* RFC 4954 4: it came with a 334, which wants an empty answer */
		return ph_sasl_output(x, (struct ph_str){ "", 0 }) == 0 ? PH_SASL_DONE
		    : PH_SASL_TRY_LATER;
	default:
		return client_malformed(x, "the host asks on when all has been said");
	}
}

static enum ph_sasl_result
scram_step(struct ph_sasl *x)
{
	return step(x, false);
}

static enum ph_sasl_result
scram_plus_step(struct ph_sasl *x)
{
	return step(x, true);
}

static void
scram_end(struct ph_sasl *x)
{
	struct exchange *e = ph_sasl_data(x);

	if (e->counting != NULL)
		e->counting->x = NULL;
	e->counting = NULL;
}

const struct ph_mechanism client_scram = {
	.size = sizeof client_scram, .side = PH_CLIENT, .name = "SCRAM-SHA-256",
	.client_first = true, .strength = STRENGTH_SCRAM, .state_size = sizeof(struct exchange),
	.step = scram_step, .end = scram_end,
};
const struct ph_mechanism client_scram_plus = {
	.size = sizeof client_scram_plus, .side = PH_CLIENT, .name = "SCRAM-SHA-256-PLUS",
	.client_first = true, .strength = STRENGTH_SCRAM_PLUS, .needs_tls = true,
	.state_size = sizeof(struct exchange), .step = scram_plus_step, .end = scram_end,
};
