/*
 * client.c - logging in at a smart host: PLAIN (RFC 4616), LOGIN
 * (draft-murchison-sasl-login), CRAM-MD5 (RFC 2195), EXTERNAL (RFC 4422 A).
 *
 * Name and password are the next hop's; nothing of them is kept here, and
 * what was put together from them is wiped before the step returns.
 */
#include "client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

/* A name and a password of this length fit any line (RFC 4616 2 has no bound). */
enum { NAME_MAX_OCTETS = 1000, PASSWORD_MAX_OCTETS = 4000, MD5_OCTETS = 16 };

struct client_state { int said; };

enum ph_sasl_result
client_denied(struct ph_sasl *x, const char *why)
{
	ph_sasl_problem(x, why);
	return PH_SASL_DENIED;
}

enum ph_sasl_result
client_malformed(struct ph_sasl *x, const char *why)
{
	ph_sasl_problem(x, why);
	return PH_SASL_MALFORMED;
}

bool
client_credentials(struct ph_sasl *x, struct ph_str *out_name, struct ph_str *out_password)
{
	const struct ph_next_hop *hop = ph_sasl_hop(x);
	const char *why = NULL;
	size_t n = hop->login != NULL ? strlen(hop->login) : 0;

	if (n == 0)
		why = "there is no user name to log in with";
	else if (n > NAME_MAX_OCTETS || hop->password.n > PASSWORD_MAX_OCTETS)
		why = "the user name or the password is too long";
	else if (hop->password.n == 0)
		why = "there is no password to log in with";
	else if (memchr(hop->password.p, '\0', hop->password.n) != NULL)
		why = "the password contains a NUL";
	if (why != NULL) {
		ph_sasl_problem(x, why);
		return false;
	}
	*out_name = (struct ph_str){ hop->login, n };
	*out_password = (struct ph_str){ hop->password.p, hop->password.n };
	return true;
}

static enum ph_sasl_result
answer(struct ph_sasl *x, struct ph_str text, enum ph_sasl_result result)
{
	return ph_sasl_output(x, text) == 0 ? result : client_denied(x, "the answer is too long");
}

/* Nothing is left to be said. */
static enum ph_sasl_result
asked_too_often(struct ph_sasl *x)
{
	return client_malformed(x, "the host asks on when all has been said");
}

/* --- PLAIN --- */

static enum ph_sasl_result
plain_step(struct ph_sasl *x)
{
	struct client_state *st = ph_sasl_data(x);
	char text[1 + NAME_MAX_OCTETS + 1 + PASSWORD_MAX_OCTETS];
	struct ph_str name, password;
	enum ph_sasl_result result;

	if (st->said++ > 0)
		return asked_too_often(x);
	if (!client_credentials(x, &name, &password))
		return PH_SASL_DENIED;
	text[0] = '\0';         /* no other identity than that of the name */
	memcpy(text + 1, name.p, name.n);
	text[1 + name.n] = '\0';
	memcpy(text + 2 + name.n, password.p, password.n);
	result = answer(x, (struct ph_str){ text, 2 + name.n + password.n }, PH_SASL_DONE);
	ph_wipe(text, sizeof text);
	return result;
}

/* --- LOGIN: the host prompts, in words that differ and mean the same --- */

static enum ph_sasl_result
login_step(struct ph_sasl *x)
{
	struct client_state *st = ph_sasl_data(x);
	struct ph_str name, password;

	if (!client_credentials(x, &name, &password))
		return PH_SASL_DENIED;
	switch (st->said++) {
	case 0:  return PH_SASL_MORE;
	case 1:  return answer(x, name, PH_SASL_MORE);
	case 2:  return answer(x, password, PH_SASL_DONE);
	default: return asked_too_often(x);
	}
}

/* --- CRAM-MD5 --- */

static enum ph_sasl_result
cram_step(struct ph_sasl *x)
{
	static const char hex[] = "0123456789abcdef";
	struct client_state *st = ph_sasl_data(x);
	struct ph_str name, password, challenge = ph_sasl_input(x);
	char text[NAME_MAX_OCTETS + 1 + 2 * MD5_OCTETS];
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	if (st->said++ == 0)
		return PH_SASL_MORE;
	if (st->said > 2)
		return asked_too_often(x);
	if (!client_credentials(x, &name, &password))
		return PH_SASL_DENIED;
	if (challenge.n == 0)
		return client_malformed(x, "the host's challenge is empty");
	if (HMAC(EVP_md5(), password.p, (int)password.n, (const unsigned char *)challenge.p,
	        challenge.n, digest, &n) == NULL || n != MD5_OCTETS)
		return client_denied(x, "MD5 is not allowed on this machine (FIPS mode)");
	memcpy(text, name.p, name.n);
	text[name.n] = ' ';
	for (unsigned i = 0; i < n; i++) {
		text[name.n + 1 + 2 * i] = hex[digest[i] >> 4];
		text[name.n + 2 + 2 * i] = hex[digest[i] & 15];
	}
	return answer(x, (struct ph_str){ text, name.n + 1 + 2 * n }, PH_SASL_DONE);
}

/* --- EXTERNAL: the certificate has said it --- */

static enum ph_sasl_result
external_step(struct ph_sasl *x)
{
	struct client_state *st = ph_sasl_data(x);
	const struct ph_next_hop *hop = ph_sasl_hop(x);
	const char *name = hop->login != NULL ? hop->login : "";

	if (st->said++ > 0)
		return asked_too_often(x);
	if (hop->tls_certificate == NULL)
		return client_denied(x, "there is no certificate to log in with; set "
		    "tls-certificate");
	return answer(x, (struct ph_str){ name, strlen(name) }, PH_SASL_DONE);
}

/* --- all of them --- */

#define MECHANISM(id, text, step_fn, how_strong, ...) \
	static const struct ph_mechanism id = { \
		.size = sizeof id, .side = PH_CLIENT, .name = (text), .step = (step_fn), \
		.strength = (how_strong), .state_size = sizeof(struct client_state), __VA_ARGS__ }

MECHANISM(client_plain, "PLAIN", plain_step, STRENGTH_PLAIN, .cleartext = true,
    .client_first = true);
MECHANISM(client_login, "LOGIN", login_step, STRENGTH_LOGIN, .cleartext = true);
MECHANISM(client_cram, "CRAM-MD5", cram_step, STRENGTH_CRAM_MD5, .client_first = false);
MECHANISM(client_external, "EXTERNAL", external_step, STRENGTH_LISTED, .needs_tls = true,
    .client_first = true);

int
basic_client_setup(struct ph_setup *setup)
{
	static const struct ph_mechanism *const all[] = {
		&client_scram_plus, &client_scram, &client_cram, &client_plain, &client_login,
		&client_external,
	};

	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
		int rc = ph_provide_mechanism(setup, all[i]);

		if (rc != 0)
			return rc;
	}
	return 0;
}
