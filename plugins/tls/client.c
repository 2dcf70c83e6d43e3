/*
 * client.c - outbound: how much of the other side is believed.
 *
 *   opportunistic, required   encrypted, whoever it is; what is wrong is noted
 *   verify                    chain and name must be right, or the handshake fails
 *
 * Next hops that trust the same authorities and show the same certificate share a
 * context, made when the first of them is connected to.  Its files are looked at again
 * now and then; sessions under way keep the context they began with.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <arpa/inet.h>
#include <openssl/err.h>

#include "tls.h"

enum { SITES_MOST = 1000, NAME_MOST = 255 };

struct tls_site {
	struct tls_site *next;
	char *ca, *certificate, *key;           /* NULL: none */
	int minimum;
	unsigned version;                       /* of the instance's material */
	unsigned refs;                          /* connections, and the list */
	int64_t looked;                         /* when the files were */
	struct tls_stamps stamps;               /* as they were used */
	struct tls_stamps bad;                  /* as they were complained about */
	struct tls_cert cert;
	SSL_CTX *ctx;                           /* NULL: never could be made */
	struct tls_sessions *sessions;
	char problem[TLS_TEXT];                 /* why ctx is NULL */
};

struct tls_sessions *
tls_site_sessions(struct tls_site *site)
{
	return site->sessions;
}

static void
site_empty(struct tls_site *s)
{
	SSL_CTX_free(s->ctx);
	s->ctx = NULL;
	tls_sessions_free(&s->sessions);
	tls_cert_done(&s->cert);
	tls_stamps_free(&s->stamps);
}

static void
site_unref(struct tls_site *s)
{
	if (--s->refs > 0)
		return;
	site_empty(s);
	tls_stamps_free(&s->bad);
	free(s->ca);
	free(s->certificate);
	free(s->key);
	free(s);
}

static bool
same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* Fills what is made from files; false with a complaint in r. */
static bool
site_fill(struct tls_site *s, struct tls_worker *tw, struct tls_report *r)
{
	X509_STORE *trust = NULL;
	bool ok = true;

	s->version = tw->version;
	if (s->ca != NULL)
		ok = (trust = tls_store_load(s->ca, "tls-ca-file", r, &s->stamps, NULL)) != NULL;
	else
		X509_STORE_up_ref(trust = tw->material->trust);
	if (s->certificate != NULL)     /* also after a failure: its stamp is wanted */
		ok = tls_cert_load(&s->cert, s->certificate, s->key, "tls-certificate", "tls-key",
		    r, &s->stamps) && ok;
	if (ok) {
		s->ctx = tls_context_client(tw->cfg, s->minimum, trust,
		    s->certificate != NULL ? &s->cert : NULL, r);
		s->sessions = s->ctx != NULL ? tls_sessions_new() : NULL;
	}
	X509_STORE_free(trust);
	return s->ctx != NULL && s->sessions != NULL;
}

static struct tls_site *
site_make(struct tls_worker *tw, const struct ph_next_hop *hop, int minimum, struct tls_report *r)
{
	struct tls_site *s = calloc(1, sizeof *s);

	if (s == NULL)
		return NULL;
	s->refs = 1;
	s->minimum = minimum;
	s->looked = tw->w != NULL ? ph_now(tw->w) : 0;
	if (hop != NULL) {
		s->ca = hop->tls_ca_file != NULL ? strdup(hop->tls_ca_file) : NULL;
		s->certificate = hop->tls_certificate != NULL ? strdup(hop->tls_certificate) : NULL;
		s->key = hop->tls_key != NULL ? strdup(hop->tls_key) : NULL;
	}
	if (!site_fill(s, tw, r)) {
		struct tls_stamps seen = s->stamps;

		s->stamps = (struct tls_stamps){ 0 };
		site_empty(s);
		s->stamps = seen;
		memcpy(s->problem, r->first, sizeof s->problem);
	}
	return s;
}

static struct tls_site *
site_new(struct tls_worker *tw, const struct ph_next_hop *hop, int minimum)
{
	struct tls_report r = { .setup = NULL };

	return site_make(tw, hop, minimum, &r);
}

static int
minimum_for(const struct tls_cfg *cfg, const struct ph_next_hop *hop)
{
	int minimum = hop != NULL && hop->tls_minimum != NULL ? tls_version_of(hop->tls_minimum) : 0;

	return minimum != 0 ? minimum : cfg->minimum;
}

void
tls_client_check(struct ph_setup *setup, const void *config, const struct ph_next_hop *hop)
{
	struct tls_worker tw = { .cfg = config };
	struct tls_report r = { .setup = setup };
	struct tls_site *s;

	tls_worker_update(&tw);
	s = site_make(&tw, hop, minimum_for(tw.cfg, hop), &r);
	if (s != NULL)
		site_unref(s);
	tls_material_unref(&tw.material);
	ERR_clear_error();
}

/* What has to be made anew: other files, or other authorities of the instance. */
static bool
site_stale(struct tls_site *s, struct tls_worker *tw)
{
	int64_t now = tw->w != NULL ? ph_now(tw->w) : 0;

	if (s->ca == NULL && s->version != tw->version)
		return true;
	if (s->stamps.n == 0 || (s->ctx != NULL && now - s->looked < tw->cfg->check_files.ms))
		return false;
	s->looked = now;
	return tls_stamps_changed(&s->stamps);
}

