/*
 * scram_server.c - the server's side of one SCRAM-SHA-256 exchange.
 */
#include "scram_server.h"

#include <stdio.h>
#include <string.h>

#include <posthouse/service.h>

/* gs2-header = gs2-cbind-flag "," [ "a=" saslname ] "," (RFC 5802 7).  Takes it off *rest. */
static int
read_gs2(struct scram_server *s, struct ph_str *rest)
{
	struct ph_str v;
	int n;

	if (rest->n >= 2 && rest->p[0] == 'p') {
		if (scram_attr(rest, 'p', &v) != 0 || v.n == 0 || v.n > SCRAM_TYPE_MAX)
			return PH_EINVAL;
		for (size_t i = 0; i < v.n; i++)
			if (!((v.p[i] >= 'a' && v.p[i] <= 'z') || (v.p[i] >= 'A' && v.p[i] <= 'Z') ||
			    (v.p[i] >= '0' && v.p[i] <= '9') || v.p[i] == '.' || v.p[i] == '-'))
				return PH_EINVAL;
		memcpy(s->type, v.p, v.n);
		s->type[v.n] = '\0';
		s->flag = SCRAM_BINDING;
	} else if (rest->n >= 2 && (rest->p[0] == 'n' || rest->p[0] == 'y') && rest->p[1] == ',') {
		s->flag = rest->p[0] == 'y' ? SCRAM_THINKS_NOT : SCRAM_NO_BINDING;
		*rest = (struct ph_str){ rest->p + 2, rest->n - 2 };
	} else {
		return PH_EINVAL;
	}
	s->authzid_n = 0;
	if (rest->n > 0 && rest->p[0] == 'a') {
		if (scram_attr(rest, 'a', &v) != 0 ||
		    (n = scram_name_decode(v, s->authzid, sizeof s->authzid)) < 0)
			return PH_EINVAL;
		s->authzid_n = (size_t)n;
	} else if (rest->n > 0 && rest->p[0] == ',') {
		*rest = (struct ph_str){ rest->p + 1, rest->n - 1 };
	} else {
		return PH_EINVAL;
	}
	return 0;
}

int
scram_server_first(struct scram_server *s, struct ph_str message)
{
	struct ph_str rest = message, v;
	int rc, n;

	if (message.n == 0 || message.n > SCRAM_FIRST_MAX)
		return PH_EINVAL;
	if ((rc = read_gs2(s, &rest)) != 0)
		return rc;
	memcpy(s->first, message.p, message.n);
	s->first_n = message.n;
	s->gs2_n = message.n - rest.n;
	if (rest.n >= 2 && rest.p[0] == 'm' && rest.p[1] == '=')
		return PH_ENOTSUP;      /* reserved-mext (RFC 5802 5.1) */
	if (scram_attr(&rest, 'n', &v) != 0 ||
	    (n = scram_name_decode(v, s->name, sizeof s->name)) < 0)
		return PH_EINVAL;
	s->name_n = (size_t)n;
	if (scram_attr(&rest, 'r', &v) != 0 || !scram_nonce_ok(v) ||
	    v.n > SCRAM_NONCE_MAX - SCRAM_NONCE_TEXT)
		return PH_EINVAL;
	memcpy(s->nonce, v.p, v.n);
	s->client_nonce_n = s->nonce_n = v.n;
	return scram_extensions(rest);
}

int
scram_server_challenge(struct scram_server *s, const struct user_verifier *v, struct ph_str nonce,
                       struct ph_str *out)
{
	char salt[100];
	int n;

	if (!scram_nonce_ok(nonce) || nonce.n > sizeof s->nonce - s->client_nonce_n)
		return PH_EINVAL;
	memcpy(s->nonce + s->client_nonce_n, nonce.p, nonce.n);
	s->nonce_n = s->client_nonce_n + nonce.n;
	s->verifier = *v;
	if (ph_base64_encode((struct ph_str){ (const char *)v->salt, v->salt_n }, salt,
	    sizeof salt) < 0)
		return PH_ELIMIT;
	n = snprintf(s->out, sizeof s->out, "r=%.*s,s=%s,i=%lld", (int)s->nonce_n, s->nonce, salt,
	    (long long)v->iterations);
	if (n < 0 || (size_t)n >= sizeof s->out)
		return PH_ELIMIT;
	s->out_n = (size_t)n;
	*out = (struct ph_str){ s->out, s->out_n };
	return 0;
}

