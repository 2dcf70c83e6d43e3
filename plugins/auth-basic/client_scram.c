/*
 * client_scram.c - builds and reads the messages of SCRAM-SHA-256 on the
 * client's side.
 *
 * What the host says is looked at as hostile: a nonce that is not a longer one
 * of ours, a handful of iterations (which would make a captured proof easy to
 * guess from) or millions of them end the login.
 */
#include "client_scram.h"

#include <posthouse/service.h>
#include <stdio.h>
#include <string.h>

static int
no(int rc, const char *text, const char **why)
{
	*why = text;
	return rc;
}

int
client_scram_begin(struct client_scram *s, struct ph_str name, const char *nonce,
                   enum client_scram_binding how, const char *type, char *out, size_t room,
                   const char **why)
{
	char quoted[3 * SCRAM_NAME_MAX + 1];
	int n;

	if (name.n == 0 || name.n > SCRAM_NAME_MAX || memchr(name.p, '\0', name.n) != NULL)
		return no(PH_EINVAL, "the user name is too long for SCRAM", why);
	n = scram_name_encode(name, quoted, sizeof quoted);
	if (n < 0)
		return no(n, "the user name cannot be written for SCRAM", why);
	if (how == BINDING_USED)
		(void)snprintf(s->gs2, sizeof s->gs2, "p=%.40s,,", type);
	else
		(void)snprintf(s->gs2, sizeof s->gs2, "%c,,", how == BINDING_NONE ? 'n' : 'y');
	(void)snprintf(s->nonce, sizeof s->nonce, "%s", nonce);
	n = snprintf(s->bare, sizeof s->bare, "n=%.*s,r=%s", n, quoted, s->nonce);
	if (n < 0 || (size_t)n >= sizeof s->bare)
		return no(PH_ELIMIT, "the user name is too long for SCRAM", why);
	s->bare_n = (size_t)n;
	n = snprintf(out, room, "%s%s", s->gs2, s->bare);
	return n < 0 || (size_t)n >= room ? no(PH_ELIMIT, "the message is too long", why) : n;
}

int
client_scram_challenge(struct client_scram *s, struct ph_str message, const char **why)
{
	struct ph_str rest, salt, count;
	size_t mine = strlen(s->nonce);

	if (message.n == 0 || message.n > sizeof s->server_first)
		return no(PH_EINVAL, "the host's first SCRAM message is empty or too long", why);
	memcpy(s->server_first, message.p, message.n);
	s->server_first_n = message.n;
	rest = (struct ph_str){ s->server_first, s->server_first_n };
	if (rest.p[0] == 'm')
		return no(PH_ENOTSUP, "the host wants an extension of SCRAM that nobody knows", why);
	if (scram_attr(&rest, 'r', &s->both) != 0 || scram_attr(&rest, 's', &salt) != 0 ||
	    scram_attr(&rest, 'i', &count) != 0 || scram_extensions(rest) != 0)
		return no(PH_EINVAL, "the host's first SCRAM message cannot be read", why);
	if (!scram_nonce_ok(s->both) || s->both.n <= mine ||
	    memcmp(s->both.p, s->nonce, mine) != 0)
		return no(PH_EPROTO, "the host's nonce is not a continuation of ours", why);
	if (scram_octets(salt, s->salt, sizeof s->salt, &s->salt_n) != 0 || s->salt_n == 0)
		return no(PH_EINVAL, "the host's salt cannot be read", why);
	if (scram_number(count, &s->iterations) != 0 ||
	    s->iterations > CLIENT_SCRAM_ITERATIONS_MAX)
		return no(PH_EINVAL, "the host wants more than a million iterations", why);
	/* RFC 7677 4: fewer would help who listens, and nobody else */
	if (s->iterations < SCRAM_ITERATIONS_MIN)
		return no(PH_EPROTO, "the host wants fewer than 4096 iterations, which would give "
		    "the password away to who listens", why);
	return 0;
}

