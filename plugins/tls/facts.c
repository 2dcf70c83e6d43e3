/*
 * facts.c - what was negotiated, who the other side is, and values that bind a login to
 * this very connection.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <arpa/inet.h>
#include <openssl/err.h>

#include "tls.h"

/* Made when first asked for; an idle connection that nobody asks about has none. */
struct tls_words {
	char peer_name[256], subject[256], issuer[256], names[512];
	size_t n_peer_name, n_subject, n_issuer, n_names;
	int64_t expires;
};

/* --- text --- */

size_t
tls_name_text(X509_NAME *name, char *out, size_t room)
{
	BIO *bio = BIO_new(BIO_s_mem());
	int n = 0;

	out[0] = '\0';
	/* Control characters and what is not ASCII come out as \XX. */
	if (bio != NULL && name != NULL &&
	    X509_NAME_print_ex(bio, name, 0, XN_FLAG_ONELINE & ~XN_FLAG_SPC_EQ & ~ASN1_STRFLGS_ESC_MSB) >= 0)
		n = BIO_read(bio, out, (int)room - 1);
	if (n < 0)
		n = 0;
	out[n] = '\0';
	BIO_free(bio);
	return (size_t)n;
}

static size_t
add_text(char *out, size_t room, size_t at, const void *p, size_t n)
{
	const unsigned char *from = p;

	if (at + n + 3 > room)
		return at;
	if (at > 0) {
		out[at++] = ',';
		out[at++] = ' ';
	}
	for (size_t i = 0; i < n; i++)
		out[at++] = from[i] > 0x20 && from[i] < 0x7f ? (char)from[i] : '?';
	out[at] = '\0';
	return at;
}

size_t
tls_names_text(X509 *x, char *out, size_t room)
{
	GENERAL_NAMES *alt = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
	size_t at = 0;
	char ip[INET6_ADDRSTRLEN];

	out[0] = '\0';
	for (int i = 0; i < sk_GENERAL_NAME_num(alt); i++) {
		const GENERAL_NAME *g = sk_GENERAL_NAME_value(alt, i);
		const ASN1_STRING *s = g->type == GEN_DNS || g->type == GEN_EMAIL ||
		    g->type == GEN_IPADD ? g->d.ia5 : NULL;
		int n = s != NULL ? ASN1_STRING_length(s) : 0;

		if (s == NULL)
			continue;
		if (g->type != GEN_IPADD)
			at = add_text(out, room, at, ASN1_STRING_get0_data(s), (size_t)n);
		else if ((n == 4 || n == 16) && inet_ntop(n == 4 ? AF_INET : AF_INET6,
		    ASN1_STRING_get0_data(s), ip, sizeof ip) != NULL)
			at = add_text(out, room, at, ip, strlen(ip));
	}
	GENERAL_NAMES_free(alt);
	if (at == 0) {
		const X509_NAME *subject = X509_get_subject_name(x);
		int cn = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
		const ASN1_STRING *s = cn < 0 ? NULL
		    : X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, cn));

		if (s != NULL)
			at = add_text(out, room, 0, ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s));
	}
	return at;
}

