/*
 * tls.h - what the files of the plugin share.
 *
 *   tls.c       descriptor, options, check and setup
 *   files.c     reading files, and noticing that they have changed
 *   material.c  certificates, keys and trust anchors from files, with all that can be wrong
 *   context.c   SSL_CTX of either side from options and material
 *   watch.c     reloading what has changed while the daemon runs
 *   server.c    inbound: which certificate, who may use old versions, client certificates
 *   tickets.c   keys of session tickets: rotated, the same for all workers
 *   client.c    outbound: policy, name, trust, client certificate
 *   sessions.c  outbound sessions to take up again
 *   layer.c     one connection: handshake, bytes each way, goodbye
 *   bio.c       OpenSSL's view of the marks of one pump step
 *   facts.c     what was negotiated and who the other side is
 *   words.c     problems in words an admin can act on
 *
 * Threads: struct tls_shared belongs to the instance and is the only thing that changes
 * and is seen by several workers; its lock is never held while anything waits.
 */
#ifndef PLUGIN_TLS_H
#define PLUGIN_TLS_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <posthouse/posthouse.h>

enum {
	TLS_TEXT = 400,                 /* bytes of a problem in words */
	TLS_FILE_MOST = 4 << 20,        /* a file of certificates is smaller than that */
	TLS_CHAIN_MOST = 20,            /* certificates behind our own */
	TLS_NAMES_MOST = 200,           /* names of one certificate that SNI is compared with */
	TLS_TICKET_LIFE = 2 * 60 * 60,  /* seconds that a session may be taken up again */
};

/* --- configuration --- */

enum tls_client_certificates { TLS_CERT_OFF, TLS_CERT_REQUEST, TLS_CERT_REQUIRE };
enum tls_identity { TLS_ID_AUTO, TLS_ID_EMAIL, TLS_ID_DNS, TLS_ID_CN };
struct tls_pair { const char *certificate, *key; };
struct tls_legacy { const char *listener; struct ph_networks clients; int minimum; };
struct tls_cfg {
	const char *certificate, *key;
	struct ph_sections certificates;        /* struct tls_pair */
	int minimum;                            /* TLS1_2_VERSION ... */
	const char *ciphers, *ciphersuites, *groups;
	int client_certificates, client_identity;
	const char *client_ca_file;
	struct ph_strings client_listeners;
	bool tickets;
	const char *ca_file;
	struct ph_sections legacy;              /* struct tls_legacy */
	ph_duration check_files;
	struct tls_shared *shared;              /* made by setup */
};

/* --- files.c --- */

/* What a file looked like when it was read; of what a link leads to. */
struct tls_stamp {
	const char *path;               /* the configuration's, or owned with the list */
	bool there;
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec changed, mtime;
};
struct tls_stamps { struct tls_stamp *v; size_t n; };

/* Where complaints go: to the config file's reader, or else they are kept as text: the first
 * error, and all warnings. */
struct tls_report {
	struct ph_setup *setup;
	unsigned errors;
	char first[TLS_TEXT], warnings[TLS_TEXT];
};
void tls_error(struct tls_report *r, const char *option, const char *fmt, ...) PH_PRINTF(3, 4);
void tls_warning(struct tls_report *r, const char *option, const char *fmt, ...) PH_PRINTF(3, 4);

/* The file's bytes in a BIO, NULL after a complaint.  stamps may be NULL. secret: complain
 * when others may read it. */
BIO *tls_file_open(struct tls_report *r, const char *option, const char *path, bool secret,
                   struct tls_stamps *stamps);
bool tls_stamps_changed(const struct tls_stamps *s);
bool tls_stamps_same(const struct tls_stamps *a, const struct tls_stamps *b);
void tls_stamps_refresh(struct tls_stamps *s);
void tls_stamps_copy(struct tls_stamps *to, const struct tls_stamps *from);
void tls_stamps_free(struct tls_stamps *s);

