/*
 * server.c - inbound: which certificate is shown, which versions this client may use at
 * this listener, and who a client's certificate makes it.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tls.h"

/* --- which certificate: by the name that the client asks for (RFC 6066 3) --- */

/* RFC 6125 6.4.3: a wildcard is one whole label, the first. */
static bool
name_matches(const char *pattern, const char *name)
{
	const char *dot;

	if (strncmp(pattern, "*.", 2) != 0)
		return strcmp(pattern, name) == 0;
	dot = strchr(name, '.');
	return dot != NULL && dot != name && strcmp(pattern + 1, dot) == 0;
}

static SSL_CTX *
context_for(const struct tls_material *m, const char *name)
{
	SSL_CTX *wild = NULL;

	for (size_t i = 0; i < m->n_certs; i++) {
		const struct tls_cert *c = &m->certs[i];

		for (size_t k = 0; k < c->n_names; k++) {
			if (!name_matches(c->names[k], name))
				continue;
			if (c->names[k][0] != '*')
				return c->ctx;
			if (wild == NULL)
				wild = c->ctx;
		}
	}
	return wild;
}

/* A name that no certificate has gets the first: most clients do not look. */
static int
on_name(SSL *ssl, int *alert, void *arg)
{
	struct tls_layer *y = tls_layer_of(ssl);
	const char *asked = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
	char name[256];
	size_t n = asked != NULL ? strlen(asked) : 0;
	SSL_CTX *ctx;

	(void)alert;
	(void)arg;
	if (n > 0 && asked[n - 1] == '.')
		n--;
	if (n == 0 || n >= sizeof name)
		return SSL_TLSEXT_ERR_NOACK;
	for (size_t i = 0; i < n; i++)
		name[i] = (char)tolower((unsigned char)asked[i]);
	name[n] = '\0';
	ctx = context_for(y->material, name);
	if (ctx == NULL)
		return SSL_TLSEXT_ERR_NOACK;
	if (ctx != SSL_get_SSL_CTX(ssl))
		SSL_set_SSL_CTX(ssl, ctx);
	return SSL_TLSEXT_ERR_OK;
}

/* Notes what the client could have spoken, for the words of a failure. */
static int
on_hello(SSL *ssl, int *alert, void *arg)
{
	struct tls_layer *y = tls_layer_of(ssl);
	const unsigned char *p;
	size_t n;

	(void)alert;
	(void)arg;
	y->their_version = (uint16_t)SSL_client_hello_get0_legacy_version(ssl);
	/* RFC 8446 4.2.1: a list of two-byte versions behind its length. */
	if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_supported_versions, &p, &n) == 1) {
		for (size_t i = 1; i + 1 < n; i += 2) {
			uint16_t v = (uint16_t)(p[i] << 8 | p[i + 1]);

			if (v > y->their_version && v <= TLS1_3_VERSION)        /* not GREASE */
				y->their_version = v;
		}
	}
	return SSL_CLIENT_HELLO_SUCCESS;
}

void
tls_server_hooks(SSL_CTX *ctx)
{
	SSL_CTX_set_tlsext_servername_callback(ctx, on_name);
	SSL_CTX_set_client_hello_cb(ctx, on_hello, NULL);
}

/* --- who may use old versions --- */

static int
legacy_minimum(const struct tls_cfg *cfg, const struct ph_secure_want *want)
{
	const struct tls_legacy *l = cfg->legacy.v;
	int minimum = cfg->minimum;

	if (want->listener == NULL || want->client == NULL)
		return minimum;
	for (size_t i = 0; i < cfg->legacy.n; i++)
		if (strcmp(l[i].listener, want->listener) == 0 && l[i].minimum < minimum &&
		    ph_network_has(&l[i].clients, want->client))
			minimum = l[i].minimum;
	return minimum;
}

/* TLS 1.0 and 1.1 sign with MD5 and SHA-1, which only security level 0 lets pass. */
static bool
let_in_old(struct tls_layer *y, int minimum)
{
	y->legacy = true;
	SSL_set_security_level(y->ssl, 0);
	return SSL_set_min_proto_version(y->ssl, minimum) == 1 &&
	       (minimum >= TLS1_2_VERSION ||
	        SSL_set_cipher_list(y->ssl, "DEFAULT:@SECLEVEL=0") == 1);
}

/* --- clients' certificates --- */

