/*
 * material.c - certificates, keys and trust anchors from files, and all that can be wrong
 * with them in words.
 *
 * A certificate that has expired is a warning: a relay that does not start any more is
 * worse than one that encrypts with a stale name.  What OpenSSL would refuse to use is
 * an error, and a reload that meets one keeps what is in force.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include "tls.h"

/* --- one certificate with its chain and key --- */

/* Never asks a terminal. */
static int
no_pass_phrase(char *buf, int size, int writing, void *asked)
{
	(void)buf;
	(void)size;
	(void)writing;
	*(bool *)asked = true;
	return -1;
}

/* The error that only says that there is no further block. */
static bool
at_end_of_pem(void)
{
	unsigned long e = ERR_peek_last_error();

	return ERR_GET_LIB(e) == ERR_LIB_PEM && ERR_GET_REASON(e) == PEM_R_NO_START_LINE;
}

static bool
read_chain(struct tls_cert *c, BIO *bio, const char *path, const char *option, struct tls_report *r)
{
	char why[200];
	X509 *x;

	ERR_clear_error();
	c->leaf = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL);
	if (c->leaf == NULL) {
		if (at_end_of_pem())
			tls_error(r, option, "%s holds no certificate in PEM (BEGIN CERTIFICATE)", path);
		else
			tls_error(r, option, "%s: the certificate is damaged: %s", path,
			    tls_words_queue(why, sizeof why));
		return false;
	}
	c->chain = sk_X509_new_null();
	while ((x = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
		if (sk_X509_num(c->chain) >= TLS_CHAIN_MOST || !sk_X509_push(c->chain, x)) {
			X509_free(x);
			tls_error(r, option, "%s holds more than %d certificates; write ours and "
			    "its chain only", path, TLS_CHAIN_MOST);
			return false;
		}
	}
	if (!at_end_of_pem()) {
		tls_error(r, option, "%s: a certificate of the chain is damaged: %s", path,
		    tls_words_queue(why, sizeof why));
		return false;
	}
	ERR_clear_error();
	return true;
}

static bool
read_key(struct tls_cert *c, BIO *bio, const char *path, const char *option, struct tls_report *r)
{
	bool asked = false;
	char why[200];

	ERR_clear_error();
	c->key = PEM_read_bio_PrivateKey(bio, NULL, no_pass_phrase, &asked);
	if (c->key != NULL)
		return true;
	if (asked)
		tls_error(r, option, "the key %s has a pass phrase, which nobody can type here; "
		    "remove it with openssl pkey", path);
	else
		tls_error(r, option, "%s holds no private key in PEM (BEGIN PRIVATE KEY) that can be "
		    "read: %s", path, tls_words_queue(why, sizeof why));
	ERR_clear_error();
	return false;
}

static void
check_dates(const struct tls_cert *c, const char *path, const char *option, struct tls_report *r)
{
	char when[32];

	if (X509_cmp_current_time(X509_get0_notBefore(c->leaf)) > 0) {
		tls_date_text(X509_get0_notBefore(c->leaf), when);
		tls_warning(r, option, "the certificate %s is not valid before %s", path, when);
	} else if (X509_cmp_current_time(X509_get0_notAfter(c->leaf)) < 0) {
		tls_date_text(X509_get0_notAfter(c->leaf), when);
		tls_warning(r, option, "the certificate %s has expired on %s", path, when);
	}
}

static void
add_name(struct tls_cert *c, const ASN1_STRING *s)
{
	size_t n = (size_t)ASN1_STRING_length(s);
	const unsigned char *p = ASN1_STRING_get0_data(s);
	char **names, *name;

	if (n == 0 || n > 255 || c->n_names >= TLS_NAMES_MOST || memchr(p, '\0', n) != NULL)
		return;
	names = realloc(c->names, (c->n_names + 1) * sizeof *names);
	name = names != NULL ? malloc(n + 1) : NULL;
	if (names != NULL)
		c->names = names;
	if (name == NULL)
		return;
	for (size_t i = 0; i < n; i++)
		name[i] = (char)tolower(p[i]);
	name[n] = '\0';
	c->names[c->n_names++] = name;
}

