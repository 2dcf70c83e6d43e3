/*
 * tickets.c - the keys that session tickets are sealed with (RFC 5077 4, RFC 8446 4.6.1).
 *
 * All workers use the same keys, so a client may come back to any of them.  A new key is
 * made when the newest is as old as a ticket may get; tickets of the one before are taken
 * and exchanged.  So a key is gone, and what was recorded cannot be opened with it, two
 * lives of a ticket after it was made.
 */
#include <string.h>
#include <time.h>
#include <openssl/core_names.h>
#include <openssl/rand.h>

#include "tls.h"

static int64_t
seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + 1;           /* 0 is for keys not made yet */
}

int
tls_tickets_init(struct tls_tickets *t)
{
	pthread_mutex_init(&t->lock, NULL);
	t->cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
	return t->cipher != NULL ? 0 : PH_ENOTSUP;
}

void
tls_tickets_done(struct tls_tickets *t)
{
	tls_tickets_forget(t);
	EVP_CIPHER_free(t->cipher);
	pthread_mutex_destroy(&t->lock);
}

void
tls_tickets_forget(struct tls_tickets *t)
{
	pthread_mutex_lock(&t->lock);
	ph_wipe(t->keys, sizeof t->keys);
	pthread_mutex_unlock(&t->lock);
}

/* Drops what is too old; false when no new key can be made. */
static bool
rotate(struct tls_tickets *t, int64_t now, bool want_new)
{
	struct tls_ticket_key fresh = { .born = now };

	for (size_t i = 0; i < 3; i++)
		if (t->keys[i].born != 0 && now - t->keys[i].born >= 2 * TLS_TICKET_LIFE)
			ph_wipe(&t->keys[i], sizeof t->keys[i]);
	if (!want_new || (t->keys[0].born != 0 && now - t->keys[0].born < TLS_TICKET_LIFE))
		return true;
	if (RAND_bytes(fresh.name, sizeof fresh.name) != 1 ||
	    RAND_priv_bytes(fresh.aes, sizeof fresh.aes) != 1 ||
	    RAND_priv_bytes(fresh.mac, sizeof fresh.mac) != 1)
		return false;
	memmove(&t->keys[1], &t->keys[0], 2 * sizeof t->keys[0]);
	t->keys[0] = fresh;
	ph_wipe(&fresh, sizeof fresh);
	return true;
}

/* A copy of the key to use; 0 none, 1 the newest, 2 an older one. */
static int
key_for(struct tls_tickets *t, const uint8_t *name, struct tls_ticket_key *out)
{
	int found = 0;

	pthread_mutex_lock(&t->lock);
	if (rotate(t, seconds(), name == NULL)) {
		for (size_t i = 0; i < 3 && found == 0; i++) {
			if (t->keys[i].born == 0 ||
			    (name != NULL && memcmp(name, t->keys[i].name, 16) != 0))
				continue;
			*out = t->keys[i];
			found = i == 0 ? 1 : 2;
		}
	}
	pthread_mutex_unlock(&t->lock);
	return found;
}

static int
ticket_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
           EVP_MAC_CTX *mac, int seal)
{
	struct tls_tickets *t = &tls_layer_of(ssl)->tw->cfg->shared->tickets;
	struct tls_ticket_key k;
	char digest[] = "SHA256";
	int found = key_for(t, seal ? NULL : name, &k);

	if (found == 0)
		return seal ? -1 : 0;   /* without random numbers nothing goes; else a full handshake */
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, k.mac, sizeof k.mac),
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_end(),
	};
	bool ok = true;
	if (seal) {
		memcpy(name, k.name, sizeof k.name);
		ok = RAND_bytes(iv, EVP_CIPHER_get_iv_length(t->cipher)) == 1;
	}
	ok = ok && EVP_CipherInit_ex2(cipher, t->cipher, k.aes, iv, seal, NULL) == 1 &&
	     EVP_MAC_CTX_set_params(mac, params) == 1;
	ph_wipe(&k, sizeof k);
	return ok ? found : -1;
}

/* A client's certificate must still be valid when its session goes on. */
static SSL_TICKET_RETURN
ticket_opened(SSL *ssl, SSL_SESSION *session, const unsigned char *name, size_t n,
              SSL_TICKET_STATUS status, void *arg)
{
	const X509 *peer = session != NULL ? SSL_SESSION_get0_peer(session) : NULL;

	(void)name;
	(void)n;
	(void)arg;
	switch (status) {
	case SSL_TICKET_SUCCESS:
	case SSL_TICKET_SUCCESS_RENEW:
		if (peer != NULL && X509_cmp_current_time(X509_get0_notAfter(peer)) <= 0)
			return SSL_TICKET_RETURN_IGNORE_RENEW;
		/* RFC 8446 C.4: a ticket is used once, so each connection gets the next one. */
		return status == SSL_TICKET_SUCCESS && SSL_version(ssl) < TLS1_3_VERSION
		           ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
	case SSL_TICKET_EMPTY:
	case SSL_TICKET_NO_DECRYPT:
		return SSL_TICKET_RETURN_IGNORE_RENEW;
	default:
		return SSL_TICKET_RETURN_ABORT;
	}
}

static int
ticket_made(SSL *ssl, void *arg)
{
	(void)ssl;
	(void)arg;
	return 1;
}

void
tls_tickets_serve(struct tls_tickets *t, SSL_CTX *ctx)
{
	(void)t;
	SSL_CTX_set_timeout(ctx, TLS_TICKET_LIFE);
	SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, ticket_key);
	SSL_CTX_set_session_ticket_cb(ctx, ticket_made, ticket_opened, NULL);
}
