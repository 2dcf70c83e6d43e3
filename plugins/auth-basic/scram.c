/*
 * scram.c - SCRAM-SHA-256 as far as client and server have it in common: keys and proofs by
 * libcrypto, attributes and names of messages.
 *
 * Passwords are taken as the octets of their UTF-8.  RFC 5802 wants SASLprep first, which leaves
 * ASCII as it is; for other letters client and server agree as long as both write composed forms.
 */
#include "scram.h"

#include <string.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <posthouse/service.h>

/* --- RFC 5802 2.2, 3 --- */

int
scram_h(struct ph_str in, uint8_t out[SCRAM_KEY])
{
	unsigned n = SCRAM_KEY;

	return EVP_Digest(in.p, in.n, out, &n, EVP_sha256(), NULL) == 1 && n == SCRAM_KEY
	       ? 0 : PH_EIO;
}

int
scram_hmac(const uint8_t key[SCRAM_KEY], struct ph_str in, uint8_t out[SCRAM_KEY])
{
	unsigned n = SCRAM_KEY;

	return HMAC(EVP_sha256(), key, SCRAM_KEY, (const unsigned char *)in.p, in.n, out, &n) != NULL
	       && n == SCRAM_KEY ? 0 : PH_EIO;
}

int
scram_hi(struct ph_str password, struct ph_str salt, int64_t iterations, uint8_t out[SCRAM_KEY])
{
	if (iterations < 1 || iterations > SCRAM_ITERATIONS_MAX || salt.n == 0 ||
	    salt.n > SCRAM_SALT_MAX || password.n > INT32_MAX)
		return PH_EINVAL;
	/* Hi is PBKDF2 with one block of output. */
	return PKCS5_PBKDF2_HMAC(password.n > 0 ? password.p : "", (int)password.n,
	    (const unsigned char *)salt.p, (int)salt.n, (int)iterations, EVP_sha256(),
	    SCRAM_KEY, out) == 1 ? 0 : PH_EIO;
}

int
scram_keys(const uint8_t salted[SCRAM_KEY], uint8_t *client_key, uint8_t *stored_key,
           uint8_t *server_key)
{
	uint8_t client[SCRAM_KEY];
	int rc = scram_hmac(salted, (struct ph_str){ "Client Key", 10 }, client);

	if (rc == 0 && stored_key != NULL)
		rc = scram_h((struct ph_str){ (const char *)client, SCRAM_KEY }, stored_key);
	if (rc == 0 && server_key != NULL)
		rc = scram_hmac(salted, (struct ph_str){ "Server Key", 10 }, server_key);
	if (rc == 0 && client_key != NULL)
		memcpy(client_key, client, SCRAM_KEY);
	ph_wipe(client, sizeof client);
	return rc;
}

int
scram_proof(const uint8_t client_key[SCRAM_KEY], const uint8_t stored_key[SCRAM_KEY],
            struct ph_str auth_message, uint8_t out[SCRAM_KEY])
{
	uint8_t signature[SCRAM_KEY];
	int rc = scram_hmac(stored_key, auth_message, signature);

	for (size_t i = 0; rc == 0 && i < SCRAM_KEY; i++)
		out[i] = client_key[i] ^ signature[i];
	ph_wipe(signature, sizeof signature);
	return rc;
}

int
scram_verify(const uint8_t stored_key[SCRAM_KEY], struct ph_str auth_message,
             const uint8_t proof[SCRAM_KEY])
{
	uint8_t key[SCRAM_KEY], hash[SCRAM_KEY];
	int rc = scram_hmac(stored_key, auth_message, key);

	for (size_t i = 0; rc == 0 && i < SCRAM_KEY; i++)
		key[i] ^= proof[i];     /* ClientKey, if the proof is right */
	if (rc == 0)
		rc = scram_h((struct ph_str){ (const char *)key, SCRAM_KEY }, hash);
	if (rc == 0 && !scram_same(hash, stored_key, SCRAM_KEY))
		rc = PH_EPERM;
	ph_wipe(key, sizeof key);
	return rc;
}

bool
scram_same(const void *a, const void *b, size_t n)
{
	return CRYPTO_memcmp(a, b, n) == 0;
}

