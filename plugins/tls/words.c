/*
 * words.c - problems in words that an admin can act on: what is wrong with whose
 * certificate, what the other side wanted, and which option has to do with it.
 */
#include <stdio.h>
#include <string.h>
#include <openssl/err.h>

#include "tls.h"

const char *
tls_words_queue(char *room, size_t n)
{
	unsigned long e = ERR_peek_error();
	const char *reason = e != 0 ? ERR_reason_error_string(e) : NULL;

	if (reason != NULL)
		(void)snprintf(room, n, "%s", reason);
	else if (e != 0)
		ERR_error_string_n(e, room, n);
	else
		(void)snprintf(room, n, "unknown reason");
	ERR_clear_error();
	return room;
}

/* --- certificates --- */

struct subject { char subject[160], issuer[160], names[200], date[32]; };

static void
words_of_chain(struct tls_layer *y, X509 *x, int error, int depth, const struct subject *t)
{
	const char *whose = depth > 0 ? "a certificate of the chain" : "the certificate";
	const char *ca_option = y->client ? "tls-ca-file" : "client-ca-file";

	switch (error) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
		tls_problem(y, "%s %s expired on %s", whose, t->subject, t->date);
		return;
	case X509_V_ERR_CERT_NOT_YET_VALID:
		tls_problem(y, "%s %s is not valid before %s; is this machine's clock right?",
		    whose, t->subject, t->date);
		return;
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		tls_problem(y, "the certificate is for %s, not for %s (see tls-name)",
		    t->names[0] != '\0' ? t->names : t->subject, y->name);
		return;
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
		tls_problem(y, "the certificate %s is self-signed and not in %s", t->subject, ca_option);
		return;
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
		tls_problem(y, "unknown CA: the chain ends at %s, which is not in %s", t->subject,
		    y->client ? "tls-ca-file or the system's store" : ca_option);
		return;
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
		tls_problem(y, "unknown CA: %s was issued by %s, which is not in %s and was not sent along",
		    t->subject, t->issuer, y->client ? "tls-ca-file or the system's store" : ca_option);
		return;
	case X509_V_ERR_INVALID_PURPOSE:
		tls_problem(y, "%s %s is not meant for %s (extended key usage)", whose, t->subject,
		    y->client ? "servers" : "clients");
		return;
	case X509_V_ERR_CERT_REVOKED:
		tls_problem(y, "%s %s was revoked", whose, t->subject);
		return;
	default:
		tls_problem(y, "%s %s: %s", whose, t->subject, X509_verify_cert_error_string(error));
	}
	(void)x;
}

/* The first thing wrong is noted; whether that ends the handshake is the policy's. */
int
tls_words_verify(int ok, X509_STORE_CTX *ctx)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls_layer *y = tls_layer_of(ssl);
	X509 *x = X509_STORE_CTX_get_current_cert(ctx);
	int error = X509_STORE_CTX_get_error(ctx);
	struct subject t = { .subject = "?", .issuer = "?" };

	if (ok)
		return 1;
	if (x != NULL) {
		tls_name_text(X509_get_subject_name(x), t.subject, sizeof t.subject);
		tls_name_text(X509_get_issuer_name(x), t.issuer, sizeof t.issuer);
		tls_names_text(x, t.names, sizeof t.names);
		tls_date_text(error == X509_V_ERR_CERT_NOT_YET_VALID ? X509_get0_notBefore(x)
		    : X509_get0_notAfter(x), t.date);
	}
	words_of_chain(y, x, error, X509_STORE_CTX_get_error_depth(ctx), &t);
	if (!y->unverified && y->refused == NULL) {
		/* OpenSSL keeps a certificate once it has passed; who looks for the reason wants
		 * to see this one. */
		y->refused = X509_STORE_CTX_get0_cert(ctx);
		if (y->refused != NULL)
			X509_up_ref(y->refused);
	}
	return y->unverified;
}

/* --- handshakes --- */

/* What came instead of TLS, without anything that could confuse a terminal. */
static bool
words_of_garbage(struct tls_layer *y)
{
	char text[sizeof y->first + 1];
	size_t n = y->n_first;

	/* 20 to 23 open a record (RFC 8446 5.1); a first byte with its high bit may be SSLv2. */
	if (n == 0 || (y->first[0] >= 20 && y->first[0] <= 23))
		return false;
	for (size_t i = 0; i < n; i++) {
		if (y->first[i] == '\r' || y->first[i] == '\n') {
			n = i;
			break;
		}
		text[i] = y->first[i] >= 0x20 && y->first[i] < 0x7f ? (char)y->first[i] : '.';
	}
	text[n] = '\0';
	tls_problem(y, "the %s does not speak TLS: it sent \"%s\"%s", y->client ? "remote" : "client",
	    text, y->client && n > 3 && memcmp(text, "220", 3) == 0
	    ? "; a port with STARTTLS needs tls-implicit: no" : "");
	return true;
}

