/*
 * tls.c - transport security by OpenSSL: the descriptor, its options, and what happens
 * when an instance is checked, set up and taken down.
 *
 * OpenSSL's settings of the whole process are left alone: other plugins use it, too.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/err.h>

#include "tls.h"

/* --- what the workers of an instance share --- */

struct tls_shared *
tls_shared_new(void)
{
	struct tls_shared *s = calloc(1, sizeof *s);

	if (s == NULL)
		return NULL;
	pthread_mutex_init(&s->lock, NULL);
	s->bio = tls_bio_method();
	if (tls_tickets_init(&s->tickets) != 0 || s->bio == NULL)
		tls_shared_free(&s);
	return s;
}

void
tls_shared_free(struct tls_shared **sp)
{
	struct tls_shared *s = *sp;

	*sp = NULL;
	if (s == NULL)
		return;
	tls_material_unref(&s->now);
	tls_tickets_done(&s->tickets);
	BIO_meth_free(s->bio);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

/* --- a worker --- */

void
tls_log(struct tls_worker *tw, enum ph_level level, const char *fmt, ...)
{
	char text[TLS_TEXT * 2];
	va_list ap;

	if (tw->w == NULL)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);    /* a longer one is cut */
	va_end(ap);
	ph_log_worker(tw->w, level, "%s", text);
}

int
tls_worker_init(struct tls_worker *tw, const struct tls_cfg *cfg, struct ph_worker *w)
{
	tw->cfg = cfg;
	tw->w = w;
	tls_worker_update(tw);
	tls_watch_start(tw);
	return 0;
}

void
tls_worker_done(struct tls_worker *tw)
{
	tls_watch_stop(tw);
	tls_client_sites_free(tw);
	tls_material_unref(&tw->material);
}

void
tls_worker_update(struct tls_worker *tw)
{
	struct tls_shared *s = tw->cfg->shared;

	if (tw->material != NULL && atomic_load(&s->version) == tw->version)
		return;
	tls_material_unref(&tw->material);
	pthread_mutex_lock(&s->lock);
	tw->material = tls_material_ref(s->now);
	tw->version = atomic_load(&s->version);
	pthread_mutex_unlock(&s->lock);
}

static int
tls_worker_open(struct ph_worker *w, void *data)
{
	return tls_worker_init(data, ph_worker_config(w), w);
}

static void
tls_worker_close(struct ph_worker *w, void *data)
{
	(void)w;
	tls_worker_done(data);
}

/* --- the provider --- */

static int
tls_open(struct ph_worker *w, void *layer, const struct ph_secure_want *want)
{
	return tls_layer_open(ph_worker_storage(w), layer, want);
}

static const struct ph_secure tls_provider = {
	.size = sizeof tls_provider, .layer_size = sizeof(struct tls_layer), .open = tls_open,
	.pump = tls_layer_pump, .facts = tls_layer_facts, .close = tls_layer_close,
	.binding = tls_layer_binding, .check = tls_client_check,
};

/* --- check and setup --- */

static void
check_pairs(struct ph_setup *setup, const struct tls_cfg *cfg)
{
	const struct tls_pair *p = cfg->certificates.v;

	if (cfg->key != NULL && cfg->certificate == NULL)
		ph_complain(setup, "key", "is given without certificate");
	for (size_t i = 0; i < cfg->certificates.n; i++)
		if (p[i].certificate == NULL)
			ph_complain(setup, "certificates", "entry %zu has no certificate", i + 1);
}

/* One that is misspelt would leave the door open that it was to close. */
static void
check_listener(struct ph_setup *setup, const char *option, const char *at)
{
	char all[300] = "";
	const char *have;
	size_t n = 0;

	for (size_t i = 0; (have = ph_setup_listener(setup, i)) != NULL; i++) {
		if (strcmp(have, at) == 0)
			return;
		if (n < sizeof all)
			n += (size_t)snprintf(all + n, sizeof all - n, "%s%s", i > 0 ? ", " : "", have);
	}
	ph_complain(setup, option, "no listener has the address \"%s\"; write it as in listen: %s", at, all);
}

static void
check_clients(struct ph_setup *setup, const struct tls_cfg *cfg)
{
	bool asked = cfg->client_certificates != TLS_CERT_OFF;

	if (asked && cfg->client_ca_file == NULL)
		ph_complain(setup, "client-certificates", "needs client-ca-file: who may have signed them");
	if (asked && cfg->certificate == NULL && cfg->certificates.n == 0)
		ph_complain(setup, "client-certificates", "needs a certificate of our own, too");
	if (!asked && cfg->client_ca_file != NULL)
		ph_warn(setup, "client-ca-file", "is not used; set client-certificates to request or require");
	if (!asked && cfg->client_listeners.n > 0)
		ph_warn(setup, "client-listeners", "is not used; set client-certificates to request or require");
	for (size_t i = 0; i < cfg->client_listeners.n; i++)
		check_listener(setup, "client-listeners", cfg->client_listeners.v[i]);
}