/* c= is base64 of the header as it came first, and what the channel's ends both know. */
static int
check_binding(const struct scram_server *s, struct ph_str c, struct ph_str binding)
{
	char raw[SCRAM_FIRST_MAX + SCRAM_BINDING_MAX];
	char text[(sizeof raw + 2) / 3 * 4 + 1];
	int n;

	if (binding.n > SCRAM_BINDING_MAX)
		return PH_ELIMIT;
	memcpy(raw, s->first, s->gs2_n);
	if (binding.n > 0)
		memcpy(raw + s->gs2_n, binding.p, binding.n);
	n = ph_base64_encode((struct ph_str){ raw, s->gs2_n + binding.n }, text, sizeof text);
	if (n < 0)
		return n;
	return c.n == (size_t)n && scram_same(c.p, text, c.n) ? 0 : PH_ESTALE;
}

/* client-final-message without the proof is *out_before, the proof *out_p. */
static int
read_final(struct ph_str message, struct ph_str *c, struct ph_str *r, struct ph_str *out_before,
           struct ph_str *out_p)
{
	struct ph_str rest = message, v;

	if (scram_attr(&rest, 'c', c) != 0 || scram_attr(&rest, 'r', r) != 0)
		return PH_EINVAL;
	while (rest.n > 0 && rest.p[0] != 'p') {
		char name = rest.p[0];

		if (!((name >= 'a' && name <= 'z') || (name >= 'A' && name <= 'Z')) ||
		    scram_attr(&rest, name, &v) != 0 || v.n == 0)
			return PH_EINVAL;
		if (name == 'm')
			return PH_ENOTSUP;
	}
	if (rest.n == 0)
		return PH_EINVAL;
	*out_before = (struct ph_str){ message.p, (size_t)(rest.p - message.p) - 1 };
	return scram_attr(&rest, 'p', out_p) == 0 && rest.n == 0 ? 0 : PH_EINVAL;
}

/* AuthMessage (RFC 5802 3). */
static int
auth_message(const struct scram_server *s, struct ph_str before, char *out, size_t room,
             size_t *out_n)
{
	int n = snprintf(out, room, "%.*s,%.*s,%.*s", (int)(s->first_n - s->gs2_n),
	    s->first + s->gs2_n, (int)s->out_n, s->out, (int)before.n, before.p);

	if (n < 0 || (size_t)n >= room)
		return PH_EINVAL;
	*out_n = (size_t)n;
	return 0;
}

int
scram_server_final(struct scram_server *s, struct ph_str message, struct ph_str binding,
                   struct ph_str *out)
{
	char auth[SCRAM_FIRST_MAX + 2 * SCRAM_MESSAGE_MAX + 8], b64[48];
	uint8_t proof[SCRAM_KEY], signature[SCRAM_KEY];
	struct ph_str c, r, before, p, am = { auth, 0 };
	size_t proof_n;
	int rc, n;

	if (message.n == 0 || message.n > SCRAM_MESSAGE_MAX)
		return PH_EINVAL;
	if ((rc = read_final(message, &c, &r, &before, &p)) != 0)
		return rc;
	if (scram_octets(p, proof, sizeof proof, &proof_n) != 0 || proof_n != SCRAM_KEY)
		return PH_EINVAL;
	if (r.n != s->nonce_n || !scram_same(r.p, s->nonce, r.n))
		return PH_EPERM;
	if ((rc = check_binding(s, c, binding)) != 0 ||
	    (rc = auth_message(s, before, auth, sizeof auth, &am.n)) != 0 ||
	    (rc = scram_verify(s->verifier.stored, am, proof)) != 0 ||
	    (rc = scram_hmac(s->verifier.server, am, signature)) != 0)
		return rc;
	if (ph_base64_encode((struct ph_str){ (const char *)signature, SCRAM_KEY }, b64,
	    sizeof b64) < 0)
		return PH_ELIMIT;
	n = snprintf(s->out, sizeof s->out, "v=%s", b64);
	s->out_n = n > 0 ? (size_t)n : 0;
	*out = (struct ph_str){ s->out, s->out_n };
	return 0;
}