struct word { int reason; const char *text; };

/* Alerts: what the other side said, and what it usually means. */
static const struct word alerts[] = {
	{ SSL_R_TLSV1_ALERT_UNKNOWN_CA, "does not trust our certificate: it does not know the CA" },
	{ SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED, "says that our certificate has expired" },
	{ SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED, "says that our certificate was revoked" },
	{ SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN, "does not accept our certificate" },
	{ SSL_R_SSLV3_ALERT_BAD_CERTIFICATE, "does not accept our certificate: it is not valid for it "
	  "(wrong name, or not trusted)" },
	{ SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE, "cannot use our kind of certificate" },
	{ SSL_R_TLSV1_ALERT_PROTOCOL_VERSION, "does not speak any version that we allow (see minimum)" },
	{ SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE, "found no cipher or parameters in common with us, or wants "
	  "a certificate" },
	{ SSL_R_TLSV1_ALERT_INSUFFICIENT_SECURITY, "finds our ciphers too weak" },
	{ SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED, "wants a certificate from us (see tls-certificate)" },
	{ SSL_R_TLSV1_ALERT_ACCESS_DENIED, "denied access to our certificate" },
	{ SSL_R_TLSV1_UNRECOGNIZED_NAME, "does not know the name that we asked for (see tls-name)" },
	{ SSL_R_TLSV1_ALERT_DECRYPT_ERROR, "could not verify our handshake" },
	{ SSL_R_TLSV1_ALERT_USER_CANCELLED, "gave up the handshake" },
	{ SSL_R_TLSV1_ALERT_NO_RENEGOTIATION, "wanted no new handshake" },
	{ SSL_R_TLSV1_ALERT_INTERNAL_ERROR, "had an internal error" },
	{ SSL_R_SSLV3_ALERT_UNEXPECTED_MESSAGE, "did not understand our handshake" },
	{ SSL_R_SSLV3_ALERT_BAD_RECORD_MAC, "received damaged data from us" },
};

static void
words_of_version(struct tls_layer *y)
{
	if (y->client)
		tls_problem(y, "the protocol is too old: the remote answered with a version below our minimum "
		    "%s (see tls-minimum)", tls_version_text((int)SSL_get_min_proto_version(y->ssl)));
	else
		tls_problem(y, "the protocol is too old: the client speaks at most %s, the minimum at %s is %s "
		    "(see minimum, and legacy for old devices)", tls_version_text(y->their_version),
		    y->listener != NULL ? y->listener : "this listener",
		    tls_version_text((int)SSL_get_min_proto_version(y->ssl)));
}

void
tls_words_handshake(struct tls_layer *y)
{
	unsigned long e = ERR_peek_error();
	int reason = ERR_GET_LIB(e) == ERR_LIB_SSL ? ERR_GET_REASON(e) : 0;
	const char *other = y->client ? "remote" : "client";
	char why[200];

	if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED && y->problem != NULL)
		return;         /* the verification has found the words */
	if (!y->open && words_of_garbage(y))
		return;
	for (size_t i = 0; i < sizeof alerts / sizeof alerts[0]; i++) {
		if (alerts[i].reason == reason) {
			tls_problem(y, "the %s %s", other, alerts[i].text);
			return;
		}
	}
	switch (reason) {
	case SSL_R_UNSUPPORTED_PROTOCOL:
	case SSL_R_VERSION_TOO_LOW:
		words_of_version(y);
		break;
	case SSL_R_NO_SHARED_CIPHER:
	case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
	case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
	case SSL_R_NO_SHARED_GROUPS:
	case SSL_R_NO_SUITABLE_GROUPS:
		tls_problem(y, "no cipher in common with the %s (see ciphers): %s", other,
		    tls_words_queue(why, sizeof why));
		break;
	case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
		tls_problem(y, "the client showed no certificate, which client-certificates: require "
		    "asks for");
		break;
	case SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC:
		tls_problem(y, "damaged data from the %s", other);
		break;
	default:
		tls_problem(y, "%s", tls_words_queue(why, sizeof why));
	}
}
