/*
 * context.c - an SSL_CTX of either side, from options and material.
 *
 * What the system's openssl.cnf says about versions and ciphers holds where the
 * configuration says nothing.
 */
#include <string.h>
#include <openssl/err.h>

#include "tls.h"

static const struct { const char *text; int version; } versions[] = {
	{ "1.0", TLS1_VERSION }, { "1.1", TLS1_1_VERSION }, { "1.2", TLS1_2_VERSION },
	{ "1.3", TLS1_3_VERSION },
};

int
tls_version_of(const char *text)
{
	for (size_t i = 0; i < sizeof versions / sizeof versions[0]; i++)
		if (strcmp(text, versions[i].text) == 0)
			return versions[i].version;
	return 0;
}

const char *
tls_version_text(int version)
{
	switch (version) {
	case SSL3_VERSION: return "SSLv3";
	case TLS1_VERSION: return "TLSv1.0";
	case TLS1_1_VERSION: return "TLSv1.1";
	case TLS1_2_VERSION: return "TLSv1.2";
	case TLS1_3_VERSION: return "TLSv1.3";
	default: return "an unknown version";
	}
}

/* What both sides have in common; ciphers and groups as configured. */
static bool
context_common(SSL_CTX *ctx, const struct tls_cfg *cfg, int minimum, struct tls_report *r)
{
	/* Buffers are given back when they are empty: an idle connection costs its state. */
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	/* RFC 7457 2.6; CVE-2009-3555 and the load that renegotiation invites. */
	SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
	if (SSL_CTX_set_min_proto_version(ctx, minimum) != 1)
		tls_error(r, "minimum", "OpenSSL here does not speak %s", tls_version_text(minimum));
	else if (cfg->ciphers != NULL && SSL_CTX_set_cipher_list(ctx, cfg->ciphers) != 1)
		tls_error(r, "ciphers", "\"%s\" selects no cipher; see openssl-ciphers(1), and "
		    "ciphersuites for TLS 1.3", cfg->ciphers);
	else if (cfg->ciphersuites != NULL && SSL_CTX_set_ciphersuites(ctx, cfg->ciphersuites) != 1)
		tls_error(r, "ciphersuites", "\"%s\" names no cipher suite of TLS 1.3, for example "
		    "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256", cfg->ciphersuites);
	else if (cfg->groups != NULL && SSL_CTX_set1_groups_list(ctx, cfg->groups) != 1)
		tls_error(r, "groups", "\"%s\" holds a group that OpenSSL does not know; for example "
		    "X25519:P-256", cfg->groups);
	else
		return true;
	ERR_clear_error();
	return false;
}

bool
tls_context_check(const struct tls_cfg *cfg, struct tls_report *r)
{
	/* one at a time: what is told of one must not hide the next */
	const struct tls_cfg parts[] = {
		{ .ciphers = cfg->ciphers }, { .ciphersuites = cfg->ciphersuites }, { .groups = cfg->groups },
	};
	bool ok = true;

	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
		SSL_CTX *ctx = SSL_CTX_new(TLS_method());

		ok = ctx != NULL && context_common(ctx, &parts[i], cfg->minimum, r) && ok;
		SSL_CTX_free(ctx);
	}
	return ok;
}

static bool
context_cert(SSL_CTX *ctx, const struct tls_cert *c, const char *option, struct tls_report *r)
{
	char why[200];

	if (SSL_CTX_use_cert_and_key(ctx, c->leaf, c->key, c->chain, 1) == 1)
		return true;
	/* "ee key too small", "ca md too weak": the security level, see SSL_CTX_set_security_level(3) */
	tls_error(r, option, "OpenSSL refuses the certificate: %s", tls_words_queue(why, sizeof why));
	return false;
}

/* RFC 5246 7.4.4, RFC 8446 4.2.4: clients pick their certificate by these names. */
static bool
context_client_ca(SSL_CTX *ctx, const struct tls_material *m)
{
	STACK_OF(X509_NAME) *names = sk_X509_NAME_deep_copy(m->client_ca_names, X509_NAME_dup,
	    X509_NAME_free);

	SSL_CTX_set0_CA_list(ctx, names);
	return SSL_CTX_set1_verify_cert_store(ctx, m->client_ca) == 1;
}

SSL_CTX *
tls_context_server(const struct tls_cfg *cfg, const struct tls_material *m,
                   const struct tls_cert *c, struct tls_report *r)
{
	static const unsigned char context[] = "posthouse";
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	const char *option = cfg->certificate != NULL && c == m->certs ? "certificate" : "certificates";

	if (ctx == NULL)
		return NULL;
	if (!context_common(ctx, cfg, cfg->minimum, r) || !context_cert(ctx, c, option, r))
		goto fail;
	SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
	SSL_CTX_set_dh_auto(ctx, 1);
	/* Sessions live in tickets, not here: no memory, and any worker can go on with them. */
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_session_id_context(ctx, context, sizeof context - 1);
	if (cfg->tickets) {
		(void)SSL_CTX_set_num_tickets(ctx, 0);  /* of its own; layer.c asks for one */
		if (cfg->shared != NULL)
			tls_tickets_serve(&cfg->shared->tickets, ctx);
	} else {
		SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
		(void)SSL_CTX_set_num_tickets(ctx, 0);
	}
	if (m->client_ca != NULL && !context_client_ca(ctx, m))
		goto fail;
	tls_server_hooks(ctx);
	return ctx;
fail:
	SSL_CTX_free(ctx);
	return NULL;
}

SSL_CTX *
tls_context_client(const struct tls_cfg *cfg, int minimum, X509_STORE *trust,
                   const struct tls_cert *c, struct tls_report *r)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	if (ctx == NULL)
		return NULL;
	if (!context_common(ctx, cfg, minimum, r) ||
	    (c != NULL && !context_cert(ctx, c, "tls-certificate", r))) {
		SSL_CTX_free(ctx);
		return NULL;
	}
	/* TLS 1.0 and 1.1 sign with MD5 and SHA-1, which only security level 0 lets pass. */
	if (minimum < TLS1_2_VERSION && cfg->ciphers == NULL)
		(void)SSL_CTX_set_cipher_list(ctx, "DEFAULT:@SECLEVEL=0");
	SSL_CTX_set1_cert_store(ctx, trust);
	tls_sessions_keep(ctx);
	return ctx;
}