/* Puts a new site in the place of a stale one; a broken file leaves what is in force. */
static struct tls_site *
site_renew(struct tls_worker *tw, struct tls_site **at, const struct ph_next_hop *hop)
{
	struct tls_site *old = *at, *fresh = site_new(tw, hop, old->minimum);

	if (fresh == NULL)
		return old;
	if (fresh->ctx == NULL && old->ctx != NULL) {
		if (!tls_stamps_same(&fresh->stamps, &old->bad))
			tls_log(tw, PH_ERROR, "keeping what is in force towards %s: %s",
			    hop != NULL && hop->name != NULL ? hop->name : "a host", fresh->problem);
		tls_stamps_free(&old->bad);
		old->bad = fresh->stamps;       /* the paths are the site's own or hop's */
		for (size_t i = 0; i < old->bad.n; i++)
			old->bad.v[i].path = i < old->stamps.n ? old->stamps.v[i].path : "";
		fresh->stamps = (struct tls_stamps){ 0 };
		site_unref(fresh);
		return old;
	}
	fresh->next = old->next;
	*at = fresh;
	site_unref(old);
	return fresh;
}

static struct tls_site *
site_for(struct tls_worker *tw, const struct ph_next_hop *hop)
{
	const char *ca = hop != NULL ? hop->tls_ca_file : NULL;
	const char *certificate = hop != NULL ? hop->tls_certificate : NULL;
	const char *key = hop != NULL ? hop->tls_key : NULL;
	int minimum = minimum_for(tw->cfg, hop);
	struct tls_site **at = &tw->sites;
	size_t n = 0;

	for (; *at != NULL; at = &(*at)->next, n++) {
		struct tls_site *s = *at;

		if (s->minimum == minimum && same_text(s->ca, ca) &&
		    same_text(s->certificate, certificate) && same_text(s->key, key))
			return site_stale(s, tw) ? site_renew(tw, at, hop) : s;
	}
	if (n >= SITES_MOST)
		return NULL;
	return *at = site_new(tw, hop, minimum);
}

void
tls_client_sites_free(struct tls_worker *tw)
{
	while (tw->sites != NULL) {
		struct tls_site *s = tw->sites;

		tw->sites = s->next;
		s->next = NULL;
		site_unref(s);
	}
}

/* --- one connection --- */

static bool
set_name(struct tls_layer *y, struct ph_str name)
{
	unsigned char ip[16];

	while (name.n > 0 && name.p[name.n - 1] == '.')
		name.n--;
	if (name.n > NAME_MOST || (name.n > 0 && memchr(name.p, '\0', name.n) != NULL))
		return false;
	y->name = strndup(name.n > 0 ? name.p : "", name.n);
	if (y->name == NULL)
		return false;
	if (y->name[0] == '\0')
		return true;
	y->is_address = inet_pton(AF_INET, y->name, ip) == 1 || inet_pton(AF_INET6, y->name, ip) == 1;
	if (y->is_address)      /* RFC 6066 3: no address as server name */
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(y->ssl), y->name) == 1;
	SSL_set_hostflags(y->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return SSL_set1_host(y->ssl, y->name) == 1 && SSL_set_tlsext_host_name(y->ssl, y->name) == 1;
}

int
tls_client_begin(struct tls_layer *y, const struct ph_secure_want *want)
{
	const struct ph_next_hop *hop = want->hop;
	struct ph_str name = want->name;
	struct tls_site *s;

	tls_worker_update(y->tw);
	s = site_for(y->tw, hop);
	if (s == NULL)
		return PH_ENOMEM;
	y->policy = want->policy;
	y->unverified = want->policy != PH_TLS_VERIFY;
	if (s->ctx == NULL) {
		/* Told by the first pump step, so that the reason reaches the log. */
		tls_problem(y, "%s", s->problem);
		return 0;
	}
	s->refs++;
	y->site = s;
	y->ssl = SSL_new(s->ctx);
	if (y->ssl == NULL || SSL_set_ex_data(y->ssl, 0, y) != 1)
		return PH_ENOMEM;
	if (hop != NULL && hop->tls_name != NULL)
		name = (struct ph_str){ hop->tls_name, strlen(hop->tls_name) };
	if (!set_name(y, name)) {
		ERR_clear_error();
		tls_problem(y, "\"%.*s\" is no name that a certificate can be checked for",
		    (int)(name.n < 100 ? name.n : 100), name.p);
		SSL_free(y->ssl);
		y->ssl = NULL;
		return 0;
	}
	if (y->name[0] == '\0' && want->policy == PH_TLS_VERIFY) {
		tls_problem(y, "there is no name to verify the certificate for");
		SSL_free(y->ssl);
		y->ssl = NULL;
		return 0;
	}
	SSL_set_verify(y->ssl, y->unverified ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, tls_words_verify);
	tls_sessions_offer(s->sessions, y->ssl, y->name, y->policy);
	SSL_set_connect_state(y->ssl);
	return 0;
}

int
tls_client_shaken(struct tls_layer *y)
{
	if (y->policy != PH_TLS_VERIFY)
		return 0;
	if (SSL_get0_peer_certificate(y->ssl) == NULL) {
		tls_problem(y, "the remote showed no certificate");
		return PH_EPROTO;
	}
	if (SSL_get_verify_result(y->ssl) != X509_V_OK) {
		tls_problem(y, "the certificate was not accepted: %s",
		    X509_verify_cert_error_string(SSL_get_verify_result(y->ssl)));
		return PH_EPROTO;
	}
	return 0;
}

/* The layer's share of its site. */
void
tls_client_end(struct tls_layer *y)
{
	if (y->site != NULL)
		site_unref(y->site);
	y->site = NULL;
}