/* RFC 9525 6.3 looks at alternative names only; old ones have no more than a common name. */
static void
collect_names(struct tls_cert *c)
{
	GENERAL_NAMES *alt = X509_get_ext_d2i(c->leaf, NID_subject_alt_name, NULL, NULL);
	const X509_NAME *subject = X509_get_subject_name(c->leaf);
	int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);

	for (int i = 0; i < sk_GENERAL_NAME_num(alt); i++) {
		const GENERAL_NAME *g = sk_GENERAL_NAME_value(alt, i);

		if (g->type == GEN_DNS)
			add_name(c, g->d.dNSName);
	}
	if (c->n_names == 0 && at >= 0)
		add_name(c, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
	GENERAL_NAMES_free(alt);
}

static bool
holds_key(BIO *bio)
{
	static const char end[] = "PRIVATE KEY-----";
	char *bytes = NULL;
	long n = BIO_get_mem_data(bio, &bytes);

	return n > 0 && memmem(bytes, (size_t)n, end, sizeof end - 1) != NULL;
}

bool
tls_cert_load(struct tls_cert *c, const char *certificate, const char *key,
              const char *option_certificate, const char *option_key,
              struct tls_report *r, struct tls_stamps *stamps)
{
	const char *key_path = key != NULL ? key : certificate;
	BIO *bio = tls_file_open(r, option_certificate, certificate, false, stamps);
	bool alone = key == NULL && bio != NULL && !holds_key(bio);
	bool ok = bio != NULL && read_chain(c, bio, certificate, option_certificate, r);

	BIO_free(bio);
	if (key == NULL)
		option_key = option_certificate;
	if (ok && alone)
		tls_error(r, option_certificate, "%s holds no private key; set key: to the file of its "
		    "private key", certificate);
	if (!ok || alone)
		return false;
	bio = tls_file_open(r, option_key, key_path, true, key != NULL ? stamps : NULL);
	ok = bio != NULL && read_key(c, bio, key_path, option_key, r);
	BIO_free(bio);
	if (!ok)
		return false;
	if (X509_check_private_key(c->leaf, c->key) != 1) {
		ERR_clear_error();
		tls_error(r, option_key, "the key %s does not belong to the certificate %s",
		    key_path, certificate);
		return false;
	}
	check_dates(c, certificate, option_certificate, r);
	collect_names(c);
	return true;
}

void
tls_cert_done(struct tls_cert *c)
{
	SSL_CTX_free(c->ctx);
	X509_free(c->leaf);
	sk_X509_pop_free(c->chain, X509_free);
	EVP_PKEY_free(c->key);
	for (size_t i = 0; i < c->n_names; i++)
		free(c->names[i]);
	free(c->names);
	*c = (struct tls_cert){ 0 };
}

/* --- trust anchors --- */

static int
name_order(const X509_NAME *const *a, const X509_NAME *const *b)
{
	return X509_NAME_cmp(*a, *b);
}

static int
store_fill(X509_STORE *store, BIO *bio, STACK_OF(X509_NAME) *names)
{
	X509 *x;
	int n = 0;

	ERR_clear_error();
	while ((x = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL)) != NULL) {
		bool ok = X509_STORE_add_cert(store, x) == 1;

		if (ok && names != NULL) {
			X509_NAME *name = X509_NAME_dup(X509_get_subject_name(x));

			if (name == NULL || sk_X509_NAME_find(names, name) >= 0 ||
			    !sk_X509_NAME_push(names, name))
				X509_NAME_free(name);
		}
		X509_free(x);
		if (!ok)
			return -1;
		n++;
	}
	return at_end_of_pem() ? n : -1;
}