static bool
is_everybody(const struct ph_network *net)
{
	static const uint8_t nothing[16];

	/* ::ffff:0:0/96 is 0.0.0.0/0 in other words, and the mask may not reach it */
	return net->bits == 0 || (net->family == 6 && net->bits <= 96 &&
	    memcmp(net->ip, nothing, 10) == 0);
}

static void
check_legacy(struct ph_setup *setup, const struct tls_cfg *cfg)
{
	const struct tls_legacy *l = cfg->legacy.v;

	for (size_t i = 0; i < cfg->legacy.n; i++) {
		const char *at = l[i].listener != NULL ? l[i].listener : "";

		if (at[0] == '\0')
			ph_complain(setup, "legacy", "entry %zu names no listener", i + 1);
		else
			check_listener(setup, "legacy", at);
		if (l[i].clients.n == 0)
			ph_complain(setup, "legacy", "the entry for %s has no clients; name the addresses "
			    "of the old devices", at);
		for (size_t k = 0; k < l[i].clients.n; k++)
			if (is_everybody(&l[i].clients.v[k]))
				ph_complain(setup, "legacy", "the entry for %s lets everybody use old "
				    "versions; name the addresses of the old devices", at);
		if (l[i].minimum >= cfg->minimum)
			ph_warn(setup, "legacy", "the entry for %s allows nothing that minimum does not", at);
	}
}

static int
tls_check(struct ph_setup *setup)
{
	const struct tls_cfg *cfg = ph_setup_config(setup);
	struct tls_report r = { .setup = setup };
	struct tls_cfg without = *cfg;
	struct tls_material *m;

	check_pairs(setup, cfg);
	check_clients(setup, cfg);
	check_legacy(setup, cfg);
	for (size_t i = 0; i < cfg->certificates.n; i++)
		if (((const struct tls_pair *)cfg->certificates.v)[i].certificate == NULL)
			without.certificates.n = 0;     /* complained about already */
	without.shared = NULL;
	m = tls_material_load(&without, &r);
	tls_material_unref(&m);
	ERR_clear_error();
	return 0;
}

static int
tls_setup(struct ph_setup *setup)
{
	struct tls_cfg *cfg = ph_setup_config(setup);
	struct tls_report r = { .setup = NULL };
	struct ph_secure mine = tls_provider;

	mine.client_only = cfg->certificate == NULL && cfg->certificates.n == 0;
	mine.asks_certificates = cfg->client_certificates != TLS_CERT_OFF;
	cfg->shared = tls_shared_new();
	if (cfg->shared == NULL) {
		ph_complain(setup, NULL, "OpenSSL cannot be used: is it complete?");
		return PH_ENOTSUP;
	}
	cfg->shared->now = tls_material_load(cfg, &r);
	ERR_clear_error();
	if (cfg->shared->now == NULL) {
		ph_complain(setup, NULL, "%s", r.first);
		tls_shared_free(&cfg->shared);
		return PH_EINVAL;
	}
	return ph_provide_secure(setup, &mine);
}

static void
tls_teardown(struct ph_setup *setup)
{
	struct tls_cfg *cfg = ph_setup_config(setup);
	struct tls_shared *s = cfg->shared;     /* the configuration is read-only by now */

	tls_shared_free(&s);
}

/* --- options --- */

static const struct ph_choice minimums[] = {
	{ "1.2", TLS1_2_VERSION, "TLS 1.2 and newer" },
	{ "1.3", TLS1_3_VERSION, "TLS 1.3 only" },
	{ NULL, 0, NULL },
};
static const struct ph_choice legacy_minimums[] = {
	{ "1.0", TLS1_VERSION, "TLS 1.0 and newer" },
	{ "1.1", TLS1_1_VERSION, "TLS 1.1 and newer" },
	{ "1.2", TLS1_2_VERSION, "TLS 1.2 and newer, where minimum is 1.3" },
	{ NULL, 0, NULL },
};
static const struct ph_choice client_certificates[] = {
	{ "off", TLS_CERT_OFF, "clients are not asked" },
	{ "request", TLS_CERT_REQUEST, "clients are asked; those without, or with one that cannot be "
	  "verified, go on as nobody" },
	{ "require", TLS_CERT_REQUIRE, "the handshake fails without a certificate that can be verified" },
	{ NULL, 0, NULL },
};
static const struct ph_choice identities[] = {
	{ "auto", TLS_ID_AUTO, "the first there is of the three below" },
	{ "email", TLS_ID_EMAIL, "the first e-mail address among the alternative names" },
	{ "dns", TLS_ID_DNS, "the first host name among the alternative names" },
	{ "common-name", TLS_ID_CN, "the common name of the subject" },
	{ NULL, 0, NULL },
};