static int
certificates_wanted(const struct tls_cfg *cfg, const char *listener)
{
	if (cfg->client_certificates == TLS_CERT_OFF || cfg->client_listeners.n == 0)
		return cfg->client_certificates;
	for (size_t i = 0; i < cfg->client_listeners.n; i++)
		if (listener != NULL && strcmp(cfg->client_listeners.v[i], listener) == 0)
			return cfg->client_certificates;
	return TLS_CERT_OFF;
}

static void
ask_certificate(struct tls_layer *y, int wanted)
{
	/* A session from where no certificate was asked for must not go on where one is
	 * needed: OpenSSL compares this, and does a full handshake. */
	static const unsigned char contexts[][12] = { "posthouse-0", "posthouse-1", "posthouse-2" };

	(void)SSL_set_session_id_context(y->ssl, contexts[wanted], sizeof contexts[0] - 1);
	y->unverified = wanted == TLS_CERT_REQUEST;
	if (wanted != TLS_CERT_OFF)
		SSL_set_verify(y->ssl, SSL_VERIFY_PEER |
		    (wanted == TLS_CERT_REQUIRE ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
		    tls_words_verify);
}

int
tls_server_begin(struct tls_layer *y, const struct ph_secure_want *want)
{
	const struct tls_cfg *cfg = y->tw->cfg;
	int minimum = legacy_minimum(cfg, want);

	tls_worker_update(y->tw);
	if (y->tw->material->n_certs == 0)
		return PH_ENOTSUP;
	y->material = tls_material_ref(y->tw->material);
	y->listener = want->listener;
	y->ssl = SSL_new(y->material->certs[0].ctx);
	if (y->ssl == NULL || SSL_set_ex_data(y->ssl, 0, y) != 1)
		return PH_ENOMEM;
	if (minimum < cfg->minimum && !let_in_old(y, minimum))
		return PH_ENOTSUP;
	ask_certificate(y, certificates_wanted(cfg, want->listener));
	SSL_set_accept_state(y->ssl);
	return 0;
}

void
tls_server_shaken(struct tls_layer *y)
{
	y->owes_ticket = y->tw->cfg->tickets && SSL_version(y->ssl) >= TLS1_3_VERSION;
}

/* Text without anything that could end a line or a string. */
static struct ph_str
clean_text(const ASN1_STRING *s, char *room, size_t n)
{
	unsigned char *utf8 = NULL;
	int len = s != NULL ? ASN1_STRING_to_UTF8(&utf8, s) : -1;
	struct ph_str out = { room, 0 };

	if (len > 0 && (size_t)len < n) {
		bool clean = true;

		for (int i = 0; i < len; i++)
			clean = clean && utf8[i] > 0x20 && utf8[i] != 0x7f;
		if (clean) {
			memcpy(room, utf8, (size_t)len);
			out.n = (size_t)len;
		}
	}
	OPENSSL_free(utf8);
	return out;
}

static struct ph_str
alternative(X509 *x, int type, char *room, size_t n)
{
	GENERAL_NAMES *alt = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
	struct ph_str out = { room, 0 };

	for (int i = 0; i < sk_GENERAL_NAME_num(alt) && out.n == 0; i++) {
		const GENERAL_NAME *g = sk_GENERAL_NAME_value(alt, i);

		if (g->type == type)
			out = clean_text(g->d.ia5, room, n);
	}
	GENERAL_NAMES_free(alt);
	return out;
}

static struct ph_str
common_name(X509 *x, char *room, size_t n)
{
	const X509_NAME *subject = X509_get_subject_name(x);
	int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);

	return clean_text(at < 0 ? NULL
	    : X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)), room, n);
}

struct ph_str
tls_server_identity(struct tls_layer *y, char *room, size_t n)
{
	X509 *x = SSL_get0_peer_certificate(y->ssl);
	enum tls_identity from = (enum tls_identity)y->tw->cfg->client_identity;
	struct ph_str out = { room, 0 };

	if (x == NULL || SSL_get_verify_result(y->ssl) != X509_V_OK)
		return out;
	if (from == TLS_ID_EMAIL || from == TLS_ID_AUTO)
		out = alternative(x, GEN_EMAIL, room, n);
	if (from == TLS_ID_DNS || (from == TLS_ID_AUTO && out.n == 0))
		out = alternative(x, GEN_DNS, room, n);
	if (from == TLS_ID_CN || (from == TLS_ID_AUTO && out.n == 0))
		out = common_name(x, room, n);
	return out;
}