/* --- material.c --- */

/* A certificate with its chain and key, and the names it is good for in lower case. */
struct tls_cert {
	X509 *leaf;
	STACK_OF(X509) *chain;
	EVP_PKEY *key;
	char **names;
	size_t n_names;
	SSL_CTX *ctx;                   /* of the server side */
};
/* All that came from files at one time.  Counted; unchanged once made. */
struct tls_material {
	atomic_uint refs;
	struct tls_cert *certs;         /* the first is for clients that name no host, or another */
	size_t n_certs;
	X509_STORE *client_ca;          /* who may have signed clients' certificates */
	STACK_OF(X509_NAME) *client_ca_names;
	X509_STORE *trust;              /* who may have signed hosts' certificates */
	struct tls_stamps stamps;
};
/* NULL after complaints.  cfg->shared may be NULL: for checking only. */
struct tls_material *tls_material_load(const struct tls_cfg *cfg, struct tls_report *r);
struct tls_material *tls_material_ref(struct tls_material *m);
void tls_material_unref(struct tls_material **m);

/* One certificate; option_* name the places of complaints. */
bool tls_cert_load(struct tls_cert *c, const char *certificate, const char *key,
                   const char *option_certificate, const char *option_key,
                   struct tls_report *r, struct tls_stamps *stamps);
void tls_cert_done(struct tls_cert *c);
X509_STORE *tls_store_load(const char *path, const char *option, struct tls_report *r,
                           struct tls_stamps *stamps, STACK_OF(X509_NAME) **names);

/* --- tickets.c --- */

struct tls_ticket_key { uint8_t name[16], aes[32], mac[32]; int64_t born; };
struct tls_tickets {
	pthread_mutex_t lock;
	struct tls_ticket_key keys[3];  /* the newest first; those not born yet are zero */
	EVP_CIPHER *cipher;
};
int  tls_tickets_init(struct tls_tickets *t);
void tls_tickets_done(struct tls_tickets *t);
void tls_tickets_forget(struct tls_tickets *t);         /* no session goes on */
void tls_tickets_serve(struct tls_tickets *t, SSL_CTX *ctx);

/* --- one instance --- */

struct tls_shared {
	pthread_mutex_t lock;
	struct tls_material *now;       /* under lock */
	atomic_uint version;            /* changes with now */
	atomic_bool watched;            /* a worker looks after the files */
	struct tls_tickets tickets;
	BIO_METHOD *bio;
};
struct tls_shared *tls_shared_new(void);
void tls_shared_free(struct tls_shared **s);

struct tls_sessions;
struct tls_site;                        /* client.c: a context for some next hops */
struct tls_worker {
	const struct tls_cfg *cfg;
	struct ph_worker *w;            /* NULL in tests */
	struct tls_material *material;  /* as of version */
	unsigned version;
	struct tls_site *sites;
	struct ph_timer *timer;         /* the worker that watches files */
	struct tls_watch *watch;
};
int  tls_worker_init(struct tls_worker *tw, const struct tls_cfg *cfg, struct ph_worker *w);
void tls_worker_done(struct tls_worker *tw);
void tls_worker_update(struct tls_worker *tw);  /* takes up what was reloaded */
void tls_log(struct tls_worker *tw, enum ph_level level, const char *fmt, ...) PH_PRINTF(3, 4);

/* --- watch.c --- */
void tls_watch_start(struct tls_worker *tw);
void tls_watch_stop(struct tls_worker *tw);

/* --- layer.c --- */

