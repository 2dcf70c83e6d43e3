/*
 * oauth.h - what the configuration says, and what is made of it: the profile
 * of the authorization server that this instance gets its tokens from.
 */
#ifndef OAUTH_OAUTH_H
#define OAUTH_OAUTH_H

#include <openssl/evp.h>

#include "answer.h"
#include "http.h"
#include "jwt.h"

enum oauth_provider { OAUTH_GENERIC, OAUTH_MICROSOFT, OAUTH_GOOGLE };
enum oauth_grant { OAUTH_AUTO, OAUTH_CLIENT_CREDENTIALS, OAUTH_REFRESH_TOKEN, OAUTH_SERVICE_ACCOUNT };
enum oauth_client_auth { OAUTH_POST, OAUTH_BASIC };

struct oauth_server_cfg {
	const char *introspection_endpoint, *jwks_uri, *jwks_file, *client_id;
	const char *openid_configuration;
	struct ph_secret client_secret;
	struct ph_strings issuers, audiences, user_claims, scopes;
	ph_duration leeway, cache, jwks_age;
	int64_t cache_size;
};
struct oauth_source;
struct oauth_verifier;
struct oauth_cfg {
	int provider, grant, client_auth, algorithm;
	const char *tenant, *client_id, *token_endpoint, *device_endpoint;
	const char *scope, *subject, *client_certificate, *ca_file;
	struct ph_secret client_secret, client_key, refresh_token, service_account;
	struct ph_strings extra;
	ph_duration timeout, retry_first, retry_most;
	struct oauth_server_cfg server;
	/* made in setup; NULL: that side is not configured */
	struct oauth_source *source;
	struct oauth_verifier *verifier;
};

static inline bool
oauth_has_client(const struct oauth_cfg *cfg)
{
	return cfg->client_id != NULL || cfg->service_account.n > 0;
}

static inline bool
oauth_has_server(const struct oauth_server_cfg *s)
{
	return s->introspection_endpoint != NULL || s->jwks_uri != NULL || s->jwks_file != NULL;
}

/* --- profile.c: the preset with the options over it --- */
struct oauth_profile {
	const struct oauth_cfg *cfg;
	enum oauth_grant grant;         /* never OAUTH_AUTO */
	char token_endpoint[512], device_endpoint[512];
	char client_id[256], scope[512];
	EVP_PKEY *key;                  /* that assertions are signed with; NULL none */
	enum oauth_alg alg;
	char x5t[32], x5t_s256[48];     /* of the certificate */
	char kid[128];                  /* of a service account's key */
};
/* 0, or PH_EINVAL with the option that is wrong and why.  Also empties a profile that failed. */
int  oauth_profile_init(struct oauth_profile *p, const struct oauth_cfg *cfg, const char **option,
                        char why[300]);
void oauth_profile_done(struct oauth_profile *p);

/* --- state.c: the refresh token, kept from one start to the next --- */
struct oauth_stamp { int64_t seconds; long nanoseconds; uint64_t inode; };
/* The token to use: that of the file, unless the configuration has got another one since.
 * NULL: there is none; *why is a literal when the file is there and cannot be used. */
char *oauth_state_refresh_token(const char *dir, const struct ph_secret *configured,
                                const char **why);
/* Written whole or not at all, mode 0600, on the disk when it returns.  configured: what the
 * token supersedes. */
int  oauth_state_keep(const char *dir, const struct ph_secret *configured, const char *token);
/* Changes when the file does; zero when there is none. */
struct oauth_stamp oauth_state_stamp(const char *dir);
/* One refresh at a time among processes; waits up to limit_ms.  A descriptor, or PH_EBUSY, or
 * PH_EIO when there can be no lock (then nobody can keep a token either). */
int  oauth_state_lock(const char *dir, int64_t limit_ms);
void oauth_state_unlock(int fd);

/* --- grant.c: asking for tokens; blocks --- */
/* dir NULL: nothing is kept.  held: a refresh token that could not be written, NULL none.  A good
 * answer with words in why: its refresh token could not be written; hold it. */
void oauth_grant(const struct oauth_profile *p, const char *dir, const char *held,
                 struct oauth_answer *a);
/* RFC 8628: the code; then, as often as it says, whether somebody entered it. */
int  oauth_device_begin(const struct oauth_profile *p, struct oauth_device *d);
void oauth_device_ask(const struct oauth_profile *p, const struct oauth_device *d,
                      struct oauth_answer *a);

/* --- command.c --- */
extern const struct ph_command oauth_commands[];

#endif