int
scram_random(void *out, size_t n)
{
	return n <= INT32_MAX && RAND_bytes(out, (int)n) == 1 ? 0 : PH_EIO;
}

int
scram_nonce(char out[SCRAM_NONCE_TEXT])
{
	char octets[24];
	int rc = scram_random(octets, sizeof octets);

	/* base64 has neither comma nor anything unprintable */
	if (rc == 0)
		rc = ph_base64_encode((struct ph_str){ octets, sizeof octets }, out,
		    SCRAM_NONCE_TEXT);
	return rc < 0 ? rc : 0;
}

/* --- messages --- */

int
scram_attr(struct ph_str *rest, char name, struct ph_str *out_value)
{
	const char *end;
	size_t n;

	if (rest->n < 2 || rest->p[0] != name || rest->p[1] != '=')
		return PH_EINVAL;
	end = memchr(rest->p, ',', rest->n);
	n = end != NULL ? (size_t)(end - rest->p) : rest->n;
	if (memchr(rest->p, '\0', n) != NULL)
		return PH_EINVAL;
	*out_value = (struct ph_str){ rest->p + 2, n - 2 };
	if (end == NULL)
		*rest = (struct ph_str){ rest->p + rest->n, 0 };
	else if (n + 1 == rest->n)
		return PH_EINVAL;       /* a comma with nothing behind it */
	else
		*rest = (struct ph_str){ end + 1, rest->n - n - 1 };
	return 0;
}

int
scram_extensions(struct ph_str rest)
{
	struct ph_str value;

	while (rest.n > 0) {
		char name = rest.p[0];

		if (!((name >= 'a' && name <= 'z') || (name >= 'A' && name <= 'Z')) ||
		    scram_attr(&rest, name, &value) != 0 || value.n == 0)
			return PH_EINVAL;
		if (name == 'm')
			return PH_ENOTSUP;
	}
	return 0;
}

int
scram_octets(struct ph_str base64, void *out, size_t room, size_t *out_n)
{
	int n = ph_base64_decode(base64, out, room);

	if (n < 0)
		return n;
	*out_n = (size_t)n;
	return 0;
}

bool
scram_nonce_ok(struct ph_str nonce)
{
	if (nonce.n == 0 || nonce.n > SCRAM_NONCE_MAX)
		return false;
	for (size_t i = 0; i < nonce.n; i++)
		if (nonce.p[i] < 0x21 || nonce.p[i] > 0x7E || nonce.p[i] == ',')
			return false;
	return true;
}

int
scram_number(struct ph_str text, int64_t *out)
{
	int64_t v = 0;

	if (text.n == 0 || text.n > 8 || text.p[0] == '0')
		return PH_EINVAL;
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] < '0' || text.p[i] > '9')
			return PH_EINVAL;
		v = v * 10 + (text.p[i] - '0');
	}
	if (v > SCRAM_ITERATIONS_MAX)
		return PH_EINVAL;
	*out = v;
	return 0;
}

int
scram_name_decode(struct ph_str in, char *out, size_t room)
{
	size_t n = 0;

	for (size_t i = 0; i < in.n; i++) {
		char c = in.p[i];

		if (c == ',' || c == '\0')
			return PH_EINVAL;
		if (c == '=') {
			if (in.n - i < 3 || (memcmp(in.p + i, "=2C", 3) != 0 &&
			    memcmp(in.p + i, "=3D", 3) != 0))
				return PH_EINVAL;
			c = in.p[i + 1] == '2' ? ',' : '=';
			i += 2;
		}
		if (n >= room)
			return PH_ELIMIT;
		out[n++] = c;
	}
	return n > 0 ? (int)n : PH_EINVAL;
}

int
scram_name_encode(struct ph_str in, char *out, size_t room)
{
	size_t n = 0;

	for (size_t i = 0; i < in.n; i++) {
		const char *as = in.p[i] == ',' ? "=2C" : in.p[i] == '=' ? "=3D" : NULL;
		size_t k = as != NULL ? 3 : 1;

		if (in.p[i] == '\0')
			return PH_EINVAL;
		if (k > room - n)
			return PH_ELIMIT;
		memcpy(out + n, as != NULL ? as : &in.p[i], k);
		n += k;
	}
	return n > 0 ? (int)n : PH_EINVAL;
}