#define OPT(field, key, ...) PH_OPT(struct tls_cfg, field, key, __VA_ARGS__)
#define OPT_PAIR(field, key, ...) PH_OPT(struct tls_pair, field, key, __VA_ARGS__)
#define OPT_LEGACY(field, key, ...) PH_OPT(struct tls_legacy, field, key, __VA_ARGS__)

static const struct ph_option pair_options[] = {
	OPT_PAIR(certificate, "certificate", .required = true, .reread = true,
	    .doc = "File in PEM with the certificate, followed by its chain."),
	OPT_PAIR(key, "key", .reread = true,
	    .doc = "File in PEM with the private key, when it is not in the same file."),
	PH_OPT_END
};
static const struct ph_option legacy_options[] = {
	OPT_LEGACY(listener, "listener", .required = true,
	    .doc = "Address of the listener, written as in listen."),
	OPT_LEGACY(clients, "clients", .required = true,
	    .doc = "Networks of the old devices; everybody else keeps to minimum."),
	PH_OPT_CHOICE(struct tls_legacy, minimum, "minimum", legacy_minimums, .dflt = "1.0",
	    .doc = "Oldest version that they may use."),
	PH_OPT_END
};

static const struct ph_option tls_options[] = {
	OPT(certificate, "certificate", .reread = true,
	    .doc = "File in PEM with our certificate, followed by its chain. It is shown to clients that "
	           "ask for no name, or for one that no other certificate has. Without it, and without "
	           "certificates, TLS is for outbound connections only."),
	OPT(key, "key", .reread = true,
	    .doc = "File in PEM with the private key of certificate, when it is not in the same file."),
	PH_OPT_SECTIONS(struct tls_cfg, certificates, "certificates", struct tls_pair, pair_options,
	    .max_items = 1000,
	    .doc = "More certificates, chosen by the name that the client asks for (SNI). The names are "
	           "those in the certificate."),
	PH_OPT_CHOICE(struct tls_cfg, minimum, "minimum", minimums, .dflt = "1.2",
	    .doc = "Oldest version that is spoken, in both directions."),
	OPT(ciphers, "ciphers",
	    .doc = "Ciphers for TLS 1.2 and older, as openssl-ciphers(1) describes them. OpenSSL's choice "
	           "by default."),
	OPT(ciphersuites, "ciphersuites",
	    .doc = "Cipher suites for TLS 1.3, by colons. OpenSSL's choice by default."),
	OPT(groups, "groups",
	    .doc = "Groups for the key exchange, by colons, the preferred first: X25519:P-256. OpenSSL's "
	           "choice by default."),
	PH_OPT_CHOICE(struct tls_cfg, client_certificates, "client-certificates", client_certificates,
	    .dflt = "off",
	    .doc = "Whether clients are asked for a certificate. The name in a verified one is an "
	           "identity: for relaying, and for the login EXTERNAL."),
	OPT(client_ca_file, "client-ca-file", .reread = true,
	    .doc = "File in PEM with the authorities that may have signed clients' certificates, or with "
	           "such certificates themselves."),
	OPT(client_listeners, "client-listeners",
	    .doc = "Listeners at which clients are asked, written as in listen. All by default."),
	PH_OPT_CHOICE(struct tls_cfg, client_identity, "client-identity", identities, .dflt = "auto",
	    .doc = "Which name of a client's certificate is its identity."),
	OPT(tickets, "tickets", .dflt = "yes",
	    .doc = "Whether clients may take up an earlier session by a ticket, which spares both sides "
	           "most of the handshake. The keys of tickets are renewed every two hours and are never "
	           "written anywhere."),
	OPT(ca_file, "ca-file", .reread = true,
	    .doc = "File in PEM with the authorities that may have signed the certificates of hosts that "
	           "mail is sent to. The system's store by default; a smart host may have its own."),
	PH_OPT_SECTIONS(struct tls_cfg, legacy, "legacy", struct tls_legacy, legacy_options,
	    .max_items = 100,
	    .doc = "Old devices that speak nothing newer than TLS 1.0 or 1.1, fenced by listener and "
	           "address. Each use is logged."),
	OPT(check_files, "check-files", .dflt = "10s", .min = "0s", .max = "1d",
	    .doc = "How often the files are looked at; replaced ones are taken up without a restart. 0 for "
	           "never."),
	PH_OPT_END
};

PH_PLUGIN(tls,
	.summary     = "transport security by OpenSSL",
	.doc         = "STARTTLS and implicit TLS for listeners and for hosts that mail is sent to, by "
	               "OpenSSL 3. Listeners say with their option tls what they offer, smart hosts what "
	               "they demand.",
	/* libcrypto has handlers that run when a thread or the process ends. */
	.flags       = PH_RESIDENT | PH_SUPPLIES_TLS,
	.options     = tls_options,
	.config_size = sizeof(struct tls_cfg),
	.worker      = { sizeof(struct tls_worker), tls_worker_open, tls_worker_close },
	.check       = tls_check,
	.setup       = tls_setup,
	.teardown    = tls_teardown);