/* "c=BASE64(gs2 header and binding data),r=NONCE" */
static int
without_proof(const struct client_scram *s, char *out, size_t room)
{
	char cbind[sizeof s->gs2 + sizeof s->binding], b64[4 * sizeof cbind / 3 + 8];
	size_t gs2 = strlen(s->gs2);
	int n;

	memcpy(cbind, s->gs2, gs2);
	memcpy(cbind + gs2, s->binding, s->binding_n);
	n = ph_base64_encode((struct ph_str){ cbind, gs2 + s->binding_n }, b64, sizeof b64);
	if (n < 0)
		return n;
	n = snprintf(out, room, "c=%s,r=%.*s", b64, (int)s->both.n, s->both.p);
	return n < 0 || (size_t)n >= room ? PH_ELIMIT : n;
}

static int
prove(struct client_scram *s, const uint8_t salted[SCRAM_KEY], struct ph_str auth_message,
      uint8_t proof[SCRAM_KEY])
{
	uint8_t client_key[SCRAM_KEY], stored_key[SCRAM_KEY], server_key[SCRAM_KEY];
	int rc = scram_keys(salted, client_key, stored_key, server_key);

	if (rc == 0)
		rc = scram_proof(client_key, stored_key, auth_message, proof);
	if (rc == 0)
		rc = scram_hmac(server_key, auth_message, s->expected);
	ph_wipe(client_key, sizeof client_key);
	ph_wipe(stored_key, sizeof stored_key);
	ph_wipe(server_key, sizeof server_key);
	return rc;
}

int
client_scram_final(struct client_scram *s, const uint8_t salted[SCRAM_KEY], char *out, size_t room,
                   const char **why)
{
	char last[SCRAM_MESSAGE_MAX], all[3 * SCRAM_MESSAGE_MAX], b64[4 * SCRAM_KEY / 3 + 8];
	uint8_t proof[SCRAM_KEY];
	int n = without_proof(s, last, sizeof last), all_n, rc;

	if (n < 0)
		return no(n, "the message is too long", why);
	all_n = snprintf(all, sizeof all, "%.*s,%.*s,%s", (int)s->bare_n, s->bare,
	    (int)s->server_first_n, s->server_first, last);
	if (all_n < 0 || (size_t)all_n >= sizeof all)
		return no(PH_ELIMIT, "the messages are too long", why);
	rc = prove(s, salted, (struct ph_str){ all, (size_t)all_n }, proof);
	if (rc == 0)
		rc = ph_base64_encode((struct ph_str){ (const char *)proof, SCRAM_KEY }, b64,
		    sizeof b64);
	if (rc < 0)
		return no(rc, "libcrypto cannot compute SHA-256", why);
	n = snprintf(out, room, "%s,p=%s", last, b64);
	return n < 0 || (size_t)n >= room ? no(PH_ELIMIT, "the message is too long", why) : n;
}

int
client_scram_verify(const struct client_scram *s, struct ph_str message, const char **why)
{
	struct ph_str rest = message, v;
	uint8_t signature[SCRAM_KEY];
	size_t n;

	if (message.n > 1 && message.p[0] == 'e') {
		static const struct { const char *word, *text; } known[] = {
			{ "unknown-user", "the host does not know the user" },
			{ "invalid-proof", "the host says that the password is wrong" },
			{ "channel-bindings-dont-match", "the host sees another TLS connection than "
			                                 "we do: somebody stands between" },
			{ "server-does-support-channel-binding", "the host offers SCRAM-SHA-256-PLUS, "
			                                         "but that was hidden on the way" },
		};

		if (scram_attr(&rest, 'e', &v) == 0)
			for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
				if (v.n == strlen(known[i].word) &&
				    memcmp(v.p, known[i].word, v.n) == 0)
					return no(PH_EPERM, known[i].text, why);
		return no(PH_EPERM, "the host refuses the proof", why);
	}
	if (scram_attr(&rest, 'v', &v) != 0 || scram_extensions(rest) != 0 ||
	    scram_octets(v, signature, sizeof signature, &n) != 0 || n != SCRAM_KEY)
		return no(PH_EINVAL, "the host's last SCRAM message cannot be read", why);
	if (!scram_same(signature, s->expected, SCRAM_KEY))
		return no(PH_EPROTO, "the host does not know the password's verifier: it is not who "
		    "it says, or the password is wrong", why);
	return 0;
}