struct tls_words;                       /* facts.c */
struct tls_layer {
	SSL *ssl;
	struct ph_secure_io *io;        /* while pump runs */
	struct tls_worker *tw;
	struct tls_material *material;  /* server: its certificates may be chosen from */
	struct tls_words *words;        /* NULL until somebody asks */
	char *problem;                  /* in words, NULL: none */
	X509 *refused;                  /* the other side's, which ended the handshake */
	char *name;                     /* client: the host's; server: the name asked for */
	struct tls_site *site;          /* client */
	enum ph_tls_policy policy;
	const char *listener;
	uint16_t their_version;         /* server: the highest that the client offered */
	bool client, open, ended, parted, broken, legacy, is_address, unverified;
	bool owes_ticket;               /* server: one goes out before our first bytes */
	uint8_t n_first;
	uint8_t first[24];              /* how the other side began */
};
int  tls_layer_open(struct tls_worker *tw, struct tls_layer *y, const struct ph_secure_want *want);
int  tls_layer_pump(void *layer, struct ph_secure_io *io, enum ph_secure_state *state);
void tls_layer_close(void *layer);
void tls_problem(struct tls_layer *y, const char *fmt, ...) PH_PRINTF(2, 3);    /* the first stays */
static inline struct tls_layer *tls_layer_of(const SSL *ssl) { return SSL_get_ex_data(ssl, 0); }

/* --- bio.c --- */
BIO_METHOD *tls_bio_method(void);
BIO *tls_bio_new(const struct tls_shared *s, struct tls_layer *y);

/* --- context.c --- */
int  tls_version_of(const char *text);  /* "1.2" -> TLS1_2_VERSION, 0: none such */
const char *tls_version_text(int version);
/* Complains of all that OpenSSL does not take of versions, ciphers and groups. */
bool tls_context_check(const struct tls_cfg *cfg, struct tls_report *r);
SSL_CTX *tls_context_server(const struct tls_cfg *cfg, const struct tls_material *m,
                            const struct tls_cert *c, struct tls_report *r);
SSL_CTX *tls_context_client(const struct tls_cfg *cfg, int minimum, X509_STORE *trust,
                            const struct tls_cert *c, struct tls_report *r);

/* --- server.c --- */
int  tls_server_begin(struct tls_layer *y, const struct ph_secure_want *want);
void tls_server_hooks(SSL_CTX *ctx);
void tls_server_shaken(struct tls_layer *y);
struct ph_str tls_server_identity(struct tls_layer *y, char *room, size_t n);

/* --- client.c --- */
int  tls_client_begin(struct tls_layer *y, const struct ph_secure_want *want);
int  tls_client_shaken(struct tls_layer *y);    /* PH_EPROTO: not good enough */
void tls_client_end(struct tls_layer *y);
void tls_client_sites_free(struct tls_worker *tw);
void tls_client_check(struct ph_setup *setup, const void *config, const struct ph_next_hop *hop);
struct tls_sessions *tls_site_sessions(struct tls_site *site);

/* --- sessions.c --- */
struct tls_sessions *tls_sessions_new(void);
void tls_sessions_free(struct tls_sessions **s);
/* What is kept of sessions with that name and policy. */
void tls_sessions_offer(struct tls_sessions *s, SSL *ssl, const char *name, enum ph_tls_policy p);
void tls_sessions_keep(SSL_CTX *ctx);   /* new ones of this context are kept */

/* --- facts.c --- */
void tls_layer_facts(void *layer, struct ph_secure_facts *out);
int  tls_layer_binding(void *layer, const char *type, uint8_t *out, size_t *len);
void tls_words_free(struct tls_words **w);
/* Text of a name, escaped; of all names of a certificate; of a date. */
size_t tls_name_text(X509_NAME *name, char *out, size_t room);
size_t tls_names_text(X509 *x, char *out, size_t room);
int64_t tls_time(const ASN1_TIME *t);
void tls_date_text(const ASN1_TIME *t, char out[32]);

/* --- words.c --- */
int  tls_words_verify(int ok, X509_STORE_CTX *ctx);     /* a verify callback */
void tls_words_handshake(struct tls_layer *y);          /* from the error queue */
const char *tls_words_queue(char *room, size_t n);      /* the first error as OpenSSL words it */

#endif