int64_t
tls_time(const ASN1_TIME *t)
{
	struct tm tm;

	return t != NULL && ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

void
tls_date_text(const ASN1_TIME *t, char out[32])
{
	struct tm tm;

	if (t == NULL || ASN1_TIME_to_tm(t, &tm) != 1 ||
	    strftime(out, 32, "%Y-%m-%d %H:%M UTC", &tm) == 0)
		memcpy(out, "an unreadable date", sizeof "an unreadable date");
}

/* --- facts --- */

/* The other side's, whether or not it was believed; NULL: it has shown none. */
static X509 *
certificate_of(const struct tls_layer *y)
{
	X509 *x = SSL_get0_peer_certificate(y->ssl);

	return x != NULL ? x : y->refused;
}

static struct tls_words *
words_of(struct tls_layer *y, X509 *x)
{
	struct tls_words *w = calloc(1, sizeof *w);

	if (w == NULL)
		return w;
	w->n_subject = tls_name_text(X509_get_subject_name(x), w->subject, sizeof w->subject);
	w->n_issuer = tls_name_text(X509_get_issuer_name(x), w->issuer, sizeof w->issuer);
	w->n_names = tls_names_text(x, w->names, sizeof w->names);
	w->expires = tls_time(X509_get0_notAfter(x));
	if (!y->open || SSL_get_verify_result(y->ssl) != X509_V_OK)
		return w;
	if (!y->client) {
		w->n_peer_name = tls_server_identity(y, w->peer_name, sizeof w->peer_name).n;
	} else if (y->name[0] != '\0') {
		/* The chain and set1_host have both been content with it. */
		w->n_peer_name = strlen(y->name);
		memcpy(w->peer_name, y->name, w->n_peer_name);
	}
	return w;
}

void
tls_words_free(struct tls_words **w)
{
	free(*w);
	*w = NULL;
}

void
tls_layer_facts(void *layer, struct ph_secure_facts *out)
{
	struct tls_layer *y = layer;
	const struct tls_words *w;

	*out = (struct ph_secure_facts){ .version = { "", 0 }, .cipher = { "", 0 },
		.peer_name = { "", 0 }, .problem = { "", 0 }, .subject = { "", 0 },
		.issuer = { "", 0 }, .names = { "", 0 } };
	if (y->problem != NULL)
		out->problem = (struct ph_str){ y->problem, strlen(y->problem) };
	if (y->ssl == NULL)
		return;
	ERR_clear_error();
	if (y->open) {
		const char *version = SSL_get_version(y->ssl), *cipher = SSL_get_cipher_name(y->ssl);

		out->version = (struct ph_str){ version, strlen(version) };
		out->cipher = (struct ph_str){ cipher, strlen(cipher) };
		out->bits = SSL_get_cipher_bits(y->ssl, NULL);
		out->resumed = SSL_session_reused(y->ssl) == 1;
		out->legacy = y->legacy && SSL_version(y->ssl) < y->tw->cfg->minimum;
	}
	if (y->words == NULL && certificate_of(y) != NULL)
		y->words = words_of(y, certificate_of(y));
	w = y->words;
	ERR_clear_error();
	if (w == NULL)
		return;
	out->peer_name = (struct ph_str){ w->peer_name, w->n_peer_name };
	out->subject = (struct ph_str){ w->subject, w->n_subject };
	out->issuer = (struct ph_str){ w->issuer, w->n_issuer };
	out->names = (struct ph_str){ w->names, w->n_names };
	out->expires = w->expires;
	out->verified = y->open && w->n_peer_name > 0;
}

/* --- channel binding --- */

/* RFC 5929 4: the hash of the server's certificate, by its own signature's function, or
 * SHA-256 when that is MD5 or SHA-1. */
static int
bind_end_point(struct tls_layer *y, uint8_t *out, size_t *len)
{
	X509 *x = y->client ? SSL_get0_peer_certificate(y->ssl) : SSL_get_certificate(y->ssl);
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int n = 0;
	int nid = NID_undef;
	const EVP_MD *md;

	if (x == NULL || X509_get_signature_info(x, &nid, NULL, NULL, NULL) != 1)
		return PH_ENOTSUP;
	if (nid == NID_md5 || nid == NID_sha1 || nid == NID_md5_sha1)
		nid = NID_sha256;
	md = EVP_get_digestbynid(nid);  /* EdDSA has none, and RFC 5929 no answer for it */
	if (md == NULL || X509_digest(x, md, digest, &n) != 1 || n > *len)
		return PH_ENOTSUP;
	memcpy(out, digest, n);
	*len = n;
	return 0;
}

/* RFC 9266 4; before TLS 1.3 only with the extended master secret (4.2). */
static int
bind_exporter(struct tls_layer *y, uint8_t *out, size_t *len)
{
	static const char label[] = "EXPORTER-Channel-Binding";
	static const unsigned char none[1];
	enum { BYTES = 32 };

	if (*len < BYTES ||
	    (SSL_version(y->ssl) < TLS1_3_VERSION && SSL_get_extms_support(y->ssl) != 1) ||
	    SSL_export_keying_material(y->ssl, out, BYTES, label, sizeof label - 1, none, 0, 1) != 1)
		return PH_ENOTSUP;
	*len = BYTES;
	return 0;
}

/* RFC 5929 3: the first Finished message; the server's when a session was taken up again. */
static int
bind_unique(struct tls_layer *y, uint8_t *out, size_t *len)
{
	unsigned char finished[EVP_MAX_MD_SIZE];
	bool ours = y->client != (SSL_session_reused(y->ssl) == 1);
	size_t n;

	if (SSL_version(y->ssl) >= TLS1_3_VERSION || SSL_get_extms_support(y->ssl) != 1)
		return PH_ENOTSUP;      /* RFC 7627 1.1: without it two connections may share the value */
	n = ours ? SSL_get_finished(y->ssl, finished, sizeof finished)
	         : SSL_get_peer_finished(y->ssl, finished, sizeof finished);
	if (n == 0 || n > sizeof finished || n > *len)
		return PH_ENOTSUP;
	memcpy(out, finished, n);
	*len = n;
	return 0;
}

int
tls_layer_binding(void *layer, const char *type, uint8_t *out, size_t *len)
{
	struct tls_layer *y = layer;
	int rc = PH_ENOTSUP;

	if (y->ssl == NULL || !y->open)
		return PH_ENOTSUP;
	ERR_clear_error();
	if (strcmp(type, "tls-exporter") == 0)
		rc = bind_exporter(y, out, len);
	else if (strcmp(type, "tls-server-end-point") == 0)
		rc = bind_end_point(y, out, len);
	else if (strcmp(type, "tls-unique") == 0)
		rc = bind_unique(y, out, len);
	ERR_clear_error();
	return rc;
}