X509_STORE *
tls_store_load(const char *path, const char *option, struct tls_report *r,
               struct tls_stamps *stamps, STACK_OF(X509_NAME) **names)
{
	X509_STORE *store = X509_STORE_new();
	char why[200];

	if (store == NULL)
		return NULL;
	/* A host's own certificate in the file is trusted, too, whoever signed it. */
	(void)X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
	if (path == NULL) {
		(void)X509_STORE_set_default_paths(store);
		ERR_clear_error();      /* a system without any: every chain ends nowhere */
		return store;
	}
	BIO *bio = tls_file_open(r, option, path, false, stamps);
	int n = 0;
	if (bio != NULL) {
		if (names != NULL)
			*names = sk_X509_NAME_new(name_order);
		n = store_fill(store, bio, names != NULL ? *names : NULL);
		if (n == 0)
			tls_error(r, option, "%s holds no certificate in PEM (BEGIN CERTIFICATE)", path);
		else if (n < 0)
			tls_error(r, option, "%s: a certificate is damaged: %s", path,
			    tls_words_queue(why, sizeof why));
		ERR_clear_error();
		BIO_free(bio);
	}
	if (n <= 0) {
		X509_STORE_free(store);
		return NULL;
	}
	return store;
}

/* --- all of an instance --- */

static bool
load_certs(struct tls_material *m, const struct tls_cfg *cfg, struct tls_report *r)
{
	const struct tls_pair *more = cfg->certificates.v;
	size_t n = (cfg->certificate != NULL) + cfg->certificates.n;
	bool ok = true;

	m->certs = calloc(n > 0 ? n : 1, sizeof *m->certs);
	if (m->certs == NULL)
		return false;
	if (cfg->certificate != NULL)
		ok = tls_cert_load(&m->certs[m->n_certs++], cfg->certificate, cfg->key,
		    "certificate", "key", r, &m->stamps);
	for (size_t i = 0; i < cfg->certificates.n; i++)        /* all complaints at once */
		ok = tls_cert_load(&m->certs[m->n_certs++], more[i].certificate, more[i].key,
		    "certificates", "certificates", r, &m->stamps) && ok;
	return ok;
}

struct tls_material *
tls_material_load(const struct tls_cfg *cfg, struct tls_report *r)
{
	struct tls_material *m = calloc(1, sizeof *m);
	unsigned before = r->errors;

	if (m == NULL)
		return NULL;
	atomic_init(&m->refs, 1);
	bool ok = load_certs(m, cfg, r);
	if (cfg->client_ca_file != NULL)
		m->client_ca = tls_store_load(cfg->client_ca_file, "client-ca-file", r,
		    &m->stamps, &m->client_ca_names);
	m->trust = tls_store_load(cfg->ca_file, "ca-file", r, &m->stamps, NULL);
	ok = tls_context_check(cfg, r) && ok && r->errors == before && m->trust != NULL;
	for (size_t i = 0; i < m->n_certs && ok; i++) {
		m->certs[i].ctx = tls_context_server(cfg, m, &m->certs[i], r);
		ok = m->certs[i].ctx != NULL;
	}
	if (!ok) {
		if (r->errors == before)
			tls_error(r, NULL, "out of memory");
		tls_material_unref(&m);
	}
	return m;
}

struct tls_material *
tls_material_ref(struct tls_material *m)
{
	atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
	return m;
}

void
tls_material_unref(struct tls_material **mp)
{
	struct tls_material *m = *mp;

	*mp = NULL;
	if (m == NULL || atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (size_t i = 0; i < m->n_certs; i++)
		tls_cert_done(&m->certs[i]);
	free(m->certs);
	X509_STORE_free(m->client_ca);
	sk_X509_NAME_pop_free(m->client_ca_names, X509_NAME_free);
	X509_STORE_free(m->trust);
	tls_stamps_free(&m->stamps);
	free(m);
}
